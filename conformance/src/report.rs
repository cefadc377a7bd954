//! What is said about many cases.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::compare::Agreement;
use crate::outcome::{Outcomes, Stage, failures, label, passes};
use crate::suite::Case;

/// The failing runs, with what is said about each.
pub fn failing(cases: &[Case], outcomes: &[Outcomes]) -> BTreeMap<String, String> {
    let mut failing = BTreeMap::new();
    for (case, outcomes) in cases.iter().zip(outcomes) {
        for (run, failure) in failures(outcomes) {
            failing.insert(label(case.name(), run), failure.to_string());
        }
    }
    failing
}

/// How well the integers agree that may be some steps from the expected ones.
pub fn agreement(outcomes: &[Outcomes]) -> Agreement {
    let runs = outcomes.iter().flatten().flatten().flatten();
    runs.fold(Agreement::default(), |sum, run| sum + *run)
}

/// Writes a line for each case, unless it passes and only `failing` ones are wanted, and the number of cases that pass:
/// for each operator, or for those with cases that fail, and for all.
///
/// # Errors
///
/// If it cannot be written.
pub fn list(cases: &[Case], outcomes: &[Outcomes], failing: bool, out: &mut impl Write) -> io::Result<()> {
    let mut operators: BTreeMap<(&str, &str), Share> = BTreeMap::new();
    let mut stages: BTreeMap<Stage, usize> = BTreeMap::new();
    let mut total = Share::default();
    for (case, outcomes) in cases.iter().zip(outcomes) {
        let operator = &case.entry.operator;
        let failures = failures(outcomes);
        if failures.is_empty() && !failing {
            writeln!(out, "{} [{operator}]: ok", case.name())?;
        }
        for (run, failure) in failures {
            writeln!(out, "{} [{operator}]: {failure}", label(case.name(), run))?;
            *stages.entry(failure.stage).or_default() += 1;
        }
        let share = operators.entry((&case.entry.domain, operator)).or_default();
        share.count(passes(outcomes));
        total.count(passes(outcomes));
    }
    writeln!(out)?;
    for ((domain, operator), share) in operators {
        if share.passed < share.all || !failing {
            let domain = if domain == "ai.onnx" {
                String::new()
            } else {
                format!("{domain}.")
            };
            writeln!(out, "{:>5} of {:>3} {domain}{operator}", share.passed, share.all)?;
        }
    }
    let (runs, agreement) = (runs(cases, outcomes), agreement(outcomes));
    write!(out, "\n{total} cases pass")?;
    if runs.changed.all > 0 {
        write!(out, ", and {} runs with changed parameters", runs.changed)?;
    }
    if agreement != Agreement::default() {
        write!(out, ", with {agreement}")?;
    }
    for (index, (stage, count)) in stages.iter().enumerate() {
        write!(out, "{} {stage} {count}", if index == 0 { "; failing:" } else { "," })?;
    }
    writeln!(out)
}

/// The counts as a table in Markdown.
pub fn table(cases: &[Case], outcomes: &[Outcomes]) -> String {
    let mut rows = vec![row("all", cases, outcomes, &|_| true)];
    for tier in ["T1", "T2", "T3", "T4", "T5"] {
        rows.push(row(tier, cases, outcomes, &|case| case.entry.tier == tier));
    }
    for types in ["main", "half", "exotic", "string"] {
        rows.push(row(types, cases, outcomes, &|case| case.entry.types == types));
    }
    let runs = runs(cases, outcomes);
    format!(
        "| | node cases | their expanded twins | model cases |\n| --- | --- | --- | --- |\n{}\n\nRuns with changed parameters: \
         {} give the right outputs, {} that ask for more than there is room for are refused.\n",
        rows.join("\n"),
        runs.outputs,
        runs.refused
    )
}

fn row(name: &str, cases: &[Case], outcomes: &[Outcomes], has: &dyn Fn(&Case) -> bool) -> String {
    let mut shares = [Share::default(); 3];
    for (case, outcomes) in cases.iter().zip(outcomes).filter(|(case, _)| has(case)) {
        let column = match (case.entry.is_node(), &case.entry.expanded_of) {
            (true, None) => 0,
            (true, Some(_)) => 1,
            (false, _) => 2,
        };
        shares[column].count(passes(outcomes));
    }
    format!("| {name} | {} | {} | {} |", shares[0], shares[1], shares[2])
}

/// The runs with changed parameters.
#[derive(Default)]
struct Runs {
    changed: Share,
    /// Those that give outputs.
    outputs: Share,
    /// Those that are to be refused.
    refused: Share,
}

fn runs(cases: &[Case], outcomes: &[Outcomes]) -> Runs {
    let mut runs = Runs::default();
    for (case, outcomes) in cases.iter().zip(outcomes) {
        for (number, run) in case.runs.iter().enumerate().skip(1) {
            let passed = outcomes
                .as_ref()
                .is_ok_and(|runs| matches!(runs.get(number), Some(Ok(_))));
            runs.changed.count(passed);
            let kind = if run.is_refused() {
                &mut runs.refused
            } else {
                &mut runs.outputs
            };
            kind.count(passed);
        }
    }
    runs
}

/// How many pass, of how many.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    passed: usize,
    all: usize,
}

impl Share {
    fn count(&mut self, passed: bool) {
        self.passed += usize::from(passed);
        self.all += 1;
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.passed, self.all)
    }
}
