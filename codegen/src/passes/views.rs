//! Views that compose, cancel or do nothing.

use super::rewrite::{Rewriter, merged_origin};
use super::sink::groups;
use crate::ir::op::PadMode;
use crate::ir::{DType, Dim, Graph, Literal, Node, Op, Tensor, ValueId};
use std::rc::Rc;

/// Simplifies reshapes, transpositions, slices, broadcasts, concatenations and padding.
///
/// Postcondition: no view is the identity; no reshape follows a reshape, and so for transpositions, slices and
/// broadcasts; a transposition that moves only axes of size 1 is a reshape; constants are not reshaped; a slice that
/// takes exactly one operand of a concatenation is that operand, and one of a constant along its first axis a constant;
/// transpositions come before reshapes that only merge axes; zero padding before a convolution is its padding;
/// reductions keep the axes they reduce, and reduce none of size 1; a gather at one known index is a
/// slice; neither gathered indices nor masks are broadcast.
pub(super) fn run(graph: &mut Graph) -> bool {
    super::rewrite::sweep(graph, &mut |rewriter, node| {
        let value = match &node.op {
            Op::Reshape { shape } => reshape(rewriter, node, shape),
            Op::Transpose { permutation } => transpose(rewriter, node, permutation),
            Op::Slice { .. } => slice(rewriter, node),
            Op::Broadcast { shape } => broadcast(rewriter, node, shape),
            Op::Concat { axis } => concat(rewriter, node, *axis),
            Op::Pad { before, after, .. } => {
                let nothing = before.iter().chain(after).all(|size| size.is(0));
                nothing.then_some(node.inputs[0])
            }
            Op::Conv { .. } => padded_conv(rewriter, node),
            Op::Reduce { .. } => reduce(rewriter, node),
            Op::Gather { axis } => gather(rewriter, node, *axis),
            Op::Attention { mask: true, .. } => broadcast_mask(rewriter, node),
            _ => None,
        }?;
        Some(vec![value])
    })
}

/// The definition of the operand of a view.
fn operand(rewriter: &Rewriter<'_>, node: &Node) -> Option<Rc<Node>> {
    rewriter.definition(node.inputs[0])
}

fn reshape(rewriter: &mut Rewriter<'_>, node: &Rc<Node>, shape: &[Dim]) -> Option<ValueId> {
    let input = node.inputs[0];
    if rewriter.same_shape(rewriter.shape(input), shape) {
        return Some(input);
    }
    let inner = operand(rewriter, node)?;
    match &inner.op {
        Op::Reshape { .. } => {
            let op = Op::Reshape { shape: shape.to_vec() };
            rewriter.emit(op, vec![inner.inputs[0]], &merged_origin([&*inner, node]))
        }
        Op::Constant(tensor) => {
            let shape = shape.iter().map(Dim::as_usize).collect::<Option<Vec<usize>>>()?;
            let elements = shape
                .iter()
                .try_fold(1usize, |product, &size| product.checked_mul(size));
            if elements != Some(tensor.len()) {
                return None;
            }
            rewriter.emit(Op::Constant(tensor.reshaped(shape)), Vec::new(), &inner.origin)
        }
        // A broadcast of one element is one wherever it is broadcast to.
        Op::Broadcast { .. } if rewriter.ty(inner.inputs[0]).elements().is(1) => {
            let scalar = rewriter.reshaped(inner.inputs[0], Vec::new(), &inner.origin)?;
            rewriter.emit_like(node, Op::Broadcast { shape: shape.to_vec() }, vec![scalar])
        }
        _ => None,
    }
}

