//! A model without its types: what tools need that load any model.

use crate::element::*;
use crate::error::RunError;

/// A compiled model, run with tensors whose types are known at run time only.
pub trait Program {
    /// The inputs of a run, in the order of `run_dyn`.
    const INPUTS: &'static [Port];
    /// The outputs of a run, in the order of their indices in `run_dyn`.
    const OUTPUTS: &'static [Port];
    /// The steps that a profile counts; empty for a model that was compiled without profiling.
    const STEPS: &'static [Step] = &[];

    /// Runs the model and passes each output's index and tensor to `outputs`.
    ///
    /// # Errors
    ///
    /// If the inputs do not fit the [`INPUTS`](Program::INPUTS).
    fn run_dyn(
        &mut self,
        inputs: &[AnyTensor<'_>],
        outputs: &mut dyn FnMut(usize, AnyTensor<'_>),
    ) -> Result<(), RunError>;

    /// As `run_dyn`, and tells `profile` when each step starts, if the model was compiled with profiling.
    ///
    /// # Errors
    ///
    /// As for `run_dyn`.
    fn run_profiled(
        &mut self,
        inputs: &[AnyTensor<'_>],
        outputs: &mut dyn FnMut(usize, AnyTensor<'_>),
        _profile: &mut dyn Profile,
    ) -> Result<(), RunError> {
        self.run_dyn(inputs, outputs)
    }
}

/// A step of a model, as a profile shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The nodes of the model that the step computes.
    pub nodes: &'static str,
    /// The kernel that computes them.
    pub kernel: &'static str,
}

/// What a model that was compiled with profiling reports to.
pub trait Profile {
    /// Called when the step with this index starts; a step may start more than once in a run.
    fn step(&mut self, index: usize);
}

/// Ignores the steps. A generic run with this profile is as fast as one without.
impl Profile for () {
    #[inline(always)]
    fn step(&mut self, _index: usize) {}
}

/// An input or an output of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// The name in the model.
    pub name: &'static str,
    /// The type of the elements.
    pub dtype: DType,
    /// The dimensions.
    pub shape: &'static [PortDim],
}

/// A dimension of a [`Port`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortDim {
    /// A constant size.
    Fixed(usize),
    /// A size that the caller chooses.
    Symbol {
        /// The name, the same in every port that has this size.
        name: &'static str,
        /// The least size.
        min: usize,
        /// The greatest size.
        max: usize,
    },
    /// A size that follows from symbols or from data.
    Computed {
        /// The expression over symbols, or the name of a size that depends on data.
        expression: &'static str,
        /// The greatest size.
        max: usize,
    },
}

/// A dense tensor in row-major order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AnyTensor<'a> {
    /// The shape.
    pub shape: &'a [usize],
    /// The elements, as many as the product of the shape.
    pub data: AnyData<'a>,
}

