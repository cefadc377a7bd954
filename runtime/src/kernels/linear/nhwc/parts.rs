//! The division of channels-last convolutions.

use super::{Conv2dNhwc, Pointwise, WinogradConv2dNhwc};
use crate::isa::Isa;
use crate::kernels::linear::share::shares;
use crate::kernels::linear::{Epilogue, Init, MatrixMut, packed_rhs_len};
use crate::team::{Compute, Team};

impl Conv2dNhwc {
    /// The axis that is divided, rows or the columns of an image of one row, the pixels at each of its coordinates, and
    /// the number of coordinates.
    pub(super) fn divided(&self) -> (usize, usize, usize) {
        match self.out_height {
            1 => (1, 1, self.out_width),
            rows => (0, self.out_width, rows),
        }
    }

    /// The convolution for the coordinates `first..first + count` of an axis of the output, and where its input begins.
    pub(super) fn part(&self, axis: usize, first: usize, count: usize) -> (Conv2dNhwc, usize) {
        let (size, step) = match axis {
            0 => (self.in_height, self.x_row),
            _ => (self.in_width, self.x_column),
        };
        let start = first * self.stride[axis];
        // A part that begins in the zeros behind the image has nothing of the image.
        let skipped = start.saturating_sub(self.pad[axis]).min(size);
        let mut part = *self;
        part.pad[axis] = self.pad[axis].saturating_sub(start);
        match axis {
            0 => (part.in_height, part.out_height) = (size - skipped, count),
            _ => (part.in_width, part.out_width) = (size - skipped, count),
        }
        (part, skipped * step)
    }
}

/// What a part of a divided convolution computes with.
pub(super) struct ConvPart<'a> {
    pub(super) problem: Conv2dNhwc,
    /// The input from where the part begins.
    pub(super) x: &'a [f32],
    /// The first of its channels.
    pub(super) column: usize,
    pub(super) init: Init<'a>,
    pub(super) y: MatrixMut<'a>,
    pub(super) scratch: &'a mut [f32],
    pub(super) epilogue: Epilogue<'a>,
}

/// Divides the rows of the output, the columns of its only row, or its channels, into parts with at least `needed` values
/// of scratch.
pub(super) fn divide<'a, S: Isa>(
    team: Team<'_, S>,
    problem: &Conv2dNhwc,
    x: &'a [f32],
    init: Init<'a>,
    y: &'a mut [f32],
    scratch: &'a mut [f32],
    epilogue: Epilogue<'a>,
    needed: usize,
    run: impl Fn(ConvPart<'a>) + Sync,
) {
    problem.check(x, init, y);
    let (pixels, channels) = (problem.pixels(), problem.out_channels);
    let (axis, unit, count) = problem.divided();
    if pixels == 0 || channels == 0 {
        return;
    }
    let room = scratch.len().checked_div(needed).unwrap_or(usize::MAX);
    let team = team.parts(team.count(room));
    // The channels of a group lie together in the weights, and those of several do not.
    let (rows, columns) = match problem.groups {
        1 => shares(pixels, channels, unit, |units| team.share(units)),
        _ => (team.share(count) * unit, channels),
    };
    let across = channels.div_ceil(columns);
    let parts = pixels.div_ceil(rows) * across;
    let y = MatrixMut::new(y, pixels, channels, problem.y_pixel);
    let scratch = scratch.chunks_mut((scratch.len() / parts).max(1));
    let scratch = scratch.chain(core::iter::repeat_with(Default::default));
    team.each(y.divide(rows, columns).zip(scratch), |index, (y, scratch)| {
        let (row, column) = (index / across * rows, index % across * columns);
        let (part, skipped) = problem.part(axis, row / unit, y.rows() / unit);
        run(ConvPart {
            problem: Conv2dNhwc {
                out_channels: y.columns(),
                ..part
            },
            x: x.get(skipped..).unwrap_or_default(),
            column,
            init: init.from(row, column),
            y,
            scratch,
            epilogue: epilogue.from(row, column),
        });
    });
}

/// Divides a convolution.
pub(in crate::kernels::linear) fn conv2d_nhwc_parts<S: Isa>(
    team: Team<'_, S>,
    problem: &Conv2dNhwc,
    x: &[f32],
    w: &[f32],
    init: Init<'_>,
    y: &mut [f32],
    scratch: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    let needed = super::conv2d_nhwc_scratch_min(problem);
    divide(team, problem, x, init, y, scratch, epilogue, needed, |part| {
        let w = w.get(packed_rhs_len(problem.depth(), part.column)..);
        let (problem, w) = (part.problem, w.unwrap_or_default());
        let isa = team.isa();
        isa.conv2d_nhwc_part(&problem, part.x, w, part.init, part.y, part.scratch, part.epilogue);
    });
}

