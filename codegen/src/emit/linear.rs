//! Matrix products, convolutions, attention and recurrent layers.

use super::epilogue::{conversion, epilogue, hoisted, is_fixed, named_epilogue, written};
use super::function::Body;
use super::literal;
use super::text::Code;
use crate::ir::{Cell, Dim};
use crate::plan::kernel::{
    Attention, Conv, ConvKind, ConvTranspose, ConvWindow, DepthwiseBlock, EpilogueMap, Gemm, Init, Matrix, Pointwise,
    Recurrent,
};
use onnxide_runtime::linear::BlockFormat;

pub(super) fn gemm(body: &mut Body<'_>, gemm: &Gemm) {
    gemm_rows(body, gemm, None);
}

/// A product, or that of the rows of an image in a range of this name, which have so many pixels each.
pub(super) fn gemm_rows(body: &mut Body<'_>, gemm: &Gemm, rows: Option<(&str, usize)>) {
    let sizes = body.sizes;
    let m = match rows {
        None => sizes.text(&gemm.m),
        Some((rows, 1)) => format!("{rows}.len()"),
        Some((rows, width)) => format!("{width} * {rows}.len()"),
    };
    structure(
        body,
        "Gemm",
        "problem",
        vec![
            ("m", m),
            ("n", sizes.text(&gemm.n)),
            ("k", sizes.text(&gemm.k)),
            ("c_row", sizes.text(&gemm.c_row)),
        ],
    );
    let first = 2 + usize::from(gemm.init.reads());
    if gemm.b == Matrix::PackedInt8 {
        return gemm_int8(body, gemm, first);
    }
    let outside = hoisted(body, first, gemm.epilogue.as_ref());
    body.open_loops();
    let a = matrix(body, "Lhs", "a", &gemm.a, 0);
    let (b, method) = match gemm.b {
        Matrix::PackedInt8 => unreachable!("integers are apart"),
        Matrix::PackedBf16 => (body.read(1), "s.gemm_bf16"),
        Matrix::PackedBlocks { format, rounded: false } => (blocks(body, format), "s.gemm_blocks"),
        Matrix::PackedBlocks { format, rounded: true } => (blocks(body, format), "s.gemm_blocks_int8"),
        Matrix::Packed | Matrix::Strided { .. } => (matrix(body, "Rhs", "b", &gemm.b, 1), "s.gemm"),
    };
    let epilogue = outside.unwrap_or_else(|| epilogue(body, first, gemm.epilogue.as_ref()));
    let init = init(body, gemm.init);
    let arguments = ["&problem", &a, &b, &init, &body.write(0), body.scratch(), &epilogue];
    call(body, method, &arguments);
    body.close_loops();
}

/// The call of a product of integers, whose epilogue makes results of another type of its sums.
fn gemm_int8(body: &mut Body<'_>, gemm: &Gemm, first: usize) {
    let map = gemm.epilogue.as_ref();
    let outside = map.is_some_and(|map| is_fixed(body, first, map));
    if outside {
        conversion(body, first, map);
    }
    body.open_loops();
    if !outside {
        conversion(body, first, map);
    }
    body.imports.add("linear", "LhsInt8");
    let row = match &gemm.a {
        Matrix::Strided { row, .. } => body.sizes.text(row),
        _ => unreachable!("a left matrix of integers is read where it lies"),
    };
    let fields = vec![format!("data: {}", body.read(0)).into(), format!("row: {row}").into()];
    body.writer.code("let a = ", &Code::structure("LhsInt8", fields), ";");
    let sink = written(body, map);
    let b = body.read(1);
    call(body, "s.gemm_int8", &["&problem", "a", &b, &sink]);
    body.close_loops();
}

pub(super) fn conv(body: &mut Body<'_>, conv: &Conv) {
    match conv.kind {
        ConvKind::Winograd(tile) => {
            body.imports.add("linear", "WinogradTile");
            conv_problem(body, "convolution", conv);
            let fields = vec![
                ("problem", "convolution".to_owned()),
                ("tile", format!("WinogradTile::{tile:?}")),
            ];
            structure(body, "WinogradConv2dNhwc", "problem", fields);
        }
        _ => conv_problem(body, "problem", conv),
    }
    conv_of(body, "problem", conv);
}

/// The sizes of a convolution, as a variable.
pub(super) fn conv_problem(body: &mut Body<'_>, name: &str, conv: &Conv) {
    let mut fields = window(body, &conv.window);
    fields.push(("y_pixel", body.sizes.text(&conv.y_pixel)));
    structure(body, "Conv2dNhwc", name, fields);
}

