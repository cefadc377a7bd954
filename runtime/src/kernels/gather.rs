//! Reading at indices.
//!
//! A negative index counts from the end of its axis. An index outside of the axis reads the nearest element there is
//! and makes the result `false`, so that a run can report it.

use crate::element::Element;
use crate::team::{Compute, MAX_PARTS};

/// An element type of indices.
pub trait IndexElement: Element {
    /// The index in an axis, and whether it is inside. The axis is not empty.
    #[doc(hidden)]
    fn resolve(self, size: usize) -> (usize, bool);
}

macro_rules! index_elements {
    ($($type:ty)*) => {$(
        impl IndexElement for $type {
            #[inline(always)]
            fn resolve(self, size: usize) -> (usize, bool) {
                let index = i64::from(self);
                let size = size as i64;
                let from_start = if index < 0 { index.saturating_add(size) } else { index };
                let held = from_start.clamp(0, size - 1);
                (held as usize, held == from_start)
            }
        }
    )*};
}

index_elements!(i32 i64);

fn check_data(data: usize, sizes: [usize; 3]) {
    let [outer, size, inner] = sizes;
    assert!(
        data == outer * size * inner,
        "the data of a gather has another length than its shape"
    );
}

/// Slices along the middle axis of dense `data` `[outer, size, inner]`, one for each index:
/// `out[outer, indices.len(), inner]`. Returns whether every index is inside of its axis.
///
/// # Panics
///
/// If a length differs from the product of its shape.
pub fn gather<T: Element, I: IndexElement>(out: &mut [T], data: &[T], indices: &[I], sizes: [usize; 3]) -> bool {
    let [outer, size, inner] = sizes;
    check_data(data.len(), sizes);
    assert!(
        out.len() == outer * indices.len() * inner,
        "the output of a gather has another length than its shape"
    );
    if size == 0 {
        out.fill(T::default());
        return indices.is_empty() || outer == 0;
    }
    if out.is_empty() {
        return true;
    }
    let mut inside = true;
    for (out, data) in out.chunks_mut(indices.len() * inner).zip(data.chunks(size * inner)) {
        if inner == 1 {
            for (target, index) in out.iter_mut().zip(indices) {
                let (index, fits) = index.resolve(size);
                inside &= fits;
                *target = data[index];
            }
        } else {
            for (target, index) in out.chunks_mut(inner).zip(indices) {
                let (index, fits) = index.resolve(size);
                inside &= fits;
                target.copy_from_slice(&data[index * inner..][..inner]);
            }
        }
    }
    inside
}

/// These kernels, as methods of a [`Team`](crate::team::Team).
pub trait Gathering: Compute {
    /// [`gather`], divided.
    ///
    /// # Panics
    ///
    /// As for [`gather`].
    fn gather<T: Element, I: IndexElement>(self, out: &mut [T], data: &[T], indices: &[I], sizes: [usize; 3]) -> bool {
        let [outer, size, inner] = sizes;
        if outer != 1 || inner == 0 || out.len() != indices.len() * inner {
            return gather(out, data, indices, sizes);
        }
        let team = self.team();
        let share = team.share(indices.len());
        let mut inside = [true; MAX_PARTS];
        let pieces = out
            .chunks_mut(share * inner)
            .zip(indices.chunks(share))
            .zip(&mut inside);
        team.each(pieces, |_, ((out, indices), inside)| {
            *inside = gather(out, data, indices, [1, size, inner]);
        });
        inside.iter().all(|&inside| inside)
    }
}

impl<C: Compute> Gathering for C {}

/// Elements of dense `data` `[outer, size, inner]` at indices along the middle axis, which `indices` and `out` have in
/// another size: `out[o, j, i] = data[o, indices[o, j, i], i]`. Returns whether every index is inside of its axis.
///
/// # Panics
///
/// If a length differs from the product of its shape.
pub fn gather_elements<T: Element, I: IndexElement>(
    out: &mut [T],
    data: &[T],
    indices: &[I],
    sizes: [usize; 3],
) -> bool {
    let [_, size, inner] = sizes;
    check_data(data.len(), sizes);
    assert!(
        out.len() == indices.len(),
        "the output of a gather has another length than its indices"
    );
    if out.is_empty() {
        return true;
    }
    let outer = sizes[0];
    assert!(
        outer * inner > 0 && out.len().is_multiple_of(outer * inner),
        "the indices of a gather have another shape"
    );
    if size == 0 {
        out.fill(T::default());
        return false;
    }
    let mut inside = true;
    let per_outer = out.len() / outer;
    for ((out, indices), data) in out
        .chunks_mut(per_outer)
        .zip(indices.chunks(per_outer))
        .zip(data.chunks(size * inner))
    {
        for (out, indices) in out.chunks_mut(inner).zip(indices.chunks(inner)) {
            for (position, (target, index)) in out.iter_mut().zip(indices).enumerate() {
                let (index, fits) = index.resolve(size);
                inside &= fits;
                *target = data[index * inner + position];
            }
        }
    }
    inside
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_of_any_size() {
        let data: Vec<u8> = (0..24).collect();
        for (sizes, indices) in [
            ([2, 3, 4], vec![2, -3, 0, -1, 1]),
            ([4, 6, 1], vec![-6, 5]),
            ([1, 24, 1], vec![]),
        ] {
            let [outer, size, inner] = sizes;
            let mut expected = Vec::new();
            for row in 0..outer {
                for index in &indices {
                    let index = if *index < 0 { index + size as i32 } else { *index } as usize;
                    expected.extend_from_slice(&data[(row * size + index) * inner..][..inner]);
                }
            }
            let mut out = vec![0; expected.len()];
            assert!(gather(&mut out, &data, &indices, sizes));
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn an_index_outside_is_held_and_reported() {
        let mut out = [0.0; 4];
        assert!(!gather(
            &mut out,
            &[1.0, 2.0, 3.0],
            &[3i64, -4, i64::MIN, i64::MAX],
            [1, 3, 1]
        ));
        assert_eq!(out, [3.0, 1.0, 1.0, 3.0]);
        assert!(!gather_elements(&mut out, &[1.0, 2.0, 3.0], &[0, 1, 9, -9], [1, 3, 1]));
        assert_eq!(out, [1.0, 2.0, 3.0, 1.0]);
        assert!(!gather(&mut out, &[], &[0i32], [1, 0, 4]));
        assert!(!gather_elements(&mut out, &[], &[0i32; 4], [1, 0, 1]));
    }

    #[test]
    fn elements_at_indices() {
        // data[o, j, i] = 100 o + 10 j + i.
        let data: Vec<i64> = (0..2)
            .flat_map(|o| (0..3).flat_map(move |j| (0..2).map(move |i| 100 * o + 10 * j + i)))
            .collect();
        let indices = [2, 0, -1, 1, 0, 0, 1, -3];
        let mut out = [0; 8];
        assert!(gather_elements(&mut out, &data, &indices, [2, 3, 2]));
        assert_eq!(out, [20, 1, 20, 11, 100, 101, 110, 101]);
    }
}
