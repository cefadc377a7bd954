//! Trigonometric functions and their inverses.

use super::{polynomial, sqrt};
use core::f32::consts::{FRAC_PI_2, PI};

/// The quadrant and, relative to its middle, the angle. Reduced in `f64`, with pi/2 in two parts.
#[inline(always)]
fn quadrant(x: f32) -> (u32, f32) {
    const ROUND: f64 = 6_755_399_441_055_744.0;
    const HALF_PI_HIGH: f64 = 1.570_796_326_734_125_6;
    const HALF_PI_LOW: f64 = 6.077_100_506_506_192e-11;
    // Beyond 2^45 a step between neighbors is millions of periods.
    let angle = f64::from(if x.abs() < 35_184_372_088_832.0 { x } else { x * 0.0 });
    let shifted = angle * core::f64::consts::FRAC_2_PI + ROUND;
    let turns = shifted - ROUND;
    let reduced = (angle - turns * HALF_PI_HIGH) - turns * HALF_PI_LOW;
    (shifted.to_bits() as u32, reduced as f32)
}

/// Sine and cosine of an angle within pi/4 of zero.
#[inline(always)]
fn both(x: f32) -> (f32, f32) {
    let z = x * x;
    let sin = x + x * z * polynomial!(z; -0.166_666_67, 0.008_333_329, -0.000_198_392_53, 2.717_273_2e-6);
    let cos = 1.0 - (0.5 * z - z * z * polynomial!(z; 0.041_666_653, -0.001_388_764_9, 2.446_316_6e-5));
    (sin, cos)
}

/// Sine and cosine of any angle.
#[inline(always)]
fn sin_cos(x: f32) -> (f32, f32) {
    let (quadrant, angle) = quadrant(x);
    let (sin, cos) = both(angle);
    let swap = quadrant & 1 != 0;
    let (sin, cos) = (if swap { cos } else { sin }, if swap { sin } else { cos });
    let negate_sin = (quadrant & 2) << 30;
    let negate_cos = (quadrant.wrapping_add(1) & 2) << 30;
    (
        f32::from_bits(sin.to_bits() ^ negate_sin),
        f32::from_bits(cos.to_bits() ^ negate_cos),
    )
}

/// The sine. Error at most 1.5 ulp up to |x| = 2^20, and an absolute error of |x| 2^-50 beyond; 0 from 2^45 on.
#[inline(always)]
pub fn sin(x: f32) -> f32 {
    sin_cos(x).0
}

/// The cosine. Error at most 1.5 ulp up to |x| = 2^20, and an absolute error of |x| 2^-50 beyond; 1 from 2^45 on.
#[inline(always)]
pub fn cos(x: f32) -> f32 {
    sin_cos(x).1
}

/// The tangent. Error at most 3 ulp up to |x| = 2^20.
#[inline(always)]
pub fn tan(x: f32) -> f32 {
    let (sin, cos) = sin_cos(x);
    sin / cos
}

/// The inverse tangent. Error at most 3 ulp.
#[inline(always)]
pub fn atan(x: f32) -> f32 {
    let magnitude = x.abs();
    let invert = magnitude > 1.0;
    let t = if invert { 1.0 / magnitude } else { magnitude };
    let z = t * t;
    let value = t + t
        * z
        * polynomial!(z; -0.333_333_13, 0.199_988_42, -0.142_663_46, 0.109_585_82, -0.084_106_55, 0.057_913_54,
            -0.030_991_292, 0.010_748_501, -0.001_743_701_4);
    (if invert { FRAC_PI_2 - value } else { value }).copysign(x)
}

/// The inverse sine of a number within 1/2 of zero, given its square.
#[inline(always)]
fn asin_small(x: f32, z: f32) -> f32 {
    x + x * z * polynomial!(z; 0.166_666_63, 0.075_004_295, 0.044_523_615, 0.031_799_506, 0.014_335_055, 0.037_806_36)
}

/// The inverse sine; NaN outside of -1 to 1. Error at most 3 ulp.
#[inline(always)]
pub fn asin(x: f32) -> f32 {
    let magnitude = x.abs();
    // asin(x) = pi/2 - 2 asin(sqrt((1 - x) / 2)).
    let large = magnitude > 0.5;
    let z = if large {
        0.5 - 0.5 * magnitude
    } else {
        magnitude * magnitude
    };
    let t = if large { sqrt(z) } else { magnitude };
    let value = asin_small(t, z);
    (if large { FRAC_PI_2 - 2.0 * value } else { value }).copysign(x)
}

/// The inverse cosine; NaN outside of -1 to 1. Error at most 3 ulp.
#[inline(always)]
pub fn acos(x: f32) -> f32 {
    let magnitude = x.abs();
    let large = magnitude > 0.5;
    let z = if large {
        0.5 - 0.5 * magnitude
    } else {
        magnitude * magnitude
    };
    let t = if large { sqrt(z) } else { magnitude };
    let value = asin_small(t, z);
    match (large, x < 0.0) {
        (false, _) => FRAC_PI_2 - value.copysign(x),
        (true, false) => 2.0 * value,
        (true, true) => PI - 2.0 * value,
    }
}
