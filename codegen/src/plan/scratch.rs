//! How much working memory each step gets.
//!
//! Some kernels need less working memory than they are fastest with. Such a step gets what the arena has free while it
//! runs: the room below the largest sum of live bytes of all steps. It gets more, by which the arena grows, where the
//! time of the whole model gains from that, and less where the arena is bounded.

use super::kernel::{ConvKind, Matrix, Streamed};
use super::lower::weights_only;
use super::place::{ALIGNMENT, Life, peaks};
use super::{Base, BufferId, Kernel, Packing, Plan, Step, threads, tuning};
use crate::ir::{Bounds, Dim};
use onnxide_runtime::linear;

/// The part of a model's time that the smallest arena may cost.
const SLOWER: f64 = 0.02;

/// How many sizes between the least and the best are considered.
const SIZES: usize = 16;

/// A kernel that works with more or less memory, at the bounds of the symbols.
enum Elastic {
    /// A product whose right matrix is packed block by block.
    Product { m: usize, n: usize, k: usize },
    /// A depthwise convolution between pointwise ones, with the number of weights of these.
    Block {
        problem: linear::Conv2dNhwc,
        parts: [bool; 2],
        weights: usize,
    },
    /// A chain of convolutions a few rows at a time, in so many parts, with the time of each member.
    Streamed {
        streamed: Streamed,
        parts: usize,
        times: Vec<f64>,
    },
    /// A convolution in strips of tiles.
    Winograd(linear::WinogradConv2dNhwc),
    /// A product or a convolution that copies its input, rounded or channels last, a block of rows at a time, with the number
    /// of its weights.
    Copied { least: usize, best: usize, weights: usize },
    /// A convolution of integers, which copies the image a block of rows at a time.
    Int8 {
        least: usize,
        best: usize,
        problem: linear::Conv2dNhwc,
    },
}

impl Elastic {
    fn of(step: &Step, bounds: &Bounds) -> Option<Elastic> {
        let upper = |dim: &Dim| usize::try_from(dim.upper(bounds)).unwrap_or(0);
        match &step.kernel {
            Kernel::Gemm(gemm) => {
                let [m, n, k] = [&gemm.m, &gemm.n, &gemm.k].map(upper);
                match gemm.b {
                    Matrix::Packed | Matrix::PackedInt8 => None,
                    Matrix::PackedBlocks { format, rounded: true } => Some(Elastic::Copied {
                        least: linear::gemm_blocks_int8_scratch_min(m, k, format),
                        best: linear::gemm_blocks_int8_scratch(m, k, format),
                        weights: n * k,
                    }),
                    // Few rows need none, and little is what is best for a few more.
                    Matrix::PackedBlocks { .. } => {
                        let best = linear::gemm_blocks_scratch(m, n, k);
                        (best == linear::gemm_scratch(m, n, k, false)).then_some(Elastic::Product { m, n, k })
                    }
                    Matrix::PackedBf16 => Some(Elastic::Copied {
                        least: linear::gemm_bf16_scratch_min(m, k),
                        best: linear::gemm_bf16_scratch(m, k),
                        weights: n * k,
                    }),
                    Matrix::Strided { .. } => Some(Elastic::Product { m, n, k }),
                }
            }
            Kernel::DepthwiseBlock(block) => {
                let problem = block.depthwise.problem(bounds);
                let around = block.expand.iter().chain(&block.project);
                Some(Elastic::Block {
                    problem,
                    parts: [block.expand.is_some(), block.project.is_some()],
                    weights: around.map(|part| upper(&part.channels) * problem.in_channels).sum(),
                })
            }
            Kernel::Streamed(streamed) => {
                let work = |kernel| threads::linear_work(kernel).map_or(0, |work| work.upper(bounds)) as f64;
                Some(Elastic::Streamed {
                    streamed: streamed.clone(),
                    parts: parts(step, bounds),
                    times: streamed.members.iter().map(|member| work(&member.kernel)).collect(),
                })
            }
            Kernel::Conv(conv) => match conv.kind {
                ConvKind::Winograd(tile) => Some(Elastic::Winograd(linear::WinogradConv2dNhwc {
                    problem: conv.problem(bounds),
                    tile,
                })),
                ConvKind::Bf16 => {
                    let problem = conv.problem(bounds);
                    Some(Elastic::Copied {
                        least: linear::conv2d_nhwc_bf16_scratch_min(&problem),
                        best: linear::conv2d_nhwc_bf16_scratch(&problem),
                        weights: linear::conv2d_nhwc_bf16_packed_len(&problem),
                    })
                }
                ConvKind::Direct => {
                    let problem = conv.problem(bounds);
                    let best = linear::conv2d_nhwc_scratch(&problem);
                    (best > 0).then(|| Elastic::Copied {
                        least: linear::conv2d_nhwc_scratch_min(&problem),
                        best,
                        weights: linear::conv2d_nhwc_packed_len(&problem),
                    })
                }
                ConvKind::Int8(_) => {
                    let problem = conv.problem(bounds);
                    Some(Elastic::Int8 {
                        least: linear::conv2d_nhwc_int8_scratch_min(&problem),
                        best: linear::conv2d_nhwc_int8_scratch(&problem),
                        problem,
                    })
                }
                ConvKind::Depthwise | ConvKind::DepthwiseInt8(_) => None,
            },
            _ => None,
        }
    }

