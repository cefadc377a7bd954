//! Logarithms.

use super::polynomial;

/// ln 2 in two parts, the first of which is exact in a product with an exponent.
const LN2_HIGH: f32 = 0.693_138_1;
const LN2_LOW: f32 = 9.058_001e-6;

/// The natural logarithm; -inf of zeros, NaN of negative numbers. Error at most 1 ulp.
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    let tiny = x < f32::MIN_POSITIVE;
    let bits = (if tiny { x * 33_554_432.0 } else { x }).to_bits();
    // x = 2^exponent m with m from sqrt(1/2) to sqrt(2).
    let exponent = bits.wrapping_sub(core::f32::consts::FRAC_1_SQRT_2.to_bits()) as i32 >> 23;
    let m = f32::from_bits(bits.wrapping_sub((exponent << 23) as u32));
    let k = exponent as f32 - if tiny { 25.0 } else { 0.0 };
    // With s = f / (2 + f), ln(1 + f) = 2 s + s R(s^2), written so that f itself is added last.
    let f = m - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let r = z * polynomial!(z; 0.666_666_7, 0.400_003_4, 0.285_359_8, 0.236_188_6);
    let half_square = 0.5 * f * f;
    let value = k * LN2_HIGH - ((half_square - (s * (half_square + r) + k * LN2_LOW)) - f);
    if x > 0.0 && x < f32::INFINITY {
        value
    } else if x == 0.0 {
        f32::NEG_INFINITY
    } else if x < 0.0 {
        f32::NAN
    } else {
        x
    }
}

/// The logarithm of `1 + x`. Error at most 2 ulp.
#[inline(always)]
pub fn ln_1p(x: f32) -> f32 {
    let sum = 1.0 + x;
    // What rounding took from the sum, relative to the sum.
    let lost = (x - (sum - 1.0)) / sum;
    let value = ln(sum) + if sum > 0.0 && sum < f32::INFINITY { lost } else { 0.0 };
    if x.abs() < 1e-8 { x } else { value }
}

/// The logarithm to base 2. Error at most 2 ulp.
#[inline(always)]
pub fn log2(x: f32) -> f32 {
    ln(x) * core::f32::consts::LOG2_E
}

/// The logarithm to base 10. Error at most 2 ulp.
#[inline(always)]
pub fn log10(x: f32) -> f32 {
    ln(x) * core::f32::consts::LOG10_E
}
