use super::*;
use crate::ir::expr::{BinaryOp, Expr, Scalar, UnaryOp};
use crate::ir::op::{
    Cell, Epilogue, NearestRounding, NormalizeKind, PadMode, PoolKind, ReduceKind, ResizeCoordinates, ResizeMode,
    Window,
};

fn dims(sizes: &[i64]) -> Vec<Dim> {
    sizes.iter().map(|&size| Dim::from(size)).collect()
}

fn f32s(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::new(shape.to_vec(), values)
}

fn counting(shape: &[usize]) -> Tensor {
    let values: Vec<f32> = (0..shape.iter().product::<usize>()).map(|i| i as f32).collect();
    f32s(shape, &values)
}

/// Evaluates an operation on constant dimensions.
fn eval(op: &Op, inputs: &[&Tensor]) -> Result<Vec<Tensor>, String> {
    let inputs: Vec<Tensor> = inputs.iter().map(|&input| input.clone()).collect();
    eval_node(op, &inputs, &|_| None)
}

fn one(op: Op, inputs: &[&Tensor]) -> Tensor {
    let mut results = eval(&op, inputs).unwrap();
    assert_eq!(results.len(), 1);
    results.remove(0)
}

#[track_caller]
fn check(op: Op, inputs: &[&Tensor], shape: &[usize], values: &[f32]) {
    let result = one(op, inputs);
    assert_eq!(result.shape, shape);
    let found = result.to_vec::<f32>().unwrap();
    let close = |a: f32, b: f32| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-6 * b.abs().max(1.0);
    assert!(
        found.iter().zip(values).all(|(&a, &b)| close(a, b)),
        "{found:?}, not {values:?}"
    );
    assert_eq!(found.len(), values.len());
}

fn window(kernel: &[usize], strides: &[usize], dilations: &[usize], before: &[i64], after: &[i64]) -> Window {
    Window {
        kernel: kernel.to_vec(),
        strides: strides.to_vec(),
        dilations: dilations.to_vec(),
        pads_before: dims(before),
        pads_after: dims(after),
    }
}

mod compute;
mod views;
mod windows;

#[test]
fn odd_operands_are_errors() {
    let fails = |op: Op, inputs: &[&Tensor]| eval(&op, inputs).unwrap_err();
    let x = counting(&[2, 2]);
    fails(Op::MatMul { epilogue: None }, &[&x]);
    fails(Op::MatMul { epilogue: None }, &[&x, &counting(&[3, 2])]);
    fails(
        Op::Transpose {
            permutation: vec![0, 0],
        },
        &[&x],
    );
    fails(Op::Softmax { axis: 2, log: false }, &[&x]);
    fails(Op::Concat { axis: 5 }, &[&x]);
    fails(
        Op::Reduce {
            kind: ReduceKind::Sum,
            axes: vec![1, 0],
            keep_dims: true,
        },
        &[&x],
    );
    fails(
        Op::Broadcast {
            shape: dims(&[1 << 40, 2, 2]),
        },
        &[&x],
    );
    fails(
        Op::Broadcast {
            shape: dims(&[0, i64::MAX, i64::MAX]),
        },
        &[&f32s(&[], &[1.])],
    );
    fails(
        Op::Pad {
            mode: PadMode::Edge,
            before: dims(&[i64::MIN, 0]),
            after: dims(&[i64::MAX, i64::MAX]),
        },
        &[&x],
    );
    fails(
        Op::Elementwise {
            expr: Expr::empty(),
            shape: vec![],
        },
        &[],
    );
    fails(
        Op::Elementwise {
            expr: Expr::unary(UnaryOp::Sin, DType::I32),
            shape: dims(&[2, 2]),
        },
        &[&x],
    );
    let w = window(&[usize::MAX], &[1], &[1], &[0], &[0]);
    fails(
        Op::Pool {
            kind: PoolKind::Max,
            window: w,
            ceil_mode: false,
        },
        &[&counting(&[1, 1, 2])],
    );
    let broken = Tensor {
        dtype: DType::F32,
        shape: vec![3],
        data: vec![0; 5].into(),
    };
    fails(Op::Softmax { axis: 0, log: false }, &[&broken]);
}
