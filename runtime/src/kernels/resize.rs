//! Interpolation of images, as ONNX `Resize` defines it: planes, or pixels whose channels are contiguous.
//!
//! Coordinates are computed in `f32`, so that ties of the nearest element fall as in other implementations.

#[cfg(test)]
mod tests;

use super::linear::extent;
use super::simd::Simd;
use crate::isa::{Isa, kernel_table};
use crate::math;
use crate::team::{Compute, Team};
use core::ops::Range;

/// Which input coordinate belongs to an output coordinate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coordinates {
    /// Centers of elements belong together: `(x + 1/2) / scale - 1/2`.
    HalfPixel,
    /// As `HalfPixel`, but 0 for an output axis of size 1.
    PytorchHalfPixel,
    /// First elements belong together: `x / scale`.
    Asymmetric,
    /// First and last elements belong together: `x (input - 1) / (output - 1)`.
    AlignCorners,
}

/// How a coordinate becomes the index of the nearest element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To nearest, ties down.
    PreferFloor,
    /// To nearest, ties up.
    PreferCeil,
    /// Down.
    Floor,
    /// Up.
    Ceil,
}

/// The cubic convolution of Keys, *Cubic Convolution Interpolation for Digital Image Processing* (1981).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cubic {
    /// The parameter `a`, usually -0.75 or -0.5.
    pub coefficient: f32,
    /// Whether elements outside of the plane have weight 0 instead of being the nearest inside.
    pub exclude_outside: bool,
}

/// A resizing of dense images.
#[derive(Clone, Copy, Debug)]
pub struct Resize {
    /// The number of images.
    pub images: usize,
    /// Contiguous values of a pixel; 1 where every image is a plane.
    pub channels: usize,
    /// Height and width of an input image.
    pub input: [usize; 2],
    /// Height and width of an output image.
    pub output: [usize; 2],
    /// Elements between pixels of the output; at least `channels`.
    pub y_pixel: usize,
    /// The scales, where the model states them; else the ratio of the sizes.
    pub scales: Option<[f32; 2]>,
    /// Which input coordinate belongs to an output coordinate.
    pub coordinates: Coordinates,
}

kernel_table! {
    /// Interpolation.
    pub trait Resizing {
        /// The nearest element.
        ///
        /// # Panics
        ///
        /// If a length differs from that of its shape, pixels of the output overlap, or the output has elements and the
        /// input has none.
        fn resize_nearest(out: &mut [f32], input: &[f32], resize: &Resize, rounding: Rounding)
            = resize_nearest, divided by resize_nearest_parts;

        #[doc(hidden)]
        fn resize_nearest_lines(
            out: &mut [f32], input: &[f32], resize: &Resize, rounding: Rounding, lines: Range<usize>,
        ) = resize_nearest_lines;

        /// Linear interpolation between the two nearest elements of each axis.
        ///
        /// # Panics
        ///
        /// As for `resize_nearest`.
        fn resize_linear(out: &mut [f32], input: &[f32], resize: &Resize)
            = resize_linear, divided by resize_linear_parts;

        #[doc(hidden)]
        fn resize_linear_lines(out: &mut [f32], input: &[f32], resize: &Resize, lines: Range<usize>)
            = resize_linear_lines;

        /// Cubic interpolation between the four nearest elements of each axis.
        ///
        /// # Panics
        ///
        /// As for `resize_nearest`.
        fn resize_cubic(out: &mut [f32], input: &[f32], resize: &Resize, cubic: Cubic)
            = resize_cubic, divided by resize_cubic_parts;

        #[doc(hidden)]
        fn resize_cubic_lines(out: &mut [f32], input: &[f32], resize: &Resize, cubic: Cubic, lines: Range<usize>)
            = resize_cubic_lines;
    }
}

/// The number of output columns whose sources are computed at once.
const COLUMNS: usize = 128;

/// The elements of an axis that an output element is made of.
#[derive(Clone, Copy, Debug)]
struct Taps<const N: usize> {
    indices: [usize; N],
    weights: [f32; N],
}

impl Resize {
    /// Whether there is something to do.
    fn check(&self, out: usize, input: usize) -> bool {
        let pixels = |shape: [usize; 2]| self.images * shape[0] * shape[1];
        assert!(
            self.y_pixel >= self.channels || pixels(self.output) <= 1,
            "the pixels of the output of a resize overlap"
        );
        assert!(
            out == extent([(pixels(self.output), self.y_pixel), (self.channels, 1)]),
            "the output of a resize has another length than its shape"
        );
        assert!(
            input == pixels(self.input) * self.channels,
            "the input of a resize has another length than its shape"
        );
        assert!(out == 0 || input > 0, "there is nothing to resize");
        out > 0
    }

    /// The rows of all output images.
    fn lines(&self) -> Range<usize> {
        0..self.images * self.output[0]
    }

    /// Elements between rows of the output.
    fn line(&self) -> usize {
        self.output[1] * self.y_pixel
    }

