//! Which products, convolutions and tables are quantized, and which values share a scale.

use std::collections::HashMap;

use crate::ir::eval::eval_node;
use crate::ir::{DType, Graph, Node, Op, Tensor, ValueId};

/// The most elements of constant weights.
const MAX_WEIGHTS: usize = 1 << 26;

/// The longest sum of products of `u8` with `i8` that is within 32 bits, whatever the numbers are.
const MAX_DEPTH: usize = i32::MAX as usize / (255 * 127);

/// The fewest elements of weights that are quantized alone: fewer save less than 16 KiB.
const MIN_WEIGHTS: usize = 1 << 12;

/// A product or a convolution with constant weights, or rows of a constant table.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    /// The name of the node in the model.
    pub(super) name: String,
    /// What is computed.
    pub(super) kind: Kind,
    /// The value that the weights are multiplied with, or the numbers of the rows of a table.
    pub(super) input: ValueId,
    /// The result.
    pub(super) result: ValueId,
    /// `[outputs, ...]` of a convolution, `[depth, outputs]` of a product, `[rows, ...]` of a table.
    pub(super) weights: Tensor,
}

/// What a [`Layer`] computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A matrix product.
    Product,
    /// A convolution of one group, or with one channel per group.
    Convolution {
        /// Whether there is one channel per group.
        is_depthwise: bool,
    },
    /// Rows that are gathered from a table.
    Table,
}

impl Kind {
    /// The name in reports.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Product => "matmul",
            Kind::Convolution { is_depthwise: false } => "conv",
            Kind::Convolution { is_depthwise: true } => "depthwise conv",
            Kind::Table => "gather",
        }
    }
}

impl Layer {
    /// The number of outputs, or rows of a table, which have a scale each.
    pub(super) fn outputs(&self) -> usize {
        match self.kind {
            Kind::Product => self.weights.shape[1],
            Kind::Convolution { .. } | Kind::Table => self.weights.shape[0],
        }
    }

    /// The weights of an output, or a row of a table, one after another.
    pub(super) fn rows(&self) -> Vec<f32> {
        let values = self.weights.to_vec::<f32>().unwrap_or_default();
        match self.kind {
            Kind::Convolution { .. } | Kind::Table => values,
            Kind::Product => transposed(&values, self.outputs()),
        }
    }
}

/// The matrix with so many columns, column by column.
pub(super) fn transposed<T: Copy>(values: &[T], columns: usize) -> Vec<T> {
    let column = |column: usize| values.iter().skip(column).step_by(columns.max(1)).copied();
    (0..columns).flat_map(column).collect()
}

/// The layers outside of branches and loops, in the order of the graph.
pub(super) fn find(graph: &Graph) -> Vec<Layer> {
    let definitions = definitions(graph);
    let layers = graph.body.nodes.iter().enumerate();
    layers
        .filter_map(|(index, node)| layer(graph, &definitions, node, index))
        .collect()
}

/// The products and tables outside of branches and loops whose weights alone can be quantized, in the order of the graph.
///
/// Those that are quantized in the model already are none of them, nor are those with fewer than 4096 elements.
pub(super) fn find_weights(graph: &Graph) -> Vec<Layer> {
    let definitions = definitions(graph);
    let is_quantized = |value: ValueId| {
        let definition = definitions.get(&value);
        definition.is_some_and(|node| matches!(node.op, Op::Dequantize { .. }))
    };
    let layers = graph.body.nodes.iter().enumerate();
    let layers = layers.filter_map(|(index, node)| match &node.op {
        Op::MatMul { .. } if is_quantized(node.inputs[1]) => None,
        Op::MatMul { .. } => layer(graph, &definitions, node, index),
        Op::Gather { axis: 0 } => table(&definitions, node, index),
        _ => None,
    });
    layers.filter(|layer| layer.weights.len() >= MIN_WEIGHTS).collect()
}

/// Whether weights that alone are quantized are in a graph.
pub(super) fn has_dequantized(graph: &Graph) -> bool {
    let nodes = graph.body.nodes.iter();
    nodes.into_iter().any(|node| matches!(node.op, Op::Dequantize { .. }))
}

/// Whether products or convolutions of integers of 8 bits are in a graph.
pub(super) fn has_integers(graph: &Graph) -> bool {
    let is_integer = |node: &Node| match node.op {
        Op::MatMul { .. } | Op::Conv { .. } => graph.ty(node.inputs[0]).dtype == DType::U8,
        _ => false,
    };
    graph.body.nodes.iter().any(is_integer)
}

/// The nodes of the body by their results.
pub(super) fn definitions(graph: &Graph) -> HashMap<ValueId, &Node> {
    let nodes = graph.body.nodes.iter();
    nodes
        .flat_map(|node| node.outputs.iter().map(move |&output| (output, node)))
        .collect()
}

