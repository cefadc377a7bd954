//! A depthwise convolution between pointwise ones, a few rows at a time.
//!
//! The expanded image of an inverted residual (Sandler et al., *MobileNetV2: Inverted Residuals and Linear Bottlenecks*,
//! 2018) is several times as large as the input and the output of the block. Here only a band of it exists: the rows
//! that a few rows of the output see, which stay in the second level cache from the expansion to the projection. Every
//! row is expanded once, because a band keeps the rows that the next one sees, too.

use super::Conv2dNhwc;
use crate::kernels::linear::{Epilogue, Gemm, GemmPart, Init, Lhs, Linear, MatrixMut, Rhs, min};

/// A pointwise convolution before or after a depthwise one.
#[derive(Clone, Copy)]
pub struct Pointwise<'a> {
    /// Channels of the input of an expansion, or of the output of a projection. On the other side are those of the
    /// depthwise convolution.
    pub channels: usize,
    /// The weights as a right-hand side, see [`pack_rhs`](crate::kernels::linear::pack_rhs).
    pub w: &'a [f32],
    /// What is added: nothing or a bias per channel.
    pub init: Init<'a>,
    /// What is done to the result.
    pub epilogue: Epilogue<'a>,
}

impl<'a> Pointwise<'a> {
    /// The convolution of the pixels from `first` on.
    #[inline(always)]
    pub(super) fn from(self, first: usize) -> Pointwise<'a> {
        Pointwise {
            epilogue: self.epilogue.from(first, 0),
            ..self
        }
    }
}

/// Values of the band and of what is computed from it: a part of a second level cache.
const BAND: usize = 48 * 1024;

/// Input rows that some rows of the output see.
const fn seen(problem: &Conv2dNhwc, rows: usize) -> usize {
    min(problem.span(0, rows), problem.in_height)
}

/// Values of the band of the expanded image, and of the rows of the depthwise result.
const fn band_values(problem: &Conv2dNhwc, rows: usize, expands: bool, projects: bool) -> (usize, usize) {
    let band = seen(problem, rows) * problem.in_width * problem.in_channels;
    let result = rows * problem.out_width * problem.in_channels;
    (if expands { band } else { 0 }, if projects { result } else { 0 })
}

/// Rows of the output that are computed at a time.
const fn band_rows(problem: &Conv2dNhwc, expands: bool, projects: bool) -> usize {
    let mut rows = 1;
    while rows < problem.out_height {
        let (band, result) = band_values(problem, rows + 1, expands, projects);
        if band + result > BAND {
            break;
        }
        rows += 1;
    }
    rows
}

/// Rows of the output that are computed at a time with `room` values of scratch.
pub const fn depthwise_block_rows(problem: &Conv2dNhwc, expands: bool, projects: bool, room: usize) -> usize {
    let mut rows = band_rows(problem, expands, projects);
    while rows > 1 && band_sum(problem, rows, expands, projects) > room {
        rows -= 1;
    }
    rows
}

const fn band_sum(problem: &Conv2dNhwc, rows: usize, expands: bool, projects: bool) -> usize {
    let (band, result) = band_values(problem, rows, expands, projects);
    band + result
}

/// Values of scratch that a block is fastest with.
pub const fn depthwise_block_scratch(problem: &Conv2dNhwc, expands: bool, projects: bool) -> usize {
    depthwise_block_scratch_within(problem, expands, projects, usize::MAX)
}

/// Values of scratch that a block cannot do without. It is slower the less there is.
pub const fn depthwise_block_scratch_min(problem: &Conv2dNhwc, expands: bool, projects: bool) -> usize {
    band_sum(problem, 1, expands, projects)
}

/// Values that a block uses of `room` values of scratch, which are at least [`depthwise_block_scratch_min`].
pub const fn depthwise_block_scratch_within(problem: &Conv2dNhwc, expands: bool, projects: bool, room: usize) -> usize {
    let rows = depthwise_block_rows(problem, expands, projects, room);
    band_sum(problem, rows, expands, projects)
}

/// An upper bound of [`depthwise_block_scratch`] for all problems that are no larger than this one.
pub const fn depthwise_block_scratch_bound(problem: &Conv2dNhwc, expands: bool, projects: bool) -> usize {
    let (band, result) = band_values(problem, 1, expands, projects);
    if band + result > BAND { band + result } else { BAND }
}

