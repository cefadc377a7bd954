//! Tensors made from indices and sizes.

use super::{ONNX, Rules};
use crate::import::arithmetic::{Arithmetic, steps_within};
use crate::import::builder::{Fault, literal};
use crate::import::call::Call;
use crate::import::known::Known;
use crate::ir::infer::display_shape;
use crate::ir::{BinaryOp, DType, Dim, Expr, Op, Scalar, UnaryOp, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[
    (ONNX, "Range", range),
    (ONNX, "OneHot", one_hot),
    (ONNX, "Trilu", trilu),
    (ONNX, "EyeLike", eye_like),
];

fn range(cx: &mut Call) -> Results {
    let mut operands = [cx.input(0)?, cx.input(1)?, cx.input(2)?];
    let dtype = cx.dtype(operands[0]);
    for operand in &mut operands {
        *operand = cx.reshape(*operand, Vec::new())?;
    }
    let [start, limit, delta] = operands;
    let element = |cx: &Call, value| cx.known(value).and_then(|mut elements| elements.pop());
    let count = match (element(cx, start), element(cx, limit), element(cx, delta)) {
        (Some(Known::Int(start)), Some(Known::Int(limit)), Some(Known::Int(delta))) => {
            let delta = delta
                .as_const()
                .filter(|delta| *delta != 0 && delta.unsigned_abs() < 1 << 40);
            let delta = delta.ok_or_else(|| Fault::new("the delta of a range must be a constant and not zero"))?;
            let distance = if delta > 0 { limit - start } else { start - limit };
            distance
                .ceil_div(delta.abs())
                .maximum(&Dim::from(0i64), &cx.graph.bounds)
        }
        (Some(Known::Float(start)), Some(Known::Float(limit)), Some(Known::Float(delta))) => {
            let count = ((limit - start) / delta).ceil().max(0.0);
            if count.is_nan() || count > 1e12 {
                return Err(Fault::new(format!(
                    "a range from {start} to {limit} in steps of {delta}"
                )));
            }
            Dim::from(count as i64)
        }
        _ => {
            let count = range_count(cx, operands)?;
            cx.bind_size(0, 0, count, None)?
        }
    };
    // Rounding once is what a type of less precision has to offer.
    let wide = if dtype.is_float() && dtype != DType::F64 {
        DType::F32
    } else {
        dtype
    };
    let values = cx.map_to(vec![count], &[start, delta], |e, of| {
        let index = e.index(0);
        let [index, start, delta] = [index, of[0], of[1]].map(|x| e.convert(x, wide));
        let offset = e.mul(index, delta);
        let value = e.add(start, offset);
        e.convert(value, dtype)
    })?;
    Ok(vec![values])
}

/// How many elements a range has that only the run knows.
fn range_count(cx: &mut Call, operands: [ValueId; 3]) -> Result<ValueId, Fault> {
    let dtype = cx.dtype(operands[0]);
    let wide = if dtype.is_float() { DType::F64 } else { DType::I64 };
    cx.require(Vec::new(), &operands[2..], "the delta of a range is not 0", |e| {
        let delta = e.input(0, dtype);
        let zero = literal(e, 0.0, dtype);
        e.apply2(BinaryOp::Ne, delta, zero)
    })?;
    cx.map(&operands, |e, of| {
        let [start, limit, delta] = [of[0], of[1], of[2]].map(|x| e.convert(x, wide));
        let zero = literal(e, 0.0, wide);
        if dtype.is_float() {
            let distance = e.sub(limit, start);
            let steps = e.div(distance, delta);
            let steps = e.apply1(UnaryOp::Ceil, steps);
            let steps = e.greatest(steps, zero);
            return e.convert(steps, DType::I64);
        }
        let (down, length) = (e.less(delta, zero), e.apply1(UnaryOp::Abs, delta));
        let (forward, backward) = (e.sub(limit, start), e.sub(start, limit));
        let distance = e.select(down, backward, forward);
        steps_within(e, distance, length)
    })
}

/// Indices out of range select nothing.
fn one_hot(cx: &mut Call) -> Results {
    let (indices, values) = (cx.input(0)?, cx.input(2)?);
    let rank = cx.rank(indices) + 1;
    let axis = cx.axis(cx.int("axis", -1)?, rank)?;
    let depth = cx.input(1)?;
    let depth = match cx.known(depth).as_deref() {
        Some([Known::Int(depth)]) => depth.clone(),
        Some([Known::Float(depth)]) => Dim::from(*depth as i64),
        _ => {
            let depth = cx.reshape(depth, Vec::new())?;
            let depth = cx.cast(depth, DType::I64)?;
            cx.bind_size(0, axis, depth, None)?
        }
    };
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
