//! Products of few rows, whose weights are unpacked in registers.

use super::STRIP_ROWS;
use super::numbers::Numbers;
use super::pack::BlockFormat;
use crate::kernels::linear::PANEL_COLUMNS;
use crate::kernels::linear::store::{Target, unrolled};
use core::marker::PhantomData;

/// All columns of `c = start + a b` for few rows.
pub(in crate::kernels::linear) struct Strip<'a> {
    /// The first element of each row of `a`.
    a: [*const f32; STRIP_ROWS],
    /// Elements between columns of `a`.
    a_column: usize,
    k: usize,
    format: BlockFormat,
    b: *const u32,
    target: Target,
    found: PhantomData<&'a ()>,
}

impl Strip<'_> {
    /// # Safety
    ///
    /// For as long as the strip is there:
    ///
    /// - `target.rows` is at least 1 and at most [`STRIP_ROWS`].
    /// - Every row of `a` is valid for reading `k` elements `a_column` apart; those from `target.rows` on may be any that are.
    /// - `b` is valid for reading `ceil(n / 16)` panels of the format.
    /// - The `c` of `target` is valid for writing, and for reading if it is the start too, and `start` for reading, `rows` by
    ///   `n` elements.
    #[inline(always)]
    pub(super) unsafe fn new(
        a: [*const f32; STRIP_ROWS],
        a_column: usize,
        k: usize,
        format: BlockFormat,
        b: *const u32,
        target: Target,
    ) -> Self {
        Strip {
            a,
            a_column,
            k,
            format,
            b,
            target,
            found: PhantomData,
        }
    }
}

