//! Scalar functions.

use super::numbers::{Numbers, int_limits, round_to, wrap_to};
use crate::ir::dtype::DType;
use crate::ir::expr::{BinaryOp, UnaryOp};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI};

/// A function of one value, for every element; `dtype` is the type of the operand.
pub(super) fn unary(op: UnaryOp, x: &Numbers, dtype: DType) -> Result<Numbers, String> {
    match x {
        Numbers::Float(values) => match op {
            UnaryOp::IsNan => Ok(Numbers::Bool(values.iter().map(|x| x.is_nan()).collect())),
            UnaryOp::IsInf => Ok(Numbers::Bool(values.iter().map(|x| x.is_infinite()).collect())),
            _ => match float_function(op) {
                Some(function) => Ok(Numbers::Float(
                    values.iter().map(|&x| round_to(function(x), dtype)).collect(),
                )),
                None => Err(format!("{} of {dtype}", op.name())),
            },
        },
        Numbers::Int(values) => {
            let function: fn(i128) -> i128 = match op {
                UnaryOp::Neg => |x| -x,
                UnaryOp::Abs => |x| x.abs(),
                UnaryOp::Sign => |x| x.signum(),
                UnaryOp::BitNot => |x| !x,
                _ => return Err(format!("{} of {dtype}", op.name())),
            };
            Ok(Numbers::Int(
                values.iter().map(|&x| wrap_to(function(x), dtype)).collect(),
            ))
        }
        Numbers::Bool(values) if op == UnaryOp::Not => Ok(Numbers::Bool(values.iter().map(|x| !x).collect())),
        Numbers::Bool(_) => Err(format!("{} of {dtype}", op.name())),
    }
}

/// A function of two values, for every pair of elements; `dtype` is the type of both operands.
pub(super) fn binary(op: BinaryOp, a: &Numbers, b: &Numbers, dtype: DType) -> Result<Numbers, String> {
    fn zip<T: Copy, R>(a: &[T], b: &[T], function: impl Fn(T, T) -> R) -> Vec<R> {
        a.iter().zip(b).map(|(&a, &b)| function(a, b)).collect()
    }
    fn comparison<T: PartialOrd>(op: BinaryOp) -> Option<fn(T, T) -> bool> {
        Some(match op {
            BinaryOp::Eq => |a, b| a == b,
            BinaryOp::Ne => |a, b| a != b,
            BinaryOp::Lt => |a, b| a < b,
            BinaryOp::Le => |a, b| a <= b,
            BinaryOp::Gt => |a, b| a > b,
            BinaryOp::Ge => |a, b| a >= b,
            _ => return None,
        })
    }
    let unsupported = || format!("{} of {dtype}", op.name());
    Ok(match (a, b) {
        (Numbers::Float(a), Numbers::Float(b)) => match comparison(op) {
            Some(compare) => Numbers::Bool(zip(a, b, compare)),
            None => {
                let function = float_function2(op).ok_or_else(unsupported)?;
                Numbers::Float(zip(a, b, |a, b| round_to(function(a, b), dtype)))
            }
        },
        (Numbers::Int(a), Numbers::Int(b)) => match comparison(op) {
            Some(compare) => Numbers::Bool(zip(a, b, compare)),
            None => {
                let function = int_function2(op).ok_or_else(unsupported)?;
                let bits = dtype.bits() as u32;
                Numbers::Int(zip(a, b, |a, b| wrap_to(function(a, b, bits), dtype)))
            }
        },
        (Numbers::Bool(a), Numbers::Bool(b)) => Numbers::Bool(match op {
            BinaryOp::And | BinaryOp::Min => zip(a, b, |a, b| a & b),
            BinaryOp::Or | BinaryOp::Max => zip(a, b, |a, b| a | b),
            BinaryOp::Xor => zip(a, b, |a, b| a ^ b),
            _ => zip(a, b, comparison(op).ok_or_else(unsupported)?),
        }),
        _ => return Err(format!("{} of {} and {}", op.name(), a.kind(), b.kind())),
    })
}

