//! Scalar expressions written as formulas: `(x - offset) * scale` instead of a list of nodes.

use std::cell::RefCell;
use std::ops::{Add, Div, Mul, Neg, Rem, Sub};

use super::builder::{Builder, Fault, literal};
use crate::ir::{BinaryOp, DType, Dim, Expr, FoldKind, Op, Scalar, ScalarId, TensorType, UnaryOp, ValueId};

/// An expression under construction. Its terms are written with operators and become nodes where they are written.
pub(super) struct Formula {
    expr: RefCell<Expr>,
    /// The types of the operands, as far as they are given.
    operands: Vec<TensorType>,
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
            operands: Vec::new(),
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

    /// The element of a given operand at the place of the result.
    pub(super) fn operand(&self, operand: usize) -> Term<'_> {
        self.input(operand, self.operands[operand].dtype)
    }

    /// The element of a given operand at coordinates. What lies outside must be ruled out or replaced.
    pub(super) fn load(&self, operand: usize, coordinates: &[Term<'_>]) -> Term<'_> {
        let ty = &self.operands[operand];
        self.at(operand, self.place(coordinates, &ty.shape), ty.dtype)
    }

    /// The place in row-major order of the element with some coordinates.
    pub(super) fn place(&self, coordinates: &[Term<'_>], shape: &[Dim]) -> Term<'_> {
        let ids: Vec<_> = coordinates.iter().map(|term| term.id).collect();
        let id = self.expr.borrow_mut().row_major(&ids, shape);
        Term { formula: self, id }
    }

    /// The coordinates along some axes.
    pub(super) fn indices(&self, axes: std::ops::Range<usize>) -> Vec<Term<'_>> {
        axes.map(|axis| self.index(axis)).collect()
    }

    /// An integer.
    pub(super) fn int(&self, value: i64) -> Term<'_> {
        let id = self.expr.borrow_mut().int(value.into(), DType::I64);
        Term { formula: self, id }
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

    /// An unsigned number of 64 bits.
    pub(super) fn bits(&self, value: u64) -> Term<'_> {
        let id = self.expr.borrow_mut().int(value.into(), DType::U64);
        Term { formula: self, id }
    }

    /// The expression whose value is a term of this formula.
    pub(super) fn result(&self, term: Term<'_>) -> Expr {
        self.expr.borrow().with_result(term.id)
    }
}

impl<'f> Term<'f> {
    /// The type of the term.
    pub(super) fn dtype(self) -> DType {
        self.formula.expr.borrow().nodes[self.id].dtype
    }

    /// A number in the type of this term.
    pub(super) fn like(self, value: f64) -> Term<'f> {
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

    /// Whether a coordinate is one of an axis of a size.
    pub(super) fn within(self, size: Term<'f>) -> Term<'f> {
        self.ge(0i64).and(self.lt(size))
    }

    /// An index that counts from the end where it is negative, counted from the start.
    pub(super) fn counted_within(self, size: Term<'f>) -> Term<'f> {
        self.lt(0i64).select(self + size, self)
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

    pub(super) fn xor(self, other: Term<'f>) -> Term<'f> {
        self.binary(BinaryOp::Xor, other)
    }

    pub(super) fn shr(self, other: Term<'f>) -> Term<'f> {
        self.binary(BinaryOp::Shr, other)
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

impl Builder {
    /// The expression that is written, and the operands that it reads.
    fn formula(&self, inputs: &[ValueId], body: impl FnOnce(&Formula) -> Term<'_>) -> (Expr, Vec<ValueId>) {
        let formula = Formula {
            expr: RefCell::new(Expr::empty()),
            operands: inputs.iter().map(|&input| self.ty(input).clone()).collect(),
        };
        let result = body(&formula).id;
        let whole = formula.expr.into_inner();
        let (mut expr, mut read) = (Expr::empty(), Vec::new());
        let id = expr.append(&whole, result, &mut |expr, number, dtype| {
            let place = read.iter().position(|&other| other == number).unwrap_or_else(|| {
                read.push(number);
                read.len() - 1
            });
            expr.input(place, dtype)
        });
        let read = read.into_iter().map(|number| inputs[number]).collect();
        (expr.finish(id), read)
    }

    /// A value for every element of a shape.
    pub(super) fn each(
        &mut self,
        shape: Vec<Dim>,
        inputs: &[ValueId],
        body: impl FnOnce(&Formula) -> Term<'_>,
    ) -> Result<ValueId, Fault> {
        let (expr, inputs) = self.formula(inputs, body);
        self.emit(Op::Elementwise { expr, shape }, &inputs)
    }

    /// A value for every element of the shape that operands broadcast to.
    pub(super) fn over(
        &mut self,
        inputs: &[ValueId],
        body: impl FnOnce(&Formula) -> Term<'_>,
    ) -> Result<ValueId, Fault> {
        let shape = self.broadcast_shape(inputs)?;
        self.each(shape, inputs, body)
    }

    /// The values of a domain combined, for every element of a shape.
    pub(super) fn folded(
        &mut self,
        kind: FoldKind,
        [shape, domain]: [Vec<Dim>; 2],
        inputs: &[ValueId],
        body: impl FnOnce(&Formula) -> Term<'_>,
    ) -> Result<ValueId, Fault> {
        let (expr, inputs) = self.formula(inputs, body);
        let op = Op::Fold {
            kind,
            expr,
            shape,
            domain,
        };
        self.emit(op, &inputs)
    }

    /// Ends the run with an error unless a condition holds for every element of a shape.
    pub(super) fn demand(
        &mut self,
        message: impl Into<String>,
        shape: Vec<Dim>,
        inputs: &[ValueId],
        body: impl FnOnce(&Formula) -> Term<'_>,
    ) -> Result<(), Fault> {
        let (expr, inputs) = self.formula(inputs, body);
        self.assert_all(expr, shape, &inputs, message)
    }
}
