//! Products that threads divide.

use super::gemm::Gemm;
use super::pack::PANEL_COLUMNS;
use super::{Epilogue, Init, MatrixMut};
use crate::isa::Isa;
use crate::team::Team;

/// Rows and columns of a part of a product, one of which are all: those with which the largest part takes the least time.
/// Rows are divided in steps of `unit`, and `share` says how many of some units a part has.
pub(super) fn shares(m: usize, n: usize, unit: usize, share: impl Fn(usize) -> usize) -> (usize, usize) {
    // The time, for each row of `b`, of the products and of reading `b`, in products: an element comes from the third level
    // cache in the time of some four.
    let time = |rows: usize, columns: usize| rows.saturating_add(4).saturating_mul(columns);
    let rows = (share(m.div_ceil(unit)) * unit).min(m.max(1));
    let columns = (share(n.div_ceil(PANEL_COLUMNS)) * PANEL_COLUMNS).min(n.max(1));
    // Steps that are all divided by rows leave them in the caches of the cores that need them next. A part of the columns
    // needs the rows of other cores, too, whose elements take several times as long.
    let others = (m - rows.min(m)).saturating_mul(32);
    if time(rows, n) <= time(m, columns).saturating_add(others) {
        (rows, n.max(1))
    } else {
        (m.max(1), columns)
    }
}

/// What a part of a divided product computes.
pub(super) struct Piece<'a> {
    /// The first of its rows and columns.
    pub(super) at: [usize; 2],
    pub(super) init: Init<'a>,
    pub(super) c: MatrixMut<'a>,
    pub(super) scratch: &'a mut [f32],
    pub(super) epilogue: Epilogue<'a>,
}

/// Divides the rows, in steps of `unit`, or the columns of a product into parts with at least `needed` values of scratch.
pub(super) fn divide<'a, S: Isa>(
    team: Team<'_, S>,
    problem: &Gemm,
    unit: usize,
    init: Init<'a>,
    c: &'a mut [f32],
    (scratch, needed): (&'a mut [f32], usize),
    epilogue: Epilogue<'a>,
    run: impl Fn(Piece<'_>) + Sync,
) {
    let &Gemm { m, n, c_row, .. } = problem;
    let room = scratch.len().checked_div(needed).unwrap_or(usize::MAX);
    let team = team.parts(team.count(room));
    let (rows, columns) = shares(m, n, unit, |units| team.share(units));
    let across = n.div_ceil(columns).max(1);
    let parts = m.div_ceil(rows) * n.div_ceil(columns);
    let scratch = scratch.chunks_mut((scratch.len() / parts.max(1)).max(1));
    let scratch = scratch.chain(core::iter::repeat_with(Default::default));
    let c = MatrixMut::new(c, m, n, c_row).divide(rows, columns);
    team.each(c.zip(scratch), |index, (c, scratch)| {
        let at = [index / across * rows, index % across * columns];
        run(Piece {
            at,
            init: init.from(at[0], at[1]),
            c,
            scratch,
            epilogue: epilogue.from(at[0], at[1]),
        });
    });
}
