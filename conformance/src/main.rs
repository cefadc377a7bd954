//! The official ONNX backend suite.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{Args, Parser, Subcommand};
use onnxide_conformance::evaluate::{Outcome, follow};
use onnxide_conformance::select::Selection;
use onnxide_conformance::{parallel, suite};

/// Cases of the official ONNX backend suite.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Evaluate the graphs of cases, before and after the passes, and print their modules to nowhere
    Eval(EvalArgs),
}

#[derive(Debug, Args)]
struct EvalArgs {
    #[command(flatten)]
    selection: Selection,
    /// Print only what fails
    #[arg(long)]
    failing: bool,
    /// Include the cases of kind `real`, which take long to evaluate
    #[arg(long)]
    real: bool,
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Eval(args) => match eval(&args) {
            Ok(code) => code,
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::from(2)
            }
        },
    }
}

fn eval(args: &EvalArgs) -> Result<ExitCode> {
    let mut cases = args.selection.of(suite::load()?);
    if !args.real && !args.selection.names_kind("real") {
        cases.retain(|case| case.entry.kind != "real");
    }
    ensure!(!cases.is_empty(), "there is no such case");
    let outcomes = parallel::map(&cases, follow);
    let mut out = io::stdout().lock();
    // For each operator: how many cases pass, of how many.
    let mut operators: BTreeMap<(&str, &str), (usize, usize)> = BTreeMap::new();
    let mut stages: BTreeMap<&str, usize> = BTreeMap::new();
    for (case, outcome) in cases.iter().zip(outcomes) {
        let outcome = outcome.unwrap_or_else(Outcome::Panic);
        let ok = outcome == Outcome::Ok;
        if !(ok && args.failing) {
            writeln!(out, "{} [{}]: {outcome}", case.name(), case.entry.operator)?;
        }
        *stages.entry(outcome.stage()).or_default() += 1;
        let (passed, all) = operators.entry((&case.entry.domain, &case.entry.operator)).or_default();
        *passed += usize::from(ok);
        *all += 1;
    }
    writeln!(out)?;
    for ((domain, operator), (passed, all)) in operators {
        if passed < all || !args.failing {
            let domain = if domain == "ai.onnx" {
                String::new()
            } else {
                format!("{domain}.")
            };
            writeln!(out, "{passed:>5} of {all:>3} {domain}{operator}")?;
        }
    }
    let passed = stages.remove("ok").unwrap_or(0);
    let failed: Vec<_> = stages.iter().map(|(stage, count)| format!("{stage} {count}")).collect();
    writeln!(
        out,
        "\n{passed} of {} pass; failing: {}",
        cases.len(),
        failed.join(", ")
    )?;
    Ok(if passed == cases.len() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}
