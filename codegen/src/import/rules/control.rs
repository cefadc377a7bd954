//! Control flow.

use super::{ItemRules, ONNX};
use crate::frontend::ModelGraph;
use crate::import::builder::Builder;
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::import::item::{Extent, Item, ItemType, RowType, Sequence, Stored, Visible};
use crate::ir::{BinaryOp, Block, DType, Dim, Interval, Op, Tensor, TensorType, ValueId};

type Items = Result<Vec<Item>, Fault>;

pub(super) const RULES: ItemRules = &[
    (ONNX, "If", conditional),
    (ONNX, "Loop", repeat),
    (ONNX, "SequenceMap", map),
];

/// The largest number of elements for which a map is written out.
const MAX_UNROLLED: usize = 16;

/// A fault that has been reported already, at the node in a subgraph that caused it.
pub(super) fn reported() -> Fault {
    Fault::new("")
}

fn rank_zero(cx: &mut Call, value: ValueId) -> Result<ValueId, Fault> {
    cx.reshape(value, Vec::new())
}

/// A condition that is known selects a branch now. Otherwise each result has the type that holds the results of both
/// branches.
fn conditional(cx: &mut Call) -> Items {
    let condition = cx.input(0)?;
    let branches = [cx.graph("then_branch")?, cx.graph("else_branch")?];
    if let Some(known) = cx.known_bool(condition) {
        let [then_branch, else_branch] = branches;
        let chosen = if known { then_branch } else { else_branch };
        return cx.importer.inline(chosen, &[]).ok_or_else(reported);
    }
    let condition = rank_zero(cx, condition)?;
    let (origin, visible) = (cx.origin.clone(), cx.visible());
    let mut open = Vec::new();
    for graph in branches {
        cx.open();
        let items = cx.importer.inline(graph, &[]);
        open.push((cx.suspend(), items));
    }
    cx.origin = origin;
    let mut results = Vec::new();
    for (nodes, items) in open {
        results.push((nodes, items.ok_or_else(reported)?));
    }
    let types = joined_types(cx, condition, [&results[0].1, &results[1].1], &visible)?;
    let mut regions = Vec::new();
    for (nodes, items) in results {
        cx.resume(nodes);
        regions.push(closed(cx, Vec::new(), Vec::new(), &items, &types)?);
    }
    let values = cx.emit_all(Op::If, &[condition], regions)?;
    cx.unflatten_all(values, &types)
}

fn joined_types(
    cx: &Call,
    condition: ValueId,
    [a, b]: [&[Item]; 2],
    visible: &Visible,
) -> Result<Vec<ItemType>, Fault> {
    if a.len() != b.len() {
        return Err(Fault::new("the branches have different numbers of results"));
    }
    let mut types = Vec::new();
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (cx.item_type(a, visible)?, cx.item_type(b, visible)?);
        let joined = cx.join(&a, &b, visible);
        let fault = match joined {
            Ok(ItemType::Varying(ty)) if ty.mixed => None,
            Ok(ty) => {
                types.push(ty);
                continue;
            }
            Err(fault) => Some(fault),
        };
        let message = format!("the branches give {a} and {b}, and the condition is not known while compiling");
        let symbols = cx.symbols_behind(condition);
        let message = match fault {
            Some(fault) => format!("{message}: {}", fault.message),
            None => message,
        };
        return Err(match symbols.as_slice() {
            [] => Fault::new(message),
            symbols => Fault::new(message).help(format!(
                "the condition depends on `{}`: fix it to one size",
                symbols.join("`, `")
            )),
        });
    }
    Ok(types)
}

/// Closes the region that is open, whose results are `head` and items as tensors.
fn closed(
    cx: &mut Call,
    params: Vec<ValueId>,
    head: Vec<ValueId>,
    items: &[Item],
    types: &[ItemType],
) -> Result<Block, Fault> {
    let mut results = head;
    for (item, ty) in items.iter().zip(types) {
        match cx.flatten(item, ty) {
            Ok(values) => results.extend(values),
            Err(fault) => {
                cx.abandon();
                return Err(fault);
            }
        }
    }
    Ok(cx.close(params, results))
}

