//! Sequences and optional values.

use super::{ItemRules, ONNX};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::import::item::{Item, Optional, Sequence, Stored};
use crate::import::stored::MAX_LISTED;
use crate::ir::{BinaryOp, DType, Dim, Expr, Op, Tensor, ValueId};

type Items = Result<Vec<Item>, Fault>;

pub(super) const RULES: ItemRules = &[
    (ONNX, "Identity", |cx| Ok(vec![cx.item(0)?])),
    (ONNX, "SequenceEmpty", |cx| {
        let dtype = cx.dtype_attribute("dtype")?.unwrap_or(DType::F32);
        listed(dtype, Vec::new())
    }),
    (ONNX, "SequenceConstruct", |cx| {
        let elements = cx.inputs()?;
        let dtype = cx.dtype(cx.input(0)?);
        if let Some(&other) = elements.iter().find(|&&element| cx.dtype(element) != dtype) {
            return Err(Fault::new(format!(
                "tensors of types {dtype} and {} in one sequence",
                cx.dtype(other)
            )));
        }
        listed(dtype, elements)
    }),
    (ONNX, "SequenceLength", |cx| {
        let length = match cx.sequence(0)? {
            Sequence::Listed { elements, .. } => cx.constant(Tensor::scalar(elements.len() as i64)),
            Sequence::Stored(stored) => stored.length,
        };
        Ok(vec![Item::Tensor(length)])
    }),
    (ONNX, "SequenceAt", |cx| {
        let (sequence, position) = (cx.sequence(0)?, cx.input(1)?);
        let element = match (known_position(cx, &sequence, position, false)?, sequence) {
            (Some(place), Sequence::Listed { elements, .. }) => elements[place],
            (_, sequence) => {
                let stored = stored(cx, &sequence)?;
                let position = cx.position(position, stored.length, false)?;
                cx.row_at(&stored, position)?
            }
        };
        Ok(vec![Item::Tensor(element)])
    }),
    (ONNX, "SequenceInsert", insert),
    (ONNX, "SequenceErase", erase),
    (ONNX, "SplitToSequence", split),
    (ONNX, "ConcatFromSequence", concat),
    (ONNX, "Optional", |cx| {
        // The type matters for a value that is not there; what is made of it says it again.
        cx.ignore(&["type"]);
        let content = match cx.node.inputs.first().is_some_and(|name| !name.is_empty()) {
            true => Some(Box::new(cx.item(0)?)),
            false => None,
        };
        let present = cx.constant(Tensor::scalar(content.is_some()));
        Ok(vec![Item::Optional(Optional { present, content })])
    }),
    (ONNX, "OptionalHasElement", |cx| {
        let present = match cx.optional_item(0) {
            Some(Item::Optional(optional)) => optional.present,
            other => cx.constant(Tensor::scalar(other.is_some())),
        };
        Ok(vec![Item::Tensor(present)])
    }),
    (ONNX, "OptionalGetElement", |cx| {
        let item = cx.item(0)?;
        Ok(vec![cx.content(item)?])
    }),
];

fn listed(dtype: DType, elements: Vec<ValueId>) -> Items {
    Ok(vec![Item::Sequence(Sequence::Listed { dtype, elements })])
}

/// The sequence in tensors with a row for each element.
fn stored(cx: &mut Call, sequence: &Sequence) -> Result<Stored, Fault> {
    let visible = cx.visible();
    let ty = cx.sequence_type(sequence, &visible)?;
    cx.stored(sequence, &ty)
}

/// A position in a list that is known while compiling.
fn known_position(cx: &Call, sequence: &Sequence, position: ValueId, end: bool) -> Result<Option<usize>, Fault> {
    let Sequence::Listed { elements, .. } = sequence else {
        return Ok(None);
    };
    let Some([position]) = cx.known_dims(position).and_then(|dims| <[Dim; 1]>::try_from(dims).ok()) else {
        return Ok(None);
    };
    let Some(given) = position.as_const() else {
        return Ok(None);
    };
    let length = elements.len() as i64;
    let place = if given < 0 { given + length } else { given };
    match (0..length + i64::from(end)).contains(&place) {
        true => Ok(Some(place as usize)),
        false => Err(Fault::new(format!(
            "position {given} of a sequence of {length} elements"
        ))),
    }
}

