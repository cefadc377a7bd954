//! Elementwise steps and copies.

use super::super::Kernel;
use super::super::kernel::{Load, Map};
use super::super::layout::Layout;
use super::order::{Order, ordered, stored_order};
use super::{Lowered, Lowering, Origin, Ref};
use crate::ir::graph::{Node, TensorType, ValueId};
use crate::ir::{BinaryOp, DType, Dim, Expr, Scalar};

/// The most axes of the runtime's elementwise engine, after merging.
const MAX_AXES: usize = 8;
/// The most operands of the runtime's elementwise engine; a coordinate counts as one.
const MAX_OPERANDS: usize = 8;

impl Lowering<'_> {
    pub(super) fn map_node(&mut self, node: &Node, expr: &Expr) -> Lowered {
        let output = node.outputs[0];
        let operands: Vec<Ref> = node.inputs.iter().map(|&input| self.operand(input)).collect();
        let in_place = self.reusable_operand(node, expr, &operands);
        let results = self.types_of(&node.outputs);
        match in_place {
            Some(index) => {
                // The operand may lack axes of size 1 that the result has.
                let target = Ref {
                    layout: ordered(&self.graph.ty(output).shape, &self.order(output)),
                    ..operands[index].clone()
                };
                self.refs.insert(output, target.clone());
                self.map_step(expr, &operands, &target, Some(index), &node.origin, results)
            }
            None => {
                let target = self.result(output)?;
                self.map_step(expr, &operands, &target, None, &node.origin, results)
            }
        }
    }

    /// An operand whose storage the result can take over.
    fn reusable_operand(&self, node: &Node, expr: &Expr, operands: &[Ref]) -> Option<usize> {
        (0..operands.len()).find(|&index| {
            let others = operands.iter().enumerate().filter(|(other, _)| *other != index);
            let others: Vec<Ref> = others.map(|(_, operand)| operand.clone()).collect();
            // An element that is read at a computed place may have been written over.
            expr.reads_element(index)
                && !expr.reads_at(index)
                && self.can_take_over(node, node.inputs[index], &operands[index], &others)
        })
    }

    /// Whether the result of a node can take over the storage of an operand: it fills its buffer, lies as the result
    /// would, has its type, is read by nobody later, and no other operand shares the buffer.
    pub(super) fn can_take_over(&self, node: &Node, value: ValueId, operand: &Ref, others: &[Ref]) -> bool {
        let output = node.outputs[0];
        let Origin::Buffer(id) = operand.origin else {
            return false;
        };
        if self.destinations.contains_key(&output) {
            return false;
        }
        let ty = self.graph.ty(output);
        let order = self.order(output);
        let alone = others.iter().all(|other| other.origin != operand.origin);
        let dead = self.last_use.get(&value).is_some_and(|&last| last == self.now);
        let whole = operand.layout.elements().upper(&self.graph.bounds) == self.buffers[id.0].capacity as i64;
        alone
            && dead
            && whole
            && self.owned(id)
            && operand.dtype == super::storage_dtype(ty.dtype)
            && operand.layout.offset.is(0)
            && lies_like(&operand.layout, &order)
            && operand.layout.elements() == ty.elements()
            && self.graph.ty(value).elements() == ty.elements()
    }

    /// Whether every value in a buffer that is still needed belongs to the block being lowered and dies now.
    fn owned(&self, id: super::BufferId) -> bool {
        self.refs.iter().all(|(value, place)| {
            place.origin != Origin::Buffer(id)
                || (self.local.contains(value) && self.last_use.get(value).is_none_or(|&last| last <= self.now))
        })
    }

    /// Appends the step of an expression. `in_place` names the operand whose storage `target` is.
    pub(super) fn map_step(
        &mut self,
        expr: &Expr,
        operands: &[Ref],
        target: &Ref,
        in_place: Option<usize>,
        origin: &[String],
        results: Vec<TensorType>,
    ) -> Lowered {
        let coordinates = expr
            .nodes
            .iter()
            .filter(|node| matches!(node.op, Scalar::Index(_)))
            .count();
        let walked = (0..operands.len()).filter(|&index| expr.reads_element(index)).count();
        let positional = expr.is_positional() && target.layout.shape.len() > MAX_AXES;
        if in_place.is_none() && (walked + coordinates > MAX_OPERANDS || positional) {
            return self.fold_step(None, expr, &[], operands, target, origin, results);
        }
        let (expr, operands, loads, in_place) = self.loaded(expr, operands, target, in_place, origin)?;
        let shape = &target.layout.shape;
        let mut expr = expr;
        // A copy lies otherwise than what it is of, so that layouts are looked at afterwards.
        let mut operands = operands;
        for (index, operand) in operands.iter_mut().enumerate() {
            if in_place != Some(index) {
                *operand = self.apart_from(operand, target, origin)?;
            }
        }
        let layouts: Vec<Layout> = operands.iter().map(|operand| operand.layout.broadcast(shape)).collect();
        let all: Vec<&[Dim]> = std::iter::once(target.layout.strides.as_slice())
            .chain(layouts.iter().map(|l| l.strides.as_slice()))
            .collect();
        let order = stored_order(&target.layout, &self.graph.bounds);
        let axes = merge_axes(shape, &order, &all, &mut expr);
        let pick = |strides: &[Dim]| -> Vec<Dim> {
            axes.iter()
                .map(|run| strides.get(run.last).cloned().unwrap_or_default())
                .collect()
        };
        let map = Map {
            shape: axes.iter().map(|run| run.size.clone()).collect(),
            output: pick(all[0]),
            operands: all[1..].iter().map(|strides| pick(strides)).collect(),
            dtypes: operands.iter().map(|operand| operand.dtype).collect(),
            loads: loads
                .iter()
                .map(|load| Load {
                    dtype: load.dtype,
                    elements: Some(load.layout.elements()),
                })
                .collect(),
            expr,
            in_place,
        };
        if map.shape.len() > MAX_AXES || operands.len() + coordinates > MAX_OPERANDS {
            return Err(format!(
                "an elementwise operation over {} axes with {} operands; {MAX_AXES} and {MAX_OPERANDS} are supported",
                map.shape.len(),
                operands.len() + coordinates
            ));
        }
        let mut reads = Vec::new();
        for (index, operand) in operands.iter().enumerate() {
            if in_place != Some(index) {
                reads.push(self.access(operand, Vec::new()));
            }
        }
        for load in &loads {
            reads.push(self.access(load, Vec::new()));
        }
        let writes = vec![self.access(target, Vec::new())];
        self.push(
            Kernel::Map(map),
            Vec::new(),
            reads,
            writes,
            None,
            origin,
            results,
            Dim::from(0i64),
        );
        Ok(())
    }

    /// Parts the operands that are walked from those that are read at computed places, which are made dense. Both are
    /// numbered anew, each from 0.
    #[allow(clippy::type_complexity)]
    fn loaded(
        &mut self,
        expr: &Expr,
        operands: &[Ref],
        target: &Ref,
        in_place: Option<usize>,
        origin: &[String],
    ) -> Result<(Expr, Vec<Ref>, Vec<Ref>, Option<usize>), String> {
        let mut expr = expr.clone();
        let (mut walked, mut loads) = (Vec::new(), Vec::new());
        let mut numbers = vec![(0, 0); operands.len()];
        for (number, operand) in operands.iter().enumerate() {
            numbers[number] = (walked.len(), loads.len());
            if expr.reads_element(number) {
                walked.push(operand.clone());
            }
            if expr.reads_at(number) {
                let operand = self.apart_from(operand, target, origin)?;
                loads.push(self.dense(&operand, origin)?);
            }
        }
        for node in &mut expr.nodes {
            match &mut node.op {
                Scalar::Input(number) => *number = numbers[*number].0,
                Scalar::At(number, _) => *number = numbers[*number].1,
                _ => {}
            }
        }
        Ok((expr, walked, loads, in_place.map(|number| numbers[number].0)))
    }

    /// The operand, or a copy of it if it shares a buffer with `target` and is not provably apart from it.
    pub(super) fn apart_from(&mut self, operand: &Ref, target: &Ref, origin: &[String]) -> Result<Ref, String> {
        if operand.origin != target.origin || !matches!(target.origin, Origin::Buffer(_)) {
            return Ok(operand.clone());
        }
        let fixed = |layout: &Layout| Some((layout.offset.as_const()?, layout.end().as_const()?));
        match (fixed(&operand.layout), fixed(&target.layout)) {
            (Some((a, a_end)), Some((b, b_end))) if a_end <= b || b_end <= a => Ok(operand.clone()),
            _ => self.copy(operand, origin),
        }
    }

    /// A slice that walks backward on some axes: a gather with computed indices on each of them.
    pub(super) fn backward_slice(
        &mut self,
        node: &Node,
        source: &Ref,
        starts: &[Dim],
        steps: &[i64],
        shape: &[Dim],
    ) -> Lowered {
        let mut current = source.clone();
        for axis in 0..shape.len() {
            if steps[axis] > 0 {
                let mut sizes = current.layout.shape.clone();
                sizes[axis] = shape[axis].clone();
                let mut from = vec![Dim::from(0i64); sizes.len()];
                from[axis] = starts[axis].clone();
                let mut by = vec![1; sizes.len()];
                by[axis] = steps[axis];
                current.layout = current.layout.slice(&from, &by, &sizes, &self.graph.bounds);
                continue;
            }
            let mut expr = Expr::empty();
            let index = expr.push(Scalar::Index(0), DType::I64);
            let step = expr.int(steps[axis].into(), DType::I64);
            let walked = expr.apply2(BinaryOp::Mul, index, step);
            let start = expr.push(Scalar::Dim(starts[axis].clone()), DType::I64);
            expr.apply2(BinaryOp::Add, start, walked);
            let indices = self.new_buffer(DType::I64, std::slice::from_ref(&shape[axis]), "indices")?;
            let ty = TensorType::new(DType::I64, vec![shape[axis].clone()]);
            self.map_step(&expr, &[], &indices, None, &node.origin, vec![ty])?;
            let mut sizes = current.layout.shape.clone();
            sizes[axis] = shape[axis].clone();
            let target = self.new_buffer(current.dtype, &sizes, "")?;
            self.gather_step(&current, &indices, axis, false, &target, &node.origin)?;
            current = target;
        }
        self.refs.insert(node.outputs[0], current);
        Ok(())
    }
}

