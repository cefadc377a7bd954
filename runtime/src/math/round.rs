//! Rounding, sign and order. All exact.

/// Numbers from here on are integers.
const INTEGERS: f32 = 8_388_608.0;

/// The nearest integer, ties to even.
#[inline(always)]
pub fn round(x: f32) -> f32 {
    let magnitude = x.abs();
    // The sum has no bits for a fraction, so that the hardware rounds it.
    let rounded = ((magnitude + INTEGERS) - INTEGERS).copysign(x);
    if magnitude < INTEGERS { rounded } else { x }
}

/// The greatest integer not above.
#[inline(always)]
pub fn floor(x: f32) -> f32 {
    let rounded = round(x);
    rounded - if rounded > x { 1.0 } else { 0.0 }
}

/// The least integer not below.
#[inline(always)]
pub fn ceil(x: f32) -> f32 {
    let rounded = round(x);
    (rounded + if rounded < x { 1.0 } else { 0.0 }).copysign(x)
}

/// The integer part.
#[inline(always)]
pub fn trunc(x: f32) -> f32 {
    floor(x.abs()).copysign(x)
}

/// -1, 0 or 1; NaN of NaN.
#[inline(always)]
pub fn sign(x: f32) -> f32 {
    if x > 0.0 {
        1.0
    } else if x < 0.0 {
        -1.0
    } else {
        x
    }
}

/// The greater number; NaN if either is.
#[inline(always)]
pub fn max(a: f32, b: f32) -> f32 {
    if a > b || a.is_nan() { a } else { b }
}

/// The lesser number; NaN if either is.
#[inline(always)]
pub fn min(a: f32, b: f32) -> f32 {
    if a < b || a.is_nan() { a } else { b }
}

/// The integer part, saturated to `u8`; 0 for not-a-number. It is what `as` gives, of which compilers make no vectors.
#[inline(always)]
pub fn to_u8(x: f32) -> u8 {
    // Not-a-number is not above zero.
    let positive = if x > 0.0 { x } else { 0.0 };
    let bounded = if positive < 255.0 { positive } else { 255.0 };
    // SAFETY: the number is within 0..=255.
    unsafe { bounded.to_int_unchecked::<i32>() as u8 }
}

/// A number between 2^23 and 2^24, where there are no fractions, so far from both that sums with small numbers stay there.
/// The low bits of its significand are zeros.
const WHOLE: f32 = 12_582_912.0;

/// The nearest integer, ties to even, plus a zero point of magnitude up to 2^16, saturated to `u8`; 0 for not-a-number: what
/// [`to_u8`] makes of [`round`] and the zero point, in fewer instructions.
#[inline(always)]
pub fn round_to_u8(x: f32, zero_point: i32) -> u8 {
    let (low, high) = (-zero_point as f32, (255 - zero_point) as f32);
    // Not-a-number is not above the least.
    let raised = if x > low { x } else { low };
    let bounded = if raised < high { raised } else { high };
    // The hardware rounds the sum to the integer that its low bits are.
    ((bounded + WHOLE).to_bits() as u8).wrapping_add(zero_point as u8)
}

/// As [`round_to_u8`], saturated to `i8`; 0 for not-a-number.
#[inline(always)]
pub fn round_to_i8(x: f32, zero_point: i32) -> i8 {
    let number = if x.is_nan() { -zero_point as f32 } else { x };
    round_to_u8(number, zero_point + 128).wrapping_sub(128).cast_signed()
}

/// The integer part, saturated to `i8`; 0 for not-a-number. It is what `as` gives, of which compilers make no vectors.
#[inline(always)]
pub fn to_i8(x: f32) -> i8 {
    let number = if x.is_nan() { 0.0 } else { x };
    let low = if number > -128.0 { number } else { -128.0 };
    let bounded = if low < 127.0 { low } else { 127.0 };
    // SAFETY: the number is within -128..=127.
    unsafe { bounded.to_int_unchecked::<i32>() as i8 }
}
