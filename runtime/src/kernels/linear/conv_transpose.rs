//! Transposed convolution: a matrix product gives what every input pixel contributes through every tap, which is
//! then added to the output.

use super::block::Blocks;
use super::gemm::{Gemm, Source, Strided, block_scratch, multiply};
use super::pack::{PANEL_COLUMNS, PANEL_ROWS, pack_lhs, packed_lhs_len};
use super::{Epilogue, Init, Lhs, MatrixMut, extent, min};
use crate::kernels::simd::Simd;

/// A transposed convolution of one image: input pixel `(iy, ix)` reaches output pixel
/// `(iy * stride + ky * dilation - pad, ...)` through tap `(ky, kx)`. One dimension has height 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvTranspose2d {
    /// Channels of the input.
    pub in_channels: usize,
    /// Rows of the input.
    pub in_height: usize,
    /// Columns of the input.
    pub in_width: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Rows of the output.
    pub out_height: usize,
    /// Columns of the output.
    pub out_width: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Rows and columns of the output per row and column of the input.
    pub stride: [usize; 2],
    /// Rows and columns of the output between taps of the kernel.
    pub dilation: [usize; 2],
    /// Rows above and columns to the left that are cut off the output.
    pub pad: [usize; 2],
    /// Groups that the channels are divided into.
    pub groups: usize,
    /// Elements between channels of the input.
    pub x_channel: usize,
    /// Elements between rows of the input.
    pub x_row: usize,
    /// Elements between columns of the input.
    pub x_column: usize,
    /// Elements between channels of the output, whose rows are dense.
    pub y_channel: usize,
}

/// Input pixels of a block of contributions.
const BLOCK_COLUMNS: usize = 128;

/// Rows of a block of contributions. With [`BLOCK_COLUMNS`] this is 96 KiB.
const BLOCK_ROWS: usize = 32 * PANEL_ROWS;

impl ConvTranspose2d {
    /// Rows of the matrix of contributions: taps of the output channels of a group.
    const fn rows(&self) -> usize {
        self.out_channels / self.groups * self.kernel[0] * self.kernel[1]
    }

    const fn group_in(&self) -> usize {
        self.in_channels / self.groups
    }

    /// Whether the rows of the image are one row, so that a block may cross their ends.
    const fn is_dense(&self) -> bool {
        self.in_height <= 1 || self.x_row == self.in_width * self.x_column
    }

    /// Input pixels that a block may hold.
    const fn block_columns(&self) -> usize {
        let row = if self.is_dense() {
            self.in_height * self.in_width
        } else {
            self.in_width
        };
        min(row, BLOCK_COLUMNS)
    }
}

/// Length of the packed weights of a transposed convolution.
pub const fn conv_transpose2d_packed_len(problem: &ConvTranspose2d) -> usize {
    problem.groups * packed_lhs_len(problem.rows(), problem.group_in())
}

/// Values of scratch that a transposed convolution needs.
pub const fn conv_transpose2d_scratch(problem: &ConvTranspose2d) -> usize {
    let columns = problem.block_columns();
    min(problem.rows(), BLOCK_ROWS) * columns + block_scratch(columns, problem.group_in())
}

/// Values of scratch that are enough for this transposed convolution and for every one with smaller images.
pub const fn conv_transpose2d_scratch_bound(problem: &ConvTranspose2d) -> usize {
    let pixels = problem.in_height.saturating_mul(problem.in_width);
    let columns = min(pixels.next_multiple_of(PANEL_COLUMNS), BLOCK_COLUMNS);
    min(problem.rows(), BLOCK_ROWS) * columns + block_scratch(columns, problem.group_in())
}

/// Packs weights `[in_channels, out_channels / groups, kernel height, kernel width]`: each group as the transposed
/// matrix of all but the first dimension, by [`pack_lhs`](super::pack_lhs).
///
/// # Panics
///
/// If `weights` is shorter than that or `packed` is shorter than [`conv_transpose2d_packed_len`].
pub fn pack_conv_transpose2d(problem: &ConvTranspose2d, weights: &[f32], packed: &mut [f32]) {
    let (rows, depth) = (problem.rows(), problem.group_in());
    let len = packed_lhs_len(rows, depth);
    assert!(
        packed.len() >= len * problem.groups,
        "transposed convolution: the packed weights are too short"
    );
    for group in 0..problem.groups {
        let source = &weights[group * rows * depth..][..rows * depth];
        pack_lhs(rows, depth, source, 1, rows, &mut packed[group * len..][..len]);
    }
}

