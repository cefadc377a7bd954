//! Fusion of elementwise nodes.

use super::pattern::compact;
use super::rewrite::{Rewrite, Rewriter, merged_origin};
use crate::ir::{BinaryOp, DType, Dim, Expr, Graph, Literal, Node, Op, Scalar, ScalarId, UnaryOp, ValueId};
use std::rc::Rc;

/// The most operands that a fused node may have. Each is a pointer that the inner loop advances.
const MAX_OPERANDS: usize = 8;
/// The most scalar nodes that a fused expression may have.
const MAX_NODES: usize = 40;
/// The most work per element that is repeated to save a small tensor.
const MAX_REPEATED_COST: usize = 3;

/// Merges elementwise nodes into the elementwise nodes that use them.
///
/// A producer is merged if its consumer is the only one, or if it computes from nothing but coordinates. One that is
/// broadcast is merged only if it is cheap enough to be computed anew for every element. One that gives numbers of 8 bits other
/// bits is merged into all of its consumers, and takes no producer into itself that several of them would have to share.
///
/// Postcondition: an elementwise node that is an operand of another one has more uses, would make the fused node too
/// large, or would be computed repeatedly.
pub(super) fn run(graph: &mut Graph) -> bool {
    super::rewrite::sweep(graph, &mut |rewriter, node| match &node.op {
        Op::Elementwise { .. } => fuse(rewriter, node),
        _ => None,
    })
}

fn fuse(rewriter: &mut Rewriter<'_>, node: &Rc<Node>) -> Rewrite {
    let Op::Elementwise { expr, shape } = &node.op else {
        return None;
    };
    // Those who use other bits of the same numbers take the numbers, and nobody should compute them twice.
    let is_shared = is_encoding(expr) && rewriter.uses(node.outputs[0]) > 1;
    let mut operands = node.inputs.clone();
    let mut size = expr.nodes.len();
    let mut merged: Vec<Option<Rc<Node>>> = vec![None; node.inputs.len()];
    for (index, &input) in node.inputs.iter().enumerate() {
        let Some(producer) = rewriter.elementwise_definition(input).filter(|_| !expr.reads_at(index)) else {
            continue;
        };
        let Op::Elementwise { expr: inner, .. } = &producer.op else {
            continue;
        };
        if is_shared && !is_encoding(inner) {
            continue;
        }
        if size + inner.nodes.len() > MAX_NODES || !is_mergeable(rewriter, &producer, inner, shape) {
            continue;
        }
        let mut union: Vec<ValueId> = operands.iter().copied().filter(|&operand| operand != input).collect();
        for &operand in &producer.inputs {
            if !union.contains(&operand) {
                union.push(operand);
            }
        }
        if union.len() <= MAX_OPERANDS.max(operands.len()) {
            operands = union;
            size += inner.nodes.len();
            merged[index] = Some(producer);
        }
    }
    if merged.iter().all(Option::is_none) {
        return None;
    }
    let (fused, inputs) = merge(rewriter, node, expr, shape, &merged);
    let origin = merged_origin(merged.iter().flatten().map(|producer| &**producer).chain([&**node]));
    Some(vec![rewriter.elementwise(fused, inputs, shape.clone(), &origin)?])
}

fn is_mergeable(rewriter: &Rewriter<'_>, producer: &Node, inner: &Expr, shape: &[Dim]) -> bool {
    if producer.inputs.is_empty() {
        return true;
    }
    let value = producer.outputs[0];
    // What reads numbers of 8 bits in another way costs nothing, so that nobody needs both.
    if is_encoding(inner) && rewriter.same_shape(rewriter.shape(value), shape) {
        return true;
    }
    if rewriter.uses(value) != 1 || !rewriter.is_local(value) {
        return false;
    }
    let own = rewriter.shape(value);
    let (extra, tail) = shape.split_at(shape.len() - own.len());
    if extra.iter().all(|size| size.is(1)) && rewriter.same_shape(own, tail) {
        return true;
    }
    // Repeated for every element of the larger shape; better done once where the operand is computed.
    let in_epilogue = producer.inputs.iter().any(|&input| {
        rewriter.uses(input) == 1
            && rewriter
                .definition(input)
                .is_some_and(|node| node.op.epilogue_base().is_some())
    });
    !in_epilogue && cost(inner) <= MAX_REPEATED_COST
}

