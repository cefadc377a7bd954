//! Finite automata over the bytes of strings: how strings are recognized, be it as one of some words or by a pattern.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;

use regex_automata::Anchored;
use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::{start, syntax};

use super::builder::{Builder, Fault};
use super::formula::Formula;
use crate::ir::{DType, Op, Tensor, ValueId};

/// The largest number of entries of a transition table.
const MAX_TRANSITIONS: usize = 1 << 24;
/// The largest size in bytes of what is built on the way to an automaton.
const MAX_BYTES: usize = 1 << 26;

/// A deterministic automaton that reads all bytes of a string and then has a value.
pub(super) struct Automaton {
    /// The class of each byte; bytes of one class always lead to the same state.
    classes: Vec<u8>,
    /// The state after each state and class.
    next: Vec<i32>,
    /// The value of each state at the end of a string.
    values: Vec<i64>,
    start: usize,
}

impl Automaton {
    /// The automaton whose value is that of the word which the string is, the last one of equal words, or the default.
    pub(super) fn of_words<'w>(
        words: impl IntoIterator<Item = (&'w [u8], i64)>,
        default: i64,
    ) -> Result<Automaton, Fault> {
        // State 0 is for strings that begin like no word.
        let mut children: Vec<BTreeMap<u8, usize>> = vec![BTreeMap::new(); 2];
        let mut values = vec![default; 2];
        for (word, value) in words {
            let mut state = 1;
            for &byte in word {
                let fresh = children.len();
                state = *children[state].entry(byte).or_insert(fresh);
                if state == fresh {
                    children.push(BTreeMap::new());
                    values.push(default);
                }
            }
            values[state] = value;
            if children.len() > MAX_TRANSITIONS {
                return Err(Fault::new("there are too many words"));
            }
        }
        Automaton::new(children.len(), 1, values, |state, byte| {
            children[state].get(&byte).copied().unwrap_or(0)
        })
    }

    /// The automaton whose value is 1 for the strings that match a pattern as a whole, in the syntax of RE2.
    pub(super) fn of_pattern(pattern: &str) -> Result<Automaton, Fault> {
        let invalid =
            |what: &dyn std::fmt::Display| Fault::new(format!("the pattern `{pattern}` is not supported: {what}"));
        let pattern = format!("(?:{})\\z", with_ascii_classes(pattern));
        let dfa = dense::Builder::new()
            .configure(
                dense::Config::new()
                    .start_kind(StartKind::Anchored)
                    .minimize(true)
                    .dfa_size_limit(Some(MAX_BYTES))
                    .determinize_size_limit(Some(MAX_BYTES)),
            )
            .thompson(thompson::Config::new().nfa_size_limit(Some(MAX_BYTES)))
            .syntax(syntax::Config::new())
            .build(&pattern)
            .map_err(|error| {
                // What is wrong stands in the last line of the innermost error, under the pattern and a mark.
                let innermost = std::iter::successors(Some(&error as &dyn Error), |&error| error.source()).last();
                let text = innermost.map(ToString::to_string).unwrap_or_default();
                invalid(&text.lines().last().unwrap_or_default().trim_start_matches("error: "))
            })?;
        let start = dfa
            .start_state(&start::Config::new().anchored(Anchored::Yes))
            .map_err(|error| invalid(&error))?;
        let mut numbers = HashMap::from([(start, 0)]);
        let (mut states, mut rows) = (vec![start], Vec::new());
        while let Some(&state) = states.get(rows.len()) {
            let row: Vec<usize> = (0..=u8::MAX)
                .map(|byte| {
                    let next = dfa.next_state(state, byte);
                    *numbers.entry(next).or_insert_with(|| {
                        states.push(next);
                        states.len() - 1
                    })
                })
                .collect();
            rows.push(row);
        }
        let accepts = |&state| i64::from(dfa.is_match_state(dfa.next_eoi_state(state)));
        let values = states.iter().map(accepts).collect();
        Automaton::new(states.len(), 0, values, |state, byte| rows[state][usize::from(byte)])
    }

    /// The automaton with these transitions, on as few classes of bytes as they allow.
    fn new(
        states: usize,
        start: usize,
        values: Vec<i64>,
        next: impl Fn(usize, u8) -> usize,
    ) -> Result<Automaton, Fault> {
        let mut columns: HashMap<Vec<i32>, u8> = HashMap::new();
        let (mut classes, mut distinct) = (Vec::with_capacity(256), Vec::new());
        for byte in 0..=u8::MAX {
            let column: Vec<_> = (0..states).map(|state| next(state, byte) as i32).collect();
            let fresh = distinct.len();
            let class = *columns.entry(column).or_insert_with_key(|column| {
                distinct.push(column.clone());
                fresh as u8
            });
            classes.push(class);
            if states * distinct.len() > MAX_TRANSITIONS {
                return Err(Fault::new(format!("an automaton of {states} states is too large")));
            }
        }
        let next = (0..states)
            .flat_map(|state| distinct.iter().map(move |column| column[state]))
            .collect();
        Ok(Automaton {
            classes,
            next,
            values,
            start,
        })
    }

    /// The value for a string.
    #[cfg(test)]
    pub(super) fn run(&self, text: &str) -> i64 {
        let width = self.next.len() / self.values.len();
        let step =
            |state: usize, byte: u8| self.next[state * width + usize::from(self.classes[usize::from(byte)])] as usize;
        self.values[text.bytes().fold(self.start, step)]
    }
}

