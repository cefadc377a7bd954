//! Simplification of scalar expressions.

mod activation;
mod bytes;
mod fold;
mod simplify;

pub(super) use activation::recognize_activations;
pub(super) use simplify::simplify;
