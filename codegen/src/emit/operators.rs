//! Operators and functions of Rust, and where they need parentheses.

use super::size::parenthesized;
use crate::ir::{BinaryOp, UnaryOp};

/// How tightly the outermost operation of an expression binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Prec {
    /// `if`, which binds least.
    If,
    Compare,
    BitOr,
    BitXor,
    BitAnd,
    Add,
    Mul,
    As,
    Unary,
    /// A name, literal, call or method call.
    Atom,
}

/// An operation with a symbol, with parentheses where they are needed.
pub(super) fn infix(symbol: &str, own: Prec, a: (String, Prec), b: (String, Prec)) -> (String, Prec) {
    // To add a negative number is to subtract its magnitude, to the last bit.
    let magnitude =
        b.0.strip_prefix('-')
            .filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    if let (Some(magnitude), "+" | "-") = (magnitude.filter(|_| b.1 == Prec::Unary), symbol) {
        let opposite = if symbol == "+" { "-" } else { "+" };
        return infix(opposite, own, a, (magnitude.to_owned(), Prec::Atom));
    }
    let tighter = match own {
        Prec::Compare => Prec::BitOr,
        Prec::BitOr => Prec::BitXor,
        Prec::BitXor => Prec::BitAnd,
        Prec::BitAnd => Prec::Add,
        Prec::Add => Prec::Mul,
        _ => Prec::As,
    };
    // Operators associate to the left, comparisons not at all, and `x as i64 < y` would start generic arguments.
    let left_needed = match own {
        Prec::Compare if a.1 == Prec::As => Prec::Unary,
        Prec::Compare => tighter,
        _ => own,
    };
    let left = parenthesized(a.0, a.1, left_needed);
    let right = parenthesized(b.0, b.1, tighter);
    (format!("{left} {symbol} {right}"), own)
}

/// A function of a floating-point number.
pub(super) fn float_unary(op: UnaryOp, x: &str, precedence: Prec, double: bool) -> (String, Prec) {
    let receiver = || parenthesized(x.to_owned(), precedence, Prec::Atom);
    let method = match op {
        UnaryOp::Neg => {
            return (
                format!("-{}", parenthesized(x.to_owned(), precedence, Prec::Unary)),
                Prec::Unary,
            );
        }
        UnaryOp::Abs => "abs",
        UnaryOp::IsNan => "is_nan",
        UnaryOp::IsInf => "is_infinite",
        UnaryOp::Recip if double => {
            return (
                format!("1.0 / {}", parenthesized(x.to_owned(), precedence, Prec::As)),
                Prec::Mul,
            );
        }
        _ if double => return (format!("math::{}_f64({x})", op.name()), Prec::Atom),
        _ => return (format!("math::{}({x})", op.name()), Prec::Atom),
    };
    (format!("{}.{method}()", receiver()), Prec::Atom)
}

/// A function of two floating-point numbers.
pub(super) fn float_binary(op: BinaryOp, a: (String, Prec), b: (String, Prec), double: bool) -> (String, Prec) {
    let symbol = match op {
        BinaryOp::Add => ("+", Prec::Add),
        BinaryOp::Sub => ("-", Prec::Add),
        BinaryOp::Mul => ("*", Prec::Mul),
        BinaryOp::Div => ("/", Prec::Mul),
        BinaryOp::Eq => ("==", Prec::Compare),
        BinaryOp::Ne => ("!=", Prec::Compare),
        BinaryOp::Lt => ("<", Prec::Compare),
        BinaryOp::Le => ("<=", Prec::Compare),
        BinaryOp::Gt => (">", Prec::Compare),
        BinaryOp::Ge => (">=", Prec::Compare),
        BinaryOp::Max if !double && b.0 == "0.0" => return (format!("math::relu({})", a.0), Prec::Atom),
        BinaryOp::Max if !double && a.0 == "0.0" => return (format!("math::relu({})", b.0), Prec::Atom),
        _ => {
            let name = if op == BinaryOp::Mod { "modulo" } else { op.name() };
            let suffix = if double { "_f64" } else { "" };
            return (format!("math::{name}{suffix}({}, {})", a.0, b.0), Prec::Atom);
        }
    };
    infix(symbol.0, symbol.1, a, b)
}
