//! Kernels that spend their time in multiply and add: matrix multiplication, convolution, attention and recurrent
//! layers.
//!
//! All of them but the depthwise convolutions are built on one blocked matrix multiplication after Goto and van de
//! Geijn, *Anatomy of High-Performance Matrix Multiplication* (ACM TOMS 34, 2008), with the register tile of Van Zee
//! and van de Geijn, *BLIS* (ACM TOMS 41, 2015). One packed layout serves every instruction set:
//!
//! - a right-hand side `[k, n]` is `[ceil(n / 16)][k][16]`, see [`pack_rhs`];
//! - a left-hand side `[m, k]` is `[ceil(m / 6)][k][6]`, see [`pack_lhs`], or is read where it lies.
//!
//! Images are stored by channels or channels last. The kernels of `nhwc` write the latter and give the same register tile
//! the addresses of input pixels instead of rows of a matrix, so that nothing is copied.
//!
//! Every kernel checks the lengths of its slices before it starts and panics, naming what is too short.
#![allow(clippy::too_many_arguments, reason = "a kernel takes its operands one by one")]

mod ahead;
mod attention;
mod bf16;
mod block;
mod blocks;
mod conv_transpose;
mod depth;
mod epilogue;
mod gemm;
mod int8;
mod matrix;
mod nhwc;
mod operands;
mod pack;
mod recurrent;
mod share;
mod store;
mod strip;
#[cfg(test)]
mod tests;
mod tile;

pub use attention::{Attention, Mask, attention_scratch};
pub use bf16::{gemm_bf16_scratch, gemm_bf16_scratch_min, pack_rhs_bf16, packed_rhs_bf16_len};
pub use blocks::{
    BlockFormat, RhsBlocks, gemm_blocks_int8_scratch, gemm_blocks_int8_scratch_min, gemm_blocks_scratch,
    gemm_blocks_scratch_min, pack_rhs_blocks, packed_rhs_blocks_len,
};
pub use conv_transpose::{
    ConvTranspose2d, conv_transpose2d_packed_len, conv_transpose2d_scratch, conv_transpose2d_scratch_bound,
    pack_conv_transpose2d,
};
pub use epilogue::{Epilogue, Position};
#[doc(hidden)]
pub use gemm::GemmPart;
pub use gemm::{Gemm, gemm_scratch, gemm_scratch_min, gemm_scratch_within};
pub use int8::{
    Convert, Each, LhsInt8, PerColumn, PerElement, PerRow, Sink, SumOperand, SumOperands, Update, pack_rhs_int8,
    packed_rhs_int8_len,
};
#[doc(hidden)]
pub use int8::{SinkPart, Sums};
#[doc(hidden)]
pub use matrix::MatrixMut;
pub use nhwc::{
    Conv2dNhwc, Pointwise, WinogradConv2dNhwc, WinogradTile, conv2d_nhwc_bf16_packed_len, conv2d_nhwc_bf16_scratch,
    conv2d_nhwc_bf16_scratch_min, conv2d_nhwc_int8_packed_len, conv2d_nhwc_int8_scratch, conv2d_nhwc_int8_scratch_min,
    conv2d_nhwc_int8_time, conv2d_nhwc_packed_len, conv2d_nhwc_scratch, conv2d_nhwc_scratch_min, depthwise_block_rows,
    depthwise_block_scratch, depthwise_block_scratch_bound, depthwise_block_scratch_min,
    depthwise_block_scratch_within, depthwise_conv2d_nhwc_int8_packed_len, depthwise_conv2d_nhwc_packed_len,
    pack_conv2d_nhwc, pack_conv2d_nhwc_bf16, pack_conv2d_nhwc_int8, pack_depthwise_conv2d_nhwc,
    pack_depthwise_conv2d_nhwc_int8, pack_winograd_conv2d_nhwc, winograd_applies, winograd_conv2d_nhwc_packed_len,
    winograd_conv2d_nhwc_scratch, winograd_conv2d_nhwc_scratch_min, winograd_conv2d_nhwc_scratch_within,
    winograd_conv2d_nhwc_time, winograd_is_faster,
};
pub use pack::{PANEL_COLUMNS, PANEL_ROWS, pack_lhs, pack_rhs, packed_lhs_len, packed_rhs_len};
pub use recurrent::{Gru, Lstm, gru_scratch, gru_scratch_bound, lstm_scratch, lstm_scratch_bound};
pub use strip::{StripElement, strip};

