//! Pooling of one channels-last image: a vector holds neighboring channels of a pixel.

use super::Divisor;
use crate::isa::Isa;
use crate::kernels::simd::Simd;
use crate::team::{Compute, Team};
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

/// How elements of a window are joined. Unlike a closure, a method is sure to be inlined into the kernel, where vectors
/// stay in registers.
trait Join: Copy {
    type Element: Copy;

    /// What joining begins with.
    const START: Self::Element;

    /// Joins a window that is not empty, and those beside it.
    fn fold<S: Simd>(isa: S, window: &Window<'_, Self::Element>, out: &mut [Self::Element]);
}

/// A [`Join`] of vectors.
trait JoinVectors: Join<Element = f32> {
    fn join<S: Simd>(isa: S, a: S::F32, b: S::F32) -> S::F32;
}

#[derive(Clone, Copy)]
struct Sum;

impl Join for Sum {
    type Element = f32;
    const START: f32 = 0.0;

    #[inline(always)]
    fn fold<S: Simd>(isa: S, window: &Window<'_, f32>, out: &mut [f32]) {
        window.fold::<S, Self>(isa, out);
    }
}

impl JoinVectors for Sum {
    #[inline(always)]
    fn join<S: Simd>(isa: S, a: S::F32, b: S::F32) -> S::F32 {
        isa.add(a, b)
    }
}

#[derive(Clone, Copy)]
struct Greatest;

impl Join for Greatest {
    type Element = f32;
    const START: f32 = f32::NEG_INFINITY;

    #[inline(always)]
    fn fold<S: Simd>(isa: S, window: &Window<'_, f32>, out: &mut [f32]) {
        window.fold::<S, Self>(isa, out);
    }
}

impl JoinVectors for Greatest {
    #[inline(always)]
    fn join<S: Simd>(isa: S, a: S::F32, b: S::F32) -> S::F32 {
        isa.greater(a, b)
    }
}

#[derive(Clone, Copy)]
struct GreatestByte;

impl Join for GreatestByte {
    type Element = u8;
    const START: u8 = u8::MIN;

    #[inline(always)]
    fn fold<S: Simd>(_isa: S, window: &Window<'_, u8>, out: &mut [u8]) {
        for pixel in 0..window.pixels {
            let mut channel = 0;
            while window.channels - channel >= 32 {
                window.greatest::<32>(pixel, channel, out);
                channel += 32;
            }
            while window.channels - channel >= 8 {
                window.greatest::<8>(pixel, channel, out);
                channel += 8;
            }
            while window.channels > channel {
                window.greatest::<1>(pixel, channel, out);
                channel += 1;
            }
        }
    }
}

/// Vectors that are computed at a time, of one pixel or of as many pixels, so that enough results are in flight to hide the
/// latency of one.
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

