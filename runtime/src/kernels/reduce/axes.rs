//! The loops of a reduction over any axes.

use crate::kernels::map::MAX_RANK;
use crate::math::Number;

/// The number of partial results of a row.
const LANES: usize = 32;

/// The number of results that are computed side by side where results are neighbors in memory.
const COLUMNS: usize = 256;

/// The least number of terms of a partial result. With more than its square of terms in all, the square root of that:
/// the error of a sum is then that of some `2 sqrt(count)` additions.
const BLOCK: usize = 64;

/// An axis: its size, and the distance between neighbors.
#[derive(Clone, Copy, Debug)]
struct Axis {
    size: usize,
    stride: isize,
}

/// Axes of one kind, outermost first.
#[derive(Clone, Copy, Debug)]
struct Group {
    axes: [Axis; MAX_RANK],
    len: usize,
}

impl Group {
    const EMPTY: Group = Group {
        axes: [Axis { size: 1, stride: 0 }; MAX_RANK],
        len: 0,
    };

    /// Adds an axis inside of the others, merging it with the last one if they are one walk.
    fn push(&mut self, axis: Axis) {
        if axis.size == 1 {
            return;
        }
        if let Some(last) = self.axes[..self.len].last_mut()
            && Some(last.stride) == axis.stride.checked_mul(axis.size as isize)
        {
            *last = Axis {
                size: last.size * axis.size,
                stride: axis.stride,
            };
            return;
        }
        self.axes[self.len] = axis;
        self.len += 1;
    }

    /// Takes the innermost axis away.
    fn pop(&mut self) -> Axis {
        match self.len.checked_sub(1) {
            Some(last) => {
                self.len = last;
                core::mem::replace(&mut self.axes[last], Axis { size: 1, stride: 0 })
            }
            None => Axis { size: 1, stride: 0 },
        }
    }

    /// Calls `f` with the offset of each element, in row-major order.
    #[inline(always)]
    fn each(&self, mut f: impl FnMut(isize)) {
        let mut coordinates = [0; MAX_RANK];
        let mut offset = 0;
        'elements: loop {
            f(offset);
            for index in (0..self.len).rev() {
                let axis = self.axes[index];
                coordinates[index] += 1;
                offset += axis.stride;
                if coordinates[index] < axis.size {
                    continue 'elements;
                }
                coordinates[index] = 0;
                offset -= axis.size as isize * axis.stride;
            }
            return;
        }
    }
}

/// The axes of a tensor, those that stay and those that are reduced, checked against the data.
#[derive(Clone, Copy, Debug)]
pub struct Axes {
    kept: Group,
    reduced: Group,
    /// The offset of the first element.
    origin: isize,
    /// The number of elements that become one.
    count: usize,
    /// The lengths that `out` and `input` were checked with.
    lengths: (usize, usize),
}

/// What happens with the elements: `map`, then `join`, and `finish` in the end. The first and the last get the
/// previous content of the output too.
#[derive(Clone, Copy)]
pub(super) struct Fold<T, M, J, F> {
    pub(super) finish: F,
    pub(super) start: T,
    pub(super) map: M,
    pub(super) join: J,
}

impl Axes {
    /// # Panics
    ///
    /// If the lengths of the output and of the input do not fit.
    pub(super) fn new<const R: usize>(
        shape: &[usize; R],
        strides: &[isize; R],
        reduced: &[bool; R],
        out: usize,
        input: usize,
    ) -> Axes {
        const { assert!(R <= MAX_RANK, "tensors have at most 8 axes") };
        let mut axes = Axes {
            kept: Group::EMPTY,
            reduced: Group::EMPTY,
            origin: 0,
            count: 1,
            lengths: (out, input),
        };
        let (mut results, mut highest) = (1usize, 0usize);
        for axis in 0..R {
            let span = strides[axis]
                .unsigned_abs()
                .saturating_mul(shape[axis].saturating_sub(1));
            highest = highest.saturating_add(span);
            if strides[axis] < 0 {
                axes.origin = axes.origin.saturating_add_unsigned(span);
            }
            let total = if reduced[axis] { &mut axes.count } else { &mut results };
            *total = total
                .checked_mul(shape[axis])
                .expect("a shape is larger than the address space");
            let group = if reduced[axis] {
                &mut axes.reduced
            } else {
                &mut axes.kept
            };
            group.push(Axis {
                size: shape[axis],
                stride: strides[axis],
            });
        }
        assert!(
            results == out,
            "the output of a reduction has another number of elements than the axes that stay"
        );
        assert!(
            highest < input || results * axes.count == 0,
            "a strided input of a reduction reaches out of its data"
        );
        axes
    }

