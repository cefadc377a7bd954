//! Runs of steps that repeat, such as the layers of a transformer.

use super::access::{Access, Base};
use super::{Item, Plan, Step};
use std::collections::HashMap;

/// A run of steps that repeats with other weights and slots.
#[derive(Clone, Debug)]
pub struct Repeat {
    /// The name of one repetition.
    pub name: String,
    /// The steps of each repetition.
    pub steps: Vec<Vec<usize>>,
    /// How weights and slots move from one repetition to the next.
    pub columns: Vec<Column>,
    /// For each step of a repetition, the column that each of its accesses moves by: reads, then writes, then scratch.
    pub moves: Vec<Vec<Option<usize>>>,
}

/// How some accesses move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The bytes by which they are further in each repetition than in the repetition `base`.
    pub shifts: Vec<usize>,
    /// The repetition in which they come first in memory.
    pub base: usize,
    /// Whether the accesses are of weights.
    pub weights: bool,
}

impl Repeat {
    /// The steps of all repetitions, in order.
    pub fn all_steps(&self) -> impl Iterator<Item = usize> {
        self.steps.iter().flatten().copied()
    }
}

/// The accesses of a step in the order of [`Repeat::moves`].
pub(crate) fn accesses(step: &Step) -> impl Iterator<Item = &Access> {
    step.reads.iter().chain(&step.writes).chain(&step.scratch)
}

/// Replaces runs of steps that repeat by [`Repeat`]s, in all blocks of the program.
pub(super) fn roll(plan: &Plan, program: Vec<Item>) -> Vec<Item> {
    let mut rolled = Vec::with_capacity(program.len());
    let mut run: Vec<usize> = Vec::new();
    for item in program {
        if let Item::Step(step) = item {
            run.push(step);
            continue;
        }
        roll_run(plan, &run, &mut rolled);
        run.clear();
        rolled.push(match item {
            Item::If {
                condition,
                then_items,
                else_items,
            } => Item::If {
                condition,
                then_items: roll(plan, then_items),
                else_items: roll(plan, else_items),
            },
            Item::Loop(mut repeated) => {
                repeated.body = roll(plan, repeated.body);
                Item::Loop(repeated)
            }
            Item::For { trips, symbol, body } => Item::For {
                trips,
                symbol,
                body: roll(plan, body),
            },
            other => other,
        });
    }
    roll_run(plan, &run, &mut rolled);
    rolled
}

/// Steps saved from which on a repeat is worth its function and table.
const MIN_SAVED: usize = 4;

/// Rolls a run of steps, best repeat first.
fn roll_run(plan: &Plan, run: &[usize], rolled: &mut Vec<Item>) {
    let tokens = tokens(plan, run);
    let mut found: Vec<(usize, Repeat)> = Vec::new();
    let mut open = vec![(0, run.len())];
    while let Some((start, end)) = open.pop() {
        let Some((at, repeat)) = best_repeat(plan, run, &tokens, start, end) else {
            continue;
        };
        let length = repeat.steps.len() * repeat.steps[0].len();
        open.push((start, at));
        open.push((at + length, end));
        found.push((at, repeat));
    }
    found.sort_by_key(|(at, _)| *at);
    let mut next = 0;
    for (at, repeat) in found {
        rolled.extend(run[next..at].iter().map(|&step| Item::Step(step)));
        next = at + repeat.steps.len() * repeat.steps[0].len();
        rolled.push(Item::Repeat(repeat));
    }
    rolled.extend(run[next..].iter().map(|&step| Item::Step(step)));
}

/// A number per step; steps with equal numbers differ only in the constant offsets of weights and slots.
fn tokens(plan: &Plan, run: &[usize]) -> Vec<usize> {
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let token = |&number: &usize| {
        let step = &plan.steps[number];
        let mut text = step.function.to_string();
        for access in accesses(step) {
            let fixed = access.offset.as_const().is_some();
            match access.base {
                Base::Input(input) => text.push_str(&format!(" i{input} {:?}", access.offset)),
                Base::Weight(id) if fixed => text.push_str(&format!(" w{}", plan.weights.entries[id.0].len)),
                Base::Buffer(id) if fixed => text.push_str(&format!(" b{}", plan.buffers[id.0].capacity)),
                base => text.push_str(&format!(" {base:?} {:?}", access.offset)),
            }
        }
        let next = numbers.len();
        *numbers.entry(text).or_insert(next)
    };
    run.iter().map(token).collect()
}

