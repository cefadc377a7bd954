//! Interpolation.

mod passes;

use super::{ONNX, Rules};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::op::{NearestRounding, ReduceKind, ResizeCoordinates, ResizeMode};
use crate::ir::{BinaryOp, DType, Dim, Interval, Op, UnaryOp, ValueId};
pub(super) use passes::cubic;
use passes::{Coordinates, Pass, Resampling};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[(ONNX, "Resize", resize), (ONNX, "Upsample", upsample)];

/// What is known of a resize once its attributes are read.
struct Request {
    x: ValueId,
    axes: Vec<usize>,
    resampling: Resampling,
    coordinates: Coordinates,
    /// The start and end of the region of interest, each for every axis of `axes`, `f64`.
    region: Option<ValueId>,
}

/// Version 10 has operands X and scales; from version 11 on they are X, region of interest, scales and sizes.
fn resize(cx: &mut Call) -> Results {
    if cx.version < 11 {
        return scaled_asymmetric(cx, 1);
    }
    let coordinates = match cx.string("coordinate_transformation_mode", "half_pixel")? {
        "half_pixel" => Coordinates::Plain(ResizeCoordinates::HalfPixel),
        "pytorch_half_pixel" => Coordinates::Plain(ResizeCoordinates::PytorchHalfPixel),
        "asymmetric" => Coordinates::Plain(ResizeCoordinates::Asymmetric),
        "align_corners" => Coordinates::Plain(ResizeCoordinates::AlignCorners),
        "half_pixel_symmetric" => Coordinates::Symmetric,
        "tf_crop_and_resize" => Coordinates::Crop {
            extrapolation: cx.float("extrapolation_value", 0.0)?,
        },
        other => return cx.unsupported("coordinate_transformation_mode", other),
    };
    // It matters for cropping alone.
    cx.ignore(&["extrapolation_value"]);
    let rounding = match cx.string("nearest_mode", "round_prefer_floor")? {
        "round_prefer_floor" => NearestRounding::RoundPreferFloor,
        "round_prefer_ceil" => NearestRounding::RoundPreferCeil,
        "floor" => NearestRounding::Floor,
        "ceil" => NearestRounding::Ceil,
        other => return cx.unsupported("nearest_mode", other),
    };
    let coefficient = cx.float("cubic_coeff_a", -0.75)?;
    let exclude_outside = cx.flag("exclude_outside", false)?;
    let mode = match cx.string("mode", "nearest")? {
        "nearest" => ResizeMode::Nearest(rounding),
        "linear" => ResizeMode::Linear,
        "cubic" => ResizeMode::Cubic {
            coefficient,
            exclude_outside,
        },
        other => return cx.unsupported("mode", other),
    };
    let resampling = Resampling {
        mode,
        antialias: cx.flag("antialias", false)?,
        exclude_outside,
    };
    let x = cx.input(0)?;
    let rank = cx.rank(x);
    let axes = match cx.ints("axes")? {
        Some(axes) => axes
            .iter()
            .map(|&axis| cx.axis(axis, rank))
            .collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).collect(),
    };
    // An operand without elements counts as left out.
    let given = |cx: &Call, index: usize| {
        cx.optional(index)
            .filter(|&value| !cx.shape(value).first().is_some_and(|size| size.is(0)))
    };
    let region = match (&coordinates, given(cx, 1)) {
        (Coordinates::Crop { .. }, None) => return Err(Fault::new("there is no region of interest to crop")),
        (Coordinates::Crop { .. }, Some(region)) => Some(list(cx, region, 2 * axes.len(), DType::F64)?),
        _ => None,
    };
    let request = Request {
        x,
        axes,
        resampling,
        coordinates,
        region,
    };
    match (given(cx, 3), given(cx, 2)) {
        (Some(sizes), _) => {
            let sizes = list(cx, sizes, request.axes.len(), DType::I64)?;
            to_sizes(cx, &request, sizes)
        }
        (None, Some(scales)) => to_scales(cx, &request, scales),
        (None, None) => Err(Fault::new("there are neither scales nor sizes")),
    }
}

/// Scales are an attribute before version 9 and an operand from then on.
fn upsample(cx: &mut Call) -> Results {
    scaled_asymmetric(cx, if cx.version < 9 { usize::MAX } else { 1 })
}

