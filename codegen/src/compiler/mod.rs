//! The one door of the compiler: a model file in, a Rust module with its weights out.

mod build_script;
mod cache;
mod dims;
mod lower;
mod options;
mod report;

use std::path::{Path, PathBuf};

use bytes::Bytes;

pub use build_script::BuildError;
pub use cache::Cached;
pub use dims::symbols;
pub use options::{DimRange, Options, WeightsPath, identifier, is_identifier};
pub use report::{PortReport, Report, SlotReport, StepReport, SymbolReport};

use crate::diagnostics::{CompileError, Diagnostic, Diagnostics};
use crate::frontend::{self, Model};

/// Compiles a model.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let module = onnxide_codegen::Compiler::new("models/minilm.onnx")
///     .dim("batch", 1)
///     .dim("sequence", 1..=256)
///     .compile_module()?;
/// println!("{} bytes of weights", module.weights.len());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Compiler {
    path: PathBuf,
    name: Option<String>,
    dims: Vec<(String, DimRange)>,
    profile: bool,
    weights: Option<WeightsPath>,
    front: Front,
}

/// Who calls the compiler, which decides how advice is written.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Front {
    /// A build script or another program.
    #[default]
    Library,
    /// The macro `include_model!`.
    Macro,
    /// The command.
    Command,
}

/// A compiled model.
#[derive(Clone, Debug)]
pub struct Module {
    /// The text of the module, to be included in a `mod` item or saved as a file of its own.
    pub source: String,
    /// The weights, in the layout that the module reads.
    pub weights: Bytes,
    /// What the module consists of.
    pub report: Report,
    /// A hash of the model, the options and the compiler, in hexadecimal.
    pub hash: String,
    /// The files that the model was read from, the model itself first.
    pub files: Vec<PathBuf>,
}

impl Compiler {
    /// A compiler of the ONNX file at `path`; in a build script a relative path starts at the package's folder.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            name: None,
            dims: Vec::new(),
            profile: false,
            weights: None,
            front: Front::default(),
        }
    }

    /// Names the module; by default it is named after the file.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Says what sizes a symbolic dimension may have: a size, `1..=256` or `..=256`, which starts at 1.
    ///
    /// A dimension that the model gives no name is named after the input and the axis, as in `image.0`. The last call
    /// for a dimension counts.
    pub fn dim(mut self, name: impl Into<String>, range: impl Into<DimRange>) -> Self {
        self.dims.push((name.into(), range.into()));
        self
    }

    /// Lets the module's caller time every step.
    pub fn profile(mut self, profile: bool) -> Self {
        self.profile = profile;
        self
    }

    /// Says how the module names the file of its weights; by default it is `NAME.weights` beside the module.
    pub fn weights(mut self, path: WeightsPath) -> Self {
        self.weights = Some(path);
        self
    }

    #[doc(hidden)]
    pub fn front(mut self, front: Front) -> Self {
        self.front = front;
        self
    }

    /// Compiles the model in memory.
    ///
    /// # Errors
    ///
    /// The model cannot be read, or all that is wrong with it and with the options.
    pub fn compile_module(self) -> Result<Module, CompileError> {
        self.load()?.lower()
    }

    /// Reads the model and checks the options.
    fn load(self) -> Result<Loaded, CompileError> {
        check_path(&self.path)?;
        let model = frontend::load(&self.path)?;
        let name = match self.name {
            Some(name) if is_identifier(&name) => name,
            Some(name) => {
                let finding = Diagnostic::new(format!("`{name}` cannot be the name of a module"))
                    .help("use letters, digits and underscores, and no keyword of Rust");
                return Err(Diagnostics::one(&model.name, finding).into());
            }
            None => identifier(&self.path.file_stem().unwrap_or_default().to_string_lossy()),
        };
        let options = Options {
            weights: self
                .weights
                .unwrap_or_else(|| WeightsPath::Beside(format!("{name}.weights"))),
            name,
            dims: self.dims.into_iter().collect(),
            profile: self.profile,
        };
        dims::check(&model, &options.dims, self.front)?;
        let key = options.key(&model.hash);
        Ok(Loaded { model, options, key })
    }
}

/// A model with options that fit it.
struct Loaded {
    model: Model,
    options: Options,
    /// Tells this compilation apart from all others.
    key: String,
}

impl Loaded {
    fn lower(self) -> Result<Module, CompileError> {
        let files = self.model.files.clone();
        let lowered = lower::lower(self.model, &self.options)?;
        Ok(Module {
            source: lowered.source,
            weights: lowered.weights,
            report: lowered.report,
            hash: self.key,
            files,
        })
    }
}

/// Refuses paths that cannot be a model, with better advice than the operating system's.
fn check_path(path: &Path) -> Result<(), CompileError> {
    let text = path.to_string_lossy();
    let read_error = |reason: &str| CompileError::Read {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    if text.contains("://") {
        return Err(read_error("it is a URL; download the file and give its path"));
    }
    if !path.exists() {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        return Err(match folder {
            Some(folder) if !folder.exists() => read_error(&format!("there is no folder {}", folder.display())),
            _ => read_error("there is no such file"),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
