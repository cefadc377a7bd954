//! Recognition of attention.

use super::pattern::{Head, Term};
use super::rewrite::{Rewrite, Rewriter, merged_origin};
use crate::ir::{BinaryOp, DType, Expr, Graph, Node, Op, Scalar, ValueId};
use std::rc::Rc;

/// From this magnitude on, a score that is replaced by a large negative number is as well increased by it: the sum with
/// any score of sensible magnitude rounds to the number itself.
const MASKED: f64 = -1e30;

/// Makes `softmax(q k^T) v` one operation, with the scaling and masking of the scores between.
///
/// Scores may be scaled before or after the product, on either operand. Masks are added after scaling, or select a large
/// negative number instead of the score; they broadcast.
///
/// Postcondition: no matrix product without epilogue has as its left operand the only use of a softmax along the last
/// axis whose operand is a product scaled and masked in this way, all with equal leading axes.
///
/// Results may differ from the original by rounding: the scale is applied to the scores.
pub(super) fn run(graph: &mut Graph) -> bool {
    super::rewrite::sweep(graph, &mut |rewriter, node| match node.op {
        Op::MatMul { epilogue: None } => attention(rewriter, node),
        _ => None,
    })
}

/// What is done to the product of `q` and `k` before the softmax.
struct Scores {
    /// The product.
    product: Rc<Node>,
    scale: f64,
    masks: Vec<Mask>,
}

/// What is added to the scores.
enum Mask {
    /// A term.
    Added(Term),
    /// A number where a condition has a value, 0 elsewhere.
    Filled { condition: Term, value: f64, when: bool },
}

fn attention(rewriter: &mut Rewriter<'_>, node: &Rc<Node>) -> Rewrite {
    let (weights, v) = (node.inputs[0], node.inputs[1]);
    let softmax = rewriter.definition(weights)?;
    let Op::Softmax { axis, log: false } = softmax.op else {
        return None;
    };
    let (scores, rank) = (softmax.inputs[0], rewriter.shape(weights).len());
    if axis + 1 != rank || rewriter.uses(weights) != 1 || rewriter.uses(scores) != 1 {
        return None;
    }
    let found = matched(rewriter, scores)?;
    let product = &found.product;
    if rewriter.uses(product.outputs[0]) != 1
        || !rewriter.same_shape(rewriter.shape(product.outputs[0]), rewriter.shape(scores))
    {
        return None;
    }
    let lead = |value: ValueId| &rewriter.shape(value)[..rewriter.shape(value).len() - 2];
    let (q, transposed) = (product.inputs[0], product.inputs[1]);
    if !rewriter.same_shape(lead(q), lead(transposed)) || !rewriter.same_shape(lead(q), lead(v)) {
        return None;
    }
    let origin = merged_origin([&**product, &*softmax, node]);
    let (q_scale, q) = unscaled(rewriter, q);
    let (k_scale, transposed) = unscaled(rewriter, transposed);
    let mut permutation: Vec<usize> = (0..rank).collect();
    permutation.swap(rank - 2, rank - 1);
    let k = match rewriter.definition(transposed) {
        Some(inner) if matches!(&inner.op, Op::Transpose { permutation: found } if *found == permutation) => {
            inner.inputs[0]
        }
        _ => rewriter.emit(Op::Transpose { permutation }, vec![transposed], &origin)?,
    };
    let (other_scale, k) = unscaled(rewriter, k);
    let scale = found.scale * q_scale * k_scale * other_scale;
    let mask = mask(rewriter, &found.masks, &origin)?;
    let op = Op::Attention {
        scale: scale as f32,
        mask: mask.is_some(),
        causal: false,
    };
    let inputs = [q, k, v].into_iter().chain(mask).collect();
    Some(vec![rewriter.emit(op, inputs, &origin)?])
}

fn matched(rewriter: &Rewriter<'_>, scores: ValueId) -> Option<Scores> {
    let mut term = rewriter.term(scores);
    let mut masks = Vec::new();
    loop {
        if let Some((scale, product)) = product(rewriter, term) {
            return Some(Scores { product, scale, masks });
        }
        let (next, mask) = match rewriter.head(term) {
            Head::Select(condition, a, b) => match (rewriter.number(a), rewriter.number(b)) {
                (None, Some(value)) if value <= MASKED => (
                    a,
                    Mask::Filled {
                        condition,
                        value,
                        when: false,
                    },
                ),
                (Some(value), None) if value <= MASKED => (
                    b,
                    Mask::Filled {
                        condition,
                        value,
                        when: true,
                    },
                ),
                _ => return None,
            },
            Head::Binary(BinaryOp::Add, a, b) if leads_to_product(rewriter, a) => (a, Mask::Added(b)),
            Head::Binary(BinaryOp::Add, a, b) if leads_to_product(rewriter, b) => (b, Mask::Added(a)),
            _ => return None,
        };
        masks.push(mask);
        term = next;
    }
}

