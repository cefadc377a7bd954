use super::*;
use crate::dispatch;
use crate::isa::Isa;
use crate::kernels::linear::*;

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `bias + x W^T` for `W` of `[rows, x.len()]`, as ONNX stores it.
fn affine(w: &[f32], x: &[f64], bias: impl Fn(usize) -> f64, rows: usize) -> Vec<f64> {
    let product = |row: usize, index: usize| f64::from(w[row * x.len() + index]) * x[index];
    (0..rows)
        .map(|row| bias(row) + (0..x.len()).map(|index| product(row, index)).sum::<f64>())
        .collect()
}

fn packed_transpose(w: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut packed = vec![f32::NAN; packed_rhs_len(columns, rows)];
    pack_rhs(columns, rows, w, 1, columns, &mut packed);
    packed
}

/// The shapes that both layers are tried with: steps, batch, input, hidden.
const SHAPES: [[usize; 4]; 7] = [
    [1, 1, 1, 1],
    [5, 1, 7, 16],
    [9, 3, 20, 13],
    [3, 14, 5, 40],
    [200, 1, 3, 40],
    [4, 2, 0, 5],
    [0, 2, 3, 4],
];

/// Compares states and outputs, whose errors grow with the steps.
#[track_caller]
fn assert_states(actual: &[f32], expected: &[f64], steps: usize, what: &str) {
    for (index, (&actual, &expected)) in actual.iter().zip(expected).enumerate() {
        let bound = 3e-6 * (steps as f64).sqrt().max(1.0);
        assert!(
            (f64::from(actual) - expected).abs() <= bound,
            "{what} at {index}: {actual} is not {expected}"
        );
    }
}

fn check_lstm<I: Isa>(
    isa: I,
    [steps, batch, input, hidden]: [usize; 4],
    reverse: bool,
    batch_first: bool,
    extras: bool,
) {
    let (x_step, x_batch) = if batch_first {
        (input, input * steps)
    } else {
        (input * batch, input)
    };
    let (y_step, y_batch) = (hidden * batch * 2, hidden);
    let problem = Lstm {
        steps,
        batch,
        input,
        hidden,
        reverse,
        x_step,
        x_batch,
        y_step,
        y_batch,
    };
    let x = random(1, steps * batch * input);
    let w = random(2, 4 * hidden * input);
    let r: Vec<f32> = random(3, 4 * hidden * hidden).iter().map(|r| r * 0.3).collect();
    let bias = random(4, 4 * hidden);
    let peephole = random(5, 3 * hidden);
    let (bias, peephole) = if extras {
        (Some(&bias[..]), Some(&peephole[..]))
    } else {
        (None, None)
    };
    let (h0, c0) = (random(6, batch * hidden), random(7, batch * hidden));

    let (mut h, mut c, mut y) = (h0.clone(), c0.clone(), vec![f32::NAN; steps * y_step]);
    let (w_packed, r_packed) = (
        packed_transpose(&w, 4 * hidden, input),
        packed_transpose(&r, 4 * hidden, hidden),
    );
    let mut scratch = vec![f32::NAN; lstm_scratch(&problem)];
    isa.lstm(
        &problem,
        &x,
        &w_packed,
        &r_packed,
        bias,
        peephole,
        &mut h,
        &mut c,
        Some(&mut y),
        &mut scratch,
    );

    let what = format!("{:?} {problem:?}", I::LEVEL);
    for sequence in 0..batch {
        let states =
            |from: &[f32]| -> Vec<f64> { from[sequence * hidden..][..hidden].iter().map(|&v| v.into()).collect() };
        let (mut h_expected, mut c_expected) = (states(&h0), states(&c0));
        for index in 0..steps {
            let step = if reverse { steps - 1 - index } else { index };
            let x: Vec<f64> = x[step * x_step + sequence * x_batch..][..input]
                .iter()
                .map(|&v| v.into())
                .collect();
            let gates = affine(&w, &x, |row| bias.map_or(0.0, |bias| bias[row].into()), 4 * hidden);
            let gates = affine(&r, &h_expected, |row| gates[row], 4 * hidden);
            let p = |gate: usize, j: usize| peephole.map_or(0.0, |p| f64::from(p[gate * hidden + j]));
            for j in 0..hidden {
                let c = c_expected[j];
                let i = sigmoid(gates[j] + p(0, j) * c);
                let f = sigmoid(gates[2 * hidden + j] + p(2, j) * c);
                let c = f * c + i * gates[3 * hidden + j].tanh();
                let o = sigmoid(gates[hidden + j] + p(1, j) * c);
                c_expected[j] = c;
                h_expected[j] = o * c.tanh();
            }
            assert_states(
                &y[step * y_step + sequence * y_batch..][..hidden],
                &h_expected,
                steps,
                &what,
            );
        }
        assert_states(&h[sequence * hidden..][..hidden], &h_expected, steps, &what);
        assert_states(&c[sequence * hidden..][..hidden], &c_expected, steps, &what);
    }
}

