//! Products of matrices.

use super::packed_rhs_int8_len;
use super::product::{Product, Rows};
use super::quads::Products;
use super::sink::{Share, Sink, SinkPart};
use crate::isa::Isa;
use crate::kernels::linear::depth::Depth;
use crate::kernels::linear::gemm::Gemm;
use crate::kernels::linear::share::shares;
use crate::kernels::linear::{Linear, extent};
use crate::team::{Compute, Team};

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
    isa.gemm_int8_part(k, a, b, c.whole([m, n, c_row]));
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
    assert!(
        a.data.len() >= extent([(c.rows(), a.row), (k, 1)]),
        "product: the left matrix is too short"
    );
    let rows = Matrix { a, k };
    isa.with_quads(Product {
        rows,
        b,
        c,
        scratch: &mut [],
    });
}

/// A left matrix of depth `k`.
pub(super) struct Matrix<'a> {
    pub(super) a: LhsInt8<'a>,
    pub(super) k: usize,
}

impl Rows for Matrix<'_> {
    #[inline(always)]
    fn block(&self, _first: usize, _room: usize) -> usize {
        usize::MAX
    }

    #[inline(always)]
    fn depth(&self, _rows: usize) -> Depth {
        Depth::whole(self.k)
    }

    #[inline(always)]
    fn starts(&self, _rows: usize, row: usize, starts: &mut [usize]) {
        for (row, start) in (row..).zip(starts) {
            *start = row * self.a.row;
        }
    }

    #[inline(always)]
    fn numbers<'s>(&'s self, first: usize, _rows: usize, _scratch: &'s mut [u8]) -> &'s [u8] {
        self.a.data.get(first * self.a.row..).unwrap_or_default()
    }
}

/// Divides the rows or the columns of a product.
pub(in crate::kernels::linear) fn gemm_int8_parts<S: Isa>(
    team: Team<'_, S>,
    problem: &Gemm,
    a: LhsInt8<'_>,
    b: &[u32],
    c: Sink<'_>,
) {
    let &Gemm { m, n, k, c_row } = problem;
    let team = team.parts(team.count(usize::MAX));
    let (rows, columns) = shares(m, n, ROWS, |units| team.share(units));
    let extras = core::iter::repeat(());
    c.divide(
        team,
        [m, n, c_row],
        [rows, columns],
        extras,
        |Share { at, sink, .. }| {
            let a = LhsInt8 {
                data: a.data.get(at.row * a.row..).unwrap_or_default(),
                row: a.row,
            };
            let b = b.get(packed_rhs_int8_len(k, at.column)..).unwrap_or_default();
            team.isa().gemm_int8_part(k, a, b, sink);
        },
    );
}
