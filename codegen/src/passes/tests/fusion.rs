//! Fusion, activations and epilogues.

use super::support::{Builder, formula, ops, optimized, shape};
use crate::ir::op::Window;
use crate::ir::{BinaryOp::*, DType, Dim, Op, UnaryOp, ValueId};

/// The formula that remains of an elementwise function of one operand.
fn simplified(build: impl Fn(&mut Builder, ValueId) -> ValueId) -> String {
    let mut builder = Builder::new();
    let x = builder.input(DType::F32, "b 4");
    let y = build(&mut builder, x);
    formula(&optimized(builder.finish(&[y])))
}

pub(super) fn window(kernel: usize, pad: usize) -> Window {
    Window {
        kernel: vec![kernel; 2],
        strides: vec![1; 2],
        dilations: vec![1; 2],
        pads_before: vec![Dim::from(pad); 2],
        pads_after: vec![Dim::from(pad); 2],
    }
}

pub(super) fn conv(builder: &mut Builder, x: ValueId, weights: &[usize], groups: usize) -> ValueId {
    let weights = builder.weights(weights);
    builder.op(
        Op::Conv {
            window: window(3, 1),
            groups,
            bias: false,
            pad_value: 0,
            epilogue: None,
        },
        &[x, weights],
    )
}

#[test]
fn gelu_in_every_order() {
    let erf = |b: &mut Builder, x: ValueId| {
        let scaled = b.with_number(Div, x, std::f32::consts::SQRT_2);
        let erf = b.unary(UnaryOp::Erf, scaled);
        b.with_number(Add, erf, 1.0)
    };
    let halved_last = simplified(|b, x| {
        let gate = erf(b, x);
        let product = b.binary(Mul, x, gate);
        b.with_number(Mul, product, 0.5)
    });
    let halved_first = simplified(|b, x| {
        let half = b.with_number(Mul, x, 0.5);
        let gate = erf(b, x);
        b.binary(Mul, half, gate)
    });
    let halved_gate = simplified(|b, x| {
        let gate = erf(b, x);
        let half = b.with_number(Mul, gate, 0.5);
        b.binary(Mul, half, x)
    });
    assert_eq!([halved_last, halved_first, halved_gate], ["(gelu x0)"; 3]);
}

#[test]
fn gelu_of_a_sum_and_of_a_multiple() {
    let of = |factor: f32| {
        simplified(move |b, x| {
            let sum = b.with_number(Mul, x, factor);
            let scaled = b.with_number(Mul, sum, std::f32::consts::FRAC_1_SQRT_2);
            let erf = b.unary(UnaryOp::Erf, scaled);
            let gate = b.with_number(Add, erf, 1.0);
            let product = b.binary(Mul, sum, gate);
            b.with_number(Mul, product, 0.5)
        })
    };
    assert_eq!(of(3.0), "(gelu (mul x0 3))");
    let other_constant = simplified(|b, x| {
        let scaled = b.with_number(Mul, x, 0.5);
        let erf = b.unary(UnaryOp::Erf, scaled);
        let gate = b.with_number(Add, erf, 1.0);
        b.binary(Mul, x, gate)
    });
    assert_eq!(other_constant, "(mul x0 (add (erf (mul x0 0.5)) 1))");
}

#[test]
fn gelu_by_tanh_with_products_and_powers() {
    let tail = |b: &mut Builder, x: ValueId, cubic: ValueId| {
        let sum = b.binary(Add, x, cubic);
        let scaled = b.with_number(Mul, sum, 0.797_884_6);
        let tanh = b.unary(UnaryOp::Tanh, scaled);
        let gate = b.with_number(Add, tanh, 1.0);
        let half = b.with_number(Mul, gate, 0.5);
        b.binary(Mul, x, half)
    };
    let products = simplified(|b, x| {
        let one = b.with_number(Mul, x, 0.044715);
        let two = b.binary(Mul, x, one);
        let three = b.binary(Mul, x, two);
        tail(b, x, three)
    });
    let power = simplified(|b, x| {
        let cube = b.with_number(Pow, x, 3.0);
        let cubic = b.with_number(Mul, cube, 0.044715);
        tail(b, x, cubic)
    });
    assert_eq!([products, power], ["(gelu_tanh x0)"; 2]);
}

