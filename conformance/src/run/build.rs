//! Building packages with Cargo, whatever their modules are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, mem};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::package::Workspace;

/// A program with the models of some cases.
pub(super) struct Program {
    pub(super) binary: PathBuf,
    pub(super) cases: Vec<String>,
}

/// What the Rust compiler says about a case.
type Refused = (String, String);

/// Builds every package, without the modules that the Rust compiler refuses.
pub(super) fn build(mut workspace: Workspace) -> Result<(Vec<Program>, Vec<Refused>)> {
    let mut refused = Vec::new();
    let mut again = true;
    loop {
        let mut built = cargo(&workspace.folder)?;
        if built.success {
            let programs = workspace.shards.into_iter().filter_map(|(shard, cases)| {
                let binary = built.binaries.remove(&shard)?;
                Some(Program { binary, cases })
            });
            return Ok((programs.collect(), refused));
        }
        if built.errors.is_empty() {
            // A compiler that says nothing of what it compiles was ended by the machine, which may be a matter of the moment.
            if mem::take(&mut again) {
                eprintln!(
                    "cargo is run once more in {}\n{}",
                    workspace.folder.display(),
                    built.stderr
                );
                continue;
            }
            bail!(
                "cargo cannot build the packages in {}\n{}",
                workspace.folder.display(),
                built.stderr
            );
        }
        // A module whose errors are known is left out. Errors that name no module are those of one in some half.
        for (shard, errors) in built.errors {
            let cases = workspace
                .shards
                .get_mut(&shard)
                .context("an error in an unknown package")?;
            let named: BTreeSet<String> = errors.iter().filter_map(|error| error.case.clone()).collect();
            if !named.is_empty() {
                cases.retain(|case| !named.contains(case));
                for name in named {
                    let first = errors.iter().find(|error| error.case.as_ref() == Some(&name));
                    refused.push((name, first.map_or_else(String::new, |error| error.text.clone())));
                }
                workspace.declare(&shard)?;
            } else if let ([case], Some(error)) = (cases.as_slice(), errors.first()) {
                refused.push((case.clone(), error.text.clone()));
                cases.clear();
                workspace.declare(&shard)?;
            } else if errors.iter().any(|error| error.in_main) || cases.is_empty() {
                bail!("package {shard} is wrong: {}", errors[0].text);
            } else {
                workspace.split(&shard)?;
            }
        }
    }
}

/// What has come of a build.
#[derive(Default)]
struct Built {
    success: bool,
    binaries: BTreeMap<String, PathBuf>,
    /// The errors in each package.
    errors: BTreeMap<String, Vec<Error>>,
    stderr: String,
}

struct Error {
    text: String,
    /// The case whose module the error is in.
    case: Option<String>,
    /// Whether the error is in what all packages share.
    in_main: bool,
}

/// A message of Cargo, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    target: Option<Target>,
    message: Option<Rustc>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// A message of the Rust compiler, as far as it matters here.
#[derive(Deserialize)]
struct Rustc {
    level: String,
    message: String,
    spans: Vec<Span>,
    #[serde(default)]
    children: Vec<Rustc>,
}

#[derive(Deserialize)]
struct Span {
    file_name: String,
}

impl Rustc {
    /// The case in whose module a span is.
    fn case(&self) -> Option<String> {
        let case = |span: &Span| {
            let path = Path::new(&span.file_name);
            let beside = path.parent()?.ends_with("src/cases");
            beside.then(|| path.file_stem().map(|name| name.to_string_lossy().into_owned()))?
        };
        let own = self.spans.iter().find_map(case);
        own.or_else(|| self.children.iter().find_map(Rustc::case))
    }
}

fn cargo(folder: &Path) -> Result<Built> {
    // Cargo names itself to what it runs.
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&cargo);
    command
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", folder.join("target"));
    command.args(["build", "--offline", "--quiet", "--keep-going", "--message-format=json"]);
    command.stdin(Stdio::null());
    let output = command
        .output()
        .with_context(|| format!("cannot run {}", cargo.to_string_lossy()))?;
    let mut built = Built {
        success: output.status.success(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        ..Built::default()
    };
    for line in output.stdout.split(|&byte| byte == b'\n') {
        let Ok(Message {
            executable,
            target: Some(Target { name }),
            message,
        }) = serde_json::from_slice(line)
        else {
            continue;
        };
        if let Some(binary) = executable {
            built.binaries.insert(name, binary);
        } else if let Some(message) = message
            && message.level.starts_with("error")
            // The last message counts the others.
            && !message.message.starts_with("aborting due to")
        {
            let case = message.case();
            let in_main = message.spans.iter().any(|span| span.file_name.ends_with("src/main.rs"));
            let text = message.message;
            built
                .errors
                .entry(name)
                .or_default()
                .push(Error { text, case, in_main });
        }
    }
    Ok(built)
}
