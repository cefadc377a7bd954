//! Floating-point numbers of 16 bits.

use super::small::compare_as_f32;

/// An IEEE 754 binary16 number, for storage. Numbers are compared by their values.
#[derive(Clone, Copy, Debug, Default)]
#[repr(transparent)]
pub struct F16(pub u16);

/// The upper half of a binary32 number, for storage. Numbers are compared by their values.
#[derive(Clone, Copy, Debug, Default)]
#[repr(transparent)]
pub struct Bf16(pub u16);

compare_as_f32!(F16 Bf16);

/// The number rounded to odd: of the two neighbors of one that is no `f32`, the one whose last bit is set. Rounding that
/// to nearest, with two bits less or fewer, gives what rounding the number itself would give (Boldo and Melquiond,
/// *When double rounding is odd*, 2005).
#[inline(always)]
pub(super) fn to_odd(value: f64) -> f32 {
    let nearest = value as f32;
    let back = f64::from(nearest);
    // One less in bits is the neighbor toward zero, of an infinity too.
    let toward_zero = nearest.to_bits().wrapping_sub(u32::from(back.abs() > value.abs()));
    let exact = back == value || value.is_nan();
    f32::from_bits(if exact { nearest.to_bits() } else { toward_zero | 1 })
}

/// As [`to_odd`], of an integer.
#[inline(always)]
fn integer_to_odd(value: u64) -> f32 {
    let excess = 40u32.saturating_sub(value.leading_zeros());
    let kept = value >> excess;
    let sticky = u64::from(kept << excess != value);
    ((kept | sticky) << excess) as f32
}

impl F16 {
    /// The exact value.
    #[inline(always)]
    pub fn to_f32(self) -> f32 {
        let magnitude = u32::from(self.0 & 0x7fff) << 13;
        // Multiplying by 2^112 moves the exponent bias from 15 to 127 and normalizes subnormal numbers.
        let finite = f32::from_bits(magnitude) * f32::from_bits((254 - 15) << 23);
        let special = f32::from_bits(magnitude | 0x7f80_0000);
        let value = if magnitude >= 0x0f80_0000 { special } else { finite };
        f32::from_bits(value.to_bits() | u32::from(self.0 & 0x8000) << 16)
    }

    /// The nearest value, ties to even; overflow gives an infinity.
    #[inline(always)]
    pub fn from_f32(value: f32) -> F16 {
        let sign = (value.to_bits() >> 16) as u16 & 0x8000;
        let bits = value.to_bits() & 0x7fff_ffff;
        let special = if bits > 0x7f80_0000 { 0x7e00 } else { 0x7c00 };
        // Adding half of the last place kept, plus one if it is odd, rounds to nearest with ties to even.
        let normal = (bits.wrapping_sub(112 << 23).wrapping_add(0xfff + (bits >> 13 & 1)) >> 13) as u16;
        // The addition aligns the mantissa so that the hardware rounds at the place of a subnormal's last bit.
        let subnormal = ((f32::from_bits(bits) + 0.5).to_bits().wrapping_sub(0.5f32.to_bits())) as u16;
        let magnitude = if bits >= 0x477f_f000 {
            special
        } else if bits < 113 << 23 {
            subnormal
        } else {
            normal
        };
        F16(sign | magnitude)
    }

    /// The nearest value, ties to even; overflow gives an infinity. There is no intermediate rounding.
    #[inline(always)]
    pub fn from_f64(value: f64) -> F16 {
        F16::from_f32(to_odd(value))
    }
}

