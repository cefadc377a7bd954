//! Gathers that are spelled as something else, and the other way round.

use super::pattern::{Head, Term};
use super::rewrite::{Rewrite, Rewriter};
use crate::ir::{BinaryOp, DType, Dim, Expr, Graph, Literal, Node, Op, Scalar, Tensor, ValueId};
use std::rc::Rc;

/// Replaces products with one-hot matrices by gathers, and gathers at consecutive indices by slices.
///
/// A one-hot matrix is `float(ids == [0, 1, ..., depth - 1])` with the classes along the last axis. An index out of
/// range has a row of zeros there, so unless its type keeps it in range, the gathered row is selected against zero.
///
/// Postcondition: no left operand of a matrix product with a matrix is one-hot; no gather is at indices
/// `start, start + 1, ...` along one axis.
pub(super) fn run(graph: &mut Graph) -> bool {
    super::rewrite::sweep(graph, &mut |rewriter, node| match node.op {
        Op::MatMul { epilogue: None } => one_hot(rewriter, node),
        Op::Gather { axis } => consecutive(rewriter, node, axis),
        _ => None,
    })
}

fn one_hot(rewriter: &mut Rewriter<'_>, node: &Rc<Node>) -> Rewrite {
    let (encoded, table) = (node.inputs[0], node.inputs[1]);
    let [classes, width] = rewriter.shape(table) else {
        return None;
    };
    let (classes, width) = (classes.as_usize()?, width.clone());
    let dtype = rewriter.ty(table).dtype;
    if rewriter.ty(encoded).dtype != dtype {
        return None;
    }
    let comparison = match rewriter.head(rewriter.term(encoded)) {
        Head::Cast(term) => term,
        Head::Select(term, one, zero) if rewriter.number(one) == Some(1.0) && rewriter.number(zero) == Some(0.0) => {
            term
        }
        _ => return None,
    };
    let shape = rewriter.shape(encoded).to_vec();
    let (ids, _) = rewriter
        .either_order(comparison, BinaryOp::Eq)
        .find(|&(_, iota)| counts(rewriter, iota, classes))?;
    let ids = rewriter.materialize(ids, &node.origin)?;
    let ids = along_last(rewriter, ids, &shape, &node.origin)?;
    let rows = shape[..shape.len() - 1].to_vec();

    let id_type = rewriter.ty(ids).dtype;
    if !id_type.is_int() {
        return None;
    }
    let always = matches!(id_type, DType::U8 if classes > 255) || matches!(id_type, DType::U16 if classes > 65535);
    let index_type = match id_type {
        DType::I64 | DType::U32 | DType::U64 => DType::I64,
        _ => DType::I32,
    };
    let last = i128::try_from(classes.checked_sub(1)?).ok()?;
    let first_and_last = |expr: &mut Expr| (expr.int(0, id_type), expr.int(last, id_type));
    let mut clamped = Expr::empty();
    let id = clamped.input(0, id_type);
    let (zero, last) = first_and_last(&mut clamped);
    let mut index = id;
    if !always {
        let high = clamped.apply2(BinaryOp::Min, id, last);
        index = clamped.apply2(BinaryOp::Max, high, zero);
    }
    let index = clamped.convert(index, index_type);
    let index = rewriter.elementwise(clamped.finish(index), vec![ids], rows.clone(), &node.origin)?;
    let gathered = rewriter.emit_like(node, Op::Gather { axis: 0 }, vec![table, index])?;
    if always {
        return Some(vec![gathered]);
    }

    let mut column = rows.clone();
    column.push(Dim::from(1i64));
    let ids = rewriter.reshaped(ids, column, &node.origin)?;
    let mut guarded = Expr::empty();
    let (row, id) = (guarded.input(0, dtype), guarded.input(1, id_type));
    let (first, last) = first_and_last(&mut guarded);
    let (low, high) = (
        guarded.apply2(BinaryOp::Ge, id, first),
        guarded.apply2(BinaryOp::Le, id, last),
    );
    let inside = guarded.apply2(BinaryOp::And, low, high);
    let zero = guarded.push(Scalar::Const(Literal::Float(0.0)), dtype);
    guarded.push(Scalar::Select(inside, row, zero), dtype);
    let mut result = rows;
    result.push(width);
    Some(vec![rewriter.elementwise(
        guarded,
        vec![gathered, ids],
        result,
        &node.origin,
    )?])
}

