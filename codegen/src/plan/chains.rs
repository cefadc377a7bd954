//! Which convolutions of integers are computed together for an arena of a given size.
//!
//! In a run of convolutions each of which only the next one reads, any that follow each other can become one step, whose
//! images in between are strips. What is alive during such a step does not depend on what becomes of the others, nor does
//! its time, so that the best division of a run into steps is found from front to back.

use super::lower::{Chains, mark_lives};
use super::{Base, BufferId, Plan, Step, scratch};
use std::ops::Range;

/// The most convolutions of a chain, many more of whose first one's rows would be computed again than anew.
const LONGEST: usize = 16;

/// A range of a run as one step.
struct Segment {
    steps: Range<usize>,
    /// The step, if it is not that of the plan.
    fused: Option<Step>,
    /// The bytes that are alive without working memory, and those with the least of it.
    beside: usize,
    least: usize,
}

/// Turns convolutions into steps that fit `limit` bytes or, where nothing does, as few as possible, in the least estimated
/// time. Returns whether there are any. The steps of the plan have not been divided for threads yet.
pub(super) fn fuse(plan: &mut Plan, limit: usize, threads: usize) -> bool {
    let chains = Chains::new(plan);
    let runs = chains.runs();
    let mut replaced = Vec::new();
    for run in runs {
        let segments = segments(plan, &chains, &run, threads);
        let least = least(&segments, &run);
        for number in fastest(plan, &segments, &run, limit.max(least), threads) {
            let segment = &segments[number];
            if let Some(step) = &segment.fused {
                replaced.push((segment.steps.clone().collect(), step.clone()));
            }
        }
    }
    let fuses = !replaced.is_empty();
    super::lower::replace(plan, replaced);
    if fuses {
        mark_lives(plan);
    }
    fuses
}

/// All ranges of a run that can be steps.
fn segments(plan: &Plan, chains: &Chains, run: &Range<usize>, threads: usize) -> Vec<Segment> {
    let bounds = plan.bounds();
    let mut segments = Vec::new();
    for first in run.clone() {
        for end in first + 1..=run.end.min(first + LONGEST) {
            let fused = match end - first {
                1 => None,
                _ => match chains.step(plan, first..end) {
                    None => continue,
                    fused => fused,
                },
            };
            let step = fused.as_ref().unwrap_or(&plan.steps[first]);
            let own = |base: Base| match base {
                Base::Buffer(id) => Some(id),
                Base::Input(_) | Base::Weight(_) => None,
            };
            // The images in between and the working memory of the convolutions by themselves are gone.
            let members = plan.steps[first..end].iter().enumerate();
            let gone: Vec<BufferId> = members
                .flat_map(|(index, member)| {
                    let inner = (index + 1 < end - first).then(|| member.writes[0].base);
                    let scratch = member.scratch.as_ref().map(|scratch| scratch.base);
                    inner.into_iter().chain(scratch).filter_map(own)
                })
                .collect();
            let alive = plan.buffers.iter().enumerate().filter(|(number, buffer)| {
                buffer.first < end && first <= buffer.last && !gone.contains(&BufferId(*number))
            });
            let beside = alive.map(|(_, buffer)| buffer.bytes()).sum();
            let least = beside + scratch::least(step, &bounds) * threads;
            segments.push(Segment {
                steps: first..end,
                fused,
                beside,
                least,
            });
        }
    }
    segments
}

/// The bytes that no division of a run can do without.
fn least(segments: &[Segment], run: &Range<usize>) -> usize {
    // For each step, those of the steps before it.
    let mut best = vec![usize::MAX; run.len() + 1];
    best[0] = 0;
    for segment in segments {
        let [from, to] = [segment.steps.start, segment.steps.end].map(|step| step - run.start);
        best[to] = best[to].min(best[from].max(segment.least));
    }
    best[run.len()]
}

/// The segments of the fastest division of a run each step of which fits.
fn fastest(plan: &Plan, segments: &[Segment], run: &Range<usize>, limit: usize, threads: usize) -> Vec<usize> {
    let bounds = plan.bounds();
    // For each step, the time of the steps before it, and the last segment of these.
    let mut best = vec![(f64::INFINITY, None); run.len() + 1];
    best[0] = (0.0, None);
    for (number, segment) in segments
        .iter()
        .enumerate()
        .filter(|(_, segment)| segment.least <= limit)
    {
        let [from, to] = [segment.steps.start, segment.steps.end].map(|step| step - run.start);
        let step = segment.fused.as_ref().unwrap_or(&plan.steps[segment.steps.start]);
        let time = best[from].0 + scratch::time_within(step, (limit - segment.beside) / threads, &bounds);
        if time < best[to].0 {
            best[to] = (time, Some(number));
        }
    }
    let mut found = Vec::new();
    let mut at = run.len();
    while let (_, Some(number)) = best[at] {
        found.push(number);
        at = segments[number].steps.start - run.start;
    }
    found
}
