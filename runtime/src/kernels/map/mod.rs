//! The elementwise engine: a closure over the elements of tensors of one shape.
//!
//! ```
//! use onnxide_runtime::isa::Scalar;
//! use onnxide_runtime::kernels::map::{Elementwise, Strided};
//! use onnxide_runtime::math;
//!
//! let (scores, mask) = ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [0.0, -1.0, 1.0]);
//! let mut out = [0.0; 6];
//! let rows = Strided { data: &mask, strides: [0, 1] };
//! Scalar.map(&mut out, [2, 3], (&scores[..], rows), |(score, mask)| math::relu(score + mask));
//! assert_eq!(out, [0.0, 0.0, 3.0, 3.0, 3.0, 6.0]);
//! ```
//!
//! The closure becomes one loop over contiguous memory, vectorized for the instruction set of the token. Operands that
//! are contiguous are read in place, others pass through a small buffer on the stack, tile by tile. The closure is
//! compiled once per call in the source, in the crate of the caller; everything else depends on element types alone.

mod nest;
mod operand;
#[cfg(test)]
mod tests;

use crate::element::Element;
use crate::isa::Isa;
use crate::team::Compute;
use core::mem::MaybeUninit;
use nest::{Layout, Nest, Tile};
use operand::{TileBuffer, product};

pub use nest::MAX_RANK;
pub use operand::{Index, Operand, Operands, RunOperand, RunOperands, Splat, Strided};

/// Elementwise computations, as methods of the token of an instruction set or of a [`Team`](crate::team::Team).
///
/// The order in which a closure sees the elements is not specified.
pub trait Elementwise: Compute {
    /// Writes `f` of the operands' elements to a dense output of this shape.
    ///
    /// # Panics
    ///
    /// If the length of `out` is not the product of `shape`, or an operand reaches out of its data.
    #[inline(always)]
    fn map<T: Element, O: Operands<R>, const R: usize>(
        self,
        out: &mut [T],
        shape: [usize; R],
        operands: O,
        f: impl Fn(O::Items) -> T + Sync,
    ) {
        assert!(
            out.len() == product(&shape),
            "the output has another number of elements than its shape"
        );
        run::<_, _, _, _, false>(self, out, Layout::dense(&shape), shape, operands, |_, items| f(items));
    }

    /// As [`map`](Elementwise::map), for an output with strides, as of [`Strided`]. Elements between those of the
    /// output stay as they are.
    ///
    /// # Panics
    ///
    /// If the output or an operand reaches out of its data.
    #[inline(always)]
    fn map_into<T: Element, O: Operands<R>, const R: usize>(
        self,
        out: &mut [T],
        strides: [isize; R],
        shape: [usize; R],
        operands: O,
        f: impl Fn(O::Items) -> T + Sync,
    ) {
        let layout = output_layout(out, &shape, &strides);
        run::<_, _, _, _, false>(self, out, layout, shape, operands, |_, items| f(items));
    }

    /// As [`map`](Elementwise::map) in place: `f` gets the value to replace first.
    ///
    /// # Panics
    ///
    /// As for [`map`](Elementwise::map).
    #[inline(always)]
    fn update<T: Element, O: Operands<R>, const R: usize>(
        self,
        out: &mut [T],
        shape: [usize; R],
        operands: O,
        f: impl Fn(T, O::Items) -> T + Sync,
    ) {
        assert!(
            out.len() == product(&shape),
            "the output has another number of elements than its shape"
        );
        run::<_, _, _, _, true>(self, out, Layout::dense(&shape), shape, operands, f);
    }

    /// As [`update`](Elementwise::update), for a tensor with strides.
    ///
    /// # Panics
    ///
    /// As for [`map_into`](Elementwise::map_into).
    #[inline(always)]
    fn update_into<T: Element, O: Operands<R>, const R: usize>(
        self,
        out: &mut [T],
        strides: [isize; R],
        shape: [usize; R],
        operands: O,
        f: impl Fn(T, O::Items) -> T + Sync,
    ) {
        let layout = output_layout(out, &shape, &strides);
        run::<_, _, _, _, true>(self, out, layout, shape, operands, f);
    }

    /// Copies a tensor to a dense output of this shape: a transposition, a broadcast, a slice.
    ///
    /// # Panics
    ///
    /// As for [`map`](Elementwise::map).
    #[inline(always)]
    fn copy<T: Element, const R: usize>(self, out: &mut [T], shape: [usize; R], input: Strided<'_, T, R>) {
        self.map(out, shape, (input,), |(element,)| element);
    }

    /// Copies a tensor to an output with strides: a part of a concatenation.
    ///
    /// # Panics
    ///
    /// As for [`map_into`](Elementwise::map_into).
    #[inline(always)]
    fn copy_into<T: Element, const R: usize>(
        self,
        out: &mut [T],
        strides: [isize; R],
        shape: [usize; R],
        input: Strided<'_, T, R>,
    ) {
        self.map_into(out, strides, shape, (input,), |(element,)| element);
    }

    /// Replaces the elements of one contiguous run: `f` gets each element and those of the operands, which are slices
    /// of the same length or a [`Splat`].
    ///
    /// # Panics
    ///
    /// If an operand has another length.
    #[inline(always)]
    fn apply<T: Element, O: RunOperands>(self, run: &mut [T], operands: O, f: impl Fn(T, O::Items) -> T) {
        let runs = operands.whole(run.len());
        self.isa().vectorize(|| {
            let len = run.len();
            // SAFETY: elements are initialized, and the loop writes elements only.
            let run = unsafe { core::slice::from_raw_parts_mut(run.as_mut_ptr().cast::<MaybeUninit<T>>(), len) };
            // SAFETY: the operands have the length of the run.
            unsafe { innermost::<T, O, 1, true>(run, runs, f) }
        });
    }

