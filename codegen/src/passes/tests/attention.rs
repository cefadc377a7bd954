//! Attention in the spellings of exporters.

use super::support::{Builder, dim, ops, optimized, shape};
use crate::ir::{BinaryOp::*, DType, Graph, Op, Tensor, ValueId};

/// How the scores of a test are made from the operands of the product.
struct Spelling {
    scale_q: Option<f32>,
    scale_k: Option<f32>,
    scores: fn(&mut Builder, ValueId) -> ValueId,
}

const PLAIN: Spelling = Spelling {
    scale_q: None,
    scale_k: None,
    scores: |_, scores| scores,
};

fn attention(spelling: &Spelling) -> Graph {
    let mut b = Builder::new();
    let [q, k, v] = [0; 3].map(|_| {
        let x = b.input(DType::F32, "b s 2 4");
        b.transpose(x, &[0, 2, 1, 3])
    });
    let q = spelling.scale_q.map_or(q, |scale| b.with_number(Mul, q, scale));
    let k = b.transpose(k, &[0, 1, 3, 2]);
    let k = spelling.scale_k.map_or(k, |scale| b.with_number(Mul, k, scale));
    let scores = b.matmul(q, k);
    let scores = (spelling.scores)(&mut b, scores);
    let weights = b.op(Op::Softmax { axis: 3, log: false }, &[scores]);
    let result = b.matmul(weights, v);
    optimized(b.finish(&[result]))
}

/// The scale, and whether there is a mask.
fn found(graph: &Graph) -> (f32, bool) {
    let attentions = graph.body.nodes.iter().filter_map(|node| match node.op {
        Op::Attention { scale, mask, .. } => Some((scale, mask)),
        _ => None,
    });
    let attentions: Vec<_> = attentions.collect();
    assert_eq!(attentions.len(), 1, "{}", ops(graph));
    attentions[0]
}

#[test]
fn scale_anywhere() {
    let divided = attention(&Spelling {
        scores: |b, scores| b.with_number(Div, scores, 2.0),
        ..PLAIN
    });
    assert_eq!(found(&divided), (0.5, false));
    assert_eq!(ops(&divided), "transpose transpose transpose attention");
    let both = attention(&Spelling {
        scale_q: Some(0.5),
        scale_k: Some(0.25),
        ..PLAIN
    });
    assert_eq!(found(&both), (0.125, false));
    assert_eq!(ops(&both), "transpose transpose transpose attention");
}

#[test]
fn added_mask() {
    let graph = attention(&Spelling {
        scores: |b, scores| {
            let scaled = b.with_number(Div, scores, 2.0);
            let mask = b.input(DType::I64, "b s");
            let mask = b.reshape(mask, "b 1 1 s");
            let mask = b.cast(mask, DType::F32);
            let one = b.scalar(1.0);
            let mask = b.binary(Sub, one, mask);
            let mask = b.with_number(Mul, mask, -16.0);
            b.binary(Add, scaled, mask)
        },
        ..PLAIN
    });
    assert_eq!(found(&graph), (0.5, true));
    assert_eq!(
        ops(&graph),
        "transpose transpose elementwise reshape transpose attention"
    );
}

#[test]
fn selected_mask() {
    let graph = attention(&Spelling {
        scores: |b, scores| {
            let mask = b.input(DType::Bool, "b 1 1 s");
            let masked = b.scalar(f32::MIN);
            let scaled = b.with_number(Mul, scores, 0.5);
            b.select(mask, masked, scaled)
        },
        ..PLAIN
    });
    assert_eq!(found(&graph), (0.5, true));
}

#[test]
fn a_mask_that_scores_do_not_vanish_in_is_no_mask() {
    let graph = attention(&Spelling {
        scores: |b, scores| {
            let mask = b.input(DType::Bool, "b 1 1 s");
            let masked = b.scalar(-10000.0);
            b.select(mask, masked, scores)
        },
        ..PLAIN
    });
    assert!(!ops(&graph).contains("attention"), "{}", ops(&graph));
}

#[test]
fn shared_scores_are_not_hidden() {
    let mut b = Builder::new();
    let q = b.input(DType::F32, "b 3 4");
    let k = b.input(DType::F32, "b 4 3");
    let scores = b.matmul(q, k);
    let weights = b.op(Op::Softmax { axis: 2, log: false }, &[scores]);
    let result = b.matmul(weights, q);
    let graph = optimized(b.finish(&[result, weights]));
    assert_eq!(ops(&graph), "matmul softmax matmul");
}

#[test]
fn keys_that_are_not_transposed() {
    let mut b = Builder::new();
    let q = b.input(DType::F32, "b 3 4");
    let k = b.input(DType::F32, "b 4 5");
    let v = b.weights(&[2, 2]);
    let scores = b.matmul(q, k);
    let weights = b.op(Op::Softmax { axis: 2, log: false }, &[scores]);
    let values = b.input(DType::F32, "b 5 2");
    let attended = b.matmul(weights, values);
    let result = b.matmul(attended, v);
    let graph = optimized(b.finish(&[result]));
    assert_eq!(ops(&graph), "transpose attention matmul");
}