fn transpose(rewriter: &mut Rewriter<'_>, node: &Rc<Node>, permutation: &[usize]) -> Option<ValueId> {
    let input = node.inputs[0];
    let shape = rewriter.shape(input);
    let moving: Vec<usize> = permutation.iter().copied().filter(|&axis| !shape[axis].is(1)).collect();
    if moving.is_sorted() {
        if permutation.is_sorted() {
            return Some(input);
        }
        let shape = rewriter.shape(node.outputs[0]).to_vec();
        return rewriter.emit_like(node, Op::Reshape { shape }, vec![input]);
    }
    let inner = operand(rewriter, node)?;
    match &inner.op {
        Op::Transpose { permutation: first } => {
            let permutation = permutation.iter().map(|&axis| first[axis]).collect();
            let op = Op::Transpose { permutation };
            rewriter.emit(op, vec![inner.inputs[0]], &merged_origin([&*inner, node]))
        }
        Op::Reshape { shape } => transpose_first(rewriter, node, &inner, shape, permutation),
        _ => None,
    }
}

/// A transposition of a reshape that only merges axes as a reshape of a transposition.
///
/// Both orders are the same, but a transposition of a merged tensor is a view of the original, and a merged tensor that
/// was transposed before need not be.
fn transpose_first(
    rewriter: &mut Rewriter<'_>,
    node: &Node,
    reshape: &Node,
    shape: &[Dim],
    permutation: &[usize],
) -> Option<ValueId> {
    let source = reshape.inputs[0];
    let from = rewriter.shape(source).to_vec();
    let groups = groups(rewriter, &from, shape)?;
    let mut first: Vec<usize> = Vec::with_capacity(from.len());
    // Axes of size 1 that the reshape drops may go anywhere.
    first.extend(
        groups
            .iter()
            .filter(|(_, after)| after.is_empty())
            .flat_map(|(before, _)| before.clone()),
    );
    for axis in permutation {
        let (before, after) = groups.iter().find(|(_, after)| after.contains(axis))?;
        if after.len() > 1 {
            return None;
        }
        first.extend(before.clone());
    }
    let transposed = rewriter.emit_like(node, Op::Transpose { permutation: first }, vec![source])?;
    let shape = rewriter.shape(node.outputs[0]).to_vec();
    rewriter.emit_like(reshape, Op::Reshape { shape }, vec![transposed])
}

fn slice(rewriter: &mut Rewriter<'_>, node: &Rc<Node>) -> Option<ValueId> {
    let Op::Slice { starts, steps, shape } = &node.op else {
        return None;
    };
    let input = node.inputs[0];
    let whole =
        starts.iter().all(|start| start.is(0)) && steps.iter().zip(shape).all(|(&step, size)| step == 1 || size.is(1));
    if whole && rewriter.same_shape(rewriter.shape(input), shape) {
        return Some(input);
    }
    let inner = operand(rewriter, node)?;
    match &inner.op {
        Op::Constant(tensor) => {
            let part = leading_part(tensor, starts, steps, shape)?;
            rewriter.emit(Op::Constant(part), Vec::new(), &merged_origin([&*inner, node]))
        }
        Op::Slice {
            starts: first,
            steps: strides,
            ..
        } => {
            let starts = (0..starts.len())
                .map(|axis| first[axis].clone() + starts[axis].clone() * Dim::from(strides[axis]))
                .collect();
            let steps = steps
                .iter()
                .zip(strides)
                .map(|(a, b)| a.checked_mul(*b))
                .collect::<Option<_>>()?;
            let op = Op::Slice {
                starts,
                steps,
                shape: shape.clone(),
            };
            rewriter.emit(op, vec![inner.inputs[0]], &merged_origin([&*inner, node]))
        }
        Op::Concat { axis } => {
            let mut offset = Dim::from(0i64);
            for &part in &inner.inputs {
                let size = rewriter.shape(part)[*axis].clone();
                let fits = starts[*axis] == offset && rewriter.graph.dims_equal(&size, &shape[*axis]);
                if fits && steps[*axis] == 1 {
                    let mut starts = starts.clone();
                    starts[*axis] = Dim::from(0i64);
                    let op = Op::Slice {
                        starts,
                        steps: steps.clone(),
                        shape: shape.clone(),
                    };
                    return rewriter.emit_like(node, op, vec![part]);
                }
                offset = offset + size;
            }
            None
        }
        _ => None,
    }
}

