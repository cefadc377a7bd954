//! Compiled modules in a folder, under names that say what they were compiled from.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fs, io, process};

use super::{Compiler, WeightsPath};
use crate::diagnostics::CompileError;

/// A module in a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cached {
    /// The file with the text of the module.
    pub source: PathBuf,
    /// The file with the weights.
    pub weights: PathBuf,
    /// The files that the model was read from, the model itself first, and what it was tuned and quantized with.
    pub files: Vec<PathBuf>,
    /// A hash of the model, the options and the compiler, in hexadecimal.
    pub hash: String,
}

impl Compiler {
    /// Compiles the model into a folder, unless it is there already. The module names its weights by absolute path.
    ///
    /// Any number of processes may use the folder at the same time: a file in it is complete from the moment that it
    /// has its name, and its content follows from its name.
    ///
    /// # Errors
    ///
    /// As [`compile_module`](Compiler::compile_module), and if the folder cannot be written to.
    pub fn compile_cached(self, folder: &Path) -> Result<Cached, CompileError> {
        let mut loaded = self.load()?;
        fs::create_dir_all(folder).map_err(|error| write_error(folder, &error))?;
        let folder = std::path::absolute(folder).map_err(|error| write_error(folder, &error))?;
        if loaded.options.has_closures() {
            // What closures give is seen in the text alone.
            let text = loaded.clone().lower()?.source;
            let content = format!("{}\n{text}", loaded.key);
            loaded.key = blake3::hash(content.as_bytes()).to_hex()[..32].to_owned();
        }
        let stem = format!("{}-{}", loaded.options.name, loaded.key);
        let cached = Cached {
            source: folder.join(format!("{stem}.rs")),
            weights: folder.join(format!("{stem}.weights")),
            files: loaded.model.files.clone(),
            hash: loaded.key.clone(),
        };
        // The source is written last and promises that the weights are there.
        if !(cached.source.exists() && cached.weights.exists()) {
            loaded.options.weights = WeightsPath::Absolute(cached.weights.clone());
            let module = loaded.lower()?;
            write_atomically(&cached.weights, &module.weights)?;
            write_atomically(&cached.source, module.source.as_bytes())?;
        }
        Ok(cached)
    }
}

/// Writes a file such that nobody ever sees a part of it.
///
/// # Errors
///
/// [`CompileError::Write`].
pub(super) fn write_atomically(path: &Path, content: &[u8]) -> Result<(), CompileError> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}-{number}.tmp", process::id()));
    let temporary = PathBuf::from(temporary);
    let written = fs::write(&temporary, content).and_then(|()| fs::rename(&temporary, path));
    written.map_err(|error| {
        // What could not be written is of no use, and whether it can be removed changes nothing about the error.
        let _ = fs::remove_file(&temporary);
        write_error(path, &error)
    })
}

pub(super) fn write_error(path: &Path, error: &io::Error) -> CompileError {
    CompileError::Write {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}
