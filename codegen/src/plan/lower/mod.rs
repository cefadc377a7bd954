//! From primitives to kernel calls.
//!
//! Views (reshape, transpose, slice, broadcast) move no data: they change the [`Layout`] under which a value is read.
//! A value is copied only where no kernel can read or write it the way it lies. Values that are concatenated are
//! written where the concatenation wants them, a product whose only user is a transpose is written transposed, and
//! images are stored channels last (`order.rs`).

mod attention;
mod block;
mod blocks;
mod control;
mod conv;
mod conv_transpose;
mod destination;
mod fold;
mod gather;
mod map;
mod matmul;
mod opaque;
mod order;
mod range;
mod recurrent;
mod residual;
mod rows;
mod spatial;
mod stream;
mod values;

use super::access::{Access, Buffer, BufferId};
use super::layout::Layout;
use super::{
    Certificate, Choice, Decision, Input, Item, Kernel, Output, Packing, Plan, PlanError, Step, Tuning, WeightTable,
    storage_dtype,
};
use crate::Precision;
use crate::ir::graph::{Block, Graph, Node, Part, Port, TensorType, ValueId};
use crate::ir::{DType, Dim, Op, Tensor};
pub(super) use block::LARGE;
pub(super) use control::mark_lives;
pub(super) use conv::weights_only;
use range::Definitions;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
pub(super) use stream::{Chains, replace};

/// Terms of the shortest sum in bf16.
const SHORT: usize = 8;

/// The result of lowering one node.
type Lowered = Result<(), String>;

/// Where a value lies.
#[derive(Clone, Debug)]
struct Ref {
    origin: Origin,
    dtype: DType,
    layout: Layout,
}

#[derive(Clone, Debug, PartialEq)]
enum Origin {
    Input(usize),
    Buffer(BufferId),
    Constant(ValueId),
}

/// What is left open when a graph is lowered.
#[derive(Clone, Copy, Debug)]
pub(super) struct LowerOptions<'t> {
    /// The largest number of threads of a step.
    pub(super) threads: usize,
    /// Whether convolutions may be computed by Winograd's algorithm.
    pub(super) winograd: bool,
    /// In what matrix products and convolutions multiply.
    pub(super) precision: Precision,
    /// Whether results take over the place of a value that nobody reads later, and sums of convolutions are computed a few
    /// rows at a time.
    pub(super) accumulate: bool,
    /// Bytes of the image between a depthwise convolution and its neighbor from which on they become one step.
    pub(super) stream_from: i64,
    /// What measurements have decided.
    pub(super) tuning: &'t Tuning,
}

struct Lowering<'g> {
    graph: &'g Graph,
    options: LowerOptions<'g>,
    definitions: Definitions<'g>,
    steps: Vec<Step>,
    buffers: Vec<Buffer>,
    weights: WeightTable,
    errors: Vec<PlanError>,
    /// The items of the block that is being lowered.
    items: Vec<Item>,
    refs: HashMap<ValueId, Ref>,
    constants: HashMap<ValueId, (Tensor, String)>,
    /// The weights of products that are given as quantized numbers.
    quantized: HashMap<ValueId, blocks::Quantized>,
    /// Where a value must be written, for values that have no storage of their own.
    destinations: HashMap<ValueId, Ref>,
    /// The order in which values store their axes, where it is not that of the IR.
    orders: HashMap<ValueId, order::Order>,
    /// Depthwise convolutions that are to be computed together with the pointwise ones around them.
    chains: Vec<block::Chain>,
    /// What was decided that measurements might decide otherwise.
    decisions: Vec<Decision>,
    /// The number of the last top-level node that reads a value or a view of it.
    last_use: HashMap<ValueId, usize>,
    /// The number of the node being lowered, counted in the block that is being lowered.
    now: usize,
    /// Values of the block being lowered; only these may be overwritten in it.
    local: HashSet<ValueId>,
    /// The number of loops entered so far, for naming their counters.
    loops: usize,
    /// The symbols that the run gives their value.
    computed: HashSet<Arc<str>>,
    /// The names of the node being lowered.
    origin: Vec<String>,
}

