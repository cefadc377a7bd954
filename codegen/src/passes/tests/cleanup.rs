//! Views, folding, common subexpressions and dead code.

use super::fusion::window;
use super::support::{Builder, dim, formula, ops, optimized, shape};
use crate::ir::op::{PadMode, ReduceKind};
use crate::ir::{BinaryOp::*, DType, Dim, Op, Tensor, UnaryOp};

#[test]
fn views_compose_and_cancel() {
    let mut b = Builder::new();
    let x = b.input(DType::F32, "b s 4");
    let there = b.transpose(x, &[2, 0, 1]);
    let back = b.transpose(there, &[1, 2, 0]);
    let one = b.reshape(back, "b 1 s 4");
    let moved = b.transpose(one, &[1, 0, 2, 3]);
    let same = b.reshape(moved, "b s 4");
    let whole = Op::Slice {
        starts: shape("0 0 0"),
        steps: vec![1; 3],
        shape: shape("b s 4"),
    };
    let same = b.op(whole, &[same]);
    let same = b.op(Op::Broadcast { shape: shape("b s 4") }, &[same]);
    let same = b.op(Op::Concat { axis: 1 }, &[same]);
    let exp = b.unary(UnaryOp::Exp, same);
    assert_eq!(ops(&optimized(b.finish(&[exp]))), "elementwise");
}

#[test]
fn slices_compose_and_pick_operands_of_concatenations() {
    let mut b = Builder::new();
    let x = b.input(DType::F32, "b 9");
    let y = b.input(DType::F32, "b 3");
    let slice = |b: &mut Builder, x, starts: &str, step: i64, dims: &str| {
        b.op(
            Op::Slice {
                starts: shape(starts),
                steps: vec![1, step],
                shape: shape(dims),
            },
            &[x],
        )
    };
    let odd = slice(&mut b, x, "0 1", 2, "b 4");
    let reversed = slice(&mut b, odd, "0 3", -1, "b 3");
    let both = b.op(Op::Concat { axis: 1 }, &[x, y]);
    let picked = slice(&mut b, both, "0 9", 1, "b 3");
    let sum = b.binary(Add, reversed, picked);
    let graph = optimized(b.finish(&[sum]));
    assert_eq!(ops(&graph), "slice elementwise");
    let start = Op::Slice {
        starts: shape("0 7"),
        steps: vec![1, -2],
        shape: shape("b 3"),
    };
    assert_eq!(graph.body.nodes[0].op, start);
}

#[test]
fn padding_moves_into_the_convolution() {
    let mut b = Builder::new();
    let x = b.input(DType::F32, "b 2 5 5");
    let zero = b.scalar(0.0);
    let pad = Op::Pad {
        mode: PadMode::Constant,
        before: shape("0 0 1 0"),
        after: shape("0 0 0 2"),
    };
    let padded = b.op(pad, &[x, zero]);
    let weights = b.weights(&[3, 2, 3, 3]);
    let op = Op::Conv {
        window: window(3, 1),
        groups: 1,
        bias: false,
        pad_value: 0,
        epilogue: None,
    };
    let y = b.op(op, &[padded, weights]);
    let graph = optimized(b.finish(&[y]));
    assert_eq!(ops(&graph), "conv");
    let Op::Conv { window, .. } = &graph.body.nodes.last().unwrap().op else {
        panic!()
    };
    assert_eq!(
        (window.pads_before.clone(), window.pads_after.clone()),
        (shape("2 1"), shape("1 3"))
    );
}

#[test]
fn constants_fold_but_do_not_spread() {
    let mut b = Builder::new();
    let x = b.input(DType::F32, "b 300 300");
    let [one, two] = [0; 2].map(|_| b.weights(&[300]));
    let sum = b.binary(Add, one, two);
    let exp = b.unary(UnaryOp::Exp, sum);
    let spread = b.op(
        Op::Broadcast {
            shape: shape("300 300"),
        },
        &[exp],
    );
    let product = b.binary(Mul, x, spread);
    let graph = optimized(b.finish(&[product]));
    assert_eq!(ops(&graph), "elementwise");
    assert!(
        graph
            .body
            .nodes
            .iter()
            .all(|node| !matches!(&node.op, Op::Constant(tensor) if tensor.len() > 300))
    );
}

