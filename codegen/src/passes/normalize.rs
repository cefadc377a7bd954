//! Recognition of layer and root-mean-square normalization.

use super::pattern::{Term, close};
use super::peel::{Other, Peel, peel};
use super::rewrite::{Rewrite, Rewriter};
use crate::ir::op::{NormalizeKind, ReduceKind};
use crate::ir::{BinaryOp, DType, Dim, Graph, Node, Op, ScalarId, UnaryOp, ValueId};
use std::rc::Rc;

/// Makes normalization over the last axes one operation where it is spelled out, and gives it its scale and bias.
///
/// Layer normalization is `(x - mean(x)) / sqrt(var(x) + epsilon)`, root-mean-square normalization `x / sqrt(mean(x^2) +
/// epsilon)`, with any spelling of means (sums divided by the count), squares, inverse roots and products. The variance
/// may be `mean((x - mean(x))^2)` or `mean(x^2) - mean(x)^2`, also clamped to 0; the operation computes the former,
/// which is the more accurate.
///
/// Normalization over other axes stays as it is: as reductions and elementwise operations it runs along the innermost
/// axis, which a transposition to the front would have to pay for with a copy.
///
/// Postcondition: no elementwise node has one of these forms over the last axes, and none begins with the
/// multiplication of a normalization's only use by a scale, or the addition of a bias, of the shape of its axes.
pub(super) fn run(graph: &mut Graph) -> bool {
    super::rewrite::sweep(graph, &mut |rewriter, node| match &node.op {
        Op::Elementwise { expr, .. } => (0..expr.nodes.len())
            .rev()
            .find_map(|id| normalization(rewriter, node, id))
            .or_else(|| (0..node.inputs.len()).find_map(|operand| affine(rewriter, node, operand)))
            .map(|value| vec![value]),
        _ => None,
    } as Rewrite)
}

/// The mean of a value or of its square, over axes.
struct Mean {
    of: ValueId,
    axes: Vec<usize>,
    squared: bool,
}

impl Rewriter<'_> {
    fn mean(&self, term: Term) -> Option<Mean> {
        let (factor, inner) = self.scaled(term);
        let reduction = self.reduction(inner)?;
        let shape = self.shape(reduction.of);
        let count = || -> Option<f64> {
            let sizes: Dim = reduction.axes.iter().map(|&axis| shape[axis].clone()).product();
            sizes.as_const().map(|count| count as f64)
        };
        let squared = match reduction.kind {
            ReduceKind::Mean if factor == 1.0 => false,
            ReduceKind::Sum if close(factor, 1.0 / count()?) => false,
            ReduceKind::SumSquare if close(factor, 1.0 / count()?) => true,
            _ => return None,
        };
        Some(Mean {
            of: reduction.of,
            axes: reduction.axes,
            squared,
        })
    }

    /// What a term is the square of.
    fn square(&self, term: Term) -> Option<Term> {
        if let Some((a, b)) = self.binary(term, BinaryOp::Mul) {
            return (a == b).then_some(a);
        }
        let (x, exponent) = self.binary(term, BinaryOp::Pow)?;
        (self.number(exponent)? == 2.0).then_some(x)
    }

    /// The mean over which the square of something is taken, and that something.
    fn mean_square(&self, term: Term) -> Option<(Mean, Term)> {
        let mean = self.mean(term)?;
        let inner = self.term(mean.of);
        let of = if mean.squared { inner } else { self.square(inner)? };
        Some((mean, of))
    }

    /// The value `x` and the axes of `x - mean(x)`.
    fn centered(&self, term: Term) -> Option<(ValueId, Vec<usize>)> {
        let (x, mean) = self.binary(term, BinaryOp::Sub)?;
        let mean = self.mean(mean)?;
        (!mean.squared && self.term(mean.of) == x).then_some((mean.of, mean.axes))
    }

    /// The `v` of `1 / sqrt(v)`.
    fn inverse_root(&self, term: Term) -> Option<Term> {
        self.unary(term, UnaryOp::Rsqrt)
            .or_else(|| self.root(self.unary(term, UnaryOp::Recip)?))
            .or_else(|| {
                let (one, root) = self.binary(term, BinaryOp::Div)?;
                (self.number(one)? == 1.0).then(|| self.root(root))?
            })
            .or_else(|| {
                let (x, exponent) = self.binary(term, BinaryOp::Pow)?;
                (self.number(exponent)? == -0.5).then_some(x)
            })
    }

    fn root(&self, term: Term) -> Option<Term> {
        self.unary(term, UnaryOp::Sqrt).or_else(|| {
            let (x, exponent) = self.binary(term, BinaryOp::Pow)?;
            (self.number(exponent)? == 0.5).then_some(x)
        })
    }

    /// Whether a term is the variance of `x` along axes.
    fn is_variance(&self, term: Term, x: ValueId, axes: &[usize]) -> bool {
        let clamped = self.with_number(term, BinaryOp::Max).filter(|&(_, bound)| bound == 0.0);
        let term = clamped.map_or(term, |(inner, _)| inner);
        if let Some((mean, of)) = self.mean_square(term) {
            return mean.axes == axes
                && self
                    .centered(of)
                    .is_some_and(|(value, by)| self.same(value, x) && by == axes);
        }
        let difference = || {
            let (square, mean) = self.binary(term, BinaryOp::Sub)?;
            let (outer, of) = self.mean_square(square)?;
            let inner = self.mean(self.square(mean)?)?;
            let fits = !inner.squared && inner.axes == axes && outer.axes == axes;
            Some(fits && of == self.term(x) && self.same(inner.of, x))
        };
        difference().unwrap_or(false)
    }

    /// Whether two values are the same computation.
    fn same(&self, a: ValueId, b: ValueId) -> bool {
        a == b || self.term(a) == self.term(b)
    }
}

