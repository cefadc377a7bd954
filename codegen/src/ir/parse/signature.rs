//! Signatures of operators, which share their words and dimensions with the text form.

use super::lexer::{self, Kind};
use super::{Parser, Result};
use crate::ir::graph::Graph;
use crate::operator::{self, Axis, Element, Parameter, Pattern, Signature, Value};

/// Reads a signature, such as `(f32[n, k], factor: int = 2) -> f32[n, factor * k]`.
pub(crate) fn signature(text: &str) -> Result<Signature> {
    let tokens = lexer::tokens(text)?;
    let mut parser = Parser {
        tokens: &tokens,
        next: 0,
        depth: 0,
        graph: Graph::default(),
    };
    let signature = parser.signature()?;
    match signature.check() {
        Ok(()) => Ok(signature),
        Err(message) => parser.error_at(0, message),
    }
}

impl Parser<'_> {
    fn signature(&mut self) -> Result<Signature> {
        self.expect("(")?;
        let parameters = self.list_in_parentheses(Parser::parameter)?;
        let (mut results, mut fallible) = (None, false);
        if self.accept("->") {
            fallible = self.is_word("Result") && *self.peek_after() == Kind::Mark("<");
            if fallible {
                self.advance();
                self.advance();
            }
            results = self.results()?;
            if fallible {
                self.expect(">")?;
            }
        }
        match self.peek() {
            Kind::End => Ok(Signature {
                parameters,
                results,
                fallible,
            }),
            _ => self.expected("the end of the signature"),
        }
    }

    /// One type, several in parentheses, or `_`.
    fn results(&mut self) -> Result<Option<Vec<Pattern>>> {
        if self.accept_word("_") {
            return Ok(None);
        }
        if self.accept("(") {
            return self.list_in_parentheses(Parser::pattern).map(Some);
        }
        Ok(Some(vec![self.pattern()?]))
    }

    /// Items and a closing parenthesis; a comma may follow the last item.
    fn list_in_parentheses<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = Vec::new();
        while !self.accept(")") {
            items.push(item(self)?);
            if !self.accept(",") && !self.is(")") {
                return self.expected("`,` or `)`");
            }
        }
        Ok(items)
    }

    fn parameter(&mut self) -> Result<Parameter> {
        if *self.peek_after() == Kind::Mark(":") {
            let name = match self.accept_text() {
                Some(name) => name,
                None => self.word("the name of an attribute")?,
            };
            self.expect(":")?;
            return self.attribute_parameter(name);
        }
        let pattern = match self.accept_word("_") {
            true => None,
            false => Some(self.pattern()?),
        };
        Ok(Parameter::Operand {
            pattern,
            optional: self.accept("?"),
        })
    }

    fn attribute_parameter(&mut self, name: String) -> Result<Parameter> {
        let word = match self.peek() {
            Kind::Word(word) => word.as_str(),
            _ => "",
        };
        let kind = match word {
            "int" => operator::Kind::Int,
            "float" => operator::Kind::Float,
            "string" => operator::Kind::String,
            "ints" => operator::Kind::Ints,
            "floats" => operator::Kind::Floats,
            "strings" => operator::Kind::Strings,
            _ if *self.peek_after() == Kind::Mark("[") => operator::Kind::Tensor(self.pattern()?),
            _ => return self.expected("int, float, string, ints, floats, strings or the type of a tensor"),
        };
        let mut default = None;
        if !matches!(kind, operator::Kind::Tensor(_)) {
            self.advance();
            if self.accept("=") {
                default = Some(self.attribute_value(&kind)?);
            }
        }
        Ok(Parameter::Attribute { name, kind, default })
    }

    fn attribute_value(&mut self, kind: &operator::Kind) -> Result<Value> {
        Ok(match kind {
            operator::Kind::Int => Value::Int(self.integer_as()?),
            operator::Kind::Float => Value::Float(self.float()?),
            operator::Kind::String => Value::String(self.text()?),
            operator::Kind::Ints => Value::Ints(self.bracketed(Parser::integer_as)?),
            operator::Kind::Floats => Value::Floats(self.bracketed(Parser::float)?),
            operator::Kind::Strings => Value::Strings(self.bracketed(Parser::text)?),
            operator::Kind::Tensor(_) => return self.error("a tensor has no default"),
        })
    }

    fn pattern(&mut self) -> Result<Pattern> {
        let element = match self.peek() {
            Kind::Word(word) if word.starts_with(|c: char| c.is_ascii_uppercase()) => {
                self.advance();
                Element::Named(word.clone())
            }
            _ => Element::Is(self.dtype()?),
        };
        let start = self.next;
        let shape = self.bracketed(|parser| {
            if parser.accept("..") {
                Ok(Axis::Rest)
            } else if parser.accept_word("_") {
                Ok(Axis::Any)
            } else {
                parser.dim().map(Axis::Size)
            }
        })?;
        if shape.iter().filter(|axis| matches!(axis, Axis::Rest)).count() > 1 {
            return self.error_at(start, "a shape has `..` once");
        }
        Ok(Pattern { element, shape })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{DType, Dim};

    #[test]
    fn everything_that_a_signature_has() {
        let text = r#"(f32[n, k], T[.., _]?, _?, factor: int = 2, "a.b": floats = [1.0, -2], table: T[256],)
            -> Result<(T[.., factor * k / 2 + 1], i64[])>"#;
        let signature = signature(text).unwrap();
        assert_eq!(signature.parameters.len(), 6);
        assert_eq!(
            signature.to_string(),
            "(f32[n, k], T[.., _]?, _?, factor: int = 2, \"a.b\": floats = [1.0, -2.0], table: T[256]) \
             -> Result<(T[.., floor(factor*k, 2) + 1], i64[])>"
        );
        assert_eq!(super::signature(&signature.to_string()).as_ref(), Ok(&signature));
        assert!(signature.fallible);
        let results = signature.results.unwrap();
        let (factor, k) = (Dim::symbol("factor"), Dim::symbol("k"));
        let size = (factor * k).floor_div(&Dim::from(2i64)) + Dim::from(1i64);
        assert_eq!(results[0].shape, [Axis::Rest, Axis::Size(size)]);
        assert_eq!(
            results[1],
            Pattern {
                element: Element::Is(DType::I64),
                shape: Vec::new()
            }
        );
        let Parameter::Attribute { name, default, .. } = &signature.parameters[4] else {
            panic!("{:?}", signature.parameters[4]);
        };
        assert_eq!((name.as_str(), default), ("a.b", &Some(Value::Floats(vec![1.0, -2.0]))));
    }

    #[test]
    fn errors_say_what_is_expected() {
        for (text, message) in [
            ("f32[n]", "1:1: expected `(`, found `f32`"),
            ("(f32) -> f32[1]", "1:5: expected `[`, found `)`"),
            ("(f33[n]) -> f32[n]", "1:2: expected an element type, found `f33`"),
            ("(f32[n] f32[n])", "1:9: expected `,` or `)`, found `f32`"),
            (
                "(f32[n]) -> f32[m]",
                "1:1: `m` is neither the size of an axis of a parameter nor an `int` attribute",
            ),
            (
                "(f32[n + 1]) -> f32[n]",
                "1:1: `n` is neither the size of an axis of a parameter nor an `int` attribute",
            ),
            ("(f32[n]) -> T[n]", "1:1: `T` is the element type of no parameter"),
            (
                "(f32[n]) -> f32[..]",
                "1:1: a result has axes `..` that no parameter has",
            ),
            ("(f32[_]) -> f32[_]", "1:1: a result has an axis `_` of no known size"),
            ("(f32[.., ..]) -> f32[..]", "1:5: a shape has `..` once"),
            (
                "(a: number)",
                "1:5: expected int, float, string, ints, floats, strings or the type of a tensor, found `number`",
            ),
            ("(a: int = 0.5)", "1:11: expected an integer, found `0.5`"),
            ("(f32[n]) -> f32[n / 0]", "1:19: division by 0"),
            ("(f32[n]) -> Result<f32[n]", "1:26: expected `>`, found the end"),
            (
                "(f32[n]) -> f32[n] f32[n]",
                "1:20: expected the end of the signature, found `f32`",
            ),
        ] {
            assert_eq!(signature(text).unwrap_err().to_string(), message, "{text}");
        }
    }
}
