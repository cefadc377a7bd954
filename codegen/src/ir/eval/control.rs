//! Whole graphs, with branches and loops.

use super::eval_node;
use crate::ir::dim::Dim;
use crate::ir::dtype::DType;
use crate::ir::graph::{Block, Graph, Node, TensorType, ValueId};
use crate::ir::op::Op;
use crate::ir::tensor::Tensor;
use std::collections::HashMap;
use std::sync::Arc;

/// How deep regions may nest.
pub const MAX_DEPTH: usize = 64;

/// How often a loop may run.
pub const MAX_TRIPS: i64 = 1 << 24;

/// What takes part in an evaluation.
pub trait Observer {
    /// The results of an operation without regions, if they are computed in another way than by the evaluator.
    ///
    /// # Errors
    ///
    /// The operation cannot be computed.
    fn compute(
        &mut self,
        _node: &Node,
        _inputs: &[Tensor],
        _dims: super::Symbols<'_>,
    ) -> Option<Result<Vec<Tensor>, String>> {
        None
    }

    /// Sees a value. Those of a loop are seen in every iteration.
    ///
    /// # Errors
    ///
    /// The value ends the evaluation.
    fn see(&mut self, _value: ValueId, _tensor: &Tensor) -> Result<(), String> {
        Ok(())
    }
}

/// Nobody takes part.
struct Alone;

impl Observer for Alone {}

/// Evaluates a graph.
///
/// Symbols get their values from the shapes of the inputs, or from the first result whose shape has them.
///
/// # Errors
///
/// If the inputs are not what the graph accepts (types, bounds, constraints), or a node cannot be evaluated.
pub fn evaluate(graph: &Graph, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
    evaluate_with(graph, inputs, &mut Alone)
}

/// Evaluates a graph with an observer.
///
/// # Errors
///
/// As of [`evaluate`], and what the observer gives.
pub fn evaluate_with(graph: &Graph, inputs: &[Tensor], observer: &mut dyn Observer) -> Result<Vec<Tensor>, String> {
    let mut run = Run {
        graph,
        observer,
        symbols: HashMap::new(),
        values: vec![None; graph.value_count()],
    };
    run.bind_params(&graph.body, inputs)?;
    for (symbol, bounds) in graph.bounds.iter() {
        if let Some(&value) = run.symbols.get(symbol)
            && !(bounds.low..=bounds.high).contains(&value)
        {
            return Err(format!("{symbol} is {value}, not {} to {}", bounds.low, bounds.high));
        }
    }
    for constraint in &graph.constraints {
        let (left, right) = (run.eval(&constraint.left), run.eval(&constraint.right));
        if let (Some(left), Some(right)) = (left, right)
            && left != right
        {
            return Err(format!(
                "{} is {left}, {} is {right}, but {} needs them equal",
                constraint.left, constraint.right, constraint.origin
            ));
        }
    }
    run.block(&graph.body, 0)
}

struct Run<'a, 'o> {
    graph: &'a Graph,
    observer: &'o mut dyn Observer,
    symbols: HashMap<Arc<str>, i64>,
    values: Vec<Option<Tensor>>,
}

impl Run<'_, '_> {
    fn eval(&self, dim: &Dim) -> Option<i64> {
        dim.eval(&|symbol| self.symbols.get(symbol).copied())
    }

    fn get(&self, id: ValueId) -> Result<Tensor, String> {
        let value = self.values.get(id.0 as usize).and_then(Option::as_ref);
        value.cloned().ok_or_else(|| format!("{id} is not defined"))
    }

    fn bind_params(&mut self, block: &Block, inputs: &[Tensor]) -> Result<(), String> {
        if block.params.len() != inputs.len() {
            return Err(format!("{} inputs, not {}", block.params.len(), inputs.len()));
        }
        // A symbol may occur on its own only after an expression that has it.
        for pass in 0..2 {
            for (&id, input) in block.params.iter().zip(inputs) {
                self.define(id, input.clone(), pass == 1)?;
            }
        }
        Ok(())
    }

    /// Gives a value its tensor, whose shape gives values to symbols of its type.
    fn define(&mut self, id: ValueId, tensor: Tensor, complete: bool) -> Result<(), String> {
        let graph = self.graph;
        if id.0 as usize >= graph.value_count() {
            return Err(format!("{id} does not exist"));
        }
        let ty = graph.ty(id);
        let mismatch = || format!("{id} of type {ty} has become {tensor:?}");
        if tensor.dtype != ty.dtype || tensor.shape.len() != ty.rank() {
            return Err(mismatch());
        }
        for (dim, &size) in ty.shape.iter().zip(&tensor.shape) {
            let size = i64::try_from(size).map_err(|_| mismatch())?;
            if let Some((symbol, value)) = self.solve(dim, size) {
                self.symbols.insert(symbol, value);
            }
            match self.eval(dim) {
                Some(value) if value != size => {
                    return Err(format!("{}: {dim} is {value}, not {size}", mismatch()));
                }
                None if complete => return Err(format!("{}: {dim} has no value", mismatch())),
                _ => {}
            }
        }
        if complete {
            self.observer.see(id, &tensor)?;
        }
        self.values[id.0 as usize] = Some(tensor);
        Ok(())
    }

