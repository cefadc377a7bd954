//! Operations and their attributes in the text form.

use super::names::{COORDINATES, FOLD, NORMALIZE, PAD, REDUCE, ROUNDING, SCATTER, name};
use super::{Printer, constant, dim, expr, quoted};
use crate::ir::dim::Dim;
use crate::ir::dtype::DType;
use crate::ir::graph::Node;
use crate::ir::op::{Cell, Op, PoolKind, ResizeMode, Window};
use crate::ir::opaque::Argument;
use std::fmt::Display;

/// The name of an operation, its attributes and expressions.
pub(super) fn text(printer: &Printer<'_>, node: &Node) -> String {
    let result = printer.result_type(node);
    let mut attributes = Attributes(Vec::new());
    let shape = |attributes: &mut Attributes, shape: &[Dim]| {
        if result.is_none_or(|ty| ty.shape != shape) {
            attributes.set("shape", dim::list(shape));
        }
    };
    let list = &mut attributes;
    match &node.op {
        Op::Constant(tensor) => return format!("constant {}", constant::text(tensor, result, printer.constants)),
        Op::Elementwise { shape: dims, .. } | Op::Reshape { shape: dims } | Op::Broadcast { shape: dims } => {
            shape(list, dims);
        }
        Op::Fold {
            kind,
            shape: dims,
            domain,
            ..
        } => {
            list.set("kind", name(FOLD, kind));
            list.set("domain", dim::list(domain));
            shape(list, dims);
        }
        Op::Scatter { kind } => list.set("kind", name(SCATTER, kind)),
        Op::Sort { descending } => list.flag("descending", *descending),
        Op::Bind { symbol } => list.set("symbol", dim::symbol(symbol)),
        Op::Assert { message } => list.set("message", quoted(message)),
        Op::Reduce { kind, axes, keep_dims } => {
            list.set("kind", name(REDUCE, kind));
            list.set("axes", format!("{axes:?}"));
            list.flag("keep_dims", *keep_dims);
        }
        Op::ArgReduce {
            largest,
            axis,
            keep_dims,
            last,
        } => {
            list.flag("largest", *largest);
            list.set("axis", axis);
            list.flag("keep_dims", *keep_dims);
            list.flag("last", *last);
        }
        Op::CumSum {
            axis,
            exclusive,
            reverse,
        } => {
            list.set("axis", axis);
            list.flag("exclusive", *exclusive);
            list.flag("reverse", *reverse);
        }
        Op::MatMul { .. } | Op::If => {}
        Op::Dequantize { rows } => list.set("rows", rows),
        Op::Conv {
            window,
            groups,
            bias,
            pad_value,
            ..
        } => {
            list.window(window);
            list.unless("groups", groups, &1);
            list.flag("bias", *bias);
            list.unless("pad_value", pad_value, &0);
        }
        Op::ConvTranspose {
            window,
            output_padding,
            groups,
            bias,
            ..
        } => {
            list.window(window);
            if *output_padding != vec![0; window.kernel.len()] {
                list.set("output_padding", format!("{output_padding:?}"));
            }
            list.unless("groups", groups, &1);
            list.flag("bias", *bias);
        }
        Op::Pool {
            kind,
            window,
            ceil_mode,
        } => {
            match kind {
                PoolKind::Max => list.set("kind", "max"),
                PoolKind::Average { count_include_pad } => {
                    list.set("kind", "average");
                    list.flag("count_include_pad", *count_include_pad);
                }
                PoolKind::Lp { p } => {
                    list.set("kind", "lp");
                    list.set("p", p);
                }
            }
            list.window(window);
            list.flag("ceil_mode", *ceil_mode);
        }
        Op::Transpose { permutation } => list.set("permutation", format!("{permutation:?}")),
        Op::Slice {
            starts,
            steps,
            shape: dims,
        } => {
            list.set("starts", dim::list(starts));
            if *steps != vec![1; starts.len()] {
                list.set("steps", format!("{steps:?}"));
            }
            shape(list, dims);
        }
        Op::Concat { axis } | Op::Gather { axis } | Op::GatherElements { axis } => list.set("axis", axis),
        Op::Pad { mode, before, after } => {
            list.set("mode", name(PAD, mode));
            list.set("before", dim::list(before));
            list.set("after", dim::list(after));
        }
        Op::Resize {
            mode,
            coordinates,
            scales,
            shape: dims,
        } => {
            match mode {
                ResizeMode::Nearest(rounding) => {
                    list.set("mode", "nearest");
                    list.set("rounding", name(ROUNDING, rounding));
                }
                ResizeMode::Linear => list.set("mode", "linear"),
                ResizeMode::Cubic {
                    coefficient,
                    exclude_outside,
                } => {
                    list.set("mode", "cubic");
                    list.set("coefficient", float(*coefficient));
                    list.flag("exclude_outside", *exclude_outside);
                }
            }
            list.set("coordinates", name(COORDINATES, coordinates));
            if let Some(scales) = scales {
                let scales: Vec<String> = scales.iter().map(|&scale| float(scale)).collect();
                list.set("scales", format!("[{}]", scales.join(", ")));
            }
            shape(list, dims);
        }
        Op::Softmax { axis, log } => {
            list.set("axis", axis);
            list.flag("log", *log);
        }
        Op::Normalize {
            kind,
            axis,
            epsilon,
            scale,
            bias,
        } => {
            list.set("kind", name(NORMALIZE, kind));
            list.set("axis", axis);
            list.set("epsilon", float(*epsilon));
            list.flag("scale", *scale);
            list.flag("bias", *bias);
        }
        Op::Attention { scale, mask, causal } => {
            list.set("scale", float(*scale));
            list.flag("mask", *mask);
            list.flag("causal", *causal);
        }
        Op::Recurrent { cell, reverse } => {
            match cell {
                Cell::Lstm => list.set("cell", "lstm"),
                Cell::Gru { linear_before_reset } => {
                    list.set("cell", "gru");
                    list.flag("linear_before_reset", *linear_before_reset);
                }
                Cell::Rnn => list.set("cell", "rnn"),
            }
            list.flag("reverse", *reverse);
        }
        Op::Loop { carried, trips } => {
            list.set("carried", carried);
            list.set("trips", dim::text(trips));
        }
        Op::Scan { carried } => list.set("carried", carried),
        Op::Opaque(call) => {
            list.set("operator", quoted(&call.operator));
            list.set("function", quoted(&call.function));
            let arguments: Vec<String> = call.arguments.iter().map(argument).collect();
            list.set("arguments", format!("[{}]", arguments.join(", ")));
            list.flag("fallible", call.fallible);
        }
    }
    let mut result = node.op.name().to_owned();
    if !attributes.0.is_empty() {
        result.push_str(&format!("({})", attributes.0.join(", ")));
    }
    let operand = |index: usize| {
        let id = *node.inputs.get(index)?;
        ((id.0 as usize) < printer.graph.value_count()).then(|| printer.graph.ty(id).dtype)
    };
    if let Op::Elementwise { expr, .. } | Op::Fold { expr, .. } = &node.op {
        let types: Vec<Option<DType>> = (0..node.inputs.len()).map(operand).collect();
        result.push_str(&format!(" {}", expr::text(expr, &types)));
    }
    if let (Some(epilogue), Some(base)) = (node.op.epilogue(), node.op.epilogue_base()) {
        let known: Option<Vec<DType>> = (0..base.min(node.inputs.len())).map(operand).collect();
        let mut types = vec![known.and_then(|known| node.op.epilogue_type(&known))];
        types.extend((base..node.inputs.len()).map(operand));
        result.push_str(&format!(" epilogue {}", expr::text(&epilogue.expr, &types)));
    }
    result
}

