//! Convolutions of one image whose result is stored channels last: a pixel's channels are neighbors in memory.

mod band;
mod bf16;
mod block;
mod conv;
mod depthwise;
mod int8;
mod parts;
mod pixels;
mod winograd;

use super::bf16::half;
use super::{Init, PANEL_COLUMNS, extent};

pub use bf16::{
    conv2d_nhwc_bf16_packed_len, conv2d_nhwc_bf16_scratch, conv2d_nhwc_bf16_scratch_min, pack_conv2d_nhwc_bf16,
};
pub use block::{
    Pointwise, depthwise_block_rows, depthwise_block_scratch, depthwise_block_scratch_bound,
    depthwise_block_scratch_min, depthwise_block_scratch_within,
};
pub use conv::{conv2d_nhwc_packed_len, conv2d_nhwc_scratch, conv2d_nhwc_scratch_min, pack_conv2d_nhwc};
pub use depthwise::{depthwise_conv2d_nhwc_packed_len, pack_depthwise_conv2d_nhwc};
pub use int8::{
    conv2d_nhwc_int8_packed_len, conv2d_nhwc_int8_scratch, conv2d_nhwc_int8_scratch_min, conv2d_nhwc_int8_time,
    depthwise_conv2d_nhwc_int8_packed_len, pack_conv2d_nhwc_int8, pack_depthwise_conv2d_nhwc_int8,
};
pub use winograd::{
    WinogradConv2dNhwc, WinogradTile, pack_winograd_conv2d_nhwc, winograd_applies, winograd_conv2d_nhwc_packed_len,
    winograd_conv2d_nhwc_scratch, winograd_conv2d_nhwc_scratch_min, winograd_conv2d_nhwc_scratch_within,
    winograd_conv2d_nhwc_time, winograd_is_faster,
};

pub(super) use bf16::{conv2d_nhwc_bf16, conv2d_nhwc_bf16_part, conv2d_nhwc_bf16_parts};
pub(super) use block::depthwise_block;
pub(super) use conv::{conv2d_nhwc, conv2d_nhwc_part};
pub(super) use depthwise::depthwise_conv2d_nhwc;
pub(super) use int8::{
    conv2d_nhwc_int8, conv2d_nhwc_int8_part, conv2d_nhwc_int8_parts, depthwise_conv2d_nhwc_int8,
    depthwise_conv2d_nhwc_int8_part, depthwise_conv2d_nhwc_int8_parts,
};
pub(super) use parts::{
    conv2d_nhwc_parts, depthwise_block_parts, depthwise_conv2d_nhwc_parts, winograd_conv2d_nhwc_parts,
};
pub(super) use winograd::winograd_conv2d_nhwc;

/// A convolution of one image whose result is stored channels last. A convolution in one dimension has height 1.
///
/// Pixel `(r, c)` of the output is row `r * out_width + c` of a matrix whose columns are the output channels; this is
/// what `row` and `column` mean to [`Init`] and [`Position`](super::Position).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2dNhwc {
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
    /// Zeros, or what else is in the padding, above and to the left of the input. How many follow from the sizes are below and to the right.
    pub pad: [usize; 2],
    /// Groups that the channels are divided into.
    pub groups: usize,
    /// Elements between channels of the input. An image of more than a few channels is best stored with 1.
    pub x_channel: usize,
    /// Elements between rows of the input.
    pub x_row: usize,
    /// Elements between columns of the input.
    pub x_column: usize,
    /// Elements between pixels of the output, whose channels are contiguous; at least `out_channels`.
    pub y_pixel: usize,
}

impl Conv2dNhwc {
    /// Taps of the kernel.
    const fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Pixels of the output.
    const fn pixels(&self) -> usize {
        self.out_height * self.out_width
    }

    /// Input channels of a group.
    const fn group_in(&self) -> usize {
        self.in_channels / self.groups
    }

    /// Output channels of a group.
    const fn group_out(&self) -> usize {
        self.out_channels / self.groups
    }

    /// Terms of the sum that an output is.
    const fn depth(&self) -> usize {
        self.group_in() * self.taps()
    }

    /// Coordinates of the padded input that `count` coordinates of an axis of the output see.
    const fn span(&self, axis: usize, count: usize) -> usize {
        let reach = self.kernel[axis].saturating_sub(1).saturating_mul(self.dilation[axis]);
        let last = count.saturating_sub(1).saturating_mul(self.stride[axis]);
        last.saturating_add(reach).saturating_add(1)
    }

    /// The problem that computes some rows of the output, and the rows of the input that it reads, which its input begins
    /// with.
    pub fn band(&self, rows: &core::ops::Range<usize>) -> (Conv2dNhwc, core::ops::Range<usize>) {
        let Rows { problem, sees } = self.rows(rows.start, rows.len());
        (problem, sees)
    }

    /// The part of the problem that computes `count` rows of the output from row `first` on.
    fn rows(&self, first: usize, count: usize) -> Rows {
        let start = first * self.stride[0];
        let end = start + self.span(0, count);
        let inside = |row: usize| row.saturating_sub(self.pad[0]).min(self.in_height);
        let sees = inside(start)..inside(end);
        let problem = Conv2dNhwc {
            in_height: sees.len(),
            out_height: count,
            pad: [self.pad[0].saturating_sub(start), self.pad[1]],
            ..*self
        };
        Rows { problem, sees }
    }

    fn check(&self, x: &[f32], init: Init<'_>, y: &[f32]) {
        self.check_operands(x, init);
        let y_len = extent([(self.pixels(), self.y_pixel), (self.out_channels, 1)]);
        assert!(y.len() >= y_len, "convolution: the output is too short");
    }

    fn check_operands(&self, x: &[f32], init: Init<'_>) {
        self.check_input(x.len());
        match init {
            Init::PerColumn(values) => {
                assert!(values.len() >= self.out_channels, "convolution: the bias is too short");
            }
            Init::PerRow(values) => {
                assert!(
                    values.len() >= self.pixels(),
                    "convolution: the initial plane is too short"
                );
            }
            Init::Zero | Init::Accumulate => {}
        }
    }

    fn check_input(&self, len: usize) {
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
        assert!(len >= x_len, "convolution: the input is too short");
    }

    /// Whether the counts of taps, terms and pixels and all positions in the padded image are representable, with room
    /// for sums of a few of them.
    fn is_representable(&self) -> bool {
        let taps = self.kernel[0].checked_mul(self.kernel[1]);
        let depth = taps.and_then(|taps| taps.checked_mul(self.in_channels));
        let weights = depth.and_then(|depth| depth.checked_mul(self.out_channels.next_multiple_of(PANEL_COLUMNS)));
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
}

/// Some rows of the output of a convolution.
struct Rows {
    /// The problem that computes them from the rows that it sees.
    problem: Conv2dNhwc,
    /// The rows of the input that it sees.
    sees: core::ops::Range<usize>,
}
