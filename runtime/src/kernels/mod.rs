//! The kernels: one generic implementation each, entered through a method of an [`Isa`](crate::isa::Isa) token.
//!
//! Those that only move elements are functions without a token.

pub mod fold;
pub mod gather;
pub mod linear;
pub mod map;
pub mod order;
pub mod pad;
pub mod pool;
pub mod reduce;
pub mod resize;
pub mod rows;
pub mod simd;
pub(crate) mod vector;

/// Every family of kernels.
pub trait Kernels: linear::Linear + pool::Pooling + reduce::Reductions + resize::Resizing + rows::Rows {}

impl<T: linear::Linear + pool::Pooling + reduce::Reductions + resize::Resizing + rows::Rows> Kernels for T {}
