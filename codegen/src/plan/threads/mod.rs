//! Into how many parts the work of each step is divided.
//!
//! Steps are divided where that pays: work is handed to other threads, which takes a moment, and what one core has written
//! and another reads comes from that one's cache. So it can be better to divide a small step between two that are divided,
//! and not to divide a larger one between others that are not. How long a step takes is estimated from its sizes alone, so
//! that the same model always becomes the same module.

mod cut;
mod work;

use super::kernel::{ConvKind, PoolResult};
use super::{Access, Base, BufferId, Choice, Decision, Kernel, Plan, Step, Tuning};
use crate::ir::{Bounds, DType, Dim};
use cut::{NEVER, Sides};
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use work::volume;
pub(super) use work::work;

/// The least work of a part where the sizes of a run decide about it, a few times as much as handing it to another thread.
const PART: i64 = 150_000;

/// The time in which work is handed to other threads, which read from the caller's cache what it is, and say that it is
/// done: a microsecond or somewhat more.
const FORK: i64 = 90_000;

/// The time in which an element of 4 bytes comes from the cache of another core.
const ELSEWHERE: u64 = 60;

/// The time after which threads sleep that have nothing to do, and the time in which they are awakened.
const SPIN: u64 = 7_000_000;
const WAKE: u64 = 1_000_000;

/// Decides about the parts of every step, and reserves working memory for each.
pub(super) fn divide(plan: &mut Plan, threads: usize, tuning: &Tuning) {
    plan.threads = threads;
    if threads < 2 {
        return;
    }
    let bounds = plan.bounds();
    let ways: Vec<Way> = plan
        .steps
        .iter()
        .map(|step| Way::of(step, threads, tuning.threads(&step.origin), &bounds))
        .collect();
    let divided = together(plan, &ways);
    for ((step, way), divided) in plan.steps.iter_mut().zip(ways).zip(divided) {
        step.parts = Dim::from(1i64);
        if way.divided == NEVER {
            continue;
        }
        if divided {
            (step.parts, step.divides_loop) = (way.parts, way.divides_loop);
        }
        if let Some(node) = step.origin.first() {
            let chosen = usize::try_from(step.parts.upper(&bounds)).unwrap_or(1).max(1);
            let others = [1, threads].into_iter().filter(|&other| other != chosen);
            plan.decisions.push(Decision {
                node: node.clone(),
                chosen: Choice::Threads(chosen),
                others: others.map(Choice::Threads).collect(),
            });
        }
        let scratch = step.scratch.as_ref().map(|scratch| scratch.base);
        if let (true, Some(Base::Buffer(id))) = (step.is_divided(), scratch) {
            let buffer = &mut plan.buffers[id.0];
            buffer.capacity = buffer
                .capacity
                .saturating_mul(step.parts.upper(&bounds).max(1) as usize);
        }
    }
}
/// The number of iterations of the loop around a kernel, if they write parts of the result that follow each other.
fn apart(step: &Step) -> Option<i64> {
    let ([trips], [write]) = (step.loops.as_slice(), step.writes.as_slice()) else {
        return None;
    };
    // Rows of the result, the distance between them, and the elements of each.
    let (rows, row, elements) = match &step.kernel {
        Kernel::Gemm(gemm) => (gemm.m.clone(), &gemm.c_row, &gemm.n),
        Kernel::Conv(conv) => (conv.window.pixels(), &conv.y_pixel, &conv.window.output[0]),
        Kernel::Pool(pool) => match &pool.y {
            PoolResult::Pixels(pixel) => (volume(&pool.output), pixel, &pool.input[0]),
            PoolResult::Planes(_) => return None,
        },
        _ => return None,
    };
    let (distance, rows) = (write.loop_strides[0].as_const()?, rows.as_const()?);
    let last = (rows - 1).checked_mul(row.as_const()?)?;
    let reach = last.checked_add(elements.as_const()?)?;
    let trips = trips.as_const()?;
    (trips > 1 && rows > 0 && reach <= distance).then_some(trips)
}

/// How a step would be divided, and what that costs.
#[derive(Clone, Debug)]
struct Way {
    parts: Dim,
    divides_loop: bool,
    /// The time of the largest part and of handing out the parts; [`NEVER`] if the step cannot be divided.
    divided: u64,
    /// The time on one thread; [`NEVER`] if the step has to be divided.
    alone: u64,
}

impl Way {
    /// What cannot be divided.
    fn alone() -> Way {
        Way {
            parts: Dim::from(1i64),
            divides_loop: false,
            divided: NEVER,
            alone: 0,
        }
    }

