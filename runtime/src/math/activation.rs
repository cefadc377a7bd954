//! Activation functions, as ONNX defines them.

use super::exp::{clamp, exp2_within};
use super::{exp, expm1, polynomial, sigmoid};

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
    // With the normal distribution F, this is x F(x) = max(x, 0) - |x| F(-|x|), and F(-t) is 2^-p(t) with a p that is
    // close to a parabola. From 14 on, the second term is 0.
    let t = x.abs();
    let t = if t < 14.0 { t } else { 14.0 };
    // By pairs of terms, so that short chains of operations overlap (Estrin's scheme).
    let pairs = [
        1.0 + 1.151_105_2 * t,
        0.459_208_2 + 0.052_496_18 * t,
        -0.007_063_42 + 0.000_136_936_45 * t,
        0.000_186_180_2 - 3.937_768_3e-5 * t,
    ];
    let z = t * t;
    let quads = [pairs[0] + pairs[1] * z, pairs[2] + pairs[3] * z];
    let p = polynomial!(z * z; quads[0], quads[1], 2.834_912_3e-6);
    relu(x) - t * exp2_within(-(if p < 127.0 { p } else { 127.0 }))
}

/// The approximation `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`. Error at most 2 ulp of `x`.
#[inline(always)]
pub fn gelu_tanh(x: f32) -> f32 {
    // (1 + tanh(u)) / 2 = 1 / (1 + e^-2u), and -2u / ln 2 = x (-2.302... - 0.102... x^2).
    let power = x * (-2.302_208_2 - 0.102_943_24 * x * x);
    x / (1.0 + exp2_within(clamp(power, -127.0, 128.0)))
}

/// `x sigmoid(x)`. Error at most 3.5 ulp, and an absolute error of 1e-43 below -80.
#[inline(always)]
pub fn silu(x: f32) -> f32 {
    x * sigmoid(x)
}

/// `alpha x + beta`, held in 0 to 1.
#[inline(always)]
pub fn hard_sigmoid(x: f32, alpha: f32, beta: f32) -> f32 {
    clamp(alpha * x + beta, 0.0, 1.0)
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
