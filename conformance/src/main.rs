//! The official ONNX backend suite, and those that the project adds.

use std::io;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{Args, Parser, Subcommand};
use onnxide_conformance::evaluate::follow_all;
use onnxide_conformance::expectations::Expectations;
use onnxide_conformance::select::Selection;
use onnxide_conformance::{report, run};

/// Cases of the official ONNX backend suite, or of one that the project adds.
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
    /// The instruction set level: `scalar`, `avx2` or `avx512`
    #[arg(long, value_name = "NAME")]
    isa: Option<String>,
    /// Make what fails the list of what is expected to fail
    #[arg(long)]
    bless: bool,
    /// Print the counts as a table in Markdown, and nothing else
    #[arg(long)]
    table: bool,
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
    let mut cases = args.selection.of(args.selection.suite.load()?);
    if !args.real && !args.selection.names_kind("real") {
        cases.retain(|case| case.entry.kind != "real");
    }
    ensure!(!cases.is_empty(), "there is no such case");
    let outcomes = follow_all(&cases);
    report::list(&cases, &outcomes, args.failing, &mut io::stdout().lock())?;
    Ok(report::failing(&cases, &outcomes).is_empty())
}

/// Whether every selected case passes; whether what fails is what the list says, if all are selected.
fn run(args: &RunArgs) -> Result<bool> {
    let (all, suite) = (args.selection.is_all(), args.selection.suite);
    ensure!(
        all || !(args.bless || args.table),
        "--bless and --table are for all cases"
    );
    let cases = args.selection.of(suite.load()?);
    ensure!(!cases.is_empty(), "there is no such case");
    // What is built of all cases stays when some are run.
    let mut options = run::Options::new(if all { suite.folder() } else { "conformance-selection" });
    options.isa.clone_from(&args.isa);
    options.shards = args.shards.unwrap_or(options.shards);
    let (outcomes, times) = run::run(&cases, &options)?;
    if args.table {
        print!("{}", report::table(&cases, &outcomes));
    } else {
        report::list(&cases, &outcomes, args.failing, &mut io::stdout().lock())?;
        println!("{times}");
    }
    let failing = report::failing(&cases, &outcomes);
    if !all {
        return Ok(failing.is_empty());
    }
    let mut expectations = Expectations::read(suite)?;
    if args.bless {
        expectations.bless(&failing);
        expectations.write(suite)?;
    }
    let problems = expectations.check(&failing);
    for problem in &problems {
        eprintln!("{problem}");
    }
    Ok(problems.is_empty())
}
