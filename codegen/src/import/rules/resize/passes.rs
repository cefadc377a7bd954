//! Interpolation along one axis after another, as sums over neighbors.
//!
//! Weights are functions of the distance between a neighbor and the coordinate, so that all modes, with and without
//! antialiasing (which widens the function by the scale), are one sum. Coordinates are computed in `f64`.

use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::op::{NearestRounding, ResizeCoordinates, ResizeMode};
use crate::ir::{BinaryOp, DType, Dim, Expr, FoldKind, Op, ScalarId, UnaryOp, ValueId};

/// How values are made of their neighbors.
pub(super) struct Resampling {
    pub(super) mode: ResizeMode,
    /// Whether neighbors are as far apart as the scale asks for when sizes shrink.
    pub(super) antialias: bool,
    /// Whether neighbors outside of the tensor have no weight, rather than that of the border.
    pub(super) exclude_outside: bool,
}

/// Which input coordinate belongs to an output coordinate.
pub(super) enum Coordinates {
    Plain(ResizeCoordinates),
    /// Half pixels, with the centers of both aligned.
    Symmetric,
    /// Of a region; what lies outside of the tensor has a value.
    Crop {
        extrapolation: f32,
    },
}

/// What is done along one axis.
pub(super) struct Pass {
    pub(super) axis: usize,
    /// The size of the result.
    pub(super) size: Dim,
    /// The scale, `f64` of rank 0.
    pub(super) scale: ValueId,
    /// Start and end of the region, `f64` of rank 0.
    pub(super) region: Option<(ValueId, ValueId)>,
}

/// Numbers of the operands of an expression.
const X: usize = 0;
const SCALE: usize = 1;
const START: usize = 2;
const END: usize = 3;

pub(super) fn along(
    cx: &mut Call,
    resampling: &Resampling,
    coordinates: &Coordinates,
    pass: &Pass,
    x: ValueId,
) -> Result<ValueId, Fault> {
    let from = cx.shape(x);
    let size = from[pass.axis].clone();
    if size == pass.size && pass.region.is_none() && is_one(cx, pass.scale) {
        return Ok(x);
    }
    let mut shape = from.clone();
    shape[pass.axis] = pass.size.clone();
    let mut inputs = vec![x, pass.scale];
    inputs.extend(pass.region.into_iter().flat_map(|(start, end)| [start, end]));
    let value = match resampling.mode {
        ResizeMode::Nearest(rounding) => {
            let mut expr = Expr::empty();
            let source = source(&mut expr, coordinates, pass, &size, pass.axis);
            let nearest = nearest(&mut expr, rounding, source);
            let element = element(cx, &mut expr, x, pass.axis, nearest);
            let expr = expr.finish(element);
            cx.emit(
                Op::Elementwise {
                    expr,
                    shape: shape.clone(),
                },
                &inputs,
            )?
        }
        _ => interpolated(cx, resampling, coordinates, pass, x, &shape, &inputs)?,
    };
    let Coordinates::Crop { extrapolation } = coordinates else {
        return Ok(value);
    };
    let dtype = cx.dtype(value);
    let mut expr = Expr::empty();
    let inside = expr.input(X, dtype);
    let source = source(&mut expr, coordinates, pass, &size, pass.axis);
    let (zero, size) = (expr.float(0.0, DType::F64), expr.dim(&size));
    let (size, one) = (expr.convert(size, DType::F64), expr.float(1.0, DType::F64));
    let last = expr.apply2(BinaryOp::Sub, size, one);
    let before = expr.apply2(BinaryOp::Lt, source, zero);
    let after = expr.apply2(BinaryOp::Gt, source, last);
    let outside = expr.apply2(BinaryOp::Or, before, after);
    let other = crate::import::builder::literal(&mut expr, (*extrapolation).into(), dtype);
    expr.select(outside, other, inside);
    inputs[X] = value;
    cx.emit(Op::Elementwise { expr, shape }, &inputs)
}

fn is_one(cx: &Call, scale: ValueId) -> bool {
    matches!(cx.known(scale).as_deref(), Some([crate::import::known::Known::Float(scale)]) if *scale == 1.0)
}