/// Lowers a graph; places and functions are left open.
pub(super) fn lower<'g>(graph: &'g Graph, options: LowerOptions<'g>) -> Result<Plan, Vec<PlanError>> {
    let mut lowering = Lowering {
        graph,
        options,
        definitions: Definitions::new(graph),
        steps: Vec::new(),
        buffers: Vec::new(),
        weights: WeightTable::default(),
        errors: Vec::new(),
        items: Vec::new(),
        refs: HashMap::new(),
        constants: HashMap::new(),
        quantized: HashMap::new(),
        destinations: HashMap::new(),
        orders: HashMap::new(),
        chains: Vec::new(),
        decisions: Vec::new(),
        last_use: HashMap::new(),
        now: 0,
        local: HashSet::new(),
        loops: 0,
        computed: HashSet::new(),
        origin: Vec::new(),
    };
    bound_symbols(&graph.body, &mut lowering.computed);
    let mut inputs = Vec::new();
    for (number, (port, &value)) in graph.inputs.iter().zip(&graph.body.params).enumerate() {
        let ty = graph.ty(value).clone();
        let (place, source) = match lowering.placed_input(port, &ty) {
            Ok(Some((place, source))) => (Some(place), source),
            Ok(None) => {
                let source = Ref {
                    origin: Origin::Input(number),
                    dtype: storage_dtype(ty.dtype),
                    layout: Layout::dense(&ty.shape),
                };
                (None, source)
            }
            Err(message) => {
                lowering.errors.push(PlanError {
                    origin: vec![port.name.clone()],
                    operator: "input",
                    message,
                });
                continue;
            }
        };
        lowering.refs.insert(value, source);
        let port = port.clone();
        inputs.push(Input { port, ty, place });
    }
    if !lowering.errors.is_empty() {
        return Err(lowering.errors);
    }
    lowering.block(&graph.body);
    let mut outputs = Vec::new();
    let mut taken = HashSet::new();
    for (port, &value) in graph.outputs.iter().zip(&graph.body.results) {
        let ty = graph.ty(value).clone();
        match lowering.output(value, &mut taken) {
            Ok(access) => outputs.push(Output {
                port: port.clone(),
                ty,
                access,
            }),
            Err(message) => lowering.errors.push(PlanError {
                origin: vec![port.name.clone()],
                operator: "output",
                message,
            }),
        }
    }
    lowering.errors.extend(unsolvable_symbols(graph));
    if !lowering.errors.is_empty() {
        return Err(lowering.errors);
    }
    let mut plan = Plan {
        name: graph.name.clone(),
        symbols: graph
            .bounds
            .iter()
            .map(|(symbol, interval)| (symbol.clone(), interval))
            .collect(),
        constraints: graph.constraints.clone(),
        inputs,
        outputs,
        buffers: std::mem::take(&mut lowering.buffers),
        steps: std::mem::take(&mut lowering.steps),
        program: std::mem::take(&mut lowering.items),
        functions: Vec::new(),
        threads: 1,
        decisions: std::mem::take(&mut lowering.decisions),
        weights: std::mem::take(&mut lowering.weights),
        certificate: Certificate::default(),
    };
    lowering.fuse_depthwise_blocks(&mut plan);
    if options.accumulate {
        stream::fuse_sums(&mut plan);
    }
    mark_lives(&mut plan);
    Ok(plan)
}