/// Whether an expression is its operand with other bits for the same numbers of 8 bits, with a sign or without.
pub(super) fn is_encoding(expr: &Expr) -> bool {
    let is_constant = |id: ScalarId| matches!(expr.nodes[id].op, Scalar::Const(_));
    let is_free = |op: &Scalar| match *op {
        Scalar::Input(_) | Scalar::Bits(_) | Scalar::Const(_) => true,
        Scalar::Binary(BinaryOp::Xor, a, b) => is_constant(a) || is_constant(b),
        _ => false,
    };
    let mut nodes = expr.nodes.iter();
    let inputs = expr.nodes.iter().filter(|node| matches!(node.op, Scalar::Input(_)));
    inputs.count() == 1 && nodes.all(|node| matches!(node.dtype, DType::I8 | DType::U8) && is_free(&node.op))
}

/// The work of an expression in simple operations.
fn cost(expr: &Expr) -> usize {
    let of = |op: &Scalar| match op {
        Scalar::Input(_) | Scalar::Const(_) | Scalar::Dim(_) | Scalar::Index(_) => 0,
        Scalar::Unary(UnaryOp::Neg | UnaryOp::Abs | UnaryOp::Not | UnaryOp::BitNot, _) => 1,
        Scalar::Binary(BinaryOp::Div | BinaryOp::Mod | BinaryOp::Rem | BinaryOp::Pow, ..) | Scalar::Unary(..) => 8,
        Scalar::Binary(..) | Scalar::Select(..) | Scalar::Cast(_) | Scalar::Bits(_) | Scalar::At(..) => 1,
    };
    expr.nodes.iter().map(|node| of(&node.op)).sum()
}

/// The expression of `node` with those of the merged operands in their place.
fn merge(
    rewriter: &Rewriter<'_>,
    node: &Node,
    expr: &Expr,
    shape: &[Dim],
    merged: &[Option<Rc<Node>>],
) -> (Expr, Vec<ValueId>) {
    let mut fused = Expr::empty();
    let mut inputs: Vec<ValueId> = Vec::new();
    let mut slot = |value: ValueId| {
        inputs.iter().position(|&input| input == value).unwrap_or_else(|| {
            inputs.push(value);
            inputs.len() - 1
        })
    };
    let id = fused.append(expr, expr.result(), &mut |fused, index, dtype| match &merged[index] {
        Some(producer) => {
            let Op::Elementwise { expr, shape: inner } = &producer.op else {
                unreachable!("only elementwise nodes are merged");
            };
            let expr = realigned(rewriter, expr, inner, shape);
            fused.append(&expr, expr.result(), &mut |fused, index, dtype| {
                fused.input(slot(producer.inputs[index]), dtype)
            })
        }
        None => fused.input(slot(node.inputs[index]), dtype),
    });
    compact(&fused.finish(id), &inputs)
}

/// An expression for elements of `inner` as one for elements of `outer`, to which `inner` broadcasts.
fn realigned(rewriter: &Rewriter<'_>, expr: &Expr, inner: &[Dim], outer: &[Dim]) -> Expr {
    let shift = outer.len() - inner.len();
    let mut expr = expr.clone();
    for node in &mut expr.nodes {
        if let Scalar::Index(axis) = node.op {
            let repeated = inner[axis].is(1) && !rewriter.graph.dims_equal(&inner[axis], &outer[axis + shift]);
            node.op = if repeated {
                Scalar::Const(Literal::Int(0))
            } else {
                Scalar::Index(axis + shift)
            };
        }
    }
    expr
}
