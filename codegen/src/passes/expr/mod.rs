//! Simplification of scalar expressions.

mod activation;
mod fold;
mod simplify;

pub(super) use activation::recognize_activations;
pub(super) use simplify::simplify;
