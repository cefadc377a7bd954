//! What goes into a model and comes out of it.

use onnxide_codegen::frontend::StoredValue;
use onnxide_codegen::import;
use onnxide_codegen::ir::Tensor;

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
