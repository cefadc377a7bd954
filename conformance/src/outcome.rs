//! What becomes of a case.

use std::fmt;

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

/// What becomes of a case.
pub type Outcome = Result<(), Failure>;
