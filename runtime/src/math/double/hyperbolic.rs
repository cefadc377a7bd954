//! Hyperbolic functions and their inverses. For the tangent see [`tanh_f64`](super::tanh_f64).

use super::{exp_f64, expm1_f64, ln_1p_f64, ln_f64, sqrt_f64};
use core::f64::consts::LN_2;

/// From here on, the falling exponential does not matter, and the rising one might overflow before it is halved.
const ONE_EXPONENTIAL: f64 = 22.0;

/// From here on, `x^2 + 1` and `x^2 - 1` are `x^2`.
const LARGE: f64 = 268_435_456.0;

/// The hyperbolic sine. Error at most 4 ulp.
#[inline(always)]
pub fn sinh_f64(x: f64) -> f64 {
    let magnitude = x.abs();
    let half = exp_f64(0.5 * magnitude);
    let grown = expm1_f64(magnitude);
    let value = if magnitude > ONE_EXPONENTIAL {
        0.5 * half * half
    } else {
        0.5 * (grown + grown / (grown + 1.0))
    };
    value.copysign(x)
}

/// The hyperbolic cosine. Error at most 4 ulp.
#[inline(always)]
pub fn cosh_f64(x: f64) -> f64 {
    let magnitude = x.abs();
    let half = exp_f64(0.5 * magnitude);
    let grown = exp_f64(magnitude);
    if magnitude > ONE_EXPONENTIAL {
        0.5 * half * half
    } else {
        0.5 * (grown + 1.0 / grown)
    }
}

/// The inverse hyperbolic sine. Error at most 4 ulp.
#[inline(always)]
pub fn asinh_f64(x: f64) -> f64 {
    let t = x.abs();
    let value = if t > LARGE {
        ln_f64(t) + LN_2
    } else {
        ln_1p_f64(t + t * t / (1.0 + sqrt_f64(t * t + 1.0)))
    };
    value.copysign(x)
}

/// The inverse hyperbolic cosine; NaN below 1. Error at most 4 ulp.
#[inline(always)]
pub fn acosh_f64(x: f64) -> f64 {
    let t = x - 1.0;
    let value = if x > LARGE {
        ln_f64(x) + LN_2
    } else {
        ln_1p_f64(t + sqrt_f64(2.0 * t + t * t))
    };
    if x < 1.0 { f64::NAN } else { value }
}

/// The inverse hyperbolic tangent; NaN outside of -1 to 1. Error at most 4 ulp.
#[inline(always)]
pub fn atanh_f64(x: f64) -> f64 {
    let t = x.abs();
    (0.5 * ln_1p_f64(2.0 * t / (1.0 - t))).copysign(x)
}
