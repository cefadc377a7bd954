//! The packed layout of a right-hand side in pairs.

use crate::element::Bf16;
use crate::kernels::linear::{PANEL_COLUMNS, extent};

/// Words of a packed right-hand side `[k, n]` of bf16, each of which holds two numbers.
pub const fn packed_rhs_bf16_len(k: usize, n: usize) -> usize {
    n.div_ceil(PANEL_COLUMNS) * PANEL_COLUMNS * k.div_ceil(2)
}

/// Rounds the matrix `[k, n]` whose element `(p, j)` is `source[p * row + j * column]` to bf16 and packs it as
/// `[ceil(n / 16)][ceil(k / 2)][16]`, padded with zeros. The lower half of a word is from an even row, the upper half from
/// the row after it.
///
/// # Panics
///
/// If `source` does not hold the matrix or `packed` is shorter than [`packed_rhs_bf16_len`].
pub fn pack_rhs_bf16(k: usize, n: usize, source: &[f32], row: usize, column: usize, packed: &mut [u32]) {
    assert!(
        source.len() >= extent([(k, row), (n, column)]),
        "pack: the source is too short"
    );
    let len = packed_rhs_bf16_len(k, n);
    assert!(packed.len() >= len, "pack: the packed matrix is too short");
    if len == 0 {
        return;
    }
    let panels = packed[..len].chunks_exact_mut(k.div_ceil(2) * PANEL_COLUMNS);
    for (panel, first) in panels.zip((0..n).step_by(PANEL_COLUMNS)) {
        for (line, p) in panel.chunks_exact_mut(PANEL_COLUMNS).zip((0..k).step_by(2)) {
            line.fill(0);
            for (j, word) in (first..n).zip(line) {
                let at = p * row + j * column;
                *word = half(source[at]);
                if p + 1 < k {
                    *word |= half(source[at + row]) << 16;
                }
            }
        }
    }
}

/// A rounded number in the lower half of a word.
pub(in crate::kernels::linear) fn half(value: f32) -> u32 {
    u32::from(Bf16::from_f32(value).0)
}
