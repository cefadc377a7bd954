//! Convolutions of channels-last images as products of numbers that are rounded to bf16.
//!
//! A few rows of the image are rounded at a time, with zeros around them, and read where they then lie for all taps and
//! all output channels: once for every number, and not once for every tap.

use super::Conv2dNhwc;
use super::parts::divide;
use crate::isa::Isa;
use crate::kernels::linear::bf16::{Depth, Pairs, Product, Products, Rows, VALUES};
use crate::kernels::linear::{Epilogue, Init, Linear, MatrixMut, PANEL_COLUMNS, min, packed_rhs_bf16_len};
use crate::team::{Compute, Team};

/// Values of a block of one row of pixels, where that is more than [`VALUES`].
const ROW_VALUES: usize = 4 * VALUES;

/// Words of the packed weights of a channels-last convolution in bf16.
pub const fn conv2d_nhwc_bf16_packed_len(problem: &Conv2dNhwc) -> usize {
    packed_rhs_bf16_len(problem.taps() * channels(problem), problem.out_channels)
}

/// Values of scratch with which a channels-last convolution in bf16 is fastest.
pub const fn conv2d_nhwc_bf16_scratch(problem: &Conv2dNhwc) -> usize {
    let all = seen(problem, problem.out_height, problem.out_width);
    let row = seen(problem, 1, problem.out_width);
    let fitting = min(all, VALUES);
    let wide = min(row, ROW_VALUES);
    let least = conv2d_nhwc_bf16_scratch_min(problem);
    let most = if fitting > wide { fitting } else { wide };
    if most > least { most } else { least }
}

/// Values of scratch that a channels-last convolution in bf16 cannot do without. It is slower the less there is.
pub const fn conv2d_nhwc_bf16_scratch_min(problem: &Conv2dNhwc) -> usize {
    if problem.out_height == 0 || problem.out_width == 0 {
        0
    } else {
        seen(problem, 1, 1)
    }
}

/// Channels of a pixel in a block, with one of zeros where there is an odd number.
const fn channels(problem: &Conv2dNhwc) -> usize {
    problem.in_channels.next_multiple_of(2)
}

/// Coordinates in a block per coordinate of the output, and coordinates of the image per coordinate of the block: what no
/// tap reads is not in a block.
const fn steps(problem: &Conv2dNhwc, axis: usize) -> (usize, usize) {
    if problem.kernel[axis] == 1 {
        (1, problem.stride[axis])
    } else {
        (problem.stride[axis], 1)
    }
}

/// Coordinates that `count` coordinates of the output see in a block.
const fn span(problem: &Conv2dNhwc, axis: usize, count: usize) -> usize {
    if problem.kernel[axis] == 1 {
        if count > 1 { count } else { 1 }
    } else {
        problem.span(axis, count)
    }
}

/// Values of a block of some rows and columns of the output.
const fn seen(problem: &Conv2dNhwc, rows: usize, columns: usize) -> usize {
    let pixels = span(problem, 0, rows).saturating_mul(span(problem, 1, columns));
    pixels.saturating_mul(channels(problem))
}

/// Rounds weights `[out_channels, in_channels, kernel height, kernel width]` of a convolution of one group to bf16 and
/// packs them as the right-hand side `[taps, in_channels, out_channels]`, in pairs of channels, as
/// [`pack_rhs_bf16`](crate::kernels::linear::pack_rhs_bf16) does.
///
/// # Panics
///
/// If `weights` is shorter than that, `packed` is shorter than [`conv2d_nhwc_bf16_packed_len`], or there are several
/// groups.
pub fn pack_conv2d_nhwc_bf16(problem: &Conv2dNhwc, weights: &[f32], packed: &mut [u32]) {
    let (taps, inputs, outputs) = (problem.taps(), problem.in_channels, problem.out_channels);
    assert!(problem.groups == 1, "convolution: there are several groups");
    assert!(
        weights.len() >= outputs * inputs * taps,
        "convolution: the weights are too short"
    );
    let len = conv2d_nhwc_bf16_packed_len(problem);
    assert!(packed.len() >= len, "convolution: the packed weights are too short");
    if len == 0 {
        return;
    }
    let pairs = channels(problem) / 2;
    let panels = packed[..len].chunks_exact_mut(taps * pairs * PANEL_COLUMNS);
    for (panel, first) in panels.zip((0..outputs).step_by(PANEL_COLUMNS)) {
        panel.fill(0);
        let filters = weights[first * inputs * taps..]
            .chunks_exact(inputs * taps)
            .take(PANEL_COLUMNS.min(outputs - first));
        for (lane, filter) in filters.enumerate() {
            for (channel, kernel) in filter.chunks_exact(taps).enumerate() {
                for (tap, &weight) in kernel.iter().enumerate() {
                    let word = &mut panel[(tap * pairs + channel / 2) * PANEL_COLUMNS + lane];
                    *word |= super::half(weight) << (channel % 2 * 16);
                }
            }
        }
    }
}

