//! Matching of scalar computations across the borders of elementwise nodes.
//!
//! Whether an exporter's formula arrives as ten elementwise nodes, one fused node or something between says nothing
//! about what it computes. A [`Term`] is therefore a place in the computation of one element, and [`Rewriter::head`]
//! steps through it without regard to where one node ends and the next begins.

use super::rewrite::Rewriter;
use crate::ir::{BinaryOp, DType, Dim, Expr, Literal, Node, Op, Scalar, ScalarId, Tensor, UnaryOp, ValueId};
use std::rc::Rc;

/// A scalar computation: the elements of a value that is not elementwise, or a node of the expression of one that is.
///
/// Terms that a [`Rewriter`] returns are in normal form, so equal terms are the same computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Term {
    /// The elements of a value.
    Value(ValueId),
    /// A node of the expression that defines a value.
    Scalar(ValueId, ScalarId),
}

/// The outermost operation of a term.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Head {
    /// A constant.
    Const(Literal),
    /// A function of one term.
    Unary(UnaryOp, Term),
    /// A function of two terms.
    Binary(BinaryOp, Term, Term),
    /// A selection.
    Select(Term, Term, Term),
    /// The same bits as another type.
    Bits(Term),
    /// A conversion.
    Cast(Term),
    /// The coordinate along an axis of the elementwise value that the term belongs to.
    Index(usize),
    /// The elements of a value that no elementwise node defines.
    Value(ValueId),
    /// The value of a dimension.
    Dim,
    /// An element at a computed place.
    At,
}

impl Rewriter<'_> {
    /// The value of a constant node.
    pub(super) fn constant(&self, value: ValueId) -> Option<Tensor> {
        match &self.definition(value)?.op {
            Op::Constant(tensor) => Some(tensor.clone()),
            _ => None,
        }
    }

    /// The one value that all elements of a tensor have.
    pub(super) fn splat(&self, value: ValueId) -> Option<Literal> {
        let node = self.definition(value)?;
        match &node.op {
            Op::Constant(tensor) => splat_of(tensor),
            Op::Broadcast { .. } | Op::Reshape { .. } | Op::Transpose { .. } | Op::Slice { .. } => {
                self.splat(node.inputs[0])
            }
            Op::Elementwise { expr, .. } => match expr.nodes[expr.result()].op {
                Scalar::Const(literal) => Some(literal),
                _ => None,
            },
            _ => None,
        }
    }

    /// The expression and operands of an elementwise value.
    pub(super) fn elementwise_definition(&self, value: ValueId) -> Option<Rc<Node>> {
        self.definition(value)
            .filter(|node| matches!(node.op, Op::Elementwise { .. }))
    }

    /// The normal form of the term of a value.
    pub(super) fn term(&self, value: ValueId) -> Term {
        match self.definition(value) {
            Some(node) => match &node.op {
                Op::Elementwise { expr, .. } => self.scalar_term(&node, expr, expr.result()),
                Op::Broadcast { .. } => self.term(node.inputs[0]),
                _ => Term::Value(value),
            },
            None => Term::Value(value),
        }
    }

    /// The normal form of a node of an expression.
    pub(super) fn scalar_term(&self, node: &Node, expr: &Expr, id: ScalarId) -> Term {
        match expr.nodes[id].op {
            Scalar::Input(index) => self.term(node.inputs[index]),
            _ => Term::Scalar(node.outputs[0], id),
        }
    }

    /// The outermost operation of a term.
    pub(super) fn head(&self, term: Term) -> Head {
        match term {
            Term::Value(value) => match self.splat(value) {
                Some(literal) => Head::Const(literal),
                None => Head::Value(value),
            },
            Term::Scalar(value, id) => {
                let Some(node) = self.definition(value) else {
                    return Head::Value(value);
                };
                let Op::Elementwise { expr, .. } = &node.op else {
                    return Head::Value(value);
                };
                let term = |id| self.scalar_term(&node, expr, id);
                match expr.nodes[id].op {
                    Scalar::Input(index) => self.head(self.term(node.inputs[index])),
                    Scalar::Const(literal) => Head::Const(literal),
                    Scalar::Dim(_) => Head::Dim,
                    Scalar::Index(axis) => Head::Index(axis),
                    Scalar::At(..) => Head::At,
                    Scalar::Unary(op, x) => Head::Unary(op, term(x)),
                    Scalar::Binary(op, a, b) => Head::Binary(op, term(a), term(b)),
                    Scalar::Select(c, a, b) => Head::Select(term(c), term(a), term(b)),
                    Scalar::Cast(x) => Head::Cast(term(x)),
                    Scalar::Bits(x) => Head::Bits(term(x)),
                }
            }
        }
    }

    /// The number that a term is everywhere.
    pub(super) fn number(&self, term: Term) -> Option<f64> {
        match self.head(term) {
            Head::Const(literal) => literal_number(literal),
            _ => None,
        }
    }

    /// The operands of a binary operation.
    pub(super) fn binary(&self, term: Term, op: BinaryOp) -> Option<(Term, Term)> {
        match self.head(term) {
            Head::Binary(found, a, b) if found == op => Some((a, b)),
            _ => None,
        }
    }

    /// The operand of a unary operation.
    pub(super) fn unary(&self, term: Term, op: UnaryOp) -> Option<Term> {
        match self.head(term) {
            Head::Unary(found, x) if found == op => Some(x),
            _ => None,
        }
    }

    /// The operands of a commutative operation, in both orders.
    pub(super) fn either_order(&self, term: Term, op: BinaryOp) -> impl Iterator<Item = (Term, Term)> + use<> {
        let pair = self.binary(term, op);
        pair.into_iter().chain(pair.map(|(a, b)| (b, a)))
    }

    /// A commutative operation of a term and a number, in either order.
    pub(super) fn with_number(&self, term: Term, op: BinaryOp) -> Option<(Term, f64)> {
        self.either_order(term, op)
            .find_map(|(x, c)| Some((x, self.number(c)?)))
    }

    /// The factor `c` and the term `x` of `c * x`, through any number of multiplications, divisions and negations.
    pub(super) fn scaled(&self, term: Term) -> (f64, Term) {
        let (mut factor, mut term) = (1.0, term);
        loop {
            if let Some((x, c)) = self.with_number(term, BinaryOp::Mul) {
                (factor, term) = (factor * c, x);
            } else if let Some((x, c)) = self.binary(term, BinaryOp::Div)
                && let Some(c) = self.number(c)
            {
                (factor, term) = (factor / c, x);
            } else if let Some(x) = self.unary(term, UnaryOp::Neg) {
                (factor, term) = (-factor, x);
            } else {
                return (factor, term);
            }
        }
    }

    /// A value whose elements are those of a term; it broadcasts to wherever the term is used.
    ///
    /// A term inside an expression gets a node of its own.
    pub(super) fn materialize(&mut self, term: Term, origin: &[String]) -> Option<ValueId> {
        match term {
            Term::Value(value) => Some(value),
            Term::Scalar(value, id) => {
                let node = self.definition(value)?;
                let Op::Elementwise { expr, shape } = &node.op else {
                    return None;
                };
                if id == expr.result() {
                    return Some(value);
                }
                let (expr, inputs) = compact(&expr.with_result(id), &node.inputs);
                let shape = if expr.is_positional() {
                    shape.clone()
                } else {
                    self.broadcast_shape(&inputs)?
                };
                self.elementwise(expr, inputs, shape, origin)
            }
        }
    }

    /// The shape that operands broadcast to.
    pub(super) fn broadcast_shape(&self, inputs: &[ValueId]) -> Option<Vec<Dim>> {
        let shapes: Vec<&[Dim]> = inputs.iter().map(|&input| self.shape(input)).collect();
        let (shape, equalities) = crate::ir::infer::broadcast(self.graph, &shapes).ok()?;
        equalities.is_empty().then_some(shape)
    }
}

