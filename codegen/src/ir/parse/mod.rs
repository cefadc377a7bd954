//! The parser of the [text form](super::text).

mod constant;
mod dim;
mod expr;
mod lexer;
mod op;
mod signature;

use super::dim::{Bounds, Interval};
use super::dtype::DType;
use super::graph::{Block, Constraint, Graph, Node, Part, Port, TensorType, ValueId};
use super::op::Op;
use lexer::{Kind, Token};
pub(crate) use signature::signature;
use std::fmt;

/// The largest number of a value that is accepted.
const MAX_VALUES: u32 = 1 << 24;

/// How deep braces, parentheses and the like may nest.
const MAX_DEPTH: usize = 128;

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The line, from 1 on.
    pub line: u32,
    /// The column in characters, from 1 on.
    pub column: u32,
    /// What was expected and what was found.
    pub message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for ParseError {}

/// Reads a graph. It need not be valid: that is for the [verifier](mod@super::verify).
///
/// # Errors
///
/// If the text does not follow the grammar.
pub fn parse(text: &str) -> Result<Graph, ParseError> {
    let tokens = lexer::tokens(text)?;
    let mut parser = Parser {
        tokens: &tokens,
        next: 0,
        depth: 0,
        graph: Graph::default(),
    };
    parser.graph()?;
    Ok(parser.graph)
}

type Result<T, E = ParseError> = std::result::Result<T, E>;

