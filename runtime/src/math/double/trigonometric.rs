//! Trigonometric functions.

use super::{polynomial, power_of_two};

/// pi/2, and what that leaves out.
pub(super) const HALF_PI: f64 = core::f64::consts::FRAC_PI_2;
pub(super) const HALF_PI_REST: f64 = 6.123_233_995_736_766e-17;

/// Angles up to here are reduced with pi/2 in three parts, of 33, 33 and 53 bits.
const NEAR: f64 = 1_647_099.0;

/// 2/pi, as the digits to base 2^64 after the point.
const TWO_OVER_PI: [u64; 20] = [
    0xa2f9_836e_4e44_1529,
    0xfc27_57d1_f534_ddc0,
    0xdb62_9599_3c43_9041,
    0xfe51_63ab_debb_c561,
    0xb724_6e3a_424d_d2e0,
    0x0649_2eea_09d1_921c,
    0xfe1d_eb1c_b129_a73e,
    0xe882_35f5_2ebb_4484,
    0xe99c_7026_b45f_7e41,
    0x3991_d639_8353_39f4,
    0x9c84_5f8b_bdf9_283b,
    0x1ff8_97ff_de05_980f,
    0xef2f_118b_5a0a_6d1f,
    0x6d36_7ecf_27cb_09b7,
    0x4f46_3f66_9e5f_ea2d,
    0x7527_bac7_ebe5_f17b,
    0x3d07_39f7_8a52_92ea,
    0x6bfb_5fb1_1f8d_5d08,
    0x5603_3046_fc7b_6bab,
    0xf0cf_bc20_9af4_361d,
];

/// The quadrant and, relative to its middle, the angle as a sum of two numbers. Angles up to 2^20 quadrants are reduced
/// as Cody and Waite do.
#[inline(always)]
fn near(x: f64) -> (u64, f64, f64) {
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let shifted = x * core::f64::consts::FRAC_2_PI + ROUND;
    let turns = shifted - ROUND;
    // The products with the first two parts are exact, and so is the first difference.
    let first = x - turns * 1.570_796_326_734_125_6;
    let second = turns * 6.077_100_506_303_966e-11;
    let high = first - second;
    let seen = first - high;
    let lost = (first - (high + seen)) + (seen - second);
    let rest = turns * 2.022_266_248_795_950_6e-21 - lost;
    let angle = high - rest;
    (shifted.to_bits(), angle, (high - angle) - rest)
}

/// As [`near`], of any finite angle, by the digits of 2/pi that matter (Payne and Hanek, *Radian Reduction for
/// Trigonometric Functions*, 1983).
#[cold]
fn far(x: f64) -> (u64, f64, f64) {
    let bits = x.abs().to_bits();
    // The magnitude is significand 2^exponent.
    let significand = u128::from(bits & ((1 << 52) - 1) | 1 << 52);
    let exponent = (bits >> 52) as i32 - 1075;
    // Digits that give multiples of four quadrants do not matter.
    let skipped = (exponent - 2).max(0) as usize;
    let word = |index: usize| {
        let (at, shift) = (skipped / 64 + index, skipped % 64);
        let digit = |at: usize| u128::from(TWO_OVER_PI.get(at).copied().unwrap_or(0));
        ((digit(at) << 64 | digit(at + 1)) << shift >> 64) as u64
    };
    let low = significand * u128::from(word(2));
    let middle = significand * u128::from(word(1)) + (low >> 64);
    let high = significand * u128::from(word(0)) + (middle >> 64);
    // The product has 192 digits after the point of 2/pi, less those skipped and the exponent; moved so that it has 126
    // in the upper half, with two for the quadrant before them.
    let fraction_bits = 192 + skipped as i32 - exponent;
    let shift = (254 - fraction_bits) as u32;
    let lower = middle << 64 | low & u128::from(u64::MAX);
    let product = high << shift | lower >> (128 - shift);
    let quadrant = (product >> 126) as u64 + (product >> 125 & 1) as u64;
    let fraction = (product << 2).cast_signed();
    let main = fraction as f64;
    let rest = fraction.wrapping_sub(main as i128) as f64;
    let (main, rest) = (main * power_of_two(-128), rest * power_of_two(-128));
    let angle = main * HALF_PI;
    let angle_rest = product_error(main, HALF_PI, angle) + (main * HALF_PI_REST + rest * HALF_PI);
    if x < 0.0 {
        (quadrant.wrapping_neg(), -angle, -angle_rest)
    } else {
        (quadrant, angle, angle_rest)
    }
}

/// What a product has lost by rounding (Dekker, *A Floating-Point Technique for Extending the Available Precision*,
/// 1971).
#[inline(always)]
pub(super) fn product_error(a: f64, b: f64, product: f64) -> f64 {
    let split = |x: f64| {
        let high = f64::from_bits(x.to_bits() & !((1 << 27) - 1));
        (high, x - high)
    };
    let ((a_high, a_low), (b_high, b_low)) = (split(a), split(b));
    ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
}

/// Sine and cosine of any angle; NaN of infinities.
#[inline(always)]
fn sin_cos(x: f64) -> (f64, f64) {
    let (quadrant, angle, rest) = if x.abs() <= NEAR {
        near(x)
    } else if x.is_finite() {
        far(x)
    } else {
        (0, f64::NAN, f64::NAN)
    };
    let z = angle * angle;
    let sin_tail = polynomial!(z; -0.166_666_666_666_666_66, 0.008_333_333_333_330_936, -0.000_198_412_698_367_395_7,
        2.755_731_609_269_936_6e-6, -2.505_112_979_254_902_4e-8, 1.591_798_150_140_412e-10);
    let sin = angle + (angle * z * sin_tail + rest * (1.0 - 0.5 * z));
    let cos_tail = polynomial!(z; 0.041_666_666_666_666_664, -0.001_388_888_888_888_738_9, 2.480_158_729_875_38e-5,
        -2.755_731_726_556_589e-7, 2.087_614_498_441_391_3e-9, -1.138_253_996_717_745_8e-11);
    let head = 1.0 - 0.5 * z;
    let cos = head + (((1.0 - head) - 0.5 * z) + (z * z * cos_tail - angle * rest));
    let swap = quadrant & 1 != 0;
    let (sin, cos) = (if swap { cos } else { sin }, if swap { sin } else { cos });
    let negate_sin = (quadrant & 2) << 62;
    let negate_cos = (quadrant.wrapping_add(1) & 2) << 62;
    (
        f64::from_bits(sin.to_bits() ^ negate_sin),
        f64::from_bits(cos.to_bits() ^ negate_cos),
    )
}

/// The sine. Error at most 1 ulp. Not straight-line code for angles above 10^6.
#[inline(always)]
pub fn sin_f64(x: f64) -> f64 {
    sin_cos(x).0
}

/// The cosine. Error at most 1 ulp. Not straight-line code for angles above 10^6.
#[inline(always)]
pub fn cos_f64(x: f64) -> f64 {
    sin_cos(x).1
}

/// The tangent. Error at most 3 ulp. Not straight-line code for angles above 10^6.
#[inline(always)]
pub fn tan_f64(x: f64) -> f64 {
    let (sin, cos) = sin_cos(x);
    sin / cos
}
