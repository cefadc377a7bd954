//! Cache blocking around [`Blocks::gemm_block`], shared by every kernel that multiplies matrices.

use super::ahead::Ahead;
use super::block::{Block, Blocks};
use super::pack::{PANEL_COLUMNS, PANEL_ROWS, pack_rhs, packed_rhs_len};
use super::share::divide;
use super::{Epilogue, Init, Lhs, MatrixMut, Rhs, extent, min};
use crate::isa::Isa;
use crate::kernels::simd::Simd;
use crate::team::{Compute, Team};

/// A matrix multiplication `c[m, n] = a[m, k] b[k, n]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gemm {
    /// Rows of `a` and `c`.
    pub m: usize,
    /// Columns of `b` and `c`.
    pub n: usize,
    /// Columns of `a`, rows of `b`.
    pub k: usize,
    /// Elements between rows of `c`, whose columns are contiguous; at least `n`.
    pub c_row: usize,
}

/// Depth of a block: two panels of `b` and the rows of `a` that a tile reads fit the first level cache.
const DEPTH: usize = 256;

/// Columns of a block that is packed into scratch. With [`DEPTH`] this is 256 KiB, a part of a second level cache.
const COLUMNS: usize = 256;

/// Columns of a block of a right-hand side that is packed already.
const PACKED_COLUMNS: usize = 256;

/// Values of `a` that stay in the first level cache while few rows pass over a wide `b`.
const RESIDENT: usize = 6144;

/// Rows up to which a right-hand side with contiguous columns is read in place: so few passes over it do not pay for
/// packing.
const IN_PLACE_ROWS: usize = 24;

/// Values of scratch that a product of at most `[m, k]` and `[k, n]` is fastest with.
pub const fn gemm_scratch(m: usize, n: usize, k: usize, rhs_is_packed: bool) -> usize {
    if rhs_is_packed || m == 0 {
        0
    } else {
        block_scratch(n, k)
    }
}

/// Values of scratch that a product of at most `[m, k]` and `[k, n]` cannot do without. It is slower the less there is.
pub const fn gemm_scratch_min(m: usize, n: usize, k: usize, rhs_is_packed: bool) -> usize {
    if rhs_is_packed || m == 0 {
        0
    } else {
        block_scratch_min(n, k)
    }
}

/// Values that a product of at most `[m, k]` and `[k, n]` uses of `room` values of scratch, which are at least
/// [`gemm_scratch_min`].
pub const fn gemm_scratch_within(m: usize, n: usize, k: usize, rhs_is_packed: bool, room: usize) -> usize {
    let least = gemm_scratch_min(m, n, k, rhs_is_packed);
    let room = min(room, gemm_scratch(m, n, k, rhs_is_packed));
    match room.checked_div(least) {
        Some(panels) if panels > 1 => panels * least,
        _ => least,
    }
}

/// Values of scratch for blocks of one panel.
pub(super) const fn block_scratch_min(n: usize, k: usize) -> usize {
    if n == 0 { 0 } else { min(k, DEPTH) * PANEL_COLUMNS }
}

/// Values of scratch for blocks of a right-hand side `[k, n]` that is packed on the way.
pub(super) const fn block_scratch(n: usize, k: usize) -> usize {
    min(k, DEPTH) * min(n.div_ceil(PANEL_COLUMNS) * PANEL_COLUMNS, COLUMNS)
}

/// The largest block, at most `limit`, out of as few equal blocks as `size` can be cut into, in steps of `unit`.
pub(super) const fn equal_blocks(size: usize, limit: usize, unit: usize) -> usize {
    size.div_ceil(size.div_ceil(limit)).div_ceil(unit) * unit
}

/// A right-hand side that is packed one block at a time.
pub(super) trait Pack {
    /// Packs rows `p..p + depth` of columns `j..j + columns` into `packed`, of length `packed_rhs_len(depth, columns)`.
    fn pack(&self, p: usize, depth: usize, j: usize, columns: usize, packed: &mut [f32]);
}

/// Where the blocks of a right-hand side come from.
pub(super) enum Source<'a, P> {
    /// The layout of `pack_rhs`.
    Packed(&'a [f32]),
    /// Contiguous columns, and this distance between rows. The last columns that do not fill a panel are packed by
    /// the last field.
    InPlace(&'a [f32], usize, P),
    /// Packed into scratch.
    OnTheFly(P),
}

/// Columns of a block and where their operand is.
#[derive(Clone, Copy)]
struct Piece<'a> {
    column: usize,
    columns: usize,
    b: &'a [f32],
    panel: usize,
    row: usize,
}

/// A strided right-hand side.
#[derive(Clone, Copy)]
pub(super) struct Strided<'a> {
    pub data: &'a [f32],
    pub row: usize,
    pub column: usize,
}