#[inline(always)]
pub(super) fn conv_transpose2d<S: Simd + Blocks>(
    isa: S,
    problem: &ConvTranspose2d,
    x: &[f32],
    w: &[f32],
    init: Init<'_>,
    y: &mut [f32],
    scratch: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    check(problem, x, w, init, y);
    assert!(
        scratch.len() >= conv_transpose2d_scratch(problem),
        "transposed convolution: the scratch is too short"
    );
    let pixels = problem.out_height * problem.out_width;
    if pixels == 0 || problem.out_channels == 0 {
        return;
    }
    for channel in 0..problem.out_channels {
        let plane = &mut y[channel * problem.y_channel..][..pixels];
        match init {
            Init::Zero => plane.fill(0.0),
            Init::PerRow(values) => plane.fill(values[channel]),
            Init::PerColumn(values) => plane.copy_from_slice(&values[..pixels]),
            Init::Accumulate => {}
        }
    }
    let (rows, depth) = (problem.rows(), problem.group_in());
    let group_out = problem.out_channels / problem.groups;
    let len = packed_lhs_len(rows, depth);
    let in_pixels = problem.in_height * problem.in_width;
    let row_len = if problem.is_dense() {
        in_pixels
    } else {
        problem.in_width
    };
    let block_columns = problem.block_columns();
    let (contributions, scratch) = scratch.split_at_mut(min(rows, BLOCK_ROWS) * block_columns);
    for group in 0..problem.groups {
        let w = &w[group * len..][..len];
        let y = &mut y[group * group_out * problem.y_channel..];
        let mut pixel = 0;
        while pixel < in_pixels && depth > 0 {
            let columns = block_columns.min(row_len - pixel % row_len);
            let from = group * depth * problem.x_channel
                + pixel / problem.in_width * problem.x_row
                + pixel % problem.in_width * problem.x_column;
            let strided = Strided {
                data: &x[from..],
                row: problem.x_channel,
                column: problem.x_column,
            };
            let mut row = 0;
            while row < rows {
                let count = BLOCK_ROWS.min(rows - row);
                let product = Gemm {
                    m: count,
                    n: columns,
                    k: depth,
                    c_row: columns,
                };
                let a = Lhs::Packed(&w[row * depth..]);
                let source = if problem.x_column == 1 && rows <= BLOCK_ROWS {
                    Source::InPlace(strided.data, problem.x_channel, strided)
                } else {
                    Source::OnTheFly(strided)
                };
                multiply(
                    isa,
                    &product,
                    a,
                    source,
                    Init::Zero,
                    contributions,
                    scratch,
                    Epilogue::None,
                );
                for (index, line) in contributions.chunks_exact(columns).take(count).enumerate() {
                    scatter(problem, row + index, pixel, line, y);
                }
                row += count;
            }
            pixel += columns;
        }
    }
    let mut y = MatrixMut::new(y, problem.out_channels, pixels, problem.y_channel);
    if let Epilogue::Clamp(low, high) = epilogue {
        for channel in 0..problem.out_channels {
            for value in y.run(channel, 0..pixels) {
                // Comparisons with not-a-number are false.
                let raised = if *value < low { low } else { *value };
                *value = if raised > high { high } else { raised };
            }
        }
    }
    epilogue.finish(&mut y, 0..problem.out_channels, 0..pixels);
}

fn check(problem: &ConvTranspose2d, x: &[f32], w: &[f32], init: Init<'_>, y: &[f32]) {
    let channels_divide = problem.groups > 0
        && problem.in_channels.is_multiple_of(problem.groups)
        && problem.out_channels.is_multiple_of(problem.groups);
    assert!(
        channels_divide,
        "transposed convolution: the channels are not a multiple of the groups"
    );
    let advances = problem.stride[0] > 0 && problem.stride[1] > 0;
    assert!(advances, "transposed convolution: the stride is zero");
    let x_len = extent([
        (problem.in_channels, problem.x_channel),
        (problem.in_height, problem.x_row),
        (problem.in_width, problem.x_column),
    ]);
    assert!(x.len() >= x_len, "transposed convolution: the input is too short");
    assert!(
        w.len() >= conv_transpose2d_packed_len(problem),
        "transposed convolution: the weights are too short"
    );
    let pixels = problem.out_height * problem.out_width;
    let y_len = extent([(problem.out_channels, problem.y_channel), (pixels, 1)]);
    assert!(y.len() >= y_len, "transposed convolution: the output is too short");
    match init {
        Init::PerColumn(values) => {
            assert!(
                values.len() >= pixels,
                "transposed convolution: the initial plane is too short"
            );
        }
        Init::PerRow(values) => {
            assert!(
                values.len() >= problem.out_channels,
                "transposed convolution: the bias is too short"
            );
        }
        Init::Zero | Init::Accumulate => {}
    }
}

/// Adds what consecutive input pixels contribute through one tap of one output channel.
#[inline(always)]
fn scatter(problem: &ConvTranspose2d, row: usize, pixel: usize, line: &[f32], y: &mut [f32]) {
    let [kernel_y, kernel_x] = problem.kernel;
    let (channel, tap) = (row / (kernel_y * kernel_x), row % (kernel_y * kernel_x));
    let (ky, kx) = (tap / kernel_x, tap % kernel_x);
    let [stride_y, stride_x] = problem.stride;
    let shift = kx * problem.dilation[1];
    let pad = problem.pad[1];
    let mut done = 0;
    while done < line.len() {
        let (iy, ix) = ((pixel + done) / problem.in_width, (pixel + done) % problem.in_width);
        let run = &line[done..][..(line.len() - done).min(problem.in_width - ix)];
        done += run.len();
        let oy = (iy * stride_y + ky * problem.dilation[0]).wrapping_sub(problem.pad[0]);
        // The pixels of the run whose column `ix * stride + shift - pad` lies in the output.
        let first = ix * stride_x + shift;
        let begin = pad.saturating_sub(first).div_ceil(stride_x);
        let end = (problem.out_width + pad)
            .saturating_sub(first)
            .div_ceil(stride_x)
            .min(run.len());
        if oy >= problem.out_height || begin >= end {
            continue;
        }
        let from = channel * problem.y_channel + oy * problem.out_width + first + begin * stride_x - pad;
        let target = &mut y[from..][..(end - begin - 1) * stride_x + 1];
        let run = &run[begin..end];
        match stride_x {
            1 => {
                for (target, value) in target.iter_mut().zip(run) {
                    *target += value;
                }
            }
            2 => {
                for (index, value) in run.iter().enumerate() {
                    target[2 * index] += value;
                }
            }
            _ => {
                for (index, value) in run.iter().enumerate() {
                    target[index * stride_x] += value;
                }
            }
        }
    }
}
