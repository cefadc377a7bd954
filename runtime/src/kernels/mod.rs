//! The kernels: one generic implementation each, entered through a method of an [`Isa`](crate::isa::Isa) token.

pub mod simd;

/// Every family of kernels.
pub trait Kernels: Example {}

impl<T: Example> Kernels for T {}

crate::isa::kernel_table! {
    /// Docs of a family.
    pub trait Example {
        /// Adds.
        fn example_add(a: &[f32], b: &mut [f32], c: Option<&dyn Fn(&mut [f32], usize)>) = example_add;
    }
}

#[inline(always)]
fn example_add<S: simd::Simd>(_isa: S, a: &[f32], b: &mut [f32], _c: Option<&dyn Fn(&mut [f32], usize)>) {
    for (a, b) in a.iter().zip(b) {
        *b += a;
    }
}
