//! A model without its types: what tools need that load any model.

use crate::element::*;
use crate::error::RunError;
use crate::sequence::{Loader, Range, Shapes};
use crate::weights::Weights;

/// A compiled model, run with values whose types are known at run time only.
pub trait Program {
    /// The inputs of a run, in the order of `run_dyn`.
    const INPUTS: &'static [Port];
    /// The outputs of a run, in the order of their indices in `run_dyn`.
    const OUTPUTS: &'static [Port];
    /// The steps that a profile counts; empty for a model that was compiled without profiling.
    const STEPS: &'static [Step] = &[];

    /// The weights.
    fn weights() -> Weights {
        Weights::EMPTY
    }

    /// Runs the model and passes each output's index and value to `outputs`.
    ///
    /// # Errors
    ///
    /// If the inputs do not fit the [`INPUTS`](Program::INPUTS).
    fn run_dyn(
        &mut self,
        inputs: &[AnyValue<'_>],
        outputs: &mut dyn FnMut(usize, AnyValue<'_>),
    ) -> Result<(), RunError>;

    /// As `run_dyn`, and tells `profile` when each step starts, if the model was compiled with profiling.
    ///
    /// # Errors
    ///
    /// As for `run_dyn`.
    fn run_profiled(
        &mut self,
        inputs: &[AnyValue<'_>],
        outputs: &mut dyn FnMut(usize, AnyValue<'_>),
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
    /// What is passed.
    pub kind: PortKind,
    /// The type of the elements.
    pub dtype: DType,
    /// The dimensions; of a sequence, those of its elements.
    pub shape: &'static [PortDim],
}

/// What is passed through a [`Port`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// A tensor.
    Tensor,
    /// A tensor of strings, as bytes: along the last axis are those of a string in UTF-8, then zeros.
    Text,
    /// A tensor or nothing.
    Optional,
    /// A sequence of at most `max` tensors.
    Sequence {
        /// The greatest number of elements.
        max: usize,
    },
    /// A sequence of at most `max` tensors, or nothing.
    OptionalSequence {
        /// The greatest number of elements.
        max: usize,
    },
}

impl PortKind {
    /// The kind, as errors name it.
    const fn name(self) -> &'static str {
        match self {
            PortKind::Tensor => "a tensor",
            PortKind::Text => "a tensor of strings",
            PortKind::Optional => "a tensor or nothing",
            PortKind::Sequence { .. } => "a sequence",
            PortKind::OptionalSequence { .. } => "a sequence or nothing",
        }
    }
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

/// An input or an output of any kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AnyValue<'a> {
    /// A tensor, also in the place of an optional one.
    Tensor(AnyTensor<'a>),
    /// A sequence, also in the place of an optional one.
    Sequence(AnySequence<'a>),
    /// Nothing, in the place of an optional value.
    None,
}

impl<'a> AnyValue<'a> {
    /// The tensor that a port takes.
    ///
    /// # Errors
    ///
    /// [`RunError::Kind`] if this is none.
    pub const fn tensor(&self, port: &Port) -> Result<AnyTensor<'a>, RunError> {
        match self {
            AnyValue::Tensor(tensor) => Ok(*tensor),
            _ => Err(RunError::Kind {
                input: port.name,
                expected: port.kind.name(),
            }),
        }
    }

    /// As [`AnyTensor::input`].
    ///
    /// # Errors
    ///
    /// As for [`AnyTensor::input`], and [`RunError::Kind`].
    pub fn input<T: Element, const R: usize>(&self, port: &Port) -> Result<([usize; R], &'a [T]), RunError> {
        self.tensor(port)?.input(port)
    }

    /// As [`AnyTensor::fixed`].
    ///
    /// # Errors
    ///
    /// As for [`AnyTensor::fixed`], and [`RunError::Kind`].
    pub fn fixed<T: Element, const R: usize>(&self, port: &Port) -> Result<&'a [T], RunError> {
        self.tensor(port)?.fixed::<T, R>(port)
    }

    /// As [`AnyTensor::text`].
    ///
    /// # Errors
    ///
    /// As for [`AnyTensor::text`], and [`RunError::Kind`].
    pub fn text<const R: usize>(&self, port: &Port) -> Result<([usize; R], &'a [u8]), RunError> {
        self.tensor(port)?.text(port)
    }

    /// Whether there is a value, and the number of tensors, which are put into the memory of a model as
    /// [`load`](crate::sequence::load) does it.
    ///
    /// # Errors
    ///
    /// [`RunError::Kind`], and as for [`load`](crate::sequence::load) and [`AnyTensor::input`].
    pub fn load<T: Element, const R: usize>(
        &self,
        port: &Port,
        sizes: [Range; R],
        elements: &mut [T],
        shapes: &mut [i64],
    ) -> Result<(bool, i64), RunError> {
        let mut loader = Loader::new(port.name, sizes, elements, shapes);
        let present = self.each_tensor(port, &mut |tensor| {
            let (shape, data) = tensor.input::<T, R>(port)?;
            loader.push(&shape, data)
        })?;
        Ok((present, loader.len as i64))
    }

    /// As [`load`](AnyValue::load), for tensors that may have fewer axes than `R`.
    ///
    /// # Errors
    ///
    /// As for [`load`](AnyValue::load), and as for [`load_mixed`](crate::sequence::load_mixed).
    pub fn load_mixed<T: Element, const R: usize>(
        &self,
        port: &Port,
        sizes: [Range; R],
        elements: &mut [T],
        shapes: &mut [i64],
    ) -> Result<(bool, i64), RunError> {
        let mut loader = Loader::new(port.name, sizes, elements, shapes);
        let present = self.each_tensor(port, &mut |tensor| {
            let data = tensor.elements(port)?;
            if tensor.shape.len() > R {
                return Err(RunError::Rank {
                    input: port.name,
                    expected: R,
                    actual: tensor.shape.len(),
                });
            }
            let view = crate::sequence::ElementView::<T, R>::new(tensor.shape, data)?;
            loader.push(view.shape(), view.data())
        })?;
        Ok((present, loader.len as i64))
    }

    /// Calls `push` with the tensors of a sequence, or the one that an optional value is, and returns whether there is a
    /// value.
    fn each_tensor(
        &self,
        port: &Port,
        push: &mut dyn FnMut(AnyTensor<'_>) -> Result<(), RunError>,
    ) -> Result<bool, RunError> {
        match (self, port.kind) {
            (AnyValue::Tensor(tensor), PortKind::Optional) => push(*tensor)?,
            (AnyValue::Sequence(sequence), PortKind::Sequence { .. } | PortKind::OptionalSequence { .. }) => {
                for index in 0..sequence.len() {
                    sequence.with(index, &mut *push).unwrap_or(Ok(()))?;
                }
            }
            (AnyValue::None, PortKind::Optional | PortKind::OptionalSequence { .. }) => return Ok(false),
            _ => {
                return Err(RunError::Kind {
                    input: port.name,
                    expected: port.kind.name(),
                });
            }
        }
        Ok(true)
    }
}

impl<'a> From<AnyTensor<'a>> for AnyValue<'a> {
    fn from(tensor: AnyTensor<'a>) -> Self {
        AnyValue::Tensor(tensor)
    }
}

/// A sequence of dense tensors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AnySequence<'a> {
    content: Content<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Content<'a> {
    Tensors(&'a [AnyTensor<'a>]),
    Rows { elements: AnyData<'a>, shapes: Shapes<'a> },
}

/// The largest rank of a tensor.
const MAX_RANK: usize = 32;

impl<'a> AnySequence<'a> {
    /// The sequence of some tensors.
    pub const fn of(tensors: &'a [AnyTensor<'a>]) -> Self {
        AnySequence {
            content: Content::Tensors(tensors),
        }
    }

