//! Writing at computed places, and sorting.

use super::numbers::{Numbers, round_to, wrap_to};
use super::scalar::{maximum, minimum};
use crate::ir::op::ScatterKind;
use crate::ir::tensor::Tensor;
use std::cmp::Ordering;

/// Combines updates with the elements at their places, in order.
pub(super) fn scatter(kind: ScatterKind, data: &Tensor, places: &Tensor, updates: &Tensor) -> Result<Tensor, String> {
    let dtype = data.dtype;
    let places = places.to_vec::<i64>().ok_or("places that are not i64")?;
    if places.len() != updates.len() || dtype != updates.dtype {
        return Err(format!("scatter of {updates:?} at {} places of {data:?}", places.len()));
    }
    let mut result = Numbers::of(data);
    match (&mut result, Numbers::of(updates)) {
        (Numbers::Float(data), Numbers::Float(updates)) => write(data, &places, &updates, |old, new| {
            let value = match kind {
                ScatterKind::Replace => new,
                ScatterKind::Add => old + new,
                ScatterKind::Mul => old * new,
                ScatterKind::Max => maximum(old, new),
                ScatterKind::Min => minimum(old, new),
            };
            round_to(value, dtype)
        }),
        (Numbers::Int(data), Numbers::Int(updates)) => write(data, &places, &updates, |old, new| {
            let value = match kind {
                ScatterKind::Replace => new,
                ScatterKind::Add => old.wrapping_add(new),
                ScatterKind::Mul => old.wrapping_mul(new),
                ScatterKind::Max => old.max(new),
                ScatterKind::Min => old.min(new),
            };
            wrap_to(value, dtype)
        }),
        (Numbers::Bool(data), Numbers::Bool(updates)) => write(data, &places, &updates, |old, new| match kind {
            ScatterKind::Add | ScatterKind::Max => old | new,
            ScatterKind::Mul | ScatterKind::Min => old & new,
            ScatterKind::Replace => new,
        }),
        (data, updates) => return Err(format!("scatter of {} into {}", updates.kind(), data.kind())),
    }
    result.into_tensor(dtype, data.shape.clone())
}

fn write<T: Copy>(data: &mut [T], places: &[i64], updates: &[T], combine: impl Fn(T, T) -> T) {
    for (&place, &update) in places.iter().zip(updates) {
        if let Some(element) = usize::try_from(place).ok().and_then(|place| data.get_mut(place)) {
            *element = combine(*element, update);
        }
    }
}

/// The order of the elements along the last axis.
pub(super) fn sort(descending: bool, x: &Tensor) -> Result<Tensor, String> {
    let size = *x.shape.last().ok_or("sort of a tensor without axes")?;
    let order = match Numbers::of(x) {
        Numbers::Float(values) => positions(&values, size, descending, |a, b| {
            // Not-a-number counts as larger than any number.
            a.partial_cmp(b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
        }),
        Numbers::Int(values) => positions(&values, size, descending, Ord::cmp),
        Numbers::Bool(values) => positions(&values, size, descending, Ord::cmp),
    };
    Numbers::Int(order).into_tensor(crate::ir::DType::I64, x.shape.clone())
}

fn positions<T>(values: &[T], size: usize, descending: bool, compare: impl Fn(&T, &T) -> Ordering) -> Vec<i128> {
    let mut order = Vec::with_capacity(values.len());
    for row in values.chunks(size.max(1)) {
        let mut own: Vec<usize> = (0..row.len()).collect();
        own.sort_by(|&a, &b| {
            let ordering = compare(&row[a], &row[b]);
            if descending { ordering.reverse() } else { ordering }
        });
        order.extend(own.into_iter().map(|place| place as i128));
    }
    order
}
