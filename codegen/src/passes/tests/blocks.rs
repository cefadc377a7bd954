//! Products of `f32` with quantized weights.

use super::support::{Builder, ops, optimized, random};
use crate::ir::{BinaryOp::*, DType, Graph, Op, Tensor, ValueId};

/// The rows of blocks, and the number of operands, of every dequantization.
fn blocks(graph: &Graph) -> Vec<(usize, usize)> {
    let nodes = graph.body.nodes.iter();
    let found = nodes.filter_map(|node| match node.op {
        Op::Dequantize { rows } => Some((rows, node.inputs.len())),
        _ => None,
    });
    found.collect()
}

fn bytes(shape: &[usize], low: i64, high: i64) -> Tensor {
    Tensor::random_integers(DType::I8, shape.to_vec(), 3, low, high)
}

/// `(w - z) s`, with operands that broadcast.
fn weights(b: &mut Builder, w: Tensor, zero: Option<Tensor>, scale: Tensor) -> ValueId {
    let w = b.constant(w);
    let mut difference = b.cast(w, DType::I32);
    if let Some(zero) = zero {
        let zero = b.constant(zero);
        let zero = b.cast(zero, DType::I32);
        difference = b.binary(Sub, difference, zero);
    }
    let difference = b.cast(difference, DType::F32);
    let scale = b.constant(scale);
    b.binary(Mul, difference, scale)
}

#[test]
fn scales_of_a_column_or_of_all_columns() {
    for scale in [random(DType::F32, &[6], 1), Tensor::scalar(0.25f32)] {
        for zero in [None, Some(Tensor::scalar(5i8))] {
            let mut b = Builder::new();
            let x = b.input(DType::F32, "b s 40");
            let w = weights(&mut b, bytes(&[40, 6], -100, 100), zero, scale.clone());
            let product = b.matmul(x, w);
            let graph = optimized(b.finish(&[product]));
            assert_eq!(ops(&graph), "dequantize matmul");
            assert_eq!(blocks(&graph), [(40, 2)]);
        }
    }
}

#[test]
fn blocks_of_rows_with_zero_points() {
    // Parameters of blocks are repeated, and what is beyond the last row is cut off.
    let repeated = |b: &mut Builder, tensor: Tensor| {
        let x = b.constant(tensor);
        let x = b.reshape(x, "3 1 6");
        let shape = [3i64, 16, 6].map(Into::into).to_vec();
        let x = b.op(Op::Broadcast { shape }, &[x]);
        let x = b.reshape(x, "48 6");
        let shape = [40i64, 6].map(Into::into).to_vec();
        let starts = [0i64, 0].map(Into::into).to_vec();
        b.op(
            Op::Slice {
                starts,
                steps: vec![1, 1],
                shape,
            },
            &[x],
        )
    };
    let mut b = Builder::new();
    let x = b.input(DType::F32, "b 40");
    let w = b.constant(bytes(&[40, 6], -8, 7));
    let zero = repeated(&mut b, Tensor::random_integers(DType::I8, vec![3, 6], 5, -8, 7));
    let scale = repeated(&mut b, random(DType::F32, &[3, 6], 7));
    let (w, zero) = (b.cast(w, DType::I32), b.cast(zero, DType::I32));
    let difference = b.binary(Sub, w, zero);
    let difference = b.cast(difference, DType::F32);
    let w = b.binary(Mul, difference, scale);
    let product = b.matmul(x, w);
    let graph = optimized(b.finish(&[product]));
    assert_eq!(ops(&graph), "dequantize matmul");
    assert_eq!(blocks(&graph), [(16, 3)]);
}

#[test]
fn a_transposed_matrix_and_a_factor_of_the_product() {
    let mut b = Builder::new();
    let x = b.input(DType::F32, "b 20");
    let scale = random(DType::F32, &[6, 1], 1);
    let w = weights(&mut b, bytes(&[6, 20], -8, 7), None, scale);
    let w = b.transpose(w, &[1, 0]);
    let product = b.matmul(x, w);
    let halved = b.with_number(Mul, product, 0.5);
    let graph = optimized(b.finish(&[halved]));
    assert_eq!(ops(&graph), "dequantize matmul");
    assert_eq!(blocks(&graph), [(20, 2)]);
}

#[test]
fn products_share_weights() {
    let mut b = Builder::new();
    let (x, y) = (b.input(DType::F32, "b 20"), b.input(DType::F32, "s 20"));
    let w = weights(&mut b, bytes(&[20, 6], -8, 7), None, random(DType::F32, &[6], 1));
    let products = [b.matmul(x, w), b.matmul(y, w)];
    let graph = optimized(b.finish(&products));
    assert_eq!(ops(&graph), "dequantize matmul matmul");
}

#[test]
fn what_no_product_reads_or_does_not_compress_is_folded() {
    // Blocks of two rows, numbers of 16 bits, and weights that are added.
    for (scale, bits) in [(random(DType::F32, &[20, 1], 1), 8), (Tensor::scalar(0.5f32), 16)] {
        let mut b = Builder::new();
        let x = b.input(DType::F32, "b 20");
        let w = Tensor::random_integers(DType::I16, vec![20, 6], 3, -(1 << (bits - 1)), (1 << (bits - 1)) - 1);
        let w = weights(&mut b, w, None, scale);
        let product = b.matmul(x, w);
        assert_eq!(ops(&optimized(b.finish(&[product]))), "matmul");
    }
    let mut b = Builder::new();
    let x = b.input(DType::F32, "b 6");
    let w = weights(&mut b, bytes(&[1, 6], -8, 7), None, random(DType::F32, &[6], 1));
    let sum = b.binary(Add, x, w);
    assert_eq!(ops(&optimized(b.finish(&[sum]))), "elementwise");
}

#[test]
fn rows_of_a_quantized_table() {
    // A scale for each row, for each column, and for all of them.
    for scale in [vec![200, 1], vec![1, 32], vec![32], vec![]] {
        let mut b = Builder::new();
        let ids = b.input(DType::I64, "b s");
        let w = weights(
            &mut b,
            bytes(&[200, 32], -100, 100),
            None,
            random(DType::F32, &scale, 1),
        );
        let rows = b.op(Op::Gather { axis: 0 }, &[w, ids]);
        let graph = optimized(b.finish(&[rows]));
        let gathers = if scale.first() == Some(&200) { 2 } else { 1 };
        assert_eq!(ops(&graph), ["gather "].repeat(gathers).concat() + "elementwise");
        let tables = graph
            .body
            .nodes
            .iter()
            .filter(|node| matches!(node.op, Op::Gather { .. }));
        let dtypes: Vec<DType> = tables.map(|node| graph.ty(node.inputs[0]).dtype).collect();
        assert!(dtypes.contains(&DType::I8));
    }
}
