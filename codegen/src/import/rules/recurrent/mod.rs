//! Recurrent layers.

mod activations;
mod cells;

use super::linear::transposed;
use super::scan::reversed;
use super::{MICROSOFT, ONNX, Rules};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::infer::display_shape;
use crate::ir::{BinaryOp, Cell, DType, Dim, Op, Scalar, ValueId};
use activations::{Activation, activations};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[
    (ONNX, "LSTM", |cx| recurrent(cx, Cell::Lstm, false)),
    (ONNX, "GRU", |cx| {
        let linear_before_reset = cx.flag("linear_before_reset", false)?;
        recurrent(cx, Cell::Gru { linear_before_reset }, false)
    }),
    (ONNX, "RNN", |cx| recurrent(cx, Cell::Rnn, false)),
    (MICROSOFT, "DynamicQuantizeLSTM", |cx| recurrent(cx, Cell::Lstm, true)),
];

/// What the attributes say of a layer, for all directions.
struct Layer {
    cell: Cell,
    /// Gates of the cell.
    gates: i64,
    /// The bound of what the functions of the cell are applied to.
    clip: Option<f64>,
    /// Whether what is forgotten is what the input replaces.
    input_forget: bool,
    /// Whether the sequence is the second axis of operands and results.
    batch_first: bool,
    /// Whether weights are 8-bit numbers, and what they are multiplied with becomes such before.
    quantized: bool,
    directions: usize,
}

/// The operands of one direction, without the axis for it.
struct Direction {
    reverse: bool,
    activations: Vec<Activation>,
    /// `[steps, batch, input]`.
    x: ValueId,
    /// `[gates * hidden, input]`.
    w: ValueId,
    /// `[gates * hidden, hidden]`.
    r: ValueId,
    /// Scale and zero point of each of these weights, where they are quantized.
    schemes: Vec<[ValueId; 2]>,
    /// `[gates * hidden]`, those that are added to the products with the input and with the state.
    biases: [ValueId; 2],
    /// `[batch, hidden]`, then that of the memory.
    states: Vec<ValueId>,
    /// `[3 * hidden]`, for the gates input, output, forget.
    peepholes: Option<ValueId>,
    /// `bool[steps, batch, 1]`, false after the end of a sequence.
    valid: Option<ValueId>,
    hidden: Dim,
}

/// Operands: the sequence, for each direction the weights and biases, sequence lengths, the initial states and, for LSTM,
/// peephole weights; of quantized weights, whose rows are columns, scales and zero points follow.
fn recurrent(cx: &mut Call, cell: Cell, quantized: bool) -> Results {
    // The shapes of the weights say the same.
    cx.ignore(&["hidden_size", "output_sequence"]);
    let backward = match cx.string("direction", "forward")? {
        "forward" => vec![false],
        "reverse" => vec![true],
        "bidirectional" => vec![false, true],
        other => return cx.unsupported("direction", other),
    };
    let (gates, usual): (_, &[_]) = match cell {
        Cell::Lstm => (4, &[Activation::Sigmoid, Activation::Tanh, Activation::Tanh]),
        Cell::Gru { .. } => (3, &[Activation::Sigmoid, Activation::Tanh]),
        Cell::Rnn => (1, &[Activation::Tanh]),
    };
    let functions = activations(cx, usual, backward.len())?;
    let layer = Layer {
        cell,
        gates,
        clip: cx.optional_float("clip")?.filter(|&clip| clip > 0.0).map(f64::from),
        input_forget: cx.flag("input_forget", false)?,
        batch_first: cx.flag("layout", false)?,
        quantized,
        directions: backward.len(),
    };
    let x = cx.input(0)?;
    if cx.rank(x) != 3 {
        let shape = display_shape(&cx.shape(x));
        return Err(Fault::new(format!("a sequence of shape {shape}")));
    }
    let stored = cx.dtype(x);
    let x = wide(cx, x)?;
    let x = if layer.batch_first {
        cx.transpose(x, vec![1, 0, 2])?
    } else {
        x
    };
    let valid = valid(cx, x)?;

    let mut directions = Vec::new();
    for (i, (&reverse, activations)) in backward.iter().zip(functions).enumerate() {
        let usual = activations == usual && layer.clip.is_none() && !layer.input_forget && valid.is_none();
        let direction = direction(cx, &layer, i, reverse, activations, x, valid)?;
        let plain = usual && !quantized && direction.peepholes.is_none() && has_kernel(cx, cell, &direction);
        directions.push(match plain {
            true => primitive(cx, &layer, &direction)?,
            false => scanned(cx, &layer, &direction)?,
        });
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
        let whole = match (layer.batch_first, state) {
            (false, _) => whole,
            (true, 0) => cx.transpose(whole, vec![2, 0, 1, 3])?,
            (true, _) => cx.transpose(whole, vec![1, 0, 2])?,
        };
        results.push(cx.cast(whole, stored)?);
    }
    Ok(results)
}

