//! Depthwise convolutions of integers: a vector holds quads of pixels below each other, of neighboring channels.
//!
//! A word of four pixels of a channel, one below the other, is made in registers of four rows of the image. A row of the
//! kernel then begins with the first or with the second pixel of a word, so that weights are packed in both ways, and a word
//! serves two rows of the output and as many columns as the kernel has. Kernels of one row have the axes exchanged.

use super::{Part, divide};
use crate::isa::Isa;
use crate::kernels::linear::int8::{DepthwiseStrip, Products, QUAD, Quads, Room, SinkPart, Task};
use crate::kernels::linear::nhwc::Conv2dNhwc;
use crate::kernels::linear::{Linear, PANEL_COLUMNS, Sink};
use crate::team::{Compute, Team};
use core::marker::PhantomData;
use core::ops::Range;

/// The most channels that are computed at a time.
const CHANNELS: usize = 64;

/// A convolution along an axis.
#[derive(Clone, Copy)]
struct Axis {
    input: usize,
    output: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    pad: usize,
    /// Elements between neighbors in the image.
    step: usize,
}

/// The axis whose pixels are together in words, the other one, and which they are.
#[derive(Clone, Copy)]
struct Axes {
    down: Axis,
    across: Axis,
    is_exchanged: bool,
}

impl Axes {
    const fn new(problem: &Conv2dNhwc) -> Axes {
        let rows = Axis {
            input: problem.in_height,
            output: problem.out_height,
            kernel: problem.kernel[0],
            stride: problem.stride[0],
            dilation: problem.dilation[0],
            pad: problem.pad[0],
            step: problem.x_row,
        };
        let columns = Axis {
            input: problem.in_width,
            output: problem.out_width,
            kernel: problem.kernel[1],
            stride: problem.stride[1],
            dilation: problem.dilation[1],
            pad: problem.pad[1],
            step: problem.x_column,
        };
        let is_exchanged = rows.kernel == 1;
        let (down, across) = if is_exchanged { (columns, rows) } else { (rows, columns) };
        Axes {
            down,
            across,
            is_exchanged,
        }
    }

    /// Ways to pack the weights: for outputs that begin with the first, and the second, pixel of a word.
    const fn ways(&self) -> usize {
        if self.down.stride == 1 && self.down.dilation == 1 {
            2
        } else {
            1
        }
    }

    /// Words that hold what a column of the kernel reads.
    const fn quads(&self) -> usize {
        (self.down.kernel + self.ways() - 1).div_ceil(QUAD)
    }
}

/// Words of the packed weights of a channels-last depthwise convolution of integers of 8 bits.
pub const fn depthwise_conv2d_nhwc_int8_packed_len(problem: &Conv2dNhwc) -> usize {
    let axes = Axes::new(problem);
    axes.ways() * axes.quads() * axes.across.kernel * problem.out_channels.next_multiple_of(PANEL_COLUMNS)
}

/// Packs weights `[channels, 1, kernel height, kernel width]` as `[ways][quads][taps across][channels]`, where a way is by
/// how many zeros the weights of a column are preceded, and channels are padded to whole panels.
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
    let (axes, padded) = (Axes::new(problem), channels.next_multiple_of(PANEL_COLUMNS));
    for (way, channel) in (0..axes.ways()).flat_map(|way| (0..channels).map(move |channel| (way, channel))) {
        let taps = &weights[channel * height * width..][..height * width];
        for (index, &weight) in taps.iter().enumerate() {
            let at = [index / width, index % width];
            let [down, across] = if axes.is_exchanged { [at[1], at[0]] } else { at };
            let quad = way * axes.quads() + (way + down) / QUAD;
            let word = (quad * axes.across.kernel + across) * padded + channel;
            packed[word] |= u32::from(weight.cast_unsigned()) << ((way + down) % QUAD * 8);
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
) {
    let y = y.whole([problem.pixels(), problem.out_channels, problem.y_pixel]);
    isa.depthwise_conv2d_nhwc_int8_part(problem, x, pad_value, w, y);
}

#[inline(always)]
pub(in crate::kernels::linear) fn depthwise_conv2d_nhwc_int8_part<S: Products>(
    isa: S,
    problem: &Conv2dNhwc,
    x: &[u8],
    pad_value: u8,
    w: &[u32],
    y: SinkPart<'_>,
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
    isa.with_quads(Depthwise {
        problem,
        axes: Axes::new(problem),
        x,
        pad_value,
        w,
        y,
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
) {
    divide(team, problem, x, y, &mut [], 0, |part: Part<'_>| {
        let isa = team.isa();
        isa.depthwise_conv2d_nhwc_int8_part(&part.problem, part.x, pad_value, w, part.y);
    });
}

/// A depthwise convolution, whose sizes have been found to fit.
struct Depthwise<'a> {
    problem: &'a Conv2dNhwc,
    axes: Axes,
    x: &'a [u8],
    pad_value: u8,
    w: &'a [u32],
    y: SinkPart<'a>,
}

impl Task for Depthwise<'_> {
    type Output = ();

    /// Computes some channels of one or two rows of the output at a time.
    #[inline(always)]
    fn run<Q: Quads>(mut self, quads: Q) {
        let channels = self.problem.out_channels;
        if self.problem.pixels() == 0 {
            return;
        }
        let mut sums = Q::Sums::default();
        let sums = sums.as_mut();
        for channel in (0..channels).step_by(CHANNELS) {
            let range = channel..channels.min(channel + CHANNELS);
            match self.axes.is_exchanged {
                true => self.lines(quads, range, sums),
                false => self.rows(quads, range, sums),
            }
        }
    }
}

