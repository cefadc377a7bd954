//! Operations along axes.

use super::is_reducible;
use crate::ir::op::{NormalizeKind, ReduceKind};
use crate::ir::{BinaryOp, DType, Dim, Expr, FoldKind, Node, Op, Scalar, UnaryOp, ValueId};
use crate::passes::rewrite::{Rewrite, Rewriter};
use std::rc::Rc;

pub(super) fn softmax(rewriter: &mut Rewriter<'_>, node: &Rc<Node>) -> Rewrite {
    Some(vec![softmax_of(rewriter, node, &node.op, node.inputs[0])?])
}

/// `exp(x - max) / sum(exp(x - max))`, or its logarithm `x - max - ln(sum(exp(x - max)))`.
pub(super) fn softmax_of(rewriter: &mut Rewriter<'_>, node: &Node, op: &Op, x: ValueId) -> Option<ValueId> {
    let Op::Softmax { axis, log } = *op else {
        return None;
    };
    let ty = rewriter.ty(x).clone();
    let largest = along(rewriter, node, ReduceKind::Max, &[axis], x)?;
    let mut shifted = Expr::binary(BinaryOp::Sub, ty.dtype);
    let inputs = vec![x, largest];
    if log {
        let shifted = rewriter.elementwise(shifted, inputs, ty.shape.clone(), &node.origin)?;
        let powers = Expr::unary(UnaryOp::Exp, ty.dtype);
        let powers = rewriter.elementwise(powers, vec![shifted], ty.shape.clone(), &node.origin)?;
        let total = along(rewriter, node, ReduceKind::Sum, &[axis], powers)?;
        let mut expr = Expr::empty();
        let (shifted_id, total_id) = (expr.input(0, ty.dtype), expr.input(1, ty.dtype));
        let total_id = expr.apply1(UnaryOp::Ln, total_id);
        expr.apply2(BinaryOp::Sub, shifted_id, total_id);
        return rewriter.elementwise(expr, vec![shifted, total], ty.shape, &node.origin);
    }
    let difference = shifted.result();
    shifted.apply1(UnaryOp::Exp, difference);
    let powers = rewriter.elementwise(shifted, inputs, ty.shape.clone(), &node.origin)?;
    let total = along(rewriter, node, ReduceKind::Sum, &[axis], powers)?;
    let quotient = Expr::binary(BinaryOp::Div, ty.dtype);
    rewriter.elementwise(quotient, vec![powers, total], ty.shape, &node.origin)
}

/// A reduction that keeps its axes.
fn along(rewriter: &mut Rewriter<'_>, node: &Node, kind: ReduceKind, axes: &[usize], x: ValueId) -> Option<ValueId> {
    let op = Op::Reduce {
        kind,
        axes: axes.to_vec(),
        keep_dims: true,
    };
    rewriter.emit_like(node, op, vec![x])
}

pub(super) fn normalize(rewriter: &mut Rewriter<'_>, node: &Rc<Node>) -> Rewrite {
    let Op::Normalize {
        kind,
        axis,
        epsilon,
        scale,
        bias,
    } = node.op
    else {
        return None;
    };
    let ty = rewriter.ty(node.inputs[0]).clone();
    let axes: Vec<usize> = (axis..ty.rank()).collect();
    let mut x = node.inputs[0];
    if kind == NormalizeKind::Layer {
        let mean = along(rewriter, node, ReduceKind::Mean, &axes, x)?;
        let centered = Expr::binary(BinaryOp::Sub, ty.dtype);
        x = rewriter.elementwise(centered, vec![x, mean], ty.shape.clone(), &node.origin)?;
    }
    let mut square = Expr::empty();
    let id = square.input(0, ty.dtype);
    square.apply2(BinaryOp::Mul, id, id);
    let squares = rewriter.elementwise(square, vec![x], ty.shape.clone(), &node.origin)?;
    let variance = along(rewriter, node, ReduceKind::Mean, &axes, squares)?;
    let mut expr = Expr::empty();
    let (value, variance_id) = (expr.input(0, ty.dtype), expr.input(1, ty.dtype));
    let epsilon = expr.float(epsilon.into(), ty.dtype);
    let sum = expr.apply2(BinaryOp::Add, variance_id, epsilon);
    let factor = expr.apply1(UnaryOp::Rsqrt, sum);
    let mut result = expr.apply2(BinaryOp::Mul, value, factor);
    let mut inputs = vec![x, variance];
    for (there, operation) in [(scale, BinaryOp::Mul), (bias, BinaryOp::Add)] {
        if there {
            let operand = expr.input(inputs.len(), ty.dtype);
            inputs.push(node.inputs[inputs.len() - 1]);
            result = expr.apply2(operation, result, operand);
        }
    }
    Some(vec![rewriter.elementwise(
        expr.finish(result),
        inputs,
        ty.shape,
        &node.origin,
    )?])
}

