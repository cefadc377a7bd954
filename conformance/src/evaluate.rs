//! The road of a case up to the text of its module, with the graph evaluated on the way.

use onnxide_codegen::diagnostics::Diagnostics;
use onnxide_codegen::emit::{EmitOptions, WeightsSource, emit};
use onnxide_codegen::frontend::{self, Model};
use onnxide_codegen::import::{self, import};
use onnxide_codegen::ir::eval::evaluate;
use onnxide_codegen::ir::{Graph, Tensor};
use onnxide_codegen::passes;
use onnxide_codegen::plan::Plan;

use crate::compare::{Tolerance, compare};
use crate::outcome::{Failure, Outcome, Stage};
use crate::suite::{Case, MAX_DIM};
use crate::value::tensors;

/// Follows a case up to the text of its module.
///
/// # Errors
///
/// Why the case fails.
pub fn follow(case: &Case) -> Outcome {
    let model = frontend::from_bytes(case.model.clone(), case.name()).map_err(at(Stage::Load))?;
    let mut graph = import(&model, &options(&model)).map_err(at(Stage::Import))?;
    let values = |values: Result<Vec<_>, String>| {
        let values = values.and_then(|values| tensors(&values));
        values.map_err(Failure::at(Stage::Value))
    };
    let (inputs, expected) = (values(case.inputs())?, values(case.outputs())?);
    let check = |graph: &Graph| check(graph, &inputs, &expected, case.tolerance());
    check(&graph).map_err(Failure::at(Stage::Eval))?;
    passes::optimize(&mut graph, &mut |_, _| {});
    check(&graph).map_err(Failure::at(Stage::Passes))?;
    let plan = Plan::new(&graph).map_err(|errors| Failure {
        stage: Stage::Plan,
        text: errors
            .first()
            .map_or_else(String::new, |error| format!("{}: {}", error.operator, error.message)),
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

fn options(model: &Model) -> import::Options {
    let range = 0..=i64::try_from(MAX_DIM).unwrap_or(i64::MAX);
    let names = import::dynamic_dims(model).into_iter();
    import::Options {
        dims: names.map(|name| (name, range.clone())).collect(),
    }
}

fn check(graph: &Graph, inputs: &[Tensor], expected: &[Tensor], tolerance: Tolerance) -> Result<(), String> {
    let outputs = evaluate(graph, inputs)?;
    compare(&outputs, expected, tolerance)
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
