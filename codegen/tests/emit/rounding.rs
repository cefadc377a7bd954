//! What is computed in another precision, for the evaluator.

use onnxide_codegen::Precision;
use onnxide_codegen::ir::graph::Node;
use onnxide_codegen::ir::{DType, Expr, Graph, Op, Tensor, ValueId};
use onnxide_codegen::plan::kernel::{ConvKind, Matrix};
use onnxide_codegen::plan::{Base, Kernel, Plan, PlanOptions, Step};

/// The case of bf16. No layer reads what another one computes, so that a number is rounded the same in both.
pub(super) const BF16: &str = "bf16";

/// The case of weights in blocks, with what they are multiplied with rounded to 8 bits: inputs of the graph alone, of which each
/// is read by products with blocks of as many rows.
pub(super) const INT8: &str = "rounded";

/// The name of the file with the graph of a case.
pub(super) fn file(case: &str) -> &str {
    if case == INT8 { "compressed" } else { case }
}

/// What a case is planned with.
pub(super) fn options(case: &str) -> PlanOptions {
    let precision = match case {
        BF16 => Precision::Bf16,
        INT8 => Precision::Int8,
        _ => Precision::F32,
    };
    PlanOptions {
        precision,
        ..PlanOptions::default()
    }
}

/// The inputs, rounded to 8 bits where products of the plan do so.
pub(super) fn inputs(plan: &Plan, inputs: &[Tensor]) -> Vec<Tensor> {
    let mut inputs = inputs.to_vec();
    for step in &plan.steps {
        let Kernel::Gemm(gemm) = &step.kernel else { continue };
        let Matrix::PackedBlocks { format, rounded: true } = gemm.b else {
            continue;
        };
        let Base::Input(input) = step.reads[0].base else {
            panic!("a product rounds what is no input");
        };
        let tensor = &inputs[input];
        let values = tensor.to_vec::<f32>().unwrap();
        let rows = values.chunks(*tensor.shape.last().unwrap());
        // No group of these graphs is as long as the longest that there are.
        let groups = rows.flat_map(|row| row.chunks(format.rows));
        let rounded: Vec<f32> = groups.flat_map(group).collect();
        inputs[input] = Tensor::new(tensor.shape.clone(), &rounded);
    }
    inputs
}

/// Numbers with one scale. What is rounded already stays as it is, but for the last bits.
fn group(values: &[f32]) -> Vec<f32> {
    let greatest = values.iter().fold(0.0f32, |greatest, value| greatest.max(value.abs()));
    if greatest == 0.0 {
        return values.to_vec();
    }
    let scale = greatest / 127.0;
    values
        .iter()
        .map(|value| (value * (127.0 / greatest)).round_ties_even() * scale)
        .collect()
}

/// The graph with the operands of layers rounded where the plan says that their kernels do.
pub(super) fn simulated(graph: &Graph, plan: &Plan) -> Graph {
    let mut simulated = graph.clone();
    let nodes = std::mem::take(&mut simulated.body.nodes);
    for mut node in nodes {
        if plan
            .steps
            .iter()
            .any(|step| step.origin == node.origin && is_rounded(step))
        {
            for operand in 0..2 {
                node.inputs[operand] = rounded(&mut simulated, node.inputs[operand]);
            }
        }
        simulated.body.nodes.push(node);
    }
    simulated
}

fn is_rounded(step: &Step) -> bool {
    match &step.kernel {
        Kernel::Gemm(gemm) => gemm.b == Matrix::PackedBf16,
        Kernel::Conv(conv) => conv.kind == ConvKind::Bf16,
        _ => false,
    }
}

/// Appends what rounds a value.
fn rounded(graph: &mut Graph, value: ValueId) -> ValueId {
    let ty = graph.ty(value).clone();
    let mut expr = Expr::empty();
    let input = expr.input(0, DType::F32);
    let half = expr.convert(input, DType::BF16);
    let result = expr.convert(half, DType::F32);
    let op = Op::Elementwise {
        expr: expr.finish(result),
        shape: ty.shape.clone(),
    };
    let output = graph.add_value(ty, None);
    graph.body.nodes.push(Node {
        op,
        inputs: vec![value],
        outputs: vec![output],
        regions: Vec::new(),
        origin: Vec::new(),
    });
    output
}

#[test]
fn layers_are_rounded_where_it_pays() {
    let plan = super::plan(BF16);
    let rounded = plan.steps.iter().filter(|step| is_rounded(step));
    // Steps may run in another order than the nodes are in.
    let mut names: Vec<&str> = rounded.map(|step| step.origin[0].as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "batch",
            "conv",
            "dilated",
            "pointwise",
            "product",
            "sound",
            "strided",
            "the same weights"
        ]
    );
    // Two numbers in a word, each row of panels and each pixel filled up to a whole number of them.
    let bytes = |name: &str| {
        let step = plan
            .steps
            .iter()
            .find(|step| step.origin.first().is_some_and(|node| node == name))
            .unwrap();
        let onnxide_codegen::plan::Base::Weight(id) = step.reads[1].base else {
            panic!("{name} has no weights");
        };
        plan.weights.entries[id.0].bytes()
    };
    assert_eq!(bytes("pointwise"), 48 * 12 * 2);
    assert_eq!(bytes("conv"), 32 * 9 * 12 * 2);
}
