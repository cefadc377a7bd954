//! Matrix products of `f32` with quantized weights.

use super::MAX_WEIGHTS;
use super::constants::scaled_weights;
use crate::ir::{DType, Node, Op, Tensor, ValueId};
use crate::passes::rewrite::{Rewrite, Rewriter};
use std::collections::HashMap;
use std::rc::Rc;

/// The fewest rows of a block, unless all rows are one: those of shorter blocks would have more bytes of parameters than
/// numbers save.
const MIN_ROWS: usize = 16;

/// What was found for the weights of products, by their value: products may share them.
pub(super) type Found = HashMap<ValueId, Option<ValueId>>;

/// Makes the right matrix of a product of `f32` numbers with scales, if that is what it stands for.
pub(super) fn matmul(rewriter: &mut Rewriter<'_>, node: &Rc<Node>, found: &mut Found) -> Rewrite {
    let right = node.inputs[1];
    let ty = rewriter.ty(right);
    let elements = ty.elements().as_usize()?;
    if ty.rank() != 2 || ty.dtype != DType::F32 || elements == 0 || elements > MAX_WEIGHTS {
        return None;
    }
    let known = found.get(&right).copied();
    // A value of an inner block is not there for a later one.
    let known = known.filter(|known| known.is_none_or(|value| rewriter.definition(value).is_some()));
    let weights = match known {
        Some(known) => known?,
        None => {
            let weights = scaled_weights(rewriter, right).and_then(|(numbers, scales)| Blocks::new(&numbers, &scales));
            let Some(weights) = weights else {
                found.insert(right, None);
                return None;
            };
            let origin = rewriter.definition(right)?;
            let mut constants = vec![weights.numbers, weights.scales];
            constants.extend(weights.zeros);
            let inputs = constants
                .into_iter()
                .map(|tensor| rewriter.emit_like(&origin, Op::Constant(tensor), Vec::new()));
            let inputs = inputs.collect::<Option<Vec<_>>>()?;
            let value = rewriter.emit_like(&origin, Op::Dequantize { rows: weights.rows }, inputs)?;
            found.insert(right, Some(value));
            value
        }
    };
    let inputs = vec![node.inputs[0], weights];
    Some(vec![rewriter.emit_like(node, node.op.clone(), inputs)?])
}

/// A matrix as the operands of [`Op::Dequantize`].
struct Blocks {
    rows: usize,
    numbers: Tensor,
    scales: Tensor,
    zeros: Option<Tensor>,
}

impl Blocks {
    /// Differences to zero points, each with its scale, as numbers of 8 or, if they fit, 4 bits. The zero points of the source
    /// are not needed: any that brings the differences of a block between the least and the greatest number is as good.
    fn new(differences: &Tensor, scales: &Tensor) -> Option<Blocks> {
        let &[k, n] = differences.shape.as_slice() else {
            return None;
        };
        let differences = differences.to_ints()?;
        let scales = scales.to_vec::<f32>()?;
        let rows = block_rows(&scales, k, n);
        if rows < MIN_ROWS && rows < k {
            return None;
        }
        let blocks = k.div_ceil(rows);
        let mut ranges = vec![(i64::MAX, i64::MIN); blocks * n];
        for (line, differences) in differences.chunks_exact(n).enumerate() {
            for ((low, high), &difference) in ranges[line / rows * n..].iter_mut().zip(differences) {
                (*low, *high) = ((*low).min(difference), (*high).max(difference));
            }
        }
        let zeros = zero_points(&ranges)?;
        let number = |(at, &difference): (usize, &i64)| {
            let zero = zeros
                .as_ref()
                .map_or(0, |zeros| i64::from(zeros[at / n / rows * n + at % n]));
            i8::try_from(difference + zero).ok()
        };
        let numbers: Vec<i8> = differences.iter().enumerate().map(number).collect::<Option<_>>()?;
        let firsts: Vec<f32> = (0..blocks * n).map(|at| scales[at / n * rows * n + at % n]).collect();
        Some(Blocks {
            rows,
            numbers: Tensor::new(vec![k, n], &numbers),
            scales: Tensor::new(vec![blocks, n], &firsts),
            zeros: zeros.map(|zeros| Tensor::new(vec![blocks, n], &zeros)),
        })
    }
}

/// The rows of the largest blocks whose scales are the same in each column, to the bit.
fn block_rows(scales: &[f32], k: usize, n: usize) -> usize {
    let lines: Vec<&[f32]> = scales.chunks_exact(n).collect();
    let same = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits());
    let starts = (1..lines.len()).filter(|&p| !same(lines[p - 1], lines[p]));
    let rows = starts.fold(0, greatest_common_divisor);
    if rows == 0 { k } else { rows }
}

fn greatest_common_divisor(mut a: usize, mut b: usize) -> usize {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Zero points with which the differences between given bounds are numbers of 4 bits, or else of 8; `Some(None)` if that is so
/// without any.
fn zero_points(ranges: &[(i64, i64)]) -> Option<Option<Vec<i8>>> {
    let within = |least: i64, most: i64| ranges.iter().all(|&(low, high)| low >= least && high <= most);
    // The zero point that moves the least difference to the least number, or 0 if that is not needed.
    let moved = |least: i64, most: i64| {
        let zero = |&(low, high): &(i64, i64)| {
            let zero = (least - low).clamp(least, most);
            (low + zero >= least && high + zero <= most).then_some(zero as i8)
        };
        ranges.iter().map(zero).collect::<Option<Vec<i8>>>()
    };
    if within(-8, 7) {
        return Some(None);
    }
    if let Some(zeros) = moved(-8, 7) {
        return Some(Some(zeros));
    }
    if within(-128, 127) {
        return Some(None);
    }
    moved(-128, 127).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_points_are_found_where_they_are_needed() {
        assert_eq!(zero_points(&[(-8, 7), (0, 3)]), Some(None));
        // Numbers 0 to 15 with zero points 0, 15 and 5.
        assert_eq!(zero_points(&[(0, 15), (-15, 0), (-5, 10)]), Some(Some(vec![-8, 7, -3])));
        assert_eq!(zero_points(&[(-128, 127), (-9, 9)]), Some(None));
        assert_eq!(zero_points(&[(0, 255), (-255, 0)]), Some(Some(vec![-128, 127])));
        assert_eq!(zero_points(&[(0, 256)]), None);
        assert_eq!(zero_points(&[(300, 301)]), None);
    }

    #[test]
    fn blocks_begin_where_scales_differ() {
        let scales = [
            [1.0f32, 2.0],
            [1.0, 2.0],
            [1.0, 3.0],
            [1.0, 3.0],
            [1.0, 3.0],
            [1.0, 3.0],
        ]
        .concat();
        assert_eq!(block_rows(&scales, 6, 2), 2);
        assert_eq!(block_rows(&[1.0; 12], 6, 2), 6);
        assert_eq!(block_rows(&[0.0, -0.0, 0.0], 3, 1), 1);
    }
}
