//! Iteration over slices of tensors.

use super::{ItemRules, ONNX};
use crate::frontend::ModelGraph;
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::import::item::Item;
use crate::ir::infer::display_shape;
use crate::ir::{BinaryOp, DType, Dim, Expr, Op, Tensor, TensorType, ValueId};

type Values = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: ItemRules = &[(ONNX, "Scan", |cx| {
    let results = if cx.version < 9 { batched(cx)? } else { scan(cx)? };
    Ok(results.into_iter().map(Item::Tensor).collect())
})];

/// What is carried and what is scanned along the first axis.
struct Operands {
    carried: Vec<ValueId>,
    scanned: Vec<ValueId>,
}

impl Operands {
    fn split(cx: &Call, mut inputs: Vec<ValueId>) -> Result<Operands, Fault> {
        let count = usize::try_from(cx.int("num_scan_inputs", 0)?).unwrap_or(usize::MAX);
        if count == 0 || count > inputs.len() {
            return cx.unsupported("num_scan_inputs", count);
        }
        let scanned = inputs.split_off(inputs.len() - count);
        Ok(Operands {
            carried: inputs,
            scanned,
        })
    }
}

fn backward(flags: Option<&Vec<i64>>, index: usize) -> bool {
    flags.and_then(|flags| flags.get(index)).is_some_and(|&flag| flag != 0)
}

fn axis_of(cx: &Call, name: &'static str, index: usize, rank: usize) -> Result<usize, Fault> {
    let axes = cx.ints(name)?;
    cx.axis(axes.and_then(|axes| axes.get(index).copied()).unwrap_or(0), rank)
}

fn scan(cx: &mut Call) -> Values {
    let graph = cx.graph("body")?;
    let mut operands = Operands::split(cx, cx.inputs()?)?;
    let directions = cx.ints("scan_input_directions")?;
    for (i, scanned) in operands.scanned.iter_mut().enumerate() {
        let rank = cx.rank(*scanned);
        let axis = axis_of(cx, "scan_input_axes", i, rank)?;
        let mut permutation: Vec<_> = (0..rank).filter(|&other| other != axis).collect();
        permutation.insert(0, axis);
        *scanned = cx.transpose(*scanned, permutation)?;
        if backward(directions.as_ref(), i) {
            *scanned = reversed(cx, *scanned, 0)?;
        }
    }
    let carried = operands.carried.len();
    let mut results = emit_scan(cx, graph, operands, None)?;
    let directions = cx.ints("scan_output_directions")?;
    for (i, result) in results[carried..].iter_mut().enumerate() {
        if backward(directions.as_ref(), i) {
            *result = reversed(cx, *result, 0)?;
        }
        let rank = cx.rank(*result);
        let axis = axis_of(cx, "scan_output_axes", i, rank)?;
        let mut permutation: Vec<_> = (1..rank).collect();
        permutation.insert(axis, 0);
        *result = cx.transpose(*result, permutation)?;
    }
    Ok(results)
}

/// The oldest version: all operands have a batch as their first axis, and the sequences of a batch may have lengths of
/// their own. The batch is scanned, too.
fn batched(cx: &mut Call) -> Values {
    let graph = cx.graph("body")?;
    let inputs = (1..cx.node.inputs.len()).map(|index| cx.input(index));
    let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
    let carried = Operands::split(cx, inputs.clone())?.carried.len();
    let directions = cx.ints("directions")?;
    let lengths = cx.optional(0);
    let mut scanned = inputs;
    scanned.extend(lengths);
    let params = slices(cx, &scanned)?;
    cx.open();
    let values: Vec<_> = params.into_iter().map(|ty| cx.parameter(ty, None)).collect();
    let result = one_of_batch(cx, graph, values.clone(), lengths.is_some(), directions.as_ref());
    match result {
        Ok(results) => {
            debug_assert!(results.len() >= carried);
            let block = cx.close(values, results);
            cx.emit_all(Op::Scan { carried: 0 }, &scanned, vec![block])
        }
        Err(fault) => {
            cx.abandon();
            Err(fault)
        }
    }
}

fn one_of_batch<'m>(
    cx: &mut Call<'_, 'm>,
    graph: &'m ModelGraph,
    mut values: Vec<ValueId>,
    with_length: bool,
    directions: Option<&Vec<i64>>,
) -> Values {
    let length = if with_length { values.pop() } else { None };
    let mut operands = Operands::split(cx, values)?;
    for (i, scanned) in operands.scanned.iter_mut().enumerate() {
        if backward(directions, i) {
            if length.is_some() {
                return Err(Fault::new(
                    "sequences of lengths of their own cannot be scanned from the end",
                ));
            }
            *scanned = reversed(cx, *scanned, 0)?;
        }
    }
    emit_scan(cx, graph, operands, length)
}

