//! Depthwise convolution, one channel at a time.
//!
//! A strip of a channel is copied into scratch with its padding and split into phases: phase `(ry, rx)` holds the
//! elements `(stride_y * y + ry, stride_x * x + rx)` of the padded image as a dense plane. A tap then reads one phase
//! at a constant distance from the output position, whatever the stride, the dilation and the padding are, so that
//! the sum over taps runs over whole vectors of consecutive positions. Narrow rows are computed together with the
//! positions between them, which are dropped.

use super::conv::Conv2d;
use super::{Epilogue, Init, Position, extent};
use crate::kernels::simd::Simd;

/// Values that a strip should fit, half of a first level cache.
const STRIP: usize = 6144;

/// Most values that are computed at once, and so the most that may be read past the end of a strip.
const CHUNK: usize = 128;

/// The strip of a channel in scratch.
#[derive(Clone, Copy)]
struct Strip {
    /// Output rows.
    rows: usize,
    /// Rows of a phase.
    height: usize,
    /// Columns of a phase.
    width: usize,
}

impl Strip {
    const fn new(problem: &Conv2d) -> Strip {
        let [kernel_y, kernel_x] = problem.kernel;
        let below = kernel_y.saturating_sub(1) * problem.dilation[0] / problem.stride[0];
        let beyond = kernel_x.saturating_sub(1) * problem.dilation[1] / problem.stride[1];
        let width = problem.out_width + beyond;
        let fitting = STRIP / (width * problem.stride[0] * problem.stride[1] + 1);
        let mut rows = fitting.saturating_sub(below);
        if rows == 0 {
            rows = 1;
        }
        if rows > problem.out_height {
            rows = problem.out_height;
        }
        Strip {
            rows,
            height: rows + below,
            width,
        }
    }
}

/// Values of scratch that a depthwise convolution needs.
pub const fn depthwise_conv2d_scratch(problem: &Conv2d) -> usize {
    let strip = Strip::new(problem);
    strip.height * strip.width * problem.stride[0] * problem.stride[1] + CHUNK
}

#[inline(always)]
pub(super) fn depthwise_conv2d<S: Simd>(
    isa: S,
    problem: &Conv2d,
    x: &[f32],
    w: &[f32],
    init: Init<'_>,
    y: &mut [f32],
    scratch: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    problem.check(x, init, y);
    assert!(
        problem.groups == problem.in_channels,
        "depthwise convolution: a group has more than one channel"
    );
    let taps = problem.taps();
    assert!(
        w.len() >= problem.out_channels * taps,
        "depthwise convolution: the weights are too short"
    );
    assert!(
        scratch.len() >= depthwise_conv2d_scratch(problem),
        "depthwise convolution: the scratch is too short"
    );
    let (pixels, out_width) = (problem.pixels(), problem.out_width);
    if pixels == 0 {
        return;
    }
    let multiplier = problem.out_channels / problem.groups;
    let shape = Strip::new(problem);
    for in_channel in 0..problem.in_channels {
        let x = &x[extent([(in_channel + 1, problem.x_channel)]) - 1..];
        let mut oy = 0;
        while oy < problem.out_height {
            let strip = Strip {
                rows: shape.rows.min(problem.out_height - oy),
                ..shape
            };
            fill(isa, problem, strip, x, oy, scratch);
            for out_channel in in_channel * multiplier..(in_channel + 1) * multiplier {
                let first = oy * out_width;
                let run = &mut y[out_channel * problem.y_channel + first..][..strip.rows * out_width];
                let start = match init {
                    Init::PerRow(values) => values[out_channel],
                    _ => 0.0,
                };
                let add = match init {
                    Init::PerColumn(values) => Add::Values(&values[first..]),
                    Init::Accumulate => Add::Output,
                    Init::Zero | Init::PerRow(_) => Add::Nothing,
                };
                let w = &w[out_channel * taps..][..taps];
                convolve(isa, problem, strip, scratch, w, start, add, run);
                if let Some(epilogue) = epilogue {
                    epilogue(
                        run,
                        Position {
                            row: out_channel,
                            column: first,
                        },
                    );
                }
            }
            oy += strip.rows;
        }
    }
}

