//! Pooling, interpolation and padding.

use super::function::Body;
use super::literal::single;
use super::rows::call;
use super::text::Code;
use crate::ir::op::{NearestRounding, PadMode, PoolKind, ResizeCoordinates};
use crate::ir::{DType, Dim};
use crate::plan::kernel::{Pool, PoolResult, Resize};

pub(super) fn pool(body: &mut Body<'_>, pool: &Pool) {
    let (ty, suffix, fields) = match &pool.y {
        PoolResult::Planes(channel) => ("Pool", "", plane_fields(body, pool, channel)),
        PoolResult::Pixels(pixel) => ("PoolNhwc", "_nhwc", pixel_fields(body, pool, pixel)),
    };
    body.imports.add("kernels::pool", ty);
    body.writer.code("let problem = ", &Code::structure(ty, fields), ";");
    body.open_loops();
    let (x, y) = (body.read(0), body.write(0));
    match pool.kind {
        PoolKind::Max => {
            let element = match (pool.dtype, &pool.y) {
                (DType::F32, PoolResult::Pixels(_)) => String::new(),
                (dtype, _) => format!("_{}", dtype.name()),
            };
            call(body, &format!("s.max_pool{suffix}{element}"), &[&y, &x, "&problem"]);
        }
        PoolKind::Average { count_include_pad } => {
            body.imports.add("kernels::pool", "Divisor");
            let divisor = if count_include_pad {
                "Divisor::Padded"
            } else {
                "Divisor::Inside"
            };
            let method = format!("s.average_pool{suffix}");
            call(body, &method, &[&y, &x, "&problem", divisor]);
        }
        PoolKind::Lp { p } => call(body, "s.lp_pool", &[&y, &x, "&problem", &p.to_string()]),
    }
    body.close_loops();
}

/// The fields of pooling over planes.
fn plane_fields(body: &Body<'_>, pool: &Pool, channel: &Dim) -> Vec<Code> {
    let sizes = body.sizes;
    let one = "1".to_owned();
    let triple = |y: String, x: String| format!("[{one}, {y}, {x}]");
    let dims = |pair: &[Dim]| triple(sizes.text(&pair[0]), sizes.text(&pair[1]));
    let numbers = |pair: [usize; 2]| triple(pair[0].to_string(), pair[1].to_string());
    let zeros = |pair: &[Dim]| format!("[0, {}, {}]", sizes.text(&pair[0]), sizes.text(&pair[1]));
    vec![
        format!("planes: {}", sizes.text(&pool.input[0])).into(),
        format!("input: {}", dims(&pool.input[1..])).into(),
        format!("output: {}", dims(&pool.output)).into(),
        format!("kernel: {}", numbers(pool.kernel)).into(),
        format!("stride: {}", numbers(pool.stride)).into(),
        format!("dilation: {}", numbers(pool.dilation)).into(),
        format!("pad_begin: {}", zeros(&pool.pad)).into(),
        format!("pad_end: {}", zeros(&pool.pad_after)).into(),
        format!(
            "input_strides: [{}, 0, {}, {}]",
            sizes.text(&pool.x[0]),
            sizes.text(&pool.x[1]),
            sizes.text(&pool.x[2])
        )
        .into(),
        format!("output_stride: {}", sizes.text(channel)).into(),
    ]
}

/// The fields of pooling over an image that is stored channels last.
fn pixel_fields(body: &Body<'_>, pool: &Pool, pixel: &Dim) -> Vec<Code> {
    let sizes = body.sizes;
    let dims = |pair: &[Dim]| format!("[{}, {}]", sizes.text(&pair[0]), sizes.text(&pair[1]));
    let numbers = |pair: [usize; 2]| format!("[{}, {}]", pair[0], pair[1]);
    vec![
        format!("channels: {}", sizes.text(&pool.input[0])).into(),
        format!("input: {}", dims(&pool.input[1..])).into(),
        format!("output: {}", dims(&pool.output)).into(),
        format!("kernel: {}", numbers(pool.kernel)).into(),
        format!("stride: {}", numbers(pool.stride)).into(),
        format!("dilation: {}", numbers(pool.dilation)).into(),
        format!("pad_begin: {}", dims(&pool.pad)).into(),
        format!("pad_end: {}", dims(&pool.pad_after)).into(),
        format!("x_row: {}", sizes.text(&pool.x[1])).into(),
        format!("x_column: {}", sizes.text(&pool.x[2])).into(),
        format!("y_pixel: {}", sizes.text(pixel)).into(),
    ]
}