/// Converts elements to another type.
pub(super) fn cast(x: &Numbers, to: DType) -> Numbers {
    match x {
        Numbers::Float(values) if to.is_float() => Numbers::Float(values.iter().map(|&x| round_to(x, to)).collect()),
        Numbers::Float(values) if to.is_int() => {
            // A type that is not computed with is reached by way of one that is, which saturates.
            let (low, high) = int_limits(if to.bits() < 8 { DType::I32 } else { to });
            let saturated = values.iter().map(|&x| (x as i128).clamp(low, high));
            Numbers::Int(saturated.map(|x| wrap_to(x, to)).collect())
        }
        Numbers::Float(values) => Numbers::Bool(values.iter().map(|&x| x != 0.0).collect()),
        Numbers::Int(values) if to.is_float() => Numbers::Float(
            values
                .iter()
                .map(|&x| match to {
                    DType::F32 => f64::from(x as f32),
                    DType::BF16 => round_to(to_odd(x), to),
                    _ => round_to(x as f64, to),
                })
                .collect(),
        ),
        Numbers::Int(values) if to.is_int() => Numbers::Int(values.iter().map(|&x| wrap_to(x, to)).collect()),
        Numbers::Int(values) => Numbers::Bool(values.iter().map(|&x| x != 0).collect()),
        Numbers::Bool(values) if to.is_float() => {
            Numbers::Float(values.iter().map(|&x| round_to(f64::from(x), to)).collect())
        }
        Numbers::Bool(values) if to.is_int() => Numbers::Int(values.iter().map(|&x| i128::from(x)).collect()),
        Numbers::Bool(values) => Numbers::Bool(values.clone()),
    }
}

/// An integer of which a bit that says whether anything was lost stands for what an `f64` has no room for, so that
/// rounding it again gives what rounding the integer would.
fn to_odd(x: i128) -> f64 {
    let excess = (128 - x.unsigned_abs().leading_zeros()).saturating_sub(53);
    let kept = x >> excess;
    let sticky = i128::from(kept << excess != x);
    ((kept | sticky) << excess) as f64
}

pub(crate) fn float_function(op: UnaryOp) -> Option<fn(f64) -> f64> {
    Some(match op {
        UnaryOp::Neg => |x| -x,
        UnaryOp::Abs => f64::abs,
        UnaryOp::Sign => |x| if x == 0.0 || x.is_nan() { x } else { x.signum() },
        UnaryOp::Sqrt => f64::sqrt,
        UnaryOp::Rsqrt => |x| 1.0 / x.sqrt(),
        UnaryOp::Recip => |x| 1.0 / x,
        UnaryOp::Exp => f64::exp,
        UnaryOp::Ln => f64::ln,
        UnaryOp::Sin => f64::sin,
        UnaryOp::Cos => f64::cos,
        UnaryOp::Tan => f64::tan,
        UnaryOp::Asin => f64::asin,
        UnaryOp::Acos => f64::acos,
        UnaryOp::Atan => f64::atan,
        UnaryOp::Sinh => f64::sinh,
        UnaryOp::Cosh => f64::cosh,
        UnaryOp::Tanh => f64::tanh,
        UnaryOp::Asinh => f64::asinh,
        UnaryOp::Acosh => f64::acosh,
        UnaryOp::Atanh => f64::atanh,
        UnaryOp::Erf => erf,
        UnaryOp::Floor => f64::floor,
        UnaryOp::Ceil => f64::ceil,
        UnaryOp::Round => f64::round_ties_even,
        UnaryOp::Sigmoid => sigmoid,
        UnaryOp::Silu => |x| x * sigmoid(x),
        UnaryOp::Gelu => |x| 0.5 * x * erfc(-x * FRAC_1_SQRT_2),
        UnaryOp::GeluTanh => |x| 0.5 * x * (1.0 + ((2.0 / PI).sqrt() * (x + 0.044715 * x * x * x)).tanh()),
        UnaryOp::HardSwish => |x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        UnaryOp::Softplus => softplus,
        UnaryOp::Mish => |x| x * softplus(x).tanh(),
        UnaryOp::Not | UnaryOp::BitNot | UnaryOp::IsNan | UnaryOp::IsInf => return None,
    })
}

fn float_function2(op: BinaryOp) -> Option<fn(f64, f64) -> f64> {
    Some(match op {
        BinaryOp::Add => |a, b| a + b,
        BinaryOp::Sub => |a, b| a - b,
        BinaryOp::Mul => |a, b| a * b,
        BinaryOp::Div => |a, b| a / b,
        BinaryOp::Mod => |a, b| {
            let rest = a % b;
            if rest != 0.0 && (rest < 0.0) != (b < 0.0) {
                rest + b
            } else {
                rest
            }
        },
        BinaryOp::Rem => |a, b| a % b,
        BinaryOp::Pow => f64::powf,
        BinaryOp::Max => maximum,
        BinaryOp::Min => minimum,
        _ => return None,
    })
}

