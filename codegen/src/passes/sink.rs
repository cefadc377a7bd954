//! Reshapes that move past elementwise nodes.

use super::rewrite::{Rewrite, Rewriter};
use crate::ir::{Dim, Graph, Node, Op, ValueId};
use std::ops::Range;
use std::rc::Rc;

/// Moves reshapes from the operands of an elementwise node to its result.
///
/// There they meet other reshapes and cancel, and the node meets the producers of its operands, with which it can fuse.
/// The other operands are reshaped the other way, which is possible for those that, in every group of axes that the
/// reshape merges or splits, vary along all axes of the group or along none.
///
/// A reshape without other users moves if that reshapes no operand but constants, or if more operands come to stand next to a producer to
/// fuse with than are parted from one. It never moves back, so this ends.
///
/// Postcondition: no elementwise node without coordinates is the only user of a reshape to its own shape, unless the
/// other operands forbid it.
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
    if !matches!(reshape.op, Op::Reshape { .. }) || !rewriter.same_shape(rewriter.shape(reshaped), shape) {
        return None;
    }
    let uses_here = node.inputs.iter().filter(|&&input| input == reshaped).count();
    if expr.is_positional() || rewriter.uses(reshaped) as usize != uses_here {
        return None;
    }
    let from = rewriter.shape(reshape.inputs[0]).to_vec();
    let groups = groups(rewriter, &from, shape)?;
    let mut operands: Vec<Operand> = Vec::with_capacity(node.inputs.len());
    for &input in &node.inputs {
        operands.push(changed(rewriter, input, &from, shape, &groups)?);
    }
    let count = |wanted: &dyn Fn(&Operand) -> bool| operands.iter().filter(|operand| wanted(operand)).count();
    let gained = count(&|operand| matches!(operand, Operand::Freed { fuses: true, .. }));
    let lost = count(&|operand| matches!(operand, Operand::Reshaped { fuses: true, .. }));
    let only_moves = count(&|operand| matches!(operand, Operand::Reshaped { constant: false, .. })) == 0;
    if !only_moves && gained <= lost {
        return None;
    }
    let mut inputs: Vec<ValueId> = Vec::with_capacity(node.inputs.len());
    for operand in operands {
        inputs.push(match operand {
            Operand::Kept(value) | Operand::Freed { value, .. } => value,
            Operand::Reshaped { value, shape, .. } => rewriter.reshaped(value, shape, &node.origin)?,
        });
    }
    let value = rewriter.elementwise(expr.clone(), inputs, from, &node.origin)?;
    Some(vec![rewriter.emit(
        Op::Reshape { shape: shape.clone() },
        vec![value],
        &reshape.origin,
    )?])
}

/// What becomes of an operand.
enum Operand {
    /// It broadcasts as it is.
    Kept(ValueId),
    /// What it is a reshape of takes its place.
    Freed { value: ValueId, fuses: bool },
    /// It has to be reshaped.
    Reshaped {
        value: ValueId,
        shape: Vec<Dim>,
        constant: bool,
        fuses: bool,
    },
}

fn changed(rewriter: &Rewriter<'_>, input: ValueId, from: &[Dim], to: &[Dim], groups: &[Group]) -> Option<Operand> {
    let wanted = regrouped(rewriter, rewriter.shape(input), from, to, groups)?;
    if broadcasts_alike(rewriter, input, &wanted, from.len()) {
        return Some(Operand::Kept(input));
    }
    if let Some(node) = rewriter.definition(input)
        && matches!(node.op, Op::Reshape { .. })
        && broadcasts_alike(rewriter, node.inputs[0], &wanted, from.len())
    {
        let value = node.inputs[0];
        return Some(Operand::Freed {
            value,
            fuses: rewriter.uses(input) == 1 && fuses(rewriter, value),
        });
    }
    let constant = rewriter.constant(input).is_some();
    Some(Operand::Reshaped {
        value: input,
        shape: wanted,
        constant,
        fuses: fuses(rewriter, input),
    })
}

/// Whether a value broadcasts to a shape of rank `rank` as one of the shape `wanted` does: they differ in nothing but
/// leading axes of size 1.
fn broadcasts_alike(rewriter: &Rewriter<'_>, value: ValueId, wanted: &[Dim], rank: usize) -> bool {
    let shape = rewriter.shape(value);
    shape.len() <= rank && rewriter.same_shape(without_lead(shape), without_lead(wanted))
}

/// Whether a value has a producer that could fuse with its only user.
fn fuses(rewriter: &Rewriter<'_>, value: ValueId) -> bool {
    rewriter.uses(value) == 1
        && rewriter.is_local(value)
        && rewriter.definition(value).is_some_and(|node| {
            matches!(node.op, Op::Elementwise { .. } | Op::Normalize { .. }) || node.op.epilogue_base().is_some()
        })
}

/// Axes of one shape and the axes of another that they become.
pub(super) type Group = (Range<usize>, Range<usize>);

/// Splits two shapes of equally many elements into the smallest groups of axes with equally many elements.
pub(super) fn groups(rewriter: &Rewriter<'_>, from: &[Dim], to: &[Dim]) -> Option<Vec<Group>> {
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
    Some(without_lead(&result).to_vec())
}

/// A shape without its leading axes of size 1.
pub(super) fn without_lead(shape: &[Dim]) -> &[Dim] {
    let lead = shape.iter().take_while(|size| size.is(1)).count();
    &shape[lead..]
}
