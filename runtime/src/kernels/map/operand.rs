//! What an elementwise computation reads.

use super::nest::{Layout, TILE, Tile, TilePosition};
use crate::element::Element;
use core::mem::MaybeUninit;

/// A tensor with any strides, in elements: 0 repeats an axis, a negative stride walks it backward.
///
/// The data starts at the lowest element that the tensor reaches.
#[derive(Clone, Copy, Debug)]
pub struct Strided<'a, T, const R: usize> {
    /// The elements, and any between them.
    pub data: &'a [T],
    /// The distance between neighbors along each axis.
    pub strides: [isize; R],
}

/// One value for all elements.
#[derive(Clone, Copy, Debug)]
pub struct Splat<T>(pub T);

/// The coordinate along an axis, an `i64`.
#[derive(Clone, Copy, Debug)]
pub struct Index {
    /// The axis of the output.
    pub axis: usize,
}

mod sealed {
    pub trait Sealed {}
}

/// An operand of an elementwise computation over a shape of rank `R`: [`Strided`], a dense slice of the same shape,
/// [`Splat`] or [`Index`].
pub trait Operand<const R: usize>: sealed::Sealed + Copy + Sync {
    /// What the computation gets of each element.
    type Item: Copy;
    #[doc(hidden)]
    type Buffer;
    /// The elements of a tile.
    #[doc(hidden)]
    type Run: Copy;

    /// The layout for a shape without empty axes.
    ///
    /// # Panics
    ///
    /// If an element is outside of the data.
    #[doc(hidden)]
    fn layout(&self, shape: &[usize; R]) -> Layout;

    /// Whether tiles need no buffer as long as they have one row.
    #[doc(hidden)]
    fn is_direct(layout: &Layout) -> bool;

    #[doc(hidden)]
    fn buffer() -> Self::Buffer;

    /// The elements of a tile.
    ///
    /// # Safety
    ///
    /// The tile is one of this operand's layout, and has at most `TILE` elements if it is not contiguous. The result
    /// is used before the buffer is.
    #[doc(hidden)]
    unsafe fn load(&self, buffer: &mut Self::Buffer, tile: Tile) -> Self::Run;

    /// An element of a tile.
    ///
    /// # Safety
    ///
    /// The index is one of the tile.
    #[doc(hidden)]
    unsafe fn read(run: Self::Run, index: usize) -> Self::Item;
}

/// The elements of a tile that are not consecutive in memory, made so.
#[derive(Debug)]
pub struct TileBuffer<T> {
    elements: MaybeUninit<[T; TILE]>,
    /// The element that all of the buffer repeats, if it does.
    repeated: *const T,
}

impl<T: Element> TileBuffer<T> {
    #[inline(always)]
    pub(super) fn new() -> Self {
        TileBuffer {
            elements: MaybeUninit::uninit(),
            repeated: core::ptr::null(),
        }
    }

    #[inline(always)]
    pub(super) fn as_mut_ptr(&mut self) -> *mut T {
        self.elements.as_mut_ptr().cast()
    }

    /// # Safety
    ///
    /// The elements of the tile are readable, relative to `data`, and the tile has at most `TILE` elements if it is not
    /// contiguous.
    #[inline(always)]
    unsafe fn load(&mut self, data: *const T, tile: Tile) -> *const T {
        // SAFETY: the first element of the tile is readable.
        let first = unsafe { data.offset(tile.offset) };
        if tile.is_contiguous() {
            return first;
        }
        // SAFETY: passed on.
        unsafe { self.gather(first, tile) };
        self.elements.as_ptr().cast()
    }

    /// # Safety
    ///
    /// As for `load`, relative to the first element.
    #[inline(never)]
    unsafe fn gather(&mut self, first: *const T, tile: Tile) {
        if tile.row_stride == 0 && tile.col_stride == 0 {
            if first != self.repeated {
                self.repeated = first;
                // SAFETY: the first element is readable.
                self.elements.write([unsafe { *first }; TILE]);
            }
            return;
        }
        self.repeated = core::ptr::null();
        let target = self.as_mut_ptr();
        if tile.row_stride == 1 && tile.cols < tile.rows {
            for col in 0..tile.cols {
                // SAFETY: the caller vouches for the elements of the tile, and the target has room for `TILE`.
                unsafe {
                    let source = first.offset(col as isize * tile.col_stride);
                    (0..tile.rows).for_each(|row| target.add(row * tile.cols + col).write(*source.add(row)));
                }
            }
            return;
        }
        for row in 0..tile.rows {
            // SAFETY: the caller vouches for the elements of the tile, and the target has room for `TILE`.
            unsafe {
                let source = first.offset(row as isize * tile.row_stride);
                let target = target.add(row * tile.cols);
                match tile.col_stride {
                    1 => source.copy_to_nonoverlapping(target, tile.cols),
                    0 => (0..tile.cols).for_each(|col| target.add(col).write(*source)),
                    stride => {
                        (0..tile.cols).for_each(|col| target.add(col).write(*source.offset(col as isize * stride)));
                    }
                }
            }
        }
    }
}

