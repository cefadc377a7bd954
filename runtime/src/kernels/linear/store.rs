//! The end of a register tile: its sums are added to what the output starts with, bounded, and written.

use crate::kernels::simd::Simd;
use core::mem::MaybeUninit;

/// Values of the largest tile that there is code for, of any instruction set.
const MAX_VALUES: usize = 768;

/// What the accumulators of a tile are added to.
#[derive(Clone, Copy)]
pub(super) enum Start {
    Zero,
    /// A matrix with this distance between rows.
    Matrix(*const f32, usize),
    PerRow(*const f32),
}

impl Start {
    /// The start of what is `rows` further down.
    #[inline(always)]
    pub(super) fn at_row(self, rows: usize) -> Start {
        match self {
            Start::Zero => Start::Zero,
            Start::Matrix(start, stride) => Start::Matrix(start.wrapping_add(rows * stride), stride),
            Start::PerRow(start) => Start::PerRow(start.wrapping_add(rows)),
        }
    }
}

/// Where the sums of tiles go: all columns of at most as many rows as a tile has.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) rows: usize,
    pub(super) n: usize,
    pub(super) start: Start,
    pub(super) c: *mut f32,
    pub(super) c_row: usize,
    /// The bounds between which the result is brought.
    pub(super) bounds: [f32; 2],
}

/// The body for each vector of each row. Loops in its place are not unrolled in time for sums in registers.
macro_rules! unrolled {
    ($row:ident of [$rows:expr] => $body:block) => {
        unrolled!($row, _vector of [$rows, 1] => $body)
    };
    ($row:ident, $vector:ident of [$rows:expr, $vectors:expr] => $body:block) => {{
        const { assert!($rows <= 14 && $vectors <= 4, "the macro has no more bodies") };
        unrolled!(@rows $row [0 1 2 3 4 5 6 7 8 9 10 11 12 13] $rows, $vector $vectors, $body)
    }};
    (@rows $row:ident [$($index:literal)*] $rows:expr, $vector:ident $vectors:expr, $body:block) => {
        { $(if $index < $rows {
            let $row: usize = $index;
            unrolled!(@vectors $vector [0 1 2 3] $vectors, $body);
        })* }
    };
    (@vectors $vector:ident [$($index:literal)*] $vectors:expr, $body:block) => {
        $(if $index < $vectors {
            let $vector: usize = $index;
            $body
        })*
    };
}

pub(super) use unrolled;

impl Target {
    /// Asks for the lines that a tile is going to be written to, so that they are there when its sums are.
    #[inline(always)]
    pub(super) fn prefetch<S: Simd, const ROWS: usize, const VECTORS: usize>(&self, isa: S, column: usize) {
        let target = self.c.wrapping_add(column);
        for row in 0..ROWS {
            for vector in (0..VECTORS).step_by(16 / S::LANES) {
                isa.prefetch(target.wrapping_add(row * self.c_row + vector * S::LANES));
            }
        }
    }

    /// Writes `start + sums`, bounded, to the columns from `column` on: what exists of `ROWS` rows and `VECTORS` vectors.
    ///
    /// # Safety
    ///
    /// `c` is valid for writing, and `start` for reading, `rows` by `n` elements; `column` is below `n`.
    #[inline(always)]
    pub(super) unsafe fn store<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        isa: S,
        mut sums: [[S::F32; VECTORS]; ROWS],
        column: usize,
    ) {
        let columns = self.n - column;
        let target = self.c.wrapping_add(column);
        let start = match self.start {
            Start::Matrix(start, stride) => Start::Matrix(start.wrapping_add(column), stride),
            other => other,
        };
        let [low, high] = self.bounds.map(|bound| isa.splat(bound));
        // Of what is in registers, all rows exist, and the lanes of the last vector below `columns`.
        let before_last = (VECTORS - 1) * S::LANES;
        let is_whole = columns >= VECTORS * S::LANES;
        let in_registers = self.rows == ROWS && (is_whole || (S::LANES == 16 && columns > before_last));
        if in_registers {
            let last = isa.lanes(0, S::LANES.min(columns - before_last));
            match start {
                Start::Zero => {}
                Start::Matrix(start, stride) => unrolled!(row, vector of [ROWS, VECTORS] => {
                    let from = start.wrapping_add(row * stride + vector * S::LANES);
                    // SAFETY: the caller vouches for these elements of `start`.
                    let value = unsafe {
                        match vector + 1 < VECTORS || is_whole {
                            true => isa.load(from),
                            false => isa.load_masked(from, last),
                        }
                    };
                    sums[row][vector] = isa.add(sums[row][vector], value);
                }),
                Start::PerRow(start) => unrolled!(row, vector of [ROWS, VECTORS] => {
                    // SAFETY: the caller vouches for all rows of `start`.
                    let value = isa.splat(unsafe { *start.add(row) });
                    sums[row][vector] = isa.add(sums[row][vector], value);
                }),
            }
            unrolled!(row, vector of [ROWS, VECTORS] => {
                let value = isa.clamp(sums[row][vector], low, high);
                let to = target.wrapping_add(row * self.c_row + vector * S::LANES);
                // SAFETY: the caller vouches for these elements of `c`.
                unsafe {
                    match vector + 1 < VECTORS || is_whole {
                        true => isa.store(to, value),
                        false => isa.store_masked(to, value, last),
                    }
                }
            });
            return;
        }
        // The last row and vector are found at run time, in a loop over the sums in memory.
        const { assert!(ROWS * VECTORS * S::LANES <= MAX_VALUES) };
        let mut stored = MaybeUninit::<[f32; MAX_VALUES]>::uninit();
        let stored = stored.as_mut_ptr().cast::<f32>();
        unrolled!(row, vector of [ROWS, VECTORS] => {
            // SAFETY: there is room for all vectors of a tile.
            unsafe { isa.store(stored.add((row * VECTORS + vector) * S::LANES), sums[row][vector]) };
        });
        for row in 0..self.rows {
            for vector in 0..VECTORS {
                let lane = vector * S::LANES;
                if lane >= columns {
                    break;
                }
                let lanes = isa.lanes(0, S::LANES.min(columns - lane));
                // SAFETY: this vector was written above. `lanes` stay below the columns that the caller vouches for in `c`
                // and `start`.
                unsafe {
                    let sum = isa.load(stored.add((row * VECTORS + vector) * S::LANES));
                    let value = match start {
                        Start::Zero => sum,
                        Start::Matrix(start, stride) => {
                            isa.add(sum, isa.load_masked(start.add(row * stride + lane), lanes))
                        }
                        Start::PerRow(start) => isa.add(sum, isa.splat(*start.add(row))),
                    };
                    let value = isa.clamp(value, low, high);
                    isa.store_masked(target.add(row * self.c_row + lane), value, lanes);
                }
            }
        }
    }
}
