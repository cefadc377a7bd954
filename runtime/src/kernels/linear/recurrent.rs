//! Recurrent layers.
//!
//! The products with the input are computed for many steps at once, because they do not depend on the state; a step
//! then adds the product with the state and applies the gates.

use super::gemm::Gemm;
use super::pack::packed_rhs_len;
use super::{Epilogue, Init, Lhs, Linear, Rhs, extent, min};
use crate::kernels::simd::Simd;
use crate::math::{sigmoid, tanh};

/// A long short-term memory layer in one direction, with sigmoid gates and hyperbolic tangent as ONNX has them by
/// default.
///
/// - `x`: `[steps, batch, input]` with contiguous rows.
/// - `w`: [`pack_rhs`](super::pack_rhs) of `[input, 4 * hidden]`, the gates input, output, forget, cell; the transpose
///   of the `W` of ONNX.
/// - `r`: the same of `[hidden, 4 * hidden]`.
/// - `bias`: `[4 * hidden]`, the sum of both biases of ONNX.
/// - `peephole`: `[3 * hidden]`, the gates input, output, forget.
/// - `h`, `c`: `[batch, hidden]`, the states before the first step and, afterwards, after the last.
/// - `y`: every hidden state, `[steps, batch, hidden]` with contiguous rows.
/// - `scratch`: at least [`lstm_scratch`] values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lstm {
    /// Steps of the sequence.
    pub steps: usize,
    /// Sequences.
    pub batch: usize,
    /// Features of a step.
    pub input: usize,
    /// Features of the state.
    pub hidden: usize,
    /// Whether the last step comes first.
    pub reverse: bool,
    /// Elements between steps of `x`.
    pub x_step: usize,
    /// Elements between sequences of `x`.
    pub x_batch: usize,
    /// Elements between steps of `y`.
    pub y_step: usize,
    /// Elements between sequences of `y`.
    pub y_batch: usize,
}

/// A gated recurrent unit layer in one direction, with a sigmoid for the gates and a hyperbolic tangent as ONNX has
/// them by default.
///
/// - `x`: `[steps, batch, input]` with contiguous rows.
/// - `w`: [`pack_rhs`](super::pack_rhs) of `[input, 3 * hidden]`, the gates update, reset, hidden; the transpose of the
///   `W` of ONNX.
/// - `r`: `pack_rhs` of `[hidden, 2 * hidden]`, the gates update, reset, followed by that of `[hidden, hidden]`.
/// - `bias`: `[4 * hidden]`, the sums of both biases of ONNX for the gates update and reset, then the input bias and the
///   recurrent bias of the hidden gate.
/// - `h`: `[batch, hidden]`, the state before the first step and, afterwards, after the last.
/// - `y`: every state, `[steps, batch, hidden]` with contiguous rows.
/// - `scratch`: at least [`gru_scratch`] values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gru {
    /// Steps of the sequence.
    pub steps: usize,
    /// Sequences.
    pub batch: usize,
    /// Features of a step.
    pub input: usize,
    /// Features of the state.
    pub hidden: usize,
    /// Whether the last step comes first.
    pub reverse: bool,
    /// Whether the reset gate is applied to the product with the state, and not to the state.
    pub linear_before_reset: bool,
    /// Elements between steps of `x`.
    pub x_step: usize,
    /// Elements between sequences of `x`.
    pub x_batch: usize,
    /// Elements between steps of `y`.
    pub y_step: usize,
    /// Elements between sequences of `y`.
    pub y_batch: usize,
}

/// Values of scratch that hold the gates of as many steps as fit.
const GATES: usize = 16384;

/// Steps whose gates are computed at once, where a step has `gates` values.
const fn steps_at_once(steps: usize, gates: usize) -> usize {
    match GATES.checked_div(gates) {
        Some(0) => 1,
        Some(fitting) => min(steps, fitting),
        None => steps,
    }
}

/// Values of scratch that a long short-term memory needs.
pub const fn lstm_scratch(problem: &Lstm) -> usize {
    let gates = problem.batch * 4 * problem.hidden;
    steps_at_once(problem.steps, gates) * gates
}

/// Values of scratch that a gated recurrent unit needs.
pub const fn gru_scratch(problem: &Gru) -> usize {
    let gates = problem.batch * 3 * problem.hidden;
    steps_at_once(problem.steps, gates) * gates + 2 * problem.batch * problem.hidden
}

/// Values of scratch that are enough for this long short-term memory and for every one with fewer steps or sequences.
pub const fn lstm_scratch_bound(problem: &Lstm) -> usize {
    gates_bound(problem.steps, problem.batch * 4 * problem.hidden)
}

/// Values of scratch that are enough for this gated recurrent unit and for every one with fewer steps or sequences.
pub const fn gru_scratch_bound(problem: &Gru) -> usize {
    gates_bound(problem.steps, problem.batch * 3 * problem.hidden) + 2 * problem.batch * problem.hidden
}

/// The most values of gates that are computed at once for at most `steps` of at most `gates` values.
const fn gates_bound(steps: usize, gates: usize) -> usize {
    min(steps.saturating_mul(gates), if gates > GATES { gates } else { GATES })
}

