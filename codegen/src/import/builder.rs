//! Emits primitives, folding what is known and recording what must hold.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::known::{self, Known, Operand};
use crate::ir::dim::Atom;
use crate::ir::eval;
use crate::ir::graph::Node;
use crate::ir::infer::{self, display_shape};
use crate::ir::{
    Block, Bounds, Constraint, DType, Dim, Expr, Graph, Interval, Literal, Op, Scalar, ScalarId, Tensor, TensorType,
    ValueId,
};

/// The largest rank of a tensor.
pub(super) const MAX_RANK: usize = 32;
/// The largest number of elements of a tensor.
pub(super) const MAX_ELEMENTS: i64 = 1 << 40;
/// The largest number of equalities that are checked at run time.
const MAX_CONSTRAINTS: usize = 1 << 10;
/// The largest number of terms and factors in a dimension.
const MAX_DIM_SIZE: usize = 400;

/// Why an operator cannot be lowered.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Fault {
            message: message.into(),
            help: None,
        }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Fault::new(message)
    }
}

/// What is known of the elements of a value.
#[derive(Clone, Debug)]
enum Content {
    /// All of them.
    Constant(Tensor),
    /// All of them, given the symbols.
    Symbolic(Vec<Known>),
}

/// A graph under construction.
pub(super) struct Builder {
    pub(super) graph: Graph,
    /// The nodes of the open blocks, the body of the graph first.
    blocks: Vec<Vec<Node>>,
    content: HashMap<ValueId, Content>,
    /// Values with known content that a node defines, because something at run time needs them.
    placed: HashSet<ValueId>,
    /// The symbols that a run gives their value in between, with the number of the block around that happens in.
    bound: HashMap<Arc<str>, usize>,
    /// The elements of values that have been bound, with the number of the block.
    bindings: HashMap<(ValueId, usize), (usize, Dim)>,
    /// The tables that tensors of strings number.
    pub(super) tables: HashMap<ValueId, ValueId>,
    /// The node of the model that is being lowered.
    pub(super) origin: String,
}

impl Builder {
    pub(super) fn new(graph: Graph) -> Self {
        Builder {
            graph,
            blocks: vec![Vec::new()],
            content: HashMap::new(),
            placed: HashSet::new(),
            bound: HashMap::new(),
            bindings: HashMap::new(),
            tables: HashMap::new(),
            origin: String::new(),
        }
    }

    /// The finished graph.
    pub(super) fn finish(mut self) -> Graph {
        self.graph.body.nodes = self.blocks.remove(0);
        self.graph
    }

    /// The type of a value.
    pub(super) fn ty(&self, value: ValueId) -> &TensorType {
        self.graph.ty(value)
    }

    /// The shape of a value.
    pub(super) fn shape(&self, value: ValueId) -> Vec<Dim> {
        self.graph.ty(value).shape.clone()
    }

    /// The element type of a value.
    pub(super) fn dtype(&self, value: ValueId) -> DType {
        self.graph.ty(value).dtype
    }

    /// The number of dimensions of a value.
    pub(super) fn rank(&self, value: ValueId) -> usize {
        self.graph.ty(value).rank()
    }

    /// Adds a value that the surroundings define.
    pub(super) fn parameter(&mut self, ty: TensorType, name: Option<String>) -> ValueId {
        self.graph.add_value(ty, name)
    }

    /// A constant. A node for it appears when something needs it at run time.
    pub(super) fn constant(&mut self, tensor: Tensor) -> ValueId {
        let shape = tensor.shape.iter().map(|&size| Dim::from(size)).collect();
        let value = self.graph.add_value(TensorType::new(tensor.dtype, shape), None);
        self.content.insert(value, Content::Constant(tensor));
        value
    }

    /// A constant of rank 0 with the value of a small number in the given type.
    pub(super) fn number(&mut self, value: f64, dtype: DType) -> Result<ValueId, Fault> {
        let mut expr = Expr::empty();
        literal(&mut expr, value, dtype);
        self.emit(
            Op::Elementwise {
                expr,
                shape: Vec::new(),
            },
            &[],
        )
    }

