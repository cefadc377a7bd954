//! Values of coordinates: tensors that an expression generates, and expressions combined over a domain.
//!
//! These are the kernels for everything that has no kernel of its own: a convolution of any type and rank, interpolation
//! of any kind, padding by a number that only the run knows. They run one element after another.
//!
//! ```
//! use onnxide_runtime::kernels::fold::{at, fold, generate};
//!
//! let (a, b) = ([1, 2, 3, 4, 5, 6], [1, 0, 2]);
//! let mut product = [0; 2];
//! fold(&mut product, [2], [3], 0, |[i], [k]| at(&a, i * 3 + k) * at(&b, k), |sum, x| sum + x);
//! assert_eq!(product, [7, 16]);
//!
//! let mut reversed = [0; 6];
//! generate(&mut reversed, [6], |[i]| at(&a, 5 - i));
//! assert_eq!(reversed, [6, 5, 4, 3, 2, 1]);
//! ```

use crate::element::Element;
use crate::team::Compute;

/// The element at a place, and zero where there is none.
#[inline(always)]
pub fn at<T: Element>(data: &[T], place: i64) -> T {
    let place = usize::try_from(place).unwrap_or(usize::MAX);
    data.get(place).copied().unwrap_or_default()
}

/// Writes the value of each element's coordinates to a dense output of this shape.
///
/// # Panics
///
/// If the length of `out` is not the product of `shape`.
#[inline]
pub fn generate<T: Element, const R: usize>(out: &mut [T], shape: [usize; R], value: impl Fn([i64; R]) -> T) {
    check(out, &shape);
    generate_from([0; R], out, &shape, value);
}

/// [`generate`] of the elements from some coordinates on.
#[inline(always)]
fn generate_from<T: Element, const R: usize>(
    mut here: [i64; R],
    out: &mut [T],
    shape: &[usize; R],
    value: impl Fn([i64; R]) -> T,
) {
    for out in out {
        *out = value(here);
        advance(&mut here, shape);
    }
}

/// Combines, for each element of a dense output of this shape, `start` with the values of the element's coordinates and
/// of those of the domain, in row-major order of the domain.
///
/// # Panics
///
/// If the length of `out` is not the product of `shape`.
#[inline]
pub fn fold<T: Element, const R: usize, const D: usize>(
    out: &mut [T],
    shape: [usize; R],
    domain: [usize; D],
    start: T,
    value: impl Fn([i64; R], [i64; D]) -> T,
    combine: impl Fn(T, T) -> T,
) {
    check(out, &shape);
    fold_from([0; R], out, &shape, &domain, start, value, combine);
}

/// [`fold`] of the elements from some coordinates on.
#[inline(always)]
fn fold_from<T: Element, const R: usize, const D: usize>(
    mut here: [i64; R],
    out: &mut [T],
    shape: &[usize; R],
    domain: &[usize; D],
    start: T,
    value: impl Fn([i64; R], [i64; D]) -> T,
    combine: impl Fn(T, T) -> T,
) {
    // The innermost axis of the domain is a loop of its own, so that what does not depend on it is computed once.
    let (outer, inner) = match domain.split_last() {
        Some((&inner, outer)) => (outer, inner),
        None => (&domain[..], 1),
    };
    let rows: usize = outer.iter().product();
    for out in out {
        let mut total = start;
        let mut place = [0; D];
        for _ in 0..rows {
            for last in 0..inner {
                if let Some(coordinate) = place.last_mut() {
                    *coordinate = last as i64;
                }
                total = combine(total, value(here, place));
            }
            advance(&mut place[..outer.len()], outer);
        }
        *out = total;
        advance(&mut here, shape);
    }
}