impl Pack for Strided<'_> {
    #[inline(always)]
    fn pack(&self, p: usize, depth: usize, j: usize, columns: usize, packed: &mut [f32]) {
        let source = self.data.get(p * self.row + j * self.column..).unwrap_or_default();
        pack_rhs(depth, columns, source, self.row, self.column, packed);
    }
}

#[inline(always)]
pub(super) fn gemm<S: Simd + Blocks>(
    isa: S,
    problem: &Gemm,
    a: Lhs<'_>,
    b: Rhs<'_>,
    init: Init<'_>,
    c: &mut [f32],
    scratch: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    let &Gemm { m, n, k, c_row } = problem;
    let part = GemmPart::whole(m, k);
    let c = MatrixMut::new(c, m, n, c_row);
    gemm_part(isa, part, a, b, init, c, scratch, epilogue);
}

/// A part of a product, whose size is that of its output.
#[derive(Clone, Copy, Debug)]
pub struct GemmPart {
    /// Columns of `a`, rows of `b`.
    pub(super) k: usize,
    /// Rows of the whole product, on which the order of a sum depends.
    pub(super) whole_m: usize,
}

impl GemmPart {
    /// All of a product of `m` rows.
    pub(super) const fn whole(m: usize, k: usize) -> GemmPart {
        GemmPart { k, whole_m: m }
    }

    /// Rows of a product whose sums have the same order for any number of rows.
    pub(super) const fn of_any(k: usize) -> GemmPart {
        GemmPart { k, whole_m: usize::MAX }
    }
}

#[inline(always)]
pub(super) fn gemm_part<S: Simd + Blocks>(
    isa: S,
    part: GemmPart,
    a: Lhs<'_>,
    b: Rhs<'_>,
    init: Init<'_>,
    c: MatrixMut<'_>,
    scratch: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    let source = match b {
        Rhs::Packed(data) => Source::Packed(data),
        Rhs::Strided { data, row, column } => {
            assert!(
                data.len() >= extent([(part.k, row), (c.columns(), column)]),
                "gemm: the right matrix is too short"
            );
            let strided = Strided { data, row, column };
            if column == 1 && part.whole_m <= IN_PLACE_ROWS {
                Source::InPlace(data, row, strided)
            } else {
                Source::OnTheFly(strided)
            }
        }
    };
    multiply_part(isa, part, a, source, init, c, scratch, epilogue);
}

/// Divides the rows or the columns of a product.
pub(super) fn gemm_parts<S: Isa>(
    team: Team<'_, S>,
    problem: &Gemm,
    a: Lhs<'_>,
    b: Rhs<'_>,
    init: Init<'_>,
    c: &mut [f32],
    scratch: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    let &Gemm { m, n, k, .. } = problem;
    // Every part packs its columns for itself, one block after another.
    let needed = match b {
        Rhs::Packed(_) => 0,
        Rhs::Strided { .. } => block_scratch_min(n, k),
    };
    let unit = match a {
        Lhs::Packed(_) => PANEL_ROWS,
        Lhs::Strided { .. } => 2,
    };
    divide(team, problem, unit, init, c, (scratch, needed), epilogue, |piece| {
        let (a, b) = (a.rows_from(piece.at[0], k), b.columns_from(piece.at[1], k));
        let (part, isa) = (GemmPart::whole(m, k), team.isa());
        isa.gemm_part(part, a, b, piece.init, piece.c, piece.scratch, piece.epilogue);
    });
}

/// `c = epilogue(init + a b)`.
#[inline(always)]
pub(super) fn multiply<S: Simd + Blocks, P: Pack>(
    isa: S,
    problem: &Gemm,
    a: Lhs<'_>,
    b: Source<'_, P>,
    init: Init<'_>,
    c: &mut [f32],
    scratch: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    let &Gemm { m, n, k, c_row } = problem;
    let part = GemmPart::whole(m, k);
    let c = MatrixMut::new(c, m, n, c_row);
    multiply_part(isa, part, a, b, init, c, scratch, epilogue);
}

