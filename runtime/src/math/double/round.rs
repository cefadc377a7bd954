//! Rounding, sign and order. All exact.

/// Numbers from here on are integers.
const INTEGERS: f64 = 4_503_599_627_370_496.0;

/// The nearest integer, ties to even.
#[inline(always)]
pub fn round_f64(x: f64) -> f64 {
    let magnitude = x.abs();
    // The sum has no bits for a fraction, so that the hardware rounds it.
    let rounded = ((magnitude + INTEGERS) - INTEGERS).copysign(x);
    if magnitude < INTEGERS { rounded } else { x }
}

/// The greatest integer not above.
#[inline(always)]
pub fn floor_f64(x: f64) -> f64 {
    let rounded = round_f64(x);
    rounded - if rounded > x { 1.0 } else { 0.0 }
}

/// The least integer not below.
#[inline(always)]
pub fn ceil_f64(x: f64) -> f64 {
    let rounded = round_f64(x);
    (rounded + if rounded < x { 1.0 } else { 0.0 }).copysign(x)
}

/// -1, 0 or 1; NaN of NaN.
#[inline(always)]
pub fn sign_f64(x: f64) -> f64 {
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
pub fn max_f64(a: f64, b: f64) -> f64 {
    if a > b || a.is_nan() { a } else { b }
}

/// The lesser number; NaN if either is.
#[inline(always)]
pub fn min_f64(a: f64, b: f64) -> f64 {
    if a < b || a.is_nan() { a } else { b }
}
