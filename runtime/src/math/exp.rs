//! The exponential function, and what is a quotient of exponentials.

use super::polynomial;

/// ln 2 in two parts, the first of which is exact in a product with an exponent.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -0.000_212_194_44;

/// Adding and subtracting this rounds to an integer, which is then in the low bits.
const ROUND: f32 = 12_582_912.0;

/// A number as `n ln 2 + r`, with the integer `n` nearest, and `e^r - 1`. For numbers whose `n` has 9 bits.
#[inline(always)]
pub(super) fn reduced(x: f32) -> (i32, f32) {
    let shifted = x * core::f32::consts::LOG2_E + ROUND;
    let n = shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let rounded = shifted - ROUND;
    let r = (x - rounded * LN2_HIGH) - rounded * LN2_LOW;
    let tail = polynomial!(r; 0.499_999_94, 0.166_665_21, 0.041_668_39, 0.008_368_744_5, 0.001_381_453_9);
    (n, r + r * r * tail)
}

/// `2^n` for `n` in -126..=127, 0 for -127 and infinity for 128.
#[inline(always)]
pub(super) fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// A number held in a range; NaN stays.
#[inline(always)]
pub(super) fn clamp(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// `2^x` for `x` in -127..=128, where results below `2^-126` may be 0 and those above `2^127` infinite. Error at most
/// 2.6 ulp.
#[inline(always)]
pub(super) fn exp2_within(x: f32) -> f32 {
    let shifted = x + ROUND;
    let n = shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let r = x - (shifted - ROUND);
    // By pairs of terms, so that short chains of operations overlap (Estrin's scheme).
    let pairs = [
        1.0 + core::f32::consts::LN_2 * r,
        0.240_222_83 + 0.055_505_585 * r,
        0.009_669_691 + 0.001_330_060_5 * r,
    ];
    polynomial!(r * r; pairs[0], pairs[1], pairs[2]) * power_of_two(n)
}

/// `e^x`. Error at most 1.2 ulp.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let (n, head) = reduced(clamp(x, -105.0, 89.0));
    // Two factors, so that neither overflows and a subnormal result is rounded once.
    let half = n >> 1;
    (1.0 + head) * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// `e^x - 1`. Error at most 2 ulp.
#[inline(always)]
pub fn expm1(x: f32) -> f32 {
    let (n, head) = reduced(clamp(x, -30.0, 89.0));
    let half = n >> 1;
    let (first, second) = (power_of_two(half), power_of_two(n.wrapping_sub(half)));
    let scale = first * second;
    // From 2^30 on, the 1 does not matter, and the scale by itself might overflow.
    let value = if n > 30 {
        (1.0 + head) * first * second
    } else {
        head * scale + (scale - 1.0)
    };
    if x == 0.0 { x } else { value }
}

/// `1 / (1 + e^-x)`. Error at most 2.5 ulp, also where the result is close to 0.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    let decay = exp(-x.abs());
    let reciprocal = 1.0 / (1.0 + decay);
    if x < 0.0 { decay * reciprocal } else { reciprocal }
}

/// The hyperbolic tangent. Error at most 2.5 ulp.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    // 1 - tanh(10) is less than half an ulp of 1.
    let (n, head) = reduced(clamp(x.abs(), 0.0, 10.0) * 2.0);
    let scale = power_of_two(n);
    let value = head * scale + (scale - 1.0);
    (value / (value + 2.0)).copysign(x)
}