    /// The elements that the kernel uses of this many.
    fn within(&self, room: usize) -> usize {
        match self {
            Elastic::Product { m, n, k } => linear::gemm_scratch_within(*m, *n, *k, false, room),
            Elastic::Block { problem, parts, .. } => {
                linear::depthwise_block_scratch_within(problem, parts[0], parts[1], room)
            }
            Elastic::Streamed { streamed, parts, .. } => streamed.scratch_within(*parts, room),
            Elastic::Winograd(problem) => linear::winograd_conv2d_nhwc_scratch_within(problem, room),
            Elastic::Copied { least, best, .. } | Elastic::Int8 { least, best, .. } => {
                room.clamp(*least, (*best).max(*least))
            }
        }
    }

    fn least(&self) -> usize {
        match self {
            Elastic::Product { m, n, k } => linear::gemm_scratch_min(*m, *n, *k, false),
            Elastic::Block { problem, parts, .. } => linear::depthwise_block_scratch_min(problem, parts[0], parts[1]),
            Elastic::Streamed { streamed, .. } => streamed.scratch_min(),
            Elastic::Winograd(problem) => linear::winograd_conv2d_nhwc_scratch_min(problem),
            Elastic::Copied { least, .. } | Elastic::Int8 { least, .. } => *least,
        }
    }

    /// The time of a step with this many elements, in multiply-adds; `work` is its time without regard to memory.
    fn time(&self, elements: usize, work: f64) -> f64 {
        match self {
            // The left matrix is read once for each block of columns.
            Elastic::Product { m, k, .. } => {
                let columns = elements / linear::gemm_scratch_min(1, 1, *k, false).max(1) * linear::PANEL_COLUMNS;
                let (m, k) = (*m as f64, *k as f64);
                work + 4.0 * m * k * (work / (m * k).max(1.0)) / columns.max(1) as f64
            }
            // The weights of pointwise convolutions are read once for each band, as those of a product of few rows.
            Elastic::Block {
                problem,
                parts,
                weights,
            } => {
                let rows = linear::depthwise_block_rows(problem, parts[0], parts[1], elements);
                work + 2.0 * (problem.out_height.div_ceil(rows.max(1)) * weights) as f64
            }
            Elastic::Streamed { streamed, parts, times } => streamed.time(*parts, elements, times),
            Elastic::Winograd(problem) => linear::winograd_conv2d_nhwc_time(problem, elements),
            Elastic::Int8 { problem, .. } => linear::conv2d_nhwc_int8_time(problem, elements),
            // The weights are read once for each block of rows.
            Elastic::Copied { best, weights, .. } => work + (best.div_ceil(elements.max(1)) * weights) as f64,
        }
    }
}

/// Working memory of a step and the time that it takes with it, in multiply-adds.
#[derive(Clone, Copy, Debug)]
struct Choice {
    /// Elements for all parts of the step.
    elements: usize,
    bytes: usize,
    time: f64,
}

/// The steps that call one function. They get the same working memory, so that repeated layers stay alike.
struct Group {
    buffers: Vec<BufferId>,
    /// By size; more takes less time.
    choices: Vec<Choice>,
    /// The most bytes that live beside the working memory of a step.
    beside: usize,
}

impl Group {
    /// The fastest choice that fits an arena, or the least there is.
    fn choice(&self, arena: usize) -> Choice {
        let room = arena.saturating_sub(self.beside);
        let fitting = self.choices.iter().rfind(|choice| choice.bytes <= room);
        *fitting.unwrap_or(&self.choices[0])
    }
}

