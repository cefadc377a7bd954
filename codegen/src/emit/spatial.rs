//! Pooling, interpolation and padding.

use super::function::Body;
use super::rows::call;
use super::scalar::single;
use super::text::Code;
use crate::ir::Dim;
use crate::ir::op::{NearestRounding, PadMode, PoolKind, ResizeCoordinates};
use crate::plan::kernel::{Pool, Resize};

pub(super) fn pool(body: &mut Body<'_>, pool: &Pool) {
    body.imports.add("kernels::pool", "Pool");
    let sizes = body.sizes;
    let one = "1".to_owned();
    let triple = |y: String, x: String| format!("[{one}, {y}, {x}]");
    let dims = |pair: &[Dim]| triple(sizes.text(&pair[0]), sizes.text(&pair[1]));
    let numbers = |pair: [usize; 2]| triple(pair[0].to_string(), pair[1].to_string());
    let zeros = |pair: &[Dim]| format!("[0, {}, {}]", sizes.text(&pair[0]), sizes.text(&pair[1]));
    let fields: Vec<Code> = vec![
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
        format!("output_stride: {}", sizes.text(&pool.y_channel)).into(),
    ];
    body.writer
        .code("let problem = ", &Code::structure("Pool", fields), ";");
    body.open_loops();
    let (x, y) = (body.read(0), body.write(0));
    match pool.kind {
        PoolKind::Max => call(body, "s.max_pool_f32", &[&y, &x, "&problem"]),
        PoolKind::Average { count_include_pad } => {
            body.imports.add("kernels::pool", "Divisor");
            let divisor = if count_include_pad {
                "Divisor::Padded"
            } else {
                "Divisor::Inside"
            };
            call(body, "s.average_pool", &[&y, &x, "&problem", divisor]);
        }
        PoolKind::Lp { p } => call(body, "s.lp_pool", &[&y, &x, "&problem", &p.to_string()]),
    }
    body.close_loops();
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
        format!("planes: {}", sizes.text(&resize.planes)).into(),
        format!("input: {}", pair(&resize.input)).into(),
        format!("output: {}", pair(&resize.output)).into(),
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
