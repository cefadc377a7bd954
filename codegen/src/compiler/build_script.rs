//! The road through a build script.

use std::path::{Path, PathBuf};
use std::{env, fmt, fs};

use super::cache::{write_atomically, write_error};
use super::{Compiler, WeightsPath};
use crate::diagnostics::CompileError;

/// Why a build script cannot compile its model.
///
/// `Debug` shows the same as `Display`, because that is what a `main` that returns the error prints.
#[derive(thiserror::Error)]
pub enum BuildError {
    /// The program is not a build script.
    #[error("the environment variable OUT_DIR is not set: call `compile` in a build script, or `compile_module`")]
    NoOutDir,
    /// The model does not compile.
    #[error(transparent)]
    Compile(#[from] CompileError),
}

impl fmt::Debug for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Compiler {
    /// Compiles the model in a build script, to `NAME.rs` and `NAME.weights` in Cargo's output folder for the package:
    ///
    /// ```ignore
    /// mod minilm {
    ///     include!(concat!(env!("OUT_DIR"), "/minilm.rs"));
    /// }
    /// ```
    ///
    /// The build script runs again when the model or its external data change. Files that are up to date are not
    /// touched, so that the package is not compiled again for nothing.
    ///
    /// # Errors
    ///
    /// As [`compile_module`](Compiler::compile_module), and if the program is not a build script or a file cannot be
    /// written.
    pub fn compile(self) -> Result<(), BuildError> {
        let folder = env::var_os("OUT_DIR").map(PathBuf::from).ok_or(BuildError::NoOutDir)?;
        // Before anything can fail, so that a model which is repaired or put in place is noticed.
        println!("cargo::rerun-if-changed={}", self.path.display());
        if let Some(data) = self.quantize.as_ref().and_then(crate::Quantize::data) {
            println!("cargo::rerun-if-changed={}", data.display());
        }
        for file in self.compile_into(&folder)? {
            println!("cargo::rerun-if-changed={}", file.display());
        }
        Ok(())
    }

    /// Brings the files of the module in `folder` up to date; returns those that the model was read from.
    fn compile_into(self, folder: &Path) -> Result<Vec<PathBuf>, CompileError> {
        let explicit = self.weights.clone();
        let mut loaded = self.load()?;
        let name = &loaded.options.name;
        let [source, weights, stamp] = ["rs", "weights", "stamp"].map(|end| folder.join(format!("{name}.{end}")));
        if explicit.is_none() {
            loaded.options.weights = WeightsPath::Below {
                variable: "OUT_DIR",
                path: format!("{name}.weights"),
            };
        }
        let files = loaded.model.files.clone();
        let content = format!("{}\n{}\n", loaded.key, loaded.options.weights.expression());
        let known = !loaded.options.has_closures();
        if known
            && fs::read_to_string(&stamp).is_ok_and(|found| found == content)
            && source.exists()
            && weights.exists()
        {
            return Ok(files);
        }
        if stamp.exists() {
            fs::remove_file(&stamp).map_err(|error| write_error(&stamp, &error))?;
        }
        let module = loaded.lower()?;
        if !known
            && fs::read(&weights).is_ok_and(|found| found == module.weights)
            && fs::read_to_string(&source).is_ok_and(|found| found == module.source)
        {
            return Ok(files);
        }
        write_atomically(&weights, &module.weights)?;
        write_atomically(&source, module.source.as_bytes())?;
        write_atomically(&stamp, content.as_bytes())?;
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_look_the_same_in_debug() {
        let error = BuildError::from(CompileError::Read {
            path: "m.onnx".into(),
            reason: "there is no such file".into(),
        });
        assert_eq!(format!("{error:?}"), "cannot read m.onnx: there is no such file");
    }

    #[test]
    fn what_is_up_to_date_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("toy.onnx");
        let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
        fs::copy(committed.join("loop_if_toy.onnx"), &model).unwrap();
        let compile = |rows: usize| {
            let compiler = super::super::Compiler::new(&model).dim("rows", ..=rows);
            assert_eq!(
                compiler.compile_into(folder.path()).unwrap(),
                std::slice::from_ref(&model)
            );
            let source = folder.path().join("toy.rs");
            (
                fs::metadata(&source).unwrap().modified().unwrap(),
                fs::read_to_string(&source).unwrap(),
            )
        };
        let first = compile(2);
        assert_eq!(compile(2), first);
        let more = compile(3);
        assert_ne!(more.1, first.1);
        fs::copy(committed.join("digits_cnn_fp32.onnx"), &model).unwrap();
        let compiler = super::super::Compiler::new(&model).name("toy").dim("batch", 1);
        compiler.compile_into(folder.path()).unwrap();
        assert_ne!(fs::read_to_string(folder.path().join("toy.rs")).unwrap(), more.1);
    }
}
