//! What tests of kernels share: numbers and the instruction sets of this machine.

use crate::isa::Level;

/// A reproducible sequence of numbers (a 64-bit linear congruential generator with Knuth's MMIX constants).
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Numbers(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        self.0 >> 33
    }

    /// A number in `0..end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }

    /// A number in `-1.0..1.0`.
    pub(crate) fn float(&mut self) -> f32 {
        self.next() as f32 / (1u64 << 30) as f32 - 1.0
    }

    pub(crate) fn floats(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.float()).collect()
    }
}

/// The levels that this machine has.
pub(crate) fn levels() -> impl Iterator<Item = Level> {
    Level::ALL.into_iter().filter(|level| level.is_available())
}

/// Bytes of which many are the least or the greatest, with a sign or without.
pub(crate) fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut numbers = Numbers::new(seed);
    let mut byte = || match numbers.below(4) {
        0 => [0, 255, 128, 127][numbers.below(4)],
        _ => numbers.below(256) as u8,
    };
    (0..len).map(|_| byte()).collect()
}
