//! Padding, and reading at indices.

use crate::ir::op::PadMode;
use crate::ir::{BinaryOp, DType, Dim, Expr, FoldKind, Node, Op, ScalarId, ValueId};
use crate::passes::rewrite::{Rewrite, Rewriter};
use std::rc::Rc;

/// Padding of any mode: each element is read at the coordinates that it stands for.
pub(super) fn pad(rewriter: &mut Rewriter<'_>, node: &Rc<Node>) -> Rewrite {
    let Op::Pad { mode, before, .. } = &node.op else {
        return None;
    };
    let ty = rewriter.ty(node.inputs[0]).clone();
    let shape = rewriter.shape(node.outputs[0]).to_vec();
    let mut expr = Expr::empty();
    let zero = expr.int(0, DType::I64);
    let mut inside: Option<ScalarId> = None;
    let mut coordinates = Vec::with_capacity(shape.len());
    for (axis, size) in ty.shape.iter().enumerate() {
        let (here, before) = (expr.index(axis), expr.dim(&before[axis]));
        let (place, size) = (expr.apply2(BinaryOp::Sub, here, before), expr.dim(size));
        let one = expr.int(1, DType::I64);
        let last = expr.apply2(BinaryOp::Sub, size, one);
        coordinates.push(match mode {
            PadMode::Constant => {
                let starts = expr.apply2(BinaryOp::Ge, place, zero);
                let ends = expr.apply2(BinaryOp::Lt, place, size);
                let own = expr.apply2(BinaryOp::And, starts, ends);
                inside = Some(match inside {
                    Some(others) => expr.apply2(BinaryOp::And, others, own),
                    None => own,
                });
                place
            }
            PadMode::Edge => {
                let place = expr.apply2(BinaryOp::Max, place, zero);
                expr.apply2(BinaryOp::Min, place, last)
            }
            PadMode::Wrap => expr.apply2(BinaryOp::Mod, place, size),
            PadMode::Reflect => {
                // The period is twice the distance from the first to the last element; a single element repeats.
                let two = expr.int(2, DType::I64);
                let period = expr.apply2(BinaryOp::Mul, last, two);
                let phase = expr.apply2(BinaryOp::Mod, place, period);
                let back = expr.apply2(BinaryOp::Sub, period, phase);
                expr.apply2(BinaryOp::Min, phase, back)
            }
        });
    }
    let place = expr.row_major(&coordinates, &ty.shape);
    let mut value = expr.at(0, place, ty.dtype);
    if let Some(inside) = inside {
        let padding = expr.input(1, ty.dtype);
        value = expr.select(inside, value, padding);
    }
    // A constant without axes to pad is read nowhere but at its place.
    let inputs = node.inputs[..1 + usize::from(inside.is_some())].to_vec();
    let op = Op::Elementwise {
        expr: expr.finish(value),
        shape,
    };
    Some(vec![rewriter.emit_like(node, op, inputs)?])
}

/// Elements at indices that do not cover the other axes.
pub(super) fn gather_elements(rewriter: &mut Rewriter<'_>, node: &Rc<Node>) -> Rewrite {
    let Op::GatherElements { axis } = node.op else {
        return None;
    };
    let ty = rewriter.ty(node.inputs[0]).clone();
    let (indices, shape) = (node.inputs[1], rewriter.shape(node.inputs[1]).to_vec());
    let index_type = rewriter.ty(indices).dtype;
    check_indices(rewriter, node, indices, index_type, &ty.shape[axis])?;
    let mut expr = Expr::empty();
    let index = expr.input(1, index_type);
    let index = from_start(&mut expr, index, &ty.shape[axis]);
    let coordinates: Vec<ScalarId> = (0..ty.rank())
        .map(|other| if other == axis { index } else { expr.index(other) })
        .collect();
    let place = expr.row_major(&coordinates, &ty.shape);
    expr.at(0, place, ty.dtype);
    let op = Op::Elementwise { expr, shape };
    Some(vec![rewriter.emit_like(node, op, vec![node.inputs[0], indices])?])
}

/// An index from the start of an axis, from which a negative one counts at the end.
fn from_start(expr: &mut Expr, index: ScalarId, size: &Dim) -> ScalarId {
    let index = expr.convert(index, DType::I64);
    let (zero, size) = (expr.int(0, DType::I64), expr.dim(size));
    let is_negative = expr.apply2(BinaryOp::Lt, index, zero);
    let moved = expr.apply2(BinaryOp::Add, index, size);
    expr.select(is_negative, moved, index)
}

/// Ends the run with an error if an index is outside of its axis.
fn check_indices(rewriter: &mut Rewriter<'_>, node: &Node, indices: ValueId, dtype: DType, size: &Dim) -> Option<()> {
    let mut expr = Expr::empty();
    let index = expr.input(0, dtype);
    let index = from_start(&mut expr, index, size);
    let (zero, size) = (expr.int(0, DType::I64), expr.dim(size));
    let starts = expr.apply2(BinaryOp::Ge, index, zero);
    let ends = expr.apply2(BinaryOp::Lt, index, size);
    expr.apply2(BinaryOp::And, starts, ends);
    let holds = Op::Fold {
        kind: FoldKind::Min,
        expr,
        shape: Vec::new(),
        domain: rewriter.shape(indices).to_vec(),
    };
    let holds = rewriter.emit_like(node, holds, vec![indices])?;
    rewriter.demand(holds, "every index is inside of its axis", &node.origin);
    Some(())
}

/// What numbers stand for that only the run knows, or whose scales it alone knows.
pub(super) fn dequantize(rewriter: &mut Rewriter<'_>, node: &Rc<Node>, rows: usize) -> Rewrite {
    let shape = rewriter.shape(node.outputs[0]).to_vec();
    let parameters = rewriter.shape(node.inputs[1]).to_vec();
    let mut expr = Expr::empty();
    let (row, column) = (expr.index(0), expr.index(1));
    let rows = expr.int(rows as i128, DType::I64);
    let block = expr.apply2(BinaryOp::Div, row, rows);
    let place = expr.row_major(&[block, column], &parameters);
    let number = expr.input(0, DType::I8);
    let mut difference = expr.convert(number, DType::F32);
    if node.inputs.len() > 2 {
        let zero = expr.at(2, place, DType::I8);
        let zero = expr.convert(zero, DType::F32);
        difference = expr.apply2(BinaryOp::Sub, difference, zero);
    }
    let scale = expr.at(1, place, DType::F32);
    let value = expr.apply2(BinaryOp::Mul, difference, scale);
    let op = Op::Elementwise {
        expr: expr.finish(value),
        shape,
    };
    Some(vec![rewriter.emit_like(node, op, node.inputs.clone())?])
}
