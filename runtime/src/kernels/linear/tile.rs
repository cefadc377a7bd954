//! Register tiles: a few rows of a matrix product, as many as there are accumulators for.
//!
//! Every row of a tile has an address of its own for each segment of the depth, after Dukhan, *The Indirect Convolution
//! Algorithm* (2019). A product of strided matrices is one segment; a convolution has one for each tap of its kernel.

use super::ahead::Share;
use super::pack::PANEL_COLUMNS;
use super::store::{Target, unrolled};
use crate::kernels::simd::Simd;

/// Rows of the tallest tile of any instruction set whose rows have addresses of their own.
pub(super) const MAX_ROWS: usize = 8;

/// A part of the depth of a product.
#[derive(Clone, Copy)]
pub(super) struct Segment {
    /// The first element of each row of `a`. Those of a tile of more than [`MAX_ROWS`] rows follow the first one at equal
    /// distances.
    pub(super) rows: [*const f32; MAX_ROWS],
    /// Elements between the first one of a panel of `b` and that of the segment.
    pub(super) b: usize,
    /// Terms.
    pub(super) len: usize,
}

impl Segment {
    /// A segment without terms.
    pub(super) const EMPTY: Segment = Segment {
        rows: [core::ptr::null(); MAX_ROWS],
        b: 0,
        len: 0,
    };
}

/// All columns of `c = start + a b` for at most as many rows as a tile has.
#[derive(Clone, Copy)]
pub(super) struct Operands {
    /// Elements between rows of `a`, for tiles of more than [`MAX_ROWS`] rows.
    pub(super) a_row: usize,
    /// Elements between columns of `a`.
    pub(super) a_column: usize,
    /// Element `(p, j)` is `b[j / 16 * b_panel + p * b_row + j % 16]`.
    pub(super) b: *const f32,
    pub(super) b_panel: usize,
    pub(super) b_row: usize,
    /// What is asked for while `b` is used.
    pub(super) ahead: Share,
    pub(super) target: Target,
}

/// Rows of a product that were found to exist.
pub(super) struct Strip<'a> {
    operands: &'a Operands,
    segments: &'a [Segment],
}

impl<'a> Strip<'a> {
    /// # Safety
    ///
    /// - `target.rows` is at least 1 and at most `S::STRIDED_ROWS` of the token `S` that runs this.
    /// - If there are at most `S::TILE_ROWS`, the first `S::TILE_ROWS` rows of every segment are valid for reading `len`
    ///   elements `a_column` apart; those from `target.rows` on may be any that are.
    /// - If there are more, the same holds for `target.rows` rows that begin `a_row` elements apart with the first one of
    ///   every segment.
    /// - `b` is valid for reading the rows from `segment.b / b_row` on that every segment has, all 16 columns of each of
    ///   the `ceil(n / 16)` panels.
    /// - The `c` of `target` is valid for writing, and for reading if it is the start too, and `start` for reading, `rows` by
    ///   `n` elements.
    #[inline(always)]
    pub(super) unsafe fn new(operands: &'a Operands, segments: &'a [Segment]) -> Strip<'a> {
        Strip { operands, segments }
    }
}

crate::isa::kernel_table! {
    /// The inner loops that all other kernels share, compiled once for each instruction set.
    pub(super) single trait Tiles {
        /// Computes a strip.
        fn run_strip(strip: &Strip<'_>) = run_strip;
    }
}

/// The heights of tiles that cover `m` rows: as few tiles as possible, about as high as each other.
///
/// Heights are even where tiles are high, because there is code for those.
#[derive(Clone)]
pub(super) struct Heights {
    rows: usize,
    unit: usize,
    height: usize,
    /// Tiles that are one unit higher than `height`.
    higher: usize,
}

impl Heights {
    #[inline(always)]
    pub(super) fn new<S: Simd>(_isa: S, m: usize) -> Heights {
        Heights::up_to(m, S::TILE_ROWS)
    }

    /// The heights for tiles of at most `limit` rows, even if it is more than 3.
    #[inline(always)]
    pub(super) fn up_to(m: usize, limit: usize) -> Heights {
        let unit = if limit > 3 { 2 } else { 1 };
        let (tiles, units) = (m.div_ceil(limit).max(1), m.div_ceil(unit));
        Heights {
            rows: m,
            unit,
            height: units / tiles * unit,
            higher: units % tiles,
        }
    }
}

impl Iterator for Heights {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        if self.rows == 0 {
            return None;
        }
        let mut height = self.height;
        if self.higher > 0 {
            self.higher -= 1;
            height += self.unit;
        }
        let height = height.min(self.rows);
        self.rows -= height;
        Some(height)
    }
}

