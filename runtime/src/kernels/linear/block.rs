//! The matrix multiplication of one cache block, out of register tiles.

use super::pack::{PANEL_COLUMNS, PANEL_ROWS};
use super::{Init, MatrixMut, extent};
use crate::kernels::simd::Simd;

/// `c = init + a b` of a block whose operands are in cache.
///
/// Element `(i, p)` of `a` is `a[i / 6 * a_group + i % 6 * a_row + p * a_column]`, which covers packed panels as well
/// as strided matrices. Element `(p, j)` of `b` is `b[j / 16 * b_panel + p * b_row + j % 16]`, where the last panel is
/// readable as a whole.
pub(super) struct Block<'a> {
    pub(super) k: usize,
    pub(super) a: &'a [f32],
    pub(super) a_group: usize,
    pub(super) a_row: usize,
    pub(super) a_column: usize,
    pub(super) b: &'a [f32],
    pub(super) b_panel: usize,
    pub(super) b_row: usize,
    pub(super) init: Init<'a>,
    pub(super) c: MatrixMut<'a>,
}

crate::isa::kernel_table! {
    /// The inner loops that all other kernels share, compiled once for each instruction set.
    pub(super) single trait Blocks {
        /// Runs a block.
        fn gemm_block(block: Block<'_>) = gemm_block;
    }
}

/// What the accumulators of a tile are added to.
#[derive(Clone, Copy)]
enum Start {
    Zero,
    /// A matrix with this distance between rows.
    Matrix(*const f32, usize),
    PerRow(*const f32),
}

/// The operands of a tile: a [`Block`] with its bounds checked.
#[derive(Clone, Copy)]
struct Operands {
    k: usize,
    a: *const f32,
    a_group: usize,
    a_row: usize,
    a_column: usize,
    b: *const f32,
    b_panel: usize,
    b_row: usize,
    start: Start,
    c: *mut f32,
    c_row: usize,
}

impl Operands {
    /// The operands `rows` further down, where `rows` keeps to the panel of `a` or steps to the beginning of one.
    #[inline(always)]
    fn at_row(self, row: usize) -> Operands {
        Operands {
            a: self
                .a
                .wrapping_add(row / PANEL_ROWS * self.a_group + row % PANEL_ROWS * self.a_row),
            c: self.c.wrapping_add(row * self.c_row),
            start: match self.start {
                Start::Zero => Start::Zero,
                Start::Matrix(start, stride) => Start::Matrix(start.wrapping_add(row * stride), stride),
                Start::PerRow(start) => Start::PerRow(start.wrapping_add(row)),
            },
            ..self
        }
    }

    /// The operands `panels` of `b` further right.
    #[inline(always)]
    fn at_panel(self, panels: usize) -> Operands {
        let columns = panels * PANEL_COLUMNS;
        Operands {
            b: self.b.wrapping_add(panels * self.b_panel),
            c: self.c.wrapping_add(columns),
            start: match self.start {
                Start::Matrix(start, stride) => Start::Matrix(start.wrapping_add(columns), stride),
                other => other,
            },
            ..self
        }
    }
}

#[inline(always)]
fn gemm_block<S: Simd>(isa: S, block: Block<'_>) {
    let Block {
        k,
        a,
        a_group,
        a_row,
        a_column,
        b,
        b_panel,
        b_row,
        init,
        mut c,
    } = block;
    let (m, n, c_row) = (c.rows(), c.columns(), c.stride());
    if m == 0 || n == 0 {
        return;
    }
    let (group, rest) = ((m - 1) / PANEL_ROWS, (m - 1) % PANEL_ROWS);
    let mut a_len = extent([(group + 1, a_group), (rest + 1, a_row), (k, a_column)]);
    if group > 0 {
        a_len = a_len.max(extent([(group, a_group), (PANEL_ROWS, a_row), (k, a_column)]));
    }
    assert!(a.len() >= a_len, "gemm: the left matrix is too short");
    let b_len = extent([(n.div_ceil(PANEL_COLUMNS), b_panel), (k, b_row), (PANEL_COLUMNS, 1)]);
    assert!(b.len() >= b_len, "gemm: the right matrix is too short");
    let c = c.as_mut_ptr();
    let start = match init {
        Init::Zero => Start::Zero,
        Init::Accumulate => Start::Matrix(c, c_row),
        Init::PerColumn(values) => {
            assert!(values.len() >= n, "gemm: the initial row is too short");
            Start::Matrix(values.as_ptr(), 0)
        }
        Init::PerRow(values) => {
            assert!(values.len() >= m, "gemm: the initial column is too short");
            Start::PerRow(values.as_ptr())
        }
    };
    let (a, b) = (a.as_ptr(), b.as_ptr());
    let operands = Operands {
        k,
        a,
        a_group,
        a_row,
        a_column,
        b,
        b_panel,
        b_row,
        start,
        c,
        c_row,
    };
    let mut row = 0;
    while row < m {
        let rest = m - row;
        let at = operands.at_row(row);
        // SAFETY: the assertions above cover `m` rows of `a`, `c` and `start`, of which `rest` begin at `row`, and
        // all `n` columns of `b`, `c` and `start`. A tile of more than one row begins at a multiple of its height,
        // or at the last panel, so that its rows do not straddle panels of `a`.
        row += unsafe {
            if S::TILE_ROWS >= 12 && rest >= 12 {
                strip::<S, 12>(isa, at, n)
            } else if S::TILE_ROWS >= 6 && rest >= 6 {
                strip::<S, 6>(isa, at, n)
            } else if S::TILE_ROWS >= 6 && rest == 5 {
                strip::<S, 5>(isa, at, n)
            } else if S::TILE_ROWS >= 6 && rest == 4 {
                strip::<S, 4>(isa, at, n)
            } else if rest >= 3 {
                strip::<S, 3>(isa, at, n)
            } else if rest == 2 {
                strip::<S, 2>(isa, at, n)
            } else {
                strip::<S, 1>(isa, at, n)
            }
        };
    }
}

/// Computes `ROWS` rows of all `n` columns and returns `ROWS`.
///
/// The width of a tile follows from the registers: its accumulators, one row of `b` and a broadcast element of `a`
/// fit 32 registers of AVX-512 or 16 of the others. Low tiles are wider, so that enough sums are in flight to hide
/// the latency of an addition.
///
/// # Safety
///
/// `at` is valid for `ROWS` rows in the panels at its beginning, and `n` columns.
#[inline(always)]
unsafe fn strip<S: Simd, const ROWS: usize>(isa: S, at: Operands, n: usize) -> usize {
    // SAFETY: as the caller vouches.
    unsafe {
        match S::LANES {
            16 if ROWS > 6 => columns::<S, ROWS, 2, 1>(isa, at, n),
            16 => columns::<S, ROWS, 4, 1>(isa, at, n),
            8 if ROWS > 3 => columns::<S, ROWS, 2, 2>(isa, at, n),
            8 => columns::<S, ROWS, 4, 2>(isa, at, n),
            _ => columns::<S, ROWS, 4, 4>(isa, at, n),
        }
    }
    ROWS
}

/// Computes `ROWS` rows of all `n` columns in tiles of `WIDE` vectors, then of `NARROW` vectors, which are one panel.
///
/// # Safety
///
/// `at` is valid for `ROWS` rows in the panels at its beginning, and `n` columns.
#[inline(always)]
unsafe fn columns<S: Simd, const ROWS: usize, const WIDE: usize, const NARROW: usize>(isa: S, at: Operands, n: usize) {
    let panels = n.div_ceil(PANEL_COLUMNS);
    let wide = WIDE * S::LANES / PANEL_COLUMNS;
    let mut panel = 0;
    // SAFETY: both loops stay below the `panels` that the `n` columns have.
    unsafe {
        while panels - panel >= wide {
            tile::<S, ROWS, WIDE>(isa, at.at_panel(panel), n - panel * PANEL_COLUMNS);
            panel += wide;
        }
        while WIDE > NARROW && panel < panels {
            tile::<S, ROWS, NARROW>(isa, at.at_panel(panel), n - panel * PANEL_COLUMNS);
            panel += 1;
        }
    }
}

/// Computes one tile of `ROWS` rows and `VECTORS` vectors of columns, of which the first `columns` exist.
///
/// # Safety
///
/// `at` is valid for `ROWS` rows in the panels at its beginning, for `VECTORS` vectors of `b` and for the first
/// `columns` of them in `c` and `start`.
#[inline(always)]
unsafe fn tile<S: Simd, const ROWS: usize, const VECTORS: usize>(isa: S, at: Operands, columns: usize) {
    let mut sums = [[isa.splat(0.0); VECTORS]; ROWS];
    let (mut a, mut b) = (at.a, at.b);
    for _ in 0..at.k {
        let mut line = [isa.splat(0.0); VECTORS];
        for (vector, line) in line.iter_mut().enumerate() {
            let lane = vector * S::LANES;
            let offset = lane / PANEL_COLUMNS * at.b_panel + lane % PANEL_COLUMNS;
            // SAFETY: the caller vouches for `k` rows of `VECTORS` vectors of `b`.
            *line = unsafe { isa.load(b.add(offset)) };
        }
        for (row, sums) in sums.iter_mut().enumerate() {
            let offset = row / PANEL_ROWS * at.a_group + row % PANEL_ROWS * at.a_row;
            // SAFETY: the caller vouches for `k` columns of `ROWS` rows of `a`.
            let factor = isa.splat(unsafe { *a.add(offset) });
            for (sum, &line) in sums.iter_mut().zip(&line) {
                *sum = isa.mul_add(factor, line, *sum);
            }
        }
        a = a.wrapping_add(at.a_column);
        b = b.wrapping_add(at.b_row);
    }
    if columns >= VECTORS * S::LANES {
        for (row, sums) in sums.iter().enumerate() {
            for (vector, &sum) in sums.iter().enumerate() {
                let lane = vector * S::LANES;
                // SAFETY: all columns exist, and the caller vouches for them in `c` and `start`.
                unsafe {
                    let value = match at.start {
                        Start::Zero => sum,
                        Start::Matrix(start, stride) => isa.add(sum, isa.load(start.add(row * stride + lane))),
                        Start::PerRow(start) => isa.add(sum, isa.splat(*start.add(row))),
                    };
                    isa.store(at.c.add(row * at.c_row + lane), value);
                }
            }
        }
    } else {
        // The last vector is found at run time. This copy is in memory, so that `sums` need not be; hiding where it is
        // keeps the loop rolled.
        let stored = sums;
        let stored = core::hint::black_box(&stored);
        for (row, sums) in stored.iter().enumerate() {
            for (vector, &sum) in sums.iter().enumerate() {
                let lane = vector * S::LANES;
                if lane >= columns {
                    break;
                }
                let lanes = isa.lanes(0, S::LANES.min(columns - lane));
                // SAFETY: `lanes` stay below the columns that the caller vouches for in `c` and `start`.
                unsafe {
                    let value = match at.start {
                        Start::Zero => sum,
                        Start::Matrix(start, stride) => {
                            isa.add(sum, isa.load_masked(start.add(row * stride + lane), lanes))
                        }
                        Start::PerRow(start) => isa.add(sum, isa.splat(*start.add(row))),
                    };
                    isa.store_masked(at.c.add(row * at.c_row + lane), value, lanes);
                }
            }
        }
    }
}
