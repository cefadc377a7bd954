//! Activation functions, as ONNX defines them.

use super::{clamp, erf_f64, exp_f64, ln_1p_f64, max_f64, min_f64, sigmoid_f64};

/// `x sigmoid(x)`. Error at most 4 ulp.
#[inline(always)]
pub fn silu_f64(x: f64) -> f64 {
    x * sigmoid_f64(x)
}

/// `x / 2 (1 + erf(x / sqrt 2))`. Error at most 2 ulp of `x`.
#[inline(always)]
pub fn gelu_f64(x: f64) -> f64 {
    0.5 * x * (1.0 + erf_f64(x * core::f64::consts::FRAC_1_SQRT_2))
}

/// The approximation `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`. Error at most 2 ulp of `x`.
#[inline(always)]
pub fn gelu_tanh_f64(x: f64) -> f64 {
    // (1 + tanh(u)) / 2 = sigmoid(2 u), and 1.595... = 2 sqrt(2 / pi).
    x / (1.0 + exp_f64(-1.595_769_121_605_730_8 * (x + 0.044_715 * x * x * x)))
}

/// `x` times `x / 6 + 1 / 2` held in 0 to 1.
#[inline(always)]
pub fn hard_swish_f64(x: f64) -> f64 {
    x * clamp(x / 6.0 + 0.5, 0.0, 1.0)
}

/// `ln(1 + e^x)`. Error at most 4 ulp.
#[inline(always)]
pub fn softplus_f64(x: f64) -> f64 {
    max_f64(x, 0.0) + ln_1p_f64(exp_f64(-x.abs()))
}

/// `x tanh(softplus(x))`. Error at most 6 ulp.
#[inline(always)]
pub fn mish_f64(x: f64) -> f64 {
    // tanh(ln(1 + e)) = ((1 + e)^2 - 1) / ((1 + e)^2 + 1); from e^40 on it is 1.
    let e = exp_f64(min_f64(x, 40.0));
    let square = e * (e + 2.0);
    x * (square / (square + 2.0))
}
