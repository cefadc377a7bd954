//! What instruction sets make of quads of numbers of 8 bits.

use super::burst;
use super::depthwise::{self, DepthwiseStrip};
use super::tile::{self, Strip};
use crate::isa;
use crate::kernels::linear::blocks::{self, BlockStrip, Numbers};
use crate::kernels::simd::Simd;

#[cfg(target_arch = "x86_64")]
mod x86;

/// A way to add up the products of quads.
pub(in crate::kernels::linear) trait Quads: Copy {
    /// Lanes of a vector of sums: 4, 8 or 16.
    const LANES: usize;
    /// Rows of a tile whose sums fit the registers, together with what the products need: 3, 4, 8 or 12. The taller it is, the less
    /// often weights are read.
    const ROWS: usize;
    /// Rows of the tallest tile that the last of a strip may be: as many, or two more where the registers allow it, so that these
    /// are no tile of their own, for which all weights would be read once more.
    const LAST_ROWS: usize = Self::ROWS;
    /// Room for the sums of a strip: [`LAST_ROWS`](Quads::LAST_ROWS) rows of a multiple of 32 columns.
    type Sums: Room;
    /// A vector of sums.
    type Sum: Copy;
    /// Four numbers of the left-hand side, the same for all columns.
    type Factor: Copy;
    /// Four numbers of the left-hand side for as many columns as a vector has lanes.
    type Words: Copy;
    /// Four numbers of the right-hand side for as many columns as a vector has lanes.
    type Line: Copy;
    /// What [`gather`](Quads::gather) needs besides rows.
    type Gather: Copy;
    /// Four signed numbers of the left-hand side, the same for all columns.
    type Signed: Copy;
    /// Four unsigned numbers of the right-hand side for as many columns as a vector has lanes.
    type Unsigned: Copy;
    /// The instruction set of numbers that are `f32`, whose vectors are as long.
    type Simd: Numbers;

    /// That instruction set.
    fn simd(self) -> Self::Simd;

    /// Zeros.
    fn zero(self) -> Self::Sum;

    /// The numbers in the bytes of a word.
    fn factor(self, word: u32) -> Self::Factor;

    /// The words at `source`.
    ///
    /// # Safety
    ///
    /// `source` is valid for reading as many words as a vector has lanes.
    unsafe fn line(self, source: *const u32) -> Self::Line;

    /// What is needed to gather words, of whose bytes those that are not ones in `inside` are `pad_value`.
    fn gatherer(self, inside: u32, pad_value: u8) -> Self::Gather;

    /// Quads of unsigned numbers, one for each lane, of which each is from another row.
    ///
    /// # Safety
    ///
    /// All rows are valid for reading as many numbers as a vector has lanes.
    unsafe fn gather(self, with: Self::Gather, rows: [*const u8; 4]) -> Self::Words;

    /// Quads of numbers in the padding.
    fn padding(self, with: Self::Gather) -> Self::Words;

    /// `sum` and the products of all parts of the quads of each lane, modulo 2^32.
    fn add_words(self, words: Self::Words, line: Self::Line, sum: Self::Sum) -> Self::Sum;

    /// `sum` and the products of all parts of one quad with those of each lane, modulo 2^32.
    fn add(self, factor: Self::Factor, line: Self::Line, sum: Self::Sum) -> Self::Sum;

    /// The signed numbers in the bytes of a word.
    fn signed(self, word: u32) -> Self::Signed;

    /// A quad of unsigned numbers of `BITS` bits of every word: of 8 bits the whole word, of 4 bits its lower or `upper` halves of
    /// bytes.
    fn unsigned<const BITS: u32>(self, words: <Self::Simd as Numbers>::Words, upper: bool) -> Self::Unsigned;

    /// [`add`](Quads::add) with signs the other way round.
    fn add_unsigned(self, factor: Self::Signed, line: Self::Unsigned, sum: Self::Sum) -> Self::Sum;

