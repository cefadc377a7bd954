//! Fourier transforms, windows and mel filters.

use super::{ONNX, Rules};
use crate::import::arithmetic::{Arithmetic, from_start};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::infer::display_shape;
use crate::ir::{BinaryOp, DType, Dim, Expr, FoldKind, ScalarId, UnaryOp, ValueId};
use std::f64::consts::{LN_10, PI};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[
    (ONNX, "DFT", dft),
    (ONNX, "STFT", stft),
    (ONNX, "HannWindow", |cx| window(cx, &[0.5, -0.5])),
    (ONNX, "HammingWindow", |cx| window(cx, &[25.0 / 46.0, -21.0 / 46.0])),
    (ONNX, "BlackmanWindow", |cx| window(cx, &[0.42, -0.5, 0.08])),
    (ONNX, "MelWeightMatrix", mel_weight_matrix),
];

/// A constant of type `f64`.
fn float(e: &mut Expr, value: f64) -> ScalarId {
    e.float(value, DType::F64)
}

/// The cosine and sine of `2 pi number / count`. The quotient is reduced exactly, so that the error does not grow with
/// the number.
fn turn(e: &mut Expr, number: ScalarId, count: ScalarId) -> [ScalarId; 2] {
    let rest = e.modulo(number, count);
    let (rest, count) = (e.convert(rest, DType::F64), e.convert(count, DType::F64));
    let part = e.div(rest, count);
    let whole = float(e, 2.0 * PI);
    let angle = e.mul(part, whole);
    [UnaryOp::Cos, UnaryOp::Sin].map(|op| e.apply1(op, angle))
}

/// The real or imaginary part (by the coordinate along the last axis) of a complex number times a turn.
fn turned(e: &mut Expr, [re, im]: [ScalarId; 2], [cos, sin]: [ScalarId; 2], part: ScalarId, inverse: bool) -> ScalarId {
    let (op, opposite) = match inverse {
        false => (BinaryOp::Add, BinaryOp::Sub),
        true => (BinaryOp::Sub, BinaryOp::Add),
    };
    let (re_cos, im_sin) = (e.mul(re, cos), e.mul(im, sin));
    let (im_cos, re_sin) = (e.mul(im, cos), e.mul(re, sin));
    let (real, imaginary) = (e.apply2(op, re_cos, im_sin), e.apply2(opposite, im_cos, re_sin));
    let zero = e.number(0);
    let is_real = e.equals(part, zero);
    e.select(is_real, real, imaginary)
}

/// The real and imaginary part of an element, whose coordinates end with that of the part; of a real tensor the
/// imaginary part is 0.
fn complex(e: &mut Expr, operand: usize, coordinates: &[ScalarId], shape: &[Dim], dtype: DType) -> [ScalarId; 2] {
    let real = shape.last().is_some_and(|size| size.is(1));
    [0, 1].map(|part| match (part, real) {
        (1, true) => float(e, 0.0),
        _ => {
            let mut here = coordinates.to_vec();
            here.push(e.number(part));
            let place = e.row_major(&here, shape);
            let value = e.at(operand, place, dtype);
            e.convert(value, DType::F64)
        }
    })
}