/// Declares [`AnyData`] with what depends on the list of its variants.
macro_rules! any_data {
    ($($variant:ident($type:ty))*) => {
        /// The elements of a tensor of any type.
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[allow(missing_docs)]
        #[non_exhaustive]
        pub enum AnyData<'a> {
            $($variant(&'a [$type]),)*
            /// Bytes that are 0 or 1.
            Bool(&'a [u8]),
        }

        impl<'a> AnyData<'a> {
            /// The type of the elements.
            pub const fn dtype(self) -> DType {
                match self {
                    $(AnyData::$variant(_) => DType::$variant,)*
                    AnyData::Bool(_) => DType::Bool,
                }
            }

            /// The elements in these little-endian bytes, unless they start at an address that is not aligned for the
            /// type, or their number is no multiple of its size.
            pub fn from_bytes(dtype: DType, bytes: &'a [u8]) -> Option<AnyData<'a>> {
                Some(match dtype {
                    $(DType::$variant => AnyData::$variant(elements(bytes)?),)*
                    DType::Bool => AnyData::Bool(bytes),
                })
            }
        }

        /// Calls `$body` with `$data` bound to the slice of an [`AnyData`].
        macro_rules! each_type {
            ($any:expr, $data:ident => $body:expr) => {
                match $any {
                    $(AnyData::$variant($data) => $body,)*
                    AnyData::Bool($data) => $body,
                }
            };
        }
    };
}

any_data! {
    F32(f32) F64(f64) F16(F16) Bf16(Bf16)
    I8(i8) I16(i16) I32(i32) I64(i64)
    U8(u8) U16(u16) U32(u32) U64(u64)
    F8E4M3Fn(F8E4M3Fn) F8E4M3Fnuz(F8E4M3Fnuz) F8E5M2(F8E5M2) F8E5M2Fnuz(F8E5M2Fnuz) F8E8M0(F8E8M0)
    F6E2M3(F6E2M3) F6E3M2(F6E3M2) F4E2M1(F4E2M1)
    I4(I4) U4(U4) I2(I2) U2(U2)
}

impl<'a> AnyData<'a> {
    /// The number of elements.
    pub const fn len(self) -> usize {
        each_type!(self, data => data.len())
    }

    /// Whether there are no elements.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The elements as little-endian bytes.
    pub const fn bytes(self) -> &'a [u8] {
        each_type!(self, data => bytes_of(data))
    }

    /// The elements, if they are of type `T`.
    pub fn get<T: Element>(self) -> Option<&'a [T]> {
        let same = self.dtype() == T::DTYPE;
        // SAFETY: the elements of this data type are `T`, as `Element` is sealed and `DTYPE` differs for each type.
        same.then(|| unsafe { core::slice::from_raw_parts(self.bytes().as_ptr().cast::<T>(), self.len()) })
    }
}

const fn bytes_of<T: Element>(data: &[T]) -> &[u8] {
    // SAFETY: an element has no padding, so all of its bytes are initialized.
    unsafe { core::slice::from_raw_parts(data.as_ptr().cast(), size_of_val(data)) }
}

fn elements<T: Element>(bytes: &[u8]) -> Option<&[T]> {
    let data = bytes.as_ptr().cast::<T>();
    if !data.is_aligned() || !bytes.len().is_multiple_of(size_of::<T>()) {
        return None;
    }
    // SAFETY: the bytes are aligned, and every bit pattern is an element.
    Some(unsafe { core::slice::from_raw_parts(data, bytes.len() / size_of::<T>()) })
}

impl<'a> AnyTensor<'a> {
    /// The elements and the shape of the input of a port, once rank and data type are found to be those of the port.
    ///
    /// Dimensions are for the typed `run` of the model to check. A boolean port takes bytes.
    ///
    /// # Errors
    ///
    /// [`RunError::DataType`], [`RunError::Rank`] or [`RunError::DataLength`].
    pub fn input<T: Element, const R: usize>(&self, port: &Port) -> Result<([usize; R], &'a [T]), RunError> {
        let actual = self.data.dtype();
        let data = match self.data {
            AnyData::Bool(bytes) if port.dtype == DType::Bool => AnyData::U8(bytes).get(),
            AnyData::U8(_) if port.dtype == DType::Bool => None,
            data => data.get(),
        };
        let data = data.ok_or(RunError::DataType {
            input: port.name,
            expected: port.dtype,
            actual,
        })?;
        let shape = self.shape.try_into().map_err(|_| RunError::Rank {
            input: port.name,
            expected: R,
            actual: self.shape.len(),
        })?;
        crate::tensor::TensorView::new(shape, data).map(|view| (view.shape(), view.data()))
    }

    /// The elements of the input of a port whose dimensions are all constant.
    ///
    /// # Errors
    ///
    /// As for [`input`](AnyTensor::input), and [`RunError::Dimension`].
    pub fn fixed<T: Element, const R: usize>(&self, port: &Port) -> Result<&'a [T], RunError> {
        let (shape, data) = self.input::<T, R>(port)?;
        for (axis, (dim, actual)) in port.shape.iter().zip(shape).enumerate() {
            if let PortDim::Fixed(expected) = *dim {
                crate::dims::fixed((port.name, axis), expected, actual)?;
            }
        }
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: Port = Port {
        name: "x",
        dtype: DType::I64,
        shape: &[PortDim::Fixed(2), PortDim::Fixed(1)],
    };

    #[test]
    fn an_input_of_the_right_type_and_rank_is_taken() {
        let tensor = AnyTensor {
            shape: &[2, 1],
            data: AnyData::I64(&[1, -1]),
        };
        assert_eq!(tensor.input::<i64, 2>(&PORT), Ok(([2, 1], &[1, -1][..])));
        assert_eq!(tensor.fixed::<i64, 2>(&PORT), Ok(&[1, -1][..]));
        let other_shape = AnyTensor {
            shape: &[1, 2],
            ..tensor
        };
        assert!(other_shape.fixed::<i64, 2>(&PORT).is_err());
        assert_eq!(tensor.data.bytes().len(), 16);
        assert_eq!(tensor.data.get::<u64>(), None);
    }

    #[test]
    fn other_types_ranks_and_lengths_are_refused() {
        let shape = &[2, 1][..];
        let wrong_type = AnyTensor {
            shape,
            data: AnyData::F32(&[1.0, 2.0]),
        };
        let error = RunError::DataType {
            input: "x",
            expected: DType::I64,
            actual: DType::F32,
        };
        assert_eq!(wrong_type.input::<i64, 2>(&PORT), Err(error));
        let wrong_rank = AnyTensor {
            shape: &[2],
            data: AnyData::I64(&[1, 2]),
        };
        assert_eq!(
            wrong_rank.input::<i64, 2>(&PORT),
            Err(RunError::Rank {
                input: "x",
                expected: 2,
                actual: 1
            })
        );
        let wrong_length = AnyTensor {
            shape,
            data: AnyData::I64(&[1]),
        };
        assert_eq!(
            wrong_length.input::<i64, 2>(&PORT),
            Err(RunError::DataLength { expected: 2, actual: 1 })
        );
    }

    #[test]
    fn booleans_are_not_bytes() {
        let port = Port {
            dtype: DType::Bool,
            ..PORT
        };
        let boolean = AnyTensor {
            shape: &[1],
            data: AnyData::Bool(&[1]),
        };
        assert_eq!(boolean.input::<u8, 1>(&port), Ok(([1], &[1][..])));
        let byte = AnyTensor {
            shape: &[1],
            data: AnyData::U8(&[1]),
        };
        assert!(byte.input::<u8, 1>(&port).is_err());
        assert!(
            boolean
                .input::<u8, 1>(&Port {
                    dtype: DType::U8,
                    ..PORT
                })
                .is_err()
        );
    }
}