/// A matched normalization, and a factor that stood inside the product.
struct Match {
    x: ValueId,
    axes: Vec<usize>,
    kind: NormalizeKind,
    epsilon: f64,
    factor: Option<Term>,
}

fn matched(rewriter: &Rewriter<'_>, term: Term) -> Option<Match> {
    if let Some((numerator, denominator)) = rewriter.binary(term, BinaryOp::Div)
        && let Some(variance) = rewriter.root(denominator)
    {
        return with_variance(rewriter, numerator, variance, None);
    }
    rewriter
        .either_order(term, BinaryOp::Mul)
        .find_map(|(numerator, inverse)| {
            if let Some(variance) = rewriter.inverse_root(inverse) {
                return with_variance(rewriter, numerator, variance, None);
            }
            rewriter
                .either_order(inverse, BinaryOp::Mul)
                .find_map(|(inverse, factor)| {
                    with_variance(rewriter, numerator, rewriter.inverse_root(inverse)?, Some(factor))
                })
        })
}

fn with_variance(rewriter: &Rewriter<'_>, numerator: Term, sum: Term, factor: Option<Term>) -> Option<Match> {
    let (variance, epsilon) = rewriter.with_number(sum, BinaryOp::Add)?;
    if let Some((x, axes)) = rewriter.centered(numerator)
        && rewriter.is_variance(variance, x, &axes)
    {
        return Some(Match {
            x,
            axes,
            kind: NormalizeKind::Layer,
            epsilon,
            factor,
        });
    }
    let (mean, of) = rewriter.mean_square(variance)?;
    if of != numerator {
        return None;
    }
    let x = match of {
        _ if mean.squared => mean.of,
        Term::Value(value) => value,
        Term::Scalar(value, _) if rewriter.term(value) == of => value,
        Term::Scalar(..) => return None,
    };
    Some(Match {
        x,
        axes: mean.axes,
        kind: NormalizeKind::Rms,
        epsilon,
        factor,
    })
}

fn normalization(rewriter: &mut Rewriter<'_>, node: &Rc<Node>, id: ScalarId) -> Option<ValueId> {
    let Op::Elementwise { shape, .. } = &node.op else {
        return None;
    };
    let Match {
        x,
        axes,
        kind,
        epsilon,
        factor,
    } = matched(rewriter, Term::Scalar(node.outputs[0], id))?;
    let rank = rewriter.shape(x).len();
    let first = *axes.first()?;
    let last_axes = axes.iter().copied().eq(first..rank);
    // There is no kernel for f64, so that the spelled-out form is what it is computed by.
    if rewriter.ty(x).dtype == DType::F64 || !last_axes || !rewriter.same_shape(rewriter.shape(x), shape) {
        return None;
    }
    let op = Op::Normalize {
        kind,
        axis: first,
        epsilon: epsilon as f32,
        scale: false,
        bias: false,
    };
    let mut value = rewriter.emit_like(node, op, vec![x])?;
    if let Some(factor) = factor {
        let factor = rewriter.materialize(factor, &node.origin)?;
        let dtype = rewriter.ty(value).dtype;
        let expr = crate::ir::Expr::binary(BinaryOp::Mul, dtype);
        value = rewriter.elementwise(expr, vec![value, factor], shape.clone(), &node.origin)?;
    }
    rewriter.substitute(node, id, value)
}

/// Makes what an elementwise node does first to a normalized value the scale or bias of the normalization.
fn affine(rewriter: &mut Rewriter<'_>, node: &Rc<Node>, operand: usize) -> Option<ValueId> {
    let value = node.inputs[operand];
    let inner = rewriter.definition(value)?;
    if rewriter.uses(value) != 1 || !rewriter.is_local(value) {
        return None;
    }
    let mut op = inner.op.clone();
    let Op::Normalize { axis, scale, bias, .. } = &mut op else {
        return None;
    };
    let Peel {
        op: found,
        other: Other::Value(other),
        id,
    } = peel(node, operand)?
    else {
        return None;
    };
    match found {
        BinaryOp::Mul if !*scale && !*bias => *scale = true,
        BinaryOp::Add if *scale && !*bias => *bias = true,
        _ => return None,
    }
    let normalized = rewriter.shape(value)[*axis..].to_vec();
    let shape = rewriter.shape(other);
    let lead = shape.len().checked_sub(normalized.len())?;
    let fits = shape[..lead].iter().all(|size| size.is(1)) && rewriter.same_shape(&shape[lead..], &normalized);
    if !fits || shape.len() > rewriter.shape(value).len() {
        return None;
    }
    let other = rewriter.reshaped(other, normalized, &node.origin)?;
    let mut inputs = inner.inputs.clone();
    inputs.push(other);
    let value = rewriter.emit_like(&inner, op, inputs)?;
    rewriter.substitute(node, id, value)
}
