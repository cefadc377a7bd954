//! The types of tensor elements.

use core::fmt;

mod sealed {
    pub trait Sealed {}
}

/// A type that elements of a tensor have in memory.
///
/// Booleans are stored as `u8` with the values 0 and 1.
///
/// # Safety
///
/// Every bit pattern is a valid value, there is no padding, and the alignment is at most 64.
pub unsafe trait Element:
    sealed::Sealed + Copy + Default + PartialEq + PartialOrd + fmt::Debug + Send + Sync + 'static
{
    /// The data type of this element.
    const DTYPE: DType;
}

macro_rules! elements {
    ($($type:ty => $dtype:ident,)*) => {
        $(
            impl sealed::Sealed for $type {}
            // SAFETY: a primitive number, or a transparent wrapper of one, accepts every bit pattern.
            unsafe impl Element for $type {
                const DTYPE: DType = DType::$dtype;
            }
        )*
    };
}

elements! {
    f32 => F32, f64 => F64, F16 => F16, Bf16 => Bf16,
    i8 => I8, i16 => I16, i32 => I32, i64 => I64,
    u8 => U8, u16 => U16, u32 => U32, u64 => U64,
}

/// The type of a tensor's elements as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DType {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
    /// IEEE 754 binary16.
    F16,
    /// The upper half of a binary32.
    Bf16,
    /// Signed 8-bit integer.
    I8,
    /// Signed 16-bit integer.
    I16,
    /// Signed 32-bit integer.
    I32,
    /// Signed 64-bit integer.
    I64,
    /// Unsigned 8-bit integer.
    U8,
    /// Unsigned 16-bit integer.
    U16,
    /// Unsigned 32-bit integer.
    U32,
    /// Unsigned 64-bit integer.
    U64,
    /// A boolean, stored as a byte that is 0 or 1.
    Bool,
}

impl DType {
    /// All data types.
    pub const ALL: [DType; 13] = {
        use DType::*;
        [F32, F64, F16, Bf16, I8, I16, I32, I64, U8, U16, U32, U64, Bool]
    };

    /// The name, spelled as in NumPy.
    pub const fn name(self) -> &'static str {
        match self {
            DType::F32 => "float32",
            DType::F64 => "float64",
            DType::F16 => "float16",
            DType::Bf16 => "bfloat16",
            DType::I8 => "int8",
            DType::I16 => "int16",
            DType::I32 => "int32",
            DType::I64 => "int64",
            DType::U8 => "uint8",
            DType::U16 => "uint16",
            DType::U32 => "uint32",
            DType::U64 => "uint64",
            DType::Bool => "bool",
        }
    }

    /// The data type of a [`name`](DType::name).
    pub fn from_name(name: &str) -> Option<DType> {
        DType::ALL.into_iter().find(|dtype| dtype.name() == name)
    }

    /// The number of bytes of an element.
    pub const fn size(self) -> usize {
        match self {
            DType::I8 | DType::U8 | DType::Bool => 1,
            DType::I16 | DType::U16 | DType::F16 | DType::Bf16 => 2,
            DType::F32 | DType::I32 | DType::U32 => 4,
            DType::F64 | DType::I64 | DType::U64 => 8,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An IEEE 754 binary16 number, for storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
#[repr(transparent)]
pub struct F16(pub u16);

/// The upper half of a binary32 number, for storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
#[repr(transparent)]
pub struct Bf16(pub u16);

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
    fn names_lead_back_to_their_types() {
        for dtype in DType::ALL {
            assert_eq!(DType::from_name(dtype.name()), Some(dtype));
        }
    }
}
