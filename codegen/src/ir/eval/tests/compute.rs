use super::*;

#[test]
fn reductions() {
    let x = f32s(&[2, 3], &[1., -2., 3., 4., 5., -6.]);
    let reduce = |kind, axes: &[usize], keep_dims| Op::Reduce {
        kind,
        axes: axes.to_vec(),
        keep_dims,
    };
    for (kind, expected) in [
        (ReduceKind::Sum, [2., 3.]),
        (ReduceKind::Mean, [2. / 3., 1.]),
        (ReduceKind::Max, [3., 5.]),
        (ReduceKind::Min, [-2., -6.]),
        (ReduceKind::Prod, [-6., -120.]),
        (ReduceKind::SumSquare, [14., 77.]),
        (ReduceKind::L1, [6., 15.]),
        (ReduceKind::L2, [14f32.sqrt(), 77f32.sqrt()]),
        (ReduceKind::LogSum, [2f32.ln(), 3f32.ln()]),
        (
            ReduceKind::LogSumExp,
            [
                (1f32.exp() + (-2f32).exp() + 3f32.exp()).ln(),
                (4f32.exp() + 5f32.exp() + (-6f32).exp()).ln(),
            ],
        ),
    ] {
        check(reduce(kind, &[1], true), &[&x], &[2, 1], &expected);
    }
    check(reduce(ReduceKind::Sum, &[0], false), &[&x], &[3], &[5., 3., -3.]);
    check(reduce(ReduceKind::Sum, &[0, 1], false), &[&x], &[], &[5.]);
    check(
        reduce(ReduceKind::Sum, &[], false),
        &[&x],
        &[2, 3],
        &[1., -2., 3., 4., 5., -6.],
    );
    check(
        reduce(ReduceKind::Max, &[1], false),
        &[&f32s(&[1, 0], &[])],
        &[1],
        &[f32::NEG_INFINITY],
    );
    let largest = f32s(&[2], &[f32::INFINITY, 0.]);
    check(
        reduce(ReduceKind::LogSumExp, &[0], false),
        &[&largest],
        &[],
        &[f32::INFINITY],
    );
    let bytes = Tensor::new(vec![2], &[200u8, 100]);
    assert_eq!(
        one(reduce(ReduceKind::Sum, &[0], false), &[&bytes])
            .to_vec::<u8>()
            .unwrap(),
        [44]
    );
    let arg = |largest, last| Op::ArgReduce {
        largest,
        axis: 0,
        keep_dims: false,
        last,
    };
    let ties = f32s(&[4], &[1., 7., 7., 1.]);
    for (largest, last, expected) in [
        (true, false, 1i64),
        (true, true, 2),
        (false, false, 0),
        (false, true, 3),
    ] {
        assert_eq!(one(arg(largest, last), &[&ties]).to_vec::<i64>().unwrap(), [expected]);
    }
    let sum = |exclusive, reverse| Op::CumSum {
        axis: 1,
        exclusive,
        reverse,
    };
    check(sum(false, false), &[&x], &[2, 3], &[1., -1., 2., 4., 9., 3.]);
    check(sum(true, true), &[&x], &[2, 3], &[1., 3., 0., -1., -6., 0.]);
}

#[test]
fn elementwise_broadcasts_and_knows_coordinates() {
    let mut expr = Expr::empty();
    let (x, y) = (expr.input(0, DType::F32), expr.input(1, DType::F32));
    let sum = expr.apply2(BinaryOp::Add, x, y);
    let column = expr.push(Scalar::Index(1), DType::I64);
    let column = expr.convert(column, DType::F32);
    let size = expr.push(Scalar::Dim(Dim::symbol("s")), DType::I64);
    let size = expr.convert(size, DType::F32);
    let product = expr.apply2(BinaryOp::Mul, column, size);
    let result = expr.apply2(BinaryOp::Add, sum, product);
    let op = Op::Elementwise {
        expr: expr.finish(result),
        shape: vec![Dim::from(2i64), Dim::symbol("s")],
    };
    let inputs = [counting(&[2, 1]), f32s(&[], &[0.5])];
    let found = eval_node(&op, &inputs, &|_| Some(3)).unwrap();
    assert_eq!(found[0].to_vec::<f32>().unwrap(), [0.5, 3.5, 6.5, 1.5, 4.5, 7.5]);
    assert_eq!(eval_node(&op, &inputs, &|_| None).unwrap_err(), "s has no value");
}

