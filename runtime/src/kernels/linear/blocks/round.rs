//! The left matrix of a product, rounded to 8 bits.

use super::numbers::Numbers;
use super::pack::BlockFormat;
use crate::kernels::linear::min;

/// The most numbers that have a scale in common. With fewer, products spend more of their time on scales.
pub(super) const GROUP: usize = 64;

/// Words before the numbers of a group: its scale, and what says what the numbers add up to.
pub(super) const HEADER: usize = 2;

/// The least magnitude of a group that is not rounded to zeros: the inverse of its scale is finite.
const LEAST: f32 = 1e-36;

/// A number of this size has no digits after the point, and the last of its bits are those of the number that it is added to.
const INTEGERS: f32 = 12_582_912.0;

impl BlockFormat {
    /// Words of quads of a group of so many numbers, as many as the weights that they are multiplied with have.
    #[inline(always)]
    const fn group_quads(self, len: usize) -> usize {
        len.div_ceil(self.per_word()) * (self.per_word() / 4)
    }

    /// Words of a block of numbers, in groups.
    const fn rounded_block_words(self, len: usize) -> usize {
        let (groups, rest) = (len / GROUP, len % GROUP);
        let last = if rest == 0 { 0 } else { HEADER + self.group_quads(rest) };
        groups * (HEADER + self.group_quads(GROUP)) + last
    }

    /// Words of a rounded row of `k` numbers.
    pub(super) const fn rounded_words(self, k: usize) -> usize {
        let rows = min(self.rows, k);
        if rows == 0 {
            return 0;
        }
        let rest = k % rows;
        k / rows * self.rounded_block_words(rows) + self.rounded_block_words(rest)
    }

    /// What the numbers of weights are less without a zero point of their own.
    pub(super) const fn center(self) -> i32 {
        1 << (self.bits - 1)
    }
}

/// Rounds a row of `k` numbers that are `column` apart, in groups that end where blocks of the format do.
///
/// A group has the scale `max |x| / 127`. It is written as [`HEADER`] words and its quads, padded with zeros. The second word is
/// the sum of the numbers in `f32` if the format has zero points, and otherwise what the products of the numbers with centers
/// add up to, negated.
///
/// A group with a number that is not finite has not-a-number as its scale.
#[inline(always)]
pub(super) fn round_row<S: Numbers>(
    isa: S,
    format: BlockFormat,
    k: usize,
    row: &[f32],
    column: usize,
    target: &mut [f32],
) {
    let (mut p, mut target) = (0, target);
    while p < k {
        let block = format.rows.min(k - p);
        let mut rest = block;
        while rest > 0 {
            let len = rest.min(GROUP);
            let mut values = [0.0; GROUP];
            match (
                column,
                <&[f32; GROUP]>::try_from(row.get(p..p + GROUP).unwrap_or_default()),
            ) {
                (1, Ok(row)) if len == GROUP => values = *row,
                (1, _) => values[..len].copy_from_slice(&row[p..p + len]),
                _ => {
                    for (index, value) in values[..len].iter_mut().enumerate() {
                        *value = row[(p + index) * column];
                    }
                }
            }
            let quads = format.group_quads(len);
            let (group, others) = core::mem::take(&mut target).split_at_mut(HEADER + quads);
            round_group(isa, format, &values, group);
            (p, rest, target) = (p + len, rest - len, others);
        }
    }
}

/// Rounds a group, of which the numbers that do not exist are zero.
#[inline(always)]
fn round_group<S: Numbers>(isa: S, format: BlockFormat, values: &[f32; GROUP], target: &mut [f32]) {
    // The bits of magnitudes are ordered as they are, those of what is not finite above all others.
    let mut greatest = [0u32; 16];
    for line in values.chunks_exact(16) {
        for (greatest, value) in greatest.iter_mut().zip(line) {
            *greatest = (*greatest).max(value.to_bits() & 0x7fff_ffff);
        }
    }
    let greatest = f32::from_bits(greatest.into_iter().fold(0, u32::max));
    let (scale, inverse) = match greatest {
        ..LEAST => (0.0, 0.0),
        ..f32::INFINITY => (greatest / 127.0, 127.0 / greatest),
        _ => (f32::NAN, 0.0),
    };
    let (inverse, integers) = (isa.splat(inverse), isa.splat(INTEGERS));
    let mut numbers = [0u8; GROUP];
    let mut sums = isa.splat(0.0);
    for lane in (0..GROUP).step_by(S::LANES) {
        // SAFETY: a group is a whole number of vectors.
        unsafe {
            let rounded = isa.add(isa.mul(isa.load(values.as_ptr().add(lane)), inverse), integers);
            isa.store_bytes(numbers.as_mut_ptr().add(lane), rounded);
            sums = isa.add(sums, isa.sub(rounded, integers));
        }
    }
    // These are integers: no order of the sum rounds.
    let mut parts = [0.0; 16];
    // SAFETY: no vector has more lanes.
    unsafe { isa.store(parts.as_mut_ptr(), sums) };
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            parts[lane] += parts[lane + half];
        }
    }
    target[0] = scale;
    target[1] = match format.zeros {
        true => parts[0],
        false => f32::from_bits((parts[0] as i32 * -format.center()).cast_unsigned()),
    };
    for (target, &quad) in target[HEADER..].iter_mut().zip(numbers.as_chunks().0) {
        *target = f32::from_bits(u32::from_le_bytes(quad));
    }
}
