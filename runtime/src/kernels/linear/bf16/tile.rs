//! Register tiles of pairs.

use super::pairs::Pairs;
use crate::kernels::linear::PANEL_COLUMNS;
use crate::kernels::linear::ahead::Share;
use crate::kernels::linear::depth::Depth;
use crate::kernels::linear::store::Target;
use crate::kernels::linear::tile::MAX_ROWS;
use crate::kernels::simd::Simd;
use core::marker::PhantomData;

/// All columns of `c = start + a b` for at most as many rows as a tile has.
pub(in crate::kernels::linear) struct Strip<'a, V> {
    /// The first value of each row of `a`.
    pub(super) a: [*const V; MAX_ROWS],
    pub(super) depth: Depth,
    /// The words of pair `p` and column `j` are at `j / 16 * b_panel + p * 16 + j % 16`.
    pub(super) b: *const u32,
    pub(super) b_panel: usize,
    /// What is asked for while `b` is used.
    pub(super) ahead: Share,
    pub(super) target: Target,
    pub(super) found: PhantomData<&'a ()>,
}

impl<V> Strip<'_, V> {
    /// # Safety
    ///
    /// For as long as the strip is there:
    ///
    /// - `target.rows` is at least 1 and at most the `TILE_ROWS` of what runs it.
    /// - The first `TILE_ROWS` rows of `a` are valid for reading what [`Depth::reach`] says; those from `target.rows` on may be
    ///   any that are.
    /// - `b` is valid for reading as many pairs as the depth has, all 16 columns of each of the `ceil(n / 16)` panels.
    /// - The `c` of `target` is valid for writing, and for reading if it is the start too, and `start` for reading, `rows` by
    ///   `n` elements.
    #[inline(always)]
    pub(super) unsafe fn vouched(self) -> Self {
        self
    }
}

/// Computes a strip in the lowest tiles that there is code for.
///
/// Few heights are enough: what follows a whole number of highest tiles is a small part of a block.
#[inline(always)]
pub(super) fn run<P: Pairs>(pairs: P, strip: &Strip<'_, P::Value>) {
    // SAFETY: whoever made the strip has vouched for what `columns` asks for.
    unsafe {
        match (P::Simd::TILE_ROWS, strip.target.rows) {
            (_, 1) => columns::<P, 1>(pairs, strip),
            (3, 2..=3) | (6, 2..=3) => columns::<P, 3>(pairs, strip),
            (6, 4..=6) => columns::<P, 6>(pairs, strip),
            (8, 2..=4) => columns::<P, 4>(pairs, strip),
            (8, 5..=8) => columns::<P, 8>(pairs, strip),
            _ => unreachable!("a strip is higher than a tile"),
        }
    }
}

/// Computes a strip in tiles of `ROWS` rows, the last of which may not exist. A single row has wider tiles, so that enough
/// sums are in flight.
///
/// # Safety
///
/// As of [`Strip::vouched`], with `target.rows <= ROWS`.
#[inline(always)]
unsafe fn columns<P: Pairs, const ROWS: usize>(pairs: P, strip: &Strip<'_, P::Value>) {
    let n = strip.target.n;
    let mut j = 0;
    // SAFETY: as the caller vouches; every panel from `j` on that a tile reads has a column that exists.
    unsafe {
        match P::Simd::LANES {
            16 => {
                let wide = if ROWS == 1 { 64 } else { 32 };
                while n.saturating_sub(j) > wide - PANEL_COLUMNS {
                    match ROWS {
                        1 => tile::<P, ROWS, 4>(pairs, strip, j),
                        _ => tile::<P, ROWS, 2>(pairs, strip, j),
                    }
                    j += wide;
                }
            }
            8 if ROWS == 1 => {
                while n.saturating_sub(j) > PANEL_COLUMNS {
                    tile::<P, ROWS, 4>(pairs, strip, j);
                    j += 2 * PANEL_COLUMNS;
                }
            }
            _ => {}
        }
        while j < n {
            match P::Simd::LANES {
                16 => tile::<P, ROWS, 1>(pairs, strip, j),
                8 => tile::<P, ROWS, 2>(pairs, strip, j),
                _ => tile::<P, ROWS, 4>(pairs, strip, j),
            }
            j += PANEL_COLUMNS;
        }
    }
}

/// Computes `VECTORS` vectors of columns from `column` on, those of them that exist.
///
/// # Safety
///
/// As of [`columns`]. `column` begins a panel and is below `n`, and each panel of the vectors has a column below `n`.
#[inline(always)]
unsafe fn tile<P: Pairs, const ROWS: usize, const VECTORS: usize>(
    pairs: P,
    strip: &Strip<'_, P::Value>,
    column: usize,
) {
    let isa = pairs.simd();
    let lanes = P::Simd::LANES;
    let numbers = strip.depth.run;
    let rows: [*const P::Value; ROWS] = core::array::from_fn(|row| strip.a[row]);
    let mut b = strip.b.wrapping_add(column / PANEL_COLUMNS * strip.b_panel);
    let mut sums = [[isa.splat(0.0); VECTORS]; ROWS];
    for mut offset in strip.depth.offsets() {
        let mut ahead = strip.ahead.first(b, numbers / 2);
        for _ in 0..numbers / 2 {
            if ROWS > 3 {
                isa.prefetch(ahead.cast());
                ahead = ahead.wrapping_add(strip.ahead.step);
            }
            // SAFETY: the caller vouches for the words of these panels.
            let lines: [P::Line; VECTORS] = core::array::from_fn(|vector| unsafe {
                let lane = vector * lanes;
                pairs.line(b.add(lane / PANEL_COLUMNS * strip.b_panel + lane % PANEL_COLUMNS))
            });
            for (sums, row) in sums.iter_mut().zip(&rows) {
                // SAFETY: the caller vouches for the values of the rows.
                let factor = unsafe { pairs.factor(row.wrapping_add(offset)) };
                for (sum, &line) in sums.iter_mut().zip(&lines) {
                    *sum = pairs.add(factor, line, *sum);
                }
            }
            offset += 2;
            b = b.wrapping_add(PANEL_COLUMNS);
        }
    }
    // SAFETY: as the caller vouches.
    unsafe { strip.target.store(isa, sums, column) }
}
