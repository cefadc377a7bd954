//! A file of named tensors.
//!
//! All numbers are little-endian. The file starts with the eight bytes `onnxide1` and the number of tensors as `u64`.
//! Each tensor is
//!
//! | bytes | content |
//! | --- | --- |
//! | 8 | length of the name |
//! | 8 | length of the data type |
//! | 8 | rank |
//! | 8 | number of bytes of the elements |
//! | 8 for each axis | shape |
//! | | name, UTF-8, with zeros up to a multiple of 8 bytes |
//! | | data type, spelled as in NumPy, with zeros up to a multiple of 8 bytes |
//! | | elements in row-major order, with zeros up to a multiple of 8 bytes |

use crate::describe::{AnyData, AnyTensor, Port, PortDim, PortKind};
use crate::element::DType;
use crate::tensor::element_count;
use std::borrow::ToOwned;
use std::format;
use std::path::Path;
use std::string::String;
use std::vec::Vec;

const MAGIC: &[u8; 8] = b"onnxide1";

/// Named tensors, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Container {
    tensors: Vec<Stored>,
}

#[derive(Clone, Debug, PartialEq)]
struct Stored {
    name: String,
    dtype: DType,
    shape: Vec<usize>,
    /// The elements, in words, so that they are aligned for every data type.
    words: Vec<u64>,
    bytes: usize,
}

impl Container {
    /// Adds a tensor.
    pub fn push(&mut self, name: &str, tensor: AnyTensor<'_>) {
        let bytes = tensor.data.bytes();
        self.tensors.push(Stored {
            name: name.to_owned(),
            dtype: tensor.data.dtype(),
            shape: tensor.shape.to_vec(),
            words: words_of(bytes),
            bytes: bytes.len(),
        });
    }

    /// The names and the tensors.
    pub fn iter(&self) -> impl Iterator<Item = (&str, AnyTensor<'_>)> {
        self.tensors.iter().filter_map(|stored| {
            let bytes = AnyData::U64(&stored.words).bytes();
            let data = AnyData::from_bytes(stored.dtype, &bytes[..stored.bytes])?;
            Some((
                stored.name.as_str(),
                AnyTensor {
                    shape: &stored.shape,
                    data,
                },
            ))
        })
    }

    /// The tensor of this name.
    pub fn get(&self, name: &str) -> Option<AnyTensor<'_>> {
        self.iter().find(|(other, _)| *other == name).map(|(_, tensor)| tensor)
    }

    /// The tensors, with those of strings, which may have rows of any width, as wide as the ports of a model have them.
    /// `name` gives the name of a port's tensor by the number of the port.
    ///
    /// # Errors
    ///
    /// If a string is longer than a port has room for.
    pub fn with_texts(&self, ports: &[Port], name: impl Fn(usize) -> String) -> Result<Container, String> {
        let mut container = self.clone();
        for (number, port) in ports.iter().enumerate() {
            let (PortKind::Text, Some(PortDim::Fixed(width))) = (port.kind, port.shape.last()) else {
                continue;
            };
            let name = name(number);
            let stored = container.tensors.iter_mut().find(|stored| stored.name == name);
            let Some(stored) = stored.filter(|stored| stored.dtype == DType::U8) else {
                continue;
            };
            let Some(own) = stored.shape.last_mut().filter(|own| **own > 0 && *own != width) else {
                continue;
            };
            let bytes = &AnyData::U64(&stored.words).bytes()[..stored.bytes];
            let mut rows = Vec::with_capacity(bytes.len() / *own * width);
            for row in bytes.chunks_exact(*own) {
                let text = &row[..row.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)];
                let rest = width.checked_sub(text.len()).ok_or_else(|| {
                    format!(
                        "`{}` has a string of {} bytes, but the model was compiled for {width}: shorten it, or compile the \
                         model with a greater bound for `{}_bytes`",
                        port.name,
                        text.len(),
                        port.name
                    )
                })?;
                rows.extend_from_slice(text);
                rows.resize(rows.len() + rest, 0);
            }
            *own = *width;
            (stored.words, stored.bytes) = (words_of(&rows), rows.len());
        }
        Ok(container)
    }

    /// The tensors of a file.
    ///
    /// # Errors
    ///
    /// If the file can't be read or is malformed; the text names the file.
    pub fn read(path: impl AsRef<Path>) -> Result<Container, String> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Container::from_bytes(&bytes).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Writes the tensors to a file.
    ///
    /// # Errors
    ///
    /// If the file can't be written; the text names the file.
    pub fn write(path: impl AsRef<Path>, container: &Container) -> Result<(), String> {
        let path = path.as_ref();
        std::fs::write(path, container.to_bytes()).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// The tensors in the content of a file.
    ///
    /// # Errors
    ///
    /// If the content is malformed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Container, String> {
        let mut rest = bytes;
        if rest.split_off(..8) != Some(MAGIC) {
            return Err("this is no file of tensors of onnxide".into());
        }
        let mut container = Container::default();
        for _ in 0..word(&mut rest)? {
            let [name, dtype, rank, len] = [word(&mut rest)?, word(&mut rest)?, word(&mut rest)?, word(&mut rest)?];
            if rank > rest.len() / 8 {
                return Err("the file ends within a tensor".into());
            }
            let shape = (0..rank)
                .map(|_| word(&mut rest))
                .collect::<Result<Vec<usize>, String>>()?;
            let name = str::from_utf8(take(&mut rest, name)?).map_err(|_| "a name is no UTF-8")?;
            let dtype = str::from_utf8(take(&mut rest, dtype)?).ok().and_then(DType::from_name);
            let dtype = dtype.ok_or_else(|| format!("tensor `{name}` has an unknown data type"))?;
            let bytes = take(&mut rest, len)?;
            if element_count(&shape).and_then(|count| count.checked_mul(dtype.size())) != Some(len) {
                return Err(format!(
                    "the elements of tensor `{name}` do not fill its shape {shape:?}"
                ));
            }
            container.tensors.push(Stored {
                name: name.to_owned(),
                dtype,
                shape,
                words: words_of(bytes),
                bytes: len,
            });
        }
        if rest.is_empty() {
            Ok(container)
        } else {
            Err("something follows the last tensor".into())
        }
    }

    /// The content of a file with these tensors.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&(self.tensors.len() as u64).to_le_bytes());
        for (name, tensor) in self.iter() {
            let texts = [name.as_bytes(), tensor.data.dtype().name().as_bytes()];
            let data = tensor.data.bytes();
            let header = [texts[0].len(), texts[1].len(), tensor.shape.len(), data.len()];
            for word in header.iter().chain(tensor.shape) {
                bytes.extend_from_slice(&(*word as u64).to_le_bytes());
            }
            for part in [texts[0], texts[1], data] {
                bytes.extend_from_slice(part);
                bytes.resize(bytes.len().next_multiple_of(8), 0);
            }
        }
        bytes
    }
}

