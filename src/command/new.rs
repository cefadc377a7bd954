//! `onnxide new`

use std::io::Write;

use anyhow::{Context, Result};

use crate::Outcome;
use crate::args::New;
use crate::program::{Package, create, sources};
use crate::term::BOLD;

pub(crate) fn new(args: &New) -> Result<Outcome> {
    let folder = std::path::absolute(&args.folder).with_context(|| args.folder.display().to_string())?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let package = Package {
        name: package_name(&name),
        folder: args.folder.clone(),
        sources: sources(&args.operators_from)?,
    };
    let report = create(args.model.compiler(), &package)?;
    let mut out = anstream::stdout();
    writeln!(
        out,
        "{BOLD}{}{BOLD:#}: a program for `{}`; `cargo run --release` in it says how it is used",
        args.folder.display(),
        report.name
    )?;
    Ok(Outcome::Success)
}

/// A name that Cargo takes, from any text.
fn package_name(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let name: String = text.chars().map(|c| if allowed(c) { c } else { '-' }).collect();
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic());
    // Words that Cargo reserves, and keywords, are no name of a package either.
    let reserved = [
        "test",
        "core",
        "std",
        "alloc",
        "proc_macro",
        "build",
        "deps",
        "examples",
        "incremental",
    ];
    if starts_well
        && !reserved.contains(&name.as_str())
        && onnxide_codegen::compiler::is_identifier(&name.replace('-', "_"))
    {
        name
    } else {
        format!("model-{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_have_names_that_cargo_takes() {
        for (text, name) in [
            ("filetype", "filetype"),
            ("my-model", "my-model"),
            ("my model.v2", "my-model-v2"),
            ("3d", "model-3d"),
            ("test", "model-test"),
            ("match", "model-match"),
            ("größe", "gr--e"),
        ] {
            assert_eq!(package_name(text), name);
        }
    }
}
