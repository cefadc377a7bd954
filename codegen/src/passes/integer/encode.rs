//! Signed numbers of 8 bits that are stored without a sign, 128 greater.

use crate::ir::graph::Block;
use crate::ir::{BinaryOp, DType, Expr, Node, Op, Scalar, ScalarId, ValueId};
use crate::passes::fuse::is_encoding;
use crate::passes::rewrite::{Rewrite, Rewriter};
use std::collections::HashSet;
use std::rc::Rc;

/// The signed values of which unsigned ones are made.
pub(super) fn signed_operands(block: &Block, found: &mut HashSet<ValueId>) {
    for node in &block.nodes {
        match &node.op {
            Op::Elementwise { expr, .. } if expr.dtype() == DType::U8 && is_encoding(expr) => {
                let signed = expr.nodes.iter().filter(|node| node.dtype == DType::I8);
                found.extend(signed.filter_map(|scalar| match scalar.op {
                    Scalar::Input(index) => Some(node.inputs[index]),
                    _ => None,
                }));
            }
            _ => {}
        }
        for region in &node.regions {
            signed_operands(region, found);
        }
    }
}

/// A signed value as an unsigned one, of which it is made.
pub(super) fn unsigned(rewriter: &mut Rewriter<'_>, node: &Rc<Node>) -> Rewrite {
    let Op::Elementwise { expr, shape } = &node.op else {
        return None;
    };
    if expr.dtype() != DType::I8 || is_encoding(expr) {
        return None;
    }
    let mut computed = expr.clone();
    let bits = computed.bits(expr.result(), DType::U8);
    let result = with_other_sign(&mut computed, bits);
    let value = rewriter.elementwise(
        computed.finish(result),
        node.inputs.clone(),
        shape.clone(),
        &node.origin,
    )?;
    let mut back = Expr::empty();
    let number = back.input(0, DType::U8);
    let number = with_other_sign(&mut back, number);
    let number = back.bits(number, DType::I8);
    Some(vec![rewriter.elementwise(
        back.finish(number),
        vec![value],
        shape.clone(),
        &node.origin,
    )?])
}

/// The bits of a number of type `u8` as those of the number that is 128 more or less.
pub(in crate::passes) fn with_other_sign(expr: &mut Expr, number: ScalarId) -> ScalarId {
    let top = expr.int(128, DType::U8);
    expr.apply2(BinaryOp::Xor, number, top)
}
