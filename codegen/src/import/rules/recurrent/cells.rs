//! One step of each cell.

use super::{Activation, Direction, Layer, Results};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::import::rules::linear::{matmul, transposed};
use crate::import::rules::quantize::product::dynamic_product;
use crate::ir::{BinaryOp, Cell, Dim, Scalar, ValueId};

/// The products of all steps with the input, `[steps, batch, gates * hidden]`, and all biases that are added to them.
pub(super) fn of_input(cx: &mut Call, layer: &Layer, direction: &Direction) -> Result<ValueId, Fault> {
    let w = transposed(cx, direction.w)?;
    let product = product(cx, direction, 0, direction.x, w)?;
    let [of_input, of_state] = direction.biases;
    let biased = cx.binary(BinaryOp::Add, product, of_input)?;
    match layer.cell {
        // The bias of the candidate state may have to pass the reset gate.
        Cell::Gru { .. } => Ok(biased),
        _ => cx.binary(BinaryOp::Add, biased, of_state),
    }
}

/// The product with the weights of the input or, `1`, of the state. What quantized weights are multiplied with becomes
/// 8-bit numbers of one scheme before: the whole sequence, and in every step the states of the whole batch, as ONNX Runtime
/// has them on one thread.
fn product(cx: &mut Call, direction: &Direction, which: usize, x: ValueId, weights: ValueId) -> Result<ValueId, Fault> {
    match direction.schemes.get(which) {
        Some(&[scale, zero]) => dynamic_product(cx, x, weights, scale, Some(zero), None),
        None => matmul(cx, x, weights),
    }
}

/// A step of a cell, with what does not change from step to step.
pub(super) struct Step<'a> {
    layer: &'a Layer,
    direction: &'a Direction,
    /// The weights of each product with a state, as its right matrix.
    r: Vec<ValueId>,
    /// The biases of these products, where they are not those of the input too.
    biases: Vec<ValueId>,
    /// The peephole weights of the gates input, output, forget.
    peepholes: Vec<ValueId>,
}

impl<'a> Step<'a> {
    pub(super) fn new(cx: &mut Call, layer: &'a Layer, direction: &'a Direction) -> Result<Self, Fault> {
        let (hidden, zero) = (&direction.hidden, Dim::from(0i64));
        let (mut r, mut biases) = (Vec::new(), Vec::new());
        if let Cell::Gru { .. } = layer.cell {
            let gates = hidden.clone() * Dim::from(2i64);
            for (start, size) in [(zero.clone(), gates.clone()), (gates, hidden.clone())] {
                let rows = cx.narrow(direction.r, 0, start.clone(), size.clone())?;
                r.push(transposed(cx, rows)?);
                biases.push(cx.narrow(direction.biases[1], 0, start, size)?);
            }
        } else {
            r.push(transposed(cx, direction.r)?);
        }
        let mut peepholes = Vec::new();
        if let Some(weights) = direction.peepholes {
            let size = cx.shape(weights)[0].clone();
            cx.equal(
                "size of the peephole weights",
                &size,
                &(hidden.clone() * Dim::from(3i64)),
            )?;
            for gate in 0..3i64 {
                peepholes.push(cx.narrow(weights, 0, hidden.clone() * Dim::from(gate), hidden.clone())?);
            }
        }
        Ok(Step {
            layer,
            direction,
            r,
            biases,
            peepholes,
        })
    }

    /// The body of the loop. Parameters: the states, the products of the step with the input, and whether the step belongs
    /// to the sequence. Results: the next states and the result of the step.
    pub(super) fn body(&self, cx: &mut Call, params: &[ValueId]) -> Results {
        let states = self.direction.states.len();
        let (states, rest) = params.split_at(states);
        let x = rest[0];
        let mut next = match self.layer.cell {
            Cell::Lstm => self.lstm(cx, states, x)?,
            Cell::Gru { linear_before_reset } => vec![self.gru(cx, states[0], x, linear_before_reset)?],
            Cell::Rnn => {
                let product = matmul(cx, states[0], self.r[0])?;
                vec![self.activated(cx, 0, &[x, product])?]
            }
        };
        let mut y = next[0];
        if let Some(&valid) = rest.get(1) {
            let dtype = cx.dtype(y);
            for (next, &state) in next.iter_mut().zip(states) {
                *next = cx.map(&[valid, *next, state], |expr, of| {
                    expr.push(Scalar::Select(of[0], of[1], of[2]), dtype)
                })?;
            }
            y = cx.map(&[valid, y], |expr, of| {
                let zero = expr.float(0.0, dtype);
                expr.push(Scalar::Select(of[0], of[1], zero), dtype)
            })?;
        }
        next.push(y);
        Ok(next)
    }