    /// The pooling for `rows` rows of the output from row `first` on, and where its input begins.
    fn part(&self, first: usize, rows: usize) -> (PoolNhwc, usize) {
        let start = first * self.stride[0];
        let skipped = start.saturating_sub(self.pad_begin[0]).min(self.input[0]);
        let mut part = *self;
        part.output[0] = rows;
        part.input[0] -= skipped;
        part.pad_begin[0] = self.pad_begin[0].saturating_sub(start);
        // What is left of image and padding ends where it did.
        let end = (self.pad_begin[0] + self.input[0] + self.pad_end[0]).saturating_sub(start);
        part.pad_end[0] = end.saturating_sub(part.pad_begin[0] + part.input[0]);
        (part, skipped * self.x_row)
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

    /// Joins the elements of each window and calls `finish` with a pixel, its row and column.
    #[inline(always)]
    fn join<S: Simd, J: Join>(
        &self,
        isa: S,
        out: &mut [J::Element],
        input: &[J::Element],
        _: J,
        finish: impl Fn(&mut [J::Element], usize, usize),
    ) {
        self.check(out.len(), input.len());
        if self.channels == 0 {
            return;
        }
        let whole = self.whole_columns();
        for oy in 0..self.output[0] {
            let rows = self.inside(0, oy);
            let y = (oy * self.stride[0] + rows.start * self.dilation[0]).wrapping_sub(self.pad_begin[0]);
            let mut ox = 0;
            while ox < self.output[1] {
                let columns = self.inside(1, ox);
                let x = (ox * self.stride[1] + columns.start * self.dilation[1]).wrapping_sub(self.pad_begin[1]);
                // Of pixels that see whole windows and have few channels, some are computed together.
                let together = whole.contains(&ox) && !rows.is_empty() && self.channels < VECTORS * S::LANES;
                let pixels = if together { VECTORS.min(whole.end - ox) } else { 1 };
                let out = &mut out[(oy * self.output[1] + ox) * self.y_pixel..];
                if rows.is_empty() || columns.is_empty() {
                    out[..self.channels].fill(J::START);
                } else {
                    let window = Window {
                        source: &input[y * self.x_row + x * self.x_column..],
                        size: [rows.len(), columns.len()],
                        step: [self.dilation[0] * self.x_row, self.dilation[1] * self.x_column],
                        channels: self.channels,
                        pixels,
                        apart: [self.stride[1] * self.x_column, self.y_pixel],
                    };
                    J::fold(isa, &window, out);
                }
                for (pixel, out) in out.chunks_mut(self.y_pixel).take(pixels).enumerate() {
                    finish(&mut out[..self.channels], oy, ox + pixel);
                }
                ox += pixels;
            }
        }
    }

    /// The columns of the output whose windows are not cut off at a side.
    fn whole_columns(&self) -> Range<usize> {
        let (stride, pad) = (self.stride[1], self.pad_begin[1]);
        let reach = self.kernel[1].saturating_sub(1) * self.dilation[1];
        let end = (self.input[1] + pad).saturating_sub(reach).div_ceil(stride);
        pad.div_ceil(stride)..end.min(self.output[1])
    }
}

/// The elements of a window that exist, and those of the pixels beside it.
struct Window<'a, T> {
    source: &'a [T],
    size: [usize; 2],
    step: [usize; 2],
    channels: usize,
    /// Pixels to compute, at most [`VECTORS`].
    pixels: usize,
    /// Elements between the windows of pixels, and between their results.
    apart: [usize; 2],
}

impl Window<'_, f32> {
    #[inline(always)]
    fn fold<S: Simd, J: JoinVectors>(&self, isa: S, out: &mut [f32]) {
        let beside = self.pixels - 1;
        let reach = (self.size[0] - 1) * self.step[0] + (self.size[1] - 1) * self.step[1] + self.channels;
        assert!(reach + beside * self.apart[0] <= self.source.len());
        assert!(beside * self.apart[1] + self.channels <= out.len());
        let all = isa.lanes(0, S::LANES);
        let out = out.as_mut_ptr();
        let mut channel = 0;
        // SAFETY: the last element of the window of the last pixel has all channels in `source`, and that pixel has them in
        // `out`; the vectors are within these.
        unsafe {
            if self.pixels < VECTORS {
                for pixel in 0..self.pixels {
                    let [from, to] = self.apart.map(|apart| pixel * apart);
                    channel = 0;
                    while self.channels - channel >= VECTORS * S::LANES {
                        let apart = [S::LANES; 2];
                        self.vectors::<S, J, VECTORS, false>(isa, from + channel, out.add(to + channel), apart, all);
                        channel += VECTORS * S::LANES;
                    }
                    while self.channels - channel >= S::LANES {
                        self.vectors::<S, J, 1, false>(isa, from + channel, out.add(to + channel), [0; 2], all);
                        channel += S::LANES;
                    }
                    if channel < self.channels {
                        let lanes = isa.lanes(0, self.channels - channel);
                        self.vectors::<S, J, 1, true>(isa, from + channel, out.add(to + channel), [0; 2], lanes);
                    }
                }
                return;
            }
            while self.channels - channel >= S::LANES {
                self.vectors::<S, J, VECTORS, false>(isa, channel, out.add(channel), self.apart, all);
                channel += S::LANES;
            }
            if channel < self.channels {
                let lanes = isa.lanes(0, self.channels - channel);
                self.vectors::<S, J, VECTORS, true>(isa, channel, out.add(channel), self.apart, lanes);
            }
        }
    }

    /// Joins `COUNT` vectors from element `from` of the source on, `apart[0]` elements apart, or those `lanes` of each that
    /// exist if `MASKED`, and writes them to `out`, `apart[1]` elements apart.
    ///
    /// # Safety
    ///
    /// These elements are valid, those of the source in every element of the window.
    #[inline(always)]
    unsafe fn vectors<S: Simd, J: JoinVectors, const COUNT: usize, const MASKED: bool>(
        &self,
        isa: S,
        from: usize,
        out: *mut f32,
        apart: [usize; 2],
        lanes: S::Mask,
    ) {
        let mut values = [isa.splat(J::START); COUNT];
        let first = self.source.as_ptr().wrapping_add(from);
        for row in 0..self.size[0] {
            let mut at = first.wrapping_add(row * self.step[0]);
            for _ in 0..self.size[1] {
                for (vector, value) in values.iter_mut().enumerate() {
                    // SAFETY: as the caller vouches.
                    let element = unsafe {
                        let at = at.add(vector * apart[0]);
                        if MASKED {
                            isa.load_masked(at, lanes)
                        } else {
                            isa.load(at)
                        }
                    };
                    *value = J::join(isa, *value, element);
                }
                at = at.wrapping_add(self.step[1]);
            }
        }
        for (vector, &value) in values.iter().enumerate() {
            // SAFETY: as the caller vouches.
            unsafe {
                let target = out.add(vector * apart[1]);
                if MASKED {
                    isa.store_masked(target, value, lanes);
                } else {
                    isa.store(target, value);
                }
            }
        }
    }
}