/// The one value that all elements of a constant have.
pub(super) fn splat_of(tensor: &Tensor) -> Option<Literal> {
    let size = tensor.dtype.size();
    let data = &tensor.data[..];
    if data.is_empty() || data.len() > size && data[..data.len() - size] != data[size..] {
        return None;
    }
    let first = Tensor::from_bytes(tensor.dtype, Vec::new(), tensor.data.slice(..size));
    Some(match tensor.dtype {
        DType::F32 | DType::F64 => Literal::Float(*first.to_floats()?.first()?),
        dtype if dtype.is_float() => return None,
        DType::Bool => Literal::Bool(*first.to_vec::<bool>()?.first()?),
        DType::U64 => Literal::Int((*first.to_vec::<u64>()?.first()?).into()),
        _ => Literal::Int((*first.to_ints()?.first()?).into()),
    })
}

/// A literal as a number; truth values are none.
pub(super) fn literal_number(literal: Literal) -> Option<f64> {
    match literal {
        Literal::Float(value) => Some(value),
        Literal::Int(value) => Some(value as f64),
        Literal::Bool(_) => None,
    }
}

/// Whether two numbers agree to single precision.
pub(super) fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * a.abs().max(b.abs())
}

/// The expression with equal operands merged and operands that it does not use dropped.
pub(super) fn compact(expr: &Expr, inputs: &[ValueId]) -> (Expr, Vec<ValueId>) {
    let mut kept: Vec<ValueId> = Vec::new();
    let mut result = Expr::empty();
    let id = result.append(expr, expr.result(), &mut |result, index, dtype| {
        let number = kept
            .iter()
            .position(|&input| input == inputs[index])
            .unwrap_or_else(|| {
                kept.push(inputs[index]);
                kept.len() - 1
            });
        result.input(number, dtype)
    });
    (result.finish(id), kept)
}
