//! Reshapes that move past elementwise nodes.

use super::rewrite::{Rewrite, Rewriter};
use crate::ir::{Dim, Graph, Node, Op, Scalar, ValueId};
use std::ops::Range;
use std::rc::Rc;

/// Moves reshapes from an operand of an elementwise node to its result where that brings the node next to a producer
/// that it can fuse with: another elementwise node, a matrix product, a convolution.
///
/// The other operands are reshaped the other way, which is possible for those that, in every group of axes that the
/// reshape merges or splits, vary along all axes of the group or along none.
///
/// Postcondition: no elementwise node without coordinates has as an operand the reshaped only use of such a producer,
/// unless another operand forbids it.
pub(super) fn run(graph: &mut Graph) -> bool {
    super::rewrite::sweep(graph, &mut |rewriter, node| match &node.op {
        Op::Elementwise { .. } => (0..node.inputs.len()).find_map(|operand| sink(rewriter, node, operand)),
        _ => None,
    })
}

fn sink(rewriter: &mut Rewriter<'_>, node: &Rc<Node>, operand: usize) -> Rewrite {
    let Op::Elementwise { expr, shape } = &node.op else {
        return None;
    };
    let reshaped = node.inputs[operand];
    let reshape = rewriter.definition(reshaped)?;
    if !matches!(reshape.op, Op::Reshape { .. }) || rewriter.uses(reshaped) != 1 || !rewriter.is_local(reshaped) {
        return None;
    }
    let source = reshape.inputs[0];
    let producer = rewriter.definition(source)?;
    let fuses = matches!(producer.op, Op::Elementwise { .. }) || producer.op.epilogue_base().is_some();
    let positional = expr.nodes.iter().any(|node| matches!(node.op, Scalar::Index(_)));
    if !fuses || rewriter.uses(source) != 1 || positional || !rewriter.same_shape(rewriter.shape(reshaped), shape) {
        return None;
    }
    let from = rewriter.shape(source).to_vec();
    let groups = groups(rewriter, &from, shape)?;
    let shapes = node
        .inputs
        .iter()
        .map(|&input| {
            if input == reshaped {
                Some(from.clone())
            } else {
                regrouped(rewriter, rewriter.shape(input), &from, shape, &groups)
            }
        })
        .collect::<Option<Vec<_>>>()?;
    let mut inputs: Vec<ValueId> = Vec::with_capacity(node.inputs.len());
    for (&input, shape) in node.inputs.iter().zip(shapes) {
        inputs.push(if input == reshaped {
            source
        } else {
            rewriter.reshaped(input, shape, &node.origin)?
        });
    }
    let value = rewriter.elementwise(expr.clone(), inputs, from, &node.origin)?;
    Some(vec![rewriter.emit(
        Op::Reshape { shape: shape.clone() },
        vec![value],
        &reshape.origin,
    )?])
}

/// Axes of one shape and the axes of another that they become.
type Group = (Range<usize>, Range<usize>);

/// Splits two shapes of equally many elements into the smallest groups of axes with equally many elements.
fn groups(rewriter: &Rewriter<'_>, from: &[Dim], to: &[Dim]) -> Option<Vec<Group>> {
    /// How many axes a group may have on one side.
    const MOST: usize = 4;
    let mut groups = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < from.len() || j < to.len() {
        let one = |shape: &[Dim], at: usize| shape.get(at).is_some_and(|size| size.is(1));
        let (m, n) = match (from.get(i), to.get(j)) {
            (Some(a), Some(b)) if rewriter.graph.dims_equal(a, b) => (1, 1),
            _ if one(from, i) => (1, 0),
            _ if one(to, j) => (0, 1),
            _ => {
                let product =
                    |shape: &[Dim], at: usize, count: usize| shape[at..at + count].iter().cloned().product::<Dim>();
                let most = (MOST.min(from.len() - i), MOST.min(to.len() - j));
                let mut sizes = (1..=most.0)
                    .flat_map(|m| (1..=most.1).map(move |n| (m, n)))
                    .collect::<Vec<_>>();
                sizes.sort_by_key(|(m, n)| m + n);
                sizes
                    .into_iter()
                    .find(|&(m, n)| rewriter.graph.dims_equal(&product(from, i, m), &product(to, j, n)))?
            }
        };
        groups.push((i..i + m, j..j + n));
        (i, j) = (i + m, j + n);
    }
    Some(groups)
}

/// The shape that an operand which broadcasts to `to` needs in order to broadcast in the same way to `from`.
fn regrouped(rewriter: &Rewriter<'_>, shape: &[Dim], from: &[Dim], to: &[Dim], groups: &[Group]) -> Option<Vec<Dim>> {
    let missing = to.len() - shape.len();
    let mut result = Vec::with_capacity(from.len());
    for (before, after) in groups {
        let size = |axis: usize| axis.checked_sub(missing).map(|axis| &shape[axis]);
        let constant = after.clone().all(|axis| size(axis).is_none_or(|size| size.is(1)));
        let varying = after
            .clone()
            .all(|axis| size(axis).is_some_and(|size| rewriter.graph.dims_equal(size, &to[axis])));
        if constant {
            result.extend(before.clone().map(|_| Dim::from(1i64)));
        } else if varying {
            result.extend(from[before.clone()].iter().cloned());
        } else {
            return None;
        }
    }
    // Without leading axes of size 1, so that an operand that fits as it is stays as it is.
    let lead = result
        .iter()
        .take_while(|size| size.is(1))
        .count()
        .min(result.len().saturating_sub(shape.len()));
    Some(result.split_off(lead))
}