/// The pixels of an output as rows of a matrix.
struct Pixels<'a> {
    problem: &'a Conv2dNhwc,
    x: &'a [f32],
}

impl Pixels<'_> {
    /// Rows and columns of the output in a block of some pixels: whole rows, or a part of one.
    #[inline(always)]
    fn shape(&self, pixels: usize) -> (usize, usize) {
        let width = self.problem.out_width;
        (pixels.div_ceil(width), pixels.min(width))
    }

    /// Values between rows of a block with so many columns of the output.
    #[inline(always)]
    fn pitch(&self, columns: usize) -> usize {
        span(self.problem, 1, columns) * channels(self.problem)
    }

    /// Rounds the pixels of a row of the image from column `first` on, which wraps around in the padding.
    #[inline(always)]
    fn round_row<P: Pairs>(&self, row: usize, first: usize, values: &mut [P::Value]) {
        let problem = self.problem;
        let (step, width) = (steps(problem, 1).1, channels(problem));
        // Pixels before the image, and those in it.
        let before = if first >= problem.in_width {
            first.wrapping_neg().div_ceil(step)
        } else {
            0
        };
        let first = first.wrapping_add(before.wrapping_mul(step));
        let inside = problem.in_width.saturating_sub(first).div_ceil(step);
        let before = before.min(values.len() / width);
        let (zeros, values) = values.split_at_mut(before * width);
        zeros.fill(P::value(0.0));
        let inside = inside.min(values.len() / width);
        let (values, zeros) = values.split_at_mut(inside * width);
        zeros.fill(P::value(0.0));
        let x = self
            .x
            .get(row * problem.x_row + first * problem.x_column..)
            .unwrap_or_default();
        let apart = step * problem.x_column;
        if problem.x_channel == 1 && apart == width && problem.in_channels == width {
            for (value, &number) in values.iter_mut().zip(&x[..inside * width]) {
                *value = P::value(number);
            }
        } else if problem.x_channel == 1 {
            for (pixel, values) in values.chunks_exact_mut(width).enumerate() {
                let source = &x[pixel * apart..][..problem.in_channels];
                for (value, &number) in values.iter_mut().zip(source) {
                    *value = P::value(number);
                }
                values[problem.in_channels..].fill(P::value(0.0));
            }
        } else {
            for channel in 0..width {
                for pixel in 0..inside {
                    let number = match channel < problem.in_channels {
                        true => x[channel * problem.x_channel + pixel * apart],
                        false => 0.0,
                    };
                    values[pixel * width + channel] = P::value(number);
                }
            }
        }
    }
}

