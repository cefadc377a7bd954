//! Pooling of one channels-last image: a vector holds neighboring channels of a pixel.

use super::Divisor;
use crate::kernels::simd::Simd;
use core::ops::Range;

/// The windows of a pooling over one image `[height, width, channels]` whose channels are contiguous. An image in one
/// dimension has height 1.
///
/// Element `o` of an output axis sees the inputs `o * stride + k * dilation - pad_begin` for `k` below the kernel size,
/// those of them that exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolNhwc {
    /// Channels of the input and the output.
    pub channels: usize,
    /// Rows and columns of the input.
    pub input: [usize; 2],
    /// Rows and columns of the output, in ceiling mode with the windows that reach beyond the padding.
    pub output: [usize; 2],
    /// The size of a window.
    pub kernel: [usize; 2],
    /// The distance between windows.
    pub stride: [usize; 2],
    /// The distance between the elements of a window.
    pub dilation: [usize; 2],
    /// The padding before the first row and column.
    pub pad_begin: [usize; 2],
    /// The padding after the last row and column.
    pub pad_end: [usize; 2],
    /// Elements between rows of the input.
    pub x_row: usize,
    /// Elements between columns of the input.
    pub x_column: usize,
    /// Elements between pixels of the output, whose rows are dense; at least `channels`.
    pub y_pixel: usize,
}

/// Vectors of channels that are computed at a time, so that enough results are in flight to hide the latency of one.
const VECTORS: usize = 4;

impl PoolNhwc {
    fn check(&self, out: usize, input: usize) {
        let last = |size: usize, stride: usize| size.saturating_sub(1).saturating_mul(stride);
        assert!(self.stride.iter().all(|&stride| stride > 0), "a pooling stride is 0");
        let pixels = self.output[0].saturating_mul(self.output[1]);
        if self.channels == 0 || pixels == 0 {
            return;
        }
        assert!(self.y_pixel >= self.channels, "the output pixels of a pooling overlap");
        let output_reach = last(pixels, self.y_pixel).saturating_add(self.channels);
        assert!(output_reach <= out, "the pixels of a pooling reach out of the output");
        let reach = last(self.input[0], self.x_row)
            .saturating_add(last(self.input[1], self.x_column))
            .saturating_add(self.channels);
        assert!(
            self.input.contains(&0) || reach <= input,
            "the pixels of a pooling reach out of the input"
        );
    }

    /// The elements of window `o` of an axis that exist.
    #[inline(always)]
    fn inside(&self, axis: usize, o: usize) -> Range<usize> {
        let (start, dilation) = (o * self.stride[axis], self.dilation[axis].max(1));
        let below = |bound: usize| bound.saturating_sub(start).div_ceil(dilation).min(self.kernel[axis]);
        below(self.pad_begin[axis])..below(self.pad_begin[axis] + self.input[axis])
    }

    /// The number of elements that window `o` of an axis counts.
    fn count(&self, axis: usize, o: usize, divisor: Divisor) -> usize {
        let padded = self.pad_begin[axis] + self.input[axis] + self.pad_end[axis];
        match divisor {
            Divisor::Inside => self.inside(axis, o).len(),
            Divisor::Padded => {
                let start = o * self.stride[axis];
                let dilation = self.dilation[axis].max(1);
                padded.saturating_sub(start).div_ceil(dilation).min(self.kernel[axis])
            }
            Divisor::One => 1,
        }
    }

    /// Joins the elements of each window, beginning with `start`, and calls `finish` with a pixel, its row and column.
    #[inline(always)]
    fn join<S: Simd>(
        &self,
        isa: S,
        out: &mut [f32],
        input: &[f32],
        start: f32,
        join: impl Fn(S::F32, S::F32) -> S::F32 + Copy,
        finish: impl Fn(&mut [f32], usize, usize),
    ) {
        self.check(out.len(), input.len());
        if self.channels == 0 {
            return;
        }
        for oy in 0..self.output[0] {
            let rows = self.inside(0, oy);
            let y = (oy * self.stride[0] + rows.start * self.dilation[0]).wrapping_sub(self.pad_begin[0]);
            for ox in 0..self.output[1] {
                let columns = self.inside(1, ox);
                let x = (ox * self.stride[1] + columns.start * self.dilation[1]).wrapping_sub(self.pad_begin[1]);
                let pixel = &mut out[(oy * self.output[1] + ox) * self.y_pixel..][..self.channels];
                if rows.is_empty() || columns.is_empty() {
                    pixel.fill(start);
                } else {
                    let window = Window {
                        source: &input[y * self.x_row + x * self.x_column..],
                        size: [rows.len(), columns.len()],
                        step: [self.dilation[0] * self.x_row, self.dilation[1] * self.x_column],
                    };
                    window.fold(isa, pixel, start, join);
                }
                finish(pixel, oy, ox);
            }
        }
    }
}

