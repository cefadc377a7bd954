//! Factors and offsets that constant weights can absorb.

use super::pattern::compact;
use super::peel::{Other, Peel, peel};
use super::rewrite::{Rewrite, Rewriter, merged_origin};
use crate::ir::{BinaryOp, Graph, Node, Op, Scalar, Tensor, ValueId};
use std::rc::Rc;

/// Folds per-channel factors and offsets of convolutions, and factors of matrix products, into their constant weights.
///
/// Batch normalization after a convolution is the usual case. Offsets of matrix products stay: they are epilogues.
///
/// Postcondition: no elementwise node begins with the multiplication or division, by a constant per output channel, of
/// a result of which it is the only user and whose weights nobody else uses; nor, for convolutions, with the addition
/// of such a constant. (Types other than `f32` and weights that are not constant stay as they are. Quantized weights of matrix
/// products take a factor with their scales.)
///
/// Results may differ from the original by the rounding of weights.
pub(super) fn outputs(graph: &mut Graph) -> bool {
    super::rewrite::sweep(graph, &mut |rewriter, node| match &node.op {
        Op::Elementwise { .. } => (0..node.inputs.len()).find_map(|operand| after(rewriter, node, operand)),
        _ => None,
    })
}

/// Folds the factor with which the operand of a convolution or matrix product ends into the constant weights. It runs
/// after activations are recognized, of whose forms the factor may be a part.
///
/// Postcondition: no elementwise node ends with the multiplication by a constant per input channel of the operand of
/// such an operation, its only user, whose weights nobody else uses. (As for [`outputs`], for `f32` and constant weights.)
///
/// Results may differ from the original by the rounding of weights.
pub(super) fn inputs(graph: &mut Graph) -> bool {
    super::rewrite::sweep(graph, &mut |rewriter, node| match &node.op {
        Op::Conv { .. } | Op::MatMul { .. } => before(rewriter, node),
        _ => None,
    })
}

/// The weights, seen as `rows` rows, with every row multiplied by the factor of its channel.
fn scaled(tensor: &Tensor, rows: usize, channel: impl Fn(usize) -> usize, factors: &[f32]) -> Tensor {
    let row_bytes = tensor.data.len() / rows.max(1);
    let mut data = Vec::with_capacity(tensor.data.len());
    for (row, bytes) in tensor.data.chunks_exact(row_bytes.max(1)).enumerate() {
        let factor = factors[channel(row)];
        for element in bytes.chunks_exact(4) {
            let element = f32::from_le_bytes([element[0], element[1], element[2], element[3]]);
            data.extend_from_slice(&(element * factor).to_le_bytes());
        }
    }
    Tensor::from_bytes(tensor.dtype, tensor.shape.clone(), data.into())
}

/// The constant of `f32` behind a value that only this use needs, and whether it is a matrix that is transposed.
fn weights(rewriter: &Rewriter<'_>, value: ValueId) -> Option<(Tensor, bool)> {
    let node = rewriter.definition(value).filter(|_| rewriter.uses(value) == 1)?;
    let (tensor, transposed) = match &node.op {
        Op::Constant(tensor) => (tensor.clone(), false),
        Op::Transpose { permutation } if permutation[..] == [1, 0] && rewriter.uses(node.inputs[0]) == 1 => {
            (rewriter.constant(node.inputs[0])?, true)
        }
        _ => return None,
    };
    (tensor.dtype == crate::ir::DType::F32 && !tensor.is_empty()).then_some((tensor, transposed))
}

fn constant(rewriter: &mut Rewriter<'_>, tensor: Tensor, transposed: bool, origin: &[String]) -> Option<ValueId> {
    let value = rewriter.emit(Op::Constant(tensor), Vec::new(), origin)?;
    if transposed {
        rewriter.emit(
            Op::Transpose {
                permutation: vec![1, 0],
            },
            vec![value],
            origin,
        )
    } else {
        Some(value)
    }
}

/// Folds what an elementwise node does first to the result of a contraction.
fn after(rewriter: &mut Rewriter<'_>, node: &Rc<Node>, operand: usize) -> Rewrite {
    let result = node.inputs[operand];
    let host = rewriter.definition(result)?;
    let shape = rewriter.shape(node.outputs[0]);
    let only_use = rewriter.uses(result) == 1 && rewriter.is_local(result) && host.op.epilogue().is_none();
    if !only_use || host.op.epilogue_base().is_none() || !rewriter.same_shape(rewriter.shape(result), shape) {
        return None;
    }
    let rank = shape.len();
    let axis = if matches!(host.op, Op::MatMul { .. }) {
        rank - 1
    } else {
        1
    };
    let channels = shape[axis].as_usize()?;
    let Peel { op, other, id } = peel(node, operand)?;
    let mut values = rewriter.along(&other, rank, axis, channels)?;
    let folded = match op {
        BinaryOp::Mul => scale_output(rewriter, &host, &values)?,
        BinaryOp::Div => {
            values.iter_mut().for_each(|value| *value = 1.0 / *value);
            scale_output(rewriter, &host, &values)?
        }
        BinaryOp::Add => offset_output(rewriter, &host, values)?,
        BinaryOp::Sub => {
            values.iter_mut().for_each(|value| *value = -*value);
            offset_output(rewriter, &host, values)?
        }
        _ => return None,
    };
    Some(vec![rewriter.substitute(node, id, folded)?])
}