/// What both layers have in common.
struct Layer<'a> {
    steps: usize,
    batch: usize,
    input: usize,
    reverse: bool,
    x: &'a [f32],
    x_step: usize,
    x_batch: usize,
    w: &'a [f32],
    bias: Option<&'a [f32]>,
    /// Values of the gates of one sequence.
    width: usize,
}

impl Layer<'_> {
    fn check(&self) {
        let x_len = extent([(self.steps, self.x_step), (self.batch, self.x_batch), (self.input, 1)]);
        assert!(self.x.len() >= x_len, "recurrent layer: the input is too short");
        let w_len = packed_rhs_len(self.input, self.width);
        assert!(
            self.w.len() >= w_len,
            "recurrent layer: the input weights are too short"
        );
    }

    /// Computes the products with the input of as many steps as `gates` holds and calls `step` with the index of each
    /// and its gates.
    #[inline(always)]
    fn run<S: Simd + Linear>(&self, isa: S, gates: &mut [f32], mut step: impl FnMut(usize, &mut [f32])) {
        let step_len = self.batch * self.width;
        if step_len == 0 {
            return;
        }
        let at_once = gates.len() / step_len;
        let init = self.bias.map_or(Init::Zero, Init::PerColumn);
        let mut done = 0;
        while done < self.steps {
            let count = at_once.min(self.steps - done);
            let first = if self.reverse { self.steps - done - count } else { done };
            // Steps and sequences are the rows of one product where one distance leads through both.
            let single = if self.batch == 1 {
                Some((count, self.x_step))
            } else if count == 1 || self.x_step == self.batch * self.x_batch {
                Some((count * self.batch, self.x_batch))
            } else {
                None
            };
            let products = if single.is_some() { 1 } else { count };
            let (m, row) = single.unwrap_or((self.batch, self.x_batch));
            for index in 0..products {
                let x = Lhs::Strided {
                    data: &self.x[(first + index) * self.x_step..],
                    row,
                    column: 1,
                };
                let product = Gemm {
                    m,
                    n: self.width,
                    k: self.input,
                    c_row: self.width,
                };
                let gates = &mut gates[index * step_len..];
                isa.gemm(&product, x, Rhs::Packed(self.w), init, gates, &mut [], Epilogue::None);
            }
            for index in 0..count {
                let index = if self.reverse { count - 1 - index } else { index };
                step(first + index, &mut gates[index * step_len..][..step_len]);
            }
            done += count;
        }
    }
}

#[inline(always)]
pub(super) fn lstm<S: Simd + Linear>(
    isa: S,
    problem: &Lstm,
    x: &[f32],
    w: &[f32],
    r: &[f32],
    bias: Option<&[f32]>,
    peephole: Option<&[f32]>,
    h: &mut [f32],
    c: &mut [f32],
    mut y: Option<&mut [f32]>,
    scratch: &mut [f32],
) {
    let &Lstm {
        steps,
        batch,
        input,
        hidden,
        reverse,
        x_step,
        x_batch,
        y_step,
        y_batch,
    } = problem;
    let width = 4 * hidden;
    let layer = Layer {
        steps,
        batch,
        input,
        reverse,
        x,
        x_step,
        x_batch,
        w,
        bias,
        width,
    };
    layer.check();
    assert!(
        r.len() >= packed_rhs_len(hidden, width),
        "recurrent layer: the state weights are too short"
    );
    assert!(
        peephole.is_none_or(|p| p.len() >= 3 * hidden),
        "recurrent layer: the peephole is too short"
    );
    assert!(
        h.len().min(c.len()) >= batch * hidden,
        "recurrent layer: the state is too short"
    );
    if let Some(y) = &y {
        let y_len = extent([(steps, y_step), (batch, y_batch), (hidden, 1)]);
        assert!(y.len() >= y_len, "recurrent layer: the output is too short");
    }
    let len = lstm_scratch(problem);
    assert!(scratch.len() >= len, "recurrent layer: the scratch is too short");
    layer.run(isa, &mut scratch[..len], |step, gates| {
        let product = Gemm {
            m: batch,
            n: width,
            k: hidden,
            c_row: width,
        };
        let state = Lhs::Strided {
            data: h,
            row: hidden,
            column: 1,
        };
        isa.gemm(
            &product,
            state,
            Rhs::Packed(r),
            Init::Accumulate,
            gates,
            &mut [],
            Epilogue::None,
        );
        for sequence in 0..batch {
            let gates = &mut gates[sequence * width..][..width];
            let h = &mut h[sequence * hidden..][..hidden];
            let c = &mut c[sequence * hidden..][..hidden];
            lstm_gates(gates, peephole, h, c);
            if let Some(y) = &mut y {
                y[step * y_step + sequence * y_batch..][..hidden].copy_from_slice(h);
            }
        }
    });
}

