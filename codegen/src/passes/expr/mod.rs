//! Simplification of scalar expressions.

mod activation;
mod bytes;
mod fold;
mod order;
mod simplify;

pub(super) use activation::recognize_activations;
pub(super) use order::keeps_order;
pub(super) use simplify::simplify;
