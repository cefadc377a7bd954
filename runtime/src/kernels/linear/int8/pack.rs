//! The packed layout of a right-hand side in quads.

use crate::kernels::linear::{PANEL_COLUMNS, extent};

/// Numbers of the depth that lie in a word.
pub(in crate::kernels::linear) const QUAD: usize = 4;

/// Words of a packed right-hand side `[k, n]` of 8 bits, each of which holds four numbers.
pub const fn packed_rhs_int8_len(k: usize, n: usize) -> usize {
    n.div_ceil(PANEL_COLUMNS) * PANEL_COLUMNS * k.div_ceil(QUAD)
}

/// Packs the matrix `[k, n]` whose element `(p, j)` is `source[p * row + j * column]` as
/// `[ceil(n / 16)][ceil(k / 4)][16]`, padded with zeros. The lowest byte of a word is from a row whose index is a multiple
/// of 4, the others from those after it.
///
/// # Panics
///
/// If `source` does not hold the matrix or `packed` is shorter than [`packed_rhs_int8_len`].
pub fn pack_rhs_int8(k: usize, n: usize, source: &[i8], row: usize, column: usize, packed: &mut [u32]) {
    assert!(
        source.len() >= extent([(k, row), (n, column)]),
        "pack: the source is too short"
    );
    let len = packed_rhs_int8_len(k, n);
    assert!(packed.len() >= len, "pack: the packed matrix is too short");
    if len == 0 {
        return;
    }
    let panels = packed[..len].chunks_exact_mut(k.div_ceil(QUAD) * PANEL_COLUMNS);
    for (panel, first) in panels.zip((0..n).step_by(PANEL_COLUMNS)) {
        for (line, p) in panel.chunks_exact_mut(PANEL_COLUMNS).zip((0..k).step_by(QUAD)) {
            line.fill(0);
            for (j, word) in (first..n).zip(line) {
                let bytes = (p..k.min(p + QUAD)).map(|p| source[p * row + j * column].cast_unsigned());
                for (index, byte) in bytes.enumerate() {
                    *word |= u32::from(byte) << (8 * index);
                }
            }
        }
    }
}