#[inline(always)]
pub(in crate::kernels::linear) fn depthwise_block<S: Linear>(
    isa: S,
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
    let channels = problem.in_channels;
    let starts = [Some(init), expand.map(|part| part.init), project.map(|part| part.init)];
    let by_channel = |init: &Init<'_>| matches!(init, Init::Zero | Init::PerColumn(_));
    assert!(
        starts.iter().flatten().all(by_channel),
        "depthwise block: only a bias per channel can be added"
    );
    let (expands, projects) = (expand.is_some(), project.is_some());
    let rows = depthwise_block_rows(problem, expands, projects, scratch.len());
    let (band_len, result_len) = band_values(problem, rows, expands, projects);
    assert!(
        scratch.len() >= band_len + result_len,
        "depthwise block: the scratch is too short"
    );
    let (band, result) = scratch.split_at_mut(band_len);
    let line = problem.in_width * channels;
    // The input rows that the band holds, from its beginning on.
    let mut held = 0..0;
    for first in (0..problem.out_height).step_by(rows) {
        let part = problem.rows(first, rows.min(problem.out_height - first));
        let (sees, pixel) = (part.sees.clone(), first * problem.out_width);
        let mut convolution = part.problem;
        let source = match &expand {
            None => x.get(sees.start * problem.x_row..).unwrap_or_default(),
            Some(expand) => {
                let kept = held.end.min(sees.end).saturating_sub(sees.start);
                if kept > 0 {
                    let from = (sees.start - held.start) * line;
                    band.copy_within(from..from + kept * line, 0);
                }
                let new = sees.start + kept..sees.end;
                held = sees.clone();
                expand_rows(isa, problem, expand, x, new, &mut band[kept * line..]);
                (convolution.x_channel, convolution.x_row, convolution.x_column) = (1, line, channels);
                &*band
            }
        };
        let epilogue = epilogue.from(pixel, 0);
        let below = y.get_mut(pixel * problem.y_pixel..).unwrap_or_default();
        let Some(project) = &project else {
            isa.depthwise_conv2d_nhwc(&convolution, source, w, init, below, epilogue);
            continue;
        };
        convolution.y_pixel = channels;
        isa.depthwise_conv2d_nhwc(&convolution, source, w, init, result, epilogue);
        let product = Gemm {
            m: convolution.out_height * problem.out_width,
            n: project.channels,
            k: channels,
            c_row: problem.y_pixel,
        };
        pointwise(isa, &product, &*result, channels, project, below, pixel);
    }
}

/// Expands rows of the input into the band.
#[inline(always)]
fn expand_rows<S: Linear>(
    isa: S,
    problem: &Conv2dNhwc,
    expand: &Pointwise<'_>,
    x: &[f32],
    rows: core::ops::Range<usize>,
    band: &mut [f32],
) {
    let (width, channels) = (problem.in_width, problem.in_channels);
    let dense = problem.x_row == width * problem.x_column;
    let together = if dense { rows.len().max(1) } else { 1 };
    for (index, row) in rows.clone().step_by(together).enumerate() {
        let product = Gemm {
            m: together.min(rows.end - row) * width,
            n: channels,
            k: expand.channels,
            c_row: channels,
        };
        let a = x.get(row * problem.x_row..).unwrap_or_default();
        let c = &mut band[index * width * channels..];
        pointwise(isa, &product, a, problem.x_column, expand, c, row * width);
    }
}

/// A product whose first row is row `first` to the epilogue.
#[inline(always)]
fn pointwise<S: Linear>(
    isa: S,
    product: &Gemm,
    a: &[f32],
    pixel: usize,
    part: &Pointwise<'_>,
    c: &mut [f32],
    first: usize,
) {
    let lhs = Lhs::Strided {
        data: a,
        row: pixel,
        column: 1,
    };
    let &Gemm { m, n, k, c_row } = product;
    let c = MatrixMut::new(c, m, n, c_row);
    let (product, epilogue) = (GemmPart::of_any(k), part.epilogue.from(first, 0));
    isa.gemm_part(product, lhs, Rhs::Packed(part.w), part.init, c, &mut [], epilogue);
}
