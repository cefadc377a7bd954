//! Rows of quantized tables.

use super::elements::Elements;
use crate::ir::{Dim, Node, Op, ValueId};
use crate::passes::rewrite::{Rewrite, Rewriter};
use std::rc::Rc;

/// The fewest elements of a table that is worth keeping quantized.
const MIN_ELEMENTS: usize = 1 << 12;

/// Rows of what is computed of constant numbers of few bits are computed of rows of these numbers.
pub(super) fn rows(rewriter: &mut Rewriter<'_>, node: &Rc<Node>) -> Rewrite {
    let (table, indices) = (node.inputs[0], node.inputs[1]);
    let table_shape = rewriter.shape(table).to_vec();
    let elements = table_shape.iter().cloned().product::<Dim>().as_usize()?;
    if !matches!(rewriter.definition(table)?.op, Op::Elementwise { .. }) || elements < MIN_ELEMENTS {
        return None;
    }
    let Elements { expr, inputs, .. } = Elements::of(rewriter, table)?;
    let are_constants = inputs.iter().all(|&input| rewriter.constant(input).is_some());
    let is_quantized = |&input: &ValueId| {
        let ty = rewriter.ty(input);
        ty.dtype.is_int() && ty.dtype.bits() <= 8 && rewriter.same_shape(&ty.shape, &table_shape)
    };
    let is_wide = expr.dtype().bits() > 8;
    if !are_constants || !is_wide || !inputs.iter().any(is_quantized) || expr.is_positional() {
        return None;
    }
    let rank = table_shape.len();
    let mut rows = Vec::with_capacity(inputs.len());
    for &input in &inputs {
        let shape = rewriter.shape(input).to_vec();
        rows.push(match shape.first() {
            // What has no axis of rows is the same for all of them.
            Some(first) if shape.len() == rank && first.is(1) => {
                rewriter.reshaped(input, shape[1..].to_vec(), &node.origin)?
            }
            Some(_) if shape.len() == rank => rewriter.emit_like(node, node.op.clone(), vec![input, indices])?,
            _ => input,
        });
    }
    let shape = rewriter.shape(node.outputs[0]).to_vec();
    Some(vec![rewriter.elementwise(expr, rows, shape, &node.origin)?])
}
