//! Strips: a few rows of an image, between the steps of which one makes them and another reads them.

/// A number that a strip may hold: of at most 4 bytes, any of which are one.
pub trait StripElement: sealed::Sealed {}

mod sealed {
    pub trait Sealed {}
}

macro_rules! elements {
    ($($element:ty)*) => {$(
        impl sealed::Sealed for $element {}
        impl StripElement for $element {}
    )*};
}

elements!(f32 i32 u8 i8);

/// Takes a strip of so many elements from scratch, and returns what is left. What the strip holds is not specified.
///
/// # Panics
///
/// If there is less scratch.
#[inline(always)]
pub fn strip<T: StripElement>(scratch: &mut [f32], len: usize) -> (&mut [T], &mut [f32]) {
    const { assert!(align_of::<T>() <= align_of::<f32>()) }
    let values = len
        .checked_mul(size_of::<T>())
        .map(|bytes| bytes.div_ceil(size_of::<f32>()));
    let split = values.and_then(|values| scratch.split_at_mut_checked(values));
    let (strip, left) = split.expect("strip: the scratch is too short");
    // SAFETY: the values have at least as many bytes as the elements, which need no greater alignment. Any bytes are elements,
    // and any bytes that elements leave are values.
    let strip = unsafe { core::slice::from_raw_parts_mut(strip.as_mut_ptr().cast(), len) };
    (strip, left)
}

#[cfg(test)]
mod tests {
    use super::strip;

    #[test]
    fn strips_share_no_bytes_with_what_is_left() {
        let mut scratch = [0.0f32; 8];
        let (bytes, left) = strip::<u8>(&mut scratch, 9);
        bytes.fill(0xff);
        assert_eq!(left.len(), 5);
        let (numbers, left) = strip::<i32>(left, 5);
        numbers.fill(-1);
        assert_eq!((numbers.len(), left.len()), (5, 0));
        let bits = scratch.map(f32::to_bits);
        assert_eq!(&bits[..2], [u32::MAX; 2]);
        assert_eq!(bits[2].count_ones(), 8);
        assert_eq!(&bits[3..], [u32::MAX; 5]);
    }

    #[test]
    #[should_panic(expected = "strip: the scratch is too short")]
    fn a_strip_needs_scratch() {
        strip::<i8>(&mut [0.0; 2], 9);
    }
}