/// Applies the gates of one sequence to its state.
#[inline(always)]
fn lstm_gates(gates: &mut [f32], peephole: Option<&[f32]>, h: &mut [f32], c: &mut [f32]) {
    let hidden = h.len();
    let (input, rest) = gates.split_at_mut(hidden);
    let (output, rest) = rest.split_at_mut(hidden);
    let (forget, cell) = rest.split_at_mut(hidden);
    if let Some(peephole) = peephole {
        for index in 0..hidden {
            input[index] += peephole[index] * c[index];
            forget[index] += peephole[2 * hidden + index] * c[index];
        }
    }
    let states = c.iter_mut().zip(&*input).zip(&*forget).zip(&*cell);
    for (((c, &input), &forget), &cell) in states {
        *c = sigmoid(forget) * *c + sigmoid(input) * tanh(cell);
    }
    if let Some(peephole) = peephole {
        for ((output, &peephole), &c) in output.iter_mut().zip(&peephole[hidden..]).zip(&*c) {
            *output += peephole * c;
        }
    }
    for ((h, &output), &c) in h.iter_mut().zip(&*output).zip(&*c) {
        *h = sigmoid(output) * tanh(c);
    }
}

#[inline(always)]
pub(super) fn gru<S: Simd + Linear>(
    isa: S,
    problem: &Gru,
    x: &[f32],
    w: &[f32],
    r: &[f32],
    bias: Option<&[f32]>,
    h: &mut [f32],
    mut y: Option<&mut [f32]>,
    scratch: &mut [f32],
) {
    let &Gru {
        steps,
        batch,
        input,
        hidden,
        reverse,
        linear_before_reset,
        x_step,
        x_batch,
        y_step,
        y_batch,
    } = problem;
    let width = 3 * hidden;
    let layer = Layer {
        steps,
        batch,
        input,
        reverse,
        x,
        x_step,
        x_batch,
        w,
        bias,
        width,
    };
    layer.check();
    let (r_gates, r_hidden) = r.split_at(packed_rhs_len(hidden, 2 * hidden).min(r.len()));
    let r_len = packed_rhs_len(hidden, hidden);
    assert!(
        r_hidden.len() >= r_len,
        "recurrent layer: the state weights are too short"
    );
    assert!(
        bias.is_none_or(|bias| bias.len() >= 4 * hidden),
        "recurrent layer: the bias is too short"
    );
    assert!(h.len() >= batch * hidden, "recurrent layer: the state is too short");
    if let Some(y) = &y {
        let y_len = extent([(steps, y_step), (batch, y_batch), (hidden, 1)]);
        assert!(y.len() >= y_len, "recurrent layer: the output is too short");
    }
    let len = gru_scratch(problem);
    assert!(scratch.len() >= len, "recurrent layer: the scratch is too short");
    let (candidate, gates) = scratch[..len].split_at_mut(batch * hidden);
    let (reset, gates) = gates.split_at_mut(batch * hidden);
    let hidden_bias = bias.map_or(Init::Zero, |bias| Init::PerColumn(&bias[width..]));
    layer.run(isa, gates, |step, gates| {
        let product = Gemm {
            m: batch,
            n: 2 * hidden,
            k: hidden,
            c_row: width,
        };
        let state = Lhs::Strided {
            data: h,
            row: hidden,
            column: 1,
        };
        isa.gemm(
            &product,
            state,
            Rhs::Packed(r_gates),
            Init::Accumulate,
            gates,
            &mut [],
            Epilogue::None,
        );
        for (sequence, reset) in reset.chunks_exact_mut(hidden).enumerate() {
            let gate = &gates[sequence * width + hidden..][..hidden];
            let state = &h[sequence * hidden..][..hidden];
            for ((reset, &gate), &state) in reset.iter_mut().zip(gate).zip(state) {
                *reset = sigmoid(gate) * if linear_before_reset { 1.0 } else { state };
            }
        }
        let product = Gemm {
            m: batch,
            n: hidden,
            k: hidden,
            c_row: hidden,
        };
        let state = Lhs::Strided {
            data: if linear_before_reset { &*h } else { &*reset },
            row: hidden,
            column: 1,
        };
        isa.gemm(
            &product,
            state,
            Rhs::Packed(r_hidden),
            hidden_bias,
            candidate,
            &mut [],
            Epilogue::None,
        );
        for sequence in 0..batch {
            let gates = &gates[sequence * width..][..width];
            let h = &mut h[sequence * hidden..][..hidden];
            let candidate = &candidate[sequence * hidden..][..hidden];
            let reset = &reset[sequence * hidden..][..hidden];
            let terms = gates[..hidden]
                .iter()
                .zip(&gates[2 * hidden..])
                .zip(candidate)
                .zip(reset);
            for (h, (((&update, &x), &candidate), &reset)) in h.iter_mut().zip(terms) {
                let update = sigmoid(update);
                let new = tanh(x + candidate * if linear_before_reset { reset } else { 1.0 });
                *h = (1.0 - update) * new + update * *h;
            }
            if let Some(y) = &mut y {
                y[step * y_step + sequence * y_batch..][..hidden].copy_from_slice(h);
            }
        }
    });
}
