//! Scaled dot-product attention.

mod cache;
mod contrib;
mod mask;
mod onnx;

use super::linear::{matmul, transposed};
use super::{MICROSOFT, ONNX, PREVIEW, Rules};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::infer::display_shape;
use crate::ir::op::ReduceKind;
use crate::ir::{BinaryOp, DType, Dim, Op, Scalar, UnaryOp, ValueId};

pub(super) const RULES: Rules = &[
    (ONNX, "Attention", onnx::attention),
    (PREVIEW, "FlexAttention", onnx::flex),
    (ONNX, "TensorScatter", cache::tensor_scatter),
    (MICROSOFT, "MultiHeadAttention", contrib::multi_head),
    (MICROSOFT, "Attention", contrib::projected),
    (MICROSOFT, "QAttention", contrib::quantized),
    (MICROSOFT, "GroupQueryAttention", contrib::grouped_query),
];

/// Queries against keys and values, `[batch, heads, length, size]` each. Consecutive heads of the queries share a head of
/// the keys and values where there are fewer of these.
pub(super) struct Attention {
    pub(super) q: ValueId,
    pub(super) k: ValueId,
    pub(super) v: ValueId,
    /// The factor of the scores; one over the root of the size of the queries if not given.
    pub(super) scale: Option<f64>,
    /// Scores are squashed into plus and minus this number, unless it is 0.
    pub(super) softcap: f64,
    /// What the softmax is computed in, at least.
    pub(super) precision: Option<DType>,
    /// Where a query sees a key, as far as that is restricted; broadcasts to the scores.
    pub(super) allowed: Option<ValueId>,
    /// What is added to the scores; broadcasts to them.
    pub(super) bias: Option<ValueId>,
    /// Whether there may be queries that see no key. Their result is 0.
    pub(super) blind: bool,
}

/// The result of attention, `[batch, heads, length, size]`, and the scores on the way to it.
pub(super) struct Attended {
    pub(super) y: ValueId,
    /// The scaled products.
    pub(super) raw: ValueId,
    /// These, squashed.
    pub(super) capped: ValueId,
    /// These, with what is added and minus infinity where nothing is seen.
    pub(super) masked: ValueId,
    /// The weights of the values.
    pub(super) weights: ValueId,
}

/// `[batch, length, heads * size]` as `[batch, heads, length, size]`; a tensor of rank 4 as it is.
pub(super) fn split_heads(cx: &mut Call, x: ValueId, heads: &Dim) -> Result<ValueId, Fault> {
    let shape = cx.shape(x);
    let size = match shape.as_slice() {
        [_, _, _, _] => return Ok(x),
        [_, _, width] => width.exact_div(heads),
        _ => None,
    };
    let Some(size) = size else {
        let shape = display_shape(&shape);
        return Err(Fault::new(format!("{heads} heads in a tensor of shape {shape}")));
    };
    let split = cx.reshape(x, vec![shape[0].clone(), shape[1].clone(), heads.clone(), size])?;
    cx.transpose(split, vec![0, 2, 1, 3])
}

/// `[batch, heads, length, size]` as `[batch, length, heads * size]`.
pub(super) fn join_heads(cx: &mut Call, x: ValueId) -> Result<ValueId, Fault> {
    let shape = cx.shape(x);
    let rows = cx.transpose(x, vec![0, 2, 1, 3])?;
    let width = shape[1].clone() * shape[3].clone();
    cx.reshape(rows, vec![shape[0].clone(), shape[2].clone(), width])
}

/// The past before the present, along the positions of `[batch, heads, length, size]`.
pub(super) fn appended(cx: &mut Call, past: Option<ValueId>, present: ValueId) -> Result<ValueId, Fault> {
    match past {
        Some(past) => cx.concat(&[past, present], 2),
        None => Ok(present),
    }
}

/// How heads of queries share heads of keys.
struct Groups {
    /// Heads of the keys.
    heads: Dim,
    /// Heads of the queries for each.
    size: Dim,
}