struct Parser<'a> {
    tokens: &'a [Token],
    next: usize,
    depth: usize,
    graph: Graph,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> &'a Kind {
        &self.tokens[self.next].kind
    }

    fn peek_after(&self) -> &'a Kind {
        &self.tokens[(self.next + 1).min(self.tokens.len() - 1)].kind
    }

    /// Takes a word; the end stays.
    fn advance(&mut self) {
        self.next = (self.next + 1).min(self.tokens.len() - 1);
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T> {
        self.error_at(self.next, message)
    }

    fn error_at<T>(&self, token: usize, message: impl Into<String>) -> Result<T> {
        let Token { line, column, .. } = self.tokens[token];
        Err(ParseError {
            line,
            column,
            message: message.into(),
        })
    }

    fn expected<T>(&self, what: &str) -> Result<T> {
        self.error(format!("expected {what}, found {}", self.peek()))
    }

    fn is(&self, mark: &str) -> bool {
        matches!(self.peek(), Kind::Mark(found) if *found == mark)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Kind::Word(found) if found == word)
    }

    fn accept(&mut self, mark: &str) -> bool {
        let found = self.is(mark);
        if found {
            self.advance();
        }
        found
    }

    fn accept_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, mark: &str) -> Result<()> {
        if self.accept(mark) {
            Ok(())
        } else {
            self.expected(&format!("`{mark}`"))
        }
    }

    fn expect_word(&mut self, word: &str) -> Result<()> {
        if self.accept_word(word) {
            Ok(())
        } else {
            self.expected(&format!("`{word}`"))
        }
    }

    fn text(&mut self) -> Result<String> {
        match self.accept_text() {
            Some(text) => Ok(text),
            None => self.expected("a quoted text"),
        }
    }

    fn accept_text(&mut self) -> Option<String> {
        let Kind::Text(text) = self.peek() else { return None };
        self.advance();
        Some(text.clone())
    }

    fn word(&mut self, what: &str) -> Result<String> {
        let Kind::Word(word) = self.peek() else {
            return self.expected(what);
        };
        self.advance();
        Ok(word.clone())
    }

    /// An integer with an optional minus.
    fn integer(&mut self) -> Result<i128> {
        let start = self.next;
        let sign = if self.accept("-") { "-" } else { "" };
        let Kind::Number(number) = self.peek() else {
            return self.expected("an integer");
        };
        match format!("{sign}{number}").parse() {
            Ok(value) => {
                self.advance();
                Ok(value)
            }
            Err(_) => self.error_at(start, format!("expected an integer, found `{sign}{number}`")),
        }
    }

    fn integer_as<T: TryFrom<i128>>(&mut self) -> Result<T> {
        let start = self.next;
        let value = self.integer()?;
        T::try_from(value).or_else(|_| self.error_at(start, format!("{value} is out of range")))
    }

    /// Runs a rule that may contain itself.
    fn nested<T>(&mut self, rule: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.error(format!("nested deeper than {MAX_DEPTH}"));
        }
        let result = rule(self)?;
        self.depth -= 1;
        Ok(result)
    }

    /// Items with commas between them; `more` tells whether one begins here.
    fn list<T>(
        &mut self,
        more: impl Fn(&Kind) -> bool,
        mut item: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut items = Vec::new();
        if more(self.peek()) {
            items.push(item(self)?);
            while self.accept(",") {
                items.push(item(self)?);
            }
        }
        Ok(items)
    }

    /// Items in brackets.
    fn bracketed<T>(&mut self, item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        self.expect("[")?;
        let items = self.list(|kind| *kind != Kind::Mark("]"), item)?;
        self.expect("]")?;
        Ok(items)
    }

    fn graph(&mut self) -> Result<()> {
        self.expect_word("graph")?;
        self.graph.name = self.text()?;
        self.expect("{")?;
        if self.accept_word("bounds") {
            self.graph.bounds = self.bounds()?;
        }
        while self.accept_word("where") {
            let left = self.dim()?;
            self.expect("==")?;
            let right = self.dim()?;
            self.expect_word("from")?;
            let origin = self.text()?;
            self.graph.constraints.push(Constraint { left, right, origin });
        }
        let mut body = Block::default();
        while self.accept_word("input") {
            let port = self.port()?;
            if port.is_none() || matches!(self.peek(), Kind::Value(_)) {
                body.params.push(self.definition()?);
            }
            self.graph.inputs.extend(port);
        }
        self.nodes(&mut body)?;
        while self.accept_word("output") {
            let port = self.port()?;
            if port.is_none() || matches!(self.peek(), Kind::Value(_)) {
                body.results.push(self.value()?);
            }
            self.graph.outputs.extend(port);
        }
        self.expect("}")?;
        if *self.peek() != Kind::End {
            return self.expected("the end");
        }
        self.graph.body = body;
        Ok(())
    }

    /// The name of an input or output, if there is one, and the part that the tensor is of it.
    fn port(&mut self) -> Result<Option<Port>> {
        let Some(name) = self.accept_text() else {
            return Ok(None);
        };
        let part = if self.accept_word("text") {
            Part::Text
        } else if self.accept_word("present") {
            Part::Present
        } else if self.accept_word("shapes") {
            Part::Shapes
        } else if self.accept_word("length") {
            Part::Length
        } else if self.is_word("mixed") || self.is_word("elements") {
            let mixed = self.accept_word("mixed");
            self.expect_word("elements")?;
            let sizes = self.bracketed(Self::interval)?;
            Part::Elements { sizes, mixed }
        } else {
            Part::Whole
        };
        Ok(Some(Port { name, part }))
    }

    fn interval(&mut self) -> Result<Interval> {
        let low = self.integer_as()?;
        self.expect("..=")?;
        let high = self.integer_as()?;
        Ok(Interval { low, high })
    }

    fn bounds(&mut self) -> Result<Bounds> {
        let mut bounds = Bounds::new();
        self.expect("{")?;
        let symbols = self.list(
            |kind| *kind != Kind::Mark("}"),
            |parser| {
                let symbol = parser.symbol()?;
                parser.expect(":")?;
                Ok((symbol, parser.interval()?))
            },
        )?;
        for (symbol, interval) in symbols {
            bounds.insert(symbol, interval);
        }
        self.expect("}")?;
        Ok(bounds)
    }

    /// Use of a value.
    fn value(&mut self) -> Result<ValueId> {
        let Kind::Value(number) = *self.peek() else {
            return self.expected("a value");
        };
        if number >= MAX_VALUES {
            return self.error(format!("value numbers end at {MAX_VALUES}"));
        }
        self.advance();
        while self.graph.value_count() <= number as usize {
            self.graph.add_value(TensorType::scalar(DType::F32), None);
        }
        Ok(ValueId(number))
    }

    /// A value, its name and its type.
    fn definition(&mut self) -> Result<ValueId> {
        let id = self.value()?;
        let name = self.accept_text();
        self.expect(":")?;
        let ty = self.tensor_type()?;
        let value = self.graph.value_mut(id);
        value.name = name;
        value.ty = ty;
        Ok(id)
    }

    fn tensor_type(&mut self) -> Result<TensorType> {
        let dtype = self.dtype()?;
        let shape = self.bracketed(Parser::dim)?;
        Ok(TensorType { dtype, shape })
    }

    fn dtype(&mut self) -> Result<DType> {
        if let Kind::Word(word) = self.peek()
            && let Some(dtype) = DType::from_name(word)
        {
            self.advance();
            return Ok(dtype);
        }
        self.expected("an element type")
    }

    fn nodes(&mut self, block: &mut Block) -> Result<()> {
        while matches!(self.peek(), Kind::Value(_) | Kind::Mark("=")) {
            let node = self.node()?;
            block.nodes.push(node);
        }
        Ok(())
    }

    fn node(&mut self) -> Result<Node> {
        let outputs = self.list(|kind| matches!(kind, Kind::Value(_)), Parser::definition)?;
        self.expect("=")?;
        let head = self.op_head(outputs.first().copied())?;
        // The next node may follow without operands between: its results have types.
        let next_node = matches!(self.peek_after(), Kind::Mark(":") | Kind::Text(_));
        let inputs = self.list(|kind| matches!(kind, Kind::Value(_)) && !next_node, Parser::value)?;
        let mut regions = Vec::new();
        while self.is("{") || self.is("(") {
            regions.push(self.nested(Parser::region)?);
            if !self.accept_word("else") {
                break;
            }
        }
        let mut op = self.finish_op(head, &inputs, outputs.first().copied())?;
        if let Op::Opaque(call) = &mut op {
            call.results = outputs.iter().map(|&output| self.graph.ty(output).clone()).collect();
        }
        let origin = if self.accept_word("from") {
            self.list(|_| true, Parser::text)?
        } else {
            Vec::new()
        };
        Ok(Node {
            op,
            inputs,
            outputs,
            regions,
            origin,
        })
    }

    fn region(&mut self) -> Result<Block> {
        let mut block = Block::default();
        if self.accept("(") {
            block.params = self.list(|kind| *kind != Kind::Mark(")"), Parser::definition)?;
            self.expect(")")?;
        }
        self.expect("{")?;
        self.nodes(&mut block)?;
        self.expect_word("yield")?;
        block.results = self.list(|kind| matches!(kind, Kind::Value(_)), Parser::value)?;
        self.expect("}")?;
        Ok(block)
    }
}

#[cfg(test)]
mod tests;
