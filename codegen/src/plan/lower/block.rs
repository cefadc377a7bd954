//! Depthwise convolutions that are computed together with the pointwise ones around them.
//!
//! The image between an expansion and a depthwise convolution is the largest of a network and is read once. Where it
//! does not stay in a cache anyway, the steps become one that computes a few rows of the result at a time: the image in
//! between never exists as a whole.

use super::super::kernel::{ConvKind, DepthwiseBlock, Gemm, Init, Matrix, Pointwise};
use super::super::{Access, Base, Buffer, BufferId, Item, Kernel, Plan, Step};
use super::{Choice, Lowering, Origin};
use crate::ir::graph::{Block, Node, ValueId};
use crate::ir::{DType, Dim, Op};
use onnxide_runtime::linear;
use std::collections::HashMap;

/// Bytes of an image in between from which on it is not computed as a whole: a part of a second level cache.
pub(in crate::plan) const LARGE: i64 = 192 * 1024;

/// The values of a depthwise block.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    /// What an expansion computes from the input of the block.
    expanded: Option<(ValueId, ValueId)>,
    /// The result of the depthwise convolution.
    filtered: ValueId,
    /// The result of the projection.
    projected: Option<ValueId>,
}

impl Lowering<'_> {
    /// Finds the depthwise convolutions of a block that are worth computing a few rows at a time.
    pub(super) fn plan_depthwise_blocks(&mut self, block: &Block) {
        let (uses, producer) = super::destination::links(block);
        let mut readers: HashMap<ValueId, &Node> = HashMap::new();
        for node in &block.nodes {
            for &input in &node.inputs {
                readers.insert(input, node);
            }
        }
        for node in &block.nodes {
            if !self.is_depthwise(node) {
                continue;
            }
            let (x, y) = (node.inputs[0], node.outputs[0]);
            let before = producer.get(&x).map(|&number| &block.nodes[number]);
            let before = before.filter(|before| uses[&x] == 1 && is_pointwise(before));
            let after = readers.get(&y).copied();
            let after = after.filter(|after| uses[&y] == 1 && is_pointwise(after) && after.inputs[0] == y);
            if before.is_none() && after.is_none() {
                continue;
            }
            // Where memory is bounded, everything is streamed that can be.
            let tuned = self.options.tuning.streamed(&node.origin);
            let tuned = tuned.filter(|_| self.options.stream_from > 0);
            let even = !self.divides_unevenly(node);
            let before =
                before.filter(|_| tuned.unwrap_or_else(|| even && self.is_large(x) && !self.expands_again(node)));
            let after = after.filter(|_| tuned.unwrap_or_else(|| even && (before.is_some() || self.is_large(y))));
            if before.is_none() && after.is_none() {
                self.decided(node, Choice::Apart, vec![Choice::Streamed]);
                continue;
            }
            self.decided(node, Choice::Streamed, vec![Choice::Apart]);
            self.chains.push(Chain {
                expanded: before.map(|before| (before.inputs[0], x)),
                filtered: y,
                projected: after.map(|after| after.outputs[0]),
            });
        }
    }

    fn is_depthwise(&self, node: &Node) -> bool {
        let Op::Conv { groups, .. } = &node.op else {
            return false;
        };
        let channels = |value: ValueId| &self.graph.ty(value).shape[1];
        let ty = self.graph.ty(node.inputs[0]);
        let single = ty.dtype == DType::F32 && ty.shape[0].is(1);
        let groups = *groups as i64;
        single && groups > 1 && channels(node.inputs[0]).is(groups) && channels(node.outputs[0]).is(groups)
    }

    /// Whether one of several threads would have much more than its part of the few rows of a result. The steps of a block
    /// that are computed apart divide their channels, too.
    fn divides_unevenly(&self, node: &Node) -> bool {
        let rows = self.image_rows(node.outputs[0]);
        let threads = self.options.threads.max(1);
        rows.div_ceil(threads) * threads * 5 > rows * 6
    }

    /// The rows of an image; one dimension has one.
    fn image_rows(&self, value: ValueId) -> usize {
        let shape = &self.graph.ty(value).shape;
        let rows = shape.get(2).filter(|_| shape.len() > 3);
        rows.map_or(1, |rows| self.upper(rows))
    }

    /// Whether several threads would expand many rows of the image between them more than once: each of them expands what
    /// its rows of the result see.
    fn expands_again(&self, node: &Node) -> bool {
        let Op::Conv { window, .. } = &node.op else {
            return false;
        };
        let (seen, rows) = (self.image_rows(node.inputs[0]), self.image_rows(node.outputs[0]));
        let threads = self.options.threads.clamp(1, rows.max(1));
        let reach = window.dilations[0] * window.kernel[0].saturating_sub(1) + 1;
        let each = (rows.div_ceil(threads).saturating_sub(1) * window.strides[0] + reach).min(seen);
        threads > 1 && each * threads * 4 > seen * 5
    }

    fn is_large(&self, value: ValueId) -> bool {
        self.graph.ty(value).elements().upper(&self.graph.bounds) * 4 >= self.options.stream_from
    }

    /// Whether a result is that of a block whose input is `value`, rows of which are still read when the first rows of
    /// the result are written.
    pub(super) fn is_streamed_from(&self, result: ValueId, value: ValueId) -> bool {
        let reads = |chain: &Chain| chain.expanded.is_some_and(|(input, _)| input == value);
        self.chains
            .iter()
            .any(|chain| chain.projected.unwrap_or(chain.filtered) == result && reads(chain))
    }

    /// Whether a value is the result of a pointwise convolution of a chain.
    pub(super) fn is_in_chain(&self, value: ValueId) -> bool {
        let is = |chain: &Chain| chain.projected == Some(value) || chain.expanded.is_some_and(|(_, y)| y == value);
        self.chains.iter().any(is)
    }

    /// Turns the steps of every chain into one, where they have become steps that follow each other.
    pub(super) fn fuse_depthwise_blocks(&self, plan: &mut Plan) {
        let buffer = |value: ValueId| match self.refs.get(&value)?.origin {
            Origin::Buffer(id) => Some(id),
            _ => None,
        };
        let mut dropped = vec![false; plan.steps.len()];
        for chain in &self.chains {
            let Some(filtered) = buffer(chain.filtered) else {
                continue;
            };
            let writer = |plan: &Plan, id: BufferId| {
                let writes = |step: &Step| step.writes.iter().any(|access| access.base == Base::Buffer(id));
                plan.steps.iter().position(writes)
            };
            let Some(middle) = writer(plan, filtered) else {
                continue;
            };
            let before = chain.expanded.and_then(|(_, value)| writer(plan, buffer(value)?));
            let before = before.filter(|&before| before + 1 == middle && is_private(plan, before, middle, 0));
            let after = chain
                .projected
                .map(|_| middle + 1)
                .filter(|&after| after < plan.steps.len() && is_private(plan, middle, after, 0));
            if let Some(mut step) = fused(plan, before, middle, after) {
                self.add_scratch(plan, &mut step);
                for part in before.into_iter().chain([middle]).chain(after) {
                    dropped[part] = true;
                }
                dropped[middle] = false;
                plan.steps[middle] = step;
            }
        }
        drop_steps(plan, &dropped);
    }

    fn add_scratch(&self, plan: &mut Plan, step: &mut Step) {
        let Kernel::DepthwiseBlock(block) = &step.kernel else {
            return;
        };
        let problem = self.bounded(&block.depthwise);
        let parts = (block.expand.is_some(), block.project.is_some());
        let capacity = match block.depthwise.window.is_fixed() {
            true => linear::depthwise_block_scratch(&problem, parts.0, parts.1),
            false => linear::depthwise_block_scratch_bound(&problem, parts.0, parts.1),
        };
        step.scratch = Some(new_scratch(plan, capacity));
    }
}