impl Groups {
    /// A tensor that broadcasts to `[batch, heads, ...]`, with the axis of the heads in two.
    fn split(&self, cx: &mut Call, x: ValueId) -> Result<ValueId, Fault> {
        let mut shape = cx.shape(x);
        let Some(axis) = shape.len().checked_sub(3).filter(|_| !self.size.is(1)) else {
            return Ok(x);
        };
        let one = Dim::from(1i64);
        let axes = match shape[axis].is(1) {
            true => [one.clone(), one],
            false => [self.heads.clone(), self.size.clone()],
        };
        shape.splice(axis..=axis, axes);
        cx.reshape(x, shape)
    }

    /// Keys or values, with an axis for the queries that share them.
    fn shared(&self, cx: &mut Call, x: ValueId) -> Result<ValueId, Fault> {
        if self.size.is(1) {
            return Ok(x);
        }
        let x = cx.unsqueeze(x, 2)?;
        let mut shape = cx.shape(x);
        shape[2] = self.size.clone();
        cx.emit(Op::Broadcast { shape }, &[x])
    }

    /// The opposite of `split`.
    fn join(&self, cx: &mut Call, x: ValueId) -> Result<ValueId, Fault> {
        if self.size.is(1) {
            return Ok(x);
        }
        let mut shape = cx.shape(x);
        shape.splice(1..=2, [self.heads.clone() * self.size.clone()]);
        cx.reshape(x, shape)
    }
}

/// The scores of queries and keys, times the scale.
fn scores(cx: &mut Call, q: ValueId, k: ValueId, scale: f64) -> Result<ValueId, Fault> {
    let keys = transposed(cx, k)?;
    let product = matmul(cx, q, keys)?;
    cx.scaled(product, scale)
}

/// What attention on tensors of a type is computed in. Scores of short types would overflow and lose their differences.
fn wide(dtype: DType) -> DType {
    match dtype {
        DType::F16 | DType::BF16 => DType::F32,
        other => other,
    }
}

/// Queries, keys and values with the axes in which they agree.
fn grouped(cx: &mut Call, q: ValueId, k: ValueId, v: ValueId) -> Result<(Groups, [ValueId; 3]), Fault> {
    let (q_shape, k_shape, v_shape) = (cx.shape(q), cx.shape(k), cx.shape(v));
    if [&q_shape, &k_shape, &v_shape].iter().any(|shape| shape.len() != 4) {
        let shapes = [q_shape, k_shape, v_shape].map(|shape| display_shape(&shape));
        return Err(Fault::new(format!(
            "queries, keys and values of shapes {}",
            shapes.join(", ")
        )));
    }
    cx.equal("batch of queries and keys", &q_shape[0], &k_shape[0])?;
    cx.equal("batch of keys and values", &k_shape[0], &v_shape[0])?;
    cx.equal("heads of keys and values", &k_shape[1], &v_shape[1])?;
    let (heads, keys) = (&q_shape[1], k_shape[1].clone());
    let size = heads.exact_div(&keys).filter(|size| !size.is(0));
    let size = size.ok_or_else(|| Fault::new(format!("{heads} heads of queries do not share {keys} heads of keys")))?;
    let groups = Groups { heads: keys, size };
    let operands = [groups.split(cx, q)?, groups.shared(cx, k)?, groups.shared(cx, v)?];
    Ok((groups, operands))
}

/// The factor of the scores if none is given.
fn usual_scale(cx: &Call, q: ValueId) -> Result<f64, Fault> {
    let width = cx.shape(q).last().cloned().unwrap_or_default();
    match width.as_const().filter(|&width| width > 0) {
        Some(width) => Ok(1.0 / (width as f64).sqrt()),
        None => Err(Fault::new(format!("attention with heads of size {width}"))),
    }
}

