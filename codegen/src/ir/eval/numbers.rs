//! Elements as numbers to compute with.

use super::small;
use crate::ir::dtype::DType;
use crate::ir::tensor::Tensor;

/// Elements of a tensor in the widest representation of their kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers {
    /// Elements of a floating-point type.
    Float(Vec<f64>),
    /// Elements of an integer type.
    Int(Vec<i128>),
    /// Truth values.
    Bool(Vec<bool>),
}

impl Numbers {
    /// The elements of a tensor.
    pub fn of(tensor: &Tensor) -> Numbers {
        Numbers::decode(tensor.dtype, &tensor.data)
    }

    /// The elements that bytes hold; an incomplete last element is dropped.
    pub fn decode(dtype: DType, bytes: &[u8]) -> Numbers {
        macro_rules! widen {
            ($kind:ident, $type:ty, $wide:ty) => {
                Numbers::$kind(
                    bytes
                        .as_chunks()
                        .0
                        .iter()
                        .map(|chunk| <$type>::from_le_bytes(*chunk) as $wide)
                        .collect(),
                )
            };
        }
        let narrow = |unused: u32| bytes.iter().map(move |byte| byte << unused);
        match dtype {
            DType::F32 => widen!(Float, f32, f64),
            DType::F64 => widen!(Float, f64, f64),
            DType::I8 => widen!(Int, i8, i128),
            DType::I16 => widen!(Int, i16, i128),
            DType::I32 => widen!(Int, i32, i128),
            DType::I64 => widen!(Int, i64, i128),
            DType::U8 => widen!(Int, u8, i128),
            DType::U16 => widen!(Int, u16, i128),
            DType::U32 => widen!(Int, u32, i128),
            DType::U64 => widen!(Int, u64, i128),
            DType::I4 => Numbers::Int(narrow(4).map(|byte| (byte as i8 >> 4).into()).collect()),
            DType::I2 => Numbers::Int(narrow(6).map(|byte| (byte as i8 >> 6).into()).collect()),
            DType::U4 => Numbers::Int(narrow(4).map(|byte| (byte >> 4).into()).collect()),
            DType::U2 => Numbers::Int(narrow(6).map(|byte| (byte >> 6).into()).collect()),
            DType::Bool => Numbers::Bool(bytes.iter().map(|&byte| byte != 0).collect()),
            _ => Numbers::Float(
                bytes
                    .chunks_exact(dtype.size())
                    .map(|element| {
                        let code = element.iter().rev().fold(0, |code, &byte| code << 8 | u16::from(byte));
                        small::decode(code, dtype)
                    })
                    .collect(),
            ),
        }
    }

    /// Appends the elements as bytes of an element type of their kind: floating-point values are rounded, integers wrap.
    ///
    /// # Errors
    ///
    /// If the type is of another kind.
    pub fn encode(&self, dtype: DType, out: &mut Vec<u8>) -> Result<(), String> {
        match (self, dtype) {
            (Numbers::Float(values), DType::F32) => {
                values.iter().for_each(|&v| out.extend((v as f32).to_le_bytes()));
            }
            (Numbers::Float(values), DType::F64) => values.iter().for_each(|v| out.extend(v.to_le_bytes())),
            (Numbers::Float(values), dtype) if dtype.is_float() => {
                let size = dtype.size();
                values
                    .iter()
                    .for_each(|&v| out.extend_from_slice(&small::encode(v, dtype).to_le_bytes()[..size]));
            }
            (Numbers::Int(values), dtype) if dtype.is_int() => {
                let size = dtype.size();
                values
                    .iter()
                    .for_each(|&v| out.extend_from_slice(&wrap_to(v, dtype).to_le_bytes()[..size]));
            }
            (Numbers::Bool(values), DType::Bool) => out.extend(values.iter().map(|&v| u8::from(v))),
            _ => return Err(format!("{} as {dtype}", self.kind())),
        }
        Ok(())
    }

    /// A tensor of these elements.
    ///
    /// # Errors
    ///
    /// If the type is of another kind or the shape needs another number of elements.
    pub fn into_tensor(self, dtype: DType, shape: Vec<usize>) -> Result<Tensor, String> {
        if super::elements(dtype, &shape)? != self.len() {
            return Err(format!("{} elements for shape {shape:?}", self.len()));
        }
        let mut data = Vec::with_capacity(self.len() * dtype.size());
        self.encode(dtype, &mut data)?;
        Ok(Tensor::from_bytes(dtype, shape, data.into()))
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        match self {
            Numbers::Float(values) => values.len(),
            Numbers::Int(values) => values.len(),
            Numbers::Bool(values) => values.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Numbers::Float(_) => "floating-point values",
            Numbers::Int(_) => "integers",
            Numbers::Bool(_) => "truth values",
        }
    }
}

/// The elements of a tensor of a floating-point type.
pub(super) fn floats(tensor: &Tensor) -> Result<Vec<f64>, String> {
    match Numbers::of(tensor) {
        Numbers::Float(values) => Ok(values),
        other => Err(format!("{} where floating-point values are needed", other.kind())),
    }
}

