//! Products of quantized tensors.

use super::support::{Builder, ops, optimized, random};
use crate::ir::op::{PoolKind, Window};
use crate::ir::{BinaryOp::*, DType, Dim, Graph, Op, Tensor, UnaryOp, ValueId};

/// Numbers that begin at `low` and go up to `high`.
fn numbers(rows: usize, columns: usize, low: i32, high: i32) -> Tensor {
    let span = high - low + 1;
    let number = |index: usize| low + (index as i32 * 37) % span;
    let numbers: Vec<i32> = (0..rows * columns).map(number).collect();
    Tensor::new(vec![rows, columns], &numbers)
}

fn bytes(tensor: &Tensor) -> Tensor {
    let values: Vec<i8> = tensor
        .to_vec::<i32>()
        .unwrap()
        .into_iter()
        .map(|value| value as i8)
        .collect();
    Tensor::new(tensor.shape.clone(), &values)
}

/// The difference of a tensor and its zero point in `i32`.
fn centered(b: &mut Builder, x: ValueId, zero: Option<ValueId>) -> ValueId {
    let x = b.cast(x, DType::I32);
    match zero {
        Some(zero) => {
            let zero = b.cast(zero, DType::I32);
            b.binary(Sub, x, zero)
        }
        None => x,
    }
}

/// The number it stands for.
fn dequantized(b: &mut Builder, x: ValueId, zero: Option<ValueId>, scale: ValueId) -> ValueId {
    let difference = centered(b, x, zero);
    let difference = b.cast(difference, DType::F32);
    b.binary(Mul, difference, scale)
}

/// The types of what matrix products multiply.
fn factors(graph: &Graph) -> Vec<[DType; 2]> {
    let products = graph
        .body
        .nodes
        .iter()
        .filter(|node| matches!(node.op, Op::MatMul { .. }));
    products
        .map(|node| [0, 1].map(|index| graph.ty(node.inputs[index]).dtype))
        .collect()
}

const INT8: [DType; 2] = [DType::U8, DType::I8];

#[test]
fn differences_of_either_sign() {
    for dtype in [DType::U8, DType::I8] {
        for zero in [None, Some(3u8)] {
            let mut b = Builder::new();
            let x = b.input(dtype, "b s 5");
            let zero = zero.map(|zero| match dtype {
                DType::U8 => b.constant(Tensor::scalar(zero)),
                _ => b.constant(Tensor::scalar(zero as i8)),
            });
            let a = centered(&mut b, x, zero);
            let w = b.constant(numbers(5, 6, -128, 127));
            let product = b.matmul(a, w);
            let graph = optimized(b.finish(&[product]));
            assert_eq!(factors(&graph), [INT8]);
            let expected = match (dtype, zero) {
                (DType::U8, None) => "matmul",
                (DType::U8, _) => "matmul+",
                _ => "elementwise matmul+",
            };
            assert_eq!(ops(&graph), expected);
        }
    }
}

#[test]
fn zero_points_of_the_run() {
    for dims in ["", "1", "b s 1"] {
        let mut b = Builder::new();
        let x = b.input(DType::U8, "b s 5");
        let zero = b.input(DType::U8, dims);
        let a = centered(&mut b, x, Some(zero));
        let w = b.constant(bytes(&numbers(5, 6, -100, 90)));
        let w = centered(&mut b, w, None);
        let product = b.matmul(a, w);
        let graph = optimized(b.finish(&[product]));
        assert_eq!(factors(&graph), [INT8], "{dims}");
    }
}

#[test]
fn columns_beyond_eight_bits_are_shifted() {
    for (dtype, has_zero) in [(DType::U8, false), (DType::U8, true), (DType::I8, true)] {
        let mut b = Builder::new();
        let x = b.input(dtype, "b s 5");
        let zero = has_zero.then(|| b.input(dtype, ""));
        let a = centered(&mut b, x, zero);
        // Unsigned weights with the zero point 17.
        let w = b.constant(numbers(5, 70, -17, 238));
        let product = b.matmul(a, w);
        let graph = optimized(b.finish(&[product]));
        assert_eq!(factors(&graph), [INT8]);
    }
}