impl Lowering<'_> {
    /// A place in the arena for an input that the caller does not have as one tensor.
    fn placed_input(&mut self, port: &Port, ty: &TensorType) -> Result<Option<(Access, Ref)>, String> {
        let part = match port.part {
            Part::Whole | Part::Text | Part::Present | Part::Length => return Ok(None),
            Part::Elements { .. } => "elements",
            Part::Shapes => "shapes",
        };
        let target = self.new_buffer(ty.dtype, &ty.shape, &format!("{}_{part}", port.name))?;
        Ok(Some((self.access(&target, Vec::new()), target)))
    }

    /// Lowers the nodes of a block into `self.items`.
    fn block(&mut self, block: &Block) {
        let outer_local = std::mem::take(&mut self.local);
        let outer_now = self.now;
        let outer_uses = std::mem::take(&mut self.last_use);
        self.plan_uses(block);
        self.plan_transposes(block);
        self.plan_orders(block);
        self.plan_concats(block);
        self.plan_depthwise_blocks(block);
        for (number, node) in block.nodes.iter().enumerate() {
            self.now = number;
            self.origin.clone_from(&node.origin);
            self.local.extend(&node.outputs);
            if let Err(message) = self.node(node) {
                let origin = node.origin.clone();
                self.errors.push(PlanError {
                    origin,
                    operator: node.op.name(),
                    message,
                });
                for &output in &node.outputs {
                    let layout = Layout::dense(&self.graph.ty(output).shape);
                    let dtype = storage_dtype(self.graph.ty(output).dtype);
                    self.refs.insert(
                        output,
                        Ref {
                            origin: Origin::Input(0),
                            dtype,
                            layout,
                        },
                    );
                }
            }
        }
        self.local = outer_local;
        self.last_use = outer_uses;
        self.now = outer_now;
    }

    /// Finds the last reader of every value, seeing through views.
    fn plan_uses(&mut self, block: &Block) {
        let mut last: HashMap<ValueId, usize> = HashMap::new();
        for &result in &block.results {
            last.insert(result, usize::MAX);
        }
        for (number, node) in block.nodes.iter().enumerate().rev() {
            let mut until = number;
            if matches!(
                node.op,
                Op::Reshape { .. } | Op::Transpose { .. } | Op::Slice { .. } | Op::Broadcast { .. }
            ) {
                until = until.max(last.get(&node.outputs[0]).copied().unwrap_or(0));
            }
            let captured = node.regions.iter().flat_map(Block::captures);
            for value in node.inputs.iter().copied().chain(captured) {
                let entry = last.entry(value).or_insert(until);
                *entry = (*entry).max(until);
            }
        }
        self.last_use = last;
    }

    /// Records what was chosen for a node.
    fn decided(&mut self, node: &Node, chosen: Choice, others: Vec<Choice>) {
        if let Some(name) = node.origin.first() {
            self.decisions.push(Decision {
                node: name.clone(),
                chosen,
                others,
            });
        }
    }

    fn node(&mut self, node: &Node) -> Lowered {
        match &node.op {
            Op::Constant(tensor) => self.constant(node, tensor),
            Op::Reshape { .. } | Op::Transpose { .. } | Op::Slice { .. } | Op::Broadcast { .. } => self.view(node),
            Op::Elementwise { expr, .. } => self.map_node(node, expr),
            Op::Fold { .. } => self.fold_node(node),
            Op::Scatter { kind } => self.scatter(node, *kind),
            Op::Sort { descending } => self.sort(node, *descending),
            Op::Bind { symbol } => {
                let value = self.element(node.inputs[0]);
                let symbol = symbol.clone();
                self.items.push(Item::Bind { symbol, value });
                Ok(())
            }
            Op::Assert { message } => {
                let condition = self.element(node.inputs[0]);
                self.items.push(Item::Assert {
                    condition,
                    origin: node.origin.first().cloned().unwrap_or_default(),
                    message: message.clone(),
                });
                Ok(())
            }
            Op::MatMul { .. } => self.matmul(node),
            Op::Dequantize { rows } => self.dequantize(node, *rows),
            Op::Conv { .. } => self.conv(node),
            Op::ConvTranspose { .. } => self.conv_transpose(node),
            Op::Pool { .. } => self.pool(node),
            Op::Resize { .. } => self.resize(node),
            Op::Pad { .. } => self.pad(node),
            Op::Concat { axis } => self.concat(node, *axis),
            Op::Reduce { .. }
            | Op::ArgReduce { .. }
            | Op::CumSum { .. }
            | Op::Softmax { .. }
            | Op::Normalize { .. } => self.rows(node),
            Op::Attention { .. } => self.attention(node),
            Op::Recurrent { .. } => self.recurrent(node),
            Op::Gather { .. } | Op::GatherElements { .. } => self.gather(node),
            Op::Opaque(call) => self.opaque(node, call),
            Op::If => self.if_node(node),
            Op::Loop { .. } => self.loop_node(node),
            Op::Scan { .. } => self.scan_node(node),
        }
    }

    fn constant(&mut self, node: &Node, tensor: &Tensor) -> Lowered {
        let value = node.outputs[0];
        let name = self.constant_name(node);
        let layout = Layout::dense(&self.graph.ty(value).shape);
        self.constants.insert(value, (tensor.clone(), name));
        let dtype = storage_dtype(tensor.dtype);
        self.refs.insert(
            value,
            Ref {
                origin: Origin::Constant(value),
                dtype,
                layout,
            },
        );
        Ok(())
    }

    /// The name of a constant.
    fn constant_name(&self, node: &Node) -> String {
        let name = self.graph.value(node.outputs[0]).name.clone();
        name.or_else(|| node.origin.first().cloned()).unwrap_or_default()
    }

    fn view(&mut self, node: &Node) -> Lowered {
        let source = self.operand(node.inputs[0]);
        let layout = match &node.op {
            Op::Reshape { shape } => source.layout.reshape(self.graph, shape),
            Op::Transpose { permutation } => Some(source.layout.transpose(permutation)),
            Op::Slice { starts, steps, shape } if steps.iter().all(|&step| step > 0) => {
                Some(source.layout.slice(starts, steps, shape, &self.graph.bounds))
            }
            Op::Slice { starts, steps, shape } => return self.backward_slice(node, &source, starts, steps, shape),
            Op::Broadcast { shape } => Some(source.layout.broadcast(shape)),
            _ => None,
        };
        let view = match (layout, &node.op) {
            (Some(layout), _) => Ref { layout, ..source },
            (None, Op::Reshape { shape }) => self.reshaped(node.outputs[0], &source, shape, &node.origin)?,
            (None, _) => return Err("not a view".into()),
        };
        self.refs.insert(node.outputs[0], view);
        Ok(())
    }

    /// A copy of a value in another shape, stored in the order of `value`.
    fn reshaped(&mut self, value: ValueId, source: &Ref, shape: &[Dim], origin: &[String]) -> Result<Ref, String> {
        let order = self.order(value);
        if !order.is_sorted() && !self.destinations.contains_key(&value) {
            let target = self.result(value)?;
            if let Some(layout) = target.layout.reshape(self.graph, &source.layout.shape) {
                let seen = Ref {
                    layout,
                    ..target.clone()
                };
                self.copy_to(source, &seen, origin)?;
                return Ok(target);
            }
        }
        let dense = self.dense(source, origin)?;
        let layout = Layout {
            offset: dense.layout.offset.clone(),
            ..Layout::dense(shape)
        };
        Ok(Ref { layout, ..dense })
    }

    /// Whether a product whose sums have `depth` terms is computed in bf16. One that belongs to a depthwise convolution is
    /// computed together with it, and a short sum is not worth rounding its terms.
    fn is_bf16(&self, node: &Node, depth: usize) -> bool {
        self.options.precision == Precision::Bf16 && depth >= SHORT && !self.is_in_chain(node.outputs[0])
    }

    /// The value of a size at the bounds of the symbols.
    fn upper(&self, dim: &Dim) -> usize {
        usize::try_from(dim.upper(&self.graph.bounds)).unwrap_or(0)
    }

    /// Appends a step.
    #[allow(clippy::too_many_arguments)]
    fn push(
        &mut self,
        kernel: Kernel,
        loops: Vec<Dim>,
        reads: Vec<Access>,
        writes: Vec<Access>,
        scratch: Option<Access>,
        origin: &[String],
        results: Vec<TensorType>,
        macs: Dim,
    ) {
        let trips: Dim = loops.iter().cloned().product();
        let macs = (macs * trips).upper(&self.graph.bounds).max(0) as u64;
        self.items.push(Item::Step(self.steps.len()));
        self.steps.push(Step {
            kernel,
            loops,
            reads,
            writes,
            scratch,
            parts: Dim::from(1i64),
            divides_loop: false,
            origin: origin.to_vec(),
            results,
            macs,
            function: usize::MAX,
        });
    }

    fn types_of(&self, values: &[ValueId]) -> Vec<TensorType> {
        values.iter().map(|&value| self.graph.ty(value).clone()).collect()
    }

    /// A fresh name for the counter of a loop.
    fn counter(&mut self) -> Arc<str> {
        self.loops += 1;
        Arc::from(format!("iteration_{}", self.loops))
    }
}