/// Fills the phases of a strip that begins at output row `oy`.
#[inline(always)]
fn fill<S: Simd>(isa: S, problem: &Conv2d, strip: Strip, x: &[f32], oy: usize, scratch: &mut [f32]) {
    let [stride_y, stride_x] = problem.stride;
    let (pad, in_width) = (problem.pad[1], problem.in_width);
    for (index, phase) in scratch
        .chunks_exact_mut(strip.height * strip.width)
        .take(stride_y * stride_x)
        .enumerate()
    {
        let (ry, rx) = (index / stride_x, index % stride_x);
        // The columns `stride_x * column + rx - pad` of the image that exist.
        let begin = pad.saturating_sub(rx).div_ceil(stride_x).min(strip.width);
        let end = (in_width + pad)
            .saturating_sub(rx)
            .div_ceil(stride_x)
            .min(strip.width)
            .max(begin);
        for (row, target) in phase.chunks_exact_mut(strip.width).enumerate() {
            let y = ((oy + row) * stride_y + ry).wrapping_sub(problem.pad[0]);
            if y >= problem.in_height || begin == end {
                target.fill(0.0);
                continue;
            }
            for value in &mut target[..begin] {
                *value = 0.0;
            }
            for value in &mut target[end..] {
                *value = 0.0;
            }
            let target = &mut target[begin..end];
            let source = &x[y * problem.x_row + (begin * stride_x + rx - pad) * problem.x_column..];
            match stride_x * problem.x_column {
                1 => copy(isa, &source[..target.len()], target, Add::Nothing),
                2 => {
                    let source = &source[..2 * target.len() - 1];
                    for (column, value) in target.iter_mut().enumerate() {
                        *value = source[2 * column];
                    }
                }
                step => {
                    for (column, value) in target.iter_mut().enumerate() {
                        *value = source[column * step];
                    }
                }
            }
        }
    }
}

/// What is added to the sums on their way into the output.
#[derive(Clone, Copy)]
enum Add<'a> {
    Nothing,
    Output,
    Values(&'a [f32]),
}

/// Copies a short row: a call of the library's copy would cost more than the row.
#[inline(always)]
fn copy<S: Simd>(isa: S, source: &[f32], target: &mut [f32], add: Add<'_>) {
    let len = target.len();
    assert!(source.len() >= len);
    let added = match add {
        Add::Nothing => core::ptr::null(),
        Add::Output => target.as_ptr(),
        Add::Values(values) => values[..len].as_ptr(),
    };
    let (source, target) = (source.as_ptr(), target.as_mut_ptr());
    let mut index = 0;
    while index < len {
        let count = S::LANES.min(len - index);
        // SAFETY: `source`, `target` and `added`, unless null, are valid for `len` values.
        unsafe {
            let mut value = isa.load_partial(source.add(index), count);
            if !added.is_null() {
                value = isa.add(value, isa.load_partial(added.add(index), count));
            }
            isa.store_partial(target.add(index), value, count);
        }
        index += count;
    }
}

/// Computes the rows of a strip into `run`.
#[inline(always)]
fn convolve<S: Simd>(
    isa: S,
    problem: &Conv2d,
    strip: Strip,
    phases: &[f32],
    w: &[f32],
    start: f32,
    add: Add<'_>,
    run: &mut [f32],
) {
    let out_width = problem.out_width;
    let taps = Taps::new(problem, strip, phases, w, start);
    let mut buffer = [0.0; CHUNK];
    if out_width >= 4 * S::LANES {
        for (row, target) in run.chunks_exact_mut(out_width).enumerate() {
            let mut column = 0;
            while column < out_width {
                let count = taps.sum(isa, row * strip.width + column, out_width - column, &mut buffer);
                let add = match add {
                    Add::Values(values) => Add::Values(&values[row * out_width + column..]),
                    other => other,
                };
                copy(isa, &buffer[..count], &mut target[column..column + count], add);
                column += count;
            }
        }
        return;
    }
    // All rows at once, as one row of the width that they have in scratch.
    let (mut at, total) = (0, strip.rows * strip.width);
    let (mut row, mut column) = (0, 0);
    while at < total {
        let count = taps.sum(isa, at, total - at, &mut buffer);
        let mut used = 0;
        while used < count {
            let step = (strip.width - column).min(count - used);
            let real = step.min(out_width.saturating_sub(column));
            let first = row * out_width + column;
            if real > 0 {
                let add = match add {
                    Add::Values(values) => Add::Values(&values[first..]),
                    other => other,
                };
                copy(isa, &buffer[used..used + real], &mut run[first..first + real], add);
            }
            used += step;
            column += step;
            if column == strip.width {
                (row, column) = (row + 1, 0);
            }
        }
        at += count;
    }
}

