//! Nothing but products of quads, which is the most that an instruction set can do.

use super::pack::QUAD;
use super::quads::{Products, Quads, Task};
use core::hint::black_box;

/// Independent sums of long vectors, of which there are 32 registers: as many as hide the latency of two products a cycle.
const LONG: usize = 12;

/// Those of shorter ones, whose products take registers of their own.
const SHORT: usize = 4;

/// Rounds of sums.
struct Burst(usize);

impl Task for Burst {
    type Output = usize;

    #[inline(always)]
    fn run<Q: Quads>(self, quads: Q) -> usize {
        quads.run_burst(self.0)
    }
}

/// Adds products to sums in registers, and returns how many.
#[inline(always)]
pub(in crate::kernels::linear) fn burst_int8<S: Products>(isa: S, rounds: usize) -> usize {
    isa.with_quads(Burst(rounds))
}

/// Adds products to sums in registers, and returns how many.
#[inline(always)]
pub(super) fn run<Q: Quads>(quads: Q, rounds: usize) -> usize {
    match Q::LANES {
        16 => sums::<Q, LONG>(quads, rounds),
        _ => sums::<Q, SHORT>(quads, rounds),
    }
}

#[inline(always)]
fn sums<Q: Quads, const SUMS: usize>(quads: Q, rounds: usize) -> usize {
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
