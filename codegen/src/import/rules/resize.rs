//! Interpolation.

use super::{ONNX, Rules};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::infer::display_shape;
use crate::ir::op::{NearestRounding, ResizeCoordinates, ResizeMode};
use crate::ir::{Dim, Op, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[(ONNX, "Resize", resize), (ONNX, "Upsample", upsample)];

/// Version 10 has operands X and scales; from version 11 on they are X, region of interest, scales and sizes.
fn resize(cx: &mut Call) -> Results {
    if cx.version < 11 {
        return scaled_asymmetric(cx, 1);
    }
    cx.only_int("antialias", 0)?;
    // It matters for cropping alone.
    cx.ignore(&["extrapolation_value"]);
    let coordinates = match cx.string("coordinate_transformation_mode", "half_pixel")? {
        "half_pixel" => ResizeCoordinates::HalfPixel,
        "pytorch_half_pixel" => ResizeCoordinates::PytorchHalfPixel,
        "asymmetric" => ResizeCoordinates::Asymmetric,
        "align_corners" => ResizeCoordinates::AlignCorners,
        other => return cx.unsupported("coordinate_transformation_mode", other),
    };
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
    match cx.string("keep_aspect_ratio_policy", "stretch")? {
        "stretch" => {}
        other => return cx.unsupported("keep_aspect_ratio_policy", other),
    }
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
            .is_some_and(|value| !cx.shape(value).first().is_some_and(|size| size.is(0)))
    };
    if given(cx, 3) {
        let sizes = cx.known_input(3, "the sizes")?;
        let mut shape = cx.shape(x);
        for (&axis, size) in checked(&axes, &sizes)? {
            shape[axis] = size.clone();
        }
        return emit(cx, x, mode, coordinates, None, shape);
    }
    if !given(cx, 2) {
        return Err(Fault::new("there are neither scales nor sizes"));
    }
    let found = cx.constant_floats(2, "the scales")?.unwrap_or_default();
    let mut scales = vec![1.0; rank];
    for (&axis, scale) in checked(&axes, &found)? {
        scales[axis] = *scale as f32;
    }
    scale(cx, x, mode, coordinates, scales)
}

fn checked<'a, T>(axes: &'a [usize], values: &'a [T]) -> Result<impl Iterator<Item = (&'a usize, &'a T)>, Fault> {
    if axes.len() != values.len() {
        return Err(Fault::new(format!(
            "{} scales or sizes for {} axes",
            values.len(),
            axes.len()
        )));
    }
    Ok(axes.iter().zip(values))
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
    let scales = if operand == usize::MAX {
        cx.floats("scales")?
    } else {
        cx.constant_floats(operand, "the scales")?
            .map(|scales| scales.iter().map(|&scale| scale as f32).collect())
    };
    let scales = scales.filter(|scales| scales.len() == cx.rank(x));
    let scales = scales.ok_or_else(|| Fault::new("there must be one scale for each axis"))?;
    scale(cx, x, mode, ResizeCoordinates::Asymmetric, scales)
}

/// Sizes become `floor(size * scale)`.
fn scale(cx: &mut Call, x: ValueId, mode: ResizeMode, coordinates: ResizeCoordinates, scales: Vec<f32>) -> Results {
    let mut shape = cx.shape(x);
    for (size, &scale) in shape.iter_mut().zip(&scales) {
        *size = scaled(cx, size, scale)?;
    }
    emit(cx, x, mode, coordinates, Some(scales), shape)
}

fn scaled(cx: &Call, size: &Dim, scale: f32) -> Result<Dim, Fault> {
    if !(scale > 0.0 && scale < 1e6) {
        return Err(Fault::new(format!("a scale of {scale}")));
    }
    if let Some(size) = size.as_const() {
        return Ok(Dim::from((size as f32 * scale).floor() as i64));
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

fn emit(
    cx: &mut Call,
    x: ValueId,
    mode: ResizeMode,
    coordinates: ResizeCoordinates,
    scales: Option<Vec<f32>>,
    shape: Vec<Dim>,
) -> Results {
    if shape == cx.shape(x) {
        return Ok(vec![x]);
    }
    if shape.len() < 2 {
        return Err(Fault::new(format!("resizing of {}", display_shape(&cx.shape(x)))));
    }
    Ok(vec![cx.emit(
        Op::Resize {
            mode,
            coordinates,
            scales,
            shape,
        },
        &[x],
    )?])
}
