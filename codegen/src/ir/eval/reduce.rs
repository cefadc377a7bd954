//! Reductions and running sums.

use super::movement::move_tensors;
use super::numbers::{Numbers, Ring, int_limits};
use super::scalar::{maximum, minimum};
use super::split;
use crate::ir::dtype::DType;
use crate::ir::op::{Op, ReduceKind};
use crate::ir::tensor::Tensor;

/// Reduces along axes. Without elements, a maximum is the smallest value of the type and a minimum the largest.
///
/// Means, roots and logarithms of integers are computed in `f64` and truncated toward zero.
pub(super) fn reduce(kind: ReduceKind, axes: &[usize], keep_dims: bool, x: &Tensor) -> Result<Tensor, String> {
    let rank = x.shape.len();
    if axes.iter().any(|&axis| axis >= rank) || axes.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(format!("axes {axes:?} of shape {:?}", x.shape));
    }
    let kept: Vec<usize> = (0..rank).filter(|axis| !axes.contains(axis)).collect();
    let shape: Vec<usize> = (0..rank)
        .filter(|axis| keep_dims || kept.contains(axis))
        .map(|axis| if axes.contains(&axis) { 1 } else { x.shape[axis] })
        .collect();
    // With the reduced axes last, every result is made of neighbors.
    let permutation = kept.iter().chain(axes).copied().collect();
    let x = move_tensors(&Op::Transpose { permutation }, std::slice::from_ref(x), &|_| None)?;
    let group: usize = x.shape[kept.len()..].iter().product();
    let count = super::elements(x.dtype, &shape)?;
    let parts = |index: usize| index * group..(index + 1) * group;
    let numbers = match Numbers::of(&x) {
        Numbers::Float(values) => Numbers::Float(
            (0..count)
                .map(|index| reduce_floats(kind, &values[parts(index)]))
                .collect(),
        ),
        Numbers::Int(values) => Numbers::Int(
            (0..count)
                .map(|index| reduce_ints(kind, &values[parts(index)], x.dtype))
                .collect(),
        ),
        Numbers::Bool(values) => {
            let groups = (0..count).map(|index| &values[parts(index)]);
            match kind {
                ReduceKind::Max => Numbers::Bool(groups.map(|group| group.contains(&true)).collect()),
                ReduceKind::Min => Numbers::Bool(groups.map(|group| !group.contains(&false)).collect()),
                _ => return Err(format!("{kind:?} of truth values")),
            }
        }
    };
    numbers.into_tensor(x.dtype, shape)
}

fn reduce_floats(kind: ReduceKind, values: &[f64]) -> f64 {
    let sum = |function: fn(f64) -> f64| values.iter().map(|&x| function(x)).sum::<f64>();
    let largest = || values.iter().copied().fold(f64::NEG_INFINITY, maximum);
    match kind {
        ReduceKind::Sum => sum(|x| x),
        ReduceKind::Mean => sum(|x| x) / values.len() as f64,
        ReduceKind::Max => largest(),
        ReduceKind::Min => values.iter().copied().fold(f64::INFINITY, minimum),
        ReduceKind::Prod => values.iter().product(),
        ReduceKind::SumSquare => sum(|x| x * x),
        ReduceKind::L1 => sum(f64::abs),
        ReduceKind::L2 => sum(|x| x * x).sqrt(),
        ReduceKind::LogSum => sum(|x| x).ln(),
        ReduceKind::LogSumExp => {
            let largest = largest();
            if largest.is_infinite() {
                return largest;
            }
            largest + values.iter().map(|&x| (x - largest).exp()).sum::<f64>().ln()
        }
    }
}

fn reduce_ints(kind: ReduceKind, values: &[i128], dtype: DType) -> i128 {
    let (low, high) = int_limits(dtype);
    let sum = |function: fn(i128) -> i128| values.iter().fold(0i128, |sum, &x| sum.wrapping_add(function(x)));
    match kind {
        ReduceKind::Sum => sum(|x| x),
        ReduceKind::Mean => sum(|x| x).checked_div(values.len() as i128).unwrap_or(0),
        ReduceKind::Max => values.iter().copied().fold(low, i128::max),
        ReduceKind::Min => values.iter().copied().fold(high, i128::min),
        ReduceKind::Prod => values.iter().fold(1i128, |product, &x| product.wrapping_mul(x)),
        ReduceKind::SumSquare => sum(|x| x.wrapping_mul(x)),
        ReduceKind::L1 => sum(i128::abs),
        ReduceKind::L2 | ReduceKind::LogSum | ReduceKind::LogSumExp => {
            let floats: Vec<f64> = values.iter().map(|&x| x as f64).collect();
            (reduce_floats(kind, &floats) as i128).clamp(low, high)
        }
    }
}

/// The position of the extremum. Not-a-number is neither larger nor smaller than anything.
pub(super) fn arg_reduce(
    largest: bool,
    axis: usize,
    keep_dims: bool,
    last: bool,
    x: &Tensor,
) -> Result<Tensor, String> {
    fn positions<T: PartialOrd + Copy>(
        values: &[T],
        sizes: (usize, usize, usize),
        largest: bool,
        last: bool,
    ) -> Vec<i64> {
        let (outer, size, inner) = sizes;
        let mut result = Vec::with_capacity(outer * inner);
        for row in 0..outer {
            for column in 0..inner {
                let at = |index: usize| values[(row * size + index) * inner + column];
                let mut best = 0;
                for index in 1..size {
                    let (candidate, current) = (at(index), at(best));
                    let better = if largest {
                        candidate > current
                    } else {
                        candidate < current
                    };
                    if better || (last && candidate == current) {
                        best = index;
                    }
                }
                result.push(best as i64);
            }
        }
        result
    }
    let sizes = split(&x.shape, axis)?;
    let mut shape = x.shape.clone();
    if keep_dims {
        shape[axis] = 1;
    } else {
        shape.remove(axis);
    }
    let count = super::elements(DType::I64, &shape)?;
    if sizes.1 == 0 && count > 0 {
        return Err("the extremum of nothing".into());
    }
    let result = match Numbers::of(x) {
        Numbers::Float(values) => positions(&values, sizes, largest, last),
        Numbers::Int(values) => positions(&values, sizes, largest, last),
        Numbers::Bool(values) => positions(&values, sizes, largest, last),
    };
    Ok(Tensor::new(shape, &result))
}

/// The running sum along an axis.
pub(super) fn cum_sum(axis: usize, exclusive: bool, reverse: bool, x: &Tensor) -> Result<Tensor, String> {
    fn run<R: Ring>(axis: usize, exclusive: bool, reverse: bool, x: &Tensor) -> Result<Tensor, String> {
        let (outer, size, inner) = split(&x.shape, axis)?;
        let mut values = R::decode(x)?;
        for row in 0..outer {
            for column in 0..inner {
                let mut sum = R::default();
                for step in 0..size {
                    let index = if reverse { size - 1 - step } else { step };
                    let value = &mut values[(row * size + index) * inner + column];
                    let next = sum.add(*value);
                    *value = if exclusive { sum } else { next };
                    sum = next;
                }
            }
        }
        R::encode(values, x.dtype, x.shape.clone())
    }
    if x.dtype.is_float() {
        run::<f64>(axis, exclusive, reverse, x)
    } else {
        run::<i64>(axis, exclusive, reverse, x)
    }
}