fn insert(cx: &mut Call) -> Items {
    let (sequence, value) = (cx.sequence(0)?, cx.input(1)?);
    let known = match cx.optional(2) {
        Some(position) => known_position(cx, &sequence, position, true)?,
        None => match &sequence {
            Sequence::Listed { elements, .. } => Some(elements.len()),
            Sequence::Stored(_) => None,
        },
    };
    if let (Some(place), Sequence::Listed { dtype, elements }) = (known, &sequence) {
        if cx.dtype(value) != *dtype {
            let found = cx.dtype(value);
            return Err(Fault::new(format!("a tensor of type {found} in a sequence of {dtype}")));
        }
        let mut elements = elements.clone();
        elements.insert(place, value);
        return listed(*dtype, elements);
    }
    let stored = stored(cx, &sequence)?;
    let position = match cx.optional(2) {
        Some(position) => cx.position(position, stored.length, true)?,
        None => stored.length,
    };
    let result = cx.inserted(&stored, value, position)?;
    Ok(vec![Item::Sequence(Sequence::Stored(result))])
}

fn erase(cx: &mut Call) -> Items {
    let sequence = cx.sequence(0)?;
    let position = match cx.optional(1) {
        Some(position) => position,
        None => cx.constant(Tensor::scalar(-1i64)),
    };
    if let (Some(place), Sequence::Listed { dtype, elements }) =
        (known_position(cx, &sequence, position, false)?, &sequence)
    {
        let mut elements = elements.clone();
        elements.remove(place);
        return listed(*dtype, elements);
    }
    let stored = stored(cx, &sequence)?;
    let position = cx.position(position, stored.length, false)?;
    let result = cx.erased(&stored, position)?;
    Ok(vec![Item::Sequence(Sequence::Stored(result))])
}

/// Parts of a size for all, of sizes of their own, or of size 1, which may then lose the axis.
fn split(cx: &mut Call) -> Items {
    let x = cx.input(0)?;
    let shape = cx.shape(x);
    let axis = cx.axis(cx.int("axis", 0)?, shape.len())?;
    let keep = cx.flag("keepdims", true)? || cx.optional(1).is_some();
    let size = shape[axis].clone();
    let (split, scalar) = match cx.optional(1) {
        Some(split) => (cx.cast(split, DType::I64)?, cx.rank(split) == 0),
        None => (cx.constant(Tensor::scalar(1i64)), true),
    };
    if let (Some(parts), Some(size)) = (known_parts(cx, split, scalar, &size)?, size.as_const())
        && parts.len() <= MAX_LISTED
    {
        if parts.iter().sum::<i64>() != size {
            return Err(Fault::new(format!(
                "parts of sizes {parts:?} of an axis of size {size}"
            )));
        }
        let (mut elements, mut start) = (Vec::new(), 0);
        for part in parts {
            elements.push(match keep {
                true => cx.narrow(x, axis, Dim::from(start), Dim::from(part))?,
                false => cx.select(x, axis, Dim::from(start))?,
            });
            start += part;
        }
        return listed(cx.dtype(x), elements);
    }
    let (sizes, length) = part_sizes(cx, split, scalar, &size)?;
    let result = cx.split_stored(x, axis, sizes, length, keep)?;
    Ok(vec![Item::Sequence(Sequence::Stored(result))])
}

/// The sizes of the parts, if they are known while compiling.
fn known_parts(cx: &Call, split: ValueId, scalar: bool, size: &Dim) -> Result<Option<Vec<i64>>, Fault> {
    let known = cx.known_dims(split);
    let Some(given) = known.and_then(|dims| dims.iter().map(Dim::as_const).collect::<Option<Vec<_>>>()) else {
        return Ok(None);
    };
    if given.iter().any(|&part| part < i64::from(scalar)) {
        return Err(Fault::new(format!("parts of sizes {given:?}")));
    }
    Ok(match (scalar, size.as_const()) {
        (false, _) => Some(given),
        (true, Some(size)) if size / given[0] <= MAX_LISTED as i64 => {
            let starts = (0..size).step_by(usize::try_from(given[0]).unwrap_or(usize::MAX));
            Some(starts.map(|start| given[0].min(size - start)).collect())
        }
        _ => None,
    })
}

