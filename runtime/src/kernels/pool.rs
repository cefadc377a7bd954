//! Pooling over windows of up to three spatial axes.

#[cfg(test)]
mod tests;

use super::simd::Simd;
use crate::isa::kernel_table;
use crate::math::Number;

/// The windows of a pooling over planes that are dense `[depth, height, width]`; unused leading axes have input,
/// output, kernel, stride and dilation 1.
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
        /// If a length differs from the product of its shape.
        fn max_pool_f32(out: &mut [f32], input: &[f32], pool: &Pool) = max_pool;

        /// As `max_pool_f32`.
        fn max_pool_i8(out: &mut [i8], input: &[i8], pool: &Pool) = max_pool;

        /// As `max_pool_f32`.
        fn max_pool_u8(out: &mut [u8], input: &[u8], pool: &Pool) = max_pool;

        /// The average of each window; 0 for a window that sees nothing.
        ///
        /// # Panics
        ///
        /// If a length differs from the product of its shape.
        fn average_pool(out: &mut [f32], input: &[f32], pool: &Pool, divisor: Divisor) = average_pool;
    }
}

impl Pool {
    fn check(&self, out: usize, input: usize) {
        let product = |shape: [usize; 3]| shape.iter().product::<usize>() * self.planes;
        assert!(
            out == product(self.output),
            "the output of a pooling has another length than its shape"
        );
        assert!(
            input == product(self.input),
            "the input of a pooling has another length than its shape"
        );
        assert!(self.stride.iter().all(|&stride| stride > 0), "a pooling stride is 0");
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
        let [_, height, width] = self.input;
        let [out_depth, out_height, out_width] = self.output;
        let plane = self.input.iter().product::<usize>();
        if out.is_empty() || plane == 0 {
            return;
        }
        for (index, row) in out.chunks_mut(out_width).enumerate() {
            let (oy, oz) = (index % out_height, index / out_height % out_depth);
            let input = &input[index / (out_height * out_depth) * plane..][..plane];
            for z in (0..self.kernel[0]).filter_map(|k| self.source(0, oz, k)) {
                for y in (0..self.kernel[1]).filter_map(|k| self.source(1, oy, k)) {
                    let input = &input[(z * height + y) * width..][..width];
                    for k in 0..self.kernel[2] {
                        let (first, end) = self.windows(2, k);
                        if first == end {
                            continue;
                        }
                        let start = first * self.stride[2] + k * self.dilation[2] - self.pad_begin[2];
                        let (targets, elements) = (&mut row[first..end], &input[start..]);
                        match self.stride[2] {
                            1 => join_row(targets, elements, 1, &join),
                            2 => join_row(targets, elements, 2, &join),
                            stride => join_row(targets, elements, stride, &join),
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
    out.fill(T::LOWEST);
    pool.join(out, input, T::greater);
}

#[inline(always)]
fn average_pool<S: Simd>(_isa: S, out: &mut [f32], input: &[f32], pool: &Pool, divisor: Divisor) {
    pool.check(out.len(), input.len());
    out.fill(0.0);
    pool.join(out, input, |sum, x| sum + x);
    if divisor == Divisor::One || out.is_empty() {
        return;
    }
    let [out_depth, out_height, out_width] = pool.output;
    // Windows that see all of their elements are those in the middle.
    let whole = (0..out_width).filter(|&o| pool.count(2, o, divisor) == pool.kernel[2]);
    let (middle, end) = whole.fold((out_width, 0), |(first, end), o| (first.min(o), end.max(o + 1)));
    for (index, row) in out.chunks_mut(out_width).enumerate() {
        let (oy, oz) = (index % out_height, index / out_height % out_depth);
        let counts = pool.count(1, oy, divisor) * pool.count(0, oz, divisor);
        let mut scale_border = |range: core::ops::Range<usize>| {
            for o in range {
                let count = counts * pool.count(2, o, divisor);
                row[o] /= count.max(1) as f32;
            }
        };
        scale_border(0..middle.min(end));
        scale_border(end.max(middle.min(end))..out_width);
        if middle < end {
            let scale = 1.0 / (counts * pool.kernel[2]).max(1) as f32;
            row[middle..end].iter_mut().for_each(|x| *x *= scale);
        }
    }
}

/// The position in its tensor of the greatest element of each window, the first of equal ones: the second output of
/// ONNX `MaxPool`, in row-major order of the input, or with height and width exchanged if `column_major`.
///
/// A window that sees nothing has position 0.
///
/// # Panics
///
/// If a length differs from the product of its shape.
pub fn max_pool_indices<T: Number>(out: &mut [i64], input: &[T], pool: &Pool, column_major: bool) {
    pool.check(out.len(), input.len());
    let [depth, height, width] = pool.input;
    let [out_depth, out_height, out_width] = pool.output;
    let plane = depth * height * width;
    for (index, target) in out.iter_mut().enumerate() {
        let (ox, oy) = (index % out_width, index / out_width % out_height);
        let (oz, number) = (
            index / (out_width * out_height) % out_depth,
            index / (out_width * out_height * out_depth),
        );
        let mut best: Option<(T, usize)> = None;
        for z in (0..pool.kernel[0]).filter_map(|k| pool.source(0, oz, k)) {
            for y in (0..pool.kernel[1]).filter_map(|k| pool.source(1, oy, k)) {
                for x in (0..pool.kernel[2]).filter_map(|k| pool.source(2, ox, k)) {
                    let element = input[number * plane + (z * height + y) * width + x];
                    let position = if column_major {
                        (x * height + y) * depth + z
                    } else {
                        (z * height + y) * width + x
                    };
                    if best.is_none_or(|(best, _)| element > best) {
                        best = Some((element, number * plane + position));
                    }
                }
            }
        }
        *target = best.map_or(0, |(_, position)| position as i64);
    }
}
