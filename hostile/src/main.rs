//! Compiles mutated models.
//!
//! ```text
//! hostile run [--first N] [--count N] [--build N]
//! hostile show N FILE
//! ```
//!
//! `run` says what goes wrong, and ends with 1 if anything does. `show` writes the mutated model with a number.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use onnxide_hostile::drive::{Models, drive};
use onnxide_hostile::mutate::mutated;
use onnxide_hostile::seeds::Seeds;
use onnxide_hostile::work::Worker;
use onnxide_hostile::{build, seeds};

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["run", options @ ..] => run(options),
        ["show", number, file] => {
            fs::write(file, mutated(&Seeds::read()?, number.parse()?))?;
            Ok(ExitCode::SUCCESS)
        }
        ["work", folder, first, end, files @ ..] => {
            work(Path::new(folder), first.parse()?, end.parse()?, files)?;
            Ok(ExitCode::SUCCESS)
        }
        _ => bail!("usage: hostile run [--first N] [--count N] [--build N], or hostile show N FILE"),
    }
}

fn work(folder: &Path, first: u64, end: u64, files: &[&str]) -> Result<()> {
    let worker = Worker::new(folder, true)?;
    if files.is_empty() {
        let seeds = Seeds::read()?;
        return worker.run((first..end).map(|number| (number, mutated(&seeds, number))));
    }
    let read = |number: u64| Some((number, fs::read(files.get(number as usize)?).ok()?));
    worker.run((first..end).filter_map(read))
}

fn run(options: &[&str]) -> Result<ExitCode> {
    let (mut first, mut count, mut modules) = (0, 20_000, 400);
    for pair in options.chunks(2) {
        match *pair {
            ["--first", value] => first = value.parse().context("--first")?,
            ["--count", value] => count = value.parse().context("--count")?,
            ["--build", value] => modules = value.parse().context("--build")?,
            _ => bail!("unknown option {}", pair[0]),
        }
    }
    let folder: PathBuf = env::temp_dir().join(format!("onnxide-hostile-{}", std::process::id()));
    let models = Models::Mutated {
        first,
        end: first + count,
    };
    println!("seeds: {}", seeds::files(&seeds::folder())?.len());
    let report = drive(&env::current_exe()?, &models, &folder)?;
    println!("refused: {}\ncompiled: {}", report.refused, report.compiled.len());
    for finding in &report.findings {
        println!("{}: {}", finding.number, finding.what);
    }
    let errors = match modules {
        0 => Vec::new(),
        modules => build::build(&report.compiled, modules, &folder)?,
    };
    errors.iter().for_each(|text| println!("{text}"));
    fs::remove_dir_all(&folder)?;
    println!("findings: {}", report.findings.len() + errors.len());
    Ok(match report.findings.is_empty() && errors.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
