//! Reductions along axes.

use super::{ONNX, Rules};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::op::ReduceKind;
use crate::ir::{Op, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[
    (ONNX, "ReduceSum", |cx| reduce(cx, ReduceKind::Sum, 13)),
    (ONNX, "ReduceMean", |cx| reduce(cx, ReduceKind::Mean, 18)),
    (ONNX, "ReduceMax", |cx| reduce(cx, ReduceKind::Max, 18)),
    (ONNX, "ReduceMin", |cx| reduce(cx, ReduceKind::Min, 18)),
    (ONNX, "ReduceProd", |cx| reduce(cx, ReduceKind::Prod, 18)),
    (ONNX, "ReduceSumSquare", |cx| reduce(cx, ReduceKind::SumSquare, 18)),
    (ONNX, "ReduceL1", |cx| reduce(cx, ReduceKind::L1, 18)),
    (ONNX, "ReduceL2", |cx| reduce(cx, ReduceKind::L2, 18)),
    (ONNX, "ReduceLogSum", |cx| reduce(cx, ReduceKind::LogSum, 18)),
    (ONNX, "ReduceLogSumExp", |cx| reduce(cx, ReduceKind::LogSumExp, 18)),
    (ONNX, "ArgMax", |cx| arg_reduce(cx, true)),
    (ONNX, "ArgMin", |cx| arg_reduce(cx, false)),
    (ONNX, "CumSum", cum_sum),
];

/// The axes are an attribute in older versions and an operand from `operand_since` on. No axes means all of them,
/// unless `noop_with_empty_axes`.
fn reduce(cx: &mut Call, kind: ReduceKind, operand_since: i64) -> Results {
    let x = cx.input(0)?;
    let rank = cx.rank(x);
    let keep_dims = cx.flag("keepdims", true)?;
    let noop = cx.flag("noop_with_empty_axes", false)?;
    let axes = cx.ints_or_input("axes", 1, operand_since)?.unwrap_or_default();
    let axes = match axes.as_slice() {
        [] if noop => Vec::new(),
        [] => (0..rank).collect(),
        axes => cx.axes(axes, rank)?,
    };
    use ReduceKind::{Max, Mean, Min, Prod, Sum};
    if axes.is_empty() && matches!(kind, Sum | Mean | Max | Min | Prod) {
        return Ok(vec![x]);
    }
    Ok(vec![cx.emit(Op::Reduce { kind, axes, keep_dims }, &[x])?])
}

fn arg_reduce(cx: &mut Call, largest: bool) -> Results {
    let x = cx.input(0)?;
    let axis = cx.axis(cx.int("axis", 0)?, cx.rank(x))?;
    let (keep_dims, last) = (cx.flag("keepdims", true)?, cx.flag("select_last_index", false)?);
    Ok(vec![cx.emit(
        Op::ArgReduce {
            largest,
            axis,
            keep_dims,
            last,
        },
        &[x],
    )?])
}

fn cum_sum(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let axis = match cx.constant_ints(1, "the axis")?.as_deref() {
        Some(&[axis]) => cx.axis(axis, cx.rank(x))?,
        _ => return Err(Fault::new("there must be one axis")),
    };
    let (exclusive, reverse) = (cx.flag("exclusive", false)?, cx.flag("reverse", false)?);
    Ok(vec![cx.emit(
        Op::CumSum {
            axis,
            exclusive,
            reverse,
        },
        &[x],
    )?])
}