/// The time that a step takes whatever its memory, in multiply-adds.
fn work(step: &Step, bounds: &Bounds) -> f64 {
    let trips: Dim = step.loops.iter().cloned().product();
    let work = threads::work(step).map_or(0, |work| (work * trips).upper(bounds));
    work.max(i64::try_from(step.macs).unwrap_or(i64::MAX)) as f64
}

/// The most parts of a step.
fn parts(step: &Step, bounds: &Bounds) -> usize {
    usize::try_from(step.parts.upper(bounds)).unwrap_or(1).max(1)
}

/// The choices that a step has.
fn choices(step: &Step, bounds: &Bounds) -> Option<Vec<Choice>> {
    let elastic = Elastic::of(step, bounds)?;
    let parts = parts(step, bounds);
    let (least, best) = (elastic.least(), elastic.within(usize::MAX));
    let trips: Dim = step.loops.iter().cloned().product();
    let trips = trips.upper(bounds).max(1) as f64;
    let own = work(step, bounds) / trips;
    let mut choices: Vec<Choice> = Vec::new();
    for place in 0..=SIZES {
        let elements = elastic.within(least + (best.max(least) - least) / SIZES * place);
        let elements = if place == SIZES { best } else { elements };
        let time = elastic.time(elements, own) * trips;
        if choices
            .last()
            .is_none_or(|last| last.elements < elements * parts && last.time > time)
        {
            choices.push(Choice {
                elements: elements * parts,
                bytes: (elements * parts * 4).next_multiple_of(ALIGNMENT),
                time,
            });
        }
    }
    Some(choices)
}

/// Bytes that a step cannot do without in each of its parts.
pub(super) fn least(step: &Step, bounds: &Bounds) -> usize {
    choices(step, bounds).map_or(0, |choices| choices[0].bytes)
}

/// The time of a step that may work in so many bytes, in multiply-adds.
pub(super) fn time_within(step: &Step, room: usize, bounds: &Bounds) -> f64 {
    match choices(step, bounds) {
        None => work(step, bounds),
        Some(choices) => {
            let fitting = choices.iter().rfind(|choice| choice.bytes <= room);
            fitting.unwrap_or(&choices[0]).time
        }
    }
}

fn scratch_of(step: &Step) -> Option<BufferId> {
    match step.scratch.as_ref()?.base {
        Base::Buffer(id) => Some(id),
        Base::Input(_) | Base::Weight(_) => None,
    }
}

/// Gives every step the least working memory that it can do with.
pub(super) fn shrink(plan: &mut Plan) {
    let bounds = plan.bounds();
    for step in &plan.steps {
        if let (Some(id), Some(choices)) = (scratch_of(step), choices(step, &bounds)) {
            plan.buffers[id.0].capacity = choices[0].elements;
        }
    }
    fit_bands(plan, &bounds);
}

/// Lets bands have as many rows as there is working memory for.
fn fit_bands(plan: &mut Plan, bounds: &Bounds) {
    for step in &mut plan.steps {
        let (parts, scratch) = (parts(step, bounds), scratch_of(step));
        if let (Kernel::Streamed(streamed), Some(id)) = (&mut step.kernel, scratch) {
            streamed.rows = streamed.rows_within(parts, plan.buffers[id.0].capacity / parts);
        }
    }
}

/// The sum of live bytes during each step, without its own working memory if that is elastic.
fn beside(plan: &Plan, bounds: &Bounds) -> Vec<usize> {
    let lives: Vec<Life> = plan.buffers.iter().map(Life::of).collect();
    let mut live = peaks(&lives, plan.steps.len());
    for (step, live) in plan.steps.iter().zip(&mut live) {
        if let Some(id) = scratch_of(step).filter(|_| Elastic::of(step, bounds).is_some()) {
            *live -= plan.buffers[id.0].bytes();
        }
    }
    live
}

/// How much memory steps may work in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Room {
    /// What they are fastest with.
    Fastest,
    /// What the model as a whole gains from.
    Balanced,
    /// What a balanced plan has, and what an arena of this many bytes has room for.
    Within(usize),
}

