//! The kernels that steps call, with their sizes and strides.

use crate::ir::op::{FoldKind, NearestRounding, PadMode, PoolKind, ReduceKind, ResizeCoordinates, ScatterKind};
use crate::ir::{Argument, Bounds, DType, Dim, Expr, TensorType};
use onnxide_runtime::linear::{self, WinogradTile};

pub use super::epilogue::{EpilogueMap, EpilogueOperand};
pub use super::streamed::Streamed;

/// A kernel of the runtime with every size and stride; strides are in elements.
#[derive(Clone, Debug, PartialEq)]
pub enum Kernel {
    /// An expression for every element.
    Map(Map),
    /// An expression for every element, combined over a domain or not.
    Fold(Fold),
    /// Updates at computed places. Reads `data`, `places`, `updates`.
    Scatter {
        /// How an update is combined with what is there.
        kind: ScatterKind,
        /// The number of elements.
        elements: Dim,
        /// The number of updates.
        updates: Dim,
    },
    /// The order of elements of rows.
    Sort {
        /// Whether the largest comes first.
        descending: bool,
        /// The number of rows.
        rows: Dim,
        /// The size of a row.
        size: Dim,
    },
    /// A matrix product. Reads `a`, `b`, the bias if there is one, then the operands of the epilogue.
    Gemm(Gemm),
    /// A convolution of one image. Reads `x`, `w`, the bias if there is one, then the operands of the epilogue.
    Conv(Conv),
    /// A depthwise convolution between pointwise ones, a few rows at a time. Reads `x`, then for each of the
    /// convolutions in order its weights, its bias if there is one, and the operands of its epilogue.
    DepthwiseBlock(DepthwiseBlock),
    /// A chain of convolutions, a few rows at a time.
    Streamed(Streamed),
    /// A transposed convolution of one image; reads as `Conv`.
    ConvTranspose(ConvTranspose),
    /// Pooling of one image.
    Pool(Pool),
    /// A reduction of the middle of three axes.
    Reduce {
        /// What is computed.
        kind: ReduceKind,
        /// The sizes of the three axes.
        sizes: [Dim; 3],
    },
    /// The position of an extremum along the middle of three axes.
    ArgReduce {
        /// Whether the largest is sought.
        largest: bool,
        /// Whether the last of equals counts.
        last: bool,
        /// The sizes of the three axes.
        sizes: [Dim; 3],
    },
    /// Running sums along the middle of three axes.
    CumSum {
        /// Whether the element itself is left out.
        exclusive: bool,
        /// Whether sums run from the end.
        reverse: bool,
        /// The sizes of the three axes.
        sizes: [Dim; 3],
    },
    /// Softmax along the middle of three axes.
    Softmax {
        /// Whether the logarithm is wanted.
        log: bool,
        /// The sizes of the three axes.
        sizes: [Dim; 3],
    },
    /// Normalization of rows. Reads `x`, the scale and the bias if there are any.
    Normalize {
        /// The number of rows.
        rows: Dim,
        /// The size of a row.
        size: Dim,
        /// What is added to the variance.
        epsilon: f32,
        /// Whether the root mean square divides, without subtracting the mean.
        rms: bool,
        /// Whether there is a scale.
        scale: bool,
        /// Whether there is a bias.
        bias: bool,
    },
    /// Attention of many heads. Reads `q`, `k`, `v` and the mask if there is one.
    Attention(Box<Attention>),
    /// A recurrent layer. Reads `x`, `w`, `r`, the bias; writes `y`, and `h` and `c` in place.
    Recurrent(Recurrent),
    /// Slices along the middle axis of the data, at indices.
    Gather {
        /// The sizes of the data: outer, indexed, inner.
        sizes: [Dim; 3],
        /// The number of indices.
        indices: Dim,
        /// Whether an index may lie outside of the axis, so that the run can fail.
        checked: bool,
    },
    /// Elements at indices along the middle of three axes.
    GatherElements {
        /// The sizes of the data along the three axes.
        sizes: [Dim; 3],
        /// The size of the indices along the middle axis.
        indices: Dim,
        /// Whether an index may lie outside of the axis, so that the run can fail.
        checked: bool,
    },
    /// A call of a function that the user provides. Reads its operands.
    Opaque(OpaqueCall),
    /// Interpolation of one image after another.
    Resize(Resize),
    /// Padding.
    Pad {
        /// What is put around.
        mode: PadMode,
        /// The shape of the operand.
        shape: Vec<Dim>,
        /// How many elements come before, on each axis.
        before: Vec<Dim>,
        /// How many come after, on each axis.
        after: Vec<Dim>,
    },
}

