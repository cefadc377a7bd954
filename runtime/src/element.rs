//! The types of tensor elements.

use core::fmt;

mod half;
mod narrow;
mod small;

pub use half::{Bf16, F16};
pub use narrow::{I2, I4, U2, U4};
pub use small::{F4E2M1, F6E2M3, F6E3M2, F8E4M3Fn, F8E4M3Fnuz, F8E5M2, F8E5M2Fnuz, F8E8M0};

mod sealed {
    pub trait Sealed {}
}

/// A type that elements of a tensor have in memory.
///
/// Booleans are stored as `u8` with the values 0 and 1. A number of less than eight bits has a byte to itself.
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
    F8E4M3Fn => F8E4M3Fn, F8E4M3Fnuz => F8E4M3Fnuz, F8E5M2 => F8E5M2, F8E5M2Fnuz => F8E5M2Fnuz, F8E8M0 => F8E8M0,
    F6E2M3 => F6E2M3, F6E3M2 => F6E3M2, F4E2M1 => F4E2M1,
    I4 => I4, U4 => U4, I2 => I2, U2 => U2,
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
    /// Eight-bit floating point, 4 bits of exponent, without infinities: [`F8E4M3Fn`].
    F8E4M3Fn,
    /// As `F8E4M3Fn` with one zero and one NaN: [`F8E4M3Fnuz`].
    F8E4M3Fnuz,
    /// Eight-bit floating point, 5 bits of exponent: [`F8E5M2`].
    F8E5M2,
    /// As `F8E5M2` without infinities, with one zero and one NaN: [`F8E5M2Fnuz`].
    F8E5M2Fnuz,
    /// A power of two: [`F8E8M0`].
    F8E8M0,
    /// Six-bit floating point, 2 bits of exponent: [`F6E2M3`].
    F6E2M3,
    /// Six-bit floating point, 3 bits of exponent: [`F6E3M2`].
    F6E3M2,
    /// Four-bit floating point: [`F4E2M1`].
    F4E2M1,
    /// Signed 4-bit integer.
    I4,
    /// Unsigned 4-bit integer.
    U4,
    /// Signed 2-bit integer.
    I2,
    /// Unsigned 2-bit integer.
    U2,
}

impl DType {
    /// All data types.
    pub const ALL: [DType; 25] = {
        use DType::*;
        [
            F32, F64, F16, Bf16, I8, I16, I32, I64, U8, U16, U32, U64, Bool, F8E4M3Fn, F8E4M3Fnuz, F8E5M2, F8E5M2Fnuz,
            F8E8M0, F6E2M3, F6E3M2, F4E2M1, I4, U4, I2, U2,
        ]
    };

    /// The name, spelled as in NumPy and its extension `ml_dtypes`.
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
            DType::F8E4M3Fn => "float8_e4m3fn",
            DType::F8E4M3Fnuz => "float8_e4m3fnuz",
            DType::F8E5M2 => "float8_e5m2",
            DType::F8E5M2Fnuz => "float8_e5m2fnuz",
            DType::F8E8M0 => "float8_e8m0fnu",
            DType::F6E2M3 => "float6_e2m3fn",
            DType::F6E3M2 => "float6_e3m2fn",
            DType::F4E2M1 => "float4_e2m1fn",
            DType::I4 => "int4",
            DType::U4 => "uint4",
            DType::I2 => "int2",
            DType::U2 => "uint2",
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
            DType::F8E4M3Fn | DType::F8E4M3Fnuz | DType::F8E5M2 | DType::F8E5M2Fnuz | DType::F8E8M0 => 1,
            DType::F6E2M3 | DType::F6E3M2 | DType::F4E2M1 | DType::I4 | DType::U4 | DType::I2 | DType::U2 => 1,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_types() {
        for dtype in DType::ALL {
            assert_eq!(DType::from_name(dtype.name()), Some(dtype));
        }
    }
}
