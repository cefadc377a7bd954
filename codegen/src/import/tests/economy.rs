//! How much an operator costs: one short rule.

use std::fs;
use std::path::{Path, PathBuf};

/// The files of a folder and those below it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the rules are readable") {
        let path = entry.expect("an entry of the rules").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The lines of a text that are code, and the rules that it registers: `(DOMAIN, "Name", rule)`.
fn measure(text: &str) -> (usize, usize) {
    let code = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
    let lines = text.lines().filter(code).count();
    let words: Vec<&str> = text.split_whitespace().collect();
    let registers = |pair: &&[&str]| {
        let domain = pair[0].trim_start_matches(['(', '[', '&']).trim_end_matches(',');
        let is_domain = pair[0].contains('(') && pair[0].ends_with(',') && domain.len() > 1;
        let in_capitals = domain.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        is_domain && in_capitals && pair[1].starts_with('"') && pair[1].ends_with("\",")
    };
    (lines, words.windows(2).filter(registers).count())
}

/// The lines of a family are shared by its operators, so that each costs their mean; the median is over operators.
#[test]
fn the_median_operator_takes_less_than_30_lines() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/import/rules");
    let mut families: Vec<(String, usize, usize)> = Vec::new();
    for file in files(&folder) {
        let below = file.strip_prefix(&folder).expect("a file of the folder");
        let name = below.components().next().expect("a name").as_os_str().to_string_lossy();
        let name = name.trim_end_matches(".rs").to_owned();
        if name == "mod" {
            continue;
        }
        let (lines, rules) = measure(&fs::read_to_string(&file).expect("a rule is readable"));
        match families.iter_mut().find(|family| family.0 == name) {
            Some(family) => *family = (name, family.1 + lines, family.2 + rules),
            None => families.push((name, lines, rules)),
        }
    }
    let mut costs: Vec<usize> = Vec::new();
    for (name, lines, rules) in &families {
        println!("{name}: {rules} operators in {lines} lines");
        costs.extend(std::iter::repeat_n(lines / (*rules).max(1), *rules));
    }
    costs.sort_unstable();
    assert_eq!(
        costs.len(),
        super::super::rules::operators().count(),
        "every rule is counted"
    );
    let median = costs[costs.len() / 2];
    println!("{} operators, the median takes {median} lines", costs.len());
    assert!(median < 30, "the median operator takes {median} lines");
}