/// A reduction of a type without kernel: a fold over the reduced axes.
pub(super) fn reduce(rewriter: &mut Rewriter<'_>, node: &Rc<Node>) -> Rewrite {
    let Op::Reduce { kind, axes, keep_dims } = &node.op else {
        return None;
    };
    let ty = rewriter.ty(node.inputs[0]).clone();
    let dtype = ty.dtype;
    let mut expr = Expr::empty();
    let x = expr.input(0, dtype);
    let (fold, mean) = match kind {
        ReduceKind::Sum => (FoldKind::Sum, false),
        ReduceKind::Mean => (FoldKind::Sum, true),
        ReduceKind::Prod => (FoldKind::Prod, false),
        ReduceKind::Max => (FoldKind::Max, false),
        ReduceKind::Min => (FoldKind::Min, false),
        ReduceKind::SumSquare => {
            expr.apply2(BinaryOp::Mul, x, x);
            (FoldKind::Sum, false)
        }
        ReduceKind::L1 => {
            expr.apply1(UnaryOp::Abs, x);
            (FoldKind::Sum, false)
        }
        ReduceKind::L2 | ReduceKind::LogSum | ReduceKind::LogSumExp => return None,
    };
    let kept: Vec<usize> = (0..ty.rank()).filter(|axis| !axes.contains(axis)).collect();
    let pick = |axes: &[usize]| -> Vec<Dim> { axes.iter().map(|&axis| ty.shape[axis].clone()).collect() };
    let permutation: Vec<usize> = kept.iter().chain(axes).copied().collect();
    let moved = rewriter.emit_like(node, Op::Transpose { permutation }, vec![node.inputs[0]])?;
    let op = Op::Fold {
        kind: fold,
        expr,
        shape: pick(&kept),
        domain: pick(axes),
    };
    let mut value = rewriter.emit_like(node, op, vec![moved])?;
    if mean {
        let count: Dim = pick(axes).into_iter().product();
        let mut expr = Expr::empty();
        let (sum, count) = (expr.input(0, dtype), expr.dim(&count));
        let count = expr.convert(count, dtype);
        expr.apply2(BinaryOp::Div, sum, count);
        value = rewriter.elementwise(expr, vec![value], pick(&kept), &node.origin)?;
    }
    if *keep_dims {
        let shape = rewriter.shape(node.outputs[0]).to_vec();
        value = rewriter.reshaped(value, shape, &node.origin)?;
    }
    Some(vec![value])
}

/// The position of an extremum of unsigned 64-bit integers: of signed ones in the same order.
pub(super) fn arg_reduce(rewriter: &mut Rewriter<'_>, node: &Rc<Node>) -> Rewrite {
    let ty = rewriter.ty(node.inputs[0]).clone();
    if ty.dtype != DType::U64 || is_reducible(ty.dtype) {
        return None;
    }
    let mut expr = Expr::empty();
    let x = expr.input(0, DType::U64);
    let x = expr.convert(x, DType::I64);
    let least = expr.int(i64::MIN.into(), DType::I64);
    expr.apply2(BinaryOp::Add, x, least);
    let ordered = rewriter.elementwise(expr, vec![node.inputs[0]], ty.shape, &node.origin)?;
    Some(vec![rewriter.emit_like(node, node.op.clone(), vec![ordered])?])
}

/// A running sum: for each element, the sum of those that are not after it.
pub(super) fn cum_sum(rewriter: &mut Rewriter<'_>, node: &Rc<Node>) -> Rewrite {
    let Op::CumSum {
        axis,
        exclusive,
        reverse,
    } = node.op
    else {
        return None;
    };
    let ty = rewriter.ty(node.inputs[0]).clone();
    let rank = ty.rank();
    let mut expr = Expr::empty();
    let (here, other) = (expr.index(axis), expr.index(rank));
    let order = match (reverse, exclusive) {
        (false, false) => BinaryOp::Le,
        (false, true) => BinaryOp::Lt,
        (true, false) => BinaryOp::Ge,
        (true, true) => BinaryOp::Gt,
    };
    let counts = expr.apply2(order, other, here);
    let coordinates: Vec<_> = (0..rank)
        .map(|other_axis| {
            expr.push(
                Scalar::Index(if other_axis == axis { rank } else { other_axis }),
                DType::I64,
            )
        })
        .collect();
    let place = expr.row_major(&coordinates, &ty.shape);
    let value = expr.at(0, place, ty.dtype);
    let zero = match ty.dtype.is_float() {
        true => expr.float(0.0, ty.dtype),
        false => expr.int(0, ty.dtype),
    };
    expr.select(counts, value, zero);
    let op = Op::Fold {
        kind: FoldKind::Sum,
        expr,
        domain: vec![ty.shape[axis].clone()],
        shape: ty.shape,
    };
    Some(vec![rewriter.emit_like(node, op, vec![node.inputs[0]])?])
}
