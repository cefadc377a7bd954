//! Control flow.

use super::{ONNX, Rules};
use crate::frontend::ModelGraph;
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::import::{Binding, Importer};
use crate::ir::infer::display_shape;
use crate::ir::{Block, DType, Dim, Op, Tensor, TensorType, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[(ONNX, "If", conditional), (ONNX, "Loop", repeat), (ONNX, "Scan", scan)];

/// A fault that has been reported already, at the node in a subgraph that caused it.
pub(super) fn reported() -> Fault {
    Fault::new("")
}

fn rank_zero(cx: &mut Call, value: ValueId) -> Result<ValueId, Fault> {
    cx.reshape(value, Vec::new())
}

/// A condition that is known selects a branch now.
fn conditional(cx: &mut Call) -> Results {
    let condition = cx.input(0)?;
    let (then_branch, else_branch) = (cx.graph("then_branch")?, cx.graph("else_branch")?);
    if let Some(known) = cx.known_bool(condition) {
        let bindings = cx.importer.inline(if known { then_branch } else { else_branch }, &[]);
        let values = bindings.into_iter().map(|binding| match binding {
            Binding::Value(value) => Ok(value),
            Binding::Failed => Err(reported()),
        });
        return values.collect();
    }
    let condition = rank_zero(cx, condition)?;
    let origin = cx.origin.clone();
    let (then_block, else_block) = (
        cx.importer.region(then_branch, Vec::new()),
        cx.importer.region(else_branch, Vec::new()),
    );
    cx.origin = origin;
    let (then_block, else_block) = then_block.zip(else_block).ok_or_else(reported)?;
    same_results(cx, condition, &then_block, &else_block)?;
    cx.emit_all(Op::If, &[condition], vec![then_block, else_block])
}

fn same_results(cx: &Call, condition: ValueId, a: &Block, b: &Block) -> Result<(), Fault> {
    if a.results.len() != b.results.len() {
        return Err(Fault::new("the branches have different numbers of results"));
    }
    for (&a, &b) in a.results.iter().zip(&b.results) {
        let (a, b) = (cx.ty(a), cx.ty(b));
        let same = a.dtype == b.dtype
            && a.rank() == b.rank()
            && a.shape.iter().zip(&b.shape).all(|(a, b)| cx.graph.dims_equal(a, b));
        if !same {
            let message = format!("the branches give {a} and {b}, and the condition is not known while compiling");
            let symbols = cx.symbols_behind(condition);
            let fault = Fault::new(message);
            return Err(match symbols.as_slice() {
                [] => fault,
                symbols => fault.help(format!(
                    "the condition depends on `{}`: fix it to one size",
                    symbols.join("`, `")
                )),
            });
        }
    }
    Ok(())
}

/// Checks how many values a loop body takes and gives.
fn check_counts(graph: &ModelGraph, params: &[TensorType], results: usize) -> Result<(), Fault> {
    if graph.inputs.len() != params.len() {
        return Err(Fault::new(format!(
            "the body has {} inputs, not {}",
            graph.inputs.len(),
            params.len()
        )));
    }
    if graph.outputs.len() < results {
        return Err(Fault::new(format!(
            "the body has {} outputs, not {results}",
            graph.outputs.len()
        )));
    }
    Ok(())
}

/// A body must give back what it carries with the type that it got.
fn same_carried(cx: &Call, graph: &ModelGraph, given: &[ValueId], taken: &[TensorType]) -> Result<(), Fault> {
    for (i, (&value, expected)) in given.iter().zip(taken).enumerate() {
        let ty = cx.ty(value);
        let same = ty.dtype == expected.dtype
            && ty.rank() == expected.rank()
            && ty
                .shape
                .iter()
                .zip(&expected.shape)
                .all(|(a, b)| cx.graph.dims_equal(a, b));
        if !same {
            let name = graph.inputs.get(i).map_or("", |input| input.name.as_str());
            return Err(Fault::new(format!(
                "the loop carries `{name}` from shape {} to {}, but values must keep their type",
                display_shape(&expected.shape),
                display_shape(&ty.shape)
            )));
        }
    }
    Ok(())
}

fn region<'m>(
    cx: &mut Call<'_, 'm>,
    graph: &'m ModelGraph,
    params: Vec<TensorType>,
    results: usize,
) -> Result<Block, Fault> {
    check_counts(graph, &params, results)?;
    let origin = cx.origin.clone();
    let importer: &mut Importer<'m> = cx.importer;
    let block = importer.region(graph, params);
    cx.origin = origin;
    block.ok_or_else(reported)
}

