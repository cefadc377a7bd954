//! Constant folding.

use super::pattern::compact;
use super::rewrite::{Rewrite, Rewriter};
use crate::ir::eval::eval_node;
use crate::ir::{Dim, Expr, Graph, Node, Op, Scalar, ScalarId, Tensor, ValueId};
use std::rc::Rc;

/// The most elements that operands and result of a folded view have together. Larger constants are read through the view.
const MAX_VIEW: usize = 1 << 14;
/// The most elements of a folded result.
const MAX_RESULT: usize = 1 << 26;
/// The most multiplications for a folded contraction.
const MAX_WORK: usize = 1 << 22;
/// How many times larger than its operands together a folded result may be.
const MAX_GROWTH: usize = 4;

/// Evaluates what depends on constants alone.
///
/// Postcondition: no node has only constant operands, except broadcasts, views of large constants (which would only
/// cost a copy), weights that products read as quantized numbers, control flow, and what would be much larger or take much longer than keeping it is worth; no
/// expression has a node other than the operands themselves that depends on constant operands alone.
pub(super) fn run(graph: &mut Graph) -> bool {
    super::rewrite::sweep(graph, &mut |rewriter, node| {
        if node.inputs.is_empty() || !node.regions.is_empty() || node.op.is_effect() {
            return None;
        }
        let constants: Vec<Option<Tensor>> = node.inputs.iter().map(|&input| rewriter.constant(input)).collect();
        if constants.iter().all(Option::is_some) {
            return whole(rewriter, node, &constants.into_iter().flatten().collect::<Vec<_>>());
        }
        match &node.op {
            Op::Elementwise { expr, .. } if constants.iter().any(Option::is_some) => {
                part(rewriter, node, expr, &constants)
            }
            _ => None,
        }
    })
}

fn whole(rewriter: &mut Rewriter<'_>, node: &Rc<Node>, operands: &[Tensor]) -> Rewrite {
    let mut results = 0usize;
    for &output in &node.outputs {
        let elements = rewriter.ty(output).elements().as_usize()?;
        results = results.checked_add(elements)?;
    }
    let inputs: usize = operands.iter().map(Tensor::len).sum();
    let worthwhile = match &node.op {
        Op::Broadcast { .. } | Op::Dequantize { .. } => false,
        Op::Reshape { .. } | Op::Transpose { .. } | Op::Slice { .. } => inputs + results <= MAX_VIEW,
        Op::MatMul { .. } => {
            let inner = operands[0].shape.last().copied()?;
            results.checked_mul(inner)? <= MAX_WORK
        }
        Op::Fold { domain, .. } => {
            let inner = domain.iter().cloned().product::<Dim>().as_usize()?;
            results.checked_mul(inner)? <= MAX_WORK
        }
        Op::Conv { .. } | Op::ConvTranspose { .. } | Op::Attention { .. } | Op::Recurrent { .. } => {
            results.checked_mul(operands[1].len())? <= MAX_WORK
        }
        _ => true,
    };
    if !worthwhile || results > MAX_RESULT || results > (inputs * MAX_GROWTH).max(MAX_VIEW) {
        return None;
    }
    let tensors = eval_node(&node.op, operands, &|_| None).ok()?;
    tensors
        .into_iter()
        .map(|tensor| rewriter.emit_like(node, Op::Constant(tensor), Vec::new()))
        .collect()
}

/// Evaluates the largest part of an expression that depends on constant operands alone.
fn part(rewriter: &mut Rewriter<'_>, node: &Rc<Node>, expr: &Expr, constants: &[Option<Tensor>]) -> Rewrite {
    // Literals fold without help; what counts is that some operand takes part.
    let mut known = vec![true; expr.nodes.len()];
    let mut operands = vec![false; expr.nodes.len()];
    for (id, scalar) in expr.nodes.iter().enumerate() {
        match scalar.op {
            Scalar::Input(index) => (known[id], operands[id]) = (constants[index].is_some(), true),
            Scalar::Dim(_) | Scalar::Index(_) | Scalar::At(..) => known[id] = false,
            _ => scalar.op.for_each_operand(|operand| {
                known[id] &= known[operand];
                operands[id] |= operands[operand];
            }),
        }
    }
    let foldable = |&id: &ScalarId| known[id] && operands[id] && !matches!(expr.nodes[id].op, Scalar::Input(_));
    let id = (0..expr.nodes.len()).rev().find(foldable)?;
    let (part, inputs) = compact(&expr.with_result(id), &node.inputs);
    let shape = rewriter.broadcast_shape(&inputs)?;
    let operands: Vec<Tensor> = inputs
        .iter()
        .map(|&input: &ValueId| rewriter.constant(input))
        .collect::<Option<_>>()?;
    let results = shape.iter().cloned().product::<Dim>().as_usize()?;
    if results > operands.iter().map(Tensor::len).sum() {
        return None;
    }
    let tensor = eval_node(&Op::Elementwise { expr: part, shape }, &operands, &|_| None)
        .ok()?
        .pop()?;
    let value = rewriter.emit_like(node, Op::Constant(tensor), Vec::new())?;
    Some(vec![rewriter.substitute(node, id, value)?])
}
