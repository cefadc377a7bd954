//! Scalar expressions.

use super::lexer::Kind;
use super::{Parser, Result};
use crate::ir::dtype::DType;
use crate::ir::expr::{BinaryOp, Expr, Literal, Scalar, ScalarId, UnaryOp};
use std::collections::HashMap;

/// What an expression is built in.
struct Scope<'a> {
    expr: Expr,
    names: HashMap<String, ScalarId>,
    /// The types of the operands, as far as the operation implies them.
    operands: &'a [Option<DType>],
}

impl Parser<'_> {
    /// An expression in braces.
    pub(super) fn expr(&mut self, operands: &[Option<DType>]) -> Result<Expr> {
        let mut scope = Scope {
            expr: Expr::empty(),
            names: HashMap::new(),
            operands,
        };
        self.expect("{")?;
        while self.accept_word("let") {
            let name = self.word("a name")?;
            self.expect("=")?;
            let id = self.scalar(&mut scope)?;
            self.expect(";")?;
            scope.names.insert(name, id);
        }
        if self.accept("}") {
            return Ok(scope.expr);
        }
        let id = self.scalar(&mut scope)?;
        self.expect("}")?;
        Ok(scope.expr.finish(id))
    }

    /// Skips an expression in braces, to be read when the types of the operands are known.
    pub(super) fn skip_braces(&mut self) -> Result<usize> {
        let start = self.next;
        self.expect("{")?;
        while !self.is("}") {
            if self.is("{") || *self.peek() == Kind::End {
                return self.expected("`}`");
            }
            self.advance();
        }
        self.advance();
        Ok(start)
    }

    fn scalar(&mut self, scope: &mut Scope<'_>) -> Result<ScalarId> {
        self.nested(|parser| parser.scalar_part(scope))
    }

    fn scalar_part(&mut self, scope: &mut Scope<'_>) -> Result<ScalarId> {
        let start = self.next;
        if matches!(self.peek(), Kind::Number(_) | Kind::Mark("-")) {
            return self.literal(scope);
        }
        let name = self.word("an expression")?;
        if !self.is("(") {
            if let Some(&id) = scope.names.get(&name) {
                return Ok(id);
            }
            if let Some(index) = name.strip_prefix('x').and_then(|digits| digits.parse().ok()) {
                let implied = scope.operands.get(index).copied().flatten();
                return self.push(scope, Scalar::Input(index), implied, start);
            }
            self.next = start;
            return self.literal(scope);
        }
        self.expect("(")?;
        let (op, implied) = match name.as_str() {
            "dim" => (Scalar::Dim(self.dim()?), DType::I64),
            "index" => (Scalar::Index(self.integer_as()?), DType::I64),
            "at" => {
                let start = self.next;
                let operand = self.word("an operand")?;
                let Some(index) = operand.strip_prefix('x').and_then(|digits| digits.parse().ok()) else {
                    return self.error_at(start, format!("`{operand}` is no operand"));
                };
                self.expect(",")?;
                let place = self.scalar(scope)?;
                self.expect(")")?;
                let implied = scope.operands.get(index).copied().flatten();
                return self.push(scope, Scalar::At(index, place), implied, start);
            }
            "select" => {
                let c = self.scalar(scope)?;
                self.expect(",")?;
                let a = self.scalar(scope)?;
                self.expect(",")?;
                let b = self.scalar(scope)?;
                (Scalar::Select(c, a, b), scope.expr.nodes[a].dtype)
            }
            "bits" => {
                let x = self.scalar(scope)?;
                self.expect(")")?;
                return self.push(scope, Scalar::Bits(x), None, start);
            }
            _ => {
                let a = self.scalar(scope)?;
                let dtype = scope.expr.nodes[a].dtype;
                if let Some(op) = UnaryOp::from_name(&name) {
                    let dtype = if op.gives_bool() { DType::Bool } else { dtype };
                    (Scalar::Unary(op, a), dtype)
                } else if let Some(to) = DType::from_name(&name) {
                    (Scalar::Cast(a), to)
                } else if let Some(op) = BinaryOp::from_name(&name) {
                    self.expect(",")?;
                    let b = self.scalar(scope)?;
                    let dtype = if op.is_comparison() { DType::Bool } else { dtype };
                    (Scalar::Binary(op, a, b), dtype)
                } else {
                    return self.error_at(start, format!("unknown function `{name}`"));
                }
            }
        };
        self.expect(")")?;
        self.push(scope, op, Some(implied), start)
    }

    /// Adds a part, of the type that follows or the one that its operands imply.
    fn push(&mut self, scope: &mut Scope<'_>, op: Scalar, implied: Option<DType>, start: usize) -> Result<ScalarId> {
        let dtype = if self.accept(":") {
            self.dtype()?
        } else if let Some(dtype) = implied {
            dtype
        } else {
            return self.error_at(start, "the type is not known: write it behind a colon");
        };
        Ok(scope.expr.push(op, dtype))
    }

    /// A constant and its type.
    fn literal(&mut self, scope: &mut Scope<'_>) -> Result<ScalarId> {
        let start = self.next;
        for (word, value) in [("true", true), ("false", false)] {
            if self.accept_word(word) {
                return self.push(scope, Scalar::Const(Literal::Bool(value)), Some(DType::Bool), start);
            }
        }
        let text = self.number_text()?;
        self.expect(":")?;
        let dtype = self.dtype()?;
        let literal = if dtype.is_float() {
            super::constant::float(&text, dtype).map(Literal::Float)
        } else {
            text.parse().ok().map(Literal::Int)
        };
        match literal {
            Some(literal) => Ok(scope.expr.push(Scalar::Const(literal), dtype)),
            None => self.error_at(start, format!("`{text}` is no {dtype}")),
        }
    }

    /// A number with its sign, or `inf`, `-inf` or `nan`, as written.
    pub(super) fn number_text(&mut self) -> Result<String> {
        let sign = if self.accept("-") { "-" } else { "" };
        match self.peek() {
            Kind::Number(text) => {
                self.advance();
                Ok(format!("{sign}{text}"))
            }
            Kind::Word(word) if word == "inf" || word == "nan" => {
                self.advance();
                Ok(format!("{sign}{word}"))
            }
            _ => self.expected("a number"),
        }
    }
}
