//! Powers and remainders.

use super::double::{exp_f64, ln_f64};
use super::round::floor;

/// `x^y`, with the special cases of IEEE 754 `pow`. Error at most 1 ulp. Computed in `f64`.
#[inline(always)]
pub fn pow(x: f32, y: f32) -> f32 {
    let magnitude = exp_f64(ln_f64(f64::from(x.abs())) * f64::from(y)) as f32;
    let integer = floor(y) == y;
    let odd = integer && floor(0.5 * y) != 0.5 * y;
    let negative = x.is_sign_negative() && odd;
    let value = if negative { -magnitude } else { magnitude };
    let value = if x < 0.0 && x > f32::NEG_INFINITY && !integer {
        f32::NAN
    } else {
        value
    };
    let one = x == 1.0 || y == 0.0 || x == -1.0 && y.is_infinite();
    if one { 1.0 } else { value }
}

/// The remainder of `x / y` rounded toward zero, with the sign of `x`, exact: `fmod` of C. Not straight-line code.
pub fn rem(x: f32, y: f32) -> f32 {
    if x.is_infinite() || y == 0.0 || x.is_nan() || y.is_nan() {
        return f32::NAN;
    }
    if y.is_infinite() || x == 0.0 {
        return x;
    }
    let split = |magnitude: u32| match magnitude >> 23 {
        0 => (u64::from(magnitude), 1),
        exponent => (u64::from(magnitude & 0x007f_ffff | 0x0080_0000), exponent),
    };
    let (mut significand, exponent) = split(x.abs().to_bits());
    let (divisor, divisor_exponent) = split(y.abs().to_bits());
    if exponent < divisor_exponent {
        return x;
    }
    significand %= divisor;
    let mut places = exponent - divisor_exponent;
    while places > 0 {
        // The remainder is below 2^24, so that 40 more bits have room.
        let step = places.min(40);
        significand = (significand << step) % divisor;
        places -= step;
    }
    // The remainder has the exponent of the divisor: an integer of 24 bits times two powers of two.
    let first = (divisor_exponent as i32 - 150).max(-126);
    let rest = divisor_exponent as i32 - 150 - first;
    let value = significand as f32 * super::exp::power_of_two(rest) * super::exp::power_of_two(first);
    value.copysign(x)
}

/// The remainder of `x / y` rounded down, with the sign of `y` (ONNX `Mod`), of which the last step alone rounds. Not
/// straight-line code.
pub fn modulo(x: f32, y: f32) -> f32 {
    let rest = rem(x, y);
    if rest != 0.0 && (rest < 0.0) != (y < 0.0) {
        rest + y
    } else {
        rest
    }
}
