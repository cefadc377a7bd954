//! Operators of `ai.onnx.ml`, of strings and of n-grams, against ONNX Runtime and ONNX's reference evaluator.

use onnxide_conformance::evaluate::{Outcome, follow};
use onnxide_conformance::{parallel, suite};

#[test]
fn pipelines_are_evaluated_as_elsewhere() {
    let cases = suite::load_ml().unwrap();
    let outcomes = parallel::map(&cases, follow);
    let failing: Vec<_> = cases
        .iter()
        .zip(outcomes)
        .map(|(case, outcome)| (case, outcome.unwrap_or_else(Outcome::Panic)))
        .filter(|(_, outcome)| *outcome != Outcome::Ok)
        .map(|(case, outcome)| format!("{}: {outcome}", case.name()))
        .collect();
    assert!(failing.is_empty() && cases.len() == 115, "{}", failing.join("\n"));
}