#[test]
fn elementwise_crosses_chunks() {
    let x = counting(&[3, 5000]);
    let result = one(
        Op::Elementwise {
            expr: Expr::unary(UnaryOp::Neg, DType::F32),
            shape: dims(&[3, 5000]),
        },
        &[&x],
    );
    assert_eq!(result.to_vec::<f32>().unwrap()[14_999], -14_999.0);
}

#[test]
fn products() {
    let (a, b) = (counting(&[2, 1, 2, 3]), counting(&[2, 3, 1]));
    let matmul = Op::MatMul { epilogue: None };
    check(
        matmul.clone(),
        &[&a, &b],
        &[2, 2, 2, 1],
        &[5., 14., 14., 50., 23., 32., 86., 122.],
    );
    let (a, b) = (
        Tensor::new(vec![1, 2], &[i8::MAX, 1]),
        Tensor::new(vec![2, 1], &[2i8, 3]),
    );
    assert_eq!(one(matmul.clone(), &[&a, &b]).to_vec::<i8>().unwrap(), [1]);
    check(matmul, &[&f32s(&[2, 0], &[]), &f32s(&[0, 2], &[])], &[2, 2], &[0.; 4]);
    let mut expr = Expr::binary(BinaryOp::Add, DType::F32);
    let relu = expr.float(0.0, DType::F32);
    let result = expr.apply2(BinaryOp::Max, 2, relu);
    let op = Op::MatMul {
        epilogue: Some(Epilogue {
            expr: expr.finish(result),
        }),
    };
    check(
        op,
        &[&counting(&[2, 2]), &counting(&[2, 2]), &f32s(&[2], &[-3., 1.])],
        &[2, 2],
        &[0., 4., 3., 12.],
    );
}

#[test]
fn normalization() {
    let x = f32s(&[2, 2], &[1., 3., 1000., 1000.]);
    let (e, f) = (1. / (1. + 2f32.exp()), 1. / (1. + (-2f32).exp()));
    check(Op::Softmax { axis: 1, log: false }, &[&x], &[2, 2], &[e, f, 0.5, 0.5]);
    check(
        Op::Softmax { axis: 1, log: true },
        &[&x],
        &[2, 2],
        &[e.ln(), f.ln(), 0.5f32.ln(), 0.5f32.ln()],
    );
    let op = |kind, scale, bias| Op::Normalize {
        kind,
        axis: 1,
        epsilon: 3.,
        scale,
        bias,
    };
    let (scale, bias) = (f32s(&[2], &[2., 4.]), f32s(&[2], &[1., 0.]));
    check(
        op(NormalizeKind::Layer, true, true),
        &[&x, &scale, &bias],
        &[2, 2],
        &[0., 2., 1., 0.],
    );
    let rms = 8f32.sqrt();
    let far = 1000. / 1_000_003f32.sqrt();
    check(
        op(NormalizeKind::Rms, false, false),
        &[&x],
        &[2, 2],
        &[1. / rms, 3. / rms, far, far],
    );
}

