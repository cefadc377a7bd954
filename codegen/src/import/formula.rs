//! Scalar expressions written as formulas: `(x - offset) * scale` instead of a list of nodes.

use std::cell::RefCell;
use std::ops::{Add, Div, Mul, Neg, Rem, Sub};

use super::builder::literal;
use crate::ir::{BinaryOp, DType, Dim, Expr, Scalar, ScalarId, UnaryOp};

/// An expression under construction. Its terms are written with operators and become nodes where they are written.
pub(super) struct Formula {
    expr: RefCell<Expr>,
}

/// A part of a [`Formula`].
#[derive(Clone, Copy)]
pub(super) struct Term<'f> {
    formula: &'f Formula,
    id: ScalarId,
}

impl Formula {
    /// An expression without terms.
    pub(super) fn new() -> Self {
        Formula {
            expr: RefCell::new(Expr::empty()),
        }
    }

    fn term(&self, op: Scalar, dtype: DType) -> Term<'_> {
        let id = self.expr.borrow_mut().push(op, dtype);
        Term { formula: self, id }
    }

    /// The element of an operand at the place of the result.
    pub(super) fn input(&self, operand: usize, dtype: DType) -> Term<'_> {
        self.term(Scalar::Input(operand), dtype)
    }

    /// The element of an operand at a computed place in row-major order.
    pub(super) fn at<'f>(&'f self, operand: usize, place: Term<'f>, dtype: DType) -> Term<'f> {
        self.term(Scalar::At(operand, place.id), dtype)
    }

    /// The coordinate of the result along an axis.
    pub(super) fn index(&self, axis: usize) -> Term<'_> {
        self.term(Scalar::Index(axis), DType::I64)
    }

    /// The value of a dimension.
    pub(super) fn dim(&self, dim: &Dim) -> Term<'_> {
        match dim.as_const() {
            Some(value) => self.number(value as f64, DType::I64),
            None => self.term(Scalar::Dim(dim.clone()), DType::I64),
        }
    }

    /// A number in a type that represents it.
    pub(super) fn number(&self, value: f64, dtype: DType) -> Term<'_> {
        let id = literal(&mut self.expr.borrow_mut(), value, dtype);
        Term { formula: self, id }
    }

    /// The expression whose value is a term of this formula.
    pub(super) fn result(&self, term: Term<'_>) -> Expr {
        self.expr.borrow().with_result(term.id)
    }
}

impl<'f> Term<'f> {
    fn dtype(self) -> DType {
        self.formula.expr.borrow().nodes[self.id].dtype
    }

    /// A number in the type of this term.
    fn like(self, value: f64) -> Term<'f> {
        self.formula.number(value, self.dtype())
    }

    fn binary(self, op: BinaryOp, other: impl Operand<'f>) -> Term<'f> {
        let other = other.beside(self);
        let id = self.formula.expr.borrow_mut().apply2(op, self.id, other.id);
        Term { id, ..self }
    }

    /// A function of this term.
    pub(super) fn unary(self, op: UnaryOp) -> Term<'f> {
        let id = self.formula.expr.borrow_mut().apply1(op, self.id);
        Term { id, ..self }
    }

    /// The term in another type.
    pub(super) fn cast(self, dtype: DType) -> Term<'f> {
        let id = self.formula.expr.borrow_mut().convert(self.id, dtype);
        Term { id, ..self }
    }

    /// One of two terms, by this one, a truth value.
    pub(super) fn select(self, yes: Term<'f>, no: impl Operand<'f>) -> Term<'f> {
        let no = no.beside(yes);
        self.formula.term(Scalar::Select(self.id, yes.id, no.id), yes.dtype())
    }

    pub(super) fn max(self, other: impl Operand<'f>) -> Term<'f> {
        self.binary(BinaryOp::Max, other)
    }

    pub(super) fn min(self, other: impl Operand<'f>) -> Term<'f> {
        self.binary(BinaryOp::Min, other)
    }

    pub(super) fn pow(self, other: impl Operand<'f>) -> Term<'f> {
        self.binary(BinaryOp::Pow, other)
    }

    pub(super) fn eq(self, other: impl Operand<'f>) -> Term<'f> {
        self.binary(BinaryOp::Eq, other)
    }

    pub(super) fn ne(self, other: impl Operand<'f>) -> Term<'f> {
        self.binary(BinaryOp::Ne, other)
    }

    pub(super) fn lt(self, other: impl Operand<'f>) -> Term<'f> {
        self.binary(BinaryOp::Lt, other)
    }

    pub(super) fn le(self, other: impl Operand<'f>) -> Term<'f> {
        self.binary(BinaryOp::Le, other)
    }

    pub(super) fn gt(self, other: impl Operand<'f>) -> Term<'f> {
        self.binary(BinaryOp::Gt, other)
    }

    pub(super) fn ge(self, other: impl Operand<'f>) -> Term<'f> {
        self.binary(BinaryOp::Ge, other)
    }

    pub(super) fn and(self, other: Term<'f>) -> Term<'f> {
        self.binary(BinaryOp::And, other)
    }

    pub(super) fn or(self, other: Term<'f>) -> Term<'f> {
        self.binary(BinaryOp::Or, other)
    }

    pub(super) fn not(self) -> Term<'f> {
        self.unary(UnaryOp::Not)
    }
}

/// What stands beside a term: another one, or a number in its type.
pub(super) trait Operand<'f> {
    /// The operand as a term of the same formula.
    fn beside(self, term: Term<'f>) -> Term<'f>;
}

impl<'f> Operand<'f> for Term<'f> {
    fn beside(self, _: Term<'f>) -> Term<'f> {
        self
    }
}

impl<'f> Operand<'f> for f64 {
    fn beside(self, term: Term<'f>) -> Term<'f> {
        term.like(self)
    }
}

impl<'f> Operand<'f> for i64 {
    fn beside(self, term: Term<'f>) -> Term<'f> {
        term.like(self as f64)
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident $op:ident),*) => { $(
        impl<'f, T: Operand<'f>> $trait<T> for Term<'f> {
            type Output = Term<'f>;
            fn $method(self, other: T) -> Term<'f> {
                self.binary(BinaryOp::$op, other)
            }
        }
    )* };
}

// `%` is the remainder with the sign of the divisor.
operators!(Add add Add, Sub sub Sub, Mul mul Mul, Div div Div, Rem rem Mod);

impl<'f> Neg for Term<'f> {
    type Output = Term<'f>;
    fn neg(self) -> Term<'f> {
        self.unary(UnaryOp::Neg)
    }
}
