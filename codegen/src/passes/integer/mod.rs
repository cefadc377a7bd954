//! Products of quantized tensors, as products of integers of 8 bits.

mod blocks;
mod constants;
mod conv;
mod elements;
mod encode;
mod gather;
mod matmul;
mod pool;

pub(super) use encode::with_other_sign;
pub(super) use pool::sees_something;

use crate::ir::{Graph, Op};
use std::collections::{HashMap, HashSet};

/// The most elements of constant weights.
const MAX_WEIGHTS: usize = 1 << 26;

/// Makes products of differences to zero points, of 8-bit numbers on the left and of constants on the right, products of
/// unsigned with signed numbers of 8 bits, which there are instructions for:
///
/// - in `i32`, `(a - z) w`, where the columns of `w` span at most 255;
/// - in `f32`, `((a - z) s) (w t)`, where `s` is the same along a row and `t` along a column, `z` is of 8 bits, and no sum of
///   products of integers is beyond 32 bits; it is then multiplied by `s t`, so that nothing is rounded before.
///
/// What is missing, `z` times the sums of the columns of `w`, is subtracted from the result. Signed numbers on the left become
/// unsigned by adding 128 to them and to their zero point. Columns of `w` that do not fit in 8 signed bits are shifted, and
/// the sums of the rows on the left times the shift added to the result.
///
/// Convolutions over one or two axes, of one group or with one channel per group, are the same with filters as columns and one
/// zero point and scale for the image. Where that is padded, its zero point is a constant, which then is in the padding;
/// filters fit in 8 signed bits.
///
/// Averages of such numbers over windows are convolutions with filters of ones, and their maxima those of the numbers. Signed numbers that are computed elementwise,
/// and of which unsigned ones are made, are computed without a sign; those who need the sign change it back.
///
/// Where the left matrix is of `f32` and the weights are `w t` of 8-bit differences, `t` the same in blocks of rows of a column,
/// the product is left as it is, and its weights become a [dequantization](Op::Dequantize) of constants.
///
/// Rows that are gathered from a table, which is computed elementwise of constant 8-bit numbers, are computed of gathered rows of
/// these numbers.
///
/// Postcondition: no matrix product, convolution, average or maximum of these forms is left whose weights are of at most
/// [`MAX_WEIGHTS`] elements and constant, or a few operations away from constants, and no signed value that is computed
/// elementwise has an operand of these as its encoding.
pub(super) fn run(graph: &mut Graph) -> bool {
    let mut signed = HashSet::new();
    encode::signed_operands(&graph.body, &mut signed);
    let mut found = HashMap::new();
    super::rewrite::sweep(graph, &mut |rewriter, node| match &node.op {
        Op::MatMul { epilogue: None } => {
            matmul::matmul(rewriter, node).or_else(|| blocks::matmul(rewriter, node, &mut found))
        }
        Op::Conv { epilogue: None, .. } => conv::conv(rewriter, node),
        Op::Pool { .. } => pool::average(rewriter, node).or_else(|| pool::greatest(rewriter, node)),
        Op::Gather { axis: 0 } => gather::rows(rewriter, node),
        Op::Elementwise { .. } if signed.contains(&node.outputs[0]) => encode::unsigned(rewriter, node),
        _ => None,
    })
}
