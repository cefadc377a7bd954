//! Comments: where steps come from, and sizes for people.

use super::text::{WIDTH, Writer};
use crate::plan::Step;

/// Nodes named before the rest is counted.
const NODES: usize = 4;

/// The documentation of a function: what it computes, for which nodes of the model.
pub(super) fn function_doc(writer: &mut Writer, step: &Step, uses: usize) {
    let results: Vec<String> = step.results.iter().map(|ty| format!("`{ty}`")).collect();
    let mut text = join(&results);
    if !step.origin.is_empty() {
        if !text.is_empty() {
            text.push_str(" of ");
        }
        text.push_str(&nodes(&step.origin));
    }
    if uses > 1 {
        text.push_str(&format!("; {uses} steps call it"));
    }
    text.push('.');
    writer.comment("///", &text);
}

/// A line that names the nodes of a step.
pub(super) fn step_comment(writer: &mut Writer, step: &Step) {
    if step.origin.is_empty() {
        return;
    }
    let mut shown = step.origin.len().min(NODES);
    loop {
        let mut line = step.origin[..shown].join(", ");
        if shown < step.origin.len() {
            line.push_str(&format!(" and {} more", step.origin.len() - shown));
        }
        if shown == 1 || line.chars().count() <= WIDTH - 12 {
            writer.line(format!("// {}", line.replace(['\n', '\r'], " ")));
            return;
        }
        shown -= 1;
    }
}

fn nodes(origin: &[String]) -> String {
    let mut names: Vec<String> = origin.iter().take(NODES).map(|name| format!("`{name}`")).collect();
    if origin.len() > NODES {
        names.push(format!("{} more", origin.len() - NODES));
    }
    join(&names).replace(['\n', '\r'], " ")
}

fn join(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// A number of bytes for people.
pub(super) fn bytes(count: usize) -> String {
    let count_f = count as f64;
    match count {
        0..10_240 => format!("{count} bytes"),
        10_240..10_485_760 => format!("{:.1} KiB", count_f / 1024.0),
        _ => format!("{:.1} MiB", count_f / 1_048_576.0),
    }
}

/// A large number for people.
pub(super) fn count(number: u64) -> String {
    let value = number as f64;
    match number {
        0..10_000 => number.to_string(),
        10_000..10_000_000 => format!("{:.1} thousand", value / 1e3),
        10_000_000..10_000_000_000 => format!("{:.1} million", value / 1e6),
        _ => format!("{:.1} billion", value / 1e9),
    }
}