    /// A tensor of `i64` with the given elements.
    pub(super) fn dims(&mut self, shape: Vec<usize>, elements: Vec<Dim>) -> ValueId {
        self.symbolic(DType::I64, shape, elements.into_iter().map(Known::Int).collect())
    }

    fn symbolic(&mut self, dtype: DType, shape: Vec<usize>, elements: Vec<Known>) -> ValueId {
        if let Some(tensor) = known::to_tensor(dtype, &shape, &elements) {
            return self.constant(tensor);
        }
        let shape = shape.into_iter().map(Dim::from).collect();
        let value = self.graph.add_value(TensorType::new(dtype, shape), None);
        self.content.insert(value, Content::Symbolic(elements));
        value
    }

    /// The constant that a value is.
    pub(super) fn as_constant(&self, value: ValueId) -> Option<&Tensor> {
        match self.content.get(&value) {
            Some(Content::Constant(tensor)) => Some(tensor),
            _ => None,
        }
    }

    /// The elements of a value, as far as they are known and few.
    pub(super) fn known(&self, value: ValueId) -> Option<Vec<Known>> {
        match self.content.get(&value) {
            Some(Content::Constant(tensor)) => known::elements(tensor),
            Some(Content::Symbolic(elements)) => Some(elements.clone()),
            // Of no elements, all are known.
            None => self.shape(value).iter().any(|dim| dim.is(0)).then(Vec::new),
        }
    }

    /// The elements of a tensor of integers, as far as they are known.
    pub(super) fn known_dims(&self, value: ValueId) -> Option<Vec<Dim>> {
        self.known(value)?
            .into_iter()
            .map(|element| element.as_dim().cloned())
            .collect()
    }

    /// The one element of a value, if it is known.
    fn known_scalar(&self, value: ValueId) -> Option<Known> {
        let ty = self.ty(value);
        if !ty.shape.iter().all(|dim| dim.is(1)) {
            return None;
        }
        self.known(value)?.pop()
    }

    /// Opens a region. Nodes go there until [`close`](Self::close).
    pub(super) fn open(&mut self) {
        self.blocks.push(Vec::new());
    }

    /// Closes the region opened last.
    pub(super) fn close(&mut self, params: Vec<ValueId>, results: Vec<ValueId>) -> Block {
        let results = results.into_iter().map(|result| self.placed(result)).collect();
        let nodes = self.blocks.pop().unwrap_or_default();
        self.forget_bindings();
        Block { params, nodes, results }
    }

    /// Sets the region opened last aside.
    pub(super) fn suspend(&mut self) -> Vec<Node> {
        let nodes = self.blocks.pop().unwrap_or_default();
        self.forget_bindings();
        nodes
    }

    /// Opens a region again.
    pub(super) fn resume(&mut self, nodes: Vec<Node>) {
        self.blocks.push(nodes);
    }

    /// What has been recorded about the graph as a whole so far.
    pub(super) fn mark(&self) -> (Bounds, usize) {
        (self.graph.bounds.clone(), self.graph.constraints.len())
    }

    /// Forgets what has been recorded since a mark, once the regions opened since have been dropped.
    pub(super) fn reset(&mut self, (bounds, constraints): (Bounds, usize)) {
        self.graph.bounds = bounds;
        self.graph.constraints.truncate(constraints);
    }

    /// Drops the region opened last, after an error.
    pub(super) fn abandon(&mut self) {
        self.blocks.pop();
        self.forget_bindings();
    }

    /// What was bound in a region is not known after it.
    fn forget_bindings(&mut self) {
        let open = self.blocks.len();
        self.bindings.retain(|_, (block, _)| *block < open);
    }

    /// The value, with a node that defines it if its content was only known so far.
    ///
    /// Such nodes depend on nothing but symbols, so they go to the body of the graph, where all regions see them, or to
    /// the block that binds the last of the symbols.
    pub(super) fn placed(&mut self, value: ValueId) -> ValueId {
        let Some(content) = self.content.get(&value).cloned() else {
            return value;
        };
        if !self.placed.insert(value) {
            return value;
        }
        match content {
            Content::Constant(tensor) => self.place(0, Op::Constant(tensor), Vec::new(), value),
            Content::Symbolic(elements) => self.place_symbolic(value, &elements),
        }
        value
    }

