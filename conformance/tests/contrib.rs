//! Operators of ONNX Runtime, and recurrent layers in every form, compiled and run against it.

use onnxide_conformance::suite::Suite;
use onnxide_conformance::{report, run};

#[test]
fn operators_of_onnx_runtime_give_what_it_gives() {
    let cases = Suite::Contrib.load().unwrap();
    let (outcomes, _) = run::run(&cases, &run::Options::new(Suite::Contrib.folder())).unwrap();
    let failing = report::failing(&cases, &outcomes);
    assert!(failing.is_empty() && cases.len() == 203, "{failing:#?}");
}
