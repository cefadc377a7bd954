//! One-hot products and consecutive gathers.

use super::support::{Builder, ops, optimized, shape};
use crate::ir::{BinaryOp::*, DType, Dim, Expr, Graph, Op, Scalar, Tensor};

fn one_hot(dtype: DType, classes: Tensor) -> Graph {
    let mut b = Builder::new();
    let count = classes.len();
    let ids = b.input(dtype, "b s");
    let column = b.reshape(ids, "b s 1");
    let classes = b.constant(classes);
    let hot = b.binary(Eq, column, classes);
    let hot = b.cast(hot, DType::F32);
    let table = b.weights(&[count, 3]);
    let result = b.matmul(hot, table);
    optimized(b.finish(&[result]))
}

#[test]
fn one_hot_product_guards_against_indices_out_of_range() {
    // The identifiers are -2 to 6.
    let graph = one_hot(DType::I32, Tensor::new(vec![1, 1, 5], &[0i32, 1, 2, 3, 4]));
    assert_eq!(ops(&graph), "elementwise gather reshape elementwise");
}

#[test]
fn one_hot_of_bytes_needs_no_guard_if_every_byte_has_a_class() {
    let all: Vec<u8> = (0..=255).collect();
    let graph = one_hot(DType::U8, Tensor::new(vec![256], &all));
    assert_eq!(ops(&graph), "elementwise gather");
}

#[test]
fn other_classes_are_not_one_hot() {
    let graph = one_hot(DType::I32, Tensor::new(vec![1, 1, 4], &[0i32, 1, 3, 2]));
    assert!(ops(&graph).ends_with("matmul"), "{}", ops(&graph));
}

#[test]
fn positions_up_to_the_length_are_a_slice() {
    let mut b = Builder::new();
    let x = b.input(DType::F32, "b s");
    let table = b.weights(&[20, 3]);
    let positions: Vec<i64> = (2..18).collect();
    let positions = b.constant(Tensor::new(vec![1, 16], &positions));
    let start = Op::Slice {
        starts: shape("0 0"),
        steps: vec![1, 1],
        shape: shape("1 s"),
    };
    let positions = b.op(start, &[positions]);
    let gathered = b.op(Op::Gather { axis: 0 }, &[table, positions]);
    let mut expr = Expr::empty();
    expr.push(Scalar::Index(0), DType::I64);
    let counted = b.op(
        Op::Elementwise {
            expr,
            shape: shape("s"),
        },
        &[],
    );
    let counted = b.op(Op::Gather { axis: 0 }, &[table, counted]);
    let sum = b.binary(Add, gathered, counted);
    let x = b.reshape(x, "b s 1");
    let sum = b.binary(Add, sum, x);
    let graph = optimized(b.finish(&[sum]));
    assert!(!ops(&graph).contains("gather"), "{}", ops(&graph));
}

#[test]
fn an_index_that_may_be_out_of_range_stays_a_gather() {
    let mut b = Builder::new();
    let x = b.input(DType::F32, "b s 3");
    let first = b.constant(Tensor::scalar(0i64));
    let first = b.op(Op::Gather { axis: 1 }, &[x, first]);
    let last = b.constant(Tensor::scalar(-1i64));
    let last = b.op(Op::Gather { axis: 1 }, &[x, last]);
    let graph = optimized(b.finish(&[first, last]));
    assert_eq!(ops(&graph), "slice reshape slice reshape");

    let mut b = Builder::new();
    let x = b.input(DType::F32, "b s 3");
    let third = b.constant(Tensor::scalar(2i64));
    let third = b.op(Op::Gather { axis: 1 }, &[x, third]);
    let graph = {
        let mut graph = b.finish(&[third]);
        crate::passes::optimize(&mut graph, &mut |_, _| {});
        graph
    };
    assert_eq!(ops(&graph), "gather");
    assert!(graph.ty(graph.body.results[0]).shape[1] == Dim::from(3i64));
}

#[test]
fn gathers_of_broadcast_indices_broadcast() {
    let mut b = Builder::new();
    let table = b.weights(&[5, 3]);
    let ids = b.input(DType::I64, "1 s");
    let spread = b.op(Op::Broadcast { shape: shape("b s") }, &[ids]);
    let gathered = b.op(Op::Gather { axis: 0 }, &[table, spread]);
    let zeros = b.constant(Tensor::new(vec![1, 16], &[1i64; 16]));
    let zeros = b.op(
        Op::Slice {
            starts: shape("0 0"),
            steps: vec![1, 1],
            shape: shape("1 s"),
        },
        &[zeros],
    );
    let zeros = b.op(Op::Broadcast { shape: shape("b s") }, &[zeros]);
    let row = b.op(Op::Gather { axis: 0 }, &[table, zeros]);
    let batch = b.input(DType::F32, "b 1 1");
    let sum = b.binary(Add, gathered, row);
    let sum = b.binary(Add, sum, batch);
    let graph = optimized(b.finish(&[sum]));
    assert_eq!(ops(&graph), "gather elementwise");
}
