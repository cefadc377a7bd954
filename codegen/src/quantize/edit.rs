//! Nodes that are put before others.

use std::collections::BTreeMap;

use crate::ir::{DType, Dim, Expr, Graph, Node, Op, Tensor, TensorType, ValueId};

/// A graph with nodes that are going to be put before some of its own.
pub(super) struct Edit<'a> {
    graph: &'a mut Graph,
    added: BTreeMap<usize, Vec<Node>>,
}

impl<'a> Edit<'a> {
    pub(super) fn new(graph: &'a mut Graph) -> Edit<'a> {
        Edit {
            graph,
            added: BTreeMap::new(),
        }
    }

    /// The graph without the new nodes.
    pub(super) fn graph(&self) -> &Graph {
        self.graph
    }

    /// The node of the graph at a place.
    pub(super) fn node(&mut self, place: usize) -> &mut Node {
        &mut self.graph.body.nodes[place]
    }

    /// A node with one result, of a type, before the one at a place, of which it has the origin.
    pub(super) fn before(&mut self, place: usize, op: Op, inputs: &[ValueId], ty: TensorType) -> ValueId {
        let output = self.graph.add_value(ty, None);
        let origin = self.graph.body.nodes[place].origin.clone();
        self.added.entry(place).or_default().push(Node {
            op,
            inputs: inputs.to_vec(),
            outputs: vec![output],
            regions: Vec::new(),
            origin,
        });
        output
    }

    /// A constant before the node at a place.
    pub(super) fn constant(&mut self, place: usize, tensor: Tensor) -> ValueId {
        let shape = tensor.shape.iter().map(|&size| Dim::from(size)).collect();
        let ty = TensorType::new(tensor.dtype, shape);
        self.before(place, Op::Constant(tensor), &[], ty)
    }

    /// An elementwise node of `f32` before the node at a place.
    pub(super) fn elementwise(&mut self, place: usize, expr: Expr, inputs: &[ValueId], shape: Vec<Dim>) -> ValueId {
        let ty = TensorType::new(DType::F32, shape.clone());
        self.before(place, Op::Elementwise { expr, shape }, inputs, ty)
    }

    /// Puts the nodes where they belong.
    pub(super) fn finish(mut self) {
        let nodes = std::mem::take(&mut self.graph.body.nodes);
        for (place, node) in nodes.into_iter().enumerate() {
            self.graph
                .body
                .nodes
                .extend(self.added.remove(&place).unwrap_or_default());
            self.graph.body.nodes.push(node);
        }
    }
}
