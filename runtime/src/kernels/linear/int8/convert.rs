//! What is made of the sums of integer products: an expression of them and of operands.

use crate::element::Element;
use crate::isa::Isa;
use crate::kernels::linear::{MatrixMut, Position};
use crate::kernels::map::Splat;
use crate::team::Compute;

/// Makes outputs of sums, some rows of some columns at a time.
///
/// Every output belongs to exactly one call.
pub trait Convert<T>: Sync {
    /// Writes what becomes of `sums`, which begin at a position.
    #[doc(hidden)]
    fn convert(&self, sums: Sums<'_>, out: &mut MatrixMut<'_, T>, at: Position);
}

/// Sums of some rows.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Sums<'a> {
    pub(super) data: &'a [i32],
    pub(super) stride: usize,
}

impl<'a> Sums<'a> {
    #[inline(always)]
    pub(super) fn run(self, row: usize, len: usize) -> &'a [i32] {
        &self.data[row * self.stride..][..len]
    }
}

/// The [`Convert`] that makes each output by a function of its sum and of the elements of operands.
#[derive(Clone, Copy, Debug)]
pub struct Each<S, O, F> {
    isa: S,
    operands: O,
    f: F,
}

impl<S: Isa, O: SumOperands, F> Each<S, O, F> {
    /// Outputs of `f`, which gets a tuple of a sum and of elements of `operands`: a tuple of [`PerColumn`], [`PerRow`],
    /// [`PerElement`] and [`Splat`].
    #[inline(always)]
    pub fn new<C: Compute<Isa = S>, T: Element>(compute: C, operands: O, f: F) -> Self
    where
        F: Fn(O::Items) -> T + Sync,
    {
        Each {
            isa: compute.isa(),
            operands,
            f,
        }
    }
}

impl<S: Isa, T: Element, O: SumOperands, F: Fn(O::Items) -> T + Sync> Convert<T> for Each<S, O, F> {
    fn convert(&self, sums: Sums<'_>, out: &mut MatrixMut<'_, T>, at: Position) {
        self.isa.vectorize(|| {
            for index in 0..out.rows() {
                let run = out.run(index, 0..out.columns());
                let len = run.len();
                let at = Position {
                    row: at.row + index,
                    ..at
                };
                // SAFETY: the operands have been found to have this length here.
                unsafe { assign(run, sums.run(index, len), self.operands.runs(at, len), &self.f, O::read) };
            }
        });
    }
}

/// Writes `f` of every sum and the elements of operands that belong to it.
///
/// # Safety
///
/// Each operand has as many elements as the output.
#[inline(always)]
unsafe fn assign<T: Element, R: Copy, I>(
    out: &mut [T],
    sums: &[i32],
    runs: R,
    f: impl Fn(I) -> T,
    read: unsafe fn(R, i32, usize) -> I,
) {
    // SAFETY: the operands have as many elements, of which each chunk takes those that belong to its outputs.
    unsafe {
        let done = chunks::<16, T, R, I>(out, sums, 0, runs, &f, read);
        let done = chunks::<8, T, R, I>(out, sums, done, runs, &f, read);
        chunks::<1, T, R, I>(out, sums, done, runs, &f, read);
    }
}

/// Writes what is left from `first` on in chunks of `N`, and returns where it ends. Loops of known length become vectors and
/// nothing else; rows are often as short as one.
///
/// # Safety
///
/// As of [`assign`].
#[inline(always)]
unsafe fn chunks<const N: usize, T: Element, R: Copy, I>(
    out: &mut [T],
    sums: &[i32],
    first: usize,
    runs: R,
    f: &impl Fn(I) -> T,
    read: unsafe fn(R, i32, usize) -> I,
) -> usize {
    let out = out[first..].as_chunks_mut::<N>().0;
    let sums = sums[first..].as_chunks::<N>().0;
    let mut at = first;
    for (out, sums) in out.iter_mut().zip(sums) {
        // A place of its own cannot be that of an operand, about which the loop would have to ask.
        let mut results = [T::default(); N];
        for (index, (result, &sum)) in results.iter_mut().zip(sums).enumerate() {
            // SAFETY: the index is one of the output.
            *result = f(unsafe { read(runs, sum, at + index) });
        }
        *out = results;
        at += N;
    }
    at
}

