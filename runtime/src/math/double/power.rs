//! Powers and remainders.

use super::trigonometric::product_error;
use super::{LN2_HIGH, LN2_LOW, exp_f64, floor_f64, polynomial};

/// The natural logarithm of a positive number as a sum of two numbers, with a relative error of 2^-64.
#[inline(always)]
fn ln_in_two(x: f64) -> (f64, f64) {
    let tiny = x < f64::MIN_POSITIVE;
    let bits = (if tiny { x * 18_014_398_509_481_984.0 } else { x }).to_bits();
    let exponent = bits.wrapping_sub(core::f64::consts::FRAC_1_SQRT_2.to_bits()) as i64 >> 52;
    let m = f64::from_bits(bits.wrapping_sub((exponent << 52) as u64));
    let k = exponent as i32 as f64 - if tiny { 54.0 } else { 0.0 };
    // ln(m) = 2 artanh(s) with s = (m - 1) / (m + 1), as a sum: the denominator, too, is one.
    let f = m - 1.0;
    let below = m + 1.0;
    let below_rest = m - (below - 1.0);
    let s = f / below;
    let product = s * below;
    let s_rest = ((f - product) - product_error(s, below, product) - s * below_rest) / below;
    // The square and the cube, as sums.
    let z = s * s;
    let z_rest = product_error(s, s, z) + 2.0 * s * s_rest;
    let cube = s * z;
    let cube_rest = product_error(s, z, cube) + (s * z_rest + s_rest * z);
    // Two thirds of the cube.
    let third = cube * (2.0 / 3.0);
    let third_rest = product_error(cube, 2.0 / 3.0, third) + cube_rest * (2.0 / 3.0) + cube * TWO_THIRDS_REST;
    let tail = cube
        * z
        * polynomial!(z; 0.4, 0.285_714_285_714_285_7, 0.222_222_222_222_222_2, 0.181_818_181_818_181_82,
        0.153_846_153_846_153_85, 0.133_333_333_333_333_33, 0.117_647_058_823_529_41, 0.105_263_157_894_736_84,
        0.095_238_095_238_095_24, 0.086_956_521_739_130_43);
    let (high, rest) = two_sum(k * LN2_HIGH, 2.0 * s);
    let (high, more) = two_sum(high, third);
    let low = tail + third_rest + 2.0 * s_rest + k * LN2_LOW + (rest + more);
    two_sum(high, low)
}

/// What 2/3 leaves out.
const TWO_THIRDS_REST: f64 = 3.700_743_415_417_188e-17;

/// The sum and what it has lost by rounding (Knuth, *The Art of Computer Programming*, volume 2, 4.2.2).
#[inline(always)]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let part = sum - a;
    (sum, (a - (sum - part)) + (b - part))
}

/// `x^y`, with the special cases of IEEE 754 `pow`. Error at most 3 ulp.
#[inline(always)]
pub fn pow_f64(x: f64, y: f64) -> f64 {
    let magnitude = x.abs();
    let (high, low) = ln_in_two(magnitude);
    // Beyond this the result is 0, 1 or an infinity whatever the exponent.
    let bounded = super::clamp(y, -1e300, 1e300);
    let product = high * bounded;
    let exponent = super::clamp(product, -800.0, 800.0);
    let rest = product_error(high, bounded, product) + low * bounded;
    let head = exp_f64(exponent);
    let corrects = product == exponent && head < f64::INFINITY;
    let finite = if corrects { head + head * rest } else { head };
    let special = magnitude == 0.0 || magnitude == f64::INFINITY;
    let grows = (magnitude > 1.0) == (y > 0.0);
    let limit = if grows { f64::INFINITY } else { 0.0 };
    let value = if special || y.is_infinite() { limit } else { finite };
    let value = if x.is_nan() || y.is_nan() { f64::NAN } else { value };
    let integer = floor_f64(y) == y;
    let odd = integer && floor_f64(0.5 * y) != 0.5 * y;
    let value = if x.is_sign_negative() && odd { -value } else { value };
    let value = if x < 0.0 && x > f64::NEG_INFINITY && !integer {
        f64::NAN
    } else {
        value
    };
    let one = x == 1.0 || y == 0.0 || x == -1.0 && y.is_infinite();
    if one { 1.0 } else { value }
}

/// The remainder of `x / y` rounded toward zero, with the sign of `x`, exact: `fmod` of C. Not straight-line code.
pub fn rem_f64(x: f64, y: f64) -> f64 {
    if x.is_infinite() || y == 0.0 || x.is_nan() || y.is_nan() {
        return f64::NAN;
    }
    if y.is_infinite() || x == 0.0 {
        return x;
    }
    let split = |magnitude: u64| match magnitude >> 52 {
        0 => (u128::from(magnitude), 1),
        exponent => (u128::from(magnitude & ((1 << 52) - 1) | 1 << 52), exponent),
    };
    let (mut significand, exponent) = split(x.abs().to_bits());
    let (divisor, divisor_exponent) = split(y.abs().to_bits());
    if exponent < divisor_exponent {
        return x;
    }
    significand %= divisor;
    let mut places = exponent - divisor_exponent;
    while places > 0 {
        // The remainder is below 2^53, so that 70 more bits have room.
        let step = places.min(70);
        significand = (significand << step) % divisor;
        places -= step;
    }
    // The remainder has the exponent of the divisor: an integer of 53 bits times two powers of two.
    let first = (divisor_exponent as i64 - 1075).max(-1022);
    let rest = divisor_exponent as i64 - 1075 - first;
    let value = significand as f64 * super::power_of_two(rest) * super::power_of_two(first);
    value.copysign(x)
}

/// The remainder of `x / y` rounded down, with the sign of `y` (ONNX `Mod`), of which the last step alone rounds. Not
/// straight-line code.
pub fn modulo_f64(x: f64, y: f64) -> f64 {
    let rest = rem_f64(x, y);
    if rest != 0.0 && (rest < 0.0) != (y < 0.0) {
        rest + y
    } else {
        rest
    }
}