/// The function of two integers and the width of their type in bits.
fn int_function2(op: BinaryOp) -> Option<fn(i128, i128, u32) -> i128> {
    Some(match op {
        BinaryOp::Add => |a, b, _| a + b,
        BinaryOp::Sub => |a, b, _| a - b,
        BinaryOp::Mul => |a, b, _| a.wrapping_mul(b),
        BinaryOp::Div => |a, b, _| a.checked_div(b).unwrap_or(0),
        BinaryOp::Mod => |a, b, _| {
            let rest = a.checked_rem(b).unwrap_or(0);
            if rest != 0 && (rest < 0) != (b < 0) {
                rest + b
            } else {
                rest
            }
        },
        BinaryOp::Rem => |a, b, _| a.checked_rem(b).unwrap_or(0),
        BinaryOp::Pow => |a, b, _| int_power(a, b),
        BinaryOp::Max => |a, b, _| a.max(b),
        BinaryOp::Min => |a, b, _| a.min(b),
        BinaryOp::And => |a, b, _| a & b,
        BinaryOp::Or => |a, b, _| a | b,
        BinaryOp::Xor => |a, b, _| a ^ b,
        BinaryOp::Shl => |a, b, bits| {
            if (0..i128::from(bits)).contains(&b) { a << b } else { 0 }
        },
        // Past the width of the type what remains is the sign.
        BinaryOp::Shr => |a, b, bits| {
            if (0..i128::from(bits)).contains(&b) {
                a >> b
            } else {
                a >> 127
            }
        },
        _ => return None,
    })
}

/// A power modulo 2^128; a negative exponent gives the quotient truncated toward zero, and 0 for base 0.
fn int_power(base: i128, exponent: i128) -> i128 {
    if exponent < 0 {
        return match base {
            1 => 1,
            -1 if exponent % 2 == 0 => 1,
            -1 => -1,
            _ => 0,
        };
    }
    let (mut result, mut square, mut rest) = (1i128, base, exponent);
    while rest > 0 {
        if rest & 1 == 1 {
            result = result.wrapping_mul(square);
        }
        square = square.wrapping_mul(square);
        rest >>= 1;
    }
    result
}