impl<T: Element, const R: usize> sealed::Sealed for Strided<'_, T, R> {}

impl<T: Element, const R: usize> Operand<R> for Strided<'_, T, R> {
    type Item = T;
    type Buffer = TileBuffer<T>;
    type Run = *const T;

    #[inline(always)]
    fn layout(&self, shape: &[usize; R]) -> Layout {
        let (layout, end) = Layout::new(shape, &self.strides);
        assert!(end <= self.data.len(), "a strided operand reaches out of its data");
        layout
    }

    #[inline(always)]
    fn is_direct(layout: &Layout) -> bool {
        layout.has_contiguous_rows()
    }

    #[inline(always)]
    fn buffer() -> TileBuffer<T> {
        TileBuffer::new()
    }

    #[inline(always)]
    unsafe fn load(&self, buffer: &mut TileBuffer<T>, tile: Tile) -> *const T {
        // SAFETY: `layout` has checked that all elements are inside of the data.
        unsafe { buffer.load(self.data.as_ptr(), tile) }
    }

    #[inline(always)]
    unsafe fn read(run: *const T, index: usize) -> T {
        // SAFETY: the index is one of the tile.
        unsafe { *run.add(index) }
    }
}

impl<T: Element> sealed::Sealed for &[T] {}

impl<T: Element, const R: usize> Operand<R> for &[T] {
    type Item = T;
    type Buffer = TileBuffer<T>;
    type Run = *const T;

    #[inline(always)]
    fn layout(&self, shape: &[usize; R]) -> Layout {
        assert!(
            self.len() == product(shape),
            "a dense operand has another number of elements than the output"
        );
        Layout::dense(shape)
    }

    #[inline(always)]
    fn is_direct(layout: &Layout) -> bool {
        layout.has_contiguous_rows()
    }

    #[inline(always)]
    fn buffer() -> TileBuffer<T> {
        TileBuffer::new()
    }

    #[inline(always)]
    unsafe fn load(&self, buffer: &mut TileBuffer<T>, tile: Tile) -> *const T {
        // SAFETY: `layout` has checked that there are as many elements as the shape has.
        unsafe { buffer.load(self.as_ptr(), tile) }
    }

    #[inline(always)]
    unsafe fn read(run: *const T, index: usize) -> T {
        // SAFETY: the index is one of the tile.
        unsafe { *run.add(index) }
    }
}

/// The number of elements of a shape, saturating.
pub(super) fn product(shape: &[usize]) -> usize {
    crate::tensor::element_count(shape).unwrap_or(usize::MAX)
}

impl<T: Copy> sealed::Sealed for Splat<T> {}

impl<T: Copy + Sync, const R: usize> Operand<R> for Splat<T> {
    type Item = T;
    type Buffer = ();
    type Run = T;

    #[inline(always)]
    fn layout(&self, _shape: &[usize; R]) -> Layout {
        Layout::CONSTANT
    }

    #[inline(always)]
    fn is_direct(_layout: &Layout) -> bool {
        true
    }

    #[inline(always)]
    fn buffer() {}

    #[inline(always)]
    unsafe fn load(&self, _buffer: &mut (), _tile: Tile) -> T {
        self.0
    }

    #[inline(always)]
    unsafe fn read(run: T, _index: usize) -> T {
        run
    }
}

impl sealed::Sealed for Index {}

impl<const R: usize> Operand<R> for Index {
    type Item = i64;
    type Buffer = TileBuffer<i64>;
    type Run = *const i64;

    #[inline(always)]
    fn layout(&self, _shape: &[usize; R]) -> Layout {
        Layout::coordinate::<R>(self.axis)
    }

    #[inline(always)]
    fn is_direct(_layout: &Layout) -> bool {
        false
    }

    #[inline(always)]
    fn buffer() -> TileBuffer<i64> {
        TileBuffer::new()
    }

    /// The "offset" of an element is its coordinate.
    unsafe fn load(&self, buffer: &mut TileBuffer<i64>, tile: Tile) -> *const i64 {
        let target = buffer.as_mut_ptr();
        for row in 0..tile.rows {
            let first = tile.offset as i64 + row as i64 * tile.row_stride as i64;
            for col in 0..tile.cols {
                // SAFETY: tiles of an operand that is not direct have at most `TILE` elements.
                unsafe {
                    target
                        .add(row * tile.cols + col)
                        .write(first + col as i64 * tile.col_stride as i64)
                };
            }
        }
        target
    }

