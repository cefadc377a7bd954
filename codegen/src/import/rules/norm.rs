//! Normalization.

use super::{ONNX, Rules};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::infer::display_shape;
use crate::ir::op::{NormalizeKind, PoolKind, ReduceKind, Window};
use crate::ir::{BinaryOp, Dim, Expr, Op, Scalar, UnaryOp, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[
    (ONNX, "BatchNormalization", batch),
    (ONNX, "LayerNormalization", |cx| layer(cx, NormalizeKind::Layer)),
    (ONNX, "RMSNormalization", |cx| layer(cx, NormalizeKind::Rms)),
    (ONNX, "SimplifiedLayerNormalization", |cx| layer(cx, NormalizeKind::Rms)),
    (ONNX, "InstanceNormalization", instance),
    (ONNX, "GroupNormalization", group),
    (ONNX, "MeanVarianceNormalization", mean_variance),
    (ONNX, "LpNormalization", lp),
    (ONNX, "LRN", local_response),
];

/// A vector over channels, shaped to broadcast against `[batch, channels, ...]` of the given rank.
pub(super) fn per_channel(cx: &mut Call, vector: ValueId, rank: usize) -> Result<ValueId, Fault> {
    let mut shape = vec![Dim::from(1i64); rank.saturating_sub(1).max(1)];
    shape[0] = cx.shape(vector).first().cloned().unwrap_or(Dim::from(1i64));
    cx.reshape(vector, shape)
}

/// `x * scale + bias` over channels.
fn affine(cx: &mut Call, x: ValueId, scale: ValueId, bias: ValueId) -> Result<ValueId, Fault> {
    let rank = cx.rank(x);
    let (scale, bias) = (per_channel(cx, scale, rank)?, per_channel(cx, bias, rank)?);
    let scaled = cx.binary(BinaryOp::Mul, x, scale)?;
    cx.binary(BinaryOp::Add, scaled, bias)
}

/// `1 / sqrt(x + epsilon)`.
pub(super) fn inverse_deviation(cx: &mut Call, variance: ValueId, epsilon: f32) -> Result<ValueId, Fault> {
    let dtype = cx.dtype(variance);
    let mut expr = Expr::empty();
    let (x, e) = (expr.input(0, dtype), expr.float(epsilon.into(), dtype));
    let sum = expr.apply2(BinaryOp::Add, x, e);
    expr.apply1(UnaryOp::Rsqrt, sum);
    cx.elementwise(expr, &[variance])
}

/// Whether the statistics are those of the batch at hand. Between versions 7 and 14, results beyond the first say so.
fn is_training(cx: &Call) -> Result<bool, Fault> {
    match cx.version {
        ..7 => Ok(!cx.flag("is_test", false)?),
        7..14 => Ok(cx.wants(1)),
        _ => cx.flag("training_mode", false),
    }
}

/// The statistics are operands, so this is one factor and one summand per channel. In training they are those of the
/// batch, and move the given ones.
fn batch(cx: &mut Call) -> Results {
    cx.only_int("spatial", 1)?;
    let momentum: f64 = cx.float("momentum", 0.9)?.into();
    let (x, scale, bias) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let (mut mean, mut variance) = (cx.input(3)?, cx.input(4)?);
    let channels = channels(cx, x)?;
    let mut results = vec![x];
    if is_training(cx)? {
        let axes: Vec<_> = (0..cx.rank(x)).filter(|&axis| axis != 1).collect();
        let (own_mean, _, own_variance) = moments(cx, x, axes)?;
        for (given, own) in [(&mut mean, own_mean), (&mut variance, own_variance)] {
            let own = cx.reshape(own, vec![channels.clone()])?;
            let dtype = cx.dtype(*given);
            let own = cx.cast(own, dtype)?;
            results.push(cx.over(&[*given, own], |f| {
                f.operand(0) * momentum + f.operand(1) * (1.0 - momentum)
            })?);
            *given = own;
        }
        // Until version 14 the statistics of the batch are results, too.
        results.extend([mean, variance]);
    }
    for vector in [scale, bias, mean, variance] {
        let shape = cx.shape(vector);
        let what = format!(
            "channels of {} and a parameter {}",
            display_shape(&cx.shape(x)),
            display_shape(&shape)
        );
        cx.equal(&what, &channels, &shape.iter().cloned().product())?;
    }
    let epsilon = cx.float("epsilon", 1e-5)?;
    let deviation = inverse_deviation(cx, variance, epsilon)?;
    let factor = cx.binary(BinaryOp::Mul, scale, deviation)?;
    let shift = cx.binary(BinaryOp::Mul, mean, factor)?;
    let summand = cx.binary(BinaryOp::Sub, bias, shift)?;
    results[0] = affine(cx, x, factor, summand)?;
    Ok(results)
}

fn channels(cx: &Call, x: ValueId) -> Result<Dim, Fault> {
    let shape = cx.shape(x);
    shape
        .get(1)
        .cloned()
        .ok_or_else(|| Fault::new(format!("normalization of {}", display_shape(&shape))))
}

/// Normalizes over the axes from `axis` on, then scales and shifts.
pub(super) fn normalize(
    cx: &mut Call,
    kind: NormalizeKind,
    x: ValueId,
    axis: usize,
    epsilon: f32,
    parameters: (Option<ValueId>, Option<ValueId>),
) -> Result<ValueId, Fault> {
    let shape = cx.shape(x)[axis..].to_vec();
    let fits = |cx: &Call, value: ValueId| {
        let own = cx.shape(value);
        own.len() == shape.len() && own.iter().zip(&shape).all(|(a, b)| cx.graph.dims_equal(a, b))
    };
    let (scale, bias) = parameters;
    if scale.into_iter().chain(bias).all(|value| fits(cx, value)) && (scale.is_some() || bias.is_none()) {
        let op = Op::Normalize {
            kind,
            axis,
            epsilon,
            scale: scale.is_some(),
            bias: bias.is_some(),
        };
        let operands: Vec<_> = [x].into_iter().chain(scale).chain(bias).collect();
        return cx.emit(op, &operands);
    }
    // Parameters of another shape broadcast.
    let mut result = cx.emit(
        Op::Normalize {
            kind,
            axis,
            epsilon,
            scale: false,
            bias: false,
        },
        &[x],
    )?;
    if let Some(scale) = scale {
        result = cx.binary(BinaryOp::Mul, result, scale)?;
    }
    if let Some(bias) = bias {
        result = cx.binary(BinaryOp::Add, result, bias)?;
    }
    Ok(result)
}

fn layer(cx: &mut Call, kind: NormalizeKind) -> Results {
    cx.ignore(&["stash_type"]);
    let x = cx.input(0)?;
    let axis = cx.axis(cx.int("axis", -1)?, cx.rank(x))?;
    let epsilon = cx.float("epsilon", 1e-5)?;
    let parameters = (Some(cx.input(1)?), cx.optional(2));
    let result = normalize(cx, kind, x, axis, epsilon, parameters)?;
    if kind == NormalizeKind::Layer && (cx.wants(1) || cx.wants(2)) {
        let axes: Vec<_> = (axis..cx.rank(x)).collect();
        let (mean, _, variance) = moments(cx, x, axes)?;
        return Ok(vec![result, mean, inverse_deviation(cx, variance, epsilon)?]);
    }
    Ok(vec![result])
}

/// Mean, differences to it, and mean square of these, along axes that stay with size 1.
pub(super) fn moments(cx: &mut Call, x: ValueId, axes: Vec<usize>) -> Result<(ValueId, ValueId, ValueId), Fault> {
    let mean = cx.emit(
        Op::Reduce {
            kind: ReduceKind::Mean,
            axes: axes.clone(),
            keep_dims: true,
        },
        &[x],
    )?;
    let centered = cx.binary(BinaryOp::Sub, x, mean)?;
    let square = cx.binary(BinaryOp::Mul, centered, centered)?;
    let variance = cx.emit(
        Op::Reduce {
            kind: ReduceKind::Mean,
            axes,
            keep_dims: true,
        },
        &[square],
    )?;
    Ok((mean, centered, variance))
}

/// Normalizes over groups of consecutive channels and all that follows them.
fn by_groups(cx: &mut Call, x: ValueId, groups: Dim, epsilon: f32) -> Result<ValueId, Fault> {
    let shape = cx.shape(x);
    let rest: Dim = shape[1..].iter().cloned().product();
    let rest = rest
        .exact_div(&groups)
        .ok_or_else(|| Fault::new(format!("{} in {groups} groups", shape[1])))?;
    let flat = cx.reshape(x, vec![shape[0].clone(), groups, rest])?;
    let flat = normalize(cx, NormalizeKind::Layer, flat, 2, epsilon, (None, None))?;
    cx.reshape(flat, shape)
}

fn instance(cx: &mut Call) -> Results {
    let (x, scale, bias) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let channels = channels(cx, x)?;
    let epsilon = cx.float("epsilon", 1e-5)?;
    let normalized = by_groups(cx, x, channels, epsilon)?;
    Ok(vec![affine(cx, normalized, scale, bias)?])
}

/// Scale and bias are per group before version 21 and per channel from then on.
fn group(cx: &mut Call) -> Results {
    cx.ignore(&["stash_type"]);
    let (x, mut scale, mut bias) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let channels = channels(cx, x)?;
    let groups = Dim::from(
        cx.optional_int("num_groups")?
            .ok_or_else(|| Fault::new("`num_groups` is missing"))?,
    );
    let size = channels.exact_div(&groups).filter(|size| !size.is(0));
    let size = size.ok_or_else(|| Fault::new(format!("{channels} channels in {groups} groups")))?;
    if cx.version < 21 {
        for parameter in [&mut scale, &mut bias] {
            let column = cx.reshape(*parameter, vec![groups.clone(), Dim::from(1i64)])?;
            let shape = vec![groups.clone(), size.clone()];
            let repeated = cx.emit(Op::Broadcast { shape }, &[column])?;
            *parameter = cx.reshape(repeated, vec![channels.clone()])?;
        }
    }
    let epsilon = cx.float("epsilon", 1e-5)?;
    let normalized = by_groups(cx, x, groups, epsilon)?;
    Ok(vec![affine(cx, normalized, scale, bias)?])
}

/// `(x - mean) / (deviation + 1e-9)` over axes anywhere.
fn mean_variance(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let axes = cx.ints("axes")?.unwrap_or_else(|| vec![0, 2, 3]);
    let axes = cx.axes(&axes, cx.rank(x))?;
    let (_, centered, variance) = moments(cx, x, axes)?;
    let dtype = cx.dtype(x);
    let mut expr = Expr::empty();
    let (value, variance_id) = (expr.input(0, dtype), expr.input(1, dtype));
    let (deviation, epsilon) = (expr.apply1(UnaryOp::Sqrt, variance_id), expr.float(1e-9, dtype));
    let divisor = expr.apply2(BinaryOp::Add, deviation, epsilon);
    expr.apply2(BinaryOp::Div, value, divisor);
    Ok(vec![cx.elementwise(expr, &[centered, variance])?])
}

/// A vector of zeros stays one.
fn lp(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let axis = cx.axis(cx.int("axis", -1)?, cx.rank(x))?;
    let kind = match cx.int("p", 2)? {
        1 => ReduceKind::L1,
        2 => ReduceKind::L2,
        p => return cx.unsupported("p", p),
    };
    let norm = cx.emit(
        Op::Reduce {
            kind,
            axes: vec![axis],
            keep_dims: true,
        },
        &[x],
    )?;
    let dtype = cx.dtype(x);
    let mut expr = Expr::empty();
    let (value, norm_id, zero) = (expr.input(0, dtype), expr.input(1, dtype), expr.float(0.0, dtype));
    let vanishes = expr.apply2(BinaryOp::Eq, norm_id, zero);
    let quotient = expr.apply2(BinaryOp::Div, value, norm_id);
    expr.push(Scalar::Select(vanishes, zero, quotient), dtype);
    Ok(vec![cx.elementwise(expr, &[x, norm])?])
}

/// `x / (bias + alpha * mean)^beta`, where the mean is over the squares of neighboring channels: an average pooling with
/// the channels as the spatial axis, in which padding counts.
fn local_response(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let (shape, dtype) = (cx.shape(x), cx.dtype(x));
    let channels = channels(cx, x)?;
    let size = cx.int("size", 0)?;
    let (alpha, beta, bias) = (
        cx.float("alpha", 1e-4)?,
        cx.float("beta", 0.75)?,
        cx.float("bias", 1.0)?,
    );
    let size = usize::try_from(size).ok().filter(|size| (1..1 << 30).contains(size));
    let size = size.ok_or_else(|| Fault::new("attribute `size` is missing or not positive"))?;
    let square = cx.binary(BinaryOp::Mul, x, x)?;
    let rest = shape[2..].iter().cloned().product();
    let flat = cx.reshape(square, vec![shape[0].clone(), Dim::from(1i64), channels, rest])?;
    let window = Window {
        kernel: vec![size, 1],
        strides: vec![1, 1],
        dilations: vec![1, 1],
        pads_before: vec![Dim::from((size - 1) / 2), Dim::from(0i64)],
        pads_after: vec![Dim::from(size / 2), Dim::from(0i64)],
    };
    let kind = PoolKind::Average {
        count_include_pad: true,
    };
    let mean = cx.emit(
        Op::Pool {
            kind,
            window,
            ceil_mode: false,
        },
        &[flat],
    )?;
    let mean = cx.reshape(mean, shape)?;
    let mut expr = Expr::empty();
    let (value, mean_id) = (expr.input(0, dtype), expr.input(1, dtype));
    let [alpha, beta, bias] = [alpha, beta, bias].map(|value| expr.float(value.into(), dtype));
    let scaled = expr.apply2(BinaryOp::Mul, mean_id, alpha);
    let base = expr.apply2(BinaryOp::Add, scaled, bias);
    let divisor = expr.apply2(BinaryOp::Pow, base, beta);
    expr.apply2(BinaryOp::Div, value, divisor);
    Ok(vec![cx.elementwise(expr, &[x, mean])?])
}
