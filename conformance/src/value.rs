//! What goes into a model and comes out of it.

use std::fmt;

use onnxide_codegen::frontend::{ElementType, StoredValue};
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
    /// A sequence, also in the place of an optional one.
    Sequence(Vec<Tensor>),
    /// Nothing, in the place of an optional value.
    None,
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Tensor(tensor) => tensor.fmt(f),
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
            StoredValue::Tensor(tensor) => Ok(Value::Tensor(import::tensor(tensor)?)),
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
/// its elements under the number of the value and `[]`, and each element under the same with its own number in it.
///
/// # Errors
///
/// If the runtime does not have the type of elements.
pub fn pack(values: &[Value]) -> Result<Container, String> {
    let mut container = Container::default();
    for (number, value) in values.iter().enumerate() {
        match value {
            Value::Tensor(tensor) => push(&mut container, &number.to_string(), tensor)?,
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

/// The types of ONNX, by which those of the compiler and of the runtime correspond: the runtime has their names.
fn types() -> impl Iterator<Item = (DType, element::DType)> {
    let elements = (1..).map_while(ElementType::from_onnx);
    elements.filter_map(|element| {
        let runtime = element::DType::from_name(&element.to_string())?;
        Some((import::dtype(element).ok()?, runtime))
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
