//! Operators of `ai.onnx.ml`, of strings and of n-grams, against ONNX Runtime and ONNX's reference evaluator.

use onnxide_conformance::{report, run, suite};

#[test]
fn pipelines_compute_what_they_do_elsewhere() {
    let cases = suite::load_ml().unwrap();
    let (outcomes, _) = run::run(&cases, &run::Options::new("ml")).unwrap();
    let failing = report::failing(&cases, &outcomes);
    assert!(failing.is_empty() && cases.len() == 115, "{failing:#?}");
}
