//! Functions that steps share.

use super::access::{Access, Base};
use super::kernel::{ConvKind, ConvWindow, EpilogueMap, Matrix};
use super::names::{Names, identifier};
use super::repeat::accesses;
use super::{Kernel, Plan, Step};
use crate::ir::op::{FoldKind, PoolKind, ReduceKind, ScatterKind};
use crate::ir::{Cell, Dim, Expr, Literal, Scalar};
use std::collections::HashMap;

/// What is printed once for all steps that differ only in what they access.
#[derive(Clone, Debug)]
pub struct Function {
    /// The name.
    pub name: String,
    /// The first step that calls it.
    pub step: usize,
    /// How many steps call it.
    pub uses: usize,
}

/// Finds the steps that can share a function, and orders weights so that those of repeated steps move together.
pub(super) fn find_functions(plan: &mut Plan) {
    let mut by_text: HashMap<String, usize> = HashMap::new();
    let mut names = Names::reserving(&["forward", "layer", "block"]);
    for number in 0..plan.steps.len() {
        let step = &plan.steps[number];
        let function = *by_text.entry(signature(step)).or_insert_with(|| {
            plan.functions.push(Function {
                name: names.unique(&identifier(&function_name(&step.kernel), "step")),
                step: number,
                uses: 0,
            });
            plan.functions.len() - 1
        });
        plan.functions[function].uses += 1;
        plan.steps[number].function = function;
    }
    order_weights(plan);
}

/// Everything that the text of a function depends on.
fn signature(step: &Step) -> String {
    let is_weight = |access: &Access| matches!(access.base, Base::Weight(_));
    let types = accesses(step).map(|access| (access.dtype, is_weight(access), &access.loop_strides));
    let counts = (
        step.reads.len(),
        step.writes.len(),
        step.scratch.is_some(),
        // The parts as well, for which there is working memory.
        &step.parts,
        step.divides_loop,
    );
    format!(
        "{:?} {:?} {:?} {:?}",
        step.kernel,
        step.loops,
        types.collect::<Vec<_>>(),
        counts
    )
}

/// Moves weights that several steps read to the front. What only one step reads then lies in the order of the steps, so
/// that the weights of a repeated run of steps lie equally far from those of the run before.
fn order_weights(plan: &mut Plan) {
    let mut uses = vec![0usize; plan.weights.entries.len()];
    let mut order: Vec<usize> = Vec::new();
    for step in &plan.steps {
        for access in accesses(step) {
            if let Base::Weight(id) = access.base {
                if uses[id.0] == 0 {
                    order.push(id.0);
                }
                uses[id.0] += 1;
            }
        }
    }
    // What only branches, loops and outputs read; a constant that nobody reads any more is left out.
    let mut others = Vec::new();
    plan.for_each_access_mut(&mut |access| {
        if let Base::Weight(id) = access.base
            && uses[id.0] == 0
        {
            others.push(id.0);
        }
    });
    others.sort_unstable();
    others.dedup();
    order.extend(others);
    order.sort_by_key(|&id| uses[id] == 1);
    let places = plan.weights.reorder(&order);
    plan.for_each_access_mut(&mut |access| {
        if let Base::Weight(id) = &mut access.base {
            *id = places[id.0];
        }
    });
}