#[test]
fn numbers_with_scales() {
    for transposed in [false, true] {
        for dtype in [DType::U8, DType::I8] {
            let mut b = Builder::new();
            let x = b.input(dtype, "b 5");
            let scale = b.scalar(0.02);
            let zero = b.input(dtype, "");
            let a = dequantized(&mut b, x, Some(zero), scale);
            let (w, scales) = match transposed {
                true => (numbers(6, 5, -128, 127), random(DType::F32, &[6, 1], 5)),
                false => (numbers(5, 6, -128, 127), random(DType::F32, &[6], 5)),
            };
            let (w, scales) = (b.constant(bytes(&w)), b.constant(scales));
            let mut w = dequantized(&mut b, w, None, scales);
            if transposed {
                w = b.transpose(w, &[1, 0]);
            }
            let product = b.matmul(a, w);
            let bias = b.weights(&[6]);
            let sum = b.binary(Add, product, bias);
            let relu = b.with_number(Max, sum, 0.0);
            let graph = optimized(b.finish(&[relu]));
            assert_eq!(factors(&graph), [INT8]);
        }
    }
}

#[test]
fn what_stays_as_it_is() {
    let product = |make: &dyn Fn(&mut Builder) -> [ValueId; 2]| {
        let mut b = Builder::new();
        let [a, w] = make(&mut b);
        let product = b.matmul(a, w);
        factors(&optimized(b.finish(&[product])))
    };
    let quantized = |b: &mut Builder, zero_dims: &str| {
        let x = b.input(DType::U8, "b 5");
        let zero = b.input(DType::U8, zero_dims);
        centered(b, x, Some(zero))
    };
    // Columns that span more than 255 values.
    let wide = product(&|b| {
        let a = quantized(b, "");
        let column = [-200, 0, 3, 56, 5];
        let numbers: Vec<i32> = column.into_iter().flat_map(|number| [number; 6]).collect();
        [a, b.constant(Tensor::new(vec![5, 6], &numbers))]
    });
    assert!(wide.is_empty());
    // Zero points that differ along a row.
    let along = product(&|b| {
        let a = quantized(b, "5");
        [a, b.constant(numbers(5, 6, -128, 127))]
    });
    assert!(along.is_empty());
    // Numbers of more than 8 bits.
    let long = product(&|b| {
        let x = b.input(DType::I32, "b 5");
        let zero = b.input(DType::I32, "");
        let a = b.binary(Sub, x, zero);
        [a, b.constant(numbers(5, 6, -128, 127))]
    });
    assert!(long.is_empty());
    // A right matrix that only the run knows.
    let variable = product(&|b| {
        let a = quantized(b, "");
        let w = b.input(DType::I8, "5 6");
        [a, centered(b, w, None)]
    });
    assert!(variable.is_empty());
    // Scales that differ along the depth of the weights, or along a row on the left.
    for (left, right) in [(vec![], vec![5, 1]), (vec![5], vec![])] {
        let scaled = product(&|b| {
            let x = b.input(DType::U8, "b 5");
            let scale = b.weights(&left);
            let a = dequantized(b, x, None, scale);
            let w = b.constant(bytes(&numbers(5, 6, -128, 127)));
            let scale = b.weights(&right);
            [a, dequantized(b, w, None, scale)]
        });
        assert_eq!(scaled, [[DType::F32; 2]]);
    }
}

#[test]
fn results_of_other_types_end_a_product() {
    for to in [DType::U8, DType::I8, DType::F32] {
        let mut b = Builder::new();
        let x = b.input(DType::U8, "b 5");
        let a = centered(&mut b, x, None);
        let w = b.constant(numbers(5, 6, -3, 3));
        let product = b.matmul(a, w);
        let real = b.cast(product, DType::F32);
        let scaled = b.with_number(Mul, real, 0.25);
        let high = b.with_number(Min, scaled, 127.0);
        let low = b.with_number(Max, high, 0.0);
        let result = b.cast(low, to);
        assert_eq!(ops(&optimized(b.finish(&[result]))), "matmul+", "{to}");
    }
}

