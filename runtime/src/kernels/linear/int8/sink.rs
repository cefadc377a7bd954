//! Where the sums of an integer product go, and what becomes of them on the way.

use crate::kernels::linear::{MatrixMut, Position};
use core::fmt;

/// A function that makes outputs of the sums of a part of a row, given where that begins.
pub type Convert<'a, T> = &'a (dyn Fn(&[i32], &mut [T], Position) + Sync);

/// The output of an integer product: the sums, or what a function makes of them while they are in cache.
///
/// Every output belongs to exactly one part of a row that the function is called for.
pub enum Sink<'a> {
    /// The sums.
    Sums(&'a mut [i32]),
    /// Numbers of type `f32`.
    F32(&'a mut [f32], Convert<'a, f32>),
    /// Numbers of type `u8`.
    U8(&'a mut [u8], Convert<'a, u8>),
    /// Numbers of type `i8`.
    I8(&'a mut [i8], Convert<'a, i8>),
    /// Numbers of type `i32`.
    I32(&'a mut [i32], Convert<'a, i32>),
}

/// A part of a [`Sink`], which begins at a position.
#[doc(hidden)]
pub enum SinkPart<'a> {
    Sums(MatrixMut<'a, i32>),
    F32(MatrixMut<'a, f32>, Convert<'a, f32>, Position),
    U8(MatrixMut<'a, u8>, Convert<'a, u8>, Position),
    I8(MatrixMut<'a, i8>, Convert<'a, i8>, Position),
    I32(MatrixMut<'a, i32>, Convert<'a, i32>, Position),
}

fn moved(origin: Position, by: Position) -> Position {
    Position {
        row: origin.row + by.row,
        column: origin.column + by.column,
    }
}

impl<'a> Sink<'a> {
    /// All of an output of `rows` rows, `stride` elements apart, of `columns` columns.
    ///
    /// # Panics
    ///
    /// If that reaches out of the data, or rows overlap.
    #[inline(always)]
    pub(super) fn whole(self, rows: usize, columns: usize, stride: usize) -> SinkPart<'a> {
        let origin = Position::default();
        match self {
            Sink::Sums(data) => SinkPart::Sums(MatrixMut::new(data, rows, columns, stride)),
            Sink::F32(data, convert) => SinkPart::F32(MatrixMut::new(data, rows, columns, stride), convert, origin),
            Sink::U8(data, convert) => SinkPart::U8(MatrixMut::new(data, rows, columns, stride), convert, origin),
            Sink::I8(data, convert) => SinkPart::I8(MatrixMut::new(data, rows, columns, stride), convert, origin),
            Sink::I32(data, convert) => SinkPart::I32(MatrixMut::new(data, rows, columns, stride), convert, origin),
        }
    }
}

impl SinkPart<'_> {
    #[inline(always)]
    pub(super) fn rows(&self) -> usize {
        match self {
            SinkPart::F32(matrix, ..) => matrix.rows(),
            SinkPart::U8(matrix, ..) => matrix.rows(),
            SinkPart::I8(matrix, ..) => matrix.rows(),
            SinkPart::Sums(matrix) | SinkPart::I32(matrix, ..) => matrix.rows(),
        }
    }

    #[inline(always)]
    pub(super) fn columns(&self) -> usize {
        match self {
            SinkPart::F32(matrix, ..) => matrix.columns(),
            SinkPart::U8(matrix, ..) => matrix.columns(),
            SinkPart::I8(matrix, ..) => matrix.columns(),
            SinkPart::Sums(matrix) | SinkPart::I32(matrix, ..) => matrix.columns(),
        }
    }

    /// Writes what becomes of `sums`, which begin at a row and a column.
    #[inline(always)]
    pub(super) fn write(&mut self, row: usize, column: usize, sums: &[i32]) {
        let columns = column..column + sums.len();
        let by = Position { row, column };
        match self {
            SinkPart::Sums(matrix) => matrix.run(row, columns).copy_from_slice(sums),
            SinkPart::F32(matrix, convert, origin) => convert(sums, matrix.run(row, columns), moved(*origin, by)),
            SinkPart::U8(matrix, convert, origin) => convert(sums, matrix.run(row, columns), moved(*origin, by)),
            SinkPart::I8(matrix, convert, origin) => convert(sums, matrix.run(row, columns), moved(*origin, by)),
            SinkPart::I32(matrix, convert, origin) => convert(sums, matrix.run(row, columns), moved(*origin, by)),
        }
    }
}

macro_rules! debug {
    ($($type:ident: $($kind:ident)*;)*) => {$(
        impl fmt::Debug for $type<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $($type::$kind(..) => f.write_str(stringify!($kind)),)*
                }
            }
        }
    )*};
}

debug! {
    Sink: Sums F32 U8 I8 I32;
    SinkPart: Sums F32 U8 I8 I32;
}