/// A name that says what a step does: `conv_3x3_64_56x56`, `matmul_gelu_3072`, `layer_norm_768`.
fn function_name(kernel: &Kernel) -> String {
    match kernel {
        Kernel::Map(map) => match expression_name(&map.expr).as_str() {
            "" => format!("copy{}", sizes(map.shape.iter())),
            name => format!("{name}{}", sizes(map.shape.iter())),
        },
        Kernel::Fold(fold) => {
            let kind = match fold.kind {
                None => "generate",
                Some(FoldKind::Sum) => "sum",
                Some(FoldKind::Prod) => "product",
                Some(FoldKind::Max) => "max",
                Some(FoldKind::Min) => "min",
            };
            format!("{kind}{}", sizes(&fold.shape))
        }
        Kernel::Scatter { kind, elements, .. } => {
            let kind = match kind {
                ScatterKind::Replace => "",
                ScatterKind::Add => "_add",
                ScatterKind::Mul => "_mul",
                ScatterKind::Max => "_max",
                ScatterKind::Min => "_min",
            };
            format!("scatter{kind}{}", sizes([elements]))
        }
        Kernel::Sort { size, .. } => format!("sort{}", sizes([size])),
        Kernel::Gemm(gemm) => {
            let kind = match gemm.b {
                Matrix::PackedBf16 => "matmul_bf16",
                Matrix::PackedInt8 => "matmul_int8",
                Matrix::PackedBlocks { format, rounded } => match (format.bits, rounded) {
                    (4, false) => "matmul_4_bits",
                    (_, false) => "matmul_8_bits",
                    (4, true) => "matmul_4_bits_int8",
                    (_, true) => "matmul_8_bits_int8",
                },
                Matrix::Packed | Matrix::Strided { .. } => "matmul",
            };
            format!("{kind}{}{}", epilogue_name(gemm.epilogue.as_ref()), sizes([&gemm.n]))
        }
        Kernel::Conv(conv) => {
            let kind = match conv.kind {
                ConvKind::Direct => "conv",
                ConvKind::Bf16 => "conv_bf16",
                ConvKind::Depthwise => "depthwise_conv",
                ConvKind::Int8(_) => "conv_int8",
                ConvKind::DepthwiseInt8(_) => "depthwise_conv_int8",
                ConvKind::Winograd(_) => "winograd_conv",
            };
            conv_name(kind, &conv.window, conv.epilogue.as_ref())
        }
        Kernel::DepthwiseBlock(block) => {
            let window = &block.depthwise.window;
            let part = |name: &'static str, there: bool| if there { name } else { "" };
            let kind = [
                part("expand_", block.expand.is_some()),
                "depthwise",
                part("_project", block.project.is_some()),
            ];
            let channels = block
                .project
                .as_ref()
                .map_or(&window.output[0], |project| &project.channels);
            let [height, width] = window.kernel;
            let plane = plane(&window.output[1], &window.output[2]);
            format!("{}_{height}x{width}{}{plane}", kind.concat(), sizes([channels]))
        }
        Kernel::Streamed(streamed) => {
            let last = streamed.members.last().map(|member| function_name(&member.kernel));
            format!("rows_of_{}", last.unwrap_or_default())
        }
        Kernel::ConvTranspose(conv) => conv_name("conv_transpose", &conv.window, conv.epilogue.as_ref()),
        Kernel::Pool(pool) => {
            let kind = match pool.kind {
                PoolKind::Max => "max",
                PoolKind::Average { .. } => "average",
                PoolKind::Lp { .. } => "norm",
            };
            let [height, width] = pool.kernel;
            let plane = plane(&pool.output[0], &pool.output[1]);
            format!("{kind}_pool_{height}x{width}{}{plane}", sizes([&pool.input[0]]))
        }
        Kernel::Reduce { kind, sizes: axes } => {
            let kind = match kind {
                ReduceKind::Sum => "sum",
                ReduceKind::Mean => "mean",
                ReduceKind::Max => "max",
                ReduceKind::Min => "min",
                ReduceKind::Prod => "product",
                ReduceKind::SumSquare => "sum_of_squares",
                ReduceKind::L1 => "l1_norm",
                ReduceKind::L2 => "l2_norm",
                ReduceKind::LogSum => "log_sum",
                ReduceKind::LogSumExp => "log_sum_exp",
            };
            format!("reduce_{kind}{}", sizes(axes))
        }
        Kernel::ArgReduce {
            largest, sizes: axes, ..
        } => {
            format!("{}{}", if *largest { "arg_max" } else { "arg_min" }, sizes(axes))
        }
        Kernel::CumSum { sizes: axes, .. } => format!("cumulative_sum{}", sizes(axes)),
        Kernel::Softmax { log, sizes: axes } => {
            format!("{}softmax{}", if *log { "log_" } else { "" }, sizes([&axes[1]]))
        }
        Kernel::Normalize { size, rms, .. } => {
            format!("{}{}", if *rms { "rms_norm" } else { "layer_norm" }, sizes([size]))
        }
        Kernel::Attention(attention) => format!("attention{}", sizes([&attention.head])),
        Kernel::Recurrent(layer) => {
            let cell = match layer.cell {
                Cell::Lstm => "lstm",
                Cell::Gru { .. } => "gru",
                Cell::Rnn => "rnn",
            };
            format!("{cell}{}", sizes([&layer.hidden]))
        }
        Kernel::Gather { sizes: axes, .. } => format!("gather{}", sizes([&axes[1], &axes[2]])),
        Kernel::GatherElements { sizes: axes, .. } => format!("gather_elements{}", sizes(axes)),
        Kernel::Opaque(call) => {
            let name = call.function.rsplit("::").next().unwrap_or_default();
            format!("{name}{}", sizes(call.results.iter().flat_map(|ty| &ty.shape)))
        }
        Kernel::Resize(resize) => format!("resize{}", plane(&resize.output[0], &resize.output[1])),
        Kernel::Pad { shape, .. } => format!("pad{}", sizes(shape)),
    }
}

fn conv_name(kind: &str, window: &ConvWindow, epilogue: Option<&EpilogueMap>) -> String {
    let [height, width] = window.kernel;
    let epilogue = epilogue_name(epilogue);
    let plane = plane(&window.output[1], &window.output[2]);
    format!("{kind}_{height}x{width}{epilogue}{}{plane}", sizes([&window.output[0]]))
}

/// The sizes that are constant and not 1: `_3_224`.
fn sizes<'a>(dims: impl IntoIterator<Item = &'a Dim>) -> String {
    let known = dims.into_iter().filter_map(Dim::as_usize).filter(|&size| size != 1);
    known.map(|size| format!("_{size}")).collect()
}

/// Height and width: `_56x56`.
fn plane(height: &Dim, width: &Dim) -> String {
    match (height.as_usize(), width.as_usize()) {
        (Some(1), Some(1)) => String::new(),
        (Some(1), Some(width)) => format!("_{width}"),
        (Some(height), Some(width)) => format!("_{height}x{width}"),
        _ => String::new(),
    }
}

fn epilogue_name(epilogue: Option<&EpilogueMap>) -> String {
    match epilogue.map(|epilogue| expression_name(&epilogue.expr)) {
        Some(name) if !name.is_empty() => format!("_{name}"),
        _ => String::new(),
    }
}

/// The operations of an expression: `add_relu`; empty for its operand alone.
fn expression_name(expr: &Expr) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let is_zero = |id: usize| expr.nodes[id].op == Scalar::Const(Literal::Float(0.0));
    for node in &expr.nodes {
        let part = match &node.op {
            Scalar::Binary(crate::ir::BinaryOp::Max, a, b) if is_zero(*a) || is_zero(*b) => "relu",
            Scalar::Binary(op, ..) => op.name(),
            Scalar::Unary(op, _) => op.name(),
            Scalar::Select(..) => "select",
            Scalar::Cast(_) => "cast",
            _ => continue,
        };
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    match (parts.as_slice(), expr.arity()) {
        ([], 0) => "fill".into(),
        ([.., last], _) if parts.len() > 3 => format!("{}_{}_{last}", parts[0], parts[1]),
        _ => parts.join("_"),
    }
}
