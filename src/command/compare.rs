//! How far apart two tensors are.

use anyhow::{Result, ensure};
use onnxide_runtime::element::*;
use serde::Serialize;

use onnxide_codegen::npz::Array;

/// The difference of an output from its reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Difference {
    /// The largest difference.
    #[serde(rename = "max_absolute_error")]
    pub(crate) absolute: f64,
    /// The largest difference over the largest magnitude in the reference.
    #[serde(rename = "max_relative_error")]
    pub(crate) relative: f64,
}

/// Compares an output with its reference.
///
/// Two NaNs are equal, as are two infinities of one sign. Other differences that are not finite are infinite. Where the
/// reference is all zero, so is the relative error if the output is, and infinite otherwise.
///
/// # Errors
///
/// The data types or the shapes differ.
pub(crate) fn compare(output: &Array, reference: &Array) -> Result<Difference> {
    ensure!(
        output.dtype == reference.dtype,
        "the model gives {}, the reference has {}",
        output.dtype,
        reference.dtype
    );
    ensure!(
        output.shape == reference.shape,
        "the model gives the shape {:?}, the reference has {:?}",
        output.shape,
        reference.shape
    );
    let size = output.dtype.size();
    let (mut absolute, mut magnitude) = (0.0_f64, 0.0_f64);
    for (a, b) in output.data.chunks_exact(size).zip(reference.data.chunks_exact(size)) {
        let (a, b) = (Number::read(output.dtype, a), Number::read(output.dtype, b));
        absolute = absolute.max(a.distance(b));
        let size = b.magnitude();
        if size.is_finite() {
            magnitude = magnitude.max(size);
        }
    }
    let relative = if absolute == 0.0 { 0.0 } else { absolute / magnitude };
    Ok(Difference { absolute, relative })
}

/// The elements of an array, rounded to `f64` where they are larger.
pub(crate) fn numbers(array: &Array) -> impl Iterator<Item = f64> {
    let elements = array.data.chunks_exact(array.dtype.size());
    elements.map(|bytes| match Number::read(array.dtype, bytes) {
        Number::Float(number) => number,
        Number::Int(number) => number as f64,
    })
}

/// An element, without loss.
#[derive(Clone, Copy)]
enum Number {
    Float(f64),
    Int(i128),
}

