//! Reductions along axes.

use super::{ONNX, Rules};
use crate::import::arithmetic::{Arithmetic, from_start};
use crate::import::builder::{Fault, literal};
use crate::import::call::{Axes, Call};
use crate::ir::op::ReduceKind;
use crate::ir::{BinaryOp, DType, Dim, Expr, FoldKind, Interval, Op, ScalarId, UnaryOp, ValueId};

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
    (ONNX, "CumSum", |cx| running(cx, FoldKind::Sum)),
    (ONNX, "CumProd", |cx| running(cx, FoldKind::Prod)),
];

/// The axes are an attribute in older versions and an operand from `operand_since` on. No axes means all of them,
/// unless `noop_with_empty_axes`.
fn reduce(cx: &mut Call, kind: ReduceKind, operand_since: i64) -> Results {
    let x = cx.input(0)?;
    let rank = cx.rank(x);
    let keep_dims = cx.flag("keepdims", true)?;
    let noop = cx.flag("noop_with_empty_axes", false)?;
    let axes = match cx.axes_or_input(1, operand_since)? {
        Axes::Omitted => Vec::new(),
        Axes::Known(axes) => axes,
        Axes::Computed(axes) => return computed(cx, x, kind, axes, keep_dims),
    };
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
    let size = cx.shape(x)[axis].clone();
    if size.range(&cx.graph.bounds).low <= 0 && size.as_const().is_none() {
        cx.require(Vec::new(), &[], "there is an extremum only among some elements", |e| {
            let (zero, size) = (e.number(0), e.dim(&size));
            e.less(zero, size)
        })?;
    }
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

/// A reduction along axes that only the run knows. Every axis of the operand is one of the result and one of the domain,
/// and one of the two has size 1.
fn computed(cx: &mut Call, x: ValueId, kind: ReduceKind, axes: ValueId, keep_dims: bool) -> Results {
    let shape = cx.shape(x);
    let [axes, mask] = cx.computed_axes(axes, shape.len())?;
    let sizes = cx.sizes_of(&shape);
    let part = |cx: &mut Call, masked: i64| {
        let sizes = cx.generate(vec![Dim::from(shape.len())], &[mask, sizes], |e| {
            let (mask, size) = (e.input(0, DType::I64), e.input(1, DType::I64));
            let (masked, one) = (e.number(masked), e.number(1));
            let gone = e.equals(mask, masked);
            e.select(gone, one, size)
        })?;
        let bounds = cx.graph.bounds.clone();
        cx.bind(sizes, |axis| {
            let Interval { low, high } = shape[axis].range(&bounds);
            Ok(Interval {
                low: low.min(1),
                high: high.max(1),
            })
        })
    };
    let (result, domain) = (part(cx, 1)?, part(cx, 0)?);
    let reduced = fold(cx, x, kind, &result, &domain)?;
    if keep_dims {
        return Ok(vec![reduced]);
    }
    Ok(vec![super::shape::without_axes(cx, reduced, &result, axes, mask)?])
}

/// The reduction of an operand over a domain with as many axes as the operand, which the coordinates of the result and
/// of the domain together number. Floats of less precision than `f32` are combined in `f32`.
fn fold(cx: &mut Call, x: ValueId, kind: ReduceKind, result: &[Dim], domain: &[Dim]) -> Result<ValueId, Fault> {
    use ReduceKind::{L1, L2, LogSum, LogSumExp, Max, Mean, Min, Prod, Sum, SumSquare};
    let (dtype, shape) = (cx.dtype(x), cx.shape(x));
    let wide = match dtype {
        DType::F64 => dtype,
        _ if dtype.is_float() => DType::F32,
        _ if matches!(kind, L2 | LogSum | LogSumExp) => DType::F64,
        _ => dtype,
    };
    let rank = shape.len();
    let over = |cx: &mut Call, kind: FoldKind, further: &[ValueId], of: &dyn Fn(&mut Expr, ScalarId) -> ScalarId| {
        let inputs = [&[x], further].concat();
        cx.combined(kind, [result.to_vec(), domain.to_vec()], &inputs, |e| {
            let place = |e: &mut Expr, axis| {
                let (outer, inner) = (e.index(axis), e.index(rank + axis));
                e.add(outer, inner)
            };
            let coordinates: Vec<_> = (0..rank).map(|axis| place(e, axis)).collect();
            let place = e.row_major(&coordinates, &shape);
            let element = e.at(0, place, dtype);
            let element = e.convert(element, wide);
            of(e, element)
        })
    };
    let unary = |cx: &mut Call, op: UnaryOp, x: ValueId| cx.elementwise(Expr::unary(op, wide), &[x]);
    let total = match kind {
        Sum => over(cx, FoldKind::Sum, &[], &|_, x| x)?,
        Prod => over(cx, FoldKind::Prod, &[], &|_, x| x)?,
        Max => over(cx, FoldKind::Max, &[], &|_, x| x)?,
        Min => over(cx, FoldKind::Min, &[], &|_, x| x)?,
        L1 => over(cx, FoldKind::Sum, &[], &|e, x| e.apply1(UnaryOp::Abs, x))?,
        SumSquare => over(cx, FoldKind::Sum, &[], &|e, x| e.mul(x, x))?,
        L2 => {
            let squares = over(cx, FoldKind::Sum, &[], &|e, x| e.mul(x, x))?;
            unary(cx, UnaryOp::Sqrt, squares)?
        }
        LogSum => {
            let sum = over(cx, FoldKind::Sum, &[], &|_, x| x)?;
            unary(cx, UnaryOp::Ln, sum)?
        }
        Mean => {
            let sum = over(cx, FoldKind::Sum, &[], &|_, x| x)?;
            let count: Dim = domain.iter().cloned().product();
            cx.map(&[sum], |e, of| {
                let count = e.dim(&count);
                let count = e.convert(count, wide);
                e.div(of[0], count)
            })?
        }
        LogSumExp => {
            // An infinite maximum is no offset: the difference to itself is not a number.
            let most = over(cx, FoldKind::Max, &[], &|_, x| x)?;
            let most = cx.map(&[most], |e, of| {
                let (zero, infinite) = (literal(e, 0.0, wide), e.apply1(UnaryOp::IsInf, of[0]));
                e.select(infinite, zero, of[0])
            })?;
            let ones = vec![Dim::from(1i64); rank];
            let aligned = cx.reshape(most, [result, &ones].concat())?;
            let sum = over(cx, FoldKind::Sum, &[aligned], &|e, x| {
                let most = e.input(1, wide);
                let distance = e.apply2(BinaryOp::Sub, x, most);
                e.apply1(UnaryOp::Exp, distance)
            })?;
            let log = unary(cx, UnaryOp::Ln, sum)?;
            cx.binary(BinaryOp::Add, log, most)?
        }
    };
    cx.cast(total, dtype)
}

/// The running sum or product along an axis. With a kernel for a sum along a known axis; otherwise the elements of the
/// axis are the domain, of which those count that come before.
fn running(cx: &mut Call, kind: FoldKind) -> Results {
    let (x, axis) = (cx.input(0)?, cx.input(1)?);
    let (shape, dtype) = (cx.shape(x), cx.dtype(x));
    let (exclusive, reverse) = (cx.flag("exclusive", false)?, cx.flag("reverse", false)?);
    let axis = cx.reshape(axis, Vec::new())?;
    if let (FoldKind::Sum, Some([known])) = (kind, cx.known_dims(axis).as_deref()) {
        let axis = cx.axis(known.as_const().unwrap_or(i64::MAX), shape.len())?;
        let op = Op::CumSum {
            axis,
            exclusive,
            reverse,
        };
        return Ok(vec![cx.emit(op, &[x])?]);
    }
    let (axis, rank) = (cx.cast(axis, DType::I64)?, shape.len() as i64);
    let axis = cx.map(&[axis], |e, of| {
        let rank = e.number(rank);
        from_start(e, of[0], rank)
    })?;
    let message = format!("the axis is one of a tensor of rank {rank}");
    cx.require(Vec::new(), &[axis], message, |e| {
        let (axis, rank) = (e.input(0, DType::I64), e.number(rank));
        e.within(axis, rank)
    })?;
    let (axes, sizes) = (vec![Dim::from(shape.len())], cx.sizes_of(&shape));
    let size = cx.generate(Vec::new(), &[sizes, axis], |e| {
        let axis = e.input(1, DType::I64);
        e.at(0, axis, DType::I64)
    })?;
    let stride = cx.combined(FoldKind::Prod, [Vec::new(), axes], &[sizes, axis], |e| {
        let (size, axis, other) = (e.input(0, DType::I64), e.input(1, DType::I64), e.index(0));
        let (one, inner) = (e.number(1), e.less(axis, other));
        e.select(inner, size, one)
    })?;
    let most = cx.largest_of(&shape);
    let size = cx.bind_scalar(size, Interval { low: 0, high: most })?;
    let neutral = if kind == FoldKind::Prod { 1.0 } else { 0.0 };
    let wide = if dtype.is_float() && dtype != DType::F64 {
        DType::F32
    } else {
        dtype
    };
    let sum = cx.combined(kind, [shape.clone(), vec![size.clone()]], &[x, stride], |e| {
        let coordinates: Vec<_> = (0..shape.len()).map(|axis| e.index(axis)).collect();
        let (here, stride) = (e.row_major(&coordinates, &shape), e.input(1, DType::I64));
        let (size, other) = (e.dim(&size), e.index(shape.len()));
        let row = e.div(here, stride);
        let own = e.modulo(row, size);
        let distance = e.sub(other, own);
        let offset = e.mul(distance, stride);
        let place = e.add(here, offset);
        let (from, to) = if reverse { (own, other) } else { (other, own) };
        let counts = if exclusive {
            e.less(from, to)
        } else {
            e.at_most(from, to)
        };
        let element = e.at(0, place, dtype);
        let (element, nothing) = (e.convert(element, wide), literal(e, neutral, wide));
        e.select(counts, element, nothing)
    })?;
    Ok(vec![cx.cast(sum, dtype)?])
}
