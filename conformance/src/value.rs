//! What goes into a model and comes out of it.

use std::fmt;

use bytes::Bytes;
use onnxide_codegen::frontend::{StoredValue, TensorData};
use onnxide_codegen::import;
use onnxide_codegen::ir::{DType, Tensor};
use onnxide_runtime::describe::{AnyData, AnyTensor};
use onnxide_runtime::element;
use onnxide_runtime::harness::container::Container;

/// An input or an output.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// A tensor, also in the place of an optional one.
    Tensor(Tensor),
    /// A tensor of strings.
    Strings(Strings),
    /// A sequence, also in the place of an optional one.
    Sequence(Vec<Tensor>),
    /// Nothing, in the place of an optional value.
    None,
}

/// A tensor of strings.
#[derive(Clone, Debug, PartialEq)]
pub struct Strings {
    /// The size of each dimension.
    pub shape: Vec<usize>,
    /// The strings in row-major order.
    pub strings: Vec<String>,
}

impl Strings {
    /// The bytes of each string, and zeros after them up to a width, along a last axis.
    ///
    /// # Errors
    ///
    /// If a string is longer.
    pub fn to_rows(&self, width: usize) -> Result<Tensor, String> {
        let mut bytes = Vec::with_capacity(width * self.strings.len());
        for text in &self.strings {
            let rest = width.checked_sub(text.len());
            let rest = rest.ok_or_else(|| format!("a string of {} bytes, with room for {width}", text.len()))?;
            bytes.extend_from_slice(text.as_bytes());
            bytes.resize(bytes.len() + rest, 0u8);
        }
        let shape: Vec<_> = self.shape.iter().copied().chain([width]).collect();
        Ok(Tensor::new(shape, &bytes))
    }

    /// The strings in rows of bytes; `None` if these are something else.
    pub fn of_rows(rows: &Tensor) -> Option<Strings> {
        let (&width, shape) = rows.shape.split_last().filter(|_| rows.dtype == DType::U8)?;
        let text = |row: &[u8]| {
            let end = row.iter().position(|&byte| byte == 0).unwrap_or(row.len());
            String::from_utf8(row[..end].to_vec()).ok()
        };
        let strings = rows.data.chunks(width.max(1)).map(text).collect::<Option<_>>()?;
        let shape = shape.to_vec();
        Some(Strings { shape, strings })
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Tensor(tensor) => tensor.fmt(f),
            Value::Strings(strings) => strings.fmt(f),
            Value::Sequence(tensors) => write!(f, "a sequence of {tensors:?}"),
            Value::None => f.write_str("nothing"),
        }
    }
}

impl Value {
    /// A value as the suite stores it, with elements as the compiler holds those of constants.
    ///
    /// # Errors
    ///
    /// If it nests, or has elements of a type that the compiler does not have.
    pub fn new(stored: &StoredValue) -> Result<Value, String> {
        match stored {
            StoredValue::Tensor(tensor) => match &tensor.data {
                TensorData::Strings(strings) => {
                    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string());
                    Ok(Value::Strings(Strings {
                        shape: tensor.shape.clone(),
                        strings: strings.iter().map(text).collect::<Result<_, _>>()?,
                    }))
                }
                TensorData::Bytes(_) => Ok(Value::Tensor(import::tensor(tensor)?)),
            },
            StoredValue::Sequence(elements) => {
                let element = |element: &StoredValue| match Value::new(element)? {
                    Value::Tensor(tensor) => Ok(tensor),
                    other => Err(format!("a sequence of {other:?} is not supported")),
                };
                Ok(Value::Sequence(
                    elements.iter().map(element).collect::<Result<_, String>>()?,
                ))
            }
            StoredValue::Optional(Some(value)) => Value::new(value),
            StoredValue::Optional(None) => Ok(Value::None),
        }
    }
}

