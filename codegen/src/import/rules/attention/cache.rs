//! Caches of keys and values.

use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::infer::display_shape;
use crate::ir::{BinaryOp, DType, Dim, Expr, Op, Scalar, ValueId};

/// A cache in which an update replaces the elements from a position on that each sequence has, running on from the start
/// after the end if the mode is circular.
///
/// An element of the result is looked up in the update if its position is covered, so that nothing is scattered.
pub(super) fn tensor_scatter(cx: &mut Call) -> Result<Vec<ValueId>, Fault> {
    let (cache, update) = (cx.input(0)?, cx.input(1)?);
    let (shape, updates) = (cx.shape(cache), cx.shape(update));
    let axis = cx.axis(cx.int("axis", -2)?, shape.len())?;
    let circular = match cx.string("mode", "linear")? {
        "linear" => false,
        "circular" => true,
        other => return cx.unsupported("mode", other),
    };
    if axis == 0 || updates.len() != shape.len() || cx.dtype(cache) != cx.dtype(update) {
        let (cache, update) = (display_shape(&shape), display_shape(&updates));
        return Err(Fault::new(format!(
            "an update {update} of the cache {cache} along axis {axis}"
        )));
    }
    let mut each = vec![Dim::from(1i64); shape.len()];
    let start = match cx.optional(2) {
        Some(start) => {
            each[0] = shape[0].clone();
            let start = cx.cast(start, DType::I64)?;
            cx.reshape(start, each.clone())?
        }
        None => cx.filled(0.0, DType::I64, each.clone())?,
    };
    Ok(vec![written(cx, cache, update, start, axis, circular)?])
}

/// The cache with the update from `start` on along an axis; all have the same rank.
pub(super) fn written(
    cx: &mut Call,
    cache: ValueId,
    update: ValueId,
    start: ValueId,
    axis: usize,
    circular: bool,
) -> Result<ValueId, Fault> {
    let (shape, updates, each) = (cx.shape(cache), cx.shape(update), cx.shape(start));
    for (other, (a, b)) in shape
        .iter()
        .zip(&updates)
        .enumerate()
        .filter(|(other, _)| *other != axis)
    {
        cx.equal(&format!("sizes of axis {other} of the cache and of its update"), a, b)?;
    }
    let (size, count) = (&shape[axis], &updates[axis]);
    let mut fits = Expr::empty();
    let (first, zero) = (fits.input(0, DType::I64), fits.int(0, DType::I64));
    let not_before = fits.apply2(BinaryOp::Ge, first, zero);
    let (count_id, size_id) = (fits.dim(count), fits.dim(size));
    let written = if circular { zero } else { first };
    let end = fits.apply2(BinaryOp::Add, written, count_id);
    let not_after = fits.apply2(BinaryOp::Le, end, size_id);
    fits.apply2(BinaryOp::And, not_before, not_after);
    cx.assert_all(fits, each, &[start], "an update lies within the cache")?;

    let mut expr = Expr::empty();
    let (start_id, kept) = (expr.input(0, DType::I64), expr.input(1, cx.dtype(cache)));
    let here = expr.push(Scalar::Index(axis), DType::I64);
    let mut offset = expr.apply2(BinaryOp::Sub, here, start_id);
    let (zero, count_id, size_id) = (expr.int(0, DType::I64), expr.dim(count), expr.dim(size));
    if circular {
        offset = expr.apply2(BinaryOp::Mod, offset, size_id);
    }
    let not_before = expr.apply2(BinaryOp::Ge, offset, zero);
    let not_after = expr.apply2(BinaryOp::Lt, offset, count_id);
    let covered = expr.apply2(BinaryOp::And, not_before, not_after);
    let mut place = zero;
    for (other, size) in updates.iter().enumerate() {
        let size = expr.dim(size);
        let along = if other == axis {
            offset
        } else {
            expr.push(Scalar::Index(other), DType::I64)
        };
        let scaled = expr.apply2(BinaryOp::Mul, place, size);
        place = expr.apply2(BinaryOp::Add, scaled, along);
    }
    let dtype = cx.dtype(update);
    let new = expr.at(2, place, dtype);
    expr.push(Scalar::Select(covered, new, kept), dtype);
    cx.emit(Op::Elementwise { expr, shape }, &[start, cache, update])
}