/// Whether a kernel computes the cell: its weights are packed while compiling.
fn has_kernel(cx: &Call, cell: Cell, direction: &Direction) -> bool {
    let weights = [direction.w, direction.r, direction.biases[0], direction.biases[1]];
    cell != Cell::Rnn && cx.dtype(direction.x) == DType::F32 && weights.iter().all(|&value| cx.is_fixed(value))
}

/// Layers of short types are computed in `f32`, lest the state lose what steps add.
fn wide(cx: &mut Call, x: ValueId) -> Result<ValueId, Fault> {
    match cx.dtype(x) {
        DType::F16 | DType::BF16 => cx.cast(x, DType::F32),
        _ => Ok(x),
    }
}

/// Which steps belong to a sequence, `[steps, batch, 1]`; `None` if all do.
fn valid(cx: &mut Call, x: ValueId) -> Result<Option<ValueId>, Fault> {
    let Some(lengths) = cx.optional(4) else {
        return Ok(None);
    };
    let (steps, batch) = (cx.shape(x)[0].clone(), cx.shape(x)[1].clone());
    let known = cx.known_dims(lengths);
    if known.is_some_and(|lengths| lengths.iter().all(|length| *length == steps)) {
        return Ok(None);
    }
    let lengths = cx.cast(lengths, DType::I64)?;
    let lengths = cx.reshape(lengths, vec![batch.clone(), Dim::from(1i64)])?;
    let valid = cx.map_to(vec![steps, batch, Dim::from(1i64)], &[lengths], |expr, of| {
        let step = expr.push(Scalar::Index(0), DType::I64);
        expr.apply2(BinaryOp::Lt, step, of[0])
    })?;
    Ok(Some(valid))
}

/// The part of an operand of the given rank that belongs to a direction.
fn part(
    cx: &mut Call,
    layer: &Layer,
    value: ValueId,
    direction: usize,
    axis: usize,
    rank: usize,
) -> Result<ValueId, Fault> {
    let shape = cx.shape(value);
    if shape.len() != rank || !cx.graph.dims_equal(&shape[axis], &Dim::from(layer.directions)) {
        let (shape, directions) = (display_shape(&shape), layer.directions);
        return Err(Fault::new(format!(
            "an operand of shape {shape} for {directions} directions"
        )));
    }
    let part = cx.select(value, axis, Dim::from(direction))?;
    wide(cx, part)
}

