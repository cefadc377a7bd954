//! Archives of NumPy arrays.

mod npy;

use std::fmt::Display;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use onnxide_runtime::element::DType;
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// A dense tensor in row-major order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array {
    /// The type of the elements.
    pub dtype: DType,
    /// The size of each dimension.
    pub shape: Vec<usize>,
    /// The elements, little-endian.
    pub data: Vec<u8>,
}

/// Why an archive cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct NpzError {
    message: String,
}

impl NpzError {
    fn new(message: impl Into<String>) -> NpzError {
        let message = message.into();
        NpzError { message }
    }
}

type Result<T> = std::result::Result<T, NpzError>;

/// What went wrong, and why.
fn because<E: Display>(what: impl Display) -> impl FnOnce(E) -> NpzError {
    move |error| NpzError::new(format!("{what}: {error}"))
}

/// The arrays in an archive by name, in the order of the archive.
///
/// # Errors
///
/// The archive or an array in it cannot be read.
pub fn read(path: &Path) -> Result<Vec<(String, Array)>> {
    let file = File::open(path).map_err(because(format_args!("cannot open {}", path.display())))?;
    let not_an_archive = |error: ZipError| {
        let what = "is not an archive of NumPy arrays; numpy.savez makes one";
        because(format_args!("{} {what}", path.display()))(error)
    };
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(not_an_archive)?;
    let mut arrays = Vec::with_capacity(archive.len());
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(not_an_archive)?;
        let name = entry.name().map_err(not_an_archive)?.into_owned();
        let name = name.strip_suffix(".npy").unwrap_or(&name).to_owned();
        let mut content = Vec::new();
        let array = entry
            .read_to_end(&mut content)
            .map_err(|error| NpzError::new(error.to_string()))
            .and_then(|_| npy::decode(&content))
            .map_err(because(format_args!(
                "cannot read array `{name}` of {}",
                path.display()
            )))?;
        arrays.push((name, array));
    }
    Ok(arrays)
}

/// Writes an archive of arrays.
///
/// # Errors
///
/// The file cannot be written, or NumPy has no such elements.
pub fn write(path: &Path, arrays: &[(String, Array)]) -> Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    let file = File::create(path).map_err(because(cannot()))?;
    let mut archive = ZipWriter::new(BufWriter::new(file));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .large_file(true);
    for (name, array) in arrays {
        let content = npy::encode(array).map_err(because(format_args!("cannot write array `{name}`")))?;
        archive
            .start_file(format!("{name}.npy"), options)
            .map_err(because(cannot()))?;
        archive.write_all(&content).map_err(because(cannot()))?;
    }
    let mut file = archive.finish().map_err(because(cannot()))?;
    file.flush().map_err(because(cannot()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_survive() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        let array = |dtype, shape: &[usize], data: &[u8]| Array {
            dtype,
            shape: shape.to_vec(),
            data: data.to_vec(),
        };
        let arrays = vec![
            ("in:x/y".to_owned(), array(DType::U8, &[3], &[1, 2, 3])),
            ("out:z".to_owned(), array(DType::I16, &[], &[1, 2])),
        ];
        write(&path, &arrays).unwrap();
        assert_eq!(read(&path).unwrap(), arrays);
    }

    #[test]
    fn archives_of_numpy_are_read() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/bert_tiny_dyn.npz");
        let arrays = read(&path).unwrap();
        let (name, ids) = &arrays[0];
        assert_eq!(
            (name.as_str(), ids.dtype, &ids.shape[..]),
            ("in:input_ids", DType::I64, &[1, 16][..])
        );
        assert_eq!(ids.data.len(), 128);
    }

    #[test]
    fn other_files_are_refused() {
        let error = read(Path::new("Cargo.toml")).unwrap_err().to_string();
        let what = "Cargo.toml is not an archive of NumPy arrays; numpy.savez makes one: ";
        assert!(error.starts_with(what), "{error}");
        let error = read(Path::new("nowhere.npz")).unwrap_err();
        assert!(error.to_string().starts_with("cannot open nowhere.npz: "), "{error}");
    }
}
