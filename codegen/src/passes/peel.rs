//! The first thing that an expression does to an operand.

use super::pattern::compact;
use super::rewrite::Rewriter;
use crate::ir::{BinaryOp, Expr, Literal, Node, Op, Scalar, ScalarId, Tensor, ValueId};

/// The first thing that an elementwise node does to an operand, if that is one binary operation with something else
/// and the operand is used for nothing but that.
pub(super) struct Peel {
    /// The operation; the operand is its left side.
    pub(super) op: BinaryOp,
    /// The other side.
    pub(super) other: Other,
    /// The scalar node.
    pub(super) id: ScalarId,
}

/// The other side of a peeled operation.
pub(super) enum Other {
    /// A constant.
    Literal(Literal),
    /// An operand.
    Value(ValueId),
}

/// Finds what `node`, an elementwise node, does first to its operand number `operand`.
pub(super) fn peel(node: &Node, operand: usize) -> Option<Peel> {
    let Op::Elementwise { expr, .. } = &node.op else {
        return None;
    };
    if expr.reads_at(operand) {
        return None;
    }
    let input = expr.nodes.iter().position(|node| node.op == Scalar::Input(operand))?;
    let mut uses = 0;
    let mut user = None;
    for (id, node) in expr.nodes.iter().enumerate() {
        node.op.for_each_operand(|operand| {
            if operand == input {
                uses += 1;
                user = Some(id);
            }
        });
    }
    let id = user.filter(|_| uses == 1)?;
    let (op, other) = match expr.nodes[id].op {
        Scalar::Binary(op, a, b) if a == input => (op, b),
        Scalar::Binary(op, a, b) if b == input && op.is_commutative() => (op, a),
        _ => return None,
    };
    let other = match expr.nodes[other].op {
        Scalar::Const(literal) => Other::Literal(literal),
        Scalar::Input(index) => Other::Value(node.inputs[index]),
        _ => return None,
    };
    Some(Peel { op, other, id })
}

impl Rewriter<'_> {
    /// A node like the elementwise `node`, in which `value` stands for the scalar node `id`.
    pub(super) fn substitute(&mut self, node: &Node, id: ScalarId, value: ValueId) -> Option<ValueId> {
        let Op::Elementwise { expr, shape } = &node.op else {
            return None;
        };
        let mut changed: Expr = expr.clone();
        changed.nodes[id].op = Scalar::Input(node.inputs.len());
        let mut inputs = node.inputs.clone();
        inputs.push(value);
        let result = changed.result();
        let (changed, inputs) = compact(&changed.with_result(result), &inputs);
        self.elementwise(changed, inputs, shape.clone(), &node.origin)
    }

    /// The numbers along `axis` of a tensor of rank `rank` and `size` there, by which the other side of an operation
    /// acts on it: a constant that varies along no other axis.
    pub(super) fn along(&self, other: &Other, rank: usize, axis: usize, size: usize) -> Option<Vec<f32>> {
        let tensor: Tensor = match other {
            Other::Literal(Literal::Float(value)) => return Some(vec![*value as f32; size]),
            Other::Literal(_) => return None,
            Other::Value(value) => self.constant(*value)?,
        };
        let offset = rank.checked_sub(tensor.shape.len())?;
        let elsewhere = tensor
            .shape
            .iter()
            .enumerate()
            .any(|(index, &size)| index + offset != axis && size != 1);
        let values = tensor.to_vec::<f32>()?;
        match values.len() {
            _ if elsewhere => None,
            1 => Some(vec![values[0]; size]),
            count if count == size => Some(values),
            _ => None,
        }
    }
}
