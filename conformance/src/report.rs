//! What is said about many cases.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::outcome::{Outcome, Stage};
use crate::suite::Case;

/// Writes a line for each case, unless it passes and only `failing` ones are wanted, and the number of cases that pass:
/// for each operator, or for those with cases that fail, and for all.
///
/// # Errors
///
/// If it cannot be written.
pub fn list(cases: &[Case], outcomes: &[Outcome], failing: bool, out: &mut impl Write) -> io::Result<()> {
    let mut operators: BTreeMap<(&str, &str), Share> = BTreeMap::new();
    let mut stages: BTreeMap<Stage, usize> = BTreeMap::new();
    let mut total = Share::default();
    for (case, outcome) in cases.iter().zip(outcomes) {
        let (name, operator) = (case.name(), &case.entry.operator);
        match outcome {
            Err(failure) => {
                writeln!(out, "{name} [{operator}]: {failure}")?;
                *stages.entry(failure.stage).or_default() += 1;
            }
            Ok(()) if !failing => writeln!(out, "{name} [{operator}]: ok")?,
            Ok(()) => {}
        }
        operators
            .entry((&case.entry.domain, operator))
            .or_default()
            .count(outcome);
        total.count(outcome);
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
    write!(out, "\n{} of {} pass", total.passed, total.all)?;
    for (index, (stage, count)) in stages.iter().enumerate() {
        write!(out, "{} {stage} {count}", if index == 0 { "; failing:" } else { "," })?;
    }
    writeln!(out)
}

/// How many cases pass, of how many.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    passed: usize,
    all: usize,
}

impl Share {
    fn count(&mut self, outcome: &Outcome) {
        self.passed += usize::from(outcome.is_ok());
        self.all += 1;
    }
}
