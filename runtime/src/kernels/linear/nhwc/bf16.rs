//! Convolutions of channels-last images as products of numbers that are rounded to bf16.
//!
//! A few rows of the image are rounded at a time, with zeros around them, and read where they then lie for all taps and
//! all output channels: once for every number, and not once for every tap.

use super::Conv2dNhwc;
use super::parts::divide;
use super::pixels::{self, Pixels};
use crate::isa::Isa;
use crate::kernels::linear::bf16::{Pairs, Product, Products, Rows, VALUES};
use crate::kernels::linear::depth::Depth;
use crate::kernels::linear::{Epilogue, Init, Linear, MatrixMut, PANEL_COLUMNS, min, packed_rhs_bf16_len};
use crate::team::{Compute, Team};

/// Values of a block of one row of pixels, where that is more than [`VALUES`].
const ROW_VALUES: usize = 4 * VALUES;

/// Words of the packed weights of a channels-last convolution in bf16.
pub const fn conv2d_nhwc_bf16_packed_len(problem: &Conv2dNhwc) -> usize {
    packed_rhs_bf16_len(problem.taps() * channels(problem), problem.out_channels)
}

/// Values of scratch with which a channels-last convolution in bf16 is fastest.
pub const fn conv2d_nhwc_bf16_scratch(problem: &Conv2dNhwc) -> usize {
    let all = seen(problem, problem.out_height, problem.out_width);
    let row = seen(problem, 1, problem.out_width);
    let fitting = min(all, VALUES);
    let wide = min(row, ROW_VALUES);
    let least = conv2d_nhwc_bf16_scratch_min(problem);
    let most = if fitting > wide { fitting } else { wide };
    if most > least { most } else { least }
}

/// Values of scratch that a channels-last convolution in bf16 cannot do without. It is slower the less there is.
pub const fn conv2d_nhwc_bf16_scratch_min(problem: &Conv2dNhwc) -> usize {
    if problem.out_height == 0 || problem.out_width == 0 {
        0
    } else {
        seen(problem, 1, 1)
    }
}

/// Channels of a pixel in a block, with one of zeros where there is an odd number.
const fn channels(problem: &Conv2dNhwc) -> usize {
    problem.in_channels.next_multiple_of(2)
}

/// Values of a block of some rows and columns of the output.
const fn seen(problem: &Conv2dNhwc, rows: usize, columns: usize) -> usize {
    pixels::seen(problem, rows, columns).saturating_mul(channels(problem))
}

/// Rounds weights `[out_channels, in_channels, kernel height, kernel width]` of a convolution of one group to bf16 and
/// packs them as the right-hand side `[taps, in_channels, out_channels]`, in pairs of channels, as
/// [`pack_rhs_bf16`](crate::kernels::linear::pack_rhs_bf16) does.
///
/// # Panics
///
/// If `weights` is shorter than that, `packed` is shorter than [`conv2d_nhwc_bf16_packed_len`], or there are several
/// groups.
pub fn pack_conv2d_nhwc_bf16(problem: &Conv2dNhwc, weights: &[f32], packed: &mut [u32]) {
    let (taps, inputs, outputs) = (problem.taps(), problem.in_channels, problem.out_channels);
    assert!(problem.groups == 1, "convolution: there are several groups");
    assert!(
        weights.len() >= outputs * inputs * taps,
        "convolution: the weights are too short"
    );
    let len = conv2d_nhwc_bf16_packed_len(problem);
    assert!(packed.len() >= len, "convolution: the packed weights are too short");
    if len == 0 {
        return;
    }
    let pairs = channels(problem) / 2;
    let panels = packed[..len].chunks_exact_mut(taps * pairs * PANEL_COLUMNS);
    for (panel, first) in panels.zip((0..outputs).step_by(PANEL_COLUMNS)) {
        panel.fill(0);
        let filters = weights[first * inputs * taps..]
            .chunks_exact(inputs * taps)
            .take(PANEL_COLUMNS.min(outputs - first));
        for (lane, filter) in filters.enumerate() {
            for (channel, kernel) in filter.chunks_exact(taps).enumerate() {
                for (tap, &weight) in kernel.iter().enumerate() {
                    let word = &mut panel[(tap * pairs + channel / 2) * PANEL_COLUMNS + lane];
                    *word |= super::half(weight) << (channel % 2 * 16);
                }
            }
        }
    }
}

impl Rows for Pixels<'_, f32> {
    #[inline(always)]
    fn block(&self, first: usize, values: usize) -> usize {
        self.fitting(first, values)
    }

    #[inline(always)]
    fn depth(&self, rows: usize) -> Depth {
        self.runs(rows)
    }

    #[inline(always)]
    fn offset(&self, rows: usize, row: usize) -> usize {
        self.start(rows, row)
    }

    #[inline(always)]
    fn round<P: Pairs>(&self, first: usize, rows: usize, values: &mut [P::Value]) -> usize {
        self.copy(first, rows, values, P::value(0.0), P::value)
    }
}

#[inline(always)]
pub(in crate::kernels::linear) fn conv2d_nhwc_bf16<S: Linear>(
    isa: S,
    problem: &Conv2dNhwc,
    x: &[f32],
    w: &[u32],
    init: Init<'_>,
    y: &mut [f32],
    scratch: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    problem.check(x, init, y);
    let y = MatrixMut::new(y, problem.pixels(), problem.out_channels, problem.y_pixel);
    isa.conv2d_nhwc_bf16_part(problem, x, w, init, y, scratch, epilogue);
}

#[inline(always)]
pub(in crate::kernels::linear) fn conv2d_nhwc_bf16_part<S: Products>(
    isa: S,
    problem: &Conv2dNhwc,
    x: &[f32],
    w: &[u32],
    init: Init<'_>,
    y: MatrixMut<'_>,
    scratch: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    problem.check_operands(x, init);
    assert!(problem.groups == 1, "convolution: there are several groups");
    assert!(
        y.rows() == problem.pixels() && y.columns() == problem.out_channels,
        "convolution: the output has another size"
    );
    assert!(
        w.len() >= conv2d_nhwc_bf16_packed_len(problem),
        "convolution: the weights are too short"
    );
    assert!(
        scratch.len() >= conv2d_nhwc_bf16_scratch_min(problem),
        "convolution: the scratch is too short"
    );
    isa.product(Product {
        rows: Pixels {
            problem,
            x,
            width: channels(problem),
        },
        b: w,
        init,
        c: y,
        scratch,
        epilogue,
    });
}

/// Divides a convolution.
pub(in crate::kernels::linear) fn conv2d_nhwc_bf16_parts<S: Isa>(
    team: Team<'_, S>,
    problem: &Conv2dNhwc,
    x: &[f32],
    w: &[u32],
    init: Init<'_>,
    y: &mut [f32],
    scratch: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    let needed = conv2d_nhwc_bf16_scratch_min(problem);
    let pairs = problem.taps() * channels(problem);
    divide(team, problem, x, init, y, scratch, epilogue, needed, |part| {
        let w = w.get(packed_rhs_bf16_len(pairs, part.column)..);
        let (problem, w) = (part.problem, w.unwrap_or_default());
        let isa = team.isa();
        isa.conv2d_nhwc_bf16_part(&problem, part.x, w, part.init, part.y, part.scratch, part.epilogue);
    });
}