fn check_gru<I: Isa>(isa: I, [steps, batch, input, hidden]: [usize; 4], reverse: bool, linear: bool, biased: bool) {
    let (y_step, y_batch) = (hidden, hidden * steps);
    let (x_step, x_batch) = (input * batch, input);
    let problem = Gru {
        steps,
        batch,
        input,
        hidden,
        reverse,
        linear_before_reset: linear,
        x_step,
        x_batch,
        y_step,
        y_batch,
    };
    let x = random(1, steps * batch * input);
    let w = random(2, 3 * hidden * input);
    let r: Vec<f32> = random(3, 3 * hidden * hidden).iter().map(|r| r * 0.3).collect();
    let bias = random(4, 4 * hidden);
    let bias = biased.then_some(&bias[..]);
    let h0 = random(6, batch * hidden);

    let (mut h, mut y) = (h0.clone(), vec![f32::NAN; steps * batch * hidden]);
    let w_packed = packed_transpose(&w, 3 * hidden, input);
    let mut r_packed = packed_transpose(&r, 2 * hidden, hidden);
    r_packed.extend(packed_transpose(&r[2 * hidden * hidden..], hidden, hidden));
    let mut scratch = vec![f32::NAN; gru_scratch(&problem)];
    isa.gru(
        &problem,
        &x,
        &w_packed,
        &r_packed,
        bias,
        &mut h,
        Some(&mut y),
        &mut scratch,
    );

    let what = format!("{:?} {problem:?}", I::LEVEL);
    let bias = |row: usize| bias.map_or(0.0, |bias| f64::from(bias[row]));
    for sequence in 0..batch {
        let mut state: Vec<f64> = h0[sequence * hidden..][..hidden].iter().map(|&v| v.into()).collect();
        for index in 0..steps {
            let step = if reverse { steps - 1 - index } else { index };
            let x: Vec<f64> = x[step * x_step + sequence * x_batch..][..input]
                .iter()
                .map(|&v| v.into())
                .collect();
            let gates = affine(&w, &x, bias, 3 * hidden);
            let zr = affine(&r, &state, |row| gates[row], 2 * hidden);
            let reset = |j: usize| sigmoid(zr[hidden + j]);
            let r_hidden = &r[2 * hidden * hidden..];
            let candidate = if linear {
                let product = affine(r_hidden, &state, |row| bias(3 * hidden + row), hidden);
                product.iter().enumerate().map(|(j, value)| reset(j) * value).collect()
            } else {
                let state: Vec<f64> = state.iter().enumerate().map(|(j, value)| reset(j) * value).collect();
                affine(r_hidden, &state, |row| bias(3 * hidden + row), hidden)
            };
            for j in 0..hidden {
                let z = sigmoid(zr[j]);
                state[j] = (1.0 - z) * (gates[2 * hidden + j] + candidate[j]).tanh() + z * state[j];
            }
            assert_states(&y[step * y_step + sequence * y_batch..][..hidden], &state, steps, &what);
        }
        assert_states(&h[sequence * hidden..][..hidden], &state, steps, &what);
    }
}

#[test]
fn long_short_term_memory() {
    for level in levels() {
        for shape in SHAPES {
            for (reverse, batch_first, extras) in [(false, false, false), (true, false, true), (true, true, true)] {
                dispatch!(level, check_lstm(shape, reverse, batch_first, extras));
            }
        }
    }
}

#[test]
fn gated_recurrent_unit() {
    for level in levels() {
        for shape in SHAPES {
            for (reverse, linear, biased) in [(false, false, true), (true, true, true), (false, true, false)] {
                dispatch!(level, check_gru(shape, reverse, linear, biased));
            }
        }
    }
}