#[test]
fn constant_parts_of_expressions_fold() {
    let mut b = Builder::new();
    let x = b.input(DType::F32, "b 4");
    let [one, two] = [0; 2].map(|_| b.weights(&[4]));
    let product = b.binary(Mul, x, one);
    let sum = b.binary(Add, one, two);
    let result = b.binary(Sub, product, sum);
    let graph = optimized(b.finish(&[result]));
    assert_eq!(formula(&graph), "(sub (mul x0 x1) x2)");
}

#[test]
fn conversions_skip_what_loses_nothing() {
    let mut b = Builder::new();
    let x = b.input(DType::I32, "b 4");
    let wide = b.cast(x, DType::I64);
    let back = b.cast(wide, DType::I32);
    let float = b.cast(back, DType::F32);
    let graph = optimized(b.finish(&[float]));
    assert_eq!(formula(&graph), "(f32 x0)");
    let mut b = Builder::new();
    let x = b.input(DType::F32, "b 4");
    let whole = b.cast(x, DType::I32);
    let float = b.cast(whole, DType::F32);
    let graph = optimized(b.finish(&[float]));
    assert_eq!(formula(&graph), "(f32 (i32 x0))");
}

#[test]
fn equal_computations_happen_once() {
    let mut b = Builder::new();
    let x = b.input(DType::F32, "b 4");
    let weights = Tensor::new(vec![4, 4], &[0.5f32; 16].map(|x| x * 0.5));
    let products = [0; 2].map(|_| {
        let weights = b.constant(weights.clone());
        let product = b.matmul(x, weights);
        b.op(Op::Softmax { axis: 1, log: false }, &[product])
    });
    let sum = b.binary(Mul, products[0], products[1]);
    let graph = optimized(b.finish(&[sum]));
    assert_eq!(ops(&graph), "matmul softmax elementwise");
}

#[test]
fn reductions_of_single_elements_are_views() {
    let mut b = Builder::new();
    let x = b.input(DType::F32, "b 1 4");
    let mean = b.op(
        Op::Reduce {
            kind: ReduceKind::Mean,
            axes: vec![1],
            keep_dims: false,
        },
        &[x],
    );
    let graph = optimized(b.finish(&[mean]));
    assert_eq!(ops(&graph), "reshape");
}

#[test]
fn long_chains_take_linear_time() {
    let mut b = Builder::new();
    let x = b.input(DType::F32, "4 4");
    let mut y = x;
    for _ in 0..1000 {
        let turned = b.transpose(y, &[1, 0]);
        let sum = b.binary(Add, turned, x);
        y = b.unary(UnaryOp::Tanh, sum);
    }
    let mut graph = b.finish(&[y]);
    let start = std::time::Instant::now();
    crate::passes::optimize(&mut graph, &mut |_, _| {});
    // Quadratic passes would take minutes.
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    assert_eq!(
        graph.ty(graph.body.results[0]).shape,
        [Dim::from(4i64), Dim::from(4i64)]
    );
}

#[test]
fn weights_that_are_cut_and_rearranged_stay_constant() {
    let mut b = Builder::new();
    let x = b.input(DType::F32, "b 8");
    let weights = b.weights(&[300, 200]);
    let part = |b: &mut Builder, start: &str, size: &str| {
        let op = Op::Slice {
            starts: shape(&format!("{start} 0")),
            steps: vec![1; 2],
            shape: shape(&format!("{size} 200")),
        };
        b.op(op, &[weights])
    };
    let (second, first) = (part(&mut b, "100", "200"), part(&mut b, "0", "100"));
    let swapped = b.op(Op::Concat { axis: 0 }, &[second, first]);
    let table = b.reshape(swapped, "8 7500");
    let product = b.matmul(x, table);
    let graph = optimized(b.finish(&[product]));
    assert_eq!(ops(&graph), "matmul");
}

#[test]
fn reshapes_cancel_across_elementwise_nodes() {
    let mut b = Builder::new();
    let x = b.input(DType::F32, "b s 4");
    let flat = b.op(
        Op::Reshape {
            shape: vec![dim("b") * dim("s"), dim("4")],
        },
        &[x],
    );
    let bias = b.weights(&[4]);
    let sum = b.binary(Add, flat, bias);
    let back = b.reshape(sum, "b s 4");
    let result = b.unary(UnaryOp::Tanh, back);
    let graph = optimized(b.finish(&[result]));
    assert_eq!(ops(&graph), "elementwise");
}
