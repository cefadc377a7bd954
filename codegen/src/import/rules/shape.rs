//! Shapes as values, and operators that change the shape alone.

use super::{ONNX, Rules};
use crate::frontend::TensorData;
use crate::import::arithmetic::Arithmetic;
use crate::import::builder::Fault;
use crate::import::call::{Axes, Call};
use crate::ir::infer::display_shape;
use crate::ir::{DType, Dim, FoldKind, Interval, Op, ValueId};

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
    let known = cx.known_elements(target);
    let (target, count) = cx.integers(target, "the sizes")?;
    let (axes, sizes) = (vec![Dim::from(count)], cx.sizes_of(&from));
    let target = match allow_zero {
        true => target,
        false => cx.generate(axes.clone(), &[target, sizes], |e| {
            let (size, axis, zero) = (e.input(0, DType::I64), e.index(0), e.number(0));
            let (own, copies) = (e.at(1, axis, DType::I64), e.equals(size, zero));
            e.select(copies, own, size)
        })?,
    };
    let others = cx.combined(FoldKind::Prod, [Vec::new(), axes.clone()], &[target], |e| {
        let (size, zero, one) = (e.input(0, DType::I64), e.number(0), e.number(1));
        let is_rest = e.less(size, zero);
        e.select(is_rest, one, size)
    })?;
    let resolved = cx.generate(axes, &[target, others], |e| {
        let (size, others) = (e.input(0, DType::I64), e.input(1, DType::I64));
        let (total, rest_of) = (e.dim(&total), e.number(-1));
        let (rest, is_rest) = (e.div(total, others), e.equals(size, rest_of));
        e.select(is_rest, rest, size)
    })?;
    let Interval { low, high } = total.range(&cx.graph.bounds);
    // Next to an axis without elements another may have any size.
    let most = if low > 0 {
        high
    } else {
        high.max(cx.importer.largest_size().unwrap_or(0))
    };
    let mut shape = Vec::with_capacity(count);
    for axis in 0..count {
        let stated = known.get(axis).cloned().flatten();
        let bounds = &cx.graph.bounds;
        shape.push(match stated.filter(|size| size.range(bounds).low > 0) {
            Some(size) => size,
            None => {
                let size = cx.element(resolved, axis)?;
                cx.bind_size(0, axis, size, Some(most))?
            }
        });
    }
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
    let axes = match cx.axes_or_input(1, 13)? {
        Axes::Known(axes) => cx.axes(&axes, shape.len())?,
        Axes::Omitted => (0..shape.len()).filter(|&axis| shape[axis].is(1)).collect(),
        Axes::Computed(axes) => return computed_squeeze(cx, x, axes),
    };
    for axis in axes.into_iter().rev() {
        let what = format!("axis {axis} of {} is squeezed", display_shape(&shape));
        cx.equal(&what, &shape[axis], &Dim::from(1i64))?;
        shape.remove(axis);
    }
    Ok(vec![cx.reshape(x, shape)?])
}

fn computed_squeeze(cx: &mut Call, x: ValueId, axes: ValueId) -> Results {
    let shape = cx.shape(x);
    let [axes, mask] = cx.computed_axes(axes, shape.len())?;
    let sizes = cx.sizes_of(&shape);
    cx.require(
        vec![Dim::from(shape.len())],
        &[mask, sizes],
        "squeezed axes have size 1",
        |e| {
            let (masked, size) = (e.input(0, DType::I64), e.input(1, DType::I64));
            let (zero, one) = (e.number(0), e.number(1));
            let (kept, single) = (e.equals(masked, zero), e.equals(size, one));
            e.either(kept, single)
        },
    )?;
    Ok(vec![without_axes(cx, x, &shape, axes, mask)?])
}