/// The pattern with the classes `\w`, `\d` and `\s` and the boundary `\b` spelled out, which have ASCII characters only
/// in RE2 and all of Unicode here.
fn with_ascii_classes(pattern: &str) -> String {
    let mut result = String::with_capacity(pattern.len());
    // How many brackets of character classes are open.
    let mut depth = 0;
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            depth += i32::from(character == '[');
            depth -= i32::from(character == ']' && depth > 0);
            result.push(character);
            continue;
        }
        let Some(escaped) = characters.next() else {
            result.push('\\');
            break;
        };
        let members = match escaped.to_ascii_lowercase() {
            'w' => "0-9A-Za-z_",
            'd' => "0-9",
            's' => "\\t\\n\\f\\r ",
            'b' if depth == 0 => {
                result.push_str(&format!("(?-u:\\{escaped})"));
                continue;
            }
            _ => {
                result.extend(['\\', escaped]);
                continue;
            }
        };
        let not = if escaped.is_ascii_uppercase() { "^" } else { "" };
        result.push_str(&format!("[{not}{members}]"));
    }
    result
}

impl Builder {
    /// The value `[rows]` that an automaton has for each row of a table of strings `[rows, bytes]`.
    pub(super) fn recognize(&mut self, table: ValueId, automaton: &Automaton) -> Result<ValueId, Fault> {
        let shape = self.shape(table);
        let (rows, width) = (shape[0].clone(), shape[1].as_usize().unwrap_or(0));
        let classes = automaton.next.len() / automaton.values.len();
        let class_of = self.constant(Tensor::new(vec![256], &automaton.classes));
        let next = self.constant(Tensor::new(vec![automaton.next.len()], &automaton.next));
        let values = self.constant(Tensor::new(vec![automaton.values.len()], &automaton.values));

        let f = Formula::new();
        let (state, place) = (f.input(0, DType::I64), f.input(1, DType::I64));
        let byte = f.at(2, f.index(0) * width as i64 + place, DType::U8);
        let class = f.at(3, byte.cast(DType::I64), DType::U8).cast(DType::I64);
        let after = f.at(4, state * classes as i64 + class, DType::I32).cast(DType::I64);
        // Zeros follow the string.
        let expr = f.result(byte.eq(0).select(state, after));

        let start = self.number(automaton.start as f64, DType::I64)?;
        let start = self.emit(
            Op::Broadcast {
                shape: vec![rows.clone()],
            },
            &[start],
        )?;
        let end = self.repeat(width, start, |b, place, state| {
            let op = Op::Elementwise {
                expr,
                shape: vec![rows.clone()],
            };
            Ok((b.emit(op, &[state, place, table, class_of, next])?, None))
        })?;
        let f = Formula::new();
        let expr = f.result(f.at(1, f.input(0, DType::I64), DType::I64));
        self.emit(
            Op::Elementwise {
                expr,
                shape: vec![rows],
            },
            &[end, values],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_their_values() {
        let words = ["tree", "trie", "", "t", "tree"];
        let words = words.iter().zip(10..).map(|(word, value)| (word.as_bytes(), value));
        let automaton = Automaton::of_words(words, -1).unwrap();
        let cases = [
            ("tree", 14),
            ("trie", 11),
            ("", 12),
            ("t", 13),
            ("tr", -1),
            ("trees", -1),
            ("x", -1),
            ("xt", -1),
        ];
        for (text, value) in cases {
            assert_eq!(automaton.run(text), value, "{text}");
        }
    }

    #[test]
    fn patterns_match_as_a_whole() {
        let cases = [
            ("a|ab", "ab", true),
            ("a|ab", "abc", false),
            ("", "", true),
            (r"www\.[\w.-]+\.\bcom\b", "www.google.com", true),
            (r"www\.[\w.-]+\.\bcom\b", "www.bbc.co.uk", false),
            (
                r"(\W|^)[\w.\-]{0,25}@(yahoo|gmail)\.com(\W|$)",
                "account@gmail.com",
                true,
            ),
            (r"(\W|^)[\w.\-]{0,25}@(yahoo|gmail)\.com(\W|$)", "not email", false),
            // Classes have ASCII characters, a dot any character, whatever its number of bytes.
            (r"\w", "é", false),
            (r"[^\W\d]", "7", false),
            (r"[^\W\d]", "k", true),
            (".", "é", true),
            ("..", "é", false),
            ("(?i)straße", "STRASSE", false),
            ("(?i)É", "é", true),
            (r"a\Bb", "ab", true),
            (r"\p{Greek}+", "λόγος", true),
        ];
        for (pattern, text, expected) in cases {
            let automaton = Automaton::of_pattern(pattern).unwrap();
            assert_eq!(automaton.run(text), i64::from(expected), "{pattern} on {text}");
        }
    }

    #[test]
    fn bad_patterns_are_faults() {
        for pattern in ["(", "[a-", r"(a)\1", "(?:(?:a{1000}){1000}){1000}"] {
            let fault = Automaton::of_pattern(pattern).err().unwrap();
            assert!(fault.message.starts_with("the pattern `"), "{}", fault.message);
        }
    }
}