impl Depthwise<'_> {
    /// Computes rows of the output, each of whose words serves many columns.
    #[inline(always)]
    fn rows<Q: Quads>(&mut self, quads: Q, channels: Range<usize>, sums: &mut [i32]) {
        let Axes { down, across, .. } = self.axes;
        let lanes = channels.len().next_multiple_of(PANEL_COLUMNS);
        let (first, second) = sums.split_at_mut(sums.len() / 2);
        let fitting = first.len() / lanes;
        for row in (0..down.output).step_by(self.axes.ways()) {
            let rows = self.axes.ways().min(down.output - row);
            for column in (0..across.output).step_by(fitting) {
                let columns = fitting.min(across.output - column);
                let both = [&mut first[..columns * lanes], &mut second[..columns * lanes]];
                self.sum(quads, row, column..column + columns, channels.clone(), both);
                for (index, sums) in [&*first, second].into_iter().take(rows).enumerate() {
                    let pixel = (row + index) * across.output + column;
                    self.y.write(pixel..pixel + columns, channels.clone(), sums, lanes);
                }
            }
        }
    }

    /// Computes rows of the output from words of neighboring columns.
    #[inline(always)]
    fn lines<Q: Quads>(&mut self, quads: Q, channels: Range<usize>, sums: &mut [i32]) {
        let Axes { down, across, .. } = self.axes;
        let lanes = channels.len().next_multiple_of(PANEL_COLUMNS);
        let fitting = sums.len() / (2 * lanes) * 2;
        for row in 0..across.output {
            for start in (0..down.output).step_by(fitting) {
                let columns = fitting.min(down.output - start);
                let pairs = sums.chunks_exact_mut(self.axes.ways() * lanes);
                for (pair, sums) in pairs.take(columns.div_ceil(self.axes.ways())).enumerate() {
                    let (first, second) = sums.split_at_mut(lanes);
                    let at = start + pair * self.axes.ways();
                    self.sum(quads, at, row..row + 1, channels.clone(), [first, second]);
                }
                let pixel = row * down.output + start;
                self.y.write(pixel..pixel + columns, channels.clone(), sums, lanes);
            }
        }
    }

    /// Sums up some channels of one or two outputs below each other, and of those across. The second has room for no sums if
    /// there is one way.
    #[inline(always)]
    fn sum<Q: Quads>(
        &self,
        quads: Q,
        first: usize,
        columns: Range<usize>,
        channels: Range<usize>,
        sums: [&mut [i32]; 2],
    ) {
        let Axes { down, across, .. } = self.axes;
        let is_pair = self.axes.ways() == 2;
        let lanes = channels.len().next_multiple_of(PANEL_COLUMNS);
        let padded = self.problem.out_channels.next_multiple_of(PANEL_COLUMNS);
        assert!(sums[0].len() >= columns.len() * lanes && (!is_pair || sums[1].len() >= columns.len() * lanes));
        let x = &self.x[channels.start.min(self.x.len())..];
        let sums = sums.map(|sums| sums.as_mut_ptr());
        let start = (first * down.stride).wrapping_sub(down.pad);
        for quad in 0..self.axes.quads() {
            let (mut rows, mut inside, mut last) = ([x.as_ptr(); QUAD], 0, 0);
            for (index, row) in rows.iter_mut().enumerate() {
                let at = start.wrapping_add((quad * QUAD + index) * down.dilation);
                if at < down.input && across.input > 0 {
                    last = at * down.step;
                    *row = x[last..].as_ptr();
                    inside |= 0xff << (8 * index);
                }
            }
            // Columns from which on whole vectors are within the image; all but the last few.
            let readable = match (x.len() - last).checked_sub(lanes) {
                _ if lanes == channels.len() => across.input,
                Some(more) => more.checked_div(across.step).map_or(across.input, |more| more + 1),
                None => 0,
            };
            let width = if down.input > 0 { across.input } else { 0 };
            let w = |way: usize| {
                let from = (way * self.axes.quads() + quad) * across.kernel * padded;
                self.w[from..from + across.kernel * padded][channels.start..].as_ptr()
            };
            let strip = DepthwiseStrip {
                rows,
                inside,
                pad_value: self.pad_value,
                step: across.step,
                width,
                readable: readable.min(width),
                left: (columns.start * across.stride).wrapping_sub(across.pad),
                columns: columns.len(),
                stride: across.stride,
                taps: across.kernel,
                dilation: across.dilation,
                channels: channels.len(),
                lanes,
                w: [w(0), w(usize::from(is_pair))],
                line: padded,
                is_pair,
                sums,
                accumulates: quad > 0,
                found: PhantomData,
            };
            // SAFETY: the input has been found to have all channels of all pixels, and `readable` columns to be followed by
            // whole vectors in the last of the rows; in the place of rows of the padding there is the first row. Every line of the weights has `padded` words, of which those of the range are followed by fewer than 16
            // others. There is room for the sums.
            let strip = unsafe { strip.vouched() };
            quads.run_depthwise(&strip);
        }
    }
}