impl Number {
    fn read(dtype: DType, bytes: &[u8]) -> Self {
        /// The bytes of a number whose size is that of its type.
        fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
            bytes.try_into().expect("as many bytes as the data type has")
        }
        macro_rules! byte {
            ($kind:ident, $name:ident($type:ty), $to:ident) => {
                Number::$kind($name(<$type>::from_le_bytes(array(bytes))).$to().into())
            };
        }
        match dtype {
            DType::F16 => Number::Float(F16(u16::from_le_bytes(array(bytes))).to_f32().into()),
            DType::Bf16 => Number::Float(Bf16(u16::from_le_bytes(array(bytes))).to_f32().into()),
            DType::F32 => Number::Float(f32::from_le_bytes(array(bytes)).into()),
            DType::F64 => Number::Float(f64::from_le_bytes(array(bytes))),
            DType::I8 => Number::Int(i8::from_le_bytes(array(bytes)).into()),
            DType::I16 => Number::Int(i16::from_le_bytes(array(bytes)).into()),
            DType::I32 => Number::Int(i32::from_le_bytes(array(bytes)).into()),
            DType::I64 => Number::Int(i64::from_le_bytes(array(bytes)).into()),
            DType::U8 | DType::Bool => Number::Int(u8::from_le_bytes(array(bytes)).into()),
            DType::U16 => Number::Int(u16::from_le_bytes(array(bytes)).into()),
            DType::U32 => Number::Int(u32::from_le_bytes(array(bytes)).into()),
            DType::U64 => Number::Int(u64::from_le_bytes(array(bytes)).into()),
            DType::F8E4M3Fn => byte!(Float, F8E4M3Fn(u8), to_f32),
            DType::F8E4M3Fnuz => byte!(Float, F8E4M3Fnuz(u8), to_f32),
            DType::F8E5M2 => byte!(Float, F8E5M2(u8), to_f32),
            DType::F8E5M2Fnuz => byte!(Float, F8E5M2Fnuz(u8), to_f32),
            DType::F8E8M0 => byte!(Float, F8E8M0(u8), to_f32),
            DType::F6E2M3 => byte!(Float, F6E2M3(u8), to_f32),
            DType::F6E3M2 => byte!(Float, F6E3M2(u8), to_f32),
            DType::F4E2M1 => byte!(Float, F4E2M1(u8), to_f32),
            DType::I4 => byte!(Int, I4(i8), to_i8),
            DType::U4 => byte!(Int, U4(u8), to_u8),
            DType::I2 => byte!(Int, I2(i8), to_i8),
            DType::U2 => byte!(Int, U2(u8), to_u8),
            other => unreachable!("no array has elements of type {other}"),
        }
    }

    fn distance(self, other: Self) -> f64 {
        match (self, other) {
            (Number::Int(a), Number::Int(b)) => a.abs_diff(b) as f64,
            (Number::Float(a), Number::Float(b)) if a == b || (a.is_nan() && b.is_nan()) => 0.0,
            (Number::Float(a), Number::Float(b)) if a.is_finite() && b.is_finite() => (a - b).abs(),
            _ => f64::INFINITY,
        }
    }

    fn magnitude(self) -> f64 {
        match self {
            Number::Int(a) => a.unsigned_abs() as f64,
            Number::Float(a) => a.abs(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(values: &[f32]) -> Array {
        Array {
            dtype: DType::F32,
            shape: vec![values.len()],
            data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }

    fn difference(output: &[f32], reference: &[f32]) -> (f64, f64) {
        let found = compare(&floats(output), &floats(reference)).unwrap();
        (found.absolute, found.relative)
    }

    #[test]
    fn errors_are_relative_to_the_largest_magnitude() {
        assert_eq!(difference(&[1.0, -4.0], &[1.5, -8.0]), (4.0, 0.5));
        assert_eq!(difference(&[], &[]), (0.0, 0.0));
        assert_eq!(difference(&[0.0, -0.0], &[0.0, 0.0]), (0.0, 0.0));
        assert_eq!(difference(&[1.0], &[0.0]), (1.0, f64::INFINITY));
    }

    #[test]
    fn numbers_that_are_not_finite_equal_themselves_only() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        assert_eq!(difference(&[nan, inf, 1.0], &[nan, inf, 2.0]), (1.0, 0.5));
        for (a, b) in [(nan, 1.0), (1.0, nan), (inf, 1.0), (1.0, inf), (inf, -inf), (nan, inf)] {
            assert_eq!(difference(&[a, 2.0], &[b, 2.0]).1, f64::INFINITY);
        }
    }

    #[test]
    fn large_integers_are_exact() {
        let int = |value: i64| Array {
            dtype: DType::I64,
            shape: vec![],
            data: value.to_le_bytes().to_vec(),
        };
        let found = compare(&int(i64::MAX), &int(i64::MAX - 1)).unwrap();
        assert_eq!(found.absolute, 1.0);
        assert_eq!(
            compare(&int(i64::MAX), &int(i64::MIN)).unwrap().absolute,
            u64::MAX as f64
        );
    }

    #[test]
    fn types_and_shapes_must_agree() {
        let mut column = floats(&[1.0]);
        column.shape = vec![1, 1];
        let error = compare(&column, &floats(&[1.0])).unwrap_err().to_string();
        assert_eq!(error, "the model gives the shape [1, 1], the reference has [1]");
        let int = Array {
            dtype: DType::I32,
            ..floats(&[1.0])
        };
        let error = compare(&int, &floats(&[1.0])).unwrap_err().to_string();
        assert_eq!(error, "the model gives int32, the reference has float32");
    }
}
