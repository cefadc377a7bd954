//! Cases as compiled programs.

mod build;
mod child;
mod package;

use std::collections::HashMap;
use std::env;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use crate::compare::compare;
use crate::outcome::{Failure, Outcome, Stage};
use crate::parallel;
use crate::suite::Case;
use crate::value::{pack, tensors, unpack};
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

/// Compiles, builds and runs cases; gives the outcome of each, in order.
///
/// # Errors
///
/// If packages cannot be written, or not be built for another reason than their modules.
pub fn run(cases: &[Case], options: &Options) -> Result<(Vec<Outcome>, Times)> {
    let start = Instant::now();
    let models = options.folder.join("models");
    let mut outcomes: HashMap<&str, Outcome> = HashMap::new();
    let mut modules: Vec<Module<'_>> = Vec::new();
    let compiled = parallel::map(cases, |case| package::compile(case, &models));
    for (case, result) in cases.iter().zip(compiled) {
        match result.unwrap_or_else(|text| Err(Failure::at(Stage::Panic)(text))) {
            Ok(compiled) => modules.push(Module { case, compiled }),
            Err(failure) => drop(outcomes.insert(case.name(), Err(failure))),
        }
    }
    let compile = start.elapsed();

    let compiled = modules.iter().map(|module| (module.case.name(), &module.compiled));
    let workspace = Workspace::write(&options.folder, options.shards, compiled)?;
    let (programs, refused) = build::build(workspace)?;
    let built = start.elapsed();

    let modules: HashMap<&str, Module<'_>> = modules.into_iter().map(|module| (module.case.name(), module)).collect();
    let ran = parallel::map(&programs, |program| {
        let mut child = Child::new(&program.binary, options.isa.as_deref());
        let modules = program.cases.iter().filter_map(|name| modules.get(name.as_str()));
        modules
            .map(|module| (module.case.name(), module.check(&mut child)))
            .collect::<Vec<_>>()
    });
    for results in ran {
        outcomes.extend(results.map_err(|text| anyhow!(text))?);
    }
    for (name, text) in &refused {
        outcomes.insert(name, Err(Failure::at(Stage::Build)(text.clone())));
    }
    let times = Times {
        compile,
        build: built - compile,
        run: start.elapsed() - built,
    };
    let missing = || Err(Failure::at(Stage::Crash)("the case was not run".into()));
    let outcomes = cases
        .iter()
        .map(|case| outcomes.remove(case.name()).unwrap_or_else(missing));
    Ok((outcomes.collect(), times))
}

/// A case whose model compiles.
struct Module<'a> {
    case: &'a Case,
    compiled: Compiled,
}

impl Module<'_> {
    fn check(&self, child: &mut Child) -> Outcome {
        let values = |values: Result<Vec<_>, String>| values.and_then(|values| tensors(&values));
        let (inputs, expected) = (values(self.case.inputs()), values(self.case.outputs()));
        let (inputs, expected) = (
            inputs.map_err(Failure::at(Stage::Value))?,
            expected.map_err(Failure::at(Stage::Value))?,
        );
        let names = self.compiled.inputs.iter().map(String::as_str);
        let inputs = pack(names.zip(&inputs)).map_err(Failure::at(Stage::Value))?;
        match child.ask(self.case.name(), &inputs) {
            Answer::Outputs(outputs) => {
                let outputs = unpack(&outputs).map_err(Failure::at(Stage::Value))?;
                compare(&outputs, &expected, self.case.tolerance()).map_err(Failure::at(Stage::Mismatch))
            }
            Answer::Error(text) => Err(Failure::at(Stage::Run)(text)),
            Answer::Crash(text) => Err(Failure::at(Stage::Crash)(text)),
        }
    }
}