/// A discrete Fourier transform of `[..., n, ..., 1 or 2]` along an axis, as the sum that defines it, in `f64`.
///
/// The axis is an attribute up to version 19, and may be known only by the run from version 20 on. One-sided results
/// leave out what conjugate symmetry implies; the inverse of those is real.
fn dft(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let (inverse, onesided) = (cx.flag("inverse", false)?, cx.flag("onesided", false)?);
    let (from, dtype) = (cx.shape(x), cx.dtype(x));
    let rank = from.len();
    let complex_input = from.last().is_some_and(|size| size.is(2));
    if rank < 2 || !(complex_input || from[rank - 1].is(1)) || (onesided && inverse != complex_input) {
        let (shape, kind) = (display_shape(&from), if inverse { "inverse" } else { "transform" });
        return Err(Fault::new(format!("the {kind} of a signal of shape {shape}")));
    }
    let axis = match cx.version {
        ..20 => {
            let axis = Dim::from(cx.int("axis", 1)?);
            cx.dims(Vec::new(), vec![axis])
        }
        _ => match cx.optional(2) {
            Some(axis) => cx.reshape(axis, Vec::new())?,
            None => cx.dims(Vec::new(), vec![Dim::from(-2i64)]),
        },
    };
    let axis = cx.cast(axis, DType::I64)?;
    let axis = cx.generate(Vec::new(), &[axis], |e| {
        let (axis, rank) = (e.input(0, DType::I64), e.number(rank as i64));
        from_start(e, axis, rank)
    })?;
    cx.require(
        Vec::new(),
        &[axis],
        "the axis is one of the signal's before the last",
        |e| {
            let (axis, last) = (e.input(0, DType::I64), e.number(rank as i64 - 1));
            e.within(axis, last)
        },
    )?;
    // Sizes depend on the axis; where that is known, they fold to what they are.
    let sizes = cx.sizes_of(&from);
    let own = cx.generate(Vec::new(), &[axis, sizes], |e| {
        let axis = e.input(0, DType::I64);
        e.at(1, axis, DType::I64)
    })?;
    let most = cx.largest_of(&from[..rank - 1]);
    let own = cx
        .bind(own, |_| Ok(crate::ir::Interval { low: 0, high: most }))?
        .swap_remove(0);
    let length = match cx.optional(1) {
        Some(length) => {
            let length = cx.reshape(length, Vec::new())?;
            let declared = (0..rank - 1).filter_map(|axis| cx.capacity(0, axis)).max();
            let high = declared.map_or(2 * most, |declared| if onesided { 2 * declared } else { declared });
            cx.bind(length, |_| Ok(crate::ir::Interval { low: 1, high }))?
                .swap_remove(0)
        }
        None if inverse && onesided => (own.clone() - Dim::from(1i64)) * Dim::from(2i64),
        None => own.clone(),
    };
    let half = length.floor_div(&Dim::from(2i64)) + Dim::from(1i64);
    let (taken, given) = match (onesided, inverse) {
        (true, false) => (half, length.clone()),
        (true, true) => (length.clone(), half),
        (false, _) => (length.clone(), length.clone()),
    };
    let shape = cx.generate(vec![Dim::from(rank)], &[axis, sizes], |e| {
        let (axis, here, size) = (e.input(0, DType::I64), e.index(0), e.input(1, DType::I64));
        let (is_axis, taken) = (e.equals(here, axis), e.dim(&taken));
        let size = e.select(is_axis, taken, size);
        let last = e.number(rank as i64 - 1);
        let (is_part, parts) = (e.equals(here, last), e.number(if onesided && inverse { 1 } else { 2 }));
        e.select(is_part, parts, size)
    })?;
    let high = taken.upper(&cx.graph.bounds).max(most);
    let shape = cx.bind_shape(0, shape, |_| Some(high))?;

    let domain = own.minimum(&given, &cx.graph.bounds);
    let total = cx.combined(FoldKind::Sum, [shape.clone(), vec![domain]], &[x, axis], |e| {
        let (axis, k) = (e.input(1, DType::I64), e.index(rank));
        let mut out = e.number(0);
        let mut coordinates = Vec::with_capacity(rank);
        for other in 0..rank - 1 {
            let (here, number) = (e.index(other), e.number(other as i64));
            let is_axis = e.equals(axis, number);
            coordinates.push(e.select(is_axis, k, here));
            out = e.select(is_axis, here, out);
        }
        let value = complex(e, 0, &coordinates, &from, dtype);
        let (number, count) = (e.mul(k, out), e.dim(&length));
        let turn = turn(e, number, count);
        let part = e.index(rank - 1);
        let mut term = turned(e, value, turn, part, inverse);
        if onesided && inverse {
            // Every part but the first and, of an even length, the middle one stands for its conjugate, too.
            let (zero, two) = (e.number(0), e.number(2));
            let twice = e.mul(k, two);
            let (is_first, is_middle) = (e.equals(k, zero), e.equals(twice, count));
            let alone = e.either(is_first, is_middle);
            let (once, doubled) = (float(e, 1.0), float(e, 2.0));
            let factor = e.select(alone, once, doubled);
            term = e.mul(term, factor);
        }
        term
    })?;
    let result = cx.map(&[total], |e, of| {
        let value = match inverse {
            false => of[0],
            true => {
                let count = e.dim(&length);
                let count = e.convert(count, DType::F64);
                e.div(of[0], count)
            }
        };
        e.convert(value, dtype)
    })?;
    Ok(vec![result])
}

