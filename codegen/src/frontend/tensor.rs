//! Tensors as the file stores them, in one of many ways, to [`Tensor`], which has one.

use bytes::Bytes;

use super::external::ExternalFiles;
use super::model::{ElementType, Tensor, TensorData};
use super::onnx::TensorProto;

/// Value of `data_location` for data in another file.
const EXTERNAL: i32 = 1;

/// Converts a tensor; `hasher` takes in data that lies outside the model file.
pub(super) fn convert(
    proto: TensorProto,
    files: &mut ExternalFiles,
    hasher: &mut blake3::Hasher,
) -> Result<Tensor, String> {
    let element = ElementType::from_onnx(proto.data_type.into())
        .ok_or_else(|| format!("unknown element type {}", proto.data_type))?;
    if proto.segment.is_some() {
        return Err("tensors stored in segments are not supported".into());
    }
    let shape = shape(&proto.dims)?;
    let too_large = || format!("the shape {:?} is too large", proto.dims);
    let count = shape
        .iter()
        .try_fold(1usize, |n, d| n.checked_mul(*d))
        .or_else(|| shape.contains(&0).then_some(0))
        .ok_or_else(too_large)?;
    let size = count.checked_mul(element.bits()).ok_or_else(too_large)?.div_ceil(8);

    let fields = [
        proto.raw_data.len(),
        proto.float_data.len(),
        proto.int32_data.len(),
        proto.string_data.len(),
        proto.int64_data.len(),
        proto.double_data.len(),
        proto.uint64_data.len(),
    ];
    let filled = fields.iter().filter(|n| **n > 0).count() + usize::from(proto.data_location == EXTERNAL);
    if filled > 1 {
        return Err("the data is stored in more than one field".into());
    }
    let data = if proto.data_location == EXTERNAL {
        if element == ElementType::String {
            return Err("strings cannot be stored as external data".into());
        }
        let data = files.slice(&proto.external_data, size)?;
        hasher.update(&data);
        data
    } else if element == ElementType::String {
        let strings = proto.string_data;
        if strings.len() != count || filled > usize::from(count > 0) {
            return Err(format!(
                "shape {shape:?} asks for {count} strings, the file has {}",
                strings.len()
            ));
        }
        return Ok(Tensor {
            element,
            shape,
            data: TensorData::Strings(strings),
        });
    } else if !proto.raw_data.is_empty() {
        proto.raw_data
    } else {
        typed(&proto, element, count)?
    };
    if data.len() != size {
        return Err(format!(
            "shape {shape:?} of {element} asks for {size} bytes, the file has {}",
            data.len()
        ));
    }
    Ok(Tensor {
        element,
        shape,
        data: TensorData::Bytes(data),
    })
}

fn shape(dims: &[i64]) -> Result<Vec<usize>, String> {
    dims.iter()
        .map(|d| usize::try_from(*d))
        .collect::<Result<_, _>>()
        .map_err(|_| format!("the shape {dims:?} is invalid"))
}