/// The call of a convolution whose sizes have a name.
pub(super) fn conv_of(body: &mut Body<'_>, problem: &str, conv: &Conv) {
    let map = conv.epilogue.as_ref();
    match conv.kind {
        ConvKind::Winograd(_) => convolve(body, "s.winograd_conv2d_nhwc", true, conv.init, map),
        ConvKind::Direct => convolve(body, "s.conv2d_nhwc", true, conv.init, map),
        ConvKind::Bf16 => convolve(body, "s.conv2d_nhwc_bf16", true, conv.init, map),
        ConvKind::Depthwise => convolve(body, "s.depthwise_conv2d_nhwc", false, conv.init, map),
        ConvKind::Int8(pad_value) => convolve_int8(body, problem, "s.conv2d_nhwc_int8", true, pad_value, map),
        ConvKind::DepthwiseInt8(pad_value) => {
            convolve_int8(body, problem, "s.depthwise_conv2d_nhwc_int8", false, pad_value, map);
        }
    }
}

/// The call of a convolution of integers, with working memory or without.
fn convolve_int8(
    body: &mut Body<'_>,
    problem: &str,
    method: &str,
    scratch: bool,
    pad_value: u8,
    map: Option<&EpilogueMap>,
) {
    let outside = map.is_some_and(|map| is_fixed(body, 2, map));
    if outside {
        conversion(body, 2, map);
    }
    body.open_loops();
    if !outside {
        conversion(body, 2, map);
    }
    let (x, w, y) = (body.read(0), body.read(1), written(body, map));
    let (problem, pad_value) = (format!("&{problem}"), pad_value.to_string());
    let mut arguments = vec![problem.as_str(), &x, &pad_value, &w, &y];
    arguments.extend(scratch.then(|| body.scratch()));
    call(body, method, &arguments);
    body.close_loops();
}

/// The names of what a depthwise block reads.
pub(super) fn block_roles(block: &DepthwiseBlock) -> Vec<String> {
    let mut roles = vec!["x".to_owned()];
    let mut part = |suffix: &str, init: Init, map: Option<&EpilogueMap>| {
        roles.push(format!("w{suffix}"));
        roles.extend(init.reads().then(|| format!("bias{suffix}")));
        let operands = map.map_or(0, |map| map.operands.len());
        roles.extend((1..=operands).map(|number| format!("e{number}{suffix}")));
    };
    if let Some(expand) = &block.expand {
        part("_in", expand.init, expand.epilogue.as_ref());
    }
    part("", block.depthwise.init, block.depthwise.epilogue.as_ref());
    if let Some(project) = &block.project {
        part("_out", project.init, project.epilogue.as_ref());
    }
    roles
}

pub(super) fn depthwise_block(body: &mut Body<'_>, block: &DepthwiseBlock) {
    let conv = &block.depthwise;
    let mut fields = window(body, &conv.window);
    fields.push(("y_pixel", body.sizes.text(&conv.y_pixel)));
    structure(body, "Conv2dNhwc", "problem", fields);
    let mut next = 1;
    let expand = pointwise(body, "expand", &mut next, block.expand.as_ref());
    let (w, bias) = (body.read(next), next + 1);
    let first = bias + usize::from(conv.init.reads());
    let epilogue = epilogue(body, first, conv.epilogue.as_ref());
    let start = init_from(body, conv.init, bias);
    next = first + conv.epilogue.as_ref().map_or(0, |map| map.operands.len());
    let project = pointwise(body, "project", &mut next, block.project.as_ref());
    let (x, y) = (body.read(0), body.write(0));
    let scratch = body.scratch();
    let arguments = ["&problem", &x, &expand, &w, &start, &epilogue, &project, &y, scratch];
    call(body, "s.depthwise_block", &arguments);
}

/// The argument for a pointwise convolution whose weights are the read `next`, after a `let`.
fn pointwise(body: &mut Body<'_>, name: &'static str, next: &mut usize, part: Option<&Pointwise>) -> String {
    let Some(part) = part else {
        return "None".to_owned();
    };
    let (w, bias) = (body.read(*next), *next + 1);
    let first = bias + usize::from(part.init.reads());
    let epilogue = named_epilogue(body, &format!("{name}_epilogue"), first, part.epilogue.as_ref());
    let init = init_from(body, part.init, bias);
    *next = first + part.epilogue.as_ref().map_or(0, |map| map.operands.len());
    let fields = vec![
        ("channels", body.sizes.text(&part.channels)),
        ("w", w),
        ("init", init),
        ("epilogue", epilogue),
    ];
    structure(body, "Pointwise", name, fields);
    format!("Some({name})")
}