fn scaled_asymmetric(cx: &mut Call, operand: usize) -> Results {
    let x = cx.input(0)?;
    let mode = match cx.string("mode", "nearest")? {
        "nearest" => ResizeMode::Nearest(NearestRounding::Floor),
        "linear" | "bilinear" => ResizeMode::Linear,
        other => return cx.unsupported("mode", other),
    };
    let rank = cx.rank(x);
    let scales = match operand {
        usize::MAX => match cx.floats("scales")? {
            Some(scales) => cx.constant(crate::ir::Tensor::new(vec![scales.len()], &scales)),
            None => return Err(Fault::new("there must be one scale for each axis")),
        },
        operand => cx.input(operand)?,
    };
    let request = Request {
        x,
        axes: (0..rank).collect(),
        resampling: Resampling {
            mode,
            antialias: false,
            exclude_outside: false,
        },
        coordinates: Coordinates::Plain(ResizeCoordinates::Asymmetric),
        region: None,
    };
    to_scales(cx, &request, scales)
}

/// A list of as many numbers as there are axes, in another type.
fn list(cx: &mut Call, value: ValueId, count: usize, dtype: DType) -> Result<ValueId, Fault> {
    let shape = cx.shape(value);
    if shape.len() != 1 || !shape[0].is(count as i64) {
        let shape = crate::ir::infer::display_shape(&shape);
        return Err(Fault::new(format!("{count} scales or sizes are needed, not {shape}")));
    }
    cx.cast(value, dtype)
}

/// Sizes are given, as they are or as limits of one scale for all axes.
fn to_sizes(cx: &mut Call, request: &Request, sizes: ValueId) -> Results {
    let policy = match cx.string("keep_aspect_ratio_policy", "stretch")? {
        "stretch" => None,
        "not_larger" => Some(ReduceKind::Min),
        "not_smaller" => Some(ReduceKind::Max),
        other => return cx.unsupported("keep_aspect_ratio_policy", other),
    };
    let from: Vec<Dim> = request
        .axes
        .iter()
        .map(|&axis| cx.shape(request.x)[axis].clone())
        .collect();
    let count = from.len();
    let inputs = cx.dims(vec![count], from);
    let inputs = cx.cast(inputs, DType::F64)?;
    let wanted = cx.cast(sizes, DType::F64)?;
    let scales = cx.binary(BinaryOp::Div, wanted, inputs)?;
    let Some(kind) = policy else {
        return resized(cx, request, sizes, scales, None);
    };
    let op = Op::Reduce {
        kind,
        axes: vec![0],
        keep_dims: true,
    };
    let scale = cx.emit(op, &[scales])?;
    let scales = cx.emit(
        Op::Broadcast {
            shape: vec![Dim::from(count)],
        },
        &[scale],
    )?;
    let sizes = cx.map(&[scales, inputs], |expr, of| {
        let (product, half) = (expr.apply2(BinaryOp::Mul, of[0], of[1]), expr.float(0.5, DType::F64));
        let rounded = expr.apply2(BinaryOp::Add, product, half);
        expr.convert(rounded, DType::I64)
    })?;
    resized(cx, request, sizes, scales, None)
}

/// Scales are given; sizes become `floor(size * scale)`.
fn to_scales(cx: &mut Call, request: &Request, scales: ValueId) -> Results {
    cx.ignore(&["keep_aspect_ratio_policy"]);
    let count = request.axes.len();
    let known = cx.known_floats(scales);
    let known: Option<Vec<f32>> = known.map(|scales| scales.iter().map(|&scale| scale as f32).collect());
    if let Some(known) = &known
        && known.len() == count
    {
        let mut sizes = Vec::with_capacity(count);
        for (&axis, &scale) in request.axes.iter().zip(known) {
            let size = cx.shape(request.x)[axis].clone();
            sizes.push(scaled(cx, &size, scale)?);
        }
        let sizes = cx.dims(vec![count], sizes);
        let scales = list(cx, scales, count, DType::F64)?;
        return resized(cx, request, sizes, scales, Some(known));
    }
    let scales = list(cx, scales, count, DType::F64)?;
    let from: Vec<Dim> = request
        .axes
        .iter()
        .map(|&axis| cx.shape(request.x)[axis].clone())
        .collect();
    let inputs = cx.dims(vec![count], from);
    let sizes = cx.map(&[scales, inputs], |expr, of| {
        let size = expr.convert(of[1], DType::F64);
        let product = expr.apply2(BinaryOp::Mul, of[0], size);
        let floor = expr.apply1(UnaryOp::Floor, product);
        expr.convert(floor, DType::I64)
    })?;
    resized(cx, request, sizes, scales, None)
}

