//! Parts of a tensor.

use super::{ONNX, Rules};
use crate::import::arithmetic::{Arithmetic, from_start, steps_within};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::infer::display_shape;
use crate::ir::{BinaryOp, Bounds, DType, Dim, Op, UnaryOp, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[(ONNX, "Slice", slice), (ONNX, "Split", split)];

/// Starts and ends are attributes before version 10. They count from the end if negative and are clamped to the tensor.
fn slice(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let mut shape = cx.shape(x);
    let rank = shape.len();
    let from_ints = |values: Vec<i64>| values.into_iter().map(Dim::from).collect::<Vec<_>>();
    let missing = |what| Fault::new(format!("attribute `{what}` is missing"));
    let (first, last, axes, strides) = if cx.version < 10 {
        let first = cx.ints("starts")?.ok_or_else(|| missing("starts"))?;
        let last = cx.ints("ends")?.ok_or_else(|| missing("ends"))?;
        (from_ints(first), from_ints(last), cx.ints("axes")?, None)
    } else {
        let known = |cx: &Call, index: usize| cx.optional(index).map(|value| cx.known_dims(value));
        let constant = |dims: Vec<Dim>| dims.iter().map(Dim::as_const).collect::<Option<Vec<_>>>();
        let (first, last) = (known(cx, 1).flatten(), known(cx, 2).flatten());
        let axes = known(cx, 3).map(|axes| axes.and_then(constant));
        let steps = known(cx, 4).map(|steps| steps.and_then(constant));
        match (first, last) {
            (Some(first), Some(last)) if axes != Some(None) && steps != Some(None) => {
                (first, last, axes.flatten(), steps.flatten())
            }
            _ => return computed_slice(cx, x),
        }
    };
    let axes = axes.unwrap_or_else(|| (0..first.len() as i64).collect());
    let strides = strides.unwrap_or_else(|| vec![1; axes.len()]);
    if [first.len(), last.len(), strides.len()] != [axes.len(); 3] {
        return Err(Fault::new("there must be one start, end and step for each axis"));
    }
    cx.axes(&axes, rank)?;
    let (mut starts, mut steps) = (vec![Dim::from(0i64); rank], vec![1; rank]);
    for (i, &axis) in axes.iter().enumerate() {
        let axis = cx.axis(axis, rank)?;
        let range = Range {
            size: &shape[axis],
            step: strides[i],
            bounds: &cx.graph.bounds,
        };
        let (start, count) = range.resolve(&first[i], &last[i])?;
        starts[axis] = start;
        steps[axis] = strides[i];
        shape[axis] = count;
    }
    Ok(vec![cx.emit(Op::Slice { starts, steps, shape }, &[x])?])
}

/// A slice of which something is known to the run only. Axes that it does not name keep their size.
fn computed_slice(cx: &mut Call, x: ValueId) -> Results {
    let (shape, dtype) = (cx.shape(x), cx.dtype(x));
    let (mut starts, count) = cx.listed(1, "the starts")?;
    let (mut ends, _) = cx.listed(2, "the ends")?;
    let mut steps = match cx.optional(4) {
        Some(steps) => cx.integers(steps, "the steps")?.0,
        None => cx.dims(vec![count], vec![Dim::from(1i64); count]),
    };
    let axes = match cx.optional(3) {
        None => (0..count.min(shape.len())).collect(),
        Some(_) if cx.constant_ints(3, "the axes").is_ok() => {
            let axes = cx.constant_ints(3, "the axes")?.unwrap_or_default();
            cx.axes(&axes, shape.len())?;
            let axes = axes.iter().map(|&axis| cx.axis(axis, shape.len()));
            axes.collect::<Result<Vec<_>, _>>()?
        }
        Some(axes) => {
            let [axes, _] = cx.computed_axes(axes, shape.len())?;
            let all = |value: i64| vec![value; shape.len()];
            starts = cx.per_axis(starts, axes, all(0))?;
            ends = cx.per_axis(ends, axes, all(i64::MAX))?;
            steps = cx.per_axis(steps, axes, all(1))?;
            (0..shape.len()).collect::<Vec<_>>()
        }
    };
    let listed = vec![Dim::from(axes.len())];
    for value in [starts, ends, steps] {
        if cx.shape(value) != listed {
            return Err(Fault::new("there must be one start, end and step for each axis"));
        }
    }
    cx.require(listed.clone(), &[steps], "steps are not 0", |e| {
        let (step, zero) = (e.input(0, DType::I64), e.number(0));
        e.apply2(BinaryOp::Ne, step, zero)
    })?;
    let sizes: Vec<Dim> = axes.iter().map(|&axis| shape[axis].clone()).collect();
    let sizes_id = cx.sizes_of(&sizes);
    // A forward range stops at the size, a backward one before the first element.
    let clamped = |cx: &mut Call, index: ValueId| {
        cx.generate(listed.clone(), &[index, steps, sizes_id], |e| {
            let [index, step, size] = [0, 1, 2].map(|number| e.input(number, DType::I64));
            let (zero, before, index) = (e.number(0), e.number(-1), from_start(e, index, size));
            let last = e.add(size, before);
            let backward = e.less(step, zero);
            let (low, high) = (e.select(backward, before, zero), e.select(backward, last, size));
            e.clamped(index, low, high)
        })
    };
    let (starts, ends) = (clamped(cx, starts)?, clamped(cx, ends)?);
    let counts = cx.generate(listed, &[starts, ends, steps], |e| {
        let [start, end, step] = [0, 1, 2].map(|number| e.input(number, DType::I64));
        let (zero, forward, backward) = (e.number(0), e.sub(end, start), e.sub(start, end));
        let (down, length) = (e.less(step, zero), e.apply1(UnaryOp::Abs, step));
        let distance = e.select(down, backward, forward);
        steps_within(e, distance, length)
    })?;
    let bounds = cx.graph.bounds.clone();
    let ranges = axes.iter().zip(&sizes);
    let ranges = ranges.map(|(&axis, size)| cx.size_bounds(0, axis, Some(size.upper(&bounds))));
    let ranges = ranges.collect::<Result<Vec<_>, _>>()?;
    let counts = cx.bind(counts, |place| Ok(ranges[place]))?;
    let mut result = shape.clone();
    for (&axis, count) in axes.iter().zip(counts) {
        result[axis] = count;
    }
    let slice = cx.generate(result, &[x, starts, steps], |e| {
        let mut coordinates: Vec<_> = (0..shape.len()).map(|axis| e.index(axis)).collect();
        for (place, &axis) in axes.iter().enumerate() {
            let place = e.number(place as i64);
            let (start, step) = (e.at(1, place, DType::I64), e.at(2, place, DType::I64));
            let distance = e.mul(coordinates[axis], step);
            coordinates[axis] = e.add(start, distance);
        }
        let place = e.row_major(&coordinates, &shape);
        e.at(0, place, dtype)
    })?;
    Ok(vec![slice])
}

/// A strided range of indices along an axis.
struct Range<'a> {
    size: &'a Dim,
    step: i64,
    bounds: &'a Bounds,
}

