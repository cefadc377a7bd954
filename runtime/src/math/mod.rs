//! Scalar functions that loops over them are vectorized with.
//!
//! `core` has no floating point functions beyond arithmetic, and calls into a C library would stop the vectorizer.
//! Every function here is straight-line code (unless it says otherwise) that is inlined into its caller, so that a
//! loop compiled for an instruction set computes with whole vectors. NaN comes out of NaN, infinities give their
//! limits and subnormal numbers count. The tests compare each function with `f64` over the whole range of `f32`; each
//! states its greatest error, in units in the last place of the result (ulp).
//!
//! Polynomials are minimax (Remez exchange), fitted for this crate. The argument reductions follow Cody and Waite,
//! *Software Manual for the Elementary Functions* (1980); the logarithm has the form of Tang, *Table-Driven
//! Implementation of the Logarithm Function* (1990), without a table.

mod activation;
mod double;
mod erf;
mod exp;
mod hyperbolic;
mod integer;
mod log;
mod number;
mod power;
mod round;
mod sqrt;
#[cfg(test)]
mod tests;
mod trigonometric;

pub use activation::*;
pub use double::*;
pub use erf::erf;
pub use exp::{exp, expm1, sigmoid, tanh};
pub use hyperbolic::{acosh, asinh, atanh, cosh, sinh};
pub use integer::Integer;
pub use log::{ln, ln_1p, log2, log10};
pub use number::Number;
pub use power::{modulo, pow, rem};
pub use round::{ceil, floor, max, min, round, round_to_i8, round_to_u8, sign, to_i8, to_u8, trunc};
pub use sqrt::{recip, rsqrt, sqrt};
pub use trigonometric::{acos, asin, atan, cos, sin, tan};

/// The polynomial with these coefficients, lowest degree first, by Horner's rule.
macro_rules! polynomial {
    ($x:expr; $last:expr) => { $last };
    ($x:expr; $first:expr, $($rest:expr),+) => { $first + $x * polynomial!($x; $($rest),+) };
}
use polynomial;
