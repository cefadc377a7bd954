//! Depthwise convolutions of integers: a vector holds quads of neighboring pixels, of neighboring channels.
//!
//! Some rows of some channels are copied at a time as words of four pixels of a channel, one word for every second pixel:
//! the pixels that a row of the kernel reads begin with the first or with the second number of a word, so that weights are
//! packed in both ways, and a word serves two columns of the output.

use super::{Part, divide};
use crate::isa::Isa;
use crate::kernels::linear::int8::{COLUMNS, DepthwiseStrip, Products, QUAD, Quads, Room, SinkPart};
use crate::kernels::linear::nhwc::Conv2dNhwc;
use crate::kernels::linear::{Linear, PANEL_COLUMNS, Sink};
use crate::team::{Compute, Team};
use core::marker::PhantomData;
use core::ops::Range;

/// The most channels that are computed at a time.
const CHANNELS: usize = 64;

/// Words of a block, if what a row of the output sees is no more.
const BLOCK: usize = 8 * 1024;

/// How rows of the image are words.
#[derive(Clone, Copy)]
pub(in crate::kernels::linear) struct Words {
    /// The binary logarithm of the columns between the first pixels of neighboring words.
    shift: u32,
    /// Columns between the pixels of a word.
    apart: usize,
    /// Words that a row of the kernel reads.
    quads: usize,
    /// Ways to pack the weights: for kernels that begin with the first, and the second, pixel of a word.
    ways: usize,
}

impl Words {
    const fn new(problem: &Conv2dNhwc) -> Words {
        let (width, apart) = (problem.kernel[1], problem.dilation[1]);
        if apart != 1 && width > 1 {
            return Words {
                shift: 0,
                apart,
                quads: width.div_ceil(QUAD),
                ways: 1,
            };
        }
        let ways = if problem.stride[1].is_multiple_of(2) { 1 } else { 2 };
        Words {
            shift: 1,
            apart: 1,
            quads: (width + ways - 1).div_ceil(QUAD),
            ways,
        }
    }

    /// Words between those that a row of the kernel reads.
    const fn stride(&self) -> usize {
        (QUAD * self.apart) >> self.shift
    }

    /// Words of a row that `columns` columns of the output see.
    const fn seen(&self, problem: &Conv2dNhwc, columns: usize) -> usize {
        if columns == 0 || self.quads == 0 {
            return 0;
        }
        let last = (columns - 1).saturating_mul(problem.stride[1]) >> self.shift;
        last.saturating_add((self.quads - 1) * self.stride() + 1)
    }
}

/// Channels that are computed at a time, rounded up to whole vectors of any instruction set.
const fn channels(problem: &Conv2dNhwc) -> usize {
    if problem.out_channels < CHANNELS {
        problem.out_channels.next_multiple_of(PANEL_COLUMNS)
    } else {
        CHANNELS
    }
}

/// Words of a block of some rows and columns of the output, of so many channels.
const fn words(problem: &Conv2dNhwc, rows: usize, columns: usize, channels: usize) -> usize {
    if problem.out_height == 0 || problem.out_width == 0 {
        return 0;
    }
    let row = Words::new(problem).seen(problem, columns).saturating_mul(channels);
    row.saturating_mul(rows_seen(problem, rows))
}

/// Rows of a block of some rows of the output: those that a tap reads.
const fn rows_seen(problem: &Conv2dNhwc, rows: usize) -> usize {
    if problem.kernel[0] == 1 {
        rows
    } else {
        problem.span(0, rows)
    }
}

/// Words of the packed weights of a channels-last depthwise convolution of integers of 8 bits.
pub const fn depthwise_conv2d_nhwc_int8_packed_len(problem: &Conv2dNhwc) -> usize {
    let words = Words::new(problem);
    words.ways * problem.kernel[0] * words.quads * problem.out_channels.next_multiple_of(PANEL_COLUMNS)
}

/// Values of scratch with which a channels-last depthwise convolution of integers of 8 bits is fastest.
pub const fn depthwise_conv2d_nhwc_int8_scratch(problem: &Conv2dNhwc) -> usize {
    let all = words(problem, problem.out_height, problem.out_width, channels(problem));
    let row = words(problem, 1, problem.out_width, channels(problem));
    let most = if row > BLOCK { row } else { BLOCK };
    if all < most { all } else { most }
}

/// Values of scratch that a channels-last depthwise convolution of integers of 8 bits cannot do without. It is slower the
/// less there is.
pub const fn depthwise_conv2d_nhwc_int8_scratch_min(problem: &Conv2dNhwc) -> usize {
    words(problem, 1, 1, PANEL_COLUMNS)
}