/// Chooses the working memory of every step.
pub(super) fn size(plan: &mut Plan, room: Room) {
    let bounds = plan.bounds();
    let beside = beside(plan, &bounds);
    let mut groups: Vec<Option<Group>> = plan.functions.iter().map(|_| None).collect();
    let (mut floor, mut total) = (beside.iter().copied().max().unwrap_or(0), 0.0);
    for (number, step) in plan.steps.iter().enumerate() {
        let (Some(id), Some(choices)) = (scratch_of(step), choices(step, &bounds)) else {
            total += work(step, &bounds);
            continue;
        };
        floor = floor.max(beside[number] + choices[0].bytes);
        total += choices[choices.len() - 1].time;
        let group = groups[step.function].get_or_insert_with(|| Group {
            buffers: Vec::new(),
            choices,
            beside: 0,
        });
        group.buffers.push(id);
        group.beside = group.beside.max(beside[number]);
    }
    let groups: Vec<Group> = groups.into_iter().flatten().collect();
    let balanced = || smallest_arena(&groups, floor, total * SLOWER);
    let arena = match room {
        Room::Fastest => usize::MAX,
        Room::Balanced => balanced(),
        Room::Within(limit) => balanced().min(limit),
    };
    for group in &groups {
        let choice = group.choice(arena);
        for id in &group.buffers {
            plan.buffers[id.0].capacity = choice.elements;
        }
    }
    fit_bands(plan, &bounds);
}

/// The smallest arena, at least `floor`, with which all groups together take at most `slack` longer than with the most
/// memory.
fn smallest_arena(groups: &[Group], floor: usize, slack: f64) -> usize {
    let slower = |arena: usize| -> f64 {
        let one = |group: &Group| {
            let best = group.choices[group.choices.len() - 1].time;
            (group.choice(arena).time - best) * group.buffers.len() as f64
        };
        groups.iter().map(one).sum()
    };
    let sizes = groups.iter().flat_map(|group| {
        let beside = group.beside;
        group.choices.iter().map(move |choice| beside + choice.bytes)
    });
    let mut sizes: Vec<usize> = sizes.chain([floor]).filter(|&size| size >= floor).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let place = sizes.partition_point(|&arena| slower(arena) > slack);
    sizes.get(place).copied().unwrap_or(floor)
}

/// The estimated time of a run, in multiply-adds.
pub(super) fn time(plan: &Plan) -> f64 {
    let bounds = plan.bounds();
    let of = |step: &Step| {
        let own = work(step, &bounds);
        let (Some(id), Some(elastic)) = (scratch_of(step), Elastic::of(step, &bounds)) else {
            return own;
        };
        let parts = parts(step, &bounds);
        let trips: Dim = step.loops.iter().cloned().product();
        let trips = trips.upper(&bounds).max(1) as f64;
        elastic.time(plan.buffers[id.0].capacity / parts, own / trips) * trips
    };
    plan.steps.iter().map(of).sum()
}

/// Lets the convolutions be computed directly whose tiles do not fit an arena of `limit` bytes.
pub(super) fn without_tiles(plan: &mut Plan, limit: usize) {
    let bounds = plan.bounds();
    let beside = beside(plan, &bounds);
    let mut changed = false;
    for (step, beside) in plan.steps.iter_mut().zip(beside) {
        let fits = choices(step, &bounds).is_none_or(|choices| beside + choices[0].bytes <= limit);
        let (false, Some(id)) = (fits, scratch_of(step)) else {
            continue;
        };
        let Kernel::Conv(conv) = &mut step.kernel else {
            continue;
        };
        // There is no other way to multiply integers.
        if matches!(conv.kind, ConvKind::Int8(_) | ConvKind::DepthwiseInt8(_)) {
            continue;
        }
        conv.kind = ConvKind::Direct;
        let problem = conv.problem(&bounds);
        if let Base::Weight(weights) = step.reads[1].base {
            let packing = Packing::Conv(weights_only(problem));
            step.reads[1].base = Base::Weight(plan.weights.repacked(weights, packing));
        }
        let parts = parts(step, &bounds);
        plan.buffers[id.0].capacity = linear::conv2d_nhwc_scratch(&problem) * parts;
        if plan.buffers[id.0].capacity == 0 {
            step.scratch = None;
        }
        for decision in &mut plan.decisions {
            if decision.chosen.excludes(tuning::Choice::Direct) && step.origin.contains(&decision.node) {
                decision.chosen = tuning::Choice::Direct;
                decision.others.clear();
            }
        }
        changed = true;
    }
    if changed {
        super::lower::mark_lives(plan);
    }
}
