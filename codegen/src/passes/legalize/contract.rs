//! Products and attention.

use super::with_epilogue;
use crate::ir::{BinaryOp, DType, Dim, Expr, FoldKind, Node, Op, ValueId};
use crate::passes::rewrite::{Rewrite, Rewriter};
use std::rc::Rc;

/// A matrix product as a sum over the inner axis: the operands get an axis of size 1 for that of the other, and broadcast.
pub(super) fn matmul(rewriter: &mut Rewriter<'_>, node: &Rc<Node>) -> Rewrite {
    let product = product(rewriter, node, node.inputs[0], node.inputs[1])?;
    with_epilogue(rewriter, node, product)
}

fn product(rewriter: &mut Rewriter<'_>, node: &Node, a: ValueId, b: ValueId) -> Option<ValueId> {
    let ty = rewriter.ty(a).clone();
    let (m, k) = (ty.rank().checked_sub(2)?, ty.rank().checked_sub(1)?);
    let inner = ty.shape[k].clone();
    let mut rows = ty.shape.clone();
    rows.insert(k, Dim::from(1i64));
    let rows = rewriter.reshaped(a, rows, &node.origin)?;
    let b_rank = rewriter.shape(b).len();
    let mut permutation: Vec<usize> = (0..b_rank).collect();
    permutation.swap(b_rank.checked_sub(2)?, b_rank - 1);
    let columns = rewriter.emit_like(node, Op::Transpose { permutation }, vec![b])?;
    let mut shape = rewriter.shape(columns).to_vec();
    let n = shape[b_rank - 2].clone();
    shape.insert(b_rank - 2, Dim::from(1i64));
    let columns = rewriter.reshaped(columns, shape, &node.origin)?;

    // The result has the leading axes of both.
    let lead = |rewriter: &Rewriter<'_>, value: ValueId| {
        let shape = rewriter.shape(value);
        shape[..shape.len() - 2].to_vec()
    };
    let (left, right) = (lead(rewriter, a), lead(rewriter, b));
    let (mut shape, _) = crate::ir::infer::broadcast(rewriter.graph, &[&left, &right]).ok()?;
    shape.extend([ty.shape[m].clone(), n]);
    let types = [a, b].map(|value| rewriter.ty(value).dtype);
    let sum = Op::sum_type(types[0], types[1])?;
    let mut expr = Expr::empty();
    let [x, y] = [0, 1].map(|index| expr.input(index, types[index]));
    let [x, y] = [x, y].map(|id| expr.convert(id, sum));
    expr.apply2(BinaryOp::Mul, x, y);
    let fold = Op::Fold {
        kind: FoldKind::Sum,
        expr,
        shape,
        domain: vec![inner],
    };
    rewriter.emit_like(node, fold, vec![rows, columns])
}

/// Attention as its definition has it: products around a softmax.
pub(super) fn attention(rewriter: &mut Rewriter<'_>, node: &Rc<Node>) -> Rewrite {
    let Op::Attention { scale, mask, causal } = node.op else {
        return None;
    };
    let (q, k, v) = (node.inputs[0], node.inputs[1], node.inputs[2]);
    let dtype = rewriter.ty(q).dtype;
    let rank = rewriter.shape(q).len();
    let mut permutation: Vec<usize> = (0..rank).collect();
    permutation.swap(rank - 2, rank - 1);
    let keys = rewriter.emit_like(node, Op::Transpose { permutation }, vec![k])?;
    let scores = product(rewriter, node, q, keys)?;
    let mut expr = Expr::empty();
    let (score, factor) = (expr.input(0, dtype), expr.float(scale.into(), dtype));
    let mut value = expr.apply2(BinaryOp::Mul, score, factor);
    let mut inputs = vec![scores];
    if mask {
        inputs.push(node.inputs[3]);
        let mask = expr.input(1, dtype);
        value = expr.apply2(BinaryOp::Add, value, mask);
    }
    if causal {
        let (row, column) = (expr.index(rank - 2), expr.index(rank - 1));
        let seen = expr.apply2(BinaryOp::Le, column, row);
        let hidden = expr.float(f64::NEG_INFINITY, dtype);
        value = expr.select(seen, value, hidden);
    }
    let shape = rewriter.shape(scores).to_vec();
    let masked = rewriter.elementwise(expr.finish(value), inputs, shape, &node.origin)?;
    let softmax = Op::Softmax {
        axis: rank - 1,
        log: false,
    };
    let weights = super::rows::softmax_of(rewriter, node, &softmax, masked)?;
    debug_assert!(dtype != DType::F32);
    Some(vec![product(rewriter, node, weights, v)?])
}
