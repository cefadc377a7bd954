//! Every kind of kernel and of item that a plan can have is in the snapshot of a case.

use super::{CASES, plan};
use onnxide_codegen::ir::Cell;
use onnxide_codegen::ir::op::PoolKind;
use onnxide_codegen::plan::kernel::ConvKind;
use onnxide_codegen::plan::{Item, Kernel};
use std::collections::BTreeSet;

/// Defines a function that names the kind of something, and the list of all names. The function stops compiling when
/// a kind has no name.
macro_rules! kinds {
    ($all:ident, $name:ident($ty:ty), { $($pattern:pat => $text:literal,)* }) => {
        const $all: &[&str] = &[$($text),*];

        fn $name(value: &$ty) -> &'static str {
            match value {
                $($pattern => $text,)*
            }
        }
    };
}

kinds!(CONVOLUTIONS, convolution(ConvKind), {
    ConvKind::Direct => "direct convolution",
    ConvKind::Bf16 => "direct convolution in bf16",
    ConvKind::Depthwise => "depthwise convolution",
    ConvKind::Int8(_) => "convolution of integers",
    ConvKind::DepthwiseInt8(_) => "depthwise convolution of integers",
    ConvKind::Winograd(_) => "convolution by Winograd's algorithm",
});

kinds!(POOLS, pool(PoolKind), {
    PoolKind::Max => "maximum of windows",
    PoolKind::Average { count_include_pad: false } => "average of windows",
    PoolKind::Average { count_include_pad: true } => "average of windows with their padding",
    PoolKind::Lp { .. } => "norm of windows",
});

kinds!(CELLS, cell(Cell), {
    Cell::Lstm => "LSTM",
    Cell::Gru { linear_before_reset: false } => "GRU",
    Cell::Gru { linear_before_reset: true } => "GRU that is linear before the reset",
    Cell::Rnn => "RNN",
});

/// What the planner refuses.
const UNSUPPORTED: &[&str] = &["RNN"];

kinds!(RESIZES, resize(bool), {
    true => "nearest element",
    false => "linear interpolation",
});

kinds!(KERNELS, kernel(Kernel), {
    Kernel::Map(_) => "map",
    Kernel::Fold(_) => "fold",
    Kernel::Scatter { .. } => "scatter",
    Kernel::Sort { .. } => "sort",
    Kernel::Gemm(_) => "matrix product",
    Kernel::Conv(_) => "convolution",
    Kernel::DepthwiseBlock(_) => "depthwise block",
    Kernel::ConvTranspose(_) => "transposed convolution",
    Kernel::Pool(_) => "pooling",
    Kernel::Reduce { .. } => "reduction",
    Kernel::ArgReduce { .. } => "position of an extremum",
    Kernel::CumSum { .. } => "running sum",
    Kernel::Softmax { log: false, .. } => "softmax",
    Kernel::Softmax { log: true, .. } => "logarithm of softmax",
    Kernel::Normalize { rms: false, .. } => "layer normalization",
    Kernel::Normalize { rms: true, .. } => "root-mean-square normalization",
    Kernel::Attention(_) => "attention",
    Kernel::Recurrent(_) => "recurrent layer",
    Kernel::Gather { .. } => "gather",
    Kernel::GatherElements { .. } => "gather of elements",
    Kernel::Opaque(_) => "call of a function of the user's",
    Kernel::Resize(_) => "interpolation",
    Kernel::Streamed(_) => "convolutions by rows",
    Kernel::Pad { .. } => "padding",
});

kinds!(ITEMS, item(Item), {
    Item::Step(_) => "step",
    Item::Repeat(_) => "repeat",
    Item::Bind { .. } => "bind",
    Item::Assert { .. } => "assert",
    Item::If { .. } => "if",
    Item::Loop(_) => "loop",
    Item::For { .. } => "for",
});

#[test]
fn cases_have_every_kind_of_kernel_and_item() {
    let mut seen = BTreeSet::new();
    for case in CASES {
        let plan = plan(case);
        for step in &plan.steps {
            seen.insert(kernel(&step.kernel));
            seen.extend(match &step.kernel {
                Kernel::Conv(conv) => Some(convolution(&conv.kind)),
                Kernel::Pool(pooling) => Some(pool(&pooling.kind)),
                Kernel::Recurrent(layer) => Some(cell(&layer.cell)),
                Kernel::Resize(interpolation) => Some(resize(&interpolation.nearest.is_some())),
                _ => None,
            });
        }
        visit(&plan.program, &mut seen);
    }
    let all = [KERNELS, CONVOLUTIONS, POOLS, CELLS, RESIZES, ITEMS].concat();
    let missing: Vec<&str> = all
        .into_iter()
        .filter(|kind| !seen.contains(kind) && !UNSUPPORTED.contains(kind))
        .collect();
    assert!(missing.is_empty(), "no case has {}", missing.join(", "));
}

fn visit(items: &[Item], seen: &mut BTreeSet<&'static str>) {
    for part in items {
        seen.insert(item(part));
        match part {
            Item::If {
                then_items, else_items, ..
            } => {
                visit(then_items, seen);
                visit(else_items, seen);
            }
            Item::Loop(repeated) => visit(&repeated.body, seen),
            Item::For { body, .. } => visit(body, seen),
            Item::Step(_) | Item::Repeat(_) | Item::Bind { .. } | Item::Assert { .. } => {}
        }
    }
}
