//! Arithmetic, comparison, logic and conversion of elements.

use super::{ONNX, Rules};
use crate::import::builder::{Fault, literal};
use crate::import::call::Call;
use crate::ir::{BinaryOp, DType, Expr, Scalar, UnaryOp, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[
    (ONNX, "Abs", |cx| unary(cx, UnaryOp::Abs)),
    (ONNX, "Neg", |cx| unary(cx, UnaryOp::Neg)),
    (ONNX, "Sign", |cx| unary(cx, UnaryOp::Sign)),
    (ONNX, "Not", |cx| unary(cx, UnaryOp::Not)),
    (ONNX, "BitwiseNot", |cx| unary(cx, UnaryOp::BitNot)),
    (ONNX, "Sqrt", |cx| unary(cx, UnaryOp::Sqrt)),
    (ONNX, "Reciprocal", |cx| unary(cx, UnaryOp::Recip)),
    (ONNX, "Exp", |cx| unary(cx, UnaryOp::Exp)),
    (ONNX, "Log", |cx| unary(cx, UnaryOp::Ln)),
    (ONNX, "Sin", |cx| unary(cx, UnaryOp::Sin)),
    (ONNX, "Cos", |cx| unary(cx, UnaryOp::Cos)),
    (ONNX, "Tan", |cx| unary(cx, UnaryOp::Tan)),
    (ONNX, "Asin", |cx| unary(cx, UnaryOp::Asin)),
    (ONNX, "Acos", |cx| unary(cx, UnaryOp::Acos)),
    (ONNX, "Atan", |cx| unary(cx, UnaryOp::Atan)),
    (ONNX, "Sinh", |cx| unary(cx, UnaryOp::Sinh)),
    (ONNX, "Cosh", |cx| unary(cx, UnaryOp::Cosh)),
    (ONNX, "Tanh", |cx| unary(cx, UnaryOp::Tanh)),
    (ONNX, "Asinh", |cx| unary(cx, UnaryOp::Asinh)),
    (ONNX, "Acosh", |cx| unary(cx, UnaryOp::Acosh)),
    (ONNX, "Atanh", |cx| unary(cx, UnaryOp::Atanh)),
    (ONNX, "Erf", |cx| unary(cx, UnaryOp::Erf)),
    (ONNX, "Floor", |cx| unary(cx, UnaryOp::Floor)),
    (ONNX, "Ceil", |cx| unary(cx, UnaryOp::Ceil)),
    (ONNX, "Round", |cx| unary(cx, UnaryOp::Round)),
    (ONNX, "IsNaN", |cx| unary(cx, UnaryOp::IsNan)),
    (ONNX, "IsInf", is_inf),
    (ONNX, "Add", |cx| binary(cx, BinaryOp::Add)),
    (ONNX, "Sub", |cx| binary(cx, BinaryOp::Sub)),
    (ONNX, "Mul", |cx| binary(cx, BinaryOp::Mul)),
    (ONNX, "Div", |cx| binary(cx, BinaryOp::Div)),
    (ONNX, "And", |cx| binary(cx, BinaryOp::And)),
    (ONNX, "Or", |cx| binary(cx, BinaryOp::Or)),
    (ONNX, "Xor", |cx| binary(cx, BinaryOp::Xor)),
    (ONNX, "BitwiseAnd", |cx| binary(cx, BinaryOp::And)),
    (ONNX, "BitwiseOr", |cx| binary(cx, BinaryOp::Or)),
    (ONNX, "BitwiseXor", |cx| binary(cx, BinaryOp::Xor)),
    (ONNX, "Equal", |cx| match cx.text(0) {
        Some(_) => super::strings::equal(cx),
        None => binary(cx, BinaryOp::Eq),
    }),
    (ONNX, "Less", |cx| binary(cx, BinaryOp::Lt)),
    (ONNX, "LessOrEqual", |cx| binary(cx, BinaryOp::Le)),
    (ONNX, "Greater", |cx| binary(cx, BinaryOp::Gt)),
    (ONNX, "GreaterOrEqual", |cx| binary(cx, BinaryOp::Ge)),
    (ONNX, "Mod", modulo),
    (ONNX, "Pow", pow),
    (ONNX, "BitShift", bit_shift),
    (ONNX, "Max", |cx| variadic(cx, BinaryOp::Max)),
    (ONNX, "Min", |cx| variadic(cx, BinaryOp::Min)),
    (ONNX, "Sum", |cx| variadic(cx, BinaryOp::Add)),
    (ONNX, "Mean", mean),
    (ONNX, "Where", select),
    (ONNX, "Clip", clip),
];

fn unary(cx: &mut Call, op: UnaryOp) -> Results {
    let x = cx.input(0)?;
    let expr = Expr::unary(op, cx.dtype(x));
    Ok(vec![cx.elementwise(expr, &[x])?])
}

fn binary(cx: &mut Call, op: BinaryOp) -> Results {
    let (a, b) = operands(cx)?;
    Ok(vec![cx.binary(op, a, b)?])
}

/// Before version 7, an attribute says whether the second operand broadcasts, and another where its axes start.
fn operands(cx: &mut Call) -> Result<(ValueId, ValueId), Fault> {
    let (a, b) = (cx.input(0)?, cx.input(1)?);
    if cx.version >= 7 || !cx.flag("broadcast", false)? {
        return Ok((a, b));
    }
    let Some(axis) = cx.optional_int("axis")? else {
        return Ok((a, b));
    };
    let mut shape = cx.shape(b);
    let after = cx.rank(a) - cx.axis(axis, cx.rank(a))?;
    shape.resize(after.max(shape.len()), crate::ir::Dim::from(1i64));
    Ok((a, cx.reshape(b, shape)?))
}

fn is_inf(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let dtype = cx.dtype(x);
    let (negative, positive) = (cx.flag("detect_negative", true)?, cx.flag("detect_positive", true)?);
    let mut expr = Expr::empty();
    let input = expr.input(0, dtype);
    let infinite = expr.apply1(UnaryOp::IsInf, input);
    let zero = expr.float(0.0, dtype);
    let id = match (negative, positive) {
        (true, true) => infinite,
        (false, false) => literal(&mut expr, 0.0, DType::Bool),
        (negative, _) => {
            let op = if negative { BinaryOp::Lt } else { BinaryOp::Gt };
            let side = expr.apply2(op, input, zero);
            expr.apply2(BinaryOp::And, infinite, side)
        }
    };
    let shape = cx.shape(x);
    Ok(vec![cx.emit(
        crate::ir::Op::Elementwise {
            expr: expr.finish(id),
            shape,
        },
        &[x],
    )?])
}

fn modulo(cx: &mut Call) -> Results {
    let op = if cx.flag("fmod", false)? {
        BinaryOp::Rem
    } else {
        BinaryOp::Mod
    };
    binary(cx, op)
}

/// The result has the type of the base. A base and an exponent of different types meet in a type that holds both, a
/// float if there is one.
fn pow(cx: &mut Call) -> Results {
    let (a, b) = operands(cx)?;
    let (from, exponent) = (cx.dtype(a), cx.dtype(b));
    let common = if from.is_float() || !exponent.is_float() {
        from
    } else {
        exponent
    };
    let mut expr = Expr::empty();
    let (x, y) = (expr.input(0, from), expr.input(1, exponent));
    let (x, y) = (expr.convert(x, common), expr.convert(y, common));
    let power = expr.apply2(BinaryOp::Pow, x, y);
    let result = expr.convert(power, from);
    Ok(vec![cx.elementwise(expr.finish(result), &[a, b])?])
}

fn bit_shift(cx: &mut Call) -> Results {
    match cx.string("direction", "")? {
        "LEFT" => binary(cx, BinaryOp::Shl),
        "RIGHT" => binary(cx, BinaryOp::Shr),
        other => cx.unsupported("direction", other),
    }
}

fn variadic(cx: &mut Call, op: BinaryOp) -> Results {
    let inputs = cx.inputs()?;
    let Some((&first, rest)) = inputs.split_first() else {
        return Err(Fault::new("there are no operands"));
    };
    let mut result = first;
    for &input in rest {
        result = cx.binary(op, result, input)?;
    }
    Ok(vec![result])
}

fn mean(cx: &mut Call) -> Results {
    let sum = variadic(cx, BinaryOp::Add)?[0];
    let (count, dtype) = (cx.node.inputs.len(), cx.dtype(sum));
    let count = cx.number(count as f64, dtype)?;
    Ok(vec![cx.binary(BinaryOp::Div, sum, count)?])
}

fn select(cx: &mut Call) -> Results {
    let (condition, a, b) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let dtype = cx.dtype(a);
    if dtype != cx.dtype(b) {
        return Err(Fault::new(format!("the operands are {dtype} and {}", cx.dtype(b))));
    }
    let mut expr = Expr::empty();
    let (c, x, y) = (expr.input(0, DType::Bool), expr.input(1, dtype), expr.input(2, dtype));
    expr.push(Scalar::Select(c, x, y), dtype);
    Ok(vec![cx.elementwise(expr, &[condition, a, b])?])
}

/// Limits are attributes before version 11 and operands from then on.
fn clip(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let dtype = cx.dtype(x);
    let (low, high) = if cx.version < 11 {
        let low = cx.optional_float("min")?;
        let high = cx.optional_float("max")?;
        let mut constant = |limit: Option<f32>| limit.map(|limit| cx.number(limit.into(), dtype)).transpose();
        (constant(low)?, constant(high)?)
    } else {
        (cx.optional(1), cx.optional(2))
    };
    let mut result = x;
    if let Some(low) = low {
        result = cx.binary(BinaryOp::Max, result, low)?;
    }
    if let Some(high) = high {
        result = cx.binary(BinaryOp::Min, result, high)?;
    }
    Ok(vec![result])
}
