//! Conversions to types of fewer bits, before their operands are joined.

use super::fuse::is_encoding;
use super::rewrite::{Rewrite, Rewriter, merged_origin};
use crate::ir::{Dim, Graph, Node, Op, ValueId};
use std::rc::Rc;

/// The most operands of a concatenation that are computed one by one.
const MAX_OPERANDS: usize = 16;

/// Makes an elementwise node of a concatenation a concatenation of elementwise nodes, if its result has fewer bits, or those of its
/// operand with another sign.
///
/// Where quantized tensors are joined, bytes are then moved and not the numbers they stand for, and what the operands are results
/// of can give bytes at once. Other operands have to be the same along the axis, or constants, of which slices are taken.
///
/// Postcondition: no elementwise node without coordinates has a type of fewer bits than, or is an encoding of, a concatenation of
/// at most [`MAX_OPERANDS`] whose only user it is, unless another operand forbids it.
pub(super) fn run(graph: &mut Graph) -> bool {
    super::rewrite::sweep(graph, &mut |rewriter, node| match &node.op {
        Op::Elementwise { .. } => (0..node.inputs.len()).find_map(|operand| narrow(rewriter, node, operand)),
        _ => None,
    })
}

fn narrow(rewriter: &mut Rewriter<'_>, node: &Rc<Node>, operand: usize) -> Rewrite {
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
