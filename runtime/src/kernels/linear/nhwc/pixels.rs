//! Copies of parts of images, with what is around them, in which every tap of a convolution finds what it reads.
//!
//! A few rows of the image are copied at a time, and read where they then lie for all taps and all output channels.

use super::Conv2dNhwc;
use crate::kernels::linear::depth::Depth;

/// Coordinates in a block per coordinate of the output, and coordinates of the image per coordinate of the block: what no
/// tap reads is not in a block.
const fn steps(problem: &Conv2dNhwc, axis: usize) -> (usize, usize) {
    if problem.kernel[axis] == 1 {
        (1, problem.stride[axis])
    } else {
        (problem.stride[axis], 1)
    }
}

/// Coordinates that `count` coordinates of the output see in a block.
const fn span(problem: &Conv2dNhwc, axis: usize, count: usize) -> usize {
    if problem.kernel[axis] == 1 {
        if count > 1 { count } else { 1 }
    } else {
        problem.span(axis, count)
    }
}

/// Pixels of a block of some rows and columns of the output.
pub(super) const fn seen(problem: &Conv2dNhwc, rows: usize, columns: usize) -> usize {
    span(problem, 0, rows).saturating_mul(span(problem, 1, columns))
}

/// The pixels of an output as rows of a matrix, which is the image.
pub(super) struct Pixels<'a, X> {
    pub(super) problem: &'a Conv2dNhwc,
    pub(super) x: &'a [X],
    /// Numbers of a pixel of a block: at least as many as the input has channels.
    pub(super) width: usize,
}

