//! Reductions that absorb what is computed for them alone.

use super::pattern::compact;
use super::rewrite::{Rewrite, Rewriter, merged_origin};
use crate::ir::op::ReduceKind;
use crate::ir::{BinaryOp, Dim, Expr, Graph, Node, Op, Scalar, UnaryOp};
use std::rc::Rc;

/// Makes sums and means of squares and magnitudes reductions of their own, which need no tensor of squares.
///
/// Postcondition: no sum or mean (along axes of known size) is over the only use of a square, no sum over that of a
/// magnitude.
pub(super) fn run(graph: &mut Graph) -> bool {
    super::rewrite::sweep(graph, &mut |rewriter, node| match node.op {
        Op::Reduce { .. } => absorb(rewriter, node),
        _ => None,
    })
}

fn absorb(rewriter: &mut Rewriter<'_>, node: &Rc<Node>) -> Rewrite {
    let Op::Reduce { kind, axes, keep_dims } = &node.op else {
        return None;
    };
    let input = node.inputs[0];
    let operand = rewriter.elementwise_definition(input)?;
    let Op::Elementwise { expr, shape } = &operand.op else {
        return None;
    };
    if rewriter.uses(input) != 1 || !rewriter.is_local(input) || !expr.dtype().is_float() {
        return None;
    }
    let (absorbed, x) = match (kind, &expr.nodes[expr.result()].op) {
        (ReduceKind::Sum | ReduceKind::Mean, &Scalar::Binary(BinaryOp::Mul, a, b)) if a == b => {
            (ReduceKind::SumSquare, a)
        }
        (ReduceKind::Sum, &Scalar::Unary(UnaryOp::Abs, x)) => (ReduceKind::L1, x),
        _ => return None,
    };
    let count = axes
        .iter()
        .map(|&axis| shape[axis].clone())
        .product::<Dim>()
        .as_usize()?;
    let origin = merged_origin([&*operand, node]);
    let (rest, inputs) = compact(&expr.with_result(x), &operand.inputs);
    let value = rewriter.elementwise(rest, inputs, shape.clone(), &operand.origin)?;
    let op = Op::Reduce {
        kind: absorbed,
        axes: axes.clone(),
        keep_dims: *keep_dims,
    };
    let mut value = rewriter.emit(op, vec![value], &origin)?;
    if *kind == ReduceKind::Mean {
        let ty = rewriter.ty(value).clone();
        let mut mean = Expr::empty();
        let (sum, count) = (mean.input(0, ty.dtype), mean.float(count as f64, ty.dtype));
        mean.apply2(BinaryOp::Div, sum, count);
        value = rewriter.elementwise(mean, vec![value], ty.shape, &origin)?;
    }
    Some(vec![value])
}