/// An estimate of the time that a channels-last depthwise convolution of integers of 8 bits takes with this many values of
/// scratch, in multiplications and additions of a large product in `f32`.
pub fn depthwise_conv2d_nhwc_int8_time(problem: &Conv2dNhwc, scratch: usize) -> f64 {
    if !problem.is_representable() {
        return f64::INFINITY;
    }
    if problem.pixels() == 0 || problem.taps() == 0 || problem.out_channels == 0 {
        return 0.0;
    }
    if scratch < depthwise_conv2d_nhwc_int8_scratch_min(problem) {
        return f64::INFINITY;
    }
    let (width, rows, columns) = block(problem, scratch);
    let blocks = problem.out_height.div_ceil(rows) * problem.out_width.div_ceil(columns);
    let copied = words(
        problem,
        rows.min(problem.out_height),
        columns.min(problem.out_width),
        width,
    );
    // To make a word takes the time of some 25 multiplications, as do the sums of an output, and to begin a block as many.
    let each = copied as f64 * 25.0 + 2000.0;
    let outputs = problem.pixels() * problem.out_channels.next_multiple_of(PANEL_COLUMNS);
    (blocks * problem.out_channels.div_ceil(width)) as f64 * each + outputs as f64 * 25.0
}

/// Packs weights `[channels, 1, kernel height, kernel width]` as `[ways][kernel height][quads][channels]`, where a way is by
/// how many zeros the weights of a row are preceded, and channels are padded to whole panels.
///
/// # Panics
///
/// If `weights` is shorter than that or `packed` is shorter than [`depthwise_conv2d_nhwc_int8_packed_len`].
pub fn pack_depthwise_conv2d_nhwc_int8(problem: &Conv2dNhwc, weights: &[i8], packed: &mut [u32]) {
    let ([height, width], channels) = (problem.kernel, problem.out_channels);
    assert!(
        weights.len() >= height * width * channels,
        "depthwise convolution: the weights are too short"
    );
    let len = depthwise_conv2d_nhwc_int8_packed_len(problem);
    assert!(
        packed.len() >= len,
        "depthwise convolution: the packed weights are too short"
    );
    let packed = &mut packed[..len];
    packed.fill(0);
    let (words, padded) = (Words::new(problem), channels.next_multiple_of(PANEL_COLUMNS));
    for way in 0..words.ways {
        for (row, channel) in (0..height).flat_map(|row| (0..channels).map(move |channel| (row, channel))) {
            let taps = &weights[(channel * height + row) * width..][..width];
            for (number, &weight) in (way..).zip(taps) {
                let quad = (way * height + row) * words.quads + number / QUAD;
                packed[quad * padded + channel] |= u32::from(weight.cast_unsigned()) << (number % QUAD * 8);
            }
        }
    }
}

#[inline(always)]
pub(in crate::kernels::linear) fn depthwise_conv2d_nhwc_int8<S: Linear>(
    isa: S,
    problem: &Conv2dNhwc,
    x: &[u8],
    pad_value: u8,
    w: &[u32],
    y: Sink<'_>,
    scratch: &mut [f32],
) {
    let y = y.whole([problem.pixels(), problem.out_channels, problem.y_pixel]);
    isa.depthwise_conv2d_nhwc_int8_part(problem, x, pad_value, w, y, scratch);
}

#[inline(always)]
pub(in crate::kernels::linear) fn depthwise_conv2d_nhwc_int8_part<S: Products>(
    isa: S,
    problem: &Conv2dNhwc,
    x: &[u8],
    pad_value: u8,
    w: &[u32],
    y: SinkPart<'_>,
    scratch: &mut [f32],
) {
    problem.check_input(x.len());
    let channels = problem.out_channels;
    assert!(
        problem.groups == problem.in_channels && channels == problem.in_channels,
        "depthwise convolution: a group has more than one channel"
    );
    assert!(problem.taps() > 0, "depthwise convolution: the kernel is empty");
    assert!(
        problem.x_channel == 1 || channels <= 1,
        "depthwise convolution: the channels of the input are not contiguous"
    );
    assert!(
        y.rows() == problem.pixels() && y.columns() == channels,
        "depthwise convolution: the output has another size"
    );
    assert!(
        w.len() >= depthwise_conv2d_nhwc_int8_packed_len(problem),
        "depthwise convolution: the weights are too short"
    );
    assert!(
        scratch.len() >= depthwise_conv2d_nhwc_int8_scratch_min(problem),
        "depthwise convolution: the scratch is too short"
    );
    // SAFETY: both types have the same size and alignment, and any bits are a number of either.
    let scratch = unsafe { core::slice::from_raw_parts_mut(scratch.as_mut_ptr().cast::<u32>(), scratch.len()) };
    const { assert!(size_of::<u32>() == size_of::<f32>() && align_of::<u32>() <= align_of::<f32>()) };
    isa.depthwise(Depthwise {
        problem,
        x,
        pad_value,
        w,
        y,
        scratch,
    });
}

