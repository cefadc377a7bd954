//! The operands of products in `f32`: where their elements are, and parts of them.

use super::pack::{PANEL_ROWS, packed_lhs_len, packed_rhs_len};
use super::store::Start;
use super::{Init, Lhs, Rhs, extent};

impl<'a> Init<'a> {
    /// What is left from a row and a column on.
    pub(super) fn from(self, row: usize, column: usize) -> Init<'a> {
        match self {
            Init::PerRow(values) => Init::PerRow(&values[row..]),
            Init::PerColumn(values) => Init::PerColumn(&values[column..]),
            other => other,
        }
    }

    /// # Panics
    ///
    /// If there are fewer values than rows or columns.
    #[inline(always)]
    pub(super) fn check(&self, m: usize, n: usize) {
        match self {
            Init::PerColumn(values) => assert!(values.len() >= n, "gemm: the initial row is too short"),
            Init::PerRow(values) => assert!(values.len() >= m, "gemm: the initial column is too short"),
            Init::Zero | Init::Accumulate => {}
        }
    }

    /// What the sums of an output of `m` rows and `n` columns at `c`, `c_row` elements apart, are added to.
    ///
    /// # Panics
    ///
    /// As of [`check`](Init::check).
    #[inline(always)]
    pub(super) fn start(&self, [m, n]: [usize; 2], c: *const f32, c_row: usize) -> Start {
        self.check(m, n);
        match self {
            Init::Zero => Start::Zero,
            Init::Accumulate => Start::Matrix(c, c_row),
            Init::PerColumn(values) => Start::Matrix(values.as_ptr(), 0),
            Init::PerRow(values) => Start::PerRow(values.as_ptr()),
        }
    }
}

impl<'a> Lhs<'a> {
    /// The elements of a matrix `[m, k]`, and the distances between groups of [`PANEL_ROWS`] rows, the rows of a group, and
    /// columns.
    ///
    /// # Panics
    ///
    /// If there are fewer elements.
    #[inline(always)]
    pub(super) fn layout(self, m: usize, k: usize) -> (&'a [f32], [usize; 3]) {
        let (data, len, distances) = match self {
            Lhs::Strided { data, row, column } => {
                let distances = [row.saturating_mul(PANEL_ROWS), row, column];
                (data, extent([(m, row), (k, column)]), distances)
            }
            Lhs::Packed(data) => (data, packed_lhs_len(m, k), [k * PANEL_ROWS, 1, PANEL_ROWS]),
        };
        assert!(data.len() >= len, "gemm: the left matrix is too short");
        (data, distances)
    }

    /// The matrix from a row on, which begins a panel.
    pub(super) fn rows_from(self, first: usize, k: usize) -> Self {
        match self {
            Lhs::Strided { data, row, column } => Lhs::Strided {
                data: data.get(first * row..).unwrap_or_default(),
                row,
                column,
            },
            Lhs::Packed(data) => Lhs::Packed(data.get(packed_lhs_len(first, k)..).unwrap_or_default()),
        }
    }
}

impl Rhs<'_> {
    /// The matrix from a column on, which begins a panel.
    pub(super) fn columns_from(self, first: usize, k: usize) -> Self {
        match self {
            Rhs::Strided { data, row, column } => Rhs::Strided {
                data: data.get(first * column..).unwrap_or_default(),
                row,
                column,
            },
            Rhs::Packed(data) => Rhs::Packed(data.get(packed_rhs_len(k, first)..).unwrap_or_default()),
        }
    }
}
