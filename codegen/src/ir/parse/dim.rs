//! Dimensions.

use super::lexer::Kind;
use super::{Parser, Result};
use crate::ir::dim::{Bounds, Dim};
use crate::ir::text::is_symbol_name;

impl Parser<'_> {
    /// A sum of products.
    pub(super) fn dim(&mut self) -> Result<Dim> {
        self.nested(|parser| {
            let mut sum = if parser.accept("-") {
                Dim::default() - parser.product()?
            } else {
                parser.product()?
            };
            loop {
                if parser.accept("+") {
                    sum = sum + parser.product()?;
                } else if parser.accept("-") {
                    sum = sum - parser.product()?;
                } else {
                    return Ok(sum);
                }
            }
        })
    }

    fn product(&mut self) -> Result<Dim> {
        let mut product = self.factor()?;
        loop {
            let start = self.next;
            if self.accept("*") {
                product = product * self.factor()?;
            } else if self.accept("/") {
                let divisor = self.factor()?;
                product = self.quotient(start, &product, &divisor)?;
            } else {
                return Ok(product);
            }
        }
    }

    fn quotient(&self, token: usize, a: &Dim, b: &Dim) -> Result<Dim> {
        match b.as_const() {
            Some(divisor) if divisor <= 0 => self.error_at(token, format!("division by {b}")),
            _ => Ok(a.floor_div(b)),
        }
    }

    fn factor(&mut self) -> Result<Dim> {
        match self.peek() {
            Kind::Number(_) => Ok(Dim::from(self.integer_as::<i64>()?)),
            Kind::Mark("(") => {
                self.advance();
                let dim = self.dim()?;
                self.expect(")")?;
                Ok(dim)
            }
            Kind::Word(name) if *self.peek_after() == Kind::Mark("(") => {
                let start = self.next;
                self.advance();
                self.expect("(")?;
                let a = self.dim()?;
                self.expect(",")?;
                let b = self.dim()?;
                self.expect(")")?;
                // Bounds would resolve what the graph has left unresolved.
                let none = Bounds::new();
                match name.as_str() {
                    "floor" => self.quotient(start, &a, &b),
                    "min" => Ok(a.minimum(&b, &none)),
                    "max" => Ok(a.maximum(&b, &none)),
                    _ => self.error_at(start, format!("expected floor, min or max, found `{name}`")),
                }
            }
            _ => Ok(Dim::symbol(self.symbol()?)),
        }
    }

    /// The name of a symbol.
    pub(super) fn symbol(&mut self) -> Result<String> {
        match self.peek() {
            Kind::Word(name) if is_symbol_name(name) => {
                self.advance();
                Ok(name.clone())
            }
            Kind::Text(_) => self.text(),
            _ => self.expected("a dimension"),
        }
    }
}
