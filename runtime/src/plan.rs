//! The memory plan of a module, checked by the compiler that compiles the module.

use crate::arena::ALIGNMENT;

/// Where a value lives, and when: `bytes` from `offset`, from step `first` to step `last` inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live {
    /// The first byte in the arena, a multiple of [`ALIGNMENT`].
    pub offset: usize,
    /// The number of bytes.
    pub bytes: usize,
    /// The step that writes the value.
    pub first: usize,
    /// The last step that reads the value.
    pub last: usize,
}

/// Panics unless no two values that are alive at the same step share a byte, and every value is aligned and inside of
/// the arena. In a constant the panic is a compile error.
///
/// The values are in the order of their first steps. A value is thus compared only with those that follow it while
/// it is alive, which keeps plans of thousands of values within the limits of constant evaluation.
///
/// # Panics
///
/// If the plan is not valid.
pub const fn verify_plan(values: &[Live], arena_bytes: usize) {
    let mut index = 0;
    while index < values.len() {
        let value = values[index];
        assert!(
            value.first <= value.last,
            "memory plan: a value dies before it is written"
        );
        assert!(
            value.offset.is_multiple_of(ALIGNMENT),
            "memory plan: a value is not aligned to 64 bytes"
        );
        assert!(
            value.offset <= arena_bytes && value.bytes <= arena_bytes - value.offset,
            "memory plan: a value reaches out of the arena"
        );
        let end = value.offset + value.bytes;
        let mut follower = index + 1;
        while follower < values.len() && values[follower].first <= value.last {
            let other = &values[follower];
            assert!(
                value.first <= other.first,
                "memory plan: the values are not in the order of their first steps"
            );
            if other.offset < end && value.offset < other.offset.saturating_add(other.bytes) {
                assert!(
                    value.bytes == 0 || other.bytes == 0,
                    "memory plan: two values alive at the same step overlap"
                );
            }
            follower += 1;
        }
        index += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn live(offset: usize, bytes: usize, first: usize, last: usize) -> Live {
        Live {
            offset,
            bytes,
            first,
            last,
        }
    }

    const _: () = verify_plan(
        &[
            live(0, 100, 0, 1),
            live(128, 64, 0, 3),
            live(192, 0, 1, 2),
            live(0, 128, 2, 3),
            live(192, 1, 2, 2),
        ],
        193,
    );

    /// Thousands of values pass through constant evaluation, whose limit is some two million basic blocks.
    const _: () = {
        let mut values = [live(0, 64, 0, 0); 4000];
        let mut index = 0;
        while index < values.len() {
            values[index] = live(index % 8 * 64, 64, index, index + 7);
            index += 1;
        }
        verify_plan(&values, 512);
    };

    #[test]
    #[should_panic = "overlap"]
    fn values_alive_together_do_not_overlap() {
        verify_plan(&[live(0, 65, 0, 1), live(64, 64, 1, 2)], 128);
    }

    #[test]
    #[should_panic = "overlap"]
    fn a_value_inside_of_another_overlaps() {
        verify_plan(&[live(0, 256, 0, 9), live(64, 64, 1, 2)], 256);
    }

    #[test]
    #[should_panic = "out of the arena"]
    fn the_arena_is_large_enough() {
        verify_plan(&[live(64, 65, 0, 1)], 128);
    }

    #[test]
    #[should_panic = "not aligned"]
    fn values_are_aligned() {
        verify_plan(&[live(32, 8, 0, 1)], 128);
    }

    #[test]
    #[should_panic = "order"]
    fn values_are_ordered() {
        verify_plan(&[live(0, 8, 3, 4), live(64, 8, 0, 4)], 128);
    }

    #[test]
    #[should_panic = "dies before"]
    fn lives_are_not_reversed() {
        verify_plan(&[live(0, 8, 3, 2)], 128);
    }
}