fn broadcast(rewriter: &mut Rewriter<'_>, node: &Rc<Node>, shape: &[Dim]) -> Option<ValueId> {
    let input = node.inputs[0];
    if rewriter.same_shape(rewriter.shape(input), shape) {
        return Some(input);
    }
    let inner = operand(rewriter, node)?;
    if !matches!(inner.op, Op::Broadcast { .. }) {
        return None;
    }
    rewriter.emit_like(node, node.op.clone(), vec![inner.inputs[0]])
}

fn concat(rewriter: &mut Rewriter<'_>, node: &Rc<Node>, axis: usize) -> Option<ValueId> {
    let mut parts: Vec<ValueId> = Vec::with_capacity(node.inputs.len());
    for &input in &node.inputs {
        match rewriter.definition(input) {
            _ if rewriter.shape(input)[axis].is(0) => {}
            Some(inner)
                if matches!(inner.op, Op::Concat { axis: same } if same == axis) && rewriter.uses(input) == 1 =>
            {
                parts.extend(&inner.inputs);
            }
            _ => parts.push(input),
        }
    }
    match parts.as_slice() {
        [] => None,
        [one] => Some(*one),
        _ if parts == node.inputs => None,
        _ => rewriter.emit_like(node, node.op.clone(), parts),
    }
}

/// Padding along the spatial axes with what the convolution is padded with moves into the convolution.
fn padded_conv(rewriter: &mut Rewriter<'_>, node: &Rc<Node>) -> Option<ValueId> {
    let pad = operand(rewriter, node)?;
    let Op::Pad {
        mode: PadMode::Constant,
        before,
        after,
    } = &pad.op
    else {
        return None;
    };
    let Op::Conv { window, pad_value, .. } = &node.op else {
        return None;
    };
    // What is padded twice is padded with one number.
    let number = rewriter.splat(pad.inputs[1]).and_then(super::pattern::literal_number)?;
    let mut pads = window.pads_before.iter().chain(&window.pads_after);
    let is_free = rewriter.ty(node.inputs[0]).dtype == DType::U8 && pads.all(|size| size.is(0));
    let fits = number == f64::from(*pad_value) || is_free;
    let spatial = before[..2].iter().chain(&after[..2]).all(|size| size.is(0));
    // Negative padding crops; what is padded after a crop is not what is padded before it.
    let grows = before
        .iter()
        .chain(after)
        .all(|size| size.range(&rewriter.graph.bounds).low >= 0);
    if !(fits && spatial && grows) {
        return None;
    }
    let mut op = node.op.clone();
    if let Op::Conv { window, pad_value, .. } = &mut op {
        *pad_value = number as u8;
        for axis in 0..window.kernel.len() {
            window.pads_before[axis] = window.pads_before[axis].clone() + before[axis + 2].clone();
            window.pads_after[axis] = window.pads_after[axis].clone() + after[axis + 2].clone();
        }
    }
    let mut inputs = node.inputs.clone();
    inputs[0] = pad.inputs[0];
    rewriter.emit(op, inputs, &merged_origin([&*pad, node]))
}

fn reduce(rewriter: &mut Rewriter<'_>, node: &Rc<Node>) -> Option<ValueId> {
    use crate::ir::op::ReduceKind::{Max, Mean, Min, Prod, Sum};
    let Op::Reduce { kind, axes, keep_dims } = &node.op else {
        return None;
    };
    let input = node.inputs[0];
    let shape = rewriter.shape(input);
    let of_one = matches!(kind, Max | Mean | Min | Prod | Sum);
    let axes_left: Vec<usize> = axes
        .iter()
        .copied()
        .filter(|&axis| !of_one || !shape[axis].is(1))
        .collect();
    let nothing = of_one && axes_left.is_empty();
    if *keep_dims && !nothing && axes_left == *axes {
        return None;
    }
    let result = rewriter.shape(node.outputs[0]).to_vec();
    let mut value = input;
    if !nothing {
        let op = Op::Reduce {
            kind: *kind,
            axes: axes_left,
            keep_dims: true,
        };
        value = rewriter.emit_like(node, op, vec![input])?;
    }
    rewriter.reshaped(value, result, &node.origin)
}