    /// The first `len` tensors of up to `rank` axes that lie in `elements` and `shapes`, as [`sequence`](crate::sequence)
    /// describes it.
    ///
    /// # Panics
    ///
    /// If there is no room for as many tensors.
    pub fn of_rows(elements: AnyData<'a>, shapes: &'a [i64], rank: usize, len: i64) -> Self {
        let content = Content::Rows {
            elements,
            shapes: Shapes::new(shapes, rank, len),
        };
        AnySequence { content }
    }

    /// The number of tensors.
    pub const fn len(&self) -> usize {
        match &self.content {
            Content::Tensors(tensors) => tensors.len(),
            Content::Rows { shapes, .. } => shapes.len,
        }
    }

    /// Whether there are no tensors.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `visit` with the tensor at an index, unless there is none.
    ///
    /// # Panics
    ///
    /// If the shapes of [`of_rows`](AnySequence::of_rows) are larger than the rows.
    pub fn with<R>(&self, index: usize, visit: impl FnOnce(AnyTensor<'_>) -> R) -> Option<R> {
        match self.content {
            Content::Tensors(tensors) => Some(visit(*tensors.get(index)?)),
            Content::Rows { elements, shapes } => {
                let mut sizes = [0; MAX_RANK];
                let rank = shapes.get(index, &mut sizes)?;
                let shape = &sizes[..rank];
                let count = crate::tensor::element_count(shape).unwrap_or(usize::MAX);
                let width = elements.len() / shapes.capacity();
                let data = elements.range(index * width, count);
                Some(visit(AnyTensor { shape, data }))
            }
        }
    }
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

    /// `len` elements from the element `start`.
    ///
    /// # Panics
    ///
    /// If they are not all there.
    pub fn range(self, start: usize, len: usize) -> AnyData<'a> {
        let size = self.dtype().size();
        let bytes = &self.bytes()[start * size..][..len * size];
        AnyData::from_bytes(self.dtype(), bytes).expect("elements are aligned where they are")
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
        let data = self.elements(port)?;
        let shape = self.shape.try_into().map_err(|_| RunError::Rank {
            input: port.name,
            expected: R,
            actual: self.shape.len(),
        })?;
        crate::tensor::TensorView::new(shape, data).map(|view| (view.shape(), view.data()))
    }

