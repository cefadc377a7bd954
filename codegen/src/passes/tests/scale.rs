//! Factors and offsets that go into weights.

use super::fusion::{conv, window};
use super::support::{Builder, formula, ops, optimized};
use crate::ir::{BinaryOp::*, DType, Op, UnaryOp};

#[test]
fn batch_normalization_goes_into_the_convolution() {
    for groups in [1, 2] {
        let mut b = Builder::new();
        let x = b.input(DType::F32, "b 4 5 5");
        let y = conv(&mut b, x, &[6, 4 / groups, 3, 3], groups);
        let [mean, variance, scale, bias] = [0; 4].map(|_| b.weights(&[6, 1, 1]));
        let variance = b.binary(Mul, variance, variance);
        let variance = b.with_number(Add, variance, 1.0);
        let deviation = b.unary(UnaryOp::Sqrt, variance);
        let centered = b.binary(Sub, y, mean);
        let normal = b.binary(Div, centered, deviation);
        let scaled = b.binary(Mul, normal, scale);
        let sum = b.binary(Add, scaled, bias);
        let graph = optimized(b.finish(&[sum]));
        assert_eq!(ops(&graph), "convb");
    }
}

#[test]
fn scalars_after_and_factors_before_a_convolution() {
    for groups in [1, 2] {
        let mut b = Builder::new();
        let x = b.input(DType::F32, "b 4 5 5");
        let relu = b.with_number(Max, x, 0.0);
        let factor = b.weights(&[1, 4, 1, 1]);
        let scaled = b.binary(Mul, relu, factor);
        let y = conv(&mut b, scaled, &[2, 4 / groups, 3, 3], groups);
        let y = b.with_number(Mul, y, 1.5);
        let y = b.with_number(Add, y, -0.25);
        let graph = optimized(b.finish(&[y]));
        assert_eq!(ops(&graph), "elementwise convb");
        assert_eq!(formula(&graph), "(max x0 0)");
    }
}

#[test]
fn an_offset_before_padding_stays() {
    let mut b = Builder::new();
    let x = b.input(DType::F32, "b 2 5 5");
    let shifted = b.with_number(Add, x, 1.0);
    let y = conv(&mut b, shifted, &[2, 2, 3, 3], 1);
    let graph = optimized(b.finish(&[y]));
    assert_eq!(ops(&graph), "elementwise conv");
}

#[test]
fn transposed_convolution() {
    for groups in [1, 2] {
        let mut b = Builder::new();
        let x = b.input(DType::F32, "b 4 5 5");
        let weights = b.weights(&[4, 6 / groups, 3, 3]);
        let op = Op::ConvTranspose {
            window: window(3, 1),
            output_padding: vec![0, 0],
            groups,
            bias: false,
            epilogue: None,
        };
        let y = b.op(op, &[x, weights]);
        let scale = b.weights(&[6, 1, 1]);
        let y = b.binary(Mul, y, scale);
        let bias = b.weights(&[6, 1, 1]);
        let y = b.binary(Add, bias, y);
        let graph = optimized(b.finish(&[y]));
        assert_eq!(ops(&graph), "conv_transposeb");
    }
}

#[test]
fn factors_around_a_matrix_product() {
    for transposed in [false, true] {
        let mut b = Builder::new();
        let x = b.input(DType::F32, "b 200");
        let before = b.weights(&[200]);
        let x = b.binary(Mul, x, before);
        let weights = if transposed {
            let weights = b.weights(&[100, 200]);
            b.transpose(weights, &[1, 0])
        } else {
            b.weights(&[200, 100])
        };
        let y = b.matmul(x, weights);
        let y = b.with_number(Mul, y, 0.5);
        let columns = b.weights(&[100]);
        let y = b.binary(Mul, y, columns);
        let bias = b.weights(&[100]);
        let y = b.binary(Add, y, bias);
        let graph = optimized(b.finish(&[y]));
        assert_eq!(ops(&graph), if transposed { "transpose matmul+" } else { "matmul+" });
        assert_eq!(formula(&graph), "(add x0 x1)");
    }
}

#[test]
fn shared_weights_are_not_copied() {
    let mut b = Builder::new();
    let x = b.input(DType::F32, "b 4");
    let y = b.input(DType::F32, "s 4");
    let weights = b.weights(&[4, 3]);
    let x = b.matmul(x, weights);
    let x = b.with_number(Mul, x, 3.0);
    let y = b.matmul(y, weights);
    let graph = optimized(b.finish(&[x, y]));
    assert_eq!(ops(&graph), "matmul+ matmul");
}