/// The weighted sum of neighbors.
fn interpolated(
    cx: &mut Call,
    resampling: &Resampling,
    coordinates: &Coordinates,
    pass: &Pass,
    x: ValueId,
    shape: &[Dim],
    inputs: &[ValueId],
) -> Result<ValueId, Fault> {
    let dtype = cx.dtype(x);
    let size = cx.shape(x)[pass.axis].clone();
    let taps = taps(cx, resampling, pass, &size);
    let mut expr = Expr::empty();
    let (place, weight) = neighbor(
        &mut expr,
        resampling,
        coordinates,
        pass,
        &size,
        (pass.axis, shape.len()),
        taps,
    );
    let element = element(cx, &mut expr, x, pass.axis, place);
    let weight = expr.convert(weight, dtype);
    expr.apply2(BinaryOp::Mul, element, weight);
    let sum = Op::Fold {
        kind: FoldKind::Sum,
        expr,
        shape: shape.to_vec(),
        domain: vec![Dim::from(taps)],
    };
    let sum = cx.emit(sum, inputs)?;
    if !resampling.antialias && !resampling.exclude_outside {
        return Ok(sum);
    }
    // What weights do not add up to is divided out.
    let mut expr = Expr::empty();
    let (_, weight) = neighbor(&mut expr, resampling, coordinates, pass, &size, (0, 1), taps);
    let expr = expr.finish(weight);
    let total = Op::Fold {
        kind: FoldKind::Sum,
        expr,
        shape: vec![pass.size.clone()],
        domain: vec![Dim::from(taps)],
    };
    // No element is read here, but operands keep their numbers.
    let mut numbers = inputs.to_vec();
    numbers[X] = pass.scale;
    let total = cx.emit(total, &numbers)?;
    let mut along = vec![Dim::from(1i64); shape.len() - pass.axis];
    along[0] = pass.size.clone();
    let total = cx.reshape(total, along)?;
    cx.map(&[sum, total], |expr, of| {
        let total = expr.convert(of[1], dtype);
        expr.apply2(BinaryOp::Div, of[0], total)
    })
}

/// How many neighbors may have a weight.
fn taps(cx: &Call, resampling: &Resampling, pass: &Pass, size: &Dim) -> usize {
    let reach = match resampling.mode {
        ResizeMode::Cubic { .. } => 2,
        _ => 1,
    };
    if !resampling.antialias {
        return 2 * reach;
    }
    let reach = reach as f64;
    let farthest = match cx.known(pass.scale).as_deref() {
        Some([crate::import::known::Known::Float(scale)]) => (reach / scale.min(1.0)).ceil(),
        // No scale shrinks more than all elements to one.
        _ => reach * size.upper(&cx.graph.bounds).max(1) as f64,
    };
    2 * (farthest as usize).max(1)
}

/// The coordinate of a neighbor and its weight; `axes` are those of the result and of the neighbors.
fn neighbor(
    expr: &mut Expr,
    resampling: &Resampling,
    coordinates: &Coordinates,
    pass: &Pass,
    size: &Dim,
    axes: (usize, usize),
    taps: usize,
) -> (ScalarId, ScalarId) {
    let source = source(expr, coordinates, pass, size, axes.0);
    // The neighbor before is less than the coordinate, the one after is not.
    let up = expr.apply1(UnaryOp::Ceil, source);
    let up = expr.convert(up, DType::I64);
    let (tap, first) = (expr.index(axes.1), expr.int(taps as i128 / 2, DType::I64));
    let first = expr.apply2(BinaryOp::Sub, up, first);
    let place = expr.apply2(BinaryOp::Add, first, tap);
    let position = expr.convert(place, DType::F64);
    let distance = expr.apply2(BinaryOp::Sub, position, source);
    let mut distance = expr.apply1(UnaryOp::Abs, distance);
    if resampling.antialias {
        let (scale, one) = (expr.input(SCALE, DType::F64), expr.float(1.0, DType::F64));
        let narrow = expr.apply2(BinaryOp::Min, scale, one);
        distance = expr.apply2(BinaryOp::Mul, distance, narrow);
    }
    let mut weight = match resampling.mode {
        ResizeMode::Cubic { coefficient, .. } => cubic(expr, distance, coefficient.into()),
        _ => {
            let (one, zero) = (expr.float(1.0, DType::F64), expr.float(0.0, DType::F64));
            let weight = expr.apply2(BinaryOp::Sub, one, distance);
            expr.apply2(BinaryOp::Max, weight, zero)
        }
    };
    if resampling.exclude_outside {
        let (zero, size) = (expr.int(0, DType::I64), expr.dim(size));
        let starts = expr.apply2(BinaryOp::Ge, place, zero);
        let ends = expr.apply2(BinaryOp::Lt, place, size);
        let inside = expr.apply2(BinaryOp::And, starts, ends);
        let none = expr.float(0.0, DType::F64);
        weight = expr.select(inside, weight, none);
    }
    (place, weight)
}

/// The piecewise cubic of Keys, "Cubic Convolution Interpolation for Digital Image Processing" (1981), with coefficient
/// `a`, for a distance that is not negative: `(a + 2) d^3 - (a + 3) d^2 + 1` up to 1, `a d^3 - 5 a d^2 + 8 a d - 4 a` up
/// to 2, and 0 from there on.
pub(in crate::import::rules) fn cubic(expr: &mut Expr, d: ScalarId, a: f64) -> ScalarId {
    let dtype = expr.nodes[d].dtype;
    let mut horner = |coefficients: [f64; 4]| {
        let mut value = expr.float(coefficients[0], dtype);
        for coefficient in &coefficients[1..] {
            let product = expr.apply2(BinaryOp::Mul, value, d);
            let coefficient = expr.float(*coefficient, dtype);
            value = expr.apply2(BinaryOp::Add, product, coefficient);
        }
        value
    };
    let near = horner([a + 2.0, -(a + 3.0), 0.0, 1.0]);
    let far = horner([a, -5.0 * a, 8.0 * a, -4.0 * a]);
    let (one, two, zero) = (expr.float(1.0, dtype), expr.float(2.0, dtype), expr.float(0.0, dtype));
    let is_far = expr.apply2(BinaryOp::Lt, d, two);
    let far = expr.select(is_far, far, zero);
    let is_near = expr.apply2(BinaryOp::Le, d, one);
    expr.select(is_near, near, far)
}