pub(super) fn conv_transpose(body: &mut Body<'_>, conv: &ConvTranspose) {
    let mut fields = window(body, &conv.window);
    fields.push(("y_channel", body.sizes.text(&conv.y_channel)));
    structure(body, "ConvTranspose2d", "problem", fields);
    convolve(body, "s.conv_transpose2d", true, conv.init, conv.epilogue.as_ref());
}

/// The fields that all convolutions have.
fn window(body: &Body<'_>, window: &ConvWindow) -> Vec<(&'static str, String)> {
    let sizes = body.sizes;
    let pair = |pair: [usize; 2]| format!("[{}, {}]", pair[0], pair[1]);
    let pad = &window.pad;
    vec![
        ("in_channels", sizes.text(&window.input[0])),
        ("in_height", sizes.text(&window.input[1])),
        ("in_width", sizes.text(&window.input[2])),
        ("out_channels", sizes.text(&window.output[0])),
        ("out_height", sizes.text(&window.output[1])),
        ("out_width", sizes.text(&window.output[2])),
        ("kernel", pair(window.kernel)),
        ("stride", pair(window.stride)),
        ("dilation", pair(window.dilation)),
        ("pad", format!("[{}, {}]", sizes.text(&pad[0]), sizes.text(&pad[1]))),
        ("groups", window.groups.to_string()),
        ("x_channel", sizes.text(&window.x[0])),
        ("x_row", sizes.text(&window.x[1])),
        ("x_column", sizes.text(&window.x[2])),
    ]
}

/// The call of a convolution of `problem`.
fn convolve(body: &mut Body<'_>, method: &str, has_scratch: bool, start: Init, map: Option<&EpilogueMap>) {
    let first = 2 + usize::from(start.reads());
    let outside = hoisted(body, first, map);
    body.open_loops();
    let epilogue = outside.unwrap_or_else(|| epilogue(body, first, map));
    let init = init(body, start);
    let (x, w, y) = (body.read(0), body.read(1), body.write(0));
    let mut arguments = vec!["&problem", &x, &w, &init, &y];
    arguments.extend(has_scratch.then(|| body.scratch()));
    arguments.push(&epilogue);
    call(body, method, &arguments);
    body.close_loops();
}

pub(super) fn attention(body: &mut Body<'_>, attention: &Attention) {
    let sizes = body.sizes;
    let pair = |[first, second]: &[Dim; 2]| format!("[{}, {}]", sizes.text(first), sizes.text(second));
    structure(
        body,
        "Attention",
        "problem",
        vec![
            ("heads", pair(&attention.heads)),
            ("q_len", sizes.text(&attention.queries)),
            ("kv_len", sizes.text(&attention.keys)),
            ("head_dim", sizes.text(&attention.head)),
            ("value_dim", sizes.text(&attention.value)),
            ("scale", literal::single(attention.scale)),
            ("q_head", pair(&attention.q.head)),
            ("q_row", sizes.text(&attention.q.row)),
            ("k_head", pair(&attention.k.head)),
            ("k_row", sizes.text(&attention.k.row)),
            ("k_column", sizes.text(&attention.k.column)),
            ("v_head", pair(&attention.v.head)),
            ("v_row", sizes.text(&attention.v.row)),
            ("v_column", sizes.text(&attention.v.column)),
            ("out_head", pair(&attention.out.head)),
            ("out_row", sizes.text(&attention.out.row)),
            ("causal", attention.causal.to_string()),
            ("causal_offset", "0".into()),
        ],
    );
    body.open_loops();
    let mask = match &attention.mask {
        None => "None".to_owned(),
        Some(mask) => {
            let fields = vec![
                ("data", body.read(3)),
                ("head", pair(&mask.head)),
                ("row", sizes.text(&mask.row)),
            ];
            structure(body, "Mask", "mask", fields);
            "Some(mask)".to_owned()
        }
    };
    let arguments = [
        "&problem",
        &body.read(0),
        &body.read(1),
        &body.read(2),
        &mask,
        &body.write(0),
        body.scratch(),
    ];
    call(body, "s.attention", &arguments);
    body.close_loops();
}