    fn of(step: &Step, threads: usize, tuned: Option<usize>, bounds: &Bounds) -> Way {
        let Some(work) = work(step) else {
            return Way::alone();
        };
        let most = tuned.unwrap_or(threads).min(threads);
        let constant = |dim: &Dim| dim.as_const();
        let trips = step.loops.iter().map(constant).product::<Option<i64>>();
        let (Some(each), Some(trips)) = (work.as_const(), trips) else {
            // The sizes of a run decide. What was measured for some of them is the most for others.
            let parts = parts(&work, most, bounds);
            return if parts.is(1) {
                Way::alone()
            } else {
                Way {
                    parts,
                    divides_loop: false,
                    divided: 0,
                    alone: NEVER,
                }
            };
        };
        let mut way = Way::within(step, each, trips, most as i64);
        match tuned {
            Some(..2) => way.divided = NEVER,
            Some(_) => way.alone = NEVER,
            None => {}
        }
        way
    }

    /// For the work of a kernel, in loops with so many iterations.
    fn within(step: &Step, each: i64, trips: i64, most: i64) -> Way {
        // Smaller parts are somewhat slower for their size.
        let share =
            |units: i64, parts: i64| 1.1 * (units.max(1) as u64).div_ceil(parts as u64) as f64 / units.max(1) as f64;
        let whole = each as f64 * trips as f64;
        let count = |work: f64| ((work / FORK as f64) as i64).clamp(2, most.max(2));
        let parts = count(each as f64);
        let inside = (
            whole * share(units(step), parts) + FORK as f64 * trips as f64,
            parts,
            false,
        );
        // Whole iterations share nothing, and leave what they have written to the thread that reads it next.
        let loops = apart(step).map(|trips| {
            let parts = count(whole).min(trips);
            (whole * share(trips, parts) + FORK as f64, parts, true)
        });
        let (divided, parts, divides_loop) = match loops {
            Some(loops) if loops.0 <= inside.0 => loops,
            _ => inside,
        };
        Way {
            parts: Dim::from(parts),
            divides_loop,
            divided: divided as u64,
            alone: whole as u64,
        }
    }
}

/// How many pieces a kernel can divide its work into.
fn units(step: &Step) -> i64 {
    let rows = |dim: &Dim| dim.as_const().unwrap_or(i64::MAX);
    match &step.kernel {
        Kernel::Conv(conv) => match conv.kind {
            ConvKind::Winograd(tile) => (rows(&conv.window.output[1]) as u64).div_ceil(tile.size() as u64) as i64,
            ConvKind::Depthwise => rows(&conv.window.output[1]),
            ConvKind::Direct | ConvKind::Bf16 => i64::MAX,
        },
        Kernel::DepthwiseBlock(block) => rows(&block.depthwise.window.output[1]),
        Kernel::Pool(pool) => rows(&pool.output[0]),
        _ => i64::MAX,
    }
}

/// Which steps are divided so that all of them together take the least time, after Stone, *Multiprocessor scheduling with
/// the aid of network flow algorithms* (1977).
fn together(plan: &Plan, ways: &[Way]) -> Vec<bool> {
    let (bounds, mut sides) = (plan.bounds(), Sides::default());
    // The steps that have written a buffer.
    let mut writers = HashMap::<BufferId, Vec<usize>>::new();
    for (index, (step, way)) in plan.steps.iter().zip(ways).enumerate() {
        let buffer = |access: &Access| match access.base {
            Base::Buffer(id) => Some(id),
            Base::Input(_) | Base::Weight(_) => None,
        };
        // The thread that calls has the inputs.
        let inputs = step.reads.iter().map(|access| match access.base {
            Base::Input(input) => {
                let ty = &plan.inputs[input].ty;
                elsewhere(ty.elements().upper(&bounds).max(0) as usize, ty.dtype)
            }
            Base::Buffer(_) | Base::Weight(_) => 0,
        });
        let divided = way.divided.saturating_add(inputs.sum::<u64>());
        sides.nodes.push((divided, way.alone));
        let reads: BTreeSet<_> = step.reads.iter().filter_map(buffer).collect();
        for id in reads {
            let writers = writers.get(&id).map(Vec::as_slice).unwrap_or_default();
            let whole = &plan.buffers[id.0];
            let elements = whole.capacity / writers.len().max(1);
            let apart = elsewhere(elements, whole.dtype);
            let both = (apart as f64 * shared(step)) as u64;
            for &writer in writers.iter().filter(|&&writer| writer != index) {
                sides.pairs.push((writer, index, apart, both));
            }
        }
        for id in step.writes.iter().filter_map(buffer) {
            writers.entry(id).or_default().push(index);
        }
    }
    let mut divided = sides.best();
    for steps in awakened(ways, &divided) {
        let mut without = divided.clone();
        steps.into_iter().for_each(|step| without[step] = false);
        if sides.cost(&without) < sides.cost(&divided).saturating_add(WAKE) {
            divided = without;
        }
    }
    divided
}