/// Whether a value is stored densely in an order, which may be of a higher rank with leading axes of size 1.
fn lies_like(layout: &Layout, order: &[usize]) -> bool {
    match layout.shape.len() == order.len() {
        true => layout.transpose(order).is_dense(),
        false => order.is_sorted() && layout.is_dense(),
    }
}

/// A run of axes that is walked as one.
struct Run {
    size: Dim,
    /// The innermost axis, whose stride is that of the run.
    last: usize,
}

/// Takes axes in an order, merges neighboring ones where every operand walks them as one, drops those of size 1, and
/// renumbers the axes whose coordinate the expression uses. At least one axis remains.
fn merge_axes(shape: &[Dim], order: &Order, strides: &[&[Dim]], expr: &mut Expr) -> Vec<Run> {
    let mut indexed: Vec<usize> = Vec::new();
    for node in &expr.nodes {
        if let Scalar::Index(axis) = node.op {
            indexed.push(axis);
        }
    }
    let mut runs: Vec<Run> = Vec::new();
    let mut place = vec![0usize; shape.len()];
    for &axis in order {
        if shape[axis].is(1) && !indexed.contains(&axis) {
            continue;
        }
        if let Some(run) = runs.last_mut() {
            let joined = strides
                .iter()
                .all(|s| s[run.last] == s[axis].clone() * shape[axis].clone());
            if joined && !indexed.contains(&axis) && !indexed.contains(&run.last) {
                run.size = run.size.clone() * shape[axis].clone();
                run.last = axis;
                continue;
            }
        }
        place[axis] = runs.len();
        runs.push(Run {
            size: shape[axis].clone(),
            last: axis,
        });
    }
    if runs.is_empty() {
        // Every axis has size 1, so that any stride will do; a rank-0 value has none at all.
        runs.push(Run {
            size: Dim::from(1i64),
            last: shape.len().saturating_sub(1),
        });
    }
    for node in &mut expr.nodes {
        if let Scalar::Index(axis) = &mut node.op {
            *axis = place[*axis];
        }
    }
    runs
}
