//! Functions of numbers of 8 bits, of which there are so few that all of them can be tried.

use crate::ir::eval::eval_node;
use crate::ir::{DType, Expr, Op, Scalar, ScalarId, Tensor};

/// A number of 8 bits that another one is, but for bits that differ: the node of the other one and these bits.
///
/// `None` if the result is something else, or computed from anything but one number of 8 bits and constants.
pub(super) fn as_other_bits(expr: &Expr, result: ScalarId) -> Option<(ScalarId, u8)> {
    let (number, dtype) = only_byte(expr, result)?;
    let mut function = Expr::empty();
    function.append(expr, result, &mut |function, _, dtype| function.input(0, dtype));
    let numbers: Vec<u8> = (0..=u8::MAX).collect();
    let input = Tensor {
        dtype,
        ..Tensor::new(vec![numbers.len()], &numbers)
    };
    let op = Op::Elementwise {
        shape: vec![numbers.len().into()],
        expr: function,
    };
    let computed = eval_node(&op, &[input], &|_| None).ok()?.into_iter().next()?;
    let bits = computed.data[0];
    let same = |(number, &computed): (u8, &u8)| number ^ computed == bits;
    (0..=u8::MAX)
        .zip(computed.data.iter())
        .all(same)
        .then_some((number, bits))
}

/// The operand that a result is computed from, and its type.
fn only_byte(expr: &Expr, result: ScalarId) -> Option<(ScalarId, DType)> {
    let mut needed = vec![false; result + 1];
    needed[result] = true;
    let mut found = None;
    for id in (0..=result).rev() {
        if !needed[id] {
            continue;
        }
        let node = &expr.nodes[id];
        match node.op {
            Scalar::Input(_) if found.is_none() && matches!(node.dtype, DType::U8 | DType::I8) => {
                found = Some((id, node.dtype));
            }
            Scalar::Input(_) | Scalar::At(..) | Scalar::Index(_) | Scalar::Dim(_) => return None,
            _ => node.op.for_each_operand(|operand| needed[operand] = true),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{BinaryOp, UnaryOp};
    use crate::passes::expr::simplify;

    /// `quantize((n - zero) * scale)` for another scale and zero point.
    fn requantized(dtype: DType, zero: i32, scale: f64, to: DType, to_zero: f64, to_scale: f64) -> Expr {
        let mut expr = Expr::empty();
        let number = expr.input(0, dtype);
        let (number, zero) = (expr.convert(number, DType::I32), expr.int(zero.into(), DType::I32));
        let difference = expr.apply2(BinaryOp::Sub, number, zero);
        let (difference, scale) = (expr.convert(difference, DType::F32), expr.float(scale, DType::F32));
        let value = expr.apply2(BinaryOp::Mul, difference, scale);
        let to_scale = expr.float(to_scale, DType::F32);
        let quotient = expr.apply2(BinaryOp::Div, value, to_scale);
        let (rounded, to_zero) = (expr.apply1(UnaryOp::Round, quotient), expr.float(to_zero, DType::F32));
        let moved = expr.apply2(BinaryOp::Add, rounded, to_zero);
        expr.convert(moved, to);
        expr
    }

    fn evaluated(expr: &Expr, dtype: DType) -> Vec<u8> {
        let numbers: Vec<u8> = (0..=u8::MAX).collect();
        let op = Op::Elementwise {
            expr: expr.clone(),
            shape: vec![256usize.into()],
        };
        let input = Tensor {
            dtype,
            ..Tensor::new(vec![256], &numbers)
        };
        eval_node(&op, &[input], &|_| None).unwrap()[0].data.to_vec()
    }

    #[test]
    fn numbers_that_are_quantized_as_they_were() {
        for (dtype, zero) in [(DType::U8, 7), (DType::I8, -128)] {
            let expr = requantized(dtype, zero, 0.037, dtype, zero.into(), 0.037);
            let simple = simplify(&expr, &[256usize.into()], &|_| None);
            assert_eq!(simple, Expr::identity(dtype));
            let other = match dtype {
                DType::U8 => (DType::I8, f64::from(zero) - 128.0),
                _ => (DType::U8, f64::from(zero) + 128.0),
            };
            let expr = requantized(dtype, zero, 0.037, other.0, other.1, 0.037);
            let simple = simplify(&expr, &[256usize.into()], &|_| None);
            assert_eq!(simple.nodes.len(), 4, "{simple:?}");
            assert_eq!(evaluated(&simple, dtype), evaluated(&expr, dtype));
        }
    }

    #[test]
    fn other_functions_of_bytes_stay() {
        for (zero, scale) in [(7.0, 0.038), (8.0, 0.037), (7.0, -0.037)] {
            let expr = requantized(DType::U8, 7, 0.037, DType::U8, zero, scale);
            let simple = simplify(&expr, &[256usize.into()], &|_| None);
            assert!(matches!(simple.nodes[simple.result()].op, Scalar::Cast(_)));
            assert_eq!(evaluated(&simple, DType::U8), evaluated(&expr, DType::U8));
        }
    }

    #[test]
    fn numbers_change_their_sign_where_they_are_rounded() {
        for (signed, unsigned) in [(DType::I8, DType::U8), (DType::U8, DType::I8)] {
            let mut expr = requantized(DType::U8, 7, 0.5, signed, -3.0, 0.3);
            let bits = expr.bits(expr.result(), unsigned);
            let top = expr.int(if unsigned == DType::U8 { 128 } else { -128 }, unsigned);
            expr.apply2(BinaryOp::Xor, bits, top);
            let simple = simplify(&expr, &[256usize.into()], &|_| None);
            assert!(
                matches!(simple.nodes[simple.result()].op, Scalar::Cast(_)),
                "{simple:?}"
            );
            assert_eq!(evaluated(&simple, DType::U8), evaluated(&expr, DType::U8));
        }
    }

    #[test]
    fn stored_without_a_sign_and_used_with_it() {
        let mut expr = Expr::empty();
        let (number, top) = (expr.input(0, DType::U8), expr.int(128, DType::U8));
        let number = expr.apply2(BinaryOp::Xor, number, top);
        let number = expr.bits(number, DType::I8);
        let (number, zero) = (expr.convert(number, DType::I32), expr.int(-100, DType::I32));
        expr.apply2(BinaryOp::Sub, number, zero);
        let simple = simplify(&expr, &[256usize.into()], &|_| None);
        assert_eq!(simple.nodes.len(), 4, "{simple:?}");
        assert_eq!(evaluated(&simple, DType::U8), evaluated(&expr, DType::U8));
    }
}
