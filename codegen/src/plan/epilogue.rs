//! What is done to the results of products and convolutions.

use crate::ir::{BinaryOp, DType, Dim, Expr, Literal, Scalar};

/// An expression over the result (operand 0) and further operands.
#[derive(Clone, Debug, PartialEq)]
pub struct EpilogueMap {
    /// The expression.
    pub expr: Expr,
    /// Operand `i + 1` of the expression moves this many elements per row and per column.
    pub operands: Vec<EpilogueOperand>,
    /// Whether the expression has one more operand, the last: what the place of the result holds, which is an operand whose
    /// storage the result takes over.
    pub in_place: bool,
}

impl EpilogueMap {
    /// Whether the expression uses an operand.
    pub fn uses(&self, operand: usize) -> bool {
        self.expr.nodes.iter().any(|node| node.op == Scalar::Input(operand + 1))
    }

    /// The bounds between which the result is brought, if that is all that is done to it: `min(max(result, low), high)`.
    pub fn bounds(&self) -> Option<[f32; 2]> {
        let nodes = &self.expr.nodes;
        // A bound is a constant of the type of the kernels, and a number.
        let constant = |id: usize| match nodes[id].op {
            Scalar::Const(Literal::Float(value)) if !value.is_nan() => Some(value as f32),
            _ => None,
        };
        let bound = |op: BinaryOp, id: usize| match nodes[id].op {
            Scalar::Binary(found, a, b) if found == op && nodes[id].dtype == DType::F32 => constant(a)
                .map(|bound| (b, bound))
                .or_else(|| constant(b).map(|bound| (a, bound))),
            _ => None,
        };
        let is_result = |id: usize| nodes[id].op == Scalar::Input(0);
        let (low, high) = (
            bound(BinaryOp::Max, nodes.len() - 1),
            bound(BinaryOp::Min, nodes.len() - 1),
        );
        match (low, high) {
            (Some((value, low)), _) if is_result(value) => Some([low, f32::INFINITY]),
            (_, Some((value, high))) if is_result(value) => Some([f32::NEG_INFINITY, high]),
            (_, Some((value, high))) => {
                let (inner, low) = bound(BinaryOp::Max, value)?;
                is_result(inner).then_some([low, high])
            }
            // The greater bound wins here, which is the same if it is the upper one.
            (Some((value, low)), _) => {
                let (inner, high) = bound(BinaryOp::Min, value)?;
                (is_result(inner) && low <= high).then_some([low, high])
            }
            _ => None,
        }
    }
}

/// How an operand of an epilogue follows the result.
#[derive(Clone, Debug, PartialEq)]
pub struct EpilogueOperand {
    /// The element type.
    pub dtype: DType,
    /// Elements per row.
    pub row: Dim,
    /// Whether the operand has an element per column (dense) or one per row.
    pub per_column: bool,
}
