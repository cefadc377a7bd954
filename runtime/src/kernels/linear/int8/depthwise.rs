//! Register tiles of quads that belong to a channel: sums along pixels, not along channels.

use super::quads::Quads;
use crate::kernels::linear::store::unrolled;
use core::marker::PhantomData;

/// Columns of a tile.
pub(in crate::kernels::linear) const COLUMNS: usize = 4;

/// Some columns of a row of a depthwise convolution.
pub(in crate::kernels::linear) struct DepthwiseStrip<'a> {
    /// The words of the first tap of the first column.
    pub(in crate::kernels::linear) words: *const u32,
    /// Rows of the kernel, and words that a row of it reads.
    pub(in crate::kernels::linear) taps: [usize; 2],
    /// Words between the rows, and between the words of a row.
    pub(in crate::kernels::linear) steps: [usize; 2],
    pub(in crate::kernels::linear) columns: usize,
    /// Pixels between columns.
    pub(in crate::kernels::linear) stride: usize,
    /// The binary logarithm of the pixels between words.
    pub(in crate::kernels::linear) shift: u32,
    /// Channels, a multiple of 16, which are words between those of neighboring pixels.
    pub(in crate::kernels::linear) width: usize,
    /// The weights `[ways][taps][line]`.
    pub(in crate::kernels::linear) w: *const u32,
    pub(in crate::kernels::linear) line: usize,
    /// Whether every other column begins with the second pixel of a word, for which there is the second way.
    pub(in crate::kernels::linear) is_odd: bool,
    /// Where the sums `[columns, width]` are written.
    pub(in crate::kernels::linear) sums: *mut i32,
    pub(in crate::kernels::linear) found: PhantomData<&'a ()>,
}

impl DepthwiseStrip<'_> {
    /// # Safety
    ///
    /// For as long as the strip is there:
    ///
    /// - There is a column, and `width` is a multiple of 16.
    /// - From the words `(c * stride >> shift) * width` of each column `c` on, `words` is valid for reading `width` words of every
    ///   tap, as `taps` and `steps` say.
    /// - `w` is valid for reading `width` words from the beginning of every line of every way.
    /// - `sums` is valid for writing.
    #[inline(always)]
    pub(in crate::kernels::linear) unsafe fn vouched(self) -> Self {
        self
    }
}

/// Computes a strip.
#[inline(always)]
pub(super) fn run<Q: Quads>(quads: Q, strip: &DepthwiseStrip<'_>) {
    for lane in (0..strip.width).step_by(Q::LANES) {
        // SAFETY: whoever made the strip has vouched for its columns and channels.
        unsafe {
            match (strip.taps, strip.is_odd) {
                ([3, 1], true) => columns::<Q, 3, true>(quads, strip, lane),
                ([3, 1], false) => columns::<Q, 3, false>(quads, strip, lane),
                (_, true) => columns::<Q, 0, true>(quads, strip, lane),
                (_, false) => columns::<Q, 0, false>(quads, strip, lane),
            }
        }
    }
}

/// Computes a vector of channels of all columns: of a kernel with `ROWS` rows of a word each, or, if that is 0, of any.
///
/// # Safety
///
/// As of [`DepthwiseStrip::vouched`]. There is this channel, the first of a vector.
#[inline(always)]
unsafe fn columns<Q: Quads, const ROWS: usize, const ODD: bool>(quads: Q, strip: &DepthwiseStrip<'_>, lane: usize) {
    let way = strip.taps[0] * strip.taps[1] * strip.line;
    let w = strip.w.wrapping_add(lane);
    let lines = |tap: usize| {
        let w = w.wrapping_add(tap * strip.line);
        // SAFETY: the caller vouches for the lines of the weights.
        unsafe {
            let line = quads.line(w);
            [line, if ODD { quads.line(w.wrapping_add(way)) } else { line }]
        }
    };
    // The weights of few taps stay in registers.
    let kept: [[Q::Line; 2]; ROWS] = core::array::from_fn(lines);
    let last = strip.columns - 1;
    let first = strip.words.wrapping_add(lane);
    let mut target = strip.sums.wrapping_add(lane);
    for column in (0..strip.columns).step_by(COLUMNS) {
        let words: [*const u32; COLUMNS] = core::array::from_fn(|index| {
            // Columns that do not exist are read as the last that does.
            let word = ((column + index).min(last) * strip.stride) >> strip.shift;
            first.wrapping_add(word * strip.width)
        });
        let mut sums = [quads.zero(); COLUMNS];
        let mut add = |lines: [Q::Line; 2], offset: usize| {
            unrolled!(index of [COLUMNS] => {
                // SAFETY: the caller vouches for the words of the taps.
                let words = unsafe { quads.words(words[index].wrapping_add(offset)) };
                sums[index] = quads.add_words(words, lines[index % 2], sums[index]);
            });
        };
        if ROWS > 0 {
            for (row, &lines) in kept.iter().enumerate() {
                add(lines, row * strip.steps[0]);
            }
        } else {
            for row in 0..strip.taps[0] {
                for quad in 0..strip.taps[1] {
                    add(
                        lines(row * strip.taps[1] + quad),
                        row * strip.steps[0] + quad * strip.steps[1],
                    );
                }
            }
        }
        for (index, sum) in sums.into_iter().enumerate() {
            if column + index <= last {
                // SAFETY: the caller vouches for the sums of the columns that exist.
                unsafe { quads.store(target, sum) };
            }
            target = target.wrapping_add(strip.width);
        }
    }
}
