//! Control flow that is decided at build time.

use crate::ir::{Block, Graph, Literal, Node, Op, Scalar, ValueId};
use std::collections::HashMap;

/// Inlines the branch that an `If` with a constant condition takes, and moves constants out of regions.
///
/// Postcondition: no `If` has a constant condition; no region has constants.
pub(super) fn run(graph: &mut Graph) -> bool {
    let mut body = std::mem::take(&mut graph.body);
    let mut state = State::default();
    let nodes = std::mem::take(&mut body.nodes);
    body.nodes = state.nodes(nodes, 0);
    let changed = !state.hoisted.is_empty() || !state.replacements.is_empty();
    if changed {
        state.hoisted.append(&mut body.nodes);
        body.nodes = state.hoisted;
        body.replace_uses(&state.replacements);
    }
    graph.body = body;
    for (old, new) in state.replacements {
        if graph.value(new).name.is_none() {
            let name = graph.value_mut(old).name.take();
            graph.value_mut(new).name = name;
        }
    }
    changed
}

#[derive(Default)]
struct State {
    /// The conditions whose value is known.
    conditions: HashMap<ValueId, bool>,
    /// Constants of regions.
    hoisted: Vec<Node>,
    /// The results of inlined branches.
    replacements: HashMap<ValueId, ValueId>,
}

impl State {
    fn nodes(&mut self, nodes: Vec<Node>, depth: usize) -> Vec<Node> {
        let mut kept = Vec::with_capacity(nodes.len());
        for mut node in nodes {
            if let Some(value) = condition(&node) {
                self.conditions.insert(node.outputs[0], value);
            }
            match node.op {
                Op::Constant(_) if depth > 0 => self.hoisted.push(node),
                Op::If => match self.taken(&mut node) {
                    Some(branch) => {
                        self.replacements
                            .extend(node.outputs.iter().copied().zip(branch.results));
                        kept.extend(self.nodes(branch.nodes, depth));
                    }
                    None => kept.push(self.with_regions(node, depth)),
                },
                _ => kept.push(self.with_regions(node, depth)),
            }
        }
        kept
    }

    fn with_regions(&mut self, mut node: Node, depth: usize) -> Node {
        for region in &mut node.regions {
            let nodes = std::mem::take(&mut region.nodes);
            region.nodes = self.nodes(nodes, depth + 1);
        }
        node
    }

    /// The branch of an `If` whose condition is known.
    fn taken(&self, node: &mut Node) -> Option<Block> {
        let condition = *node.inputs.first()?;
        let condition = self.replacements.get(&condition).unwrap_or(&condition);
        let index = usize::from(!self.conditions.get(condition)?);
        node.regions.get_mut(index).map(std::mem::take)
    }
}

/// The value of a node that is one known truth value.
fn condition(node: &Node) -> Option<bool> {
    match &node.op {
        Op::Constant(tensor) if tensor.shape.is_empty() => tensor.to_vec::<bool>()?.first().copied(),
        Op::Elementwise { expr, shape } if shape.is_empty() => match expr.nodes[expr.result()].op {
            Scalar::Const(Literal::Bool(value)) => Some(value),
            _ => None,
        },
        _ => None,
    }
}
