//! Which expressions keep the order of numbers.

use crate::ir::expr::ScalarNode;
use crate::ir::{BinaryOp, DType, Expr, Literal, Scalar, UnaryOp};

/// How a scalar depends on the operand at hand.
#[derive(Clone, Copy, PartialEq)]
enum Course {
    /// Not at all.
    Fixed,
    /// The greater the operand, the greater the scalar, or it stays.
    Rising,
    /// A number of 8 bits that rises if its highest bit is inverted.
    Encoded,
    /// In another way.
    Other,
}

/// Whether of two numbers in place of an operand the greater one never gives the smaller result, whatever the other operands are.
/// `is_positive` says of those whether they are known to be positive and finite.
///
/// Arithmetic of floating-point numbers does, because rounding keeps the order, that of integers does not where it wraps. Not-a-number
/// has no place in the order.
pub(in crate::passes) fn keeps_order(expr: &Expr, operand: usize, is_positive: &dyn Fn(usize) -> bool) -> bool {
    let mut courses: Vec<Course> = Vec::with_capacity(expr.nodes.len());
    for node in &expr.nodes {
        let course = course(expr, node, &courses, operand, is_positive);
        courses.push(course);
    }
    courses.last() == Some(&Course::Rising)
}

fn course(
    expr: &Expr,
    node: &ScalarNode,
    courses: &[Course],
    operand: usize,
    is_positive: &dyn Fn(usize) -> bool,
) -> Course {
    use Course::{Encoded, Fixed, Other, Rising};
    let is_float = node.dtype.is_float();
    let is_byte = |dtype: DType| matches!(dtype, DType::I8 | DType::U8);
    let is_factor = |id: usize| match expr.nodes[id].op {
        Scalar::Const(Literal::Float(value)) => value > 0.0 && value.is_finite(),
        Scalar::Input(index) => index != operand && is_positive(index),
        _ => false,
    };
    let is_top = |id: usize| match expr.nodes[id].op {
        Scalar::Const(Literal::Int(value)) => value as u8 == 128,
        _ => false,
    };
    let mut operands = Vec::new();
    node.op.for_each_operand(|id| operands.push(courses[id]));
    match node.op {
        Scalar::Input(index) if index == operand => Rising,
        Scalar::At(index, _) if index == operand => Other,
        Scalar::Index(_) => Other,
        _ if operands.iter().all(|&course| course == Fixed) => Fixed,
        Scalar::Binary(BinaryOp::Xor, a, b) if is_byte(node.dtype) => match (courses[a], courses[b]) {
            (Rising, Fixed) if is_top(b) => Encoded,
            (Fixed, Rising) if is_top(a) => Encoded,
            (Encoded, Fixed) if is_top(b) => Rising,
            (Fixed, Encoded) if is_top(a) => Rising,
            _ => Other,
        },
        Scalar::Bits(x) if node.dtype == expr.nodes[x].dtype => courses[x],
        Scalar::Bits(x) if is_byte(node.dtype) && is_byte(expr.nodes[x].dtype) => match courses[x] {
            Rising => Encoded,
            Encoded => Rising,
            other => other,
        },
        _ if operands.iter().any(|&course| !matches!(course, Fixed | Rising)) => Other,
        Scalar::Binary(BinaryOp::Max | BinaryOp::Min, ..) => Rising,
        Scalar::Binary(BinaryOp::Add, ..) if is_float => Rising,
        Scalar::Binary(BinaryOp::Sub, _, b) if is_float && courses[b] == Fixed => Rising,
        Scalar::Binary(BinaryOp::Mul, a, b) if is_float && (is_factor(a) || is_factor(b)) => Rising,
        Scalar::Binary(BinaryOp::Div, _, b) if is_float && is_factor(b) => Rising,
        Scalar::Unary(UnaryOp::Round | UnaryOp::Floor | UnaryOp::Ceil, _) => Rising,
        Scalar::Cast(x) if converts_in_order(expr.nodes[x].dtype, node.dtype) => Rising,
        _ => Other,
    }
}

