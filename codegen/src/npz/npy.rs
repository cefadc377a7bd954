//! NumPy's file format for one array.
//!
//! The format is described in NEP 1 and in the documentation of `numpy.lib.format`.

use onnxide_runtime::element::DType;

use super::{Array, NpzError, Result};

const MAGIC: &[u8] = b"\x93NUMPY";

const TRUNCATED: &str = "the array is truncated";

/// The array in a file's bytes.
///
/// # Errors
///
/// The bytes are no such file, or elements of a type that models do not have.
pub(super) fn decode(file: &[u8]) -> Result<Array> {
    let rest = file
        .strip_prefix(MAGIC)
        .ok_or_else(|| NpzError::new("it is not an array of NumPy"))?;
    let (header_len, rest) = match *rest {
        [1, _, a, b, ref rest @ ..] => (usize::from(u16::from_le_bytes([a, b])), rest),
        [2 | 3, _, a, b, c, d, ref rest @ ..] => (u32::from_le_bytes([a, b, c, d]) as usize, rest),
        [] | [1..=3, ..] => return Err(NpzError::new(TRUNCATED)),
        [version, ..] => {
            return Err(NpzError::new(format!(
                "version {version} of the array format is not known"
            )));
        }
    };
    let parts = rest.split_at_checked(header_len);
    let (header, data) = parts.ok_or_else(|| NpzError::new(TRUNCATED))?;
    let header = std::str::from_utf8(header).ok().and_then(Header::parse);
    let header = header.ok_or_else(|| NpzError::new("the header of the array is damaged"))?;
    let (dtype, swapped) = dtype(&header.descr)?;

    let count = header
        .shape
        .iter()
        .try_fold(1usize, |count, &size| count.checked_mul(size));
    let bytes = count
        .and_then(|count| count.checked_mul(dtype.size()))
        .ok_or_else(|| NpzError::new("the array is too large"))?;
    if data.len() != bytes {
        let found = data.len();
        let message = format!("the array has {found} bytes, but its shape needs {bytes}");
        return Err(NpzError::new(message));
    }

    let mut data = data.to_vec();
    if swapped {
        data.chunks_exact_mut(dtype.size()).for_each(<[u8]>::reverse);
    }
    if header.fortran_order {
        data = row_major(&data, &header.shape, dtype.size());
    }
    Ok(Array {
        dtype,
        shape: header.shape,
        data,
    })
}

/// The file of an array.
///
/// # Errors
///
/// NumPy has no such type of elements.
pub(super) fn encode(array: &Array) -> Result<Vec<u8>> {
    let descr = descr(array.dtype)?;
    let sizes: String = array.shape.iter().map(|size| format!("{size}, ")).collect();
    // Of a tuple of several the last comma may go, of one it may not.
    let shape = if array.shape.len() > 1 {
        sizes.trim_end_matches(", ")
    } else {
        sizes.trim_end()
    };
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    // The data starts at a multiple of 64; before the header there are ten bytes, after it a newline.
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    header.extend(std::iter::repeat_n(' ', length - header.len() - 1));
    header.push('\n');

    let mut file = MAGIC.to_vec();
    file.extend([1, 0]);
    let length = u16::try_from(length).map_err(|_| NpzError::new("the array has too many dimensions"))?;
    file.extend(length.to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(&array.data);
    Ok(file)
}

/// The type of elements, and whether they are big-endian.
fn dtype(descr: &str) -> Result<(DType, bool)> {
    let unsupported = || NpzError::new(format!("elements of type `{descr}` are not supported"));
    let (order, kind) = descr.split_at_checked(1).unwrap_or_default();
    let dtype = match kind {
        "f2" => DType::F16,
        "f4" => DType::F32,
        "f8" => DType::F64,
        "i1" => DType::I8,
        "i2" => DType::I16,
        "i4" => DType::I32,
        "i8" => DType::I64,
        "u1" => DType::U8,
        "u2" => DType::U16,
        "u4" => DType::U32,
        "u8" => DType::U64,
        "b1" => DType::Bool,
        _ => return Err(unsupported()),
    };
    match order {
        "<" | "|" | "=" => Ok((dtype, false)),
        ">" => Ok((dtype, true)),
        _ => Err(unsupported()),
    }
}

fn descr(dtype: DType) -> Result<&'static str> {
    Ok(match dtype {
        DType::F16 => "<f2",
        DType::F32 => "<f4",
        DType::F64 => "<f8",
        DType::I8 => "|i1",
        DType::I16 => "<i2",
        DType::I32 => "<i4",
        DType::I64 => "<i8",
        DType::U8 => "|u1",
        DType::U16 => "<u2",
        DType::U32 => "<u4",
        DType::U64 => "<u8",
        DType::Bool => "|b1",
        other => return Err(NpzError::new(format!("NumPy has no elements of type {other}"))),
    })
}

