//! Channels of what products read with about the size of their weights.
//!
//! Xiao, Lin, Seznec, Wu, Demouth and Han, "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language
//! Models" (ICML 2023, arXiv 2211.10438): values have a few channels of large numbers, for which a scale of all is too coarse,
//! and weights have none. A channel is divided by a number that its weights are multiplied with.

use std::collections::HashMap;

use super::compute::compute;
use super::edit::Edit;
use super::layers::{Kind, Layer, definitions};
use super::options::Smooth;
use crate::ir::eval::{Observer, Symbols, evaluate_with};
use crate::ir::{BinaryOp, DType, Expr, Graph, Node, Op, Tensor, ValueId};

/// The greatest factor of a channel, and the least is its inverse: beyond, a channel that is almost zero in the samples would
/// not be ready for anything else.
const MOST: f32 = 1e3;

/// A value that products read, with a factor for each channel, by which it is divided.
struct Channels {
    value: ValueId,
    /// The products, by the number of the layer.
    readers: Vec<usize>,
    factors: Vec<f32>,
}

/// Divides what products among the layers read and multiplies their weights; the graph computes the same but for rounding.
///
/// # Errors
///
/// A sample does not suit the graph.
pub(super) fn smooth(
    graph: &mut Graph,
    layers: &[Layer],
    share: Smooth,
    samples: &[Vec<Tensor>],
) -> Result<(), String> {
    let mut found: Vec<Channels> = Vec::new();
    for (index, layer) in layers
        .iter()
        .enumerate()
        .filter(|(_, layer)| layer.kind == Kind::Product)
    {
        match found.iter_mut().find(|channels| channels.value == layer.input) {
            Some(channels) => channels.readers.push(index),
            None => found.push(Channels {
                value: layer.input,
                readers: vec![index],
                factors: vec![1.0; layer.weights.shape[0]],
            }),
        }
    }
    let mut seen = Seen {
        greatest: found
            .iter()
            .map(|channels| (channels.value, vec![0.0; channels.factors.len()]))
            .collect(),
    };
    for (index, sample) in samples.iter().enumerate() {
        evaluate_with(graph, sample, &mut seen).map_err(|error| format!("sample {index}: {error}"))?;
    }
    for channels in &mut found {
        let values = &seen.greatest[&channels.value];
        let mut weights = vec![0.0f32; values.len()];
        for &reader in &channels.readers {
            let outputs = layers[reader].outputs();
            let numbers = layers[reader].weights.to_vec::<f32>().unwrap_or_default();
            for (most, row) in weights.iter_mut().zip(numbers.chunks_exact(outputs)) {
                *most = row.iter().fold(*most, |most, weight| most.max(weight.abs()));
            }
        }
        for (factor, (&value, weight)) in channels.factors.iter_mut().zip(values.iter().zip(weights)) {
            if value > 0.0 && weight > 0.0 {
                let (value, weight) = (f64::from(value), f64::from(weight));
                let wanted = value.powf(share.get()) / weight.powf(1.0 - share.get());
                *factor = (wanted as f32).clamp(1.0 / MOST, MOST);
            }
        }
    }
    apply(graph, layers, &found);
    Ok(())
}

fn apply(graph: &mut Graph, layers: &[Layer], found: &[Channels]) {
    let places: HashMap<ValueId, usize> = {
        let nodes = graph.body.nodes.iter().enumerate();
        nodes
            .flat_map(|(place, node)| node.outputs.iter().map(move |&output| (output, place)))
            .collect()
    };
    let uses = graph.use_counts();
    let mut edit = Edit::new(graph);
    for channels in found {
        let readers: Vec<usize> = channels
            .readers
            .iter()
            .map(|&reader| places[&layers[reader].result])
            .collect();
        let is_alone = uses.get(&channels.value) == Some(&readers.len());
        let producer = places.get(&channels.value).copied().filter(|_| is_alone);
        let is_divided = producer.is_some_and(|place| divide_normalized(&mut edit, place, &channels.factors));
        let value = if is_divided {
            channels.value
        } else {
            divided(&mut edit, readers[0], channels)
        };
        for (&reader, &place) in channels.readers.iter().zip(&readers) {
            let layer = &layers[reader];
            let numbers = layer.weights.to_vec::<f32>().unwrap_or_default();
            let rows = numbers.chunks_exact(layer.outputs()).zip(&channels.factors);
            let numbers: Vec<f32> = rows
                .flat_map(|(row, factor)| row.iter().map(move |weight| weight * factor))
                .collect();
            let weights = edit.constant(place, Tensor::new(layer.weights.shape.clone(), &numbers));
            edit.node(place).inputs = vec![value, weights];
        }
    }
    edit.finish();
}

/// A value times the inverses of its factors, before the first node that reads it.
fn divided(edit: &mut Edit<'_>, place: usize, channels: &Channels) -> ValueId {
    let inverses: Vec<f32> = channels.factors.iter().map(|factor| 1.0 / factor).collect();
    let inverses = edit.constant(place, Tensor::new(vec![inverses.len()], &inverses));
    let shape = edit.graph().ty(channels.value).shape.clone();
    let product = Expr::binary(BinaryOp::Mul, DType::F32);
    edit.elementwise(place, product, &[channels.value, inverses], shape)
}

/// Divides the scale and the bias of a normalization, if these are constants with an element for each channel.
fn divide_normalized(edit: &mut Edit<'_>, place: usize, factors: &[f32]) -> bool {
    let node = &edit.graph().body.nodes[place];
    if !matches!(node.op, Op::Normalize { scale: true, .. }) {
        return false;
    }
    let definitions = definitions(edit.graph());
    let constants = node.inputs[1..].iter().map(|input| match &definitions.get(input)?.op {
        Op::Constant(tensor) if tensor.shape[..] == [factors.len()] => tensor.to_vec::<f32>(),
        _ => None,
    });
    let Some(constants) = constants.collect::<Option<Vec<Vec<f32>>>>() else {
        return false;
    };
    for (operand, numbers) in constants.into_iter().enumerate() {
        let numbers: Vec<f32> = numbers
            .iter()
            .zip(factors)
            .map(|(number, factor)| number / factor)
            .collect();
        let vector = edit.constant(place, Tensor::new(vec![numbers.len()], &numbers));
        edit.node(place).inputs[1 + operand] = vector;
    }
    true
}

/// The greatest magnitudes of channels, the last axis of values.
struct Seen {
    greatest: HashMap<ValueId, Vec<f32>>,
}

impl Observer for Seen {
    fn compute(&mut self, node: &Node, inputs: &[Tensor], dims: Symbols<'_>) -> Option<Result<Vec<Tensor>, String>> {
        compute(node, inputs, dims)
    }

    fn see(&mut self, value: ValueId, tensor: &Tensor) -> Result<(), String> {
        if let Some(greatest) = self.greatest.get_mut(&value)
            && let Some(numbers) = tensor.to_vec::<f32>()
        {
            for row in numbers.chunks_exact(greatest.len().max(1)) {
                for (most, number) in greatest.iter_mut().zip(row) {
                    *most = most.max(number.abs());
                }
            }
        }
        Ok(())
    }
}
