//! Dimensions in the text form.

use super::quoted;
use crate::ir::dim::{Atom, Dim};
use std::fmt::Write;

/// Whether a symbol of this name needs no quotes.
pub(in crate::ir) fn is_symbol_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
        && !["floor", "min", "max"].contains(&name)
}

pub(super) fn symbol(name: &str) -> String {
    if is_symbol_name(name) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

pub(super) fn list(dims: &[Dim]) -> String {
    let dims: Vec<String> = dims.iter().map(text).collect();
    format!("[{}]", dims.join(", "))
}

/// As `Dim` displays itself, with quoted symbols where their names need it.
pub(super) fn text(dim: &Dim) -> String {
    let mut terms: Vec<_> = dim.terms().collect();
    terms.reverse();
    if terms.is_empty() {
        return "0".to_owned();
    }
    let mut result = String::new();
    for (index, (coefficient, factors)) in terms.into_iter().enumerate() {
        result.push_str(match (index, coefficient < 0) {
            (0, true) => "-",
            (0, false) => "",
            (_, true) => " - ",
            (_, false) => " + ",
        });
        let magnitude = coefficient.unsigned_abs();
        let mut separator = "";
        if magnitude != 1 || factors.is_empty() {
            let _ = write!(result, "{magnitude}");
            separator = "*";
        }
        for (factor, power) in factors {
            for _ in 0..*power {
                let _ = write!(result, "{separator}{}", atom(factor));
                separator = "*";
            }
        }
    }
    result
}

fn atom(atom: &Atom) -> String {
    let call = |name: &str, a: &Dim, b: &Dim| format!("{name}({}, {})", text(a), text(b));
    match atom {
        Atom::Symbol(name) => symbol(name),
        Atom::FloorDiv(a, b) => call("floor", a, b),
        Atom::Min(a, b) => call("min", a, b),
        Atom::Max(a, b) => call("max", a, b),
    }
}
