//! Operators of `ai.onnx.ml`, of strings and of n-grams, against ONNX Runtime and ONNX's reference evaluator.

use onnxide_conformance::suite::Suite;
use onnxide_conformance::{report, run};

#[test]
fn pipelines_compute_what_they_do_elsewhere() {
    let cases = Suite::Ml.load().unwrap();
    let (outcomes, _) = run::run(&cases, &run::Options::new(Suite::Ml.folder())).unwrap();
    let failing = report::failing(&cases, &outcomes);
    assert!(failing.is_empty() && cases.len() == 115, "{failing:#?}");
}
