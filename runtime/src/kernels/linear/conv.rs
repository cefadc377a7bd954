//! Convolution as a matrix product whose right-hand side, the patches of the input, exists only one block at a time.

use super::block::Blocks;
use super::gemm::{Gemm, Source, Strided, block_scratch, block_scratch_min, multiply};
use super::pack::{PANEL_ROWS, pack_lhs, packed_lhs_len};
use super::patches::Patches;
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
        assert!(self.is_representable(), "convolution: the sizes overflow");
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

    /// Whether the counts of taps, terms and pixels and all positions in the padded image are representable, with room
    /// for sums of a few of them.
    fn is_representable(&self) -> bool {
        let taps = self.kernel[0].checked_mul(self.kernel[1]);
        let depth = taps.and_then(|taps| taps.checked_mul(self.in_channels));
        let weights = depth.and_then(|depth| depth.checked_mul(self.out_channels.next_multiple_of(PANEL_ROWS)));
        let pixels = self.out_height.checked_mul(self.out_width);
        let (ins, outs) = ([self.in_height, self.in_width], [self.out_height, self.out_width]);
        let positions_fit = (0..2).all(|axis| {
            let last = outs[axis].saturating_mul(self.stride[axis]);
            let taps = self.kernel[axis].saturating_mul(self.dilation[axis]);
            let end = last
                .saturating_add(taps)
                .saturating_add(self.pad[axis])
                .saturating_add(ins[axis]);
            end <= usize::MAX / 4
        });
        weights.is_some() && pixels.is_some_and(|pixels| pixels <= usize::MAX / 4) && positions_fit
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

/// Values of scratch that a convolution is fastest with.
pub const fn conv2d_scratch(problem: &Conv2d) -> usize {
    block_scratch(problem.pixels(), problem.depth())
}

/// Values of scratch that a convolution cannot do without. It is slower the less there is.
pub const fn conv2d_scratch_min(problem: &Conv2d) -> usize {
    block_scratch_min(problem.pixels(), problem.depth())
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
            let source = Source::OnTheFly(Patches::new(isa, problem, x));
            multiply(isa, &product, a, source, init, y, scratch, epilogue, first);
        }
    }
}