#[test]
fn softmax_spelled_out() {
    let spelled = |with_maximum: bool| {
        let mut b = Builder::new();
        let x = b.input(DType::F32, "b s 4");
        let reduce = |b: &mut Builder, kind, x| {
            b.op(
                Op::Reduce {
                    kind,
                    axes: vec![1],
                    keep_dims: true,
                },
                &[x],
            )
        };
        let mut shifted = b.with_number(Mul, x, 0.5);
        if with_maximum {
            let maximum = reduce(&mut b, crate::ir::op::ReduceKind::Max, shifted);
            shifted = b.binary(Sub, shifted, maximum);
        }
        let exp = b.unary(crate::ir::UnaryOp::Exp, shifted);
        let sum = reduce(&mut b, crate::ir::op::ReduceKind::Sum, exp);
        let quotient = b.binary(Div, exp, sum);
        let log = b.unary(crate::ir::UnaryOp::Ln, quotient);
        let graph = optimized(b.finish(&[log]));
        assert!(
            graph
                .body
                .nodes
                .iter()
                .any(|node| node.op == Op::Softmax { axis: 1, log: true })
        );
        ops(&graph)
    };
    assert_eq!([spelled(true), spelled(false)], ["elementwise softmax"; 2]);
}

#[test]
fn a_sum_over_another_axis_is_no_softmax() {
    let mut b = Builder::new();
    let x = b.input(DType::F32, "4 4");
    let exp = b.unary(crate::ir::UnaryOp::Exp, x);
    // Without the reduced axis, the sum over rows broadcasts along the rows.
    let sum = b.op(
        Op::Reduce {
            kind: crate::ir::op::ReduceKind::Sum,
            axes: vec![1],
            keep_dims: false,
        },
        &[exp],
    );
    let quotient = b.binary(Div, exp, sum);
    let zero = b.constant(Tensor::scalar(0f32));
    let quotient = b.binary(Add, quotient, zero);
    let graph = optimized(b.finish(&[quotient]));
    assert_eq!(ops(&graph), "elementwise reduce reshape elementwise");
}

#[test]
fn heads_merged_into_the_batch_and_a_mask_that_is_broadcast() {
    let mut b = Builder::new();
    let [q, k, v] = [0; 3].map(|_| {
        let x = b.input(DType::F32, "b s 2 4");
        b.transpose(x, &[0, 2, 1, 3])
    });
    let k = b.op(
        Op::Reshape {
            shape: vec![dim("b") * dim("2"), dim("s"), dim("4")],
        },
        &[k],
    );
    let k = b.transpose(k, &[0, 2, 1]);
    let k = b.reshape(k, "b 2 4 s");
    let k = b.with_number(Mul, k, 0.25);
    let scores = b.matmul(q, k);
    let mask = b.input(DType::F32, "b 1 1 s");
    let mask = b.op(
        Op::Broadcast {
            shape: shape("b 1 s s"),
        },
        &[mask],
    );
    let scores = b.binary(Add, scores, mask);
    let weights = b.op(Op::Softmax { axis: 3, log: false }, &[scores]);
    let result = b.matmul(weights, v);
    let graph = optimized(b.finish(&[result]));
    assert_eq!(found(&graph), (0.25, true));
    assert_eq!(ops(&graph), "transpose transpose transpose attention");
}

#[test]
fn a_scale_behind_views() {
    let mut b = Builder::new();
    let q = b.input(DType::F32, "1 b s 4");
    let scaled = b.with_number(Mul, q, 0.5);
    let q = b.reshape(scaled, "b s 4");
    let k = b.input(DType::F32, "b s 4");
    let turned = b.transpose(k, &[0, 2, 1]);
    let scores = b.matmul(q, turned);
    let weights = b.op(Op::Softmax { axis: 2, log: false }, &[scores]);
    let result = b.matmul(weights, k);
    let graph = optimized(b.finish(&[result]));
    assert_eq!(found(&graph), (0.5, false));
    assert_eq!(ops(&graph), "reshape attention");
}

#[test]
fn masks_that_fill_replace_masks_that_add() {
    let graph = attention(&Spelling {
        scores: |b, scores| {
            let added = b.input(DType::F32, "b 1 1 s");
            let sum = b.binary(Add, scores, added);
            let lowest = b.scalar(f32::MIN);
            let padding = b.input(DType::Bool, "b 1 1 s");
            let padded = b.select(padding, sum, lowest);
            // Everything is masked twice, and still rows are uniform rather than not-a-number.
            let future = b.constant(Tensor::scalar(true));
            let future = b.op(Op::Broadcast { shape: shape("s s") }, &[future]);
            let nothing = b.binary(And, future, padding);
            b.select(nothing, lowest, padded)
        },
        ..PLAIN
    });
    assert_eq!(found(&graph), (1.0, true));
    assert_eq!(ops(&graph), "transpose transpose transpose elementwise attention");
}
