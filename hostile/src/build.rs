//! Whether the Rust compiler takes modules.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

/// How many modules are built at once.
const BATCH: usize = 50;

/// Builds some of the modules that workers have left in a folder, spread evenly; the errors, batch by batch.
///
/// # Errors
///
/// A file cannot be written, or Cargo cannot be started.
pub fn build(modules: &[u64], count: usize, folder: &Path) -> Result<Vec<String>> {
    let step = modules.len().div_ceil(count.max(1)).max(1);
    let chosen: Vec<u64> = modules.iter().copied().step_by(step).collect();
    let mut errors = Vec::new();
    for batch in chosen.chunks(BATCH) {
        if let Some(text) = build_batch(batch, folder)? {
            errors.push(text);
        }
    }
    Ok(errors)
}

fn build_batch(modules: &[u64], folder: &Path) -> Result<Option<String>> {
    let package = folder.join("package");
    let source = package.join("src");
    if source.exists() {
        fs::remove_dir_all(&source)?;
    }
    fs::create_dir_all(&source)?;
    let runtime = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime");
    let manifest = format!(
        "[package]\nname = \"modules\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\nonnxide-runtime = {{ path = \
         {runtime:?}, features = [\"std\"] }}\n\n[profile.dev]\ndebug = 0\n\n[workspace]\n"
    );
    fs::write(package.join("Cargo.toml"), manifest)?;
    let mut library = String::new();
    for number in modules {
        for end in ["rs", "weights"] {
            let name = format!("m{number}.{end}");
            fs::copy(folder.join(&name), source.join(&name)).with_context(|| name.clone())?;
        }
        writeln!(library, "#[forbid(unsafe_code)]\n#[deny(warnings)]\npub mod m{number};")?;
    }
    fs::write(source.join("lib.rs"), library)?;
    let output = Command::new(option_env!("CARGO").unwrap_or("cargo"))
        .args(["build", "--quiet", "--offline", "--manifest-path"])
        .arg(package.join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .output()
        .context("cannot run cargo")?;
    Ok((!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned()))
}
