//! Elements written at computed places.

use super::{ONNX, Rules};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::import::formula::Term;
use crate::ir::infer::display_shape;
use crate::ir::op::ScatterKind;
use crate::ir::{DType, Dim, Op, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[
    (ONNX, "Scatter", elements),
    (ONNX, "ScatterElements", elements),
    (ONNX, "ScatterND", nd),
];

fn kind(cx: &Call) -> Result<ScatterKind, Fault> {
    Ok(match cx.string("reduction", "none")? {
        "none" => ScatterKind::Replace,
        "add" => ScatterKind::Add,
        "mul" => ScatterKind::Mul,
        "max" => ScatterKind::Max,
        "min" => ScatterKind::Min,
        other => return cx.unsupported("reduction", other),
    })
}

/// Every update goes to its own coordinates but for one axis, along which the index stands.
fn elements(cx: &mut Call) -> Results {
    let (data, indices, updates) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let (shape, own) = (cx.shape(data), cx.shape(indices));
    let axis = cx.axis(cx.int("axis", 0)?, shape.len())?;
    let kind = kind(cx)?;
    if own.len() != shape.len() || cx.rank(updates) != shape.len() {
        let (own, updates) = (display_shape(&own), display_shape(&cx.shape(updates)));
        let shape = display_shape(&shape);
        return Err(Fault::new(format!(
            "updates {updates} at indices {own} into {shape}, which must have one rank"
        )));
    }
    let found = cx.shape(updates);
    for (at, (inner, outer)) in own.iter().zip(&shape).enumerate() {
        cx.equal("sizes of indices and updates", inner, &found[at])?;
        if at != axis && !cx.graph.dims_equal(inner, outer) {
            let message = format!("there are at most {outer} indices along axis {at}");
            cx.demand(message, Vec::new(), &[], |f| f.dim(inner).le(f.dim(outer)))?;
        }
    }
    let message = format!("the indices are from -{0} to {0} - 1", shape[axis]);
    cx.demand(message, own.clone(), &[indices], |f| {
        let size = f.dim(&shape[axis]);
        f.operand(0).cast(DType::I64).counted_within(size).within(size)
    })?;
    let places = cx.each(own, &[indices], |f| {
        let mut coordinates = f.indices(0..shape.len());
        coordinates[axis] = f.operand(0).cast(DType::I64).counted_within(f.dim(&shape[axis]));
        f.place(&coordinates, &shape)
    })?;
    Ok(vec![cx.emit(Op::Scatter { kind }, &[data, places, updates])?])
}

/// The last axis of the indices holds the first coordinates of what is updated.
fn nd(cx: &mut Call) -> Results {
    let (data, indices, updates) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let (shape, own) = (cx.shape(data), cx.shape(indices));
    let kind = kind(cx)?;
    let depth = own.last().and_then(Dim::as_usize).unwrap_or(usize::MAX);
    let places = match shape.get(depth..) {
        Some(rest) => [&own[..own.len() - 1], rest].concat(),
        None => Vec::new(),
    };
    let found = cx.shape(updates);
    if depth > shape.len() || found.len() != places.len() {
        let [shape, own, found] = [&shape, &own, &found].map(|shape| display_shape(shape));
        return Err(Fault::new(format!("updates {found} at indices {own} into {shape}")));
    }
    for (a, b) in places.iter().zip(&found) {
        cx.equal("sizes of the updates and of what they update", a, b)?;
    }
    let (outer, rank) = (own.len() - 1, places.len());
    let message = format!("the indices are within shape {}", display_shape(&shape[..depth]));
    cx.demand(message, own[..outer].to_vec(), &[indices], |f| {
        let mut point = f.indices(0..outer);
        point.push(f.int(0));
        let inside = shape[..depth].iter().enumerate().map(|(axis, size)| {
            point[outer] = f.int(axis as i64);
            let size = f.dim(size);
            f.load(0, &point).cast(DType::I64).counted_within(size).within(size)
        });
        inside.reduce(Term::and).unwrap_or(f.number(1.0, DType::Bool))
    })?;
    let places = cx.each(places, &[indices], |f| {
        let mut point = f.indices(0..outer);
        point.push(f.int(0));
        let indexed = shape[..depth].iter().enumerate().map(|(axis, size)| {
            point[outer] = f.int(axis as i64);
            f.load(0, &point).cast(DType::I64).counted_within(f.dim(size))
        });
        let coordinates: Vec<_> = indexed.chain(f.indices(outer..rank)).collect();
        f.place(&coordinates, &shape)
    })?;
    Ok(vec![cx.emit(Op::Scatter { kind }, &[data, places, updates])?])
}
