//! Building with Cargo.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// Builds the package in `folder`, optimized; returns the path of its program.
///
/// # Errors
///
/// Cargo cannot be run or fails; then the error has what it says.
pub(super) fn build(folder: &Path, target: &Path) -> Result<PathBuf> {
    // Cargo names itself to what it runs.
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&cargo);
    command.current_dir(folder).env("CARGO_TARGET_DIR", target);
    command.args([
        "build",
        "--release",
        "--quiet",
        "--message-format=json-render-diagnostics",
    ]);
    if super::package::runtime_folder().is_some() {
        // All that the package needs is on this machine.
        command.arg("--offline");
    }
    let output = command
        .output()
        .with_context(|| format!("cannot run {}", cargo.to_string_lossy()))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        bail!(
            "cargo cannot build the program in {}\n{}",
            folder.display(),
            reason.trim_end()
        );
    }
    executable(&output.stdout).context("cargo has built no program")
}

/// A message of Cargo, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
}

fn executable(messages: &[u8]) -> Option<PathBuf> {
    let message = |line| serde_json::from_slice::<Message>(line).ok();
    messages
        .split(|&byte| byte == b'\n')
        .filter_map(message)
        .find_map(|message| message.executable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_among_the_messages() {
        let messages = br#"{"reason":"compiler-artifact","executable":null}
{"reason":"compiler-artifact","executable":"/t/release/m"}
{"reason":"build-finished","success":true}
"#;
        assert_eq!(executable(messages), Some("/t/release/m".into()));
        assert_eq!(executable(b""), None);
    }
}
