//! Rounding of weights with the least error of the product.
//!
//! Frantar, Ashkboos, Hoefler and Alistarh, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
//! Transformers" (ICLR 2023, arXiv 2210.17323): weights are rounded one row of the matrix after another, and what rounding
//! adds to the product is taken from the rows that are still to come. The paper has the factor of the inverse Hessian; with
//! `R R^T = H` the same numbers follow without an inverse, as those of Babai's nearest plane (Chen, Shabanzadeh, Crnčević,
//! Hoefler and Alistarh, "The Geometry of LLM Quantization", arXiv 2507.18553).

use std::collections::HashMap;

use super::cholesky;
use super::compute::{compute, gram};
use super::fit::{Grid, Step};
use super::layers::{Kind, Layer};
use crate::ir::eval::{Observer, Symbols, evaluate_with};
use crate::ir::{Graph, Node, Tensor, ValueId};

/// What is added to the diagonal of a Hessian, as a fraction of the mean of the diagonal: as in the paper.
const DAMPENING: f64 = 0.01;

/// Bytes of Hessians that there are at a time. Where all of them are larger, the samples run several times.
const MEMORY: usize = 1 << 28;

/// The longest input of a product that has a Hessian, of 2 GiB. Weights of longer ones are rounded to the nearest numbers.
const MAX_DEPTH: usize = 1 << 14;

/// What the error of a product is in terms of those of its weights: the factor of `X^T X` over all rows of the input, but for
/// a factor of two, which decides nothing.
#[derive(Debug)]
pub(super) struct Hessian {
    depth: usize,
    /// `R[i, j] / R[j, j]` above the diagonal.
    ratios: Vec<f32>,
}

impl Hessian {
    /// `None` if the matrix is not positive definite although dampened.
    fn new(mut sums: Vec<f64>, depth: usize) -> Option<Hessian> {
        let mean = sums.iter().step_by(depth + 1).sum::<f64>() / depth as f64;
        for diagonal in sums.iter_mut().step_by(depth + 1) {
            *diagonal += DAMPENING * mean;
        }
        cholesky::factor(&mut sums, depth)?;
        let pivots: Vec<f64> = sums.iter().step_by(depth + 1).copied().collect();
        let ratio = |(at, &entry): (usize, &f64)| (entry / pivots[at % depth]) as f32;
        let ratios: Vec<f32> = sums.iter().enumerate().map(ratio).collect();
        ratios
            .iter()
            .all(|ratio| ratio.is_finite())
            .then_some(Hessian { depth, ratios })
    }

    /// The weights of a block that make up for all errors before it, if its own are not rounded.
    fn expected(&self, weights: &[f32], wanted: &[f32], begin: usize) -> Vec<f32> {
        let mut found = wanted.to_vec();
        for (row, weight) in weights.iter().enumerate() {
            let difference = weight - found[row];
            let ratios = &self.ratios[(begin + row) * self.depth + begin..][row + 1..weights.len()];
            for (found, ratio) in found[row + 1..].iter_mut().zip(ratios) {
                *found += difference * ratio;
            }
        }
        found
    }

    /// Rounds the weights of some outputs, one after another, and adds the numbers and the steps of their blocks.
    ///
    /// Those of a block are chosen for the weights as they are when it begins.
    pub(super) fn round(&self, weights: &[f32], grid: Grid, rows: usize, numbers: &mut Vec<i8>, steps: &mut Vec<Step>) {
        let depth = self.depth;
        let (outputs, blocks) = (weights.len() / depth, depth.div_ceil(rows));
        let first = numbers.len();
        numbers.resize(first + weights.len(), 0);
        let first_step = steps.len();
        // The weights that make up for errors before: complete for the next row, without the part that rows between have for
        // the others.
        let mut wanted = weights.to_vec();
        for (block, begin) in (0..depth).step_by(rows).enumerate() {
            let end = depth.min(begin + rows);
            let outputs_of = weights.chunks_exact(depth).zip(wanted.chunks_exact(depth));
            let chosen: Vec<Step> = outputs_of
                .map(|(weights, wanted)| grid.fit(&self.expected(&weights[begin..end], &wanted[begin..end], begin)))
                .collect();
            if block == 0 {
                steps.resize(first_step + outputs * blocks, chosen[0]);
            }
            for (output, &step) in chosen.iter().enumerate() {
                steps[first_step + output * blocks + block] = step;
            }
            for row in begin..end {
                let ratios = &self.ratios[row * depth..][row + 1..depth];
                for (output, wanted) in wanted.chunks_exact_mut(depth).enumerate() {
                    let step = chosen[output];
                    let number = step.number(wanted[row]);
                    numbers[first + output * depth + row] = number;
                    let error = weights[output * depth + row] - step.value(number);
                    for (wanted, ratio) in wanted[row + 1..].iter_mut().zip(ratios) {
                        *wanted += error * ratio;
                    }
                }
            }
        }
    }
}

