//! Outputs whose columns can be divided.

use super::extent;
use core::marker::PhantomData;
use core::ops::Range;

/// A matrix with contiguous rows, as the only way to its elements.
///
/// Two matrices that are divided by columns interleave in memory. A slice of one would cover elements of the other, so
/// that two threads could not have them at the same time; a matrix gives access to its own elements alone.
#[derive(Debug)]
pub struct MatrixMut<'a, T = f32> {
    start: *mut T,
    rows: usize,
    columns: usize,
    stride: usize,
    data: PhantomData<&'a mut [T]>,
}

// SAFETY: a matrix is to its elements what a mutable slice is, which may be sent.
unsafe impl<T: Send> Send for MatrixMut<'_, T> {}

impl<'a, T> MatrixMut<'a, T> {
    /// The matrix whose element `(i, j)` is `data[i * stride + j]`.
    ///
    /// # Panics
    ///
    /// If that reaches out of the data, or rows overlap.
    #[inline(always)]
    pub(super) fn new(data: &'a mut [T], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(
            data.len() >= extent([(rows, stride), (columns, 1)]),
            "gemm: the output is too short"
        );
        assert!(rows <= 1 || stride >= columns, "gemm: the rows of the output overlap");
        MatrixMut {
            start: data.as_mut_ptr(),
            rows,
            columns,
            stride,
            data: PhantomData,
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// Elements between rows.
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// The first element, from which on those of the matrix may be written, and no others.
    pub(super) fn as_mut_ptr(&mut self) -> *mut T {
        self.start
    }

    /// Some rows of some columns.
    #[inline(always)]
    pub(super) fn part(&mut self, rows: Range<usize>, columns: Range<usize>) -> MatrixMut<'_, T> {
        assert!(
            rows.start <= rows.end && rows.end <= self.rows,
            "gemm: the output has fewer rows"
        );
        assert!(
            columns.start <= columns.end && columns.end <= self.columns,
            "gemm: the output has fewer columns"
        );
        MatrixMut {
            // Nothing is read or written through an address that is outside, which that of an empty matrix may be.
            start: self.start.wrapping_add(rows.start * self.stride + columns.start),
            rows: rows.len(),
            columns: columns.len(),
            stride: self.stride,
            data: PhantomData,
        }
    }

    /// Some columns of a row.
    #[inline(always)]
    pub(super) fn run(&mut self, row: usize, columns: Range<usize>) -> &mut [T] {
        let part = self.part(row..row + 1, columns);
        // SAFETY: the elements of a row lie side by side and belong to this matrix, which is borrowed mutably.
        unsafe { core::slice::from_raw_parts_mut(part.start, part.columns) }
    }

    /// Some rows of some columns, if they lie side by side.
    #[inline(always)]
    pub(super) fn dense(&mut self, rows: Range<usize>, columns: Range<usize>) -> Option<&mut [T]> {
        let part = self.part(rows, columns);
        // SAFETY: rows that follow each other without a gap are one slice, all of whose elements belong to this matrix,
        // which is borrowed mutably. It is no longer than the slice that the matrix was made of.
        (part.columns == part.stride)
            .then(|| unsafe { core::slice::from_raw_parts_mut(part.start, part.rows * part.columns) })
    }

    /// The matrix, divided after every `rows` rows and every `columns` columns into matrices that share no element.
    pub(super) fn divide(mut self, rows: usize, columns: usize) -> impl Iterator<Item = MatrixMut<'a, T>> {
        let (mut row, mut column) = (0, 0);
        core::iter::from_fn(move || {
            if column >= self.columns {
                (row, column) = (row + rows, 0);
            }
            if row >= self.rows || column >= self.columns {
                return None;
            }
            let (row_end, column_end) = (self.rows.min(row + rows), self.columns.min(column + columns));
            let part = self.part(row..row_end, column..column_end);
            // SAFETY: the lifetime of the part becomes that of the whole, which is moved in here and gives no element
            // away twice, as the position only moves on.
            let part = MatrixMut::<'a, T> {
                start: part.start,
                data: PhantomData,
                ..part
            };
            column = column_end;
            Some(part)
        })
    }
}