pub(super) fn resize(body: &mut Body<'_>, resize: &Resize) {
    body.cut();
    for name in ["Coordinates", "Resize"] {
        body.imports.add("kernels::resize", name);
    }
    let sizes = body.sizes;
    let pair = |pair: &[Dim; 2]| format!("[{}, {}]", sizes.text(&pair[0]), sizes.text(&pair[1]));
    let scales = match resize.scales {
        Some([y, x]) => format!("Some([{}, {}])", single(y), single(x)),
        None => "None".into(),
    };
    let coordinates = match resize.coordinates {
        ResizeCoordinates::HalfPixel => "HalfPixel",
        ResizeCoordinates::PytorchHalfPixel => "PytorchHalfPixel",
        ResizeCoordinates::Asymmetric => "Asymmetric",
        ResizeCoordinates::AlignCorners => "AlignCorners",
    };
    let fields = vec![
        format!("images: {}", sizes.text(&resize.images)).into(),
        format!("channels: {}", sizes.text(&resize.channels)).into(),
        format!("input: {}", pair(&resize.input)).into(),
        format!("output: {}", pair(&resize.output)).into(),
        format!("y_pixel: {}", sizes.text(&resize.y_pixel)).into(),
        format!("scales: {scales}").into(),
        format!("coordinates: Coordinates::{coordinates}").into(),
    ];
    body.writer
        .code("let problem = ", &Code::structure("Resize", fields), ";");
    let (x, y) = (body.read(0), body.write(0));
    let Some(rounding) = resize.nearest else {
        call(body, "s.resize_linear", &[&y, &x, "&problem"]);
        return;
    };
    body.imports.add("kernels::resize", "Rounding");
    let rounding = match rounding {
        NearestRounding::RoundPreferFloor => "Rounding::PreferFloor",
        NearestRounding::RoundPreferCeil => "Rounding::PreferCeil",
        NearestRounding::Floor => "Rounding::Floor",
        NearestRounding::Ceil => "Rounding::Ceil",
    };
    call(body, "s.resize_nearest", &[&y, &x, "&problem", rounding]);
}

pub(super) fn pad(body: &mut Body<'_>, mode: PadMode, shape: &[Dim], before: &[Dim], after: &[Dim]) {
    body.cut();
    body.imports.add("kernels", "pad");
    body.imports.add("kernels::pad", "Padding");
    let array = |dims: &mut dyn Iterator<Item = String>| format!("[{}]", dims.collect::<Vec<_>>().join(", "));
    let sizes = body.sizes;
    let padded = shape.iter().zip(before.iter().zip(after));
    let padded = padded.map(|(size, (before, after))| size.clone() + before.clone() + after.clone());
    let out_shape = array(&mut padded.map(|dim| sizes.text(&dim)));
    let in_shape = array(&mut shape.iter().map(|dim| sizes.text(dim)));
    let first = array(&mut before.iter().map(|dim| match dim.as_const() {
        Some(value) => value.to_string(),
        None => format!("{} as isize", sizes.atom(dim)),
    }));
    let padding = match mode {
        PadMode::Constant => format!("Padding::Constant({}[0])", body.roles.reads[1]),
        PadMode::Edge => "Padding::Edge".to_owned(),
        PadMode::Reflect => "Padding::Reflect".to_owned(),
        PadMode::Wrap => "Padding::Wrap".to_owned(),
    };
    let (x, y) = (body.read(0), body.write(0));
    call(body, "pad::pad", &[&y, &out_shape, &x, &in_shape, &first, &padding]);
}