/// The bytes of a tensor that is stored in the field for its type.
fn typed(proto: &TensorProto, element: ElementType, count: usize) -> Result<Bytes, String> {
    use ElementType as E;
    let expect = |stored: usize, wanted: usize| {
        let shape = &proto.dims;
        (stored == wanted).then_some(()).ok_or_else(|| {
            format!("shape {shape:?} of {element} asks for {wanted} stored numbers, the file has {stored}")
        })
    };
    let bytes: Vec<u8> = match element {
        E::Float | E::Complex64 => {
            expect(proto.float_data.len(), count * (element.bits() / 32))?;
            proto.float_data.iter().flat_map(|v| v.to_le_bytes()).collect()
        }
        E::Double | E::Complex128 => {
            expect(proto.double_data.len(), count * (element.bits() / 64))?;
            proto.double_data.iter().flat_map(|v| v.to_le_bytes()).collect()
        }
        E::Int64 => {
            expect(proto.int64_data.len(), count)?;
            proto.int64_data.iter().flat_map(|v| v.to_le_bytes()).collect()
        }
        E::Uint64 => {
            expect(proto.uint64_data.len(), count)?;
            proto.uint64_data.iter().flat_map(|v| v.to_le_bytes()).collect()
        }
        E::Uint32 => {
            expect(proto.uint64_data.len(), count)?;
            narrow(&proto.uint64_data, |v| u32::try_from(v).ok().map(u32::to_le_bytes))?
        }
        E::Int32 => {
            expect(proto.int32_data.len(), count)?;
            proto.int32_data.iter().flat_map(|v| v.to_le_bytes()).collect()
        }
        E::Int16 => {
            expect(proto.int32_data.len(), count)?;
            narrow(&proto.int32_data, |v| i16::try_from(v).ok().map(i16::to_le_bytes))?
        }
        E::Uint16 | E::Float16 | E::Bfloat16 => {
            expect(proto.int32_data.len(), count)?;
            narrow(&proto.int32_data, |v| u16::try_from(v).ok().map(u16::to_le_bytes))?
        }
        E::Int8 => {
            expect(proto.int32_data.len(), count)?;
            narrow(&proto.int32_data, |v| i8::try_from(v).ok().map(i8::to_le_bytes))?
        }
        E::Bool => {
            expect(proto.int32_data.len(), count)?;
            narrow(&proto.int32_data, |v| Some([u8::from(v != 0)]))?
        }
        E::Float6E2M3 | E::Float6E3M2 => {
            expect(proto.int32_data.len(), count)?;
            pack(
                &narrow(&proto.int32_data, |v| {
                    u8::try_from(v).ok().filter(|v| *v < 64).map(u8::to_le_bytes)
                })?,
                element.bits(),
            )
        }
        // The rest stores bytes: eight-bit numbers, or packed ones of fewer bits.
        _ => {
            expect(proto.int32_data.len(), (count * element.bits()).div_ceil(8))?;
            narrow(&proto.int32_data, |v| u8::try_from(v).ok().map(u8::to_le_bytes))?
        }
    };
    Ok(bytes.into())
}

fn narrow<T: Copy + std::fmt::Display, const N: usize>(
    values: &[T],
    to_bytes: impl Fn(T) -> Option<[u8; N]>,
) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(values.len() * N);
    for v in values {
        out.extend(to_bytes(*v).ok_or_else(|| format!("the stored number {v} does not fit the element type"))?);
    }
    Ok(out)
}