/// Fourier transforms of frames of `[batch, length, 1 or 2]`: `[batch, frames, bins, 2]`.
fn stft(cx: &mut Call) -> Results {
    let (x, step) = (cx.input(0)?, cx.input(1)?);
    let onesided = cx.flag("onesided", true)?;
    let (from, dtype) = (cx.shape(x), cx.dtype(x));
    if from.len() != 3 {
        return Err(Fault::new(format!("a signal of shape {}", display_shape(&from))));
    }
    let window = cx.optional(2);
    let size = match (window, cx.optional(3)) {
        (Some(window), _) => match cx.shape(window).as_slice() {
            [size] => size.clone(),
            other => return Err(Fault::new(format!("a window of shape {}", display_shape(other)))),
        },
        (None, Some(length)) => {
            let length = cx.reshape(length, Vec::new())?;
            let most = from[1].upper(&cx.graph.bounds);
            let high = match cx.capacity(0, 2) {
                Some(bins) if onesided => most.min(2 * bins - 1),
                Some(bins) => most.min(bins),
                None => most,
            };
            cx.bind(length, |_| Ok(crate::ir::Interval { low: 1, high }))?
                .swap_remove(0)
        }
        (None, None) => return Err(Fault::new("there is neither a window nor a length of frames")),
    };
    let step = cx.reshape(step, Vec::new())?;
    let step = cx.cast(step, DType::I64)?;
    cx.require(Vec::new(), &[step], "the step between frames is positive", |e| {
        let (zero, step) = (e.number(0), e.input(0, DType::I64));
        e.less(zero, step)
    })?;
    let frames = cx.generate(Vec::new(), &[step], |e| {
        let (length, size, step) = (e.dim(&from[1]), e.dim(&size), e.input(0, DType::I64));
        let rest = e.sub(length, size);
        let (zero, one) = (e.number(0), e.number(1));
        let more = e.div(rest, step);
        let count = e.add(more, one);
        let fits = e.at_most(zero, rest);
        e.select(fits, count, zero)
    })?;
    let frames = cx.bind_size(0, 1, frames, Some(from[1].upper(&cx.graph.bounds)))?;
    let bins = match onesided {
        true => size.floor_div(&Dim::from(2i64)) + Dim::from(1i64),
        false => size.clone(),
    };
    let shape = vec![from[0].clone(), frames, bins, Dim::from(2i64)];
    let mut inputs = vec![x, step];
    inputs.extend(window);
    let window_type = window.map(|window| cx.dtype(window));
    let value = cx.combined(FoldKind::Sum, [shape, vec![size.clone()]], &inputs, |e| {
        let (batch, frame, bin, part, k) = (e.index(0), e.index(1), e.index(2), e.index(3), e.index(4));
        let step = e.input(1, DType::I64);
        let first = e.mul(frame, step);
        let here = e.add(first, k);
        let [mut re, mut im] = complex(e, 0, &[batch, here], &from, dtype);
        if let Some(window_type) = window_type {
            let weight = e.at(2, k, window_type);
            let weight = e.convert(weight, DType::F64);
            (re, im) = (e.mul(re, weight), e.mul(im, weight));
        }
        let (number, count) = (e.mul(k, bin), e.dim(&size));
        let turn = turn(e, number, count);
        turned(e, [re, im], turn, part, false)
    })?;
    Ok(vec![cx.cast(value, dtype)?])
}

/// A sum of cosines with the given weights, over one period that is a sample longer than the window if `periodic`.
fn window(cx: &mut Call, weights: &[f64]) -> Results {
    let size = cx.input(0)?;
    let dtype = cx.dtype_attribute("output_datatype")?.unwrap_or(DType::F32);
    let periodic = cx.flag("periodic", true)?;
    let size = cx.reshape(size, Vec::new())?;
    let size = cx.bind_size(0, 0, size, None)?;
    let value = cx.generate(vec![size.clone()], &[], |e| {
        let (here, size) = (e.index(0), e.dim(&size));
        let one = e.number(1);
        let period = match periodic {
            true => size,
            // Of a window of one sample the period is 0, and the value by definition not a number.
            false => e.sub(size, one),
        };
        let mut total = float(e, weights[0]);
        for (harmonic, &weight) in weights.iter().enumerate().skip(1) {
            let harmonic = e.number(harmonic as i64);
            let number = e.mul(here, harmonic);
            let [cos, _] = turn(e, number, period);
            let weight = float(e, weight);
            let term = e.mul(cos, weight);
            total = e.add(total, term);
        }
        e.convert(total, dtype)
    })?;
    Ok(vec![value])
}

