//! Another order of the steps, where that needs less memory.
//!
//! Which values are alive at once depends on the order of steps, and the order in which a model lists its nodes is one of
//! many. Finding the best is hard in general. Here it is looked for where it matters: the steps are cut where at most one
//! value passes from those before to those after, and only the pieces in which more is alive than any single step
//! needs are searched. The search (Ahn et al., "Ordering Chaos: Memory-Aware Scheduling of Irregularly Wired Neural
//! Networks for Edge Devices", 2020) goes over the sets of steps that can have run: of all orders of a set only that with
//! the lowest peak is kept, and what reaches the peak of the given order is dropped. The number of sets is bounded, so
//! that the search is exact for small pieces and a beam search for large ones.

mod search;

use super::place::{Life, peaks};
use super::repeat::accesses;
use super::{Base, Item, Plan};
use search::Search;
use std::collections::HashMap;
use std::ops::Range;

/// Puts the steps into an order with a lower peak, if one is found. Runs before places are assigned.
pub(super) fn reorder(plan: &mut Plan) -> bool {
    let lives: Vec<Life> = plan.buffers.iter().map(Life::of).collect();
    let live = peaks(&lives, plan.steps.len());
    let peak = live.iter().copied().max().unwrap_or(0);
    let runs = runs(&plan.program);
    // No order needs less than the values of one step, and what lies outside of the runs stays.
    let own = |step: usize| touched(plan, step).iter().map(|&id| lives[id].bytes).sum::<usize>();
    let mut floor = live[plan.steps.len()];
    let mut next = 0;
    for run in &runs {
        floor = floor.max(live[next..run.start].iter().copied().max().unwrap_or(0));
        floor = floor.max(run.clone().map(own).max().unwrap_or(0));
        next = run.end;
    }
    floor = floor.max(live[next..].iter().copied().max().unwrap_or(0));
    if floor >= peak {
        return false;
    }
    let mut pieces: Vec<(usize, Range<usize>)> = Vec::new();
    for run in runs {
        for piece in pieces_of(plan, run) {
            let most = live[piece.clone()].iter().copied().max().unwrap_or(0);
            if most > floor {
                pieces.push((most, piece));
            }
        }
    }
    pieces.sort_by_key(|(most, piece)| (std::cmp::Reverse(*most), piece.start));
    let mut found: Vec<(usize, Range<usize>, Vec<usize>)> = Vec::new();
    let mut reached = floor;
    for (most, piece) in pieces {
        // What is no lower than what another piece needs anyway stays as it is.
        if most <= reached {
            break;
        }
        match Search::new(plan, piece.clone(), &lives, reached, most).run() {
            Some((lower, order)) => {
                reached = reached.max(lower);
                found.push((most, piece, order));
            }
            None => reached = most,
        }
        if reached >= peak {
            return false;
        }
    }
    for (_, piece, order) in found.into_iter().filter(|(most, ..)| *most > reached) {
        let steps: Vec<_> = order.iter().map(|&step| plan.steps[step].clone()).collect();
        plan.steps.splice(piece, steps);
    }
    super::lower::mark_lives(plan);
    true
}

/// The runs of steps outside of branches and loops, which begin and end at everything that is no step.
fn runs(program: &[Item]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    let mut follows = false;
    for item in program {
        match (item, runs.last_mut()) {
            (Item::Step(step), Some(run)) if follows && run.end == *step => run.end += 1,
            (Item::Step(step), _) => runs.push(*step..step + 1),
            _ => {}
        }
        follows = matches!(item, Item::Step(_));
    }
    runs
}

/// The buffers that a step reads, writes and works in.
fn touched(plan: &Plan, step: usize) -> Vec<usize> {
    let mut found: Vec<usize> = Vec::new();
    for access in accesses(&plan.steps[step]) {
        if let Base::Buffer(id) = access.base
            && !found.contains(&id.0)
        {
            found.push(id.0);
        }
    }
    found
}

/// Cuts a run where at most one buffer is needed on both sides.
fn pieces_of(plan: &Plan, run: Range<usize>) -> Vec<Range<usize>> {
    let mut spans: HashMap<usize, Range<usize>> = HashMap::new();
    for step in run.clone() {
        for id in touched(plan, step) {
            let first = if plan.buffers[id].first < run.start {
                run.start
            } else {
                step
            };
            spans.entry(id).or_insert(first..step).end = step;
        }
    }
    let mut change = vec![0isize; run.len() + 2];
    for span in spans.values() {
        change[span.start - run.start + 1] += 1;
        change[span.end - run.start + 1] -= 1;
    }
    let mut pieces = Vec::new();
    let (mut crossing, mut start) = (0, run.start);
    for (place, change) in change.iter().enumerate().take(run.len()).skip(1) {
        crossing += change;
        if crossing <= 1 {
            pieces.push(start..run.start + place);
            start = run.start + place;
        }
    }
    pieces.push(start..run.end);
    pieces
}
