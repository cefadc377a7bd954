//! Inverse trigonometric functions.

use super::trigonometric::{HALF_PI, HALF_PI_REST};
use super::{polynomial, sqrt_f64};

/// The inverse tangent. Error at most 3 ulp.
#[inline(always)]
pub fn atan_f64(x: f64) -> f64 {
    const TAN_EIGHTH_PI: f64 = core::f64::consts::SQRT_2 - 1.0;
    let magnitude = x.abs();
    let invert = magnitude > 1.0;
    let t = if invert { 1.0 / magnitude } else { magnitude };
    // atan(t) = pi/4 + atan((t - 1) / (t + 1)).
    let turn = t > TAN_EIGHTH_PI;
    let u = if turn { (t - 1.0) / (t + 1.0) } else { t };
    let z = u * u;
    let value = u + u
        * z
        * polynomial!(z; -0.333_333_333_333_333_3, 0.199_999_999_999_998_04, -0.142_857_142_856_598_06,
            0.111_111_111_051_534_29, -0.090_909_087_534_004_99, 0.076_922_963_721_299_64, -0.066_664_248_336_135_52,
            0.058_789_283_985_172_32, -0.052_304_498_567_092_406, 0.045_515_730_866_641_91,
            -0.034_570_044_186_095_536, 0.016_285_183_029_865_667);
    let value = if turn {
        0.5 * HALF_PI + (value + 0.5 * HALF_PI_REST)
    } else {
        value
    };
    let value = if invert {
        HALF_PI - (value - HALF_PI_REST)
    } else {
        value
    };
    value.copysign(x)
}

/// The inverse sine of a number within 1/2 of zero, given its square.
#[inline(always)]
fn asin_small(x: f64, z: f64) -> f64 {
    x + x
        * z
        * polynomial!(z; 0.166_666_666_666_666_66, 0.075_000_000_000_001_18, 0.044_642_857_142_551_895,
            0.030_381_944_475_532_34, 0.022_372_157_443_507_22, 0.017_352_816_540_325_496, 0.013_963_780_012_203_57,
            0.011_566_459_612_121_669, 0.009_621_842_970_100_282, 0.009_319_560_794_767_446,
            0.003_044_879_909_455_677_3, 0.019_554_513_336_123_378, -0.019_241_671_746_743_04,
            0.029_612_011_264_955_12)
}

/// The magnitude of the argument of `asin_small`, its square, and whether it is that of half of the complement.
#[inline(always)]
fn halved(x: f64) -> (f64, f64, bool) {
    let magnitude = x.abs();
    // asin(x) = pi/2 - 2 asin(sqrt((1 - x) / 2)).
    let large = magnitude > 0.5;
    let z = if large {
        0.5 - 0.5 * magnitude
    } else {
        magnitude * magnitude
    };
    (if large { sqrt_f64(z) } else { magnitude }, z, large)
}

/// The inverse sine; NaN outside of -1 to 1. Error at most 3 ulp.
#[inline(always)]
pub fn asin_f64(x: f64) -> f64 {
    let (t, z, large) = halved(x);
    let value = asin_small(t, z);
    let value = if large {
        HALF_PI - (2.0 * value - HALF_PI_REST)
    } else {
        value
    };
    value.copysign(x)
}

/// The inverse cosine; NaN outside of -1 to 1. Error at most 3 ulp.
#[inline(always)]
pub fn acos_f64(x: f64) -> f64 {
    let (t, z, large) = halved(x);
    let value = asin_small(t, z);
    match (large, x < 0.0) {
        (false, _) => HALF_PI - (value.copysign(x) - HALF_PI_REST),
        (true, false) => 2.0 * value,
        (true, true) => 2.0 * (HALF_PI - (value - HALF_PI_REST)),
    }
}
