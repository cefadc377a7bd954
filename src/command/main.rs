//! The command `onnxide`.

mod args;
mod bench;
mod check;
mod compare;
mod compile;
mod drift;
mod inspect;
mod model;
mod new;
mod program;
mod quantization;
mod run;
mod svg;
mod term;
mod tune;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

/// How a command that did what it was asked to has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Success,
    /// `check` has found a difference.
    Difference,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Compile(args) => compile::compile(&args),
        Command::New(args) => new::new(&args),
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Check(args) => check::check(&args),
        Command::Drift(args) => drift::drift(&args),
        Command::Run(args) => run::run(&args),
        Command::Bench(args) => bench::bench(&args),
    };
    match outcome {
        Ok(Outcome::Success) => ExitCode::SUCCESS,
        Ok(Outcome::Difference) => ExitCode::from(1),
        // Whoever reads the output has seen enough.
        Err(error) if term::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            term::print_error(&error);
            ExitCode::from(2)
        }
    }
}