/// The sizes of the parts that only a run can tell, `i64 [capacity]` with zeros behind the last, and their number.
fn part_sizes(cx: &mut Call, split: ValueId, scalar: bool, size: &Dim) -> Result<(ValueId, ValueId), Fault> {
    if !scalar {
        let Some(count) = cx.shape(split).first().and_then(Dim::as_const) else {
            return Err(Fault::new("the number of parts must be known while compiling"));
        };
        let mut expr = Expr::empty();
        let (part, zero) = (expr.input(0, DType::I64), expr.int(0, DType::I64));
        expr.apply2(BinaryOp::Ge, part, zero);
        let message = "the sizes of the parts are not negative";
        cx.assert_all(expr, vec![Dim::from(count)], &[split], message)?;
        let total = cx.emit(
            Op::Reduce {
                kind: crate::ir::op::ReduceKind::Sum,
                axes: vec![0],
                keep_dims: false,
            },
            &[split],
        )?;
        let whole = cx.dims(Vec::new(), vec![size.clone()]);
        let holds = cx.compared(BinaryOp::Eq, total, whole)?;
        cx.assert(holds, "the sizes of the parts add up to that of the axis")?;
        let length = cx.constant(Tensor::scalar(count));
        return Ok((split, length));
    }
    let one = cx.constant(Tensor::scalar(1i64));
    let holds = cx.compared(BinaryOp::Ge, split, one)?;
    cx.assert(holds, "the size of the parts is not 0")?;
    let mut expr = Expr::empty();
    let (index, part, whole) = (expr.index(0), expr.input(0, DType::I64), expr.dim(size));
    let start = expr.apply2(BinaryOp::Mul, index, part);
    let rest = expr.apply2(BinaryOp::Sub, whole, start);
    let least = expr.apply2(BinaryOp::Min, part, rest);
    let zero = expr.int(0, DType::I64);
    expr.apply2(BinaryOp::Max, least, zero);
    let capacity = Dim::from(size.upper(&cx.graph.bounds).max(1));
    let shape = vec![capacity];
    let sizes = cx.emit(Op::Elementwise { expr, shape }, &[split])?;
    let mut expr = Expr::empty();
    let (part, whole, one) = (expr.input(0, DType::I64), expr.dim(size), expr.int(1, DType::I64));
    let less = expr.apply2(BinaryOp::Sub, part, one);
    let sum = expr.apply2(BinaryOp::Add, whole, less);
    let divisor = expr.apply2(BinaryOp::Max, part, one);
    expr.apply2(BinaryOp::Div, sum, divisor);
    let shape = Vec::new();
    let length = cx.emit(Op::Elementwise { expr, shape }, &[split])?;
    Ok((sizes, length))
}

fn concat(cx: &mut Call) -> Items {
    let sequence = cx.sequence(0)?;
    let new_axis = cx.flag("new_axis", false)?;
    let axis = cx
        .optional_int("axis")?
        .ok_or_else(|| Fault::new("attribute `axis` is missing"))?;
    let result = match sequence {
        Sequence::Listed { elements, .. } => {
            let Some(&first) = elements.first() else {
                return Err(Fault::new("an empty sequence has nothing to concatenate"));
            };
            let rank = cx.rank(first);
            let axis = cx.axis(axis, rank + usize::from(new_axis))?;
            let mut parts = Vec::new();
            for element in elements {
                if cx.rank(element) != rank {
                    return Err(Fault::new("tensors of different ranks do not concatenate"));
                }
                parts.push(if new_axis {
                    cx.unsqueeze(element, axis)?
                } else {
                    element
                });
            }
            cx.concat(&parts, axis)?
        }
        Sequence::Stored(stored) => {
            let rank = stored.ty.shape.len();
            let axis = cx.axis(axis, rank + usize::from(new_axis))?;
            match new_axis {
                true => cx.stacked(&stored, axis)?,
                false => cx.concatenated(&stored, axis)?,
            }
        }
    };
    Ok(vec![Item::Tensor(result)])
}