    /// `value` in every lane.
    fn splat(self, value: i32) -> Self::Sum;

    /// The sums in `f32`, rounded where they have more than 24 bits.
    fn single(self, sum: Self::Sum) -> <Self::Simd as Simd>::F32;

    /// `a + b`, modulo 2^32.
    fn plus(self, a: Self::Sum, b: Self::Sum) -> Self::Sum;

    /// Reads sums from `source`, of any alignment.
    ///
    /// # Safety
    ///
    /// `source` is valid for reading as many numbers as a vector has lanes.
    unsafe fn load(self, source: *const i32) -> Self::Sum;

    /// Writes sums to `target`, of any alignment.
    ///
    /// # Safety
    ///
    /// `target` is valid for writing as many numbers as a vector has lanes.
    unsafe fn store(self, target: *mut i32, sum: Self::Sum);

    /// Asks for the cache line of an address, which may be any.
    #[inline(always)]
    fn prefetch(self, _address: *const u32) {}

    /// Computes a strip.
    fn run(self, strip: &Strip<'_>);

    /// Computes a strip of a depthwise convolution.
    fn run_depthwise(self, strip: &DepthwiseStrip<'_>);

    /// Computes a strip of a product with weights in blocks.
    fn run_blocks(self, strip: &BlockStrip<'_>);

    /// Multiplies and adds as fast as it can.
    fn run_burst(self, rounds: usize) -> usize;
}

/// Sums of rows of columns.
pub(in crate::kernels::linear) trait Room {
    /// Zeros.
    fn default() -> Self;

    fn as_mut(&mut self) -> &mut [i32];
}

/// Sums that begin with a line of a cache, so that no vector of them lies in two.
#[repr(align(64))]
pub(in crate::kernels::linear) struct Lines<const N: usize>([i32; N]);

impl<const N: usize> Room for Lines<N> {
    #[inline(always)]
    fn default() -> Self {
        Lines([0; N])
    }

    #[inline(always)]
    fn as_mut(&mut self) -> &mut [i32] {
        &mut self.0
    }
}

/// An instruction set that computes products of quads, in the way that is best on the processor.
pub(in crate::kernels::linear) trait Products: Copy {
    /// Runs a task with that way. The instruction set is that of the caller.
    fn with_quads<T: Task>(self, task: T) -> T::Output;
}

/// What is computed with quads.
pub(in crate::kernels::linear) trait Task {
    type Output;

    fn run<Q: Quads>(self, quads: Q) -> Self::Output;
}

impl Products for isa::Scalar {
    #[inline(always)]
    fn with_quads<T: Task>(self, task: T) -> T::Output {
        task.run(self)
    }
}

impl Quads for isa::Scalar {
    const LANES: usize = 4;
    const ROWS: usize = 3;
    type Sums = Lines<{ 3 * 96 }>;
    type Sum = [i32; 4];
    type Factor = [i32; 4];
    type Words = [[i32; 4]; 4];
    type Line = [[i32; 4]; 4];
    type Gather = ([bool; 4], i32);
    type Signed = [i32; 4];
    type Unsigned = [[i32; 4]; 4];
    type Simd = isa::Scalar;

    #[inline(always)]
    fn simd(self) -> isa::Scalar {
        self
    }

    #[inline(always)]
    fn zero(self) -> [i32; 4] {
        [0; 4]
    }

    #[inline(always)]
    fn signed(self, word: u32) -> [i32; 4] {
        word.to_le_bytes().map(|byte| i32::from(byte.cast_signed()))
    }

    #[inline(always)]
    fn unsigned<const BITS: u32>(self, words: [u32; 4], upper: bool) -> [[i32; 4]; 4] {
        let (shift, mask) = if BITS == 4 { (upper as u32 * 4, 0xf) } else { (0, 0xff) };
        [0, 8, 16, 24].map(|place| words.map(|word| (word >> (place + shift) & mask).cast_signed()))
    }

    #[inline(always)]
    fn add_unsigned(self, factor: [i32; 4], line: [[i32; 4]; 4], sum: [i32; 4]) -> [i32; 4] {
        Quads::add(self, factor, line, sum)
    }

    #[inline(always)]
    fn splat(self, value: i32) -> [i32; 4] {
        [value; 4]
    }

    #[inline(always)]
    fn single(self, sum: [i32; 4]) -> [f32; 4] {
        sum.map(|sum| sum as f32)
    }

    #[inline(always)]
    fn factor(self, word: u32) -> [i32; 4] {
        word.to_le_bytes().map(i32::from)
    }

    #[inline(always)]
    unsafe fn line(self, source: *const u32) -> [[i32; 4]; 4] {
        // SAFETY: the caller vouches for four words; an array of `u32` is aligned as a `u32` is.
        let words = unsafe { source.cast::<[u32; 4]>().read() };
        let bytes = |index: u32| words.map(|word| i32::from((word >> (8 * index)) as u8 as i8));
        [bytes(0), bytes(1), bytes(2), bytes(3)]
    }

    #[inline(always)]
    fn gatherer(self, inside: u32, pad_value: u8) -> ([bool; 4], i32) {
        (inside.to_le_bytes().map(|byte| byte != 0), pad_value.into())
    }

    #[inline(always)]
    unsafe fn gather(self, (inside, padding): ([bool; 4], i32), rows: [*const u8; 4]) -> [[i32; 4]; 4] {
        // SAFETY: the caller vouches for four numbers of each row.
        let numbers = rows.map(|row| unsafe { row.cast::<[u8; 4]>().read() });
        core::array::from_fn(|row| match inside[row] {
            true => numbers[row].map(i32::from),
            false => [padding; 4],
        })
    }

    #[inline(always)]
    fn padding(self, (_, padding): ([bool; 4], i32)) -> [[i32; 4]; 4] {
        [[padding; 4]; 4]
    }

    #[inline(always)]
    fn add_words(self, words: [[i32; 4]; 4], line: [[i32; 4]; 4], mut sum: [i32; 4]) -> [i32; 4] {
        for (factors, numbers) in words.into_iter().zip(line) {
            for (sum, (factor, number)) in sum.iter_mut().zip(factors.into_iter().zip(numbers)) {
                *sum = sum.wrapping_add(factor * number);
            }
        }
        sum
    }

    #[inline(always)]
    fn add(self, factor: [i32; 4], line: [[i32; 4]; 4], mut sum: [i32; 4]) -> [i32; 4] {
        for (factor, numbers) in factor.into_iter().zip(line) {
            for (sum, number) in sum.iter_mut().zip(numbers) {
                *sum = sum.wrapping_add(factor * number);
            }
        }
        sum
    }

    #[inline(always)]
    fn plus(self, a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        core::array::from_fn(|lane| a[lane].wrapping_add(b[lane]))
    }

    #[inline(always)]
    unsafe fn load(self, source: *const i32) -> [i32; 4] {
        // SAFETY: the caller vouches for four numbers.
        unsafe { source.cast::<[i32; 4]>().read() }
    }

    #[inline(always)]
    unsafe fn store(self, target: *mut i32, sum: [i32; 4]) {
        // SAFETY: the caller vouches for four numbers.
        unsafe { target.cast::<[i32; 4]>().write(sum) }
    }

    #[inline(never)]
    fn run(self, strip: &Strip<'_>) {
        tile::run(self, strip);
    }

    #[inline(never)]
    fn run_depthwise(self, strip: &DepthwiseStrip<'_>) {
        depthwise::run(self, strip);
    }

    #[inline(never)]
    fn run_blocks(self, strip: &BlockStrip<'_>) {
        blocks::run(self, strip);
    }

    #[inline(never)]
    fn run_burst(self, rounds: usize) -> usize {
        burst::run(self, rounds)
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
pub(in crate::kernels::linear) use x86::Widened;