fn scale_output(rewriter: &mut Rewriter<'_>, host: &Node, factors: &[f32]) -> Option<ValueId> {
    if let Some(weights) = scaled_blocks(rewriter, host.inputs[1], factors) {
        let mut inputs = host.inputs.clone();
        inputs[1] = weights;
        return rewriter.emit_like(host, host.op.clone(), inputs);
    }
    let (tensor, transposed) = weights(rewriter, host.inputs[1])?;
    let weights = match (&host.op, &tensor.shape[..]) {
        (Op::Conv { .. }, &[out, ..]) => scaled(&tensor, out, |row| row, factors),
        (Op::ConvTranspose { groups, .. }, &[channels, out, ..]) => {
            let per_group = channels / groups;
            scaled(
                &tensor,
                channels * out,
                |row| row / out / per_group * out + row % out,
                factors,
            )
        }
        (Op::MatMul { .. }, &[n, _]) if transposed => scaled(&tensor, n, |row| row, factors),
        (Op::MatMul { .. }, &[k, n]) => scaled(&tensor, k * n, |row| row % n, factors),
        _ => return None,
    };
    let mut inputs = host.inputs.clone();
    if let Op::Conv { bias: true, .. } | Op::ConvTranspose { bias: true, .. } = host.op {
        let bias = rewriter.constant(inputs[2])?.to_vec::<f32>()?;
        let bias: Vec<f32> = bias.iter().zip(factors).map(|(bias, factor)| bias * factor).collect();
        inputs[2] = constant(rewriter, Tensor::new(vec![bias.len()], &bias), false, &host.origin)?;
    }
    inputs[1] = constant(rewriter, weights, transposed, &host.origin)?;
    rewriter.emit_like(host, host.op.clone(), inputs)
}

/// Quantized weights that only this use needs, with a factor for each column, which their scales take.
fn scaled_blocks(rewriter: &mut Rewriter<'_>, value: ValueId, factors: &[f32]) -> Option<ValueId> {
    let node = rewriter.definition(value).filter(|_| rewriter.uses(value) == 1)?;
    let Op::Dequantize { .. } = node.op else {
        return None;
    };
    let scales = rewriter.constant(node.inputs[1])?;
    let scales = scaled(&scales, scales.len(), |at| at % factors.len(), factors);
    let mut inputs = node.inputs.clone();
    inputs[1] = rewriter.emit_like(&node, Op::Constant(scales), Vec::new())?;
    rewriter.emit_like(&node, node.op.clone(), inputs)
}

fn offset_output(rewriter: &mut Rewriter<'_>, host: &Node, mut offsets: Vec<f32>) -> Option<ValueId> {
    let mut op = host.op.clone();
    let (Op::Conv { bias, .. } | Op::ConvTranspose { bias, .. }) = &mut op else {
        return None;
    };
    let mut inputs = host.inputs[..2].to_vec();
    if *bias {
        let before = rewriter.constant(host.inputs[2])?.to_vec::<f32>()?;
        offsets
            .iter_mut()
            .zip(before)
            .for_each(|(offset, before)| *offset += before);
    }
    *bias = true;
    inputs.push(constant(
        rewriter,
        Tensor::new(vec![offsets.len()], &offsets),
        false,
        &host.origin,
    )?);
    rewriter.emit_like(host, op, inputs)
}

/// Folds what an elementwise node does last to the operand of a contraction.
///
/// A factor commutes with zero padding, an offset would not.
fn before(rewriter: &mut Rewriter<'_>, host: &Rc<Node>) -> Rewrite {
    let input = host.inputs[0];
    let node = rewriter.elementwise_definition(input)?;
    if rewriter.uses(input) != 1 || !rewriter.is_local(input) || host.inputs[1] == input {
        return None;
    }
    let Op::Elementwise { expr, shape } = &node.op else {
        return None;
    };
    let Scalar::Binary(BinaryOp::Mul, x, factor) = expr.nodes[expr.result()].op else {
        return None;
    };
    let rank = shape.len();
    let axis = if matches!(host.op, Op::MatMul { .. }) {
        rank - 1
    } else {
        1
    };
    let channels = shape[axis].as_usize()?;
    let (x, factors) = [(x, factor), (factor, x)].into_iter().find_map(|(x, factor)| {
        let other = match expr.nodes[factor].op {
            Scalar::Const(literal) => Other::Literal(literal),
            Scalar::Input(index) => Other::Value(node.inputs[index]),
            _ => return None,
        };
        Some((x, rewriter.along(&other, rank, axis, channels)?))
    })?;
    let (tensor, transposed) = weights(rewriter, host.inputs[1])?;
    let weights = match (&host.op, &tensor.shape[..]) {
        (Op::Conv { groups, .. }, &[out, channels, ..]) => {
            let per_group = out / groups;
            scaled(
                &tensor,
                out * channels,
                |row| row / channels / per_group * channels + row % channels,
                &factors,
            )
        }
        (Op::MatMul { .. }, &[n, k]) if transposed => scaled(&tensor, n * k, |row| row % k, &factors),
        (Op::MatMul { .. }, &[k, _]) => scaled(&tensor, k, |row| row, &factors),
        _ => return None,
    };
    let (rest, operands) = compact(&expr.with_result(x), &node.inputs);
    let mut inputs = host.inputs.clone();
    inputs[0] = rewriter.elementwise(rest, operands, shape.clone(), &node.origin)?;
    inputs[1] = constant(rewriter, weights, transposed, &host.origin)?;
    Some(vec![rewriter.emit(
        host.op.clone(),
        inputs,
        &merged_origin([&*node, host]),
    )?])
}