fn scaled(cx: &Call, size: &Dim, scale: f32) -> Result<Dim, Fault> {
    if !(scale > 0.0 && scale < 1e6) {
        return Err(Fault::new(format!("a scale of {scale}")));
    }
    if let Some(size) = size.as_const() {
        return Ok(Dim::from((size as f64 * f64::from(scale)).floor() as i64));
    }
    // A float is an integer over a power of two. Where products fit its mantissa, multiplying floats is exact too.
    let mut divisor = 1i64;
    while (scale * divisor as f32).fract() != 0.0 && divisor < 1 << 30 {
        divisor *= 2;
    }
    let factor = (scale * divisor as f32) as i64;
    if size.upper(&cx.graph.bounds).saturating_mul(factor) > 1 << 24 {
        let message = format!("the dynamic size {size} times {scale}");
        return Err(Fault::new(message).help("use a scale that is a simple fraction, or fix the size"));
    }
    Ok((size.clone() * Dim::from(factor)).floor_div(&Dim::from(divisor)))
}

/// Resizes to sizes, a list of `i64`, at scales, a list of `f64`; `known` are the scales where the model states them.
fn resized(cx: &mut Call, request: &Request, sizes: ValueId, scales: ValueId, known: Option<&[f32]>) -> Results {
    let mut most = Vec::new();
    for &axis in &request.axes {
        most.push(cx.capacity(0, axis));
    }
    let sizes = cx.bind(sizes, |place| match most.get(place).copied().flatten() {
        Some(high) => Ok(Interval { low: 0, high }),
        None => Err(Fault::new("the sizes of the result are computed at run time").help(
            "give the output's dimensions the largest size that can occur, such as `NAME_2 <= 512` for axis 2 of NAME",
        )),
    })?;
    let mut shape = cx.shape(request.x);
    for (&axis, size) in request.axes.iter().zip(&sizes) {
        shape[axis] = size.clone();
    }
    if let Some(op) = primitive(cx, request, &shape, known) {
        return Ok(vec![match shape == cx.shape(request.x) {
            true => request.x,
            false => cx.emit(op, &[request.x])?,
        }]);
    }
    let dtype = cx.dtype(request.x);
    let nearest = matches!(request.resampling.mode, ResizeMode::Nearest(_));
    let mut value = request.x;
    if !nearest {
        let wide = if dtype.is_float() {
            dtype.arithmetic()
        } else {
            DType::F32
        };
        value = cx.cast(value, wide)?;
    }
    for (place, (&axis, size)) in request.axes.iter().zip(&sizes).enumerate() {
        let scale = cx.select(scales, 0, Dim::from(place))?;
        let region = match request.region {
            Some(region) => Some((
                cx.select(region, 0, Dim::from(place))?,
                cx.select(region, 0, Dim::from(place + request.axes.len()))?,
            )),
            None => None,
        };
        let pass = Pass {
            axis,
            size: size.clone(),
            scale,
            region,
        };
        value = passes::along(cx, &request.resampling, &request.coordinates, &pass, value)?;
    }
    // Interpolated integers are rounded, and stay within their type because weights of neighbors do.
    if !nearest && !dtype.is_float() {
        let (low, high) = crate::ir::eval::int_limits(dtype);
        value = cx.map(&[value], |expr, of| {
            let rounded = expr.apply1(UnaryOp::Round, of[0]);
            let low = expr.float(low as f64, DType::F32);
            let high = expr.float(high as f64, DType::F32);
            let held = expr.apply2(BinaryOp::Max, rounded, low);
            expr.apply2(BinaryOp::Min, held, high)
        })?;
    }
    Ok(vec![cx.cast(value, dtype)?])
}

/// The primitive that has a kernel, if that covers the request.
fn primitive(cx: &Call, request: &Request, shape: &[Dim], known: Option<&[f32]>) -> Option<Op> {
    let Coordinates::Plain(coordinates) = request.coordinates else {
        return None;
    };
    let plain = !request.resampling.antialias && !request.resampling.exclude_outside;
    let covered = matches!(request.resampling.mode, ResizeMode::Nearest(_) | ResizeMode::Linear);
    let from = cx.shape(request.x);
    let lead = from.len().checked_sub(2)?;
    let planes = (0..lead).all(|axis| from[axis] == shape[axis]);
    // A scale other than that of the sizes is only known if the model states it.
    let own = known.is_some() || request.axes.iter().all(|&axis| !cx.is_computed(&shape[axis]));
    let stretched = cx.string("keep_aspect_ratio_policy", "stretch").ok()? == "stretch" || known.is_some();
    let dtype = cx.dtype(request.x);
    let single = dtype.is_float() && dtype.arithmetic() == DType::F32;
    (plain && covered && planes && own && stretched && single).then(|| Op::Resize {
        mode: request.resampling.mode,
        coordinates,
        scales: known.map(|known| {
            let mut scales = vec![1.0; from.len()];
            for (&axis, &scale) in request.axes.iter().zip(known) {
                scales[axis] = scale;
            }
            scales
        }),
        shape: shape.to_vec(),
    })
}