/// Checks how many values a loop body takes and gives.
fn check_counts(graph: &ModelGraph, params: usize, results: usize) -> Result<(), Fault> {
    if graph.inputs.len() != params {
        return Err(Fault::new(format!(
            "the body has {} inputs, not {params}",
            graph.inputs.len()
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

/// A loop body being imported, its region still open.
struct Body {
    params: Vec<ValueId>,
    iteration: ValueId,
    condition: ValueId,
    items: Vec<Item>,
}

/// Opens the region of a loop that carries items of some types, and imports the body into it.
fn body<'m>(
    cx: &mut Call<'_, 'm>,
    graph: &'m ModelGraph,
    types: &[ItemType],
    capacity: Option<i64>,
) -> Result<Body, Fault> {
    cx.open();
    let result = open_body(cx, graph, types, capacity);
    if result.is_err() {
        cx.abandon();
    }
    result
}

fn open_body<'m>(
    cx: &mut Call<'_, 'm>,
    graph: &'m ModelGraph,
    types: &[ItemType],
    capacity: Option<i64>,
) -> Result<Body, Fault> {
    let iteration = cx.parameter(TensorType::scalar(DType::I64), None);
    let condition = cx.parameter(TensorType::scalar(DType::Bool), None);
    let mut params = vec![iteration, condition];
    let mut items = vec![Item::Tensor(iteration), Item::Tensor(condition)];
    for (ty, input) in types.iter().zip(&graph.inputs[2..]) {
        let parts = Builder::tensor_types(ty);
        let name = |count: usize| (count == 1).then(|| input.name.clone());
        let names = name(parts.len());
        let values: Vec<_> = parts.into_iter().map(|ty| cx.parameter(ty, names.clone())).collect();
        params.extend(&values);
        items.push(cx.unflatten(&mut values.into_iter(), ty)?);
    }
    if let Some(capacity) = capacity {
        let most = cx.constant(Tensor::scalar(capacity));
        let holds = cx.compared(BinaryOp::Lt, iteration, most)?;
        cx.assert(holds, format!("the loop runs at most {capacity} times"))?;
    }
    let origin = cx.origin.clone();
    let results = cx.importer.inline(graph, &items);
    cx.origin = origin;
    Ok(Body {
        params,
        iteration,
        condition,
        items: results.ok_or_else(reported)?,
    })
}

/// What a loop stacks, and how often it may run.
struct Trips {
    /// The trip count, if it is known while compiling.
    known: Option<Dim>,
    /// The greatest number of iterations for which there is room.
    capacity: Option<i64>,
}

/// Carried values have the type that holds what the body makes of them. Stacked outputs have room for the trip count, or
/// for the size that the model declares; the number of iterations cuts them.
fn repeat(cx: &mut Call) -> Items {
    let graph = cx.graph("body")?;
    let inputs = cx.node.inputs.len();
    let given = cx.optional(0);
    let count = match given {
        Some(count) => rank_zero(cx, count)?,
        None => cx.constant(Tensor::scalar(i64::MAX)),
    };
    let condition = match cx.optional(1) {
        Some(condition) => rank_zero(cx, condition)?,
        None => cx.constant(Tensor::scalar(true)),
    };
    let mut carried = Vec::new();
    for index in 2..inputs {
        carried.push(cx.item(index)?);
    }
    check_counts(graph, 2 + carried.len(), 1 + carried.len())?;
    let stacked = graph.outputs.len() - 1 - carried.len();
    let known = given.and_then(|_| <[Dim; 1]>::try_from(cx.known_dims(count)?).ok());
    let trips = trips(cx, known.map(|[trips]| trips), carried.len(), stacked)?;
    let limit = if trips.known.is_none() { trips.capacity } else { None };

    let visible = cx.visible();
    let mut types = Vec::new();
    for item in &carried {
        types.push(cx.item_type(item, &visible)?);
    }
    let (mut attempt, mut before) = (0, types.clone());
    let body = loop {
        let mark = cx.mark();
        let body = body(cx, graph, &types, limit)?;
        let wider = wider_types(cx, &types, &body.items[1..=carried.len()], &visible);
        let wider = match wider {
            Ok(wider) => wider,
            Err(fault) => {
                cx.abandon();
                return Err(fault);
            }
        };
        if attempt == 2 || wider == types {
            break body;
        }
        cx.abandon();
        cx.reset(mark);
        if attempt == 1 {
            let grown = (&before[..], &types[..], &wider[..]);
            types = limited_types(cx, graph, grown, &trips)?;
        } else {
            before = std::mem::replace(&mut types, wider);
        }
        attempt += 1;
    };
    finish(cx, (count, condition), carried, (body, &types), &trips, &visible)
}

fn trips(cx: &Call, known: Option<Dim>, carried: usize, stacked: usize) -> Result<Trips, Fault> {
    if let Some(known) = known {
        let capacity = known.upper(&cx.graph.bounds).max(0);
        return Ok(Trips {
            known: Some(known),
            capacity: Some(capacity),
        });
    }
    let declared = (carried..carried + stacked)
        .filter_map(|output| cx.capacity(output, 0))
        .min();
    if stacked > 0 && declared.is_none() {
        let name = cx.node.outputs.get(carried).map_or("", String::as_str);
        let message = "the number of iterations, which only a run can tell, decides the size of a result";
        return Err(Fault::new(message).help(format!(
            "declare the size of `{name}` in the model, or give `{name}_0` its largest size"
        )));
    }
    Ok(Trips {
        known: None,
        capacity: declared,
    })
}

/// The types that hold the carried values before and after an iteration.
fn wider_types(cx: &Call, types: &[ItemType], items: &[Item], visible: &Visible) -> Result<Vec<ItemType>, Fault> {
    let mut wider = Vec::new();
    for (ty, item) in types.iter().zip(items) {
        let after = cx.item_type(item, visible)?;
        wider.push(cx.join(ty, &after, visible)?);
    }
    Ok(wider)
}

/// Types that have grown from the first iteration to the second would grow further: they get the room that the model or
/// the options name, or what the greatest number of iterations makes of them.
fn limited_types(
    cx: &Call,
    graph: &ModelGraph,
    (_, before, after): (&[ItemType], &[ItemType], &[ItemType]),
    trips: &Trips,
) -> Result<Vec<ItemType>, Fault> {
    let mut types = Vec::new();
    for (index, (before, after)) in before.iter().zip(after).enumerate() {
        let name = graph.inputs.get(index + 2).map_or("", |input| input.name.as_str());
        types.push(limited(cx, (index, name), before, after, trips)?);
    }
    Ok(types)
}

fn limited(
    cx: &Call,
    (index, name): (usize, &str),
    before: &ItemType,
    after: &ItemType,
    trips: &Trips,
) -> Result<ItemType, Fault> {
    if before == after {
        return Ok(after.clone());
    }
    let output = cx.node.outputs.get(index).map_or("", String::as_str);
    let grown = |what: &str, option: String, from: i64, to: i64, named: Option<i64>| {
        if to <= from {
            return Ok(to);
        }
        let by_trips = trips
            .capacity
            .and_then(|trips| (to - from).checked_mul(trips)?.checked_add(to));
        named.or(by_trips.filter(|&size| size < 1 << 31)).ok_or_else(|| {
            Fault::new(format!(
                "the loop carries `{name}`, {what} of which grows with each iteration, and only a run can tell how often \
                 it iterates"
            ))
            .help(format!("give `{option}` the largest size"))
        })
    };
    Ok(match (before, after) {
        (ItemType::Optional(Some(x)), ItemType::Optional(Some(y))) => {
            ItemType::Optional(Some(Box::new(limited(cx, (index, name), x, y, trips)?)))
        }
        (ItemType::Sequence(x), ItemType::Sequence(y)) => {
            let mut ty = y.clone();
            let named = cx.named_capacity(&format!("{output}_len"));
            ty.capacity = grown("the length", format!("{output}_len"), x.capacity, y.capacity, named)?;
            ItemType::Sequence(ty)
        }
        (ItemType::Varying(x), ItemType::Varying(y)) if x.shape.len() == y.shape.len() => {
            let mut shape = y.shape.clone();
            for (axis, extent) in shape.iter_mut().enumerate() {
                let (from, to) = (cx.interval(&x.shape[axis]), cx.interval(&y.shape[axis]));
                if to.high > from.high {
                    let what = format!("axis {axis}");
                    let option = format!("{output}_{axis}");
                    let high = grown(&what, option, from.high, to.high, cx.capacity(index, axis))?;
                    *extent = Extent::Between(to.low, high.max(to.low));
                }
            }
            ItemType::Varying(RowType::new(y.dtype, 1, shape, y.mixed, None))
        }
        _ => after.clone(),
    })
}

/// Ends the region and emits the loop.
fn finish(
    cx: &mut Call,
    (count, condition): (ValueId, ValueId),
    carried: Vec<Item>,
    (body, types): (Body, &[ItemType]),
    trips: &Trips,
    visible: &Visible,
) -> Items {
    let region = open_results(cx, &carried, &body, types, trips, condition, visible);
    let (head, stacks, counted) = match region {
        Ok(region) => region,
        Err(fault) => {
            cx.abandon();
            return Err(fault);
        }
    };
    let mut params = body.params;
    let mut all_types = types.to_vec();
    let mut items: Vec<Item> = body.items[1..=carried.len()].to_vec();
    let mut initial = carried;
    if let Some((param, next)) = counted {
        params.push(param);
        all_types.push(ItemType::Tensor(TensorType::scalar(DType::I64)));
        items.push(Item::Tensor(next));
        initial.push(Item::Tensor(cx.constant(Tensor::scalar(0i64))));
    }
    for (stack, item) in stacks.iter().zip(&body.items[1 + types.len()..]) {
        items.push(item.clone());
        all_types.push(stack.clone());
    }
    let carries = initial.len();
    let mut operands = vec![count, condition];
    let block = closed(cx, params, vec![head], &items, &all_types)?;
    let mut tensors = 0;
    for (item, ty) in initial.iter().zip(&all_types) {
        let values = cx.flatten(item, ty)?;
        tensors += values.len();
        operands.extend(values);
    }
    let operands: Vec<_> = operands.into_iter().map(|value| cx.placed(value)).collect();
    let room = match &trips.known {
        Some(known) => known.clone(),
        None => Dim::from(trips.capacity.unwrap_or(0)),
    };
    let op = Op::Loop {
        carried: tensors,
        trips: room,
    };
    let mut values = cx.emit_all(op, &operands, vec![block])?.into_iter();
    let mut results = Vec::new();
    for ty in &all_types[..carries] {
        results.push(cx.unflatten(&mut values, ty)?);
    }
    let iterations = match counted {
        None => None,
        Some(_) => {
            let iterations = results
                .pop()
                .map_or_else(|| Err(reported()), |item| cx.as_tensor(&item))?;
            Some(iterations)
        }
    };
    let size = match iterations {
        None => None,
        Some(iterations) => {
            let high = trips.capacity.unwrap_or(0);
            Some(cx.bind_scalar(iterations, Interval { low: 0, high })?)
        }
    };
    for ty in &all_types[carries..] {
        results.push(Item::Tensor(stacked(cx, &mut values, ty, size.clone(), trips)?));
    }
    Ok(results)
}

/// The condition of the next iteration, the types of what is stacked and, unless the number of iterations is known, a
/// parameter that counts them with its next value.
type Results = (ValueId, Vec<ItemType>, Option<(ValueId, ValueId)>);

fn open_results(
    cx: &mut Call,
    carried: &[Item],
    body: &Body,
    types: &[ItemType],
    trips: &Trips,
    condition: ValueId,
    visible: &Visible,
) -> Result<Results, Fault> {
    debug_assert_eq!(carried.len(), types.len());
    let next = cx.as_tensor(&body.items[0])?;
    let next = rank_zero(cx, next)?;
    let mut stacks = Vec::new();
    for item in &body.items[1 + types.len()..] {
        cx.as_tensor(item)?;
        stacks.push(cx.item_type(item, visible)?);
    }
    let goes_on = next == body.condition || cx.known_bool(next) == Some(true);
    let certain = goes_on && cx.known_bool(condition) == Some(true) && trips.known.is_some();
    if stacks.is_empty() || certain {
        return Ok((next, stacks, None));
    }
    let param = cx.parameter(TensorType::scalar(DType::I64), None);
    let one = cx.constant(Tensor::scalar(1i64));
    let counted = cx.binary(BinaryOp::Add, body.iteration, one)?;
    Ok((next, stacks, Some((param, counted))))
}

/// A stacked output, cut to the number of iterations.
fn stacked(
    cx: &mut Call,
    values: &mut impl Iterator<Item = ValueId>,
    ty: &ItemType,
    size: Option<Dim>,
    trips: &Trips,
) -> Result<ValueId, Fault> {
    let mut next = || values.next().ok_or_else(reported);
    match ty {
        ItemType::Varying(row) => {
            let (elements, shapes) = (next()?, next()?);
            let stored = rows_of(cx, (elements, shapes), row, size, trips)?;
            cx.stacked(&stored, 0)
        }
        _ => {
            let whole = next()?;
            match size {
                Some(size) => cx.narrow(whole, 0, Dim::from(0i64), size),
                None => Ok(whole),
            }
        }
    }
}

/// Rows that a loop has stacked as a sequence. Each was stacked with an axis of its own.
fn rows_of(
    cx: &mut Call,
    (elements, shapes): (ValueId, ValueId),
    row: &RowType,
    size: Option<Dim>,
    trips: &Trips,
) -> Result<Stored, Fault> {
    let capacity = trips.capacity.unwrap_or(0).max(1);
    let ty = RowType {
        capacity,
        ..row.clone()
    };
    let count = cx.shape(elements)[0].clone();
    let length = size.or_else(|| trips.known.clone()).unwrap_or_else(|| count.clone());
    let length = cx.dims(Vec::new(), vec![length]);
    let flat = |cx: &mut Call, value: ValueId, columns: i64| {
        let flat = cx.reshape(value, vec![count.clone(), Dim::from(columns)])?;
        match count.as_const() == Some(capacity) {
            true => Ok(flat),
            false => cx.resized(flat, columns, (capacity, columns), 0),
        }
    };
    let elements = flat(cx, elements, ty.width)?;
    let shapes = flat(cx, shapes, ty.columns())?;
    Ok(Stored {
        ty,
        elements,
        shapes,
        length,
    })
}

/// A map over a sequence, with further sequences of the same length or tensors.
fn map(cx: &mut Call) -> Items {
    let graph = cx.graph("body")?;
    let mut operands = Vec::new();
    for index in 0..cx.node.inputs.len() {
        operands.push(cx.item(index)?);
    }
    if graph.inputs.len() != operands.len() {
        return Err(Fault::new(format!(
            "the body has {} inputs, not {}",
            graph.inputs.len(),
            operands.len()
        )));
    }
    let first = cx.sequence(0)?;
    let lists = operands
        .iter()
        .all(|operand| !matches!(operand, Item::Sequence(Sequence::Stored(_))));
    if let (Sequence::Listed { elements, .. }, true) = (&first, lists)
        && (1..=MAX_UNROLLED).contains(&elements.len())
    {
        return unrolled(cx, graph, &operands, elements.len());
    }
    let visible = cx.visible();
    let mut rows = Vec::new();
    for operand in &operands {
        rows.push(match operand {
            Item::Sequence(sequence) => {
                let ty = cx.sequence_type(sequence, &visible)?;
                Some(cx.stored(sequence, &ty)?)
            }
            _ => None,
        });
    }
    let Some(Some(main)) = rows.first().cloned() else {
        return Err(reported());
    };
    for other in rows[1..].iter().flatten() {
        let holds = cx.compared(BinaryOp::Eq, other.length, main.length)?;
        cx.assert(holds, "the sequences have one length")?;
    }
    let visible = cx.visible();
    cx.open();
    let result = open_map(cx, graph, &operands, &rows, &visible);
    let (params, items, types) = match result {
        Ok(result) => result,
        Err(fault) => {
            cx.abandon();
            return Err(fault);
        }
    };
    let goes_on = cx.constant(Tensor::scalar(true));
    let goes_on = cx.placed(goes_on);
    let varying: Vec<_> = types.iter().cloned().map(ItemType::Varying).collect();
    let block = closed(cx, params, vec![goes_on], &items, &varying)?;
    let trips = Trips {
        known: None,
        capacity: Some(main.ty.capacity),
    };
    let operands = [main.length, goes_on].map(|value| cx.placed(value));
    let op = Op::Loop {
        carried: 0,
        trips: Dim::from(main.ty.capacity),
    };
    let mut values = cx.emit_all(op, &operands, vec![block])?.into_iter();
    let mut results = Vec::new();
    for ty in &types {
        let mut next = || values.next().ok_or_else(reported);
        let parts = (next()?, next()?);
        let mut stored = rows_of(cx, parts, ty, None, &trips)?;
        stored.length = main.length;
        results.push(Item::Sequence(Sequence::Stored(stored)));
    }
    Ok(results)
}

type Map = (Vec<ValueId>, Vec<Item>, Vec<RowType>);

fn open_map<'m>(
    cx: &mut Call<'_, 'm>,
    graph: &'m ModelGraph,
    operands: &[Item],
    rows: &[Option<Stored>],
    visible: &Visible,
) -> Result<Map, Fault> {
    let iteration = cx.parameter(TensorType::scalar(DType::I64), None);
    let condition = cx.parameter(TensorType::scalar(DType::Bool), None);
    let mut items = Vec::new();
    for (operand, rows) in operands.iter().zip(rows) {
        items.push(match rows {
            Some(stored) => Item::Tensor(cx.row_at(stored, iteration)?),
            None => operand.clone(),
        });
    }
    let origin = cx.origin.clone();
    let results = cx.importer.inline(graph, &items);
    cx.origin = origin;
    let results = results.ok_or_else(reported)?;
    let mut types = Vec::new();
    for item in &results {
        let value = cx.as_tensor(item)?;
        types.push(cx.row_type(&cx.ty(value).clone(), visible));
    }
    Ok((vec![iteration, condition], results, types))
}

/// A map over lists, written out.
fn unrolled<'m>(cx: &mut Call<'_, 'm>, graph: &'m ModelGraph, operands: &[Item], count: usize) -> Items {
    let mut results: Vec<Vec<ValueId>> = vec![Vec::new(); graph.outputs.len()];
    for number in 0..count {
        let mut items = Vec::new();
        for operand in operands {
            items.push(match operand {
                Item::Sequence(Sequence::Listed { elements, .. }) => Item::Tensor(
                    *elements
                        .get(number)
                        .ok_or_else(|| Fault::new("the sequences have different lengths"))?,
                ),
                other => other.clone(),
            });
        }
        let given = cx.importer.inline(graph, &items).ok_or_else(reported)?;
        for (elements, item) in results.iter_mut().zip(given) {
            elements.push(cx.as_tensor(&item)?);
        }
    }
    let list = |elements: Vec<ValueId>| {
        let dtype = elements.first().map_or(DType::F32, |&element| cx.dtype(element));
        Item::Sequence(Sequence::Listed { dtype, elements })
    };
    Ok(results.into_iter().map(list).collect())
}