/// The operand without the axes that the run names, each of which has size 1 there. `sizes` has a bound of each other.
pub(super) fn without_axes(
    cx: &mut Call,
    x: ValueId,
    sizes: &[Dim],
    axes: ValueId,
    mask: ValueId,
) -> Result<ValueId, Fault> {
    let count = cx.shape(axes)[0].as_usize().unwrap_or(0);
    let left = sizes.len().saturating_sub(count);
    let most = cx.largest_of(sizes);
    let sizes = cx.sizes_of(sizes);
    let kept = cx.unmasked_sizes(sizes, mask, left)?;
    let shape = cx.bind_shape(0, kept, |_| Some(most))?;
    cx.reshape(x, shape)
}

fn unsqueeze(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let mut shape = cx.shape(x);
    let axes = match cx.axes_or_input(1, 13)? {
        Axes::Known(axes) => axes,
        Axes::Omitted => return Err(Fault::new("the axes are missing")),
        Axes::Computed(axes) => {
            let rank = shape.len() + cx.integers(axes, "the axes")?.1;
            let most = cx.largest_of(&shape);
            let [_, mask] = cx.computed_axes(axes, rank)?;
            let sizes = cx.sizes_of(&shape);
            let sizes = cx.sizes_with_ones(sizes, mask, rank)?;
            let shape = cx.bind_shape(0, sizes, |_| Some(most))?;
            return Ok(vec![cx.reshape(x, shape)?]);
        }
    };
    for axis in cx.axes(&axes, shape.len() + axes.len())? {
        shape.insert(axis, Dim::from(1i64));
    }
    Ok(vec![cx.reshape(x, shape)?])
}

fn expand(cx: &mut Call) -> Results {
    let (x, target) = (cx.input(0)?, cx.input(1)?);
    let own = cx.shape(x);
    let shape = match cx.known_dims(target) {
        Some(target) => cx.broadcast_shapes(&[&own, &target])?,
        None => return computed_expand(cx, x, target),
    };
    Ok(vec![cx.emit(Op::Broadcast { shape }, &[x])?])
}

fn computed_expand(cx: &mut Call, x: ValueId, target: ValueId) -> Results {
    let (target, count) = cx.integers(target, "the sizes")?;
    let rank = count.max(cx.rank(x));
    let aligned = |cx: &mut Call, sizes: ValueId, count: usize| {
        let ones = vec![Dim::from(1i64); rank - count];
        let ones = cx.dims(vec![rank - count], ones);
        cx.concat(&[ones, sizes], 0)
    };
    let mut own = vec![Dim::from(1i64); rank - cx.rank(x)];
    own.extend(cx.shape(x));
    let (sizes, target) = (cx.sizes_of(&own), aligned(cx, target, count)?);
    let axes = vec![Dim::from(rank)];
    cx.require(axes.clone(), &[sizes, target], "the shapes broadcast", |e| {
        let (own, target, one) = (e.input(0, DType::I64), e.input(1, DType::I64), e.number(1));
        let (same, repeats, keeps) = (e.equals(own, target), e.equals(own, one), e.equals(target, one));
        let fits = e.either(same, repeats);
        e.either(fits, keeps)
    })?;
    let mut shape = Vec::with_capacity(rank);
    for (axis, size) in own.iter().enumerate() {
        shape.push(if size.is(1) {
            let size = cx.element(target, axis)?;
            cx.bind_size(0, axis, size, None)?
        } else {
            let bounds = size.range(&cx.graph.bounds);
            if bounds.low <= 1 && bounds.high > 0 && size.as_const().is_none() {
                let message = format!("the size {size} may be 1, which repeats, or another, which does not");
                return Err(Fault::new(message).help("narrow its bounds"));
            }
            size.clone()
        });
    }
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
    let sizes = cx.input(0)?;
    let shape = cx.bind_shape(0, sizes, |_| None)?;
    let value = match cx.constant_attribute("value")? {
        Some(tensor) if tensor.len() == 1 => tensor.reshaped(Vec::new()),
        Some(_) => return Err(Fault::new("attribute `value` has more than one element")),
        None => crate::ir::Tensor::scalar(0f32),
    };
    let value = cx.constant(value);
    Ok(vec![cx.emit(Op::Broadcast { shape }, &[value])?])
}
