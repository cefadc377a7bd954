//! Operators that ONNX Runtime has for tensors of 8-bit numbers: what these stand for, the function, and back.

use super::product::centered;
use super::{MICROSOFT, Results, Rounding, Rules, Scheme};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::import::rules::activation::softmax;
use crate::ir::{BinaryOp, DType, Scalar, UnaryOp, ValueId};

pub(in crate::import::rules) const RULES: Rules = &[
    (MICROSOFT, "QLinearAdd", add),
    (MICROSOFT, "QLinearMul", multiply),
    (MICROSOFT, "QLinearLeakyRelu", |cx| {
        let alpha: f64 = cx.float("alpha", 0.01)?.into();
        function(cx, |cx, x| {
            cx.over(&[x], |f| {
                let x = f.operand(0);
                x.lt(0.0).select(x * alpha, x)
            })
        })
    }),
    (MICROSOFT, "QLinearSigmoid", |cx| {
        function(cx, |cx, x| {
            cx.map(&[x], |expr, of| expr.apply1(UnaryOp::Sigmoid, of[0]))
        })
    }),
    (MICROSOFT, "QLinearSoftmax", normalized),
    (MICROSOFT, "QLinearConcat", concat),
    (MICROSOFT, "QLinearWhere", choose),
];

/// A tensor of 8-bit numbers, the operand `index`, and the scheme that the two operands after it give.
pub(super) fn operand(cx: &mut Call, index: usize) -> Result<(ValueId, Scheme), Fault> {
    let x = cx.input(index)?;
    let scheme = Scheme::new(cx, cx.dtype(x), index + 1, index + 2)?;
    Ok((x, scheme))
}

/// What the operand `index` stands for, and its type.
pub(super) fn dequantized(cx: &mut Call, index: usize) -> Result<(ValueId, DType), Fault> {
    let (x, scheme) = operand(cx, index)?;
    Ok((scheme.dequantized(cx, x)?, scheme.dtype))
}

/// A function of the first operand, in the scheme of the operands after it.
fn function(cx: &mut Call, body: impl FnOnce(&mut Call, ValueId) -> Result<ValueId, Fault>) -> Results {
    let (x, dtype) = dequantized(cx, 0)?;
    let to = Scheme::new(cx, dtype, 3, 4)?;
    let y = body(cx, x)?;
    Ok(vec![to.quantized(cx, y, Rounding::Ratio)?])
}

/// Two operands and the scheme of the result, which are all of one type.
fn operands(cx: &mut Call) -> Result<([(ValueId, Scheme); 2], Scheme), Fault> {
    let (a, b) = (operand(cx, 0)?, operand(cx, 3)?);
    match (a.1.dtype, b.1.dtype) {
        (dtype, other) if dtype == other => Ok(([a, b], Scheme::new(cx, dtype, 6, 7)?)),
        (dtype, other) => Err(Fault::new(format!("the operands are {dtype} and {other}"))),
    }
}

/// Operands get the scale of the result before they are added, so that nothing is divided for an element.
fn add(cx: &mut Call) -> Results {
    let (operands, to) = operands(cx)?;
    let mut terms = Vec::new();
    for (x, scheme) in operands {
        let scale = cx.binary(BinaryOp::Div, scheme.scale, to.scale)?;
        terms.push(Scheme { scale, ..scheme }.dequantized(cx, x)?);
    }
    let sum = cx.binary(BinaryOp::Add, terms[0], terms[1])?;
    Ok(vec![to.rounded(cx, sum, Rounding::Sum)?])
}

/// The product of the differences to the zero points is one of integers.
fn multiply(cx: &mut Call) -> Results {
    let ([(a, a_scheme), (b, b_scheme)], to) = operands(cx)?;
    let (a, b) = (centered(cx, a, a_scheme.zero, 1)?, centered(cx, b, b_scheme.zero, 1)?);
    let product = cx.binary(BinaryOp::Mul, a, b)?;
    let scaled = cx.over(&[product, a_scheme.scale, b_scheme.scale, to.scale], |f| {
        f.operand(0).cast(DType::F32) * (f.operand(1) * f.operand(2) / f.operand(3))
    })?;
    Ok(vec![to.rounded(cx, scaled, Rounding::Sum)?])
}

/// A softmax by the rules of the version of ONNX that the attribute `opset` gives. ONNX Runtime computes
/// it in integers, where 1 is as many as the reciprocal of the scale has, without its fraction.
fn normalized(cx: &mut Call) -> Results {
    let version = cx
        .optional_int("opset")?
        .ok_or_else(|| Fault::new("attribute `opset` is missing"))?;
    let (x, dtype) = dequantized(cx, 0)?;
    let to = Scheme::new(cx, dtype, 3, 4)?;
    let y = softmax(cx, x, version, false)?;
    let steps = cx.over(&[y, to.scale], |f| {
        let (y, scale) = (f.operand(0), f.operand(1));
        y * (scale.like(1.0) / scale).unary(UnaryOp::Floor)
    })?;
    Ok(vec![to.rounded(cx, steps, Rounding::Ratio)?])
}

/// Numbers of one scheme as numbers of another one.
fn converted(cx: &mut Call, x: ValueId, from: &Scheme, to: &Scheme) -> Result<ValueId, Fault> {
    if from.is(cx, to) {
        return Ok(x);
    }
    let x = from.dequantized(cx, x)?;
    to.quantized(cx, x, Rounding::Ratio)
}

/// Operands: scale and zero point of the result, then each tensor with its own.
fn concat(cx: &mut Call) -> Results {
    let count = cx.inputs()?.len();
    if count < 5 || count % 3 != 2 {
        return Err(Fault::new(format!(
            "{count} operands, where two and three for each tensor are expected"
        )));
    }
    let zero = cx.input(1)?;
    let to = Scheme::new(cx, cx.dtype(zero), 0, 1)?;
    let mut parts = Vec::new();
    for index in (2..count).step_by(3) {
        let (x, from) = operand(cx, index)?;
        parts.push(converted(cx, x, &from, &to)?);
    }
    let axis = cx
        .optional_int("axis")?
        .ok_or_else(|| Fault::new("attribute `axis` is missing"))?;
    let axis = cx.axis(axis, cx.rank(parts[0]))?;
    Ok(vec![cx.concat(&parts, axis)?])
}

/// Operands: the condition, the tensors to choose from with their scale and zero point, then those of the result.
fn choose(cx: &mut Call) -> Results {
    let condition = cx.input(0)?;
    if cx.dtype(condition) != DType::Bool {
        return Err(Fault::new(format!("the condition is {}", cx.ty(condition))));
    }
    let ((x, x_scheme), (y, y_scheme)) = (operand(cx, 1)?, operand(cx, 4)?);
    let to = Scheme::new(cx, x_scheme.dtype, 7, 8)?;
    let (x, y) = (converted(cx, x, &x_scheme, &to)?, converted(cx, y, &y_scheme, &to)?);
    let result = cx.map(&[condition, x, y], |expr, of| {
        expr.push(Scalar::Select(of[0], of[1], of[2]), to.dtype)
    })?;
    Ok(vec![result])
}
