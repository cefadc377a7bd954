//! Normalization of sums, as transformers have it around their blocks.

use super::norm::{inverse_deviation, moments, normalize};
use super::quantize::Scheme;
use super::{MICROSOFT, Rules};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::op::{NormalizeKind, ReduceKind};
use crate::ir::{BinaryOp, DType, Op, Scalar, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[
    (MICROSOFT, "SkipLayerNormalization", |cx| {
        let parameters = (Some(cx.input(2)?), cx.optional(3));
        let bias = cx.optional(4);
        skip(cx, NormalizeKind::Layer, bias, parameters)
    }),
    (MICROSOFT, "SkipSimplifiedLayerNormalization", |cx| {
        let parameters = (Some(cx.input(2)?), None);
        let bias = cx.optional(3);
        skip(cx, NormalizeKind::Rms, bias, parameters)
    }),
    (MICROSOFT, "EmbedLayerNormalization", |cx| {
        let positions = cx.optional(8);
        embed(cx, positions, |_, table, _| Ok(table))
    }),
    (MICROSOFT, "QEmbedLayerNormalization", |cx| {
        // Scales and zero points follow in the order of the tables.
        embed(cx, None, |cx, numbers, index| {
            let scheme = Scheme::new(cx, cx.dtype(numbers), index + 6, index + 11)?;
            scheme.dequantized(cx, numbers)
        })
    }),
];

/// Operands: the tensor, what is added to it, and what the sum is scaled and shifted by. Results: the normalized sum, its
/// statistics and the sum.
fn skip(
    cx: &mut Call,
    kind: NormalizeKind,
    bias: Option<ValueId>,
    parameters: (Option<ValueId>, Option<ValueId>),
) -> Results {
    let (x, skip) = (cx.input(0)?, cx.input(1)?);
    let mut sum = cx.binary(BinaryOp::Add, x, skip)?;
    if let Some(bias) = bias {
        sum = cx.binary(BinaryOp::Add, sum, bias)?;
    }
    let axis = cx.axis(-1, cx.rank(sum))?;
    let epsilon = cx.float("epsilon", 1e-12)?;
    let result = normalize(cx, kind, sum, axis, epsilon, parameters)?;
    // The statistics of a root mean square are no part of the operator.
    if kind == NormalizeKind::Rms || !(cx.wants(1) || cx.wants(2)) {
        return Ok(if cx.wants(3) {
            vec![result, sum, sum, sum]
        } else {
            vec![result]
        });
    }
    let (mean, _, variance) = moments(cx, sum, vec![axis])?;
    Ok(vec![result, mean, inverse_deviation(cx, variance, epsilon)?, sum])
}

/// Operands: words and segments `[batch, length]`, the tables of words, positions and segments, scale, bias and a mask of
/// the words. Results: the normalized sum of the embeddings, the length of each sequence by the mask and the sum.
///
/// What is read of the operands 2 to 6 passes a function, which gets the number of the operand.
fn embed(
    cx: &mut Call,
    positions: Option<ValueId>,
    read: impl Fn(&mut Call, ValueId, usize) -> Result<ValueId, Fault>,
) -> Results {
    cx.ignore(&["mask_index_type"]);
    let words = cx.input(0)?;
    if cx.rank(words) != 2 {
        return Err(Fault::new("the words are no matrix"));
    }
    let shape = cx.shape(words);
    let positions = match positions {
        Some(positions) => positions,
        None => cx.map_to(vec![shape[1].clone()], &[], |expr, _| {
            expr.push(Scalar::Index(0), DType::I64)
        })?,
    };
    let embedding = |cx: &mut Call, index: usize, indices: ValueId| {
        let table = cx.input(index)?;
        let rows = cx.emit(Op::Gather { axis: 0 }, &[table, indices])?;
        read(cx, rows, index)
    };
    let mut sum = embedding(cx, 2, words)?;
    let placed = embedding(cx, 3, positions)?;
    sum = cx.binary(BinaryOp::Add, sum, placed)?;
    if let (Some(segments), Some(_)) = (cx.optional(1), cx.optional(4)) {
        let segment = embedding(cx, 4, segments)?;
        sum = cx.binary(BinaryOp::Add, sum, segment)?;
    }
    let axis = cx.axis(-1, cx.rank(sum))?;
    let epsilon = cx.float("epsilon", 1e-12)?;
    let (scale, bias) = (cx.input(5)?, cx.input(6)?);
    let parameters = (Some(read(cx, scale, 5)?), Some(read(cx, bias, 6)?));
    let result = normalize(cx, NormalizeKind::Layer, sum, axis, epsilon, parameters)?;
    let lengths = match cx.optional(7) {
        Some(mask) => {
            let (kind, axes) = (ReduceKind::Sum, vec![1]);
            cx.emit(
                Op::Reduce {
                    kind,
                    axes,
                    keep_dims: false,
                },
                &[mask],
            )?
        }
        None => cx.filled(0.0, DType::I32, vec![shape[0].clone()])?,
    };
    Ok(vec![result, lengths, sum])
}
