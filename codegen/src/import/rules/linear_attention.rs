//! Attention and convolution that carry a state along the sequence instead of a cache.

use super::linear::matmul;
use super::{ONNX, Rules};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::infer::display_shape;
use crate::ir::op::Window;
use crate::ir::{BinaryOp, DType, Dim, Op, UnaryOp, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[
    (ONNX, "LinearAttention", linear_attention),
    (ONNX, "CausalConvWithState", causal_conv),
];

/// The state of each head is a matrix `[d_k, d_v]`. A step multiplies it by its decay, adds the product of its key and
/// value, and is answered by the product of its query and the state. The delta rules store the difference to what the
/// state has for the key already.
fn linear_attention(cx: &mut Call) -> Results {
    cx.ignore(&["chunk_size"]);
    let (gated, delta) = match cx.string("update_rule", "gated_delta")? {
        "linear" => (false, false),
        "gated" => (true, false),
        "delta" => (false, true),
        "gated_delta" => (true, true),
        other => return cx.unsupported("update_rule", other),
    };
    let heads = |name| {
        let heads = cx.optional_int(name)?.filter(|heads| (1..1 << 30).contains(heads));
        heads.ok_or_else(|| Fault::new(format!("attribute `{name}` is missing or not positive")))
    };
    let (q_heads, kv_heads) = (heads("q_num_heads")?, heads("kv_num_heads")?);
    if q_heads % kv_heads != 0 {
        return Err(Fault::new(format!(
            "{q_heads} heads of queries do not share {kv_heads} heads of keys"
        )));
    }
    let (group, kv_heads) = (Dim::from(q_heads / kv_heads), Dim::from(kv_heads));
    let (query, dtype) = (cx.input(0)?, cx.dtype(cx.input(0)?));
    let wide = if dtype == DType::F64 { dtype } else { DType::F32 };
    let one = || Dim::from(1i64);
    let q = by_step(cx, 0, &[kv_heads.clone(), group.clone()], wide)?;
    let k = by_step(cx, 1, &[kv_heads.clone(), one()], wide)?;
    let v = by_step(cx, 2, &[kv_heads.clone(), one()], wide)?;
    let (batch, d_k, d_v) = (
        cx.shape(query)[0].clone(),
        cx.shape(q)[4].clone(),
        cx.shape(v)[4].clone(),
    );
    let scale = match (cx.float("scale", 0.0)?, d_k.as_const()) {
        (0.0, Some(size)) if size > 0 => 1.0 / (size as f64).sqrt(),
        (0.0, _) => return Err(Fault::new(format!("heads of size {d_k}"))),
        (scale, _) => scale.into(),
    };
    let q = cx.scaled(q, scale)?;
    // The decay is one for a head, or one for each row of the state.
    let mut sequences = vec![q, k, v];
    if gated {
        let decay = by_step(cx, 4, &[kv_heads.clone(), one()], wide)?;
        let decay = cx.map(&[decay], |expr, of| expr.apply1(UnaryOp::Exp, of[0]))?;
        sequences.push(cx.transpose(decay, vec![0, 1, 2, 4, 3])?);
    }
    if delta {
        let per_head = cx.shape(cx.input(5)?).last().is_some_and(|last| *last == kv_heads);
        let heads = if per_head { kv_heads.clone() } else { one() };
        sequences.push(by_step(cx, 5, &[heads, one()], wide)?);
    }
    let state = match cx.optional(3) {
        Some(state) => state,
        None => cx.filled(
            0.0,
            dtype,
            vec![batch.clone(), kv_heads.clone(), d_k.clone(), d_v.clone()],
        )?,
    };
    let kept = cx.dtype(state);
    let state = cx.cast(state, wide)?;

    let operands: Vec<_> = [state].into_iter().chain(sequences).collect();
    let body = cx.scan_body(&operands, 1, |cx, params| linear_step(cx, params, gated, delta))?;
    let results = cx.emit_all(Op::Scan { carried: 1 }, &operands, vec![body])?;

    let shape = cx.shape(results[1]);
    let y = cx.transpose(results[1], vec![1, 0, 2, 3, 4])?;
    let y = cx.reshape(y, vec![batch, shape[0].clone(), kv_heads * group * d_v])?;
    Ok(vec![cx.cast(y, dtype)?, cx.cast(results[0], kept)?])
}

/// An operand `[batch, steps, heads * size]` as `[steps, batch, heads..., size]`, in the given type.
fn by_step(cx: &mut Call, index: usize, heads: &[Dim], dtype: DType) -> Result<ValueId, Fault> {
    let x = cx.input(index)?;
    let shape = cx.shape(x);
    let count: Dim = heads.iter().cloned().product();
    let size = match shape.as_slice() {
        [_, _, width] => width.exact_div(&count).filter(|size| !size.is(0)),
        _ => None,
    };
    let Some(size) = size else {
        return Err(Fault::new(format!(
            "{count} heads in operand {index} of shape {}",
            display_shape(&shape)
        )));
    };
    let x = cx.cast(x, dtype)?;
    let split = [&shape[..2], heads, &[size]].concat();
    let split = cx.reshape(x, split)?;
    let mut permutation: Vec<_> = (0..cx.rank(split)).collect();
    permutation.swap(0, 1);
    cx.transpose(split, permutation)
}

/// The state after a step and its answer. Parameters: the state `[batch, heads, d_k, d_v]`, the queries
/// `[batch, heads, group, d_k]`, key and value `[batch, heads, 1, size]`, then decay and rate where the rule has them.
fn linear_step(cx: &mut Call, params: &[ValueId], gated: bool, delta: bool) -> Results {
    let (mut state, q, k, mut v) = (params[0], params[1], params[2], params[3]);
    if gated {
        state = cx.binary(BinaryOp::Mul, state, params[4])?;
    }
    if delta {
        let stored = matmul(cx, k, state)?;
        let rate = params[params.len() - 1];
        v = cx.map(&[v, stored, rate], |expr, of| {
            let difference = expr.apply2(BinaryOp::Sub, of[0], of[1]);
            expr.apply2(BinaryOp::Mul, difference, of[2])
        })?;
    }
    let column = cx.transpose(k, vec![0, 1, 3, 2])?;
    state = cx.map(&[state, column, v], |expr, of| {
        let product = expr.apply2(BinaryOp::Mul, of[1], of[2]);
        expr.apply2(BinaryOp::Add, of[0], product)
    })?;
    Ok(vec![state, matmul(cx, q, state)?])
}

/// A convolution of each channel over the present and the steps before it, of which the state holds those before the
/// first.
fn causal_conv(cx: &mut Call) -> Results {
    let (x, weights) = (cx.input(0)?, cx.input(1)?);
    let (shape, kernel) = (cx.shape(x), cx.shape(weights).last().and_then(Dim::as_usize));
    let ([batch, channels, length], 3, Some(kernel @ 1..)) = (&shape[..], cx.rank(weights), kernel) else {
        let (x, weights) = (display_shape(&shape), display_shape(&cx.shape(weights)));
        return Err(Fault::new(format!(
            "a causal convolution of {x} with weights {weights}"
        )));
    };
    let (before, dtype) = (Dim::from(kernel - 1), cx.dtype(x));
    let past = match cx.optional(3) {
        Some(past) => past,
        None => cx.filled(0.0, dtype, vec![batch.clone(), channels.clone(), before.clone()])?,
    };
    let whole = cx.concat(&[past, x], 2)?;
    let bias = cx.optional(2);
    let window = Window {
        kernel: vec![kernel],
        strides: vec![1],
        dilations: vec![1],
        pads_before: vec![Dim::from(0i64)],
        pads_after: vec![Dim::from(0i64)],
    };
    let groups = channels
        .as_usize()
        .ok_or_else(|| Fault::new(format!("a causal convolution of {channels} channels")))?;
    let op = Op::Conv {
        window,
        groups,
        bias: bias.is_some(),
        pad_value: 0,
        epilogue: None,
    };
    let operands: Vec<_> = [whole, weights].into_iter().chain(bias).collect();
    let mut y = cx.emit(op, &operands)?;
    match cx.string("activation", "none")? {
        "none" => {}
        "silu" | "swish" => y = cx.map(&[y], |expr, of| expr.apply1(UnaryOp::Silu, of[0]))?,
        other => return cx.unsupported("activation", other),
    }
    let state = cx.narrow(whole, 2, length.clone(), before)?;
    Ok(vec![y, state])
}
