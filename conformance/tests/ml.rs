//! Operators of `ai.onnx.ml`, of strings and of n-grams, against ONNX Runtime and ONNX's reference evaluator.

use onnxide_conformance::evaluate::follow;
use onnxide_conformance::{parallel, suite};

#[test]
fn pipelines_are_evaluated_as_elsewhere() {
    let cases = suite::load_ml().unwrap();
    let outcomes = parallel::map(&cases, follow);
    let mut failing = Vec::new();
    for (case, outcome) in cases.iter().zip(outcomes) {
        match outcome {
            Ok(Ok(runs)) => failing.extend(
                runs.into_iter()
                    .filter_map(Result::err)
                    .map(|failure| format!("{}: {failure}", case.name())),
            ),
            Ok(Err(failure)) => failing.push(format!("{}: {failure}", case.name())),
            Err(panic) => failing.push(format!("{}: {panic}", case.name())),
        }
    }
    assert!(failing.is_empty() && cases.len() == 115, "{}", failing.join("\n"));
}
