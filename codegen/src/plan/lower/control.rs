//! Branches and loops, and how long values live around them.

use super::super::{Access, Base, Buffer, BufferId, Item, Loop, Plan};
use super::destination::writes_strided;
use super::{Lowered, Lowering, Ref};
use crate::ir::graph::{Block, Node, ValueId};
use crate::ir::{DType, Dim, Op};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

impl Lowering<'_> {
    pub(super) fn if_node(&mut self, node: &Node) -> Lowered {
        let condition = self.operand(node.inputs[0]);
        let condition = self.access(&condition, Vec::new());
        let mut targets = Vec::new();
        for &output in &node.outputs {
            targets.push(self.result(output)?);
        }
        let mut branches = Vec::new();
        for region in &node.regions {
            let outer = std::mem::take(&mut self.items);
            self.send_results(region, &region.results, &targets);
            self.block(region);
            for (&result, target) in region.results.iter().zip(&targets) {
                self.arrive(result, target, &node.origin)?;
            }
            branches.push(std::mem::replace(&mut self.items, outer));
        }
        let [then_items, else_items]: [Vec<Item>; 2] = branches.try_into().map_err(|_| "if has two regions")?;
        self.items.push(Item::If {
            condition,
            then_items,
            else_items,
        });
        Ok(())
    }

    pub(super) fn loop_node(&mut self, node: &Node) -> Lowered {
        let Op::Loop { carried, .. } = &node.op else {
            return Err("not a loop".into());
        };
        let [body] = node.regions.as_slice() else {
            return Err("a loop has one region".into());
        };
        let trip_count = self.operand(node.inputs[0]);
        let trip_count = self.access(&trip_count, Vec::new());
        let condition = self.operand(node.inputs[1]);
        let condition = self.access(&condition, Vec::new());
        let symbol = self.counter();
        let states = self.carried_states(node, &node.inputs[2..], *carried)?;
        let stacked = self.stacked_results(&node.outputs[*carried..], &symbol)?;
        let used = used_values(body);
        let iteration = match used.contains(&body.params[0]) {
            true => {
                let target = self.new_buffer(DType::I64, &[], "iteration")?;
                self.refs.insert(body.params[0], target.clone());
                Some(self.access(&target, Vec::new()))
            }
            false => None,
        };
        if used.contains(&body.params[1]) {
            // The body runs only while the condition holds.
            let truth = self.new_buffer(DType::Bool, &[], "condition")?;
            self.refs.insert(body.params[1], truth.clone());
            let mut expr = crate::ir::Expr::empty();
            expr.push(crate::ir::Scalar::Const(crate::ir::Literal::Bool(true)), DType::Bool);
            let ty = crate::ir::TensorType::scalar(DType::Bool);
            self.map_step(&expr, &[], &truth, None, &node.origin, vec![ty])?;
        }
        let outer = std::mem::take(&mut self.items);
        for (&param, state) in body.params[2..].iter().zip(&states) {
            self.refs.insert(param, state.clone());
        }
        self.send_results(body, &body.results[1 + carried..], &stacked);
        self.block(body);
        for (&result, target) in body.results[1 + carried..].iter().zip(&stacked) {
            self.arrive(result, target, &node.origin)?;
        }
        // The condition is read after the carried values have moved on.
        let mut next = self.operand(body.results[0]);
        if states.iter().any(|state| state.origin == next.origin) {
            next = self.copy(&next, &node.origin)?;
        }
        let next = self.access(&next, Vec::new());
        self.carry(&body.results[1..=*carried], &states, &node.origin)?;
        let body = std::mem::replace(&mut self.items, outer);
        let repeated = Loop {
            trips: trip_count,
            condition,
            iteration,
            symbol,
            body,
            next,
        };
        self.items.push(Item::Loop(Box::new(repeated)));
        Ok(())
    }

    pub(super) fn scan_node(&mut self, node: &Node) -> Lowered {
        let Op::Scan { carried } = &node.op else {
            return Err("not a scan".into());
        };
        let [body] = node.regions.as_slice() else {
            return Err("a scan has one region".into());
        };
        let symbol = self.counter();
        let states = self.carried_states(node, &node.inputs[..*carried], *carried)?;
        let stacked = self.stacked_results(&node.outputs[*carried..], &symbol)?;
        let trips = self.graph.ty(node.inputs[*carried]).shape[0].clone();
        for (&param, state) in body.params.iter().zip(&states) {
            self.refs.insert(param, state.clone());
        }
        for (&param, &input) in body.params[*carried..].iter().zip(&node.inputs[*carried..]) {
            let whole = self.operand(input);
            self.refs.insert(param, at_iteration(&whole, &symbol));
        }
        let outer = std::mem::take(&mut self.items);
        self.send_results(body, &body.results[*carried..], &stacked);
        self.block(body);
        for (&result, target) in body.results[*carried..].iter().zip(&stacked) {
            self.arrive(result, target, &node.origin)?;
        }
        self.carry(&body.results[..*carried], &states, &node.origin)?;
        let body = std::mem::replace(&mut self.items, outer);
        self.items.push(Item::For { trips, symbol, body });
        Ok(())
    }

    /// Buffers that hold the carried values, filled with the initial ones.
    fn carried_states(&mut self, node: &Node, initial: &[ValueId], carried: usize) -> Result<Vec<Ref>, String> {
        let mut states = Vec::new();
        for (&value, &output) in initial.iter().zip(&node.outputs[..carried]) {
            let source = self.operand(value);
            let state = self.result(output)?;
            self.copy_to(&source, &state, &node.origin)?;
            states.push(state);
        }
        Ok(states)
    }

    /// The places of the elements that one iteration adds to stacked results.
    fn stacked_results(&mut self, outputs: &[ValueId], symbol: &Arc<str>) -> Result<Vec<Ref>, String> {
        let mut places = Vec::new();
        for &output in outputs {
            let whole = self.result(output)?;
            places.push(at_iteration(&whole, symbol));
        }
        Ok(places)
    }

    /// Lets results of a region be computed where they are wanted.
    fn send_results(&mut self, region: &Block, results: &[ValueId], targets: &[Ref]) {
        for (&result, target) in results.iter().zip(targets) {
            let writer = region.nodes.iter().find(|node| node.outputs.contains(&result));
            let once = region.results.iter().filter(|&&other| other == result).count() == 1;
            if let Some(writer) = writer.filter(|writer| once && writes_strided(&writer.op, target)) {
                debug_assert!(writer.outputs.contains(&result));
                self.destinations.insert(result, target.clone());
            }
        }
    }

    /// Copies a result of a region to its place, unless it is there.
    fn arrive(&mut self, result: ValueId, target: &Ref, origin: &[String]) -> Lowered {
        let source = self.operand(result);
        if source.origin == target.origin && source.layout == target.layout {
            return Ok(());
        }
        self.copy_to(&source, target, origin)
    }

    /// Copies the next carried values to their states, as if at once.
    fn carry(&mut self, results: &[ValueId], states: &[Ref], origin: &[String]) -> Lowered {
        let mut sources = Vec::new();
        for (place, &result) in results.iter().enumerate() {
            let source = self.operand(result);
            let overwritten = states[..place].iter().any(|state| state.origin == source.origin);
            sources.push(if overwritten {
                self.copy(&source, origin)?
            } else {
                source
            });
        }
        for (source, state) in sources.iter().zip(states) {
            if source.origin != state.origin || source.layout != state.layout {
                self.copy_to(source, state, origin)?;
            }
        }
        Ok(())
    }
}