impl Range<'_> {
    /// The first index and the number of indices.
    fn resolve(&self, start: &Dim, end: &Dim) -> Result<(Dim, Dim), Fault> {
        let (zero, one) = (Dim::from(0i64), Dim::from(1i64));
        if self.step == 0 || self.step.unsigned_abs() > 1 << 40 {
            return Err(Fault::new(format!("a step of {}", self.step)));
        }
        // A forward range stops at the size, a backward one before the first element.
        let (low, high) = if self.step > 0 {
            (zero.clone(), self.size.clone())
        } else {
            (Dim::from(-1i64), self.size.clone() - one.clone())
        };
        let clamp = |index: Dim| index.maximum(&low, self.bounds).minimum(&high, self.bounds);
        let (start, end) = (
            clamp(self.counted_from_start(start)?),
            clamp(self.counted_from_start(end)?),
        );
        let distance = if self.step > 0 {
            end - start.clone()
        } else {
            start.clone() - end
        };
        let count = distance.ceil_div(self.step.abs()).maximum(&zero, self.bounds);
        Ok((start, count))
    }

    /// The index counted from the start.
    fn counted_from_start(&self, index: &Dim) -> Result<Dim, Fault> {
        let range = index.range(self.bounds);
        if range.low >= 0 {
            Ok(index.clone())
        } else if range.high < 0 {
            Ok(index.clone() + self.size.clone())
        } else {
            let message = format!("the index {index} may count from either end, depending on the sizes");
            Err(Fault::new(message).help("narrow the bounds of the dimensions in it"))
        }
    }
}

/// Sizes are an attribute before version 13 and an operand from then on; without them, parts are equal.
fn split(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let shape = cx.shape(x);
    let axis = cx.axis(cx.int("axis", 0)?, shape.len())?;
    let total = &shape[axis];
    let given = if cx.version < 13 {
        cx.ints("split")?
            .map(|sizes| sizes.into_iter().map(Dim::from).collect::<Vec<_>>())
    } else if cx.optional(1).is_some() {
        let (sizes, count) = cx.listed(1, "the sizes")?;
        let most = total.upper(&cx.graph.bounds);
        let ranges = (0..count).map(|part| cx.size_bounds(part, axis, Some(most)));
        let ranges = ranges.collect::<Result<Vec<_>, _>>()?;
        Some(cx.bind(sizes, |part| Ok(ranges[part]))?)
    } else {
        None
    };
    let sizes = match given {
        Some(sizes) => sizes,
        None => {
            let count = cx.node.outputs.len() as i64;
            if cx.int("num_outputs", count)? != count || count == 0 {
                return Err(Fault::new(format!("{count} results")));
            }
            match total.exact_div(&Dim::from(count)) {
                Some(part) => vec![part; count as usize],
                // The last part is smaller.
                None => {
                    let part = total.ceil_div(count);
                    let mut sizes = vec![part.clone(); count as usize - 1];
                    sizes.push(total.clone() - part * Dim::from(count - 1));
                    sizes
                }
            }
        }
    };
    if sizes.len() != cx.node.outputs.len() {
        return Err(Fault::new(format!(
            "{} sizes for {} results",
            sizes.len(),
            cx.node.outputs.len()
        )));
    }
    let what = format!("sizes of the parts of {}", display_shape(&shape));
    cx.equal(&what, &sizes.iter().cloned().sum(), total)?;
    let mut start = Dim::from(0i64);
    let mut parts = Vec::with_capacity(sizes.len());
    for size in sizes {
        parts.push(cx.narrow(x, axis, start.clone(), size.clone())?);
        start = start + size;
    }
    Ok(parts)
}
