//! Models to start from.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::wire::Message;

/// Models to start from, in the order of their names.
#[derive(Debug)]
pub struct Seeds {
    /// The models, none of which is empty.
    pub models: Vec<Vec<u8>>,
    /// Short texts that occur in them: names of operators, attributes and values.
    pub words: Vec<Vec<u8>>,
}

/// The folder with the seeds.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/onnx")
}

impl Seeds {
    /// Reads the seeds.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or there is none.
    pub fn read() -> Result<Self> {
        let models = files(&folder())?
            .iter()
            .map(|file| fs::read(file).with_context(|| file.display().to_string()))
            .collect::<Result<Vec<_>>>()?;
        anyhow::ensure!(!models.is_empty(), "there are no seeds in {}", folder().display());
        let mut words = Vec::new();
        for model in &models {
            if let Some(message) = Message::parse(model) {
                message.texts(&mut words);
            }
        }
        words.sort();
        words.dedup();
        Ok(Self { models, words })
    }
}

/// The models in a folder, in the order of their names.
///
/// # Errors
///
/// The folder cannot be read.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "onnx"));
    files.sort();
    Ok(files)
}
