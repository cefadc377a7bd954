//! Recurrent layers.

use super::numbers::{Numbers, floats, round_to};
use super::scalar::sigmoid;
use crate::ir::op::Cell;
use crate::ir::tensor::Tensor;

/// Runs a recurrent layer; the state is rounded to the element type after every step.
pub(super) fn recurrent(cell: Cell, reverse: bool, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
    let gates = match cell {
        Cell::Lstm => 4,
        Cell::Gru { .. } => 3,
        Cell::Rnn => 1,
    };
    let biases = if matches!(cell, Cell::Gru { .. }) { 2 } else { 1 };
    let (x, w, r, bias, h, c) = match (cell, inputs) {
        (Cell::Lstm, [x, w, r, bias, h, c]) => (x, w, r, bias, h, Some(c)),
        (Cell::Gru { .. } | Cell::Rnn, [x, w, r, bias, h]) => (x, w, r, bias, h, None),
        _ => return Err(format!("{} operands of a recurrent layer", inputs.len())),
    };
    let (&[steps, batch, width], &[_, hidden]) = (x.shape.as_slice(), r.shape.as_slice()) else {
        return Err(format!("a recurrent layer over {x:?} with {r:?}"));
    };
    let rows = hidden.checked_mul(gates).ok_or("a huge recurrent layer")?;
    let fits = w.shape == [rows, width]
        && r.shape == [rows, hidden]
        && bias.shape == [rows * biases]
        && h.shape == [batch, hidden]
        && c.is_none_or(|c| c.shape == [batch, hidden])
        && inputs.iter().all(|input| input.dtype == x.dtype);
    if !fits {
        return Err(format!("a recurrent layer of {inputs:?}"));
    }
    let dtype = x.dtype;
    let shape = vec![steps, batch, hidden];
    let mut y = vec![0.0; super::elements(dtype, &shape)?];
    let (x, w, r, bias) = (floats(x)?, floats(w)?, floats(r)?, floats(bias)?);
    let mut state = floats(h)?;
    let mut memory = c.map(floats).transpose()?;
    for step in 0..steps {
        let step = if reverse { steps - 1 - step } else { step };
        let before = state.clone();
        for item in 0..batch {
            let x = &x[(step * batch + item) * width..][..width];
            let h = &before[item * hidden..][..hidden];
            let of_x = |gate: usize, unit: usize| {
                let row = gate * hidden + unit;
                bias[row] + dot(&w[row * width..][..width], x)
            };
            let of_h = |gate: usize, unit: usize, h: &[f64]| {
                let row = gate * hidden + unit;
                dot(&r[row * hidden..][..hidden], h)
            };
            // The reset gates of all units come before the first candidate state needs them.
            let reset: Vec<f64> = match cell {
                Cell::Gru { .. } => (0..hidden)
                    .map(|unit| sigmoid(of_x(1, unit) + of_h(1, unit, h) + bias[rows + hidden + unit]))
                    .collect(),
                _ => Vec::new(),
            };
            for unit in 0..hidden {
                let gate = |gate: usize| of_x(gate, unit) + of_h(gate, unit, h);
                let at = item * hidden + unit;
                let next = match (cell, &mut memory) {
                    (Cell::Lstm, Some(memory)) => {
                        let (i, o, f, c) = (sigmoid(gate(0)), sigmoid(gate(1)), sigmoid(gate(2)), gate(3).tanh());
                        memory[at] = round_to(f * memory[at] + i * c, dtype);
                        o * memory[at].tanh()
                    }
                    (Cell::Gru { linear_before_reset }, _) => {
                        let z = sigmoid(gate(0) + bias[rows + unit]);
                        let bias = bias[rows + 2 * hidden + unit];
                        let recurrent = if linear_before_reset {
                            reset[unit] * (of_h(2, unit, h) + bias)
                        } else {
                            let gated: Vec<f64> = h.iter().zip(&reset).map(|(h, r)| h * r).collect();
                            of_h(2, unit, &gated) + bias
                        };
                        let candidate = (of_x(2, unit) + recurrent).tanh();
                        (1.0 - z) * candidate + z * h[unit]
                    }
                    _ => gate(0).tanh(),
                };
                state[at] = round_to(next, dtype);
            }
        }
        y[step * batch * hidden..][..batch * hidden].copy_from_slice(&state);
    }
    let mut results = vec![Numbers::Float(y).into_tensor(dtype, shape)?];
    results.push(Numbers::Float(state).into_tensor(dtype, vec![batch, hidden])?);
    if let Some(memory) = memory {
        results.push(Numbers::Float(memory).into_tensor(dtype, vec![batch, hidden])?);
    }
    Ok(results)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
