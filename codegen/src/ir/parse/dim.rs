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
        while self.accept("*") {
            product = product * self.factor()?;
        }
        Ok(product)
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
                    "floor" if b.as_const().is_some_and(|divisor| divisor <= 0) => {
                        self.error_at(start, format!("division by {b}"))
                    }
                    "floor" => Ok(a.floor_div(&b)),
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
