//! Tensors whose data lies in a file beside the model.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;

use super::onnx::StringStringEntryProto;

/// The files that hold external data, each read once.
pub(super) struct ExternalFiles {
    /// The folder of the model; `None` when the model came from memory.
    folder: Option<PathBuf>,
    files: BTreeMap<String, Result<Bytes, String>>,
}

impl ExternalFiles {
    pub(super) fn new(folder: Option<PathBuf>) -> Self {
        Self {
            folder,
            files: BTreeMap::new(),
        }
    }

    /// The files that were read.
    pub(super) fn paths(&self) -> impl Iterator<Item = PathBuf> {
        let folder = self.folder.clone().unwrap_or_default();
        self.files
            .iter()
            .filter(|(_, data)| data.is_ok())
            .map(move |(name, _)| folder.join(name))
    }

    /// The bytes that `entries` describe, where a tensor of `size` bytes is wanted.
    pub(super) fn slice(&mut self, entries: &[StringStringEntryProto], size: usize) -> Result<Bytes, String> {
        let entry = |key: &str| entries.iter().find(|e| e.key == key).map(|e| e.value.as_str());
        let number = |key: &str| {
            entry(key)
                .map(|text| {
                    text.trim()
                        .parse::<usize>()
                        .map_err(|_| format!("external data: {key} `{text}` is no size"))
                })
                .transpose()
        };
        let location = entry("location").ok_or("external data: no location is given")?;
        let offset = number("offset")?.unwrap_or(0);
        let length = number("length")?.unwrap_or(size);
        let file = self.file(location)?;
        let end = offset
            .checked_add(length)
            .filter(|end| *end <= file.len())
            .ok_or_else(|| {
                format!(
                    "external data: {length} bytes at {offset} of `{location}`, which has {} bytes",
                    file.len()
                )
            })?;
        Ok(file.slice(offset..end))
    }

    fn file(&mut self, location: &str) -> Result<Bytes, String> {
        let Some(folder) = &self.folder else {
            return Err(format!(
                "external data in `{location}`, but the model was not loaded from a file"
            ));
        };
        if !is_beside(location) {
            return Err(format!(
                "external data: location `{location}` is not a path below the folder of the model"
            ));
        }
        let read = || read(&folder.join(location)).map_err(|reason| format!("external data `{location}`: {reason}"));
        self.files.entry(location.to_owned()).or_insert_with(read).clone()
    }
}

/// Whether the path stays in the folder it starts from. A backslash is refused so that the answer is the same on every
/// host.
fn is_beside(location: &str) -> bool {
    let path = Path::new(location);
    !location.is_empty()
        && !location.contains(['\\', ':', '\0'])
        && path
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// The content of a regular file.
pub(super) fn read(path: &Path) -> Result<Bytes, String> {
    let metadata = fs::metadata(path).map_err(|e| e.to_string())?;
    if metadata.is_dir() {
        return Err("it is a directory".into());
    }
    if !metadata.is_file() {
        return Err("it is not a regular file".into());
    }
    fs::read(path).map(Bytes::from).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::is_beside;

    #[test]
    fn locations_stay_in_the_folder() {
        for good in ["model.onnx_data", "weights/w.bin", "./w"] {
            assert!(is_beside(good), "{good}");
        }
        for bad in [
            "",
            "/etc/passwd",
            "../w",
            "a/../../w",
            "C:\\w",
            "C:w",
            "a\\..\\w",
            "a\0b",
        ] {
            assert!(!is_beside(bad), "{bad}");
        }
    }
}
