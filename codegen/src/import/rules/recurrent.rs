//! Recurrent layers.

use super::{ONNX, Rules};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::infer::display_shape;
use crate::ir::{BinaryOp, Cell, Dim, Op, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[
    (ONNX, "LSTM", |cx| {
        cx.only_int("input_forget", 0)?;
        recurrent(cx, Cell::Lstm, &["Sigmoid", "Tanh", "Tanh"])
    }),
    (ONNX, "GRU", |cx| {
        let linear_before_reset = cx.flag("linear_before_reset", false)?;
        recurrent(cx, Cell::Gru { linear_before_reset }, &["Sigmoid", "Tanh"])
    }),
    (ONNX, "RNN", |cx| recurrent(cx, Cell::Rnn, &["Tanh"])),
];

/// Operands: the sequence `[steps, batch, input]`, for each direction the weights and biases, sequence lengths, the
/// initial states and, for LSTM, peephole weights.
fn recurrent(cx: &mut Call, cell: Cell, activations: &[&str]) -> Results {
    // The shapes of the weights say the same.
    cx.ignore(&["hidden_size"]);
    let backward = match cx.string("direction", "forward")? {
        "forward" => vec![false],
        "reverse" => vec![true],
        "bidirectional" => vec![false, true],
        other => return cx.unsupported("direction", other),
    };
    if let Some(names) = cx.strings("activations")? {
        let usual = activations.repeat(backward.len());
        if !names.iter().map(String::as_str).eq(usual.iter().copied()) {
            return cx.unsupported("activations", names.join(", "));
        }
    }
    for name in ["clip", "activation_alpha", "activation_beta"] {
        if cx.has(name) {
            return Err(Fault::new(format!("`{name}` is not supported")));
        }
    }
    if cx.optional(7).is_some() {
        return Err(Fault::new("peephole weights are not supported"));
    }
    let batch_first = cx.flag("layout", false)?;

    let x = cx.input(0)?;
    if cx.rank(x) != 3 {
        return Err(Fault::new(format!(
            "a sequence of shape {}",
            display_shape(&cx.shape(x))
        )));
    }
    let x = if batch_first {
        cx.transpose(x, vec![1, 0, 2])?
    } else {
        x
    };
    let shape = cx.shape(x);
    let (steps, batch) = (shape[0].clone(), shape[1].clone());
    if cx.optional(4).is_some() {
        let lengths = cx.known_dims(cx.input(4)?);
        if !lengths.is_some_and(|lengths| lengths.iter().all(|length| *length == steps)) {
            return Err(Fault::new("sequence lengths of their own are not supported")
                .help("the lengths must be left out, or be constant and equal to the length of the sequence"));
        }
    }

    let mut directions = Vec::new();
    for (i, &reverse) in backward.iter().enumerate() {
        let operands = operands(cx, cell, x, i, backward.len(), &batch, batch_first)?;
        directions.push(cx.emit_all(Op::Recurrent { cell, reverse }, &operands, Vec::new())?);
    }
    // Results get an axis for the direction: the sequence after the steps, the states in front.
    let mut results = Vec::new();
    for state in 0..directions[0].len() {
        let axis = usize::from(state == 0);
        let mut parts = Vec::new();
        for direction in &directions {
            parts.push(cx.unsqueeze(direction[state], axis)?);
        }
        let whole = cx.concat(&parts, axis)?;
        results.push(match (batch_first, state) {
            (false, _) => whole,
            (true, 0) => cx.transpose(whole, vec![2, 0, 1, 3])?,
            (true, _) => cx.transpose(whole, vec![1, 0, 2])?,
        });
    }
    Ok(results)
}

/// The operands of one direction as the primitive wants them.
fn operands(
    cx: &mut Call,
    cell: Cell,
    x: ValueId,
    direction: usize,
    directions: usize,
    batch: &Dim,
    batch_first: bool,
) -> Result<Vec<ValueId>, Fault> {
    let of_direction = |cx: &mut Call, value: ValueId, axis: usize, rank: usize| {
        let shape = cx.shape(value);
        if shape.len() != rank || !cx.graph.dims_equal(&shape[axis], &Dim::from(directions)) {
            let shape = display_shape(&shape);
            return Err(Fault::new(format!(
                "an operand of shape {shape} for {directions} directions"
            )));
        }
        cx.select(value, axis, Dim::from(direction))
    };
    let (w, r) = (cx.input(1)?, cx.input(2)?);
    let (w, r) = (of_direction(cx, w, 0, 3)?, of_direction(cx, r, 0, 3)?);
    let (rows, hidden) = (cx.shape(r)[0].clone(), cx.shape(r)[1].clone());
    let (given, expected) = (cx.shape(x)[2].clone(), cx.shape(w)[1].clone());
    cx.equal("input size of the sequence and of the weights", &given, &expected)?;
    let separate = matches!(cell, Cell::Gru { .. });
    let dtype = cx.dtype(x);
    let bias = match cx.optional(3) {
        Some(bias) => {
            let bias = of_direction(cx, bias, 0, 2)?;
            if separate {
                bias
            } else {
                let input = cx.narrow(bias, 0, Dim::from(0i64), rows.clone())?;
                let recurrent = cx.narrow(bias, 0, rows.clone(), rows)?;
                cx.binary(BinaryOp::Add, input, recurrent)?
            }
        }
        None => {
            let zero = cx.number(0.0, dtype)?;
            let count = if separate { rows * Dim::from(2i64) } else { rows };
            cx.emit(Op::Broadcast { shape: vec![count] }, &[zero])?
        }
    };
    let mut operands = vec![x, w, r, bias];
    for index in 5..5 + if cell == Cell::Lstm { 2 } else { 1 } {
        operands.push(match cx.optional(index) {
            Some(state) => {
                let state = of_direction(cx, state, usize::from(batch_first), 3)?;
                let own = cx.shape(state)[0].clone();
                cx.equal("batch of the sequence and of the state", &own, batch)?;
                state
            }
            None => {
                let zero = cx.number(0.0, dtype)?;
                cx.emit(
                    Op::Broadcast {
                        shape: vec![batch.clone(), hidden.clone()],
                    },
                    &[zero],
                )?
            }
        });
    }
    Ok(operands)
}
