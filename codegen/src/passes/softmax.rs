//! Recognition of softmax.

use super::pattern::{Head, Term};
use super::rewrite::{Rewrite, Rewriter};
use crate::ir::op::ReduceKind;
use crate::ir::{BinaryOp, Dim, Graph, Node, Op, UnaryOp, ValueId};
use std::rc::Rc;

/// Makes softmax and its logarithm one operation where they are spelled out.
///
/// The forms are `exp(x - max(x)) / sum(exp(x - max(x)))`, with or without the maximum, and `ln(softmax(x))`. Without the
/// maximum the original overflows where the operation does not.
///
/// Postcondition: no elementwise node has one of these forms.
pub(super) fn run(graph: &mut Graph) -> bool {
    super::rewrite::sweep(graph, &mut |rewriter, node| match &node.op {
        Op::Elementwise { expr, .. } => (0..expr.nodes.len())
            .rev()
            .find_map(|id| {
                let term = rewriter.scalar_term(node, expr, id);
                let (value, at) = match term {
                    Term::Scalar(value, at) => (value, at),
                    Term::Value(_) => return None,
                };
                if value != node.outputs[0] || at != id {
                    return None;
                }
                softmax(rewriter, node, term)
                    .or_else(|| log_softmax(rewriter, node, term))
                    .and_then(|value| rewriter.substitute(node, id, value))
            })
            .map(|value| vec![value]),
        _ => None,
    } as Rewrite)
}

/// A reduction behind a term, through reshapes that restore the reduced axes.
pub(super) struct Reduction {
    pub(super) kind: ReduceKind,
    pub(super) axes: Vec<usize>,
    /// What is reduced.
    pub(super) of: ValueId,
}

impl Rewriter<'_> {
    /// The reduction that a term is, if it broadcasts against what is reduced.
    pub(super) fn reduction(&self, term: Term) -> Option<Reduction> {
        let Term::Value(value) = term else {
            return None;
        };
        let mut node = self.definition(value)?;
        while matches!(node.op, Op::Reshape { .. }) {
            node = self.definition(node.inputs[0])?;
        }
        let Op::Reduce { kind, axes, .. } = &node.op else {
            return None;
        };
        let of = node.inputs[0];
        let mut kept = self.shape(of).to_vec();
        for &axis in axes {
            kept[axis] = Dim::from(1i64);
        }
        // Without its leading axes of size 1, a shape broadcasts alike.
        let shape = self.shape(value);
        let lead = kept.len().checked_sub(shape.len())?;
        let fits = kept[..lead].iter().all(|size| size.is(1)) && self.same_shape(&kept[lead..], shape);
        fits.then(|| Reduction {
            kind: *kind,
            axes: axes.clone(),
            of,
        })
    }

    /// Numerator and denominator of a quotient.
    pub(super) fn quotient(&self, term: Term) -> Option<(Term, Term)> {
        self.binary(term, BinaryOp::Div).or_else(|| {
            self.either_order(term, BinaryOp::Mul)
                .find_map(|(numerator, inverse)| Some((numerator, self.unary(inverse, UnaryOp::Recip)?)))
        })
    }
}

fn softmax(rewriter: &mut Rewriter<'_>, node: &Rc<Node>, term: Term) -> Option<ValueId> {
    let (exponential, sum) = rewriter.quotient(term)?;
    let argument = rewriter.unary(exponential, UnaryOp::Exp)?;
    let sum = rewriter.reduction(sum)?;
    let [axis] = sum.axes[..] else {
        return None;
    };
    if sum.kind != ReduceKind::Sum || rewriter.term(sum.of) != exponential {
        return None;
    }
    let without_maximum = rewriter.binary(argument, BinaryOp::Sub).and_then(|(x, maximum)| {
        let maximum = rewriter.reduction(maximum)?;
        let same = maximum.kind == ReduceKind::Max && maximum.axes == sum.axes && rewriter.term(maximum.of) == x;
        same.then_some(maximum.of)
    });
    let input = match without_maximum {
        Some(input) => input,
        None => rewriter.materialize(argument, &node.origin)?,
    };
    let shape = rewriter.shape(sum.of).to_vec();
    let input = rewriter.broadcast_to(input, shape, &node.origin)?;
    rewriter.emit_like(node, Op::Softmax { axis, log: false }, vec![input])
}

fn log_softmax(rewriter: &mut Rewriter<'_>, node: &Rc<Node>, term: Term) -> Option<ValueId> {
    let Head::Unary(UnaryOp::Ln, Term::Value(value)) = rewriter.head(term) else {
        return None;
    };
    let inner = rewriter.definition(value)?;
    let Op::Softmax { axis, log: false } = inner.op else {
        return None;
    };
    rewriter.emit_like(node, Op::Softmax { axis, log: true }, inner.inputs.clone())
}
