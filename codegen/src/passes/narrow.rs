//! Conversions to types of fewer bits, before their operands are joined or the greatest of them are taken.

use super::epilogue::has_results;
use super::expr::keeps_order;
use super::fuse::is_encoding;
use super::integer::{sees_something, with_other_sign};
use super::rewrite::{Rewrite, Rewriter, merged_origin};
use crate::ir::op::PoolKind;
use crate::ir::{DType, Dim, Expr, Graph, Node, Op, ValueId};
use std::rc::Rc;

/// The most operands of a concatenation that are computed one by one.
const MAX_OPERANDS: usize = 16;

/// The most elementwise nodes and concatenations, one after another, that are looked through for a kernel.
const MAX_DEPTH: usize = 8;

/// Makes an elementwise node of a concatenation a concatenation of elementwise nodes, if its result has fewer bits, or those of its
/// operand with another sign.
///
/// Where quantized tensors are joined, bytes are then moved and not the numbers they stand for, and what the operands are results
/// of can give bytes at once. Other operands have to be the same along the axis, or constants, of which slices are taken.
///
/// In the same way, an elementwise node of maxima over windows that gives numbers of 8 bits, and the greater ones for the greater
/// maxima, is moved to what the maxima are taken of, if that is computed elementwise, by a kernel that writes such numbers, or is a
/// concatenation that the node can be moved before.
///
/// Postcondition, once the pass changes nothing: no elementwise node without coordinates has a type of fewer bits than, or is an
/// encoding of, a concatenation of at most [`MAX_OPERANDS`] whose only user it is, unless another operand forbids it. None makes
/// numbers of 8 bits of such maxima in `f32`, whose only user it is, in their order and with other operands that are the same in all
/// places, unless a window may see nothing.
pub(super) fn run(graph: &mut Graph) -> bool {
    super::rewrite::sweep(graph, &mut |rewriter, node| match &node.op {
        Op::Elementwise { .. } => (0..node.inputs.len())
            .find_map(|operand| joined(rewriter, node, operand).or_else(|| greatest(rewriter, node, operand))),
        _ => None,
    })
}

/// An elementwise node of maxima as the maxima of elementwise results.
fn greatest(rewriter: &mut Rewriter<'_>, node: &Rc<Node>, operand: usize) -> Rewrite {
    let Op::Elementwise { expr, shape } = &node.op else {
        return None;
    };
    let maxima = node.inputs[operand];
    let pool = rewriter.definition(maxima)?;
    let Op::Pool {
        kind: PoolKind::Max,
        window,
        ceil_mode,
    } = &pool.op
    else {
        return None;
    };
    let x = pool.inputs[0];
    let is_positive = |index: usize| {
        let values = rewriter
            .constant(node.inputs[index])
            .and_then(|tensor| tensor.to_vec::<f32>());
        values.is_some_and(|values| values.iter().all(|&value| value > 0.0 && value.is_finite()))
    };
    let rank = shape.len();
    let is_same_everywhere = |&input: &ValueId| (2..rank).all(|axis| axis_of(rewriter, input, rank, axis).is_none());
    if !matches!(expr.dtype(), DType::I8 | DType::U8)
        || rewriter.ty(maxima).dtype != DType::F32
        || rewriter.uses(maxima) != 1
        || !rewriter.is_local(maxima)
        || !has_gain(rewriter, node, maxima, x)
        || !rewriter.same_shape(rewriter.shape(maxima), shape)
        || !(node.inputs.iter()).all(|input| *input == maxima || is_same_everywhere(input))
        || !keeps_order(expr, operand, &is_positive)
        || !sees_something(rewriter, x, window, *ceil_mode)
    {
        return None;
    }
    // There are kernels for maxima of numbers without a sign.
    let is_signed = expr.dtype() == DType::I8;
    let mut before = expr.clone();
    if is_signed {
        let bits = before.bits(before.result(), DType::U8);
        with_other_sign(&mut before, bits);
    }
    let mut inputs = node.inputs.clone();
    inputs[operand] = x;
    let image = rewriter.shape(x).to_vec();
    let numbers = rewriter.elementwise(before, inputs, image, &node.origin)?;
    let origin = merged_origin([&*pool, node]);
    let greatest = rewriter.emit(pool.op.clone(), vec![numbers], &origin)?;
    if !is_signed {
        return Some(vec![greatest]);
    }
    let mut after = Expr::empty();
    let number = after.input(0, DType::U8);
    let number = with_other_sign(&mut after, number);
    after.bits(number, DType::I8);
    Some(vec![rewriter.elementwise(
        after,
        vec![greatest],
        shape.clone(),
        &node.origin,
    )?])
}

