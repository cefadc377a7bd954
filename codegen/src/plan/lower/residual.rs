//! Results that take over the storage of an operand of their epilogue.
//!
//! A residual connection adds an earlier value to a product or convolution. Where nobody reads that value later, the
//! accumulators start from it and the result is written over it: one value less is alive, and none is read apart. What is
//! made of sums of integers may be of any function of the value, each element of which is read just before it is written.

use super::order::ordered;
use super::{Lowering, Ref};
use crate::ir::graph::{Node, ValueId};
use crate::ir::{BinaryOp, DType, Expr, Scalar, ScalarId};

/// Where a result is written and what is left of its epilogue.
pub(super) struct Residual {
    pub(super) target: Ref,
    pub(super) expr: Option<Expr>,
    /// The operand of the epilogue whose storage the target is.
    pub(super) taken: Option<Taken>,
}

/// How an operand of an epilogue is taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Accumulators start from it. It is no operand of what is left of the expression, whose operands are numbered anew.
    Added(usize),
    /// The expression reads it where the result is written. It is the last operand of the expression.
    Updated(usize),
}

impl Taken {
    /// The number of the operand.
    pub(super) fn operand(self) -> usize {
        match self {
            Taken::Added(index) | Taken::Updated(index) => index,
        }
    }
}

impl Lowering<'_> {
    /// The place of the result of a node with an epilogue whose operands are `extras`.
    pub(super) fn result_or_residual(&mut self, node: &Node, extras: &[ValueId]) -> Result<Residual, String> {
        let expr = node.op.epilogue().map(|epilogue| epilogue.expr.clone());
        let is_f32 = self.graph.ty(node.inputs[0]).dtype == DType::F32;
        if let Some(expr) = expr.as_ref().filter(|_| self.options.accumulate) {
            for (index, &value) in extras.iter().enumerate() {
                let others = node.inputs.iter().filter(|&&input| input != value);
                let others: Vec<Ref> = others.map(|&input| self.operand(input)).collect();
                let once = node.inputs.iter().filter(|&&input| input == value).count() == 1;
                let apart = !self.is_streamed_from(node.outputs[0], value);
                let left = match is_f32 {
                    true => without_sum(expr, index + 1)
                        .map(|left| (renumbered(&left, index + 1, None), Taken::Added(index))),
                    // An element that is read at a computed place may have been written over.
                    false => (expr.reads_element(index + 1) && !expr.reads_at(index + 1))
                        .then(|| (renumbered(expr, index + 1, Some(extras.len())), Taken::Updated(index))),
                };
                let operand = self.operand(value);
                let left = left.filter(|_| once && apart && self.can_take_over(node, value, &operand, &others));
                let Some((left, taken)) = left else {
                    continue;
                };
                let target = Ref {
                    layout: ordered(&self.graph.ty(node.outputs[0]).shape, &self.order(node.outputs[0])),
                    ..operand
                };
                self.refs.insert(node.outputs[0], target.clone());
                return Ok(Residual {
                    target,
                    expr: Some(left),
                    taken: Some(taken),
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

/// The expression with the operands above `moved` numbered one lower, and that one as given.
fn renumbered(expr: &Expr, moved: usize, number: Option<usize>) -> Expr {
    let mut expr = expr.clone();
    for node in &mut expr.nodes {
        if let Scalar::Input(index) = &mut node.op {
            match number {
                Some(number) if *index == moved => *index = number,
                _ if *index > moved => *index -= 1,
                _ => {}
            }
        }
    }
    expr
}