impl Bf16 {
    /// The exact value.
    #[inline(always)]
    pub fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }

    /// The nearest value, ties to even; overflow gives an infinity.
    #[inline(always)]
    pub fn from_f32(value: f32) -> Bf16 {
        let bits = value.to_bits();
        let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
        let quiet_nan = bits >> 16 | 0x40;
        Bf16(if bits & 0x7fff_ffff > 0x7f80_0000 {
            quiet_nan
        } else {
            rounded
        } as u16)
    }

    /// The nearest value, ties to even; overflow gives an infinity. There is no intermediate rounding.
    #[inline(always)]
    pub fn from_f64(value: f64) -> Bf16 {
        Bf16::from_f32(to_odd(value))
    }

    /// The nearest value, ties to even. There is no intermediate rounding.
    #[inline(always)]
    pub fn from_i64(value: i64) -> Bf16 {
        let magnitude = Bf16::from_u64(value.unsigned_abs()).0;
        Bf16(magnitude | if value < 0 { 0x8000 } else { 0 })
    }

    /// The nearest value, ties to even. There is no intermediate rounding.
    #[inline(always)]
    pub fn from_u64(value: u64) -> Bf16 {
        Bf16::from_f32(integer_to_odd(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_f16_survives_the_way_through_f32() {
        for bits in 0..=u16::MAX {
            let value = F16(bits).to_f32();
            if value.is_nan() {
                assert!(F16::from_f32(value).to_f32().is_nan());
            } else {
                assert_eq!(F16::from_f32(value).0, bits);
            }
        }
        assert_eq!(F16(0x3c00).to_f32(), 1.0);
        assert_eq!(F16(0x0001).to_f32(), 2f32.powi(-24));
        assert_eq!(F16(0x7bff).to_f32(), 65504.0);
        assert_eq!(F16(0xfc00).to_f32(), f32::NEG_INFINITY);
    }

    #[test]
    fn rounding_to_f16_picks_the_nearest_and_breaks_ties_to_even() {
        for bits in 0..0x7bff_u16 {
            let (low, high) = (F16(bits).to_f32(), F16(bits + 1).to_f32());
            let middle = low + (high - low) / 2.0;
            let even = if bits & 1 == 0 { bits } else { bits + 1 };
            assert_eq!(F16::from_f32(middle).0, even);
            assert_eq!(F16::from_f32(middle.next_down()).0, bits);
            assert_eq!(F16::from_f32(middle.next_up()).0, bits + 1);
        }
        assert_eq!(F16::from_f32(65519.996).0, 0x7bff);
        assert_eq!(F16::from_f32(65520.0).0, 0x7c00);
        assert_eq!(F16::from_f32(1e-9).0, 0);
    }

    #[test]
    fn rounding_to_bf16_breaks_ties_to_even_and_keeps_nan() {
        assert_eq!(Bf16::from_f32(f32::from_bits(0x3f80_8000)).0, 0x3f80);
        assert_eq!(Bf16::from_f32(f32::from_bits(0x3f81_8000)).0, 0x3f82);
        assert_eq!(Bf16::from_f32(f32::from_bits(0x3f80_8001)).0, 0x3f81);
        assert_eq!(Bf16::from_f32(f32::MAX).to_f32(), f32::INFINITY);
        assert!(Bf16::from_f32(f32::from_bits(0x7f80_0001)).to_f32().is_nan());
    }
    #[test]
    fn f64_and_integers_round_once() {
        // Just above a tie; an `f32` on the way would be the tie.
        let above = 1.0 + 2f64.powi(-11) + 2f64.powi(-40);
        assert_eq!(F16::from_f64(above).0, 0x3c01);
        assert_eq!(F16::from_f32(above as f32).0, 0x3c00);
        assert_eq!(F16::from_f64(-above).0, 0xbc01);
        assert_eq!(F16::from_f64(2f64.powi(-25)).0, 0);
        assert_eq!(F16::from_f64(2f64.powi(-25) + 2f64.powi(-70)).0, 1);
        assert_eq!(F16::from_f64(65520.0 - 1e-9).0, 0x7bff);
        assert_eq!(F16::from_f64(1e300).0, 0x7c00);
        assert_eq!(F16::from_f64(1e-300).0, 0);
        assert!(F16::from_f64(f64::NAN).to_f32().is_nan());
        assert_eq!(Bf16::from_f64(1.0 + 2f64.powi(-8) + 2f64.powi(-40)).0, 0x3f81);
        assert_eq!(Bf16::from_f64(f64::MAX).0, 0x7f80);
        assert_eq!(Bf16::from_f64(2f64.powi(-134) + 2f64.powi(-180)).0, 1);
        // 2^62 + 2^54 is a tie.
        let tie = (1i64 << 62) + (1 << 54);
        assert_eq!(Bf16::from_i64(tie).to_f32(), 2f32.powi(62));
        assert_eq!(Bf16::from_i64(tie + 1).to_f32(), 2f32.powi(62) + 2f32.powi(55));
        assert_eq!(Bf16::from_i64(-tie - 1).to_f32(), -(2f32.powi(62) + 2f32.powi(55)));
        assert_eq!(Bf16::from_i64(i64::MIN).to_f32(), -2f32.powi(63));
        assert_eq!(Bf16::from_u64(u64::MAX).to_f32(), 2f32.powi(64));
        assert_eq!((Bf16::from_i64(0).0, Bf16::from_i64(-3).to_f32()), (0, -3.0));
    }

    #[test]
    fn numbers_are_compared_by_value() {
        assert_eq!(F16(0x8000), F16(0));
        assert_ne!(F16(0x7e00), F16(0x7e00));
        assert!(F16(0xbc00) < F16(0x3c00));
        assert!(Bf16(0xbf80) < Bf16(0));
    }
}
