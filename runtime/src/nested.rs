//! Nested arrays, the inputs and outputs of models with constant shapes, and the flat slices that kernels work on.

use crate::element::Element;
use crate::text::Text;

mod sealed {
    pub trait Sealed {}
}

/// A number, a boolean, a string, or an array of these: `[[f32; 10]; 1]`.
///
/// # Safety
///
/// The value consists of `LEN` elements of type `Item`, one after another, and nothing else.
pub unsafe trait Nested: sealed::Sealed {
    /// The type of the innermost elements.
    type Item: Copy;
    /// The number of innermost elements.
    const LEN: usize;
}

impl<T: Element> sealed::Sealed for T {}
// SAFETY: an element is one element.
unsafe impl<T: Element> Nested for T {
    type Item = T;
    const LEN: usize = 1;
}

impl sealed::Sealed for bool {}
// SAFETY: a boolean is one boolean.
unsafe impl Nested for bool {
    type Item = bool;
    const LEN: usize = 1;
}

impl<const N: usize> sealed::Sealed for Text<N> {}
// SAFETY: a string is one string.
unsafe impl<const N: usize> Nested for Text<N> {
    type Item = Text<N>;
    const LEN: usize = 1;
}

impl<A: Nested, const N: usize> sealed::Sealed for [A; N] {}
// SAFETY: an array is its elements, one after another; the product cannot overflow where the type has values, because
// no item has size zero.
unsafe impl<A: Nested, const N: usize> Nested for [A; N] {
    type Item = A::Item;
    const LEN: usize = A::LEN * N;
}

/// The innermost elements in row-major order.
#[inline(always)]
pub const fn flat<A: Nested>(nested: &A) -> &[A::Item] {
    // SAFETY: the value is `LEN` items, which are borrowed for the life of the result.
    unsafe { core::slice::from_raw_parts(core::ptr::from_ref(nested).cast(), A::LEN) }
}

/// Elements in row-major order as a nested array.
///
/// # Panics
///
/// If there are more or fewer than the array has.
#[inline(always)]
pub const fn nested<A: Nested>(flat: &[A::Item]) -> &A {
    assert!(
        flat.len() == A::LEN,
        "a nested array has another number of elements than the slice"
    );
    // SAFETY: the slice is `LEN` items, aligned as the array is, which are borrowed for the life of the result.
    unsafe { &*flat.as_ptr().cast() }
}

/// Booleans as the bytes that kernels work on.
#[inline(always)]
pub const fn bytes_of_bools(bools: &[bool]) -> &[u8] {
    // SAFETY: a boolean is a byte that is 0 or 1.
    unsafe { core::slice::from_raw_parts(bools.as_ptr().cast(), bools.len()) }
}

/// The booleans in bytes that a kernel wrote.
///
/// # Panics
///
/// If a byte is neither 0 nor 1.
#[inline]
pub fn bools_of_bytes(bytes: &[u8]) -> &[bool] {
    assert!(bytes.iter().all(|&byte| byte <= 1), "a boolean is neither 0 nor 1");
    // SAFETY: every byte is 0 or 1.
    unsafe { core::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
}

/// Bytes as booleans to be written, all `false` at first.
#[inline]
pub fn cleared_bools(bytes: &mut [u8]) -> &mut [bool] {
    bytes.fill(0);
    // SAFETY: every byte is 0, which is a boolean, and every boolean that is written is a byte.
    unsafe { core::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_become_flat_and_nested_again() {
        let array = [[[1, 2, 3], [4, 5, 6]]];
        assert_eq!(flat(&array), [1, 2, 3, 4, 5, 6]);
        assert_eq!(nested::<[[[i32; 3]; 2]; 1]>(flat(&array)), &array);
        assert_eq!(flat(&1.5f32), [1.5]);
        assert_eq!(nested::<f32>(&[1.5]), &1.5);
        assert_eq!(flat(&[[0u8; 0]; 3]), []);
    }

    #[test]
    #[should_panic = "another number"]
    fn a_slice_of_another_length_is_refused() {
        nested::<[[f32; 2]; 2]>(&[0.0; 3]);
    }

    #[test]
    fn booleans_are_bytes() {
        let bools = [[true, false], [false, true]];
        assert_eq!(bytes_of_bools(flat(&bools)), [1, 0, 0, 1]);
        assert_eq!(nested::<[[bool; 2]; 2]>(bools_of_bytes(&[1, 0, 0, 1])), &bools);
    }

    #[test]
    fn bytes_are_written_as_booleans() {
        let mut bytes = [7, 1, 255];
        let bools = cleared_bools(&mut bytes);
        assert_eq!(bools, [false; 3]);
        bools[1] = true;
        assert_eq!(bytes, [0, 1, 0]);
    }

    #[test]
    #[should_panic = "neither"]
    fn other_bytes_are_no_booleans() {
        bools_of_bytes(&[1, 2]);
    }
}
