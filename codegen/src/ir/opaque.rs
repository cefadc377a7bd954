//! Calls of functions that are not part of the IR.

use super::graph::TensorType;

/// A call of a Rust function of which only the types are known: an operator that the user has registered.
///
/// The function takes the arguments and then the places of the results. It depends on nothing but its arguments and has
/// no effect but to fill the results, so that calls may be merged, moved and left out.
#[derive(Clone, Debug, PartialEq)]
pub struct Opaque {
    /// The operator, for people.
    pub operator: String,
    /// The path of the function.
    pub function: String,
    /// What it takes before the places of its results.
    pub arguments: Vec<Argument>,
    /// The types of the results.
    pub results: Vec<TensorType>,
    /// Whether the function can fail.
    pub fallible: bool,
}

/// An argument of an [`Opaque`] call.
#[derive(Clone, Debug, PartialEq)]
pub enum Argument {
    /// The next operand.
    Operand,
    /// An operand that is left out, of an optional parameter.
    Absent,
    /// The next operand, of an optional parameter.
    Present,
    /// An integer.
    Int(i64),
    /// A number.
    Float(f32),
    /// A text.
    String(String),
    /// Integers.
    Ints(Vec<i64>),
    /// Numbers.
    Floats(Vec<f32>),
    /// Texts.
    Strings(Vec<String>),
}

impl Argument {
    /// Whether the argument is an operand of the call.
    pub fn is_operand(&self) -> bool {
        matches!(self, Argument::Operand | Argument::Present)
    }
}

impl Opaque {
    /// The number of operands.
    pub fn operands(&self) -> usize {
        self.arguments.iter().filter(|argument| argument.is_operand()).count()
    }
}

/// Whether a text is the path of a Rust function: `crate::operators::decode`.
pub fn is_function_path(text: &str) -> bool {
    let mut segments = text.strip_prefix("::").unwrap_or(text).split("::").peekable();
    let mut first = !text.starts_with("::");
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        let relative = first && !last && ["crate", "self", "super"].contains(&segment);
        let again = !last && segment == "super";
        if !relative && !again && !crate::compiler::is_identifier(segment) {
            return false;
        }
        first = false;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_identifiers_between_colons() {
        for path in [
            "f",
            "crate::ops::f",
            "super::super::f",
            "::my_ops::f",
            "self::f",
            "my_ops::f",
        ] {
            assert!(is_function_path(path), "{path}");
        }
        for path in [
            "",
            "crate",
            "a::crate",
            "a b",
            "f()",
            "a:f",
            "::",
            "f::",
            "crate::fn",
            "f::<u8>",
        ] {
            assert!(!is_function_path(path), "{path}");
        }
    }
}