/// The larger value; not-a-number if either is.
pub(super) fn maximum(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// The smaller value; not-a-number if either is.
pub(super) fn minimum(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}

/// `1 / (1 + e^-x)`.
pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn softplus(x: f64) -> f64 {
    maximum(x, 0.0) + (-x.abs()).exp().ln_1p()
}

/// The series of erf and the continued fraction of erfc are used on their sides of this.
const ERF_SPLIT: f64 = 2.5;

fn erf(x: f64) -> f64 {
    if x.abs() < ERF_SPLIT {
        erf_series(x)
    } else {
        (1.0 - erfc_fraction(x.abs())).copysign(x)
    }
}

/// `1 - erf(x)` without cancellation for large `x`.
fn erfc(x: f64) -> f64 {
    if x < ERF_SPLIT { 1.0 - erf(x) } else { erfc_fraction(x) }
}

/// `2 / sqrt(pi) * e^(-x^2) * sum of 2^n x^(2n+1) / (1 * 3 * ... * (2n+1))` (Abramowitz and Stegun 7.1.6), whose terms
/// have one sign.
fn erf_series(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..64 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
    }
    FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

/// The continued fraction of `sqrt(pi) * e^(x^2) * erfc(x)` (Abramowitz and Stegun 7.1.14) from its 64th level up, for
/// `x` well above 0.
fn erfc_fraction(x: f64) -> f64 {
    let mut tail = x;
    for n in (1..64).rev() {
        tail = x + 0.5 * f64::from(n) / tail;
    }
    0.5 * FRAC_2_SQRT_PI * (-x * x).exp() / tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_function() {
        // Values of a table with 15 digits (Abramowitz and Stegun 7.1, and DLMF 7.8 for erfc).
        for (x, expected) in [
            (0.0, 0.0),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.0, 0.995_322_265_018_952_7),
            (3.0, 0.999_977_909_503_001_4),
        ] {
            assert!((erf(x) - expected).abs() < 1e-15, "erf({x})");
            assert!((erf(-x) + expected).abs() < 1e-15, "erf(-{x})");
        }
        assert!((erfc(5.0) / 1.537_459_794_428_034_8e-12 - 1.0).abs() < 1e-13);
        assert!((erfc_fraction(ERF_SPLIT) / (1.0 - erf_series(ERF_SPLIT)) - 1.0).abs() < 1e-11);
        assert_eq!((erf(f64::INFINITY), erf(f64::NEG_INFINITY)), (1.0, -1.0));
        assert!(erf(f64::NAN).is_nan());
    }

    #[test]
    fn integer_arithmetic_follows_the_operators() {
        let int = |op, a: i128, b: i128, dtype| match binary(op, &Numbers::Int(vec![a]), &Numbers::Int(vec![b]), dtype)
        {
            Ok(Numbers::Int(values)) => values[0],
            other => panic!("{other:?}"),
        };
        assert_eq!(int(BinaryOp::Div, -7, 2, DType::I32), -3);
        assert_eq!(
            int(BinaryOp::Div, i128::from(i64::MIN), -1, DType::I64),
            i128::from(i64::MIN)
        );
        assert_eq!(int(BinaryOp::Div, 7, 0, DType::I32), 0);
        assert_eq!(int(BinaryOp::Mod, -7, 3, DType::I32), 2);
        assert_eq!(int(BinaryOp::Mod, 7, -3, DType::I32), -2);
        assert_eq!(int(BinaryOp::Rem, -7, 3, DType::I32), -1);
        assert_eq!(int(BinaryOp::Pow, 3, 5, DType::U8), 243);
        assert_eq!(int(BinaryOp::Pow, 2, -1, DType::I32), 0);
        assert_eq!(int(BinaryOp::Shl, 0x81, 1, DType::U8), 2);
        assert_eq!(int(BinaryOp::Shr, 0x81, 8, DType::U8), 0);
        assert_eq!(int(BinaryOp::Sub, 0, 1, DType::U64), i128::from(u64::MAX));
        assert_eq!(int(BinaryOp::Shl, 0x41, 1, DType::I8), -126);
        assert_eq!(int(BinaryOp::Shr, -7, 1, DType::I8), -4);
        for places in [-1, 8, 100] {
            assert_eq!(int(BinaryOp::Shl, -7, places, DType::I8), 0);
            assert_eq!(int(BinaryOp::Shr, -7, places, DType::I8), -1);
            assert_eq!(int(BinaryOp::Shr, 7, places, DType::I8), 0);
        }
    }

    #[test]
    fn casts_truncate_wrap_and_saturate() {
        assert_eq!(
            cast(&Numbers::Float(vec![-1.9, 1.9, 1e9, f64::NAN]), DType::I8),
            Numbers::Int(vec![-1, 1, 127, 0])
        );
        assert_eq!(
            cast(&Numbers::Int(vec![300, -1]), DType::U8),
            Numbers::Int(vec![44, 255])
        );
        assert_eq!(
            cast(&Numbers::Float(vec![0.0, -0.0, 0.1]), DType::Bool),
            Numbers::Bool(vec![false, false, true])
        );
        // 2^53 + 2^29 + 1 rounds up as f32; by way of f64 it would be a tie and round down.
        let value = (1i128 << 53) + (1 << 29) + 1;
        assert_eq!(
            cast(&Numbers::Int(vec![value]), DType::F32),
            Numbers::Float(vec![2f64.powi(53) + 2f64.powi(30)])
        );
        let above_tie = (1i128 << 62) + (1 << 54) + 1;
        assert_eq!(
            cast(&Numbers::Int(vec![above_tie, above_tie - 1, -above_tie]), DType::BF16),
            Numbers::Float(
                [(1i64 << 62) + (1 << 55), 1 << 62, -(1 << 62) - (1 << 55)]
                    .map(|x| x as f64)
                    .into()
            )
        );
        assert_eq!(
            cast(&Numbers::Float(vec![-9.0, 8.5, f64::INFINITY, f64::NAN]), DType::I4),
            Numbers::Int(vec![7, -8, -1, 0])
        );
        assert_eq!(
            cast(&Numbers::Float(vec![464.0, 465.0, f64::NEG_INFINITY]), DType::F8E5M2),
            Numbers::Float(vec![448.0, 448.0, f64::NEG_INFINITY])
        );
    }

    #[test]
    fn activations() {
        let at = |op, x: f64| match unary(op, &Numbers::Float(vec![x]), DType::F64) {
            Ok(Numbers::Float(values)) => values[0],
            other => panic!("{other:?}"),
        };
        assert!((at(UnaryOp::Gelu, 1.0) - 0.841_344_746_068_542_9).abs() < 1e-15);
        assert!((at(UnaryOp::GeluTanh, 1.0) - 0.841_191_990_607_477_2).abs() < 1e-9);
        assert!((at(UnaryOp::Softplus, -800.0)).abs() < 1e-300);
        assert_eq!(at(UnaryOp::Softplus, 800.0), 800.0);
        assert_eq!(at(UnaryOp::HardSwish, 4.0), 4.0);
        assert_eq!(at(UnaryOp::Round, 2.5), 2.0);
        assert_eq!(at(UnaryOp::Sign, -3.0), -1.0);
    }
}