/// Whether conversions between two types keep the order: they round or saturate, but do not wrap.
fn converts_in_order(from: DType, to: DType) -> bool {
    match (from.is_float(), to.is_float()) {
        (true, true) => from == DType::F32 && to == DType::F64,
        (true, false) => to.is_int() && to.bits() >= 8,
        (false, true) => from.is_int() && matches!(to, DType::F32 | DType::F64),
        (false, false) => {
            from.is_int() && to.bits() > from.bits() && (to.is_signed_int() || to.is_int() && from.is_unsigned_int())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::ScalarId;

    /// An expression of one operand, or two, of `f32`.
    fn keeps(build: impl Fn(&mut Expr, ScalarId) -> ScalarId) -> bool {
        let mut expr = Expr::empty();
        let x = expr.input(0, DType::F32);
        let result = build(&mut expr, x);
        keeps_order(&expr.finish(result), 0, &|operand| operand == 1)
    }

    #[test]
    fn quantization() {
        assert!(keeps(|e, x| {
            let (scale, zero) = (e.float(0.3, DType::F32), e.float(-5.0, DType::F32));
            let number = e.apply2(BinaryOp::Div, x, scale);
            let number = e.apply1(UnaryOp::Round, number);
            let number = e.apply2(BinaryOp::Add, number, zero);
            e.convert(number, DType::I8)
        }));
    }

    #[test]
    fn factors() {
        for (operand, is_kept) in [(1, true), (2, false)] {
            let product = |e: &mut Expr, x| {
                let factor = e.input(operand, DType::F32);
                e.apply2(BinaryOp::Mul, factor, x)
            };
            assert_eq!(keeps(product), is_kept);
        }
        assert!(!keeps(|e, x| e.apply2(BinaryOp::Mul, x, x)));
        for (value, is_kept) in [(-1.0, false), (0.0, false), (2.0, true), (f64::INFINITY, false)] {
            let quotient = |e: &mut Expr, x| {
                let divisor = e.float(value, DType::F32);
                e.apply2(BinaryOp::Div, x, divisor)
            };
            assert_eq!(keeps(quotient), is_kept, "{value}");
        }
    }

    #[test]
    fn differences() {
        for is_subtracted in [false, true] {
            let difference = |e: &mut Expr, x| {
                let one = e.float(1.0, DType::F32);
                let (a, b) = if is_subtracted { (one, x) } else { (x, one) };
                e.apply2(BinaryOp::Sub, a, b)
            };
            assert_eq!(keeps(difference), !is_subtracted);
        }
    }

    #[test]
    fn conversions() {
        let through = |first: DType, second: DType| {
            keeps(|e, x| {
                let x = e.convert(x, first);
                e.convert(x, second)
            })
        };
        assert!(through(DType::U8, DType::I32));
        assert!(through(DType::I16, DType::F32));
        assert!(!through(DType::I32, DType::U8));
        assert!(!through(DType::I8, DType::U16));
        assert!(!through(DType::I4, DType::I8));
    }

    #[test]
    fn other_signs() {
        for tops in 0..4 {
            let encoded = |e: &mut Expr, x| {
                let (x, top) = (e.convert(x, DType::I8), e.int(128, DType::U8));
                let x = e.bits(x, DType::U8);
                (0..tops).fold(x, |x, _| e.apply2(BinaryOp::Xor, x, top))
            };
            assert_eq!(keeps(encoded), tops % 2 == 1, "{tops}");
        }
    }

    #[test]
    fn the_same_bits() {
        assert!(keeps(|e, x| {
            let x = e.convert(x, DType::U8);
            e.push(Scalar::Bits(x), DType::U8)
        }));
    }

    #[test]
    fn places() {
        assert!(!keeps(|e, x| {
            let place = e.index(0);
            let place = e.convert(place, DType::F32);
            e.apply2(BinaryOp::Add, x, place)
        }));
    }
}
