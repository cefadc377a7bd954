//! Convolution of channels-last images.

use super::Conv2dNhwc;
use crate::kernels::linear::{Epilogue, Init, PANEL_COLUMNS, Position, packed_rhs_len};
use crate::kernels::simd::Simd;

/// Length of the packed weights of a channels-last convolution.
pub const fn conv2d_nhwc_packed_len(problem: &Conv2dNhwc) -> usize {
    problem.groups * packed_rhs_len(problem.depth(), problem.group_out())
}

/// Values of scratch that a channels-last convolution needs.
pub const fn conv2d_nhwc_scratch(_problem: &Conv2dNhwc) -> usize {
    0
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
            for (lane, filter) in weights[first * depth..]
                .chunks_exact(depth)
                .take(PANEL_COLUMNS)
                .enumerate()
            {
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
pub(in crate::kernels::linear) fn conv2d_nhwc<S: Simd>(
    _isa: S,
    problem: &Conv2dNhwc,
    x: &[f32],
    w: &[f32],
    init: Init<'_>,
    y: &mut [f32],
    _scratch: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    problem.check(x, init, y);
    assert!(
        w.len() >= conv2d_nhwc_packed_len(problem),
        "convolution: the weights are too short"
    );
    let (inputs, outputs, depth) = (problem.group_in(), problem.group_out(), problem.depth());
    let len = packed_rhs_len(depth, outputs);
    for pixel in 0..problem.pixels() {
        let (oy, ox) = (pixel / problem.out_width, pixel % problem.out_width);
        for channel in 0..problem.out_channels {
            let (group, column) = (channel / outputs, channel % outputs);
            let panel = &w[group * len + column / PANEL_COLUMNS * depth * PANEL_COLUMNS..];
            let value = &mut y[pixel * problem.y_pixel + channel];
            let mut sum = match init {
                Init::Zero => 0.0,
                Init::PerColumn(values) => values[channel],
                Init::PerRow(values) => values[pixel],
                Init::Accumulate => *value,
            };
            for tap in 0..problem.taps() {
                let (ky, kx) = (tap / problem.kernel[1], tap % problem.kernel[1]);
                let iy = (oy * problem.stride[0] + ky * problem.dilation[0]).wrapping_sub(problem.pad[0]);
                let ix = (ox * problem.stride[1] + kx * problem.dilation[1]).wrapping_sub(problem.pad[1]);
                if iy < problem.in_height && ix < problem.in_width {
                    for c in 0..inputs {
                        let at = (group * inputs + c) * problem.x_channel + iy * problem.x_row + ix * problem.x_column;
                        let weight = panel[(tap * inputs + c) * PANEL_COLUMNS + column % PANEL_COLUMNS];
                        sum += x[at] * weight;
                    }
                }
            }
            *value = sum;
        }
        if let Some(epilogue) = epilogue {
            let run = &mut y[pixel * problem.y_pixel..][..problem.out_channels];
            epilogue(run, Position { row: pixel, column: 0 });
        }
    }
}