    /// The elements, once the data type is found to be that of a port.
    fn elements<T: Element>(&self, port: &Port) -> Result<&'a [T], RunError> {
        let data = match self.data {
            AnyData::Bool(bytes) if port.dtype == DType::Bool => AnyData::U8(bytes).get(),
            AnyData::U8(_) if port.dtype == DType::Bool => None,
            data => data.get(),
        };
        data.ok_or(RunError::DataType {
            input: port.name,
            expected: port.dtype,
            actual: self.data.dtype(),
        })
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

    /// The bytes of a tensor of strings and its shape, without the axis of the bytes.
    ///
    /// # Errors
    ///
    /// As for [`input`](AnyTensor::input), [`RunError::Dimension`], and [`RunError::Text`] if a row is no string.
    pub fn text<const R: usize>(&self, port: &Port) -> Result<([usize; R], &'a [u8]), RunError> {
        let rank = RunError::Rank {
            input: port.name,
            expected: R + 1,
            actual: self.shape.len(),
        };
        let (&width, shape) = self.shape.split_last().ok_or(rank)?;
        let outer = shape.try_into().map_err(|_| rank)?;
        let AnyData::U8(bytes) = self.data else {
            return Err(RunError::DataType {
                input: port.name,
                expected: port.dtype,
                actual: self.data.dtype(),
            });
        };
        let count = crate::tensor::element_count(self.shape).unwrap_or(usize::MAX);
        if bytes.len() != count {
            return Err(RunError::DataLength {
                expected: count,
                actual: bytes.len(),
            });
        }
        for (axis, (dim, &actual)) in port.shape.iter().zip(self.shape).enumerate() {
            if let PortDim::Fixed(expected) = *dim {
                crate::dims::fixed((port.name, axis), expected, actual)?;
            }
        }
        match bytes
            .chunks_exact(width.max(1))
            .position(|row| !crate::text::is_row(row))
        {
            Some(element) => Err(RunError::Text {
                input: port.name,
                element,
            }),
            None => Ok((outer, bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: Port = Port {
        name: "x",
        kind: PortKind::Tensor,
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
    fn sequences_are_loaded_and_read_back() {
        let port = Port {
            kind: PortKind::Sequence { max: 2 },
            ..PORT
        };
        let tensors = [
            AnyTensor {
                shape: &[1, 1],
                data: AnyData::I64(&[5]),
            },
            AnyTensor {
                shape: &[2, 1],
                data: AnyData::I64(&[6, 7]),
            },
        ];
        let (mut elements, mut shapes) = ([0; 4], [0; 4]);
        let mut load =
            |value: AnyValue<'_>, port: &Port| value.load::<i64, 2>(port, [(0, 2), (1, 1)], &mut elements, &mut shapes);
        let sequence = AnyValue::Sequence(AnySequence::of(&tensors));
        let wrong = Err(RunError::Kind {
            input: "x",
            expected: "a sequence",
        });
        assert_eq!(load(AnyValue::None, &port), wrong);
        assert_eq!(load(tensors[0].into(), &port), wrong);
        assert_eq!(load(sequence, &port), Ok((true, 2)));
        let optional = Port {
            kind: PortKind::Optional,
            ..PORT
        };
        assert_eq!(load(AnyValue::None, &optional), Ok((false, 0)));
        assert!(load(sequence, &optional).is_err());
        assert!(sequence.tensor(&PORT).is_err());
        let stored = AnySequence::of_rows(AnyData::I64(&elements), &shapes, 2, 2);
        for (index, &expected) in tensors.iter().enumerate() {
            assert_eq!(stored.with(index, |tensor| tensor == expected), Some(true));
        }
        assert_eq!(stored.with(2, |_| ()), None);
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