#[test]
fn products_without_a_kernel_become_sums() {
    let mut b = Builder::new();
    let x = b.input(DType::U8, "2 s 3");
    let batch = Tensor::new(vec![2, 3, 4], &(-12..12).collect::<Vec<i8>>());
    let weights = b.constant(batch);
    let of_batch = b.matmul(x, weights);
    let variable = b.input(DType::I8, "3 4");
    let variable = b.matmul(x, variable);
    let graph = optimized(b.finish(&[of_batch, variable]));
    assert_eq!(ops(&graph).matches("fold").count(), 2);
    assert!(factors(&graph).is_empty());
}

#[test]
fn sums_beyond_32_bits_stay_floats() {
    let product = |weights: Tensor| {
        let mut b = Builder::new();
        let x = b.input(DType::U8, "b 5");
        let scale = b.scalar(0.5);
        let a = dequantized(&mut b, x, None, scale);
        let w = b.constant(weights);
        let real = b.cast(w, DType::F32);
        let w = b.with_number(Mul, real, 0.5);
        let product = b.matmul(a, w);
        factors(&optimized(b.finish(&[product])))
    };
    assert_eq!(product(numbers(5, 6, 1000, 1100)), [INT8]);
    assert_eq!(product(numbers(5, 6, 8_000_000, 8_000_100)), [[DType::F32; 2]]);
    // Numbers that would fit without their upper half.
    let long: Vec<i64> = (0..30).map(|number| (1 << 32) + number).collect();
    assert_eq!(product(Tensor::new(vec![5, 6], &long)), [[DType::F32; 2]]);
}

#[test]
fn rows_of_one_number_are_sums_or_rows_in_32_bits() {
    let mut b = Builder::new();
    let ids = b.input(DType::I32, "s 1");
    let classes = b.constant(Tensor::new(vec![5], &[0i32, 1, 2, 3, 4]));
    let one = b.binary(Eq, ids, classes);
    let byte = b.cast(one, DType::U8);
    let a = centered(&mut b, byte, None);
    let w = b.constant(numbers(5, 6, -128, 127));
    let product = b.matmul(a, w);
    optimized(b.finish(&[product]));
}

#[test]
fn weights_that_are_far_from_constants_are_not_computed_anew() {
    let mut b = Builder::new();
    let x = b.input(DType::U8, "b 2");
    let a = centered(&mut b, x, None);
    let mut w = b.constant(numbers(2, 2, 0, 1));
    for _ in 0..40 {
        let magnitude = b.unary(UnaryOp::Abs, w);
        w = b.binary(Sub, w, magnitude);
    }
    let product = b.matmul(a, w);
    optimized(b.finish(&[product]));
}

/// Numbers between the limits of `i8`.
fn filters(shape: &[usize]) -> Tensor {
    let numbers: Vec<i8> = (0..shape.iter().product())
        .map(|index: usize| (index * 37 % 255) as u8 as i8)
        .collect();
    Tensor::new(shape.to_vec(), &numbers)
}

fn convolution(groups: usize, kernel: usize, pad: i64) -> Op {
    Op::Conv {
        window: window(kernel, pad),
        groups,
        bias: false,
        pad_value: 0,
        epilogue: None,
    }
}

fn window(kernel: usize, pad: i64) -> Window {
    Window {
        kernel: vec![kernel; 2],
        strides: vec![1; 2],
        dilations: vec![1; 2],
        pads_before: vec![Dim::from(pad); 2],
        pads_after: vec![Dim::from(pad); 2],
    }
}

fn strided(kernel: usize, pad: i64, stride: usize) -> Window {
    Window {
        strides: vec![stride; 2],
        ..window(kernel, pad)
    }
}

/// A dequantized image and weights of scales per channel.
fn image_and_weights(b: &mut Builder, dims: &str, zero: i8, weights: &[usize]) -> [ValueId; 2] {
    let x = b.input(DType::I8, dims);
    let (zero, scale) = (b.constant(Tensor::scalar(zero)), b.scalar(0.5));
    let x = dequantized(b, x, Some(zero), scale);
    let scales: Vec<f32> = (0..weights[0]).map(|channel| 0.01 * (1 + channel) as f32).collect();
    let scales = b.constant(Tensor::new(vec![weights[0], 1, 1, 1], &scales));
    let w = b.constant(filters(weights));
    [x, dequantized(b, w, None, scales)]
}

