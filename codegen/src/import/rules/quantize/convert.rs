//! Conversion between numbers and their quantized form.

use super::{MICROSOFT, ONNX, Results, Rules, along_axis, dequantize_scalar, quantizable, quantize_scalar};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::infer::display_shape;
use crate::ir::op::ReduceKind;
use crate::ir::{BinaryOp, DType, Dim, Op, UnaryOp, ValueId};

pub(in crate::import::rules) const RULES: Rules = &[
    (ONNX, "DequantizeLinear", dequantize),
    (ONNX, "QuantizeLinear", quantize),
    (ONNX, "DynamicQuantizeLinear", dynamic_quantize),
    (MICROSOFT, "DequantizeLinear", dequantize),
    (MICROSOFT, "QuantizeLinear", quantize),
];

/// A scale or zero point, shaped to broadcast along the axis or over the blocks that it belongs to.
fn parameter(cx: &mut Call, x: ValueId, parameter: ValueId) -> Result<ValueId, Fault> {
    let (rank, shape) = (cx.rank(x), cx.shape(parameter));
    let block = cx.int("block_size", 0)?;
    match shape.as_slice() {
        [] => Ok(parameter),
        [one] if one.is(1) => cx.reshape(parameter, Vec::new()),
        [size] if block == 0 => {
            let axis = cx.axis(cx.int("axis", 1)?, rank)?;
            let what = format!("axis {axis} of {} and its scales", display_shape(&cx.shape(x)));
            let along = cx.shape(x)[axis].clone();
            cx.equal(&what, &along, size)?;
            along_axis(cx, parameter, rank - axis)
        }
        _ => blocked(cx, x, parameter, block),
    }
}

/// Parameters of blocks along an axis, each repeated for the elements of its block, of which the last may have fewer.
fn blocked(cx: &mut Call, x: ValueId, parameter: ValueId, block: i64) -> Result<ValueId, Fault> {
    let (x_shape, shape) = (cx.shape(x), cx.shape(parameter));
    let axis = cx.axis(cx.int("axis", 1)?, x_shape.len())?;
    let fault = || {
        let (x, scales) = (display_shape(&x_shape), display_shape(&shape));
        Fault::new(format!(
            "scales of shape {scales} in blocks of {block} along axis {axis} of {x}"
        ))
    };
    if !(1..1 << 30).contains(&block) || shape.len() != x_shape.len() {
        return Err(fault());
    }
    for (index, (own, scales)) in x_shape.iter().zip(&shape).enumerate() {
        let expected = if index == axis {
            own.ceil_div(block)
        } else {
            own.clone()
        };
        cx.equal(&fault().message, &expected, scales)?;
    }
    let mut split = shape.clone();
    split.insert(axis + 1, Dim::from(1i64));
    let split_value = cx.reshape(parameter, split.clone())?;
    split[axis + 1] = Dim::from(block);
    let repeated = cx.emit(Op::Broadcast { shape: split }, &[split_value])?;
    let mut merged = shape;
    merged[axis] = merged[axis].clone() * Dim::from(block);
    let merged = cx.reshape(repeated, merged)?;
    let (starts, steps) = (vec![Dim::from(0i64); x_shape.len()], vec![1; x_shape.len()]);
    let shape = x_shape.clone();
    cx.emit(Op::Slice { starts, steps, shape }, &[merged])
}

/// An element type that 0 stands for the lack of.
fn optional_type(cx: &Call, name: &'static str) -> Result<Option<DType>, Fault> {
    match cx.int(name, 0)? {
        0 => Ok(None),
        _ => cx.dtype_attribute(name),
    }
}

/// `(x - zero) * scale`, in `f32`, or in `f64` if a type has that.
fn dequantize(cx: &mut Call) -> Results {
    cx.ignore(&["axis"]);
    let (x, scale) = (cx.input(0)?, cx.input(1)?);
    let to = optional_type(cx, "output_dtype")?.unwrap_or(cx.dtype(scale));
    let wide = if to == DType::F64 { DType::F64 } else { DType::F32 };
    let mut operands = vec![x, parameter(cx, x, scale)?];
    if let Some(zero) = cx.optional(2) {
        operands.push(parameter(cx, x, zero)?);
    }
    let result = cx.map(&operands, |expr, of| {
        let product = dequantize_scalar(expr, of[0], of[1], of.get(2).copied(), wide);
        expr.convert(product, to)
    })?;
    Ok(vec![result])
}

fn quantize(cx: &mut Call) -> Results {
    cx.ignore(&["axis"]);
    let (x, scale, zero) = (cx.input(0)?, cx.input(1)?, cx.optional(2));
    let precision = optional_type(cx, "precision")?.unwrap_or(cx.dtype(scale));
    let to = match (zero, optional_type(cx, "output_dtype")?) {
        (Some(zero), _) => cx.dtype(zero),
        (None, Some(dtype)) => dtype,
        (None, None) => DType::U8,
    };
    quantizable(to)?;
    let saturate = cx.flag("saturate", true)?;
    let mut operands = vec![x, parameter(cx, x, scale)?];
    if let Some(zero) = zero {
        operands.push(parameter(cx, x, zero)?);
    }
    let result = cx.map(&operands, |expr, of| {
        let (value, scale) = (expr.convert(of[0], precision), expr.convert(of[1], precision));
        let ratio = expr.apply2(BinaryOp::Div, value, scale);
        quantize_scalar(expr, ratio, of.get(2).copied(), to, saturate)
    })?;
    Ok(vec![result])
}

fn dynamic_quantize(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    Ok(dynamic(cx, x)?.to_vec())
}

/// A tensor in 8 bits over its range, which always contains zero, with its scale and zero point.
pub(super) fn dynamic(cx: &mut Call, x: ValueId) -> Result<[ValueId; 3], Fault> {
    let dtype = cx.dtype(x);
    let axes: Vec<_> = (0..cx.rank(x)).collect();
    let extremum = |cx: &mut Call, kind, op| {
        let (axes, keep_dims) = (axes.clone(), false);
        let found = cx.emit(Op::Reduce { kind, axes, keep_dims }, &[x])?;
        let zero = cx.number(0.0, dtype)?;
        cx.binary(op, found, zero)
    };
    let low = extremum(cx, ReduceKind::Min, BinaryOp::Min)?;
    let high = extremum(cx, ReduceKind::Max, BinaryOp::Max)?;
    let scale = cx.over(&[low, high], |f| {
        let span = f.operand(1) - f.operand(0);
        // Nothing is divided by the scale of a tensor of zeros.
        span.eq(0.0).select(span.like(1.0), span / 255.0)
    })?;
    let zero = cx.map(&[low, scale], |expr, of| {
        let negated = expr.apply1(UnaryOp::Neg, of[0]);
        let ratio = expr.apply2(BinaryOp::Div, negated, of[1]);
        quantize_scalar(expr, ratio, None, DType::U8, true)
    })?;
    let y = cx.map(&[x, scale, zero], |expr, of| {
        let ratio = expr.apply2(BinaryOp::Div, of[0], of[1]);
        quantize_scalar(expr, ratio, Some(of[2]), DType::U8, true)
    })?;
    Ok([y, scale, zero])
}