/// The types of the slices along the first axis, whose sizes must agree.
fn slices(cx: &mut Call, scanned: &[ValueId]) -> Result<Vec<TensorType>, Fault> {
    let mut types = Vec::new();
    let mut steps = None;
    for &value in scanned {
        let ty = cx.ty(value).clone();
        let Some((first, rest)) = ty.shape.split_first() else {
            return Err(Fault::new("a tensor without axes cannot be scanned"));
        };
        let steps = steps.get_or_insert_with(|| first.clone());
        cx.equal("lengths of the scanned sequences", first, steps)?;
        types.push(TensorType::new(ty.dtype, rest.to_vec()));
    }
    Ok(types)
}

/// Emits the scan of `operands` by a body. Only `length` steps count, if it is given: those after them leave what is
/// carried as it is, and their outputs are zero.
fn emit_scan<'m>(cx: &mut Call<'_, 'm>, graph: &'m ModelGraph, operands: Operands, length: Option<ValueId>) -> Values {
    let Operands { mut carried, scanned } = operands;
    let count = carried.len();
    if graph.inputs.len() != count + scanned.len() || graph.outputs.len() < count {
        return Err(Fault::new(format!(
            "the body has {} inputs and {} outputs for {count} values that are carried and {} that are scanned",
            graph.inputs.len(),
            graph.outputs.len(),
            scanned.len()
        )));
    }
    let mut types: Vec<_> = carried.iter().map(|&value| cx.ty(value).clone()).collect();
    types.extend(slices(cx, &scanned)?);
    cx.open();
    let names = graph.inputs.iter().map(|input| input.name.clone());
    let mut params: Vec<_> = types
        .iter()
        .zip(names)
        .map(|(ty, name)| cx.parameter(ty.clone(), Some(name)))
        .collect();
    match open_scan(cx, graph, &params, &types[..count], length) {
        Ok((mut results, step)) => {
            if let Some((step, next)) = step {
                params.insert(count, step);
                results.insert(count, next);
                carried.push(cx.constant(Tensor::scalar(0i64)));
            }
            let block = cx.close(params, results);
            let op = Op::Scan { carried: carried.len() };
            let mut values = cx.emit_all(op, &[carried, scanned].concat(), vec![block])?;
            if length.is_some() {
                values.remove(count);
            }
            Ok(values)
        }
        Err(fault) => {
            cx.abandon();
            Err(fault)
        }
    }
}

type Opened = (Vec<ValueId>, Option<(ValueId, ValueId)>);

fn open_scan<'m>(
    cx: &mut Call<'_, 'm>,
    graph: &'m ModelGraph,
    params: &[ValueId],
    carried: &[TensorType],
    length: Option<ValueId>,
) -> Result<Opened, Fault> {
    let items: Vec<_> = params.iter().copied().map(Item::Tensor).collect();
    let origin = cx.origin.clone();
    let items = cx.importer.inline(graph, &items);
    cx.origin = origin;
    let mut results = Vec::new();
    for item in items.ok_or_else(|| Fault::new(""))? {
        results.push(cx.as_tensor(&item)?);
    }
    for ((&value, expected), input) in results.iter().zip(carried).zip(&graph.inputs) {
        if !cx.same_type(value, expected) {
            return Err(Fault::new(format!(
                "the loop carries `{}` from shape {} to {}, but values must keep their type",
                input.name,
                display_shape(&expected.shape),
                cx.shape_text(value)
            )));
        }
    }
    let Some(length) = length else {
        return Ok((results, None));
    };
    let step = cx.parameter(TensorType::scalar(DType::I64), None);
    let length = cx.cast(length, DType::I64)?;
    let goes_on = cx.compared(BinaryOp::Lt, step, length)?;
    let count = carried.len();
    for (i, result) in results.iter_mut().enumerate() {
        let dtype = cx.dtype(*result);
        let otherwise = match i < count {
            true => params[i],
            false => cx.number(0.0, dtype)?,
        };
        let mut expr = Expr::empty();
        let (condition, a, b) = (expr.input(0, DType::Bool), expr.input(1, dtype), expr.input(2, dtype));
        expr.select(condition, a, b);
        *result = cx.elementwise(expr, &[goes_on, *result, otherwise])?;
    }
    let one = cx.constant(Tensor::scalar(1i64));
    let next = cx.binary(BinaryOp::Add, step, one)?;
    Ok((results, Some((step, next))))
}

/// The operand with an axis run through backward.
pub(super) fn reversed(cx: &mut Call, x: ValueId, axis: usize) -> Result<ValueId, Fault> {
    let shape = cx.shape(x);
    let (mut starts, mut steps) = (vec![Dim::from(0i64); shape.len()], vec![1; shape.len()]);
    starts[axis] = shape[axis].clone() - Dim::from(1i64);
    steps[axis] = -1;
    cx.emit(Op::Slice { starts, steps, shape }, &[x])
}
