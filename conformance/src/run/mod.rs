//! Cases as compiled programs.

mod build;
mod child;
mod package;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fmt};

use anyhow::{Result, anyhow};

use crate::outcome::{Failure, Outcome, Outcomes, Stage};
use crate::parallel;
use crate::suite::{self, Case};
use crate::value::{pack, unpack};
use child::{Answer, Child};
use package::{Compiled, Workspace};

/// How cases are run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder for the packages and what becomes of them.
    pub folder: PathBuf,
    /// The number of packages.
    pub shards: usize,
    /// The instruction set level that models run at; the best one of the machine by default.
    pub isa: Option<String>,
}

impl Options {
    /// All cases at the best instruction set level, in a folder of this name below the one that Cargo builds in.
    pub fn new(name: &str) -> Self {
        let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"));
        Options {
            folder: target.join(name),
            shards: 16,
            isa: None,
        }
    }
}

/// How long the parts of a run take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// To compile the models.
    pub compile: Duration,
    /// To build the packages.
    pub build: Duration,
    /// To run the models.
    pub run: Duration,
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [compile, build, run] = [self.compile, self.build, self.run].map(|time| time.as_secs_f64());
        write!(
            f,
            "compiled in {compile:.1} s, built in {build:.1} s, run in {run:.1} s"
        )
    }
}

/// Compiles, builds and runs cases; gives what becomes of each, in order.
///
/// # Errors
///
/// If packages cannot be written, or not be built for another reason than their modules.
pub fn run(cases: &[Case], options: &Options) -> Result<(Vec<Outcomes>, Times)> {
    let start = Instant::now();
    let models = options.folder.join("models");
    let mut outcomes: HashMap<&str, Outcomes> = HashMap::new();
    let mut compiled: Vec<(&str, Compiled)> = Vec::new();
    for (case, result) in cases
        .iter()
        .zip(parallel::map(cases, |case| package::compile(case, &models)))
    {
        match result.unwrap_or_else(|text| Err(Failure::at(Stage::Panic)(text))) {
            Ok(module) => compiled.push((case.name(), module)),
            Err(failure) => drop(outcomes.insert(case.name(), Err(failure))),
        }
    }
    let compile = start.elapsed();

    let workspace = Workspace::write(&options.folder, options.shards, &compiled)?;
    drop(compiled);
    let (programs, refused) = build::build(workspace)?;
    for (name, text) in &refused {
        outcomes.insert(name, Err(Failure::at(Stage::Build)(text.clone())));
    }
    let build = start.elapsed();

    let by_name: HashMap<&str, &Case> = cases.iter().map(|case| (case.name(), case)).collect();
    let ran = parallel::map(&programs, |program| {
        let mut child = Child::new(&program.binary, options.isa.as_deref());
        let cases = program.cases.iter().filter_map(|name| by_name.get(name.as_str()));
        cases
            .map(|case| {
                let runs = case.runs.iter().map(|run| check(case, run, &mut child));
                (case.name(), Ok(runs.collect()))
            })
            .collect::<Vec<_>>()
    });
    for results in ran {
        outcomes.extend(results.map_err(|text| anyhow!(text))?);
    }
    let times = Times {
        compile,
        build: build - compile,
        run: start.elapsed() - build,
    };
    let missing = || Err(Failure::at(Stage::Crash)("the case was not run".into()));
    let outcomes = cases
        .iter()
        .map(|case| outcomes.remove(case.name()).unwrap_or_else(missing));
    Ok((outcomes.collect(), times))
}

/// Runs a case once.
fn check(case: &Case, run: &suite::Run, child: &mut Child) -> Outcome {
    let inputs = run
        .inputs()
        .and_then(|inputs| pack(&inputs))
        .map_err(Failure::at(Stage::Value))?;
    let expected = run.expected().map_err(Failure::at(Stage::Value))?;
    let count = case.outputs();
    match child.ask(case.name(), &inputs) {
        Answer::Outputs(outputs) => {
            let outputs = unpack(&outputs, count).map_err(Failure::at(Stage::Value))?;
            run.check(Ok(outputs), &expected).map_err(Failure::at(Stage::Mismatch))
        }
        Answer::Error(text) => run.check(Err(text), &expected).map_err(Failure::at(Stage::Run)),
        Answer::Crash(text) => Err(Failure::at(Stage::Crash)(text)),
    }
}
