//! Scalar expressions as Rust.

use super::literal::{bits_type, constant, rust_type};
use super::operators::{Prec, float_binary, float_unary, infix};
use super::rounding::rounded;
use super::size::{Sizes, parenthesized};
use super::widen::{is_stored_only, widen};
use crate::ir::{BinaryOp, DType, Dim, Expr, Literal, Scalar, ScalarId, UnaryOp};

/// Widest operand that stays inside of its expression rather than getting a `let` of its own.
const OPERAND_WIDTH: usize = 32;

/// Widest `if` on one line (rustfmt's `single_line_if_else_max_width`).
const IF_WIDTH: usize = 60;

/// An expression as the body of a closure.
#[derive(Clone, Debug)]
pub(super) struct Body {
    /// The statements before the result.
    pub(super) lets: Vec<String>,
    /// The result, of the type that is stored.
    pub(super) result: String,
}

/// What an expression is printed with.
pub(super) struct Context<'a> {
    /// The names of the operands; their elements have the types in which tensors are stored.
    pub(super) inputs: &'a dyn Fn(usize) -> String,
    /// The names of what is read at computed places.
    pub(super) loads: &'a dyn Fn(usize) -> String,
    /// The names of the coordinates.
    pub(super) indices: &'a dyn Fn(usize) -> String,
    /// The sizes of the axes of the coordinates.
    pub(super) axes: &'a [Dim],
    /// The sizes.
    pub(super) sizes: &'a Sizes,
}

/// Prints an expression.
pub(super) fn body(expr: &Expr, context: &Context<'_>) -> Body {
    let expr = &widen(expr);
    let last = expr.result();
    let mut needed = vec![0usize; last + 1];
    needed[last] = 1;
    for id in (0..=last).rev() {
        match rounded(expr, id) {
            _ if needed[id] == 0 => {}
            Some((number, _)) => needed[number] += 1,
            None => expr.nodes[id].op.for_each_operand(|operand| needed[operand] += 1),
        }
    }
    let mut printer = Printer {
        expr,
        context,
        lets: Vec::new(),
        texts: Vec::with_capacity(last + 1),
        names: 0,
    };
    for (id, &uses) in needed.iter().enumerate() {
        if uses == 0 {
            printer.texts.push((String::new(), Prec::Atom));
            continue;
        }
        let (text, precedence) = printer.node(id);
        let leaf = precedence == Prec::Atom
            && matches!(
                expr.nodes[id].op,
                Scalar::Input(_) | Scalar::Const(_) | Scalar::Index(_)
            );
        let named = id != last && !leaf && (uses > 1 || text.chars().count() > OPERAND_WIDTH);
        let entry = if named { printer.bind(&text) } else { (text, precedence) };
        printer.texts.push(entry);
    }
    let (mut result, precedence) = printer.texts[last].clone();
    if expr.dtype() == DType::Bool {
        result = format!("u8::from({result})");
    } else if precedence == Prec::If && result.chars().count() > IF_WIDTH {
        result = printer.bind(&result).0;
    }
    Body {
        lets: printer.lets,
        result,
    }
}

struct Printer<'a> {
    expr: &'a Expr,
    context: &'a Context<'a>,
    lets: Vec<String>,
    texts: Vec<(String, Prec)>,
    names: usize,
}

