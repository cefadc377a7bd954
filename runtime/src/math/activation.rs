//! Activation functions, as ONNX defines them.

use super::{erf, exp, expm1, polynomial, sigmoid};

/// `max(x, 0)`; NaN stays.
#[inline(always)]
pub fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

/// `x` where positive, else `slope x`.
#[inline(always)]
pub fn leaky_relu(x: f32, slope: f32) -> f32 {
    if x < 0.0 { slope * x } else { x }
}

/// `x / 2 (1 + erf(x / sqrt 2))`. Error at most 2 ulp of `x`.
#[inline(always)]
pub fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * core::f32::consts::FRAC_1_SQRT_2))
}

/// The approximation `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`. Error at most 2 ulp of `x`.
#[inline(always)]
pub fn gelu_tanh(x: f32) -> f32 {
    // (1 + tanh(u)) / 2 = sigmoid(2 u), and 1.595... = 2 sqrt(2 / pi).
    x / (1.0 + exp(-1.595_769_2 * (x + 0.044_715 * x * x * x)))
}

/// `x sigmoid(x)`. Error at most 3.5 ulp, and an absolute error of 1e-43 below -80.
#[inline(always)]
pub fn silu(x: f32) -> f32 {
    x * sigmoid(x)
}

/// `alpha x + beta`, held in 0 to 1.
#[inline(always)]
pub fn hard_sigmoid(x: f32, alpha: f32, beta: f32) -> f32 {
    super::exp::clamp(alpha * x + beta, 0.0, 1.0)
}

/// `x hard_sigmoid(x, 1/6, 1/2)`.
#[inline(always)]
pub fn hard_swish(x: f32) -> f32 {
    x * hard_sigmoid(x, 1.0 / 6.0, 0.5)
}

/// `ln(1 + e^x)`. Error at most 3 ulp.
#[inline(always)]
pub fn softplus(x: f32) -> f32 {
    // ln(1 + u) for u in 0 to 1 is 2 artanh(s), with s = u / (2 + u) of at most 1/3.
    let u = exp(-x.abs());
    let s = u / (2.0 + u);
    let z = s * s;
    let tail = polynomial!(z; 0.666_666_75, 0.399_989_52, 0.286_169, 0.214_109_63, 0.244_101_55);
    relu(x) + s * (2.0 + z * tail)
}

/// `x / (1 + |x|)`.
#[inline(always)]
pub fn softsign(x: f32) -> f32 {
    x / (1.0 + x.abs())
}

/// `x tanh(softplus(x))`. Error at most 5 ulp, and an absolute error of 1e-43 below -80.
#[inline(always)]
pub fn mish(x: f32) -> f32 {
    // tanh(ln(1 + e)) = ((1 + e)^2 - 1) / ((1 + e)^2 + 1); from e^20 on it is 1.
    let e = exp(if x > 20.0 { 20.0 } else { x });
    let square = e * (e + 2.0);
    x * (square / (square + 2.0))
}

/// `x` where positive, else `alpha (e^x - 1)`.
#[inline(always)]
pub fn elu(x: f32, alpha: f32) -> f32 {
    if x < 0.0 { alpha * expm1(x) } else { x }
}

/// `gamma elu(x, alpha)`.
#[inline(always)]
pub fn selu(x: f32, alpha: f32, gamma: f32) -> f32 {
    gamma * elu(x, alpha)
}

/// `x` where positive, else `alpha (e^(x / alpha) - 1)`.
#[inline(always)]
pub fn celu(x: f32, alpha: f32) -> f32 {
    if x < 0.0 { alpha * expm1(x / alpha) } else { x }
}
