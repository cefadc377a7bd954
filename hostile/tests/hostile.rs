//! Some mutated models, and those that once went wrong.

use onnxide_hostile::build;
use onnxide_hostile::drive::{Models, Report, drive};
use onnxide_hostile::seeds::files;
use std::path::{Path, PathBuf};

/// How many mutated models are compiled; `hostile run` compiles more.
const COUNT: u64 = 1500;

/// How many of the modules that come out are built.
const MODULES: usize = 24;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn compile(models: &Models, folder: &Path) -> Report {
    drive(Path::new(env!("CARGO_BIN_EXE_onnxide-hostile")), models, folder).unwrap()
}

#[test]
fn mutated_models_are_refused_or_become_modules() {
    let folder = folder("mutated");
    let report = compile(&Models::Mutated { first: 0, end: COUNT }, &folder);
    assert_eq!(report.findings, []);
    assert_eq!(report.refused + report.compiled.len(), COUNT as usize);
    // Mutations are of use only if some are noticed by no check.
    assert!(report.compiled.len() > COUNT as usize / 10, "{}", report.compiled.len());
    let errors = build::build(&report.compiled, MODULES, &folder).unwrap();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}

#[test]
fn what_went_wrong_does_not_go_wrong_again() {
    let folder = folder("findings");
    let found = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("findings")).unwrap();
    let count = found.len();
    let report = compile(&Models::Files(found.clone()), &folder);
    let name = |number: u64| found[number as usize].display().to_string();
    let wrong: Vec<_> = report
        .findings
        .iter()
        .map(|finding| (name(finding.number), &finding.what))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(report.refused + report.compiled.len(), count);
    let errors = build::build(&report.compiled, count, &folder).unwrap();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}