/// Triangular filters whose centers are equally far apart on the mel scale, `[dft_length / 2 + 1, num_mel_bins]`.
///
/// The scale is `2595 log10(1 + f / 700)` (O'Shaughnessy, "Speech Communication: Human and Machine", 1987).
fn mel_weight_matrix(cx: &mut Call) -> Results {
    let dtype = cx.dtype_attribute("output_datatype")?.unwrap_or(DType::F32);
    let mut operands = Vec::new();
    for index in 0..5 {
        let operand = cx.input(index)?;
        let operand = cx.reshape(operand, Vec::new())?;
        operands.push(cx.cast(operand, if index < 3 { DType::I64 } else { DType::F64 })?);
    }
    let bins = cx.generate(Vec::new(), &[operands[1]], |e| {
        let (length, two, one) = (e.input(0, DType::I64), e.number(2), e.number(1));
        let half = e.div(length, two);
        e.add(half, one)
    })?;
    let shape = vec![cx.bind_size(0, 0, bins, None)?, cx.bind_size(0, 1, operands[0], None)?];
    let value = cx.generate(shape, &operands, |e| {
        let mel = |e: &mut Expr, hertz: ScalarId| {
            let (scale, one, factor) = (float(e, 700.0), float(e, 1.0), float(e, 2595.0 / LN_10));
            let ratio = e.div(hertz, scale);
            let ratio = e.add(ratio, one);
            let logarithm = e.apply1(UnaryOp::Ln, ratio);
            e.mul(logarithm, factor)
        };
        let (lower, upper) = (e.input(3, DType::F64), e.input(4, DType::F64));
        let (low, high) = (mel(e, lower), mel(e, upper));
        let (count, two) = (e.input(0, DType::I64), e.number(2));
        let steps = e.add(count, two);
        let steps = e.convert(steps, DType::F64);
        let span = e.sub(high, low);
        let step = e.div(span, steps);
        let (here, filter) = (e.index(0), e.index(1));
        let edge = |e: &mut Expr, after: i64| {
            let after = e.number(after);
            let number = e.add(filter, after);
            let number = e.convert(number, DType::F64);
            let distance = e.mul(number, step);
            let mel = e.add(distance, low);
            let (factor, scale, one) = (float(e, LN_10 / 2595.0), float(e, 700.0), float(e, 1.0));
            let exponent = e.mul(mel, factor);
            let power = e.apply1(UnaryOp::Exp, exponent);
            let less = e.sub(power, one);
            let hertz = e.mul(less, scale);
            let (length, rate, unit) = (e.input(1, DType::I64), e.input(2, DType::I64), e.number(1));
            let length = e.add(length, unit);
            let (length, rate) = (e.convert(length, DType::F64), e.convert(rate, DType::F64));
            let bins = e.mul(hertz, length);
            let bins = e.div(bins, rate);
            let bins = e.apply1(UnaryOp::Floor, bins);
            e.convert(bins, DType::I64)
        };
        let [left, center, right] = [0, 1, 2].map(|after| edge(e, after));
        let ratio = |e: &mut Expr, part: ScalarId, whole: ScalarId| {
            let (part, whole) = (e.convert(part, DType::F64), e.convert(whole, DType::F64));
            e.div(part, whole)
        };
        let (nothing, all) = (float(e, 0.0), float(e, 1.0));
        let (rise, fall) = (e.sub(center, left), e.sub(right, center));
        let risen = e.sub(here, left);
        let risen = ratio(e, risen, rise);
        let (after_left, before_center) = (e.at_most(left, here), e.at_most(here, center));
        let rising = e.both(after_left, before_center);
        let is_step = e.equals(left, center);
        let risen = e.select(is_step, all, risen);
        let value = e.select(rising, risen, nothing);
        let left_over = e.sub(right, here);
        let left_over = ratio(e, left_over, fall);
        let (after_center, before_right) = (e.at_most(center, here), e.less(here, right));
        let falling = e.both(after_center, before_right);
        let value = e.select(falling, left_over, value);
        e.convert(value, dtype)
    })?;
    Ok(vec![value])
}