pub(super) fn recurrent(body: &mut Body<'_>, layer: &Recurrent) {
    let sizes = body.sizes;
    let dense_step = sizes.text(&(layer.batch.clone() * layer.hidden.clone()));
    let mut fields = vec![
        ("steps", sizes.text(&layer.steps)),
        ("batch", sizes.text(&layer.batch)),
        ("input", sizes.text(&layer.input)),
        ("hidden", sizes.text(&layer.hidden)),
        ("reverse", layer.reverse.to_string()),
    ];
    if let Cell::Gru { linear_before_reset } = layer.cell {
        fields.push(("linear_before_reset", linear_before_reset.to_string()));
    }
    fields.extend([
        ("x_step", sizes.text(&layer.x[0])),
        ("x_batch", sizes.text(&layer.x[1])),
        ("y_step", dense_step),
        ("y_batch", sizes.text(&layer.hidden)),
    ]);
    let ty = if layer.cell == Cell::Lstm { "Lstm" } else { "Gru" };
    structure(body, ty, "problem", fields);
    let bias = match body.roles.reads.get(3) {
        Some(bias) => format!("Some({bias})"),
        None => "None".into(),
    };
    let [x, w, r] = [0, 1, 2].map(|index| body.read(index));
    let y = format!("Some({})", body.write(0));
    let h = body.write(1);
    if layer.cell == Cell::Lstm {
        let c = body.write(2);
        call(
            body,
            "s.lstm",
            &["&problem", &x, &w, &r, &bias, "None", &h, &c, &y, body.scratch()],
        );
    } else {
        call(body, "s.gru", &["&problem", &x, &w, &r, &bias, &h, &y, body.scratch()]);
    }
}

/// `let name = Type { ... };`
fn structure(body: &mut Body<'_>, ty: &'static str, name: &str, fields: Vec<(&str, String)>) {
    body.imports.add("linear", ty);
    let field = |(field, value): (&str, String)| match field == value {
        true => value.into(),
        false => format!("{field}: {value}").into(),
    };
    let literal = Code::structure(ty, fields.into_iter().map(field).collect());
    body.writer.code(&format!("let {name} = "), &literal, ";");
}

fn call(body: &mut Body<'_>, function: &str, arguments: &[&str]) {
    let code = Code::call(function, arguments.iter().map(|&argument| argument.into()).collect());
    body.writer.code("", &code, ";");
}

/// A matrix operand: an expression, after a `let` where it is long.
fn matrix(body: &mut Body<'_>, side: &'static str, name: &str, matrix: &Matrix, index: usize) -> String {
    body.imports.add("linear", side);
    let data = body.read(index);
    match matrix {
        Matrix::Packed | Matrix::PackedBf16 | Matrix::PackedInt8 | Matrix::PackedBlocks { .. } => {
            format!("{side}::Packed({data})")
        }
        Matrix::Strided { row, column } => {
            let fields = vec![
                format!("data: {data}").into(),
                format!("row: {}", body.sizes.text(row)).into(),
                format!("column: {}", body.sizes.text(column)).into(),
            ];
            let literal = Code::structure(&format!("{side}::Strided"), fields);
            body.writer.code(&format!("let {name} = "), &literal, ";");
            name.to_owned()
        }
    }
}

/// The right matrix in numbers of few bits.
fn blocks(body: &mut Body<'_>, format: BlockFormat) -> String {
    let BlockFormat { bits, rows, zeros } = format;
    body.imports.add("linear", "BlockFormat");
    body.imports.add("linear", "RhsBlocks");
    let fields = [
        format!("bits: {bits}"),
        format!("rows: {rows}"),
        format!("zeros: {zeros}"),
    ];
    let literal = Code::structure("BlockFormat", fields.into_iter().map(Into::into).collect());
    body.writer.code("let format = ", &literal, ";");
    let fields = vec![format!("data: {}", body.read(1)).into(), "format".into()];
    body.writer.code("let b = ", &Code::structure("RhsBlocks", fields), ";");
    "b".to_owned()
}

/// What accumulators start from.
fn init(body: &mut Body<'_>, init: Init) -> String {
    init_from(body, init, 2)
}

/// What accumulators start from, where a bias is the read `index`.
fn init_from(body: &mut Body<'_>, init: Init, index: usize) -> String {
    body.imports.add("linear", "Init");
    match init {
        Init::Zero => "Init::Zero".to_owned(),
        Init::PerRow => format!("Init::PerRow({})", body.read(index)),
        Init::PerColumn => format!("Init::PerColumn({})", body.read(index)),
        Init::Accumulate => "Init::Accumulate".to_owned(),
    }
}
