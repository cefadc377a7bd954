//! The sums over taps of a strip, in register tiles.

use super::strip::Strip;
use super::{Add, SHARED_ROWS, Taps};
use crate::kernels::simd::Simd;

/// The operands of the tiles of a strip, valid for it and its slack.
#[derive(Clone, Copy)]
struct Operands<'a> {
    distance: &'a [usize],
    phases: *const f32,
    w: &'a [f32],
    start: f32,
}

/// Adds taps to `run`, the output rows of a strip of one channel, which starts from `start` and what `add` says.
#[inline(always)]
pub(super) fn convolve<S: Simd>(
    isa: S,
    taps: &Taps,
    strip: Strip,
    phases: &[f32],
    w: &[f32],
    start: f32,
    add: Add<'_>,
    run: &mut [f32],
) {
    assert!(phases.len() >= strip.reach());
    let (distance, w) = (&taps.distance[..taps.count], &w[..taps.count]);
    let operands = Operands {
        distance,
        phases: phases.as_ptr(),
        w,
        start,
    };
    let output = Output::new(strip.rows, taps.out_width, add, run);
    // SAFETY: the distance of a tap is that of a phase, and at most as many rows and columns as a phase has beyond the
    // output. So a vector begins within a row of a phase, or of the rows after it for which there is slack.
    unsafe {
        match (taps.rows, taps.out_width.div_ceil(S::LANES)) {
            (Some([3, 3]), _) => shared::<S, 3, 3>(isa, operands, strip, output),
            (Some([5, 5]), _) => shared::<S, 5, 5>(isa, operands, strip, output),
            (Some([7, 7]), _) => shared::<S, 7, 7>(isa, operands, strip, output),
            (_, 1) => separate::<S, 1, 8>(isa, operands, strip, output),
            (_, 2) => separate::<S, 2, 4>(isa, operands, strip, output),
            (_, 3 | 4) => separate::<S, 4, 2>(isa, operands, strip, output),
            _ => separate::<S, 8, 1>(isa, operands, strip, output),
        }
    }
}

/// The output rows of a strip.
#[derive(Clone, Copy)]
struct Output {
    rows: usize,
    width: usize,
    /// What is added, or null.
    add: *const f32,
    target: *mut f32,
}

impl Output {
    #[inline(always)]
    fn new(rows: usize, width: usize, add: Add<'_>, run: &mut [f32]) -> Output {
        assert!(run.len() >= rows * width);
        let target = run.as_mut_ptr();
        let add = match add {
            Add::Nothing => core::ptr::null(),
            Add::Output => target.cast_const(),
            Add::Values(values) => values[..rows * width].as_ptr(),
        };
        Output {
            rows,
            width,
            add,
            target,
        }
    }

    /// Writes what exists of a vector.
    ///
    /// # Safety
    ///
    /// The slices that this was made of are still borrowed.
    #[inline(always)]
    unsafe fn write<S: Simd>(&self, isa: S, row: usize, column: usize, sum: S::F32) {
        if row >= self.rows || column >= self.width {
            return;
        }
        let at = row * self.width + column;
        // SAFETY: row and column exist, and no lane from the end of the row on is written.
        unsafe {
            let (target, add) = (self.target.add(at), self.add.wrapping_add(at));
            if column + S::LANES <= self.width {
                let value = if self.add.is_null() {
                    sum
                } else {
                    isa.add(sum, isa.load(add))
                };
                isa.store(target, value);
            } else {
                let lanes = isa.lanes(0, self.width - column);
                let value = if self.add.is_null() {
                    sum
                } else {
                    isa.add(sum, isa.load_masked(add, lanes))
                };
                isa.store_masked(target, value, lanes);
            }
        }
    }
}

/// Computes tiles of `WIDE` vectors by `HIGH` rows, each vector for itself.
///
/// # Safety
///
/// The operands and the output are valid for the strip.
#[inline(always)]
unsafe fn separate<S: Simd, const WIDE: usize, const HIGH: usize>(
    isa: S,
    operands: Operands<'_>,
    strip: Strip,
    output: Output,
) {
    for row in (0..strip.rows).step_by(HIGH) {
        // Rows that do not exist are computed as the last that does.
        let lines: [*const f32; HIGH] = core::array::from_fn(|index| {
            operands
                .phases
                .wrapping_add((row + index).min(strip.rows - 1) * strip.width)
        });
        for column in (0..output.width).step_by(WIDE * S::LANES) {
            let mut sums = [[isa.splat(operands.start); WIDE]; HIGH];
            for (&distance, &w) in operands.distance.iter().zip(operands.w) {
                let w = isa.splat(w);
                for (sums, line) in sums.iter_mut().zip(&lines) {
                    for (vector, sum) in sums.iter_mut().enumerate() {
                        // SAFETY: as the caller vouches.
                        let value = unsafe { isa.load(line.add(column + distance + vector * S::LANES)) };
                        *sum = isa.mul_add(w, value, *sum);
                    }
                }
            }
            for (index, sums) in sums.iter().enumerate() {
                for (vector, &sum) in sums.iter().enumerate() {
                    // SAFETY: as the caller vouches.
                    unsafe { output.write(isa, row + index, column + vector * S::LANES, sum) }
                }
            }
        }
    }
}

/// Computes tiles of one vector by [`SHARED_ROWS`] rows, in which every vector of the input is loaded once.
///
/// # Safety
///
/// The operands and the output are valid for the strip. The kernel has `KY` rows, one row of a phase apart, of `KX` taps.
#[inline(always)]
unsafe fn shared<S: Simd, const KY: usize, const KX: usize>(
    isa: S,
    operands: Operands<'_>,
    strip: Strip,
    output: Output,
) {
    assert!(operands.w.len() == KY * KX && operands.distance.len() == KY * KX);
    for row in (0..strip.rows).step_by(SHARED_ROWS) {
        for column in (0..output.width).step_by(S::LANES) {
            let first = operands.phases.wrapping_add(row * strip.width + column);
            let mut sums = [isa.splat(operands.start); SHARED_ROWS];
            for line in 0..SHARED_ROWS + KY - 1 {
                for x in 0..KX {
                    // SAFETY: as the caller vouches.
                    let value = unsafe { isa.load(first.add(line * strip.width + operands.distance[x])) };
                    for (index, sum) in sums.iter_mut().enumerate() {
                        if line >= index && line - index < KY {
                            *sum = isa.mul_add(isa.splat(operands.w[(line - index) * KX + x]), value, *sum);
                        }
                    }
                }
            }
            for (index, &sum) in sums.iter().enumerate() {
                // SAFETY: as the caller vouches.
                unsafe { output.write(isa, row + index, column, sum) }
            }
        }
    }
}
