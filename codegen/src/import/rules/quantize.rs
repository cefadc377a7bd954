//! Conversion between numbers and their quantized form.

use super::{ONNX, Rules};
use crate::import::builder::{Fault, literal};
use crate::import::call::Call;
use crate::ir::infer::display_shape;
use crate::ir::op::ReduceKind;
use crate::ir::{BinaryOp, DType, Dim, Expr, Op, ScalarId, UnaryOp, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[
    (ONNX, "DequantizeLinear", dequantize),
    (ONNX, "QuantizeLinear", quantize),
    (ONNX, "DynamicQuantizeLinear", dynamic_quantize),
];

/// A scale or zero point, shaped to broadcast along the axis that it belongs to.
fn parameter(cx: &mut Call, x: ValueId, parameter: ValueId) -> Result<ValueId, Fault> {
    let (rank, shape) = (cx.rank(x), cx.shape(parameter));
    match shape.as_slice() {
        [] => Ok(parameter),
        [one] if one.is(1) => cx.reshape(parameter, Vec::new()),
        [size] => {
            let axis = cx.axis(cx.int("axis", 1)?, rank)?;
            let what = format!("axis {axis} of {} and its scales", display_shape(&cx.shape(x)));
            let along = cx.shape(x)[axis].clone();
            cx.equal(&what, &along, size)?;
            let mut shape = vec![Dim::from(1i64); rank - axis];
            shape[0] = size.clone();
            cx.reshape(parameter, shape)
        }
        shape => Err(Fault::new(format!(
            "scales of shape {} (by blocks) are not supported",
            display_shape(shape)
        ))),
    }
}

/// `(x - zero) * scale`.
fn dequantize(cx: &mut Call) -> Results {
    cx.ignore(&["axis"]);
    cx.only_int("block_size", 0)?;
    let (x, scale) = (cx.input(0)?, cx.input(1)?);
    let (from, to) = (cx.dtype(x), cx.dtype(scale));
    if cx.dtype_attribute("output_dtype")?.is_some_and(|dtype| dtype != to) {
        return Err(Fault::new(
            "`output_dtype` other than that of the scale is not supported",
        ));
    }
    let mut operands = vec![x, parameter(cx, x, scale)?];
    let mut expr = Expr::empty();
    let mut value = expr.input(0, from);
    if let Some(zero) = cx.optional(2) {
        operands.push(parameter(cx, x, zero)?);
        let zero = expr.input(2, cx.dtype(zero));
        let (wide, zero) = (expr.convert(value, DType::I32), expr.convert(zero, DType::I32));
        value = expr.apply2(BinaryOp::Sub, wide, zero);
    }
    let (value, scale) = (expr.convert(value, to), expr.input(1, to));
    expr.apply2(BinaryOp::Mul, value, scale);
    Ok(vec![cx.elementwise(expr, &operands)?])
}

/// The limits of a quantized type.
fn limits(dtype: DType) -> Result<(f64, f64), Fault> {
    Ok(match dtype {
        DType::U8 => (0.0, 255.0),
        DType::I8 => (-128.0, 127.0),
        DType::U16 => (0.0, 65535.0),
        DType::I16 => (-32768.0, 32767.0),
        other => return Err(Fault::new(format!("quantization to {other} is not supported"))),
    })
}

/// `saturate(round(x / scale) + zero)`, rounding to the nearest even.
fn quantize_scalar(
    expr: &mut Expr,
    x: ScalarId,
    scale: ScalarId,
    zero: Option<ScalarId>,
    to: DType,
) -> Result<ScalarId, Fault> {
    let dtype = expr.nodes[x].dtype;
    let (low, high) = limits(to)?;
    let ratio = expr.apply2(BinaryOp::Div, x, scale);
    let mut value = expr.apply1(UnaryOp::Round, ratio);
    if let Some(zero) = zero {
        let zero = expr.convert(zero, dtype);
        value = expr.apply2(BinaryOp::Add, value, zero);
    }
    let (low, high) = (literal(expr, low, dtype), literal(expr, high, dtype));
    let value = expr.apply2(BinaryOp::Max, value, low);
    let value = expr.apply2(BinaryOp::Min, value, high);
    Ok(expr.convert(value, to))
}

fn quantize(cx: &mut Call) -> Results {
    cx.ignore(&["axis", "saturate", "precision"]);
    cx.only_int("block_size", 0)?;
    let (x, scale) = (cx.input(0)?, cx.input(1)?);
    let zero = cx.optional(2);
    let to = match (zero, cx.dtype_attribute("output_dtype")?) {
        (Some(zero), _) => cx.dtype(zero),
        (None, Some(dtype)) => dtype,
        (None, None) => DType::U8,
    };
    let mut operands = vec![x, parameter(cx, x, scale)?];
    let mut expr = Expr::empty();
    let value = expr.input(0, cx.dtype(x));
    let scale_id = expr.input(1, cx.dtype(scale));
    let scale_id = expr.convert(scale_id, cx.dtype(x));
    let zero_id = match zero {
        Some(zero) => {
            operands.push(parameter(cx, x, zero)?);
            Some(expr.input(2, to))
        }
        None => None,
    };
    let result = quantize_scalar(&mut expr, value, scale_id, zero_id, to)?;
    Ok(vec![cx.elementwise(expr.finish(result), &operands)?])
}

/// Quantizes to 8 bits over the range of the tensor, which always contains zero.
fn dynamic_quantize(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let dtype = cx.dtype(x);
    let axes: Vec<_> = (0..cx.rank(x)).collect();
    let extremum = |cx: &mut Call, kind, op| {
        let found = cx.emit(
            Op::Reduce {
                kind,
                axes: axes.clone(),
                keep_dims: false,
            },
            &[x],
        )?;
        let zero = cx.number(0.0, dtype)?;
        cx.binary(op, found, zero)
    };
    let low = extremum(cx, ReduceKind::Min, BinaryOp::Min)?;
    let high = extremum(cx, ReduceKind::Max, BinaryOp::Max)?;
    let mut expr = Expr::empty();
    let (low_id, high_id) = (expr.input(0, dtype), expr.input(1, dtype));
    let (span, steps) = (expr.apply2(BinaryOp::Sub, high_id, low_id), expr.float(255.0, dtype));
    expr.apply2(BinaryOp::Div, span, steps);
    let scale = cx.elementwise(expr, &[low, high])?;

    let mut expr = Expr::empty();
    let (low_id, scale_id) = (expr.input(0, dtype), expr.input(1, dtype));
    let negated = expr.apply1(UnaryOp::Neg, low_id);
    let result = quantize_scalar(&mut expr, negated, scale_id, None, DType::U8)?;
    let zero = cx.elementwise(expr.finish(result), &[low, scale])?;

    let mut expr = Expr::empty();
    let (value, scale_id, zero_id) = (expr.input(0, dtype), expr.input(1, dtype), expr.input(2, DType::U8));
    let result = quantize_scalar(&mut expr, value, scale_id, Some(zero_id), DType::U8)?;
    let y = cx.elementwise(expr.finish(result), &[x, scale, zero])?;
    Ok(vec![y, scale, zero])
}
