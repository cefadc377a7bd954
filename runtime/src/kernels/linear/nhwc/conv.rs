//! Convolution of channels-last images without a copy of them, after Dukhan, *The Indirect Convolution Algorithm*
//! (2019): it is a matrix product whose rows are the output pixels, and each tap of the kernel is a part of its depth in
//! which a row of the left matrix is the channels of an input pixel, read where they lie. A tap outside of the image
//! reads a row of zeros.
//!
//! An image of few channels, or whose channels are not contiguous, such as one of three planes, is copied on the way: a
//! band of rows at a time, with the zeros around it.

use super::Conv2dNhwc;
use super::band::{Band, band_rows, band_values};
use crate::kernels::linear::ahead::{Ahead, Share};
use crate::kernels::linear::store::{Start, Target};
use crate::kernels::linear::tile::{Heights, MAX_ROWS, Operands, Segment, Strip, Tiles};
use crate::kernels::linear::{Epilogue, Init, Linear, MatrixMut, PANEL_COLUMNS, packed_rhs_len};
use crate::kernels::simd::Simd;

/// What taps outside of an image read.
pub(super) static ZEROS: [f32; 512] = [0.0; 512];

/// Segments of the depth that a tile is given at a time.
const SEGMENTS: usize = 64;

/// Weights of a block of output channels: 256 KiB, a part of a second level cache.
const BLOCK: usize = 64 * 1024;

/// Length of the packed weights of a channels-last convolution.
pub const fn conv2d_nhwc_packed_len(problem: &Conv2dNhwc) -> usize {
    problem.groups * packed_rhs_len(problem.depth(), problem.group_out())
}

/// Values of scratch that a channels-last convolution is fastest with: none, if the image is read where it lies.
pub const fn conv2d_nhwc_scratch(problem: &Conv2dNhwc) -> usize {
    if is_indirect(problem) {
        0
    } else {
        band_values(problem, band_rows(problem, usize::MAX))
    }
}

/// Values of scratch that a channels-last convolution cannot do without. It is slower the less there is.
pub const fn conv2d_nhwc_scratch_min(problem: &Conv2dNhwc) -> usize {
    if is_indirect(problem) {
        0
    } else {
        band_values(problem, 1)
    }
}

/// Channels of an image that is read where it lies. Of fewer, the pixels that the taps of a row read are little more than
/// one, and it pays that they follow each other everywhere, also at the borders.
const CHANNELS: usize = 8;

/// Whether the image is read where it lies.
const fn is_indirect(problem: &Conv2dNhwc) -> bool {
    problem.x_channel == 1 && problem.in_channels >= CHANNELS
}

/// Packs weights `[out_channels, in_channels / groups, kernel height, kernel width]` as `[taps, in_channels / groups,
/// out_channels]`, each group as a right-hand side by [`pack_rhs`](crate::kernels::linear::pack_rhs).
///
/// # Panics
///
/// If `weights` is shorter than that or `packed` is shorter than [`conv2d_nhwc_packed_len`].
pub fn pack_conv2d_nhwc(problem: &Conv2dNhwc, weights: &[f32], packed: &mut [f32]) {
    let (taps, inputs, outputs, depth) = (problem.taps(), problem.group_in(), problem.group_out(), problem.depth());
    assert!(
        weights.len() >= problem.out_channels * depth,
        "convolution: the weights are too short"
    );
    assert!(
        packed.len() >= conv2d_nhwc_packed_len(problem),
        "convolution: the packed weights are too short"
    );
    let len = packed_rhs_len(depth, outputs);
    if len == 0 {
        return;
    }
    let groups = weights.chunks_exact(outputs * depth).take(problem.groups);
    for (weights, packed) in groups.zip(packed.chunks_exact_mut(len)) {
        for (panel, first) in packed
            .chunks_exact_mut(depth * PANEL_COLUMNS)
            .zip((0..outputs).step_by(PANEL_COLUMNS))
        {
            panel.fill(0.0);
            let filters = weights[first * depth..].chunks_exact(depth).take(PANEL_COLUMNS);
            for (lane, filter) in filters.enumerate() {
                for (channel, kernel) in filter.chunks_exact(taps).enumerate() {
                    for (tap, &weight) in kernel.iter().enumerate() {
                        panel[(tap * inputs + channel) * PANEL_COLUMNS + lane] = weight;
                    }
                }
            }
        }
    }
}

#[inline(always)]
pub(in crate::kernels::linear) fn conv2d_nhwc<S: Linear>(
    isa: S,
    problem: &Conv2dNhwc,
    x: &[f32],
    w: &[f32],
    init: Init<'_>,
    y: &mut [f32],
    scratch: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    problem.check(x, init, y);
    let y = MatrixMut::new(y, problem.pixels(), problem.out_channels, problem.y_pixel);
    isa.conv2d_nhwc_part(problem, x, w, init, y, scratch, epilogue);
}

