//! Results that take over the storage of an operand that is added to them.
//!
//! A residual connection adds an earlier value to a product or convolution. Where nobody reads that value later, the
//! accumulators start from it and the result is written over it: one value less is alive, and none is read apart.

use super::order::ordered;
use super::{Lowering, Ref};
use crate::ir::graph::{Node, ValueId};
use crate::ir::{BinaryOp, DType, Expr, Scalar, ScalarId};

/// Where a result is written and what is left of its epilogue.
pub(super) struct Residual {
    pub(super) target: Ref,
    pub(super) expr: Option<Expr>,
    /// The operand of the epilogue whose storage the target is; it is no operand of `expr`, whose operands are
    /// numbered anew.
    pub(super) taken: Option<usize>,
}

impl Lowering<'_> {
    /// The place of the result of a node with an epilogue whose operands are `extras`.
    pub(super) fn result_or_residual(&mut self, node: &Node, extras: &[ValueId]) -> Result<Residual, String> {
        let expr = node.op.epilogue().map(|epilogue| epilogue.expr.clone());
        let accumulates = self.options.accumulate && self.graph.ty(node.inputs[0]).dtype == DType::F32;
        if let Some(expr) = expr.as_ref().filter(|_| accumulates) {
            for (index, &value) in extras.iter().enumerate() {
                let others = node.inputs.iter().filter(|&&input| input != value);
                let others: Vec<Ref> = others.map(|&input| self.operand(input)).collect();
                let once = node.inputs.iter().filter(|&&input| input == value).count() == 1;
                let apart = !self.is_streamed_from(node.outputs[0], value);
                let left = without_sum(expr, index + 1).filter(|_| once && apart);
                let operand = self.operand(value);
                let (Some(left), true) = (left, self.can_take_over(node, value, &operand, &others)) else {
                    continue;
                };
                let target = Ref {
                    layout: ordered(&self.graph.ty(node.outputs[0]).shape, &self.order(node.outputs[0])),
                    ..operand
                };
                self.refs.insert(node.outputs[0], target.clone());
                return Ok(Residual {
                    target,
                    expr: Some(renumbered(&left, index + 1)),
                    taken: Some(index),
                });
            }
        }
        Ok(Residual {
            target: self.result(node.outputs[0])?,
            expr,
            taken: None,
        })
    }
}

/// The expression without `operand`, if that occurs once, in a chain of sums that begins with the result (operand 0).
pub(super) fn without_sum(expr: &Expr, operand: usize) -> Option<Expr> {
    let uses = |wanted: ScalarId| {
        let mut count = usize::from(expr.result() == wanted);
        for node in &expr.nodes {
            node.op.for_each_operand(|id| count += usize::from(id == wanted));
        }
        count
    };
    let place = |wanted: usize| {
        let mut places = (0..expr.nodes.len()).filter(|&id| expr.nodes[id].op == Scalar::Input(wanted));
        places.next().filter(|_| places.next().is_none())
    };
    let (mut chain, other) = (place(0)?, place(operand)?);
    if uses(other) != 1 {
        return None;
    }
    while uses(chain) == 1 {
        let next = expr.nodes.iter().position(|node| match node.op {
            Scalar::Binary(BinaryOp::Add, a, b) => a == chain || b == chain,
            _ => false,
        })?;
        let Scalar::Binary(_, a, b) = expr.nodes[next].op else {
            return None;
        };
        if a == other || b == other {
            // The sum becomes what it was added to, by which everything that used the sum uses the chain.
            let mut left = Expr::empty();
            let mut map: Vec<ScalarId> = Vec::with_capacity(expr.nodes.len());
            for (id, node) in expr.nodes.iter().enumerate() {
                map.push(match id == next {
                    true => map[chain],
                    false => left.push(node.op.map_operands(|operand| map[operand]), node.dtype),
                });
            }
            return Some(left.with_result(map[expr.result()]));
        }
        chain = next;
    }
    None
}

/// The expression with the operands above `dropped` numbered one lower.
fn renumbered(expr: &Expr, dropped: usize) -> Expr {
    let mut expr = expr.clone();
    for node in &mut expr.nodes {
        if let Scalar::Input(index) = &mut node.op
            && *index > dropped
        {
            *index -= 1;
        }
    }
    expr
}
