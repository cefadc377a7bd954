//! The road of a case up to the text of its module, with the graph evaluated on the way.

use std::fmt;

use onnxide_codegen::diagnostics::Diagnostics;
use onnxide_codegen::emit::{EmitOptions, WeightsSource, emit};
use onnxide_codegen::frontend::{self, Model};
use onnxide_codegen::import::{self, import};
use onnxide_codegen::ir::eval::evaluate;
use onnxide_codegen::ir::{Graph, Tensor};
use onnxide_codegen::passes;
use onnxide_codegen::plan::Plan;

use crate::compare::{Tolerance, compare};
use crate::suite::Case;
use crate::value::tensors;

/// The largest size of a dimension that a model leaves open.
pub const MAX_DIM: usize = 16;

/// What has become of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The outputs are the expected ones.
    Ok,
    /// The front end refuses the model.
    Load(String),
    /// The importer refuses the model.
    Import(String),
    /// The inputs or outputs are of a kind that cannot be represented.
    Value(String),
    /// The graph cannot be evaluated.
    Eval(String),
    /// The outputs are not the expected ones.
    Mismatch(String),
    /// As `Eval` or `Mismatch`, and only once the graph is optimized.
    Passes(String),
    /// The graph has no plan.
    Plan(String),
    /// The compiler has panicked.
    Panic(String),
}

impl Outcome {
    /// The stage at which the case has failed; `ok` if it has not.
    pub fn stage(&self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Load(_) => "load",
            Outcome::Import(_) => "import",
            Outcome::Value(_) => "value",
            Outcome::Eval(_) => "eval",
            Outcome::Mismatch(_) => "mismatch",
            Outcome::Passes(_) => "passes",
            Outcome::Plan(_) => "plan",
            Outcome::Panic(_) => "panic",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Ok => f.write_str("ok"),
            Outcome::Load(text)
            | Outcome::Import(text)
            | Outcome::Value(text)
            | Outcome::Eval(text)
            | Outcome::Mismatch(text)
            | Outcome::Passes(text)
            | Outcome::Plan(text)
            | Outcome::Panic(text) => write!(f, "{}: {}", self.stage(), text.replace('\n', " ")),
        }
    }
}

/// Follows a case up to the text of its module.
pub fn follow(case: &Case) -> Outcome {
    try_follow(case).err().unwrap_or(Outcome::Ok)
}

fn try_follow(case: &Case) -> Result<(), Outcome> {
    let model = frontend::from_bytes(case.model.clone(), case.name()).map_err(|found| Outcome::Load(first(&found)))?;
    let mut graph = import(&model, &options(&model)).map_err(|found| Outcome::Import(first(&found)))?;
    let values = |values: Result<Vec<_>, String>| values.and_then(|values| tensors(&values)).map_err(Outcome::Value);
    let (inputs, expected) = (values(case.inputs())?, values(case.outputs())?);
    let check = |graph: &Graph| check(graph, &inputs, &expected, tolerance(case));
    check(&graph)?;
    passes::optimize(&mut graph, &mut |_, _| {});
    check(&graph).map_err(|outcome| Outcome::Passes(outcome.to_string()))?;
    let plan = Plan::new(&graph).map_err(|errors| {
        let text = errors
            .first()
            .map(|error| format!("{}: {}", error.operator, error.message));
        Outcome::Plan(text.unwrap_or_default())
    })?;
    let options = EmitOptions {
        runtime: "onnxide_runtime".into(),
        header: Vec::new(),
        weights: WeightsSource::Include(String::new()),
        program: true,
        profile: false,
    };
    emit(&plan, &options);
    Ok(())
}

/// The tolerance of a case.
pub fn tolerance(case: &Case) -> Tolerance {
    Tolerance {
        relative: case.entry.rtol,
        absolute: case.entry.atol,
    }
}

/// The options of every case: a dimension that the model leaves open may have any size up to [`MAX_DIM`].
fn options(model: &Model) -> import::Options {
    let range = 0..=i64::try_from(MAX_DIM).unwrap_or(i64::MAX);
    let dims = import::dynamic_dims(model)
        .into_iter()
        .map(|name| (name, range.clone()));
    import::Options { dims: dims.collect() }
}

fn check(graph: &Graph, inputs: &[Tensor], expected: &[Tensor], tolerance: Tolerance) -> Result<(), Outcome> {
    let outputs = evaluate(graph, inputs).map_err(Outcome::Eval)?;
    compare(&outputs, expected, tolerance).map_err(Outcome::Mismatch)
}

/// The first finding, with the operator.
fn first(found: &Diagnostics) -> String {
    let text = found.iter().next().map(|finding| match &finding.operator {
        Some(operator) => format!("{operator}: {}", finding.message),
        None => finding.message.clone(),
    });
    text.unwrap_or_default()
}