/// These kernels, as methods of a [`Team`](crate::team::Team).
pub trait Folding: Compute {
    /// [`generate`], divided.
    ///
    /// # Panics
    ///
    /// As for [`generate`].
    #[inline]
    fn generate<T: Element, const R: usize>(
        self,
        out: &mut [T],
        shape: [usize; R],
        value: impl Fn([i64; R]) -> T + Sync,
    ) {
        check(out, &shape);
        let team = self.team();
        let share = team.share(out.len());
        team.each(out.chunks_mut(share), |index, out| {
            generate_from(coordinates(index * share, &shape), out, &shape, &value);
        });
    }

    /// [`fold`], divided.
    ///
    /// # Panics
    ///
    /// As for [`fold`].
    #[inline]
    fn fold<T: Element, const R: usize, const D: usize>(
        self,
        out: &mut [T],
        shape: [usize; R],
        domain: [usize; D],
        start: T,
        value: impl Fn([i64; R], [i64; D]) -> T + Sync,
        combine: impl Fn(T, T) -> T + Sync,
    ) {
        check(out, &shape);
        let team = self.team();
        let share = team.share(out.len());
        team.each(out.chunks_mut(share), |index, out| {
            let here = coordinates(index * share, &shape);
            fold_from(here, out, &shape, &domain, start, &value, &combine);
        });
    }
}

impl<C: Compute> Folding for C {}

/// The coordinates of an element, in row-major order.
fn coordinates<const R: usize>(mut index: usize, shape: &[usize; R]) -> [i64; R] {
    let mut here = [0; R];
    for (coordinate, &size) in here.iter_mut().zip(shape).rev() {
        *coordinate = (index % size) as i64;
        index /= size;
    }
    here
}

#[inline(always)]
fn check<T>(out: &[T], shape: &[usize]) {
    assert!(
        out.len() == shape.iter().product::<usize>(),
        "the output has another number of elements than its shape"
    );
}

/// Goes to the next coordinates in row-major order; after the last come the first.
#[inline(always)]
fn advance(here: &mut [i64], shape: &[usize]) {
    for (coordinate, &size) in here.iter_mut().zip(shape).rev() {
        *coordinate += 1;
        if *coordinate < size as i64 {
            return;
        }
        *coordinate = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_nothing_outside() {
        let data = [3.0f32, 4.0];
        for (place, expected) in [
            (0, 3.0),
            (1, 4.0),
            (2, 0.0),
            (-1, 0.0),
            (i64::MIN, 0.0),
            (i64::MAX, 0.0),
        ] {
            assert_eq!(at(&data, place), expected, "{place}");
        }
    }

    #[test]
    fn coordinates_are_in_row_major_order() {
        let mut out = [0i64; 24];
        generate(&mut out, [2, 3, 4], |[i, j, k]| 100 * i + 10 * j + k);
        assert_eq!(out[..5], [0, 1, 2, 3, 10]);
        assert_eq!(out[23], 123);
        let mut out = [0i64; 2];
        fold(
            &mut out,
            [2],
            [2, 3],
            0,
            |[i], [j, k]| 100 * i + 10 * j + k,
            |last, x| last * 2 + x,
        );
        let expected = |i: i64| [0, 1, 2, 10, 11, 12].iter().fold(0, |last, x| last * 2 + 100 * i + x);
        assert_eq!(out, [expected(0), expected(1)]);
    }

    #[test]
    fn empty_shapes_and_domains() {
        let mut one = [7i64];
        fold(&mut one, [], [], 5, |[], []| 3, |a, b| a + b);
        assert_eq!(one, [8]);
        fold(&mut one, [1], [0], 5, |_, _| unreachable!(), |a: i64, b| a + b);
        assert_eq!(one, [5]);
        fold(&mut one, [1], [3, 0], 6, |_, _| unreachable!(), |a: i64, b| a + b);
        assert_eq!(one, [6]);
        fold(&mut one, [1], [0, 3], 4, |_, _| unreachable!(), |a: i64, b| a + b);
        assert_eq!(one, [4]);
        generate(&mut [0i64; 0], [3, 0], |_| unreachable!());
    }
}