    /// The number of the block in which all symbols of some dimensions have their value.
    fn block_of<'d>(&self, dims: impl IntoIterator<Item = &'d Dim>) -> usize {
        let mut block = 0;
        for dim in dims {
            dim.visit_symbols(&mut |symbol| block = block.max(self.bound.get(symbol).copied().unwrap_or(0)));
        }
        block
    }

    fn place(&mut self, block: usize, op: Op, inputs: Vec<ValueId>, value: ValueId) {
        let origin = vec![self.origin.clone()];
        self.blocks[block].push(Node {
            op,
            inputs,
            outputs: vec![value],
            regions: Vec::new(),
            origin,
        });
    }

    fn place_symbolic(&mut self, value: ValueId, elements: &[Known]) {
        let ty = self.ty(value).clone();
        let block = self.block_of(elements.iter().filter_map(Known::as_dim));
        let element = |known: &Known| {
            let mut expr = Expr::empty();
            let id = inline(&mut expr, known, ty.dtype);
            expr.finish(id)
        };
        if elements.iter().all(|other| *other == elements[0]) {
            let op = Op::Elementwise {
                expr: element(&elements[0]),
                shape: ty.shape,
            };
            return self.place(block, op, Vec::new(), value);
        }
        let one = vec![Dim::from(1i64)];
        let parts: Vec<_> = elements
            .iter()
            .map(|known| {
                let part = self.graph.add_value(TensorType::new(ty.dtype, one.clone()), None);
                self.place(
                    block,
                    Op::Elementwise {
                        expr: element(known),
                        shape: one.clone(),
                    },
                    Vec::new(),
                    part,
                );
                part
            })
            .collect();
        if ty.rank() == 1 {
            self.place(block, Op::Concat { axis: 0 }, parts, value);
        } else {
            let line = TensorType::new(ty.dtype, vec![Dim::from(elements.len())]);
            let line = self.graph.add_value(line, None);
            self.place(block, Op::Concat { axis: 0 }, parts, line);
            self.place(block, Op::Reshape { shape: ty.shape }, vec![line], value);
        }
    }

    /// Emits a primitive with one result.
    pub(super) fn emit(&mut self, op: Op, inputs: &[ValueId]) -> Result<ValueId, Fault> {
        if let Some(same) = self.identity(&op, inputs) {
            return Ok(same);
        }
        let (op, inputs) = self.with_literals(op, inputs);
        let ty = self.result_types(&op, &inputs, &[])?.swap_remove(0);
        if let Some(value) = self.fold(&op, &inputs, &ty) {
            return Ok(value);
        }
        Ok(self.push(op, &inputs, Vec::new(), vec![ty]).swap_remove(0))
    }

    /// Emits a primitive with several results or with regions.
    pub(super) fn emit_all(&mut self, op: Op, inputs: &[ValueId], regions: Vec<Block>) -> Result<Vec<ValueId>, Fault> {
        let types = self.result_types(&op, inputs, &regions)?;
        Ok(self.push(op, inputs, regions, types))
    }

    fn push(&mut self, op: Op, inputs: &[ValueId], regions: Vec<Block>, types: Vec<TensorType>) -> Vec<ValueId> {
        let inputs = inputs.iter().map(|&input| self.placed(input)).collect();
        let outputs: Vec<_> = types.into_iter().map(|ty| self.graph.add_value(ty, None)).collect();
        let node = Node {
            op,
            inputs,
            outputs: outputs.clone(),
            regions,
            origin: vec![self.origin.clone()],
        };
        if let Some(block) = self.blocks.last_mut() {
            block.push(node);
        }
        outputs
    }

    /// The types of the results, within what is reasonable.
    fn result_types(&self, op: &Op, inputs: &[ValueId], regions: &[Block]) -> Result<Vec<TensorType>, Fault> {
        let types = infer::infer(&self.graph, op, inputs, regions)?;
        for ty in &types {
            self.check(ty)?;
        }
        Ok(types)
    }

    /// Refuses types that no model that means well has.
    pub(super) fn check(&self, ty: &TensorType) -> Result<(), Fault> {
        if ty.rank() > MAX_RANK {
            return Err(Fault::new(format!("a tensor of rank {} is not supported", ty.rank())));
        }
        if ty.shape.iter().any(|dim| size(dim, MAX_DIM_SIZE).is_none()) {
            return Err(Fault::new("the shape of the result is too complex an expression"));
        }
        let bounds = &self.graph.bounds;
        // An axis without elements does not make up for one with too many.
        if ty.elements().upper(bounds) > MAX_ELEMENTS && self.graph.most_elements(&ty.shape) > MAX_ELEMENTS {
            return Err(Fault::new(format!(
                "the shape {} has too many elements",
                display_shape(&ty.shape)
            )));
        }
        if let Some(dim) = ty.shape.iter().find(|dim| dim.upper(bounds) < 0) {
            return Err(Fault::new(format!(
                "the shape {} has the size {dim}",
                display_shape(&ty.shape)
            )));
        }
        Ok(())
    }

    /// The operand that an operation returns as it is.
    fn identity(&self, op: &Op, inputs: &[ValueId]) -> Option<ValueId> {
        let &[x] = inputs else { return None };
        let from = &self.ty(x).shape;
        let same = match op {
            Op::Reshape { shape } | Op::Broadcast { shape } => shape == from,
            Op::Transpose { permutation } => permutation.len() == from.len() && permutation.is_sorted(),
            Op::Concat { axis } => *axis < from.len(),
            Op::Slice { starts, steps, shape } => {
                shape == from && starts.iter().all(|start| start.is(0)) && steps.iter().all(|&step| step == 1)
            }
            Op::Elementwise { expr, shape } => *expr == Expr::identity(self.dtype(x)) && shape == from,
            _ => false,
        };
        same.then_some(x)
    }

    /// Writes operands of one known element into an elementwise expression.
    fn with_literals(&self, op: Op, inputs: &[ValueId]) -> (Op, Vec<ValueId>) {
        let Op::Elementwise { expr, shape } = op else {
            return (op, inputs.to_vec());
        };
        let operand = |(number, &input): (usize, &ValueId)| match expr.reads_at(number) {
            true => None,
            false => self.known_scalar(input),
        };
        let known: Vec<_> = inputs.iter().enumerate().map(operand).collect();
        if known.iter().all(Option::is_none) || expr.nodes.is_empty() {
            return (Op::Elementwise { expr, shape }, inputs.to_vec());
        }
        let mut rest: Vec<ValueId> = Vec::new();
        let mut result = Expr::empty();
        let id = result.append(&expr, expr.result(), &mut |result, number, dtype| match known
            .get(number)
            .and_then(Option::as_ref)
        {
            Some(known) => inline(result, known, dtype),
            None => {
                let Some(&input) = inputs.get(number) else {
                    return result.input(number, dtype);
                };
                let place = rest.iter().position(|&other| other == input).unwrap_or_else(|| {
                    rest.push(input);
                    rest.len() - 1
                });
                result.input(place, dtype)
            }
        });
        (
            Op::Elementwise {
                expr: result.finish(id),
                shape,
            },
            rest,
        )
    }

    /// The result as a value with known content, if the operands have it.
    fn fold(&mut self, op: &Op, inputs: &[ValueId], ty: &TensorType) -> Option<ValueId> {
        let shape = ty.static_shape()?;
        if let (Op::Reshape { .. }, Some(tensor)) = (op, inputs.first().and_then(|&x| self.as_constant(x))) {
            let tensor = tensor.reshaped(shape);
            return Some(self.constant(tensor));
        }
        // Products of quantized weights are found by their numbers and scales.
        let is_quantized = |&input: &ValueId| {
            let ty = self.ty(input);
            ty.dtype.is_int() && ty.dtype.bits() <= 8 && ty.rank() > 1
        };
        if ty.dtype.is_float() && inputs.iter().any(is_quantized) {
            return None;
        }
        let domain = match op {
            Op::Fold { domain, .. } => domain.iter().map(Dim::as_usize).collect::<Option<Vec<_>>>()?,
            _ => Vec::new(),
        };
        if shape.iter().try_fold(1usize, |n, size| n.checked_mul(*size))? > known::LIMIT
            || domain.iter().try_fold(1usize, |n, size| n.checked_mul(*size))? > known::LIMIT
        {
            return None;
        }
        let constants = inputs
            .iter()
            .map(|&input| self.as_constant(input).cloned())
            .collect::<Option<Vec<_>>>();
        if let Some(constants) = constants
            && constants.iter().all(|tensor| tensor.len() <= known::LIMIT)
            && let Ok(results) = eval::eval_node(op, &constants, &|_| None)
            && let Ok([result]) = <[Tensor; 1]>::try_from(results)
        {
            return Some(self.constant(result));
        }
        let operand = |&input: &ValueId| {
            Some(Operand {
                shape: self.ty(input).static_shape()?,
                elements: self.known(input)?,
            })
        };
        let operands = inputs.iter().map(operand).collect::<Option<Vec<_>>>()?;
        let elements = known::evaluate(op, &operands, ty.dtype, &shape, &self.graph.bounds)?;
        let small = |known: &Known| known.as_dim().is_none_or(|dim| size(dim, MAX_DIM_SIZE).is_some());
        elements
            .iter()
            .all(small)
            .then(|| self.symbolic(ty.dtype, shape, elements))
    }

    /// Whether a size is known only in the middle of a run.
    pub(super) fn is_computed(&self, dim: &Dim) -> bool {
        self.is_bound([dim])
    }

    /// Whether a run gives some symbol of the dimensions its value in between.
    fn is_bound<'d>(&self, dims: impl IntoIterator<Item = &'d Dim>) -> bool {
        let mut found = false;
        for dim in dims {
            dim.visit_symbols(&mut |symbol| found |= self.bound.contains_key(symbol));
        }
        found
    }

    /// A new symbol with bounds.
    pub(super) fn fresh_symbol(&mut self, range: Interval) -> Arc<str> {
        let base: String = self.origin.rsplit('/').next().unwrap_or_default().to_owned();
        let name = (1..)
            .map(|number| format!("{base}_{number}"))
            .find(|name| !self.graph.bounds.contains(name))
            .unwrap_or(base);
        let symbol: Arc<str> = name.into();
        self.graph.bounds.insert(symbol.clone(), range);
        symbol
    }

    /// Says that a run gives a symbol its value in the block that is open.
    pub(super) fn mark_bound(&mut self, symbol: Arc<str>) {
        self.bound.insert(symbol, self.blocks.len() - 1);
    }

    /// The dimension that an element of a value has been bound to.
    pub(super) fn binding(&self, value: ValueId, place: usize) -> Option<Dim> {
        self.bindings.get(&(value, place)).map(|(_, dim)| dim.clone())
    }

    /// Remembers what an element of a value has been bound to.
    pub(super) fn remember(&mut self, value: ValueId, place: usize, dim: Dim) {
        self.bindings.insert((value, place), (self.blocks.len() - 1, dim));
    }

    /// The nodes of the block that is open.
    pub(super) fn open_nodes(&self) -> &[Node] {
        self.blocks.last().map_or(&[], Vec::as_slice)
    }

    /// The operands of the concatenation of rank 1 that a value is.
    pub(super) fn parts(&self, value: ValueId) -> Option<Vec<ValueId>> {
        let node = self
            .blocks
            .iter()
            .flatten()
            .find(|node| node.outputs.contains(&value))?;
        let parts = matches!(node.op, Op::Concat { axis: 0 }) && self.rank(value) == 1;
        parts.then(|| node.inputs.clone())
    }

    /// Requires two dimensions to be equal, at run time if it cannot be told now.
    pub(super) fn equal(&mut self, what: &str, a: &Dim, b: &Dim) -> Result<(), Fault> {
        if self.graph.dims_equal(a, b) {
            return Ok(());
        }
        let difference = (a.clone() - b.clone()).range(&self.graph.bounds);
        if difference.low > 0 || difference.high < 0 {
            return Err(Fault::new(format!("{what}: {a} is not {b}")));
        }
        if self.graph.constraints.len() >= MAX_CONSTRAINTS {
            return Err(Fault::new("the model needs too many sizes to agree"));
        }
        let constraint = Constraint {
            left: a.clone(),
            right: b.clone(),
            origin: self.origin.clone(),
        };
        self.graph.constraints.push(constraint);
        let block = self.block_of([a, b]);
        if block > 0 || self.is_bound([a, b]) {
            // The sizes are known only in the middle of the run.
            self.assert_equal(what, a, b)?;
        }
        Ok(())
    }

    /// Whether a value follows from constants of the model alone, found by following its operands.
    pub(super) fn is_fixed(&self, value: ValueId) -> bool {
        let definitions: HashMap<ValueId, &Node> = self
            .blocks
            .iter()
            .flatten()
            .flat_map(|node| node.outputs.iter().map(move |&output| (output, node)))
            .collect();
        let (mut seen, mut open) = (HashSet::new(), vec![value]);
        while let Some(value) = open.pop() {
            if self.content.contains_key(&value) || !seen.insert(value) {
                continue;
            }
            match definitions.get(&value) {
                Some(node) if node.regions.is_empty() => open.extend(&node.inputs),
                _ => return false,
            }
        }
        true
    }

    /// The symbols that decide a value, found by following its operands.
    pub(super) fn symbols_behind(&self, value: ValueId) -> Vec<String> {
        let nodes: Vec<&Node> = self.blocks.iter().flatten().collect();
        let (mut symbols, mut seen, mut open) = (Vec::new(), HashSet::new(), vec![value]);
        while let Some(value) = open.pop() {
            if !seen.insert(value) {
                continue;
            }
            let Some(node) = nodes.iter().find(|node| node.outputs.contains(&value)) else {
                continue;
            };
            open.extend(&node.inputs);
            if let Op::Elementwise { expr, .. } = &node.op {
                for node in &expr.nodes {
                    if let Scalar::Dim(dim) = &node.op {
                        dim.visit_symbols(&mut |symbol| symbols.push(symbol.to_string()));
                    }
                }
            }
        }
        symbols.sort();
        symbols.dedup();
        symbols
    }
}

