//! Depthwise convolution of channels-last images.

use super::Conv2dNhwc;
use crate::kernels::linear::{Epilogue, Init, Position};
use crate::kernels::simd::Simd;

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

#[inline(always)]
pub(in crate::kernels::linear) fn depthwise_conv2d_nhwc<S: Simd>(
    _isa: S,
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
    for pixel in 0..problem.pixels() {
        let (oy, ox) = (pixel / problem.out_width, pixel % problem.out_width);
        let run = &mut y[pixel * problem.y_pixel..][..channels];
        match init {
            Init::Zero => run.fill(0.0),
            Init::PerColumn(values) => run.copy_from_slice(&values[..channels]),
            Init::PerRow(values) => run.fill(values[pixel]),
            Init::Accumulate => {}
        }
        for tap in 0..problem.taps() {
            let (ky, kx) = (tap / problem.kernel[1], tap % problem.kernel[1]);
            let iy = (oy * problem.stride[0] + ky * problem.dilation[0]).wrapping_sub(problem.pad[0]);
            let ix = (ox * problem.stride[1] + kx * problem.dilation[1]).wrapping_sub(problem.pad[1]);
            if iy < problem.in_height && ix < problem.in_width {
                let x = &x[iy * problem.x_row + ix * problem.x_column..][..channels];
                for ((sum, &x), &w) in run.iter_mut().zip(x).zip(&w[tap * channels..]) {
                    *sum += x * w;
                }
            }
        }
        if let Some(epilogue) = epilogue {
            epilogue(run, Position { row: pixel, column: 0 });
        }
    }
}