/// Numbers of type `i8`, with a zero point.
fn quantized(b: &mut Builder, x: ValueId, scale: f32, zero: f32) -> ValueId {
    let ratio = b.with_number(Div, x, scale);
    let rounded = b.unary(UnaryOp::Round, ratio);
    let moved = b.with_number(Add, rounded, zero);
    let moved = b.with_number(Max, moved, -128.0);
    let moved = b.with_number(Min, moved, 127.0);
    b.cast(moved, DType::I8)
}

#[test]
fn convolutions_of_images() {
    for (groups, pad, zero) in [(1, 0, -128), (1, 1, -128), (1, 1, 5), (3, 1, -7), (3, 0, 0)] {
        let mut b = Builder::new();
        let weights = if groups == 1 { [4, 3, 3, 3] } else { [3, 1, 3, 3] };
        let [x, w] = image_and_weights(&mut b, "b 3 6 7", zero, &weights);
        let y = b.op(convolution(groups, 3, pad), &[x, w]);
        let graph = optimized(b.finish(&[y]));
        assert_eq!(
            ops(&graph),
            "elementwise conv+",
            "{groups} groups, padding {pad}, zero point {zero}"
        );
    }
}

#[test]
fn a_group_of_several_channels_stays() {
    let mut b = Builder::new();
    let [x, w] = image_and_weights(&mut b, "b 4 6 7", 3, &[4, 2, 3, 3]);
    let y = b.op(convolution(2, 3, 1), &[x, w]);
    let graph = optimized(b.finish(&[y]));
    assert_eq!(ops(&graph), "elementwise conv");
}

#[test]
fn convolutions_of_moved_images() {
    let mut b = Builder::new();
    let [x, w] = image_and_weights(&mut b, "1 6 7 3", -128, &[2, 3, 3, 3]);
    let x = b.transpose(x, &[0, 3, 1, 2]);
    let y = b.op(convolution(1, 3, 1), &[x, w]);
    let graph = optimized(b.finish(&[y]));
    assert_eq!(ops(&graph), "elementwise transpose conv+");
}

#[test]
fn averages_are_convolutions() {
    for (pad, count_include_pad) in [(0, false), (1, true)] {
        let mut b = Builder::new();
        let x = b.input(DType::U8, "b 5 6 7");
        let (zero, scale) = (b.constant(Tensor::scalar(9u8)), b.scalar(0.5));
        let x = dequantized(&mut b, x, Some(zero), scale);
        let pool = Op::Pool {
            kind: PoolKind::Average { count_include_pad },
            window: window(3, pad),
            ceil_mode: false,
        };
        let y = b.op(pool, &[x]);
        let graph = optimized(b.finish(&[y]));
        assert_eq!(ops(&graph), "conv+");
    }
}

/// Between the layers of a residual block, there are bytes without a sign alone.
#[test]
fn a_residual_block_of_signed_numbers() {
    let mut b = Builder::new();
    let [x, w] = image_and_weights(&mut b, "1 4 6 7", -3, &[4, 4, 3, 3]);
    let first = b.op(convolution(1, 3, 1), &[x, w]);
    let first = b.with_number(Max, first, 0.0);
    let first = quantized(&mut b, first, 1.5, -128.0);
    let (zero, scale) = (b.constant(Tensor::scalar(-128i8)), b.scalar(1.5));
    let first = dequantized(&mut b, first, Some(zero), scale);
    let second = b.op(convolution(1, 3, 1), &[first, w]);
    let sum = b.binary(Add, second, first);
    let y = quantized(&mut b, sum, 3.0, 4.0);
    let graph = optimized(b.finish(&[y]));
    assert_eq!(ops(&graph), "elementwise conv+ conv+");
    let types = graph.body.nodes.iter().map(|node| graph.ty(node.outputs[0]).dtype);
    let types: Vec<DType> = types.filter(|dtype| dtype.bits() == 8).collect();
    assert_eq!(types, [DType::U8, DType::I8, DType::U8, DType::I8]);
}