fn words_of(bytes: &[u8]) -> Vec<u64> {
    let word = |chunk: &[u8]| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    };
    bytes.chunks(8).map(word).collect()
}

fn word(rest: &mut &[u8]) -> Result<usize, String> {
    let word = rest
        .split_off(..8)
        .and_then(|bytes| bytes.try_into().ok())
        .map(u64::from_le_bytes);
    word.and_then(|word| usize::try_from(word).ok())
        .ok_or_else(|| "the file ends within a tensor".into())
}

/// The next bytes, and the zeros that follow them.
fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], String> {
    let padded = len
        .checked_next_multiple_of(8)
        .and_then(|padded| rest.split_off(..padded));
    padded
        .map(|bytes| &bytes[..len])
        .ok_or_else(|| "the file ends within a tensor".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_get_the_width_of_their_port() {
        let mut container = container();
        container.push(
            "words",
            AnyTensor {
                shape: &[2, 3],
                data: AnyData::U8(b"ab\0xyz"),
            },
        );
        let with = |shape: &'static [PortDim]| {
            let port = Port {
                name: "words",
                kind: PortKind::Text,
                dtype: DType::U8,
                shape,
            };
            container.with_texts(&[port], |_| "words".into())
        };
        const WIDE: &[PortDim] = &[PortDim::Fixed(2), PortDim::Fixed(4)];
        const NARROW: &[PortDim] = &[PortDim::Fixed(2), PortDim::Fixed(2)];
        let wide = with(WIDE).unwrap();
        assert_eq!(wide.get("words").unwrap().shape, [2, 4]);
        assert_eq!(wide.get("words").unwrap().data, AnyData::U8(b"ab\0\0xyz\0"));
        assert_eq!(wide.get("ids"), container.get("ids"));
        assert!(
            with(NARROW)
                .unwrap_err()
                .contains("3 bytes, but the model was compiled for 2")
        );
    }

    fn container() -> Container {
        let mut container = Container::default();
        container.push(
            "ids",
            AnyTensor {
                shape: &[1, 3],
                data: AnyData::I64(&[1, -2, 3]),
            },
        );
        container.push(
            "größe",
            AnyTensor {
                shape: &[],
                data: AnyData::F32(&[0.5]),
            },
        );
        container.push(
            "mask",
            AnyTensor {
                shape: &[5],
                data: AnyData::Bool(&[1, 0, 1, 1, 0]),
            },
        );
        container.push(
            "none",
            AnyTensor {
                shape: &[0, 7],
                data: AnyData::U16(&[]),
            },
        );
        container
    }

    #[test]
    fn what_is_written_is_read() {
        let container = container();
        let bytes = container.to_bytes();
        assert_eq!(Container::from_bytes(&bytes).as_ref(), Ok(&container));
        assert_eq!(container.get("mask").unwrap().data, AnyData::Bool(&[1, 0, 1, 1, 0]));
        assert_eq!(
            container.get("größe").unwrap(),
            AnyTensor {
                shape: &[],
                data: AnyData::F32(&[0.5])
            }
        );
        assert_eq!(container.get("absent"), None);
    }

    #[test]
    fn every_cut_is_an_error() {
        let bytes = container().to_bytes();
        for len in 0..bytes.len() {
            assert!(Container::from_bytes(&bytes[..len]).is_err());
        }
        let longer = [&bytes[..], &[0; 8]].concat();
        assert_eq!(
            Container::from_bytes(&longer),
            Err("something follows the last tensor".into())
        );
    }

    #[test]
    fn no_change_of_a_byte_panics() {
        let bytes = container().to_bytes();
        for position in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = bytes.clone();
                changed[position] = value;
                let _ = Container::from_bytes(&changed);
            }
        }
    }
}