#[inline(always)]
pub(in crate::kernels::linear) fn conv2d_nhwc_part<S: Simd + Tiles>(
    isa: S,
    problem: &Conv2dNhwc,
    x: &[f32],
    w: &[f32],
    init: Init<'_>,
    mut y: MatrixMut<'_>,
    scratch: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    problem.check_operands(x, init);
    assert!(
        y.rows() >= problem.pixels() && y.columns() >= problem.out_channels,
        "convolution: the output is too short"
    );
    let y = &mut y;
    assert!(
        w.len() >= conv2d_nhwc_packed_len(problem),
        "convolution: the weights are too short"
    );
    assert!(
        scratch.len() >= conv2d_nhwc_scratch_min(problem),
        "convolution: the scratch is too short"
    );
    if problem.pixels() == 0 || problem.group_out() == 0 {
        return;
    }
    if is_indirect(problem) {
        return indirect(isa, problem, x, w, init, y, epilogue, false);
    }
    let rows = band_rows(problem, scratch.len());
    let mut band = Band::new(problem, x, scratch);
    for first in (0..problem.out_height).step_by(rows) {
        let count = rows.min(problem.out_height - first);
        let (pixel, pixels) = (first * problem.out_width, count * problem.out_width);
        let (part, x) = band.fill(first, count);
        let y = &mut y.part(pixel..pixel + pixels, 0..problem.out_channels);
        indirect(isa, &part, x, w, init.from(pixel, 0), y, epilogue.from(pixel, 0), true);
    }
}

/// A convolution of an image that is read where it lies; of a band, no tap is outside.
#[inline(always)]
fn indirect<S: Simd + Tiles>(
    isa: S,
    problem: &Conv2dNhwc,
    x: &[f32],
    w: &[f32],
    init: Init<'_>,
    y: &mut MatrixMut<'_>,
    epilogue: Epilogue<'_>,
    is_band: bool,
) {
    let (outputs, depth) = (problem.group_out(), problem.depth());
    // Whole panels, as few equal blocks as fit. A small image has one pass over the weights in any case.
    let panels = outputs.div_ceil(PANEL_COLUMNS);
    let fitting = (BLOCK / (depth * PANEL_COLUMNS).max(1)).max(2);
    let blocks = if problem.pixels() <= S::TILE_ROWS {
        1
    } else {
        panels.div_ceil(fitting)
    };
    let step = panels.div_ceil(blocks).next_multiple_of(2) * PANEL_COLUMNS;
    for group in 0..problem.groups {
        let weights = &w[group * packed_rhs_len(depth, outputs)..][..packed_rhs_len(depth, outputs)];
        for first in (0..outputs).step_by(step) {
            let block = Block {
                problem,
                weights: &weights[first * depth..],
                group,
                channel: group * outputs + first,
                columns: step.min(outputs - first),
                is_band,
            };
            block.run(isa, x, init, y, epilogue);
        }
    }
}

/// Some output channels of a group.
struct Block<'a> {
    problem: &'a Conv2dNhwc,
    /// The packed weights from the first of the channels on.
    weights: &'a [f32],
    group: usize,
    channel: usize,
    columns: usize,
    is_band: bool,
}

