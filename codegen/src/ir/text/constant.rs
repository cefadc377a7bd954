//! Elements of constants in the text form.

use super::type_text;
use crate::ir::dim::Dim;
use crate::ir::dtype::DType;
use crate::ir::eval::Numbers;
use crate::ir::graph::TensorType;
use crate::ir::tensor::Tensor;
use std::fmt::Write;

/// How constants with more than a few elements are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Constants {
    /// As a hash, which cannot be read back.
    Elided,
    /// In full, in hexadecimal.
    Full,
}

/// Constants with more elements are not listed.
const LISTED: usize = 16;

/// A constant; `ty` is its type according to the graph.
pub(super) fn text(tensor: &Tensor, ty: Option<&TensorType>, constants: Constants) -> String {
    let own = TensorType::new(tensor.dtype, tensor.shape.iter().map(|&size| Dim::from(size)).collect());
    let mut result = if ty == Some(&own) {
        String::new()
    } else {
        format!("{} ", type_text(&own))
    };
    let size = tensor.dtype.size();
    let mut elements = tensor.data.chunks_exact(size);
    let equal = elements
        .next()
        .is_some_and(|first| elements.all(|element| element == first));
    if equal && tensor.len() > 1 {
        let _ = write!(result, "splat({})", list(tensor.dtype, &tensor.data[..size]));
    } else if tensor.len() <= LISTED {
        let _ = write!(result, "[{}]", list(tensor.dtype, &tensor.data));
    } else if constants == Constants::Full {
        result.push_str("hex \"");
        for byte in &tensor.data {
            let _ = write!(result, "{byte:02x}");
        }
        result.push('"');
    } else {
        let hash = blake3::hash(&tensor.data);
        let _ = write!(result, "elided({})", &hash.to_hex()[..8]);
    }
    result
}

fn list(dtype: DType, bytes: &[u8]) -> String {
    let elements: Vec<String> = match Numbers::decode(dtype, bytes) {
        Numbers::Float(values) => {
            let bits = bytes.chunks_exact(dtype.size());
            values
                .iter()
                .zip(bits)
                .map(|(&value, bits)| float_with_bits(value, dtype, bits))
                .collect()
        }
        Numbers::Int(values) => values.iter().map(i128::to_string).collect(),
        Numbers::Bool(values) => values.iter().map(bool::to_string).collect(),
    };
    elements.join(", ")
}

/// The shortest decimal that gives the value when read as the type.
pub(super) fn float(value: f64, dtype: DType) -> String {
    if value.is_nan() {
        "nan".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "inf" } else { "-inf" }.to_owned()
    } else if dtype == DType::F64 || f64::from(value as f32) != value {
        format!("{value:?}")
    } else {
        format!("{:?}", value as f32)
    }
}

/// Not-a-number with an unusual payload is written by its bits.
fn float_with_bits(value: f64, dtype: DType, bits: &[u8]) -> String {
    let mut usual = Vec::new();
    if value.is_nan() && Numbers::Float(vec![f64::NAN]).encode(dtype, &mut usual).is_ok() && usual != bits {
        let mut word = [0; 8];
        word[..bits.len()].copy_from_slice(bits);
        return format!("bits({:#x})", u64::from_le_bytes(word));
    }
    float(value, dtype)
}
