//! Means of 8-bit numbers.

use super::elementwise::dequantized;
use super::{MICROSOFT, Results, Rounding, Rules, Scheme};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::import::rules::pool::{average, global};
use crate::ir::op::ReduceKind;
use crate::ir::{Op, ValueId};

pub(in crate::import::rules) const RULES: Rules = &[
    (MICROSOFT, "QLinearAveragePool", |cx| {
        pool(cx, Rounding::Sum, |cx, x| average(cx, x, true))
    }),
    (MICROSOFT, "QLinearGlobalAveragePool", |cx| {
        pool(cx, Rounding::Ratio, |cx, x| global(cx, x, ReduceKind::Mean))
    }),
    (MICROSOFT, "QLinearReduceMean", reduce_mean),
];

/// A pooling of images whose channels may come last.
fn pool(cx: &mut Call, rounding: Rounding, body: impl FnOnce(&mut Call, ValueId) -> Result<ValueId, Fault>) -> Results {
    let (mut x, dtype) = dequantized(cx, 0)?;
    let to = Scheme::new(cx, dtype, 3, 4)?;
    let rank = cx.rank(x);
    let channels_last = cx.flag("channels_last", false)? && rank > 2;
    if channels_last {
        let permutation = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
        x = cx.transpose(x, permutation)?;
    }
    let mut y = body(cx, x)?;
    if channels_last {
        let permutation = [0].into_iter().chain(2..rank).chain([1]).collect();
        y = cx.transpose(y, permutation)?;
    }
    Ok(vec![to.quantized(cx, y, rounding)?])
}

/// ONNX Runtime states what this is and leaves it to its users to compute it.
fn reduce_mean(cx: &mut Call) -> Results {
    let (mut x, dtype) = dequantized(cx, 0)?;
    let to = Scheme::new(cx, dtype, 3, 4)?;
    let rank = cx.rank(x);
    let axes = match cx.ints("axes")? {
        Some(axes) if !axes.is_empty() => cx.axes(&axes, rank)?,
        _ => (0..rank).collect(),
    };
    let keep_dims = cx.flag("keepdims", true)?;
    if !axes.is_empty() {
        let kind = ReduceKind::Mean;
        x = cx.emit(Op::Reduce { kind, axes, keep_dims }, &[x])?;
    }
    Ok(vec![to.quantized(cx, x, Rounding::Ratio)?])
}
