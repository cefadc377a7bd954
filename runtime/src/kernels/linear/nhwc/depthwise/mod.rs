//! Depthwise convolution of channels-last images: a vector holds neighboring channels of a pixel.
//!
//! A register tile is some columns of an output row by one vector of channels. Every pixel of the input that it
//! needs has an address, found once for all channels; one beside the image is a row of zeros, rows above and below are
//! left out. A pixel is loaded once for all taps that read it, where there is code for the width of the kernel.

mod tile;

use super::Conv2dNhwc;
use super::conv::ZEROS;
use crate::kernels::linear::store::Start;
use crate::kernels::linear::tile::Heights;
use crate::kernels::linear::{Epilogue, Init, MatrixMut};
use crate::kernels::simd::Simd;
use tile::Tile;

/// Length of the packed weights of a channels-last depthwise convolution.
pub const fn depthwise_conv2d_nhwc_packed_len(problem: &Conv2dNhwc) -> usize {
    problem.taps() * problem.out_channels
}

/// Packs weights `[channels, 1, kernel height, kernel width]` as `[taps, channels]`.
///
/// # Panics
///
/// If `weights` is shorter than that or `packed` is shorter than [`depthwise_conv2d_nhwc_packed_len`].
pub fn pack_depthwise_conv2d_nhwc(problem: &Conv2dNhwc, weights: &[f32], packed: &mut [f32]) {
    let (taps, channels) = (problem.taps(), problem.out_channels);
    let len = depthwise_conv2d_nhwc_packed_len(problem);
    assert!(weights.len() >= len, "depthwise convolution: the weights are too short");
    assert!(
        packed.len() >= len,
        "depthwise convolution: the packed weights are too short"
    );
    for channel in 0..channels {
        for tap in 0..taps {
            packed[tap * channels + channel] = weights[channel * taps + tap];
        }
    }
}

/// Columns of the widest tile.
const COLUMNS: usize = 8;

/// Columns that a tile may have beyond those that it computes.
const SURPLUS: usize = 3;

/// Lines of a tile: input rows, or taps of kernels that have no code of their own.
const LINES: usize = 24;

/// Addresses that are found at a time, for as many columns of the output as they suffice for.
const ADDRESSES: usize = 1024;

/// Most rows of kernels that have code of their own.
const ROWS: usize = 9;

#[inline(always)]
pub(in crate::kernels::linear) fn depthwise_conv2d_nhwc<S: Simd>(
    isa: S,
    problem: &Conv2dNhwc,
    x: &[f32],
    w: &[f32],
    init: Init<'_>,
    y: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    problem.check(x, init, y);
    let channels = problem.out_channels;
    assert!(
        problem.groups == problem.in_channels && channels == problem.in_channels,
        "depthwise convolution: a group has more than one channel"
    );
    assert!(
        problem.x_channel == 1 || channels <= 1,
        "depthwise convolution: the channels of the input are not contiguous"
    );
    assert!(
        w.len() >= depthwise_conv2d_nhwc_packed_len(problem),
        "depthwise convolution: the weights are too short"
    );
    if problem.pixels() == 0 || channels == 0 {
        return;
    }
    let [kernel_y, kernel_x] = problem.kernel;
    let is_dense = problem.dilation[1] == 1 && kernel_y <= ROWS;
    match (kernel_x, problem.stride[1]) {
        (3, 1) if is_dense => rows::<S, 3, 1>(isa, problem, x, w, init, y, epilogue),
        (3, 2) if is_dense => rows::<S, 3, 2>(isa, problem, x, w, init, y, epilogue),
        (5, 1) if is_dense => rows::<S, 5, 1>(isa, problem, x, w, init, y, epilogue),
        (5, 2) if is_dense => rows::<S, 5, 2>(isa, problem, x, w, init, y, epilogue),
        (7, 1) if is_dense => rows::<S, 7, 1>(isa, problem, x, w, init, y, epilogue),
        _ => rows::<S, 1, 1>(isa, problem, x, w, init, y, epilogue),
    }
}

