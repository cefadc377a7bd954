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
    /// Pixels between words.
    pub(in crate::kernels::linear) step: usize,
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
    /// - From the words `c * stride / step * width` of each column `c` on, `words` is valid for reading `width` words of every
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
    for column in (0..strip.columns).step_by(COLUMNS) {
        for lane in (0..strip.width).step_by(Q::LANES) {
            // SAFETY: whoever made the strip has vouched for its columns and channels.
            unsafe {
                match strip.is_odd {
                    true => tile::<Q, true>(quads, strip, column, lane),
                    false => tile::<Q, false>(quads, strip, column, lane),
                }
            }
        }
    }
}

/// Computes a vector of channels of some columns, those of them that exist.
///
/// # Safety
///
/// As of [`DepthwiseStrip::vouched`]. There are this column, the first of a tile, and this channel, the first of a vector.
#[inline(always)]
unsafe fn tile<Q: Quads, const ODD: bool>(quads: Q, strip: &DepthwiseStrip<'_>, column: usize, lane: usize) {
    let last = strip.columns - 1;
    let words: [*const u32; COLUMNS] = core::array::from_fn(|index| {
        // Columns that do not exist are read as the last that does.
        let word = (column + index).min(last) * strip.stride / strip.step;
        strip.words.wrapping_add(word * strip.width + lane)
    });
    let mut sums = [quads.zero(); COLUMNS];
    let mut w = strip.w.wrapping_add(lane);
    let way = strip.taps[0] * strip.taps[1] * strip.line;
    for row in 0..strip.taps[0] {
        for quad in 0..strip.taps[1] {
            let offset = row * strip.steps[0] + quad * strip.steps[1];
            // SAFETY: the caller vouches for the lines of the weights, and for the words of the taps.
            unsafe {
                let line = quads.line(w);
                let other = if ODD { quads.line(w.wrapping_add(way)) } else { line };
                unrolled!(index of [COLUMNS] => {
                    let line = if index % 2 == 0 { line } else { other };
                    let words = quads.words(words[index].wrapping_add(offset));
                    sums[index] = quads.add_words(words, line, sums[index]);
                });
            }
            w = w.wrapping_add(strip.line);
        }
    }
    for (index, sum) in sums.into_iter().enumerate() {
        if column + index <= last {
            let target = strip.sums.wrapping_add((column + index) * strip.width + lane);
            // SAFETY: the caller vouches for the sums of the columns that exist.
            unsafe { quads.store(target, sum) };
        }
    }
}