/// The slice of a value along its first axis that belongs to an iteration.
fn at_iteration(whole: &Ref, symbol: &Arc<str>) -> Ref {
    let mut slice = whole.clone();
    let stride = slice.layout.strides.remove(0);
    slice.layout.shape.remove(0);
    slice.layout.offset = slice.layout.offset + Dim::symbol(symbol.clone()) * stride;
    slice
}

fn used_values(block: &Block) -> HashSet<ValueId> {
    let mut used: HashSet<ValueId> = block.results.iter().copied().collect();
    for node in &block.nodes {
        used.extend(&node.inputs);
        for region in &node.regions {
            used.extend(used_values(region));
        }
    }
    used
}

/// Sets the first and last step of every buffer and drops buffers that no step uses.
pub(in crate::plan) fn mark_lives(plan: &mut Plan) {
    let steps = plan.steps.len();
    let mut lives = Lives {
        lives: vec![None; plan.buffers.len()],
        next: 0,
    };
    // What the caller has put in its place is there before the first step.
    for place in plan.inputs.iter().filter_map(|input| input.place.as_ref()) {
        lives.touch(place, 0);
    }
    let program = std::mem::take(&mut plan.program);
    lives.items(plan, &program);
    plan.program = program;
    for output in &plan.outputs {
        lives.touch(&output.access, steps);
    }
    let mut numbers = HashMap::new();
    let mut kept: Vec<Buffer> = Vec::new();
    for (number, (buffer, life)) in plan.buffers.drain(..).zip(&lives.lives).enumerate() {
        if let Some((first, last)) = *life {
            numbers.insert(BufferId(number), BufferId(kept.len()));
            kept.push(Buffer { first, last, ..buffer });
        }
    }
    plan.buffers = kept;
    let renumber = |access: &mut Access| {
        if let Base::Buffer(id) = &mut access.base {
            *id = numbers[id];
        }
    };
    for step in &mut plan.steps {
        step.reads
            .iter_mut()
            .chain(&mut step.writes)
            .chain(&mut step.scratch)
            .for_each(renumber);
    }
    let places = plan.inputs.iter_mut().filter_map(|input| input.place.as_mut());
    places.for_each(renumber);
    plan.outputs.iter_mut().for_each(|output| renumber(&mut output.access));
    renumber_items(&mut plan.program, &renumber);
}

