//! Products of quantized numbers, computed in integers.

use super::convert::dynamic;
use super::{MICROSOFT, ONNX, Results, Rules, requantize, spread};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::import::rules::conv::convolve;
use crate::import::rules::linear::{matmul, transposed};
use crate::ir::{BinaryOp, DType, ValueId};

pub(in crate::import::rules) const RULES: Rules = &[
    (ONNX, "MatMulInteger", matmul_integer),
    (ONNX, "ConvInteger", conv_integer),
    (ONNX, "QLinearMatMul", qlinear_matmul),
    (ONNX, "QLinearConv", qlinear_conv),
    (MICROSOFT, "QGemm", qgemm),
    (MICROSOFT, "MatMulIntegerToFloat", matmul_integer_to_float),
    (MICROSOFT, "DynamicQuantizeMatMul", dynamic_matmul),
];

/// The difference to the zero point, exactly: in 32 bits, of floats in `f32`. A vector of zero points belongs to the
/// first axis of the `vector_rank` last ones.
pub(super) fn centered(cx: &mut Call, x: ValueId, zero: Option<ValueId>, vector_rank: usize) -> Result<ValueId, Fault> {
    let wide = if cx.dtype(x).is_float() { DType::F32 } else { DType::I32 };
    let x = cx.cast(x, wide)?;
    let Some(zero) = zero else { return Ok(x) };
    let zero = cx.cast(zero, wide)?;
    let zero = spread(cx, zero, vector_rank)?;
    cx.binary(BinaryOp::Sub, x, zero)
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
        (None, None) => Ok(vec![in_floats(cx, product, scales)?]),
        _ => Err(Fault::new(
            "a scale of the result without its zero point, or the other way",
        )),
    }
}

/// What a product of quantized numbers stands for.
fn in_floats(cx: &mut Call, product: ValueId, [a, b]: [ValueId; 2]) -> Result<ValueId, Fault> {
    let factor = cx.binary(BinaryOp::Mul, a, b)?;
    let dtype = cx.dtype(factor);
    cx.map(&[product, factor], |expr, of| {
        let [product, factor] = [of[0], of[1]].map(|id| expr.convert(id, DType::F32));
        let result = expr.apply2(BinaryOp::Mul, product, factor);
        expr.convert(result, dtype)
    })
}

/// A product of quantized numbers and a bias, in floats. Operands are those of [`integer_product`].
pub(in crate::import::rules) fn float_product(
    cx: &mut Call,
    operands: [Option<ValueId>; 4],
    [a_scale, b_scale]: [ValueId; 2],
    bias: Option<ValueId>,
) -> Result<ValueId, Fault> {
    let product = integer_product(cx, operands)?;
    let scales = [spread(cx, a_scale, 2)?, spread(cx, b_scale, 1)?];
    let result = in_floats(cx, product, scales)?;
    match bias {
        Some(bias) => cx.binary(BinaryOp::Add, result, bias),
        None => Ok(result),
    }
}

fn matmul_integer_to_float(cx: &mut Call) -> Results {
    let operands = [0, 4, 1, 5].map(|index| cx.optional(index));
    let scales = [cx.input(2)?, cx.input(3)?];
    Ok(vec![float_product(cx, operands, scales, cx.optional(6))?])
}

/// The product with a tensor that is quantized while the model runs. The right factor has a scale and a zero point for
/// all columns or for each.
pub(in crate::import::rules) fn dynamic_product(
    cx: &mut Call,
    a: ValueId,
    b: ValueId,
    scale: ValueId,
    zero: Option<ValueId>,
    bias: Option<ValueId>,
) -> Result<ValueId, Fault> {
    let [a, a_scale, a_zero] = dynamic(cx, a)?;
    float_product(cx, [Some(a), Some(a_zero), Some(b), zero], [a_scale, scale], bias)
}

fn dynamic_matmul(cx: &mut Call) -> Results {
    let [a, b, scale] = [cx.input(0)?, cx.input(1)?, cx.input(2)?];
    let (zero, bias) = (cx.optional(3), cx.optional(4));
    Ok(vec![dynamic_product(cx, a, b, scale, zero, bias)?])
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