#[test]
fn silu_and_sigmoid() {
    let logistic = |b: &mut Builder, x: ValueId| {
        let negated = b.unary(UnaryOp::Neg, x);
        let exp = b.unary(UnaryOp::Exp, negated);
        let sum = b.with_number(Add, exp, 1.0);
        let one = b.scalar(1.0);
        b.binary(Div, one, sum)
    };
    assert_eq!(simplified(logistic), "(sigmoid x0)");
    let silu = simplified(|b, x| {
        let gate = logistic(b, x);
        b.binary(Mul, gate, x)
    });
    assert_eq!(silu, "(silu x0)");
}

#[test]
fn hard_swish_of_clip_and_of_hard_sigmoid() {
    let clip = simplified(|b, x| {
        let sum = b.with_number(Add, x, 3.0);
        let low = b.with_number(Max, sum, 0.0);
        let gate = b.with_number(Min, low, 6.0);
        let product = b.binary(Mul, x, gate);
        b.with_number(Div, product, 6.0)
    });
    let hard_sigmoid = simplified(|b, x| {
        let scaled = b.with_number(Mul, x, 1.0 / 6.0);
        let sum = b.with_number(Add, scaled, 0.5);
        let high = b.with_number(Min, sum, 1.0);
        let gate = b.with_number(Max, high, 0.0);
        b.binary(Mul, x, gate)
    });
    assert_eq!([clip, hard_sigmoid], ["(hard_swish x0)"; 2]);
}

#[test]
fn neutral_operands_vanish() {
    let found = simplified(|b, x| {
        let a = b.with_number(Mul, x, 1.0);
        let a = b.with_number(Add, a, 0.0);
        let a = b.with_number(Div, a, 1.0);
        let a = b.with_number(Max, a, f32::NEG_INFINITY);
        let a = b.with_number(Pow, a, 2.0);
        let a = b.with_number(Div, a, 8.0);
        b.with_number(Div, a, 3.0)
    });
    assert_eq!(found, "(div (mul (mul x0 x0) 0.125) 3)");
}

#[test]
fn diamonds_fuse_and_broadcast_operands_stay_small() {
    let mut b = Builder::new();
    let x = b.input(DType::F32, "b 3 4");
    let small = b.input(DType::F32, "b 3 1");
    let root = b.unary(UnaryOp::Sqrt, small);
    let left = b.unary(UnaryOp::Exp, x);
    let right = b.binary(Mul, left, left);
    let sum = b.binary(Add, left, right);
    let product = b.binary(Mul, sum, root);
    let graph = optimized(b.finish(&[product]));
    // The square root stays apart: it would be computed for every element.
    assert_eq!(ops(&graph), "elementwise elementwise");
}

#[test]
fn shared_values_do_not_fuse() {
    let mut b = Builder::new();
    let x = b.input(DType::F32, "b 4");
    let exp = b.unary(UnaryOp::Exp, x);
    let one = b.unary(UnaryOp::Sin, exp);
    let two = b.op(
        Op::Transpose {
            permutation: vec![1, 0],
        },
        &[exp],
    );
    let graph = optimized(b.finish(&[one, two]));
    assert_eq!(ops(&graph), "elementwise elementwise transpose");
}

#[test]
fn residual_and_activation_become_an_epilogue() {
    let mut b = Builder::new();
    let x = b.input(DType::F32, "b 4 5 5");
    let one = conv(&mut b, x, &[4, 4, 3, 3], 1);
    let bias = b.weights(&[4, 1, 1]);
    let one = b.binary(Add, one, bias);
    let two = conv(&mut b, x, &[4, 4, 3, 3], 1);
    let sum = b.binary(Add, one, two);
    let relu = b.with_number(Max, sum, 0.0);
    let graph = optimized(b.finish(&[relu]));
    assert_eq!(ops(&graph), "convb conv+");
    assert_eq!(formula(&graph), "(max (add x0 x1) 0)");
}

