//! Products of matrices.

use super::packed_rhs_int8_len;
use super::quads::{Products, Quads, Room};
use super::sink::{Sink, SinkPart};
use super::tile::{MAX_ROWS, Strip};
use crate::isa::Isa;
use crate::kernels::linear::ahead::Ahead;
use crate::kernels::linear::gemm::{Gemm, equal_blocks, shares};
use crate::kernels::linear::{Linear, MatrixMut, PANEL_COLUMNS, Position, extent};
use crate::team::{Compute, Team};
use core::marker::PhantomData;

/// Rows of a part are a multiple of this, if there are several.
const ROWS: usize = 8;

/// The left matrix `[m, k]` of a product: element `(i, p)` is `data[i * row + p]`.
#[derive(Clone, Copy, Debug)]
pub struct LhsInt8<'a> {
    /// The numbers.
    pub data: &'a [u8],
    /// Numbers between rows.
    pub row: usize,
}

#[inline(always)]
pub(in crate::kernels::linear) fn gemm_int8<S: Linear>(isa: S, problem: &Gemm, a: LhsInt8<'_>, b: &[u32], c: Sink<'_>) {
    let &Gemm { m, n, k, c_row } = problem;
    isa.gemm_int8_part(k, a, b, c.whole(m, n, c_row));
}

/// A product of depth `k`.
#[inline(always)]
pub(in crate::kernels::linear) fn gemm_int8_part<S: Products>(
    isa: S,
    k: usize,
    a: LhsInt8<'_>,
    b: &[u32],
    c: SinkPart<'_>,
) {
    isa.product(Product::new(k, a, b, c));
}

/// Divides the rows or the columns of a product.
pub(in crate::kernels::linear) fn gemm_int8_parts<S: Isa>(
    team: Team<'_, S>,
    problem: &Gemm,
    a: LhsInt8<'_>,
    b: &[u32],
    c: Sink<'_>,
) {
    match c {
        Sink::Sums(data) => divide(team, problem, a, b, data, |matrix, _| SinkPart::Sums(matrix)),
        Sink::F32(data, convert) => {
            divide(team, problem, a, b, data, |matrix, at| {
                SinkPart::F32(matrix, convert, at)
            });
        }
        Sink::U8(data, convert) => divide(team, problem, a, b, data, |matrix, at| {
            SinkPart::U8(matrix, convert, at)
        }),
        Sink::I8(data, convert) => divide(team, problem, a, b, data, |matrix, at| {
            SinkPart::I8(matrix, convert, at)
        }),
        Sink::I32(data, convert) => {
            divide(team, problem, a, b, data, |matrix, at| {
                SinkPart::I32(matrix, convert, at)
            });
        }
    }
}

fn divide<'c, S: Isa, T: Send>(
    team: Team<'_, S>,
    problem: &Gemm,
    a: LhsInt8<'_>,
    b: &[u32],
    c: &'c mut [T],
    part: impl Fn(MatrixMut<'c, T>, Position) -> SinkPart<'c> + Sync,
) {
    let &Gemm { m, n, k, c_row } = problem;
    let team = team.parts(team.count(usize::MAX));
    let (rows, columns) = shares(m, n, ROWS, |units| team.share(units));
    let across = n.div_ceil(columns).max(1);
    let c = MatrixMut::new(c, m, n, c_row);
    team.each(c.divide(rows, columns), |index, c| {
        let (row, column) = (index / across * rows, index % across * columns);
        let a = LhsInt8 {
            data: a.data.get(row * a.row..).unwrap_or_default(),
            row: a.row,
        };
        let b = b.get(packed_rhs_int8_len(k, column)..).unwrap_or_default();
        team.isa().gemm_int8_part(k, a, b, part(c, Position { row, column }));
    });
}

/// `c = convert(a b)` of depth `k`.
pub(in crate::kernels::linear) struct Product<'a> {
    k: usize,
    a: LhsInt8<'a>,
    b: &'a [u32],
    c: SinkPart<'a>,
}

impl<'a> Product<'a> {
    #[inline(always)]
    pub(super) fn new(k: usize, a: LhsInt8<'a>, b: &'a [u32], c: SinkPart<'a>) -> Product<'a> {
        Product { k, a, b, c }
    }
}

/// Computes a product in strips of rows, of as many columns as there is room for sums.
#[inline(always)]
pub(super) fn multiply<Q: Quads>(quads: Q, product: Product<'_>) {
    let Product { k, a, b, mut c } = product;
    let (m, n) = (c.rows(), c.columns());
    if m == 0 || n == 0 {
        return;
    }
    assert!(
        a.data.len() >= extent([(m, a.row), (k, 1)]),
        "product: the left matrix is too short"
    );
    assert!(
        b.len() >= packed_rhs_int8_len(k, n),
        "product: the right matrix is too short"
    );
    let mut sums = Q::Sums::default();
    let sums = sums.as_mut();
    let step = equal_blocks(n, sums.len() / Q::ROWS, 2 * PANEL_COLUMNS);
    let b_panel = packed_rhs_int8_len(k, PANEL_COLUMNS);
    for column in (0..n).step_by(step) {
        let columns = step.min(n - column);
        // The weights of a following step lie behind these, more often than not.
        let ahead = Ahead::new(packed_rhs_int8_len(k, columns), m, Q::ROWS);
        for row in (0..m).step_by(Q::ROWS) {
            let rows = Q::ROWS.min(m - row);
            // Rows that do not exist are read as the last that does.
            let first = |index: usize| {
                let start = (row + index.min(rows - 1)) * a.row;
                // Without depth there need not be any numbers.
                a.data.get(start..).unwrap_or_default().as_ptr()
            };
            let strip = Strip {
                a: core::array::from_fn::<_, MAX_ROWS, _>(first),
                k,
                b: b[column / PANEL_COLUMNS * b_panel..].as_ptr(),
                b_panel,
                ahead: ahead.share(Q::LANES, row / Q::ROWS, b_panel),
                rows,
                columns,
                sums: sums.as_mut_ptr(),
                sums_row: step,
                found: PhantomData,
            };
            // SAFETY: every row of `a` has been found to have `k` numbers, and `b` to have `k` rows of all columns, padded to
            // whole words and panels. There is room for the sums of `Q::ROWS` rows of `step` columns, which is a whole
            // number of pairs of panels.
            let strip = unsafe { strip.vouched() };
            quads.run(&strip);
            for index in 0..rows {
                c.write(row + index, column, &sums[index * step..][..columns]);
            }
        }
    }
}
