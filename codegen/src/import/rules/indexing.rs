//! Elements chosen by index.

use super::{ONNX, Rules};
use crate::import::arithmetic::Arithmetic;
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::infer::display_shape;
use crate::ir::{BinaryOp, DType, Dim, Expr, Op, Scalar, ScalarId, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[
    (ONNX, "Gather", gather),
    (ONNX, "GatherElements", gather_elements),
    (ONNX, "GatherND", gather_nd),
    (ONNX, "ReverseSequence", reverse_sequence),
];

/// One constant index is a slice, which needs no copy.
fn gather(cx: &mut Call) -> Results {
    let (data, indices) = (cx.input(0)?, cx.input(1)?);
    let axis = cx.axis(cx.int("axis", 0)?, cx.rank(data))?;
    if let Some([index]) = cx.known_dims(indices).as_deref()
        && cx.known(data).is_none()
    {
        let size = cx.shape(data)[axis].clone();
        let range = index.range(&cx.graph.bounds);
        let index = if range.high < 0 {
            index.clone() + size.clone()
        } else {
            index.clone()
        };
        if range.low >= 0 || range.high < 0 {
            let left = size - index.clone() - Dim::from(1i64);
            let bounds = &cx.graph.bounds;
            if index.range(bounds).low < 0 || left.range(bounds).low < 0 {
                cx.require(Vec::new(), &[], format!("index {index} is one of the axis"), |e| {
                    let (index, left, zero) = (e.dim(&index), e.dim(&left), e.number(0));
                    let nearest = e.least(index, left);
                    e.at_most(zero, nearest)
                })?;
            }
            let part = cx.narrow(data, axis, index, Dim::from(1i64))?;
            let mut shape = cx.shape(part);
            shape.splice(axis..=axis, cx.shape(indices));
            return Ok(vec![cx.reshape(part, shape)?]);
        }
    }
    Ok(vec![cx.emit(Op::Gather { axis }, &[data, indices])?])
}

fn gather_elements(cx: &mut Call) -> Results {
    let (data, indices) = (cx.input(0)?, cx.input(1)?);
    let axis = cx.axis(cx.int("axis", 0)?, cx.rank(data))?;
    Ok(vec![cx.emit(Op::GatherElements { axis }, &[data, indices])?])
}

/// The coordinates of each index become one index into the data, whose indexed axes are merged into one.
fn gather_nd(cx: &mut Call) -> Results {
    let (data, indices) = (cx.input(0)?, cx.input(1)?);
    let (shape, outer) = (cx.shape(data), cx.shape(indices));
    let batch = usize::try_from(cx.int("batch_dims", 0)?).unwrap_or(usize::MAX);
    let depth = outer.last().and_then(Dim::as_usize).unwrap_or(usize::MAX);
    if depth == 0 || batch.saturating_add(depth) > shape.len() || batch >= outer.len() {
        let (data, indices) = (display_shape(&shape), display_shape(&outer));
        return Err(Fault::new(format!(
            "indices of shape {indices} into {data} with {batch} batch axes"
        )));
    }
    for axis in 0..batch {
        cx.equal("the batch sizes of data and indices", &shape[axis], &outer[axis])?;
    }
    let dtype = cx.dtype(indices);
    let last = outer.len() - 1;
    let points = outer[..last].to_vec();
    let mut expr = Expr::empty();
    let mut linear: Option<ScalarId> = None;
    let mut operands = Vec::new();
    for (axis, size) in shape[..batch + depth].iter().enumerate() {
        let size_id = expr.push(Scalar::Dim(size.clone()), DType::I64);
        let place = if axis < batch {
            expr.push(Scalar::Index(axis), DType::I64)
        } else {
            operands.push(cx.select(indices, last, Dim::from(axis - batch))?);
            let input = expr.input(operands.len() - 1, dtype);
            let index = expr.convert(input, DType::I64);
            let zero = expr.int(0, DType::I64);
            let negative = expr.apply2(BinaryOp::Lt, index, zero);
            let wrapped = expr.apply2(BinaryOp::Add, index, size_id);
            expr.push(Scalar::Select(negative, wrapped, index), DType::I64)
        };
        linear = Some(match linear {
            None => place,
            Some(linear) => {
                let scaled = expr.apply2(BinaryOp::Mul, linear, size_id);
                expr.apply2(BinaryOp::Add, scaled, place)
            }
        });
    }
    let Some(linear) = linear else {
        return Err(Fault::new("there are no indices"));
    };
    let expr = expr.finish(linear);
    let index = cx.emit(Op::Elementwise { expr, shape: points }, &operands)?;
    let mut flat = vec![shape[..batch + depth].iter().cloned().product::<Dim>()];
    flat.extend(shape[batch + depth..].iter().cloned());
    let flat = cx.reshape(data, flat)?;
    Ok(vec![cx.emit(Op::Gather { axis: 0 }, &[flat, index])?])
}

/// The first elements of each sequence of a batch, as many as its length says, in reverse order.
fn reverse_sequence(cx: &mut Call) -> Results {
    let (x, lengths) = (cx.input(0)?, cx.input(1)?);
    let shape = cx.shape(x);
    let (batch, time) = (
        cx.axis(cx.int("batch_axis", 1)?, shape.len())?,
        cx.axis(cx.int("time_axis", 0)?, shape.len())?,
    );
    let (sequences, size) = (cx.shape(lengths), shape[time].clone());
    if batch == time || sequences.len() != 1 {
        let (x, lengths) = (display_shape(&shape), display_shape(&sequences));
        return Err(Fault::new(format!(
            "sequences of lengths {lengths} in {x}, along axis {time} of batch axis {batch}"
        )));
    }
    cx.equal("sequences and their lengths", &sequences[0], &shape[batch])?;
    let message = format!("the lengths of sequences are from 0 to {size}");
    cx.demand(message, sequences, &[lengths], |f| {
        let length = f.operand(0).cast(DType::I64);
        length.ge(0i64).and(length.le(f.dim(&size)))
    })?;
    let rank = shape.len();
    Ok(vec![cx.each(shape, &[x, lengths], |f| {
        let mut coordinates = f.indices(0..rank);
        let (place, length) = (f.index(time), f.load(1, &[f.index(batch)]).cast(DType::I64));
        coordinates[time] = place.lt(length).select(length - 1i64 - place, place);
        f.load(0, &coordinates)
    })?])
}
