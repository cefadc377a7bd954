//! A worker: compiles models one after another and says so, a line before and after each.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result};
use onnxide_codegen::compiler::symbols;
use onnxide_codegen::frontend::Model;
use onnxide_codegen::ir::sample::SplitMix;
use onnxide_codegen::{Compiler, DimRange, Module, frontend, import, ir};

/// What became of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The compiler says what is wrong with it.
    Refused,
    /// It became a module.
    Compiled,
    /// The compiler panicked.
    Panicked(String),
}

/// A folder with the files of a worker.
#[derive(Debug)]
pub struct Worker {
    folder: PathBuf,
    /// Whether modules are kept.
    keep: bool,
}

/// The message of the last panic, with its place.
static PANIC: Mutex<String> = Mutex::new(String::new());

impl Worker {
    /// A worker that uses a folder; with `keep` it leaves the modules there.
    ///
    /// # Errors
    ///
    /// The folder cannot be made.
    pub fn new(folder: &Path, keep: bool) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        panic::set_hook(Box::new(|info| {
            if let Ok(mut text) = PANIC.lock() {
                *text = info.to_string().replace('\n', " ");
            }
        }));
        Ok(Self {
            folder: folder.to_owned(),
            keep,
        })
    }

    /// Compiles models, which have numbers, and reports on standard output.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub fn run(&self, models: impl Iterator<Item = (u64, Vec<u8>)>) -> Result<()> {
        let mut out = std::io::stdout();
        for (number, bytes) in models {
            writeln!(out, "start {number}")?;
            out.flush()?;
            match self.compile(number, &bytes)? {
                Outcome::Refused => writeln!(out, "refused {number}")?,
                Outcome::Compiled => writeln!(out, "compiled {number}")?,
                Outcome::Panicked(text) => writeln!(out, "panicked {number} {text}")?,
            }
        }
        writeln!(out, "end")?;
        Ok(())
    }

    fn compile(&self, number: u64, bytes: &[u8]) -> Result<Outcome> {
        let name = format!("m{number}");
        let path = self.folder.join(format!("{name}.onnx"));
        fs::write(&path, bytes).with_context(|| path.display().to_string())?;
        let result = panic::catch_unwind(AssertUnwindSafe(|| module(&path, number)));
        fs::remove_file(&path).with_context(|| path.display().to_string())?;
        Ok(match result {
            Ok(None) => Outcome::Refused,
            Ok(Some(module)) => {
                if self.keep {
                    fs::write(self.folder.join(format!("{name}.rs")), &module.source)?;
                    fs::write(self.folder.join(format!("{name}.weights")), &module.weights)?;
                }
                Outcome::Compiled
            }
            Err(_) => Outcome::Panicked(PANIC.lock().map(|text| text.clone()).unwrap_or_default()),
        })
    }
}

/// Compiles a model with bounds of its dimensions that follow from its number.
fn module(path: &Path, number: u64) -> Option<Module> {
    let model = frontend::load(path).ok()?;
    let mut random = SplitMix::new(!number);
    let ranges: [DimRange; 5] = [
        (1..=4).into(),
        (0..=3).into(),
        2.into(),
        (1..=1000).into(),
        (0..=i32::MAX as usize).into(),
    ];
    let mut compiler = Compiler::new(path).program(true);
    let names: BTreeMap<_, _> = symbols(&model);
    for name in names.keys() {
        let last = ranges.len() as i64 - 1;
        // The usual bounds most of the time, so that models get far.
        let choice = random.integer(-2 * last, last).max(0);
        compiler = compiler.dim(name, ranges[choice as usize]);
    }
    let module = compiler.compile_module().ok()?;
    if let Ok(graph) = import::import(&model, &small(&model)) {
        let violations = ir::verify(&graph).err().unwrap_or_default();
        assert!(violations.is_empty(), "the imported graph is invalid: {violations:?}");
    }
    Some(module)
}

/// Options under which the graph of a model is looked at.
fn small(model: &Model) -> import::Options {
    let names = import::dynamic_dims(model).into_iter();
    import::Options {
        dims: names.map(|name| (name, 1..=4)).collect(),
        ..import::Options::default()
    }
}
