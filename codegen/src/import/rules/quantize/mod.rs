//! Quantized numbers: what they stand for, and what is computed with them.

pub(super) mod convert;
pub(super) mod elementwise;
pub(super) mod pool;
pub(super) mod product;

use super::cast::saturated;
use super::{MICROSOFT, ONNX, Rules};
use crate::import::builder::{Fault, literal};
use crate::import::call::Call;
use crate::ir::eval::int_limits;
use crate::ir::{BinaryOp, DType, Dim, Expr, ScalarId, UnaryOp, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

/// How 8-bit numbers of a tensor stand for others: a scale times the difference to a zero point.
#[derive(Clone, Copy)]
pub(super) struct Scheme {
    dtype: DType,
    scale: ValueId,
    zero: Option<ValueId>,
}

impl Scheme {
    /// The scheme of numbers of a type with operands for the scale and, unless that is 0, the zero point.
    pub(super) fn new(cx: &mut Call, dtype: DType, scale: usize, zero: usize) -> Result<Self, Fault> {
        if !matches!(dtype, DType::U8 | DType::I8) {
            return Err(Fault::new(format!("quantized numbers are {dtype}, not u8 or i8")));
        }
        let scheme = Scheme {
            dtype,
            scale: cx.input(scale)?,
            zero: cx.optional(zero),
        };
        for (index, value, expected) in [(scale, Some(scheme.scale), DType::F32), (zero, scheme.zero, dtype)] {
            if let Some(ty) = value.map(|value| cx.ty(value))
                && !(ty.dtype == expected && ty.shape.iter().all(|size| size.is(1)))
            {
                return Err(Fault::new(format!("operand {index} is {ty}, not one {expected}")));
            }
        }
        Ok(Scheme {
            scale: cx.reshape(scheme.scale, Vec::new())?,
            zero: scheme.zero.map(|zero| cx.reshape(zero, Vec::new())).transpose()?,
            ..scheme
        })
    }

    /// Whether numbers stand for the same as those of another scheme, as far as that is known.
    fn is(&self, cx: &Call, other: &Scheme) -> bool {
        let same = |a, b| a == b || cx.as_constant(a).is_some_and(|a| cx.as_constant(b) == Some(a));
        let zeros = match (self.zero, other.zero) {
            (Some(a), Some(b)) => same(a, b),
            (None, None) => true,
            _ => false,
        };
        self.dtype == other.dtype && same(self.scale, other.scale) && zeros
    }

    /// What numbers stand for, in `f32`.
    pub(super) fn dequantized(&self, cx: &mut Call, x: ValueId) -> Result<ValueId, Fault> {
        let operands: Vec<_> = [x, self.scale].into_iter().chain(self.zero).collect();
        cx.map(&operands, |expr, of| {
            dequantize_scalar(expr, of[0], of[1], of.get(2).copied(), DType::F32)
        })
    }

    /// The numbers that stand for a tensor of `f32`.
    fn quantized(&self, cx: &mut Call, x: ValueId, rounding: Rounding) -> Result<ValueId, Fault> {
        let ratio = cx.binary(BinaryOp::Div, x, self.scale)?;
        self.rounded(cx, ratio, rounding)
    }

    /// The numbers that stand for what ratios to the scale are given of.
    fn rounded(&self, cx: &mut Call, ratio: ValueId, rounding: Rounding) -> Result<ValueId, Fault> {
        let operands: Vec<_> = [ratio].into_iter().chain(self.zero).collect();
        cx.map(&operands, |expr, of| match (rounding, of.get(1)) {
            (Rounding::Sum, Some(&zero)) => {
                let zero = expr.convert(zero, DType::F32);
                let sum = expr.apply2(BinaryOp::Add, of[0], zero);
                quantize_scalar(expr, sum, None, self.dtype, true)
            }
            (_, zero) => quantize_scalar(expr, of[0], zero.copied(), self.dtype, true),
        })
    }
}

/// What is rounded to an integer. Operators of ONNX Runtime differ in this; it decides to which side ties go.
#[derive(Clone, Copy)]
enum Rounding {
    /// The ratio to the scale.
    Ratio,
    /// The sum of ratio and zero point.
    Sum,
}

/// The product of a scale and the difference of a number to its zero point, in a wide type.
fn dequantize_scalar(expr: &mut Expr, x: ScalarId, scale: ScalarId, zero: Option<ScalarId>, wide: DType) -> ScalarId {
    let mut value = x;
    if let Some(zero) = zero {
        let exact = if expr.nodes[x].dtype.is_int() { DType::I32 } else { wide };
        let (x, zero) = (expr.convert(x, exact), expr.convert(zero, exact));
        value = expr.apply2(BinaryOp::Sub, x, zero);
    }
    let (value, scale) = (expr.convert(value, wide), expr.convert(scale, wide));
    expr.apply2(BinaryOp::Mul, value, scale)
}

/// A vector as a tensor of the given rank whose first axis it is.
fn along_axis(cx: &mut Call, vector: ValueId, rank: usize) -> Result<ValueId, Fault> {
    let mut shape = vec![Dim::from(1i64); rank];
    shape[0] = cx.shape(vector)[0].clone();
    cx.reshape(vector, shape)
}

/// Refuses types that numbers are not quantized to.
fn quantizable(to: DType) -> Result<(), Fault> {
    match to.is_int() && to.bits() <= 16 || to.is_float() && to.bits() <= 8 {
        true => Ok(()),
        false => Err(Fault::new(format!("quantization to {to} is not supported"))),
    }
}

/// A ratio to a scale as a quantized number: `saturate(round(ratio) + zero)` for integers, rounding to the nearest even,
/// and `ratio + zero` for floats.
fn quantize_scalar(expr: &mut Expr, ratio: ScalarId, zero: Option<ScalarId>, to: DType, saturate: bool) -> ScalarId {
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
        return match saturate {
            true => saturated(expr, value, to),
            false => expr.convert(value, to),
        };
    }
    let (low, high) = int_limits(to);
    let (low, high) = (literal(expr, low as f64, wide), literal(expr, high as f64, wide));
    let value = expr.apply2(BinaryOp::Max, value, low);
    let value = expr.apply2(BinaryOp::Min, value, high);
    expr.convert(value, to)
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

/// A product of quantized numbers in the scale of the result.
fn requantize(cx: &mut Call, x: ValueId, scales: [ValueId; 2], scale: ValueId, zero: ValueId) -> Results {
    let to = cx.dtype(zero);
    quantizable(to)?;
    let operands = [x, scales[0], scales[1], spread(cx, scale, 1)?, spread(cx, zero, 1)?];
    let result = cx.map(&operands, |expr, of| {
        let [x, a, b, y] = [0, 1, 2, 3].map(|index| expr.convert(of[index], DType::F32));
        let scales = expr.apply2(BinaryOp::Mul, a, b);
        let factor = expr.apply2(BinaryOp::Div, scales, y);
        let value = expr.apply2(BinaryOp::Mul, x, factor);
        quantize_scalar(expr, value, Some(of[4]), to, true)
    })?;
    Ok(vec![result])
}
