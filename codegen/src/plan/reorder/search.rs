//! The search for an order of the steps of a piece.

use super::touched;
use crate::plan::place::Life;
use crate::plan::{Base, Plan};
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// Sets of steps that a search looks at, over all of their sizes.
const SETS: usize = 20_000;

/// Most and fewest sets of one size.
const WIDTH: Range<usize> = 4..512;

/// Searches with a lower limit after one that has dropped sets.
const ATTEMPTS: usize = 5;

/// Most steps that are tried after a set.
const BRANCHES: usize = 32;

/// A value as the steps of a piece see it.
struct Value {
    bytes: usize,
    /// How many steps use it.
    users: usize,
    /// Whether it is alive before the first step, and after the last.
    before: bool,
    after: bool,
}

/// A set of steps that have run, in the best order found.
#[derive(Clone)]
struct State {
    /// How many of the users of each value have run.
    used: Vec<usize>,
    /// How many of the steps that each step waits for have not run.
    waits: Vec<usize>,
    /// The steps that can run next, those first that the last ones let run.
    ready: Vec<usize>,
    live: usize,
    /// The bytes alive of values that nobody outside of the piece needs.
    passing: usize,
    peak: usize,
}

/// A state with one step more.
struct Next {
    /// A number of the set of steps.
    set: u128,
    from: usize,
    step: usize,
    live: usize,
    passing: usize,
    peak: usize,
}

pub(super) struct Search {
    piece: Range<usize>,
    values: Vec<Value>,
    touched: Vec<Vec<usize>>,
    /// The steps that must have run before each step, and those that wait for it.
    needs: Vec<Vec<usize>>,
    frees: Vec<Vec<usize>>,
    live: usize,
    /// A peak below this is no better than this.
    floor: usize,
    /// What a peak must stay below.
    limit: usize,
}

impl Search {
    pub(super) fn new(plan: &Plan, piece: Range<usize>, lives: &[Life], floor: usize, limit: usize) -> Search {
        let placed: HashSet<usize> = plan
            .inputs
            .iter()
            .filter_map(|input| match input.place.as_ref()?.base {
                Base::Buffer(id) => Some(id.0),
                _ => None,
            })
            .collect();
        let before = |id: usize| lives[id].first < piece.start || placed.contains(&id);
        let mut numbers: HashMap<usize, usize> = HashMap::new();
        let (mut values, mut all) = (Vec::new(), Vec::new());
        for step in piece.clone() {
            let mut own = Vec::new();
            for id in touched(plan, step) {
                let value = *numbers.entry(id).or_insert_with(|| {
                    values.push(Value {
                        bytes: lives[id].bytes,
                        users: 0,
                        before: before(id),
                        after: lives[id].last >= piece.end,
                    });
                    values.len() - 1
                });
                values[value].users += 1;
                own.push(value);
            }
            all.push(own);
        }
        let inside = |id: usize| before(id) && lives[id].last >= piece.start;
        let live = (0..lives.len())
            .filter(|&id| inside(id))
            .map(|id| lives[id].bytes)
            .sum();
        let needs = needs(plan, piece.clone());
        let mut frees = vec![Vec::new(); piece.len()];
        for (step, needs) in needs.iter().enumerate() {
            needs.iter().for_each(|&other| frees[other].push(step));
        }
        Search {
            piece,
            values,
            touched: all,
            needs,
            frees,
            live,
            floor,
            limit,
        }
    }

    /// The lowest peak found below the limit, and the order with it.
    pub(super) fn run(&self) -> Option<(usize, Vec<usize>)> {
        let (mut best, exact) = self.below(self.limit);
        let mut lost = self.floor;
        // Sets that were dropped may be of a better order. With less to reach, others are.
        for attempt in 0..ATTEMPTS {
            let reached = best.as_ref()?.0;
            if exact || reached <= lost {
                break;
            }
            let limit = match attempt {
                0 => lost + 1,
                _ => lost + (reached - lost).div_ceil(2),
            };
            match self.below(limit).0 {
                Some(found) => best = Some(found),
                None => lost = limit,
            }
        }
        best
    }

    /// An order with a peak below a limit, and whether none was overlooked.
    fn below(&self, limit: usize) -> (Option<(usize, Vec<usize>)>, bool) {
        let mut exact = true;
        let count = self.piece.len();
        let width = (SETS / count.max(1)).clamp(WIDTH.start, WIDTH.end);
        let waits: Vec<usize> = self.needs.iter().map(Vec::len).collect();
        let mut states = vec![State {
            used: vec![0; self.values.len()],
            ready: self.first(),
            waits,
            live: self.live,
            passing: 0,
            peak: self.floor,
        }];
        let mut sets = vec![0u128];
        let mut history: Vec<Vec<(usize, usize)>> = Vec::new();
        for _ in 0..count {
            let mut next: Vec<Next> = Vec::new();
            let mut known: HashMap<u128, usize> = HashMap::new();
            for (from, (state, set)) in states.iter().zip(&sets).enumerate() {
                for step in self.candidates(state) {
                    let after = self.after(state, *set, from, step);
                    if after.peak >= limit {
                        continue;
                    }
                    match known.get(&after.set) {
                        Some(&same) if next[same].peak <= after.peak => {}
                        Some(&same) => next[same] = after,
                        None => {
                            known.insert(after.set, next.len());
                            next.push(after);
                        }
                    }
                }
            }
            exact &= next.len() <= width && states.iter().all(|state| state.ready.len() <= BRANCHES);
            next.sort_by_key(|next| (next.passing, next.live, next.peak));
            next.truncate(width);
            states = next.iter().map(|next| self.state(&states[next.from], next)).collect();
            sets = next.iter().map(|next| next.set).collect();
            history.push(next.iter().map(|next| (next.from, next.step)).collect());
        }
        let Some(peak) = states.first().map(|state| state.peak) else {
            return (None, exact);
        };
        let mut place = 0;
        let mut order = Vec::with_capacity(count);
        for level in history.iter().rev() {
            let (from, step) = level[place];
            order.push(self.piece.start + step);
            place = from;
        }
        order.reverse();
        (Some((peak, order)), exact)
    }

