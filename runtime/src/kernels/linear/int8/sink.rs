//! Outputs of integer products: the sums, or what is made of them.

use super::convert::{Convert, Sums};
use crate::isa::Isa;
use crate::kernels::linear::{MatrixMut, Position};
use crate::team::Team;
use core::fmt;
use core::ops::Range;

/// The output of an integer product: the sums, or what a [`Convert`] makes of them while they are in cache.
pub enum Sink<'a> {
    /// The sums.
    Sums(&'a mut [i32]),
    /// Numbers of type `f32`.
    F32(&'a mut [f32], &'a dyn Convert<f32>),
    /// Numbers of type `u8`.
    U8(&'a mut [u8], &'a dyn Convert<u8>),
    /// Numbers of type `i8`.
    I8(&'a mut [i8], &'a dyn Convert<i8>),
    /// Numbers of type `i32`.
    I32(&'a mut [i32], &'a dyn Convert<i32>),
}

/// A part of a [`Sink`], which begins at a position.
#[doc(hidden)]
pub enum SinkPart<'a> {
    Sums(MatrixMut<'a, i32>),
    F32(MatrixMut<'a, f32>, &'a dyn Convert<f32>, Position),
    U8(MatrixMut<'a, u8>, &'a dyn Convert<u8>, Position),
    I8(MatrixMut<'a, i8>, &'a dyn Convert<i8>, Position),
    I32(MatrixMut<'a, i32>, &'a dyn Convert<i32>, Position),
}

/// A part of the output for a thread.
pub(in crate::kernels::linear) struct Share<'a, E> {
    /// The first row and column of the part.
    pub(in crate::kernels::linear) at: Position,
    pub(in crate::kernels::linear) sink: SinkPart<'a>,
    /// What else the part has for itself.
    pub(in crate::kernels::linear) extra: E,
}

/// The rows, columns and elements between rows of an output.
pub(in crate::kernels::linear) type Shape = [usize; 3];

impl<'a> Sink<'a> {
    /// All of an output.
    ///
    /// # Panics
    ///
    /// If its shape reaches out of the data, or rows overlap.
    #[inline(always)]
    pub(in crate::kernels::linear) fn whole(self, [rows, columns, stride]: Shape) -> SinkPart<'a> {
        let origin = Position::default();
        match self {
            Sink::Sums(data) => SinkPart::Sums(MatrixMut::new(data, rows, columns, stride)),
            Sink::F32(data, convert) => SinkPart::F32(MatrixMut::new(data, rows, columns, stride), convert, origin),
            Sink::U8(data, convert) => SinkPart::U8(MatrixMut::new(data, rows, columns, stride), convert, origin),
            Sink::I8(data, convert) => SinkPart::I8(MatrixMut::new(data, rows, columns, stride), convert, origin),
            Sink::I32(data, convert) => SinkPart::I32(MatrixMut::new(data, rows, columns, stride), convert, origin),
        }
    }

    /// Runs a task for every so many rows and columns of the output, each with one of `extras`.
    ///
    /// # Panics
    ///
    /// As [`whole`](Sink::whole).
    pub(in crate::kernels::linear) fn divide<S: Isa, E: Send>(
        self,
        team: Team<'_, S>,
        shape: Shape,
        by: [usize; 2],
        extras: impl Iterator<Item = E>,
        task: impl Fn(Share<'_, E>) + Sync,
    ) {
        match self {
            Sink::Sums(data) => divide(team, data, shape, by, extras, |matrix, at, extra| {
                let sink = SinkPart::Sums(matrix);
                task(Share { at, sink, extra });
            }),
            Sink::F32(data, convert) => divide(team, data, shape, by, extras, |matrix, at, extra| {
                let sink = SinkPart::F32(matrix, convert, at);
                task(Share { at, sink, extra });
            }),
            Sink::U8(data, convert) => divide(team, data, shape, by, extras, |matrix, at, extra| {
                let sink = SinkPart::U8(matrix, convert, at);
                task(Share { at, sink, extra });
            }),
            Sink::I8(data, convert) => divide(team, data, shape, by, extras, |matrix, at, extra| {
                let sink = SinkPart::I8(matrix, convert, at);
                task(Share { at, sink, extra });
            }),
            Sink::I32(data, convert) => divide(team, data, shape, by, extras, |matrix, at, extra| {
                let sink = SinkPart::I32(matrix, convert, at);
                task(Share { at, sink, extra });
            }),
        }
    }
}

fn divide<'a, S: Isa, T: Send, E: Send>(
    team: Team<'_, S>,
    data: &'a mut [T],
    [m, n, stride]: Shape,
    [rows, columns]: [usize; 2],
    extras: impl Iterator<Item = E>,
    task: impl Fn(MatrixMut<'a, T>, Position, E) + Sync,
) {
    let across = n.div_ceil(columns).max(1);
    let parts = MatrixMut::new(data, m, n, stride).divide(rows, columns);
    team.each(parts.zip(extras), |index, (matrix, extra)| {
        let (row, column) = (index / across * rows, index % across * columns);
        task(matrix, Position { row, column }, extra);
    });
}

impl SinkPart<'_> {
    #[inline(always)]
    pub(in crate::kernels::linear) fn rows(&self) -> usize {
        match self {
            SinkPart::F32(matrix, ..) => matrix.rows(),
            SinkPart::U8(matrix, ..) => matrix.rows(),
            SinkPart::I8(matrix, ..) => matrix.rows(),
            SinkPart::Sums(matrix) | SinkPart::I32(matrix, ..) => matrix.rows(),
        }
    }

    #[inline(always)]
    pub(in crate::kernels::linear) fn columns(&self) -> usize {
        match self {
            SinkPart::F32(matrix, ..) => matrix.columns(),
            SinkPart::U8(matrix, ..) => matrix.columns(),
            SinkPart::I8(matrix, ..) => matrix.columns(),
            SinkPart::Sums(matrix) | SinkPart::I32(matrix, ..) => matrix.columns(),
        }
    }

    /// Writes what becomes of the sums for some rows and columns, `stride` apart from row to row.
    #[inline(always)]
    pub(in crate::kernels::linear) fn write(
        &mut self,
        rows: Range<usize>,
        columns: Range<usize>,
        sums: &[i32],
        stride: usize,
    ) {
        let sums = Sums { data: sums, stride };
        let by = Position {
            row: rows.start,
            column: columns.start,
        };
        match self {
            SinkPart::Sums(matrix) => {
                for (index, row) in rows.enumerate() {
                    let run = matrix.run(row, columns.clone());
                    run.copy_from_slice(sums.run(index, run.len()));
                }
            }
            SinkPart::F32(matrix, convert, origin) => {
                convert.convert(sums, &mut matrix.part(rows, columns), moved(*origin, by));
            }
            SinkPart::U8(matrix, convert, origin) => {
                convert.convert(sums, &mut matrix.part(rows, columns), moved(*origin, by));
            }
            SinkPart::I8(matrix, convert, origin) => {
                convert.convert(sums, &mut matrix.part(rows, columns), moved(*origin, by));
            }
            SinkPart::I32(matrix, convert, origin) => {
                convert.convert(sums, &mut matrix.part(rows, columns), moved(*origin, by));
            }
        }
    }
}

fn moved(origin: Position, by: Position) -> Position {
    Position {
        row: origin.row + by.row,
        column: origin.column + by.column,
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
