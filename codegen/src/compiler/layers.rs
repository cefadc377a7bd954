//! The results of layers as outputs, for tools that compare them.

use std::collections::BTreeSet;

use super::LayerReport;
use crate::Precision;
use crate::ir::graph::{Port, ValueId};
use crate::ir::{DType, Graph, Op};
use crate::plan::kernel::{ConvKind, Matrix};
use crate::plan::{Base, Kernel, Plan, PlanError, PlanOptions, Step};

/// Plans a graph whose further outputs are the results of the steps that are matrix products and convolutions with
/// constant weights, outside of branches and loops.
///
/// Their kernels are those of the graph as it was: what the planner computes together with something else has no result,
/// and stays without.
pub(super) fn expose(graph: &mut Graph, options: &PlanOptions) -> Result<(Plan, Vec<LayerReport>), Vec<PlanError>> {
    let plan = Plan::with(graph, options)?;
    let outputs: BTreeSet<ValueId> = graph.body.results.iter().copied().collect();
    let mut names: BTreeSet<String> = graph.outputs.iter().map(|port| port.name.clone()).collect();
    let mut layers = Vec::new();
    let mut results = Vec::new();
    for node in &graph.body.nodes {
        let value = match (&node.op, node.outputs.as_slice()) {
            (Op::Conv { .. } | Op::MatMul { .. }, &[value]) => value,
            _ => continue,
        };
        let step = plan.steps.iter().find(|step| computes(step, &node.origin));
        let (Some(step), DType::F32) = (step, graph.ty(value).dtype) else {
            continue;
        };
        let Some(precision) = precision(step).filter(|_| !outputs.contains(&value)) else {
            continue;
        };
        let name = name(&node.origin, &mut names);
        layers.push(LayerReport {
            output: name.clone(),
            kernel: plan.functions[step.function].name.clone(),
            precision: precision.name(),
            macs: step.macs,
            weight_bytes: weight_bytes(&plan, step),
        });
        results.push((Port::tensor(&name), value));
    }
    for (port, value) in results {
        graph.outputs.push(port);
        graph.body.results.push(value);
    }
    Ok((Plan::with(graph, options)?, layers))
}

/// Whether a step ends with a node.
fn computes(step: &Step, origin: &[String]) -> bool {
    !origin.is_empty() && step.origin.ends_with(origin)
}

/// In what a step multiplies with weights.
fn precision(step: &Step) -> Option<Precision> {
    match &step.kernel {
        Kernel::Gemm(gemm) => match gemm.b {
            Matrix::Packed | Matrix::PackedBlocks { rounded: false, .. } => Some(Precision::F32),
            Matrix::PackedBf16 => Some(Precision::Bf16),
            Matrix::PackedBlocks { rounded: true, .. } => Some(Precision::Int8),
            Matrix::PackedInt8 | Matrix::Strided { .. } => None,
        },
        Kernel::Conv(conv) => match conv.kind {
            ConvKind::Bf16 => Some(Precision::Bf16),
            ConvKind::Direct | ConvKind::Depthwise | ConvKind::Winograd(_) => Some(Precision::F32),
            ConvKind::Int8(_) | ConvKind::DepthwiseInt8(_) => None,
        },
        Kernel::DepthwiseBlock(_) => Some(Precision::F32),
        _ => None,
    }
}

fn weight_bytes(plan: &Plan, step: &Step) -> u64 {
    let weights = step.reads.iter().filter_map(|access| match access.base {
        Base::Weight(id) => Some(plan.weights.entries[id.0].bytes() as u64),
        _ => None,
    });
    weights.sum()
}

/// A name that no other output has: that of the first node.
fn name(origin: &[String], names: &mut BTreeSet<String>) -> String {
    let first = origin.first().map_or("", String::as_str);
    let mut name = first.to_owned();
    let mut number = 1;
    while !names.insert(name.clone()) {
        number += 1;
        name = format!("{first} {number}");
    }
    name
}