impl Kernel {
    /// Whether it multiplies integers of 8 bits.
    pub fn is_int8(&self) -> bool {
        match self {
            Kernel::Gemm(gemm) => gemm.b == Matrix::PackedInt8,
            Kernel::Conv(conv) => matches!(conv.kind, ConvKind::Int8(_) | ConvKind::DepthwiseInt8(_)),
            Kernel::Streamed(streamed) => streamed.members.iter().all(|member| member.kernel.is_int8()),
            _ => false,
        }
    }

    /// What people call it.
    pub fn name(&self) -> &'static str {
        match self {
            Kernel::Map(_) => "elementwise",
            Kernel::Fold(_) => "fold",
            Kernel::Scatter { .. } => "scatter",
            Kernel::Sort { .. } => "sort",
            Kernel::Gemm(_) => "product",
            Kernel::Conv(_) => "convolution",
            Kernel::DepthwiseBlock(_) => "depthwise block",
            Kernel::Streamed(_) => "convolutions by rows",
            Kernel::ConvTranspose(_) => "transposed convolution",
            Kernel::Pool(_) => "pool",
            Kernel::Reduce { .. } => "reduce",
            Kernel::ArgReduce { .. } => "arg_reduce",
            Kernel::CumSum { .. } => "cum_sum",
            Kernel::Softmax { .. } => "softmax",
            Kernel::Normalize { .. } => "normalize",
            Kernel::Attention(_) => "attention",
            Kernel::Recurrent(_) => "recurrent",
            Kernel::Gather { .. } => "gather",
            Kernel::GatherElements { .. } => "gather_elements",
            Kernel::Opaque(_) => "custom operator",
            Kernel::Resize(_) => "resize",
            Kernel::Pad { .. } => "pad",
        }
    }

    /// Whether what the step writes is made of what was there before, or may be.
    pub fn overwrites(&self) -> bool {
        match self {
            Kernel::Map(map) => map.in_place.is_some(),
            Kernel::Gemm(gemm) => gemm.init == Init::Accumulate || is_in_place(gemm.epilogue.as_ref()),
            Kernel::Conv(conv) => conv.init == Init::Accumulate || is_in_place(conv.epilogue.as_ref()),
            Kernel::ConvTranspose(conv) => conv.init == Init::Accumulate,
            Kernel::DepthwiseBlock(block) => {
                let project = block.project.as_ref().map(|project| project.init);
                project.unwrap_or(block.depthwise.init) == Init::Accumulate
            }
            Kernel::Streamed(streamed) => streamed.members.iter().any(|member| member.kernel.overwrites()),
            Kernel::Pool(_) | Kernel::Attention(_) => false,
            _ => true,
        }
    }
}

fn is_in_place(epilogue: Option<&EpilogueMap>) -> bool {
    epilogue.is_some_and(|epilogue| epilogue.in_place)
}

/// A read of any element, at a computed place.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// The element type.
    pub dtype: DType,
    /// The number of elements, for what is read at places that only the run knows.
    pub elements: Option<Dim>,
}

/// A step that computes elements one by one. `At(i, ..)` of the expression is a load from read `i`; there are no other
/// operands.
#[derive(Clone, Debug, PartialEq)]
pub struct Fold {
    /// How the values over the domain are combined; without, there is one value for each element.
    pub kind: Option<FoldKind>,
    /// The shape of the result, which is dense.
    pub shape: Vec<Dim>,
    /// The sizes of the domain.
    pub domain: Vec<Dim>,
    /// What is read.
    pub loads: Vec<Load>,
    /// The expression; coordinates are along the shape, then along the domain.
    pub expr: Expr,
}

/// An elementwise step. Operand `i` of the expression is read `i`, and `At(i, ..)` is a load from the `i`-th read after
/// the operands.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// The shape over which the step runs, with axes merged where all strides allow.
    pub shape: Vec<Dim>,
    /// The strides of the result.
    pub output: Vec<Dim>,
    /// The strides of each operand.
    pub operands: Vec<Vec<Dim>>,
    /// The element types of the operands.
    pub dtypes: Vec<DType>,
    /// What is read at computed places.
    pub loads: Vec<Load>,
    /// The expression.
    pub expr: Expr,
    /// The operand whose storage the result takes over; it is no read.
    pub in_place: Option<usize>,
}