    /// Writes the elements of one contiguous run: `f` gets those of the operands, which are slices of the same length or a
    /// [`Splat`].
    ///
    /// # Panics
    ///
    /// If an operand has another length.
    #[inline(always)]
    fn assign<T: Element, O: RunOperands>(self, run: &mut [T], operands: O, f: impl Fn(O::Items) -> T) {
        let runs = operands.whole(run.len());
        self.isa().vectorize(|| {
            let len = run.len();
            // SAFETY: elements are initialized, and the loop writes elements only.
            let run = unsafe { core::slice::from_raw_parts_mut(run.as_mut_ptr().cast::<MaybeUninit<T>>(), len) };
            // SAFETY: the operands have the length of the run.
            unsafe { innermost::<T, O, 1, false>(run, runs, |_, items| f(items)) }
        });
    }
}

impl<C: Compute> Elementwise for C {}

#[inline(always)]
fn output_layout<T, const R: usize>(out: &[T], shape: &[usize; R], strides: &[isize; R]) -> Layout {
    let (layout, end) = Layout::new(shape, strides);
    assert!(
        end <= out.len() || shape.contains(&0),
        "a strided output reaches out of its data"
    );
    layout
}

/// The start of an output of which each thread writes other elements.
#[derive(Clone, Copy)]
struct Start<T>(*mut T);

// SAFETY: whoever has the pointer writes only elements that are theirs, and elements may be written from any thread.
unsafe impl<T: Element> Sync for Start<T> {}

impl<T> Start<T> {
    #[inline(always)]
    fn get(self) -> *mut T {
        self.0
    }
}

/// The one loop over a shape. `UPDATE` says whether `f` gets the value to replace, or an arbitrary one.
///
/// `output` is a layout of `shape` whose elements are inside of `out`.
#[inline(always)]
fn run<C: Compute, T: Element, O: Operands<R>, const R: usize, const UPDATE: bool>(
    compute: C,
    out: &mut [T],
    output: Layout,
    shape: [usize; R],
    operands: O,
    f: impl Fn(T, O::Items) -> T + Sync,
) {
    if shape.contains(&0) {
        return;
    }
    let mut layouts = operands.layouts(&shape, output);
    let mut nest = Nest::new(&shape, layouts.as_mut());
    if layouts.as_ref()[0].has_contiguous_rows() && O::are_direct(&layouts) {
        nest.prefer_rows();
    }
    let out = Start(out.as_mut_ptr());
    let layouts = &layouts;
    compute.divide(nest.most_parts(), |index, count| {
        let (mut nest, mut layouts) = (nest, *layouts);
        if count > 1 && !nest.restrict(index, count, layouts.as_mut()) {
            return;
        }
        let out = out.get();
        compute.isa().vectorize(|| {
            let mut buffers = O::buffers();
            let mut out_buffer = TileBuffer::<T>::new();
            loop {
                nest.tiles(|at| {
                    let tile = layouts.as_ref()[0].tile(&at);
                    let len = tile.rows * tile.cols;
                    // SAFETY: the layouts were checked against the data, `Nest` walks inside of them, and its tiles
                    // have at most `TILE` elements unless every tensor has contiguous rows and the tile is one row. A
                    // pointer to elements of the output is to `len` of them, which nothing else refers to: the parts
                    // of a nest share none. Those of the buffer are initialized if `UPDATE`, and are all written
                    // before they go to the output.
                    unsafe {
                        let runs = operands.load(&mut buffers, &layouts, &at);
                        let direct = tile.is_contiguous();
                        let target = if direct {
                            out.offset(tile.offset)
                        } else {
                            out_buffer.as_mut_ptr()
                        };
                        if UPDATE && !direct {
                            exchange::<T, false>(target, out, tile);
                        }
                        innermost::<T, O, R, UPDATE>(core::slice::from_raw_parts_mut(target.cast(), len), runs, &f);
                        if !direct {
                            exchange::<T, true>(target, out, tile);
                        }
                    }
                });
                if !nest.advance(layouts.as_mut()) {
                    break;
                }
            }
        });
    });
}

/// The innermost loop.
///
/// # Safety
///
/// The runs have at least the length of `target`, whose elements are initialized if `UPDATE`.
#[inline(always)]
unsafe fn innermost<T: Element, O: Operands<R>, const R: usize, const UPDATE: bool>(
    target: &mut [MaybeUninit<T>],
    runs: O::Runs,
    f: impl Fn(T, O::Items) -> T,
) {
    for (index, target) in target.iter_mut().enumerate() {
        let current = if UPDATE {
            // SAFETY: the caller says that the elements are initialized.
            unsafe { target.assume_init() }
        } else {
            T::default()
        };
        // SAFETY: the index is less than the length of the target.
        target.write(f(current, unsafe { O::read(runs, index) }));
    }
}

/// Copies a tile from a buffer to the output, or from the output to a buffer.
///
/// # Safety
///
/// The tile is one of the output, and the buffer has room for it.
#[inline(never)]
unsafe fn exchange<T: Element, const TO_OUTPUT: bool>(buffer: *mut T, out: *mut T, tile: Tile) {
    for row in 0..tile.rows {
        for col in 0..tile.cols {
            let offset = tile.offset + row as isize * tile.row_stride + col as isize * tile.col_stride;
            // SAFETY: the caller vouches for the elements of the tile.
            unsafe {
                let (buffered, element) = (buffer.add(row * tile.cols + col), out.offset(offset));
                if TO_OUTPUT {
                    element.write(*buffered);
                } else {
                    buffered.write(*element);
                }
            }
        }
    }
}
