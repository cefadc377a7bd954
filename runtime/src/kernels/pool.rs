//! Pooling over windows of up to three spatial axes.

mod nhwc;
#[cfg(test)]
mod tests;

pub use nhwc::PoolNhwc;

use super::simd::Simd;
use crate::isa::kernel_table;
use crate::math::{self, Number};

/// The windows of a pooling over planes `[depth, height, width]`; unused leading axes have input, output, kernel, stride
/// and dilation 1. The planes of the output are dense.
///
/// Element `o` of an output axis sees the inputs `o * stride + k * dilation - pad_begin` for `k` below the kernel size,
/// those of them that exist.
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    /// The number of planes: batch times channels.
    pub planes: usize,
    /// The size of an input plane.
    pub input: [usize; 3],
    /// The size of an output plane, in ceiling mode with the windows that reach beyond the padding.
    pub output: [usize; 3],
    /// The size of a window.
    pub kernel: [usize; 3],
    /// The distance between windows.
    pub stride: [usize; 3],
    /// The distance between the elements of a window.
    pub dilation: [usize; 3],
    /// The padding before the first element.
    pub pad_begin: [usize; 3],
    /// The padding after the last element.
    pub pad_end: [usize; 3],
    /// The number of elements from an input plane to the next, and between neighbors along its axes.
    pub input_strides: [usize; 4],
    /// The number of elements from an output plane to the next.
    pub output_stride: usize,
}

/// What an average divides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Divisor {
    /// The number of elements that the window sees.
    Inside,
    /// That and the padding that the window sees, but nothing beyond the padding (ONNX `count_include_pad`).
    Padded,
    /// One: the result is the sum.
    One,
}

kernel_table! {
    /// Pooling.
    pub trait Pooling {
        /// The greatest element of each window; the lowest value for a window that sees nothing.
        ///
        /// # Panics
        ///
        /// If the planes reach out of the input or the output.
        fn max_pool_f32(out: &mut [f32], input: &[f32], pool: &Pool) = max_pool;

        /// As `max_pool_f32`.
        fn max_pool_i8(out: &mut [i8], input: &[i8], pool: &Pool) = max_pool;

        /// As `max_pool_f32`.
        fn max_pool_u8(out: &mut [u8], input: &[u8], pool: &Pool) = max_pool;

        /// The average of each window; 0 for a window that sees nothing.
        ///
        /// # Panics
        ///
        /// If the planes reach out of the input or the output.
        fn average_pool(out: &mut [f32], input: &[f32], pool: &Pool, divisor: Divisor) = average_pool;

        /// The greatest element of each window of channels-last images; the lowest value for a window that sees nothing.
        ///
        /// # Panics
        ///
        /// If the pixels reach out of the input or the output.
        fn max_pool_nhwc(out: &mut [f32], input: &[f32], pool: &PoolNhwc)
            = nhwc::max_pool, divided by nhwc::max_pool_parts;

        /// As `max_pool_nhwc`.
        fn max_pool_nhwc_u8(out: &mut [u8], input: &[u8], pool: &PoolNhwc)
            = nhwc::max_pool_u8, divided by nhwc::max_pool_u8_parts;

        /// The average of each window of channels-last images; 0 for a window that sees nothing.
        ///
        /// # Panics
        ///
        /// As for `max_pool_nhwc`.
        fn average_pool_nhwc(out: &mut [f32], input: &[f32], pool: &PoolNhwc, divisor: Divisor)
            = nhwc::average_pool, divided by nhwc::average_pool_parts;

        /// The `p`-norm of each window; 0 for a window that sees nothing.
        ///
        /// # Panics
        ///
        /// As for `average_pool`.
        fn lp_pool(out: &mut [f32], input: &[f32], pool: &Pool, p: u32) = lp_pool;
    }
}

