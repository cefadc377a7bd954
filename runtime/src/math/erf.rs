//! The error function.

use super::exp::{clamp, exp};
use super::polynomial;
use core::f32::consts::FRAC_2_SQRT_PI;

/// The error function. Error at most 2.5 ulp.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    // 1 - erf(3.95) is less than half an ulp of 1.
    let t = clamp(x.abs(), 0.0, 3.95);
    let z = t * t;
    let small = t * polynomial!(z; FRAC_2_SQRT_PI, -0.376_126_26, 0.112_835_854, -0.026_853_811, 0.005_188_327_3,
            -0.000_801_019_2, 7.853_858e-5);
    // -ln(1 - erf(t)) from 1 on; even and odd terms apart, so that one does not wait for the other.
    let g = polynomial!(z; 0.000_194_398_35, 0.636_024_2, -0.023_761_61, -0.000_361_674_93)
        + t * polynomial!(z; 1.127_972_8, 0.105_778_806, 0.003_742_662_3, 1.595_304_6e-5);
    let large = 1.0 - exp(-g);
    (if t < 1.0 { small } else { large }).copysign(x)
}
