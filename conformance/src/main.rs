//! The official ONNX backend suite.

use std::io;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{Args, Parser, Subcommand};
use onnxide_conformance::evaluate::follow;
use onnxide_conformance::outcome::{Failure, Stage};
use onnxide_conformance::select::Selection;
use onnxide_conformance::{parallel, report, run, suite};

/// Cases of the official ONNX backend suite.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Evaluate the graphs of cases, before and after the passes, and plan and print their modules
    Eval(EvalArgs),
    /// Compile cases, build packages of their modules and run them
    Run(RunArgs),
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

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    selection: Selection,
    /// Print only what fails
    #[arg(long)]
    failing: bool,
    /// The instruction set level: `scalar`, `sse4.1`, `avx2` and so on
    #[arg(long, value_name = "NAME")]
    isa: Option<String>,
    /// The number of packages
    #[arg(long, value_name = "NUMBER")]
    shards: Option<usize>,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Eval(args) => eval(&args),
        Command::Run(args) => run(&args),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether every selected case passes.
fn eval(args: &EvalArgs) -> Result<bool> {
    let mut cases = args.selection.of(suite::load()?);
    if !args.real && !args.selection.names_kind("real") {
        cases.retain(|case| case.entry.kind != "real");
    }
    ensure!(!cases.is_empty(), "there is no such case");
    let outcomes = parallel::map(&cases, follow).into_iter();
    let outcomes: Vec<_> = outcomes
        .map(|outcome| outcome.unwrap_or_else(|text| Err(Failure::at(Stage::Panic)(text))))
        .collect();
    report::list(&cases, &outcomes, args.failing, &mut io::stdout().lock())?;
    Ok(outcomes.iter().all(Result::is_ok))
}

/// Whether every selected case passes.
fn run(args: &RunArgs) -> Result<bool> {
    let cases = args.selection.of(suite::load()?);
    ensure!(!cases.is_empty(), "there is no such case");
    // What is built of all cases stays when some are run.
    let mut options = run::Options::new(if args.selection.is_all() {
        "conformance"
    } else {
        "conformance-selection"
    });
    options.isa.clone_from(&args.isa);
    options.shards = args.shards.unwrap_or(options.shards);
    let (outcomes, times) = run::run(&cases, &options)?;
    report::list(&cases, &outcomes, args.failing, &mut io::stdout().lock())?;
    println!(
        "compiled in {:.1} s, built in {:.1} s, run in {:.1} s",
        times.compile.as_secs_f64(),
        times.build.as_secs_f64(),
        times.run.as_secs_f64()
    );
    Ok(outcomes.iter().all(Result::is_ok))
}
