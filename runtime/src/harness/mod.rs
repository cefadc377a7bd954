//! The command line of a program that runs one model: `run`, `bench` and `rounds`.
//!
//! ```text
//! run --inputs FILE --outputs FILE [--isa NAME]
//! bench --inputs FILE [--seconds NUMBER] [--threads N] [--json FILE] [--isa NAME] [--pages small|large]
//! rounds --inputs FILE [--isa NAME] [--pages small|large]
//! ```
//!
//! The files hold tensors in the [`container`] format. What is measured has its weights in
//! [large pages](crate::weights::Weights::move_to_large_pages), as far as there are such and unless they shall be small.
//! `bench` also measures the peak of the machine, of as many threads as `--threads` says, which should be those of the model.
//!
//! `rounds` is for whoever measures several programs by turns. It prints `ready` once the model has run. For each line
//! `WARM RUNS` of the standard input it then runs the model `WARM` times, and `RUNS` times with a clock, and prints these
//! times in nanoseconds on one line.

mod bench;
pub mod container;
mod peak;
mod rounds;
#[cfg(test)]
mod tests;

use crate::describe::{AnyValue, Program};
use crate::isa::Level;
use container::Container;
pub use peak::{Arithmetic, peak};
use std::boxed::Box;
use std::collections::BTreeMap;
use std::format;
use std::process::ExitCode;
use std::string::{String, ToString};
use std::vec::Vec;

const USAGE: &str = "usage: run --inputs FILE --outputs FILE [--isa NAME]
       bench --inputs FILE [--seconds NUMBER] [--threads N] [--json FILE] [--isa NAME] [--pages small|large]
       rounds --inputs FILE [--isa NAME] [--pages small|large]";

/// The most threads of which the peak is measured.
const MAX_THREADS: usize = 1024;

/// Makes the model with `new` for the instruction set level that is asked for, or the best one, and does what the
/// arguments of the program say. Errors go to the standard error stream.
pub fn main<P: Program>(new: fn(Level) -> Box<P>) -> ExitCode {
    match drive(new, std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            std::eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn drive<P: Program>(new: fn(Level) -> Box<P>, arguments: impl IntoIterator<Item = String>) -> Result<(), String> {
    let mut arguments = arguments.into_iter();
    let command = arguments.next().ok_or(USAGE)?;
    let known: &[&str] = match command.as_str() {
        "run" => &["--inputs", "--outputs", "--isa"],
        "bench" => &["--inputs", "--seconds", "--threads", "--json", "--isa", "--pages"],
        "rounds" => &["--inputs", "--isa", "--pages"],
        _ => return Err(format!("there is no command `{command}`\n{USAGE}")),
    };
    let mut options = BTreeMap::new();
    while let Some(name) = arguments.next() {
        if !known.contains(&name.as_str()) {
            return Err(format!("`{command}` has no option `{name}`\n{USAGE}"));
        }
        let value = arguments
            .next()
            .ok_or_else(|| format!("option `{name}` needs a value\n{USAGE}"))?;
        options.insert(name, value);
    }
    let required = |name: &str| {
        options
            .get(name)
            .ok_or_else(|| format!("option `{name}` is missing\n{USAGE}"))
    };
    let level = match options.get("--isa") {
        None => Level::detect(),
        Some(name) => level(name)?,
    };
    let inputs = Container::read(required("--inputs")?)?;
    let inputs = inputs.with_texts(P::INPUTS, |number| P::INPUTS[number].name.to_string())?;
    if command == "run" {
        let path = required("--outputs")?;
        let outputs = run(&mut *new(level), &inputs)?;
        return Container::write(path, &outputs);
    }
    let large_page_bytes = match options.get("--pages").map(String::as_str) {
        None | Some("large") => P::weights().move_to_large_pages(),
        Some("small") => 0,
        Some(other) => return Err(format!("there are no `{other}` pages: choose small or large")),
    };
    if command == "rounds" {
        return rounds::rounds(
            &mut *new(level),
            &inputs,
            std::io::stdin().lock(),
            std::io::stdout().lock(),
        );
    }
    let seconds = match options.get("--seconds") {
        None => 1.0,
        Some(text) => text
            .parse::<f64>()
            .ok()
            .filter(|seconds| (0.0..1e6).contains(seconds))
            .ok_or_else(|| format!("`{text}` is no number of seconds: pass one from 0 to 1000000"))?,
    };
    let threads = match options.get("--threads") {
        None => 1,
        Some(text) => text
            .parse()
            .ok()
            .filter(|threads| (1..=MAX_THREADS).contains(threads))
            .ok_or_else(|| format!("`{text}` is no number of threads: pass one from 1 to {MAX_THREADS}"))?,
    };
    let report = bench::bench(new, level, &inputs, seconds, threads, large_page_bytes)?;
    std::println!("{}", report.text());
    match options.get("--json") {
        None => Ok(()),
        Some(path) => std::fs::write(path, report.json()).map_err(|error| format!("{path}: {error}")),
    }
}

fn level(name: &str) -> Result<Level, String> {
    let names = || Level::ALL.map(Level::name).join(", ");
    let level = Level::from_name(name)
        .ok_or_else(|| format!("there is no instruction set `{name}`: choose one of {}", names()))?;
    if level.is_available() {
        Ok(level)
    } else {
        Err(format!(
            "this machine does not have {name}: its best is {}",
            Level::detect().name()
        ))
    }
}

/// The inputs of the model, in order, from the tensors of a container by name.
fn inputs<'a, P: Program>(container: &'a Container) -> Result<Vec<AnyValue<'a>>, String> {
    let find = |name: &str| {
        container.get(name).ok_or_else(|| {
            let names: Vec<&str> = container.iter().map(|(name, _)| name).collect();
            format!("the inputs have no tensor `{name}`: there are `{}`", names.join("`, `"))
        })
    };
    P::INPUTS
        .iter()
        .map(|port| find(port.name).map(AnyValue::Tensor))
        .collect()
}

/// Runs a model on the tensors of a container, which it finds by the names of its inputs; the outputs are named too.
///
/// # Errors
///
/// If an input is missing or the run fails; the text is for people.
pub fn run<P: Program>(model: &mut P, container: &Container) -> Result<Container, String> {
    let mut outputs = Container::default();
    model
        .run_dyn(&inputs::<P>(container)?, &mut |index, value| {
            let name = P::OUTPUTS[index].name;
            match value {
                AnyValue::Tensor(tensor) => outputs.push(name, tensor),
                AnyValue::Sequence(sequence) => {
                    for element in 0..sequence.len() {
                        sequence.with(element, |tensor| outputs.push(&format!("{name}.{element}"), tensor));
                    }
                }
                AnyValue::None => {}
            }
        })
        .map_err(|error| error.to_string())?;
    Ok(outputs)
}
