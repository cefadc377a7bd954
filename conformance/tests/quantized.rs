//! Quantized layers and chains of them, compiled and run against ONNX Runtime.

use onnxide_conformance::compare::Agreement;
use onnxide_conformance::evaluate::follow_all;
use onnxide_conformance::expectations::Expectations;
use onnxide_conformance::outcome::passes;
use onnxide_conformance::suite::Suite;
use onnxide_conformance::{report, run};
use onnxide_runtime::isa::Level;

/// Three of so many cases are built and run. The types, forms and parameters of cases alternate with periods of 2 to 6, which
/// have no factor in common with this.
const OF: usize = 7;

/// Graphs of all cases are evaluated, before and after the passes. Some are built and run at every level of instruction sets
/// as well, or all with the environment variable `CONFORMANCE_ALL`; those that are expected to fail are always among them.
/// With `CONFORMANCE_BLESS` the list of these is brought up to date.
#[test]
fn quantized_layers_give_what_onnx_runtime_gives() {
    let suite = Suite::Quantized;
    let cases = suite.load().unwrap();
    let mut expectations = Expectations::read(suite).unwrap();
    let outcomes = follow_all(&cases);
    println!("{} evaluated: {}", cases.len(), report::agreement(&outcomes));
    let mut failing = report::failing(&cases, &outcomes);

    let all = std::env::var_os("CONFORMANCE_ALL").is_some();
    let mut built = Vec::new();
    for (number, (case, outcomes)) in cases.iter().zip(&outcomes).enumerate() {
        // What is not even evaluated cannot be built.
        if passes(outcomes) && (all || number % OF < 3 || expectations.has(case.name())) {
            built.push(case.clone());
        }
    }
    let mut agreement = Agreement::default();
    for level in Level::ALL.into_iter().filter(|level| level.is_available()) {
        let mut options = run::Options::new(suite.folder());
        options.isa = Some(level.name().to_owned());
        let (outcomes, times) = run::run(&built, &options).unwrap();
        let found = report::agreement(&outcomes);
        println!("{} at level {}: {times}; {found}", built.len(), level.name());
        failing.extend(report::failing(&built, &outcomes));
        agreement = agreement + found;
    }

    if std::env::var_os("CONFORMANCE_BLESS").is_some() {
        expectations.bless(&failing);
        expectations.write(suite).unwrap();
    }
    let problems = expectations.check(&failing);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(cases.len() >= 3000 && built.len() >= 1000);
    // A step away is allowed but rare: two ways of rounding differ only for what lies halfway between two numbers.
    assert!(agreement.near * 10_000 < agreement.exact, "{agreement}");
}
