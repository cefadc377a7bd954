//! Functions of `f64`, as those of the same names for `f32`; their errors are tested against the functions of `std`.

use super::polynomial;

mod activation;
mod error;
mod hyperbolic;
mod inverse;
mod power;
mod round;
mod trigonometric;

pub use activation::*;
pub use error::erf_f64;
pub use hyperbolic::*;
pub use inverse::*;
pub use power::*;
pub use round::*;
pub use trigonometric::*;

const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
const ROUND: f64 = 6_755_399_441_055_744.0;

/// As the function of the same name for `f32`, with 12 bits for `n`.
#[inline(always)]
fn reduced(x: f64) -> (i64, f64) {
    let shifted = x * core::f64::consts::LOG2_E + ROUND;
    let n = shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i64;
    let rounded = shifted - ROUND;
    let r = (x - rounded * LN2_HIGH) - rounded * LN2_LOW;
    let tail = polynomial!(r; 0.5, 0.166_666_666_666_666_7, 0.041_666_666_666_666_67, 0.008_333_333_333_326_136,
        0.001_388_888_888_888_375, 0.000_198_412_698_748_158_34, 2.480_158_732_554_432e-5,
        2.755_725_540_628_504_4e-6, 2.755_727_364_745_108e-7, 2.510_521_447_475_141e-8,
        2.091_468_516_141_807e-9);
    (n, r + r * r * tail)
}

#[inline(always)]
fn power_of_two(n: i64) -> f64 {
    f64::from_bits((n.wrapping_add(1023) as u64) << 52)
}

#[inline(always)]
fn clamp(x: f64, low: f64, high: f64) -> f64 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// `e^x`. Error at most 1.5 ulp.
#[inline(always)]
pub fn exp_f64(x: f64) -> f64 {
    let (n, head) = reduced(clamp(x, -746.0, 710.0));
    let half = n >> 1;
    (1.0 + head) * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// `e^x - 1`. Error at most 2 ulp.
#[inline(always)]
pub fn expm1_f64(x: f64) -> f64 {
    let (n, head) = reduced(clamp(x, -50.0, 710.0));
    let half = n >> 1;
    let large = (1.0 + head) * power_of_two(half) * power_of_two(n.wrapping_sub(half));
    let scale = power_of_two(n.min(1000));
    let value = if n > 60 { large } else { head * scale + (scale - 1.0) };
    value.copysign(x)
}

/// `ln(1 + x)`. Error at most 2 ulp.
#[inline(always)]
pub fn ln_1p_f64(x: f64) -> f64 {
    let sum = 1.0 + x;
    // What rounding the sum has lost, to first order.
    let lost = if x >= 1.0 { 1.0 - (sum - x) } else { x - (sum - 1.0) };
    let value = ln_f64(sum);
    if value.is_finite() { value + lost / sum } else { value }
}

/// `1 / sqrt(x)`. Error at most 1.5 ulp.
#[inline(always)]
pub fn rsqrt_f64(x: f64) -> f64 {
    1.0 / sqrt_f64(x)
}

/// The natural logarithm; -inf of zeros, NaN of negative numbers. Error at most 1 ulp.
#[inline(always)]
pub fn ln_f64(x: f64) -> f64 {
    let tiny = x < f64::MIN_POSITIVE;
    let bits = (if tiny { x * 18_014_398_509_481_984.0 } else { x }).to_bits();
    let exponent = bits.wrapping_sub(core::f64::consts::FRAC_1_SQRT_2.to_bits()) as i64 >> 52;
    let m = f64::from_bits(bits.wrapping_sub((exponent << 52) as u64));
    let k = exponent as i32 as f64 - if tiny { 54.0 } else { 0.0 };
    let f = m - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let r = z * polynomial!(z; 0.666_666_666_666_666_6, 0.400_000_000_000_048_15, 0.285_714_285_693_577_2,
        0.222_222_226_258_360_94, 0.181_817_761_830_282_1, 0.153_871_055_670_810_94, 0.132_491_522_356_758_67,
        0.132_644_603_844_155_22);
    let half_square = 0.5 * f * f;
    let value = k * LN2_HIGH - ((half_square - (s * (half_square + r) + k * LN2_LOW)) - f);
    if x > 0.0 && x < f64::INFINITY {
        value
    } else if x == 0.0 {
        f64::NEG_INFINITY
    } else if x < 0.0 {
        f64::NAN
    } else {
        x
    }
}

/// `1 / (1 + e^-x)`. Error at most 3 ulp.
#[inline(always)]
pub fn sigmoid_f64(x: f64) -> f64 {
    let decay = exp_f64(-x.abs());
    let reciprocal = 1.0 / (1.0 + decay);
    if x < 0.0 { decay * reciprocal } else { reciprocal }
}

/// The hyperbolic tangent. Error at most 5 ulp.
#[inline(always)]
pub fn tanh_f64(x: f64) -> f64 {
    let (n, head) = reduced(clamp(x.abs(), 0.0, 20.0) * 2.0);
    let scale = power_of_two(n);
    let value = head * scale + (scale - 1.0);
    (value / (value + 2.0)).copysign(x)
}

/// The square root, correctly rounded; NaN of negative numbers.
#[inline(always)]
pub fn sqrt_f64(x: f64) -> f64 {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_mm_cvtsd_f64, _mm_set1_pd, _mm_sqrt_pd};
        // SAFETY: SSE2 is part of x86_64. The compiler sees a square root, which it vectorizes.
        unsafe { _mm_cvtsd_f64(_mm_sqrt_pd(_mm_set1_pd(x))) }
    }
    #[cfg(target_arch = "aarch64")]
    {
        use core::arch::aarch64::{vdup_n_f64, vget_lane_f64, vsqrt_f64};
        // SAFETY: NEON is part of aarch64 targets with floating point. The compiler sees a square root.
        unsafe { vget_lane_f64::<0>(vsqrt_f64(vdup_n_f64(x))) }
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        sqrt_by_integers(x)
    }
}

/// The square root by the integer square root of the significand.
#[cfg_attr(any(target_arch = "x86_64", target_arch = "aarch64"), allow(dead_code))]
pub(super) fn sqrt_by_integers(x: f64) -> f64 {
    if x.is_nan() || x <= 0.0 || x == f64::INFINITY {
        return if x < 0.0 { f64::NAN } else { x };
    }
    // As for `f32`, with a root of 55 bits or more.
    let bits = x.to_bits();
    let (significand, exponent) = match bits >> 52 {
        0 => (bits, -1074),
        biased => (bits & ((1 << 52) - 1) | 1 << 52, biased as i32 - 1075),
    };
    let shift = significand.leading_zeros() + 46 + (exponent as u32 & 1 ^ significand.leading_zeros() & 1);
    let radicand = u128::from(significand) << shift;
    let root = radicand.isqrt();
    let sticky = (root << 1 | u128::from(root * root != radicand)) as u64;
    let half_exponent = (exponent - shift as i32) / 2 - 1;
    sticky as f64 * power_of_two(i64::from(half_exponent))
}

#[cfg(test)]
mod tests;