#[test]
fn attention_sees_what_it_may() {
    let (q, k) = (counting(&[2, 1]), counting(&[3, 1]));
    let v = f32s(&[3, 2], &[1., 10., 2., 20., 3., 30.]);
    let attention = |mask, causal| Op::Attention {
        scale: 0.5,
        mask,
        causal,
    };
    let weights = [1., 0.5f32.exp(), 1f32.exp()];
    let mean = |count: usize| {
        let pairs = weights[..count].iter().zip([1f32, 2., 3.]);
        pairs.clone().map(|(w, v)| w * v).sum::<f32>() / pairs.map(|(w, _)| w).sum::<f32>()
    };
    let full = mean(3);
    check(
        attention(false, false),
        &[&q, &k, &v],
        &[2, 2],
        &[2., 20., full, 10. * full],
    );
    let seen = mean(2);
    check(
        attention(false, true),
        &[&q, &k, &v],
        &[2, 2],
        &[1., 10., seen, 10. * seen],
    );
    let mask = f32s(&[3], &[0., 0., f32::NEG_INFINITY]);
    check(
        attention(true, false),
        &[&q, &k, &v, &mask],
        &[2, 2],
        &[1.5, 15., seen, 10. * seen],
    );
}

/// The same recurrences written for one unit and one input.
#[test]
fn recurrences() {
    let sigmoid = |x: f32| 1. / (1. + (-x).exp());
    let x = f32s(&[2, 1, 1], &[0.5, -1.]);
    let h = f32s(&[1, 1], &[0.3]);
    let run = |cell, reverse, inputs: &[&Tensor]| {
        let results = eval(&Op::Recurrent { cell, reverse }, inputs).unwrap();
        results
            .iter()
            .map(|result| result.to_vec::<f32>().unwrap())
            .collect::<Vec<_>>()
    };
    let close = |a: &[f32], b: &[f32]| assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6), "{a:?} {b:?}");
    let (w, r) = (f32s(&[1, 1], &[2.]), f32s(&[1, 1], &[-1.]));
    let first = (-2. - 0.3 + 0.1f32).tanh();
    let second = (2. * 0.5 - first + 0.1f32).tanh();
    let found = run(Cell::Rnn, true, &[&x, &w, &r, &f32s(&[1], &[0.1]), &h]);
    close(&found[0], &[second, first]);
    close(&found[1], &[second]);

    let (w, r) = (f32s(&[3, 1], &[1., 2., 3.]), f32s(&[3, 1], &[0.5, -0.5, 2.]));
    let bias = f32s(&[6], &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]);
    for linear_before_reset in [false, true] {
        let (mut state, mut expected) = (0.3f32, Vec::new());
        for x in [0.5, -1.] {
            let z = sigmoid(x + 0.5 * state + 0.5);
            let r = sigmoid(2. * x - 0.5 * state + 0.7);
            let recurrent = if linear_before_reset {
                r * (2. * state + 0.6)
            } else {
                2. * r * state + 0.6
            };
            state = (1. - z) * (3. * x + 0.3 + recurrent).tanh() + z * state;
            expected.push(state);
        }
        let cell = Cell::Gru { linear_before_reset };
        close(&run(cell, false, &[&x, &w, &r, &bias, &h])[0], &expected);
    }

    let (w, r) = (f32s(&[4, 1], &[1., 2., 3., 4.]), f32s(&[4, 1], &[0.5, -0.5, 2., 1.]));
    let bias = f32s(&[4], &[0.1, 0.2, 0.3, 0.4]);
    let (mut state, mut memory, mut expected) = (0.3f32, -0.7f32, Vec::new());
    for x in [0.5, -1.] {
        let i = sigmoid(x + 0.5 * state + 0.1);
        let o = sigmoid(2. * x - 0.5 * state + 0.2);
        let f = sigmoid(3. * x + 2. * state + 0.3);
        memory = f * memory + i * (4. * x + state + 0.4).tanh();
        state = o * memory.tanh();
        expected.push(state);
    }
    let found = run(Cell::Lstm, false, &[&x, &w, &r, &bias, &h, &f32s(&[1, 1], &[-0.7])]);
    close(&found[0], &expected);
    close(&found[1], &[state]);
    close(&found[2], &[memory]);
}