#[inline(always)]
fn run_strip<S: Simd>(isa: S, strip: &Strip<'_>) {
    // SAFETY: whoever made the strip has vouched for what `columns` asks for.
    unsafe {
        match strip.operands.target.rows {
            0 => {}
            1 => columns::<S, 1>(isa, strip),
            2 => columns::<S, 2>(isa, strip),
            3 if S::TILE_ROWS == 3 => columns::<S, 3>(isa, strip),
            3 | 4 if S::TILE_ROWS >= 4 => columns::<S, 4>(isa, strip),
            5 | 6 if S::TILE_ROWS >= 6 => columns::<S, 6>(isa, strip),
            7 | 8 if S::TILE_ROWS >= 8 => columns::<S, 8>(isa, strip),
            9 | 10 if S::STRIDED_ROWS >= 10 => columns::<S, 10>(isa, strip),
            11 | 12 if S::STRIDED_ROWS >= 12 => columns::<S, 12>(isa, strip),
            _ => unreachable!("a strip is higher than a tile"),
        }
    }
}

/// Computes a strip in tiles of `ROWS` rows, the last of which may not exist.
///
/// The size of a tile follows from the registers: its accumulators, one row of `b` and a broadcast element of `a`
/// fit 32 registers of AVX-512 or 16 of the others, and the addresses of its rows fit the general registers, of which
/// there are too few for more than 8 rows that are not strided. Low tiles are wider, so that enough sums are in flight to
/// hide the latency of an addition.
///
/// # Safety
///
/// As of [`Strip::new`], with `target.rows <= ROWS`.
#[inline(always)]
unsafe fn columns<S: Simd, const ROWS: usize>(isa: S, strip: &Strip<'_>) {
    let n = strip.operands.target.n;
    let mut j = 0;
    // SAFETY: as the caller vouches; the columns from `j` on exist, and begin a panel.
    unsafe {
        if ROWS > 3 || S::LANES < 8 {
            let wide = if S::LANES == 16 { 32 } else { 16 };
            // The lanes of a vector that do not exist cost nothing beside those of another vector that do.
            while n - j >= wide || (S::LANES == 16 && n - j > PANEL_COLUMNS) {
                match S::LANES {
                    4 => tile::<S, ROWS, 4>(isa, strip, j),
                    _ => tile::<S, ROWS, 2>(isa, strip, j),
                }
                j += wide.min(n - j);
            }
        } else {
            while n - j >= 4 * S::LANES {
                tile::<S, ROWS, 4>(isa, strip, j);
                j += 4 * S::LANES;
            }
        }
        while n - j > PANEL_COLUMNS / 2 {
            match S::LANES {
                16 => tile::<S, ROWS, 1>(isa, strip, j),
                8 => tile::<S, ROWS, 2>(isa, strip, j),
                _ => tile::<S, ROWS, 4>(isa, strip, j),
            }
            j += PANEL_COLUMNS.min(n - j);
        }
        if j < n {
            match S::LANES {
                16 => tile::<S::Narrow, ROWS, 1>(isa.narrow(), strip, j),
                8 => tile::<S, ROWS, 1>(isa, strip, j),
                _ => tile::<S, ROWS, 2>(isa, strip, j),
            }
        }
    }
}