/// The repeat within `start..end` that saves most steps, and where it starts.
fn best_repeat(plan: &Plan, run: &[usize], tokens: &[usize], start: usize, end: usize) -> Option<(usize, Repeat)> {
    // Saved steps, period and start of the longest stretch of each period in which tokens equal those a period before.
    let mut candidates: Vec<(usize, usize, usize, usize)> = Vec::new();
    for period in 1..=(end - start) / 2 {
        let mut equal = 0;
        for place in start..end - period {
            equal = if tokens[place] == tokens[place + period] {
                equal + 1
            } else {
                0
            };
            let ends = place + 1 == end - period || tokens[place + 1] != tokens[place + 1 + period];
            if ends && equal >= period {
                let saved = equal / period * period;
                candidates.push((saved, period, place + 1 - equal, equal % period));
            }
        }
    }
    candidates.retain(|&(saved, ..)| saved >= MIN_SAVED);
    candidates.sort_by_key(|&(saved, period, at, _)| (std::cmp::Reverse(saved), period, at));
    candidates.into_iter().take(64).find_map(|(saved, period, at, slack)| {
        let repetitions = saved / period + 1;
        let repeats = (at..=at + slack).take(16).map(|at| {
            let steps = run[at..at + repetitions * period]
                .chunks(period)
                .map(<[usize]>::to_vec)
                .collect();
            (at, repeat(plan, steps))
        });
        let (at, repeat) = repeats.min_by_key(|(at, repeat)| (repeat.columns.len(), *at))?;
        let pays = repeat.columns.len() <= 2 + period && saved * 3 > repetitions + 8;
        pays.then_some((at, repeat))
    })
}

/// Finds out how the accesses of repeated steps move.
fn repeat(plan: &Plan, steps: Vec<Vec<usize>>) -> Repeat {
    let mut columns: Vec<Column> = Vec::new();
    let mut moves = Vec::new();
    for place in 0..steps[0].len() {
        let count = accesses(&plan.steps[steps[0][place]]).count();
        let mut own = Vec::with_capacity(count);
        for index in 0..count {
            let nth = |repetition: &Vec<usize>| accesses(&plan.steps[repetition[place]]).nth(index);
            let bytes: Vec<usize> = steps
                .iter()
                .filter_map(nth)
                .map(|access| first_byte(plan, access))
                .collect();
            let least = bytes.iter().copied().min().unwrap_or(0);
            let shifts: Vec<usize> = bytes.iter().map(|byte| byte - least).collect();
            if shifts.iter().all(|&shift| shift == 0) {
                own.push(None);
                continue;
            }
            let column = Column {
                base: shifts.iter().position(|&shift| shift == 0).unwrap_or(0),
                weights: nth(&steps[0]).is_some_and(|access| matches!(access.base, Base::Weight(_))),
                shifts,
            };
            let known = columns.iter().position(|other| *other == column);
            own.push(Some(known.unwrap_or(columns.len())));
            if known.is_none() {
                columns.push(column);
            }
        }
        moves.push(own);
    }
    Repeat {
        name: if steps[0].len() >= 6 { "layer" } else { "block" }.to_owned(),
        steps,
        columns,
        moves,
    }
}

/// The byte of the arena or of the weights at which an access starts; 0 for inputs, which do not move.
fn first_byte(plan: &Plan, access: &Access) -> usize {
    let offset = access.offset.as_usize().unwrap_or(0) * access.dtype.size();
    match access.base {
        Base::Input(_) => 0,
        Base::Weight(id) => plan.weights.entries[id.0].offset + offset,
        Base::Buffer(id) => plan.buffers[id.0].offset + offset,
    }
}
