//! Nothing but products of quads, which is the most that an instruction set can do.

use super::pack::QUAD;
use super::quads::Quads;
use core::hint::black_box;

/// Independent sums, as many as hide the latency of one and fit 16 registers together with the operands.
const SUMS: usize = 8;

/// Adds products to sums in registers, and returns how many.
#[inline(always)]
pub(super) fn run<Q: Quads>(quads: Q, rounds: usize) -> usize {
    let words = [1u32; 16];
    // SAFETY: no vector has more than 16 lanes.
    let line = unsafe { quads.line(black_box(words.as_ptr())) };
    let factor = quads.factor(black_box(1));
    let mut sums = [quads.zero(); SUMS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = quads.add(factor, line, *sum);
        }
    }
    let mut found = [0; 16];
    for sum in sums {
        // SAFETY: as above.
        unsafe { quads.store(found.as_mut_ptr(), sum) };
        black_box(&found);
    }
    rounds * SUMS * Q::LANES * QUAD
}
