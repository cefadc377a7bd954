//! What was measured on.

use std::fs;
use std::process::Command;
use std::thread;

use onnxide_runtime::isa::Level;
use serde::{Deserialize, Serialize};

use crate::engine::root;

/// A machine and what it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    /// The best instruction set that onnxide has kernels for.
    pub(crate) isa: String,
    pub(crate) system: String,
    pub(crate) rustc: String,
    /// The commit of onnxide, with a plus if the checkout had changes.
    pub(crate) commit: String,
}

impl Machine {
    /// This machine. What it does not tell is `unknown`.
    pub(crate) fn this() -> Machine {
        let unknown = || "unknown".to_owned();
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned());
        Machine {
            processor: processor().unwrap_or_else(unknown),
            cores: thread::available_parallelism().map_or(1, usize::from),
            isa: Level::detect().name().to_owned(),
            system: format!("{} {}", std::env::consts::OS, release.unwrap_or_else(|_| unknown())),
            rustc: first_line(Command::new("rustc").arg("--version")).unwrap_or_else(unknown),
            commit: commit().unwrap_or_else(unknown),
        }
    }
}

/// Family and model tell processors apart that a hypervisor gives one name.
fn processor() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let field = |name: &str| {
        let line = info
            .lines()
            .find(|line| line.split(':').next().is_some_and(|key| key.trim() == name))?;
        Some(line.split_once(':')?.1.trim())
    };
    let name = field("model name")?;
    match (field("cpu family"), field("model")) {
        (Some(family), Some(model)) => Some(format!("{name} (family {family}, model {model})")),
        _ => Some(name.to_owned()),
    }
}

fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.arg("-C").arg(root()).args(arguments);
        git
    };
    let mut commit = first_line(&mut git(&["rev-parse", "--short=10", "HEAD"]))?;
    if first_line(&mut git(&["status", "--porcelain", "--untracked-files=no"])).is_some() {
        commit.push('+');
    }
    Some(commit)
}

/// The first line that a command prints, if it succeeds and prints one.
fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(str::to_owned)
}
