//! The operators of ONNX Runtime.

use super::cache::written;
use super::mask::{Offset, Window, per_sequence};
use super::{Attended, Attention, appended, attend, join_heads, split_heads};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::import::rules::linear::matmul;
use crate::import::rules::quantize::product::float_product;
use crate::import::rules::rotary::rotated;
use crate::ir::infer::display_shape;
use crate::ir::{BinaryOp, DType, Dim, Op, Scalar, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

/// What is added to the score of a key that a mask hides.
const FILTER: f32 = -10000.0;

fn heads(cx: &Call, name: &'static str) -> Result<Dim, Fault> {
    let heads = cx.optional_int(name)?.filter(|heads| (1..1 << 30).contains(heads));
    let missing = || Fault::new(format!("attribute `{name}` is missing or not positive"));
    heads.map(Dim::from).ok_or_else(missing)
}

/// The factor of the scores, if it is given; 0 stands for the usual one.
fn scale(cx: &Call) -> Result<Option<f64>, Fault> {
    let scale = cx.optional_float("scale")?.filter(|&scale| scale != 0.0);
    Ok(scale.map(f64::from))
}

/// Part `number` of `[batch, length, heads, parts, size]`, as `[batch, heads, length, size]`.
fn packed(cx: &mut Call, x: ValueId, number: usize) -> Result<ValueId, Fault> {
    let part = cx.select(x, 3, Dim::from(number))?;
    cx.transpose(part, vec![0, 2, 1, 3])
}

/// Attention of whole tensors, with what is added to the scores besides a mask.
#[allow(clippy::too_many_arguments)]
fn whole(
    cx: &mut Call,
    q: ValueId,
    k: ValueId,
    v: ValueId,
    past: &Dim,
    mask: Option<ValueId>,
    bias: Option<ValueId>,
    causal: bool,
) -> Result<Attended, Fault> {
    let (queries, keys) = (cx.shape(q)[2].clone(), cx.shape(k)[2].clone());
    let mut added = bias;
    if let Some(mask) = mask {
        let (filter, dtype) = (cx.float("mask_filter_value", FILTER)?, cx.dtype(q));
        let filtered = cx.map(&[mask], |expr, of| {
            let (seen, unseen) = (expr.float(0.0, dtype), expr.float(filter.into(), dtype));
            expr.push(Scalar::Select(of[0], seen, unseen), dtype)
        })?;
        added = Some(match bias {
            Some(bias) => cx.binary(BinaryOp::Add, bias, filtered)?,
            None => filtered,
        });
    }
    let window = Window {
        causal,
        left: None,
        right: None,
    };
    let allowed = window.mask(cx, &queries, &keys, &Offset::Shared(past.clone()))?;
    let attention = Attention {
        q,
        k,
        v,
        scale: scale(cx)?,
        softcap: 0.0,
        precision: None,
        allowed,
        bias: added,
        blind: false,
    };
    attend(cx, &attention)
}

/// Which keys a mask of integers leaves visible, broadcasting to the scores. It has one integer for each key, for each
/// key of each query, or the number of keys of each sequence, perhaps with the number of the first one after these.
fn visible(cx: &mut Call, mask: ValueId, batch: &Dim, keys: &Dim) -> Result<ValueId, Fault> {
    let (shape, one) = (cx.shape(mask), Dim::from(1i64));
    let ends = match shape.as_slice() {
        [count] if cx.graph.dims_equal(count, batch) => vec![mask],
        [count] if cx.graph.dims_equal(count, &(batch.clone() * Dim::from(2i64))) => vec![
            cx.narrow(mask, 0, Dim::from(0i64), batch.clone())?,
            cx.narrow(mask, 0, batch.clone(), batch.clone())?,
        ],
        [_, _] => {
            let mask = cx.reshape(mask, vec![shape[0].clone(), one.clone(), one, shape[1].clone()])?;
            return cx.cast(mask, DType::Bool);
        }
        [_, _, _] => {
            let mask = cx.unsqueeze(mask, 1)?;
            return cx.cast(mask, DType::Bool);
        }
        _ => return Err(Fault::new(format!("a mask of shape {}", display_shape(&shape)))),
    };
    let ends = ends
        .into_iter()
        .map(|end| per_sequence(cx, end))
        .collect::<Result<Vec<_>, _>>()?;
    let shape = vec![batch.clone(), one.clone(), one, keys.clone()];
    cx.map_to(shape, &ends, |expr, of| {
        let key = expr.push(Scalar::Index(3), DType::I64);
        let inside = expr.apply2(BinaryOp::Lt, key, of[0]);
        match of.get(1) {
            Some(&start) => {
                let begun = expr.apply2(BinaryOp::Ge, key, start);
                expr.apply2(BinaryOp::And, inside, begun)
            }
            None => inside,
        }
    })
}

/// Operands: queries, keys, values, the bias of all three, a mask of the keys, what is added to the scores, keys and
/// values of the past. Queries may hold keys and values too, and keys the values.
pub(super) fn multi_head(cx: &mut Call) -> Results {
    let count = heads(cx, "num_heads")?;
    let mut inputs = vec![cx.input(0)?];
    inputs.extend(cx.optional(1));
    inputs.extend(cx.optional(2));
    // Packed operands are those of rank 5.
    let mut parts = Vec::new();
    for (&input, left) in inputs.iter().zip([3, 2, 1]) {
        if cx.rank(input) == 5 {
            for number in 0..left {
                parts.push(packed(cx, input, number)?);
            }
        } else {
            parts.push(split_heads(cx, input, &count)?);
        }
    }
    let &[mut q, mut k, mut v] = parts.as_slice() else {
        return Err(Fault::new("attention needs queries, keys and values"));
    };
    if let Some(bias) = cx.optional(3) {
        let mut first = Dim::from(0i64);
        for part in [&mut q, &mut k, &mut v] {
            let size = cx.shape(*part)[3].clone();
            let width = count.clone() * size.clone();
            let own = cx.narrow(bias, 0, first.clone(), width.clone())?;
            let own = cx.reshape(own, vec![count.clone(), Dim::from(1i64), size])?;
            *part = cx.binary(BinaryOp::Add, *part, own)?;
            first = first + width;
        }
    }
    if cx.optional(8).is_some() || cx.optional(9).is_some() {
        return Err(Fault::new("a cache that is written in place is not supported"));
    }
    let (past_k, past_v) = (cx.optional(6), cx.optional(7));
    let past = past_k.map_or(Dim::from(0i64), |past| {
        cx.shape(past).get(2).cloned().unwrap_or_default()
    });
    let (k, v) = (appended(cx, past_k, k)?, appended(cx, past_v, v)?);
    let (batch, keys) = (cx.shape(q)[0].clone(), cx.shape(k)[2].clone());
    let mask = cx.optional(4);
    let mask = mask.map(|mask| visible(cx, mask, &batch, &keys)).transpose()?;
    let (bias, causal) = (cx.optional(5), cx.flag("unidirectional", false)?);
    let attended = whole(cx, q, k, v, &past, mask, bias, causal)?;
    Ok(vec![join_heads(cx, attended.y)?, k, v, attended.raw])
}

/// Operands: the tensor whose products with the weights are queries, keys and values, the weights, their bias, a mask of
/// the keys, keys and values of the past in one tensor, and what is added to the scores.
pub(super) fn projected(cx: &mut Call) -> Results {
    let (x, weights) = (cx.input(0)?, cx.input(1)?);
    let mut product = matmul(cx, x, weights)?;
    if let Some(bias) = cx.optional(2) {
        product = cx.binary(BinaryOp::Add, product, bias)?;
    }
    let [mask, past, bias] = [3, 4, 5].map(|index| cx.optional(index));
    of_projections(cx, product, mask, past, bias)
}

/// The same of 8-bit numbers. Operands: the tensor, the weights, their bias, the scales of tensor and weights, the mask,
/// the zero points and the past.
pub(super) fn quantized(cx: &mut Call) -> Results {
    let operands = [0, 6, 1, 7].map(|index| cx.optional(index));
    let (scales, bias) = ([cx.input(3)?, cx.input(4)?], cx.optional(2));
    let product = float_product(cx, operands, scales, bias)?;
    of_projections(cx, product, cx.optional(5), cx.optional(8), None)
}

/// Attention of queries, keys and values that are the columns of one tensor.
fn of_projections(
    cx: &mut Call,
    product: ValueId,
    mask: Option<ValueId>,
    past: Option<ValueId>,
    bias: Option<ValueId>,
) -> Results {
    cx.only_int("do_rotary", 0)?;
    cx.only_int("past_present_share_buffer", 0)?;
    cx.ignore(&["rotary_embedding_dim"]);
    let count = heads(cx, "num_heads")?;
    let width = cx.shape(product).last().cloned().unwrap_or_default();
    let sizes = match cx.ints("qkv_hidden_sizes")? {
        Some(sizes) => sizes.into_iter().map(Dim::from).collect(),
        None => vec![width.exact_div(&Dim::from(3i64)).unwrap_or_default(); 3],
    };
    if sizes.len() != 3 || cx.rank(product) != 3 || sizes.iter().cloned().sum::<Dim>() != width {
        return Err(Fault::new(format!("queries, keys and values in {width} columns")));
    }
    let (mut parts, mut first) = (Vec::new(), Dim::from(0i64));
    for size in sizes {
        let part = cx.narrow(product, 2, first.clone(), size.clone())?;
        parts.push(split_heads(cx, part, &count)?);
        first = first + size;
    }
    let (mut k, mut v, mut before) = (parts[1], parts[2], Dim::from(0i64));
    if let Some(both) = past {
        before = cx.shape(both).get(3).cloned().unwrap_or_default();
        let (past_k, past_v) = (
            cx.select(both, 0, Dim::from(0i64))?,
            cx.select(both, 0, Dim::from(1i64))?,
        );
        (k, v) = (appended(cx, Some(past_k), k)?, appended(cx, Some(past_v), v)?);
    }
    let (batch, keys) = (cx.shape(parts[0])[0].clone(), cx.shape(k)[2].clone());
    let mask = mask.map(|mask| visible(cx, mask, &batch, &keys)).transpose()?;
    let causal = cx.flag("unidirectional", false)?;
    let attended = whole(cx, parts[0], k, v, &before, mask, bias, causal)?;
    let mut results = vec![join_heads(cx, attended.y)?];
    if cx.wants(1) {
        let (k, v) = (cx.unsqueeze(k, 0)?, cx.unsqueeze(v, 0)?);
        results.push(cx.concat(&[k, v], 0)?);
    }
    Ok(results)
}

/// Operands: queries, keys, values, keys and values of the past, the length of each sequence without its last element,
/// the largest length, then cosines, sines and positions of a rotary embedding, and what is added to the scores.
///
/// New keys follow the past of their sequence. The past has room for them, or the results are as much longer.
pub(super) fn grouped_query(cx: &mut Call) -> Results {
    if cx.int("smooth_softmax", 0)? > 0 || cx.optional(11).is_some() {
        return Err(Fault::new("a softmax with a sink is not supported"));
    }
    cx.only_int("qk_output", 0)?;
    let (count, shared) = (heads(cx, "num_heads")?, heads(cx, "kv_num_heads")?);
    let x = cx.input(0)?;
    let parts = match (cx.optional(1), cx.optional(2)) {
        (Some(k), Some(v)) => [
            split_heads(cx, x, &count)?,
            split_heads(cx, k, &shared)?,
            split_heads(cx, v, &shared)?,
        ],
        _ => {
            let all = split_heads(cx, x, &(count.clone() + shared.clone() * Dim::from(2i64)))?;
            let after = count.clone() + shared.clone();
            [
                cx.narrow(all, 1, Dim::from(0i64), count.clone())?,
                cx.narrow(all, 1, count, shared.clone())?,
                cx.narrow(all, 1, after, shared)?,
            ]
        }
    };
    let [mut q, mut k, v] = parts;
    let (batch, length) = (cx.shape(q)[0].clone(), cx.shape(q)[2].clone());
    let (lengths, total) = (cx.input(5)?, cx.input(6)?);
    let before = past_lengths(cx, lengths, total, &length)?;
    if cx.flag("do_rotary", false)? {
        let (cos, sin) = (cx.input(7)?, cx.input(8)?);
        let positions = match cx.optional(9) {
            Some(positions) => positions,
            None => {
                let first = cx.reshape(before, vec![batch.clone(), Dim::from(1i64)])?;
                cx.map_to(vec![batch.clone(), length.clone()], &[first], |expr, of| {
                    let step = expr.push(Scalar::Index(1), DType::I64);
                    expr.apply2(BinaryOp::Add, of[0], step)
                })?
            }
        };
        let interleaved = cx.flag("rotary_interleaved", false)?;
        let angles = [
            cx.emit(Op::Gather { axis: 0 }, &[cos, positions])?,
            cx.emit(Op::Gather { axis: 0 }, &[sin, positions])?,
        ];
        q = rotated(cx, q, angles, interleaved, 1.0)?;
        k = rotated(cx, k, angles, interleaved, 1.0)?;
    } else {
        cx.ignore(&["rotary_interleaved"]);
    }
    let (k, v) = match (cx.optional(3), cx.optional(4)) {
        (Some(past_k), Some(past_v)) => {
            let room = cx.shape(past_k).get(2).cloned().unwrap_or_default();
            let size = cached(cx, total, &room, &length)?;
            let start = cx.reshape(before, vec![batch, Dim::from(1i64), Dim::from(1i64), Dim::from(1i64)])?;
            (
                updated(cx, past_k, k, start, &size)?,
                updated(cx, past_v, v, start, &size)?,
            )
        }
        _ => (k, v),
    };
    let keys = cx.shape(k)[2].clone();
    let left = cx.int("local_window_size", -1)?;
    let window = Window {
        causal: true,
        // A query itself counts.
        left: (left > 0).then(|| left - 1),
        right: None,
    };
    let attention = Attention {
        q,
        k,
        v,
        scale: scale(cx)?,
        softcap: cx.float("softcap", 0.0)?.into(),
        precision: None,
        allowed: window.mask(cx, &length, &keys, &Offset::Each(before))?,
        bias: cx.optional(10),
        blind: false,
    };
    let attended = attend(cx, &attention)?;
    Ok(vec![join_heads(cx, attended.y)?, k, v])
}

/// How many elements of each sequence are past, `i64[batch, 1, 1, 1]`: none if all of the longest sequence are new.
fn past_lengths(cx: &mut Call, lengths: ValueId, total: ValueId, new: &Dim) -> Result<ValueId, Fault> {
    let (lengths, total) = (per_sequence(cx, lengths)?, per_sequence(cx, total)?);
    cx.map(&[lengths, total], |expr, of| {
        let (new, one, zero) = (expr.dim(new), expr.int(1, DType::I64), expr.int(0, DType::I64));
        let first = expr.apply2(BinaryOp::Eq, of[1], new);
        let whole = expr.apply2(BinaryOp::Add, of[0], one);
        let past = expr.apply2(BinaryOp::Sub, whole, new);
        expr.select(first, zero, past)
    })
}

/// The number of keys that the cache has in the end: the largest length, or the room that there was if that is more.
fn cached(cx: &mut Call, total: ValueId, room: &Dim, new: &Dim) -> Result<Dim, Fault> {
    if let Some([total]) = cx.known_dims(total).as_deref() {
        return Ok(total.maximum(room, &cx.graph.bounds));
    }
    // Whether the cache has room for what is new, only the declared size of the result tells.
    let longer = room.clone() + new.clone();
    let declared = cx.capacity(1, 2);
    let grows = declared.is_none_or(|declared| declared != room.upper(&cx.graph.bounds));
    let size = if grows { longer } else { room.clone() };
    let shape = vec![cx.ty(total).elements()];
    let total = cx.reshape(total, shape.clone())?;
    let total = cx.cast(total, DType::I64)?;
    let holds = cx.map(&[total], |expr, of| {
        let size = expr.dim(&size);
        expr.apply2(if grows { BinaryOp::Eq } else { BinaryOp::Le }, of[0], size)
    })?;
    let holds = cx.reshape(holds, Vec::new())?;
    cx.assert(holds, format!("the largest length is that of the cache, {size}"))?;
    Ok(size)
}

/// The cache, of the given size, with what is new from `start` on.
fn updated(cx: &mut Call, past: ValueId, new: ValueId, start: ValueId, size: &Dim) -> Result<ValueId, Fault> {
    let mut shape = cx.shape(past);
    if shape.len() != 4 {
        return Err(Fault::new(format!("a cache of shape {}", display_shape(&shape))));
    }
    shape[2] = size.clone() - shape[2].clone();
    let dtype = cx.dtype(past);
    let whole = match shape[2].is(0) {
        true => past,
        false => {
            let rest = cx.filled(0.0, dtype, shape)?;
            cx.concat(&[past, rest], 2)?
        }
    };
    // What follows the new elements has no meaning; it is 0 in either case.
    let past = cx.map(&[whole, start], |expr, of| {
        let (place, zero) = (expr.index(2), expr.float(0.0, dtype));
        let past = expr.apply2(BinaryOp::Lt, place, of[1]);
        expr.select(past, of[0], zero)
    })?;
    written(cx, past, new, start, 2, false)
}