/// Scan outputs need a trip count that is known, up to symbols.
fn repeat(cx: &mut Call) -> Results {
    let graph = cx.graph("body")?;
    let inputs = cx.node.inputs.len();
    let count = match cx.optional(0) {
        Some(count) => rank_zero(cx, count)?,
        None => cx.constant(Tensor::scalar(i64::MAX)),
    };
    let condition = match cx.optional(1) {
        Some(condition) => rank_zero(cx, condition)?,
        None => cx.constant(Tensor::scalar(true)),
    };
    let carried = (2..inputs)
        .map(|index| cx.input(index))
        .collect::<Result<Vec<_>, _>>()?;
    let mut params = vec![TensorType::scalar(DType::I64), TensorType::scalar(DType::Bool)];
    params.extend(carried.iter().map(|&value| cx.ty(value).clone()));
    let taken = params[1..].to_vec();
    let block = region(cx, graph, params, 1 + carried.len())?;
    same_carried(cx, graph, &block.results[..=carried.len()], &taken)?;
    let trips = match cx.known_dims(count).as_deref() {
        Some([trips]) if cx.optional(0).is_some() => trips.clone(),
        _ if block.results.len() == 1 + carried.len() => Dim::from(0i64),
        _ => {
            return Err(Fault::new(
                "the number of iterations decides the size of a result, and must be known while compiling",
            ));
        }
    };
    let carries = carried.len();
    let operands: Vec<_> = [count, condition].into_iter().chain(carried).collect();
    let operands: Vec<_> = operands.into_iter().map(|value| cx.placed(value)).collect();
    cx.emit_all(
        Op::Loop {
            carried: carries,
            trips,
        },
        &operands,
        vec![block],
    )
}

fn scan(cx: &mut Call) -> Results {
    let graph = cx.graph("body")?;
    let inputs = cx.inputs()?;
    let scanned = usize::try_from(cx.int("num_scan_inputs", 0)?).unwrap_or(usize::MAX);
    if scanned == 0 || scanned > inputs.len() {
        return cx.unsupported("num_scan_inputs", scanned);
    }
    let (mut carried, mut sequences) = (inputs.clone(), inputs[inputs.len() - scanned..].to_vec());
    carried.truncate(inputs.len() - scanned);
    let backward = |flags: Option<Vec<i64>>, i: usize| flags.and_then(|f| f.get(i).copied()).unwrap_or(0) != 0;
    for (i, sequence) in sequences.iter_mut().enumerate() {
        let axis = cx
            .ints("scan_input_axes")?
            .and_then(|axes| axes.get(i).copied())
            .unwrap_or(0);
        let rank = cx.rank(*sequence);
        let axis = cx.axis(axis, rank)?;
        let mut permutation: Vec<_> = (0..rank).filter(|&other| other != axis).collect();
        permutation.insert(0, axis);
        *sequence = cx.transpose(*sequence, permutation)?;
        if backward(cx.ints("scan_input_directions")?, i) {
            *sequence = reversed(cx, *sequence, 0)?;
        }
    }
    let steps = cx.shape(sequences[0])[0].clone();
    let mut params: Vec<_> = carried.iter().map(|&value| cx.ty(value).clone()).collect();
    let taken = params.clone();
    for &sequence in &sequences {
        let ty = cx.ty(sequence).clone();
        cx.equal("lengths of the scanned sequences", &ty.shape[0], &steps)?;
        params.push(TensorType::new(ty.dtype, ty.shape[1..].to_vec()));
    }
    let block = region(cx, graph, params, carried.len())?;
    same_carried(cx, graph, &block.results[..carried.len()], &taken)?;
    let operands: Vec<_> = carried.iter().chain(&sequences).copied().collect();
    let mut results = cx.emit_all(Op::Scan { carried: carried.len() }, &operands, vec![block])?;
    for (i, result) in results[carried.len()..].iter_mut().enumerate() {
        if backward(cx.ints("scan_output_directions")?, i) {
            *result = reversed(cx, *result, 0)?;
        }
        let axis = cx
            .ints("scan_output_axes")?
            .and_then(|axes| axes.get(i).copied())
            .unwrap_or(0);
        let rank = cx.rank(*result);
        let axis = cx.axis(axis, rank)?;
        let mut permutation: Vec<_> = (1..rank).collect();
        permutation.insert(axis, 0);
        *result = cx.transpose(*result, permutation)?;
    }
    Ok(results)
}

/// The operand with an axis run through backward.
pub(super) fn reversed(cx: &mut Call, x: ValueId, axis: usize) -> Result<ValueId, Fault> {
    let shape = cx.shape(x);
    let (mut starts, mut steps) = (vec![Dim::from(0i64); shape.len()], vec![1; shape.len()]);
    starts[axis] = shape[axis].clone() - Dim::from(1i64);
    steps[axis] = -1;
    cx.emit(Op::Slice { starts, steps, shape }, &[x])
}