fn gather(rewriter: &mut Rewriter<'_>, node: &Rc<Node>, axis: usize) -> Option<ValueId> {
    let (table, indices) = (node.inputs[0], node.inputs[1]);
    let result = rewriter.shape(node.outputs[0]).to_vec();
    let Some(Literal::Int(index)) = rewriter.splat(indices) else {
        return gather_broadcast(rewriter, node, axis);
    };
    let index = i64::try_from(index).ok()?;
    let mut shape = rewriter.shape(table).to_vec();
    let start = if index < 0 {
        shape[axis].clone() + Dim::from(index)
    } else {
        Dim::from(index)
    };
    let bounds = &rewriter.graph.bounds;
    let inside = start.range(bounds).low >= 0 && (shape[axis].clone() - start.clone()).range(bounds).low > 0;
    if !inside {
        return None;
    }
    let mut starts = vec![Dim::from(0i64); shape.len()];
    starts[axis] = start;
    shape[axis] = Dim::from(1i64);
    let op = Op::Slice {
        starts,
        steps: vec![1; shape.len()],
        shape: shape.clone(),
    };
    let value = rewriter.emit_like(node, op, vec![table])?;
    let ones = vec![Dim::from(1i64); rewriter.shape(indices).len()];
    shape.splice(axis..=axis, ones);
    let value = rewriter.reshaped(value, shape, &node.origin)?;
    rewriter.broadcast_to(value, result, &node.origin)
}

/// A gather at broadcast indices broadcasts what is gathered.
fn gather_broadcast(rewriter: &mut Rewriter<'_>, node: &Rc<Node>, axis: usize) -> Option<ValueId> {
    let (table, indices) = (node.inputs[0], node.inputs[1]);
    let broadcast = rewriter
        .definition(indices)
        .filter(|inner| matches!(inner.op, Op::Broadcast { .. }))?;
    let source = broadcast.inputs[0];
    let missing = rewriter.shape(indices).len() - rewriter.shape(source).len();
    let mut shape = vec![Dim::from(1i64); missing];
    shape.extend(rewriter.shape(source).iter().cloned());
    let source = rewriter.reshaped(source, shape, &node.origin)?;
    let gathered = rewriter.emit_like(node, Op::Gather { axis }, vec![table, source])?;
    let result = rewriter.shape(node.outputs[0]).to_vec();
    rewriter.broadcast_to(gathered, result, &node.origin)
}

fn broadcast_mask(rewriter: &mut Rewriter<'_>, node: &Rc<Node>) -> Option<ValueId> {
    let inner = rewriter
        .definition(node.inputs[3])
        .filter(|inner| matches!(inner.op, Op::Broadcast { .. }))?;
    let mut inputs = node.inputs.clone();
    inputs[3] = inner.inputs[0];
    rewriter.emit_like(node, node.op.clone(), inputs)
}

/// A slice of a constant along its first axis shares its bytes.
fn leading_part(tensor: &Tensor, starts: &[Dim], steps: &[i64], shape: &[Dim]) -> Option<Tensor> {
    let shape = shape.iter().map(Dim::as_usize).collect::<Option<Vec<usize>>>()?;
    let inner_whole =
        (1..shape.len()).all(|axis| starts[axis].is(0) && steps[axis] == 1 && shape[axis] == tensor.shape[axis]);
    if !inner_whole || steps.first() != Some(&1) {
        return None;
    }
    let row = tensor.data.len() / tensor.shape[0].max(1);
    let start = starts[0].as_usize()?.checked_mul(row)?;
    let end = start.checked_add(shape[0].checked_mul(row)?)?;
    (end <= tensor.data.len()).then(|| Tensor::from_bytes(tensor.dtype, shape, tensor.data.slice(start..end)))
}
