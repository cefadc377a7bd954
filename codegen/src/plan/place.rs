//! Offsets: values that live at the same time get disjoint places.

use super::{Buffer, Plan};

/// The alignment of slots in bytes.
pub(super) const ALIGNMENT: usize = onnxide_runtime::arena::ALIGNMENT;

/// How large an arena is, and what it is compared with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// Bytes of the arena.
    pub arena_bytes: usize,
    /// The largest sum of live bytes over the steps: no placement of these values is smaller.
    pub lower_bound: usize,
    /// The sum of live bytes during each step.
    pub peaks: Vec<usize>,
}

/// Assigns offsets and writes the certificate.
///
/// Values are placed one after another at the lowest offset that is free throughout their life, in several orders: by
/// size (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020, "greedy by size"), by
/// size times life, by start. If none meets the lower bound, orders near the best one are tried, each lifting the
/// value that ended highest to the front, then with any two values exchanged, the more of them the fewer values there are.
pub(super) fn place(plan: &mut Plan) {
    let values: Vec<Life> = plan.buffers.iter().map(Life::of).collect();
    let peaks = peaks(&values, plan.steps.len());
    let lower_bound = peaks.iter().copied().max().unwrap_or(0);
    let offsets = best_offsets(&values, lower_bound);
    let mut arena_bytes = 0;
    for (buffer, offset) in plan.buffers.iter_mut().zip(offsets) {
        buffer.offset = offset;
        arena_bytes = arena_bytes.max(offset + buffer.bytes());
    }
    plan.certificate = Certificate {
        arena_bytes,
        lower_bound,
        peaks,
    };
}

/// The bytes of a value and the steps it lives through, both included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    pub(super) bytes: usize,
    pub(super) first: usize,
    pub(super) last: usize,
}

impl Life {
    pub(super) fn of(buffer: &Buffer) -> Life {
        Life {
            bytes: buffer.bytes(),
            first: buffer.first,
            last: buffer.last,
        }
    }

