//! Simplification of elementwise nodes.

use super::expr::{recognize_activations, simplify};
use super::pattern::compact;
use super::rewrite::{Rewrite, Rewriter};
use super::sink::without_lead;
use crate::ir::{Dim, Expr, Graph, Node, Op, Scalar, ValueId};
use std::rc::Rc;

/// Simplifies the expressions of elementwise nodes, of folds and of epilogues.
///
/// Postcondition: expressions are [simple](simplify); operands are distinct, used, neither broadcasts nor the same
/// value everywhere; no elementwise node is the identity of its operand; none computes the same element more than once
/// because all operands are smaller than its shape.
pub(super) fn run(graph: &mut Graph) -> bool {
    super::rewrite::sweep(graph, &mut |rewriter, node| match &node.op {
        Op::Elementwise { .. } => elementwise(rewriter, node),
        Op::Fold { .. } => fold(rewriter, node),
        op if op.epilogue().is_some() => epilogue(rewriter, node),
        _ => None,
    })
}

fn elementwise(rewriter: &mut Rewriter<'_>, node: &Rc<Node>) -> Rewrite {
    let Op::Elementwise { expr, shape } = &node.op else {
        return None;
    };
    let inputs: Vec<ValueId> = node
        .inputs
        .iter()
        .enumerate()
        .map(|(number, &input)| match expr.reads_at(number) {
            true => input,
            false => unbroadcast(rewriter, input, shape.len()),
        })
        .collect();
    let mut simple = simplify(expr, shape, &|index| rewriter.splat(inputs[index]));
    if let Some(better) = recognize_activations(&simple) {
        simple = better;
    }
    let (simple, inputs) = compact(&simple, &inputs);
    if let (Scalar::Input(0), [input]) = (&simple.nodes[simple.result()].op, inputs.as_slice()) {
        let same = rewriter.same_shape(rewriter.shape(*input), shape);
        let value = if same {
            *input
        } else {
            rewriter.emit_like(node, Op::Broadcast { shape: shape.clone() }, vec![*input])?
        };
        return Some(vec![value]);
    }
    if let Some(small) = smaller_shape(rewriter, &simple, &inputs, shape) {
        let value = rewriter.elementwise(simple, inputs, small, &node.origin)?;
        return Some(vec![rewriter.emit_like(
            node,
            Op::Broadcast { shape: shape.clone() },
            vec![value],
        )?]);
    }
    if simple == *expr && inputs == node.inputs {
        return None;
    }
    Some(vec![rewriter.elementwise(
        simple,
        inputs,
        shape.clone(),
        &node.origin,
    )?])
}

fn fold(rewriter: &mut Rewriter<'_>, node: &Rc<Node>) -> Rewrite {
    let Op::Fold {
        expr, shape, domain, ..
    } = &node.op
    else {
        return None;
    };
    let axes = [shape.as_slice(), domain].concat();
    let simple = simplify(expr, &axes, &|index| rewriter.splat(node.inputs[index]));
    let (simple, inputs) = compact(&simple, &node.inputs);
    if simple == *expr && inputs == node.inputs {
        return None;
    }
    let mut op = node.op.clone();
    if let Op::Fold { expr, .. } = &mut op {
        *expr = simple;
    }
    Some(vec![rewriter.emit_like(node, op, inputs)?])
}

/// The shape that operands broadcast to, if there are any and elements of `shape` repeat because it is larger.
fn smaller_shape(rewriter: &Rewriter<'_>, expr: &Expr, inputs: &[ValueId], shape: &[Dim]) -> Option<Vec<Dim>> {
    if expr.is_positional() || inputs.is_empty() {
        return None;
    }
    let small = rewriter.broadcast_shape(inputs)?;
    let (lead, tail) = shape.split_at(shape.len() - small.len());
    let fills = lead.iter().all(|size| size.is(1)) && rewriter.same_shape(&small, tail);
    (!fills).then_some(small)
}

/// The value before it was broadcast, or before leading axes of size 1 were added or removed: elementwise operations
/// broadcast themselves.
fn unbroadcast(rewriter: &Rewriter<'_>, mut value: ValueId, rank: usize) -> ValueId {
    let core = |value: ValueId| without_lead(rewriter.shape(value));
    while let Some(node) = rewriter.definition(value) {
        let same = match node.op {
            Op::Broadcast { .. } => true,
            Op::Reshape { .. } => {
                let source = node.inputs[0];
                rewriter.shape(source).len() <= rank && rewriter.same_shape(core(source), core(value))
            }
            _ => false,
        };
        if !same {
            break;
        }
        value = node.inputs[0];
    }
    value
}

fn epilogue(rewriter: &mut Rewriter<'_>, node: &Rc<Node>) -> Rewrite {
    let (old, base) = (node.op.epilogue()?, node.op.epilogue_base()?);
    let shape = rewriter.shape(node.outputs[0]).to_vec();
    let further: Vec<ValueId> = node.inputs[base..]
        .iter()
        .map(|&input| unbroadcast(rewriter, input, shape.len()))
        .collect();
    let literal = |index: usize| {
        if index == 0 {
            None
        } else {
            rewriter.splat(further[index - 1])
        }
    };
    let mut simple = simplify(&old.expr, &shape, &literal);
    if let Some(better) = recognize_activations(&simple) {
        simple = better;
    }
    // Operand 0, the result of the operation itself, has no value of its own; its number stays 0.
    let mut kept: Vec<ValueId> = Vec::new();
    let mut renumbered = crate::ir::Expr::empty();
    let id = renumbered.append(&simple, simple.result(), &mut |out, index, dtype| {
        let number = match index.checked_sub(1) {
            None => 0,
            Some(index) => {
                let place = kept
                    .iter()
                    .position(|&input| input == further[index])
                    .unwrap_or_else(|| {
                        kept.push(further[index]);
                        kept.len() - 1
                    });
                place + 1
            }
        };
        out.input(number, dtype)
    });
    let simple = renumbered.finish(id);
    if simple == old.expr && kept == node.inputs[base..] {
        return None;
    }
    let mut op = node.op.clone();
    let identity = matches!(simple.nodes[simple.result()].op, Scalar::Input(0));
    *op.epilogue_mut()? = (!identity).then_some(crate::ir::Epilogue { expr: simple });
    let mut inputs = node.inputs[..base].to_vec();
    inputs.extend(kept);
    Some(vec![rewriter.emit_like(node, op, inputs)?])
}