    /// The rows of an input image.
    #[inline(always)]
    fn image<'a>(&self, input: &'a [f32], image: usize) -> impl Fn(usize) -> &'a [f32] {
        let row = self.input[1] * self.channels;
        let rows = &input[image * self.input[0] * row..][..self.input[0] * row];
        move |index| &rows[index * row..][..row]
    }

    #[inline(always)]
    fn source(&self, axis: usize, index: usize) -> f32 {
        let (input, output) = (self.input[axis] as f32, self.output[axis] as f32);
        let scale = self.scales.map_or(output / input, |scales| scales[axis]);
        let index = index as f32;
        match self.coordinates {
            Coordinates::PytorchHalfPixel | Coordinates::AlignCorners if self.output[axis] == 1 => 0.0,
            Coordinates::HalfPixel | Coordinates::PytorchHalfPixel => (index + 0.5) / scale - 0.5,
            Coordinates::Asymmetric => index / scale,
            Coordinates::AlignCorners => index * (input - 1.0) / (output - 1.0),
        }
    }

    fn held(&self, axis: usize, index: f32) -> usize {
        (index as i64).clamp(0, self.input[axis] as i64 - 1) as usize
    }

    fn nearest(&self, axis: usize, index: usize, rounding: Rounding) -> usize {
        let x = self.source(axis, index);
        let floor = math::floor(x);
        let up = match rounding {
            Rounding::PreferFloor => x - floor > 0.5,
            Rounding::PreferCeil => x - floor >= 0.5,
            Rounding::Floor => false,
            Rounding::Ceil => x > floor,
        };
        self.held(axis, if up { floor + 1.0 } else { floor })
    }

    fn linear(&self, axis: usize, index: usize) -> Taps<2> {
        let x = math::min(math::max(self.source(axis, index), 0.0), (self.input[axis] - 1) as f32);
        let floor = math::floor(x);
        let (low, weight) = (self.held(axis, floor), x - floor);
        if weight > 0.0 {
            Taps {
                indices: [low, self.held(axis, floor + 1.0)],
                weights: [1.0 - weight, weight],
            }
        } else {
            // The other neighbor, which may be infinite, does not matter.
            Taps {
                indices: [low; 2],
                weights: [0.5; 2],
            }
        }
    }

    fn cubic(&self, axis: usize, index: usize, cubic: Cubic) -> Taps<4> {
        let (x, a) = (self.source(axis, index), cubic.coefficient);
        let floor = math::floor(x);
        let t = x - floor;
        let near = |d: f32| ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0;
        let far = |d: f32| a * (((d - 5.0) * d + 8.0) * d - 4.0);
        let mut taps = Taps {
            indices: [0; 4],
            weights: [far(1.0 + t), near(t), near(1.0 - t), far(2.0 - t)],
        };
        for tap in 0..4 {
            let at = floor + tap as f32 - 1.0;
            taps.indices[tap] = self.held(axis, at);
            if cubic.exclude_outside && !(at >= 0.0 && at < self.input[axis] as f32) {
                taps.weights[tap] = 0.0;
            }
        }
        if cubic.exclude_outside {
            let total: f32 = taps.weights.iter().sum();
            taps.weights.iter_mut().for_each(|weight| *weight /= total);
        }
        taps
    }

    /// Interpolates rows of the output with `N` elements of each axis.
    #[inline(always)]
    fn interpolate<const N: usize>(
        &self,
        out: &mut [f32],
        input: &[f32],
        lines: Range<usize>,
        taps: impl Fn(usize, usize) -> Taps<N>,
    ) {
        let mut columns = [Taps {
            indices: [0; N],
            weights: [0.0; N],
        }; COLUMNS];
        for first in (0..self.output[1]).step_by(COLUMNS) {
            let len = COLUMNS.min(self.output[1] - first);
            let columns = &mut columns[..len];
            columns
                .iter_mut()
                .enumerate()
                .for_each(|(offset, column)| *column = taps(1, first + offset));
            for (line, target) in lines.clone().zip(out.chunks_mut(self.line())) {
                let row = taps(0, line % self.output[0]);
                let rows = row.indices.map(self.image(input, line / self.output[0]));
                let target = &mut target[first * self.y_pixel..];
                if self.y_pixel == 1 {
                    for (target, column) in target.iter_mut().zip(&*columns) {
                        *target = weighted(&row, column, |y, x| rows[y][column.indices[x]]);
                    }
                    continue;
                }
                for (target, column) in target.chunks_mut(self.y_pixel).zip(&*columns) {
                    let target = &mut target[..self.channels];
                    let pixels = rows.map(|row| column.indices.map(|x| &row[x * self.channels..][..self.channels]));
                    for (channel, target) in target.iter_mut().enumerate() {
                        *target = weighted(&row, column, |y, x| pixels[y][x][channel]);
                    }
                }
            }
        }
    }
}

