//! Hyperbolic functions and their inverses. For the tangent see [`tanh`](super::tanh).

use super::{exp, expm1, ln, ln_1p, sqrt};
use core::f32::consts::LN_2;

/// The hyperbolic sine. Error at most 4 ulp.
#[inline(always)]
pub fn sinh(x: f32) -> f32 {
    let magnitude = x.abs();
    let half = exp(0.5 * magnitude);
    let grown = expm1(magnitude);
    // From e^20 on, the falling exponential does not matter, and the rising one might overflow before it is halved.
    let value = if magnitude > 20.0 {
        0.5 * half * half
    } else {
        0.5 * (grown + grown / (grown + 1.0))
    };
    value.copysign(x)
}

/// The hyperbolic cosine. Error at most 4 ulp.
#[inline(always)]
pub fn cosh(x: f32) -> f32 {
    let magnitude = x.abs();
    let half = exp(0.5 * magnitude);
    let grown = half * half;
    if magnitude > 20.0 {
        0.5 * half * half
    } else {
        0.5 * (grown + 1.0 / grown)
    }
}

/// The inverse hyperbolic sine. Error at most 4 ulp.
#[inline(always)]
pub fn asinh(x: f32) -> f32 {
    let t = x.abs();
    let value = if t > 4096.0 {
        ln(t) + LN_2
    } else {
        ln_1p(t + t * t / (1.0 + sqrt(t * t + 1.0)))
    };
    value.copysign(x)
}

/// The inverse hyperbolic cosine; NaN below 1. Error at most 4 ulp.
#[inline(always)]
pub fn acosh(x: f32) -> f32 {
    let t = x - 1.0;
    let value = if x > 4096.0 {
        ln(x) + LN_2
    } else {
        ln_1p(t + sqrt(2.0 * t + t * t))
    };
    if x < 1.0 { f32::NAN } else { value }
}

/// The inverse hyperbolic tangent; NaN outside of -1 to 1. Error at most 4 ulp.
#[inline(always)]
pub fn atanh(x: f32) -> f32 {
    let t = x.abs();
    (0.5 * ln_1p(2.0 * t / (1.0 - t))).copysign(x)
}
