//! Products of matrices.

use super::pairs::Pairs;
use super::product::{Product, Products, Rows};
use super::{VALUES, packed_rhs_bf16_len};
use crate::isa::Isa;
use crate::kernels::linear::depth::Depth;
use crate::kernels::linear::gemm::Gemm;
use crate::kernels::linear::pack::PANEL_ROWS;
use crate::kernels::linear::share::divide;
use crate::kernels::linear::{Epilogue, Init, Lhs, Linear, MatrixMut, min};
use crate::team::{Compute, Team};

/// Rows of a block are a multiple of this, and so whole tiles on every instruction set, if there is scratch for them.
const ROWS: usize = 24;

/// Values of scratch that a product of at most `[m, k]` with a matrix in bf16 is fastest with.
pub const fn gemm_bf16_scratch(m: usize, k: usize) -> usize {
    let width = k.next_multiple_of(2);
    let rows = match (VALUES / if width == 0 { 1 } else { width }) / ROWS {
        0 => ROWS,
        fitting => fitting * ROWS,
    };
    width.saturating_mul(min(m, rows))
}

/// Values of scratch that a product of at most `[m, k]` with a matrix in bf16 cannot do without. It is slower the less
/// there is.
pub const fn gemm_bf16_scratch_min(m: usize, k: usize) -> usize {
    if m == 0 { 0 } else { k.next_multiple_of(2) }
}

/// A matrix of any strides.
struct Matrix<'a> {
    data: &'a [f32],
    k: usize,
    /// Elements between groups of 6 rows, between rows of a group, and between columns.
    group: usize,
    row: usize,
    column: usize,
}

impl<'a> Matrix<'a> {
    #[inline(always)]
    fn new(a: Lhs<'a>, m: usize, k: usize) -> Matrix<'a> {
        let (data, [group, row, column]) = a.layout(m, k);
        Matrix {
            data,
            k,
            group,
            row,
            column,
        }
    }

    /// Values of a row.
    #[inline(always)]
    fn width(&self) -> usize {
        self.k.next_multiple_of(2)
    }
}

impl Rows for Matrix<'_> {
    #[inline(always)]
    fn block(&self, _first: usize, values: usize) -> usize {
        match values.checked_div(self.width()) {
            None => usize::MAX,
            Some(rows) if rows >= ROWS => rows / ROWS * ROWS,
            Some(rows) => rows,
        }
    }

    #[inline(always)]
    fn depth(&self, _rows: usize) -> Depth {
        Depth::whole(self.width())
    }

    #[inline(always)]
    fn offset(&self, _rows: usize, row: usize) -> usize {
        row * self.width()
    }

    #[inline(always)]
    fn round<P: Pairs>(&self, first: usize, rows: usize, values: &mut [P::Value]) -> usize {
        let width = self.width();
        let values = &mut values[..rows * width];
        if width == 0 {
            return 0;
        }
        let start = |row: usize| (first + row) / PANEL_ROWS * self.group + (first + row) % PANEL_ROWS * self.row;
        if self.column == 1 {
            for (row, values) in values.chunks_exact_mut(width).enumerate() {
                let source = &self.data[start(row)..][..self.k];
                for (value, &number) in values.iter_mut().zip(source) {
                    *value = P::value(number);
                }
            }
        } else {
            // Neighbors in a column are closer to each other, mostly.
            for p in 0..self.k {
                for row in 0..rows {
                    values[row * width + p] = P::value(self.data[start(row) + p * self.column]);
                }
            }
        }
        if width > self.k {
            for values in values.chunks_exact_mut(width) {
                values[self.k] = P::value(0.0);
            }
        }
        values.len()
    }
}

#[inline(always)]
pub(in crate::kernels::linear) fn gemm_bf16<S: Linear>(
    isa: S,
    problem: &Gemm,
    a: Lhs<'_>,
    b: &[u32],
    init: Init<'_>,
    c: &mut [f32],
    scratch: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    let &Gemm { m, n, k, c_row } = problem;
    let c = MatrixMut::new(c, m, n, c_row);
    isa.gemm_bf16_part(k, a, b, init, c, scratch, epilogue);
}

/// A product of depth `k`.
#[inline(always)]
pub(in crate::kernels::linear) fn gemm_bf16_part<S: Products>(
    isa: S,
    k: usize,
    a: Lhs<'_>,
    b: &[u32],
    init: Init<'_>,
    c: MatrixMut<'_>,
    scratch: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    isa.product(Product {
        rows: Matrix::new(a, c.rows(), k),
        b,
        init,
        c,
        scratch,
        epilogue,
    });
}

/// Divides the rows or the columns of a product.
pub(in crate::kernels::linear) fn gemm_bf16_parts<S: Isa>(
    team: Team<'_, S>,
    problem: &Gemm,
    a: Lhs<'_>,
    b: &[u32],
    init: Init<'_>,
    c: &mut [f32],
    scratch: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    let &Gemm { m, k, .. } = problem;
    let scratch = (scratch, gemm_bf16_scratch_min(m, k));
    divide(team, problem, PANEL_ROWS, init, c, scratch, epilogue, |piece| {
        let a = a.rows_from(piece.at[0], k);
        let b = b.get(packed_rhs_bf16_len(k, piece.at[1])..).unwrap_or_default();
        let isa = team.isa();
        isa.gemm_bf16_part(k, a, b, piece.init, piece.c, piece.scratch, piece.epilogue);
    });
}