/// The elements of a window that exist.
struct Window<'a> {
    source: &'a [f32],
    size: [usize; 2],
    step: [usize; 2],
}

impl Window<'_> {
    #[inline(always)]
    fn fold<S: Simd>(&self, isa: S, out: &mut [f32], start: f32, join: impl Fn(S::F32, S::F32) -> S::F32 + Copy) {
        let reach = (self.size[0] - 1) * self.step[0] + (self.size[1] - 1) * self.step[1] + out.len();
        assert!(reach <= self.source.len());
        let all = isa.lanes(0, S::LANES);
        let mut channel = 0;
        // SAFETY: the last element of the window has `out.len()` channels in `source`; the vectors are within these.
        unsafe {
            while out.len() - channel >= VECTORS * S::LANES {
                self.vectors::<S, VECTORS, false>(isa, channel, out.as_mut_ptr(), all, start, join);
                channel += VECTORS * S::LANES;
            }
            while channel < out.len() {
                let count = S::LANES.min(out.len() - channel);
                if count == S::LANES {
                    self.vectors::<S, 1, false>(isa, channel, out.as_mut_ptr(), all, start, join);
                } else {
                    let lanes = isa.lanes(0, count);
                    self.vectors::<S, 1, true>(isa, channel, out.as_mut_ptr(), lanes, start, join);
                }
                channel += count;
            }
        }
    }

    /// Joins `COUNT` vectors of channels from `channel` on, or of one vector those `lanes` that exist if `MASKED`.
    ///
    /// # Safety
    ///
    /// `source` and `out` are valid for these channels, `source` in every element of the window.
    #[inline(always)]
    unsafe fn vectors<S: Simd, const COUNT: usize, const MASKED: bool>(
        &self,
        isa: S,
        channel: usize,
        out: *mut f32,
        lanes: S::Mask,
        start: f32,
        join: impl Fn(S::F32, S::F32) -> S::F32,
    ) {
        let mut values = [isa.splat(start); COUNT];
        let first = self.source.as_ptr().wrapping_add(channel);
        for row in 0..self.size[0] {
            let mut at = first.wrapping_add(row * self.step[0]);
            for _ in 0..self.size[1] {
                for (vector, value) in values.iter_mut().enumerate() {
                    // SAFETY: as the caller vouches.
                    let element = unsafe {
                        if MASKED {
                            isa.load_masked(at, lanes)
                        } else {
                            isa.load(at.add(vector * S::LANES))
                        }
                    };
                    *value = join(*value, element);
                }
                at = at.wrapping_add(self.step[1]);
            }
        }
        for (vector, &value) in values.iter().enumerate() {
            // SAFETY: as the caller vouches.
            unsafe {
                let target = out.add(channel + vector * S::LANES);
                if MASKED {
                    isa.store_masked(target, value, lanes);
                } else {
                    isa.store(target, value);
                }
            }
        }
    }
}

#[inline(always)]
pub(super) fn max_pool<S: Simd>(isa: S, out: &mut [f32], input: &[f32], pool: &PoolNhwc) {
    pool.join(
        isa,
        out,
        input,
        f32::NEG_INFINITY,
        |a, b| isa.greater(a, b),
        |_, _, _| {},
    );
}

#[inline(always)]
pub(super) fn average_pool<S: Simd>(isa: S, out: &mut [f32], input: &[f32], pool: &PoolNhwc, divisor: Divisor) {
    pool.join(
        isa,
        out,
        input,
        0.0,
        |a, b| isa.add(a, b),
        |pixel, oy, ox| {
            if divisor != Divisor::One {
                let count = pool.count(0, oy, divisor) * pool.count(1, ox, divisor);
                let count = count.max(1) as f32;
                pixel.iter_mut().for_each(|sum| *sum /= count);
            }
        },
    );
}
