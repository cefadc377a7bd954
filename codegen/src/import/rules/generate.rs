//! Tensors made from indices and sizes.

use super::{ONNX, Rules};
use crate::import::builder::{Fault, literal};
use crate::import::call::Call;
use crate::import::known::Known;
use crate::ir::infer::display_shape;
use crate::ir::{BinaryOp, DType, Dim, Expr, Op, Scalar, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[
    (ONNX, "Range", range),
    (ONNX, "OneHot", one_hot),
    (ONNX, "Trilu", trilu),
    (ONNX, "EyeLike", eye_like),
];

fn range(cx: &mut Call) -> Results {
    let (start, limit, delta) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let dtype = cx.dtype(start);
    let what = "the start, limit and delta of a range";
    let element = |cx: &Call, index: usize, value| {
        cx.known(value)
            .filter(|v| v.len() == 1)
            .and_then(|mut v| v.pop())
            .ok_or_else(|| cx.unknown(index, what))
    };
    let count = match (element(cx, 0, start)?, element(cx, 1, limit)?, element(cx, 2, delta)?) {
        (Known::Int(start), Known::Int(limit), Known::Int(delta)) => {
            let delta = delta
                .as_const()
                .filter(|delta| *delta != 0 && delta.unsigned_abs() < 1 << 40);
            let delta = delta.ok_or_else(|| Fault::new("the delta of a range must be a constant and not zero"))?;
            let distance = if delta > 0 { limit - start } else { start - limit };
            distance
                .ceil_div(delta.abs())
                .maximum(&Dim::from(0i64), &cx.graph.bounds)
        }
        (Known::Float(start), Known::Float(limit), Known::Float(delta)) => {
            let count = ((limit - start) / delta).ceil().max(0.0);
            if count.is_nan() || count > 1e12 {
                return Err(Fault::new(format!(
                    "a range from {start} to {limit} in steps of {delta}"
                )));
            }
            Dim::from(count as i64)
        }
        _ => return Err(Fault::new("a range of floats needs constants")),
    };
    let mut expr = Expr::empty();
    let index = expr.push(Scalar::Index(0), DType::I64);
    let index = expr.convert(index, dtype);
    let (first, step) = (expr.input(0, dtype), expr.input(1, cx.dtype(delta)));
    let offset = expr.apply2(BinaryOp::Mul, index, step);
    expr.apply2(BinaryOp::Add, first, offset);
    let (first, step) = (cx.reshape(start, Vec::new())?, cx.reshape(delta, Vec::new())?);
    Ok(vec![cx.emit(
        Op::Elementwise {
            expr,
            shape: vec![count],
        },
        &[first, step],
    )?])
}

/// Indices out of range select nothing.
fn one_hot(cx: &mut Call) -> Results {
    let (indices, values) = (cx.input(0)?, cx.input(2)?);
    let depth = match cx.known(cx.input(1)?).as_deref() {
        Some([Known::Int(depth)]) => depth.clone(),
        Some([Known::Float(depth)]) => Dim::from(*depth as i64),
        _ => return Err(cx.unknown(1, "the depth")),
    };
    let rank = cx.rank(indices) + 1;
    let axis = cx.axis(cx.int("axis", -1)?, rank)?;
    let indices = cx.unsqueeze(indices, axis)?;
    let mut shape = cx.shape(indices);
    shape[axis] = depth.clone();
    if !cx.shape(values).first().is_some_and(|size| size.is(2)) || cx.rank(values) != 1 {
        return Err(Fault::new("the values must be one for off and one for on"));
    }
    let (off, on) = (
        cx.select(values, 0, Dim::from(0i64))?,
        cx.select(values, 0, Dim::from(1i64))?,
    );
    let dtype = cx.dtype(values);
    let mut expr = Expr::empty();
    let index = expr.input(0, cx.dtype(indices));
    let index = expr.convert(index, DType::I64);
    let (zero, depth) = (expr.int(0, DType::I64), expr.push(Scalar::Dim(depth), DType::I64));
    let negative = expr.apply2(BinaryOp::Lt, index, zero);
    let wrapped = expr.apply2(BinaryOp::Add, index, depth);
    let index = expr.push(Scalar::Select(negative, wrapped, index), DType::I64);
    let here = expr.push(Scalar::Index(axis), DType::I64);
    let hit = expr.apply2(BinaryOp::Eq, index, here);
    let (off_id, on_id) = (expr.input(1, dtype), expr.input(2, dtype));
    expr.push(Scalar::Select(hit, on_id, off_id), dtype);
    Ok(vec![cx.emit(Op::Elementwise { expr, shape }, &[indices, off, on])?])
}

/// Keeps the triangle on one side of a diagonal, which may be chosen at run time.
fn trilu(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let (dtype, shape) = (cx.dtype(x), cx.shape(x));
    let rank = shape.len();
    if rank < 2 {
        return Err(Fault::new(format!("a triangle of {}", display_shape(&shape))));
    }
    let diagonal = match cx.optional(1) {
        Some(k) => cx.reshape(k, Vec::new())?,
        None => cx.number(0.0, DType::I64)?,
    };
    let op = if cx.flag("upper", true)? {
        BinaryOp::Ge
    } else {
        BinaryOp::Le
    };
    let mut expr = Expr::empty();
    let (row, column) = (
        expr.push(Scalar::Index(rank - 2), DType::I64),
        expr.push(Scalar::Index(rank - 1), DType::I64),
    );
    let k = expr.input(1, DType::I64);
    let edge = expr.apply2(BinaryOp::Add, row, k);
    let inside = expr.apply2(op, column, edge);
    let (value, zero) = (expr.input(0, dtype), literal(&mut expr, 0.0, dtype));
    expr.push(Scalar::Select(inside, value, zero), dtype);
    Ok(vec![cx.emit(Op::Elementwise { expr, shape }, &[x, diagonal])?])
}

fn eye_like(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let shape = cx.shape(x);
    if shape.len() != 2 {
        return Err(Fault::new(format!(
            "an identity matrix of shape {}",
            display_shape(&shape)
        )));
    }
    let dtype = cx.dtype_attribute("dtype")?.unwrap_or(cx.dtype(x));
    let k = cx.int("k", 0)?;
    let mut expr = Expr::empty();
    let (row, column) = (
        expr.push(Scalar::Index(0), DType::I64),
        expr.push(Scalar::Index(1), DType::I64),
    );
    let k = expr.int(k.into(), DType::I64);
    let diagonal = expr.apply2(BinaryOp::Add, row, k);
    let hit = expr.apply2(BinaryOp::Eq, column, diagonal);
    let result = expr.convert(hit, dtype);
    Ok(vec![cx.emit(
        Op::Elementwise {
            expr: expr.finish(result),
            shape,
        },
        &[],
    )?])
}
