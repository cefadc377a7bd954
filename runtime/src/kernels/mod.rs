//! The kernels: one generic implementation each, entered through a method of an [`Isa`](crate::isa::Isa) token.

pub mod linear;
pub mod map;
pub mod reduce;
pub mod simd;

/// Every family of kernels.
pub trait Kernels: linear::Linear + reduce::Reductions {}

impl<T: linear::Linear + reduce::Reductions> Kernels for T {}
