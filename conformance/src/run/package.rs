//! Packages of modules.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use onnxide_codegen::compiler::WeightsPath;
use onnxide_codegen::{CompileError, Compiler, frontend, import};

use crate::evaluate::first;
use crate::outcome::{Failure, Stage};
use crate::suite::Case;

const MAIN: &str = include_str!("../../shard/main.rs");

/// The module of a case.
pub(super) struct Compiled {
    source: String,
    weights: bytes::Bytes,
    /// Multiplications and additions of a run.
    macs: u64,
}

/// Compiles a case, whose model is written to a file for that.
pub(super) fn compile(case: &Case, models: &Path) -> Result<Compiled, Failure> {
    let name = case.name();
    let path = models.join(format!("{name}.onnx"));
    update(&path, &case.model).map_err(|error| Failure::at(Stage::Load)(format!("{error:#}")))?;
    let failed = |error: CompileError| {
        let text = match &error {
            CompileError::Model(found) => first(found),
            other => other.to_string(),
        };
        Failure::at(Stage::Compile)(text)
    };
    let model = frontend::load(&path).map_err(failed)?;
    let mut compiler = Compiler::new(&path)
        .name(name)
        .program(true)
        .weights(WeightsPath::Below {
            variable: "CARGO_MANIFEST_DIR",
            path: format!("src/cases/{name}.weights"),
        });
    let (names, max) = (import::dynamic_dims(&model), case.max_dim());
    for symbol in names.into_iter().chain(import::open_sizes(&model)) {
        compiler = compiler.dim(symbol, 0..=max);
    }
    let module = compiler.compile_module().map_err(failed)?;
    Ok(Compiled {
        source: module.source,
        weights: module.weights,
        macs: module.report.steps.iter().map(|step| step.macs).sum(),
    })
}

/// Packages that are built together.
pub(super) struct Workspace {
    pub(super) folder: PathBuf,
    /// The cases of each package.
    pub(super) shards: BTreeMap<String, Vec<String>>,
}

impl Workspace {
    /// Writes packages with modules. A case is always in the same one, so that little is built again when some change.
    pub(super) fn write(folder: &Path, shards: usize, modules: &[(&str, Compiled)]) -> Result<Workspace> {
        let mut workspace = Workspace {
            folder: folder.to_owned(),
            shards: BTreeMap::new(),
        };
        for (name, module) in modules {
            let (kind, count) = match module.macs {
                0..HEAVY => (LIGHT_PACKAGE, shards.max(1) as u64),
                HEAVY.. => (HEAVY_PACKAGE, 4),
            };
            let shard = format!("{kind}{:02}", hash(name) % count);
            let cases = folder.join(&shard).join("src/cases");
            update(&cases.join(format!("{name}.rs")), module.source.as_bytes())?;
            update(&cases.join(format!("{name}.weights")), &module.weights)?;
            workspace.shards.entry(shard).or_default().push((*name).to_owned());
        }
        for shard in workspace.shards.keys() {
            workspace.declare(shard)?;
        }
        workspace.finish()?;
        Ok(workspace)
    }

    /// Writes what makes a package of modules.
    pub(super) fn declare(&self, shard: &str) -> Result<()> {
        let folder = self.folder.join(shard);
        let cases = self.shards[shard].join("\n    ");
        update(&folder.join("Cargo.toml"), manifest(shard).as_bytes())?;
        update(&folder.join("src/main.rs"), MAIN.as_bytes())?;
        let table = format!("//! The models.\n\ncases! {{\n    {cases}\n}}\n");
        update(&folder.join("src/cases.rs"), table.as_bytes())
    }

    /// Replaces a package by two with half of its modules each.
    pub(super) fn split(&mut self, shard: &str) -> Result<()> {
        let cases = self.shards.remove(shard).unwrap_or_default();
        let (first, second) = cases.split_at(cases.len() / 2);
        for (half, cases) in [("a", first), ("b", second)] {
            let name = format!("{shard}{half}");
            for case in cases {
                for end in ["rs", "weights"] {
                    let path = |shard: &str| self.folder.join(shard).join(format!("src/cases/{case}.{end}"));
                    update(&path(&name), &fs::read(path(shard))?)?;
                }
            }
            self.shards.insert(name.clone(), cases.to_vec());
            self.declare(&name)?;
        }
        self.finish()
    }

    /// Writes what all packages share, and removes packages of earlier runs.
    fn finish(&self) -> Result<()> {
        let members: Vec<_> = self.shards.keys().map(|shard| format!("{shard:?}")).collect();
        let mut manifest = format!(
            "{WORKSPACE}\n[workspace]\nresolver = \"3\"\nmembers = [{}]\n",
            members.join(", ")
        );
        for shard in self.shards.keys().filter(|shard| shard.starts_with(HEAVY_PACKAGE)) {
            manifest += &format!("\n[profile.dev.package.{shard}]\nopt-level = 2\n");
        }
        update(&self.folder.join("Cargo.toml"), manifest.as_bytes())?;
        let known: BTreeSet<PathBuf> = self.shards.keys().map(|shard| self.folder.join(shard)).collect();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let is_shard = path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("shard"));
            if is_shard && !known.contains(&path) {
                fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        Ok(())
    }
}

/// How packages are called, before a number.
const LIGHT_PACKAGE: &str = "light";
/// How packages are called whose modules are optimized too, before a number.
const HEAVY_PACKAGE: &str = "heavy";
/// Multiplications and additions from which on a module is optimized.
const HEAVY: u64 = 1 << 24;

/// Debug builds check arithmetic, and are fast to build; kernels are optimized all the same.
const WORKSPACE: &str = "\
[profile.dev]
debug = false
incremental = false

[profile.dev.package.onnxide-runtime]
opt-level = 3
";

fn manifest(shard: &str) -> String {
    let runtime = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime");
    format!(
        "\
[package]
name = \"{shard}\"
version = \"0.1.0\"
edition = \"2024\"
publish = false

[dependencies]
onnxide-runtime = {{ path = {:?}, features = [\"std\"] }}

[lints.rust]
non_snake_case = \"allow\"
",
        runtime.to_string_lossy()
    )
}

/// Writes a file unless it has that content, so that what depends on it is not built again.
fn update(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|found| found == content) {
        return Ok(());
    }
    let cannot = || format!("cannot write {}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(cannot)?;
    }
    fs::write(path, content).with_context(cannot)
}

/// FNV-1a, which is the same everywhere.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}
