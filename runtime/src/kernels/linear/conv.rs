//! Convolution as a matrix product whose right-hand side, the patches of the input, exists only one block at a time.

use super::block::Blocks;
use super::gemm::{Gemm, Pack, Source, Strided, block_scratch, multiply};
use super::pack::{PANEL_COLUMNS, pack_lhs, packed_lhs_len};
use super::{Epilogue, Init, Lhs, extent};
use crate::kernels::simd::Simd;

/// A convolution of one image. A convolution in one dimension has height 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2d {
    /// Channels of the input.
    pub in_channels: usize,
    /// Rows of the input.
    pub in_height: usize,
    /// Columns of the input.
    pub in_width: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Rows of the output.
    pub out_height: usize,
    /// Columns of the output.
    pub out_width: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Rows and columns of the input per row and column of the output.
    pub stride: [usize; 2],
    /// Rows and columns of the input between taps of the kernel.
    pub dilation: [usize; 2],
    /// Zeros above and to the left of the input. How many follow from the sizes are below and to the right.
    pub pad: [usize; 2],
    /// Groups that the channels are divided into.
    pub groups: usize,
    /// Elements between channels of the input.
    pub x_channel: usize,
    /// Elements between rows of the input.
    pub x_row: usize,
    /// Elements between columns of the input.
    pub x_column: usize,
    /// Elements between channels of the output, whose rows are dense.
    pub y_channel: usize,
}

impl Conv2d {
    /// Taps of the kernel.
    pub(super) const fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Pixels of the output.
    pub(super) const fn pixels(&self) -> usize {
        self.out_height * self.out_width
    }

    /// Terms of the sum that an output is.
    const fn depth(&self) -> usize {
        self.in_channels / self.groups * self.taps()
    }

    pub(super) fn check(&self, x: &[f32], init: Init<'_>, y: &[f32]) {
        let channels_divide = self.groups > 0
            && self.in_channels.is_multiple_of(self.groups)
            && self.out_channels.is_multiple_of(self.groups);
        assert!(
            channels_divide,
            "convolution: the channels are not a multiple of the groups"
        );
        assert!(
            self.stride[0] > 0 && self.stride[1] > 0,
            "convolution: the stride is zero"
        );
        let x_len = extent([
            (self.in_channels, self.x_channel),
            (self.in_height, self.x_row),
            (self.in_width, self.x_column),
        ]);
        assert!(x.len() >= x_len, "convolution: the input is too short");
        let y_len = extent([(self.out_channels, self.y_channel), (self.pixels(), 1)]);
        assert!(y.len() >= y_len, "convolution: the output is too short");
        match init {
            Init::PerColumn(values) => {
                assert!(
                    values.len() >= self.pixels(),
                    "convolution: the initial plane is too short"
                );
            }
            Init::PerRow(values) => {
                assert!(values.len() >= self.out_channels, "convolution: the bias is too short");
            }
            Init::Zero | Init::Accumulate => {}
        }
    }

    /// Whether the patches of an image are the image: its channels are the rows of the right-hand side.
    const fn is_pointwise(&self) -> bool {
        self.taps() == 1
            && self.stride[0] == 1
            && self.stride[1] == 1
            && self.pad[0] == 0
            && self.pad[1] == 0
            && self.out_height == self.in_height
            && self.out_width == self.in_width
            && (self.out_height == 1 || self.x_row == self.in_width * self.x_column)
    }
}

/// Length of the packed weights of a convolution.
pub const fn conv2d_packed_len(problem: &Conv2d) -> usize {
    problem.groups * packed_lhs_len(problem.out_channels / problem.groups, problem.depth())
}

/// Values of scratch that a convolution needs.
pub const fn conv2d_scratch(problem: &Conv2d) -> usize {
    block_scratch(problem.pixels(), problem.depth())
}

