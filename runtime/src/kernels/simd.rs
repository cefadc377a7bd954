//! Vector operations that kernels are written in.

use crate::isa;

/// The vector operations of an instruction set.
pub trait Simd: Copy + 'static {}

impl Simd for isa::Scalar {}
impl Simd for isa::Avx2 {}
impl Simd for isa::Avx512 {}