crate::isa::kernel_table! {
    /// Products of few rows with packed numbers, compiled once for each instruction set.
    pub(in crate::kernels::linear) single trait FewRows {
        /// Computes a strip.
        fn run_few_rows(strip: &Strip<'_>) = run;
    }
}

#[inline(always)]
fn run<S: Numbers>(isa: S, strip: &Strip<'_>) {
    // SAFETY: whoever made the strip has vouched for what `columns` asks for.
    unsafe {
        match (strip.format.bits, strip.format.zeros, strip.target.rows) {
            (4, false, 1) => columns::<S, 4, false, 1>(isa, strip),
            (4, true, 1) => columns::<S, 4, true, 1>(isa, strip),
            (_, false, 1) => columns::<S, 8, false, 1>(isa, strip),
            (_, true, 1) => columns::<S, 8, true, 1>(isa, strip),
            (4, false, _) => columns::<S, 4, false, STRIP_ROWS>(isa, strip),
            (4, true, _) => columns::<S, 4, true, STRIP_ROWS>(isa, strip),
            (_, false, _) => columns::<S, 8, false, STRIP_ROWS>(isa, strip),
            (_, true, _) => columns::<S, 8, true, STRIP_ROWS>(isa, strip),
        }
    }
}

/// Computes a strip in tiles of `ROWS` rows, the last of which may not exist. Several panels at a time give enough sums in
/// flight to hide the latency of an addition.
///
/// # Safety
///
/// As of [`Strip::new`], with `target.rows <= ROWS`.
#[inline(always)]
unsafe fn columns<S: Numbers, const BITS: u32, const ZEROS: bool, const ROWS: usize>(isa: S, strip: &Strip<'_>) {
    let n = strip.target.n;
    let mut j = 0;
    // SAFETY: as the caller vouches; every panel from `j` on that a tile reads has a column that exists.
    unsafe {
        if S::LANES == 16 {
            while n - j > 3 * PANEL_COLUMNS {
                tile::<S, BITS, ZEROS, ROWS, 4>(isa, strip, j);
                j += (4 * PANEL_COLUMNS).min(n - j);
            }
            while n - j > PANEL_COLUMNS {
                tile::<S, BITS, ZEROS, ROWS, 2>(isa, strip, j);
                j += (2 * PANEL_COLUMNS).min(n - j);
            }
        } else if S::LANES == 8 && ROWS == 1 {
            while n - j > PANEL_COLUMNS {
                tile::<S, BITS, ZEROS, ROWS, 4>(isa, strip, j);
                j += (2 * PANEL_COLUMNS).min(n - j);
            }
        }
        while j < n {
            match S::LANES {
                16 => tile::<S, BITS, ZEROS, ROWS, 1>(isa, strip, j),
                8 => tile::<S, BITS, ZEROS, ROWS, 2>(isa, strip, j),
                _ => tile::<S, BITS, ZEROS, ROWS, 4>(isa, strip, j),
            }
            j += PANEL_COLUMNS.min(n - j);
        }
    }
}

/// Computes `VECTORS` vectors of columns from `column` on, those of them that exist.
///
/// # Safety
///
/// As of [`columns`]. `column` begins a panel and is below `n`, and each panel of the vectors has a column below `n`.
#[inline(always)]
unsafe fn tile<S: Numbers, const BITS: u32, const ZEROS: bool, const ROWS: usize, const VECTORS: usize>(
    isa: S,
    strip: &Strip<'_>,
    column: usize,
) {
    let per_word = if BITS == 4 { 8 } else { 4 };
    let (k, format) = (strip.k, strip.format);
    let panel = format.panel_words(k);
    let first = strip.b.wrapping_add(column / PANEL_COLUMNS * panel);
    let vectors: [*const u32; VECTORS] = core::array::from_fn(|vector| {
        let lane = vector * S::LANES;
        first.wrapping_add(lane / PANEL_COLUMNS * panel + lane % PANEL_COLUMNS)
    });
    let rows: [*const f32; ROWS] = core::array::from_fn(|row| strip.a[row]);
    let mut sums = [[isa.splat(0.0); VECTORS]; ROWS];
    // Words from the beginning of a panel, and elements from that of a row.
    let (mut at, mut offset) = (0, 0usize);
    let mut left = k;
    while left > 0 {
        let count = left.min(format.rows);
        let lane = |vector: usize| vector * S::LANES;
        // SAFETY: the caller vouches for the panels, of which this is the beginning of a block.
        let scales: [S::F32; VECTORS] =
            core::array::from_fn(|vector| unsafe { isa.load(vectors[vector].add(at).cast()) });
        let zeros: [S::F32; VECTORS] = core::array::from_fn(|vector| match ZEROS {
            // SAFETY: as above; the zero points are a byte each.
            true => unsafe {
                let zeros = first.add(lane(vector) / PANEL_COLUMNS * panel + at + PANEL_COLUMNS);
                isa.bytes(zeros.cast::<u8>().add(lane(vector) % PANEL_COLUMNS))
            },
            false => isa.splat(0.0),
        });
        at += format.header();
        // The products of one row of the words.
        macro_rules! add {
            ($words:expr, $row:expr) => {{
                let lines: [S::F32; VECTORS] = core::array::from_fn(|vector| {
                    weights::<S, BITS, ZEROS>(isa, $words[vector], $row, zeros[vector], scales[vector])
                });
                unrolled!(row of [ROWS] => {
                    // SAFETY: the caller vouches for `k` elements of the rows.
                    let factor = isa.splat(unsafe { *rows[row].wrapping_add(offset) });
                    for (sum, &line) in sums[row].iter_mut().zip(&lines) {
                        *sum = isa.mul_add(factor, line, *sum);
                    }
                });
                offset = offset.wrapping_add(strip.a_column);
            }};
        }
        for _ in 0..count / per_word {
            // SAFETY: the caller vouches for the words of these panels.
            let words = vectors.map(|vector| unsafe { isa.words(vector.add(at)) });
            at += PANEL_COLUMNS;
            unrolled!(row of [8] => {
                if row < per_word {
                    add!(words, row);
                }
            });
        }
        let rest = count % per_word;
        if rest > 0 {
            // SAFETY: the caller vouches for the words of these panels.
            let words = vectors.map(|vector| unsafe { isa.words(vector.add(at)) });
            at += PANEL_COLUMNS;
            for row in 0..rest {
                add!(words, row);
            }
        }
        left -= count;
    }
    // SAFETY: as the caller vouches.
    unsafe { strip.target.store(isa, sums, column) }
}

/// The weights that numbers of a row stand for. Without zero points, numbers are centered.
#[inline(always)]
pub(super) fn weights<S: Numbers, const BITS: u32, const ZEROS: bool>(
    isa: S,
    words: S::Words,
    row: usize,
    zero: S::F32,
    scale: S::F32,
) -> S::F32 {
    let difference = match ZEROS {
        true => isa.sub(isa.numbers::<BITS, false>(words, row), zero),
        false => isa.numbers::<BITS, true>(words, row),
    };
    isa.mul(difference, scale)
}
