//! Elements chosen by their values.

use super::{ONNX, Rules};
use crate::import::arithmetic::Arithmetic;
use crate::import::builder::{Fault, literal};
use crate::import::call::Call;
use crate::ir::infer::display_shape;
use crate::ir::{BinaryOp, DType, Dim, Op, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[
    (ONNX, "Compress", compress),
    (ONNX, "NonZero", non_zero),
    (ONNX, "TopK", top_k),
];

/// The slices along an axis, or the elements in row-major order, for which the condition holds.
fn compress(cx: &mut Call) -> Results {
    let (mut x, condition) = (cx.input(0)?, cx.input(1)?);
    let axis = match cx.optional_int("axis")? {
        Some(axis) => cx.axis(axis, cx.rank(x))?,
        None => {
            let elements = cx.ty(x).elements();
            x = cx.reshape(x, vec![elements])?;
            0
        }
    };
    if cx.dtype(condition) != DType::Bool || cx.rank(condition) != 1 {
        let found = cx.ty(condition).to_string();
        return Err(Fault::new(format!("the condition is {found}, not a list of bool")));
    }
    let places = cx.places_of(0, axis, condition)?;
    Ok(vec![cx.emit(Op::Gather { axis }, &[x, places])?])
}

/// The coordinates of the elements that are not zero, a row for each axis. A scalar is a tensor of one axis.
fn non_zero(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let (dtype, mut shape) = (cx.dtype(x), cx.shape(x));
    if shape.is_empty() {
        shape.push(Dim::from(1i64));
    }
    let flat = cx.reshape(x, vec![shape.iter().cloned().product()])?;
    let mask = cx.map(&[flat], |e, of| {
        let zero = literal(e, 0.0, dtype);
        e.apply2(BinaryOp::Ne, of[0], zero)
    })?;
    let places = cx.places_of(0, 1, mask)?;
    let count = cx.shape(places)[0].clone();
    let strides = (1..=shape.len()).map(|axis| shape[axis..].iter().cloned().product());
    let strides: Vec<Dim> = strides.collect();
    let [sizes, strides] = [cx.sizes_of(&shape), cx.sizes_of(&strides)];
    let coordinates = cx.generate(vec![Dim::from(shape.len()), count], &[places, sizes, strides], |e| {
        let (axis, place) = (e.index(0), e.input(0, DType::I64));
        let (size, stride) = (e.at(1, axis, DType::I64), e.at(2, axis, DType::I64));
        let row = e.div(place, stride);
        e.modulo(row, size)
    })?;
    Ok(vec![coordinates])
}

/// The `k` largest or smallest elements along an axis, in order; among equals the first. How many is an attribute before
/// version 10.
fn top_k(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let (shape, rank) = (cx.shape(x), cx.rank(x));
    let axis = cx.axis(cx.int("axis", -1)?, rank)?;
    let largest = cx.flag("largest", true)?;
    // What is asked to be in no order may be in this one.
    cx.ignore(&["sorted"]);
    let count = if cx.version < 10 {
        Dim::from(cx.int("k", 0)?)
    } else {
        let k = cx.input(1)?;
        let k = cx.reshape(k, Vec::new())?;
        let most = shape[axis].upper(&cx.graph.bounds);
        cx.bind_size(0, axis, k, Some(most))?
    };
    let left = shape[axis].clone() - count.clone();
    let range = left.range(&cx.graph.bounds);
    if range.high < 0 || count.range(&cx.graph.bounds).high < 0 {
        let shape = display_shape(&shape);
        return Err(Fault::new(format!("{count} elements along axis {axis} of {shape}")));
    }
    if range.low < 0 {
        cx.require(Vec::new(), &[], format!("axis {axis} has {count} elements"), |e| {
            let (left, zero) = (e.dim(&left), e.number(0));
            e.at_most(zero, left)
        })?;
    }
    // The axis comes last, and goes back by the same exchange.
    let mut permutation: Vec<usize> = (0..rank).collect();
    permutation.swap(axis, rank - 1);
    let rows = cx.transpose(x, permutation.clone())?;
    let order = cx.emit(Op::Sort { descending: largest }, &[rows])?;
    let order = cx.narrow(order, rank - 1, Dim::from(0i64), count)?;
    let values = cx.emit(Op::GatherElements { axis: rank - 1 }, &[rows, order])?;
    Ok(vec![
        cx.transpose(values, permutation.clone())?,
        cx.transpose(order, permutation)?,
    ])
}