/// A number that sums of products are made of.
pub(super) trait Ring: Copy + Default {
    fn add(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn decode(tensor: &Tensor) -> Result<Vec<Self>, String>;
    fn encode(values: Vec<Self>, dtype: DType, shape: Vec<usize>) -> Result<Tensor, String>;
}

impl Ring for f64 {
    fn add(self, other: f64) -> f64 {
        self + other
    }

    fn mul(self, other: f64) -> f64 {
        self * other
    }

    fn decode(tensor: &Tensor) -> Result<Vec<f64>, String> {
        floats(tensor)
    }

    fn encode(values: Vec<f64>, dtype: DType, shape: Vec<usize>) -> Result<Tensor, String> {
        Numbers::Float(values).into_tensor(dtype, shape)
    }
}

/// Arithmetic modulo 2^64, whose low bits are right for every integer type.
impl Ring for i64 {
    fn add(self, other: i64) -> i64 {
        self.wrapping_add(other)
    }

    fn mul(self, other: i64) -> i64 {
        self.wrapping_mul(other)
    }

    fn decode(tensor: &Tensor) -> Result<Vec<i64>, String> {
        match Numbers::of(tensor) {
            Numbers::Int(values) => Ok(values.into_iter().map(|value| value as i64).collect()),
            other => Err(format!("{} where integers are needed", other.kind())),
        }
    }

    fn encode(values: Vec<i64>, dtype: DType, shape: Vec<usize>) -> Result<Tensor, String> {
        Numbers::Int(values.into_iter().map(i128::from).collect()).into_tensor(dtype, shape)
    }
}

/// Rounds a value to a floating-point type, to nearest, ties to even.
pub fn round_to(value: f64, dtype: DType) -> f64 {
    match dtype {
        DType::F32 => f64::from(value as f32),
        DType::F64 => value,
        _ if dtype.is_float() => small::decode(small::encode(value, dtype), dtype),
        _ => value,
    }
}

/// The largest finite value of a floating-point type.
pub fn largest(dtype: DType) -> f64 {
    match dtype {
        DType::F32 => f32::MAX.into(),
        DType::F64 => f64::MAX,
        _ => small::largest(dtype),
    }
}

/// Wraps a value to an integer type.
pub(super) fn wrap_to(value: i128, dtype: DType) -> i128 {
    let unused = 128 - dtype.bits() as u32;
    if dtype.is_unsigned_int() {
        (value << unused).cast_unsigned().wrapping_shr(unused).cast_signed()
    } else {
        value << unused >> unused
    }
}

/// The smallest and largest value of an integer type.
pub(crate) fn int_limits(dtype: DType) -> (i128, i128) {
    let bits = dtype.bits();
    if dtype.is_unsigned_int() {
        (0, (1 << bits) - 1)
    } else {
        (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_round_to_even() {
        assert_eq!(round_to(2049.0, DType::F16), 2048.0);
        assert_eq!(round_to(2051.0, DType::F16), 2052.0);
        assert_eq!(round_to(65519.0, DType::F16), 65504.0);
        assert_eq!(round_to(65520.0, DType::F16), f64::INFINITY);
        assert_eq!(round_to(2f64.powi(-25), DType::F16), 0.0);
        assert_eq!(round_to(1.5 * 2f64.powi(-25), DType::F16), 2f64.powi(-24));
        assert_eq!(round_to(1.0 + 2f64.powi(-8), DType::BF16), 1.0);
        assert_eq!(round_to(-1e300, DType::BF16), f64::NEG_INFINITY);
        assert_eq!(round_to(f64::from(f32::from_bits(0x3f80_8001)), DType::BF16), 1.0078125);
    }

    #[test]
    fn integers_keep_their_low_bytes() {
        let mut out = Vec::new();
        Numbers::Int(vec![-1, 256, 300]).encode(DType::U8, &mut out).unwrap();
        assert_eq!(out, [255, 0, 44]);
        assert_eq!(wrap_to(200, DType::I8), -56);
        assert_eq!((wrap_to(-9, DType::I4), wrap_to(-9, DType::U4)), (7, 7));
        assert_eq!(
            (wrap_to(-1, DType::U64), wrap_to(3, DType::I2)),
            (i128::from(u64::MAX), -1)
        );
        assert_eq!(int_limits(DType::I4), (-8, 7));
        assert_eq!(Numbers::decode(DType::I4, &[0x0f, 0xf7]), Numbers::Int(vec![-1, 7]));
        assert_eq!(Numbers::decode(DType::U2, &[0x0f, 0x02]), Numbers::Int(vec![3, 2]));
        assert_eq!(int_limits(DType::U64), (0, i128::from(u64::MAX)));
        assert_eq!(int_limits(DType::I32), (i128::from(i32::MIN), i128::from(i32::MAX)));
    }
}
