//! Which keys a query sees.

use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::{BinaryOp, DType, Dim, Literal, Scalar, ValueId};

/// Lengths that positions are compared with.
pub(super) struct Window {
    /// Whether a query sees no later key.
    pub(super) causal: bool,
    /// How many earlier keys a query sees, if not all.
    pub(super) left: Option<i64>,
    /// How many later keys a query sees, if not all.
    pub(super) right: Option<i64>,
}

/// The keys before the first query.
pub(super) enum Offset {
    /// As many for each sequence.
    Shared(Dim),
    /// So many for each sequence, as `i64[batch, 1, 1, 1]`.
    Each(ValueId),
}

impl Window {
    fn is_open(&self) -> bool {
        !self.causal && self.left.is_none() && self.right.is_none()
    }

    /// Which of `keys` each of `queries` sees, broadcasting to the scores; `None` if that is all.
    pub(super) fn mask(
        &self,
        cx: &mut Call,
        queries: &Dim,
        keys: &Dim,
        offset: &Offset,
    ) -> Result<Option<ValueId>, Fault> {
        if self.is_open() {
            return Ok(None);
        }
        let mut shape = vec![queries.clone(), keys.clone()];
        let mut operands = Vec::new();
        if let Offset::Each(offset) = *offset {
            shape = [&cx.shape(offset)[..2], &shape].concat();
            operands.push(offset);
        }
        let rank = shape.len();
        let mask = cx.map_to(shape, &operands, |expr, of| {
            let row = expr.push(Scalar::Index(rank - 2), DType::I64);
            let column = expr.push(Scalar::Index(rank - 1), DType::I64);
            let offset = match offset {
                Offset::Shared(offset) => expr.push(Scalar::Dim(offset.clone()), DType::I64),
                Offset::Each(_) => of[0],
            };
            let position = expr.apply2(BinaryOp::Add, row, offset);
            let mut seen = expr.push(Scalar::Const(Literal::Bool(true)), DType::Bool);
            if self.causal {
                seen = expr.apply2(BinaryOp::Le, column, position);
            }
            if let Some(left) = self.left {
                let left = expr.int(left.into(), DType::I64);
                let behind = expr.apply2(BinaryOp::Sub, position, column);
                let near = expr.apply2(BinaryOp::Le, behind, left);
                seen = expr.apply2(BinaryOp::And, seen, near);
            }
            if let Some(right) = self.right {
                let right = expr.int(right.into(), DType::I64);
                let ahead = expr.apply2(BinaryOp::Sub, column, position);
                let near = expr.apply2(BinaryOp::Le, ahead, right);
                seen = expr.apply2(BinaryOp::And, seen, near);
            }
            seen
        })?;
        Ok(Some(mask))
    }
}

/// One integer for each sequence, as `i64[batch, 1, 1, 1]`.
pub(super) fn per_sequence(cx: &mut Call, x: ValueId) -> Result<ValueId, Fault> {
    let (batch, one) = (cx.ty(x).elements(), Dim::from(1i64));
    let x = cx.cast(x, DType::I64)?;
    cx.reshape(x, vec![batch, one.clone(), one.clone(), one])
}

/// Which of `keys` belong to each sequence, by the lengths `i64[batch, 1, 1, 1]` of the sequences.
pub(super) fn within(cx: &mut Call, lengths: ValueId, keys: &Dim) -> Result<ValueId, Fault> {
    let mut shape = cx.shape(lengths);
    shape[3] = keys.clone();
    cx.map_to(shape, &[lengths], |expr, of| {
        let column = expr.push(Scalar::Index(3), DType::I64);
        expr.apply2(BinaryOp::Lt, column, of[0])
    })
}

/// Both conditions, where they are given.
pub(super) fn both(cx: &mut Call, a: Option<ValueId>, b: Option<ValueId>) -> Result<Option<ValueId>, Fault> {
    match (a, b) {
        (Some(a), Some(b)) => cx.binary(BinaryOp::And, a, b).map(Some),
        (one, other) => Ok(one.or(other)),
    }
}

/// An operand as wide as there are keys: what it lacks at the end has the given value.
pub(super) fn padded(cx: &mut Call, mask: ValueId, keys: &Dim, value: f64) -> Result<ValueId, Fault> {
    let mut shape = cx.shape(mask);
    let last = shape.len().saturating_sub(1);
    let Some(width) = shape.last().cloned() else {
        return Ok(mask);
    };
    let missing = keys.clone() - width.clone();
    if missing.range(&cx.graph.bounds).low <= 0 {
        if !width.is(1) {
            cx.equal("the keys and the width of the mask", &width, keys)?;
        }
        return Ok(mask);
    }
    shape[last] = missing;
    let dtype = cx.dtype(mask);
    let rest = cx.filled(value, dtype, shape)?;
    cx.concat(&[mask, rest], last)
}