/// Whether a term is 0, 1, ... along the last axis and the same along the others. Operands broadcast by their last axes,
/// so the last axis is the same one wherever the term is used.
fn counts(rewriter: &Rewriter<'_>, term: Term, classes: usize) -> bool {
    match rewriter.head(term) {
        Head::Cast(inner) => counts(rewriter, inner, classes),
        Head::Index(axis) => {
            // The axis counts from the front of the value that the term is part of.
            let Term::Scalar(value, _) = term else {
                return false;
            };
            let rank = rewriter.shape(value).len();
            axis + 1 == rank && rewriter.shape(value)[axis].is(classes as i64)
        }
        Head::Value(value) => {
            let Some(tensor) = rewriter.constant(value) else {
                return false;
            };
            tensor.shape.last() == Some(&classes)
                && tensor.len() == classes
                && tensor
                    .to_ints()
                    .is_some_and(|ints| ints.into_iter().eq(0..classes as i64))
        }
        _ => false,
    }
}

/// A value of the shape `shape` without its last axis, given one that broadcasts to `shape` without varying along that.
fn along_last(rewriter: &mut Rewriter<'_>, value: ValueId, shape: &[Dim], origin: &[String]) -> Option<ValueId> {
    let found = rewriter.shape(value).to_vec();
    let rows = &shape[..shape.len() - 1];
    let kept = match found.split_last() {
        None => Vec::new(),
        Some((last, kept)) if last.is(1) => kept.to_vec(),
        Some(_) => return None,
    };
    let value = rewriter.reshaped(value, kept, origin)?;
    rewriter.broadcast_to(value, rows.to_vec(), origin)
}

/// A gather at consecutive indices is a slice.
fn consecutive(rewriter: &mut Rewriter<'_>, node: &Rc<Node>, axis: usize) -> Rewrite {
    let (table, indices) = (node.inputs[0], node.inputs[1]);
    let shape = rewriter.shape(indices).to_vec();
    let mut varying = (0..shape.len()).filter(|&axis| !shape[axis].is(1));
    let along = varying.next()?;
    if varying.next().is_some() {
        return None;
    }
    let start = first_of_run(rewriter, indices, along)?;
    let mut sliced = rewriter.shape(table).to_vec();
    let bounds = &rewriter.graph.bounds;
    let room = sliced[axis].clone() - start.clone() - shape[along].clone();
    if start.range(bounds).low < 0 || room.range(bounds).low < 0 {
        return None;
    }
    let mut starts = vec![Dim::from(0i64); sliced.len()];
    starts[axis] = start;
    sliced[axis] = shape[along].clone();
    let op = Op::Slice {
        starts,
        steps: vec![1; sliced.len()],
        shape: sliced,
    };
    let value = rewriter.emit_like(node, op, vec![table])?;
    let result = rewriter.shape(node.outputs[0]).to_vec();
    Some(vec![rewriter.reshaped(value, result, &node.origin)?])
}

/// The first element of a value that increases by 1 along `axis` and varies along no other.
fn first_of_run(rewriter: &Rewriter<'_>, value: ValueId, axis: usize) -> Option<Dim> {
    let node = rewriter.definition(value)?;
    match &node.op {
        Op::Constant(tensor) => run_of(tensor),
        Op::Reshape { .. } => {
            let inner = node.inputs[0];
            let mut varying = (0..rewriter.shape(inner).len()).filter(|&axis| !rewriter.shape(inner)[axis].is(1));
            let along = varying.next()?;
            if varying.next().is_some() {
                return None;
            }
            first_of_run(rewriter, inner, along)
        }
        Op::Slice { starts, steps, .. } if steps[axis] == 1 => {
            let inner = rewriter.shape(node.inputs[0]);
            if (0..inner.len()).any(|other| other != axis && !inner[other].is(1)) {
                return None;
            }
            Some(first_of_run(rewriter, node.inputs[0], axis)? + starts[axis].clone())
        }
        Op::Elementwise { expr, .. } => first_of_expression(expr, expr.result(), axis),
        _ => None,
    }
}

fn first_of_expression(expr: &Expr, id: usize, axis: usize) -> Option<Dim> {
    match &expr.nodes[id].op {
        Scalar::Index(found) if *found == axis => Some(Dim::from(0i64)),
        // Coordinates fit every index type.
        Scalar::Cast(x) if expr.nodes[id].dtype.size() >= 4 => first_of_expression(expr, *x, axis),
        Scalar::Binary(BinaryOp::Add, a, b) => [(a, b), (b, a)].into_iter().find_map(|(x, offset)| {
            let offset = match &expr.nodes[*offset].op {
                Scalar::Const(Literal::Int(value)) => Dim::from(i64::try_from(*value).ok()?),
                Scalar::Dim(dim) => dim.clone(),
                _ => return None,
            };
            Some(first_of_expression(expr, *x, axis)? + offset)
        }),
        _ => None,
    }
}

fn run_of(tensor: &Tensor) -> Option<Dim> {
    let ints = tensor.to_ints()?;
    let first = *ints.first()?;
    ints.windows(2)
        .all(|pair| pair[0].checked_add(1) == Some(pair[1]))
        .then(|| Dim::from(first))
}