impl<X: Copy> Pixels<'_, X> {
    /// Rows and columns of the output in a block of some pixels: whole rows, or a part of one.
    #[inline(always)]
    fn shape(&self, pixels: usize) -> (usize, usize) {
        let width = self.problem.out_width;
        (pixels.div_ceil(width), pixels.min(width))
    }

    /// Numbers between rows of a block with so many columns of the output.
    #[inline(always)]
    fn pitch(&self, columns: usize) -> usize {
        span(self.problem, 1, columns) * self.width
    }

    /// Numbers of a block of some rows and columns of the output.
    #[inline(always)]
    fn seen(&self, rows: usize, columns: usize) -> usize {
        seen(self.problem, rows, columns).saturating_mul(self.width)
    }

    /// Pixels of the block that begins with a pixel of the output and is copied into at most so many numbers; 0 if these are
    /// too few.
    #[inline(always)]
    pub(super) fn fitting(&self, first: usize, numbers: usize) -> usize {
        let problem = self.problem;
        let width = problem.out_width;
        if self.seen(1, width) <= numbers {
            // Rows that follow the first see as much more.
            let row = steps(problem, 0).0 * self.pitch(width);
            let more = (numbers - self.seen(1, width)).checked_div(row);
            return more.map_or(1, |more| more + 1).min(problem.out_height) * width;
        }
        let column = span(problem, 0, 1) * self.width;
        let columns = numbers / column.max(1);
        match columns.checked_sub(span(problem, 1, 1)) {
            None => 0,
            Some(more) => (more / steps(problem, 1).0 + 1).min(width - first % width),
        }
    }

    /// The depth of the sums, as it is in a block of so many pixels.
    #[inline(always)]
    pub(super) fn runs(&self, pixels: usize) -> Depth {
        let problem = self.problem;
        let (width, pitch) = (self.width, self.pitch(self.shape(pixels).1));
        let [height, taps] = problem.kernel;
        let next = problem.dilation[0] * pitch;
        // The pixels that the taps of a row read follow each other.
        if problem.dilation[1] == 1 || taps == 1 {
            Depth {
                counts: [height, 1],
                steps: [next, 0],
                run: taps * width,
            }
        } else {
            Depth {
                counts: [height, taps],
                steps: [next, problem.dilation[1] * width],
                run: width,
            }
        }
    }

    /// Where in a block of so many pixels the first tap of one of them is.
    #[inline(always)]
    pub(super) fn start(&self, pixels: usize, pixel: usize) -> usize {
        let problem = self.problem;
        let columns = self.shape(pixels).1;
        pixel / columns * steps(problem, 0).0 * self.pitch(columns) + pixel % columns * steps(problem, 1).0 * self.width
    }

    /// The same of the pixels from one on, which are side by side or in rows that follow each other.
    #[inline(always)]
    pub(super) fn starts(&self, pixels: usize, pixel: usize, starts: &mut [usize]) {
        let problem = self.problem;
        let columns = self.shape(pixels).1;
        let apart = steps(problem, 1).0 * self.width;
        let down = steps(problem, 0).0 * self.pitch(columns);
        let mut column = pixel % columns;
        let mut row = pixel / columns * down;
        for start in starts {
            *start = row + column * apart;
            column += 1;
            if column == columns {
                (row, column) = (row + down, 0);
            }
        }
    }

    /// Copies a block of so many pixels from `first` on, with `outside` around the image and in surplus channels, and
    /// returns how many numbers that are.
    #[inline(always)]
    pub(super) fn copy<V: Copy>(
        &self,
        first: usize,
        pixels: usize,
        numbers: &mut [V],
        outside: V,
        convert: impl Fn(X) -> V + Copy,
    ) -> usize {
        let problem = self.problem;
        let (rows, columns) = self.shape(pixels);
        let (y, x) = (first / problem.out_width, first % problem.out_width);
        let [top, left] =
            [(0, y), (1, x)].map(|(axis, at)| (at * problem.stride[axis]).wrapping_sub(problem.pad[axis]));
        let pitch = self.pitch(columns);
        let used = self.seen(rows, columns);
        if used == 0 {
            return 0;
        }
        for (index, numbers) in numbers[..used].chunks_exact_mut(pitch).enumerate() {
            let row = top.wrapping_add(index * steps(problem, 0).1);
            if row < problem.in_height {
                self.copy_row(row, left, numbers, outside, convert);
            } else {
                numbers.fill(outside);
            }
        }
        used
    }

    /// Copies the pixels of a row of the image from column `first` on, which wraps around before the image.
    #[inline(always)]
    fn copy_row<V: Copy>(
        &self,
        row: usize,
        first: usize,
        numbers: &mut [V],
        outside: V,
        convert: impl Fn(X) -> V + Copy,
    ) {
        let problem = self.problem;
        let (step, width) = (steps(problem, 1).1, self.width);
        // Pixels before the image, and those in it.
        let before = if first >= problem.in_width {
            first.wrapping_neg().div_ceil(step)
        } else {
            0
        };
        let first = first.wrapping_add(before.wrapping_mul(step));
        let inside = problem.in_width.saturating_sub(first).div_ceil(step);
        let before = before.min(numbers.len() / width);
        let (around, numbers) = numbers.split_at_mut(before * width);
        around.fill(outside);
        let inside = inside.min(numbers.len() / width);
        let (numbers, around) = numbers.split_at_mut(inside * width);
        around.fill(outside);
        let x = self
            .x
            .get(row * problem.x_row + first * problem.x_column..)
            .unwrap_or_default();
        if inside == 0 {
            return;
        }
        let apart = step * problem.x_column;
        let copy = |numbers: &mut [V], source: &[X]| {
            for (to, &number) in numbers.iter_mut().zip(source) {
                *to = convert(number);
            }
        };
        if problem.x_channel == 1 && apart == width && problem.in_channels == width {
            copy(numbers, &x[..inside * width]);
        } else if problem.x_channel == 1 {
            for (pixel, numbers) in numbers.chunks_exact_mut(width).enumerate() {
                copy(numbers, &x[pixel * apart..][..problem.in_channels]);
                numbers[problem.in_channels..].fill(outside);
            }
        } else if apart == 1 && problem.in_channels == width && width <= 4 {
            let plane = |channel: usize| &x[channel * problem.x_channel..][..inside];
            match width {
                1 => interleave([plane(0)], numbers, convert),
                2 => interleave([plane(0), plane(1)], numbers, convert),
                3 => interleave([plane(0), plane(1), plane(2)], numbers, convert),
                _ => interleave([plane(0), plane(1), plane(2), plane(3)], numbers, convert),
            }
        } else {
            for channel in 0..width {
                for pixel in 0..inside {
                    numbers[pixel * width + channel] = match channel < problem.in_channels {
                        true => convert(x[channel * problem.x_channel + pixel * apart]),
                        false => outside,
                    };
                }
            }
        }
    }
}

/// Makes pixels of planes, as many as the compiler has instructions for.
#[inline(always)]
fn interleave<X: Copy, V: Copy, const N: usize>(planes: [&[X]; N], numbers: &mut [V], convert: impl Fn(X) -> V) {
    let pixels = numbers.as_chunks_mut::<N>().0;
    let planes = planes.map(|plane| &plane[..pixels.len()]);
    for (index, pixel) in pixels.iter_mut().enumerate() {
        *pixel = core::array::from_fn(|channel| convert(planes[channel][index]));
    }
}
