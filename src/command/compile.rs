//! `onnxide compile`

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use onnxide_codegen::compiler::MARKER;

use crate::args::Compile;
use crate::term::{self, BOLD};
use crate::{Outcome, quantization};

pub(crate) fn compile(args: &Compile) -> Result<Outcome> {
    let mut compiler = args.model.compiler();
    if let Some(name) = &args.name {
        compiler = compiler.name(name);
    }
    let module = term::with_spinner("Compiling", || compiler.compile_module())?;
    let name = &module.report.name;
    let [source, weights] = ["rs", "weights"].map(|end| args.output.join(format!("{name}.{end}")));
    if !args.force {
        refuse_foreign(&source, &weights)?;
    }
    fs::create_dir_all(&args.output).with_context(|| format!("cannot make the folder {}", args.output.display()))?;
    write(&weights, &module.weights)?;
    write(&source, module.source.as_bytes())?;

    let mut out = anstream::stdout();
    let report = &module.report;
    writeln!(
        out,
        "{BOLD}{}{BOLD:#}: {} steps, arena {}",
        source.display(),
        report.steps.len(),
        term::bytes(report.arena_bytes)
    )?;
    writeln!(
        out,
        "{BOLD}{}{BOLD:#}: {}",
        weights.display(),
        term::bytes(report.weight_bytes)
    )?;
    if let Some(quantized) = &report.quantization {
        quantization::print(quantized, &mut out)?;
        if let Some(path) = &args.drift_json {
            quantization::write_json(quantized, path)?;
        }
        if let Some(path) = &args.drift_svg {
            quantization::write_svg(name, quantized, path)?;
        }
    }
    Ok(Outcome::Success)
}

/// Fails if the files exist and are not what this command has written before.
fn refuse_foreign(source: &Path, weights: &Path) -> Result<()> {
    let foreign = if source.exists() {
        let ours = fs::read(source).is_ok_and(|text| text.starts_with(MARKER.as_bytes()));
        (!ours).then_some(source)
    } else {
        weights.exists().then_some(weights)
    };
    match foreign {
        Some(file) => bail!(
            "{} exists and was not written by onnxide; choose another name with --name, or overwrite it with --force",
            file.display()
        ),
        None => Ok(()),
    }
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}
