//! The engines: how each is found and how its worker starts.

mod python;
mod worker;

#[cfg(feature = "rten")]
mod rten;
#[cfg(feature = "tract")]
mod tract;

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::arrays::{self, Arrays};
use crate::models::{Activations, Model};
pub(crate) use worker::{Worker, serve};

/// The models that onnxide compiles do not use more than one thread yet; once they do, the command has the option.
pub(crate) const ONNXIDE_HAS_THREADS: bool = true;

/// An engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Engine {
    Onnxide,
    Onnxruntime,
    Openvino,
    Tract,
    Rten,
}

impl Engine {
    /// The name, as people write it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Engine::Onnxide => "onnxide",
            Engine::Onnxruntime => "onnxruntime",
            Engine::Openvino => "OpenVINO",
            Engine::Tract => "tract",
            Engine::Rten => "rten",
        }
    }

    /// The name in arguments.
    fn key(self) -> &'static str {
        match self {
            Engine::Openvino => "openvino",
            other => other.name(),
        }
    }
}

/// Programs to use instead of those that the race makes.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Programs {
    /// The command `onnxide`; by default the one of this checkout, which is built
    #[arg(long, value_name = "FILE")]
    onnxide: Option<PathBuf>,

    /// A Python that has onnxruntime, openvino and numpy; by default a virtual environment is made with the pinned versions
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
}

/// How the workers of an engine start.
#[derive(Clone, Debug)]
pub(crate) enum Launcher {
    /// The command `onnxide`.
    Onnxide(PathBuf),
    /// A Python that has the engine.
    Python(Engine, PathBuf),
    /// The engine is linked into this program.
    Linked(Engine),
}

/// What a worker works on.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    pub(crate) model: &'a Model,
    /// The file of the inputs.
    pub(crate) inputs: &'a Path,
    pub(crate) threads: usize,
    /// For the worker's own files.
    pub(crate) folder: &'a Path,
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

impl Launcher {
    /// Gets an engine ready to start workers.
    ///
    /// # Errors
    ///
    /// The engine cannot be built or installed, or is none of this build.
    pub(crate) fn new(engine: Engine, programs: &Programs) -> Result<Launcher> {
        match engine {
            Engine::Onnxide => Ok(Launcher::Onnxide(match &programs.onnxide {
                Some(path) => path.clone(),
                None => build_onnxide()?,
            })),
            Engine::Onnxruntime | Engine::Openvino => {
                let python = match &programs.python {
                    Some(path) => path.clone(),
                    None => python::environment()?,
                };
                python::check(&python, engine.key())?;
                Ok(Launcher::Python(engine, python))
            }
            Engine::Tract => {
                ensure!(cfg!(feature = "tract"), "this build is without the feature `tract`");
                Ok(Launcher::Linked(engine))
            }
            Engine::Rten => {
                ensure!(cfg!(feature = "rten"), "this build is without the feature `rten`");
                Ok(Launcher::Linked(engine))
            }
        }
    }

    /// Starts a worker, which has run the model once, and returns it with its outputs.
    ///
    /// # Errors
    ///
    /// The engine does not load or run the model, or not in time.
    pub(crate) fn start(&self, job: &Job<'_>) -> Result<(Worker, Arrays)> {
        let outputs = job.folder.join(format!("{}-{}.npz", self.engine().key(), job.threads));
        let worker = match self {
            Launcher::Onnxide(program) => {
                let mut run = onnxide(program, "run", job);
                run.arg("--inputs").arg(job.inputs).arg("--outputs").arg(&outputs);
                output(run)?;
                let mut bench = onnxide(program, "bench", job);
                bench.arg("--rounds").arg("--reference").arg(job.inputs);
                Worker::start(bench, job)?
            }
            Launcher::Python(engine, python) => {
                let mut command = Command::new(python);
                command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("worker.py"));
                command
                    .arg(engine.key())
                    .arg(&job.model.path)
                    .arg(job.inputs)
                    .arg(&outputs);
                command.arg(job.threads.to_string()).arg(job.model.activations.name());
                Worker::start(command, job)?
            }
            Launcher::Linked(engine) => {
                let program = env::current_exe().context("cannot find the program of the workers")?;
                let mut command = Command::new(program);
                command.arg("worker").arg(engine.key());
                command
                    .arg(&job.model.path)
                    .arg(job.inputs)
                    .arg(&outputs)
                    .arg(job.threads.to_string());
                // rten's own pool, which loads models.
                command.env("RTEN_NUM_THREADS", job.threads.to_string());
                Worker::start(command, job)?
            }
        };
        Ok((worker, arrays::read(&outputs)?))
    }

    fn engine(&self) -> Engine {
        match self {
            Launcher::Onnxide(_) => Engine::Onnxide,
            Launcher::Python(engine, _) | Launcher::Linked(engine) => *engine,
        }
    }
}