/// Packs weights `[out_channels, in_channels / groups, kernel height, kernel width]`, each group by
/// [`pack_lhs`](super::pack_lhs).
///
/// # Panics
///
/// If `weights` is shorter than that or `packed` is shorter than [`conv2d_packed_len`].
pub fn pack_conv2d(problem: &Conv2d, weights: &[f32], packed: &mut [f32]) {
    let rows = problem.out_channels / problem.groups;
    let depth = problem.depth();
    let len = packed_lhs_len(rows, depth);
    assert!(
        packed.len() >= len * problem.groups,
        "convolution: the packed weights are too short"
    );
    for group in 0..problem.groups {
        let source = &weights[group * rows * depth..][..rows * depth];
        pack_lhs(rows, depth, source, depth, 1, &mut packed[group * len..][..len]);
    }
}

/// Few output channels do not pay for packing an image that can be read in place.
const IN_PLACE_CHANNELS: usize = 48;

#[inline(always)]
pub(super) fn conv2d<S: Simd + Blocks>(
    isa: S,
    problem: &Conv2d,
    x: &[f32],
    w: &[f32],
    init: Init<'_>,
    y: &mut [f32],
    scratch: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    problem.check(x, init, y);
    assert!(
        w.len() >= conv2d_packed_len(problem),
        "convolution: the weights are too short"
    );
    let group_in = problem.in_channels / problem.groups;
    let group_out = problem.out_channels / problem.groups;
    let depth = problem.depth();
    let product = Gemm {
        m: group_out,
        n: problem.pixels(),
        k: depth,
        c_row: problem.y_channel,
    };
    for group in 0..problem.groups {
        let x = x.get(group * group_in * problem.x_channel..).unwrap_or_default();
        let y = y.get_mut(group * group_out * problem.y_channel..).unwrap_or_default();
        let len = packed_lhs_len(group_out, depth);
        let a = Lhs::Packed(&w[group * len..][..len]);
        let first = group * group_out;
        let init = match init {
            Init::PerRow(values) => Init::PerRow(&values[first..]),
            other => other,
        };
        if problem.is_pointwise() {
            let strided = Strided {
                data: x,
                row: problem.x_channel,
                column: problem.x_column,
            };
            let source = if problem.x_column == 1 && group_out <= IN_PLACE_CHANNELS {
                Source::InPlace(x, problem.x_channel, strided)
            } else {
                Source::OnTheFly(strided)
            };
            multiply(isa, &product, a, source, init, y, scratch, epilogue, first);
        } else {
            let source = Source::OnTheFly(Patches { problem, x });
            multiply(isa, &product, a, source, init, y, scratch, epilogue, first);
        }
    }
}

/// The patches of a group of channels as a matrix: row `channel * taps + tap`, column `oy * out_width + ox`.
struct Patches<'a> {
    problem: &'a Conv2d,
    x: &'a [f32],
}

impl Pack for Patches<'_> {
    #[inline(always)]
    fn pack(&self, p: usize, depth: usize, j: usize, columns: usize, packed: &mut [f32]) {
        let width = self.problem.out_width;
        if depth == 0 {
            return;
        }
        for (index, panel) in packed.chunks_exact_mut(depth * PANEL_COLUMNS).enumerate() {
            let first = index * PANEL_COLUMNS;
            let count = PANEL_COLUMNS.min(columns - first);
            if count < PANEL_COLUMNS {
                panel.fill(0.0);
            }
            // A panel is cut into runs of pixels of one row.
            let mut lane = 0;
            while lane < count {
                let (oy, ox) = ((j + first + lane) / width, (j + first + lane) % width);
                let run = (count - lane).min(width - ox);
                self.pack_run(p, depth, Run { oy, ox, len: run, lane }, panel);
                lane += run;
            }
        }
    }
}

/// Neighboring pixels of an output row and the lane of a panel where they begin.
#[derive(Clone, Copy)]
struct Run {
    oy: usize,
    ox: usize,
    len: usize,
    lane: usize,
}

