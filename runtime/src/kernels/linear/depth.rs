//! The depth of products whose rows are runs of neighboring numbers.

/// The depth of a product, as runs of neighboring numbers: what a row of the left-hand side is, relative to its first number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Depth {
    /// Runs along two axes.
    pub(super) counts: [usize; 2],
    /// Numbers between the runs of a row along these axes.
    pub(super) steps: [usize; 2],
    /// Numbers of a run.
    pub(super) run: usize,
}

impl Depth {
    /// A single run.
    pub(super) const fn whole(k: usize) -> Depth {
        Depth {
            counts: [1, 1],
            steps: [0, 0],
            run: k,
        }
    }

    /// Words of so many numbers in all runs, each of which begins with a word of its own.
    pub(super) const fn words(&self, numbers: usize) -> usize {
        self.counts[0] * self.counts[1] * self.run.div_ceil(numbers)
    }

    /// Numbers from the first of a row to the end of the last run.
    pub(super) const fn reach(&self) -> usize {
        if self.counts[0] == 0 || self.counts[1] == 0 || self.run == 0 {
            return 0;
        }
        (self.counts[0] - 1) * self.steps[0] + (self.counts[1] - 1) * self.steps[1] + self.run
    }

    /// Numbers from the first of a row to that of each run, without divisions, which take longer than many a run.
    #[inline(always)]
    pub(super) fn offsets(&self) -> impl Iterator<Item = usize> + use<> {
        let Depth { counts, steps, .. } = *self;
        let (mut line, mut offset, mut column) = (0, 0, 0);
        (0..counts[0] * counts[1]).map(move |_| {
            let run = offset;
            (offset, column) = (offset + steps[1], column + 1);
            if column == counts[1] {
                line += steps[0];
                (offset, column) = (line, 0);
            }
            run
        })
    }
}