/// The taps of a kernel over the phases of a strip.
struct Taps<'a> {
    phases: &'a [f32],
    w: &'a [f32],
    start: f32,
    kernel: [usize; 2],
    y: Walk,
    x: Walk,
}

/// How the distance of a tap from the output position grows along one dimension.
#[derive(Clone, Copy)]
struct Walk {
    /// Phases of this dimension, its stride.
    phases: usize,
    /// What the dilation is in whole strides and in phases.
    step: [usize; 2],
    /// Elements per whole stride and per phase.
    distance: [usize; 2],
}

impl Walk {
    #[inline(always)]
    fn new(stride: usize, dilation: usize, distance: [usize; 2]) -> Walk {
        Walk {
            phases: stride,
            step: [dilation / stride, dilation % stride],
            distance,
        }
    }

    /// Advances the phase and the distance by one tap.
    #[inline(always)]
    fn next(&self, phase: &mut usize, distance: &mut usize) {
        *phase += self.step[1];
        *distance += self.step[0] * self.distance[0] + self.step[1] * self.distance[1];
        if *phase >= self.phases {
            *phase -= self.phases;
            *distance = *distance + self.distance[0] - self.phases * self.distance[1];
        }
    }
}

impl<'a> Taps<'a> {
    #[inline(always)]
    fn new(problem: &Conv2d, strip: Strip, phases: &'a [f32], w: &'a [f32], start: f32) -> Taps<'a> {
        let [stride_y, stride_x] = problem.stride;
        let plane = strip.height * strip.width;
        assert!(phases.len() >= plane * stride_y * stride_x + CHUNK && w.len() >= problem.taps());
        let y = Walk::new(stride_y, problem.dilation[0], [strip.width, stride_x * plane]);
        let x = Walk::new(stride_x, problem.dilation[1], [1, plane]);
        Taps {
            phases,
            w,
            start,
            kernel: problem.kernel,
            y,
            x,
        }
    }

    /// Computes sums at the positions from `at` on into `sums` and returns how many of them are within `wanted`.
    #[inline(always)]
    fn sum<S: Simd>(&self, isa: S, at: usize, wanted: usize, sums: &mut [f32; CHUNK]) -> usize {
        if wanted > 4 * S::LANES {
            self.vectors::<S, 8>(isa, at, sums);
            wanted.min(8 * S::LANES)
        } else {
            self.vectors::<S, 4>(isa, at, sums);
            wanted.min(4 * S::LANES)
        }
    }

    #[inline(always)]
    fn vectors<S: Simd, const VECTORS: usize>(&self, isa: S, at: usize, sums: &mut [f32; CHUNK]) {
        let mut totals = [isa.splat(self.start); VECTORS];
        let mut w = self.w.iter();
        let (mut ry, mut row) = (0, at);
        for _ in 0..self.kernel[0] {
            let (mut rx, mut from) = (0, row);
            for &w in w.by_ref().take(self.kernel[1]) {
                let source = &self.phases[from..][..VECTORS * S::LANES];
                let w = isa.splat(w);
                for (vector, total) in totals.iter_mut().enumerate() {
                    // SAFETY: `source` has `VECTORS` vectors.
                    *total = unsafe { isa.mul_add(w, isa.load(source.as_ptr().add(vector * S::LANES)), *total) };
                }
                self.x.next(&mut rx, &mut from);
            }
            self.y.next(&mut ry, &mut row);
        }
        for (vector, &total) in totals.iter().enumerate() {
            // SAFETY: `CHUNK` is at least `VECTORS * LANES`.
            unsafe { isa.store(sums.as_mut_ptr().add(vector * S::LANES), total) }
        }
    }
}
