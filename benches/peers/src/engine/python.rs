//! The engines that have a binding for Python.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::output;

/// The pinned packages, with the hashes of their files.
const REQUIREMENTS: &str = include_str!("../../requirements.txt");

/// The Python of a virtual environment that has what is required, which is made unless there is one.
///
/// # Errors
///
/// There is no Python, or the packages cannot be installed.
pub(super) fn environment() -> Result<PathBuf> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = package.join("target/python");
    let python = folder.join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    });
    // Written last, so that an installation that was cut off is made again.
    let installed = folder.join("requirements.txt");
    if fs::read_to_string(&installed).is_ok_and(|text| text == REQUIREMENTS) {
        return Ok(python);
    }
    let base = env::var_os("PYTHON").unwrap_or_else(|| if cfg!(windows) { "python" } else { "python3" }.into());
    let mut make = Command::new(base);
    make.args(["-m", "venv", "--clear"]).arg(&folder);
    output(make).context("cannot make a virtual environment (the variable PYTHON may name another Python)")?;
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    install.args(["--require-hashes", "--only-binary", ":all:", "--requirement"]);
    install.arg(package.join("requirements.txt"));
    output(install).context("cannot install the packages of requirements.txt")?;
    fs::write(&installed, REQUIREMENTS).with_context(|| format!("cannot write {}", installed.display()))?;
    Ok(python)
}

/// Whether a Python has a package.
///
/// # Errors
///
/// It has not.
pub(super) fn check(python: &Path, package: &str) -> Result<()> {
    let mut import = Command::new(python);
    import.args(["-c", &format!("import numpy, {package}")]);
    output(import).map(drop)
}
