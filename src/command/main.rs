//! The command `onnxide`.

mod args;
mod compile;
mod inspect;
mod term;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Compile(args) => compile::compile(&args),
        Command::Inspect(args) => inspect::inspect(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads the output has seen enough.
        Err(error) if term::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            term::print_error(&error);
            ExitCode::from(2)
        }
    }
}