/// The left matrix `[m, k]` of a product.
#[derive(Clone, Copy, Debug)]
pub enum Lhs<'a> {
    /// Element `(i, p)` is `data[i * row + p * column]`.
    Strided {
        /// The elements.
        data: &'a [f32],
        /// Elements between rows.
        row: usize,
        /// Elements between columns.
        column: usize,
    },
    /// The layout of [`pack_lhs`].
    Packed(&'a [f32]),
}

/// The right matrix `[k, n]` of a product.
#[derive(Clone, Copy, Debug)]
pub enum Rhs<'a> {
    /// The layout of [`pack_rhs`].
    Packed(&'a [f32]),
    /// Element `(p, j)` is `data[p * row + j * column]`.
    Strided {
        /// The elements.
        data: &'a [f32],
        /// Elements between rows.
        row: usize,
        /// Elements between columns.
        column: usize,
    },
}

/// What a product is added to.
#[derive(Clone, Copy, Debug)]
pub enum Init<'a> {
    /// Nothing.
    Zero,
    /// A value per column, `n` of them.
    PerColumn(&'a [f32]),
    /// A value per row, `m` of them.
    PerRow(&'a [f32]),
    /// What the output holds.
    Accumulate,
}

crate::isa::kernel_table! {
    /// Matrix multiplication, convolution, attention and recurrent layers.
    pub trait Linear {
        /// `c = epilogue(init + a b)`; `scratch` holds [`gemm_scratch`] values, or any
        /// number down to [`gemm_scratch_min`].
        ///
        /// # Panics
        ///
        /// If a slice is shorter than the problem needs.
        fn gemm(
            problem: &Gemm, a: Lhs<'_>, b: Rhs<'_>, init: Init<'_>, c: &mut [f32], scratch: &mut [f32],
            epilogue: Epilogue<'_>,
        ) = gemm::gemm, divided by gemm::gemm_parts;

        #[doc(hidden)]
        fn gemm_part(
            part: GemmPart, a: Lhs<'_>, b: Rhs<'_>, init: Init<'_>, c: MatrixMut<'_>, scratch: &mut [f32],
            epilogue: Epilogue<'_>,
        ) = gemm::gemm_part;

        /// [`gemm`](Linear::gemm) of matrices that are rounded to bf16, with sums in `f32`. `b` is the output of
        /// [`pack_rhs_bf16`]; `scratch` holds [`gemm_bf16_scratch`] values, or any number down to
        /// [`gemm_bf16_scratch_min`].
        ///
        /// # Panics
        ///
        /// If a slice is shorter than the problem needs.
        fn gemm_bf16(
            problem: &Gemm, a: Lhs<'_>, b: &[u32], init: Init<'_>, c: &mut [f32], scratch: &mut [f32],
            epilogue: Epilogue<'_>,
        ) = bf16::gemm_bf16, divided by bf16::gemm_bf16_parts;

        #[doc(hidden)]
        fn gemm_bf16_part(
            k: usize, a: Lhs<'_>, b: &[u32], init: Init<'_>, c: MatrixMut<'_>, scratch: &mut [f32],
            epilogue: Epilogue<'_>,
        ) = bf16::gemm_bf16_part;

        /// [`gemm`](Linear::gemm) with weights in numbers of 4 or 8 bits with scales of blocks, as [`pack_rhs_blocks`] packs
        /// them; `scratch` holds [`gemm_blocks_scratch`] values, or any number down to [`gemm_blocks_scratch_min`].
        ///
        /// # Panics
        ///
        /// If a slice is shorter than the problem needs, or there is no such format.
        fn gemm_blocks(
            problem: &Gemm, a: Lhs<'_>, b: RhsBlocks<'_>, init: Init<'_>, c: &mut [f32], scratch: &mut [f32],
            epilogue: Epilogue<'_>,
        ) = blocks::gemm_blocks, divided by blocks::gemm_blocks_parts;

        #[doc(hidden)]
        fn gemm_blocks_part(
            part: GemmPart, a: Lhs<'_>, b: RhsBlocks<'_>, init: Init<'_>, c: MatrixMut<'_>, scratch: &mut [f32],
            epilogue: Epilogue<'_>,
        ) = blocks::gemm_blocks_part;

        /// [`gemm_blocks`](Linear::gemm_blocks) of a left matrix that is rounded to 8 bits: of every row, up to 64 numbers that
        /// meet weights of one block have a scale in common, which a 127th of the greatest magnitude is. Results are the same on
        /// every instruction set. A row with numbers that are not finite has results that are not numbers.
        /// `scratch` holds [`gemm_blocks_int8_scratch`] values, or any number down to [`gemm_blocks_int8_scratch_min`].
        ///
        /// # Panics
        ///
        /// If a slice is shorter than the problem needs, or there is no such format.
        fn gemm_blocks_int8(
            problem: &Gemm, a: Lhs<'_>, b: RhsBlocks<'_>, init: Init<'_>, c: &mut [f32], scratch: &mut [f32],
            epilogue: Epilogue<'_>,
        ) = blocks::gemm_blocks_int8, divided by blocks::gemm_blocks_int8_parts;

        #[doc(hidden)]
        fn gemm_blocks_int8_part(
            k: usize, a: Lhs<'_>, b: RhsBlocks<'_>, init: Init<'_>, c: MatrixMut<'_>, scratch: &mut [f32],
            epilogue: Epilogue<'_>,
        ) = blocks::gemm_blocks_int8_part;

        /// `c = a b` of unsigned with signed numbers of 8 bits, summed modulo 2^32. `b` is the output of
        /// [`pack_rhs_int8`].
        ///
        /// # Panics
        ///
        /// If a slice is shorter than the problem needs.
        fn gemm_int8(problem: &Gemm, a: LhsInt8<'_>, b: &[u32], c: Sink<'_>)
            = int8::gemm_int8, divided by int8::gemm_int8_parts;

        /// As many rounds of sums of products of 8-bit numbers as there are to be, in registers; returns the number of
        /// products. It measures what a machine can do.
        #[doc(hidden)]
        fn burst_int8(rounds: usize) -> usize = int8::burst_int8;

        #[doc(hidden)]
        fn gemm_int8_part(k: usize, a: LhsInt8<'_>, b: &[u32], c: SinkPart<'_>) = int8::gemm_int8_part;

        /// The convolution of one group of an image of unsigned numbers, around which are numbers `pad_value`, with signed
        /// weights, of 8 bits each, summed modulo 2^32. `w` is the output of [`pack_conv2d_nhwc_int8`]; `scratch` holds
        /// [`conv2d_nhwc_int8_scratch`] values, or any number down to [`conv2d_nhwc_int8_scratch_min`].
        ///
        /// # Panics
        ///
        /// If a slice is shorter than the problem needs, or there are several groups.
        fn conv2d_nhwc_int8(
            problem: &Conv2dNhwc, x: &[u8], pad_value: u8, w: &[u32], y: Sink<'_>, scratch: &mut [f32],
        ) = nhwc::conv2d_nhwc_int8, divided by nhwc::conv2d_nhwc_int8_parts;

        #[doc(hidden)]
        fn conv2d_nhwc_int8_part(
            problem: &Conv2dNhwc, x: &[u8], pad_value: u8, w: &[u32], y: SinkPart<'_>, scratch: &mut [f32],
        ) = nhwc::conv2d_nhwc_int8_part;

        /// [`conv2d_nhwc_int8`](Linear::conv2d_nhwc_int8) of as many groups as input and output channels, which are
        /// contiguous in the input. `w` is the output of [`pack_depthwise_conv2d_nhwc_int8`].
        ///
        /// # Panics
        ///
        /// If a slice is shorter than the problem needs, if there are not as many groups as channels on either side,
        /// if the channels of the input are not contiguous, or if the kernel is empty.
        fn depthwise_conv2d_nhwc_int8(problem: &Conv2dNhwc, x: &[u8], pad_value: u8, w: &[u32], y: Sink<'_>)
            = nhwc::depthwise_conv2d_nhwc_int8, divided by nhwc::depthwise_conv2d_nhwc_int8_parts;

        #[doc(hidden)]
        fn depthwise_conv2d_nhwc_int8_part(
            problem: &Conv2dNhwc, x: &[u8], pad_value: u8, w: &[u32], y: SinkPart<'_>,
        ) = nhwc::depthwise_conv2d_nhwc_int8_part;

        /// [`conv2d_nhwc`](Linear::conv2d_nhwc) of one group with an image and weights that are rounded to bf16, with
        /// sums in `f32`. `w` is the output of [`pack_conv2d_nhwc_bf16`]; `scratch` holds [`conv2d_nhwc_bf16_scratch`]
        /// values, or any number down to [`conv2d_nhwc_bf16_scratch_min`].
        ///
        /// # Panics
        ///
        /// If a slice is shorter than the problem needs, or there are several groups.
        fn conv2d_nhwc_bf16(
            problem: &Conv2dNhwc, x: &[f32], w: &[u32], init: Init<'_>, y: &mut [f32], scratch: &mut [f32],
            epilogue: Epilogue<'_>,
        ) = nhwc::conv2d_nhwc_bf16, divided by nhwc::conv2d_nhwc_bf16_parts;

        #[doc(hidden)]
        fn conv2d_nhwc_bf16_part(
            problem: &Conv2dNhwc, x: &[f32], w: &[u32], init: Init<'_>, y: MatrixMut<'_>,
            scratch: &mut [f32], epilogue: Epilogue<'_>,
        ) = nhwc::conv2d_nhwc_bf16_part;

        /// `y = epilogue(init + convolution of x with w)` for one image, whose result is stored channels last; `w` is
        /// the output of [`pack_conv2d_nhwc`] and `scratch` holds [`conv2d_nhwc_scratch`] values, or any number down to
        /// [`conv2d_nhwc_scratch_min`]. A row of `init` and of `epilogue` is a pixel, a column is an output channel.
        ///
        /// # Panics
        ///
        /// If a slice is shorter than the problem needs, or a count of channels is not a multiple of the groups.
        fn conv2d_nhwc(
            problem: &Conv2dNhwc, x: &[f32], w: &[f32], init: Init<'_>, y: &mut [f32], scratch: &mut [f32],
            epilogue: Epilogue<'_>,
        ) = nhwc::conv2d_nhwc, divided by nhwc::conv2d_nhwc_parts;

        #[doc(hidden)]
        fn conv2d_nhwc_part(
            problem: &Conv2dNhwc, x: &[f32], w: &[f32], init: Init<'_>, y: MatrixMut<'_>, scratch: &mut [f32],
            epilogue: Epilogue<'_>,
        ) = nhwc::conv2d_nhwc_part;

        /// [`conv2d_nhwc`](Linear::conv2d_nhwc) of as many groups as input and output channels, which are contiguous
        /// in the input; `w` is the output of [`pack_depthwise_conv2d_nhwc`].
        ///
        /// # Panics
        ///
        /// If a slice is shorter than the problem needs, if there are not as many groups as channels on either side,
        /// or if the channels of the input are not contiguous.
        fn depthwise_conv2d_nhwc(
            problem: &Conv2dNhwc, x: &[f32], w: &[f32], init: Init<'_>, y: &mut [f32], epilogue: Epilogue<'_>,
        ) = nhwc::depthwise_conv2d_nhwc, divided by nhwc::depthwise_conv2d_nhwc_parts;

        /// A depthwise convolution `problem` with `w`, `init` and `epilogue`, whose input is what `expand` makes of
        /// `x`, and whose result goes through `project` into `y`, where these are given. The strides of `problem` are
        /// those of `x` and `y`; `scratch` holds [`depthwise_block_scratch`] values, or any number down to
        /// [`depthwise_block_scratch_min`].
        ///
        /// # Panics
        ///
        /// If a slice is shorter than the problem needs, if something else than a bias per channel is added, or as
        /// [`depthwise_conv2d_nhwc`](Linear::depthwise_conv2d_nhwc).
        fn depthwise_block(
            problem: &Conv2dNhwc, x: &[f32], expand: Option<Pointwise<'_>>, w: &[f32], init: Init<'_>,
            epilogue: Epilogue<'_>, project: Option<Pointwise<'_>>, y: &mut [f32], scratch: &mut [f32],
        ) = nhwc::depthwise_block, divided by nhwc::depthwise_block_parts;

        /// [`conv2d_nhwc`](Linear::conv2d_nhwc) with a kernel of 3 by 3, in tiles; `w` is the output of
        /// [`pack_winograd_conv2d_nhwc`] and `scratch` holds [`winograd_conv2d_nhwc_scratch`] values, or any number down
        /// to [`winograd_conv2d_nhwc_scratch_min`].
        ///
        /// # Panics
        ///
        /// If a slice is shorter than the problem needs, or the kernel is not 3 by 3 with stride 1, dilation 1 and one
        /// group.
        fn winograd_conv2d_nhwc(
            problem: &WinogradConv2dNhwc, x: &[f32], w: &[f32], init: Init<'_>, y: &mut [f32], scratch: &mut [f32],
            epilogue: Epilogue<'_>,
        ) = nhwc::winograd_conv2d_nhwc, divided by nhwc::winograd_conv2d_nhwc_parts;

        /// `y = epilogue(init + transposed convolution of x with w)` for one image; `w` is the output of
        /// [`pack_conv_transpose2d`] and `scratch` holds at least [`conv_transpose2d_scratch`] values.
        ///
        /// # Panics
        ///
        /// If a slice is shorter than the problem needs, or a count of channels is not a multiple of the groups.
        fn conv_transpose2d(
            problem: &ConvTranspose2d, x: &[f32], w: &[f32], init: Init<'_>, y: &mut [f32], scratch: &mut [f32],
            epilogue: Epilogue<'_>,
        ) = conv_transpose::conv_transpose2d;

        /// `out = softmax(scale * q k^T + mask) v` for every head; `scratch` holds at least
        /// [`attention_scratch`] values.
        ///
        /// # Panics
        ///
        /// If a slice is shorter than the problem needs.
        fn attention(
            problem: &Attention, q: &[f32], k: &[f32], v: &[f32], mask: Option<Mask<'_>>, out: &mut [f32],
            scratch: &mut [f32],
        ) = attention::attention, divided by attention::attention_parts;

        #[doc(hidden)]
        fn attention_columns(
            problem: &Attention, q: &[f32], k: &[f32], v: &[f32], mask: Option<Mask<'_>>, out: MatrixMut<'_>,
            scratch: &mut [f32],
        ) = attention::attention_columns;

        /// A long short-term memory layer in one direction, see [`Lstm`].
        ///
        /// # Panics
        ///
        /// If a slice is shorter than the problem needs.
        fn lstm(
            problem: &Lstm, x: &[f32], w: &[f32], r: &[f32], bias: Option<&[f32]>, peephole: Option<&[f32]>,
            h: &mut [f32], c: &mut [f32], y: Option<&mut [f32]>, scratch: &mut [f32],
        ) = recurrent::lstm;

        /// A gated recurrent unit layer in one direction, see [`Gru`].
        ///
        /// # Panics
        ///
        /// If a slice is shorter than the problem needs.
        fn gru(
            problem: &Gru, x: &[f32], w: &[f32], r: &[f32], bias: Option<&[f32]>, h: &mut [f32],
            y: Option<&mut [f32]>, scratch: &mut [f32],
        ) = recurrent::gru;
    }
}

/// Length of the shortest slice that holds every element of an array with these `(count, stride)` dimensions.
///
/// Saturates, so that a length that does not fit in `usize` is longer than any slice.
#[inline(always)]
pub(super) const fn extent<const N: usize>(dimensions: [(usize, usize); N]) -> usize {
    let mut last: usize = 0;
    let mut index = 0;
    while index < N {
        let (count, stride) = dimensions[index];
        if count == 0 {
            return 0;
        }
        last = last.saturating_add((count - 1).saturating_mul(stride));
        index += 1;
    }
    last.saturating_add(1)
}

/// `min`, which `Ord` does not offer to constants.
const fn min(a: usize, b: usize) -> usize {
    if a < b { a } else { b }
}