/// Appends a number in the given type.
pub(super) fn literal(expr: &mut Expr, value: f64, dtype: DType) -> ScalarId {
    match dtype {
        DType::Bool => expr.push(Scalar::Const(Literal::Bool(value != 0.0)), dtype),
        _ if dtype.is_float() => expr.float(value, dtype),
        _ => expr.int(value as i128, dtype),
    }
}

/// Appends a known element in the given type.
fn inline(expr: &mut Expr, known: &Known, dtype: DType) -> ScalarId {
    match known {
        Known::Float(value) => expr.float(*value, dtype),
        Known::Bool(value) => expr.push(Scalar::Const(Literal::Bool(*value)), DType::Bool),
        Known::Int(dim) => match dim.as_const() {
            Some(value) if dtype.is_int() => expr.int(value.into(), dtype),
            Some(value) => expr.float(value as f64, dtype),
            None => {
                let dim = expr.push(Scalar::Dim(dim.clone()), DType::I64);
                expr.convert(dim, dtype)
            }
        },
    }
}

/// What is left of `budget` after counting the terms and factors of a dimension; `None` if it does not suffice.
fn size(dim: &Dim, mut budget: usize) -> Option<usize> {
    for (_, factors) in dim.terms() {
        budget = budget.checked_sub(1)?;
        for (atom, power) in factors {
            budget = budget.checked_sub(usize::try_from(*power).ok()?)?;
            if let Atom::FloorDiv(a, b) | Atom::Min(a, b) | Atom::Max(a, b) = atom {
                budget = size(b, size(a, budget)?)?;
            }
        }
    }
    Some(budget)
}
