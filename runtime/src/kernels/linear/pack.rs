//! The packed layouts of matrices. Packing happens at build time, or block by block into scratch.

/// Columns of a panel of a packed right-hand side.
pub const PANEL_COLUMNS: usize = 16;

/// Rows of a panel of a packed left-hand side.
pub const PANEL_ROWS: usize = 6;

/// Length of a packed right-hand side `[k, n]`.
pub const fn packed_rhs_len(k: usize, n: usize) -> usize {
    n.div_ceil(PANEL_COLUMNS) * PANEL_COLUMNS * k
}

/// Length of a packed left-hand side `[m, k]`.
pub const fn packed_lhs_len(m: usize, k: usize) -> usize {
    m.div_ceil(PANEL_ROWS) * PANEL_ROWS * k
}

/// Packs the matrix `[k, n]` whose element `(p, j)` is `source[p * row + j * column]` as `[ceil(n / 16)][k][16]`,
/// padded with zeros.
///
/// # Panics
///
/// If `source` does not hold the matrix or `packed` is shorter than [`packed_rhs_len`].
#[inline]
pub fn pack_rhs(k: usize, n: usize, source: &[f32], row: usize, column: usize, packed: &mut [f32]) {
    pack_panels::<PANEL_COLUMNS>(k, n, source, row, column, packed);
}

/// Packs the matrix `[m, k]` whose element `(i, p)` is `source[i * row + p * column]` as `[ceil(m / 6)][k][6]`,
/// padded with zeros.
///
/// # Panics
///
/// If `source` does not hold the matrix or `packed` is shorter than [`packed_lhs_len`].
#[inline]
pub fn pack_lhs(m: usize, k: usize, source: &[f32], row: usize, column: usize, packed: &mut [f32]) {
    pack_panels::<PANEL_ROWS>(k, m, source, column, row, packed);
}

/// Packs the matrix `[k, n]` into panels of `WIDTH` columns.
///
/// The two contiguous cases copy whole rows or build whole rows of a panel, so that little is done per element where
/// this is compiled without optimization.
#[inline(always)]
fn pack_panels<const WIDTH: usize>(k: usize, n: usize, source: &[f32], row: usize, column: usize, packed: &mut [f32]) {
    assert!(
        source.len() >= super::extent([(k, row), (n, column)]),
        "pack: the source is too short"
    );
    if k == 0 || n == 0 {
        return;
    }
    let panel_len = k * WIDTH;
    assert!(
        packed.len() / panel_len >= n.div_ceil(WIDTH),
        "pack: the packed matrix is too short"
    );
    for (index, panel) in packed.chunks_exact_mut(panel_len).take(n.div_ceil(WIDTH)).enumerate() {
        let first = index * WIDTH;
        let width = WIDTH.min(n - first);
        if width < WIDTH {
            panel.fill(0.0);
        }
        if column == 1 {
            for (p, target) in panel.chunks_exact_mut(WIDTH).enumerate() {
                let from = p * row + first;
                if width == WIDTH {
                    target.copy_from_slice(&source[from..from + WIDTH]);
                } else {
                    target[..width].copy_from_slice(&source[from..from + width]);
                }
            }
        } else if row == 1 && width == WIDTH {
            let lines: [&[f32]; WIDTH] = core::array::from_fn(|j| &source[(first + j) * column..][..k]);
            for (p, target) in panel.chunks_exact_mut(WIDTH).enumerate() {
                for (target, line) in target.iter_mut().zip(&lines) {
                    *target = line[p];
                }
            }
        } else {
            for (p, target) in panel.chunks_exact_mut(WIDTH).enumerate() {
                for (j, target) in target[..width].iter_mut().enumerate() {
                    *target = source[p * row + (first + j) * column];
                }
            }
        }
    }
}