/// Symbols that no dimension of an input gives a value to.
fn unsolvable_symbols(graph: &Graph) -> Vec<PlanError> {
    let mut solved = HashSet::new();
    for &input in &graph.body.params {
        solved.extend(graph.ty(input).shape.iter().filter_map(Dim::as_symbol).cloned());
    }
    bound_symbols(&graph.body, &mut solved);
    let mut used = HashSet::new();
    for id in 0..graph.value_count() {
        for dim in &graph.ty(ValueId(id as u32)).shape {
            dim.visit_symbols(&mut |symbol| {
                used.insert(symbol.clone());
            });
        }
    }
    let unsolved = graph
        .bounds
        .iter()
        .filter(|(symbol, _)| used.contains(*symbol) && !solved.contains(*symbol));
    let error = |(symbol, _): (&Arc<str>, _)| PlanError {
        origin: Vec::new(),
        operator: "input",
        message: format!("no dimension of an input is `{symbol}` alone, so that its size is not known; fix it"),
    };
    unsolved.map(error).collect()
}

/// Collects the symbols that a run gives their value.
fn bound_symbols(block: &Block, found: &mut HashSet<Arc<str>>) {
    for node in &block.nodes {
        if let Op::Bind { symbol } = &node.op {
            found.insert(symbol.clone());
        }
        node.regions.iter().for_each(|region| bound_symbols(region, found));
    }
}

/// The product of sizes.
fn product(sizes: &[Dim]) -> Dim {
    sizes.iter().cloned().product()
}