/// `c = epilogue(init + a b)` of a part of a product, whose operands begin where it does.
#[inline(always)]
pub(super) fn multiply_part<S: Simd + Blocks, P: Pack>(
    isa: S,
    part: GemmPart,
    a: Lhs<'_>,
    b: Source<'_, P>,
    init: Init<'_>,
    mut c: MatrixMut<'_>,
    scratch: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    let (m, n, k) = (c.rows(), c.columns(), part.k);
    if m == 0 || n == 0 {
        return;
    }
    init.check(m, n);
    let height = match a {
        Lhs::Strided { .. } => S::STRIDED_ROWS,
        Lhs::Packed(_) => S::TILE_ROWS,
    };
    let (a, [a_group, a_row, a_column]) = a.layout(m, k);
    let (depth_limit, columns_limit) = match &b {
        Source::Packed(data) => {
            assert!(
                data.len() >= packed_rhs_len(k, n),
                "gemm: the right matrix is too short"
            );
            if part.whole_m <= S::TILE_ROWS {
                (DEPTH.max(RESIDENT / part.whole_m), n)
            } else {
                (DEPTH, PACKED_COLUMNS)
            }
        }
        Source::InPlace(..) | Source::OnTheFly(_) => {
            assert!(
                scratch.len() >= block_scratch_min(n, k),
                "gemm: the scratch is too short"
            );
            let panels = (scratch.len() / PANEL_COLUMNS).checked_div(k.min(DEPTH));
            (
                DEPTH,
                panels.map_or(COLUMNS, |panels| (panels * PANEL_COLUMNS).min(COLUMNS)),
            )
        }
    };
    let depth_step = if k == 0 { 1 } else { equal_blocks(k, depth_limit, 1) };
    let columns_step = equal_blocks(n, columns_limit, PANEL_COLUMNS);
    let mut j = 0;
    while j < n {
        let columns = columns_step.min(n - j);
        // The first block is run even if it has no depth, because it is what applies `init`.
        let mut p = 0;
        loop {
            let depth = depth_step.min(k - p);
            let last = p + depth == k;
            let first = if p == 0 {
                match init {
                    Init::PerColumn(values) => Init::PerColumn(&values[j..]),
                    other => other,
                }
            } else {
                Init::Accumulate
            };
            let a = a.get(p * a_column..).unwrap_or_default();
            // The weights of a following step lie behind these, more often than not.
            let ahead = match (&b, last) {
                (Source::Packed(_), false) => Ahead::new(depth * PANEL_COLUMNS, m, height),
                (Source::Packed(_), true) => {
                    let distance = columns.next_multiple_of(PANEL_COLUMNS) * k - p * PANEL_COLUMNS;
                    Ahead::new(distance, m, height)
                }
                _ => Ahead::NONE,
            };
            // A block has one part, or two where only the full panels are read in place.
            let whole = Piece {
                column: 0,
                columns,
                b: &[],
                panel: 0,
                row: PANEL_COLUMNS,
            };
            let mut pieces = [whole; 2];
            let used = match &b {
                Source::Packed(data) => {
                    pieces[0].b = &data[j * k + p * PANEL_COLUMNS..];
                    pieces[0].panel = k * PANEL_COLUMNS;
                    1
                }
                Source::InPlace(data, row, tail) => {
                    let split = columns / PANEL_COLUMNS * PANEL_COLUMNS;
                    let data = data.get(p * row + j..).unwrap_or_default();
                    pieces[0] = Piece {
                        column: 0,
                        columns: split,
                        b: data,
                        panel: PANEL_COLUMNS,
                        row: *row,
                    };
                    if split < columns {
                        let packed = &mut scratch[..depth * PANEL_COLUMNS];
                        tail.pack(p, depth, j + split, columns - split, packed);
                        pieces[1] = Piece {
                            column: split,
                            columns: columns - split,
                            b: packed,
                            ..whole
                        };
                        2
                    } else {
                        1
                    }
                }
                Source::OnTheFly(source) => {
                    let packed = &mut scratch[..packed_rhs_len(depth, columns)];
                    source.pack(p, depth, j, columns, packed);
                    pieces[0].b = packed;
                    pieces[0].panel = depth * PANEL_COLUMNS;
                    1
                }
            };
            // With an epilogue that is called, rows are taken in strips that stay in the first level cache until it has
            // run. They are whole panels, and whole tiles of 8 or 6 rows.
            let strip = if epilogue.is_apart() && last {
                (4096 / columns).max(1).next_multiple_of(4 * PANEL_ROWS)
            } else {
                m.next_multiple_of(PANEL_ROWS)
            };
            let mut i = 0;
            while i < m {
                let rows = strip.min(m - i);
                for piece in &pieces[..used] {
                    let init = match first {
                        Init::PerRow(values) => Init::PerRow(&values[i..]),
                        Init::PerColumn(values) => Init::PerColumn(&values[piece.column..]),
                        other => other,
                    };
                    let column = j + piece.column;
                    isa.gemm_block(Block {
                        k: depth,
                        a: a.get(i / PANEL_ROWS * a_group..).unwrap_or_default(),
                        a_group,
                        a_row,
                        a_column,
                        b: piece.b,
                        b_panel: piece.panel,
                        b_row: piece.row,
                        ahead: ahead.at_row(i),
                        init,
                        c: c.part(i..i + rows, column..column + piece.columns),
                        bounds: epilogue.bounds_if(last),
                    });
                }
                if last {
                    epilogue.finish(&mut c, i..i + rows, j..j + columns);
                }
                i += rows;
            }
            p += depth;
            if last {
                break;
            }
        }
        j += columns;
    }
}
