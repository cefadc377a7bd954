//! Products of matrices.

use super::numbers::Numbers;
use super::tile::{FewRows, Strip};
use super::unpack::Unpacked;
use super::{FEW_ROWS, RhsBlocks, STRIP_ROWS, packed_rhs_blocks_len};
use crate::isa::Isa;
use crate::kernels::linear::block::Blocks;
use crate::kernels::linear::gemm::{Gemm, GemmPart, Source, block_scratch, block_scratch_min, multiply_part};
use crate::kernels::linear::pack::{PANEL_COLUMNS, PANEL_ROWS};
use crate::kernels::linear::share::divide;
use crate::kernels::linear::store::{Start, Target};
use crate::kernels::linear::{Epilogue, Init, Lhs, Linear, MatrixMut, min};
use crate::team::{Compute, Team};

/// Rows up to which a block of the weights is unpacked that stays in the first level cache, as so few passes over it do not
/// take longer than unpacking it.
const SHORT: usize = 48;

/// Columns of such a block.
const SHORT_COLUMNS: usize = 2 * PANEL_COLUMNS;

/// Columns that several strips of few rows pass over one after another, a multiple of those of the widest tile.
const FEW_COLUMNS: usize = 4 * PANEL_COLUMNS;

/// Values of scratch that a product of at most `[m, k]` with packed numbers `[k, n]` is fastest with.
pub const fn gemm_blocks_scratch(m: usize, n: usize, k: usize) -> usize {
    if m <= FEW_ROWS {
        0
    } else if m <= SHORT {
        let panels = SHORT_COLUMNS / PANEL_COLUMNS;
        min(block_scratch(n, k), block_scratch_min(n, k) * panels)
    } else {
        block_scratch(n, k)
    }
}

/// Values of scratch that a product of at most `[m, k]` with packed numbers `[k, n]` cannot do without. It is slower the less
/// there is.
pub const fn gemm_blocks_scratch_min(m: usize, n: usize, k: usize) -> usize {
    if m <= FEW_ROWS { 0 } else { block_scratch_min(n, k) }
}

#[inline(always)]
pub(in crate::kernels::linear) fn gemm_blocks<S: Linear>(
    isa: S,
    problem: &Gemm,
    a: Lhs<'_>,
    b: RhsBlocks<'_>,
    init: Init<'_>,
    c: &mut [f32],
    scratch: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    let &Gemm { m, n, k, c_row } = problem;
    let c = MatrixMut::new(c, m, n, c_row);
    isa.gemm_blocks_part(GemmPart::whole(m, k), a, b, init, c, scratch, epilogue);
}

#[inline(always)]
pub(in crate::kernels::linear) fn gemm_blocks_part<S: Numbers + Blocks + FewRows>(
    isa: S,
    part: GemmPart,
    a: Lhs<'_>,
    b: RhsBlocks<'_>,
    init: Init<'_>,
    c: MatrixMut<'_>,
    scratch: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    let (n, k) = (c.columns(), part.k);
    assert!(
        matches!(b.format.bits, 4 | 8) && b.format.rows > 0,
        "gemm: there are no such blocks of numbers"
    );
    assert!(
        b.data.len() >= packed_rhs_blocks_len(k, n, b.format),
        "gemm: the right matrix is too short"
    );
    if part.whole_m <= FEW_ROWS {
        return few_rows(isa, k, a, b, init, c, epilogue);
    }
    let room = match part.whole_m {
        ..=SHORT => min(scratch.len(), gemm_blocks_scratch(SHORT, n, k)),
        _ => scratch.len(),
    };
    let source = Source::OnTheFly(Unpacked { isa, b, k });
    multiply_part(isa, part, a, source, init, c, &mut scratch[..room], epilogue);
}

/// A product of few rows.
#[inline(always)]
fn few_rows<S: FewRows>(
    isa: S,
    k: usize,
    a: Lhs<'_>,
    b: RhsBlocks<'_>,
    init: Init<'_>,
    mut c: MatrixMut<'_>,
    epilogue: Epilogue<'_>,
) {
    let (m, n) = (c.rows(), c.columns());
    if m == 0 || n == 0 {
        return;
    }
    assert!(m <= FEW_ROWS, "gemm: there are more than few rows");
    let (a, [group, row, column]) = a.layout(m, k);
    let (target, c_row) = (c.as_mut_ptr(), c.stride());
    let start = init.start([m, n], target, c_row);
    let panel = b.format.panel_words(k);
    // All rows pass over a few panels, which stay in the second level cache meanwhile.
    let step = if m > STRIP_ROWS { FEW_COLUMNS } else { n };
    for j in (0..n).step_by(step) {
        for first in (0..m).step_by(STRIP_ROWS) {
            let rows = STRIP_ROWS.min(m - first);
            // Rows that do not exist are read as the last that does.
            let address = |index: usize| {
                let row_index = first + index.min(rows - 1);
                a.as_ptr()
                    .wrapping_add(row_index / PANEL_ROWS * group + row_index % PANEL_ROWS * row)
            };
            let target = Target {
                rows,
                n: step.min(n - j),
                start: match start.at_row(first) {
                    Start::Matrix(start, stride) => Start::Matrix(start.wrapping_add(j), stride),
                    other => other,
                },
                c: target.wrapping_add(first * c_row + j),
                c_row,
                bounds: epilogue.bounds_if(true),
            };
            let b_panels = b.data.as_ptr().wrapping_add(j / PANEL_COLUMNS * panel);
            // SAFETY: the assertions above cover `m` rows of `a`, `c` and `start`, of which these are some, and that of the
            // caller all panels of `b`, of which one begins with column `j`.
            let strip = unsafe { Strip::new(core::array::from_fn(address), column, k, b.format, b_panels, target) };
            isa.run_few_rows(&strip);
        }
    }
    epilogue.finish(&mut c, 0..m, 0..n);
}

/// Divides the rows or the columns of a product.
pub(in crate::kernels::linear) fn gemm_blocks_parts<S: Isa>(
    team: Team<'_, S>,
    problem: &Gemm,
    a: Lhs<'_>,
    b: RhsBlocks<'_>,
    init: Init<'_>,
    c: &mut [f32],
    scratch: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    let &Gemm { m, n, k, .. } = problem;
    // Every part unpacks its columns for itself, one block after another.
    let scratch = (scratch, gemm_blocks_scratch_min(m, n, k));
    divide(team, problem, PANEL_ROWS, init, c, scratch, epilogue, |piece| {
        let (a, b) = (a.rows_from(piece.at[0], k), b.columns_from(piece.at[1], k));
        let (part, isa) = (GemmPart::whole(m, k), team.isa());
        isa.gemm_blocks_part(part, a, b, piece.init, piece.c, piece.scratch, piece.epilogue);
    });
}
