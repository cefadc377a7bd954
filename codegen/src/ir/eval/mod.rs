//! The evaluator: what every primitive means, slowly and obviously.
//!
//! It folds constants, and it is the oracle that passes and kernels are checked against. Floating-point values are
//! computed in `f64` and rounded to their element type where a value is stored: after every node of a scalar
//! expression, and once at the end of a sum. Integers wrap. Conversions of floating-point values beyond the range of
//! an integer type saturate.
//!
//! Odd graphs and operands give errors, never a panic; results larger than [`MAX_BYTES`] are refused.

mod contract;
mod control;
mod elementwise;
mod fold;
mod movement;
mod normalize;
mod numbers;
mod order;
mod quantized;
mod recurrent;
mod reduce;
mod resize;
mod scalar;
mod small;
mod window;

use super::dim::Dim;
use super::dtype::DType;
use super::op::Op;
use super::tensor::Tensor;

pub use control::{MAX_DEPTH, MAX_TRIPS, Observer, evaluate, evaluate_with};
pub use movement::movement;
pub(crate) use numbers::int_limits;
pub use numbers::{Numbers, largest, round_to};
pub(crate) use scalar::float_function;

/// The largest result of one operation, in bytes.
pub const MAX_BYTES: usize = 1 << 31;

/// The values of symbols.
pub type Symbols<'a> = &'a dyn Fn(&str) -> Option<i64>;

/// Evaluates an operation without regions.
///
/// # Errors
///
/// If the operands do not suit the operation, a symbol has no value, an index is out of range, or a result is too
/// large.
pub fn eval_node(op: &Op, inputs: &[Tensor], dims: Symbols<'_>) -> Result<Vec<Tensor>, String> {
    for (index, input) in inputs.iter().enumerate() {
        if bytes(input.dtype, &input.shape)? != input.data.len() {
            return Err(format!("operand {index} has {} bytes for {input:?}", input.data.len()));
        }
    }
    let one = |result: Result<Tensor, String>| result.map(|tensor| vec![tensor]);
    match op {
        Op::Constant(tensor) => Ok(vec![tensor.clone()]),
        Op::Elementwise { expr, shape } => one(elementwise::expression(expr, &sizes(shape, dims)?, inputs, dims)),
        Op::Fold {
            kind,
            expr,
            shape,
            domain,
        } => one(fold::fold(
            *kind,
            expr,
            &sizes(shape, dims)?,
            &sizes(domain, dims)?,
            inputs,
            dims,
        )),
        Op::Scatter { kind } => one(order::scatter(
            *kind,
            operand(inputs, 0)?,
            operand(inputs, 1)?,
            operand(inputs, 2)?,
        )),
        Op::Sort { descending } => one(order::sort(*descending, operand(inputs, 0)?)),
        Op::Assert { message } => match operand(inputs, 0)?.to_vec::<bool>().as_deref() {
            Some([true]) => Ok(Vec::new()),
            Some([false]) => Err(message.clone()),
            _ => Err("an assertion of something else than one truth value".into()),
        },
        Op::Reduce { kind, axes, keep_dims } => one(reduce::reduce(*kind, axes, *keep_dims, operand(inputs, 0)?)),
        Op::ArgReduce {
            largest,
            axis,
            keep_dims,
            last,
        } => one(reduce::arg_reduce(
            *largest,
            *axis,
            *keep_dims,
            *last,
            operand(inputs, 0)?,
        )),
        Op::CumSum {
            axis,
            exclusive,
            reverse,
        } => one(reduce::cum_sum(*axis, *exclusive, *reverse, operand(inputs, 0)?)),
        Op::Dequantize { rows } => one(quantized::dequantize(*rows, inputs)),
        Op::MatMul { .. } => {
            let product = contract::matmul(operand(inputs, 0)?, operand(inputs, 1)?)?;
            one(elementwise::epilogue(op, product, inputs, dims))
        }
        Op::Conv {
            window,
            groups,
            bias,
            pad_value,
            ..
        } => {
            let bias = bias.then(|| operand(inputs, 2)).transpose()?;
            let result = window::conv(
                operand(inputs, 0)?,
                operand(inputs, 1)?,
                bias,
                &window::Sizes::new(window, dims)?,
                *groups,
                *pad_value,
            )?;
            one(elementwise::epilogue(op, result, inputs, dims))
        }
        Op::ConvTranspose {
            window,
            output_padding,
            groups,
            bias,
            ..
        } => {
            let bias = bias.then(|| operand(inputs, 2)).transpose()?;
            let result = window::conv_transpose(
                operand(inputs, 0)?,
                operand(inputs, 1)?,
                bias,
                &window::Sizes::new(window, dims)?,
                output_padding,
                *groups,
            )?;
            one(elementwise::epilogue(op, result, inputs, dims))
        }
        Op::Pool {
            kind,
            window,
            ceil_mode,
        } => one(window::pool(
            *kind,
            operand(inputs, 0)?,
            &window::Sizes::new(window, dims)?,
            *ceil_mode,
        )),
        Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Slice { .. }
        | Op::Broadcast { .. }
        | Op::Concat { .. }
        | Op::Pad { .. }
        | Op::Gather { .. }
        | Op::GatherElements { .. } => one(movement::move_tensors(op, inputs, dims)),
        Op::Resize {
            mode,
            coordinates,
            scales,
            shape,
        } => one(resize::resize(
            *mode,
            *coordinates,
            scales.as_deref(),
            &sizes(shape, dims)?,
            operand(inputs, 0)?,
        )),
        Op::Softmax { axis, log } => one(normalize::softmax(*axis, *log, operand(inputs, 0)?)),
        Op::Normalize {
            kind,
            axis,
            epsilon,
            scale,
            bias,
        } => {
            let x = operand(inputs, 0)?;
            let scale_tensor = scale.then(|| operand(inputs, 1)).transpose()?;
            let bias_tensor = bias.then(|| operand(inputs, 1 + usize::from(*scale))).transpose()?;
            one(normalize::normalize(
                *kind,
                *axis,
                *epsilon,
                x,
                scale_tensor,
                bias_tensor,
            ))
        }
        Op::Attention { scale, mask, causal } => {
            let mask = mask.then(|| operand(inputs, 3)).transpose()?;
            one(contract::attention(
                operand(inputs, 0)?,
                operand(inputs, 1)?,
                operand(inputs, 2)?,
                mask,
                *scale,
                *causal,
            ))
        }
        Op::Recurrent { cell, reverse } => recurrent::recurrent(*cell, *reverse, inputs),
        Op::Opaque(call) => Err(format!(
            "{} calls `{}`, which has no meaning here: it is a function of the user's program",
            call.operator, call.function
        )),
        Op::If | Op::Loop { .. } | Op::Scan { .. } => Err(format!("{} needs its regions", op.name())),
        Op::Bind { .. } => Err(format!("{} needs a graph", op.name())),
    }
}