/// An argument of an opaque call: what it is, then its value.
fn argument(argument: &Argument) -> String {
    let list = |items: Vec<String>| format!("[{}]", items.join(", "));
    match argument {
        Argument::Operand => "operand".into(),
        Argument::Present => "present".into(),
        Argument::Absent => "absent".into(),
        Argument::Int(value) => format!("int {value}"),
        Argument::Float(value) => format!("float {}", float(*value)),
        Argument::String(text) => format!("string {}", quoted(text)),
        Argument::Ints(values) => format!("ints {values:?}"),
        Argument::Floats(values) => format!("floats {}", list(values.iter().map(|&value| float(value)).collect())),
        Argument::Strings(texts) => format!("strings {}", list(texts.iter().map(|text| quoted(text)).collect())),
    }
}

/// Attributes as they are written.
struct Attributes(Vec<String>);

impl Attributes {
    fn set(&mut self, key: &str, value: impl Display) {
        self.0.push(format!("{key} = {value}"));
    }

    fn flag(&mut self, key: &str, value: bool) {
        if value {
            self.0.push(key.to_owned());
        }
    }

    fn unless<T: Display + PartialEq>(&mut self, key: &str, value: &T, usual: &T) {
        if value != usual {
            self.set(key, value);
        }
    }

    fn window(&mut self, window: &Window) {
        let rank = window.kernel.len();
        self.set("kernel", format!("{:?}", window.kernel));
        for (key, list) in [("strides", &window.strides), ("dilations", &window.dilations)] {
            if *list != vec![1; rank] {
                self.set(key, format!("{list:?}"));
            }
        }
        for (key, list) in [("pads_before", &window.pads_before), ("pads_after", &window.pads_after)] {
            if *list != vec![Dim::default(); rank] {
                self.set(key, dim::list(list));
            }
        }
    }
}

fn float(value: f32) -> String {
    constant::float(f64::from(value), DType::F32)
}
