//! Channels between convolutions with weights of about the same size.
//!
//! Nagel, van Baalen, Blankevoort and Welling, "Data-Free Quantization Through Weight Equalization and Bias Correction" (ICCV
//! 2019, arXiv 1906.04721): a channel between two convolutions may be divided by a number that the weights behind it are
//! multiplied with, if what is between them commutes with that.

use std::collections::HashMap;

use super::edit::Edit;
use super::layers::{Kind, Layer, definitions};
use crate::ir::{BinaryOp, DType, Expr, Graph, Literal, Op, Scalar, ScalarId, Tensor, UnaryOp, ValueId};

/// How often all pairs of convolutions are looked at.
const ROUNDS: usize = 40;

/// A factor that is this close to one changes nothing any more.
const SETTLED: f64 = 1e-3;

/// The greatest factor of a channel, and the least is its inverse: beyond, a channel of weights that are almost zero would
/// decide about the scale of all others.
const MOST: f64 = 1e3;

/// Two convolutions, of which the first alone decides what the second reads.
struct Pair {
    /// The numbers of both layers.
    layers: [usize; 2],
    /// The place of the elementwise node between them, if there is one.
    between: Option<usize>,
    /// What the channels between them are divided by.
    factors: Vec<f64>,
}

/// The weights of a convolution.
struct Filters<'a> {
    layer: &'a Layer,
    weights: Vec<f32>,
    taps: usize,
}

impl Filters<'_> {
    fn new(layer: &Layer) -> Filters<'_> {
        let weights = layer.rows();
        let taps = weights.len() / (layer.weights.shape[0] * layer.weights.shape[1]);
        Filters { layer, weights, taps }
    }

    /// The output and the channel of the input that weights with a number belong to, all taps of a filter.
    fn ends(&self, filter: usize) -> [usize; 2] {
        let channels = self.layer.weights.shape[1];
        match self.layer.kind {
            Kind::Convolution { is_depthwise: true } => [filter; 2],
            _ => [filter / channels, filter % channels],
        }
    }

    /// What a filter is multiplied with.
    fn factor(&self, filter: usize, [before, behind]: [Option<&[f64]>; 2]) -> f64 {
        let [output, channel] = self.ends(filter);
        before.map_or(1.0, |factors| factors[channel]) / behind.map_or(1.0, |factors| factors[output])
    }

    /// The greatest magnitudes for the channels of the output (side 0) or the input (side 1).
    fn ranges(&self, side: usize, count: usize, around: [Option<&[f64]>; 2]) -> Vec<f64> {
        let mut ranges = vec![0.0f64; count];
        for (filter, taps) in self.weights.chunks_exact(self.taps).enumerate() {
            let factor = self.factor(filter, around);
            let greatest = taps.iter().fold(0.0f32, |most, weight| most.max(weight.abs()));
            let range = &mut ranges[self.ends(filter)[side]];
            *range = range.max(f64::from(greatest) * factor);
        }
        ranges
    }

    /// The weights with these factors.
    fn scaled(&self, around: [Option<&[f64]>; 2]) -> Tensor {
        let filters = self.weights.chunks_exact(self.taps).enumerate();
        let weights = filters.flat_map(|(filter, taps)| {
            let factor = self.factor(filter, around);
            taps.iter().map(move |&weight| (f64::from(weight) * factor) as f32)
        });
        Tensor::new(self.layer.weights.shape.clone(), &weights.collect::<Vec<f32>>())
    }
}

/// Equalizes all pairs of convolutions among the layers of a graph, which computes the same but for rounding. Returns how many
/// there are.
pub(super) fn equalize(graph: &mut Graph, layers: &[Layer]) -> usize {
    let mut pairs = pairs(graph, layers);
    settle(&mut pairs, layers);
    let nodes = graph.body.nodes.iter().enumerate();
    let places: HashMap<ValueId, usize> = nodes
        .flat_map(|(place, node)| node.outputs.iter().map(move |&output| (output, place)))
        .collect();
    let mut edit = Edit::new(graph);
    for (index, layer) in layers.iter().enumerate() {
        let around = around(&pairs, index);
        if around.iter().any(Option::is_some) {
            scale(&mut edit, places[&layer.result], layer, around);
        }
    }
    for pair in &pairs {
        if let Some(place) = pair.between {
            divide_bounds(&mut edit, place, &pair.factors);
        }
    }
    edit.finish();
    pairs.len()
}