impl Window<'_, u8> {
    /// The greatest numbers of `WIDTH` channels of a pixel. The compiler makes vectors of a known number of bytes.
    #[inline(always)]
    fn greatest<const WIDTH: usize>(&self, pixel: usize, channel: usize, out: &mut [u8]) {
        let mut values = [GreatestByte::START; WIDTH];
        for row in 0..self.size[0] {
            for column in 0..self.size[1] {
                let at = pixel * self.apart[0] + channel + row * self.step[0] + column * self.step[1];
                let bytes: &[u8; WIDTH] = self.source[at..at + WIDTH].try_into().expect("as many bytes");
                for (value, &byte) in values.iter_mut().zip(bytes) {
                    *value = byte.max(*value);
                }
            }
        }
        out[pixel * self.apart[1] + channel..][..WIDTH].copy_from_slice(&values);
    }
}

/// Calls `rows` with an equal share of the rows of the output for each part.
fn divide<S: Isa, T: Send + Sync>(
    team: Team<'_, S>,
    out: &mut [T],
    input: &[T],
    pool: &PoolNhwc,
    rows: impl Fn(&mut [T], &[T], &PoolNhwc) + Sync,
) {
    pool.check(out.len(), input.len());
    let share = team.share(pool.output[0]);
    let pieces = out.chunks_mut((share * pool.output[1] * pool.y_pixel).max(1));
    team.each(pieces.take(pool.output[0].div_ceil(share)), |index, out| {
        let first = index * share;
        let (part, skipped) = pool.part(first, share.min(pool.output[0] - first));
        rows(out, input.get(skipped..).unwrap_or_default(), &part);
    });
}

pub(super) fn max_pool_parts<S: Isa>(team: Team<'_, S>, out: &mut [f32], input: &[f32], pool: &PoolNhwc) {
    divide(team, out, input, pool, |out, input, part| {
        team.isa().max_pool_nhwc(out, input, part)
    });
}

pub(super) fn max_pool_u8_parts<S: Isa>(team: Team<'_, S>, out: &mut [u8], input: &[u8], pool: &PoolNhwc) {
    divide(team, out, input, pool, |out, input, part| {
        team.isa().max_pool_nhwc_u8(out, input, part)
    });
}

pub(super) fn average_pool_parts<S: Isa>(
    team: Team<'_, S>,
    out: &mut [f32],
    input: &[f32],
    pool: &PoolNhwc,
    divisor: Divisor,
) {
    divide(team, out, input, pool, |out, input, part| {
        team.isa().average_pool_nhwc(out, input, part, divisor);
    });
}

#[inline(always)]
pub(super) fn max_pool<S: Simd>(isa: S, out: &mut [f32], input: &[f32], pool: &PoolNhwc) {
    pool.join(isa, out, input, Greatest, |_, _, _| {});
}

#[inline(always)]
pub(super) fn max_pool_u8<S: Simd>(isa: S, out: &mut [u8], input: &[u8], pool: &PoolNhwc) {
    pool.join(isa, out, input, GreatestByte, |_, _, _| {});
}

#[inline(always)]
pub(super) fn average_pool<S: Simd>(isa: S, out: &mut [f32], input: &[f32], pool: &PoolNhwc, divisor: Divisor) {
    pool.join(isa, out, input, Sum, |pixel, oy, ox| {
        if divisor != Divisor::One {
            let count = pool.count(0, oy, divisor) * pool.count(1, ox, divisor);
            let count = count.max(1) as f32;
            pixel.iter_mut().for_each(|sum| *sum /= count);
        }
    });
}
