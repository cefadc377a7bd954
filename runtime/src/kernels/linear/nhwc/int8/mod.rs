//! Convolutions of channels-last images of unsigned numbers with signed weights, of 8 bits each.
//!
//! A few rows of the image are copied at a time, with a number of the caller's around them: the zero point, for quantized
//! images.

mod conv;
mod depthwise;
#[cfg(test)]
mod tests;

pub use conv::{
    conv2d_nhwc_int8_packed_len, conv2d_nhwc_int8_scratch, conv2d_nhwc_int8_scratch_min, conv2d_nhwc_int8_time,
    pack_conv2d_nhwc_int8,
};
pub use depthwise::{depthwise_conv2d_nhwc_int8_packed_len, pack_depthwise_conv2d_nhwc_int8};

pub(in crate::kernels::linear) use conv::{conv2d_nhwc_int8, conv2d_nhwc_int8_part, conv2d_nhwc_int8_parts};
pub(in crate::kernels::linear) use depthwise::{
    depthwise_conv2d_nhwc_int8, depthwise_conv2d_nhwc_int8_part, depthwise_conv2d_nhwc_int8_parts,
};

use super::Conv2dNhwc;
use crate::isa::Isa;
use crate::kernels::linear::Sink;
use crate::kernels::linear::int8::{Share, SinkPart};
use crate::kernels::linear::share::shares;
use crate::team::Team;

/// Bytes of scratch in a number of `f32`.
const BYTES: usize = size_of::<f32>();

/// Scratch as bytes.
fn bytes_of(scratch: &mut [f32]) -> &mut [u8] {
    // SAFETY: bytes are of no alignment, any of them are numbers of either type, and there are as many as in the slice.
    unsafe { core::slice::from_raw_parts_mut(scratch.as_mut_ptr().cast(), size_of_val(scratch)) }
}

/// What a part of a divided convolution computes with.
struct Part<'a> {
    problem: Conv2dNhwc,
    /// The input from where the part begins.
    x: &'a [u8],
    /// The first of its output channels.
    column: usize,
    y: SinkPart<'a>,
    scratch: &'a mut [f32],
}

/// Divides the rows of the output, the columns of its only row, or its channels if there is one group, into parts with at
/// least `needed` values of scratch.
fn divide<S: Isa>(
    team: Team<'_, S>,
    problem: &Conv2dNhwc,
    x: &[u8],
    y: Sink<'_>,
    scratch: &mut [f32],
    needed: usize,
    run: impl Fn(Part<'_>) + Sync,
) {
    problem.check_input(x.len());
    let (pixels, channels) = (problem.pixels(), problem.out_channels);
    let (axis, unit, count) = problem.divided();
    if pixels == 0 || channels == 0 {
        return;
    }
    let room = scratch.len().checked_div(needed).unwrap_or(usize::MAX);
    let team = team.parts(team.count(room));
    let by = match problem.groups {
        1 => shares(pixels, channels, unit, |units| team.share(units)),
        _ => (team.share(count) * unit, channels),
    };
    let parts = pixels.div_ceil(by.0) * channels.div_ceil(by.1);
    let scratch = scratch.chunks_mut((scratch.len() / parts).max(1));
    let scratch = scratch.chain(core::iter::repeat_with(Default::default));
    let shape = [pixels, channels, problem.y_pixel];
    y.divide(team, shape, by.into(), scratch, |Share { at, sink, extra }| {
        let (part, skipped) = problem.part(axis, at.row / unit, sink.rows() / unit);
        run(Part {
            problem: Conv2dNhwc {
                out_channels: sink.columns(),
                ..part
            },
            x: x.get(skipped..).unwrap_or_default(),
            column: at.column,
            y: sink,
            scratch: extra,
        });
    });
}
