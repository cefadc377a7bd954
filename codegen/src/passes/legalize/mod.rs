//! Operations without a kernel, written as operations that have one.

mod contract;
mod movement;
mod rows;
mod window;

use super::rewrite::{Rewrite, Rewriter};
use crate::ir::op::{PoolKind, ResizeMode, Window};
use crate::ir::{DType, Dim, Expr, Graph, Node, Op, ValueId};
use std::rc::Rc;

/// Rewrites operations that the runtime has no kernel for.
///
/// Types that are only stored are computed in a wider type, with the kernels of that. What is left (other types, more
/// axes, weights that only the run knows) becomes expressions for every element and folds over them, slower by far than
/// a kernel but without anything that need not exist.
///
/// Postcondition: products and convolutions are of `f32`, or of `u8` with constant weights of `i8`, convolutions have constant
/// weights and at most two spatial axes, softmax, normalization, attention, pooling (maxima of `u8`, too) and padding are of
/// `f32`, reductions of types that have a kernel, unless their sizes forbid it. What quantized numbers stand for is left of
/// constants alone.
pub(super) fn run(graph: &mut Graph) -> bool {
    super::rewrite::sweep(graph, &mut |rewriter, node| {
        if has_kernel(rewriter, node) {
            return None;
        }
        if let Some(wide) = wider(rewriter, node) {
            return widened(rewriter, node, wide);
        }
        match &node.op {
            Op::MatMul { .. } => contract::matmul(rewriter, node),
            Op::Attention { .. } => contract::attention(rewriter, node),
            Op::Conv { .. } => window::conv(rewriter, node),
            Op::ConvTranspose { .. } => window::conv_transpose(rewriter, node),
            Op::Pool { .. } => window::pool(rewriter, node),
            Op::Softmax { .. } => rows::softmax(rewriter, node),
            Op::Normalize { .. } => rows::normalize(rewriter, node),
            Op::Reduce { .. } => rows::reduce(rewriter, node),
            Op::ArgReduce { .. } => rows::arg_reduce(rewriter, node),
            Op::CumSum { .. } => rows::cum_sum(rewriter, node),
            Op::Pad { .. } => movement::pad(rewriter, node),
            Op::Dequantize { rows } => movement::dequantize(rewriter, node, *rows),
            Op::GatherElements { .. } => movement::gather_elements(rewriter, node),
            _ => None,
        }
    })
}

/// The types that reductions and running sums have kernels for.
pub(crate) fn is_reducible(dtype: DType) -> bool {
    use DType::*;
    matches!(dtype, F32 | F64 | I8 | U8 | I32 | I64 | Bool)
}

/// Whether the runtime has a kernel for an operation.
fn has_kernel(rewriter: &Rewriter<'_>, node: &Node) -> bool {
    let Some(&x) = node.inputs.first() else { return true };
    let dtype = rewriter.ty(x).dtype;
    let single = dtype == DType::F32;
    match &node.op {
        Op::MatMul { .. } if dtype == DType::U8 => {
            let right = rewriter.ty(node.inputs[1]);
            let is_matrix = right.shape.iter().rev().skip(2).all(|size| size.is(1));
            right.dtype == DType::I8 && is_matrix && is_weight(rewriter, node.inputs[1])
        }
        Op::MatMul { .. } | Op::Softmax { .. } | Op::Normalize { .. } | Op::Attention { .. } => single,
        Op::Conv { window, groups, .. } if dtype == DType::U8 => {
            let is_apart = |value: ValueId| rewriter.shape(value)[1].is(*groups as i64);
            let is_grouped = *groups > 1 && !(is_apart(x) && is_apart(node.outputs[0]));
            let right = rewriter.ty(node.inputs[1]).dtype;
            right == DType::I8 && !is_grouped && is_plane(rewriter, window) && is_weight(rewriter, node.inputs[1])
        }
        Op::Conv { window, .. } | Op::ConvTranspose { window, .. } => {
            single && is_plane(rewriter, window) && is_weight(rewriter, node.inputs[1])
        }
        Op::Dequantize { .. } => node.inputs.iter().all(|&input| is_weight(rewriter, input)),
        Op::Pool { kind, window, .. } => {
            (single || dtype == DType::U8 && *kind == PoolKind::Max) && is_plane(rewriter, window)
        }
        Op::Pad { before, after, .. } => single && before.iter().chain(after).all(|size| is_size(rewriter, size)),
        Op::Reduce { .. } | Op::ArgReduce { .. } | Op::CumSum { .. } => is_reducible(dtype),
        Op::Resize { mode, .. } => single || matches!(mode, ResizeMode::Cubic { .. }),
        Op::GatherElements { axis } => {
            let (data, indices) = (rewriter.shape(x), rewriter.shape(node.inputs[1]));
            (0..data.len()).all(|other| other == *axis || rewriter.graph.dims_equal(&data[other], &indices[other]))
        }
        _ => true,
    }
}