    /// The size of the outermost axis that stays, and the number of results at each of its coordinates.
    pub(super) fn outermost(&self) -> (usize, usize) {
        match self.kept.axes[..self.kept.len] {
            [] => (self.lengths.0, 1),
            [first, ..] => (first.size, self.lengths.0.checked_div(first.size).unwrap_or(0)),
        }
    }

    /// What is left of these axes where the outermost one that stays has only the coordinates from `start` on, and `out`
    /// results remain. It is computed in the same way.
    pub(super) fn part(&self, start: usize, out: usize) -> Axes {
        let (size, inner) = self.outermost();
        let len = out.checked_div(inner).unwrap_or(0);
        assert!(start + len <= size, "a part of a reduction reaches out of it");
        let mut part = Axes {
            lengths: (out, self.lengths.1),
            ..*self
        };
        if let Some(first) = part.kept.axes[..part.kept.len].first_mut() {
            first.size = len;
            part.origin += start as isize * first.stride;
        }
        part
    }

    /// The number of elements that become one.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Writes the fold of the elements to each element of the output.
    #[inline(always)]
    pub(super) fn fold<T: Number>(
        &self,
        out: &mut [T],
        input: &[T],
        fold: Fold<T, impl Fn(T, T) -> T + Copy, impl Fn(T, T) -> T + Copy, impl Fn(T, T) -> T + Copy>,
    ) {
        assert!(
            self.lengths == (out.len(), input.len()),
            "axes are used for the tensors that they were made for"
        );
        if self.count == 0 {
            out.iter_mut()
                .for_each(|target| *target = (fold.finish)(fold.start, *target));
            return;
        }
        if out.is_empty() {
            return;
        }
        // SAFETY: `new` has checked that every element is inside of the input, whose start the offsets refer to.
        let origin = unsafe { input.as_ptr().offset(self.origin) };
        let block = self.count.isqrt().max(BLOCK);
        let (mut kept, mut reduced) = (self.kept, self.reduced);
        let (column, row) = (
            kept.axes[kept.len.saturating_sub(1)],
            reduced.axes[reduced.len.saturating_sub(1)],
        );
        if kept.len > 0 && column.stride.unsigned_abs() < row.stride.unsigned_abs() {
            kept.pop();
            let mut rest = out;
            kept.each(|offset| {
                let (results, others) = core::mem::take(&mut rest).split_at_mut(column.size);
                rest = others;
                // SAFETY: the offset is one of an element.
                unsafe { columns(results, origin.offset(offset), column.stride, &reduced, fold, block) };
            });
        } else {
            reduced.pop();
            let mut results = out.iter_mut();
            kept.each(|offset| {
                let Some(target) = results.next() else { return };
                let mut lanes = [fold.start; LANES];
                // SAFETY: the offsets are those of elements.
                reduced.each(|inner| unsafe {
                    fold_row(&mut lanes, origin.offset(offset + inner), row, *target, fold, block);
                });
                *target = (fold.finish)(join_lanes(lanes, fold.join), *target);
            });
        }
    }
}