    fn function(&self, number: usize) -> Activation {
        self.direction.activations[number]
    }

    /// A function of the cell, of a sum.
    fn activated(&self, cx: &mut Call, function: usize, terms: &[ValueId]) -> Result<ValueId, Fault> {
        cx.map(terms, |expr, of| {
            let (&first, rest) = of.split_first().expect("a sum has terms");
            let sum = rest
                .iter()
                .fold(first, |sum, &term| expr.apply2(BinaryOp::Add, sum, term));
            self.function(function).apply(expr, sum, self.layer.clip)
        })
    }

    /// The part of `[batch, gates * hidden]` that belongs to a gate.
    fn gate(&self, cx: &mut Call, gates: ValueId, number: i64) -> Result<ValueId, Fault> {
        let hidden = &self.direction.hidden;
        cx.narrow(gates, 1, hidden.clone() * Dim::from(number), hidden.clone())
    }

    /// A gate of an LSTM, which may see the memory.
    fn lstm_gate(&self, cx: &mut Call, gates: ValueId, number: usize, memory: ValueId) -> Result<ValueId, Fault> {
        let gate = self.gate(cx, gates, number as i64)?;
        match self.peepholes.get(number) {
            Some(&weights) => {
                let seen = cx.binary(BinaryOp::Mul, memory, weights)?;
                self.activated(cx, 0, &[gate, seen])
            }
            None => self.activated(cx, 0, &[gate]),
        }
    }

    /// Gates are in the order input, output, forget, candidate.
    fn lstm(&self, cx: &mut Call, states: &[ValueId], x: ValueId) -> Results {
        let (h, c) = (states[0], states[1]);
        let product = product(cx, self.direction, 1, h, self.r[0])?;
        let gates = cx.binary(BinaryOp::Add, x, product)?;
        let dtype = cx.dtype(gates);
        let input = self.lstm_gate(cx, gates, 0, c)?;
        let forget = match self.layer.input_forget {
            true => cx.map(&[input], |expr, of| {
                let one = expr.float(1.0, dtype);
                expr.apply2(BinaryOp::Sub, one, of[0])
            })?,
            false => self.lstm_gate(cx, gates, 2, c)?,
        };
        let candidate = self.gate(cx, gates, 3)?;
        let candidate = self.activated(cx, 1, &[candidate])?;
        let memory = cx.map(&[forget, c, input, candidate], |expr, of| {
            let (kept, new) = (
                expr.apply2(BinaryOp::Mul, of[0], of[1]),
                expr.apply2(BinaryOp::Mul, of[2], of[3]),
            );
            expr.apply2(BinaryOp::Add, kept, new)
        })?;
        let output = self.lstm_gate(cx, gates, 1, memory)?;
        let shown = cx.map(&[output, memory], |expr, of| {
            // The clip is for sums; ONNX Runtime does not apply it to the memory.
            let memory = self.function(2).apply(expr, of[1], None);
            expr.apply2(BinaryOp::Mul, of[0], memory)
        })?;
        Ok(vec![shown, memory])
    }

    /// Gates are in the order update, reset, candidate.
    fn gru(&self, cx: &mut Call, h: ValueId, x: ValueId, linear_before_reset: bool) -> Result<ValueId, Fault> {
        let product = matmul(cx, h, self.r[0])?;
        let product = cx.binary(BinaryOp::Add, product, self.biases[0])?;
        let mut gates = Vec::new();
        for gate in 0..2 {
            let (of_input, of_state) = (self.gate(cx, x, gate)?, self.gate(cx, product, gate)?);
            gates.push(self.activated(cx, 0, &[of_input, of_state])?);
        }
        let (update, reset) = (gates[0], gates[1]);
        let state = match linear_before_reset {
            true => h,
            false => cx.binary(BinaryOp::Mul, reset, h)?,
        };
        let product = matmul(cx, state, self.r[1])?;
        let mut product = cx.binary(BinaryOp::Add, product, self.biases[1])?;
        if linear_before_reset {
            product = cx.binary(BinaryOp::Mul, reset, product)?;
        }
        let of_input = self.gate(cx, x, 2)?;
        let candidate = self.activated(cx, 1, &[of_input, product])?;
        let dtype = cx.dtype(candidate);
        cx.map(&[update, candidate, h], |expr, of| {
            let one = expr.float(1.0, dtype);
            let rest = expr.apply2(BinaryOp::Sub, one, of[0]);
            let (new, kept) = (
                expr.apply2(BinaryOp::Mul, rest, of[1]),
                expr.apply2(BinaryOp::Mul, of[0], of[2]),
            );
            expr.apply2(BinaryOp::Add, new, kept)
        })
    }
}