impl Patches<'_> {
    /// Packs rows `p..p + depth` of one run into a panel.
    ///
    /// What is valid depends on the tap alone, so the channels are the inner loop.
    #[inline(always)]
    fn pack_run(&self, p: usize, depth: usize, run: Run, panel: &mut [f32]) {
        let problem = self.problem;
        let taps = problem.taps();
        let [stride_y, stride_x] = problem.stride;
        for tap in 0..taps {
            // Rows `channel * taps + tap` within `p..p + depth`.
            let channels = (p + taps - 1 - tap) / taps..(p + depth + taps - 1 - tap) / taps;
            if channels.is_empty() {
                continue;
            }
            let (ky, kx) = (tap / problem.kernel[1], tap % problem.kernel[1]);
            let y = (run.oy * stride_y + ky * problem.dilation[0]).wrapping_sub(problem.pad[0]);
            // The pixels of the run whose column `ox * stride + offset - pad` lies in the image.
            let offset = run.ox * stride_x + kx * problem.dilation[1];
            let (pad, in_width) = (problem.pad[1], problem.in_width);
            let (mut begin, mut end) = (pad.saturating_sub(offset).div_ceil(stride_x), run.len);
            if offset + (run.len - 1) * stride_x >= in_width + pad {
                end = (in_width + pad).saturating_sub(offset).div_ceil(stride_x);
            }
            if y >= problem.in_height || begin >= end {
                (begin, end) = (0, 0);
            }
            let first_x = (offset + begin * stride_x).wrapping_sub(pad);
            let from = if begin < end {
                y * problem.x_row + first_x * problem.x_column
            } else {
                0
            };
            let step = stride_x * problem.x_column;
            let first_row = channels.start * taps + tap - p;
            let source = self
                .x
                .get(channels.start * problem.x_channel + from..)
                .unwrap_or_default();
            let copy = Copy {
                count: channels.len(),
                source,
                source_step: problem.x_channel,
                target: &mut panel[first_row * PANEL_COLUMNS + run.lane..],
                target_step: taps * PANEL_COLUMNS,
            };
            if begin == 0 && end == PANEL_COLUMNS {
                copy.full(step);
            } else {
                copy.partial(step, begin, end, run.len);
            }
        }
    }
}

/// Copies of the same run out of several channels into several rows of a panel.
struct Copy<'a> {
    count: usize,
    source: &'a [f32],
    source_step: usize,
    target: &'a mut [f32],
    target_step: usize,
}

impl Copy<'_> {
    /// Copies whole rows of a panel from elements `step` apart.
    #[inline(always)]
    fn full(self, step: usize) {
        for index in 0..self.count {
            let source = &self.source[index * self.source_step..];
            let target = &mut self.target[index * self.target_step..][..PANEL_COLUMNS];
            match step {
                1 => target.copy_from_slice(&source[..PANEL_COLUMNS]),
                2 => {
                    let source = &source[..2 * PANEL_COLUMNS - 1];
                    for (lane, target) in target.iter_mut().enumerate() {
                        *target = source[2 * lane];
                    }
                }
                _ => {
                    let source = &source[..(PANEL_COLUMNS - 1) * step + 1];
                    for (lane, target) in target.iter_mut().enumerate() {
                        *target = source[lane * step];
                    }
                }
            }
        }
    }

    /// Copies lanes `begin..end` from elements `step` apart and zeros the others up to `len`.
    #[inline(always)]
    fn partial(self, step: usize, begin: usize, end: usize, len: usize) {
        for index in 0..self.count {
            let target = &mut self.target[index * self.target_step..][..len];
            if begin < end {
                let source = &self.source[index * self.source_step..];
                if step == 1 {
                    for (target, &value) in target[begin..end].iter_mut().zip(&source[..end - begin]) {
                        *target = value;
                    }
                } else {
                    for (lane, target) in target[begin..end].iter_mut().enumerate() {
                        *target = source[lane * step];
                    }
                }
            }
            for target in &mut target[..begin] {
                *target = 0.0;
            }
            for target in &mut target[end.max(begin)..] {
                *target = 0.0;
            }
        }
    }
}