/// The element of `x` (operand 0) at a coordinate along an axis, held within it, and the coordinates of the result along
/// the others.
fn element(cx: &Call, expr: &mut Expr, x: ValueId, axis: usize, place: ScalarId) -> ScalarId {
    let shape = cx.shape(x);
    let (zero, one, size) = (expr.int(0, DType::I64), expr.int(1, DType::I64), expr.dim(&shape[axis]));
    let last = expr.apply2(BinaryOp::Sub, size, one);
    let held = expr.apply2(BinaryOp::Max, place, zero);
    let held = expr.apply2(BinaryOp::Min, held, last);
    let coordinates: Vec<ScalarId> = (0..shape.len())
        .map(|other| if other == axis { held } else { expr.index(other) })
        .collect();
    let place = expr.row_major(&coordinates, &shape);
    expr.at(X, place, cx.dtype(x))
}

/// The nearest integer coordinate.
fn nearest(expr: &mut Expr, rounding: NearestRounding, source: ScalarId) -> ScalarId {
    let half = expr.float(0.5, DType::F64);
    let rounded = match rounding {
        NearestRounding::RoundPreferFloor => {
            let below = expr.apply2(BinaryOp::Sub, source, half);
            expr.apply1(UnaryOp::Ceil, below)
        }
        NearestRounding::RoundPreferCeil => {
            let above = expr.apply2(BinaryOp::Add, source, half);
            expr.apply1(UnaryOp::Floor, above)
        }
        NearestRounding::Floor => expr.apply1(UnaryOp::Floor, source),
        NearestRounding::Ceil => expr.apply1(UnaryOp::Ceil, source),
    };
    expr.convert(rounded, DType::I64)
}

/// The input coordinate that belongs to the coordinate along an axis of the result.
fn source(expr: &mut Expr, coordinates: &Coordinates, pass: &Pass, size: &Dim, axis: usize) -> ScalarId {
    use BinaryOp::{Add, Div, Eq, Mul, Sub};
    let here = expr.index(axis);
    let here = expr.convert(here, DType::F64);
    let scale = expr.input(SCALE, DType::F64);
    let (zero, half, one) = (
        expr.float(0.0, DType::F64),
        expr.float(0.5, DType::F64),
        expr.float(1.0, DType::F64),
    );
    let input = expr.dim(size);
    let input = expr.convert(input, DType::F64);
    let half_pixel = |expr: &mut Expr| {
        let center = expr.apply2(Add, here, half);
        let center = expr.apply2(Div, center, scale);
        expr.apply2(Sub, center, half)
    };
    // The size that the scale would give the result, which may be fractional.
    let output = expr.apply2(Mul, scale, input);
    let is_one = expr.apply2(Eq, output, one);
    let input_last = expr.apply2(Sub, input, one);
    let output_last = expr.apply2(Sub, output, one);
    match coordinates {
        Coordinates::Plain(ResizeCoordinates::HalfPixel) => half_pixel(expr),
        Coordinates::Plain(ResizeCoordinates::PytorchHalfPixel) => {
            let plain = half_pixel(expr);
            let first = expr.float(-0.5, DType::F64);
            expr.select(is_one, first, plain)
        }
        Coordinates::Plain(ResizeCoordinates::Asymmetric) => expr.apply2(Div, here, scale),
        Coordinates::Plain(ResizeCoordinates::AlignCorners) => {
            let scaled = expr.apply2(Mul, here, input_last);
            let scaled = expr.apply2(Div, scaled, output_last);
            expr.select(is_one, zero, scaled)
        }
        Coordinates::Symmetric => {
            let plain = half_pixel(expr);
            let actual = expr.dim(&pass.size);
            let actual = expr.convert(actual, DType::F64);
            let adjustment = expr.apply2(Div, actual, output);
            let rest = expr.apply2(Sub, one, adjustment);
            let center = expr.apply2(Mul, input, half);
            let offset = expr.apply2(Mul, center, rest);
            expr.apply2(Add, offset, plain)
        }
        Coordinates::Crop { .. } => {
            let (start, end) = (expr.input(START, DType::F64), expr.input(END, DType::F64));
            let span = expr.apply2(Sub, end, start);
            let span = expr.apply2(Mul, span, input_last);
            let middle = expr.apply2(Mul, span, half);
            let scaled = expr.apply2(Mul, here, span);
            let scaled = expr.apply2(Div, scaled, output_last);
            let scaled = expr.select(is_one, middle, scaled);
            let first = expr.apply2(Mul, start, input_last);
            expr.apply2(Add, scaled, first)
        }
    }
}
