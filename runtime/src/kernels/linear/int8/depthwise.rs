//! Register tiles of quads that belong to a channel: sums along columns of pixels, not along channels.

use super::quads::Quads;
use core::marker::PhantomData;

/// Rows of the image that a word has a pixel of.
const QUAD: usize = super::QUAD;

/// The most channels that a vector has.
const LANES: usize = 16;

/// One or two neighboring rows of some columns of a depthwise convolution, of which four rows of the kernel are computed.
#[derive(Clone, Copy)]
pub(in crate::kernels::linear) struct DepthwiseStrip<'a> {
    /// Where four rows of the image begin: the first of the channels of their first column.
    pub(in crate::kernels::linear) rows: [*const u8; QUAD],
    /// Ones in the bytes of a word that are in the image, and zeros in those of rows in the padding, which are not looked at.
    pub(in crate::kernels::linear) inside: u32,
    /// The number in the padding.
    pub(in crate::kernels::linear) pad_value: u8,
    /// Elements between columns of the image.
    pub(in crate::kernels::linear) step: usize,
    /// Columns of the image, and how many of them may be read beyond their channels.
    pub(in crate::kernels::linear) width: usize,
    pub(in crate::kernels::linear) readable: usize,
    /// The column of the image that the first tap of the first column of the output reads, modulo the size of an address.
    pub(in crate::kernels::linear) left: usize,
    /// Columns of the output, and columns of the image between them.
    pub(in crate::kernels::linear) columns: usize,
    pub(in crate::kernels::linear) stride: usize,
    /// Columns of the kernel, and columns of the image between them.
    pub(in crate::kernels::linear) taps: usize,
    pub(in crate::kernels::linear) dilation: usize,
    /// Channels, and those rounded up to vectors.
    pub(in crate::kernels::linear) channels: usize,
    pub(in crate::kernels::linear) lanes: usize,
    /// The weights of the first row of the output, and of the second if there are two, `line` words from tap to tap.
    pub(in crate::kernels::linear) w: [*const u32; 2],
    pub(in crate::kernels::linear) line: usize,
    pub(in crate::kernels::linear) is_pair: bool,
    /// Where the sums of either row are, `[columns, lanes]`.
    pub(in crate::kernels::linear) sums: [*mut i32; 2],
    /// Whether sums are added to those that are there.
    pub(in crate::kernels::linear) accumulates: bool,
    pub(in crate::kernels::linear) found: PhantomData<(&'a [u8], &'a mut [i32])>,
}

impl DepthwiseStrip<'_> {
    /// # Safety
    ///
    /// For as long as the strip is there:
    ///
    /// - `lanes` is a multiple of 16, of which `channels` lack fewer than 16.
    /// - Each row is valid for reading `channels` numbers of `width` columns, and of the first `readable` columns `lanes`
    ///   numbers, a step apart.
    /// - Both `w` are valid for reading `lanes` words of `taps` lines.
    /// - The `sums` of every row of the output that there is are valid for writing, and reading if they are added to.
    #[inline(always)]
    pub(in crate::kernels::linear) unsafe fn vouched(self) -> Self {
        self
    }

    /// The numbers of a column of the image, or of the padding, from channel `lane` on.
    ///
    /// # Safety
    ///
    /// As of [`vouched`](DepthwiseStrip::vouched); `lane` is less than `lanes`.
    #[inline(always)]
    unsafe fn words<Q: Quads>(&self, quads: Q, gather: Q::Gather, column: usize, lane: usize) -> Q::Words {
        let at = |row: usize| self.rows[row].wrapping_add(column * self.step + lane);
        // SAFETY: the caller vouches for the channels of the columns that exist, and beyond them in some. The copies are as
        // long as any vector.
        unsafe {
            if column < self.readable {
                return quads.gather(gather, [at(0), at(1), at(2), at(3)]);
            }
            if column >= self.width {
                return quads.padding(gather);
            }
            let copies = self.copied(column, lane);
            quads.gather(gather, [0, 1, 2, 3].map(|row: usize| copies[row].as_ptr()))
        }
    }

    /// The channels of a column, not all of which a vector needs.
    ///
    /// # Safety
    ///
    /// As of [`words`](DepthwiseStrip::words), of a column of the image.
    #[cold]
    #[inline(never)]
    unsafe fn copied(&self, column: usize, lane: usize) -> [[u8; LANES]; QUAD] {
        let mut copies = [[0u8; LANES]; QUAD];
        let count = self.channels.saturating_sub(lane).min(LANES);
        for (row, copy) in self.rows.iter().zip(&mut copies) {
            let from = row.wrapping_add(column * self.step + lane);
            // SAFETY: the caller vouches for the channels.
            unsafe { core::ptr::copy_nonoverlapping(from, copy.as_mut_ptr(), count) };
        }
        copies
    }
}

