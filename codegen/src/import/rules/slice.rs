//! Parts of a tensor.

use super::{ONNX, Rules};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::infer::display_shape;
use crate::ir::{Bounds, Dim, Op, ValueId};

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
        let (first, last) = (cx.known_input(1, "the starts")?, cx.known_input(2, "the ends")?);
        (
            first,
            last,
            cx.constant_ints(3, "the axes")?,
            cx.constant_ints(4, "the steps")?,
        )
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
        Some(cx.known_input(1, "the sizes")?)
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
