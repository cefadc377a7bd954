//! Register tiles of quads.

use super::pack::QUAD;
use super::quads::Quads;
use crate::kernels::linear::PANEL_COLUMNS;
use crate::kernels::linear::ahead::{Lines, Turn};
use crate::kernels::linear::depth::Depth;
use crate::kernels::linear::store::unrolled;

/// Rows of the tallest last tile of any instruction set.
pub(super) const MAX_ROWS: usize = 14;

/// The most rows of a strip, so that those of few columns begin and end together.
pub(super) const STRIP_ROWS: usize = 64;

/// Some columns of `a b` for some rows.
pub(in crate::kernels::linear) struct Strip<'a> {
    /// The numbers of `a`.
    pub(super) a: *const u8,
    /// Where each row begins in these.
    pub(super) starts: &'a [usize; STRIP_ROWS],
    /// The depth of the rows of `a`.
    pub(super) depth: Depth,
    /// The words of quad `p` and column `j` are at `j / 16 * b_panel + p * 16 + j % 16`.
    pub(super) b: *const u32,
    pub(super) b_panel: usize,
    /// What is asked for while `b` is used, by tiles of rows from a number on.
    pub(super) ahead: Lines,
    pub(super) first_tile: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Where the sums are written, of whole tiles.
    pub(super) sums: *mut i32,
    /// Elements between rows of the sums.
    pub(super) sums_row: usize,
}

impl Strip<'_> {
    /// # Safety
    ///
    /// For as long as the strip is there:
    ///
    /// - `rows` is at least 1 and at most [`STRIP_ROWS`], and so are those of all tiles.
    /// - From each of `starts` on, up to the end of the tallest tile with the last row, `a` is valid for reading what
    ///   [`Depth::reach`] says; those from `rows` on may be any that are.
    /// - `b` is valid for reading as many quads as the depth has, all 16 columns of each of the `ceil(columns / 16)` panels.
    /// - `sums` are valid for writing as many rows, rounded up to tiles, of `columns` elements, rounded up to a multiple of 32.
    #[inline(always)]
    pub(super) unsafe fn vouched(self) -> Self {
        self
    }
}

/// Some rows of a strip, at most those of a tile.
struct Band<'a> {
    strip: &'a Strip<'a>,
    a: [*const u8; MAX_ROWS],
    ahead: Turn,
    sums: *mut i32,
}

/// Computes a strip in tiles, the last of which is the lowest that there is code for.
#[inline(always)]
pub(super) fn run<Q: Quads>(quads: Q, strip: &Strip<'_>) {
    let (mut row, mut number) = (0, strip.first_tile);
    while row < strip.rows {
        let left = strip.rows - row;
        let rows = if left <= Q::LAST_ROWS { left } else { Q::ROWS };
        let band = Band {
            strip,
            a: core::array::from_fn(|index| match index < Q::LAST_ROWS {
                true => strip.a.wrapping_add(strip.starts[row + index]),
                false => strip.a,
            }),
            ahead: strip.ahead.turn(number),
            sums: strip.sums.wrapping_add(row * strip.sums_row),
        };
        // SAFETY: whoever made the strip has vouched for what `columns` asks for.
        unsafe {
            match (Q::ROWS, rows) {
                (_, 1) => columns::<Q, 1>(quads, &band),
                (3, 2..=3) => columns::<Q, 3>(quads, &band),
                (4 | 8 | 12, 2..=4) => columns::<Q, 4>(quads, &band),
                (8 | 12, 5..=8) => columns::<Q, 8>(quads, &band),
                (12, 9..=12) => columns::<Q, 12>(quads, &band),
                (12, 13..=14) => columns::<Q, 14>(quads, &band),
                _ => unreachable!("a band is higher than a tile"),
            }
        }
        (row, number) = (row + rows, number + 1);
    }
}

/// Computes rows of a strip in tiles of `ROWS` rows, the last of which may not exist. A single row has wider tiles, so that enough
/// sums are in flight.
///
/// # Safety
///
/// As of [`Strip::vouched`], of at most `ROWS` rows.
#[inline(always)]
unsafe fn columns<Q: Quads, const ROWS: usize>(quads: Q, band: &Band<'_>) {
    let n = band.strip.columns;
    let mut j = 0;
    // SAFETY: as the caller vouches; every panel from `j` on that a tile reads has a column that exists.
    unsafe {
        if Q::LANES == 16 {
            while ROWS == 1 && n.saturating_sub(j) > 3 * PANEL_COLUMNS {
                tile::<Q, ROWS, 4>(quads, band, j);
                j += 4 * PANEL_COLUMNS;
            }
            while n.saturating_sub(j) > PANEL_COLUMNS {
                tile::<Q, ROWS, 2>(quads, band, j);
                j += 2 * PANEL_COLUMNS;
            }
        }
        while j < n {
            match Q::LANES {
                16 => tile::<Q, ROWS, 1>(quads, band, j),
                8 => tile::<Q, ROWS, 2>(quads, band, j),
                // Products in 32 bits take four registers for a line.
                _ => {
                    for j in (j..n.min(j + PANEL_COLUMNS)).step_by(Q::LANES) {
                        tile::<Q, ROWS, 1>(quads, band, j);
                    }
                }
            }
            j += PANEL_COLUMNS;
        }
    }
}

