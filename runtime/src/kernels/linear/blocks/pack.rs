//! The packed layout of weights in blocks.

use crate::kernels::linear::{PANEL_COLUMNS, min};

/// How the weights of a matrix are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockFormat {
    /// Bits of a number: 4 or 8.
    pub bits: u32,
    /// Rows of a block, which have one scale in each column; at least 1. The last block may have fewer.
    pub rows: usize,
    /// Whether blocks have zero points. Without them, the zero point is `2^(bits - 1)`.
    pub zeros: bool,
}

impl BlockFormat {
    /// Numbers of a word.
    #[inline(always)]
    pub(super) const fn per_word(self) -> usize {
        if self.bits == 4 { 8 } else { 4 }
    }

    /// Words before the numbers of a block of a panel: a scale for each column, then a byte for each zero point.
    #[inline(always)]
    pub(super) const fn header(self) -> usize {
        PANEL_COLUMNS + if self.zeros { PANEL_COLUMNS / 4 } else { 0 }
    }

    /// Words of a block of a panel that has so many rows.
    #[inline(always)]
    pub(super) const fn block_words(self, rows: usize) -> usize {
        rows.div_ceil(self.per_word())
            .saturating_mul(PANEL_COLUMNS)
            .saturating_add(self.header())
    }

    /// Words of a panel of depth `k`.
    #[inline(always)]
    pub(super) const fn panel_words(self, k: usize) -> usize {
        let (blocks, rest) = (k / self.rows, k % self.rows);
        let last = if rest == 0 { 0 } else { self.block_words(rest) };
        blocks
            .saturating_mul(self.block_words(min(self.rows, k)))
            .saturating_add(last)
    }
}

/// The bit from which on a word holds the number of a row, counted from the first one of the word.
///
/// Numbers of 4 bits are in the lower halves of the bytes, then in the upper ones: four rows that follow each other are four
/// bytes once the others are masked.
#[inline(always)]
pub(super) const fn shift(bits: u32, row: usize) -> u32 {
    match bits {
        4 => (row % 4 * 8 + row / 4 * 4) as u32,
        _ => (row * 8) as u32,
    }
}

/// Words of a packed right-hand side `[k, n]` in blocks.
pub const fn packed_rhs_blocks_len(k: usize, n: usize, format: BlockFormat) -> usize {
    n.div_ceil(PANEL_COLUMNS).saturating_mul(format.panel_words(k))
}

/// Packs the matrix `[k, n]` of numbers `numbers[p * n + j]`, where block `b` of column `j` has the scale `scales[b * n + j]`
/// and the zero point `zeros[b * n + j]`.
///
/// The layout is `[ceil(n / 16)]` panels of blocks. A block has 16 scales, then 16 bytes of zero points if the format has them,
/// then `[ceil(rows / numbers of a word)][16]` words, each with numbers of one column. What does not exist is zero.
///
/// # Panics
///
/// If the format is none that there is, if a slice is shorter than the matrix needs, or if a number has more bits than the
/// format.
pub fn pack_rhs_blocks(
    format: BlockFormat,
    k: usize,
    n: usize,
    numbers: &[u8],
    scales: &[f32],
    zeros: &[u8],
    packed: &mut [u32],
) {
    let BlockFormat { bits, rows, .. } = format;
    assert!(
        matches!(bits, 4 | 8) && rows > 0,
        "pack: there are no such blocks of numbers"
    );
    let parameters = k.div_ceil(rows) * n;
    let zeros_len = if format.zeros { parameters } else { 0 };
    assert!(
        numbers.len() >= k * n && scales.len() >= parameters && zeros.len() >= zeros_len,
        "pack: the source is too short"
    );
    let fits = |&number: &u8| u32::from(number) >> bits == 0;
    assert!(
        numbers[..k * n].iter().all(fits) && zeros[..zeros_len].iter().all(fits),
        "pack: a number has more bits than the format"
    );
    let len = packed_rhs_blocks_len(k, n, format);
    assert!(packed.len() >= len, "pack: the packed matrix is too short");
    if len == 0 {
        return;
    }
    packed[..len].fill(0);
    let panels = packed[..len].chunks_exact_mut(format.panel_words(k));
    for (panel, first) in panels.zip((0..n).step_by(PANEL_COLUMNS)) {
        let columns = PANEL_COLUMNS.min(n - first);
        let blocks = panel.chunks_mut(format.block_words(rows.min(k)));
        for (index, block) in blocks.enumerate() {
            let parameters = index * n + first..index * n + first + columns;
            let (header, words) = block.split_at_mut(format.header());
            for (word, scale) in header.iter_mut().zip(&scales[parameters.clone()]) {
                *word = scale.to_bits();
            }
            if format.zeros {
                for (j, &zero) in zeros[parameters].iter().enumerate() {
                    header[PANEL_COLUMNS + j / 4] |= u32::from_le_bytes([zero, 0, 0, 0]) << (j % 4 * 8);
                }
            }
            let count = rows.min(k - index * rows);
            for row in 0..count {
                let shift = shift(bits, row % format.per_word());
                let words = &mut words[row / format.per_word() * PANEL_COLUMNS..][..columns];
                let numbers = &numbers[(index * rows + row) * n + first..][..columns];
                for (word, &number) in words.iter_mut().zip(numbers) {
                    *word |= u32::from(number) << shift;
                }
            }
        }
    }
}
