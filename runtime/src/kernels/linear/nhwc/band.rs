//! A few rows of an image, copied channels last with the zeros around them.

use super::Conv2dNhwc;
use crate::kernels::linear::min;
use core::ops::Range;

/// Values of a band: a part of a first level cache.
const VALUES: usize = 8 * 1024;

/// Values of a band whose weights are many: a part of a second level cache, so that they are read a few times only.
const MANY_VALUES: usize = 48 * 1024;

/// Weights up to which they are few.
const WEIGHTS: usize = 32 * 1024;

/// Values of a row of a band.
const fn pitch(problem: &Conv2dNhwc) -> usize {
    problem.span(1, problem.out_width).saturating_mul(problem.in_channels)
}

/// Values of the band that `rows` rows of the output see.
pub(super) const fn band_values(problem: &Conv2dNhwc, rows: usize) -> usize {
    if problem.out_height == 0 || problem.out_width == 0 {
        return 0;
    }
    problem.span(0, rows).saturating_mul(pitch(problem))
}

/// Rows of the output, at least one, that are computed from a band with `room` values of scratch.
pub(super) const fn band_rows(problem: &Conv2dNhwc, room: usize) -> usize {
    let weights = problem.depth().saturating_mul(problem.out_channels);
    let room = min(room, if weights > WEIGHTS { MANY_VALUES } else { VALUES });
    let (one, pitch) = (band_values(problem, 1), pitch(problem));
    // Rows that follow the first see as much more.
    match room
        .saturating_sub(one)
        .checked_div(pitch.saturating_mul(problem.stride[0]))
    {
        Some(more) => min(more + 1, if problem.out_height > 1 { problem.out_height } else { 1 }),
        None => 1,
    }
}

/// The rows of an image that some rows of the output see.
pub(super) struct Band<'a> {
    problem: &'a Conv2dNhwc,
    x: &'a [f32],
    values: &'a mut [f32],
    /// The rows of the padded image that the band holds.
    held: Range<usize>,
}

impl<'a> Band<'a> {
    /// An empty band in scratch, of an image that `Conv2dNhwc::check_operands` has found long enough.
    pub(super) fn new(problem: &'a Conv2dNhwc, x: &'a [f32], scratch: &'a mut [f32]) -> Band<'a> {
        Band {
            problem,
            x,
            values: scratch,
            held: 0..0,
        }
    }

    /// Copies what `count` rows of the output from row `first` on see. Returns the convolution that computes them from the
    /// band, all of whose taps are inside, and the band. `first` must not decrease.
    #[inline(always)]
    pub(super) fn fill(&mut self, first: usize, count: usize) -> (Conv2dNhwc, &[f32]) {
        let (problem, pitch) = (self.problem, pitch(self.problem));
        let start = first * problem.stride[0];
        let sees = start..start + problem.span(0, count);
        let kept = self.held.end.saturating_sub(sees.start).min(sees.len());
        if kept > 0 {
            let from = (sees.start - self.held.start) * pitch;
            self.values.copy_within(from..from + kept * pitch, 0);
        }
        self.held = sees.clone();
        let rows = self.values[..sees.len() * pitch].chunks_exact_mut(pitch.max(1));
        for (row, values) in sees.clone().zip(rows).skip(kept) {
            copy_row(problem, self.x, row.wrapping_sub(problem.pad[0]), values);
        }
        let part = Conv2dNhwc {
            in_height: sees.len(),
            in_width: problem.span(1, problem.out_width),
            out_height: count,
            pad: [0, 0],
            x_channel: 1,
            x_row: pitch,
            x_column: problem.in_channels,
            ..*problem
        };
        (part, &self.values[..sees.len() * pitch])
    }
}

/// Copies a row of an image with the zeros beside it; one that the image does not have is zeros.
#[inline(always)]
fn copy_row(problem: &Conv2dNhwc, x: &[f32], row: usize, values: &mut [f32]) {
    let (channels, pad) = (problem.in_channels, problem.pad[1]);
    if row >= problem.in_height || channels == 0 {
        return values.fill(0.0);
    }
    let before = (pad * channels).min(values.len());
    let (zeros, values) = values.split_at_mut(before);
    zeros.fill(0.0);
    let inside = (problem.in_width * channels).min(values.len());
    let (values, zeros) = values.split_at_mut(inside);
    zeros.fill(0.0);
    let x = &x[row * problem.x_row..];
    if problem.x_channel == 1 && problem.x_column == channels {
        values.copy_from_slice(&x[..inside]);
    } else if problem.x_column == 1 {
        match channels {
            1 => values.copy_from_slice(&x[..inside]),
            2 => interleave::<2>(x, problem.x_channel, values),
            3 => interleave::<3>(x, problem.x_channel, values),
            4 => interleave::<4>(x, problem.x_channel, values),
            _ => gather(problem, x, values),
        }
    } else {
        gather(problem, x, values);
    }
}

/// Writes the elements of `CHANNELS` planes side by side, in a loop that is vectorized.
#[inline(always)]
fn interleave<const CHANNELS: usize>(x: &[f32], plane: usize, values: &mut [f32]) {
    let pixels = values.len() / CHANNELS;
    let planes: [&[f32]; CHANNELS] = core::array::from_fn(|channel| &x[channel * plane..][..pixels]);
    for (pixel, values) in values.chunks_exact_mut(CHANNELS).enumerate() {
        for channel in 0..CHANNELS {
            values[channel] = planes[channel][pixel];
        }
    }
}

/// Writes the channels of pixels of any strides side by side.
#[inline(always)]
fn gather(problem: &Conv2dNhwc, x: &[f32], values: &mut [f32]) {
    for (pixel, values) in values.chunks_exact_mut(problem.in_channels).enumerate() {
        for (channel, value) in values.iter_mut().enumerate() {
            *value = x[pixel * problem.x_column + channel * problem.x_channel];
        }
    }
}