/// Calls a function with the number of every product among the layers that has a Hessian over the samples.
///
/// # Errors
///
/// A sample does not suit the graph.
pub(super) fn each_hessian(
    graph: &Graph,
    layers: &[Layer],
    samples: &[Vec<Tensor>],
    found: &mut dyn FnMut(usize, &Hessian),
) -> Result<(), String> {
    let mut inputs: Vec<(ValueId, usize)> = Vec::new();
    for layer in layers.iter().filter(|layer| layer.kind == Kind::Product) {
        let input = (layer.input, layer.weights.shape[0]);
        if input.1 <= MAX_DEPTH && !inputs.contains(&input) {
            inputs.push(input);
        }
    }
    while !inputs.is_empty() {
        let mut bytes = 0;
        let mut fits = |&(_, depth): &(ValueId, usize)| {
            bytes += 8 * depth * depth;
            bytes <= MEMORY
        };
        let count = inputs.iter().position(|input| !fits(input)).unwrap_or(inputs.len());
        let group: Vec<(ValueId, usize)> = inputs.drain(..count.max(1)).collect();
        let sums = group.iter().map(|&(input, depth)| (input, vec![0.0; depth * depth]));
        let mut seen = Seen { sums: sums.collect() };
        for (index, sample) in samples.iter().enumerate() {
            evaluate_with(graph, sample, &mut seen).map_err(|error| format!("sample {index}: {error}"))?;
        }
        for (input, depth) in group {
            let hessian = seen.sums.remove(&input).and_then(|sums| Hessian::new(sums, depth));
            let Some(hessian) = hessian else {
                continue;
            };
            for (index, layer) in layers.iter().enumerate() {
                if layer.kind == Kind::Product && layer.input == input {
                    found(index, &hessian);
                }
            }
        }
    }
    Ok(())
}

/// `X^T X` of values.
struct Seen {
    sums: HashMap<ValueId, Vec<f64>>,
}

impl Observer for Seen {
    fn compute(&mut self, node: &Node, inputs: &[Tensor], dims: Symbols<'_>) -> Option<Result<Vec<Tensor>, String>> {
        compute(node, inputs, dims)
    }

    fn see(&mut self, value: ValueId, tensor: &Tensor) -> Result<(), String> {
        if let Some(sums) = self.sums.get_mut(&value)
            && let Some(numbers) = tensor.to_vec::<f32>()
        {
            gram(&numbers, sums);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::DType;

    fn random(shape: &[usize], seed: u64) -> Vec<f32> {
        Tensor::random(DType::F32, shape.to_vec(), seed).to_vec().unwrap()
    }

    /// The dampened Hessian of `x`.
    fn sums(x: &[f32], depth: usize) -> Vec<f64> {
        let mut sums = vec![0.0; depth * depth];
        gram(x, &mut sums);
        sums
    }

    /// The inverse of a symmetric matrix, by elimination.
    fn inverse(matrix: &[f64], size: usize) -> Vec<f64> {
        let mut left = matrix.to_vec();
        let mut right: Vec<f64> = (0..size * size)
            .map(|at| f64::from(u8::from(at % (size + 1) == 0)))
            .collect();
        for pivot in 0..size {
            let factor = left[pivot * size + pivot];
            for column in 0..size {
                left[pivot * size + column] /= factor;
                right[pivot * size + column] /= factor;
            }
            for row in (0..size).filter(|row| *row != pivot) {
                let factor = left[row * size + pivot];
                for column in 0..size {
                    left[row * size + column] -= factor * left[pivot * size + column];
                    right[row * size + column] -= factor * right[pivot * size + column];
                }
            }
        }
        right
    }

    #[test]
    fn sums_of_products_are_those_of_rows() {
        let (rows, depth) = (700, 5);
        let x = random(&[rows, depth], 1);
        let found = sums(&x, depth);
        for (at, found) in found.iter().enumerate() {
            let products = x
                .chunks_exact(depth)
                .map(|row| f64::from(row[at / depth]) * f64::from(row[at % depth]));
            // 512 products below 1 are summed in `f32`.
            assert!((found - products.sum::<f64>()).abs() < 512.0 * 512.0 / f64::from(1 << 24));
        }
    }

    /// The numbers follow from the inverse of the part of the Hessian that is still to come, as Frantar et al. derive them.
    #[test]
    fn numbers_are_those_of_the_inverse() {
        let (depth, rows) = (24, 8);
        let x = random(&[40, depth], 5);
        let weights = random(&[3, depth], 6);
        let mut dampened = sums(&x, depth);
        let mean = dampened.iter().step_by(depth + 1).sum::<f64>() / depth as f64;
        dampened
            .iter_mut()
            .step_by(depth + 1)
            .for_each(|sum| *sum += DAMPENING * mean);
        let hessian = Hessian::new(sums(&x, depth), depth).unwrap();
        let (mut numbers, mut steps) = (Vec::new(), Vec::new());
        hessian.round(&weights, Grid::Halves, rows, &mut numbers, &mut steps);
        for (output, weights) in weights.chunks_exact(depth).enumerate() {
            let mut wanted: Vec<f64> = weights.iter().map(|&weight| weight.into()).collect();
            for row in 0..depth {
                let step = steps[output * (depth / rows) + row / rows];
                if row % rows == 0 {
                    let block: Vec<f32> = wanted[row..row + rows].iter().map(|&weight| weight as f32).collect();
                    let fitted = Grid::Halves.fit(&block);
                    assert!(
                        (fitted.scale / step.scale - 1.0).abs() < 1e-4 && fitted.zero == step.zero,
                        "{fitted:?} {step:?}"
                    );
                }
                let left = depth - row;
                let part: Vec<f64> = (0..left * left)
                    .map(|at| dampened[(row + at / left) * depth + row + at % left])
                    .collect();
                let inverse = inverse(&part, left);
                let number = step.number(wanted[row] as f32);
                assert_eq!(
                    numbers[output * depth + row],
                    number,
                    "{output} {row}: {} {step:?}",
                    wanted[row]
                );
                let error = wanted[row] - f64::from(step.value(number));
                for column in 0..left {
                    wanted[row + column] -= error * inverse[column] / inverse[0];
                }
            }
        }
    }

    #[test]
    fn inputs_of_zeros_have_no_hessian() {
        assert!(Hessian::new(vec![0.0; 9], 3).is_none());
        assert!(Hessian::new(vec![f64::NAN; 9], 3).is_none());
        // Of one direction alone, dampened.
        assert!(Hessian::new(vec![1.0; 9], 3).is_some());
    }
}