/// Whether what maxima are taken of can be of the type of an elementwise node of the maxima, without another step.
fn has_gain(rewriter: &Rewriter<'_>, node: &Node, maxima: ValueId, x: ValueId) -> bool {
    let dtype = rewriter.ty(node.outputs[0]).dtype;
    if rewriter.uses(x) != 1 || !rewriter.is_local(x) || is_kept_wide(rewriter, x, dtype, MAX_DEPTH) {
        return false;
    }
    let Some(producer) = rewriter.definition(x) else {
        return false;
    };
    match producer.op {
        Op::Elementwise { .. } => true,
        Op::Concat { axis } => {
            let rank = rewriter.shape(x).len();
            (2..=MAX_OPERANDS).contains(&producer.inputs.len())
                && (node.inputs.iter()).all(|&input| input == maxima || can_be_parted(rewriter, input, rank, axis))
        }
        _ => producer.op.epilogue_base().is_some(),
    }
}

/// Whether a value is the result of a kernel that does not write a type, or made of such by nodes that would be its epilogue.
fn is_kept_wide(rewriter: &Rewriter<'_>, value: ValueId, dtype: DType, depth: usize) -> bool {
    if rewriter.uses(value) != 1 || !rewriter.is_local(value) {
        return false;
    }
    let Some(node) = rewriter.definition(value) else {
        return false;
    };
    match node.op {
        Op::Elementwise { .. } | Op::Concat { .. } => {
            depth == 0 || (node.inputs.iter()).any(|&input| is_kept_wide(rewriter, input, dtype, depth - 1))
        }
        _ => node.op.epilogue_base().is_some() && !has_results(rewriter.ty(node.inputs[0]).dtype, dtype),
    }
}

/// An elementwise node of a concatenation as a concatenation of elementwise results.
fn joined(rewriter: &mut Rewriter<'_>, node: &Rc<Node>, operand: usize) -> Rewrite {
    let Op::Elementwise { expr, shape } = &node.op else {
        return None;
    };
    let joined = node.inputs[operand];
    let concat = rewriter.definition(joined)?;
    let Op::Concat { axis } = concat.op else {
        return None;
    };
    let here = node.inputs.iter().filter(|&&input| input == joined).count();
    let is_narrower = expr.dtype().bits() < rewriter.ty(joined).dtype.bits();
    if !(is_narrower || is_encoding(expr))
        || expr.is_positional()
        || !(2..=MAX_OPERANDS).contains(&concat.inputs.len())
        || rewriter.uses(joined) as usize != here
        || !rewriter.is_local(joined)
        || !rewriter.same_shape(rewriter.shape(joined), shape)
        || !(node.inputs.iter()).all(|&input| input == joined || can_be_parted(rewriter, input, shape.len(), axis))
    {
        return None;
    }
    let origin = merged_origin([&*concat, node]);
    let mut start = Dim::from(0i64);
    let mut parts = Vec::with_capacity(concat.inputs.len());
    for &part in &concat.inputs {
        let part_shape = rewriter.shape(part).to_vec();
        let size = part_shape[axis].clone();
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for &input in &node.inputs {
            inputs.push(match axis_of(rewriter, input, shape.len(), axis) {
                _ if input == joined => part,
                None => input,
                Some(own) => slice(rewriter, input, own, &start, &size, &node.origin)?,
            });
        }
        parts.push(rewriter.elementwise(expr.clone(), inputs, part_shape, &node.origin)?);
        start = start + size;
    }
    Some(vec![rewriter.emit(Op::Concat { axis }, parts, &origin)?])
}

/// The axis of a value that varies along an axis of a shape of rank `rank`, to which it is broadcast.
fn axis_of(rewriter: &Rewriter<'_>, value: ValueId, rank: usize, axis: usize) -> Option<usize> {
    let own = (axis + rewriter.shape(value).len()).checked_sub(rank)?;
    (!rewriter.shape(value)[own].is(1)).then_some(own)
}

fn can_be_parted(rewriter: &Rewriter<'_>, value: ValueId, rank: usize, axis: usize) -> bool {
    axis_of(rewriter, value, rank, axis).is_none() || rewriter.constant(value).is_some()
}

fn slice(
    rewriter: &mut Rewriter<'_>,
    value: ValueId,
    axis: usize,
    start: &Dim,
    size: &Dim,
    origin: &[String],
) -> Option<ValueId> {
    let mut shape = rewriter.shape(value).to_vec();
    let mut starts = vec![Dim::from(0i64); shape.len()];
    starts[axis] = start.clone();
    shape[axis] = size.clone();
    let steps = vec![1; shape.len()];
    rewriter.emit(Op::Slice { starts, steps, shape }, vec![value], origin)
}