/// Working memory of so many values.
pub(super) fn new_scratch(plan: &mut Plan, capacity: usize) -> Access {
    let id = BufferId(plan.buffers.len());
    plan.buffers.push(Buffer {
        dtype: DType::F32,
        capacity,
        name: "scratch".to_owned(),
        first: usize::MAX,
        last: 0,
        offset: 0,
    });
    Access {
        base: Base::Buffer(id),
        dtype: DType::F32,
        offset: Dim::from(0i64),
        loop_strides: Vec::new(),
    }
}

fn is_pointwise(node: &Node) -> bool {
    match &node.op {
        Op::Conv { window, groups, .. } => {
            let one = |sizes: &[usize]| sizes.iter().all(|&size| size == 1);
            let mut pads = window.pads_before.iter().chain(&window.pads_after);
            *groups == 1 && one(&window.kernel) && one(&window.strides) && pads.all(|pad| pad.is(0))
        }
        _ => false,
    }
}

/// Whether what step `writer` writes is the read `place` of step `reader` and read by nothing else.
pub(super) fn is_private(plan: &Plan, writer: usize, reader: usize, place: usize) -> bool {
    let [written] = plan.steps[writer].writes.as_slice() else {
        return false;
    };
    let same = |access: &&Access| access.base == written.base;
    let accesses = |step: &Step| {
        let all = step.reads.iter().chain(&step.writes).chain(&step.scratch);
        all.filter(same).count()
    };
    let in_steps: usize = plan.steps.iter().map(accesses).sum();
    let outputs = plan.outputs.iter().filter(|output| output.access.base == written.base);
    let mut outside = outputs.count();
    for mut item in plan.program.iter().cloned() {
        item.for_each_access_mut(&mut |access| outside += usize::from(access.base == written.base));
    }
    in_steps == 2
        && outside == 0
        && plan.steps[reader]
            .reads
            .get(place)
            .is_some_and(|read| read.base == written.base)
}