/// Emits attention in the form that becomes one kernel where nothing unusual is asked for.
pub(super) fn attend(cx: &mut Call, attention: &Attention) -> Result<Attended, Fault> {
    let (groups, [q, k, v]) = grouped(cx, attention.q, attention.k, attention.v)?;
    let (stored, dtype) = (cx.dtype(q), wide(cx.dtype(q)));
    let (q, k, v) = (cx.cast(q, dtype)?, cx.cast(k, dtype)?, cx.cast(v, dtype)?);
    let allowed = attention.allowed.map(|mask| groups.split(cx, mask)).transpose()?;
    let mut bias = None;
    if let Some(added) = attention.bias {
        let added = groups.split(cx, added)?;
        bias = Some(cx.cast(added, dtype)?);
    }
    let scale = match attention.scale {
        Some(scale) => scale,
        None => usual_scale(cx, q)?,
    };
    let raw = scores(cx, q, k, scale)?;
    let mut capped = raw;
    if attention.softcap > 0.0 {
        capped = cx.map(&[raw], |expr, of| {
            let cap = expr.float(attention.softcap, dtype);
            let ratio = expr.apply2(BinaryOp::Div, of[0], cap);
            let squashed = expr.apply1(UnaryOp::Tanh, ratio);
            expr.apply2(BinaryOp::Mul, squashed, cap)
        })?;
    }
    let mut masked = capped;
    if let Some(bias) = bias {
        masked = cx.binary(BinaryOp::Add, masked, bias)?;
    }
    if let Some(allowed) = allowed {
        masked = hidden(cx, allowed, Some(masked), dtype)?;
    }
    let weights = softmax(cx, masked, attention.precision)?;
    let mut y = matmul(cx, weights, v)?;
    let mut guarded = weights;
    if attention.blind
        && let Some(blind) = blind_rows(cx, allowed, bias, dtype)?
    {
        y = zeroed(cx, blind, y)?;
        guarded = zeroed(cx, blind, weights)?;
    }
    let mut finished = |x| {
        let whole = groups.join(cx, x)?;
        cx.cast(whole, stored)
    };
    Ok(Attended {
        y: finished(y)?,
        raw: finished(raw)?,
        capped: finished(capped)?,
        masked: finished(masked)?,
        weights: finished(guarded)?,
    })
}

/// The operand where allowed, minus infinity elsewhere; 0 for an operand that is not given.
fn hidden(cx: &mut Call, allowed: ValueId, x: Option<ValueId>, dtype: DType) -> Result<ValueId, Fault> {
    let operands: Vec<_> = [allowed].into_iter().chain(x).collect();
    cx.map(&operands, |expr, of| {
        let seen = of.get(1).copied().unwrap_or_else(|| expr.float(0.0, dtype));
        let unseen = expr.float(f64::NEG_INFINITY, dtype);
        expr.push(Scalar::Select(of[0], seen, unseen), dtype)
    })
}

/// The softmax over the keys, in the precision that is asked for.
fn softmax(cx: &mut Call, scores: ValueId, precision: Option<DType>) -> Result<ValueId, Fault> {
    let dtype = cx.dtype(scores);
    let precision = precision.map_or(dtype, wide);
    let scores = cx.cast(scores, if dtype == DType::F64 { dtype } else { precision })?;
    let axis = cx.rank(scores) - 1;
    let weights = cx.emit(Op::Softmax { axis, log: false }, &[scores])?;
    cx.cast(weights, dtype)
}

/// Which queries see no key, `[..., length, 1]`, by what hides keys from them.
fn blind_rows(
    cx: &mut Call,
    allowed: Option<ValueId>,
    bias: Option<ValueId>,
    dtype: DType,
) -> Result<Option<ValueId>, Fault> {
    let Some(mask) = (match allowed {
        Some(allowed) => Some(hidden(cx, allowed, bias, dtype)?),
        None => bias,
    }) else {
        return Ok(None);
    };
    let rank = cx.rank(mask);
    if rank == 0 {
        return Ok(None);
    }
    let kind = ReduceKind::Max;
    let axes = vec![rank - 1];
    let most = cx.emit(
        Op::Reduce {
            kind,
            axes,
            keep_dims: true,
        },
        &[mask],
    )?;
    let blind = cx.map(&[most], |expr, of| {
        let none = expr.float(f64::NEG_INFINITY, dtype);
        expr.apply2(BinaryOp::Eq, of[0], none)
    })?;
    Ok(Some(blind))
}

/// 0 where a condition holds, whatever the operand is there.
fn zeroed(cx: &mut Call, condition: ValueId, x: ValueId) -> Result<ValueId, Fault> {
    let dtype = cx.dtype(x);
    cx.map(&[condition, x], |expr, of| {
        let zero = expr.float(0.0, dtype);
        expr.push(Scalar::Select(of[0], zero, of[1]), dtype)
    })
}
