//! Expressions combined over a domain.

use super::elementwise::expression;
use super::numbers::{Numbers, int_limits, wrap_to};
use super::scalar::{maximum, minimum};
use super::{Symbols, elements};
use crate::ir::dtype::DType;
use crate::ir::expr::Expr;
use crate::ir::op::FoldKind;
use crate::ir::tensor::Tensor;

/// Evaluates the expression over the result's shape and the domain, and combines what belongs to one element.
pub(super) fn fold(
    kind: FoldKind,
    expr: &Expr,
    shape: &[usize],
    domain: &[usize],
    inputs: &[Tensor],
    dims: Symbols<'_>,
) -> Result<Tensor, String> {
    let all = expression(expr, &[shape, domain].concat(), inputs, dims)?;
    let count = elements(all.dtype, shape)?;
    let group: usize = domain.iter().product();
    let parts = |index: usize| index * group..(index + 1) * group;
    let numbers = match Numbers::of(&all) {
        Numbers::Float(values) => Numbers::Float((0..count).map(|index| floats(kind, &values[parts(index)])).collect()),
        Numbers::Int(values) => {
            let one = |index| integers(kind, &values[parts(index)], all.dtype);
            Numbers::Int((0..count).map(one).collect())
        }
        Numbers::Bool(values) => {
            let groups = (0..count).map(|index| &values[parts(index)]);
            match kind {
                FoldKind::Max => Numbers::Bool(groups.map(|group| group.contains(&true)).collect()),
                FoldKind::Min => Numbers::Bool(groups.map(|group| !group.contains(&false)).collect()),
                FoldKind::Sum | FoldKind::Prod => return Err(format!("{kind:?} of truth values")),
            }
        }
    };
    numbers.into_tensor(all.dtype, shape.to_vec())
}

fn floats(kind: FoldKind, values: &[f64]) -> f64 {
    let values = values.iter().copied();
    match kind {
        FoldKind::Sum => values.fold(0.0, |sum, x| sum + x),
        FoldKind::Prod => values.product(),
        FoldKind::Max => values.fold(f64::NEG_INFINITY, maximum),
        FoldKind::Min => values.fold(f64::INFINITY, minimum),
    }
}

fn integers(kind: FoldKind, values: &[i128], dtype: DType) -> i128 {
    let (low, high) = int_limits(dtype);
    let values = values.iter().copied();
    match kind {
        FoldKind::Sum => values.fold(0, |sum, x| wrap_to(sum.wrapping_add(x), dtype)),
        FoldKind::Prod => values.fold(1, |product, x| wrap_to(product.wrapping_mul(x), dtype)),
        FoldKind::Max => values.fold(low, i128::max),
        FoldKind::Min => values.fold(high, i128::min),
    }
}