impl Block<'_> {
    /// The operands of the tiles from pixel 0 on, all of which exist: `Conv2dNhwc::check` has found the slices long
    /// enough.
    #[inline(always)]
    fn operands(&self, init: Init<'_>, y: &mut MatrixMut<'_>, epilogue: &Epilogue<'_>) -> Operands {
        let depth = self.problem.depth();
        assert!(self.weights.len() >= packed_rhs_len(depth, self.columns));
        let (c, c_row) = (
            y.part(0..1, self.channel..self.channel + self.columns).as_mut_ptr(),
            y.stride(),
        );
        let start = match init {
            Init::Zero => Start::Zero,
            Init::Accumulate => Start::Matrix(c, c_row),
            Init::PerColumn(values) => Start::Matrix(values[self.channel..][..self.columns].as_ptr(), 0),
            Init::PerRow(values) => Start::PerRow(values.as_ptr()),
        };
        Operands {
            a_column: 1,
            b: self.weights.as_ptr(),
            b_panel: depth * PANEL_COLUMNS,
            b_row: PANEL_COLUMNS,
            a_row: 0,
            ahead: Share::NONE,
            target: Target {
                rows: 0,
                n: self.columns,
                start,
                c,
                c_row,
                bounds: epilogue.bounds_if(true),
            },
        }
    }

    /// Computes all pixels.
    #[inline(always)]
    fn run<S: Simd + Tiles>(&self, isa: S, x: &[f32], init: Init<'_>, y: &mut MatrixMut<'_>, epilogue: Epilogue<'_>) {
        let problem = self.problem;
        let inputs = problem.group_in();
        // Channels of a pixel are cut where they are more than there are zeros.
        let parts = inputs.div_ceil(ZEROS.len());
        let part = inputs.div_ceil(parts);
        let count = problem.taps() * parts;
        // Inside of the image, the pixels that the taps of a row read follow each other and are read as one. The sums then
        // have one strip, so that those at the borders must have no more, or there must be no borders.
        let merges = problem.groups == 1
            && problem.x_column == inputs
            && (problem.dilation[1] == 1 || problem.kernel[1] == 1)
            && (count <= SEGMENTS || (self.is_band && problem.kernel[0] <= SEGMENTS));
        let mut segments = [Segment::EMPTY; SEGMENTS];
        let mut positions = Positions::<S>::new(problem, x.as_ptr().wrapping_add(self.group * inputs));
        let mut operands = self.operands(init, y, &epilogue);
        let start = operands.target.start;
        let distance = packed_rhs_len(problem.depth(), self.columns);
        let ahead = Ahead::new(distance, problem.pixels(), S::TILE_ROWS);
        let mut pixel = 0;
        for (strip, rows) in Heights::new(isa, problem.pixels()).enumerate() {
            positions.place(rows);
            operands.ahead = ahead.share(S::LANES, strip, operands.b_panel);
            let target = &mut operands.target;
            target.rows = rows;
            target.start = start.at_row(pixel);
            target.c = y
                .part(pixel..pixel + rows, self.channel..self.channel + self.columns)
                .as_mut_ptr();
            if let Start::Matrix(_, 1..) = start {
                target.start = Start::Matrix(target.c, target.c_row);
            }
            // Segments are put together by their number, so that the order of sums is the same for each pixel.
            let mut first = 0;
            loop {
                let merged = positions.inside && merges;
                let last = if merged { count } else { count.min(first + SEGMENTS) };
                operands.target.bounds = epilogue.bounds_if(last == count);
                let used = if merged {
                    positions.merged_segments(&mut segments)
                } else {
                    positions.segments(first..last, part, inputs, &mut segments)
                };
                // SAFETY: the heights are those of the token. `Conv2dNhwc::check` has found all pixels of the output and all
                // values of `init` within their slices, and those of the input, too, unless it is a band, which has all
                // pixels that its rows of the output see. The rows of a segment are such pixels of the input, or zeros, and
                // its terms are channels of the group. `operands` has found the weights long enough.
                let strip = unsafe { Strip::new(&operands, &segments[..used]) };
                isa.run_strip(&strip);
                first = last;
                if first == count {
                    break;
                }
                operands.target.start = Start::Matrix(operands.target.c, operands.target.c_row);
            }
            epilogue.finish(y, pixel..pixel + rows, self.channel..self.channel + self.columns);
            pixel += rows;
        }
    }
}

/// Where the first taps of the pixels of a tile are.
struct Positions<'a, S> {
    problem: &'a Conv2dNhwc,
    /// The first channel of the group of input pixel 0.
    x: *const f32,
    /// Row and column of the first output pixel of the next tile.
    next: [usize; 2],
    /// Rows and columns of the image, which wrap around in the padding; not set if all taps are inside.
    y: [usize; MAX_ROWS],
    column: [usize; MAX_ROWS],
    address: [*const f32; MAX_ROWS],
    /// Whether no tap of any pixel is in the padding.
    inside: bool,
    isa: core::marker::PhantomData<S>,
}

impl<'a, S: Simd> Positions<'a, S> {
    #[inline(always)]
    fn new(problem: &'a Conv2dNhwc, x: *const f32) -> Self {
        Positions {
            problem,
            x,
            next: [0, 0],
            y: [0; MAX_ROWS],
            column: [0; MAX_ROWS],
            address: [x; MAX_ROWS],
            inside: false,
            isa: core::marker::PhantomData,
        }
    }

