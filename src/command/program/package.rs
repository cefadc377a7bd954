//! Packages with a program around a model.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use onnxide_codegen::compiler::{WeightsPath, is_identifier};
use onnxide_codegen::{Compiler, Module, Report};

use crate::term;

/// The file of the weights, below the folder of the package.
const WEIGHTS: &str = "src/model.weights";

const MAIN: &str = "\
//! Runs a model for `onnxide`.

// A model has more ways in than this program needs.
#[allow(dead_code)]
mod model;
OPERATORS

use std::process::ExitCode;

use onnxide_runtime::harness;

fn main() -> ExitCode {
    harness::main(|level| {
        let mut model = model::Model::boxed();
        model.set_isa(level);
        model
    })
}
";

/// Has a compiler make a module for a package like these.
pub(super) fn prepare(compiler: Compiler) -> Compiler {
    compiler.program(true).weights(WeightsPath::Below {
        variable: "CARGO_MANIFEST_DIR",
        path: WEIGHTS.into(),
    })
}

/// Makes a package for a user.
///
/// # Errors
///
/// The folder exists, the model does not compile, or a file cannot be written.
pub(crate) fn create(compiler: Compiler, package: &Package) -> Result<Report> {
    let folder = &package.folder;
    ensure!(!folder.exists(), "{} exists; choose another name", folder.display());
    let module = term::with_spinner("Compiling the model", || prepare(compiler).compile_module())?;
    package.write(&module)?;
    write(&folder.join(".gitignore"), b"/target\n")?;
    Ok(module.report)
}

/// A package.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    pub(crate) sources: Vec<Source>,
}

/// A file with functions that compute operators, a module of the program.
#[derive(Debug, Hash)]
pub(crate) struct Source {
    name: String,
    text: String,
}

/// Reads files with functions that compute operators.
///
/// # Errors
///
/// A file cannot be read, or has a name that no module can have.
pub(crate) fn sources(files: &[PathBuf]) -> Result<Vec<Source>> {
    let read = |file: &PathBuf| {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        ensure!(
            is_identifier(&name) && !["main", "model"].contains(&name.as_str()),
            "{} cannot be a module of the program; choose another name",
            file.display()
        );
        Ok(Source { name, text })
    };
    files.iter().map(read).collect()
}

/// The main file of a package.
fn main_file(sources: &[Source]) -> String {
    let mut modules = String::new();
    if !sources.is_empty() {
        modules +=
            "\n// What is written for applications finds the same names.\nextern crate onnxide_runtime as onnxide;\n";
    }
    for Source { name, .. } in sources {
        modules += &format!("\n#[allow(dead_code, unused_imports)]\nmod {name};\n");
    }
    MAIN.replace("OPERATORS\n", &modules)
}

impl Package {
    /// Writes the package, unless it is there already.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub(super) fn write(&self, module: &Module) -> Result<()> {
        let (main, main_text) = (self.folder.join("src/main.rs"), main_file(&self.sources));
        // What the package has in it follows from its name, and this file is written last.
        if fs::read_to_string(&main).is_ok_and(|text| text == main_text) {
            return Ok(());
        }
        let source = self.folder.join("src");
        fs::create_dir_all(&source).with_context(|| format!("cannot make the folder {}", source.display()))?;
        write(&self.folder.join("Cargo.toml"), manifest(&self.name).as_bytes())?;
        write(&self.folder.join(WEIGHTS), &module.weights)?;
        write(&source.join("model.rs"), module.source.as_bytes())?;
        for Source { name, text } in &self.sources {
            write(&source.join(format!("{name}.rs")), text.as_bytes())?;
        }
        write(&main, main_text.as_bytes())
    }
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

/// The manifest of a package.
fn manifest(name: &str) -> String {
    format!(
        "\
[package]
name = \"{name}\"
version = \"0.1.0\"
edition = \"2024\"
publish = false

[dependencies]
onnxide-runtime = {{ {}, features = [\"std\"] }}

# The package is none of a workspace that its folder happens to lie in.
[workspace]
",
        runtime()
    )
}

/// Where a package finds the runtime.
pub(super) fn runtime() -> String {
    match runtime_folder() {
        Some(folder) => format!("path = {}", toml_string(&folder.to_string_lossy())),
        None => concat!("version = \"=", env!("CARGO_PKG_VERSION"), "\"").into(),
    }
}

/// A basic string of TOML.
fn toml_string(text: &str) -> String {
    let mut string = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => string.extend(['\\', c]),
            c if c.is_control() => string += &format!("\\u{:04X}", u32::from(c)),
            c => string.push(c),
        }
    }
    string + "\""
}

/// The sources of the runtime, if the command was built in a checkout that is still there.
pub(super) fn runtime_folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime");
    folder.join("Cargo.toml").is_file().then_some(folder)
}
