//! `onnxide bench --tune`: what a plan could have decided otherwise, measured.
//!
//! There is a program for each choice that takes it wherever it can be taken. Their steps are compared with those of the
//! default, and a last program takes each choice where it was faster. It is measured against the default as well: steps
//! leave things in the caches for each other, so that the sum of what is fastest need not be.

mod compare;

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use onnxide_codegen::Compiler;
use onnxide_codegen::compiler::TuningFile;
use onnxide_codegen::plan::{Choice, Tuning};

use crate::args::Bench;
use crate::program::{Measured, Program};
use crate::term::{self, BOLD, DIM};
use crate::{Outcome, bench};
use compare::{Gain, Profile, best, gains};
use onnxide_codegen::npz::Array;

/// How many times each program is measured, by turns.
const ROUNDS: u32 = 5;

/// What a model must gain to be tuned, as a part of its time.
const GAIN: f64 = 0.01;

pub(crate) fn tune(args: &Bench, file: &Path) -> Result<Outcome> {
    refuse_foreign(file)?;
    let (compiler, inputs) = bench::prepare(args)?;
    let tuner = Tuner { args, compiler, inputs };
    let default = tuner.build(Tuning::default(), true)?;
    let model = default.report.model_hash.clone();
    let mut choices: Vec<Choice> = Vec::new();
    for &other in default.report.decisions.iter().flat_map(|decision| &decision.others) {
        if !choices.contains(&other) {
            choices.push(other);
        }
    }
    let (found, isa) = tuner.compare(default, &choices)?;
    let mut out = anstream::stdout();
    print(&found, &mut out)?;
    let (tuning, result) = tuner.together(&found, &choices)?;
    writeln!(out, "{result}")?;
    let written = TuningFile {
        model,
        notes: vec![tuner.circumstances(&isa), result],
        tuning,
    };
    fs::write(file, written.to_string()).with_context(|| format!("cannot write {}", file.display()))?;
    writeln!(
        out,
        "{BOLD}{}{BOLD:#} is for the option --tuning of all commands",
        file.display()
    )?;
    Ok(Outcome::Success)
}

/// A model that is tuned, and what it runs on.
struct Tuner<'a> {
    args: &'a Bench,
    compiler: Compiler,
    inputs: Vec<(String, Array)>,
}

impl Tuner<'_> {
    fn build(&self, tuning: Tuning, profile: bool) -> Result<Program> {
        let compiler = self.compiler.clone().profile(profile).choices(tuning);
        Program::build(compiler, &self.args.run.operators_from)
    }

    /// What is gained by each of these choices, and the instruction set that was measured.
    fn compare(&self, default: Program, choices: &[Choice]) -> Result<(Vec<Gain>, String)> {
        let mut programs = vec![default];
        for (choice, number) in choices.iter().zip(1..) {
            progress(&format!("{number} of {}: building with {choice}", choices.len()));
            let every = Some(*choice);
            programs.push(self.build(
                Tuning {
                    every,
                    ..Tuning::default()
                },
                true,
            )?);
        }
        let mut times: Vec<Vec<u64>> = programs
            .iter()
            .map(|program| vec![u64::MAX; program.report.steps.len()])
            .collect();
        let mut isa = String::new();
        for round in 1..=ROUNDS {
            progress(&format!(
                "round {round} of {ROUNDS}: measuring {} programs",
                programs.len()
            ));
            for (program, times) in programs.iter().zip(&mut times) {
                let measured = self.measure(program)?;
                for (least, step) in times.iter_mut().zip(&measured.steps) {
                    *least = (*least).min(step.ns);
                }
                isa = measured.isa;
            }
        }
        let profiles: Vec<Profile<'_>> = programs
            .iter()
            .zip(&times)
            .map(|(program, times)| Profile {
                report: &program.report,
                times,
            })
            .collect();
        let others = choices.iter().zip(&profiles[1..]);
        let found = others.flat_map(|(&choice, other)| gains(choice, &profiles[0], other));
        Ok((best(found.collect()), isa))
    }

    /// The choices of all gains, if they are faster together, and what people are told about it.
    fn together(&self, found: &[Gain], choices: &[Choice]) -> Result<(Tuning, String)> {
        let mut tuning = Tuning::default();
        for gain in found {
            for node in gain.nodes.iter().filter(|node| TuningFile::can_name(node)) {
                tuning.choose(node, gain.choice);
            }
        }
        if tuning.nodes.is_empty() {
            let tried: Vec<String> = choices.iter().map(ToString::to_string).collect();
            let result = match tried.as_slice() {
                [] => "there is nothing to choose in this model".to_owned(),
                tried => format!("nothing is faster than the default; tried: {}", tried.join(", ")),
            };
            return Ok((tuning, result));
        }
        progress("building with all of these");
        let pair = [
            self.build(Tuning::default(), false)?,
            self.build(tuning.clone(), false)?,
        ];
        let mut times = [f64::INFINITY; 2];
        for round in 1..=ROUNDS {
            progress(&format!("round {round} of {ROUNDS}: measuring 2 programs"));
            for (program, least) in pair.iter().zip(&mut times) {
                *least = least.min(self.measure(program)?.median_ns as f64 / 1e9);
            }
        }
        let [before, after] = times;
        let figures = format!("{} instead of {}", term::seconds(after), term::seconds(before));
        Ok(match after < before * (1.0 - GAIN) {
            true => (tuning, figures),
            false => (
                Tuning::default(),
                format!("the default stays: together these are not faster, {figures}"),
            ),
        })
    }

    fn measure(&self, program: &Program) -> Result<Measured> {
        program.bench(&self.inputs, self.args.seconds / f64::from(ROUNDS), self.args)
    }

    /// What was measured, for people.
    fn circumstances(&self, isa: &str) -> String {
        let mut text = format!(
            "onnxide {}, {isa}, threads: {}",
            env!("CARGO_PKG_VERSION"),
            self.args.model.threads
        );
        for dim in &self.args.model.dims {
            text += &format!(", {}: {}", dim.name, dim.range);
        }
        text
    }
}

/// Fails if the file exists and is not what this command has written before, or cannot be written: measuring takes long.
fn refuse_foreign(file: &Path) -> Result<()> {
    let marker = format!("{}\n", TuningFile::MARKER);
    let mut start = Vec::new();
    let read = fs::File::open(file).and_then(|file| file.take(marker.len() as u64).read_to_end(&mut start));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let created = fs::File::create_new(file).and_then(|_| fs::remove_file(file));
            return created.with_context(|| format!("cannot write {}", file.display()));
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
    if start != marker.as_bytes() {
        bail!("{} exists and is no tuning file; choose another name", file.display());
    }
    Ok(())
}

/// Says what is being done, on a terminal or not: it takes long.
fn progress(message: &str) {
    // Nobody is there to be told.
    let _ = writeln!(anstream::stderr(), "{DIM}{message}{DIM:#}");
}

fn print(found: &[Gain], out: &mut impl Write) -> io::Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "{BOLD}{:>9}  {:>9}  {:>6}  choice{BOLD:#}",
        "before", "after", "gain"
    )?;
    for gain in found {
        let [before, after] = [gain.before, gain.after].map(|ns| ns as f64 / 1e9);
        let more = match gain.nodes.len() {
            0 | 1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        writeln!(
            out,
            "{:>9}  {:>9}  {:>6}  {} {DIM}{}{more}{DIM:#}",
            term::seconds(before),
            term::seconds(after),
            format!("{:.0} %", 100.0 * (before - after) / before),
            gain.choice,
            gain.nodes.first().map_or("", String::as_str),
        )?;
    }
    writeln!(out)
}
