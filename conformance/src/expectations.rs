//! The list of what does not pass, with reasons.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use anyhow::{Context, Result, anyhow};

use crate::suite::Suite;

/// The reason of whatever was put into the list without one.
const NO_REASON: &str = "No reason is given yet.";

/// What stands at the head of a list, after which its command follows.
const HEADER: &str = "\
# Runs of the suite that do not pass, below the reason. Those with an `@` are runs with changed parameters. The list is
# brought up to date by `cargo run -p onnxide-conformance -- ";

/// The runs that are expected to fail, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expectations {
    reasons: BTreeMap<String, BTreeSet<String>>,
}

impl Expectations {
    /// The list of a suite.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn read(suite: Suite) -> Result<Self> {
        let Some((name, _)) = suite.expectations() else {
            return Ok(Expectations::default());
        };
        let read = || {
            let text = fs::read_to_string(path(name))?;
            Expectations::parse(&text).map_err(|error| anyhow!(error))
        };
        read().with_context(|| format!("cannot read {}", path(name).display()))
    }

    /// Makes this the list of a suite.
    ///
    /// # Errors
    ///
    /// If it cannot be written, or the suite has no list.
    pub fn write(&self, suite: Suite) -> Result<()> {
        let (name, command) = suite.expectations().context("everything must pass in this suite")?;
        let text = format!("{HEADER}{command}`, which keeps the reasons.\n{self}");
        fs::write(path(name), text).with_context(|| format!("cannot write {}", path(name).display()))
    }

    /// Whether a run is expected to fail.
    pub fn has(&self, run: &str) -> bool {
        self.reasons.values().any(|runs| runs.contains(run))
    }

    /// The list that a text holds: a line for each reason, and below it an indented one for each run.
    ///
    /// # Errors
    ///
    /// If a run stands before the first reason, or twice.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut reasons: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut current = None;
        for line in text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        {
            if !line.starts_with(' ') {
                current = Some(reasons.entry(line.to_owned()).or_default());
                continue;
            }
            let name = line.trim().to_owned();
            let runs = current.as_mut().ok_or_else(|| format!("{name} has no reason"))?;
            if !seen.insert(name.clone()) {
                return Err(format!("{name} is listed twice"));
            }
            runs.insert(name);
        }
        Ok(Expectations { reasons })
    }

    /// What is wrong with the list, given the runs that fail, with what is said about each.
    pub fn check(&self, failing: &BTreeMap<String, String>) -> Vec<String> {
        let expected: BTreeSet<&String> = self.reasons.values().flatten().collect();
        let unexpected = failing.iter().filter(|(name, _)| !expected.contains(name));
        let passing = expected.iter().filter(|name| !failing.contains_key(**name));
        let unexplained = self.reasons.get(NO_REASON).into_iter().flatten();
        let unexplained = unexplained.filter(|name| failing.contains_key(*name));
        let mut problems: Vec<String> = unexpected.map(|(name, text)| format!("{name} fails: {text}")).collect();
        problems.extend(passing.map(|name| format!("{name} passes, or does not exist")));
        problems.extend(unexplained.map(|name| format!("{name} fails, and the list does not say why")));
        problems
    }

    /// Makes this the list of the runs that fail.
    pub fn bless(&mut self, failing: &BTreeMap<String, String>) {
        for runs in self.reasons.values_mut() {
            runs.retain(|name| failing.contains_key(name));
        }
        let expected: BTreeSet<&String> = self.reasons.values().flatten().collect();
        let new: BTreeSet<String> = failing
            .keys()
            .filter(|name| !expected.contains(name))
            .cloned()
            .collect();
        self.reasons.entry(NO_REASON.into()).or_default().extend(new);
        self.reasons.retain(|_, runs| !runs.is_empty());
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

impl fmt::Display for Expectations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (reason, runs) in &self.reasons {
            writeln!(f, "\n{reason}")?;
            for run in runs {
                writeln!(f, "  {run}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\nThe moon is full.\n  a\n  b@2\n\nWater is wet.\n  c\n";

    fn failing(names: &[&str]) -> BTreeMap<String, String> {
        names
            .iter()
            .map(|&name| (name.to_owned(), "run: no".to_owned()))
            .collect()
    }

    #[test]
    fn a_list_is_written_as_it_is_read() {
        let list = Expectations::parse(TEXT).unwrap();
        assert_eq!(list.to_string(), TEXT);
        assert_eq!(Expectations::parse(&list.to_string()), Ok(list));
        assert!(Expectations::parse("  a\n").is_err());
        assert!(Expectations::parse("Why.\n  a\nHow.\n  a\n").is_err());
    }

    #[test]
    fn every_difference_is_a_problem() {
        let list = Expectations::parse(TEXT).unwrap();
        assert_eq!(list.check(&failing(&["a", "b@2", "c"])), Vec::<String>::new());
        assert_eq!(
            list.check(&failing(&["a", "b", "c"])),
            ["b fails: run: no", "b@2 passes, or does not exist"]
        );
    }

    #[test]
    fn blessing_keeps_reasons_and_asks_for_new_ones() {
        let mut list = Expectations::parse(TEXT).unwrap();
        let failing = failing(&["a", "d"]);
        list.bless(&failing);
        assert_eq!(
            list.to_string(),
            format!("\n{NO_REASON}\n  d\n\nThe moon is full.\n  a\n")
        );
        assert_eq!(list.check(&failing), ["d fails, and the list does not say why"]);
    }
}