/// The pairs, which have no factors yet.
fn pairs(graph: &Graph, layers: &[Layer]) -> Vec<Pair> {
    let uses = graph.use_counts();
    let layers_of = layers.iter().enumerate();
    let by_result: HashMap<ValueId, usize> = layers_of.map(|(index, layer)| (layer.result, index)).collect();
    let definitions = definitions(graph);
    let nodes = graph.body.nodes.iter().enumerate();
    let places: HashMap<ValueId, usize> = nodes
        .flat_map(|(place, node)| node.outputs.iter().map(move |&output| (output, place)))
        .collect();
    let is_single = |value: ValueId| uses.get(&value) == Some(&1);
    let is_constant = |value: &ValueId| {
        let definition = definitions.get(value);
        definition.is_some_and(|node| matches!(node.op, Op::Constant(_)))
    };
    let pair = |(second, layer): (usize, &Layer)| {
        if !matches!(layer.kind, Kind::Convolution { .. }) || !is_single(layer.input) {
            return None;
        }
        let node = definitions.get(&layer.input)?;
        let (value, between) = match &node.op {
            Op::Elementwise { expr, shape } if node.inputs.len() == 1 => {
                let input = node.inputs[0];
                let is_same = graph.ty(input).shape == *shape && is_single(input);
                (is_same && commutes(expr)).then_some((input, places.get(&layer.input).copied()))?
            }
            _ => (layer.input, None),
        };
        let first = *by_result.get(&value)?;
        let has_constants = definitions.get(&value)?.inputs[2..].iter().all(is_constant);
        (matches!(layers[first].kind, Kind::Convolution { .. }) && has_constants).then(|| Pair {
            layers: [first, second],
            between,
            factors: vec![1.0; layers[first].outputs()],
        })
    };
    layers.iter().enumerate().filter_map(pair).collect()
}

/// The factors of the channels before and behind a layer.
fn around(pairs: &[Pair], layer: usize) -> [Option<&[f64]>; 2] {
    [1, 0].map(|side| {
        let pair = pairs.iter().find(|pair| pair.layers[side] == layer);
        pair.map(|pair| &pair.factors[..])
    })
}

/// Finds the factors with which both sides of every channel have the same range.
fn settle(pairs: &mut [Pair], layers: &[Layer]) {
    let filters = layers.iter().enumerate().filter(|(index, _)| {
        let mut both = pairs.iter().flat_map(|pair| pair.layers);
        both.any(|layer| layer == *index)
    });
    let filters: HashMap<usize, Filters<'_>> = filters.map(|(index, layer)| (index, Filters::new(layer))).collect();
    for _ in 0..ROUNDS {
        let mut most = 0.0f64;
        for index in 0..pairs.len() {
            let count = pairs[index].factors.len();
            let [before, behind] = [0, 1].map(|side| {
                let layer = pairs[index].layers[side];
                filters[&layer].ranges(side, count, around(pairs, layer))
            });
            let factors = pairs[index].factors.iter_mut();
            for (factor, (before, behind)) in factors.zip(before.into_iter().zip(behind)) {
                if before > 0.0 && behind > 0.0 {
                    let wanted = (*factor * (before / behind).sqrt()).clamp(1.0 / MOST, MOST);
                    most = most.max((wanted / *factor).ln().abs());
                    *factor = wanted;
                }
            }
        }
        if most < SETTLED {
            break;
        }
    }
}

/// Multiplies the weights of a convolution by the factors before it, and divides them and its bias by those behind it.
fn scale(edit: &mut Edit<'_>, place: usize, layer: &Layer, around: [Option<&[f64]>; 2]) {
    let weights = edit.constant(place, Filters::new(layer).scaled(around));
    edit.node(place).inputs[1] = weights;
    if let (Some(&bias), Some(factors)) = (edit.node(place).inputs.get(2), around[1]) {
        let inverses: Vec<f32> = factors.iter().map(|&factor| (1.0 / factor) as f32).collect();
        let inverses = edit.constant(place, Tensor::new(vec![inverses.len()], &inverses));
        let shape = edit.graph().ty(bias).shape.clone();
        let product = Expr::binary(BinaryOp::Mul, DType::F32);
        edit.node(place).inputs[2] = edit.elementwise(place, product, &[bias, inverses], shape);
    }
}

