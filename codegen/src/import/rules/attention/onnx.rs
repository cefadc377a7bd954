//! The operators of ONNX.

use super::mask::{Offset, Window, both, padded, per_sequence, within};
use super::{Attention, Groups, appended, attend, grouped, join_heads, scores, split_heads, usual_scale, wide};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::import::item::Item;
use crate::import::rules::control;
use crate::import::rules::linear::matmul;
use crate::ir::{BinaryOp, DType, Dim, Op, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

/// Operands: queries, keys, values, mask, keys and values of the past, and the lengths of the sequences in keys and
/// values that are longer. Results: that of attention, all keys, all values, and scores.
pub(super) fn attention(cx: &mut Call) -> Results {
    let heads = |cx: &Call, name, x: ValueId| match (cx.optional_int(name)?, cx.rank(x)) {
        (Some(heads), _) => Ok(Dim::from(heads)),
        (None, 4) => Ok(cx.shape(x)[1].clone()),
        (None, _) => Err(Fault::new(format!("attribute `{name}` is missing"))),
    };
    let (q, k, v) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let joined = cx.rank(q) == 3;
    let (q_heads, kv_heads) = (heads(cx, "q_num_heads", q)?, heads(cx, "kv_num_heads", k)?);
    let (q, k, v) = (
        split_heads(cx, q, &q_heads)?,
        split_heads(cx, k, &kv_heads)?,
        split_heads(cx, v, &kv_heads)?,
    );
    let (past, lengths) = (cx.optional(4), cx.optional(6));
    let k = appended(cx, past, k)?;
    let v = appended(cx, cx.optional(5), v)?;
    let (queries, keys) = (cx.shape(q)[2].clone(), cx.shape(k)[2].clone());

    let bound = |name| Ok::<_, Fault>(cx.optional_int(name)?.filter(|&bound| bound >= 0));
    let window = Window {
        causal: cx.flag("is_causal", false)?,
        left: bound("left_window_size")?,
        right: bound("right_window_size")?,
    };
    let (mut allowed, mut bias) = (None, None);
    if let Some(mask) = cx.optional(3) {
        let truth = cx.dtype(mask) == DType::Bool;
        let value = if truth { 0.0 } else { f64::NEG_INFINITY };
        let mask = padded(cx, mask, &keys, value)?;
        *(if truth { &mut allowed } else { &mut bias }) = Some(mask);
    }
    let mut offset = Offset::Shared(past.map_or(Dim::from(0i64), |past| cx.shape(past)[2].clone()));
    if let Some(lengths) = lengths {
        let lengths = per_sequence(cx, lengths)?;
        let inside = within(cx, lengths, &keys)?;
        allowed = both(cx, allowed, Some(inside))?;
        if past.is_none() {
            let before = cx.dims(Vec::new(), vec![queries.clone()]);
            offset = Offset::Each(cx.binary(BinaryOp::Sub, lengths, before)?);
        }
    }
    // A window that only the sizes decide leaves a query without keys only where there are more queries than keys.
    let blind = allowed.is_some() || bias.is_some() || window.left.is_some();
    let seen = window.mask(cx, &queries, &keys, &offset)?;
    allowed = both(cx, allowed, seen)?;
    let attention = Attention {
        q,
        k,
        v,
        scale: cx.optional_float("scale")?.map(f64::from),
        softcap: cx.float("softcap", 0.0)?.into(),
        precision: cx.dtype_attribute("softmax_precision")?,
        allowed,
        bias,
        blind,
    };
    let attended = attend(cx, &attention)?;
    let scores = match cx.int("qk_matmul_output_mode", 0)? {
        0 => attended.raw,
        1 => attended.capped,
        2 => attended.masked,
        3 => attended.weights,
        mode => return cx.unsupported("qk_matmul_output_mode", mode),
    };
    let y = if joined {
        join_heads(cx, attended.y)?
    } else {
        attended.y
    };
    Ok(vec![y, k, v, scores])
}

/// Attention whose scores and weights pass through graphs of the model's own.
pub(super) fn flex(cx: &mut Call) -> Results {
    let (groups, [q, k, v]) = {
        let (q, k, v) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
        grouped(cx, q, k, v)?
    };
    let dtype = cx.dtype(q);
    let usual = if dtype == DType::F64 { dtype } else { DType::F32 };
    let precision = cx.dtype_attribute("softmax_precision")?.map_or(usual, wide);
    let scale = match cx.optional_float("scale")? {
        Some(scale) => scale.into(),
        None => usual_scale(cx, q)?,
    };
    let (q, k) = (cx.cast(q, precision)?, cx.cast(k, precision)?);
    let scores = scores(cx, q, k, scale)?;
    let scores = modified(cx, "score_mod", &groups, scores)?;
    let axis = cx.rank(scores) - 1;
    let weights = cx.emit(Op::Softmax { axis, log: false }, &[scores])?;
    let weights = modified(cx, "prob_mod", &groups, weights)?;
    let v = cx.cast(v, precision)?;
    let y = matmul(cx, weights, v)?;
    let y = groups.join(cx, y)?;
    Ok(vec![cx.cast(y, dtype)?])
}

/// What the graph in an attribute makes of scores or weights.
fn modified(cx: &mut Call, name: &'static str, groups: &Groups, x: ValueId) -> Result<ValueId, Fault> {
    if !cx.has(name) {
        return Ok(x);
    }
    let (graph, whole) = (cx.graph(name)?, groups.join(cx, x)?);
    let origin = cx.origin.clone();
    let results = cx.importer.inline(graph, &[Item::Tensor(whole)]);
    cx.origin = origin;
    let results = results.ok_or_else(control::reported)?;
    let result = match results.as_slice() {
        [result] => cx.as_tensor(result)?,
        _ => {
            return Err(Fault::new(format!(
                "the graph `{name}` has {} results, not one",
                results.len()
            )));
        }
    };
    let (given, taken) = (cx.ty(result).clone(), cx.ty(whole).clone());
    if given.dtype != taken.dtype || given.rank() != taken.rank() {
        return Err(Fault::new(format!("the graph `{name}` makes {given} of {taken}")));
    }
    for (a, b) in given.shape.iter().zip(&taken.shape) {
        cx.equal(&format!("sizes of what the graph `{name}` takes and gives"), a, b)?;
    }
    groups.split(cx, result)
}
