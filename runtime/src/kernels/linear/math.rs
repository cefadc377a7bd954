//! Functions of one variable without branches, which vectorize in the loops of the kernels.

/// `e^x` by range reduction to `[-ln 2 / 2, ln 2 / 2]` and a polynomial.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let clamped = x.clamp(-87.4, 88.7);
    // Adding and subtracting 1.5 * 2^23 rounds to an integer.
    const ROUND: f32 = 12582912.0;
    let shifted = clamped * core::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = clamped - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let mut p = 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    let scale = f32::from_bits(((shifted.to_bits() << 23) as i32 + (127 << 23)) as u32);
    let y = p * scale;
    if x < -87.4 { 0.0 } else { y }
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `tanh(x)`.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    2.0 * sigmoid(2.0 * x) - 1.0
}