fn renumber_items(items: &mut [Item], renumber: &dyn Fn(&mut Access)) {
    for item in items {
        match item {
            Item::Step(_) | Item::Repeat(_) => {}
            Item::Bind { value: access, .. } | Item::Assert { condition: access, .. } => renumber(access),
            Item::If {
                condition,
                then_items,
                else_items,
            } => {
                renumber(condition);
                renumber_items(then_items, renumber);
                renumber_items(else_items, renumber);
            }
            Item::Loop(repeated) => {
                let Loop {
                    trips,
                    condition,
                    iteration,
                    body,
                    next,
                    ..
                } = repeated.as_mut();
                renumber(trips);
                renumber(condition);
                renumber(next);
                iteration.iter_mut().for_each(renumber);
                renumber_items(body, renumber);
            }
            Item::For { body, .. } => renumber_items(body, renumber),
        }
    }
}

struct Lives {
    lives: Vec<Option<(usize, usize)>>,
    /// The number of the next step.
    next: usize,
}

impl Lives {
    fn touch(&mut self, access: &Access, step: usize) {
        if let Base::Buffer(id) = access.base {
            let life = self.lives[id.0].get_or_insert((step, step));
            life.0 = life.0.min(step);
            life.1 = life.1.max(step);
        }
    }

    fn items(&mut self, plan: &Plan, items: &[Item]) {
        for item in items {
            match item {
                Item::Step(number) => {
                    let step = &plan.steps[*number];
                    for access in step.reads.iter().chain(&step.writes).chain(&step.scratch) {
                        self.touch(access, *number);
                    }
                    self.next = number + 1;
                }
                Item::Repeat(_) => unreachable!("repeats are found after lives"),
                Item::Bind { value: access, .. } | Item::Assert { condition: access, .. } => {
                    self.touch(access, self.next);
                }
                Item::If {
                    condition,
                    then_items,
                    else_items,
                } => {
                    self.touch(condition, self.next);
                    self.items(plan, then_items);
                    self.items(plan, else_items);
                }
                Item::Loop(repeated) => {
                    let Loop {
                        trips,
                        condition,
                        iteration,
                        body,
                        next,
                        ..
                    } = repeated.as_ref();
                    self.touch(trips, self.next);
                    self.touch(condition, self.next);
                    let also: Vec<&Access> = iteration.iter().chain([next]).collect();
                    self.repeated(plan, body, &also);
                }
                Item::For { body, .. } => self.repeated(plan, body, &[]),
            }
        }
    }

    /// A body that runs more than once: what lives into it or out of it lives throughout, because an iteration may come
    /// after. The `also` accesses live throughout as well.
    fn repeated(&mut self, plan: &Plan, body: &[Item], also: &[&Access]) {
        let start = self.next;
        let before = self.lives.clone();
        self.items(plan, body);
        let end = self.next.max(start + 1) - 1;
        for access in also {
            self.touch(access, start);
            self.touch(access, end);
        }
        let mut written_in_parts = HashSet::new();
        for step in &plan.steps[start..=end.min(plan.steps.len().saturating_sub(1))] {
            for access in &step.writes {
                if let Base::Buffer(id) = access.base
                    && access.offset.as_const().is_none()
                {
                    written_in_parts.insert(id.0);
                }
            }
        }
        for (number, life) in self.lives.iter_mut().enumerate() {
            let Some((first, last)) = life else {
                continue;
            };
            let inside = *last >= start;
            if inside && (before[number].is_some() || written_in_parts.contains(&number)) {
                *first = (*first).min(start);
                *last = (*last).max(end);
            }
        }
    }
}