impl Rows for Pixels<'_> {
    #[inline(always)]
    fn block(&self, first: usize, values: usize) -> usize {
        let problem = self.problem;
        let width = problem.out_width;
        if seen(problem, 1, width) <= values {
            // Rows that follow the first see as much more.
            let row = steps(problem, 0).0 * self.pitch(width);
            let more = (values - seen(problem, 1, width)).checked_div(row);
            return more.map_or(1, |more| more + 1).min(problem.out_height) * width;
        }
        let column = span(problem, 0, 1) * channels(problem);
        let columns = values / column.max(1);
        match columns.checked_sub(span(problem, 1, 1)) {
            None => 0,
            Some(more) => (more / steps(problem, 1).0 + 1).min(width - first % width),
        }
    }

    #[inline(always)]
    fn depth(&self, rows: usize) -> Depth {
        let problem = self.problem;
        let (width, pitch) = (channels(problem), self.pitch(self.shape(rows).1));
        let [height, taps] = problem.kernel;
        let next = problem.dilation[0] * pitch;
        // The pixels that the taps of a row read follow each other.
        if problem.dilation[1] == 1 || taps == 1 {
            Depth {
                counts: [height, 1],
                steps: [next, 0],
                pairs: taps * width / 2,
            }
        } else {
            Depth {
                counts: [height, taps],
                steps: [next, problem.dilation[1] * width],
                pairs: width / 2,
            }
        }
    }

    #[inline(always)]
    fn offset(&self, rows: usize, row: usize) -> usize {
        let problem = self.problem;
        let columns = self.shape(rows).1;
        row / columns * steps(problem, 0).0 * self.pitch(columns)
            + row % columns * steps(problem, 1).0 * channels(problem)
    }

    #[inline(always)]
    fn round<P: Pairs>(&self, first: usize, rows: usize, values: &mut [P::Value]) -> usize {
        let problem = self.problem;
        let (rows, columns) = self.shape(rows);
        let (y, x) = (first / problem.out_width, first % problem.out_width);
        let [top, left] =
            [(0, y), (1, x)].map(|(axis, at)| (at * problem.stride[axis]).wrapping_sub(problem.pad[axis]));
        let pitch = self.pitch(columns);
        let used = seen(problem, rows, columns);
        if used == 0 {
            return 0;
        }
        for (index, values) in values[..used].chunks_exact_mut(pitch).enumerate() {
            let row = top.wrapping_add(index * steps(problem, 0).1);
            if row < problem.in_height {
                self.round_row::<P>(row, left, values);
            } else {
                values.fill(P::value(0.0));
            }
        }
        used
    }
}

#[inline(always)]
pub(in crate::kernels::linear) fn conv2d_nhwc_bf16<S: Linear>(
    isa: S,
    problem: &Conv2dNhwc,
    x: &[f32],
    w: &[u32],
    init: Init<'_>,
    y: &mut [f32],
    scratch: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    problem.check(x, init, y);
    let y = MatrixMut::new(y, problem.pixels(), problem.out_channels, problem.y_pixel);
    isa.conv2d_nhwc_bf16_part(problem, x, w, init, y, scratch, epilogue);
}

#[inline(always)]
pub(in crate::kernels::linear) fn conv2d_nhwc_bf16_part<S: Products>(
    isa: S,
    problem: &Conv2dNhwc,
    x: &[f32],
    w: &[u32],
    init: Init<'_>,
    y: MatrixMut<'_>,
    scratch: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    problem.check_operands(x, init);
    assert!(problem.groups == 1, "convolution: there are several groups");
    assert!(
        y.rows() == problem.pixels() && y.columns() == problem.out_channels,
        "convolution: the output has another size"
    );
    assert!(
        w.len() >= conv2d_nhwc_bf16_packed_len(problem),
        "convolution: the weights are too short"
    );
    assert!(
        scratch.len() >= conv2d_nhwc_bf16_scratch_min(problem),
        "convolution: the scratch is too short"
    );
    isa.product(Product {
        rows: Pixels { problem, x },
        b: w,
        init,
        c: y,
        scratch,
        epilogue,
    });
}

/// Divides a convolution.
pub(in crate::kernels::linear) fn conv2d_nhwc_bf16_parts<S: Isa>(
    team: Team<'_, S>,
    problem: &Conv2dNhwc,
    x: &[f32],
    w: &[u32],
    init: Init<'_>,
    y: &mut [f32],
    scratch: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    let needed = conv2d_nhwc_bf16_scratch_min(problem);
    let pairs = problem.taps() * channels(problem);
    divide(team, problem, x, init, y, scratch, epilogue, needed, |part| {
        let w = w.get(packed_rhs_bf16_len(pairs, part.column)..);
        let (problem, w) = (part.problem, w.unwrap_or_default());
        let isa = team.isa();
        isa.conv2d_nhwc_bf16_part(&problem, part.x, w, part.init, part.y, part.scratch, part.epilogue);
    });
}
