//! Values of what is a few operations away from constants.

use crate::ir::eval::eval_node;
use crate::ir::{DType, Dim, Op, ScalarId, Tensor, ValueId};
use crate::passes::rewrite::Rewriter;

use super::MAX_WEIGHTS;
use super::elements::{Elements, scaled};

/// How many times as many elements as its operands have the value of a constant expression may have, beyond a few.
const MAX_GROWTH: usize = 4;

/// The most operations between a constant and the weights that are computed from it.
const MAX_DEPTH: usize = 4;

/// The value of what is a few operations away from constants.
pub(super) fn evaluated(rewriter: &Rewriter<'_>, value: ValueId) -> Option<Tensor> {
    within(rewriter, value, MAX_DEPTH, 0)
}

/// The same, where a value may have `room` elements, however few its operands have.
fn within(rewriter: &Rewriter<'_>, value: ValueId, depth: usize, room: usize) -> Option<Tensor> {
    let node = rewriter.definition(value)?;
    match &node.op {
        Op::Constant(tensor) => Some(tensor.clone()),
        Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Slice { .. }
        | Op::Broadcast { .. }
        | Op::Elementwise { .. } => {
            let depth = depth.checked_sub(1)?;
            let inputs = node.inputs.iter().map(|&input| within(rewriter, input, depth, room));
            let inputs = inputs.collect::<Option<Vec<Tensor>>>()?;
            is_moderate(rewriter.shape(value), &inputs, room).then(|| one(&node.op, &inputs))?
        }
        _ => None,
    }
}

/// Whether a value is not much larger than what it is computed from, or has no more elements than there is room for.
fn is_moderate(shape: &[Dim], inputs: &[Tensor], room: usize) -> bool {
    let from: usize = inputs.iter().map(Tensor::len).sum();
    let elements = shape.iter().cloned().product::<Dim>().as_usize();
    elements.is_some_and(|elements| elements <= (from * MAX_GROWTH).max(room).clamp(4096, MAX_WEIGHTS))
}

/// The result of an operation with one.
pub(super) fn one(op: &Op, inputs: &[Tensor]) -> Option<Tensor> {
    eval_node(op, inputs, &|_| None).ok()?.into_iter().next()
}

/// Constant weights `w t`, as `w` and `t`, each for every element.
pub(super) fn scaled_weights(rewriter: &Rewriter<'_>, weights: ValueId) -> Option<(Tensor, Tensor)> {
    let node = rewriter.definition(weights)?;
    let (value, transpose) = match &node.op {
        Op::Transpose { .. } => (node.inputs[0], Some(node.op.clone())),
        _ => (weights, None),
    };
    let Elements {
        expr, inputs, shape, ..
    } = Elements::of(rewriter, value)?;
    let (number, scale) = scaled(&expr)?;
    // Parameters of blocks are repeated for all of their elements, the last of which may not exist.
    let room = shape.iter().cloned().product::<Dim>().as_usize()?.saturating_mul(2);
    let inputs: Vec<Tensor> = inputs
        .iter()
        .map(|&input| within(rewriter, input, MAX_DEPTH, room))
        .collect::<Option<_>>()?;
    is_moderate(&shape, &inputs, 0).then_some(())?;
    let part = |id: ScalarId, dtype: DType| {
        let mut expr = expr.with_result(id);
        let result = expr.result();
        let result = expr.convert(result, dtype);
        let op = Op::Elementwise {
            expr: expr.finish(result),
            shape: shape.clone(),
        };
        let tensor = one(&op, &inputs)?;
        match &transpose {
            Some(op) => one(op, &[tensor]),
            None => Some(tensor),
        }
    };
    Some((part(number, DType::I64)?, part(scale, DType::F32)?))
}