fn operand(inputs: &[Tensor], index: usize) -> Result<&Tensor, String> {
    inputs
        .get(index)
        .ok_or_else(|| format!("operand {index} of {} is missing", inputs.len()))
}

/// The value of a dimension.
fn int(dim: &Dim, dims: Symbols<'_>) -> Result<i64, String> {
    dim.eval(dims).ok_or_else(|| format!("{dim} has no value"))
}

/// The value of a dimension that is a size.
fn size(dim: &Dim, dims: Symbols<'_>) -> Result<usize, String> {
    let value = int(dim, dims)?;
    usize::try_from(value).map_err(|_| format!("size {dim} is {value}"))
}

fn sizes(shape: &[Dim], dims: Symbols<'_>) -> Result<Vec<usize>, String> {
    shape.iter().map(|dim| size(dim, dims)).collect()
}

/// The number of bytes of a tensor, if that is within the limit.
pub(crate) fn bytes(dtype: DType, shape: &[usize]) -> Result<usize, String> {
    // An empty tensor is held to the same limit with its empty axes left out, so that no product of sizes overflows.
    let total = shape
        .iter()
        .try_fold(dtype.size(), |total, &size| total.checked_mul(size.max(1)));
    total
        .filter(|&total| total <= MAX_BYTES)
        .map(|total| if shape.contains(&0) { 0 } else { total })
        .ok_or_else(|| format!("{dtype}{shape:?} is too large to evaluate"))
}

/// The number of elements of a tensor, if its bytes are within the limit.
fn elements(dtype: DType, shape: &[usize]) -> Result<usize, String> {
    Ok(bytes(dtype, shape)? / dtype.size())
}

/// The sizes before, of and after an axis: elements of different `before`, positions, elements of one position.
fn split(shape: &[usize], axis: usize) -> Result<(usize, usize, usize), String> {
    let &size = shape
        .get(axis)
        .ok_or_else(|| format!("axis {axis} of a tensor of shape {shape:?}"))?;
    let outer = shape[..axis].iter().product();
    let inner = shape[axis + 1..].iter().product();
    Ok((outer, size, inner))
}

#[cfg(test)]
mod tests;
