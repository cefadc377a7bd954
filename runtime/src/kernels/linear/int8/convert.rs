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

    /// The first of some rows and columns, of both of which there is one.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    #[inline(always)]
    pub(super) fn reaching(self, [rows, columns]: [usize; 2]) -> *const i32 {
        self.data[..(rows - 1) * self.stride + columns].as_ptr()
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
        let (rows, columns) = (out.rows(), out.columns());
        if rows == 0 || columns == 0 {
            return;
        }
        self.isa.vectorize(|| {
            let block = Block {
                sums: sums.reaching([rows, columns]),
                stride: sums.stride,
                tiles: self.operands.tiles(at, [rows, columns]),
                read: O::read,
            };
            let f = |_: T, items| (self.f)(items);
            // SAFETY: the sums and operands have been found to have these rows and columns here.
            unsafe {
                match columns {
                    16.. => block.all_columns::<16, T>(out, f),
                    8..16 => block.all_columns::<8, T>(out, f),
                    _ => block.all_columns::<1, T>(out, f),
                }
            }
        });
    }
}

/// What some outputs are made of.
pub(super) struct Block<R, I> {
    pub(super) sums: *const i32,
    pub(super) stride: usize,
    pub(super) tiles: R,
    pub(super) read: unsafe fn(R, i32, usize, usize) -> I,
}

impl<R: Copy, I> Block<R, I> {
    /// Writes all columns, `N` after another, the last of which may be some of those before again.
    ///
    /// # Safety
    ///
    /// As of [`columns`](Block::columns), and there are `N` columns.
    #[inline(always)]
    unsafe fn all_columns<const N: usize, T: Element>(&self, out: &mut MatrixMut<'_, T>, f: impl Fn(T, I) -> T) {
        let columns = out.columns();
        for at in (0..columns).step_by(N) {
            // SAFETY: as the caller vouches.
            unsafe { self.columns::<N, T>(out, at.min(columns - N), &f) };
        }
    }

    /// Writes `N` columns of all rows from a column on, by a function of what is there. Loops of known length become vectors
    /// and nothing else. Rows are often as short as one of these, and what belongs to a column is at hand for all of them.
    ///
    /// # Safety
    ///
    /// The output has these columns. The sums and each operand have the rows and columns of the output.
    #[inline(always)]
    pub(super) unsafe fn columns<const N: usize, T: Element>(
        &self,
        out: &mut MatrixMut<'_, T>,
        at: usize,
        f: &impl Fn(T, I) -> T,
    ) {
        let mut sums = self.sums.wrapping_add(at);
        let (mut target, pitch) = (out.as_mut_ptr().wrapping_add(at), out.stride());
        for row in 0..out.rows() {
            // A place of its own cannot be that of an operand, about which the loop would have to ask.
            // SAFETY: the output has these columns of the row; an array of `T` is aligned as one is.
            let mut values = unsafe { target.cast::<[T; N]>().read() };
            for (index, value) in values.iter_mut().enumerate() {
                // SAFETY: there are this row and column.
                *value = unsafe { f(*value, (self.read)(self.tiles, *sums.add(index), row, at + index)) };
            }
            // SAFETY: as above.
            unsafe { target.cast::<[T; N]>().write(values) };
            sums = sums.wrapping_add(self.stride);
            target = target.wrapping_add(pitch);
        }
    }
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
    type Tile: Copy;

    /// The elements for some rows and columns of outputs, of both of which there is one, from a position on.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    #[doc(hidden)]
    fn tile(self, at: Position, size: [usize; 2]) -> Self::Tile;

    /// The element of a row and column of a tile.
    ///
    /// # Safety
    ///
    /// The tile has both.
    #[doc(hidden)]
    unsafe fn read(tile: Self::Tile, row: usize, column: usize) -> Self::Item;
}

impl<T: Element> SumOperand for PerColumn<'_, T> {
    type Item = T;
    type Tile = *const T;

    #[inline(always)]
    fn tile(self, at: Position, [_, columns]: [usize; 2]) -> *const T {
        self.0[at.column..][..columns].as_ptr()
    }

    #[inline(always)]
    unsafe fn read(tile: *const T, _row: usize, column: usize) -> T {
        // SAFETY: the caller says that there is the column, and the tile begins a slice of as many.
        unsafe { *tile.add(column) }
    }
}

impl<T: Element> SumOperand for PerElement<'_, T> {
    type Item = T;
    type Tile = (*const T, usize);

    #[inline(always)]
    fn tile(self, at: Position, [rows, columns]: [usize; 2]) -> (*const T, usize) {
        let reach = (rows - 1) * self.1 + columns;
        (self.0[at.row * self.1 + at.column..][..reach].as_ptr(), self.1)
    }

    #[inline(always)]
    unsafe fn read((first, stride): (*const T, usize), row: usize, column: usize) -> T {
        // SAFETY: the caller says that there are row and column, and the tile begins a slice that reaches to the last.
        unsafe { *first.add(row * stride + column) }
    }
}

impl<T: Element> SumOperand for PerRow<'_, T> {
    type Item = T;
    type Tile = (*const T, usize);

    #[inline(always)]
    fn tile(self, at: Position, [rows, _]: [usize; 2]) -> (*const T, usize) {
        let reach = (rows - 1) * self.1 + 1;
        (self.0[at.row * self.1..][..reach].as_ptr(), self.1)
    }

    #[inline(always)]
    unsafe fn read((first, stride): (*const T, usize), row: usize, _column: usize) -> T {
        // SAFETY: the caller says that there is the row, and the tile begins a slice that reaches to the last.
        unsafe { *first.add(row * stride) }
    }
}

impl<T: Element> SumOperand for Splat<T> {
    type Item = T;
    type Tile = T;

    #[inline(always)]
    fn tile(self, _at: Position, _size: [usize; 2]) -> T {
        self.0
    }

    #[inline(always)]
    unsafe fn read(tile: T, _row: usize, _column: usize) -> T {
        tile
    }
}

/// A tuple of up to seven operands.
pub trait SumOperands: Copy + Sync {
    /// A sum and an element of each operand.
    type Items;
    #[doc(hidden)]
    type Tiles: Copy;

    #[doc(hidden)]
    fn tiles(self, at: Position, size: [usize; 2]) -> Self::Tiles;

    /// # Safety
    ///
    /// As for [`SumOperand::read`].
    #[doc(hidden)]
    unsafe fn read(tiles: Self::Tiles, sum: i32, row: usize, column: usize) -> Self::Items;
}

macro_rules! tuples {
    ($($name:ident $index:tt)*) => {
        #[allow(unused_variables, clippy::unused_unit)]
        impl<$($name: SumOperand),*> SumOperands for ($($name,)*) {
            type Items = (i32, $($name::Item,)*);
            type Tiles = ($($name::Tile,)*);

            #[inline(always)]
            fn tiles(self, at: Position, size: [usize; 2]) -> Self::Tiles {
                ($(self.$index.tile(at, size),)*)
            }

            #[inline(always)]
            unsafe fn read(tiles: Self::Tiles, sum: i32, row: usize, column: usize) -> Self::Items {
                // SAFETY: passed on.
                (sum, $(unsafe { $name::read(tiles.$index, row, column) },)*)
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