/// Whether windows are over one or two axes, without negative padding.
fn is_plane(rewriter: &Rewriter<'_>, window: &Window) -> bool {
    let mut pads = window.pads_before.iter().chain(&window.pads_after);
    window.kernel.len() <= 2 && pads.all(|pad| is_size(rewriter, pad))
}

fn is_size(rewriter: &Rewriter<'_>, dim: &Dim) -> bool {
    dim.range(&rewriter.graph.bounds).low >= 0
}

/// Whether a value is a constant that can be packed.
fn is_weight(rewriter: &Rewriter<'_>, value: ValueId) -> bool {
    match rewriter.definition(value).as_deref() {
        Some(Node {
            op: Op::Constant(_), ..
        }) => true,
        Some(Node {
            op: Op::Reshape { .. },
            inputs,
            ..
        }) => is_weight(rewriter, inputs[0]),
        _ => false,
    }
}

/// The type in which an operation is computed instead, if that is another one.
fn wider(rewriter: &Rewriter<'_>, node: &Node) -> Option<DType> {
    let dtype = rewriter.ty(node.inputs[0]).dtype;
    let wide = match (&node.op, dtype) {
        (Op::Pad { .. } | Op::GatherElements { .. }, _) => return None,
        // Sums wrap in the wider type and again when they are stored.
        (
            Op::Reduce { .. } | Op::ArgReduce { .. } | Op::CumSum { .. },
            DType::I16 | DType::U16 | DType::U32 | DType::I2 | DType::I4 | DType::U2 | DType::U4,
        ) => DType::I64,
        _ => dtype.arithmetic(),
    };
    (wide != dtype && node.outputs.len() == 1).then_some(wide)
}

fn widened(rewriter: &mut Rewriter<'_>, node: &Rc<Node>, wide: DType) -> Rewrite {
    let dtype = rewriter.ty(node.inputs[0]).dtype;
    let mut inputs = Vec::with_capacity(node.inputs.len());
    for &input in &node.inputs {
        inputs.push(match rewriter.ty(input).dtype == dtype {
            true => cast(rewriter, node, input, wide)?,
            false => input,
        });
    }
    let result = rewriter.ty(node.outputs[0]).dtype;
    let value = rewriter.emit_like(node, node.op.clone(), inputs)?;
    Some(vec![cast(rewriter, node, value, result)?])
}

/// A value in another type.
fn cast(rewriter: &mut Rewriter<'_>, node: &Node, value: ValueId, to: DType) -> Option<ValueId> {
    let ty = rewriter.ty(value).clone();
    if ty.dtype == to {
        return Some(value);
    }
    rewriter.elementwise(Expr::cast(ty.dtype, to), vec![value], ty.shape, &node.origin)
}

/// Applies the epilogue of an operation to its result so far.
fn with_epilogue(rewriter: &mut Rewriter<'_>, node: &Node, value: ValueId) -> Rewrite {
    let (Some(epilogue), Some(base)) = (node.op.epilogue(), node.op.epilogue_base()) else {
        return Some(vec![value]);
    };
    let mut inputs = vec![value];
    inputs.extend(&node.inputs[base..]);
    let shape = rewriter.shape(value).to_vec();
    Some(vec![rewriter.elementwise(
        epilogue.expr.clone(),
        inputs,
        shape,
        &node.origin,
    )?])
}
