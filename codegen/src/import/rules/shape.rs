//! Shapes as values, and operators that change the shape alone.

use super::{ONNX, Rules};
use crate::frontend::TensorData;
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::infer::display_shape;
use crate::ir::{BinaryOp, DType, Dim, Expr, FoldKind, Interval, Op, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[
    (ONNX, "Shape", shape),
    (ONNX, "Size", size),
    (ONNX, "Reshape", reshape),
    (ONNX, "Flatten", flatten),
    (ONNX, "Squeeze", squeeze),
    (ONNX, "Unsqueeze", unsqueeze),
    (ONNX, "Expand", expand),
    (ONNX, "Constant", constant),
    (ONNX, "ConstantOfShape", constant_of_shape),
];

/// From version 15 on, of a range of axes.
fn shape(cx: &mut Call) -> Results {
    let shape = cx.shape(cx.input(0)?);
    let rank = shape.len() as i64;
    let place = |axis: i64| if axis < 0 { axis.saturating_add(rank) } else { axis }.clamp(0, rank) as usize;
    let (start, end) = (place(cx.int("start", 0)?), place(cx.int("end", rank)?));
    let dims = shape[start.min(end)..end].to_vec();
    Ok(vec![cx.dims(vec![dims.len()], dims)])
}

fn size(cx: &mut Call) -> Results {
    let count = cx.ty(cx.input(0)?).elements();
    Ok(vec![cx.dims(Vec::new(), vec![count])])
}

/// A size of 0 copies that of the operand unless `allowzero`; -1 stands for what is left.
fn reshape(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let allow_zero = cx.flag("allowzero", false)?;
    let from = cx.shape(x);
    let target = match cx.known_dims(cx.input(1)?) {
        Some(target) => target,
        None => return computed_reshape(cx, x, allow_zero),
    };
    let mut shape = Vec::with_capacity(target.len());
    let mut rest = None;
    for (axis, dim) in target.iter().enumerate() {
        let size = match dim.as_const() {
            Some(0) if !allow_zero => from.get(axis).cloned().ok_or_else(|| {
                let (from, target) = (display_shape(&from), display_shape(&target));
                Fault::new(format!(
                    "the shape {target} copies axis {axis} of a tensor of shape {from}"
                ))
            })?,
            Some(-1) if rest.is_none() => {
                rest = Some(axis);
                Dim::from(1i64)
            }
            Some(value) if value < 0 => {
                return Err(Fault::new(format!("{} is no shape", display_shape(&target))));
            }
            _ => dim.clone(),
        };
        shape.push(size);
    }
    if let Some(axis) = rest {
        let total: Dim = from.iter().cloned().product();
        let others: Dim = shape.iter().cloned().product();
        shape[axis] = match total.exact_div(&others) {
            Some(exact) => exact,
            // Nothing is left where something else is empty.
            None if others.is(0) => Dim::from(0i64),
            None => total.floor_div(&others),
        };
    }
    Ok(vec![cx.reshape(x, shape)?])
}

/// A reshape to sizes that only the run knows: they are resolved there, and bound to symbols.
fn computed_reshape(cx: &mut Call, x: ValueId, allow_zero: bool) -> Results {
    let (from, target) = (cx.shape(x), cx.input(1)?);
    let total: Dim = from.iter().cloned().product();
    if cx.dtype(target) != DType::I64 || cx.rank(target) != 1 {
        let found = cx.ty(target).to_string();
        return Err(Fault::new(format!("the shape is {found}, not a list of i64")));
    }
    let shape = cx.shape(target);
    let sizes = cx.dims(vec![from.len()], from);

    let mut copied = Expr::empty();
    let (size, axis) = (copied.input(0, DType::I64), copied.index(0));
    let (own, zero) = (copied.at(1, axis, DType::I64), copied.int(0, DType::I64));
    let is_zero = copied.apply2(BinaryOp::Eq, size, zero);
    let copies = copied.select(is_zero, own, size);
    let expr = if allow_zero {
        copied.with_result(size)
    } else {
        copied.finish(copies)
    };
    let inputs = if allow_zero { vec![target] } else { vec![target, sizes] };
    let target = cx.emit(
        Op::Elementwise {
            expr,
            shape: shape.clone(),
        },
        &inputs,
    )?;

    let mut others = Expr::empty();
    let (size, one) = (others.input(0, DType::I64), others.int(1, DType::I64));
    let zero = others.int(0, DType::I64);
    let is_rest = others.apply2(BinaryOp::Lt, size, zero);
    others.select(is_rest, one, size);
    let others = Op::Fold {
        kind: FoldKind::Prod,
        expr: others,
        shape: Vec::new(),
        domain: shape.clone(),
    };
    let others = cx.emit(others, &[target])?;

    let mut resolved = Expr::empty();
    let (size, others_id) = (resolved.input(0, DType::I64), resolved.input(1, DType::I64));
    let (total_id, zero) = (resolved.dim(&total), resolved.int(0, DType::I64));
    let rest = resolved.apply2(BinaryOp::Div, total_id, others_id);
    let is_rest = resolved.apply2(BinaryOp::Lt, size, zero);
    resolved.select(is_rest, rest, size);
    let resolved = cx.emit(Op::Elementwise { expr: resolved, shape }, &[target, others])?;
    let most = total.upper(&cx.graph.bounds);
    let capacities: Vec<i64> = (0..).map_while(|axis| cx.capacity(0, axis)).collect();
    let range = |axis: usize| {
        Ok(Interval {
            low: 0,
            high: capacities.get(axis).copied().unwrap_or(most),
        })
    };
    let shape = cx.bind(resolved, range)?;
    Ok(vec![cx.reshape(x, shape)?])
}

fn flatten(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let shape = cx.shape(x);
    let (axis, rank) = (cx.int("axis", 1)?, shape.len());
    // The axis after the last is allowed.
    let axis = if axis == rank as i64 {
        rank
    } else {
        cx.axis(axis, rank)?
    };
    let (rows, columns) = shape.split_at(axis);
    let shape = vec![rows.iter().cloned().product(), columns.iter().cloned().product()];
    Ok(vec![cx.reshape(x, shape)?])
}

fn squeeze(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let mut shape = cx.shape(x);
    let axes = match cx.ints_or_input("axes", 1, 13)? {
        Some(axes) => cx.axes(&axes, shape.len())?,
        None => (0..shape.len()).filter(|&axis| shape[axis].is(1)).collect(),
    };
    for axis in axes.into_iter().rev() {
        let what = format!("axis {axis} of {} is squeezed", display_shape(&shape));
        cx.equal(&what, &shape[axis], &Dim::from(1i64))?;
        shape.remove(axis);
    }
    Ok(vec![cx.reshape(x, shape)?])
}

fn unsqueeze(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let mut shape = cx.shape(x);
    let axes = cx
        .ints_or_input("axes", 1, 13)?
        .ok_or_else(|| Fault::new("the axes are missing"))?;
    for axis in cx.axes(&axes, shape.len() + axes.len())? {
        shape.insert(axis, Dim::from(1i64));
    }
    Ok(vec![cx.reshape(x, shape)?])
}

fn expand(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let (own, target) = (cx.shape(x), cx.known_input(1, "the shape")?);
    let shape = cx.broadcast_shapes(&[&own, &target])?;
    Ok(vec![cx.emit(Op::Broadcast { shape }, &[x])?])
}

fn constant(cx: &mut Call) -> Results {
    use crate::ir::Tensor;
    if let Some(text) = constant_text(cx)? {
        return Ok(vec![text]);
    }
    let mut found = Vec::new();
    found.extend(cx.constant_attribute("value")?);
    found.extend(cx.optional_int("value_int")?.map(Tensor::scalar));
    found.extend(
        cx.ints("value_ints")?
            .map(|values| Tensor::new(vec![values.len()], &values)),
    );
    found.extend(cx.optional_float("value_float")?.map(Tensor::scalar));
    found.extend(
        cx.floats("value_floats")?
            .map(|values| Tensor::new(vec![values.len()], &values)),
    );
    match (found.pop(), found.pop()) {
        (Some(tensor), None) => Ok(vec![cx.constant(tensor)]),
        (Some(_), Some(_)) => Err(Fault::new("there is more than one value")),
        (None, _) => Err(Fault::new("there is no value of a supported kind")),
    }
}

/// The constant, if it is a tensor of strings.
fn constant_text(cx: &mut Call) -> Result<Option<ValueId>, Fault> {
    if let Some(tensor) = cx.tensor("value")?
        && let TensorData::Strings(strings) = &tensor.data
    {
        return cx.constant_text(tensor.shape.clone(), strings).map(Some);
    }
    let (shape, strings) = match (cx.strings("value_strings")?, cx.has("value_string")) {
        (Some(strings), _) => (vec![strings.len()], strings),
        (None, true) => (Vec::new(), vec![cx.string("value_string", "")?.to_owned()]),
        (None, false) => return Ok(None),
    };
    cx.constant_text(shape, &strings).map(Some)
}

fn constant_of_shape(cx: &mut Call) -> Results {
    let shape = cx.known_input(0, "the shape")?;
    let value = match cx.constant_attribute("value")? {
        Some(tensor) if tensor.len() == 1 => tensor.reshaped(Vec::new()),
        Some(_) => return Err(Fault::new("attribute `value` has more than one element")),
        None => crate::ir::Tensor::scalar(0f32),
    };
    let value = cx.constant(value);
    Ok(vec![cx.emit(Op::Broadcast { shape }, &[value])?])
}
