//! Into how many parts the work of each step is divided.
//!
//! Steps are divided where that pays: work is handed to other threads, which takes a moment, and what one core has written
//! and another reads comes from that one's cache. So it can be better to divide a small step between two that are divided,
//! and not to divide a larger one between others that are not. How long a step takes is estimated from its sizes alone, so
//! that the same model always becomes the same module.

mod cut;
mod ways;
mod work;

use super::{Access, Base, BufferId, Choice, Decision, Kernel, Plan, Step, Tuning};
use crate::ir::{DType, Dim};
use cut::{Pair, Sides};
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use ways::Way;
pub(super) use work::{linear_work, work};

/// The time in which an element of 4 bytes comes from the cache of another core, in the unit of [`work`].
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
        if work(step).is_none() {
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
                sides.pairs.push(Pair {
                    nodes: [writer, index],
                    apart,
                    first: both,
                });
            }
        }
        let results = step.results.iter().map(|ty| ty.elements().upper(&bounds));
        let elements = results.max().unwrap_or(0);
        for id in step.writes.iter().filter_map(buffer) {
            let writers = writers.entry(id).or_default();
            // Nothing is left of what was there before a whole value.
            if usize::try_from(elements).is_ok_and(|elements| elements >= plan.buffers[id.0].capacity) {
                writers.clear();
            }
            writers.push(index);
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
    let rows = |kernel: usize, rows: &Dim| {
        kernel.saturating_sub(1) as f64 / rows.as_const().map_or(f64::MAX, |rows| rows.max(1) as f64)
    };
    let beside = match &step.kernel {
        Kernel::Conv(conv) => rows(conv.window.kernel[0], &conv.window.input[1]),
        Kernel::DepthwiseBlock(block) => rows(block.depthwise.window.kernel[0], &block.depthwise.window.input[1]),
        Kernel::Streamed(streamed) => {
            let windows = streamed.members.iter().map(|member| match &member.kernel {
                Kernel::Conv(conv) => rows(conv.window.kernel[0], &conv.window.input[1]),
                _ => 0.0,
            });
            windows.fold(0.0, f64::max)
        }
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
    ((elements as u64 / 2).saturating_mul(dtype.size() as u64) / 4).saturating_mul(ELSEWHERE)
}

impl Step {
    /// Whether the work of the step is divided for several threads.
    pub fn is_divided(&self) -> bool {
        !self.parts.is(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_steps_are_those_between_which_threads_sleep() {
        let groups = |alone: &[u64], divided: &[bool]| {
            let way = |&alone: &u64| Way {
                parts: Dim::from(2i64),
                divides_loop: false,
                divided: alone / 2,
                alone,
            };
            awakened(&alone.iter().map(way).collect::<Vec<_>>(), divided)
        };
        let none = Vec::<Vec<usize>>::new();
        assert_eq!(groups(&[SPIN, SPIN], &[false, false]), none);
        assert_eq!(groups(&[SPIN, SPIN], &[true, true]), none);
        assert_eq!(groups(&[1, SPIN - 1, 1], &[true, false, true]), none);
        assert_eq!(groups(&[1, SPIN, 1], &[true, false, true]), [vec![2, 0]]);
        assert_eq!(groups(&[SPIN / 2, 1, SPIN], &[false, true, false]), [vec![1]]);
        let divided = [true, true, false, true, false, false];
        assert_eq!(
            groups(&[1, 1, SPIN, 1, SPIN / 2, SPIN], &divided),
            [vec![0, 1], vec![3]]
        );
    }
}