/// An operand with an element for every column.
#[derive(Clone, Copy, Debug)]
pub struct PerColumn<'a, T>(pub &'a [T]);

/// An operand with an element for every row, the elements of which are this far apart.
#[derive(Clone, Copy, Debug)]
pub struct PerRow<'a, T>(pub &'a [T], pub usize);

/// An operand with an element for every output, the rows of which are this far apart.
#[derive(Clone, Copy, Debug)]
pub struct PerElement<'a, T>(pub &'a [T], pub usize);

/// An operand of what is made of sums: [`PerColumn`], [`PerRow`], [`PerElement`] or [`Splat`].
pub trait SumOperand: Copy + Sync {
    /// An element.
    type Item: Copy;
    #[doc(hidden)]
    type Run: Copy;

    /// The elements for `len` outputs from a position on.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    #[doc(hidden)]
    fn run(self, at: Position, len: usize) -> Self::Run;

    /// An element of a run.
    ///
    /// # Safety
    ///
    /// The index is less than the length of the run.
    #[doc(hidden)]
    unsafe fn read(run: Self::Run, index: usize) -> Self::Item;
}

impl<T: Element> SumOperand for PerColumn<'_, T> {
    type Item = T;
    type Run = *const T;

    #[inline(always)]
    fn run(self, at: Position, len: usize) -> *const T {
        self.0[at.column..][..len].as_ptr()
    }

    #[inline(always)]
    unsafe fn read(run: *const T, index: usize) -> T {
        // SAFETY: the caller says that the index is one of the run, which is a slice of such elements.
        unsafe { *run.add(index) }
    }
}

impl<T: Element> SumOperand for PerElement<'_, T> {
    type Item = T;
    type Run = *const T;

    #[inline(always)]
    fn run(self, at: Position, len: usize) -> *const T {
        self.0[at.row * self.1 + at.column..][..len].as_ptr()
    }

    #[inline(always)]
    unsafe fn read(run: *const T, index: usize) -> T {
        // SAFETY: as for `PerColumn`.
        unsafe { *run.add(index) }
    }
}

impl<T: Element> SumOperand for PerRow<'_, T> {
    type Item = T;
    type Run = T;

    #[inline(always)]
    fn run(self, at: Position, _len: usize) -> T {
        self.0[at.row * self.1]
    }

    #[inline(always)]
    unsafe fn read(run: T, _index: usize) -> T {
        run
    }
}

impl<T: Element> SumOperand for Splat<T> {
    type Item = T;
    type Run = T;

    #[inline(always)]
    fn run(self, _at: Position, _len: usize) -> T {
        self.0
    }

    #[inline(always)]
    unsafe fn read(run: T, _index: usize) -> T {
        run
    }
}

/// A tuple of up to seven operands.
pub trait SumOperands: Copy + Sync {
    /// A sum and an element of each operand.
    type Items;
    #[doc(hidden)]
    type Runs: Copy;

    #[doc(hidden)]
    fn runs(self, at: Position, len: usize) -> Self::Runs;

    /// # Safety
    ///
    /// As for [`SumOperand::read`].
    #[doc(hidden)]
    unsafe fn read(runs: Self::Runs, sum: i32, index: usize) -> Self::Items;
}

macro_rules! tuples {
    ($($name:ident $index:tt)*) => {
        #[allow(unused_variables, clippy::unused_unit)]
        impl<$($name: SumOperand),*> SumOperands for ($($name,)*) {
            type Items = (i32, $($name::Item,)*);
            type Runs = ($($name::Run,)*);

            #[inline(always)]
            fn runs(self, at: Position, len: usize) -> Self::Runs {
                ($(self.$index.run(at, len),)*)
            }

            #[inline(always)]
            unsafe fn read(runs: Self::Runs, sum: i32, index: usize) -> Self::Items {
                // SAFETY: passed on.
                (sum, $(unsafe { $name::read(runs.$index, index) },)*)
            }
        }
    };
}

tuples!();
tuples!(A 0);
tuples!(A 0 B 1);
tuples!(A 0 B 1 C 2);
tuples!(A 0 B 1 C 2 D 3);
tuples!(A 0 B 1 C 2 D 3 E 4);
tuples!(A 0 B 1 C 2 D 3 E 4 F 5);
tuples!(A 0 B 1 C 2 D 3 E 4 F 5 G 6);