impl Printer<'_> {
    /// Gives an expression a name.
    fn bind(&mut self, text: &str) -> (String, Prec) {
        self.names += 1;
        let name = format!("t{}", self.names);
        self.lets.push(format!("let {name} = {text};"));
        (name, Prec::Atom)
    }

    /// An operand, in parentheses if it binds less tightly than needed.
    fn operand(&self, id: ScalarId, needed: Prec) -> String {
        let (text, precedence) = &self.texts[id];
        parenthesized(text.clone(), *precedence, needed)
    }

    fn plain(&self, id: ScalarId) -> String {
        self.texts[id].0.clone()
    }

    fn dtype(&self, id: ScalarId) -> DType {
        self.expr.nodes[id].dtype
    }

    /// The receiver of a method; a number gets a suffix, as its type is not known otherwise.
    fn receiver(&self, id: ScalarId) -> String {
        match self.expr.nodes[id].op {
            Scalar::Const(Literal::Int(_)) => {
                let text = format!("{}{}", self.plain(id), rust_type(self.dtype(id)));
                parenthesized(text, self.texts[id].1, Prec::Atom)
            }
            _ => self.operand(id, Prec::Atom),
        }
    }

    fn node(&mut self, id: ScalarId) -> (String, Prec) {
        let node = &self.expr.nodes[id];
        match node.op {
            Scalar::Input(index) => {
                let name = (self.context.inputs)(index);
                match node.dtype {
                    DType::Bool => (format!("{name} != 0"), Prec::Compare),
                    _ => (name, Prec::Atom),
                }
            }
            Scalar::Const(literal) => constant(literal, node.dtype),
            Scalar::Dim(ref dim) => (format!("{} as i64", self.context.sizes.atom(dim)), Prec::As),
            Scalar::Index(axis) => ((self.context.indices)(axis), Prec::Atom),
            Scalar::At(load, place) => {
                let text = format!("at({}, {})", (self.context.loads)(load), self.plain(place));
                match node.dtype {
                    DType::Bool => (format!("{text} != 0"), Prec::Compare),
                    _ => (text, Prec::Atom),
                }
            }
            Scalar::Unary(op, x) => self.unary(op, x),
            Scalar::Binary(op, a, b) => self.binary(op, a, b),
            Scalar::Select(condition, a, b) => self.select(condition, a, b),
            Scalar::Cast(x) => match rounded(self.expr, id) {
                Some((number, zero_point)) => {
                    let (number, to) = (self.plain(number), rust_type(node.dtype));
                    (format!("math::round_to_{to}({number}, {zero_point})"), Prec::Atom)
                }
                None => self.cast(x, node.dtype),
            },
            Scalar::Bits(x) => self.same_bits(x, node.dtype),
        }
    }

    fn select(&mut self, condition: ScalarId, a: ScalarId, b: ScalarId) -> (String, Prec) {
        for part in [condition, a, b] {
            let text = self.select_text(condition, a, b);
            if text.chars().count() <= IF_WIDTH {
                break;
            }
            let (own, precedence) = self.texts[part].clone();
            if own.chars().count() > 6 && (precedence != Prec::Atom || own.contains('(')) {
                self.texts[part] = self.bind(&own);
            }
        }
        (self.select_text(condition, a, b), Prec::If)
    }

    fn select_text(&self, condition: ScalarId, a: ScalarId, b: ScalarId) -> String {
        // A number that is used often has a name.
        let named = |id: ScalarId| self.texts[id].0.starts_with(|first: char| first.is_ascii_alphabetic());
        let is_number = |id: ScalarId| matches!(self.expr.nodes[id].op, Scalar::Const(Literal::Int(_))) && !named(id);
        // Of two numbers one gets a suffix, as the type might not be known otherwise.
        let suffix = match is_number(a) && is_number(b) && !is_stored_only(self.dtype(a)) {
            true => rust_type(self.dtype(a)),
            false => "",
        };
        format!(
            "if {} {{ {}{suffix} }} else {{ {} }}",
            self.plain(condition),
            self.plain(a),
            self.plain(b)
        )
    }

    fn unary(&self, op: UnaryOp, x: ScalarId) -> (String, Prec) {
        let from = self.dtype(x);
        match from {
            DType::F32 | DType::F64 => float_unary(op, &self.plain(x), self.texts[x].1, from == DType::F64),
            _ => {
                let text = match op {
                    UnaryOp::Not | UnaryOp::BitNot => {
                        return (format!("!{}", self.operand(x, Prec::Unary)), Prec::Unary);
                    }
                    UnaryOp::Neg => format!("{}.wrapping_neg()", self.receiver(x)),
                    UnaryOp::Abs if from.is_signed_int() => format!("{}.wrapping_abs()", self.receiver(x)),
                    UnaryOp::Sign if from.is_signed_int() => format!("{}.signum()", self.receiver(x)),
                    UnaryOp::Sign => format!("{}.min(1)", self.receiver(x)),
                    UnaryOp::IsNan | UnaryOp::IsInf => "false".into(),
                    // What remains keeps an integer as it is: rounding, and the magnitude of an unsigned one.
                    _ => return self.texts[x].clone(),
                };
                (text, Prec::Atom)
            }
        }
    }

    fn binary(&self, op: BinaryOp, a: ScalarId, b: ScalarId) -> (String, Prec) {
        let dtype = self.dtype(a);
        if let Some(text) = self.between(op, a, b) {
            return (text, Prec::Atom);
        }
        if let Some(result) = self.infix(op, a, b) {
            return result;
        }
        if let Some(result) = self.small(op, a, b) {
            return result;
        }
        if dtype.is_float() {
            return float_binary(op, self.texts[a].clone(), self.texts[b].clone(), dtype == DType::F64);
        }
        let method = match op {
            BinaryOp::Add => "wrapping_add",
            BinaryOp::Sub => "wrapping_sub",
            BinaryOp::Mul => "wrapping_mul",
            BinaryOp::Max => "max",
            BinaryOp::Min => "min",
            _ => {
                let function = match op {
                    BinaryOp::Div => "div",
                    BinaryOp::Mod => "modulo",
                    BinaryOp::Rem => "rem",
                    BinaryOp::Pow => {
                        let exponent = match dtype {
                            DType::I64 => self.plain(b),
                            _ => format!("{} as i64", self.operand(b, Prec::As)),
                        };
                        return (format!("math::Integer::pow({}, {exponent})", self.plain(a)), Prec::Atom);
                    }
                    BinaryOp::Shl => "shl",
                    _ => "shr",
                };
                return (
                    format!("math::Integer::{function}({}, {})", self.plain(a), self.plain(b)),
                    Prec::Atom,
                );
            }
        };
        (format!("{}.{method}({})", self.receiver(a), self.plain(b)), Prec::Atom)
    }

    /// What has a method of its own where both bounds are constants: clamping an integer, and a test for a range.
    fn between(&self, op: BinaryOp, a: ScalarId, b: ScalarId) -> Option<String> {
        let operands = |id: ScalarId| match self.expr.nodes[id].op {
            Scalar::Binary(op, x, bound) => match self.expr.nodes[bound].op {
                Scalar::Const(Literal::Int(bound)) => Some((op, x, bound)),
                _ => None,
            },
            _ => None,
        };
        match op {
            BinaryOp::Min | BinaryOp::Max if self.dtype(a).is_int() => {
                let (inner, x, first) = operands(a)?;
                let Scalar::Const(Literal::Int(second)) = self.expr.nodes[b].op else {
                    return None;
                };
                let (low, high) = match (inner, op) {
                    (BinaryOp::Max, BinaryOp::Min) => (first, second),
                    (BinaryOp::Min, BinaryOp::Max) => (second, first),
                    _ => return None,
                };
                // In the other case there is nothing between the bounds, of which `clamp` makes a panic.
                (low <= high).then(|| format!("{}.clamp({low}, {high})", self.receiver(x)))
            }
            BinaryOp::And => {
                let (first, x, low) = operands(a)?;
                let (second, y, high) = operands(b)?;
                let both = (first, second) == (BinaryOp::Ge, BinaryOp::Le) && x == y;
                both.then(|| format!("({low}..={high}).contains(&{})", self.operand(x, Prec::Unary)))
            }
            _ => None,
        }
    }

    /// What has an operator in Rust for this type.
    fn infix(&self, op: BinaryOp, a: ScalarId, b: ScalarId) -> Option<(String, Prec)> {
        let float = self.dtype(a).is_float();
        let (symbol, own) = match op {
            BinaryOp::Add if float => ("+", Prec::Add),
            BinaryOp::Sub if float => ("-", Prec::Add),
            BinaryOp::Mul if float => ("*", Prec::Mul),
            BinaryOp::Div if float => ("/", Prec::Mul),
            BinaryOp::And => ("&", Prec::BitAnd),
            BinaryOp::Or => ("|", Prec::BitOr),
            BinaryOp::Xor => ("^", Prec::BitXor),
            BinaryOp::Eq => ("==", Prec::Compare),
            BinaryOp::Ne => ("!=", Prec::Compare),
            BinaryOp::Lt => ("<", Prec::Compare),
            BinaryOp::Le => ("<=", Prec::Compare),
            BinaryOp::Gt => (">", Prec::Compare),
            BinaryOp::Ge => (">=", Prec::Compare),
            _ => return None,
        };
        Some(infix(symbol, own, self.texts[a].clone(), self.texts[b].clone()))
    }

    /// Arithmetic of coordinates and sizes, which cannot overflow and needs no wrapping.
    fn small(&self, op: BinaryOp, a: ScalarId, b: ScalarId) -> Option<(String, Prec)> {
        let (symbol, own, bits) = match op {
            BinaryOp::Add => ("+", Prec::Add, self.bits(a)?.max(self.bits(b)?) + 1),
            BinaryOp::Sub => ("-", Prec::Add, self.bits(a)?.max(self.bits(b)?) + 1),
            BinaryOp::Mul => ("*", Prec::Mul, self.bits(a)? + self.bits(b)?),
            _ => return None,
        };
        let fits = self.dtype(a) == DType::I64 && bits < 63;
        fits.then(|| infix(symbol, own, self.texts[a].clone(), self.texts[b].clone()))
    }

    /// How many bits hold the magnitude of a value that is made of coordinates, sizes and constants.
    fn bits(&self, id: ScalarId) -> Option<u32> {
        let of_size = |dim: &Dim| {
            let range = dim.range(&self.context.sizes.bounds);
            64 - range.low.unsigned_abs().max(range.high.unsigned_abs()).leading_zeros()
        };
        match &self.expr.nodes[id].op {
            Scalar::Index(axis) => Some(of_size(self.context.axes.get(*axis)?)),
            Scalar::Dim(dim) => Some(of_size(dim)),
            Scalar::Const(Literal::Int(value)) => Some(128 - value.unsigned_abs().leading_zeros()),
            Scalar::Binary(BinaryOp::Add | BinaryOp::Sub, a, b) => Some(self.bits(*a)?.max(self.bits(*b)?) + 1),
            Scalar::Binary(BinaryOp::Mul, a, b) => Some(self.bits(*a)? + self.bits(*b)?),
            Scalar::Binary(BinaryOp::Min | BinaryOp::Max, a, b) | Scalar::Select(_, a, b) => {
                Some(self.bits(*a)?.max(self.bits(*b)?))
            }
            Scalar::Binary(BinaryOp::Div, a, _) => self.bits(*a),
            Scalar::Binary(BinaryOp::Mod | BinaryOp::Rem, _, b) => self.bits(*b),
            _ => None,
        }
    }

    fn cast(&self, x: ScalarId, to: DType) -> (String, Prec) {
        let from = self.dtype(x);
        if from == to {
            return self.texts[x].clone();
        }
        let (text, precedence) = self.texts[x].clone();
        let converted = |to: &str| format!("{} as {to}", parenthesized(text.clone(), precedence, Prec::As));
        if is_stored_only(from) {
            return (format!("{}.to_{to}()", self.operand(x, Prec::Atom)), Prec::Atom);
        }
        if is_stored_only(to) {
            return (self.narrowed(x, to), Prec::Atom);
        }
        if from == DType::Bool {
            return (format!("{}::from({text})", rust_type(to)), Prec::Atom);
        }
        if to == DType::Bool {
            let zero = if from.is_float() { "0.0" } else { "0" };
            return (
                format!("{} != {zero}", parenthesized(text, precedence, Prec::BitOr)),
                Prec::Compare,
            );
        }
        if let (DType::F32, DType::U8 | DType::I8) = (from, to) {
            return (format!("math::to_{}({text})", rust_type(to)), Prec::Atom);
        }
        (converted(rust_type(to)), Prec::As)
    }

    /// The same bits as another type, by way of the integers that Rust has them as.
    fn same_bits(&self, x: ScalarId, to: DType) -> (String, Prec) {
        let from = self.dtype(x);
        let (text, precedence) = match from {
            DType::F32 | DType::F64 => (format!("{}.to_bits()", self.operand(x, Prec::Atom)), Prec::Atom),
            DType::Bool => (format!("u8::from({})", self.plain(x)), Prec::Atom),
            _ if is_stored_only(from) => (format!("{}.0", self.operand(x, Prec::Atom)), Prec::Atom),
            _ => self.texts[x].clone(),
        };
        let (text, precedence) = match (bits_type(from), bits_type(to)) {
            (have, need) if have == need => (text, precedence),
            (_, need) => (
                format!("{} as {need}", parenthesized(text, precedence, Prec::As)),
                Prec::As,
            ),
        };
        match to {
            DType::F32 | DType::F64 => (format!("{to}::from_bits({text})"), Prec::Atom),
            DType::Bool => (
                format!("{} != 0", parenthesized(text, precedence, Prec::BitOr)),
                Prec::Compare,
            ),
            _ if to.is_int() && is_stored_only(to) => {
                let text = format!("{}::from_{}({text})", rust_type(to), to.arithmetic());
                (text, Prec::Atom)
            }
            _ if is_stored_only(to) => (format!("{}({text})", rust_type(to)), Prec::Atom),
            _ => (text, precedence),
        }
    }

    /// The conversion to a type that is only stored, rounding once.
    fn narrowed(&self, x: ScalarId, to: DType) -> String {
        let (from, wide) = (self.dtype(x), to.arithmetic());
        // An `f32` holds each integer that is within the range of the others.
        let wide_range = matches!(to, DType::BF16 | DType::F8E8M0);
        let by = match from {
            DType::I64 | DType::U64 if to == DType::BF16 => from,
            DType::F64 if to.is_float() => from,
            DType::I32 | DType::U32 | DType::I64 | DType::U64 if wide_range => DType::F64,
            _ => wide,
        };
        let text = if from == by {
            self.plain(x)
        } else if from == DType::Bool {
            format!("{by}::from({})", self.plain(x))
        } else if from.is_float() {
            format!("{} as i32 as {by}", self.operand(x, Prec::As))
        } else {
            format!("{} as {by}", self.operand(x, Prec::As))
        };
        format!("{}::from_{by}({text})", rust_type(to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(expr: &Expr) -> String {
        let sizes = Sizes::default();
        let inputs = |index: usize| ["a", "b", "c"][index].to_owned();
        let indices = |axis: usize| format!("i{axis}");
        let context = Context {
            inputs: &inputs,
            loads: &|load| ["p", "q"][load].to_owned(),
            indices: &indices,
            axes: &[],
            sizes: &sizes,
        };
        let body = body(expr, &context);
        body.lets.into_iter().chain([body.result]).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn parentheses_appear_where_they_matter_and_nowhere_else() {
        let mut expr = Expr::empty();
        let [a, b, c] = [0, 1, 2].map(|index| expr.input(index, DType::F32));
        let sum = expr.apply2(BinaryOp::Add, b, c);
        let product = expr.apply2(BinaryOp::Mul, a, sum);
        let negated = expr.apply1(UnaryOp::Neg, product);
        expr.apply2(BinaryOp::Sub, negated, sum);
        assert_eq!(print(&expr), "let t1 = b + c; -(a * t1) - t1");

        let mut expr = Expr::empty();
        let [a, b, c] = [0, 1, 2].map(|index| expr.input(index, DType::F32));
        let inner = expr.apply2(BinaryOp::Add, b, c);
        expr.apply2(BinaryOp::Add, a, inner);
        assert_eq!(print(&expr), "a + (b + c)");
    }

    #[test]
    fn types_decide_the_operation() {
        let mut expr = Expr::empty();
        let a = expr.input(0, DType::I64);
        let two = expr.int(2, DType::I64);
        let sum = expr.apply2(BinaryOp::Add, two, a);
        let quotient = expr.apply2(BinaryOp::Div, sum, a);
        expr.convert(quotient, DType::F32);
        assert_eq!(
            print(&expr),
            "let t1 = math::Integer::div(2i64.wrapping_add(a), a); t1 as f32"
        );

        let mut expr = Expr::empty();
        let a = expr.input(0, DType::F32);
        let minus = expr.float(-0.5, DType::F32);
        expr.apply2(BinaryOp::Add, a, minus);
        assert_eq!(print(&expr), "a - 0.5");

        let mut expr = Expr::empty();
        let a = expr.input(0, DType::F16);
        let b = expr.input(1, DType::F16);
        expr.apply2(BinaryOp::Mul, a, b);
        assert_eq!(print(&expr), "F16::from_f32(a.to_f32() * b.to_f32())");

        let mut expr = Expr::empty();
        let a = expr.input(0, DType::Bool);
        let b = expr.input(1, DType::F32);
        let zero = expr.float(0.0, DType::F32);
        let below = expr.apply2(BinaryOp::Lt, b, zero);
        let both = expr.apply2(BinaryOp::And, a, below);
        let infinity = expr.float(f64::NEG_INFINITY, DType::F32);
        expr.push(Scalar::Select(both, infinity, b), DType::F32);
        assert_eq!(print(&expr), "if (a != 0) & (b < 0.0) { f32::NEG_INFINITY } else { b }");
    }

    #[test]
    fn clippy_finds_no_range_that_is_spelled_out() {
        let mut expr = Expr::empty();
        let x = expr.input(0, DType::I32);
        let (low, high) = (expr.int(-3, DType::I32), expr.int(256, DType::I32));
        let mut held = expr.clone();
        let clamped = held.apply2(BinaryOp::Min, x, high);
        held.apply2(BinaryOp::Max, clamped, low);
        assert_eq!(print(&held), "a.clamp(-3, 256)");
        let mut crossed = expr.clone();
        let clamped = crossed.apply2(BinaryOp::Min, x, low);
        crossed.apply2(BinaryOp::Max, clamped, high);
        assert_eq!(print(&crossed), "a.min(-3).max(256)");
        let (above, below) = (expr.apply2(BinaryOp::Ge, x, low), expr.apply2(BinaryOp::Le, x, high));
        expr.apply2(BinaryOp::And, above, below);
        assert_eq!(print(&expr), "u8::from((-3..=256).contains(&a))");
    }

    #[test]
    fn a_number_with_a_name_has_no_suffix() {
        let mut expr = Expr::empty();
        let a = expr.input(0, DType::I64);
        let (zero, before) = (expr.int(0, DType::I64), expr.int(-1, DType::I64));
        let negative = expr.apply2(BinaryOp::Lt, a, zero);
        let low = expr.select(negative, before, zero);
        let high = expr.apply2(BinaryOp::Add, a, before);
        let above = expr.apply2(BinaryOp::Max, a, low);
        expr.apply2(BinaryOp::Min, above, high);
        let text = print(&expr);
        assert!(
            text.contains("let t1 = -1;") && text.contains("{ t1 } else { 0 }"),
            "{text}"
        );
    }

    #[test]
    fn long_expressions_are_cut_into_statements() {
        let mut expr = Expr::empty();
        let a = expr.input(0, DType::F32);
        let mut sum = a;
        for step in 0..8 {
            let factor = expr.float(0.125 + f64::from(step), DType::F32);
            let term = expr.apply2(BinaryOp::Mul, sum, factor);
            sum = expr.apply2(BinaryOp::Add, term, a);
        }
        insta::assert_snapshot!(print(&expr), @"let t1 = ((a * 0.125 + a) * 1.125 + a) * 2.125; let t2 = ((t1 + a) * 3.125 + a) * 4.125 + a; let t3 = ((t2 * 5.125 + a) * 6.125 + a) * 7.125; t3 + a");
    }
}