    /// The value of the one symbol without a value in a dimension, if the dimension is linear in it.
    fn solve(&self, dim: &Dim, size: i64) -> Option<(Arc<str>, i64)> {
        let mut unknown: Vec<Arc<str>> = Vec::new();
        dim.visit_symbols(&mut |symbol| {
            if !self.symbols.contains_key(symbol) && !unknown.contains(symbol) {
                unknown.push(symbol.clone());
            }
        });
        let [symbol] = unknown.as_slice() else { return None };
        let at = |value: i64| {
            dim.eval(&|name| {
                if name == &**symbol {
                    Some(value)
                } else {
                    self.symbols.get(name).copied()
                }
            })
        };
        let base = at(0)?;
        let slope = at(1)?.checked_sub(base)?;
        let difference = size.checked_sub(base)?;
        if slope == 0 || difference % slope != 0 {
            return None;
        }
        let value = difference / slope;
        (at(value) == Some(size)).then(|| (symbol.clone(), value))
    }

    fn block(&mut self, block: &Block, depth: usize) -> Result<Vec<Tensor>, String> {
        if depth > MAX_DEPTH {
            return Err(format!("regions nest deeper than {MAX_DEPTH}"));
        }
        for node in &block.nodes {
            let describe = |error: String| match node.origin.as_slice() {
                [] => format!("{}: {error}", node.op.name()),
                origin => format!("{} ({}): {error}", node.op.name(), origin.join(", ")),
            };
            let inputs: Vec<Tensor> = node
                .inputs
                .iter()
                .map(|&id| self.get(id))
                .collect::<Result<_, _>>()
                .map_err(describe)?;
            let results = match &node.op {
                Op::If => self.branch(node, &inputs, depth)?,
                Op::Loop { carried, trips } => {
                    let room = self
                        .eval(trips)
                        .ok_or_else(|| describe(format!("{trips} has no value")))?;
                    self.iterate(node, (*carried, room), &inputs, depth)?
                }
                Op::Scan { carried } => self.scan(node, *carried, &inputs, depth)?,
                Op::Bind { symbol } => self.bind(symbol, &inputs).map_err(describe)?,
                op => {
                    let symbols = &self.symbols;
                    let dims = |symbol: &str| symbols.get(symbol).copied();
                    let computed = self.observer.compute(node, &inputs, &dims);
                    computed
                        .unwrap_or_else(|| eval_node(op, &inputs, &dims))
                        .map_err(describe)?
                }
            };
            if results.len() != node.outputs.len() {
                let counts = format!("{} results, not {}", results.len(), node.outputs.len());
                return Err(describe(counts));
            }
            for (&id, result) in node.outputs.iter().zip(results) {
                self.define(id, result, true).map_err(describe)?;
            }
        }
        block.results.iter().map(|&id| self.get(id)).collect()
    }

    /// Gives a symbol a value that was computed.
    fn bind(&mut self, symbol: &Arc<str>, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
        let [value] = inputs else {
            return Err("bind needs one operand".into());
        };
        let bounds = self.graph.bounds.get(symbol);
        match value.to_vec::<i64>().as_deref() {
            Some(&[value]) if (bounds.low..=bounds.high).contains(&value) => {
                self.symbols.insert(symbol.clone(), value);
                Ok(Vec::new())
            }
            Some(&[value]) => Err(format!("{symbol} is {value}, not {} to {}", bounds.low, bounds.high)),
            _ => Err(format!("{symbol} is bound to {value:?}")),
        }
    }

    /// Runs a region. Symbols that get their value in it lose it afterwards.
    fn region(&mut self, block: &Block, inputs: &[Tensor], depth: usize) -> Result<Vec<Tensor>, String> {
        let outer = self.symbols.clone();
        self.bind_params(block, inputs)?;
        let results = self.block(block, depth + 1)?;
        self.symbols = outer;
        Ok(results)
    }

    fn branch(&mut self, node: &Node, inputs: &[Tensor], depth: usize) -> Result<Vec<Tensor>, String> {
        let ([condition], [then_branch, else_branch]) = (inputs, node.regions.as_slice()) else {
            return Err("if needs a condition and two regions".into());
        };
        let chosen = if truth(condition)? { then_branch } else { else_branch };
        self.region(chosen, &[], depth)
    }

    /// Runs a loop that has `room` for the elements of its stacked results.
    fn iterate(
        &mut self,
        node: &Node,
        (carried, room): (usize, i64),
        inputs: &[Tensor],
        depth: usize,
    ) -> Result<Vec<Tensor>, String> {
        let [body] = node.regions.as_slice() else {
            return Err("loop needs one region".into());
        };
        let [trips, condition, state @ ..] = inputs else {
            return Err("loop needs a trip count and a condition".into());
        };
        let trips = match trips.to_vec::<i64>().as_deref() {
            Some([trips]) => *trips,
            _ => return Err(format!("a trip count of type {trips:?}")),
        };
        let mut condition = condition.clone();
        let mut state = state.to_vec();
        let mut scanned = Stacks::new(self, body, 1 + carried);
        let mut iteration = 0;
        while iteration < trips && truth(&condition)? {
            if iteration == MAX_TRIPS {
                return Err(format!("a loop runs more than {MAX_TRIPS} times"));
            }
            let mut inputs = vec![Tensor::scalar(iteration), condition];
            inputs.append(&mut state);
            let mut results = self.region(body, &inputs, depth)?.into_iter();
            condition = results.next().ok_or("a loop body without a condition")?;
            state = results.by_ref().take(carried).collect();
            scanned.push(results)?;
            iteration += 1;
        }
        scanned.fill(room)?;
        state.extend(scanned.finish()?);
        Ok(state)
    }