/// The step that does what the steps `before`, `middle` and `after` do, if they are the convolutions of a block.
fn fused(plan: &Plan, before: Option<usize>, middle: usize, after: Option<usize>) -> Option<Step> {
    let Kernel::Conv(depthwise) = &plan.steps[middle].kernel else {
        return None;
    };
    let mut depthwise = depthwise.clone();
    let window = &mut depthwise.window;
    let channels = window.input[0].clone();
    let by_channel = |init: Init| matches!(init, Init::Zero | Init::PerColumn);
    let steps: Vec<&Step> = before
        .into_iter()
        .chain([middle])
        .chain(after)
        .map(|step| &plan.steps[step])
        .collect();
    let fits = steps.iter().all(|step| step.loops.is_empty()) && by_channel(depthwise.init);
    if !fits || depthwise.kind != ConvKind::Depthwise {
        return None;
    }
    let product = |step: Option<usize>| match step.map(|step| &plan.steps[step].kernel) {
        None => Some(None),
        Some(Kernel::Gemm(gemm)) if gemm.b == Matrix::Packed && by_channel(gemm.init) => Some(Some(gemm)),
        Some(_) => None,
    };
    let (expand, project) = (product(before)?, product(after)?);
    let expand = match expand {
        None => None,
        Some(gemm) => {
            let (pixel, width) = (row_of(gemm)?, window.input[2].clone());
            let dense = [Dim::from(1i64), width.clone() * channels.clone(), channels.clone()];
            let whole = gemm.m == window.input[1].clone() * width.clone() && gemm.n == channels;
            if !whole || window.x != dense || gemm.c_row != channels {
                return None;
            }
            window.x = [Dim::from(1i64), width * pixel.clone(), pixel.clone()];
            Some(pointwise(gemm, &gemm.k))
        }
    };
    let project = match project {
        None => None,
        Some(gemm) => {
            let whole = gemm.m == window.pixels() && gemm.k == channels;
            if !whole || *row_of(gemm)? != channels || depthwise.y_pixel != channels {
                return None;
            }
            depthwise.y_pixel = gemm.c_row.clone();
            Some(pointwise(gemm, &gemm.n))
        }
    };
    let mut reads = vec![steps[0].reads[0].clone()];
    reads.extend(steps.iter().flat_map(|step| step.reads[1..].iter().cloned()));
    let last = steps[steps.len() - 1];
    if reads.iter().any(|read| read.base == last.writes[0].base) {
        return None;
    }
    Some(Step {
        kernel: Kernel::DepthwiseBlock(DepthwiseBlock {
            expand,
            depthwise,
            project,
        }),
        loops: Vec::new(),
        reads,
        writes: last.writes.clone(),
        scratch: None,
        origin: steps.iter().flat_map(|step| step.origin.iter().cloned()).collect(),
        results: last.results.clone(),
        macs: steps.iter().map(|step| step.macs).sum(),
        parts: Dim::from(1i64),
        divides_loop: false,
        function: usize::MAX,
    })
}

/// The distance between the rows of the left matrix, whose columns are adjacent.
fn row_of(gemm: &Gemm) -> Option<&Dim> {
    match &gemm.a {
        Matrix::Strided { row, column } if column.is(1) => Some(row),
        _ => None,
    }
}

fn pointwise(gemm: &Gemm, channels: &Dim) -> Pointwise {
    Pointwise {
        channels: channels.clone(),
        init: gemm.init,
        epilogue: gemm.epilogue.clone(),
    }
}

/// Removes steps from a plan.
pub(super) fn drop_steps(plan: &mut Plan, dropped: &[bool]) {
    let mut numbers = Vec::with_capacity(dropped.len());
    let mut kept = 0;
    for &dropped in dropped {
        numbers.push(kept);
        kept += usize::from(!dropped);
    }
    let mut number = 0;
    plan.steps.retain(|_| {
        number += 1;
        !dropped[number - 1]
    });
    renumber(&mut plan.program, dropped, &numbers);
}

fn renumber(items: &mut Vec<Item>, dropped: &[bool], numbers: &[usize]) {
    items.retain(|item| !matches!(item, Item::Step(step) if dropped[*step]));
    for item in items {
        match item {
            Item::Step(step) => *step = numbers[*step],
            Item::If {
                then_items, else_items, ..
            } => {
                renumber(then_items, dropped, numbers);
                renumber(else_items, dropped, numbers);
            }
            Item::Loop(repeated) => renumber(&mut repeated.body, dropped, numbers),
            Item::For { body, .. } => renumber(body, dropped, numbers),
            Item::Repeat(_) | Item::Bind { .. } | Item::Assert { .. } => {}
        }
    }
}
