//! Constant tensors.

use super::dtype::DType;
use super::eval::Numbers;
use bytes::Bytes;
use std::fmt;

/// A dense constant tensor in row-major order, little-endian.
///
/// Cloning is cheap: the bytes are shared, with the model file where they came from it.
#[derive(Clone, PartialEq)]
pub struct Tensor {
    /// The element type.
    pub dtype: DType,
    /// The size of each dimension.
    pub shape: Vec<usize>,
    /// The elements; exactly as many bytes as the shape needs.
    pub data: Bytes,
}

/// A type that tensors hold in memory as it is.
pub trait Native: Copy + 'static {
    /// The element type.
    const DTYPE: DType;
    /// Reads one element.
    fn read(bytes: &[u8]) -> Self;
    /// Appends one element.
    fn write(self, out: &mut Vec<u8>);
}

macro_rules! native {
    ($($type:ty => $dtype:ident),*) => {$(
        impl Native for $type {
            const DTYPE: DType = DType::$dtype;
            fn read(bytes: &[u8]) -> Self {
                <$type>::from_le_bytes(bytes.try_into().expect("one element"))
            }
            fn write(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}
native!(f32 => F32, f64 => F64, i8 => I8, i16 => I16, i32 => I32, i64 => I64, u8 => U8, u16 => U16, u32 => U32, u64 => U64);

impl Native for bool {
    const DTYPE: DType = DType::Bool;
    fn read(bytes: &[u8]) -> Self {
        bytes[0] != 0
    }
    fn write(self, out: &mut Vec<u8>) {
        out.push(u8::from(self));
    }
}

impl Tensor {
    /// A tensor of given bytes.
    ///
    /// # Panics
    ///
    /// If the bytes are not as many as the shape needs.
    pub fn from_bytes(dtype: DType, shape: Vec<usize>, data: Bytes) -> Tensor {
        let needed = shape
            .iter()
            .try_fold(dtype.size(), |total, &size| total.checked_mul(size));
        assert_eq!(needed, Some(data.len()), "{dtype} tensor of shape {shape:?}");
        Tensor { dtype, shape, data }
    }

    /// A tensor of given elements.
    ///
    /// # Panics
    ///
    /// If the elements are not as many as the shape needs.
    pub fn new<T: Native>(shape: Vec<usize>, elements: &[T]) -> Tensor {
        let mut data = Vec::with_capacity(elements.len() * T::DTYPE.size());
        for &element in elements {
            element.write(&mut data);
        }
        Tensor::from_bytes(T::DTYPE, shape, data.into())
    }

    /// A tensor of rank 0.
    pub fn scalar<T: Native>(value: T) -> Tensor {
        Tensor::new(vec![], &[value])
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.data.len() / self.dtype.size()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// The elements, if `T` is the element type.
    pub fn to_vec<T: Native>(&self) -> Option<Vec<T>> {
        (self.dtype == T::DTYPE).then(|| self.data.chunks_exact(T::DTYPE.size()).map(T::read).collect())
    }

    /// The same elements in another shape.
    ///
    /// # Panics
    ///
    /// If the shape needs another number of elements.
    pub fn reshaped(&self, shape: Vec<usize>) -> Tensor {
        Tensor::from_bytes(self.dtype, shape, self.data.clone())
    }

    /// The elements as integers, if the type is an integer type or `bool` and they are `i64` all.
    pub fn to_ints(&self) -> Option<Vec<i64>> {
        match Numbers::of(self) {
            Numbers::Int(values) => values.into_iter().map(|value| value.try_into().ok()).collect(),
            Numbers::Bool(values) => Some(values.into_iter().map(i64::from).collect()),
            Numbers::Float(_) => None,
        }
    }

    /// The elements as `f64`, if the type is `f32` or `f64`.
    pub fn to_floats(&self) -> Option<Vec<f64>> {
        match self.dtype {
            DType::F32 => Some(self.to_vec::<f32>()?.into_iter().map(f64::from).collect()),
            DType::F64 => self.to_vec::<f64>(),
            _ => None,
        }
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.dtype, self.shape)
    }
}