#[test]
fn bias_and_activation_of_a_reshaped_product_become_its_epilogue() {
    let mut b = Builder::new();
    let x = b.input(DType::F32, "b s 4");
    let rows = b.op(
        Op::Reshape {
            shape: vec![Dim::symbol("b") * Dim::symbol("s"), Dim::from(4i64)],
        },
        &[x],
    );
    let weights = b.weights(&[4, 6]);
    let product = b.matmul(rows, weights);
    let back = b.reshape(product, "b s 6");
    let bias = b.weights(&[6]);
    let sum = b.binary(Add, back, bias);
    let other = b.input(DType::F32, "b s 6");
    let residual = b.binary(Add, sum, other);
    let tanh = b.unary(UnaryOp::Tanh, residual);
    let graph = optimized(b.finish(&[tanh]));
    assert_eq!(ops(&graph), "reshape reshape matmul+ reshape");
}

#[test]
fn a_mask_along_a_split_axis_stays_where_it_is() {
    let mut b = Builder::new();
    let x = b.input(DType::F32, "4 6");
    let weights = b.weights(&[6, 6]);
    let product = b.matmul(x, weights);
    let split = b.reshape(product, "2 2 6");
    let partial = b.input(DType::F32, "2 6");
    let sum = b.binary(Add, split, partial);
    let graph = optimized(b.finish(&[sum]));
    assert_eq!(ops(&graph), "matmul reshape elementwise");
}

#[test]
fn an_epilogue_comes_before_leading_axes_of_size_one() {
    let mut b = Builder::new();
    let x = b.input(DType::F32, "s 4");
    let weights = b.weights(&[4, 6]);
    let product = b.matmul(x, weights);
    let residual = b.input(DType::F32, "1 s 6");
    let sum = b.binary(Add, product, residual);
    let result = b.op(Op::Softmax { axis: 2, log: false }, &[sum]);
    let graph = optimized(b.finish(&[result]));
    assert_eq!(ops(&graph), "reshape matmul+ reshape softmax");
}

#[test]
fn small_operands_are_combined_before_they_are_broadcast() {
    let mut b = Builder::new();
    let mask = b.input(DType::I64, "b 1 s");
    let spread = b.op(Op::Broadcast { shape: shape("b 4 s") }, &[mask]);
    let float = b.cast(spread, DType::F32);
    let result = b.op(Op::Concat { axis: 1 }, &[float, float]);
    let graph = optimized(b.finish(&[result]));
    assert_eq!(ops(&graph), "elementwise broadcast concat");
    assert_eq!(graph.ty(graph.body.nodes[0].outputs[0]).shape, shape("b 1 s"));
}

#[test]
fn activations_stay_whole_before_weights() {
    let mut b = Builder::new();
    let x = b.input(DType::F32, "s 4");
    let scaled = b.with_number(Mul, x, std::f32::consts::FRAC_1_SQRT_2);
    let erf = b.unary(UnaryOp::Erf, scaled);
    let gate = b.with_number(Add, erf, 1.0);
    let product = b.binary(Mul, x, gate);
    let half = b.with_number(Mul, product, 0.5);
    let weights = b.weights(&[4, 6]);
    let result = b.matmul(half, weights);
    let graph = optimized(b.finish(&[result]));
    assert_eq!(ops(&graph), "elementwise matmul");
    assert_eq!(formula(&graph), "(gelu x0)");
}

#[test]
fn trailing_axes_of_size_one_do_not_part_a_convolution_from_its_bias() {
    for batch in ["b", "1"] {
        let mut b = Builder::new();
        let x = b.input(DType::F32, &format!("{batch} 4 8 1"));
        let y = conv(&mut b, x, &[6, 4, 3, 3], 1);
        let y = b.reshape(y, &format!("{batch} 6 8"));
        let bias = b.weights(&[1, 6, 1]);
        let y = b.binary(Add, y, bias);
        let y = b.unary(UnaryOp::Tanh, y);
        let graph = optimized(b.finish(&[y]));
        assert_eq!(ops(&graph), "convb+ reshape");
    }
}
