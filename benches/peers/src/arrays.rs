//! Archives of NumPy arrays, which all engines read their inputs from and write their outputs to.

use std::collections::BTreeMap;
use std::io::{Read, Seek, Write};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use npyz::npz::{NpzArchive, NpzWriter};
use npyz::zip::write::FileOptions;
use npyz::{NpyFile, Order, WriterBuilder};

/// Arrays by name.
pub(crate) type Arrays = BTreeMap<String, Array>;

/// An array in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Array {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Data,
}

/// Declares [`Data`] with what depends on the list of its types.
macro_rules! data {
    ($($variant:ident($type:ty, $name:literal, $code:pat))*) => {
        /// The elements of an array.
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) enum Data {
            $($variant(Vec<$type>),)*
        }

        impl Data {
            /// `len` numbers that `make` gives, converted to the type of this name in NumPy; `None` for another name.
            pub(crate) fn generate(dtype: &str, len: usize, mut make: impl FnMut() -> f64) -> Option<Data> {
                match dtype {
                    $($name => Some(Data::$variant((0..len).map(|_| Number::from_f64(make())).collect())),)*
                    _ => None,
                }
            }

            /// The elements as `f64`, which rounds large integers.
            pub(crate) fn to_f64(&self) -> Vec<f64> {
                match self {
                    $(Data::$variant(data) => data.iter().map(|&x| Number::to_f64(x)).collect(),)*
                }
            }

            fn read<R: Read>(file: NpyFile<R>) -> Result<Data> {
                let code = file.dtype().descr();
                match code.trim_matches('\'').trim_start_matches(['<', '|', '=']) {
                    $($code => Ok(Data::$variant(file.into_vec()?)),)*
                    other => bail!("arrays of the type `{other}` are not supported"),
                }
            }

            fn write<W: Write + Seek>(&self, name: &str, shape: &[u64], writer: &mut NpzWriter<W>) -> Result<()> {
                match self {
                    $(Data::$variant(data) => {
                        let mut array = writer
                            .array(name, FileOptions::default().large_file(true))?
                            .default_dtype()
                            .shape(shape)
                            .begin_nd()?;
                        array.extend(data)?;
                        array.finish()?;
                    })*
                }
                Ok(())
            }
        }
    };
}

data! {
    F32(f32, "float32", "f4")
    F64(f64, "float64", "f8")
    I8(i8, "int8", "i1")
    I16(i16, "int16", "i2")
    I32(i32, "int32", "i4")
    I64(i64, "int64", "i8")
    U8(u8, "uint8", "u1")
    Bool(bool, "bool", "b1")
}

/// An element, converted like `as` does.
trait Number {
    fn from_f64(x: f64) -> Self;
    fn to_f64(self) -> f64;
}

macro_rules! number {
    ($($type:ty)*) => {
        $(impl Number for $type {
            fn from_f64(x: f64) -> Self {
                x as $type
            }

            fn to_f64(self) -> f64 {
                self as f64
            }
        })*
    };
}

number!(f32 f64 i8 i16 i32 i64 u8);

impl Number for bool {
    fn from_f64(x: f64) -> Self {
        x != 0.0
    }

    fn to_f64(self) -> f64 {
        f64::from(u8::from(self))
    }
}

/// Reads an archive.
///
/// # Errors
///
/// The file cannot be read, or has arrays of a type or in an order that is not supported.
pub(crate) fn read(path: &Path) -> Result<Arrays> {
    let read = || {
        let mut archive = NpzArchive::open(path)?;
        let names: Vec<String> = archive.array_names().map(str::to_owned).collect();
        let mut arrays = Arrays::new();
        for name in names {
            let file = archive.by_name(&name)?.context("the archive has lost an array")?;
            let shape = file.shape().iter().map(|&size| size as usize).collect::<Vec<_>>();
            ensure!(
                file.order() == Order::C || shape.len() < 2,
                "the array `{name}` is not in row-major order"
            );
            let data = Data::read(file).with_context(|| format!("the array `{name}`"))?;
            arrays.insert(name, Array { shape, data });
        }
        Ok(arrays)
    };
    let arrays: Result<Arrays> = read();
    arrays.with_context(|| path.display().to_string())
}

/// Writes an archive.
///
/// # Errors
///
/// The file cannot be written.
pub(crate) fn write(path: &Path, arrays: &Arrays) -> Result<()> {
    let write = || {
        let mut writer = NpzWriter::create(path)?;
        for (name, array) in arrays {
            let shape: Vec<u64> = array.shape.iter().map(|&size| size as u64).collect();
            array.data.write(name, &shape, &mut writer)?;
        }
        Ok(())
    };
    let result: Result<()> = write();
    result.with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("arrays.npz");
        let array = |shape: &[usize], data| Array {
            shape: shape.to_vec(),
            data,
        };
        let arrays = Arrays::from([
            ("x".into(), array(&[2, 1], Data::F32(vec![0.5, -1.0]))),
            ("ids".into(), array(&[3], Data::I64(vec![1, -2, 3]))),
            ("rate".into(), array(&[], Data::I64(vec![16_000]))),
            ("mask".into(), array(&[2], Data::Bool(vec![true, false]))),
            ("bytes".into(), array(&[0, 7], Data::U8(vec![]))),
        ]);
        write(&path, &arrays).unwrap();
        assert_eq!(read(&path).unwrap(), arrays);
        let error = read(&folder.path().join("absent.npz")).unwrap_err();
        assert!(error.to_string().ends_with("absent.npz"));
    }
}