/// Which nodes of an expression are divided by a positive number if the operand and some constants are.
fn homogeneous(expr: &Expr) -> Vec<bool> {
    let mut found = Vec::with_capacity(expr.nodes.len());
    for node in &expr.nodes {
        let is_constant = |id: ScalarId| matches!(expr.nodes[id].op, Scalar::Const(Literal::Float(_)));
        let is_homogeneous = node.dtype == DType::F32
            && match node.op {
                Scalar::Input(_) | Scalar::Const(Literal::Float(_)) => true,
                Scalar::Unary(UnaryOp::Neg | UnaryOp::Abs, x) => found[x],
                Scalar::Binary(BinaryOp::Add | BinaryOp::Sub | BinaryOp::Max | BinaryOp::Min, a, b) => {
                    found[a] && found[b]
                }
                Scalar::Binary(BinaryOp::Mul, a, b) => (is_constant(a) && found[b]) || (is_constant(b) && found[a]),
                Scalar::Binary(BinaryOp::Div, a, b) => is_constant(b) && found[a],
                // A comparison has the same truth where both sides are divided.
                Scalar::Select(condition, a, b) => {
                    let sides = match expr.nodes[condition].op {
                        Scalar::Binary(op, a, b) if op.is_comparison() => found[a] && found[b],
                        _ => false,
                    };
                    sides && found[a] && found[b]
                }
                _ => false,
            };
        found.push(is_homogeneous);
    }
    found
}

/// Whether a function of one value commutes with the division of a channel, where constants become vectors.
fn commutes(expr: &Expr) -> bool {
    homogeneous(expr).last() == Some(&true)
}

/// The function of a value whose channels have been divided by factors: constants that numbers are compared with, or added to
/// them, are divided, too, and have an element for each channel.
fn divide_bounds(edit: &mut Edit<'_>, place: usize, factors: &[f64]) {
    let node = edit.node(place);
    let Op::Elementwise { expr, shape } = &node.op else {
        return;
    };
    let (rank, mut inputs) = (shape.len(), node.inputs.clone());
    let mut divided = Expr::empty();
    let mut vectors = Vec::new();
    let is_constant = |id: ScalarId| matches!(expr.nodes[id].op, Scalar::Const(_));
    // What each node becomes; that of a constant is made where it is read as what is divided.
    let mut map: Vec<ScalarId> = Vec::with_capacity(expr.nodes.len());
    let needed = needed(expr);
    for (id, node) in expr.nodes.iter().enumerate() {
        let new = match node.op {
            Scalar::Const(Literal::Float(bound)) if needed[id] && bound != 0.0 => {
                let bounds: Vec<f32> = factors.iter().map(|factor| (bound / factor) as f32).collect();
                vectors.push(bounds);
                divided.input(vectors.len(), DType::F32)
            }
            Scalar::Binary(op @ (BinaryOp::Mul | BinaryOp::Div), a, b) if is_constant(a) || is_constant(b) => {
                let (first_is_factor, factor) = if is_constant(b) { (false, b) } else { (true, a) };
                let factor = divided.push(expr.nodes[factor].op.clone(), DType::F32);
                match first_is_factor {
                    true => divided.push(Scalar::Binary(op, factor, map[b]), DType::F32),
                    false => divided.push(Scalar::Binary(op, map[a], factor), DType::F32),
                }
            }
            ref op => divided.push(op.map_operands(|operand| map[operand]), node.dtype),
        };
        map.push(new);
    }
    let Some(&result) = map.last() else {
        return;
    };
    let expr = divided.finish(result);
    for bounds in vectors {
        let mut sizes = vec![1; rank];
        sizes[1] = bounds.len();
        inputs.push(edit.constant(place, Tensor::new(sizes, &bounds)));
    }
    let node = edit.node(place);
    node.inputs = inputs;
    if let Op::Elementwise { expr: old, .. } = &mut node.op {
        *old = expr;
    }
}

/// Which nodes are read as what is divided, rather than as a factor.
fn needed(expr: &Expr) -> Vec<bool> {
    let is_constant = |id: ScalarId| matches!(expr.nodes[id].op, Scalar::Const(_));
    let mut needed = vec![false; expr.nodes.len()];
    if let Some(last) = needed.last_mut() {
        *last = true;
    }
    for id in (0..expr.nodes.len()).rev() {
        if !needed[id] {
            continue;
        }
        match expr.nodes[id].op {
            Scalar::Binary(BinaryOp::Mul | BinaryOp::Div, a, b) if is_constant(b) => needed[a] = true,
            Scalar::Binary(BinaryOp::Mul, a, b) if is_constant(a) => needed[b] = true,
            ref op => op.for_each_operand(|operand| needed[operand] = true),
        }
    }
    needed
}
