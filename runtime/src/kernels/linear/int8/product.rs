//! The blocked product, of whatever the rows of the left-hand side are.

use super::pack::QUAD;
use super::quads::{Quads, Room, Task};
use super::sink::SinkPart;
use super::tile::{STRIP_ROWS, Strip};
use crate::kernels::linear::PANEL_COLUMNS;
use crate::kernels::linear::ahead::Lines;
use crate::kernels::linear::depth::Depth;
use crate::kernels::linear::gemm::equal_blocks;

/// Words of the right-hand side that all rows of a block pass over: 512 KiB.
const WEIGHTS: usize = 128 * 1024;

/// Sums of a strip, if it has more than one tile of rows: 8 KiB, a small part of a first-level cache.
const STRIP: usize = 2048;

/// Quads of a depth with which a tile takes no longer than to begin and end a strip.
const SHALLOW: usize = 64;

/// The rows of a left-hand side, a block at a time.
pub(in crate::kernels::linear) trait Rows {
    /// Rows of the block that begins with a row and takes at most so many bytes of scratch; 0 if these are too few.
    fn block(&self, first: usize, room: usize) -> usize;

    /// The depth, as it is in a block of `rows` rows.
    fn depth(&self, rows: usize) -> Depth;

    /// The first numbers of `starts.len()` rows of a block of `rows` rows, of which the first is `row`.
    fn starts(&self, rows: usize, row: usize, starts: &mut [usize]);

    /// The numbers of a block of `rows` rows from `first` on.
    fn numbers<'s>(&'s self, first: usize, rows: usize, scratch: &'s mut [u8]) -> &'s [u8];
}

/// `c = convert(a b)`.
pub(in crate::kernels::linear) struct Product<'a, R> {
    pub(in crate::kernels::linear) rows: R,
    pub(in crate::kernels::linear) b: &'a [u32],
    pub(in crate::kernels::linear) c: SinkPart<'a>,
    pub(in crate::kernels::linear) scratch: &'a mut [u8],
}

impl<R: Rows> Task for Product<'_, R> {
    type Output = ();

    /// Computes a product in strips of rows, of as many columns as there is room for sums.
    #[inline(always)]
    fn run<Q: Quads>(self, quads: Q) {
        let Product {
            rows,
            b,
            mut c,
            scratch,
        } = self;
        let (m, n) = (c.rows(), c.columns());
        if m == 0 || n == 0 {
            return;
        }
        let mut sums = Q::Sums::default();
        let mut first = 0;
        while first < m {
            let count = rows.block(first, scratch.len()).min(m - first);
            assert!(count > 0, "product: the scratch is too short");
            let block = Block {
                numbers: rows.numbers(first, count, scratch),
                depth: rows.depth(count),
                b,
                rows: [first, count],
                is_last: first + count == m,
            };
            block.run(quads, &mut c, sums.as_mut(), |row, starts| {
                rows.starts(count, row, starts);
            });
            first += count;
        }
    }
}

/// Some rows of the left-hand side.
struct Block<'a> {
    numbers: &'a [u8],
    depth: Depth,
    b: &'a [u32],
    /// The first of the rows, and how many they are.
    rows: [usize; 2],
    is_last: bool,
}

impl Block<'_> {
    #[inline(always)]
    fn run<Q: Quads>(&self, quads: Q, c: &mut SinkPart<'_>, sums: &mut [i32], starts: impl Fn(usize, &mut [usize])) {
        let (n, [first, m]) = (c.columns(), self.rows);
        let total = self.depth.words(QUAD);
        let b_panel = total * PANEL_COLUMNS;
        assert!(
            self.b.len() / PANEL_COLUMNS >= n.div_ceil(PANEL_COLUMNS).saturating_mul(total),
            "product: the right matrix is too short"
        );
        // Of a few rows, no weights are read twice.
        let fitting = match m <= Q::LAST_ROWS {
            true => usize::MAX,
            false => (WEIGHTS / b_panel.max(1)).max(2) * PANEL_COLUMNS,
        };
        let step = equal_blocks(n, fitting.min(sums.len() / Q::LAST_ROWS), 2 * PANEL_COLUMNS);
        let reach = self.depth.reach();
        // Rows that the last strip has beyond its whole tiles, rather than a tile of these alone.
        let more = Q::LAST_ROWS - Q::ROWS;
        let mut found = [0; STRIP_ROWS];
        for column in (0..n).step_by(step) {
            let columns = step.min(n - column);
            // The weights of a following step lie behind these, more often than not.
            let ahead = match self.is_last || column + columns < n {
                true => {
                    let distance = columns.div_ceil(PANEL_COLUMNS) * b_panel;
                    Lines::new(
                        distance,
                        m.saturating_sub(more).max(1).div_ceil(Q::ROWS),
                        Q::LANES,
                        b_panel,
                    )
                }
                false => Lines::NONE,
            };
            // Whole tiles of rows, several of them where one is soon done.
            let several = if total <= SHALLOW { STRIP / step } else { 0 };
            let most = STRIP_ROWS.min(sums.len() / step) - more;
            let height = several.clamp(Q::ROWS, most) / Q::ROWS * Q::ROWS;
            let mut row = 0;
            while row < m {
                let rows = if m - row <= height + more { m - row } else { height };
                starts(row, &mut found[..rows]);
                // Rows that do not exist are read as the last that does.
                let last = found[rows - 1];
                found[rows..STRIP_ROWS.min(rows + Q::LAST_ROWS)].fill(last);
                // Without depth there need not be any numbers.
                let room = self.numbers.len().checked_sub(reach);
                let is_inside = |start: &usize| room.is_some_and(|room| *start <= room);
                assert!(
                    reach == 0 || found[..rows].iter().all(is_inside),
                    "product: the left matrix is too short"
                );
                let strip = Strip {
                    a: self.numbers.as_ptr(),
                    starts: &found,
                    depth: self.depth,
                    b: self.b[column / PANEL_COLUMNS * b_panel..].as_ptr(),
                    b_panel,
                    ahead,
                    first_tile: row / Q::ROWS,
                    rows,
                    columns,
                    sums: sums.as_mut_ptr(),
                    sums_row: step,
                };
                // SAFETY: every row of `a` has been found to reach as far as the depth does, and `b` to have `total` quads in
                // every panel. There is room for the sums of `height` rows, which are whole tiles, and `more`, of `step` columns,
                // which is a whole number of pairs of panels.
                let strip = unsafe { strip.vouched() };
                quads.run(&strip);
                let all = first + row..first + row + rows;
                c.write(all, column..column + columns, sums, step);
                row += rows;
            }
        }
    }
}