    fn overlaps(&self, other: &Life) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// The sum of live bytes during each step, and after the last one.
pub(super) fn peaks(values: &[Life], steps: usize) -> Vec<usize> {
    let mut change = vec![0isize; steps + 2];
    for value in values {
        change[value.first.min(steps)] += value.bytes as isize;
        change[value.last.min(steps) + 1] -= value.bytes as isize;
    }
    let mut live = 0isize;
    change[..=steps]
        .iter()
        .map(|change| {
            live += change;
            live as usize
        })
        .collect()
}

/// How many orders are tried near the best one when no order meets the lower bound.
const ATTEMPTS: usize = 64;

/// Exchanges of two values that are tried at most, and pairs of values that are compared for them.
const EXCHANGES: usize = 4096;
const PAIRS: usize = 1 << 22;

fn best_offsets(values: &[Life], lower_bound: usize) -> Vec<usize> {
    let mut orders: Vec<Vec<usize>> = Vec::new();
    let mut order_by = |key: &dyn Fn(&Life) -> (usize, usize)| {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by_key(|&index| {
            let (major, minor) = key(&values[index]);
            (std::cmp::Reverse(major), minor, index)
        });
        orders.push(order);
    };
    order_by(&|value| (value.bytes, value.first));
    order_by(&|value| (value.bytes.saturating_mul(value.last - value.first + 1), value.first));
    order_by(&|value| (usize::MAX - value.first, usize::MAX - value.bytes));
    order_by(&|value| (value.last - value.first, usize::MAX - value.bytes));
    let mut best: Option<(usize, Vec<usize>, Vec<usize>)> = None;
    for order in orders {
        let (height, offsets) = offsets_in_order(values, &order);
        if best.as_ref().is_none_or(|(best, ..)| height < *best) {
            best = Some((height, offsets, order));
        }
    }
    let Some((mut height, mut best_offsets, mut order)) = best else {
        return Vec::new();
    };
    let mut offsets = best_offsets.clone();
    let mut best_order = order.clone();
    for _ in 0..ATTEMPTS {
        if height <= lower_bound {
            break;
        }
        let top = (0..order.len()).max_by_key(|&place| offsets[order[place]] + values[order[place]].bytes);
        let Some(top) = top.filter(|&place| place > 0) else {
            break;
        };
        order[..=top].rotate_right(1);
        let candidate_height;
        (candidate_height, offsets) = offsets_in_order(values, &order);
        if candidate_height < height {
            height = candidate_height;
            best_offsets.clone_from(&offsets);
            best_order.clone_from(&order);
        }
    }
    let exchanges = EXCHANGES.min(PAIRS / (values.len() * values.len()).max(1));
    // The same numbers for every model, so that the same model always becomes the same module.
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    for _ in 0..exchanges {
        if height <= lower_bound || values.len() < 2 {
            break;
        }
        let (one, other) = (random(values.len()), random(values.len()));
        best_order.swap(one, other);
        let (candidate_height, offsets) = offsets_in_order(values, &best_order);
        if candidate_height > height {
            best_order.swap(one, other);
        } else if candidate_height < height {
            (height, best_offsets) = (candidate_height, offsets);
        }
    }
    best_offsets
}

fn offsets_in_order(values: &[Life], order: &[usize]) -> (usize, Vec<usize>) {
    let mut offsets = vec![0usize; values.len()];
    // Placed values by offset, so that one sweep finds the lowest gap.
    let mut placed: Vec<usize> = Vec::with_capacity(values.len());
    let mut height = 0;
    for &index in order {
        let value = &values[index];
        let mut offset = 0;
        for &other in &placed {
            if values[other].overlaps(value) {
                if offsets[other] >= offset + value.bytes {
                    break;
                }
                offset = offset.max(offsets[other] + values[other].bytes);
            }
        }
        offsets[index] = offset;
        height = height.max(offset + value.bytes);
        let place = placed.partition_point(|&other| offsets[other] <= offset);
        placed.insert(place, index);
    }
    (height, offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(bytes: usize, first: usize, last: usize) -> Life {
        Life { bytes, first, last }
    }

    fn check(values: &[Life]) -> (usize, usize) {
        let steps = values.iter().map(|value| value.last + 1).max().unwrap_or(0);
        let bound = peaks(values, steps).into_iter().max().unwrap_or(0);
        let offsets = best_offsets(values, bound);
        let mut height = 0;
        for (i, a) in values.iter().enumerate() {
            height = height.max(offsets[i] + a.bytes);
            for (j, b) in values.iter().enumerate().skip(i + 1) {
                let apart = offsets[i] + a.bytes <= offsets[j] || offsets[j] + b.bytes <= offsets[i];
                assert!(apart || !a.overlaps(b), "{i} and {j}");
            }
        }
        (height, bound)
    }

    #[test]
    fn chains_alternate_between_two_places() {
        let values: Vec<Life> = (0..20).map(|step| life(64 * (1 + step % 3), step, step + 1)).collect();
        let (height, bound) = check(&values);
        assert_eq!(height, bound);
    }

    #[test]
    fn random_lives_never_overlap_and_stay_near_the_bound() {
        let mut state = 7u64;
        let mut next = move |limit: u64| {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 33) % limit
        };
        for _ in 0..50 {
            let values: Vec<Life> = (0..40)
                .map(|_| {
                    let first = next(30) as usize;
                    life(64 * (1 + next(16) as usize), first, first + next(8) as usize)
                })
                .collect();
            let (height, bound) = check(&values);
            assert!(height <= bound + bound / 2, "{height} for a bound of {bound}");
        }
    }

    #[test]
    fn few_values_meet_the_bound_where_greedy_orders_do_not() {
        // Each step has working memory beside the values that it reads and writes.
        let values = [
            life(3072, 0, 1),
            life(3584, 1, 1),
            life(16384, 1, 5),
            life(5888, 2, 2),
            life(16384, 2, 3),
            life(5888, 3, 3),
            life(8192, 4, 5),
            life(17472, 4, 4),
            life(8192, 5, 7),
            life(11072, 5, 5),
            life(4096, 6, 7),
            life(9280, 6, 6),
            life(4096, 7, 8),
            life(22848, 7, 7),
            life(64, 8, 9),
        ];
        let (height, bound) = check(&values);
        assert_eq!(height, bound);
    }
}