fn layer(graph: &Graph, definitions: &HashMap<ValueId, &Node>, node: &Node, index: usize) -> Option<Layer> {
    let kind = match &node.op {
        Op::MatMul { epilogue: None } => Kind::Product,
        Op::Conv {
            window,
            groups,
            epilogue: None,
            ..
        } => {
            let is_single = |value: ValueId| graph.ty(value).shape[1].is(*groups as i64);
            let is_depthwise = is_single(node.inputs[0]) && is_single(node.outputs[0]);
            if !(1..=2).contains(&window.kernel.len()) || !(*groups == 1 || is_depthwise) {
                return None;
            }
            Kind::Convolution { is_depthwise }
        }
        _ => return None,
    };
    let input = node.inputs[0];
    // What depends on constants alone is folded, or too large for it.
    let is_constant = |value: ValueId| {
        let definition = definitions.get(&value);
        definition.is_some_and(|node| matches!(node.op, Op::Constant(_)))
    };
    if graph.ty(input).dtype != DType::F32 || is_constant(input) {
        return None;
    }
    let weights = constant(definitions, node.inputs[1])?;
    let values = weights.to_vec::<f32>()?;
    let depth = match (kind, &weights.shape[..]) {
        (Kind::Product, &[depth, _]) => depth,
        (Kind::Convolution { .. }, &[outputs, ..]) => values.len().checked_div(outputs)?,
        _ => return None,
    };
    let is_sound = (1..=MAX_DEPTH).contains(&depth) && values.iter().all(|value| value.is_finite());
    (is_sound && (1..=MAX_WEIGHTS).contains(&values.len())).then(|| Layer {
        name: name(node, kind, index),
        kind,
        input,
        result: node.outputs[0],
        weights,
    })
}

/// The name of a node in the model, or one that its place in the graph gives it.
fn name(node: &Node, kind: Kind, index: usize) -> String {
    match node.origin.first() {
        Some(name) => name.clone(),
        None => format!("{} {index}", kind.name()),
    }
}

fn table(definitions: &HashMap<ValueId, &Node>, node: &Node, index: usize) -> Option<Layer> {
    let weights = match &definitions.get(&node.inputs[0])?.op {
        Op::Constant(tensor) if tensor.dtype == DType::F32 && tensor.shape.len() >= 2 => tensor.clone(),
        _ => return None,
    };
    let is_sound = weights.to_vec::<f32>()?.iter().all(|value| value.is_finite());
    is_sound.then(|| Layer {
        name: name(node, Kind::Table, index),
        kind: Kind::Table,
        input: node.inputs[1],
        result: node.outputs[0],
        weights,
    })
}

/// The constant behind a value, through a transposition of a matrix, or what quantized constants stand for.
fn constant(definitions: &HashMap<ValueId, &Node>, value: ValueId) -> Option<Tensor> {
    let node = definitions.get(&value)?;
    match &node.op {
        Op::Constant(tensor) if tensor.dtype == DType::F32 => Some(tensor.clone()),
        Op::Transpose { permutation } if permutation[..] == [1, 0] => {
            let tensor = constant(definitions, node.inputs[0])?;
            let &[rows, columns] = tensor.shape.as_slice() else {
                return None;
            };
            let values = transposed(&tensor.to_vec::<f32>()?, columns);
            Some(Tensor::new(vec![columns, rows], &values))
        }
        // Weights that alone are quantized in the model.
        Op::Dequantize { .. } => {
            let operand = |input: &ValueId| match &definitions.get(input)?.op {
                Op::Constant(tensor) => Some(tensor.clone()),
                _ => None,
            };
            let operands: Vec<Tensor> = node.inputs.iter().map(operand).collect::<Option<_>>()?;
            eval_node(&node.op, &operands, &|_| None).ok()?.into_iter().next()
        }
        _ => None,
    }
}

/// Whether an operation only moves elements, so that bytes may be moved in their place.
pub(super) fn moves(op: &Op) -> bool {
    matches!(
        op,
        Op::Reshape { .. } | Op::Transpose { .. } | Op::Slice { .. } | Op::Concat { .. }
    )
}

/// Which values have one scale: what is only moved has that of what it was moved from.
pub(super) struct Scales {
    /// A value that stands for all with the scale.
    leaders: HashMap<ValueId, ValueId>,
    /// The values whose elements are quantized, in order of their numbers.
    pub(super) sources: Vec<ValueId>,
}

impl Scales {
    /// The scales of the inputs of layers.
    pub(super) fn new(graph: &Graph, layers: &[Layer]) -> Scales {
        let definitions = definitions(graph);
        let mut scales = Scales {
            leaders: HashMap::new(),
            sources: Vec::new(),
        };
        let mut pending: Vec<ValueId> = layers.iter().map(|layer| layer.input).collect();
        while let Some(value) = pending.pop() {
            if scales.leaders.contains_key(&value) && scales.sources.binary_search(&value).is_ok() {
                continue;
            }
            scales.leaders.entry(value).or_insert(value);
            match definitions.get(&value) {
                Some(node) if moves(&node.op) => {
                    for &input in &node.inputs {
                        let is_new = !scales.leaders.contains_key(&input);
                        scales.join(value, input);
                        if is_new {
                            pending.push(input);
                        }
                    }
                }
                _ => {
                    if let Err(place) = scales.sources.binary_search(&value) {
                        scales.sources.insert(place, value);
                    }
                }
            }
        }
        scales
    }

    /// The value that stands for all with the scale of a value, if it has one.
    pub(super) fn leader(&self, value: ValueId) -> Option<ValueId> {
        let mut leader = *self.leaders.get(&value)?;
        while self.leaders[&leader] != leader {
            leader = self.leaders[&leader];
        }
        Some(leader)
    }

    fn join(&mut self, a: ValueId, b: ValueId) {
        self.leaders.entry(b).or_insert(b);
        if let (Some(a), Some(b)) = (self.leader(a), self.leader(b)) {
            self.leaders.insert(a.max(b), a.min(b));
        }
    }
}
