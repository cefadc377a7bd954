//! Tensors with more, or less, around them.

use super::{ONNX, Rules};
use crate::import::arithmetic::Arithmetic;
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::op::PadMode;
use crate::ir::{DType, Dim, Expr, Op, ScalarId, UnaryOp, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[(ONNX, "Pad", pad), (ONNX, "CenterCropPad", center_crop_pad)];

/// Amounts are attributes before version 11; negative ones crop.
fn pad(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let (rank, dtype) = (cx.rank(x), cx.dtype(x));
    let mode = match cx.string("mode", "constant")? {
        "constant" => PadMode::Constant,
        "edge" => PadMode::Edge,
        "reflect" => PadMode::Reflect,
        "wrap" => PadMode::Wrap,
        other => return cx.unsupported("mode", other),
    };
    let (amounts, value) = if cx.version < 11 {
        let amounts = cx
            .ints("pads")?
            .ok_or_else(|| Fault::new("attribute `pads` is missing"))?;
        let value = cx.float("value", 0.0)?;
        let amounts = cx.dims(vec![amounts.len()], amounts.into_iter().map(Dim::from).collect());
        (amounts, cx.number(value.into(), dtype)?)
    } else {
        let value = match cx.optional(2) {
            Some(value) => cx.reshape(value, Vec::new())?,
            None => cx.number(0.0, dtype)?,
        };
        (cx.input(1)?, value)
    };
    let known_axes = match cx.optional(3) {
        None => Some((0..rank as i64).collect()),
        Some(_) => cx.constant_ints(3, "the axes").ok().flatten(),
    };
    if let (Some(amounts), Some(axes)) = (cx.known_dims(amounts), &known_axes) {
        let axes = axes.iter().map(|&axis| cx.axis(axis, rank));
        return known_pad(cx, x, mode, &amounts, &axes.collect::<Result<Vec<_>, _>>()?, value);
    }
    let axes = match known_axes {
        Some(axes) => {
            cx.axes(&axes, rank)?;
            cx.dims(vec![axes.len()], axes.into_iter().map(Dim::from).collect())
        }
        None => cx.input(3)?,
    };
    computed_pad(cx, x, mode, amounts, axes, value)
}

fn known_pad(cx: &mut Call, mut x: ValueId, mode: PadMode, amounts: &[Dim], axes: &[usize], value: ValueId) -> Results {
    let rank = cx.rank(x);
    if amounts.len() != 2 * axes.len() {
        return Err(Fault::new(format!(
            "{} amounts of padding for {} axes",
            amounts.len(),
            axes.len()
        )));
    }
    let zero = Dim::from(0i64);
    let (mut before, mut after) = (vec![zero.clone(); rank], vec![zero.clone(); rank]);
    for (i, &axis) in axes.iter().enumerate() {
        let bounds = cx.graph.bounds.clone();
        let (front, back) = (&amounts[i], &amounts[axes.len() + i]);
        let (crop_front, crop_back) = (front.minimum(&zero, &bounds), back.minimum(&zero, &bounds));
        if !(crop_front.is(0) && crop_back.is(0)) {
            let size = cx.shape(x)[axis].clone() + crop_front.clone() + crop_back;
            x = cx.narrow(x, axis, zero.clone() - crop_front, size)?;
        }
        before[axis] = front.maximum(&zero, &bounds);
        after[axis] = back.maximum(&zero, &bounds);
    }
    if before.iter().chain(&after).all(|amount| amount.is(0)) {
        return Ok(vec![x]);
    }
    let inputs = if mode == PadMode::Constant {
        vec![x, value]
    } else {
        vec![x]
    };
    Ok(vec![cx.emit(Op::Pad { mode, before, after }, &inputs)?])
}

/// Padding whose amounts or axes only the run knows.
fn computed_pad(cx: &mut Call, x: ValueId, mode: PadMode, amounts: ValueId, axes: ValueId, value: ValueId) -> Results {
    let (shape, (amounts, count)) = (cx.shape(x), cx.integers(amounts, "the amounts of padding")?);
    let [axes, _] = cx.computed_axes(axes, shape.len())?;
    let half = Dim::from(count / 2);
    if cx.shape(axes) != [half.clone()] || count % 2 != 0 {
        let axes = cx.ty(axes).to_string();
        return Err(Fault::new(format!("{count} amounts of padding for axes {axes}")));
    }
    let side = |cx: &mut Call, start: Dim| {
        let amounts = cx.narrow(amounts, 0, start, half.clone())?;
        cx.per_axis(amounts, axes, vec![0; shape.len()])
    };
    let (before, after) = (side(cx, Dim::from(0i64))?, side(cx, half.clone())?);
    let sizes = cx.sizes_of(&shape);
    let sizes = cx.map(&[sizes, before, after], |e, of| {
        let padded = e.add(of[0], of[1]);
        e.add(padded, of[2])
    })?;
    let result = cx.bind_shape(0, sizes, |_| None)?;
    around(cx, x, mode, result, [before, after], value)
}

/// A tensor of a shape that has the operand from `before` on, on each axis; what is negative is cropped first.
fn around(
    cx: &mut Call,
    x: ValueId,
    mode: PadMode,
    result: Vec<Dim>,
    [before, after]: [ValueId; 2],
    value: ValueId,
) -> Results {
    let (shape, dtype) = (cx.shape(x), cx.dtype(x));
    let padded = cx.generate(result, &[x, before, after, value], |e| {
        let mut inside = None;
        let mut coordinates = Vec::with_capacity(shape.len());
        for (axis, size) in shape.iter().enumerate() {
            let (number, zero, size) = (e.number(axis as i64), e.number(0), e.dim(size));
            let (before, after) = (e.at(1, number, DType::I64), e.at(2, number, DType::I64));
            let [cropped_before, cropped_after] = [before, after].map(|amount| {
                let cropped = e.least(amount, zero);
                e.apply1(UnaryOp::Neg, cropped)
            });
            let padding = e.greatest(before, zero);
            let here = e.index(axis);
            let (here, left) = (e.sub(here, padding), e.sub(size, cropped_before));
            let left = e.sub(left, cropped_after);
            let coordinate = reflected(e, mode, here, left);
            let own = e.within(here, left);
            inside = Some(match inside {
                None => own,
                Some(others) => e.both(others, own),
            });
            coordinates.push(e.add(coordinate, cropped_before));
        }
        let place = e.row_major(&coordinates, &shape);
        let element = e.at(0, place, dtype);
        match inside {
            Some(inside) if mode == PadMode::Constant => {
                let value = e.input(3, dtype);
                e.select(inside, element, value)
            }
            _ => element,
        }
    })?;
    Ok(vec![padded])
}

/// The coordinate from 0 to less than `size` that a coordinate outside stands for.
fn reflected(e: &mut Expr, mode: PadMode, here: ScalarId, size: ScalarId) -> ScalarId {
    let (zero, one) = (e.number(0), e.number(1));
    let last = e.sub(size, one);
    match mode {
        PadMode::Constant => here,
        PadMode::Edge => e.clamped(here, zero, last),
        PadMode::Wrap => e.modulo(here, size),
        PadMode::Reflect => {
            // There and back again; of one element there is only itself.
            let period = e.add(last, last);
            let phase = e.modulo(here, period);
            let back = e.sub(period, phase);
            e.least(phase, back)
        }
    }
}

/// Each of some axes is cropped, or padded with zeros, to a size; of an odd difference the larger part is at the end.
fn center_crop_pad(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let (shape, (targets, count)) = (cx.shape(x), cx.listed(1, "the sizes")?);
    let axes = match cx.ints("axes")? {
        Some(axes) => axes,
        None => (0..shape.len() as i64).collect(),
    };
    if axes.len() != count {
        return Err(Fault::new(format!("{count} sizes for {} axes", axes.len())));
    }
    cx.axes(&axes, shape.len())?;
    let axes = axes.iter().map(|&axis| cx.axis(axis, shape.len()));
    let axes = axes.collect::<Result<Vec<_>, _>>()?;
    let ranges = axes.iter().map(|&axis| cx.size_bounds(0, axis, None));
    let ranges = ranges.collect::<Result<Vec<_>, _>>()?;
    let mut result = shape.clone();
    for (&axis, size) in axes.iter().zip(cx.bind(targets, |place| Ok(ranges[place]))?) {
        result[axis] = size;
    }
    let [own, target] = [cx.sizes_of(&shape), cx.sizes_of(&result)];
    let side = |cx: &mut Call, first: bool| {
        cx.map(&[own, target], |e, of| {
            let (two, difference) = (e.number(2), e.sub(of[1], of[0]));
            // Division truncates: of cropping and of padding, the smaller half comes first.
            let before = e.div(difference, two);
            if first { before } else { e.sub(difference, before) }
        })
    };
    let amounts = [side(cx, true)?, side(cx, false)?];
    let dtype = cx.dtype(x);
    let zero = cx.number(0.0, dtype)?;
    around(cx, x, PadMode::Constant, result, amounts, zero)
}