/// Divides the rows of the output, or the columns of its only row.
pub(in crate::kernels::linear) fn depthwise_conv2d_nhwc_int8_parts<S: Isa>(
    team: Team<'_, S>,
    problem: &Conv2dNhwc,
    x: &[u8],
    pad_value: u8,
    w: &[u32],
    y: Sink<'_>,
    scratch: &mut [f32],
) {
    let needed = depthwise_conv2d_nhwc_int8_scratch_min(problem);
    divide(team, problem, x, y, scratch, needed, |part: Part<'_>| {
        let isa = team.isa();
        isa.depthwise_conv2d_nhwc_int8_part(&part.problem, part.x, pad_value, w, part.y, part.scratch);
    });
}

/// A depthwise convolution, whose sizes have been found to fit.
pub(in crate::kernels::linear) struct Depthwise<'a> {
    problem: &'a Conv2dNhwc,
    x: &'a [u8],
    pad_value: u8,
    w: &'a [u32],
    y: SinkPart<'a>,
    scratch: &'a mut [u32],
}

impl Depthwise<'_> {
    /// Computes some channels of some rows and columns of the output at a time.
    #[inline(always)]
    pub(in crate::kernels::linear) fn run<Q: Quads>(mut self, quads: Q) {
        let problem = self.problem;
        let words = Words::new(problem);
        if problem.pixels() == 0 || problem.out_channels == 0 {
            return;
        }
        let mut sums = Q::Sums::default();
        let sums = sums.as_mut();
        let (step, ..) = block(problem, self.scratch.len());
        for channel in (0..problem.out_channels).step_by(step) {
            let range = channel..problem.out_channels.min(channel + step);
            let width = range.len().next_multiple_of(PANEL_COLUMNS);
            let (rows, columns) = fitting(problem, self.scratch.len(), width);
            for first in (0..problem.out_height).step_by(rows) {
                let rows = rows.min(problem.out_height - first);
                for left in (0..problem.out_width).step_by(columns) {
                    let columns = columns.min(problem.out_width - left);
                    self.copy(quads, &words, [first, rows], [left, columns], range.clone(), width);
                    self.compute(
                        quads,
                        &words,
                        [first, rows],
                        [left, columns],
                        range.clone(),
                        width,
                        sums,
                    );
                }
            }
        }
    }

    /// Makes words of some channels of what some rows and columns of the output see.
    #[inline(always)]
    fn copy<Q: Quads>(
        &mut self,
        quads: Q,
        words: &Words,
        [first, rows]: [usize; 2],
        [left, columns]: [usize; 2],
        channels: Range<usize>,
        width: usize,
    ) {
        let problem = self.problem;
        let [top, left] =
            [(0, first), (1, left)].map(|(axis, at)| (at * problem.stride[axis]).wrapping_sub(problem.pad[axis]));
        let around = [self.pad_value; CHANNELS];
        let pitch = words.seen(problem, columns) * width;
        let lines = self.scratch[..rows_seen(problem, rows) * pitch].chunks_exact_mut(pitch);
        for (index, line) in lines.enumerate() {
            let row = top.wrapping_add(index * row_steps(problem).1);
            if row >= problem.in_height {
                line.fill(u32::from_ne_bytes([self.pad_value; QUAD]));
                continue;
            }
            let image = self.x.get(row * problem.x_row..).unwrap_or_default();
            for (index, words_of) in line.chunks_exact_mut(width).enumerate() {
                let first = left.wrapping_add(index << words.shift);
                let words_of = &mut words_of[..channels.len()];
                // Pixels in the image are found together.
                if first < problem.in_width && first + (QUAD - 1) * words.apart < problem.in_width {
                    let reach = (QUAD - 1) * words.apart * problem.x_column;
                    let seen = &image[first * problem.x_column + channels.start..][..reach + channels.len()];
                    let pixel = |number: usize| &seen[number * words.apart * problem.x_column..][..channels.len()];
                    interleave(quads, [pixel(0), pixel(1), pixel(2), pixel(3)], words_of);
                    continue;
                }
                let pixel = |number: usize| {
                    let column = first.wrapping_add(number * words.apart);
                    match column < problem.in_width {
                        true => &image[column * problem.x_column..][channels.clone()],
                        false => &around[..channels.len()],
                    }
                };
                interleave(quads, [pixel(0), pixel(1), pixel(2), pixel(3)], words_of);
            }
        }
    }

    /// Computes some channels of some rows and columns of the output, from what has been copied for them.
    #[inline(always)]
    fn compute<Q: Quads>(
        &mut self,
        quads: Q,
        words: &Words,
        [first, rows]: [usize; 2],
        [left, columns]: [usize; 2],
        channels: Range<usize>,
        width: usize,
        sums: &mut [i32],
    ) {
        let problem = self.problem;
        let (height, padded) = (problem.kernel[0], problem.out_channels.next_multiple_of(PANEL_COLUMNS));
        let pitch = words.seen(problem, columns) * width;
        // Columns of a tile begin with the first pixel of a word.
        let fitting = sums.len() / width / COLUMNS * COLUMNS;
        for row in 0..rows {
            for column in (0..columns).step_by(fitting) {
                let count = fitting.min(columns - column);
                let start = row * row_steps(problem).0 * pitch + ((column * problem.stride[1]) >> words.shift) * width;
                let taps = [problem.dilation[0] * pitch, words.stride() * width];
                let reach = words.seen(problem, count) * width + height.saturating_sub(1) * taps[0];
                let strip = DepthwiseStrip {
                    words: self.scratch[start..start + reach].as_ptr(),
                    taps: [height, words.quads],
                    steps: taps,
                    columns: count,
                    stride: problem.stride[1],
                    shift: words.shift,
                    width,
                    w: self.w[channels.start..].as_ptr(),
                    line: padded,
                    is_odd: words.ways == 2,
                    sums: sums.as_mut_ptr(),
                    found: PhantomData,
                };
                // SAFETY: the words that the columns see have been found in the scratch, and the weights to have `padded`
                // words for every quad of every row of the kernel and every way, of which the strip reads `width` from a
                // multiple of 16 on. There is room for the sums of `fitting` columns of `width` channels.
                let strip = unsafe { strip.vouched() };
                quads.run_depthwise(&strip);
                let pixel = (first + row) * problem.out_width + left + column;
                self.y.write(pixel..pixel + count, channels.clone(), sums, width);
            }
        }
    }
}