    #[inline(always)]
    unsafe fn read(run: *const i64, index: usize) -> i64 {
        // SAFETY: the index is one of the tile.
        unsafe { *run.add(index) }
    }
}

/// An [`Operand`] of one contiguous run, which needs no buffer: a slice or a [`Splat`].
pub trait RunOperand: Operand<1> {
    /// The elements of a run of this length.
    ///
    /// # Panics
    ///
    /// If a slice has another length.
    #[doc(hidden)]
    fn whole(self, len: usize) -> Self::Run;
}

impl<T: Element> RunOperand for &[T] {
    #[inline(always)]
    fn whole(self, len: usize) -> *const T {
        assert!(self.len() == len, "an operand has another length than its run");
        self.as_ptr()
    }
}

impl<T: Copy + Sync> RunOperand for Splat<T> {
    #[inline(always)]
    fn whole(self, _len: usize) -> T {
        self.0
    }
}

/// A tuple of up to eight operands.
pub trait Operands<const R: usize>: sealed::Sealed + Copy + Sync {
    /// What the computation gets for each element: a tuple of the operands' items.
    type Items;
    #[doc(hidden)]
    type Buffers;
    #[doc(hidden)]
    type Runs: Copy;
    /// The layout of the output, then those of the operands.
    #[doc(hidden)]
    type Layouts: AsRef<[Layout]> + AsMut<[Layout]> + Copy + Sync;

    #[doc(hidden)]
    fn layouts(&self, shape: &[usize; R], output: Layout) -> Self::Layouts;

    #[doc(hidden)]
    fn are_direct(layouts: &Self::Layouts) -> bool;

    #[doc(hidden)]
    fn buffers() -> Self::Buffers;

    /// # Safety
    ///
    /// As for [`Operand::load`].
    #[doc(hidden)]
    unsafe fn load(&self, buffers: &mut Self::Buffers, layouts: &Self::Layouts, at: &TilePosition) -> Self::Runs;

    /// # Safety
    ///
    /// As for [`Operand::read`].
    #[doc(hidden)]
    unsafe fn read(runs: Self::Runs, index: usize) -> Self::Items;
}

/// A tuple of up to eight operands of one contiguous run.
pub trait RunOperands: Operands<1> {
    #[doc(hidden)]
    fn whole(self, len: usize) -> Self::Runs;
}

macro_rules! tuples {
    ($layouts:literal $($name:ident $index:tt)*) => {
        impl<$($name: sealed::Sealed),*> sealed::Sealed for ($($name,)*) {}

        #[allow(unused_variables, unused_unsafe, clippy::unused_unit)]
        impl<const RANK: usize, $($name: Operand<RANK>),*> Operands<RANK> for ($($name,)*) {
            type Items = ($($name::Item,)*);
            type Buffers = ($($name::Buffer,)*);
            type Runs = ($($name::Run,)*);
            type Layouts = [Layout; $layouts];

            #[inline(always)]
            fn layouts(&self, shape: &[usize; RANK], output: Layout) -> [Layout; $layouts] {
                [output, $(self.$index.layout(shape)),*]
            }

            #[inline(always)]
            fn are_direct(layouts: &[Layout; $layouts]) -> bool {
                true $(&& $name::is_direct(&layouts[$index + 1]))*
            }

            #[inline(always)]
            fn buffers() -> Self::Buffers {
                ($($name::buffer(),)*)
            }

            #[inline(always)]
            unsafe fn load(
                &self,
                buffers: &mut Self::Buffers,
                layouts: &[Layout; $layouts],
                at: &TilePosition,
            ) -> Self::Runs {
                // SAFETY: passed on.
                unsafe { ($(self.$index.load(&mut buffers.$index, layouts[$index + 1].tile(at)),)*) }
            }

            #[inline(always)]
            unsafe fn read(runs: Self::Runs, index: usize) -> Self::Items {
                // SAFETY: passed on.
                unsafe { ($($name::read(runs.$index, index),)*) }
            }
        }

        #[allow(unused_variables, clippy::unused_unit)]
        impl<$($name: RunOperand),*> RunOperands for ($($name,)*) {
            #[inline(always)]
            fn whole(self, len: usize) -> Self::Runs {
                ($(self.$index.whole(len),)*)
            }
        }
    };
}

tuples!(1);
tuples!(2 A 0);
tuples!(3 A 0 B 1);
tuples!(4 A 0 B 1 C 2);
tuples!(5 A 0 B 1 C 2 D 3);
tuples!(6 A 0 B 1 C 2 D 3 E 4);
tuples!(7 A 0 B 1 C 2 D 3 E 4 F 5);
tuples!(8 A 0 B 1 C 2 D 3 E 4 F 5 G 6);
tuples!(9 A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7);