/// Numbers of so many bits, one in each byte, without gaps from the low bits up.
fn pack(values: &[u8], bits: usize) -> Vec<u8> {
    let mut packed = vec![0u8; (values.len() * bits).div_ceil(8)];
    for (index, &value) in values.iter().enumerate() {
        let (byte, offset) = (index * bits / 8, index * bits % 8);
        let shifted = (u16::from(value) << offset).to_le_bytes();
        packed[byte] |= shifted[0];
        if offset + bits > 8 {
            packed[byte + 1] |= shifted[1];
        }
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend::onnx::SegmentProto;

    fn read(proto: TensorProto) -> Result<Tensor, String> {
        convert(proto, &mut ExternalFiles::new(None), &mut blake3::Hasher::new())
    }

    fn proto(element: ElementType, dims: &[i64]) -> TensorProto {
        TensorProto {
            dims: dims.to_vec(),
            data_type: element.onnx(),
            ..Default::default()
        }
    }

    fn bytes(proto: TensorProto) -> Vec<u8> {
        match read(proto).unwrap().data {
            TensorData::Bytes(bytes) => bytes.to_vec(),
            TensorData::Strings(_) => panic!("strings"),
        }
    }

    #[test]
    fn typed_fields_become_little_endian_bytes() {
        use ElementType as E;
        assert_eq!(
            bytes(TensorProto {
                float_data: vec![1.0],
                ..proto(E::Float, &[1])
            }),
            1f32.to_le_bytes()
        );
        assert_eq!(
            bytes(TensorProto {
                double_data: vec![1.0],
                ..proto(E::Double, &[])
            }),
            1f64.to_le_bytes()
        );
        assert_eq!(
            bytes(TensorProto {
                int32_data: vec![-2, 5],
                ..proto(E::Int8, &[2])
            }),
            [254, 5]
        );
        assert_eq!(
            bytes(TensorProto {
                int32_data: vec![0x3c00],
                ..proto(E::Float16, &[1])
            }),
            [0x00, 0x3c]
        );
        assert_eq!(
            bytes(TensorProto {
                int32_data: vec![0, 7],
                ..proto(E::Bool, &[2])
            }),
            [0, 1]
        );
        assert_eq!(
            bytes(TensorProto {
                int32_data: vec![0x21, 0x03],
                ..proto(E::Uint4, &[3])
            }),
            [0x21, 0x03]
        );
        // 1, 2, 3, 0x3f and 1 as a string of bits.
        assert_eq!(
            bytes(TensorProto {
                int32_data: vec![1, 2, 3, 0x3f, 1],
                ..proto(E::Float6E3M2, &[5])
            }),
            [0x81, 0x30, 0xfc, 0x01]
        );
        assert_eq!(
            bytes(TensorProto {
                uint64_data: vec![7],
                ..proto(E::Uint32, &[1])
            }),
            [7, 0, 0, 0]
        );
        assert_eq!(bytes(proto(E::Int64, &[0, i64::MAX, i64::MAX])), []);
    }

    #[test]
    fn sizes_that_disagree_are_errors() {
        use ElementType as E;
        let cases = [
            TensorProto {
                raw_data: Bytes::from_static(&[0; 7]),
                ..proto(E::Float, &[2])
            },
            TensorProto {
                float_data: vec![0.0; 3],
                ..proto(E::Float, &[2])
            },
            proto(E::Float, &[2]),
            proto(E::Float, &[-1]),
            proto(E::Uint8, &[i64::MAX, 4]),
            proto(E::Double, &[i64::MAX / 16]),
            TensorProto {
                int32_data: vec![300],
                ..proto(E::Int8, &[1])
            },
            TensorProto {
                int32_data: vec![1],
                raw_data: Bytes::from_static(&[0]),
                ..proto(E::Uint8, &[1])
            },
            TensorProto {
                data_type: 99,
                ..proto(E::Uint8, &[1])
            },
            TensorProto {
                segment: Some(SegmentProto { begin: 0, end: 1 }),
                ..proto(E::Uint8, &[1])
            },
            TensorProto {
                string_data: vec![Bytes::from_static(b"a")],
                ..proto(E::String, &[2])
            },
            TensorProto {
                raw_data: Bytes::from_static(&[0]),
                ..proto(E::String, &[0])
            },
            TensorProto {
                data_location: EXTERNAL,
                ..proto(E::Float, &[2])
            },
        ];
        let texts: Vec<_> = cases.into_iter().map(|case| read(case).unwrap_err()).collect();
        insta::assert_snapshot!(texts.join("\n"), @r"
        shape [2] of float32 asks for 8 bytes, the file has 7
        shape [2] of float32 asks for 2 stored numbers, the file has 3
        shape [2] of float32 asks for 2 stored numbers, the file has 0
        the shape [-1] is invalid
        the shape [9223372036854775807, 4] is too large
        the shape [576460752303423487] is too large
        the stored number 300 does not fit the element type
        the data is stored in more than one field
        unknown element type 99
        tensors stored in segments are not supported
        shape [2] asks for 2 strings, the file has 1
        shape [0] asks for 0 strings, the file has 0
        external data: no location is given
        ");
    }
}
