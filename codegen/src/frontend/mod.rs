//! The front end: the bytes of a model file to a [`Model`].
//!
//! Nothing is assumed about the bytes. Whatever they are, the result is a model whose names, sizes and order have been
//! checked, or a list of what is wrong with it. Weights stay where they were read: a tensor is a slice of the file.

mod convert;
mod external;
mod model;
// The derived messages are public as far as this module is concerned.
#[allow(missing_docs, unreachable_pub)]
mod onnx;
mod order;
mod sniff;
mod tensor;
mod value;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message;

pub use model::{
    Attribute, DeclaredDim, ElementType, Function, FunctionId, Model, ModelGraph, Node, Tensor, TensorData, ValueInfo,
    ValueType,
};
pub use value::{StoredKind, StoredValue};

use crate::diagnostics::{CompileError, Diagnostic, Diagnostics};
use external::ExternalFiles;

/// Loads an ONNX model, with the files that hold its external data.
///
/// # Errors
/// [`CompileError::Read`] if the file cannot be read, [`CompileError::Model`] with all that is wrong with it otherwise.
pub fn load(path: impl AsRef<Path>) -> Result<Model, CompileError> {
    let path = path.as_ref();
    let data = external::read(path).map_err(|reason| CompileError::Read {
        path: path.to_owned(),
        reason,
    })?;
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    let name = path.to_string_lossy();
    Ok(decode(data, &name, Some((path.to_owned(), folder)))?)
}

/// Reads an ONNX model from memory; findings call it `name`. It cannot refer to external data.
///
/// # Errors
/// All that is wrong with the model.
pub fn from_bytes(data: Bytes, name: &str) -> Result<Model, Diagnostics> {
    decode(data, name, None)
}

/// Reads one tensor from a file of its own, as test suites store inputs and outputs.
///
/// # Errors
/// What is wrong with the file.
pub fn read_tensor(path: impl AsRef<Path>) -> Result<Tensor, CompileError> {
    let path = path.as_ref();
    let error = |reason| CompileError::Read {
        path: path.to_owned(),
        reason,
    };
    let proto = onnx::TensorProto::decode(external::read(path).map_err(error)?).map_err(|e| error(e.to_string()))?;
    tensor::convert(proto, &mut ExternalFiles::new(None), &mut blake3::Hasher::new()).map_err(error)
}

fn decode(data: Bytes, name: &str, place: Option<(PathBuf, PathBuf)>) -> Result<Model, Diagnostics> {
    let decoded = onnx::ModelProto::decode(data.clone());
    let message = match decoded {
        Ok(proto) if proto.graph.is_some() => {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&data);
            let (path, folder) = place.unzip();
            let mut files = ExternalFiles::new(folder);
            let mut model = convert::model(proto, name, &mut files, hasher)?;
            model.files = path.into_iter().chain(files.paths()).collect();
            return Ok(model);
        }
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    };
    Err(Diagnostics::one(name, unreadable(&data, message)))
}

/// Why bytes are no ONNX model, given what the decoder says; `None` for a message without a graph.
fn unreadable(data: &[u8], decoder: Option<String>) -> Diagnostic {
    if data.is_empty() {
        return Diagnostic::new("the file is empty");
    }
    if let Some((what, help)) = sniff::recognize(data) {
        let finding = Diagnostic::new(format!("this looks like {what}, not an ONNX model"));
        return help.into_iter().fold(finding, Diagnostic::help);
    }
    if let Some(size) = sniff::truncated_from(data) {
        let message = format!(
            "the file is truncated: it has {} bytes and describes {size}",
            data.len()
        );
        return Diagnostic::new(message).help("fetch or export the model again");
    }
    match decoder {
        Some(reason) => Diagnostic::new(format!("this is not an ONNX model, or it is damaged ({reason})")),
        None => Diagnostic::new("this is not an ONNX model: it holds no graph"),
    }
}

#[cfg(test)]
mod tests;
