//! The kernels: one generic implementation each, entered through a method of an [`Isa`](crate::isa::Isa) token.

pub mod linear;
pub mod map;
pub mod pool;
pub mod reduce;
pub mod rows;
pub mod simd;

/// Every family of kernels.
pub trait Kernels: linear::Linear + pool::Pooling + reduce::Reductions + rows::Rows {}

impl<T: linear::Linear + pool::Pooling + reduce::Reductions + rows::Rows> Kernels for T {}
