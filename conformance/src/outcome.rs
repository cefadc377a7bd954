//! What becomes of a case.

use std::fmt;

use crate::compare::Agreement;

/// The stage at which a case fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The front end refuses the model.
    Load,
    /// The importer refuses the model.
    Import,
    /// The inputs or outputs are of a kind that cannot be represented.
    Value,
    /// The graph cannot be evaluated, or its outputs are not the expected ones.
    Eval,
    /// As `Eval`, but only once the graph is optimized.
    Passes,
    /// The graph has no plan.
    Plan,
    /// The compiler refuses the model.
    Compile,
    /// The Rust compiler refuses the module.
    Build,
    /// The module gives an error.
    Run,
    /// The module panics, ends its process or does not return.
    Crash,
    /// The outputs of the module are not the expected ones.
    Mismatch,
    /// The compiler panics.
    Panic,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Stage::Load => "load",
            Stage::Import => "import",
            Stage::Value => "value",
            Stage::Eval => "eval",
            Stage::Passes => "passes",
            Stage::Plan => "plan",
            Stage::Compile => "compile",
            Stage::Build => "build",
            Stage::Run => "run",
            Stage::Crash => "crash",
            Stage::Mismatch => "mismatch",
            Stage::Panic => "panic",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a case fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where it fails.
    pub stage: Stage,
    /// What is said about it.
    pub text: String,
}

impl Failure {
    /// A failure at a stage.
    pub fn at(stage: Stage) -> impl FnOnce(String) -> Failure {
        move |text| Failure { stage, text }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.stage, self.text.replace('\n', " "))
    }
}

/// What becomes of a run.
pub type Outcome = Result<Agreement, Failure>;

/// What becomes of a case: of each of its runs, or why there is none.
pub type Outcomes = Result<Vec<Outcome>, Failure>;

/// Whether a case passes, by the run of the suite.
pub fn passes(outcomes: &Outcomes) -> bool {
    outcomes.as_ref().is_ok_and(|runs| matches!(runs.first(), Some(Ok(_))))
}

/// The failing runs of a case, by their numbers. Further runs of a case that does not pass are not worth a word.
pub fn failures(outcomes: &Outcomes) -> Vec<(usize, &Failure)> {
    let runs = match outcomes {
        Err(failure) => return vec![(0, failure)],
        Ok(runs) => runs,
    };
    let failing = runs.iter().enumerate();
    let mut failing: Vec<_> = failing
        .filter_map(|(run, outcome)| Some((run, outcome.as_ref().err()?)))
        .collect();
    if failing.first().is_some_and(|(run, _)| *run == 0) {
        failing.truncate(1);
    }
    failing
}

/// What a run of a case is called: the run of the suite as the case, and the others with their number.
pub fn label(case: &str, run: usize) -> String {
    if run == 0 {
        case.to_owned()
    } else {
        format!("{case}@{run}")
    }
}
