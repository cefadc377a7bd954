//! Conversion between numbers and their quantized form.

use super::cast::saturated;
use super::conv::convolve;
use super::linear::{matmul, transposed};
use super::{MICROSOFT, ONNX, Rules};
use crate::import::builder::{Fault, literal};
use crate::import::call::Call;
use crate::ir::eval::int_limits;
use crate::ir::infer::display_shape;
use crate::ir::op::ReduceKind;
use crate::ir::{BinaryOp, DType, Dim, Expr, Op, ScalarId, UnaryOp, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[
    (ONNX, "DequantizeLinear", dequantize),
    (ONNX, "QuantizeLinear", quantize),
    (ONNX, "DynamicQuantizeLinear", dynamic_quantize),
    (ONNX, "MatMulInteger", matmul_integer),
    (ONNX, "ConvInteger", conv_integer),
    (ONNX, "QLinearMatMul", qlinear_matmul),
    (ONNX, "QLinearConv", qlinear_conv),
    (MICROSOFT, "QGemm", qgemm),
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

/// A vector as a tensor of the given rank whose first axis it is.
fn along_axis(cx: &mut Call, vector: ValueId, rank: usize) -> Result<ValueId, Fault> {
    let mut shape = vec![Dim::from(1i64); rank];
    shape[0] = cx.shape(vector)[0].clone();
    cx.reshape(vector, shape)
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
    let mut expr = Expr::empty();
    let mut value = expr.input(0, cx.dtype(x));
    if let Some(zero) = cx.optional(2) {
        operands.push(parameter(cx, x, zero)?);
        let exact = if cx.dtype(x).is_int() { DType::I32 } else { wide };
        let zero = expr.input(2, cx.dtype(zero));
        let (value_wide, zero) = (expr.convert(value, exact), expr.convert(zero, exact));
        value = expr.apply2(BinaryOp::Sub, value_wide, zero);
    }
    let scale = expr.input(1, cx.dtype(scale));
    let (value, scale) = (expr.convert(value, wide), expr.convert(scale, wide));
    let product = expr.apply2(BinaryOp::Mul, value, scale);
    let result = expr.convert(product, to);
    Ok(vec![cx.elementwise(expr.finish(result), &operands)?])
}

/// A ratio to a scale as a quantized number: `saturate(round(ratio) + zero)` for integers, rounding to the nearest even,
/// and `ratio + zero` for floats.
fn quantize_scalar(
    expr: &mut Expr,
    ratio: ScalarId,
    zero: Option<ScalarId>,
    to: DType,
    saturate: bool,
) -> Result<ScalarId, Fault> {
    if !(to.is_int() && to.bits() <= 16 || to.is_float() && to.bits() <= 8) {
        return Err(Fault::new(format!("quantization to {to} is not supported")));
    }
    let rounded = if to.is_int() {
        expr.apply1(UnaryOp::Round, ratio)
    } else {
        ratio
    };
    // Halves have no room for all numbers of 16 bits.
    let wide = if expr.nodes[ratio].dtype == DType::F64 {
        DType::F64
    } else {
        DType::F32
    };
    let mut value = expr.convert(rounded, wide);
    if let Some(zero) = zero {
        let zero = expr.convert(zero, wide);
        value = expr.apply2(BinaryOp::Add, value, zero);
    }
    if to.is_float() {
        return Ok(if saturate {
            saturated(expr, value, to)
        } else {
            expr.convert(value, to)
        });
    }
    let (low, high) = int_limits(to);
    let (low, high) = (literal(expr, low as f64, wide), literal(expr, high as f64, wide));
    let value = expr.apply2(BinaryOp::Max, value, low);
    let value = expr.apply2(BinaryOp::Min, value, high);
    Ok(expr.convert(value, to))
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
    let saturate = cx.flag("saturate", true)?;
    let mut operands = vec![x, parameter(cx, x, scale)?];
    let mut expr = Expr::empty();
    let (value, scale) = (expr.input(0, cx.dtype(x)), expr.input(1, cx.dtype(scale)));
    let (value, scale) = (expr.convert(value, precision), expr.convert(scale, precision));
    let ratio = expr.apply2(BinaryOp::Div, value, scale);
    let zero = match zero {
        Some(zero) => {
            operands.push(parameter(cx, x, zero)?);
            Some(expr.input(2, to))
        }
        None => None,
    };
    let result = quantize_scalar(&mut expr, ratio, zero, to, saturate)?;
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
    let ratio = expr.apply2(BinaryOp::Div, negated, scale_id);
    let result = quantize_scalar(&mut expr, ratio, None, DType::U8, true)?;
    let zero = cx.elementwise(expr.finish(result), &[low, scale])?;

    let mut expr = Expr::empty();
    let (value, scale_id, zero_id) = (expr.input(0, dtype), expr.input(1, dtype), expr.input(2, DType::U8));
    let ratio = expr.apply2(BinaryOp::Div, value, scale_id);
    let result = quantize_scalar(&mut expr, ratio, Some(zero_id), DType::U8, true)?;
    let y = cx.elementwise(expr.finish(result), &[x, scale, zero])?;
    Ok(vec![y, scale, zero])
}

/// The difference to the zero point, exactly: in 32 bits, of floats in `f32`. A vector of zero points belongs to the
/// first axis of the `vector_rank` last ones.
fn centered(cx: &mut Call, x: ValueId, zero: Option<ValueId>, vector_rank: usize) -> Result<ValueId, Fault> {
    let wide = if cx.dtype(x).is_float() { DType::F32 } else { DType::I32 };
    let x = cx.cast(x, wide)?;
    let Some(zero) = zero else { return Ok(x) };
    let zero = cx.cast(zero, wide)?;
    let zero = spread(cx, zero, vector_rank)?;
    cx.binary(BinaryOp::Sub, x, zero)
}

/// A vector of parameters along the first of so many last axes; one parameter, and parameters of a higher rank, as they
/// are.
fn spread(cx: &mut Call, parameter: ValueId, rank: usize) -> Result<ValueId, Fault> {
    match cx.shape(parameter).as_slice() {
        [one] if one.is(1) => cx.reshape(parameter, Vec::new()),
        [_] => along_axis(cx, parameter, rank),
        _ => Ok(parameter),
    }
}

/// The operands of a product of quantized tensors: parameters of the left one by rows, of the right one by columns.
fn integer_product(cx: &mut Call, [a, a_zero, b, b_zero]: [Option<ValueId>; 4]) -> Result<ValueId, Fault> {
    let missing = || Fault::new("a factor is missing");
    let (a, b) = (a.ok_or_else(missing)?, b.ok_or_else(missing)?);
    let a = centered(cx, a, a_zero, 2)?;
    let b = centered(cx, b, b_zero, 1)?;
    matmul(cx, a, b)
}

fn matmul_integer(cx: &mut Call) -> Results {
    let operands = [0, 2, 1, 3].map(|index| cx.optional(index));
    Ok(vec![integer_product(cx, operands)?])
}

fn qlinear_matmul(cx: &mut Call) -> Results {
    let operands = [0, 2, 3, 5].map(|index| cx.optional(index));
    let (a_scale, b_scale) = (cx.input(1)?, cx.input(4)?);
    let product = integer_product(cx, operands)?;
    let scales = [spread(cx, a_scale, 2)?, spread(cx, b_scale, 1)?];
    requantize(cx, product, scales, cx.input(6)?, cx.input(7)?)
}

/// A product with a bias in its scale, in the scale of the result or, if that has none, in `f32`.
fn qgemm(cx: &mut Call) -> Results {
    let (mut a, mut b) = (cx.input(0)?, cx.input(3)?);
    if cx.flag("transA", false)? {
        a = transposed(cx, a)?;
    }
    if cx.flag("transB", false)? {
        b = transposed(cx, b)?;
    }
    let [a_zero, b_zero] = [2, 5].map(|index| cx.optional(index));
    let mut product = integer_product(cx, [Some(a), a_zero, Some(b), b_zero])?;
    if let Some(bias) = cx.optional(6) {
        product = cx.binary(BinaryOp::Add, product, bias)?;
    }
    let (a_scale, b_scale) = (cx.input(1)?, cx.input(4)?);
    let alpha = cx.float("alpha", 1.0)?;
    let a_scale = cx.scaled(a_scale, alpha.into())?;
    let scales = [spread(cx, a_scale, 2)?, spread(cx, b_scale, 1)?];
    match (cx.optional(7), cx.optional(8)) {
        (Some(scale), Some(zero)) => requantize(cx, product, scales, scale, zero),
        (None, None) => {
            let factor = cx.binary(BinaryOp::Mul, scales[0], scales[1])?;
            let product = cx.cast(product, DType::F32)?;
            Ok(vec![cx.binary(BinaryOp::Mul, product, factor)?])
        }
        _ => Err(Fault::new(
            "a scale of the result without its zero point, or the other way",
        )),
    }
}

/// The convolution of the differences to the zero points, of which weights may have one for each output channel.
fn integer_convolution(cx: &mut Call, [x, x_zero, w, w_zero, bias]: [Option<ValueId>; 5]) -> Result<ValueId, Fault> {
    let missing = || Fault::new("the input or the weights are missing");
    let (x, w) = (x.ok_or_else(missing)?, w.ok_or_else(missing)?);
    let rank = cx.rank(w);
    let x = centered(cx, x, x_zero, 1)?;
    let w = centered(cx, w, w_zero, rank)?;
    convolve(cx, x, w, bias)
}

fn conv_integer(cx: &mut Call) -> Results {
    let [x, w, x_zero, w_zero] = [0, 1, 2, 3].map(|index| cx.optional(index));
    Ok(vec![integer_convolution(cx, [x, x_zero, w, w_zero, None])?])
}

fn qlinear_conv(cx: &mut Call) -> Results {
    let operands = [0, 2, 3, 5, 8].map(|index| cx.optional(index));
    let (x_scale, w_scale) = (cx.input(1)?, cx.input(4)?);
    let result = integer_convolution(cx, operands)?;
    let channels = cx.rank(result) - 1;
    let scales = [spread(cx, x_scale, 1)?, spread(cx, w_scale, channels)?];
    requantize(cx, result, scales, cx.input(6)?, cx.input(7)?)
}

/// A product of quantized numbers in the scale of the result.
fn requantize(cx: &mut Call, x: ValueId, scales: [ValueId; 2], scale: ValueId, zero: ValueId) -> Results {
    let to = cx.dtype(zero);
    let operands = [x, scales[0], scales[1], spread(cx, scale, 1)?, spread(cx, zero, 1)?];
    let mut expr = Expr::empty();
    let [x, a, b, y, zero] = [0, 1, 2, 3, 4].map(|index| expr.input(index, cx.dtype(operands[index])));
    let [x, a, b, y] = [x, a, b, y].map(|id| expr.convert(id, DType::F32));
    let scales = expr.apply2(BinaryOp::Mul, a, b);
    let factor = expr.apply2(BinaryOp::Div, scales, y);
    let value = expr.apply2(BinaryOp::Mul, x, factor);
    let result = quantize_scalar(&mut expr, value, Some(zero), to, true)?;
    Ok(vec![cx.elementwise(expr.finish(result), &operands)?])
}