/// Computes all pixels with a kernel of `KX` dense columns and a stride of `SX` columns, or, if `KX` is 1, with any.
#[inline(always)]
fn rows<S: Simd, const KX: usize, const SX: usize>(
    isa: S,
    problem: &Conv2dNhwc,
    x: &[f32],
    w: &[f32],
    init: Init<'_>,
    y: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    let channels = problem.out_channels;
    let mut lines = Lines {
        problem,
        x,
        lines: [0; LINES],
        addresses: [ZEROS.as_ptr(); ADDRESSES],
        pitch: 0,
    };
    // Lines are put together by their number, so that the order of sums is the same for each pixel.
    let count = if KX > 1 { problem.kernel[0] } else { problem.taps() };
    let fitting = (ADDRESSES / count.clamp(1, LINES) - KX) / SX + 1 - SURPLUS;
    let fitting = fitting / COLUMNS * COLUMNS;
    for oy in 0..problem.out_height {
        for left in (0..problem.out_width).step_by(fitting) {
            let width = fitting.min(problem.out_width - left);
            for begin in (0..count.max(1)).step_by(LINES) {
                let end = count.min(begin + LINES);
                for channel in (0..channels).step_by(ZEROS.len()) {
                    let used = lines.find::<KX, SX>(begin..end, channel, [oy, left], width);
                    let mut ox = left;
                    for columns in Heights::up_to(width, COLUMNS) {
                        let pixel = oy * problem.out_width + ox;
                        let target = y[pixel * problem.y_pixel..].as_mut_ptr();
                        let start = match init {
                            _ if begin > 0 => Start::Matrix(target, problem.y_pixel),
                            Init::Zero => Start::Zero,
                            Init::Accumulate => Start::Matrix(target, problem.y_pixel),
                            Init::PerColumn(values) => Start::Matrix(values[..channels].as_ptr(), 0),
                            Init::PerRow(values) => Start::PerRow(values[pixel..].as_ptr()),
                        };
                        let tile = Tile {
                            lines: &lines.lines[..used],
                            addresses: &lines.addresses[(ox - left) * SX..],
                            pitch: lines.pitch,
                            w: w.as_ptr(),
                            channels,
                            range: channel..channels.min(channel + ZEROS.len()),
                            columns,
                            start,
                            target,
                            pixel: problem.y_pixel,
                            bounds: epilogue.bounds_if(end == count),
                        };
                        // SAFETY: `Conv2dNhwc::check` has found all pixels of the input and the output and all values of
                        // `init` within their slices, and the weights were found to be long enough. The addresses are
                        // those of such pixels of the input, or of as many zeros as the tile has channels.
                        unsafe { tile.run::<S, KX, SX>(isa) }
                        ox += columns;
                    }
                }
            }
        }
        if epilogue.is_apart() {
            let mut y = MatrixMut::new(y, problem.pixels(), channels, problem.y_pixel);
            let pixels = oy * problem.out_width..(oy + 1) * problem.out_width;
            epilogue.finish(&mut y, pixels, 0..channels);
        }
    }
}

/// Finds what the tiles of a part of an output row read.
struct Lines<'a> {
    problem: &'a Conv2dNhwc,
    x: &'a [f32],
    lines: [usize; LINES],
    addresses: [*const f32; ADDRESSES],
    /// Addresses of a line.
    pitch: usize,
}

impl Lines<'_> {
    /// Finds the lines with these numbers for `width` columns of the output from pixel `at` on, and for as many more as a
    /// tile may have beside them. Returns how many there are: those that are above or below the image are left out.
    ///
    /// An address is that of channel 0; one of zeros is as if the first were `channel`.
    #[inline(always)]
    fn find<const KX: usize, const SX: usize>(
        &mut self,
        numbers: core::ops::Range<usize>,
        channel: usize,
        [oy, ox]: [usize; 2],
        width: usize,
    ) -> usize {
        let problem = self.problem;
        let zeros = ZEROS.as_ptr().wrapping_sub(channel);
        let inputs = tile::inputs(KX, SX, width + SURPLUS);
        self.pitch = inputs;
        let mut used = 0;
        for number in numbers {
            let (ky, kx, step) = if KX > 1 {
                (number, 0, 1)
            } else {
                (
                    number / problem.kernel[1],
                    number % problem.kernel[1],
                    problem.stride[1],
                )
            };
            let y = (oy * problem.stride[0] + ky * problem.dilation[0]).wrapping_sub(problem.pad[0]);
            if y >= problem.in_height {
                continue;
            }
            let first = (ox * problem.stride[1] + kx * problem.dilation[1]).wrapping_sub(problem.pad[1]);
            let row = self.x.as_ptr().wrapping_add(y * problem.x_row);
            let addresses = &mut self.addresses[used * inputs..][..inputs];
            for (index, address) in addresses.iter_mut().enumerate() {
                let column = first.wrapping_add(index * step);
                *address = if column < problem.in_width {
                    row.wrapping_add(column * problem.x_column)
                } else {
                    zeros
                };
            }
            self.lines[used] = number * KX;
            used += 1;
        }
        used
    }
}