    /// The steps that can run first; those that read what is there already come before those that add to it.
    fn first(&self) -> Vec<usize> {
        let mut ready: Vec<usize> = (0..self.piece.len())
            .filter(|&step| self.needs[step].is_empty())
            .collect();
        ready.sort_by_key(|&step| !self.touched[step].iter().any(|&value| self.values[value].before));
        ready
    }

    /// The steps worth trying after a state: the first one that costs nothing, or all.
    fn candidates(&self, state: &State) -> Vec<usize> {
        let ready = &state.ready[..state.ready.len().min(BRANCHES)];
        let free = ready.iter().find(|&&step| {
            let (added, freed, _) = self.change(state, step);
            added <= freed && state.live + added <= state.peak
        });
        free.map_or_else(|| ready.to_vec(), |&step| vec![step])
    }

    /// The bytes that a step adds to those alive, and that nobody needs after it, and by how much those that pass grow.
    fn change(&self, state: &State, step: usize) -> (usize, usize, isize) {
        let (mut added, mut freed, mut passing) = (0, 0, 0);
        for &number in &self.touched[step] {
            let (value, used) = (&self.values[number], state.used[number]);
            if !value.before && used == 0 {
                added += value.bytes;
                passing += if value.after { 0 } else { value.bytes as isize };
            }
            if !value.after && used + 1 == value.users {
                freed += value.bytes;
                passing -= if value.before { 0 } else { value.bytes as isize };
            }
        }
        (added, freed, passing)
    }

    fn after(&self, state: &State, set: u128, from: usize, step: usize) -> Next {
        let (added, freed, passing) = self.change(state, step);
        Next {
            set: set ^ number_of(step),
            from,
            step,
            live: state.live + added - freed,
            passing: state.passing.saturating_add_signed(passing),
            peak: state.peak.max(state.live + added),
        }
    }

    fn state(&self, before: &State, next: &Next) -> State {
        let mut state = State {
            live: next.live,
            passing: next.passing,
            peak: next.peak,
            ..before.clone()
        };
        for &value in &self.touched[next.step] {
            state.used[value] += 1;
        }
        let mut ready = Vec::with_capacity(state.ready.len());
        for &other in &self.frees[next.step] {
            state.waits[other] -= 1;
            if state.waits[other] == 0 {
                ready.push(other);
            }
        }
        ready.extend(state.ready.iter().filter(|&&other| other != next.step));
        State { ready, ..state }
    }
}

/// A number for a step, by which sets of steps get a number: all of them combined by exclusive or. Two sets with the same
/// number, which there are not in practice, would cost one of them.
fn number_of(step: usize) -> u128 {
    let mixed = |seed: u64| {
        let mut x = (step as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(seed);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    };
    u128::from(mixed(1)) << 64 | u128::from(mixed(2))
}

/// The steps of a piece that must run before each one of it.
fn needs(plan: &Plan, piece: Range<usize>) -> Vec<Vec<usize>> {
    /// Who has written and read a buffer.
    #[derive(Default)]
    struct Users {
        writers: Vec<usize>,
        readers: Vec<usize>,
    }
    let mut users: HashMap<usize, Users> = HashMap::new();
    let mut all = Vec::new();
    for (number, step) in plan.steps[piece].iter().enumerate() {
        let mut needs: Vec<usize> = Vec::new();
        let buffer = |base: Base| match base {
            Base::Buffer(id) => Some(id.0),
            _ => None,
        };
        for id in step.reads.iter().filter_map(|access| buffer(access.base)) {
            needs.extend(&users.entry(id).or_default().writers);
        }
        for id in step.writes.iter().filter_map(|access| buffer(access.base)) {
            let users = users.entry(id).or_default();
            needs.extend(&users.readers);
            // Parts of one value may be written in any order.
            if step.kernel.overwrites() {
                needs.extend(&users.writers);
            }
        }
        for id in step.reads.iter().filter_map(|access| buffer(access.base)) {
            users.entry(id).or_default().readers.push(number);
        }
        for id in step.writes.iter().filter_map(|access| buffer(access.base)) {
            users.entry(id).or_default().writers.push(number);
        }
        needs.retain(|&other| other != number);
        needs.sort_unstable();
        needs.dedup();
        all.push(needs);
    }
    all
}
