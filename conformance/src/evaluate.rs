//! The road of a case up to the text of its module, with the graph evaluated on the way.

use onnxide_codegen::diagnostics::Diagnostics;
use onnxide_codegen::emit::{EmitOptions, WeightsSource, emit};
use onnxide_codegen::frontend::{self, Model};
use onnxide_codegen::import::{self, import};
use onnxide_codegen::ir::Graph;
use onnxide_codegen::ir::eval::evaluate;
use onnxide_codegen::passes;
use onnxide_codegen::plan::Plan;

use crate::compare::Agreement;
use crate::outcome::{Failure, Outcomes, Stage, passes};
use crate::suite::{Case, Expected, Run};
use crate::value::Value;
use crate::{parallel, parts};

/// What becomes of cases up to the text of their modules, in order.
pub fn follow_all(cases: &[Case]) -> Vec<Outcomes> {
    let outcomes = parallel::map(cases, follow).into_iter();
    outcomes
        .map(|outcome| outcome.unwrap_or_else(|text| Err(Failure::at(Stage::Panic)(text))))
        .collect()
}

/// Follows a case up to the text of its module.
///
/// # Errors
///
/// Why the case fails.
pub fn follow(case: &Case) -> Outcomes {
    let model = frontend::from_bytes(case.model.clone(), case.name()).map_err(at(Stage::Load))?;
    let mut graph = import(&model, &options(&model, case.max_dim())).map_err(at(Stage::Import))?;
    let unoptimized = graph.clone();
    passes::optimize(&mut graph, &mut |_, _| {});
    let follow = |run: &Run| {
        let inputs = run.inputs().map_err(Failure::at(Stage::Value))?;
        let expected = run.expected().map_err(Failure::at(Stage::Value))?;
        let check = |graph: &Graph| check(graph, &inputs, run, &expected);
        check(&unoptimized).map_err(Failure::at(Stage::Eval))?;
        check(&graph).map_err(Failure::at(Stage::Passes))
    };
    let outcomes = Ok(case.runs.iter().map(follow).collect());
    if passes(&outcomes) {
        plan(&graph).map_err(Failure::at(Stage::Plan))?;
    }
    outcomes
}

/// Plans a graph and prints the module to nowhere.
fn plan(graph: &Graph) -> Result<(), String> {
    let plan = Plan::new(graph).map_err(|errors| {
        let first = errors.first();
        first.map_or_else(String::new, |error| format!("{}: {}", error.operator, error.message))
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

fn options(model: &Model, max: usize) -> import::Options {
    let range = 0..=i64::try_from(max).unwrap_or(i64::MAX);
    let names = import::dynamic_dims(model).into_iter().chain(import::open_sizes(model));
    import::Options {
        dims: names.map(|name| (name, range.clone())).collect(),
        ..import::Options::default()
    }
}

fn check(graph: &Graph, inputs: &[Value], run: &Run, expected: &Expected) -> Result<Agreement, String> {
    let outputs = parts::split(graph, inputs).and_then(|inputs| evaluate(graph, &inputs));
    let outputs = outputs.and_then(|outputs| parts::join(graph, &outputs));
    run.check(outputs, expected)
}

fn at(stage: Stage) -> impl FnOnce(Diagnostics) -> Failure {
    move |found| Failure {
        stage,
        text: first(&found),
    }
}

/// The first finding, with the operator.
pub fn first(found: &Diagnostics) -> String {
    let text = found.iter().next().map(|finding| match &finding.operator {
        Some(operator) => format!("{operator}: {}", finding.message),
        None => finding.message.clone(),
    });
    text.unwrap_or_default()
}
