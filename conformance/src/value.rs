//! What goes into a model and comes out of it.

use onnxide_codegen::frontend::{ElementType, StoredValue};
use onnxide_codegen::import;
use onnxide_codegen::ir::{DType, Tensor};
use onnxide_runtime::describe::{AnyData, AnyTensor};
use onnxide_runtime::element;
use onnxide_runtime::harness::container::Container;

/// Values as the compiler holds constants.
///
/// # Errors
///
/// If one is no tensor, or has elements of a type that the compiler does not have.
pub fn tensors(values: &[StoredValue]) -> Result<Vec<Tensor>, String> {
    values.iter().map(tensor).collect()
}

fn tensor(value: &StoredValue) -> Result<Tensor, String> {
    match value {
        StoredValue::Tensor(tensor) => import::tensor(tensor),
        StoredValue::Sequence(_) => Err("sequences are not supported".into()),
        StoredValue::Optional(_) => Err("optional values are not supported".into()),
    }
}

/// Named tensors as a program takes them.
///
/// # Errors
///
/// If the runtime does not have the type of elements.
pub fn pack<'a>(named: impl IntoIterator<Item = (&'a str, &'a Tensor)>) -> Result<Container, String> {
    let mut container = Container::default();
    for (name, tensor) in named {
        let words = words(&tensor.data);
        let bytes = &AnyData::U64(&words).bytes()[..tensor.data.len()];
        let data = runtime_dtype(tensor.dtype).and_then(|dtype| AnyData::from_bytes(dtype, bytes));
        let data = data.ok_or_else(|| format!("the runtime has no type {}", tensor.dtype))?;
        let shape = &tensor.shape;
        container.push(name, AnyTensor { shape, data });
    }
    Ok(container)
}

/// The tensors that a program gives, without their names.
///
/// # Errors
///
/// If the compiler does not have the type of elements.
pub fn unpack(container: &Container) -> Result<Vec<Tensor>, String> {
    let tensor = |(_, tensor): (&str, AnyTensor<'_>)| {
        let dtype =
            dtype(tensor.data.dtype()).ok_or_else(|| format!("the compiler has no type {}", tensor.data.dtype()))?;
        let bytes = tensor.data.bytes().to_vec();
        Ok(Tensor::from_bytes(dtype, tensor.shape.to_vec(), bytes.into()))
    };
    container.iter().map(tensor).collect()
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
    fn tensors_of_every_type_survive() {
        let tensor = |dtype: DType| {
            let bytes = (0..3 * dtype.size()).map(|i| u8::from(i % 2 == 0)).collect::<Vec<_>>();
            Tensor::from_bytes(dtype, vec![3, 1], bytes.into())
        };
        let tensors = DType::ALL.map(tensor);
        let container = pack(tensors.iter().map(|tensor| (tensor.dtype.name(), tensor))).unwrap();
        let read = Container::from_bytes(&container.to_bytes()).unwrap();
        assert_eq!(unpack(&read).unwrap(), tensors);
    }
}