/// Folds the elements of a row into lanes.
///
/// # Safety
///
/// The elements of the row are readable.
#[inline(always)]
unsafe fn fold_row<T: Number>(
    lanes: &mut [T; LANES],
    first: *const T,
    row: Axis,
    previous: T,
    fold: Fold<T, impl Fn(T, T) -> T, impl Fn(T, T) -> T, impl Fn(T, T) -> T>,
    block: usize,
) {
    let piece = if row.stride == 1 { block * LANES } else { COLUMNS };
    let mut gathered = [T::ZERO; COLUMNS];
    let mut done = 0;
    while done < row.size {
        let len = piece.min(row.size - done);
        // SAFETY: the elements are readable, and a piece has room in the buffer if it needs that.
        let elements = unsafe { consecutive(first.offset(done as isize * row.stride), row.stride, len, &mut gathered) };
        let mut partials = [fold.start; LANES];
        let (chunks, rest) = elements.as_chunks::<LANES>();
        for chunk in chunks {
            for lane in 0..LANES {
                partials[lane] = (fold.join)(partials[lane], (fold.map)(chunk[lane], previous));
            }
        }
        for (partial, &element) in partials.iter_mut().zip(rest) {
            *partial = (fold.join)(*partial, (fold.map)(element, previous));
        }
        for lane in 0..LANES {
            lanes[lane] = (fold.join)(lanes[lane], partials[lane]);
        }
        done += len;
    }
}

/// Elements as a slice, copied to the buffer if they are not consecutive.
///
/// # Safety
///
/// The elements are readable, and at most `COLUMNS` unless the stride is 1.
#[inline(always)]
unsafe fn consecutive<T: Number>(first: *const T, stride: isize, len: usize, buffer: &mut [T; COLUMNS]) -> &[T] {
    if stride == 1 {
        // SAFETY: the elements are consecutive and readable.
        return unsafe { core::slice::from_raw_parts(first, len) };
    }
    for (index, target) in buffer[..len].iter_mut().enumerate() {
        // SAFETY: the element is readable.
        *target = unsafe { *first.offset(index as isize * stride) };
    }
    &buffer[..len]
}

/// The fold of all lanes, in pairs.
#[inline(always)]
pub(super) fn join_lanes<T: Copy, const N: usize>(mut lanes: [T; N], join: impl Fn(T, T) -> T) -> T {
    let mut half = N / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = join(lanes[lane], lanes[lane + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// Folds into results whose elements are neighbors in memory.
///
/// # Safety
///
/// The elements of the results, each at every offset of `reduced`, are readable.
#[inline(always)]
unsafe fn columns<T: Number>(
    results: &mut [T],
    first: *const T,
    stride: isize,
    reduced: &Group,
    fold: Fold<T, impl Fn(T, T) -> T + Copy, impl Fn(T, T) -> T + Copy, impl Fn(T, T) -> T + Copy>,
    block: usize,
) {
    let mut gathered = [T::ZERO; COLUMNS];
    let mut column = 0;
    for results in results.chunks_mut(COLUMNS) {
        let len = results.len();
        let (mut totals, mut partials) = ([fold.start; COLUMNS], [fold.start; COLUMNS]);
        let mut terms = 0;
        reduced.each(|offset| {
            // SAFETY: the offset is one of elements that are readable, at most `COLUMNS`.
            let elements = unsafe { consecutive(first.offset(offset + column * stride), stride, len, &mut gathered) };
            for ((partial, &previous), &element) in partials[..len].iter_mut().zip(&*results).zip(elements) {
                *partial = (fold.join)(*partial, (fold.map)(element, previous));
            }
            terms += 1;
            if terms == block {
                terms = 0;
                for (total, partial) in totals[..len].iter_mut().zip(&mut partials[..len]) {
                    *total = (fold.join)(*total, core::mem::replace(partial, fold.start));
                }
            }
        });
        for ((target, total), partial) in results.iter_mut().zip(totals).zip(partials) {
            *target = (fold.finish)((fold.join)(total, partial), *target);
        }
        column += COLUMNS as isize;
    }
}
