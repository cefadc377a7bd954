//! Reductions over any axes, running sums, and the positions of extremes.

mod arg;
mod axes;
mod scan;
#[cfg(test)]
mod tests;

use super::map::Strided;
use super::simd::Simd;
use crate::isa::{Isa, Scalar, kernel_table};
use crate::math::Number;
use crate::team::{Compute, Team};
use axes::{Axes, Fold};

pub use arg::Extreme;
pub use scan::CumulativeSum;

/// How elements become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// The sum; 0 of nothing.
    Sum,
    /// The sum, divided by the number of elements.
    Mean,
    /// The greatest; NaN if one is, the lowest value of nothing.
    Max,
    /// The least; NaN if one is, the highest value of nothing.
    Min,
    /// The product; 1 of nothing.
    Product,
    /// The sum of squares.
    SumOfSquares,
    /// The sum of absolute values.
    L1,
    /// The square root of the sum of squares.
    L2,
    /// The logarithm of the sum.
    LogSum,
    /// The logarithm of the sum of exponentials, without overflow.
    LogSumExp,
}

/// Reductions of tensors, as methods of the token of an instruction set or of a [`Team`].
pub trait Reduce: Compute {
    /// Reduces the axes of a tensor for which `reduced` is set. The output is dense and has the other axes in their
    /// order.
    ///
    /// Sums are kept in many partial sums, so that their error grows far slower than the number of elements.
    ///
    /// # Panics
    ///
    /// If the length of `out` is not the product of the axes that stay, or the tensor reaches out of its data.
    #[inline(always)]
    fn reduce<T: Reducible, const R: usize>(
        self,
        reduction: Reduction,
        out: &mut [T],
        shape: [usize; R],
        input: Strided<'_, T, R>,
        reduced: [bool; R],
    ) {
        let axes = Axes::new(&shape, &input.strides, &reduced, out.len(), input.data.len());
        T::reduce(self, reduction, out, input.data, &axes);
    }

    /// The positions of the greatest or least elements along the middle axis of a dense `[outer, n, inner]`, as ONNX
    /// `ArgMax` and `ArgMin`: of equal elements the first, or the last if `last`. NaN counts as an extreme.
    ///
    /// # Panics
    ///
    /// If the length of `out` is not `outer * inner`, that of `input` not `outer * n * inner`, or `n` is 0.
    #[inline(always)]
    fn arg<T: Reducible>(self, extreme: Extreme, last: bool, out: &mut [i64], input: &[T], shape: [usize; 3]) {
        T::arg(self, extreme, last, out, input, shape);
    }

    /// The running sums along the middle axis of a dense `[outer, n, inner]`.
    ///
    /// # Panics
    ///
    /// If the length of `out` or `input` is not the product of the shape.
    #[inline(always)]
    fn cumulative_sum<T: Reducible>(self, mode: CumulativeSum, out: &mut [T], input: &[T], shape: [usize; 3]) {
        T::cumulative_sum(self, mode, out, input, shape);
    }
}

impl<C: Compute> Reduce for C {}

/// An element type that reductions are compiled for.
pub trait Reducible: Number {
    #[doc(hidden)]
    fn reduce(isa: impl Compute, reduction: Reduction, out: &mut [Self], input: &[Self], axes: &Axes);
    #[doc(hidden)]
    fn arg(isa: impl Compute, extreme: Extreme, last: bool, out: &mut [i64], input: &[Self], shape: [usize; 3]);
    #[doc(hidden)]
    fn cumulative_sum(isa: impl Compute, mode: CumulativeSum, out: &mut [Self], input: &[Self], shape: [usize; 3]);
}

kernel_table! {
    /// The entry points of reductions of `f32`. Called through [`Reduce`].
    pub trait Reductions {
        #[doc(hidden)]
        fn reduce_f32(reduction: Reduction, out: &mut [f32], input: &[f32], axes: &Axes) = reduce, divided by reduce_parts;
        #[doc(hidden)]
        fn arg_f32(extreme: Extreme, last: bool, out: &mut [i64], input: &[f32], shape: [usize; 3]) = arg::arg;
        #[doc(hidden)]
        fn cumulative_sum_f32(mode: CumulativeSum, out: &mut [f32], input: &[f32], shape: [usize; 3])
            = scan::cumulative_sum;
    }
}

impl Reducible for f32 {
    #[inline(always)]
    fn reduce(isa: impl Compute, reduction: Reduction, out: &mut [f32], input: &[f32], axes: &Axes) {
        isa.reduce_f32(reduction, out, input, axes);
    }

