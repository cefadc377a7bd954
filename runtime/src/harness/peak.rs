//! The arithmetic that a machine can do at best, of which the rate of a model is a fraction.

use crate::dispatch;
use crate::isa::{Isa, Level};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use std::vec::Vec;

/// Independent sums of a thread. Two multiply-adds a cycle with a latency of up to 5 cycles need 10 of them; 12 fit the
/// 16 registers of AVX2 together with their operands.
const SUMS: usize = 12;

/// Multiply-adds of each sum in a burst, which takes some 0.2 ms: long for the clock, and short enough for some to be free
/// of interruptions.
const ROUNDS: usize = 1 << 16;

/// What a machine computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// Numbers of type `f32`.
    F32,
    /// Products of integers of 8 bits, summed in 32 bits.
    Int8,
}

/// The operations per second, two for a multiply-add, of `threads` threads that compute at once with the vectors of an
/// instruction set level: the best of the bursts of nothing but multiply-adds that `time` has room for, at least three.
///
/// A burst lasts from the start of the first thread to the end of the last one, so threads that share a core do not count
/// as if each had its own. A level without a fused operation multiplies and adds; one without products of 8 bits widens
/// them.
///
/// # Panics
///
/// If `threads` is zero, or a thread cannot be spawned.
pub fn peak(arithmetic: Arithmetic, level: Level, threads: usize, time: Duration) -> f64 {
    assert!(threads > 0, "there is a thread");
    let (start, end, _) = burst(arithmetic, level);
    // All threads have to agree on the number of bursts, or one would wait for the others forever.
    let count = 3.max((time.as_secs_f64() / (end - start).as_secs_f64()) as usize);
    let arrived = AtomicUsize::new(0);
    let bursts = || -> Vec<_> {
        let together = |number: usize| {
            arrived.fetch_add(1, Ordering::Relaxed);
            while arrived.load(Ordering::Relaxed) < number * threads {
                thread::yield_now();
            }
            burst(arithmetic, level)
        };
        (1..=count).map(together).collect()
    };
    let threads: Vec<Vec<_>> = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(bursts)).collect();
        let own = bursts();
        let others = others
            .into_iter()
            .map(|other| other.join().expect("a burst does not panic"));
        others.chain([own]).collect()
    });
    let rate = |number: usize| {
        let bursts = || threads.iter().map(|bursts| bursts[number]);
        let start = bursts().map(|(start, ..)| start).min();
        let end = bursts().map(|(_, end, _)| end).max();
        let time = start.zip(end).map_or(Duration::MAX, |(start, end)| end - start);
        bursts().map(|(.., operations)| operations as f64).sum::<f64>() / time.as_secs_f64()
    };
    (0..count).map(rate).fold(0.0, f64::max)
}

/// When a burst starts and ends, and the number of its operations.
fn burst(arithmetic: Arithmetic, level: Level) -> (Instant, Instant, usize) {
    fn int8<S: Isa>(isa: S) -> usize {
        isa.burst_int8(ROUNDS)
    }
    let start = Instant::now();
    let products = match arithmetic {
        Arithmetic::F32 => SUMS * ROUNDS * dispatch!(level, multiply_add()),
        Arithmetic::Int8 => dispatch!(level, int8()),
    };
    (start, Instant::now(), 2 * products)
}

/// Computes sums in registers; returns the lanes of a vector.
fn multiply_add<S: Isa>(isa: S) -> usize {
    isa.vectorize(
        #[inline(always)]
        || {
            let (a, b) = (isa.splat(black_box(1e-3)), isa.splat(black_box(1e-3)));
            let mut sums = [isa.splat(black_box(1.0)); SUMS];
            for _ in 0..ROUNDS {
                for sum in &mut sums {
                    *sum = isa.mul_add(a, b, *sum);
                }
            }
            black_box(sums);
        },
    );
    S::LANES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_lanes_and_a_fused_operation_are_not_slower() {
        for arithmetic in [Arithmetic::F32, Arithmetic::Int8] {
            let rate = |level| peak(arithmetic, level, 1, Duration::from_millis(5));
            let scalar = rate(Level::Scalar);
            assert!(scalar > 1e6 && scalar.is_finite());
            if Level::Avx2.is_available() {
                assert!(rate(Level::Avx2) > scalar);
            }
        }
    }

    #[test]
    fn threads_wait_for_each_other() {
        let one = peak(Arithmetic::F32, Level::detect(), 1, Duration::ZERO);
        // More threads than many a machine has cores: then they take turns, and their rate is about that of one.
        let three = peak(Arithmetic::F32, Level::detect(), 3, Duration::ZERO);
        assert!(three.is_finite() && three > one / 50.0);
    }
}