/// Computes `VECTORS` vectors of columns from `column` on, those of them that exist.
///
/// # Safety
///
/// As of [`columns`]. `column` begins a panel and is below `n`.
#[inline(always)]
unsafe fn tile<S: Simd, const ROWS: usize, const VECTORS: usize>(isa: S, strip: &Strip<'_>, column: usize) {
    let at = strip.operands;
    let first = at.b.wrapping_add(column / PANEL_COLUMNS * at.b_panel);
    if ROWS > 3 {
        at.target.prefetch::<S, ROWS, VECTORS>(isa, column);
    }
    let mut sums = [[isa.splat(0.0); VECTORS]; ROWS];
    for segment in strip.segments {
        let b = first.wrapping_add(segment.b);
        // SAFETY: as the caller vouches.
        unsafe {
            if ROWS > 3 && at.ahead.is_some() {
                add_terms::<S, ROWS, VECTORS, true>(isa, at, segment, b, &mut sums);
            } else {
                add_terms::<S, ROWS, VECTORS, false>(isa, at, segment, b, &mut sums);
            }
        }
    }
    // SAFETY: as the caller vouches.
    unsafe { at.target.store(isa, sums, column) }
}

/// Adds the products of a segment.
///
/// # Safety
///
/// The rows of the segment are as [`Strip::new`] asks for, for a tile of at most `ROWS` rows; `b` is valid for reading
/// `len` rows of the panels of `VECTORS` vectors.
#[inline(always)]
unsafe fn add_terms<S: Simd, const ROWS: usize, const VECTORS: usize, const AHEAD: bool>(
    isa: S,
    at: &Operands,
    segment: &Segment,
    mut b: *const f32,
    sums: &mut [[S::F32; VECTORS]; ROWS],
) {
    let mut ahead = at.ahead.first(b, segment.len);
    let rows: [*const f32; ROWS] = core::array::from_fn(|row| segment.rows[row % MAX_ROWS]);
    let mut strided = StridedRows::new(segment.rows[0], at.a_row, at.target.rows);
    let mut offset = 0usize;
    for _ in 0..segment.len {
        if AHEAD {
            isa.prefetch(ahead);
            ahead = ahead.wrapping_add(at.ahead.step);
        }
        let mut line = [isa.splat(0.0); VECTORS];
        for (vector, line) in line.iter_mut().enumerate() {
            let lane = vector * S::LANES;
            let offset = lane / PANEL_COLUMNS * at.b_panel + lane % PANEL_COLUMNS;
            // SAFETY: as the caller vouches.
            *line = unsafe { isa.load(b.add(offset)) };
        }
        unrolled!(row of [ROWS] => {
            let address = match ROWS > MAX_ROWS {
                true => strided.address::<ROWS>(row),
                false => rows[row].wrapping_add(offset),
            };
            // SAFETY: as the caller vouches.
            let factor = isa.splat(unsafe { *address });
            for (sum, &line) in sums[row].iter_mut().zip(&line) {
                *sum = isa.mul_add(factor, line, *sum);
            }
        });
        if ROWS > MAX_ROWS {
            strided.advance(isa, at.a_column);
        } else {
            offset = offset.wrapping_add(at.a_column);
        }
        b = b.wrapping_add(at.b_row);
    }
}

/// The addresses of strided rows: those of every third one, which two others follow, and that of the last one.
///
/// The other addresses are computed by the instructions that use them, so that those of 12 rows take seven registers.
struct StridedRows {
    addresses: [*const f32; 5],
    stride: usize,
}

impl StridedRows {
    #[inline(always)]
    fn new(first: *const f32, stride: usize, rows: usize) -> StridedRows {
        let row = |row: usize| first.wrapping_add(row.wrapping_mul(stride));
        StridedRows {
            addresses: [row(0), row(3), row(6), row(9), row(rows - 1)],
            stride,
        }
    }

    /// The address of one of `ROWS` rows, of which the last is that of the one before if it does not exist.
    #[inline(always)]
    fn address<const ROWS: usize>(&self, row: usize) -> *const f32 {
        match row + 1 == ROWS {
            true => self.addresses[4],
            false => self.addresses[row / 3 % 4].wrapping_add((row % 3).wrapping_mul(self.stride)),
        }
    }

    #[inline(always)]
    fn advance<S: Simd>(&mut self, isa: S, distance: usize) {
        self.addresses = isa.opaque(self.addresses.map(|address| address.wrapping_add(distance)));
    }
}