/// The scale and node of a scaled matrix product.
fn product(rewriter: &Rewriter<'_>, term: Term) -> Option<(f64, Rc<Node>)> {
    let (scale, inner) = rewriter.scaled(term);
    let Term::Value(value) = inner else {
        return None;
    };
    let node = rewriter.definition(value)?;
    matches!(node.op, Op::MatMul { epilogue: None }).then_some((scale, node))
}

/// Whether masked scores may be behind a term; a few masks deep, lest long sums cost much.
fn leads_to_product(rewriter: &Rewriter<'_>, term: Term) -> bool {
    fn search(rewriter: &Rewriter<'_>, term: Term, depth: usize) -> bool {
        if product(rewriter, term).is_some() {
            return true;
        }
        depth > 0
            && match rewriter.head(term) {
                Head::Select(_, a, b) | Head::Binary(BinaryOp::Add, a, b) => {
                    search(rewriter, a, depth - 1) || search(rewriter, b, depth - 1)
                }
                _ => false,
            }
    }
    search(rewriter, term, 2)
}

/// The factor and the rest of a value that is a multiple of another, perhaps seen through views, and used for nothing
/// else.
fn unscaled(rewriter: &mut Rewriter<'_>, value: ValueId) -> (f64, ValueId) {
    let mut views: Vec<Rc<Node>> = Vec::new();
    let mut inner = value;
    while rewriter.uses(inner) == 1
        && let Some(node) = rewriter.definition(inner)
        && matches!(node.op, Op::Reshape { .. } | Op::Transpose { .. })
    {
        inner = node.inputs[0];
        views.push(node);
    }
    let (factor, term) = rewriter.scaled(rewriter.term(inner));
    let rest = match term {
        Term::Value(rest) => rest,
        Term::Scalar(rest, _) if rewriter.term(rest) == term => rest,
        Term::Scalar(..) => return (1.0, value),
    };
    let useful =
        factor != 1.0 && rewriter.uses(inner) == 1 && rewriter.same_shape(rewriter.shape(rest), rewriter.shape(inner));
    if !useful {
        return (1.0, value);
    }
    let rebuilt = views.iter().rev().try_fold(rest, |value, view| {
        rewriter.emit_like(view, view.op.clone(), vec![value])
    });
    rebuilt.map_or((1.0, value), |value| (factor, value))
}

/// One additive mask for all, if there are any; the outer `None` says that it cannot be formed.
///
/// `masks` are from the outermost to the innermost. A number that fills replaces what inner masks add, rather than
/// adding to it: two large numbers may be minus infinity together, and a row of nothing else is not a number.
fn mask(rewriter: &mut Rewriter<'_>, masks: &[Mask], origin: &[String]) -> Option<Option<ValueId>> {
    let mut total: Option<ValueId> = None;
    for mask in masks.iter().rev() {
        total = Some(match *mask {
            Mask::Added(term) => {
                let added = rewriter.materialize(term, origin)?;
                match total {
                    None => added,
                    Some(total) => {
                        let expr = Expr::binary(BinaryOp::Add, rewriter.ty(added).dtype);
                        combined(rewriter, expr, vec![total, added], origin)?
                    }
                }
            }
            Mask::Filled { condition, value, when } => {
                let condition = rewriter.materialize(condition, origin)?;
                let mut expr = Expr::empty();
                let holds = expr.input(0, DType::Bool);
                let fill = expr.float(value, DType::F32);
                let rest = match total {
                    None => expr.float(0.0, DType::F32),
                    Some(_) => expr.input(1, DType::F32),
                };
                let (a, b) = if when { (fill, rest) } else { (rest, fill) };
                expr.push(Scalar::Select(holds, a, b), DType::F32);
                let inputs = [condition].into_iter().chain(total).collect();
                combined(rewriter, expr, inputs, origin)?
            }
        });
    }
    Some(total)
}

fn combined(rewriter: &mut Rewriter<'_>, expr: Expr, inputs: Vec<ValueId>, origin: &[String]) -> Option<ValueId> {
    let shape = rewriter.broadcast_shape(&inputs)?;
    rewriter.elementwise(expr, inputs, shape, origin)
}