/// The multiply-accumulates of a run, as onnxide counts them.
///
/// # Errors
///
/// onnxide does not compile the model.
pub(crate) fn macs(program: &Path, job: &Job<'_>) -> Result<u64> {
    #[derive(Deserialize)]
    struct Step {
        macs: u64,
    }
    #[derive(Deserialize)]
    struct Report {
        steps: Vec<Step>,
    }
    let mut command = onnxide(program, "inspect", job);
    command.arg("--json");
    let report: Report =
        serde_json::from_slice(&output(command)?).context("cannot read what `onnxide inspect` says")?;
    Ok(report.steps.iter().map(|step| step.macs).sum())
}

fn onnxide(program: &Path, verb: &str, job: &Job<'_>) -> Command {
    let mut command = Command::new(program);
    command.arg(verb).arg(&job.model.path);
    for (name, size) in &job.model.dims {
        command.arg("--dim").arg(format!("{name}={size}"));
    }
    if job.model.activations == Activations::Int8 {
        command.args(["--precision", "int8"]);
    }
    if ONNXIDE_HAS_THREADS && verb != "inspect" {
        command.arg("--threads").arg(job.threads.to_string());
    }
    command
}

fn build_onnxide() -> Result<PathBuf> {
    let root = root();
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(&root)
        .args(["build", "--release", "--locked", "--quiet", "--bin", "onnxide"]);
    cargo.env_remove("CARGO_TARGET_DIR").args(["--target-dir", "target"]);
    output(cargo)?;
    Ok(root
        .join("target/release")
        .join(format!("onnxide{}", env::consts::EXE_SUFFIX)))
}

/// What a command prints.
///
/// # Errors
///
/// It cannot be run or fails; then the error has the last lines that it prints.
fn output(mut command: Command) -> Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        bail!("{name}: {}", last_lines(&String::from_utf8_lossy(&output.stderr)));
    }
    Ok(output.stdout)
}

/// The end of what a program has printed, on one line.
fn last_lines(text: &str) -> String {
    const LINES: usize = 3;
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].join("; ")
}

/// The versions of the engines that the race pins, by the key of the engine.
pub(crate) fn versions() -> BTreeMap<Engine, String> {
    let mut versions = BTreeMap::new();
    for line in include_str!("../../requirements.txt").lines() {
        let pin = line
            .split_once("==")
            .map(|(name, rest)| (name, rest.split_whitespace().next().unwrap_or_default()));
        match pin {
            Some(("onnxruntime", version)) => versions.insert(Engine::Onnxruntime, version.to_owned()),
            Some(("openvino", version)) => versions.insert(Engine::Openvino, version.to_owned()),
            _ => None,
        };
    }
    let mut name = "";
    for line in include_str!("../../Cargo.lock").lines() {
        let value = |key: &str| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"');
        if let Some(package) = value("name") {
            name = package;
        }
        if let Some(version) = value("version") {
            match name {
                "tract-onnx" => versions.insert(Engine::Tract, version.to_owned()),
                "rten" => versions.insert(Engine::Rten, version.to_owned()),
                _ => None,
            };
        }
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_has_a_pinned_version() {
        let versions = versions();
        assert_eq!(versions.len(), 4);
        assert!(versions.values().all(|version| version.split('.').count() == 3));
    }

    #[test]
    fn errors_end_with_the_last_lines() {
        assert_eq!(last_lines("a\n\n b \nc\nd\n"), "b; c; d");
        assert_eq!(last_lines(""), "");
    }
}
