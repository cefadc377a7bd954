//! Writing at computed places, and sorting.

use crate::element::{Bf16, Element, F16};
use core::cmp::Ordering;

/// Combines each update with the element of `data` at its place, in order. A place that does not exist is skipped.
///
/// # Panics
///
/// If there is not one place for each update.
#[inline]
pub fn scatter<T: Element>(data: &mut [T], places: &[i64], updates: &[T], combine: impl Fn(T, T) -> T) {
    assert!(places.len() == updates.len(), "a place for each update");
    for (&place, &update) in places.iter().zip(updates) {
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        if let Some(element) = data.get_mut(place) {
            *element = combine(*element, update);
        }
    }
}

/// An element type with a total order, in which not-a-number is larger than any number and equal to itself.
pub trait Ordered: Element {
    /// How two elements compare.
    fn order(&self, other: &Self) -> Ordering;
}

macro_rules! ordered {
    (integers: $($integer:ty)*; floats: $($float:ty, $value:expr;)*) => {
        $(impl Ordered for $integer {
            #[inline(always)]
            fn order(&self, other: &Self) -> Ordering {
                self.cmp(other)
            }
        })*
        $(impl Ordered for $float {
            #[inline(always)]
            fn order(&self, other: &Self) -> Ordering {
                let (a, b) = ($value(*self), $value(*other));
                a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
            }
        })*
    };
}

ordered! {
    integers: i8 i16 i32 i64 u8 u16 u32 u64;
    floats: f32, |x: f32| x; f64, |x: f64| x; F16, F16::to_f32; Bf16, Bf16::to_f32;
}

/// Writes, for each row of `size` elements of `x`, the places of the elements from the smallest to the largest, or from
/// the largest if `descending`. Equal elements keep their order.
///
/// # Panics
///
/// If `out` and `x` have different lengths.
pub fn sort<T: Ordered>(out: &mut [i64], x: &[T], size: usize, descending: bool) {
    assert!(out.len() == x.len(), "a place for each element");
    if size == 0 {
        return;
    }
    for (out, x) in out.chunks_mut(size).zip(x.chunks(size)) {
        for (place, out) in out.iter_mut().enumerate() {
            *out = place as i64;
        }
        // No two places are equal, so that a sort that is not stable gives the stable order, without memory.
        out.sort_unstable_by(|&a, &b| {
            let order = x[a as usize].order(&x[b as usize]);
            let order = if descending { order.reverse() } else { order };
            order.then(a.cmp(&b))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_take_effect_in_order_where_there_is_a_place() {
        let mut data = [1, 2, 3];
        scatter(
            &mut data,
            &[2, 0, 2, -1, 3, i64::MIN],
            &[10, 20, 30, 40, 50, 60],
            |_, new| new,
        );
        assert_eq!(data, [20, 2, 30]);
        scatter(&mut data, &[1, 1], &[5, 6], |old, new| old * new);
        assert_eq!(data, [20, 60, 30]);
    }

    #[test]
    fn equal_elements_keep_their_order_and_not_a_number_is_the_largest() {
        let x = [2.0, f32::NAN, 1.0, 2.0, f32::INFINITY, -0.0, 0.0, f32::NAN];
        let mut out = [0; 8];
        sort(&mut out, &x, 8, false);
        assert_eq!(out, [5, 6, 2, 0, 3, 4, 1, 7]);
        sort(&mut out, &x, 8, true);
        assert_eq!(out, [1, 7, 4, 0, 3, 2, 5, 6]);
        let mut out = [0; 6];
        sort(&mut out, &[3u8, 1, 2, 5, 5, 4], 3, false);
        assert_eq!(out, [1, 2, 0, 2, 0, 1]);
        sort(&mut [], &[0u8; 0], 0, false);
    }
}
