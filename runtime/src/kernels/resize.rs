//! Interpolation of planes, as ONNX `Resize` defines it.
//!
//! Coordinates are computed in `f32`, so that ties of the nearest element fall as in other implementations.

#[cfg(test)]
mod tests;

use super::simd::Simd;
use crate::isa::{Isa, kernel_table};
use crate::math;
use crate::team::{Compute, Team};

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

/// A resizing of dense planes.
#[derive(Clone, Copy, Debug)]
pub struct Resize {
    /// The number of planes.
    pub planes: usize,
    /// Height and width of an input plane.
    pub input: [usize; 2],
    /// Height and width of an output plane.
    pub output: [usize; 2],
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
        /// If a length differs from the product of its shape, or the output has elements and the input has none.
        fn resize_nearest(out: &mut [f32], input: &[f32], resize: &Resize, rounding: Rounding)
            = resize_nearest, divided by resize_nearest_parts;

        /// Linear interpolation between the two nearest elements of each axis.
        ///
        /// # Panics
        ///
        /// As for `resize_nearest`.
        fn resize_linear(out: &mut [f32], input: &[f32], resize: &Resize)
            = resize_linear, divided by resize_linear_parts;

        /// Cubic interpolation between the four nearest elements of each axis.
        ///
        /// # Panics
        ///
        /// As for `resize_nearest`.
        fn resize_cubic(out: &mut [f32], input: &[f32], resize: &Resize, cubic: Cubic)
            = resize_cubic, divided by resize_cubic_parts;
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
        let product = |shape: [usize; 2]| self.planes * shape[0] * shape[1];
        assert!(
            out == product(self.output),
            "the output of a resize has another length than its shape"
        );
        assert!(
            input == product(self.input),
            "the input of a resize has another length than its shape"
        );
        assert!(out == 0 || input > 0, "there is nothing to resize");
        out > 0
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

    /// Interpolates with `N` elements of each axis.
    #[inline(always)]
    fn interpolate<const N: usize>(&self, out: &mut [f32], input: &[f32], taps: impl Fn(usize, usize) -> Taps<N>) {
        let ([height, width], [out_height, out_width]) = (self.input, self.output);
        let mut columns = [Taps {
            indices: [0; N],
            weights: [0.0; N],
        }; COLUMNS];
        for first in (0..out_width).step_by(COLUMNS) {
            let len = COLUMNS.min(out_width - first);
            let columns = &mut columns[..len];
            columns
                .iter_mut()
                .enumerate()
                .for_each(|(offset, column)| *column = taps(1, first + offset));
            for oy in 0..out_height {
                let row = taps(0, oy);
                for (plane, target) in input.chunks(height * width).zip(out.chunks_mut(out_height * out_width)) {
                    let target = &mut target[oy * out_width + first..][..len];
                    let rows = row.indices.map(|index| &plane[index * width..][..width]);
                    for (target, column) in target.iter_mut().zip(&*columns) {
                        let mut sum = 0.0;
                        for (elements, weight) in rows.iter().zip(row.weights) {
                            let mut inner = 0.0;
                            for (&index, weight) in column.indices.iter().zip(column.weights) {
                                inner += elements[index] * weight;
                            }
                            sum += inner * weight;
                        }
                        *target = sum;
                    }
                }
            }
        }
    }
}

/// Calls `planes` with an equal share of the planes for each part, of the output and of the input.
fn divide<S: Isa>(
    team: Team<'_, S>,
    out: &mut [f32],
    input: &[f32],
    resize: &Resize,
    planes: impl Fn(&mut [f32], &[f32], &Resize) + Sync,
) {
    if !resize.check(out.len(), input.len()) {
        return;
    }
    let share = team.share(resize.planes);
    let plane = |shape: [usize; 2]| share * shape[0] * shape[1];
    let pieces = out
        .chunks_mut(plane(resize.output))
        .zip(input.chunks(plane(resize.input)));
    team.each(pieces, |index, (out, input)| {
        let part = Resize {
            planes: share.min(resize.planes - index * share),
            ..*resize
        };
        planes(out, input, &part);
    });
}

fn resize_nearest_parts<S: Isa>(
    team: Team<'_, S>,
    out: &mut [f32],
    input: &[f32],
    resize: &Resize,
    rounding: Rounding,
) {
    divide(team, out, input, resize, |out, input, part| {
        team.isa().resize_nearest(out, input, part, rounding);
    });
}

fn resize_linear_parts<S: Isa>(team: Team<'_, S>, out: &mut [f32], input: &[f32], resize: &Resize) {
    divide(team, out, input, resize, |out, input, part| {
        team.isa().resize_linear(out, input, part)
    });
}

fn resize_cubic_parts<S: Isa>(team: Team<'_, S>, out: &mut [f32], input: &[f32], resize: &Resize, cubic: Cubic) {
    divide(team, out, input, resize, |out, input, part| {
        team.isa().resize_cubic(out, input, part, cubic)
    });
}

#[inline(always)]
fn resize_nearest<S: Simd>(_isa: S, out: &mut [f32], input: &[f32], resize: &Resize, rounding: Rounding) {
    if !resize.check(out.len(), input.len()) {
        return;
    }
    let ([height, width], [out_height, out_width]) = (resize.input, resize.output);
    let mut columns = [0; COLUMNS];
    for first in (0..out_width).step_by(COLUMNS) {
        let len = COLUMNS.min(out_width - first);
        let columns = &mut columns[..len];
        columns
            .iter_mut()
            .enumerate()
            .for_each(|(offset, x)| *x = resize.nearest(1, first + offset, rounding));
        for (plane, target) in input.chunks(height * width).zip(out.chunks_mut(out_height * out_width)) {
            let mut previous = None;
            for oy in 0..out_height {
                let y = resize.nearest(0, oy, rounding);
                let start = oy * out_width + first;
                // A row that repeats is copied.
                if previous == Some(y) {
                    target.copy_within(start - out_width..start - out_width + len, start);
                    continue;
                }
                previous = Some(y);
                let row = &plane[y * width..][..width];
                for (target, &x) in target[start..][..len].iter_mut().zip(&*columns) {
                    *target = row[x];
                }
            }
        }
    }
}

#[inline(always)]
fn resize_linear<S: Simd>(_isa: S, out: &mut [f32], input: &[f32], resize: &Resize) {
    if resize.check(out.len(), input.len()) {
        resize.interpolate(out, input, |axis, index| resize.linear(axis, index));
    }
}

#[inline(always)]
fn resize_cubic<S: Simd>(_isa: S, out: &mut [f32], input: &[f32], resize: &Resize, cubic: Cubic) {
    if resize.check(out.len(), input.len()) {
        resize.interpolate(out, input, |axis, index| resize.cubic(axis, index, cubic));
    }
}
