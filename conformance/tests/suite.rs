//! Every case of the suite, compiled, built and run.

use onnxide_conformance::expectations::Expectations;
use onnxide_conformance::suite::Suite;
use onnxide_conformance::{report, run};

/// What fails must be what `expectations.txt` says. With the environment variable `CONFORMANCE_BLESS` the file is brought
/// up to date; only its reasons are left to be written.
#[test]
fn the_suite_is_as_expected() {
    let cases = Suite::Official.load().unwrap();
    let (outcomes, times) = run::run(&cases, &run::Options::new(Suite::Official.folder())).unwrap();
    println!("{}{times}", report::table(&cases, &outcomes));
    let failing = report::failing(&cases, &outcomes);
    let mut expectations = Expectations::read(Suite::Official).unwrap();
    if std::env::var_os("CONFORMANCE_BLESS").is_some() {
        expectations.bless(&failing);
        expectations.write(Suite::Official).unwrap();
    }
    let problems = expectations.check(&failing);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