/// The sum over both axes of values with their weights.
#[inline(always)]
fn weighted<const N: usize>(row: &Taps<N>, column: &Taps<N>, value: impl Fn(usize, usize) -> f32) -> f32 {
    let mut sum = 0.0;
    for y in 0..N {
        let mut inner = 0.0;
        for x in 0..N {
            inner += value(y, x) * column.weights[x];
        }
        sum += inner * row.weights[y];
    }
    sum
}

/// Calls `run` for an equal share of the rows of all images for each part, with the output from where they begin.
fn divide<S: Isa>(
    team: Team<'_, S>,
    out: &mut [f32],
    input: &[f32],
    resize: &Resize,
    run: impl Fn(&mut [f32], Range<usize>) + Sync,
) {
    if !resize.check(out.len(), input.len()) {
        return;
    }
    let end = resize.lines().end;
    let share = team.share(end);
    let pieces = out.chunks_mut(share * resize.line());
    team.each(pieces, |index, out| {
        run(out, index * share..end.min((index + 1) * share))
    });
}

fn resize_nearest_parts<S: Isa>(
    team: Team<'_, S>,
    out: &mut [f32],
    input: &[f32],
    resize: &Resize,
    rounding: Rounding,
) {
    divide(team, out, input, resize, |out, lines| {
        team.isa().resize_nearest_lines(out, input, resize, rounding, lines);
    });
}

fn resize_linear_parts<S: Isa>(team: Team<'_, S>, out: &mut [f32], input: &[f32], resize: &Resize) {
    divide(team, out, input, resize, |out, lines| {
        team.isa().resize_linear_lines(out, input, resize, lines)
    });
}

fn resize_cubic_parts<S: Isa>(team: Team<'_, S>, out: &mut [f32], input: &[f32], resize: &Resize, cubic: Cubic) {
    divide(team, out, input, resize, |out, lines| {
        team.isa().resize_cubic_lines(out, input, resize, cubic, lines)
    });
}

#[inline(always)]
fn resize_nearest<S: Simd>(isa: S, out: &mut [f32], input: &[f32], resize: &Resize, rounding: Rounding) {
    if resize.check(out.len(), input.len()) {
        resize_nearest_lines(isa, out, input, resize, rounding, resize.lines());
    }
}

#[inline(always)]
fn resize_linear<S: Simd>(isa: S, out: &mut [f32], input: &[f32], resize: &Resize) {
    if resize.check(out.len(), input.len()) {
        resize_linear_lines(isa, out, input, resize, resize.lines());
    }
}

#[inline(always)]
fn resize_cubic<S: Simd>(isa: S, out: &mut [f32], input: &[f32], resize: &Resize, cubic: Cubic) {
    if resize.check(out.len(), input.len()) {
        resize_cubic_lines(isa, out, input, resize, cubic, resize.lines());
    }
}

#[inline(always)]
fn resize_nearest_lines<S: Simd>(
    _isa: S,
    out: &mut [f32],
    input: &[f32],
    resize: &Resize,
    rounding: Rounding,
    lines: Range<usize>,
) {
    let &Resize {
        channels,
        output: [out_height, out_width],
        y_pixel,
        ..
    } = resize;
    let mut columns = [0; COLUMNS];
    for first in (0..out_width).step_by(COLUMNS) {
        let len = COLUMNS.min(out_width - first);
        let columns = &mut columns[..len];
        columns
            .iter_mut()
            .enumerate()
            .for_each(|(offset, x)| *x = resize.nearest(1, first + offset, rounding));
        let mut previous = None;
        for (index, line) in lines.clone().enumerate() {
            let (image, oy) = (line / out_height, line % out_height);
            let source = (image, resize.nearest(0, oy, rounding));
            let start = (index * out_width + first) * y_pixel;
            // A row that repeats is copied, unless there are values of others between its pixels.
            if previous == Some(source) && y_pixel == channels {
                let before = start - resize.line();
                out.copy_within(before..before + len * channels, start);
                continue;
            }
            previous = Some(source);
            let row = resize.image(input, image)(source.1);
            let target = &mut out[start..];
            if y_pixel == 1 {
                for (target, &x) in target.iter_mut().zip(&*columns) {
                    *target = row[x];
                }
                continue;
            }
            for (target, &x) in target.chunks_mut(y_pixel).zip(&*columns) {
                target[..channels].copy_from_slice(&row[x * channels..][..channels]);
            }
        }
    }
}

#[inline(always)]
fn resize_linear_lines<S: Simd>(_isa: S, out: &mut [f32], input: &[f32], resize: &Resize, lines: Range<usize>) {
    resize.interpolate(out, input, lines, |axis, index| resize.linear(axis, index));
}

#[inline(always)]
fn resize_cubic_lines<S: Simd>(
    _isa: S,
    out: &mut [f32],
    input: &[f32],
    resize: &Resize,
    cubic: Cubic,
    lines: Range<usize>,
) {
    resize.interpolate(out, input, lines, |axis, index| resize.cubic(axis, index, cubic));
}