/// The elements of a column-major array in row-major order.
fn row_major(data: &[u8], shape: &[usize], element: usize) -> Vec<u8> {
    let mut result = Vec::with_capacity(data.len());
    let mut index = vec![0; shape.len()];
    for _ in 0..data.len() / element {
        let mut position = 0;
        for (&i, &size) in index.iter().zip(shape).rev() {
            position = position * size + i;
        }
        result.extend(&data[position * element..][..element]);
        for (i, &size) in index.iter_mut().zip(shape).rev() {
            *i += 1;
            if *i < size {
                break;
            }
            *i = 0;
        }
    }
    result
}

/// The header, a dictionary of Python.
struct Header {
    descr: String,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl Header {
    fn parse(text: &str) -> Option<Self> {
        let mut text = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        while !text.is_empty() {
            let (key, rest) = quoted(text)?;
            let rest = rest.trim_start().strip_prefix(':')?.trim_start();
            text = match key {
                "descr" => {
                    let (value, rest) = quoted(rest)?;
                    descr = Some(value.to_owned());
                    rest
                }
                "fortran_order" => {
                    let (value, rest) = match rest.strip_prefix("True") {
                        Some(rest) => (true, rest),
                        None => (false, rest.strip_prefix("False")?),
                    };
                    fortran_order = Some(value);
                    rest
                }
                "shape" => {
                    let (sizes, rest) = rest.strip_prefix('(')?.split_once(')')?;
                    let sizes = sizes.split(',').map(str::trim).filter(|size| !size.is_empty());
                    shape = Some(
                        sizes
                            .map(|size| size.trim_end_matches('L').parse().ok())
                            .collect::<Option<_>>()?,
                    );
                    rest
                }
                _ => return None,
            }
            .trim_start();
            text = text.strip_prefix(',').unwrap_or(text).trim_start();
        }
        Some(Self {
            descr: descr?,
            fortran_order: fortran_order?,
            shape: shape?,
        })
    }
}

/// A text in quotes and what follows it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text[1..].split_once(quote)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        file.extend([1, 0]);
        file.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
        file.extend(header.as_bytes());
        file.extend(data);
        file
    }

    fn error(file: &[u8]) -> String {
        format!("{:#}", decode(file).unwrap_err())
    }

    #[test]
    fn arrays_survive() {
        for shape in [vec![], vec![6], vec![2, 3], vec![0, 4]] {
            for dtype in DType::ALL {
                let count: usize = shape.iter().product();
                let data = (0..count * dtype.size()).map(|i| (i % 2) as u8).collect();
                let array = Array {
                    dtype,
                    shape: shape.clone(),
                    data,
                };
                match encode(&array) {
                    Ok(file) => {
                        assert_eq!(decode(&file).unwrap(), array);
                        let header = u16::from_le_bytes([file[8], file[9]]);
                        assert_eq!((10 + header) % 64, 0);
                    }
                    Err(error) => {
                        let message = format!("NumPy has no elements of type {dtype}");
                        assert_eq!(error.to_string(), message);
                        assert!(dtype == DType::Bf16 || dtype as usize > DType::Bool as usize);
                    }
                }
            }
        }
    }

    #[test]
    fn big_endian_and_column_major_arrays_are_read() {
        let header = "{'shape': (2, 3), 'fortran_order': True, \"descr\": '>i2'}\n";
        let data = [0, 11, 0, 21, 0, 12, 0, 22, 0, 13, 0, 23];
        let array = decode(&file(header, &data)).unwrap();
        assert_eq!(array.shape, [2, 3]);
        assert_eq!(array.data, [11, 0, 12, 0, 13, 0, 21, 0, 22, 0, 23, 0]);
    }

    #[test]
    fn damage_is_an_error() {
        let header =
            |shape: &str, descr: &str| format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}");
        for (bytes, message) in [
            (b"PK".to_vec(), "it is not an array of NumPy"),
            (MAGIC.to_vec(), "the array is truncated"),
            (b"\x93NUMPY\x01\x00\xff\x00{".to_vec(), "the array is truncated"),
            (
                b"\x93NUMPY\x04\x00\x00\x00".to_vec(),
                "version 4 of the array format is not known",
            ),
            (file("{'descr': '<f4'}", &[]), "the header of the array is damaged"),
            (file("{'descr", &[]), "the header of the array is damaged"),
            (
                file(&header("(1,)", "'<U4'"), &[]),
                "elements of type `<U4` are not supported",
            ),
            (
                file(&header("(1,)", "[('a', '<f4')]"), &[]),
                "the header of the array is damaged",
            ),
            (
                file(&header("(-1,)", "'<f4'"), &[]),
                "the header of the array is damaged",
            ),
            (
                file(&header("(2,)", "'<f4'"), &[0; 4]),
                "the array has 4 bytes, but its shape needs 8",
            ),
            (
                file(&header("(9999999999, 9999999999)", "'<f4'"), &[]),
                "the array is too large",
            ),
        ] {
            assert_eq!(error(&bytes), message);
        }
    }
}