/// Computes `VECTORS` vectors of columns from `column` on.
///
/// # Safety
///
/// As of [`columns`]. `column` begins a vector of a panel and is below the number of columns, and each panel of the vectors has
/// a column below it.
#[inline(always)]
unsafe fn tile<Q: Quads, const ROWS: usize, const VECTORS: usize>(quads: Q, band: &Band<'_>, column: usize) {
    let strip = band.strip;
    let rows: [*const u8; ROWS] = core::array::from_fn(|row| band.a[row]);
    let mut b = strip
        .b
        .wrapping_add(column / PANEL_COLUMNS * strip.b_panel + column % PANEL_COLUMNS);
    let mut sums = [[quads.zero(); VECTORS]; ROWS];
    let numbers = strip.depth.run;
    let mut others = sums;
    let whole = numbers / QUAD * QUAD;
    let mut ahead = b.wrapping_add(band.ahead.offset);
    let mut asked = if ROWS > 3 && VECTORS > 1 {
        band.ahead.lines * QUAD
    } else {
        0
    };
    for first in strip.depth.offsets() {
        let mut p = first;
        let end = first + whole;
        // Of a single vector of columns, every other quad has sums of its own, so that enough of them are in flight.
        while VECTORS == 1 && ROWS > 3 && p + QUAD < end {
            // SAFETY: the caller vouches for the words of this panel, and for eight numbers from `p` on in every row.
            unsafe {
                quad(quads, &rows, p, b, strip.b_panel, &mut sums);
                quad(
                    quads,
                    &rows,
                    p + QUAD,
                    b.wrapping_add(PANEL_COLUMNS),
                    strip.b_panel,
                    &mut others,
                );
            }
            p += 2 * QUAD;
            b = b.wrapping_add(2 * PANEL_COLUMNS);
        }
        let asking = asked.min(end - p);
        asked -= asking;
        let last = p + asking;
        while p < last {
            quads.prefetch(ahead);
            ahead = ahead.wrapping_add(PANEL_COLUMNS);
            // SAFETY: the caller vouches for the words of these panels, and for four numbers from `p` on in every row.
            unsafe { quad(quads, &rows, p, b, strip.b_panel, &mut sums) };
            p += QUAD;
            b = b.wrapping_add(PANEL_COLUMNS);
        }
        while p < end {
            // SAFETY: as above.
            unsafe { quad(quads, &rows, p, b, strip.b_panel, &mut sums) };
            p += QUAD;
            b = b.wrapping_add(PANEL_COLUMNS);
        }
        if whole < numbers {
            // SAFETY: as above, with the numbers that are left.
            unsafe {
                let lines: [Q::Line; VECTORS] = lines(quads, b, strip.b_panel);
                unrolled!(row of [ROWS] => {
                    let mut word = [0; QUAD];
                    for (index, byte) in word.iter_mut().enumerate().take(numbers - whole) {
                        *byte = *rows[row].wrapping_add(p + index);
                    }
                    add(quads, u32::from_ne_bytes(word), &lines, &mut sums[row]);
                });
            }
            b = b.wrapping_add(PANEL_COLUMNS);
        }
    }
    unrolled!(row, vector of [ROWS, VECTORS] => {
        let target = band.sums.wrapping_add(row * strip.sums_row + column + vector * Q::LANES);
        // SAFETY: the caller vouches for whole panels of every row of the tile.
        unsafe {
            let sum = match VECTORS == 1 && ROWS > 3 {
                true => quads.plus(sums[row][vector], others[row][vector]),
                false => sums[row][vector],
            };
            quads.store(target, sum);
        }
    });
}

/// Adds the products of a quad of every row.
///
/// # Safety
///
/// From `p` on there are four numbers in every row. `b` is as for [`lines`].
#[inline(always)]
unsafe fn quad<Q: Quads, const ROWS: usize, const VECTORS: usize>(
    quads: Q,
    rows: &[*const u8; ROWS],
    p: usize,
    b: *const u32,
    b_panel: usize,
    sums: &mut [[Q::Sum; VECTORS]; ROWS],
) {
    // SAFETY: as the caller vouches.
    unsafe {
        let lines: [Q::Line; VECTORS] = lines(quads, b, b_panel);
        unrolled!(row of [ROWS] => {
            let word = rows[row].wrapping_add(p).cast::<u32>().read_unaligned();
            add(quads, word, &lines, &mut sums[row]);
        });
    }
}

/// The words at `b` and in the panels behind it.
///
/// # Safety
///
/// `b` is valid for reading as many vectors of words, which are side by side within a panel.
#[inline(always)]
unsafe fn lines<Q: Quads, const VECTORS: usize>(quads: Q, b: *const u32, b_panel: usize) -> [Q::Line; VECTORS] {
    core::array::from_fn(|vector| {
        let lane = vector * Q::LANES;
        // SAFETY: as the caller vouches.
        unsafe { quads.line(b.add(lane / PANEL_COLUMNS * b_panel + lane % PANEL_COLUMNS)) }
    })
}

/// Adds the products of four numbers with those of every column.
#[inline(always)]
fn add<Q: Quads, const VECTORS: usize>(quads: Q, word: u32, lines: &[Q::Line; VECTORS], sums: &mut [Q::Sum; VECTORS]) {
    let factor = quads.factor(u32::from_le(word));
    for (sum, &line) in sums.iter_mut().zip(lines) {
        *sum = quads.add(factor, line, *sum);
    }
}
