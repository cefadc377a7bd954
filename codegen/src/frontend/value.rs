//! Values in files of their own, as test suites store inputs and outputs.

use bytes::Bytes;
use prost::Message;

use super::external::ExternalFiles;
use super::model::Tensor;
use super::onnx::{OptionalProto, SequenceProto, TensorProto};
use super::tensor;

/// How deep the values of a file may nest.
const MAX_DEPTH: usize = 8;

/// What a file holds, which the file itself does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredKind {
    /// A tensor.
    Tensor,
    /// A sequence.
    Sequence,
    /// A value that may be absent.
    Optional,
}

/// A value that a model takes or gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredValue {
    /// A tensor.
    Tensor(Tensor),
    /// A sequence, with its elements in order.
    Sequence(Vec<StoredValue>),
    /// A value that may be absent.
    Optional(Option<Box<StoredValue>>),
}

impl StoredValue {
    /// Reads a value from the content of a file.
    ///
    /// # Errors
    ///
    /// What is wrong with the content, or what is in it that cannot be read.
    pub fn decode(data: Bytes, kind: StoredKind) -> Result<Self, String> {
        let damaged = |error: prost::DecodeError| error.to_string();
        match kind {
            StoredKind::Tensor => from_tensor(TensorProto::decode(data).map_err(damaged)?),
            StoredKind::Sequence => from_sequence(SequenceProto::decode(data).map_err(damaged)?, 0),
            StoredKind::Optional => from_optional(OptionalProto::decode(data).map_err(damaged)?, 0),
        }
    }
}

fn from_tensor(proto: TensorProto) -> Result<StoredValue, String> {
    let tensor = tensor::convert(proto, &mut ExternalFiles::new(None), &mut blake3::Hasher::new())?;
    Ok(StoredValue::Tensor(tensor))
}

fn from_sequence(proto: SequenceProto, depth: usize) -> Result<StoredValue, String> {
    check(depth, proto.sparse_tensor_values.len() + proto.map_values.len())?;
    let tensors = proto.tensor_values.into_iter().map(from_tensor);
    let sequences = proto.sequence_values.into_iter();
    let optionals = proto.optional_values.into_iter();
    let elements = tensors
        .chain(sequences.map(|proto| from_sequence(proto, depth + 1)))
        .chain(optionals.map(|proto| from_optional(proto, depth + 1)));
    Ok(StoredValue::Sequence(elements.collect::<Result<_, _>>()?))
}

fn from_optional(proto: OptionalProto, depth: usize) -> Result<StoredValue, String> {
    let unreadable = usize::from(proto.sparse_tensor_value.is_some()) + usize::from(proto.map_value.is_some());
    check(depth, unreadable)?;
    let value = match (proto.tensor_value, proto.sequence_value, proto.optional_value) {
        (Some(tensor), _, _) => Some(from_tensor(tensor)?),
        (_, Some(sequence), _) => Some(from_sequence(sequence, depth + 1)?),
        (_, _, Some(optional)) => Some(from_optional(*optional, depth + 1)?),
        (None, None, None) => None,
    };
    Ok(StoredValue::Optional(value.map(Box::new)))
}

fn check(depth: usize, unreadable: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("the value nests deeper than {MAX_DEPTH}"));
    }
    if unreadable > 0 {
        return Err("the value holds sparse tensors or maps, which are not supported".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend::{ElementType, TensorData};

    fn scalar(value: f32) -> TensorProto {
        TensorProto {
            data_type: ElementType::Float.onnx(),
            float_data: vec![value],
            ..Default::default()
        }
    }

    fn stored(value: f32) -> StoredValue {
        StoredValue::Tensor(Tensor {
            element: ElementType::Float,
            shape: vec![],
            data: TensorData::Bytes(value.to_le_bytes().to_vec().into()),
        })
    }

    #[test]
    fn tensors_sequences_and_optionals() {
        let read = |proto: Vec<u8>, kind| StoredValue::decode(proto.into(), kind);
        assert_eq!(read(scalar(1.0).encode_to_vec(), StoredKind::Tensor), Ok(stored(1.0)));
        let sequence = SequenceProto {
            tensor_values: vec![scalar(1.0), scalar(2.0)],
            ..Default::default()
        };
        let elements = StoredValue::Sequence(vec![stored(1.0), stored(2.0)]);
        assert_eq!(
            read(sequence.encode_to_vec(), StoredKind::Sequence),
            Ok(elements.clone())
        );
        let optional = OptionalProto {
            sequence_value: Some(sequence),
            ..Default::default()
        };
        assert_eq!(
            read(optional.encode_to_vec(), StoredKind::Optional),
            Ok(StoredValue::Optional(Some(Box::new(elements))))
        );
        assert_eq!(read(vec![], StoredKind::Optional), Ok(StoredValue::Optional(None)));
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        assert!(StoredValue::decode(vec![0xff].into(), StoredKind::Tensor).is_err());
        let mut nested = OptionalProto::default();
        for _ in 0..10 {
            nested = OptionalProto {
                optional_value: Some(Box::new(nested)),
                ..Default::default()
            };
        }
        let error = StoredValue::decode(nested.encode_to_vec().into(), StoredKind::Optional);
        assert_eq!(error, Err("the value nests deeper than 8".into()));
        let map = SequenceProto {
            map_values: vec![Default::default()],
            ..Default::default()
        };
        let error = StoredValue::decode(map.encode_to_vec().into(), StoredKind::Sequence);
        assert_eq!(
            error,
            Err("the value holds sparse tensors or maps, which are not supported".into())
        );
    }
}
