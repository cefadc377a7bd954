//! Weights as numbers of 8 bits, and what that does to the means of results.

use super::blocks::Blocks;
use super::fit::Grid;
use super::layers::{Kind, Layer, transposed};
use crate::ir::Tensor;

/// The weights of a layer as numbers of few bits.
#[derive(Clone, Debug)]
pub(super) enum Weights {
    /// With a scale for every output.
    Outputs(Numbers),
    /// With a scale for every block of rows of an output.
    Blocks(Blocks),
}

impl Weights {
    /// Bytes of the numbers and what they are scaled with.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Weights::Outputs(numbers) => (numbers.numbers.len() + 4 * numbers.scales.len()) as u64,
            Weights::Blocks(blocks) => blocks.bytes(),
        }
    }
}

/// The greatest magnitude of a number: with -128 as well, a sum of two products would not fit the instructions of some
/// processors, and there would be no number for the opposite of one.
const GREATEST: f32 = 127.0;

/// The weights of a layer as numbers with a scale for every output.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    /// `i8` of the shape of the weights.
    pub(super) numbers: Tensor,
    /// A scale for every output.
    pub(super) scales: Vec<f32>,
    /// What rounding has added to each weight, output by output; nothing of a table, which has no means.
    errors: Vec<f32>,
}

impl Numbers {
    /// Every weight at the nearest number, with the scale at which the greatest of an output is 127.
    pub(super) fn new(layer: &Layer) -> Numbers {
        let rows = layer.rows();
        let (mut numbers, mut scales) = (Vec::with_capacity(rows.len()), Vec::new());
        let mut errors = Vec::with_capacity(rows.len());
        for row in rows.chunks_exact(rows.len() / layer.outputs()) {
            let greatest = row.iter().fold(0.0f32, |most, weight| most.max(weight.abs()));
            let scale = greatest / GREATEST;
            // An output of zeros, or almost, has no scale of its own.
            let scale = if scale.is_normal() { scale } else { 1.0 };
            scales.push(scale);
            for &weight in row {
                let number = (weight / scale).round_ties_even().clamp(-GREATEST, GREATEST);
                numbers.push(number as i8);
                errors.push(number * scale - weight);
            }
        }
        if layer.kind == Kind::Product {
            numbers = transposed(&numbers, rows.len() / layer.outputs());
        }
        Numbers {
            numbers: Tensor::new(layer.weights.shape.clone(), &numbers),
            scales,
            errors,
        }
    }

    /// The rows of a table at the nearest numbers, with the scale of the least squared error for each row.
    pub(super) fn of_table(layer: &Layer) -> Numbers {
        let rows = layer.rows();
        let (mut numbers, mut scales) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in rows.chunks_exact(rows.len() / layer.outputs()) {
            let step = Grid::Bytes.fit(row);
            scales.push(step.scale);
            numbers.extend(row.iter().map(|&weight| step.number(weight)));
        }
        Numbers {
            numbers: Tensor::new(layer.weights.shape.clone(), &numbers),
            scales,
            errors: Vec::new(),
        }
    }

    /// What the errors of the weights take from the mean of each output, if the channels of the input have these means:
    /// the bias correction of Nagel, van Baalen, Blankevoort and Welling, "Data-Free Quantization Through Weight
    /// Equalization and Bias Correction" (ICCV 2019).
    ///
    /// Padding, which has none of the mean, is not accounted for.
    pub(super) fn correction(&self, layer: &Layer, means: &[f64]) -> Vec<f32> {
        let outputs = layer.outputs();
        let depth = self.errors.len() / outputs;
        let mean = |output: usize, index: usize| match layer.kind {
            Kind::Product | Kind::Table => means[index],
            Kind::Convolution { is_depthwise: true } => means[output],
            Kind::Convolution { is_depthwise: false } => means[index / (depth / means.len())],
        };
        let rows = self.errors.chunks_exact(depth).enumerate();
        rows.map(|(output, row)| {
            let errors = row.iter().enumerate();
            let sum: f64 = errors
                .map(|(index, &error)| f64::from(error) * mean(output, index))
                .sum();
            -sum as f32
        })
        .collect()
    }
}