/// Where the elements of a matrix are.
#[derive(Clone, Debug, PartialEq)]
pub enum Matrix {
    /// In the packed layout of the runtime.
    Packed,
    /// The same in bf16, for a product that rounds the other matrix, too.
    PackedBf16,
    /// The same of signed numbers of 8 bits, for a product with unsigned ones.
    PackedInt8,
    /// Numbers of 4 or 8 bits with scales of blocks, which stand for `f32`.
    PackedBlocks {
        /// How the numbers are packed.
        format: linear::BlockFormat,
        /// Whether the product rounds the other matrix to 8 bits.
        rounded: bool,
    },
    /// Anywhere affine.
    Strided {
        /// Elements between rows.
        row: Dim,
        /// Elements between columns.
        column: Dim,
    },
}

/// What accumulators start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// Zero.
    Zero,
    /// A bias per row.
    PerRow,
    /// A bias per column.
    PerColumn,
    /// What the place of the result holds: an operand that is added, whose storage the result takes over.
    Accumulate,
}

impl Init {
    /// Whether a bias is read.
    pub fn reads(self) -> bool {
        matches!(self, Init::PerRow | Init::PerColumn)
    }
}

/// A matrix product `[m, k] x [k, n]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Gemm {
    /// Rows of the result.
    pub m: Dim,
    /// Columns of the result.
    pub n: Dim,
    /// The inner size.
    pub k: Dim,
    /// The left matrix.
    pub a: Matrix,
    /// The right matrix.
    pub b: Matrix,
    /// Elements between rows of the result.
    pub c_row: Dim,
    /// What accumulators start from.
    pub init: Init,
    /// What is done to the result.
    pub epilogue: Option<EpilogueMap>,
}

/// Which convolution kernel is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConvKind {
    /// Sums of products over taps and channels.
    Direct,
    /// The same of numbers that are rounded to bf16.
    Bf16,
    /// One channel per group.
    Depthwise,
    /// Of unsigned with signed numbers of 8 bits, with this number in the padding.
    Int8(u8),
    /// The same with one channel per group.
    DepthwiseInt8(u8),
    /// By Winograd's algorithm, in tiles.
    Winograd(WinogradTile),
}

/// The window of a two-dimensional convolution of one image; a one-dimensional one has height 1.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvWindow {
    /// Channels, height and width of the input.
    pub input: [Dim; 3],
    /// Channels, height and width of the result.
    pub output: [Dim; 3],
    /// Kernel sizes.
    pub kernel: [usize; 2],
    /// Strides.
    pub stride: [usize; 2],
    /// Dilations.
    pub dilation: [usize; 2],
    /// Padding above and to the left.
    pub pad: [Dim; 2],
    /// The number of groups.
    pub groups: usize,
    /// Elements between channels, rows and columns of the input.
    pub x: [Dim; 3],
}

impl ConvWindow {
    /// Whether no size depends on a symbol.
    pub fn is_fixed(&self) -> bool {
        self.input
            .iter()
            .chain(&self.output)
            .all(|size| size.as_const().is_some())
    }

    /// The pixels of the result.
    pub fn pixels(&self) -> Dim {
        self.output[1].clone() * self.output[2].clone()
    }
}

/// A convolution of one image whose result is stored channels last. Its rows are pixels, its columns channels.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Which kernel.
    pub kind: ConvKind,
    /// Sizes and strides.
    pub window: ConvWindow,
    /// Elements between pixels of the result, whose channels are contiguous.
    pub y_pixel: Dim,
    /// What accumulators start from.
    pub init: Init,
    /// What is done to the result.
    pub epilogue: Option<EpilogueMap>,
}

impl Conv {
    /// The problem at the bounds of the symbols.
    pub fn problem(&self, bounds: &Bounds) -> linear::Conv2dNhwc {
        let window = &self.window;
        let upper = |dim: &Dim| usize::try_from(dim.upper(bounds)).unwrap_or(0);
        let [in_channels, in_height, in_width] = [0, 1, 2].map(|axis| upper(&window.input[axis]));
        let [out_channels, out_height, out_width] = [0, 1, 2].map(|axis| upper(&window.output[axis]));
        let [x_channel, x_row, x_column] = [0, 1, 2].map(|axis| upper(&window.x[axis]));
        linear::Conv2dNhwc {
            in_channels,
            in_height,
            in_width,
            out_channels,
            out_height,
            out_width,
            kernel: window.kernel,
            stride: window.stride,
            dilation: window.dilation,
            pad: [0, 1].map(|axis| upper(&window.pad[axis])),
            groups: window.groups,
            x_channel,
            x_row,
            x_column,
            y_pixel: upper(&self.y_pixel),
        }
    }
}

/// A pointwise convolution before or after a depthwise one, as the matrix product that it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Pointwise {
    /// The channels on the side that is not the depthwise convolution's.
    pub channels: Dim,
    /// What accumulators start from.
    pub init: Init,
    /// What is done to the result.
    pub epilogue: Option<EpilogueMap>,
}

