//! The kernels: one generic implementation each, entered through a method of an [`Isa`](crate::isa::Isa) token.

pub mod linear;
pub mod map;
pub mod simd;

/// Every family of kernels.
pub trait Kernels: linear::Linear {}

impl<T: linear::Linear> Kernels for T {}