    #[inline(always)]
    fn arg(isa: impl Compute, extreme: Extreme, last: bool, out: &mut [i64], input: &[f32], shape: [usize; 3]) {
        isa.arg_f32(extreme, last, out, input, shape);
    }

    #[inline(always)]
    fn cumulative_sum(isa: impl Compute, mode: CumulativeSum, out: &mut [f32], input: &[f32], shape: [usize; 3]) {
        isa.cumulative_sum_f32(mode, out, input, shape);
    }
}

/// Other types are rarely reduced, and little: they are compiled where they are used, for the target alone.
macro_rules! reducible {
    ($($type:ident)*) => {$(
        impl Reducible for $type {
            fn reduce(_isa: impl Compute, reduction: Reduction, out: &mut [Self], input: &[Self], axes: &Axes) {
                #[inline]
                fn compiled(reduction: Reduction, out: &mut [$type], input: &[$type], axes: &Axes) {
                    reduce(Scalar, reduction, out, input, axes);
                }
                compiled(reduction, out, input, axes);
            }

            fn arg(
                _isa: impl Compute,
                extreme: Extreme,
                last: bool,
                out: &mut [i64],
                input: &[Self],
                shape: [usize; 3],
            ) {
                #[inline]
                fn compiled(extreme: Extreme, last: bool, out: &mut [i64], input: &[$type], shape: [usize; 3]) {
                    arg::arg(Scalar, extreme, last, out, input, shape);
                }
                compiled(extreme, last, out, input, shape);
            }

            fn cumulative_sum(
                _isa: impl Compute,
                mode: CumulativeSum,
                out: &mut [Self],
                input: &[Self],
                shape: [usize; 3],
            ) {
                #[inline]
                fn compiled(mode: CumulativeSum, out: &mut [$type], input: &[$type], shape: [usize; 3]) {
                    scan::cumulative_sum(Scalar, mode, out, input, shape);
                }
                compiled(mode, out, input, shape);
            }
        }
    )*};
}

reducible!(f64 i8 u8 i32 i64);

/// Divides the outermost axis that stays.
fn reduce_parts<S: Isa>(team: Team<'_, S>, reduction: Reduction, out: &mut [f32], input: &[f32], axes: &Axes) {
    let (size, inner) = axes.outermost();
    // Results that lie side by side are divided between cache lines.
    let unit = if inner == 1 { 16 } else { 1 };
    let share = team.share(size.div_ceil(unit)) * unit;
    team.each(out.chunks_mut((share * inner).max(1)), |index, out| {
        let axes = axes.part(index * share, out.len());
        team.isa().reduce_f32(reduction, out, input, &axes);
    });
}

#[inline(always)]
fn reduce<S: Simd, T: Number>(_isa: S, reduction: Reduction, out: &mut [T], input: &[T], axes: &Axes) {
    macro_rules! fold {
        ($start:ident, $join:ident, $map:expr) => {
            axes.fold(
                out,
                input,
                Fold {
                    start: T::$start,
                    map: $map,
                    join: T::$join,
                    finish: |result, _| result,
                },
            )
        };
    }
    // Different reductions share a loop over the input, and something is done to the results after.
    match reduction {
        Reduction::Sum | Reduction::Mean | Reduction::LogSum => fold!(ZERO, plus, |x, _| x),
        Reduction::SumOfSquares | Reduction::L2 => fold!(ZERO, plus, |x: T, _| x.times(x)),
        Reduction::L1 => fold!(ZERO, plus, |x: T, _| x.magnitude()),
        Reduction::Max | Reduction::LogSumExp => fold!(LOWEST, greater, |x, _| x),
        Reduction::Min => fold!(HIGHEST, lesser, |x, _| x),
        Reduction::Product => fold!(ONE, times, |x, _| x),
    }
    match reduction {
        Reduction::Mean => out.iter_mut().for_each(|sum| *sum = sum.over(axes.count())),
        Reduction::L2 => out.iter_mut().for_each(|sum| *sum = sum.sqrt()),
        Reduction::LogSum => out.iter_mut().for_each(|sum| *sum = sum.ln()),
        Reduction::LogSumExp => {
            // The greatest element is taken out of the exponents, unless it is infinite.
            for pivot in out.iter_mut() {
                *pivot = if pivot.minus(*pivot) == T::ZERO {
                    *pivot
                } else {
                    T::ZERO
                };
            }
            let map = |x: T, pivot| x.minus(pivot).exp();
            let finish = |sum: T, pivot| sum.ln().plus(pivot);
            axes.fold(
                out,
                input,
                Fold {
                    start: T::ZERO,
                    map,
                    join: T::plus,
                    finish,
                },
            );
        }
        _ => {}
    }
}