/// Divides the rows of the output, or the columns of its only row.
pub(in crate::kernels::linear) fn depthwise_conv2d_nhwc_parts<S: Isa>(
    team: Team<'_, S>,
    problem: &Conv2dNhwc,
    x: &[f32],
    w: &[f32],
    init: Init<'_>,
    y: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    problem.check(x, init, y);
    let (axis, unit, count) = problem.divided();
    let share = team.share(count);
    let pieces = y
        .chunks_mut((share * unit * problem.y_pixel).max(1))
        .take(count.div_ceil(share));
    team.each(pieces, |index, y| {
        let first = index * share;
        let (part, skipped) = problem.part(axis, first, share.min(count - first));
        let x = x.get(skipped..).unwrap_or_default();
        let (init, epilogue) = (init.from(first * unit, 0), epilogue.from(first * unit, 0));
        team.isa().depthwise_conv2d_nhwc(&part, x, w, init, y, epilogue);
    });
}

/// Divides the rows of tiles.
pub(in crate::kernels::linear) fn winograd_conv2d_nhwc_parts<S: Isa>(
    team: Team<'_, S>,
    problem: &WinogradConv2dNhwc,
    x: &[f32],
    w: &[f32],
    init: Init<'_>,
    y: &mut [f32],
    scratch: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    let &WinogradConv2dNhwc {
        problem: convolution,
        tile,
    } = problem;
    convolution.check(x, init, y);
    let (rows, width) = (convolution.out_height, convolution.out_width);
    let part = |first: usize, share: usize| {
        let (part, skipped) = convolution.part(0, first, share.min(rows - first));
        (WinogradConv2dNhwc { problem: part, tile }, skipped)
    };
    let mut count = team.count(usize::MAX).max(1);
    let (team, share) = loop {
        let team = team.parts(count);
        let share = team.share(rows.div_ceil(tile.size())).saturating_mul(tile.size());
        let last = rows.saturating_sub(1) / share.max(1) * share;
        let needs = |first: usize| super::winograd_conv2d_nhwc_scratch_min(&part(first, share).0);
        let needed = needs(0).max(needs(last));
        if count == 1 || needed.saturating_mul(count) <= scratch.len() {
            break (team, share);
        }
        count -= 1;
    };
    let pieces = y
        .chunks_mut(share.saturating_mul(width * convolution.y_pixel).max(1))
        .take(rows.div_ceil(share.max(1)));
    let scratch = scratch.chunks_mut((scratch.len() / count).max(1));
    let scratch = scratch.chain(core::iter::repeat_with(Default::default));
    team.each(pieces.zip(scratch), |index, (y, scratch)| {
        let first = index * share;
        let (part, skipped) = part(first, share);
        let x = x.get(skipped..).unwrap_or_default();
        let (init, epilogue) = (init.from(first * width, 0), epilogue.from(first * width, 0));
        let isa = team.isa();
        isa.winograd_conv2d_nhwc(&part, x, w, init, y, scratch, epilogue);
    });
}

/// Divides the rows of the output. Rows of the input that two parts see are expanded by both.
pub(in crate::kernels::linear) fn depthwise_block_parts<S: Isa>(
    team: Team<'_, S>,
    problem: &Conv2dNhwc,
    x: &[f32],
    expand: Option<Pointwise<'_>>,
    w: &[f32],
    init: Init<'_>,
    epilogue: Epilogue<'_>,
    project: Option<Pointwise<'_>>,
    y: &mut [f32],
    scratch: &mut [f32],
) {
    // A part needs no more than the whole.
    let needed = super::depthwise_block_scratch_min(problem, expand.is_some(), project.is_some());
    let room = scratch.len().checked_div(needed).unwrap_or(usize::MAX);
    let parts = team.count(room);
    let team = team.parts(parts);
    let (width, count) = (problem.out_width, problem.out_height);
    let share = team.share(count);
    let pieces = y
        .chunks_mut((share * width * problem.y_pixel).max(1))
        .take(count.div_ceil(share));
    let scratch = scratch.chunks_mut((scratch.len() / parts.max(1)).max(1));
    let scratch = scratch.chain(core::iter::repeat_with(Default::default));
    team.each(pieces.zip(scratch), |index, (y, scratch)| {
        let first = index * share;
        let (part, skipped) = problem.part(0, first, share.min(count - first));
        let x = x.get(skipped..).unwrap_or_default();
        let (below, above) = (first * width, (problem.in_height - part.in_height) * problem.in_width);
        let expand = expand.map(|part| part.from(above));
        let project = project.map(|part| part.from(below));
        let epilogue = epilogue.from(below, 0);
        team.isa()
            .depthwise_block(&part, x, expand, w, init, epilogue, project, y, scratch);
    });
}
