//! Normalization in the spellings of exporters.

use super::support::{Builder, ops, optimized};
use crate::ir::op::{NormalizeKind, ReduceKind};
use crate::ir::{BinaryOp::*, DType, Graph, Op, UnaryOp, ValueId};

fn reduce(b: &mut Builder, kind: ReduceKind, x: ValueId, axis: usize, keep_dims: bool) -> ValueId {
    b.op(
        Op::Reduce {
            kind,
            axes: vec![axis],
            keep_dims,
        },
        &[x],
    )
}

fn normalize(graph: &Graph) -> (NormalizeKind, usize, f32, bool, bool) {
    let found: Vec<_> = graph
        .body
        .nodes
        .iter()
        .filter_map(|node| match node.op {
            Op::Normalize {
                kind,
                axis,
                epsilon,
                scale,
                bias,
            } => Some((kind, axis, epsilon, scale, bias)),
            _ => None,
        })
        .collect();
    assert_eq!(found.len(), 1, "{}", ops(graph));
    found[0]
}

#[test]
fn mean_of_the_squared_deviation() {
    let mut b = Builder::new();
    let x = b.input(DType::F32, "b s 8");
    let mean = reduce(&mut b, ReduceKind::Mean, x, 2, true);
    let centered = b.binary(Sub, x, mean);
    let squares = b.with_number(Pow, centered, 2.0);
    let variance = reduce(&mut b, ReduceKind::Mean, squares, 2, true);
    let sum = b.with_number(Add, variance, 1e-5);
    let deviation = b.unary(UnaryOp::Sqrt, sum);
    let normal = b.binary(Div, centered, deviation);
    let scale = b.weights(&[8]);
    let scaled = b.binary(Mul, normal, scale);
    let bias = b.weights(&[8]);
    let result = b.binary(Add, bias, scaled);
    let graph = optimized(b.finish(&[result]));
    assert_eq!(normalize(&graph), (NormalizeKind::Layer, 2, 1e-5, true, true));
    assert_eq!(ops(&graph), "normalize");
}

/// `E[x^2] - E[x]^2` from sums without the reduced axis, clamped, with the scale inside the inverse root.
fn from_moments(axis: usize, kept: &str, weights: &[usize]) -> Graph {
    let mut b = Builder::new();
    let x = b.input(DType::F32, "b 8 4");
    let size = if axis == 2 { 4.0f32 } else { 8.0 };
    let sum = reduce(&mut b, ReduceKind::Sum, x, axis, false);
    let mean = b.with_number(Mul, sum, 1.0 / size);
    let squares = b.binary(Mul, x, x);
    let sum = reduce(&mut b, ReduceKind::Sum, squares, axis, false);
    let moment = b.with_number(Mul, sum, 1.0 / size);
    let squared = b.binary(Mul, mean, mean);
    let difference = b.binary(Sub, moment, squared);
    let zero = b.scalar(0.0);
    let variance = b.binary(Max, zero, difference);
    let variance = b.reshape(variance, kept);
    let sum = b.with_number(Add, variance, 1e-6);
    let root = b.unary(UnaryOp::Sqrt, sum);
    let inverse = b.unary(UnaryOp::Recip, root);
    let scale = b.weights(weights);
    let factor = b.binary(Mul, inverse, scale);
    let mean = b.reshape(mean, kept);
    let centered = b.binary(Sub, x, mean);
    let scaled = b.binary(Mul, centered, factor);
    let bias = b.weights(weights);
    let result = b.binary(Add, scaled, bias);
    optimized(b.finish(&[result]))
}

#[test]
fn difference_of_moments() {
    let graph = from_moments(2, "b 8 1", &[1, 4]);
    assert_eq!(normalize(&graph), (NormalizeKind::Layer, 2, 1e-6, true, true));
    assert_eq!(ops(&graph), "normalize");
}

#[test]
fn a_middle_axis_stays_reductions_without_a_tensor_of_squares() {
    let graph = from_moments(1, "b 1 4", &[1, 8, 1]);
    assert!(!ops(&graph).contains("normalize"), "{}", ops(&graph));
    let kinds: Vec<ReduceKind> = graph
        .body
        .nodes
        .iter()
        .filter_map(|node| match node.op {
            Op::Reduce { kind, .. } => Some(kind),
            _ => None,
        })
        .collect();
    assert_eq!(kinds, [ReduceKind::Sum, ReduceKind::SumSquare]);
}

#[test]
fn root_mean_square() {
    let mut b = Builder::new();
    let x = b.input(DType::F32, "b 8");
    let squares = b.binary(Mul, x, x);
    let mean = reduce(&mut b, ReduceKind::Mean, squares, 1, true);
    let sum = b.with_number(Add, mean, 1e-5);
    let inverse = b.unary(UnaryOp::Rsqrt, sum);
    let normal = b.binary(Mul, x, inverse);
    let scale = b.weights(&[8]);
    let result = b.binary(Mul, scale, normal);
    let graph = optimized(b.finish(&[result]));
    assert_eq!(normalize(&graph), (NormalizeKind::Rms, 1, 1e-5, true, false));
    assert_eq!(ops(&graph), "normalize");
}

#[test]
fn deviations_from_another_mean_are_not_normalized() {
    let mut b = Builder::new();
    let x = b.input(DType::F32, "b 8");
    let y = b.input(DType::F32, "b 8");
    let mean = reduce(&mut b, ReduceKind::Mean, y, 1, true);
    let centered = b.binary(Sub, x, mean);
    let squares = b.binary(Mul, centered, centered);
    let variance = reduce(&mut b, ReduceKind::Mean, squares, 1, true);
    let sum = b.with_number(Add, variance, 1e-5);
    let deviation = b.unary(UnaryOp::Sqrt, sum);
    let result = b.binary(Div, centered, deviation);
    let graph = optimized(b.finish(&[result]));
    // It is the root-mean-square normalization of the deviation.
    assert_eq!(normalize(&graph), (NormalizeKind::Rms, 1, 1e-5, false, false));
}