impl Pool {
    fn check(&self, out: usize, input: usize) {
        let last = |size: usize, stride: usize| size.saturating_sub(1).saturating_mul(stride);
        let output_plane = self.output.iter().product::<usize>();
        let reach = (0..3).fold(last(self.planes, self.input_strides[0]), |reach, axis| {
            reach.saturating_add(last(self.input[axis], self.input_strides[axis + 1]))
        });
        assert!(self.stride.iter().all(|&stride| stride > 0), "a pooling stride is 0");
        if self.planes == 0 || output_plane == 0 {
            return;
        }
        assert!(
            self.output_stride >= output_plane,
            "the output planes of a pooling overlap"
        );
        let output_reach = last(self.planes, self.output_stride).saturating_add(output_plane);
        assert!(output_reach <= out, "the planes of a pooling reach out of the output");
        assert!(
            self.input.contains(&0) || reach < input,
            "the planes of a pooling reach out of the input"
        );
    }

    /// The planes of the output.
    fn planes<'a, T>(&self, out: &'a mut [T]) -> impl Iterator<Item = &'a mut [T]> {
        let plane = self.output.iter().product::<usize>();
        let planes = if plane == 0 { 0 } else { self.planes };
        out.chunks_mut(self.output_stride.max(1))
            .take(planes)
            .map(move |chunk| &mut chunk[..plane])
    }

    /// The input coordinate that element `k` of window `o` sees, if it exists.
    #[inline(always)]
    fn source(&self, axis: usize, o: usize, k: usize) -> Option<usize> {
        let padded = o * self.stride[axis] + k * self.dilation[axis];
        padded
            .checked_sub(self.pad_begin[axis])
            .filter(|&at| at < self.input[axis])
    }

    /// The windows of an axis, from the first up to an end, whose element `k` exists.
    #[inline(always)]
    fn windows(&self, axis: usize, k: usize) -> (usize, usize) {
        let (offset, stride) = (k * self.dilation[axis], self.stride[axis]);
        let first = self.pad_begin[axis].saturating_sub(offset).div_ceil(stride);
        let end = (self.pad_begin[axis] + self.input[axis])
            .saturating_sub(offset)
            .div_ceil(stride);
        let end = end.min(self.output[axis]);
        (first.min(end), end)
    }

    /// The number of elements that window `o` counts.
    fn count(&self, axis: usize, o: usize, divisor: Divisor) -> usize {
        let padded = self.pad_begin[axis] + self.input[axis] + self.pad_end[axis];
        let counts = |k: &usize| match divisor {
            Divisor::Inside => self.source(axis, o, *k).is_some(),
            Divisor::Padded => o * self.stride[axis] + k * self.dilation[axis] < padded,
            Divisor::One => true,
        };
        (0..self.kernel[axis]).filter(counts).count()
    }

    /// Joins each element of `input` into the elements of `out` whose window sees it, row by row.
    #[inline(always)]
    fn join<T: Number>(&self, out: &mut [T], input: &[T], join: impl Fn(T, T) -> T) {
        let [_, out_height, out_width] = self.output;
        let [plane_stride, z_stride, y_stride, x_stride] = self.input_strides;
        if self.input.contains(&0) {
            return;
        }
        for (number, plane) in self.planes(out).enumerate() {
            for (index, row) in plane.chunks_mut(out_width).enumerate() {
                let (oy, oz) = (index % out_height, index / out_height);
                for z in (0..self.kernel[0]).filter_map(|k| self.source(0, oz, k)) {
                    for y in (0..self.kernel[1]).filter_map(|k| self.source(1, oy, k)) {
                        let input = &input[number * plane_stride + z * z_stride + y * y_stride..];
                        for k in 0..self.kernel[2] {
                            let (first, end) = self.windows(2, k);
                            if first == end {
                                continue;
                            }
                            let start = first * self.stride[2] + k * self.dilation[2] - self.pad_begin[2];
                            let (targets, elements) = (&mut row[first..end], &input[start * x_stride..]);
                            match self.stride[2] * x_stride {
                                1 => join_row(targets, elements, 1, &join),
                                2 => join_row(targets, elements, 2, &join),
                                step => join_row(targets, elements, step, &join),
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Joins every `stride`-th element. Inlined for constant strides, which the compiler vectorizes.
#[inline(always)]
fn join_row<T: Number>(targets: &mut [T], elements: &[T], stride: usize, join: impl Fn(T, T) -> T) {
    assert!((targets.len() - 1) * stride < elements.len());
    for (index, target) in targets.iter_mut().enumerate() {
        // SAFETY: the last index has been checked.
        *target = join(*target, unsafe { *elements.get_unchecked(index * stride) });
    }
}

#[inline(always)]
fn max_pool<S: Simd, T: Number>(_isa: S, out: &mut [T], input: &[T], pool: &Pool) {
    pool.check(out.len(), input.len());
    pool.planes(out).for_each(|plane| plane.fill(T::LOWEST));
    pool.join(out, input, T::greater);
}

#[inline(always)]
fn average_pool<S: Simd>(_isa: S, out: &mut [f32], input: &[f32], pool: &Pool, divisor: Divisor) {
    pool.check(out.len(), input.len());
    pool.planes(out).for_each(|plane| plane.fill(0.0));
    pool.join(out, input, |sum, x| sum + x);
    if divisor == Divisor::One {
        return;
    }
    let [_, out_height, out_width] = pool.output;
    for plane in pool.planes(out) {
        for (index, row) in plane.chunks_mut(out_width).enumerate() {
            let counts = pool.count(1, index % out_height, divisor) * pool.count(0, index / out_height, divisor);
            // The windows in the middle see all of their elements.
            let whole = 1.0 / (counts * pool.kernel[2]).max(1) as f32;
            for (o, x) in row.iter_mut().enumerate() {
                let start = o * pool.stride[2];
                let inside = start >= pool.pad_begin[2]
                    && start + (pool.kernel[2] - 1) * pool.dilation[2] < pool.pad_begin[2] + pool.input[2];
                if inside {
                    *x *= whole;
                } else {
                    *x /= (counts * pool.count(2, o, divisor)).max(1) as f32;
                }
            }
        }
    }
}

#[inline(always)]
fn lp_pool<S: Simd>(_isa: S, out: &mut [f32], input: &[f32], pool: &Pool, p: u32) {
    pool.check(out.len(), input.len());
    pool.planes(out).for_each(|plane| plane.fill(0.0));
    match p {
        1 => pool.join(out, input, |sum, x| sum + x.abs()),
        2 => pool.join(out, input, |sum, x| sum + x * x),
        _ => pool.join(out, input, |sum, x| sum + math::pow(x.abs(), p as f32)),
    }
    let root = 1.0 / p as f32;
    for plane in pool.planes(out) {
        match p {
            1 => {}
            2 => plane.iter_mut().for_each(|sum| *sum = math::sqrt(*sum)),
            _ => plane.iter_mut().for_each(|sum| *sum = math::pow(*sum, root)),
        }
    }
}

/// The position in its tensor of the greatest element of each window, the first of equal ones: the second output of
/// ONNX `MaxPool`, in row-major order of the dense input, or with the order of the axes of a plane reversed if
/// `column_major`.
///
/// A window that sees nothing has position 0.
///
/// # Panics
///
/// If the planes reach out of the input or the output.
pub fn max_pool_indices<T: Number>(out: &mut [i64], input: &[T], pool: &Pool, column_major: bool) {
    pool.check(out.len(), input.len());
    let [depth, height, width] = pool.input;
    let [_, out_height, out_width] = pool.output;
    let [plane_stride, z_stride, y_stride, x_stride] = pool.input_strides;
    for (number, plane) in pool.planes(out).enumerate() {
        for (index, target) in plane.iter_mut().enumerate() {
            let (ox, oy, oz) = (
                index % out_width,
                index / out_width % out_height,
                index / (out_width * out_height),
            );
            let mut best: Option<(T, usize)> = None;
            for z in (0..pool.kernel[0]).filter_map(|k| pool.source(0, oz, k)) {
                for y in (0..pool.kernel[1]).filter_map(|k| pool.source(1, oy, k)) {
                    for x in (0..pool.kernel[2]).filter_map(|k| pool.source(2, ox, k)) {
                        let element = input[number * plane_stride + z * z_stride + y * y_stride + x * x_stride];
                        let rows = (z * height + y) * width + x;
                        let position = if column_major {
                            (x * height + y) * depth + z
                        } else {
                            rows
                        };
                        if best.is_none_or(|(best, _)| element > best) {
                            best = Some((element, number * depth * height * width + position));
                        }
                    }
                }
            }
            *target = best.map_or(0, |(_, position)| position as i64);
        }
    }
}