/// The steps that are divided, in groups before each of which threads have gone to sleep.
fn awakened(ways: &[Way], divided: &[bool]) -> Vec<Vec<usize>> {
    let alone = |steps: Range<usize>| {
        ways[steps]
            .iter()
            .fold(0, |sum: u64, way| sum.saturating_add(way.alone))
    };
    let steps: Vec<usize> = (0..ways.len()).filter(|&step| divided[step]).collect();
    let (Some(&first), Some(&last)) = (steps.first(), steps.last()) else {
        return Vec::new();
    };
    // A run of the model follows another.
    let around = alone(last + 1..ways.len()).saturating_add(alone(0..first));
    let between = steps.windows(2).map(|pair| alone(pair[0] + 1..pair[1]));
    let before: Vec<u64> = std::iter::once(around).chain(between).collect();
    let Some(start) = before.iter().position(|&before| before >= SPIN) else {
        return Vec::new();
    };
    let mut groups = Vec::new();
    for index in (start..steps.len()).chain(0..start) {
        if before[index] >= SPIN {
            groups.push(Vec::new());
        }
        groups
            .last_mut()
            .expect("the first one begins a group")
            .push(steps[index]);
    }
    groups
}

/// How much more than its share of what is read a part reads, in shares: what it needs of another part's.
fn shared(step: &Step) -> f64 {
    let rows =
        |kernel: usize, rows: &Dim| (kernel - 1) as f64 / rows.as_const().map_or(f64::MAX, |rows| rows.max(1) as f64);
    let beside = match &step.kernel {
        Kernel::Conv(conv) => rows(conv.window.kernel[0], &conv.window.input[1]),
        Kernel::DepthwiseBlock(block) => rows(block.depthwise.window.kernel[0], &block.depthwise.window.input[1]),
        Kernel::Pool(pool) => rows(pool.kernel[0], &pool.input[1]),
        // Every query sees all keys.
        Kernel::Attention(_) => 1.0,
        // Columns of all rows, and who writes to these rows again has to wait for them once more.
        Kernel::Reduce { sizes, .. } if sizes[0].is(1) => return 2.0,
        _ => 0.0,
    };
    beside.min(1.0)
}

/// The time of reading what another core has written: half of a value, where one step of two is divided.
fn elsewhere(elements: usize, dtype: DType) -> u64 {
    (elements as u64 / 2).saturating_mul(dtype.size() as u64) / 4 * ELSEWHERE
}

/// The number of parts for an amount of work: one for each [`PART`] of it, at most one for each thread. Where the work
/// depends on sizes that only a run knows, so does the number, and may be 0 for 1.
fn parts(work: &Dim, threads: usize, bounds: &Bounds) -> Dim {
    let threads = threads as i64;
    let range = work.range(bounds);
    let most = (range.high / PART).min(threads);
    if most < 2 {
        return Dim::from(1i64);
    }
    if range.low / PART >= most {
        return Dim::from(most);
    }
    // What does not depend on the sizes of the run is little, and left out for the sake of who reads the module. Of what
    // is left, factors that are the same in every run go into the divisor.
    let constant = work
        .terms()
        .filter(|(_, factors)| factors.is_empty())
        .map(|(value, _)| value)
        .sum::<i64>();
    let varying = work.clone() - Dim::from(constant);
    let factor = varying
        .terms()
        .fold(0, |common, (coefficient, _)| gcd(common, coefficient))
        .max(1);
    let quotient = varying.exact_div(&Dim::from(factor)).unwrap_or(varying);
    quotient
        .floor_div(&Dim::from((PART as u64).div_ceil(factor as u64) as i64))
        .minimum(&Dim::from(most), bounds)
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a.abs() } else { gcd(b, a % b) }
}

impl Step {
    /// Whether the work of the step is divided for several threads.
    pub fn is_divided(&self) -> bool {
        !self.parts.is(1)
    }
}