fn direction(
    cx: &mut Call,
    layer: &Layer,
    number: usize,
    reverse: bool,
    activations: Vec<Activation>,
    x: ValueId,
    valid: Option<ValueId>,
) -> Result<Direction, Fault> {
    let (w, r) = (cx.input(1)?, cx.input(2)?);
    let (mut w, mut r) = (part(cx, layer, w, number, 0, 3)?, part(cx, layer, r, number, 0, 3)?);
    let mut schemes = Vec::new();
    if layer.quantized {
        (w, r) = (transposed(cx, w)?, transposed(cx, r)?);
        for (index, weights) in [(8, w), (10, r)] {
            schemes.push(scheme(cx, layer, number, index, weights)?);
        }
    }
    let (batch, dtype) = (cx.shape(x)[1].clone(), cx.dtype(x));
    let (rows, hidden) = (cx.shape(r)[0].clone(), cx.shape(r)[1].clone());
    let (given, expected) = (cx.shape(x)[2].clone(), cx.shape(w)[1].clone());
    cx.equal("input size of the sequence and of the weights", &given, &expected)?;
    let gates = hidden.clone() * Dim::from(layer.gates);
    cx.equal("rows of the recurrent weights and size of the gates", &rows, &gates)?;
    let w_rows = cx.shape(w)[0].clone();
    cx.equal("rows of the weights for input and state", &w_rows, &rows)?;
    let biases = match cx.optional(3) {
        Some(bias) => {
            let bias = part(cx, layer, bias, number, 0, 2)?;
            let size = cx.shape(bias)[0].clone();
            cx.equal("size of the biases", &size, &(rows.clone() * Dim::from(2i64)))?;
            let of_input = cx.narrow(bias, 0, Dim::from(0i64), rows.clone())?;
            [of_input, cx.narrow(bias, 0, rows.clone(), rows)?]
        }
        None => [cx.filled(0.0, dtype, vec![rows])?; 2],
    };
    let mut states = Vec::new();
    for index in 5..5 + if layer.cell == Cell::Lstm { 2 } else { 1 } {
        states.push(match cx.optional(index) {
            Some(state) => {
                let state = part(cx, layer, state, number, usize::from(layer.batch_first), 3)?;
                let own = cx.shape(state);
                cx.equal("batch of the sequence and of the state", &own[0], &batch)?;
                cx.equal("size of the state", &own[1], &hidden)?;
                state
            }
            None => cx.filled(0.0, dtype, vec![batch.clone(), hidden.clone()])?,
        });
    }
    let peepholes = cx.optional(7).filter(|_| layer.cell == Cell::Lstm);
    let peepholes = peepholes.map(|p| part(cx, layer, p, number, 0, 2)).transpose()?;
    Ok(Direction {
        reverse,
        activations,
        x,
        w,
        r,
        schemes,
        biases,
        states,
        peepholes,
        valid,
        hidden,
    })
}

/// The scale and, the operand after it, the zero point of quantized weights: one for a direction, or one for each row.
fn scheme(cx: &mut Call, layer: &Layer, number: usize, index: usize, weights: ValueId) -> Result<[ValueId; 2], Fault> {
    let (rows, dtype) = (cx.shape(weights)[0].clone(), cx.dtype(weights));
    let mut parameter = |index: usize, expected: DType| {
        let value = cx.input(index)?;
        let own = cx.rank(value).clamp(1, 2);
        let found = part(cx, layer, value, number, 0, own)?;
        if cx.dtype(found) != expected {
            return Err(Fault::new(format!(
                "operand {index} is {}, not {expected}",
                cx.ty(value)
            )));
        }
        if let [size] = cx.shape(found).as_slice() {
            cx.equal("rows of the weights and their scales", size, &rows)?;
        }
        Ok(found)
    };
    Ok([parameter(index, DType::F32)?, parameter(index + 1, dtype)?])
}

/// A direction with nothing unusual about it.
fn primitive(cx: &mut Call, layer: &Layer, direction: &Direction) -> Results {
    let [of_input, of_state] = direction.biases;
    let bias = match layer.cell {
        Cell::Gru { .. } => cx.concat(&[of_input, of_state], 0)?,
        _ => cx.binary(BinaryOp::Add, of_input, of_state)?,
    };
    let mut operands = vec![direction.x, direction.w, direction.r, bias];
    operands.extend(&direction.states);
    let op = Op::Recurrent {
        cell: layer.cell,
        reverse: direction.reverse,
    };
    cx.emit_all(op, &operands, Vec::new())
}

/// A direction as a loop over the steps.
fn scanned(cx: &mut Call, layer: &Layer, direction: &Direction) -> Results {
    let mut sequences = vec![cells::of_input(cx, layer, direction)?];
    sequences.extend(direction.valid);
    if direction.reverse {
        for sequence in &mut sequences {
            *sequence = reversed(cx, *sequence, 0)?;
        }
    }
    let cell = cells::Step::new(cx, layer, direction)?;
    let carried = direction.states.len();
    let operands: Vec<_> = direction.states.iter().copied().chain(sequences).collect();
    let body = cx.scan_body(&operands, carried, |cx, params| cell.body(cx, params))?;
    let mut results = cx.emit_all(Op::Scan { carried }, &operands, vec![body])?;
    results.rotate_right(1);
    if direction.reverse {
        results[0] = reversed(cx, results[0], 0)?;
    }
    Ok(results)
}
