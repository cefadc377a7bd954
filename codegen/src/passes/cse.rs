//! Elimination of common subexpressions.

use crate::ir::{Graph, Node, Op, Tensor, ValueId};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// How many bytes at either end of a constant its hash covers.
const HASHED_BYTES: usize = 64;

/// Merges nodes that compute the same from the same operands.
///
/// Postcondition: no two nodes with results and without regions, one visible from the other, have equal operations and operands.
/// Constants are equal if their types, shapes and bytes are.
pub(super) fn run(graph: &mut Graph) -> bool {
    let mut seen: HashMap<u64, Vec<ValueId>> = HashMap::new();
    super::rewrite::sweep(graph, &mut |rewriter, node| {
        if !node.regions.is_empty() || node.op.is_effect() {
            return None;
        }
        let same = seen.entry(hash(node)).or_default();
        // What was seen in a region that is over has no definition any more.
        let other = same
            .iter()
            .filter_map(|&value| rewriter.definition(value))
            .find(|other| other.inputs == node.inputs && equal(&other.op, &node.op));
        if other.is_none() {
            same.push(node.outputs[0]);
        }
        other.map(|other| other.outputs.clone())
    })
}

fn hash(node: &Node) -> u64 {
    let mut hasher = DefaultHasher::new();
    std::mem::discriminant(&node.op).hash(&mut hasher);
    node.inputs.hash(&mut hasher);
    match &node.op {
        Op::Constant(tensor) => {
            (tensor.dtype, &tensor.shape).hash(&mut hasher);
            let data = &tensor.data[..];
            data[..data.len().min(HASHED_BYTES)].hash(&mut hasher);
            data[data.len().saturating_sub(HASHED_BYTES)..].hash(&mut hasher);
        }
        Op::Elementwise { expr, shape } | Op::Fold { expr, shape, .. } => (expr.nodes.len(), shape).hash(&mut hasher),
        Op::Reshape { shape } | Op::Broadcast { shape } => shape.hash(&mut hasher),
        Op::Slice { starts, shape, .. } => (starts, shape).hash(&mut hasher),
        _ => {}
    }
    hasher.finish()
}

fn equal(a: &Op, b: &Op) -> bool {
    match (a, b) {
        (Op::Constant(a), Op::Constant(b)) => equal_tensors(a, b),
        _ => a == b,
    }
}

fn equal_tensors(a: &Tensor, b: &Tensor) -> bool {
    a.dtype == b.dtype
        && a.shape == b.shape
        && a.data.len() == b.data.len()
        && (a.data.as_ptr() == b.data.as_ptr() || a.data == b.data)
}
