//! Operators of ONNX Runtime, and recurrent layers in every form, compiled and run against it.

use onnxide_conformance::{report, run, suite};

#[test]
fn operators_of_onnx_runtime_give_what_it_gives() {
    let cases = suite::load_contrib().unwrap();
    let (outcomes, _) = run::run(&cases, &run::Options::new("contrib")).unwrap();
    let failing = report::failing(&cases, &outcomes);
    assert!(failing.is_empty() && cases.len() == 203, "{failing:#?}");
}