/// A signed value that is stored once, without a sign, although two convolutions and a sum use it.
#[test]
fn a_signed_value_of_three_users() {
    let mut b = Builder::new();
    let [x, w] = image_and_weights(&mut b, "1 4 6 7", -3, &[4, 4, 3, 3]);
    let first = b.op(convolution(1, 3, 1), &[x, w]);
    let first = quantized(&mut b, first, 1.5, 0.0);
    let (zero, scale) = (b.constant(Tensor::scalar(0i8)), b.scalar(1.5));
    let first = dequantized(&mut b, first, Some(zero), scale);
    let second = b.op(convolution(1, 3, 1), &[first, w]);
    let scale = b.scalar(0.25);
    let others = b.constant(filters(&[4, 4, 1, 1]));
    let others = dequantized(&mut b, others, None, scale);
    let third = b.op(convolution(1, 1, 0), &[first, others]);
    let third = b.unary(UnaryOp::Tanh, third);
    let sum = b.binary(Add, second, first);
    let sum = b.binary(Mul, sum, third);
    let graph = optimized(b.finish(&[sum]));
    assert_eq!(ops(&graph), "elementwise conv+ conv conv+");
}

/// Two layers whose results are joined, quantized twice, with a third one behind: bytes are all that is between them. With these
/// scales no quotient is half way between two numbers, where passes may change a result by one.
#[test]
fn joined_layers() {
    for scale in [1.9137, 2.6789] {
        let mut b = Builder::new();
        let [x, w] = image_and_weights(&mut b, "1 4 6 7", -3, &[4, 4, 3, 3]);
        let factor = b.scalar(0.25);
        let small = b.constant(filters(&[4, 4, 1, 1]));
        let small = dequantized(&mut b, small, None, factor);
        let parts = [(1.2345, 3, 1, w), (scale, 1, 0, small)].map(|(scale, kernel, pad, weights)| {
            let part = b.op(convolution(1, kernel, pad), &[x, weights]);
            let part = quantized(&mut b, part, scale, -8.0);
            let (zero, scale) = (b.constant(Tensor::scalar(-8i8)), b.scalar(scale));
            dequantized(&mut b, part, Some(zero), scale)
        });
        let joined = b.op(Op::Concat { axis: 1 }, &parts);
        let joined = quantized(&mut b, joined, 1.9137, 5.0);
        let (zero, scale) = (b.constant(Tensor::scalar(5i8)), b.scalar(1.9137));
        let joined = dequantized(&mut b, joined, Some(zero), scale);
        let weights = b.constant(filters(&[4, 8, 1, 1]));
        let weights = dequantized(&mut b, weights, None, scale);
        let y = b.op(convolution(1, 1, 0), &[joined, weights]);
        let graph = optimized(b.finish(&[y]));
        assert_eq!(ops(&graph), "elementwise conv+ conv+ concat conv+");
    }
}

#[test]
fn averages_of_huge_windows_stay() {
    let mut b = Builder::new();
    let x = b.input(DType::U8, "1 64 100 100");
    let scale = b.scalar(0.5);
    let x = dequantized(&mut b, x, None, scale);
    let pool = Op::Pool {
        kind: PoolKind::Average {
            count_include_pad: false,
        },
        window: window(80, 0),
        ceil_mode: false,
    };
    let y = b.op(pool, &[x]);
    let mut graph = b.finish(&[y]);
    crate::passes::optimize(&mut graph, &mut |_, _| {});
    assert_eq!(ops(&graph), "elementwise pool");
}

fn maximum(window: Window, ceil_mode: bool) -> Op {
    Op::Pool {
        kind: PoolKind::Max,
        window,
        ceil_mode,
    }
}

/// Between a convolution and the next, a maximum is one of bytes, and quantizing it as it was quantized is nothing.
#[test]
fn maxima_are_those_of_bytes() {
    for (zero, pad, stride, ceil_mode) in [
        (-128.0, 0, 1, false),
        (5.0, 1, 1, false),
        (5.0, 0, 2, true),
        (-7.0, 1, 2, true),
    ] {
        let mut b = Builder::new();
        let [x, w] = image_and_weights(&mut b, "1 4 6 7", -3, &[4, 4, 3, 3]);
        let x = b.op(convolution(1, 3, 1), &[x, w]);
        let x = quantized(&mut b, x, 1.5, zero);
        let (zero_point, scale) = (b.constant(Tensor::scalar(zero as i8)), b.scalar(1.5));
        let x = dequantized(&mut b, x, Some(zero_point), scale);
        let x = b.op(maximum(strided(3, pad, stride), ceil_mode), &[x]);
        let x = quantized(&mut b, x, 1.5, zero);
        let x = dequantized(&mut b, x, Some(zero_point), scale);
        let y = b.op(convolution(1, 3, 1), &[x, w]);
        let graph = optimized(b.finish(&[y]));
        assert_eq!(ops(&graph), "elementwise conv+ pool conv+");
        assert_eq!(pooled(&graph), DType::U8);
    }
}

