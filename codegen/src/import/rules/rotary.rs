//! Rotary position embeddings.

use super::attention::{join_heads, split_heads};
use super::{MICROSOFT, ONNX, Rules};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::infer::display_shape;
use crate::ir::{BinaryOp, DType, Dim, Op, Scalar, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[
    (ONNX, "RotaryEmbedding", |cx| {
        let (x, cos, sin) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
        let positions = cx.optional(3);
        rotary(cx, x, positions, cos, sin, 1.0)
    }),
    (MICROSOFT, "RotaryEmbedding", |cx| {
        cx.only_int("is_packed_batching", 0)?;
        let (x, positions, cos, sin) = (cx.input(0)?, cx.input(1)?, cx.input(2)?, cx.input(3)?);
        let positions = every_position(cx, x, positions)?;
        let scale = cx.float("scale", 1.0)?;
        rotary(cx, x, Some(positions), cos, sin, scale.into())
    }),
];

/// Positions `[batch, length]`, from those or from that of the first element of every sequence.
fn every_position(cx: &mut Call, x: ValueId, positions: ValueId) -> Result<ValueId, Fault> {
    if cx.rank(positions) == 2 {
        return Ok(positions);
    }
    let shape = cx.shape(x);
    let (batch, length) = match shape.as_slice() {
        [batch, length, _] | [batch, _, length, _] => (batch.clone(), length.clone()),
        _ => return Err(Fault::new(format!("a rotary embedding of {}", display_shape(&shape)))),
    };
    let dtype = cx.dtype(positions);
    let first = cx.reshape(positions, vec![Dim::from(1i64), Dim::from(1i64)])?;
    cx.map_to(vec![batch, length], &[first], |expr, of| {
        let step = expr.push(Scalar::Index(1), DType::I64);
        let step = expr.convert(step, dtype);
        expr.apply2(BinaryOp::Add, of[0], step)
    })
}

fn rotary(cx: &mut Call, x: ValueId, positions: Option<ValueId>, cos: ValueId, sin: ValueId, scale: f64) -> Results {
    let joined = cx.rank(x) == 3;
    let dim = cx.int("rotary_embedding_dim", 0)?;
    let heads = match (cx.int("num_heads", 0)?, joined) {
        (heads, true) if heads > 0 => Dim::from(heads),
        // Without the number of heads, the width of the angles tells it where the whole of a head turns.
        (0, true) if dim == 0 => {
            let (width, half) = (
                cx.shape(x)[2].clone(),
                cx.shape(cos).last().cloned().unwrap_or_default(),
            );
            let heads = width.exact_div(&(half * Dim::from(2i64)));
            heads.ok_or_else(|| Fault::new("attribute `num_heads` is missing"))?
        }
        (_, true) => return Err(Fault::new("attribute `num_heads` is missing")),
        (_, false) => Dim::from(0i64),
    };
    let x = split_heads(cx, x, &heads)?;
    let [cos, sin] = [cos, sin].map(|table| match positions {
        Some(positions) => cx.emit(Op::Gather { axis: 0 }, &[table, positions]),
        None => Ok(table),
    });
    let turned = rotated(cx, x, [cos?, sin?], cx.flag("interleaved", false)?, scale)?;
    Ok(vec![if joined { join_heads(cx, turned)? } else { turned }])
}

/// Turns pairs of elements of `x`, `[batch, heads, length, size]`, by the angles whose cosines and sines,
/// `[batch, length, pairs]`, are given. Pairs are neighbors if `interleaved`, otherwise an element of the first and one
/// of the second half. Elements after the pairs stay.
pub(super) fn rotated(
    cx: &mut Call,
    x: ValueId,
    angles: [ValueId; 2],
    interleaved: bool,
    scale: f64,
) -> Result<ValueId, Fault> {
    let shape = cx.shape(x);
    let [cos_shape, sin_shape] = angles.map(|table| cx.shape(table));
    if shape.len() != 4 || cos_shape.len() != 3 || sin_shape.len() != 3 {
        return Err(Fault::new(format!(
            "a rotary embedding of {} by {} and {}",
            display_shape(&shape),
            display_shape(&cos_shape),
            display_shape(&sin_shape)
        )));
    }
    let (size, pairs, two) = (shape[3].clone(), cos_shape[2].clone(), Dim::from(2i64));
    let turned = pairs.clone() * two.clone();
    let rest = size.clone() - turned.clone();
    if rest.range(&cx.graph.bounds).low < 0 {
        return Err(Fault::new(format!("{pairs} angles for heads of size {size}")));
    }
    let [cos, sin] = [cx.unsqueeze(angles[0], 1)?, cx.unsqueeze(angles[1], 1)?];
    let head = cx.narrow(x, 3, Dim::from(0i64), turned.clone())?;
    // The axis after that of the pairs, or before it, tells the elements of a pair apart.
    let mut split = shape[..3].to_vec();
    split.extend(if interleaved { [pairs, two] } else { [two, pairs] });
    let axis = if interleaved { 4 } else { 3 };
    let head = cx.reshape(head, split)?;
    let (a, b) = (
        cx.select(head, axis, Dim::from(0i64))?,
        cx.select(head, axis, Dim::from(1i64))?,
    );
    let dtype = cx.dtype(x);
    let mut turn = |first: BinaryOp, by_a: ValueId, by_b: ValueId| {
        cx.map(&[a, b, by_a, by_b], |expr, of| {
            let (a, b) = (
                expr.apply2(BinaryOp::Mul, of[0], of[2]),
                expr.apply2(BinaryOp::Mul, of[1], of[3]),
            );
            let sum = expr.apply2(first, a, b);
            if scale == 1.0 {
                return sum;
            }
            let scale = expr.float(scale, dtype);
            expr.apply2(BinaryOp::Mul, sum, scale)
        })
    };
    let (real, imaginary) = (turn(BinaryOp::Sub, cos, sin)?, turn(BinaryOp::Add, sin, cos)?);
    let (real, imaginary) = (cx.unsqueeze(real, axis)?, cx.unsqueeze(imaginary, axis)?);
    let both = cx.concat(&[real, imaginary], axis)?;
    let mut shape = shape;
    shape[3] = turned.clone();
    let both = cx.reshape(both, shape)?;
    if rest.is(0) {
        return Ok(both);
    }
    let rest = cx.narrow(x, 3, turned, rest)?;
    cx.concat(&[both, rest], 3)
}
