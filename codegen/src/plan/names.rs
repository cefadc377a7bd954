//! Rust identifiers from the names of models.

use std::collections::HashSet;

/// The words that cannot be identifiers in edition 2024.
const KEYWORDS: [&str; 52] = [
    "Self", "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro",
    "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super",
    "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Identifiers given so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    taken: HashSet<String>,
}

impl Names {
    /// No identifiers but those that are in use anyway.
    pub(crate) fn reserving(names: &[&str]) -> Names {
        Names {
            taken: names.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    /// The name, or the first of `name_2`, `name_3`, ... that is free.
    pub(crate) fn unique(&mut self, name: &str) -> String {
        let mut candidate = name.to_owned();
        let mut number = 1;
        while !self.taken.insert(candidate.clone()) {
            number += 1;
            candidate = format!("{name}_{number}");
        }
        candidate
    }

    /// The name, or the name with a suffix that says what it is, or one with a number.
    pub(crate) fn unique_or(&mut self, name: &str, suffix: &str) -> String {
        if self.taken.insert(name.to_owned()) {
            return name.to_owned();
        }
        self.unique(&format!("{name}_{suffix}"))
    }
}

/// A text in snake case: `stateN` becomes `state_n`, `input.1` becomes `input_1`. Empty if nothing of it can stay.
pub(crate) fn snake(text: &str) -> String {
    let mut name = String::new();
    let chars: Vec<char> = text.chars().collect();
    for (place, &c) in chars.iter().enumerate() {
        if !c.is_ascii_alphanumeric() {
            if !name.is_empty() && !name.ends_with('_') {
                name.push('_');
            }
            continue;
        }
        let before = place.checked_sub(1).map(|place| chars[place]);
        let starts_word = c.is_ascii_uppercase()
            && before.is_some_and(|before| {
                let next_is_lower = chars.get(place + 1).is_some_and(char::is_ascii_lowercase);
                before.is_ascii_lowercase()
                    || before.is_ascii_digit() && next_is_lower
                    || before.is_ascii_uppercase() && next_is_lower
            });
        if starts_word && !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    name.truncate(name.trim_end_matches('_').len());
    name
}

/// An identifier in snake case; `fallback` if nothing of the text can stay.
pub(crate) fn identifier(text: &str, fallback: &str) -> String {
    let mut name = snake(text);
    if name.is_empty() {
        name = fallback.to_owned();
    }
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name = format!("{fallback}_{name}");
    }
    if KEYWORDS.contains(&name.as_str()) {
        name.push('_');
    }
    name
}

/// The part of the name of a value or node that tells most: the last parts of a path, without what exporters append.
///
/// It has at most `limit` characters.
pub(crate) fn short(text: &str, limit: usize) -> String {
    let text = text.strip_suffix(":0").unwrap_or(text);
    let parts: Vec<&str> = text.split(['/', ';']).filter(|part| !part.is_empty()).collect();
    let last = &parts[parts.len().saturating_sub(2)..];
    let mut name = snake(&last.join("_"));
    if let Some(stem) = name.strip_suffix("_output_0") {
        name = stem.to_owned();
    }
    while name.len() > limit {
        match name.find('_').filter(|&place| place + 1 < name.len()) {
            Some(place) => {
                name.drain(..=place);
            }
            None => name.truncate(limit),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_becomes_an_identifier() {
        for (text, name) in [
            ("stateN", "state_n"),
            ("input.1", "input_1"),
            ("serving_default_input:0", "serving_default_input_0"),
            ("Input3", "input3"),
            ("HTTPServer", "http_server"),
            ("x2Y", "x2y"),
            ("X2Y", "x2y"),
            ("3d", "input_3d"),
            ("type", "type_"),
            ("Self", "self_"),
            ("größe", "gr_e"),
            ("--", "input"),
            ("", "input"),
        ] {
            assert_eq!(identifier(text, "input"), name, "{text}");
        }
    }

    #[test]
    fn names_do_not_clash() {
        let mut names = Names::reserving(&["s"]);
        assert_eq!(names.unique("conv"), "conv");
        assert_eq!(names.unique("conv"), "conv_2");
        assert_eq!(names.unique("conv"), "conv_3");
        assert_eq!(names.unique_or("s", "input"), "s_input");
        assert_eq!(names.unique_or("s", "input"), "s_input_2");
    }

    #[test]
    fn paths_are_cut_to_what_tells_most() {
        assert_eq!(short("/layer1/layer1.0/conv1/Conv_output_0", 40), "conv1_conv");
        assert_eq!(short("model/conv2d/BiasAdd:0", 40), "conv2d_bias_add");
        assert_eq!(
            short("bert.encoder.layer.0.attention.self.query.weight", 24),
            "self_query_weight"
        );
    }
}
