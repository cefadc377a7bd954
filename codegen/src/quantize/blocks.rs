//! Weights in blocks of rows, each with a scale for every column.

use super::fit::{Grid, Step};
use super::gptq::Hessian;
use super::layers::{Layer, transposed};
use crate::ir::Tensor;
use onnxide_runtime::linear::{BlockFormat, packed_rhs_blocks_len};

/// Outputs whose weights are rounded beside each other, so that a row of the Hessian's factor is read once for all of them.
const OUTPUTS: usize = 16;

/// Whether the packed weights of a product in blocks take at most half of the memory of floats. Those of a few outputs do not,
/// as they are packed for a multiple of 16.
pub(super) fn pay(layer: &Layer, grid: Grid, rows: usize) -> bool {
    let outputs = layer.outputs();
    let depth = layer.weights.len() / outputs;
    let format = BlockFormat {
        bits: grid.bits(),
        rows: rows.min(depth),
        zeros: grid.has_zeros(),
    };
    2 * packed_rhs_blocks_len(depth, outputs, format) <= layer.weights.len()
}

/// The weights of a product in blocks, as the operands of [`Op::Dequantize`](crate::ir::Op::Dequantize).
#[derive(Clone, Debug)]
pub(super) struct Blocks {
    /// The rows of a block.
    pub(super) rows: usize,
    /// `i8`, `[depth, outputs]`.
    pub(super) numbers: Tensor,
    /// `f32`, `[blocks, outputs]`.
    pub(super) scales: Tensor,
    /// `i8` of the shape of the scales.
    pub(super) zeros: Option<Tensor>,
    bits: u32,
}

impl Blocks {
    /// The weights of a product in blocks of so many rows: at the nearest numbers, or with the least error of the product
    /// that the Hessian of its input tells of.
    pub(super) fn new(layer: &Layer, grid: Grid, rows: usize, hessian: Option<&Hessian>) -> Blocks {
        let weights = layer.rows();
        let outputs = layer.outputs();
        let depth = weights.len() / outputs;
        let rows = rows.min(depth);
        let (mut numbers, mut steps) = (Vec::with_capacity(weights.len()), Vec::new());
        for weights in weights.chunks(OUTPUTS * depth) {
            match hessian {
                Some(hessian) => hessian.round(weights, grid, rows, &mut numbers, &mut steps),
                None => {
                    for block in weights.chunks_exact(depth).flat_map(|output| output.chunks(rows)) {
                        let step = grid.fit(block);
                        numbers.extend(block.iter().map(|&weight| step.number(weight)));
                        steps.push(step);
                    }
                }
            }
        }
        let blocks = depth.div_ceil(rows);
        let steps: Vec<Step> = transposed(&steps, blocks);
        let scales: Vec<f32> = steps.iter().map(|step| step.scale).collect();
        let zeros: Vec<i8> = steps.iter().map(|step| step.zero).collect();
        Blocks {
            rows,
            numbers: Tensor::new(vec![depth, outputs], &transposed(&numbers, depth)),
            scales: Tensor::new(vec![blocks, outputs], &scales),
            zeros: grid.has_zeros().then(|| Tensor::new(vec![blocks, outputs], &zeros)),
            bits: grid.bits(),
        }
    }

    /// Bytes of the numbers and what they are scaled with.
    pub(super) fn bytes(&self) -> u64 {
        let numbers = (self.numbers.len() as u64 * u64::from(self.bits)).div_ceil(8);
        let zeros = self.zeros.as_ref().map_or(0, Tensor::len);
        numbers + (4 * self.scales.len() + zeros) as u64
    }
}