/// Values as the programs of packages take them: a tensor under the number of the value; a sequence as the number of
/// its elements under the number of the value and `[]`, and each element under the same with its own number in it;
/// strings as rows of bytes, which come back as such.
///
/// # Errors
///
/// If the runtime does not have the type of elements.
pub fn pack(values: &[Value]) -> Result<Container, String> {
    let mut container = Container::default();
    for (number, value) in values.iter().enumerate() {
        match value {
            Value::Tensor(tensor) => push(&mut container, &number.to_string(), tensor)?,
            Value::Strings(strings) => {
                let longest = strings.strings.iter().map(String::len).max().unwrap_or(0);
                push(&mut container, &number.to_string(), &strings.to_rows(longest.max(1))?)?;
            }
            Value::Sequence(elements) => {
                push(
                    &mut container,
                    &format!("{number}[]"),
                    &Tensor::scalar(elements.len() as u64),
                )?;
                for (index, element) in elements.iter().enumerate() {
                    push(&mut container, &format!("{number}[{index}]"), element)?;
                }
            }
            Value::None => {}
        }
    }
    Ok(container)
}

fn push(container: &mut Container, name: &str, tensor: &Tensor) -> Result<(), String> {
    let words = words(&tensor.data);
    let bytes = &AnyData::U64(&words).bytes()[..tensor.data.len()];
    let data = runtime_dtype(tensor.dtype).and_then(|dtype| AnyData::from_bytes(dtype, bytes));
    let data = data.ok_or_else(|| format!("the runtime has no type {}", tensor.dtype))?;
    let shape = &tensor.shape;
    container.push(name, AnyTensor { shape, data });
    Ok(())
}

/// The first `count` values that a program gives, as [`pack`] describes them.
///
/// # Errors
///
/// If the compiler does not have the type of elements, or an element is missing.
pub fn unpack(container: &Container, count: usize) -> Result<Vec<Value>, String> {
    let get = |name: &str| container.get(name).map(tensor).transpose();
    let value = |number: usize| {
        if let Some(tensor) = get(&number.to_string())? {
            return Ok(Value::Tensor(tensor));
        }
        let Some(length) = get(&format!("{number}[]"))? else {
            return Ok(Value::None);
        };
        let length = length
            .to_vec::<u64>()
            .and_then(|lengths| lengths.first().copied())
            .unwrap_or(0);
        let element = |index| {
            let name = format!("{number}[{index}]");
            get(&name)?.ok_or_else(|| format!("there is no {name}"))
        };
        Ok(Value::Sequence(
            (0..length).map(element).collect::<Result<_, String>>()?,
        ))
    };
    (0..count).map(value).collect()
}

fn tensor(tensor: AnyTensor<'_>) -> Result<Tensor, String> {
    let runtime = tensor.data.dtype();
    let dtype = dtype(runtime).ok_or_else(|| format!("the compiler has no type {runtime}"))?;
    let bytes = tensor.data.bytes().to_vec();
    Ok(Tensor::from_bytes(dtype, tensor.shape.to_vec(), bytes.into()))
}

/// Elements in words are aligned for every type.
fn words(bytes: &[u8]) -> Vec<u64> {
    let word = |chunk: &[u8]| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    };
    bytes.chunks(8).map(word).collect()
}

/// The types of the compiler with those of the runtime, whose variants have the same names.
fn types() -> impl Iterator<Item = (DType, element::DType)> {
    DType::ALL.into_iter().filter_map(|dtype| {
        let name = format!("{dtype:?}");
        let same = |runtime: &element::DType| format!("{runtime:?}").eq_ignore_ascii_case(&name);
        Some((dtype, element::DType::ALL.into_iter().find(same)?))
    })
}

fn runtime_dtype(dtype: DType) -> Option<element::DType> {
    types().find(|(known, _)| *known == dtype).map(|(_, runtime)| runtime)
}

fn dtype(runtime: element::DType) -> Option<DType> {
    types().find(|(_, known)| *known == runtime).map(|(dtype, _)| dtype)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_type_survive() {
        let tensor = |dtype: DType| {
            let bytes = (0..3 * dtype.size()).map(|i| u8::from(i % 2 == 0)).collect::<Vec<_>>();
            Tensor::from_bytes(dtype, vec![3, 1], bytes.into())
        };
        assert!(types().map(|(dtype, _)| dtype).eq(DType::ALL));
        let types = types().map(|(dtype, _)| dtype);
        let mut values: Vec<_> = types.map(|dtype| Value::Tensor(tensor(dtype))).collect();
        values.extend([
            Value::None,
            Value::Sequence(vec![]),
            Value::Sequence(vec![Tensor::scalar(1.5f32), tensor(DType::F32)]),
        ]);
        let container = pack(&values).unwrap();
        let read = Container::from_bytes(&container.to_bytes()).unwrap();
        assert_eq!(unpack(&read, values.len()).unwrap(), values);
    }
}
