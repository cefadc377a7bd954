//! Conversion of elements to other types.

use super::{ONNX, Rules};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::eval::largest;
use crate::ir::{BinaryOp, DType, Expr, ScalarId, UnaryOp, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[
    (ONNX, "Cast", cast),
    (ONNX, "CastLike", cast_like),
    (ONNX, "BitCast", bit_cast),
];

fn cast(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let to = target(cx)?;
    convert(cx, x, to)
}

fn cast_like(cx: &mut Call) -> Results {
    let (x, like) = (cx.input(0)?, cx.input(1)?);
    let to = cx.dtype(like);
    convert(cx, x, to)
}

fn target(cx: &Call) -> Result<DType, Fault> {
    cx.dtype_attribute("to")?
        .ok_or_else(|| Fault::new("attribute `to` is missing"))
}

fn convert(cx: &mut Call, x: ValueId, to: DType) -> Results {
    let saturate = cx.flag("saturate", true)?;
    let rounding = cx.string("round_mode", "up")?;
    let mut expr = Expr::empty();
    let input = expr.input(0, cx.dtype(x));
    let result = match (to, rounding) {
        (DType::F8E8M0, "up" | "down" | "nearest") => power_of_two(&mut expr, input, saturate, rounding),
        (DType::F8E8M0, other) => return cx.unsupported("round_mode", other),
        _ if saturate => saturated(&mut expr, input, to),
        _ => expr.convert(input, to),
    };
    Ok(vec![cx.elementwise(expr.finish(result), &[x])?])
}

/// The conversion in which numbers beyond the range of an eight-bit float, infinities too, become its largest.
pub(super) fn saturated(expr: &mut Expr, x: ScalarId, to: DType) -> ScalarId {
    let saturates = matches!(
        to,
        DType::F8E4M3Fn | DType::F8E4M3Fnuz | DType::F8E5M2 | DType::F8E5M2Fnuz
    );
    if !saturates || expr.nodes[x].dtype == to {
        return expr.convert(x, to);
    }
    let wide = if expr.nodes[x].dtype == DType::F64 {
        DType::F64
    } else {
        DType::F32
    };
    let limit = largest(to);
    let x = expr.convert(x, wide);
    let held = clamp(expr, x, -limit, limit);
    expr.convert(held, to)
}

/// The conversion to a power of two. Every `f32` that it could be, subnormal ones too, is a normal `f64`, in whose bits
/// a power of two has no mantissa.
fn power_of_two(expr: &mut Expr, x: ScalarId, saturate: bool, rounding: &str) -> ScalarId {
    const MANTISSA: i128 = (1 << 52) - 1;
    let mut value = expr.convert(x, DType::F64);
    if saturate {
        value = clamp(expr, value, 2f64.powi(-127), 2f64.powi(127));
    }
    if rounding != "nearest" {
        let mut bits = expr.bits(value, DType::I64);
        let mantissa = expr.int(MANTISSA, DType::I64);
        if rounding == "up" {
            bits = expr.apply2(BinaryOp::Add, bits, mantissa);
        }
        let exponent = expr.apply1(UnaryOp::BitNot, mantissa);
        bits = expr.apply2(BinaryOp::And, bits, exponent);
        value = expr.bits(bits, DType::F64);
    }
    expr.convert(value, DType::F8E8M0)
}

fn clamp(expr: &mut Expr, x: ScalarId, low: f64, high: f64) -> ScalarId {
    let dtype = expr.nodes[x].dtype;
    let (low, high) = (expr.float(low, dtype), expr.float(high, dtype));
    let x = expr.apply2(BinaryOp::Max, x, low);
    expr.apply2(BinaryOp::Min, x, high)
}

fn bit_cast(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let (from, to) = (cx.dtype(x), target(cx)?);
    if from.bits() != to.bits() {
        return Err(Fault::new(format!(
            "{from} and {to} differ in the number of their bits"
        )));
    }
    let mut expr = Expr::empty();
    let input = expr.input(0, from);
    let result = expr.bits(input, to);
    Ok(vec![cx.elementwise(expr.finish(result), &[x])?])
}
