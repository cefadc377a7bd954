//! Programs around models, built by Cargo in a cache.

mod cargo;
mod folder;
mod package;
mod session;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use anyhow::Result;
use onnxide_codegen::{Compiler, Report};

pub(crate) use package::{Package, create, sources};
pub(crate) use session::Measured;

use crate::term;

/// A program that runs a model.
#[derive(Debug)]
pub(crate) struct Program {
    binary: PathBuf,
    pub(crate) report: Report,
}

impl Program {
    /// Compiles a model and builds a program of it, unless there is one already. `operators` are the files with the
    /// functions of operators that the compiler does not know.
    ///
    /// # Errors
    ///
    /// The model does not compile, a file cannot be read, or Cargo cannot build the program.
    pub(crate) fn build(compiler: Compiler, operators: &[PathBuf]) -> Result<Self> {
        let sources = sources(operators)?;
        let cache = folder::cache()?;
        let compiler = package::prepare(compiler);
        let module = term::with_spinner("Compiling the model", || compiler.compile_module())?;
        // A package says where its runtime is, so that those of two checkouts have different names.
        let mut hasher = DefaultHasher::new();
        (&sources, package::runtime()).hash(&mut hasher);
        let name = format!("{}-{}-{:016x}", module.report.name, module.hash, hasher.finish());
        let package = Package {
            // Packages share a target folder, in which a program has the name of its package.
            name: format!("onnxide-{name}"),
            folder: cache.join("programs").join(name),
            sources,
        };
        package.write(&module)?;
        let binary = term::with_spinner("Building the program", || {
            cargo::build(&package.folder, &cache.join("target"))
        })?;
        Ok(Self {
            binary,
            report: module.report,
        })
    }
}