/// The channels, rows and columns of the output that are computed at a time with so many words of scratch: as many channels as
/// there is room for in a row of the output.
fn block(problem: &Conv2dNhwc, scratch: usize) -> (usize, usize, usize) {
    let row = words(problem, 1, problem.out_width, 1);
    let width = scratch.checked_div(row).unwrap_or(CHANNELS) / PANEL_COLUMNS * PANEL_COLUMNS;
    let width = width.clamp(PANEL_COLUMNS, channels(problem));
    let (rows, columns) = fitting(problem, scratch, width);
    (width, rows, columns)
}

/// Rows and columns of the output that a block has room for, of so many words for a pixel.
#[inline(always)]
fn fitting(problem: &Conv2dNhwc, scratch: usize, width: usize) -> (usize, usize) {
    let words = Words::new(problem);
    let room = scratch / width;
    let (least, row) = (rows_seen(problem, 1), words.seen(problem, problem.out_width));
    let rows = room.checked_div(row).unwrap_or(usize::MAX);
    if rows >= least {
        return ((rows - least) / row_steps(problem).0 + 1, problem.out_width);
    }
    let more = ((room / least - words.seen(problem, 1)) << words.shift) / problem.stride[1];
    (1, more + 1)
}

/// Rows of a block per row of the output, and rows of the image per row of the block: what no tap reads is not in a block.
const fn row_steps(problem: &Conv2dNhwc) -> (usize, usize) {
    if problem.kernel[0] == 1 {
        (1, problem.stride[0])
    } else {
        (problem.stride[0], 1)
    }
}

/// Words of the numbers of four pixels, of as many channels.
#[inline(always)]
fn interleave<Q: Quads>(quads: Q, pixels: [&[u8]; QUAD], words: &mut [u32]) {
    let (chunks, rest) = words.as_chunks_mut::<PANEL_COLUMNS>();
    let [a, b, c, d] = pixels.map(|pixel| pixel.as_chunks::<PANEL_COLUMNS>());
    for ((((words, a), b), c), d) in chunks.iter_mut().zip(a.0).zip(b.0).zip(c.0).zip(d.0) {
        quads.interleave([a, b, c, d], words);
    }
    for ((((word, &a), &b), &c), &d) in rest.iter_mut().zip(a.1).zip(b.1).zip(c.1).zip(d.1) {
        *word = u32::from_le_bytes([a, b, c, d]);
    }
}