/// The type of what maxima are taken of.
fn pooled(graph: &Graph) -> DType {
    let pool = graph.body.nodes.iter().find(|node| matches!(node.op, Op::Pool { .. }));
    graph.ty(pool.unwrap().inputs[0]).dtype
}

/// What is quantized after a maximum can be quantized before it, so that a convolution gives bytes; not so if the maximum may
/// be that of nothing.
#[test]
fn maxima_are_taken_of_what_is_quantized() {
    for (pad, is_byte) in [(0, true), (1, true), (3, false)] {
        let mut b = Builder::new();
        let [x, w] = image_and_weights(&mut b, "1 4 6 7", -3, &[4, 4, 3, 3]);
        let x = b.op(convolution(1, 3, 1), &[x, w]);
        let x = b.with_number(Max, x, 0.0);
        let x = b.op(maximum(strided(3, pad, 2), false), &[x]);
        let x = quantized(&mut b, x, 1.2345, -100.0);
        let (zero_point, scale) = (b.constant(Tensor::scalar(-100i8)), b.scalar(1.2345));
        let x = dequantized(&mut b, x, Some(zero_point), scale);
        let y = b.op(convolution(1, 3, 1), &[x, w]);
        let graph = optimized(b.finish(&[y]));
        let (between, dtype) = if is_byte {
            ("", DType::U8)
        } else {
            ("elementwise ", DType::F32)
        };
        assert_eq!(ops(&graph), format!("elementwise conv+ pool {between}conv+"));
        assert_eq!(pooled(&graph), dtype);
    }
}

/// A convolution in `f32` gives nothing else, and quantizing its whole image would be more work than what is left of it.
#[test]
fn maxima_of_floats_are_quantized_afterwards() {
    let mut b = Builder::new();
    let (x, w) = (
        b.input(DType::F32, "1 4 6 7"),
        b.constant(random(DType::F32, &[4, 4, 3, 3], 5)),
    );
    let x = b.op(convolution(1, 3, 1), &[x, w]);
    let x = b.with_number(Max, x, 0.0);
    let x = b.op(maximum(strided(3, 1, 2), false), &[x]);
    let y = quantized(&mut b, x, 0.0123, -100.0);
    let graph = optimized(b.finish(&[y]));
    assert_eq!(ops(&graph), "conv+ pool elementwise");
    assert_eq!(pooled(&graph), DType::F32);
}

#[test]
fn maxima_of_signed_bytes() {
    let mut b = Builder::new();
    let x = b.input(DType::I8, "b 4 6 7");
    let y = b.op(maximum(window(2, 0), false), &[x]);
    assert_eq!(ops(&optimized(b.finish(&[y]))), "elementwise pool elementwise");
}

/// Windows that may see nothing, whose maximum is no number of 8 bits, and scales that turn the order around.
#[test]
fn other_maxima_stay() {
    let apart = Window {
        dilations: vec![2, 2],
        ..window(2, 1)
    };
    for (window, ceil_mode, scale) in [
        (apart, false, 0.5),
        (window(2, 2), false, 0.5),
        (strided(2, 0, 3), true, 0.5),
        (window(2, 0), false, -0.5),
    ] {
        let mut b = Builder::new();
        let x = b.input(DType::U8, "b 4 7 7");
        let scale = b.scalar(scale);
        let x = dequantized(&mut b, x, None, scale);
        let y = b.op(maximum(window, ceil_mode), &[x]);
        assert_eq!(ops(&optimized(b.finish(&[y]))), "elementwise pool");
    }
}