/// Computes a strip.
#[inline(always)]
pub(super) fn run<Q: Quads>(quads: Q, strip: &DepthwiseStrip<'_>) {
    let is_small = strip.taps == 3 && strip.dilation == 1;
    for lane in (0..strip.lanes).step_by(Q::LANES) {
        // SAFETY: whoever made the strip has vouched for its rows, weights and sums.
        unsafe {
            match (is_small, strip.stride, strip.is_pair) {
                (true, 1, true) => ring::<Q, 1, true>(quads, strip, lane),
                (true, 1, false) => ring::<Q, 1, false>(quads, strip, lane),
                (true, 2, false) => ring::<Q, 2, false>(quads, strip, lane),
                (_, _, true) => any::<Q, true>(quads, strip, lane),
                (_, _, false) => any::<Q, false>(quads, strip, lane),
            }
        }
    }
}

/// The weights of both rows of the output for a tap; those of the first twice, if there is one.
///
/// # Safety
///
/// As of [`DepthwiseStrip::vouched`].
#[inline(always)]
unsafe fn lines<Q: Quads, const PAIR: bool>(
    quads: Q,
    strip: &DepthwiseStrip<'_>,
    tap: usize,
    lane: usize,
) -> [Q::Line; 2] {
    let at = |row: usize| strip.w[row].wrapping_add(tap * strip.line + lane);
    // SAFETY: the caller vouches for the lines of the taps.
    unsafe {
        let first = quads.line(at(0));
        [first, if PAIR { quads.line(at(1)) } else { first }]
    }
}

/// The sums that there are of a column.
///
/// # Safety
///
/// As of [`DepthwiseStrip::vouched`], of a column and lane that there are.
#[inline(always)]
unsafe fn begin<Q: Quads, const PAIR: bool>(
    quads: Q,
    strip: &DepthwiseStrip<'_>,
    column: usize,
    lane: usize,
) -> [Q::Sum; 2] {
    let at = |row: usize| strip.sums[row].wrapping_add(column * strip.lanes + lane);
    let sum = |row: usize| match strip.accumulates && (PAIR || row == 0) {
        // SAFETY: the caller vouches for the sums, of the second row if there is one.
        true => unsafe { quads.load(at(row)) },
        false => quads.zero(),
    };
    [sum(0), sum(1)]
}

/// Writes the sums of a column.
///
/// # Safety
///
/// As of [`begin`].
#[inline(always)]
unsafe fn end<Q: Quads, const PAIR: bool>(
    quads: Q,
    strip: &DepthwiseStrip<'_>,
    column: usize,
    lane: usize,
    sums: [Q::Sum; 2],
) {
    let at = column * strip.lanes + lane;
    // SAFETY: the caller vouches for the sums.
    unsafe {
        quads.store(strip.sums[0].wrapping_add(at), sums[0]);
        if PAIR {
            quads.store(strip.sums[1].wrapping_add(at), sums[1]);
        }
    }
}

/// Computes a vector of channels for kernels with three columns. The words of the columns of the image that one column of the
/// output shares with the next stay in registers, as do the weights.
///
/// # Safety
///
/// As of [`DepthwiseStrip::vouched`]. There is this channel, the first of a vector.
#[inline(always)]
unsafe fn ring<Q: Quads, const STRIDE: usize, const PAIR: bool>(quads: Q, strip: &DepthwiseStrip<'_>, lane: usize) {
    // SAFETY: passed on.
    unsafe {
        let [a, b, c] = [0, 1, 2].map(|tap| lines::<Q, PAIR>(quads, strip, tap, lane));
        let gather = quads.gatherer(strip.inside, strip.pad_value);
        let word = |column: usize| strip.words(quads, gather, strip.left.wrapping_add(column), lane);
        let mut next = 3 - STRIDE;
        let mut words = [word(0), word(0), word(1)];
        if STRIDE == 2 {
            words[2] = words[0];
        }
        for column in 0..strip.columns {
            words = match STRIDE {
                1 => [words[1], words[2], word(next)],
                _ => [words[2], word(next), word(next + 1)],
            };
            next += STRIDE;
            let mut sums = begin::<Q, PAIR>(quads, strip, column, lane);
            for row in 0..if PAIR { 2 } else { 1 } {
                sums[row] = quads.add_words(words[0], a[row], sums[row]);
                sums[row] = quads.add_words(words[1], b[row], sums[row]);
                sums[row] = quads.add_words(words[2], c[row], sums[row]);
            }
            end::<Q, PAIR>(quads, strip, column, lane, sums);
        }
    }
}

/// Computes a vector of channels for any kernel.
///
/// # Safety
///
/// As of [`ring`].
#[inline(always)]
unsafe fn any<Q: Quads, const PAIR: bool>(quads: Q, strip: &DepthwiseStrip<'_>, lane: usize) {
    let gather = quads.gatherer(strip.inside, strip.pad_value);
    for column in 0..strip.columns {
        // SAFETY: passed on.
        unsafe {
            let mut sums = begin::<Q, PAIR>(quads, strip, column, lane);
            for tap in 0..strip.taps {
                let lines = lines::<Q, PAIR>(quads, strip, tap, lane);
                let at = column * strip.stride + tap * strip.dilation;
                let words = strip.words(quads, gather, strip.left.wrapping_add(at), lane);
                for row in 0..if PAIR { 2 } else { 1 } {
                    sums[row] = quads.add_words(words, lines[row], sums[row]);
                }
            }
            end::<Q, PAIR>(quads, strip, column, lane, sums);
        }
    }
}
