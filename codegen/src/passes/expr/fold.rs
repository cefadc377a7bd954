//! Scalar operations on constants.

use crate::ir::eval::eval_node;
use crate::ir::{DType, Expr, Literal, Op, Scalar};
use crate::passes::pattern::splat_of;

/// The value of an operation on constants, as the [evaluator](crate::ir::eval) has it; `None` for element types that
/// literals do not express.
///
/// The operands of `op` are the numbers of `constants`.
pub(super) fn fold(op: Scalar, dtype: DType, constants: &[(Literal, DType)]) -> Option<Literal> {
    let mut expr = Expr::empty();
    // Pushed without sharing, so that the numbers stay.
    for &(literal, dtype) in constants {
        expr.nodes.push(crate::ir::expr::ScalarNode {
            op: Scalar::Const(literal),
            dtype,
        });
    }
    expr.nodes.push(crate::ir::expr::ScalarNode { op, dtype });
    let op = Op::Elementwise {
        expr,
        shape: Vec::new(),
    };
    splat_of(eval_node(&op, &[], &|_| None).ok()?.first()?)
}