    fn scan(&mut self, node: &Node, carried: usize, inputs: &[Tensor], depth: usize) -> Result<Vec<Tensor>, String> {
        let [body] = node.regions.as_slice() else {
            return Err("scan needs one region".into());
        };
        let Some((state, sources)) = inputs.split_at_checked(carried) else {
            return Err(format!("scan carries {carried} of {} operands", inputs.len()));
        };
        let mut steps = None;
        for source in sources {
            let &size = source.shape.first().ok_or("scan over a scalar")?;
            if *steps.get_or_insert(size) != size {
                return Err("scan over tensors of different sizes".into());
            }
        }
        let steps = steps.ok_or("scan needs a tensor to scan")?;
        let mut state = state.to_vec();
        let mut scanned = Stacks::new(self, body, carried);
        for step in 0..steps {
            let mut inputs = std::mem::take(&mut state);
            for source in sources {
                let size = source.data.len() / steps;
                let data = source.data.slice(step * size..(step + 1) * size);
                inputs.push(Tensor::from_bytes(source.dtype, source.shape[1..].to_vec(), data));
            }
            let mut results = self.region(body, &inputs, depth)?.into_iter();
            state = results.by_ref().take(carried).collect();
            scanned.push(results)?;
        }
        state.extend(scanned.finish()?);
        Ok(state)
    }
}

/// The outputs of a loop that are stacked along a new first axis.
struct Stacks {
    stacks: Vec<Stack>,
    count: usize,
}

struct Stack {
    dtype: DType,
    /// The shape of one element: that of the first, or what the type says before there is one.
    shape: Option<Vec<usize>>,
    data: Vec<u8>,
}

impl Stacks {
    /// Stacks of the results of a region after the first `skip`.
    fn new(run: &Run<'_, '_>, body: &Block, skip: usize) -> Stacks {
        let stack = |&id: &ValueId| {
            let ty: &TensorType = run.graph.ty(id);
            let size = |dim: &Dim| run.eval(dim).and_then(|size| usize::try_from(size).ok());
            Stack {
                dtype: ty.dtype,
                shape: ty.shape.iter().map(size).collect(),
                data: Vec::new(),
            }
        };
        let known = |id: &&ValueId| (id.0 as usize) < run.graph.value_count();
        Stacks {
            stacks: body.results.iter().skip(skip).filter(known).map(stack).collect(),
            count: 0,
        }
    }

    fn push(&mut self, elements: impl Iterator<Item = Tensor>) -> Result<(), String> {
        for (stack, element) in self.stacks.iter_mut().zip(elements) {
            let same = stack.shape.as_ref().is_none_or(|shape| *shape == element.shape);
            if !same || stack.dtype != element.dtype {
                return Err(format!("{element:?} on a stack of others"));
            }
            if stack.data.len() + element.data.len() > super::MAX_BYTES {
                return Err("the output of a loop is too large to evaluate".into());
            }
            stack.data.extend_from_slice(&element.data);
            stack.shape = Some(element.shape);
        }
        self.count += 1;
        Ok(())
    }

    /// Adds zeros until there are `count` elements.
    fn fill(&mut self, count: i64) -> Result<(), String> {
        let count = usize::try_from(count).map_err(|_| format!("room for {count} elements"))?;
        for stack in &mut self.stacks {
            if self.count > count {
                return Err(format!("{} elements where there is room for {count}", self.count));
            }
            let shape = stack.shape.as_ref();
            let shape = shape.ok_or("the size of an element that a loop never gave")?;
            let bytes = shape.iter().product::<usize>() * stack.dtype.size();
            let whole = bytes.saturating_mul(count);
            if whole > super::MAX_BYTES {
                return Err("the output of a loop is too large to evaluate".into());
            }
            stack.data.resize(whole, 0);
        }
        self.count = count;
        Ok(())
    }

    fn finish(self) -> Result<Vec<Tensor>, String> {
        let count = self.count;
        let finish = |stack: Stack| {
            let shape = stack.shape.ok_or("the size of an element that a loop never gave")?;
            let shape = [&[count], shape.as_slice()].concat();
            Ok(Tensor::from_bytes(stack.dtype, shape, stack.data.into()))
        };
        self.stacks.into_iter().map(finish).collect()
    }
}

fn truth(tensor: &Tensor) -> Result<bool, String> {
    match tensor.to_vec::<bool>().as_deref() {
        Some([value]) => Ok(*value),
        _ => Err(format!("a condition of type {tensor:?}")),
    }
}