/// A depthwise convolution between pointwise ones.
#[derive(Clone, Debug, PartialEq)]
pub struct DepthwiseBlock {
    /// What computes the input of the depthwise convolution.
    pub expand: Option<Pointwise>,
    /// The depthwise convolution, with the strides of the input and the result of the block.
    pub depthwise: Conv,
    /// What is done to the result of the depthwise convolution.
    pub project: Option<Pointwise>,
}

/// A transposed convolution of one image whose result is stored as planes. Its rows are channels, its columns pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvTranspose {
    /// Sizes and strides.
    pub window: ConvWindow,
    /// Elements between channels of the result; planes are dense.
    pub y_channel: Dim,
    /// What accumulators start from.
    pub init: Init,
    /// What is done to the result.
    pub epilogue: Option<EpilogueMap>,
}

/// Pooling of one image; a one-dimensional one has height 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// What is computed.
    pub kind: PoolKind,
    /// The type of the elements.
    pub dtype: DType,
    /// Channels, height and width of the input.
    pub input: [Dim; 3],
    /// Height and width of the result.
    pub output: [Dim; 2],
    /// Kernel sizes.
    pub kernel: [usize; 2],
    /// Strides.
    pub stride: [usize; 2],
    /// Dilations.
    pub dilation: [usize; 2],
    /// Padding above and to the left.
    pub pad: [Dim; 2],
    /// Padding below and to the right.
    pub pad_after: [Dim; 2],
    /// Elements between channels, rows and columns of the input.
    pub x: [Dim; 3],
    /// How the result is stored.
    pub y: PoolResult,
}

/// How the result of pooling is stored.
#[derive(Clone, Debug, PartialEq)]
pub enum PoolResult {
    /// As dense planes with this many elements from one to the next.
    Planes(Dim),
    /// Channels last, as is the input, with this many elements from a pixel to the next.
    Pixels(Dim),
}

/// Attention of many heads.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// The number of sequences, and of heads of each.
    pub heads: [Dim; 2],
    /// The number of queries.
    pub queries: Dim,
    /// The number of keys and values.
    pub keys: Dim,
    /// The size of a query and of a key.
    pub head: Dim,
    /// The size of a value.
    pub value: Dim,
    /// The factor of the scores.
    pub scale: f32,
    /// Whether row `i` sees only columns up to `i`.
    pub causal: bool,
    /// The queries.
    pub q: HeadStrides,
    /// The keys.
    pub k: HeadStrides,
    /// The values.
    pub v: HeadStrides,
    /// The result.
    pub out: HeadStrides,
    /// The mask.
    pub mask: Option<HeadStrides>,
}

/// Where the heads of an operand of attention are.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadStrides {
    /// Elements between sequences, and between heads.
    pub head: [Dim; 2],
    /// Elements between rows of a head.
    pub row: Dim,
    /// Elements between columns of a head.
    pub column: Dim,
}

/// A recurrent layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Recurrent {
    /// The cell.
    pub cell: crate::ir::Cell,
    /// Whether steps run backward.
    pub reverse: bool,
    /// The number of steps.
    pub steps: Dim,
    /// The number of sequences.
    pub batch: Dim,
    /// The size of an input.
    pub input: Dim,
    /// The size of the state.
    pub hidden: Dim,
    /// Elements between steps and between sequences of the input.
    pub x: [Dim; 2],
}

/// Interpolation of dense images of height and width.
#[derive(Clone, Debug, PartialEq)]
pub struct Resize {
    /// The number of images.
    pub images: Dim,
    /// Contiguous values of a pixel; 1 where every channel is an image of its own.
    pub channels: Dim,
    /// Elements between pixels of the result.
    pub y_pixel: Dim,
    /// Height and width of the operand.
    pub input: [Dim; 2],
    /// Height and width of the result.
    pub output: [Dim; 2],
    /// Output size over input size, where the model states it.
    pub scales: Option<[f32; 2]>,
    /// Nearest with a rounding, or linear.
    pub nearest: Option<NearestRounding>,
    /// Which input coordinate belongs to an output coordinate.
    pub coordinates: ResizeCoordinates,
}

/// A call of a function that the user provides; every operand and result is dense.
#[derive(Clone, Debug, PartialEq)]
pub struct OpaqueCall {
    /// The path of the function.
    pub function: String,
    /// The arguments before the results.
    pub arguments: Vec<Argument>,
    /// The types of the operands.
    pub operands: Vec<TensorType>,
    /// The types of the results.
    pub results: Vec<TensorType>,
    /// Whether the function can fail, so that the run can.
    pub fallible: bool,
}