    /// Moves to the next `rows` pixels. Rows that do not exist are placed where the last that does is.
    #[inline(always)]
    fn place(&mut self, rows: usize) {
        let problem = self.problem;
        let [reach_y, reach_x] = [0, 1].map(|axis| (problem.kernel[axis].max(1) - 1) * problem.dilation[axis]);
        let [mut oy, mut ox] = self.next;
        // The places in the padded image of the first and the last pixel, if they are in one row.
        let (y, first) = (oy * problem.stride[0], ox * problem.stride[1]);
        let last = (ox + rows - 1) * problem.stride[1];
        let [pad_y, pad_x] = problem.pad;
        let inside = y >= pad_y
            && first >= pad_x
            && y + reach_y < pad_y + problem.in_height
            && last + reach_x < pad_x + problem.in_width;
        self.inside = inside && ox + rows <= problem.out_width;
        if self.inside {
            let mut address = self
                .x
                .wrapping_add((y - pad_y) * problem.x_row + (first - pad_x) * problem.x_column);
            let step = problem.stride[1] * problem.x_column;
            for (index, slot) in self.address[..S::TILE_ROWS].iter_mut().enumerate() {
                *slot = address;
                if index + 1 < rows {
                    address = address.wrapping_add(step);
                }
            }
            ox += rows;
            self.next = if ox == problem.out_width { [oy + 1, 0] } else { [oy, ox] };
            return;
        }
        let mut inside = true;
        for index in 0..S::TILE_ROWS {
            let (y, column) = (oy * problem.stride[0], ox * problem.stride[1]);
            inside &= y >= pad_y
                && column >= pad_x
                && y + reach_y < pad_y + problem.in_height
                && column + reach_x < pad_x + problem.in_width;
            let (y, column) = (y.wrapping_sub(pad_y), column.wrapping_sub(pad_x));
            self.y[index] = y;
            self.column[index] = column;
            let offset = y
                .wrapping_mul(problem.x_row)
                .wrapping_add(column.wrapping_mul(problem.x_column));
            self.address[index] = self.x.wrapping_add(offset);
            if index + 1 < rows {
                ox += 1;
                if ox == problem.out_width {
                    (oy, ox) = (oy + 1, 0);
                }
            }
        }
        ox += 1;
        self.next = if ox == problem.out_width { [oy + 1, 0] } else { [oy, ox] };
        self.inside = inside;
    }

    /// Writes a segment for each row of the kernel, for pixels none of whose taps is in the padding, and returns how many
    /// there are. The terms of the sum are those of [`segments`](Self::segments) in the same order.
    #[inline(always)]
    fn merged_segments(&self, segments: &mut [Segment; SEGMENTS]) -> usize {
        let problem = self.problem;
        let len = problem.kernel[1] * problem.group_in();
        for (ky, segment) in segments[..problem.kernel[0]].iter_mut().enumerate() {
            let offset = ky * problem.dilation[0] * problem.x_row;
            for (row, address) in segment.rows[..S::TILE_ROWS].iter_mut().zip(&self.address) {
                *row = address.wrapping_add(offset);
            }
            segment.b = ky * len * PANEL_COLUMNS;
            segment.len = len;
        }
        problem.kernel[0]
    }

    /// Writes the segments with these numbers, those of a tap being neighbors, and returns how many there are. Those
    /// that read nothing but padding are left out.
    #[inline(always)]
    fn segments(
        &self,
        numbers: core::ops::Range<usize>,
        part: usize,
        inputs: usize,
        segments: &mut [Segment; SEGMENTS],
    ) -> usize {
        let problem = self.problem;
        let parts = inputs.div_ceil(part.max(1)).max(1);
        let mut used = 0;
        let (mut tap, mut index) = (numbers.start / parts, numbers.start % parts);
        let (mut ky, mut kx) = (tap / problem.kernel[1].max(1), tap % problem.kernel[1].max(1));
        for _ in numbers {
            let (dy, dx) = (ky * problem.dilation[0], kx * problem.dilation[1]);
            let channel = index * part;
            let offset = dy * problem.x_row + dx * problem.x_column + channel;
            let segment = &mut segments[used];
            let mut any = self.inside;
            if self.inside {
                for (row, address) in segment.rows[..S::TILE_ROWS].iter_mut().zip(&self.address) {
                    *row = address.wrapping_add(offset);
                }
            } else {
                for row in 0..S::TILE_ROWS {
                    let exists = self.y[row].wrapping_add(dy) < problem.in_height
                        && self.column[row].wrapping_add(dx) < problem.in_width;
                    any |= exists;
                    segment.rows[row] = if exists {
                        self.address[row].wrapping_add(offset)
                    } else {
                        ZEROS.as_ptr()
                    };
                }
            }
            segment.b = (tap * inputs + channel) * PANEL_COLUMNS;
            segment.len = part.min(inputs - channel);
            used += usize::from(any);
            index += 1;
            if index == parts {
                index = 0;
                tap += 1;
                kx += 1;
                if kx == problem.kernel[1] {
                    (ky, kx) = (ky + 1, 0);
                }
            }
        }
        used
    }
}
