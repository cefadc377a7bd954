//! The matrix multiplication of one cache block, out of register tiles.

use super::ahead::{Ahead, Share};
use super::pack::{PANEL_COLUMNS, PANEL_ROWS};
use super::store::Target;
use super::tile::{Heights, MAX_ROWS, Operands, Segment, Strip, Tiles};
use super::{Init, MatrixMut, extent};
use crate::kernels::simd::Simd;

/// `c = init + a b` of a block whose operands are in cache.
///
/// Element `(i, p)` of `a` is `a[i / 6 * a_group + i % 6 * a_row + p * a_column]`, which covers packed panels as well
/// as strided matrices. Element `(p, j)` of `b` is `b[j / 16 * b_panel + p * b_row + j % 16]`, where the last panel is
/// readable as a whole.
pub(super) struct Block<'a> {
    pub(super) k: usize,
    pub(super) a: &'a [f32],
    pub(super) a_group: usize,
    pub(super) a_row: usize,
    pub(super) a_column: usize,
    pub(super) b: &'a [f32],
    pub(super) b_panel: usize,
    pub(super) b_row: usize,
    /// The right matrix of the block that is computed next, if it is not in cache.
    pub(super) ahead: Ahead,
    pub(super) init: Init<'a>,
    pub(super) c: MatrixMut<'a>,
    /// The bounds between which the result is brought.
    pub(super) bounds: [f32; 2],
}

crate::isa::kernel_table! {
    /// Matrix multiplications of cache blocks.
    pub(super) single trait Blocks {
        /// Runs a block.
        fn gemm_block(block: Block<'_>) = gemm_block;
    }
}

#[inline(always)]
fn gemm_block<S: Simd + Tiles>(isa: S, block: Block<'_>) {
    let Block {
        k,
        a,
        a_group,
        a_row,
        a_column,
        b,
        b_panel,
        b_row,
        ahead,
        init,
        mut c,
        bounds,
    } = block;
    let (m, n, c_row) = (c.rows(), c.columns(), c.stride());
    if m == 0 || n == 0 {
        return;
    }
    let (group, rest) = ((m - 1) / PANEL_ROWS, (m - 1) % PANEL_ROWS);
    let mut a_len = extent([(group + 1, a_group), (rest + 1, a_row), (k, a_column)]);
    if group > 0 {
        a_len = a_len.max(extent([(group, a_group), (PANEL_ROWS, a_row), (k, a_column)]));
    }
    assert!(a.len() >= a_len, "gemm: the left matrix is too short");
    let b_len = extent([(n.div_ceil(PANEL_COLUMNS), b_panel), (k, b_row), (PANEL_COLUMNS, 1)]);
    assert!(b.len() >= b_len, "gemm: the right matrix is too short");
    let c = c.as_mut_ptr();
    let start = init.start([m, n], c, c_row);
    let is_strided = a_group == PANEL_ROWS.wrapping_mul(a_row);
    let height = if is_strided { S::STRIDED_ROWS } else { S::TILE_ROWS };
    let mut operands = Operands {
        a_row,
        a_column,
        b: b.as_ptr(),
        b_panel,
        b_row,
        ahead: Share::NONE,
        target: Target {
            rows: 0,
            n,
            start,
            c,
            c_row,
            bounds,
        },
    };
    let mut segment = Segment {
        len: k,
        ..Segment::EMPTY
    };
    let (mut row, mut first) = (0, a.as_ptr());
    for (strip, rows) in Heights::up_to(m, height).enumerate() {
        // Rows that do not exist are read as the last that does.
        const { assert!(S::STRIDED_ROWS == S::TILE_ROWS || S::TILE_ROWS == MAX_ROWS) };
        if rows > S::TILE_ROWS {
            segment.rows[0] = first;
            first = first.wrapping_add(rows.wrapping_mul(a_row));
        } else if is_strided {
            let mut pointer = first;
            for (index, slot) in segment.rows[..S::TILE_ROWS].iter_mut().enumerate() {
                *slot = pointer;
                if index + 1 < rows {
                    pointer = pointer.wrapping_add(a_row);
                }
            }
            first = pointer.wrapping_add(a_row);
        } else {
            for (index, slot) in segment.rows[..S::TILE_ROWS].iter_mut().enumerate() {
                let row = row + index.min(rows - 1);
                *slot = first.wrapping_add(row / PANEL_ROWS * a_group + row % PANEL_ROWS * a_row);
            }
        }
        operands.target.rows = rows;
        operands.ahead = ahead.share(S::LANES, strip, b_panel);
        // SAFETY: the assertions above cover `m` rows of `a`, `c` and `start`, of which these are some, and all `n`
        // columns of `b`, `c` and `start`. The heights are those of the token.
        let strip = unsafe { Strip::new(&operands, core::slice::from_ref(&segment)) };
        isa.run_strip(&strip);
        row += rows;
        operands.target.c = operands.target.c.wrapping_add(rows * c_row);
        operands.target.start = operands.target.start.at_row(rows);
    }
}
