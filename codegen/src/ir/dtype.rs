//! Element types of tensors.

use std::fmt;

/// The element type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DType {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
    /// IEEE 754 binary16.
    F16,
    /// The upper half of binary32.
    BF16,
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
    /// Truth value, stored as one byte that is 0 or 1.
    Bool,
    /// Eight-bit floating point, 4 bits of exponent, NaN without infinities.
    F8E4M3Fn,
    /// As `F8E4M3Fn`, with one zero and one NaN.
    F8E4M3Fnuz,
    /// Eight-bit floating point, 5 bits of exponent.
    F8E5M2,
    /// As `F8E5M2`, with one zero, one NaN and no infinities.
    F8E5M2Fnuz,
    /// A power of two from 2^-127 to 2^127, or NaN.
    F8E8M0,
    /// Six-bit floating point, 2 bits of exponent, finite numbers alone. In a byte of its own, as all that is smaller.
    F6E2M3,
    /// Six-bit floating point, 3 bits of exponent, finite numbers alone.
    F6E3M2,
    /// Four-bit floating point, 2 bits of exponent, finite numbers alone.
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
    /// Every element type.
    pub const ALL: [DType; 25] = {
        use DType::*;
        [
            F32, F64, F16, BF16, I8, I16, I32, I64, U8, U16, U32, U64, Bool, F8E4M3Fn, F8E4M3Fnuz, F8E5M2, F8E5M2Fnuz,
            F8E8M0, F6E2M3, F6E3M2, F4E2M1, I4, U4, I2, U2,
        ]
    };

    /// Bytes of one element.
    pub const fn size(self) -> usize {
        self.bits().div_ceil(8)
    }

    /// Bits of one element that count; the others of its bytes have no meaning.
    pub const fn bits(self) -> usize {
        match self {
            DType::I2 | DType::U2 => 2,
            DType::F4E2M1 | DType::I4 | DType::U4 => 4,
            DType::F6E2M3 | DType::F6E3M2 => 6,
            DType::I8 | DType::U8 | DType::Bool => 8,
            DType::F8E4M3Fn | DType::F8E4M3Fnuz | DType::F8E5M2 | DType::F8E5M2Fnuz | DType::F8E8M0 => 8,
            DType::F16 | DType::BF16 | DType::I16 | DType::U16 => 16,
            DType::F32 | DType::I32 | DType::U32 => 32,
            DType::F64 | DType::I64 | DType::U64 => 64,
        }
    }

    /// The name in the text form of the IR.
    pub const fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::F64 => "f64",
            DType::F16 => "f16",
            DType::BF16 => "bf16",
            DType::I8 => "i8",
            DType::I16 => "i16",
            DType::I32 => "i32",
            DType::I64 => "i64",
            DType::U8 => "u8",
            DType::U16 => "u16",
            DType::U32 => "u32",
            DType::U64 => "u64",
            DType::Bool => "bool",
            DType::F8E4M3Fn => "f8e4m3fn",
            DType::F8E4M3Fnuz => "f8e4m3fnuz",
            DType::F8E5M2 => "f8e5m2",
            DType::F8E5M2Fnuz => "f8e5m2fnuz",
            DType::F8E8M0 => "f8e8m0",
            DType::F6E2M3 => "f6e2m3",
            DType::F6E3M2 => "f6e3m2",
            DType::F4E2M1 => "f4e2m1",
            DType::I4 => "i4",
            DType::U4 => "u4",
            DType::I2 => "i2",
            DType::U2 => "u2",
        }
    }

    /// The name that NumPy has for the type, or would have.
    pub fn numpy_name(self) -> String {
        let (letter, digits) = self.name().split_at(1);
        match letter {
            "f" => format!("float{digits}"),
            "i" => format!("int{digits}"),
            "u" => format!("uint{digits}"),
            _ => self.name().to_owned(),
        }
    }

    /// The type of a [`name`](DType::name).
    pub fn from_name(name: &str) -> Option<DType> {
        DType::ALL.into_iter().find(|dtype| dtype.name() == name)
    }

    /// Whether this is a floating-point type.
    pub const fn is_float(self) -> bool {
        !self.is_int() && !matches!(self, DType::Bool)
    }

    /// Whether this is a signed or unsigned integer type.
    pub const fn is_int(self) -> bool {
        self.is_signed_int() || self.is_unsigned_int()
    }

    /// Whether this is a signed integer type.
    pub const fn is_signed_int(self) -> bool {
        use DType::*;
        matches!(self, I8 | I16 | I32 | I64 | I4 | I2)
    }

    /// Whether this is an unsigned integer type.
    pub const fn is_unsigned_int(self) -> bool {
        use DType::*;
        matches!(self, U8 | U16 | U32 | U64 | U4 | U2)
    }

    /// The type that generated code computes with: the type itself if the machine has it, else the next that holds all
    /// of its values. Results are rounded, or wrap, back to the type that is stored.
    pub const fn arithmetic(self) -> DType {
        use DType::*;
        match self {
            F16 | BF16 | F8E4M3Fn | F8E4M3Fnuz | F8E5M2 | F8E5M2Fnuz | F8E8M0 | F6E2M3 | F6E3M2 | F4E2M1 => F32,
            I4 | I2 => I8,
            U4 | U2 => U8,
            F32 | F64 | I8 | I16 | I32 | I64 | U8 | U16 | U32 | U64 | Bool => self,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
