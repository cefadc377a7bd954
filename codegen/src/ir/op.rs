//! The primitives of the core IR.

use super::dim::Dim;
use super::dtype::DType;
use super::expr::Expr;
use super::opaque::Opaque;
use super::tensor::Tensor;
use std::sync::Arc;

/// A primitive operation. [`infer`](super::infer::infer) gives the types of its results; the
/// [verifier](mod@super::verify) states what each one requires.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// A constant tensor. No operands.
    Constant(Tensor),
    /// An expression for every element; operands broadcast to `shape` by ONNX's (numpy's) rule.
    Elementwise {
        /// What one element is.
        expr: Expr,
        /// The shape of the result.
        shape: Vec<Dim>,
    },
    /// For every element of the result, an expression combined over a domain: a sum, product or extremum of what need
    /// not exist as a tensor. Operands broadcast to `shape` followed by `domain` by numpy's rule; coordinates of the
    /// expression are along these axes, too. Over an empty domain the result is the neutral element.
    Fold {
        /// How the values are combined.
        kind: FoldKind,
        /// The value for one element of the result and of the domain.
        expr: Expr,
        /// The shape of the result.
        shape: Vec<Dim>,
        /// The sizes over which values are combined.
        domain: Vec<Dim>,
    },
    /// A reduction of one operand along axes.
    Reduce {
        /// What is computed.
        kind: ReduceKind,
        /// The axes, ascending.
        axes: Vec<usize>,
        /// Whether reduced axes stay, with size 1.
        keep_dims: bool,
    },
    /// The position of the extremum along an axis, as `i64`.
    ArgReduce {
        /// Whether the largest rather than the smallest is sought.
        largest: bool,
        /// The axis.
        axis: usize,
        /// Whether the axis stays, with size 1.
        keep_dims: bool,
        /// Whether the last rather than the first of equal extrema counts.
        last: bool,
    },
    /// The running sum along an axis.
    CumSum {
        /// The axis.
        axis: usize,
        /// Whether the element itself is left out.
        exclusive: bool,
        /// Whether the sum runs from the end.
        reverse: bool,
    },
    /// The matrix product `[..., m, k] x [..., k, n]`; leading dimensions broadcast. Both matrices have the type of the
    /// product, or they are of `u8` and `i8` and the product is of `i32`.
    ///
    /// Operands: both matrices, then the further operands of the epilogue.
    MatMul {
        /// What is done to the product.
        epilogue: Option<Epilogue>,
    },
    /// The matrix `[k, n]` of `f32` that numbers `[k, n]` of `i8` stand for: `(number - zero) * scale`, where blocks of rows
    /// that follow each other have a scale for each column, `[ceil(k / rows), n]`, and a zero point of `i8` for each or none
    /// at all. The last block may have fewer rows.
    ///
    /// The difference is exact, and the product with the scale is rounded once. Operands: numbers, scales, zero points.
    Dequantize {
        /// The rows of a block, at least 1.
        rows: usize,
    },
    /// A convolution `[batch, channels, spatial...]` with weights `[out, channels / groups, kernel...]`.
    ///
    /// Operands: input, weights, the bias `[out]` if there is one, then the further operands of the epilogue.
    Conv {
        /// Strides, padding and so on.
        window: Window,
        /// The number of groups.
        groups: usize,
        /// Whether there is a bias.
        bias: bool,
        /// What the padding holds: 0 unless the image is of `u8`.
        pad_value: u8,
        /// What is done to the result.
        epilogue: Option<Epilogue>,
    },
    /// A transposed convolution with weights `[channels, out / groups, kernel...]`; operands as of `Conv`.
    ConvTranspose {
        /// Strides, padding and so on.
        window: Window,
        /// What is added at the end of each spatial dimension of the result.
        output_padding: Vec<usize>,
        /// The number of groups.
        groups: usize,
        /// Whether there is a bias.
        bias: bool,
        /// What is done to the result.
        epilogue: Option<Epilogue>,
    },
    /// Pooling of `[batch, channels, spatial...]`.
    Pool {
        /// What is computed over a window.
        kind: PoolKind,
        /// The window; its kernel sizes too.
        window: Window,
        /// Whether the last, incomplete window counts.
        ceil_mode: bool,
    },
    /// The same elements in the same order in another shape.
    Reshape {
        /// The shape of the result.
        shape: Vec<Dim>,
    },
    /// Axis `i` of the result is axis `permutation[i]` of the operand.
    Transpose {
        /// A permutation of the axes.
        permutation: Vec<usize>,
    },
    /// Every `step`-th element from `start`, on each axis. A negative step walks backward.
    Slice {
        /// The first index on each axis.
        starts: Vec<Dim>,
        /// The distance between indices on each axis, not zero.
        steps: Vec<i64>,
        /// The shape of the result.
        shape: Vec<Dim>,
    },
    /// The operand repeated along axes where it has size 1 or that it lacks (numpy's rule).
    Broadcast {
        /// The shape of the result.
        shape: Vec<Dim>,
    },
    /// The operands one after another along an axis.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// The operand surrounded by more elements. Operands: the tensor, for `Constant` also the rank-0 value.
    Pad {
        /// What the elements are.
        mode: PadMode,
        /// How many come before, on each axis.
        before: Vec<Dim>,
        /// How many come after, on each axis.
        after: Vec<Dim>,
    },
    /// Slices of operand 0 along `axis` at the indices of operand 1 (`i32` or `i64`; negative ones count from the
    /// end). The shape of the result is that of operand 0 with `axis` replaced by the shape of operand 1.
    Gather {
        /// The axis.
        axis: usize,
    },
    /// The elements of operand 0 at the indices of operand 1 along `axis`; the other coordinates are the element's own.
    GatherElements {
        /// The axis.
        axis: usize,
    },
    /// Operand 0 with elements replaced by, or combined with, those of operand 2. Operand 1 (`i64`, of the same shape as
    /// operand 2) has the place of each, its number in row-major order of operand 0; a place that does not exist is
    /// skipped. Updates take effect in row-major order.
    Scatter {
        /// How an update is combined with what is there.
        kind: ScatterKind,
    },
    /// The order of the elements along the last axis, as `i64`: the coordinate of the smallest, the second smallest and
    /// so on. Equal elements keep their order; not-a-number counts as larger than any number.
    Sort {
        /// Whether the largest element comes first.
        descending: bool,
    },
    /// Gives a symbol the value of a rank-0 `i64`. A value outside of the symbol's bounds ends the run with an error. No
    /// results; the symbol may be used from here on in this block and its regions.
    Bind {
        /// The symbol.
        symbol: Arc<str>,
    },
    /// Ends the run with an error unless a rank-0 `bool` holds. No results.
    Assert {
        /// What holds, in words.
        message: String,
    },
    /// Interpolation of `[batch, channels, spatial...]` to other spatial sizes.
    Resize {
        /// How values are made.
        mode: ResizeMode,
        /// Which input coordinate belongs to an output coordinate.
        coordinates: ResizeCoordinates,
        /// Output size over input size, on each axis, where the model states it; otherwise it is their quotient.
        scales: Option<Vec<f32>>,
        /// The shape of the result.
        shape: Vec<Dim>,
    },
    /// `e^x` normalized to sum 1 along an axis, or its logarithm.
    Softmax {
        /// The axis.
        axis: usize,
        /// Whether the logarithm is wanted.
        log: bool,
    },
    /// Normalization over the axes from `axis` on. Operands: the tensor; if `affine`, a scale, then a bias if `bias`,
    /// both of the shape of the normalized axes.
    Normalize {
        /// What is normalized.
        kind: NormalizeKind,
        /// The first normalized axis.
        axis: usize,
        /// What is added to the variance (or mean square).
        epsilon: f32,
        /// Whether there is a scale.
        scale: bool,
        /// Whether there is a bias.
        bias: bool,
    },
    /// `softmax(scale * q k^T + mask) v` over the last two axes.
    ///
    /// Operands: `q [..., m, d]`, `k [..., n, d]`, `v [..., n, e]`, then, if `mask`, an additive mask that broadcasts to
    /// `[..., m, n]`. The leading axes of q, k and v are equal.
    Attention {
        /// The factor of the scores.
        scale: f32,
        /// Whether there is a mask operand.
        mask: bool,
        /// Whether row `i` sees only columns up to `i`.
        causal: bool,
    },
    /// A recurrent layer in one direction.
    ///
    /// Operands: `x [steps, batch, input]`, `w [gates * hidden, input]`, `r [gates * hidden, hidden]`, the bias
    /// (`[gates * hidden]`; for GRU `[2 * gates * hidden]`, that of `w` before that of `r`), the initial `h [batch,
    /// hidden]` and, for LSTM, `c [batch, hidden]`. Gates are in ONNX order: LSTM i, o, f, c; GRU z, r, h.
    /// Results: `y [steps, batch, hidden]`, the final `h` and, for LSTM, `c`.
    Recurrent {
        /// The cell.
        cell: Cell,
        /// Whether steps run from the last to the first.
        reverse: bool,
    },
    /// One of two regions without parameters, by a rank-0 `bool`. Results of both have one type each.
    If,
    /// Iteration. Operands: the rank-0 `i64` trip count, the rank-0 `bool` initial condition, then the carried values.
    ///
    /// The region takes the iteration number, the condition and the carried values, and gives the next condition, the
    /// next carried values, then the elements of the scan outputs. Results: the last carried values, then the scan
    /// outputs, stacked along a new first axis that has room for `trips` iterations. What belongs to iterations that did not
    /// run is of no meaning; the body must not be entered more often.
    Loop {
        /// How many values are carried.
        carried: usize,
        /// The size of the first axis of the scan outputs, a bound of the number of iterations.
        trips: Dim,
    },
    /// Iteration over the first axis of operands. Operands: the carried values, then the scanned tensors.
    ///
    /// The region takes the carried values and one slice of each scanned tensor, and gives the next carried values,
    /// then the elements of the scan outputs. Results: the last carried values, then the stacked scan outputs.
    Scan {
        /// How many values are carried.
        carried: usize,
    },
    /// A call of a function that the user provides.
    Opaque(Opaque),
}

/// An elementwise expression applied to the result of a matrix product or convolution before it is stored.
///
/// Operand 0 of the expression is the result; operand `i > 0` is the `i`-th further operand of the operation, broadcast
/// to the shape of the result.
#[derive(Clone, Debug, PartialEq)]
pub struct Epilogue {
    /// The expression.
    pub expr: Expr,
}

/// What a [`Op::Reduce`] computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReduceKind {
    /// The sum.
    Sum,
    /// The arithmetic mean.
    Mean,
    /// The largest element.
    Max,
    /// The smallest element.
    Min,
    /// The product.
    Prod,
    /// The sum of squares.
    SumSquare,
    /// The sum of magnitudes.
    L1,
    /// The square root of the sum of squares.
    L2,
    /// The logarithm of the sum.
    LogSum,
    /// The logarithm of the sum of exponentials.
    LogSumExp,
}

/// How an [`Op::Fold`] combines values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FoldKind {
    /// The sum, from 0.
    Sum,
    /// The product, from 1.
    Prod,
    /// The largest value (`or` of truth values), from the least value of the type.
    Max,
    /// The smallest value (`and` of truth values), from the greatest value of the type.
    Min,
}

/// How an [`Op::Scatter`] combines an update with what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScatterKind {
    /// The update takes its place.
    Replace,
    /// The sum.
    Add,
    /// The product.
    Mul,
    /// The larger one.
    Max,
    /// The smaller one.
    Min,
}

/// What [`Op::Pool`] computes over a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PoolKind {
    /// The largest element; padding counts as minus infinity.
    Max,
    /// The mean.
    Average {
        /// Whether padding counts as elements of value 0.
        count_include_pad: bool,
    },
    /// The `p`-norm.
    Lp {
        /// The order of the norm.
        p: u32,
    },
}

/// What [`Op::Normalize`] divides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NormalizeKind {
    /// Layer normalization: the mean is subtracted, the standard deviation divides.
    Layer,
    /// Root-mean-square normalization: the root of the mean square divides.
    Rms,
}

/// What [`Op::Pad`] surrounds a tensor with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PadMode {
    /// A value.
    Constant,
    /// The nearest element.
    Edge,
    /// The tensor mirrored at its first and last element, which are not repeated.
    Reflect,
    /// The tensor again.
    Wrap,
}

/// How [`Op::Resize`] makes values.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub enum ResizeMode {
    /// The nearest element.
    Nearest(NearestRounding),
    /// Between the two nearest elements of each axis, linearly.
    Linear,
    /// Between the four nearest elements of each axis, by a cubic.
    Cubic {
        /// The coefficient of the cubic.
        coefficient: f32,
        /// Whether weights outside the tensor are dropped and the rest renormalized.
        exclude_outside: bool,
    },
}

/// Which element is nearest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NearestRounding {
    /// The nearest, the lower of two.
    RoundPreferFloor,
    /// The nearest, the upper of two.
    RoundPreferCeil,
    /// The one below.
    Floor,
    /// The one above.
    Ceil,
}

/// Which input coordinate belongs to an output coordinate `x`, for a scale `s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResizeCoordinates {
    /// `(x + 0.5) / s - 0.5`.
    HalfPixel,
    /// As `HalfPixel`, but 0 if the output size is 1.
    PytorchHalfPixel,
    /// `x / s`.
    Asymmetric,
    /// `x * (input - 1) / (output - 1)`.
    AlignCorners,
}

/// The cell of a [`Op::Recurrent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cell {
    /// Long short-term memory.
    Lstm,
    /// Gated recurrent unit.
    Gru {
        /// Whether the reset gate applies after the linear map.
        linear_before_reset: bool,
    },
    /// Elman cell with `tanh`.
    Rnn,
}

/// Windows over the spatial axes; every list has one entry per spatial axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Kernel sizes.
    pub kernel: Vec<usize>,
    /// Distances between windows.
    pub strides: Vec<usize>,
    /// Distances between the elements of a window.
    pub dilations: Vec<usize>,
    /// Padding before the first element.
    pub pads_before: Vec<Dim>,
    /// Padding after the last element.
    pub pads_after: Vec<Dim>,
}

impl Op {
    /// The name in the text form of the IR.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Constant(_) => "constant",
            Op::Elementwise { .. } => "elementwise",
            Op::Fold { .. } => "fold",
            Op::Reduce { .. } => "reduce",
            Op::ArgReduce { .. } => "arg_reduce",
            Op::CumSum { .. } => "cum_sum",
            Op::MatMul { .. } => "matmul",
            Op::Dequantize { .. } => "dequantize",
            Op::Conv { .. } => "conv",
            Op::ConvTranspose { .. } => "conv_transpose",
            Op::Pool { .. } => "pool",
            Op::Reshape { .. } => "reshape",
            Op::Transpose { .. } => "transpose",
            Op::Slice { .. } => "slice",
            Op::Broadcast { .. } => "broadcast",
            Op::Concat { .. } => "concat",
            Op::Pad { .. } => "pad",
            Op::Gather { .. } => "gather",
            Op::GatherElements { .. } => "gather_elements",
            Op::Scatter { .. } => "scatter",
            Op::Sort { .. } => "sort",
            Op::Bind { .. } => "bind",
            Op::Assert { .. } => "assert",
            Op::Resize { .. } => "resize",
            Op::Softmax { .. } => "softmax",
            Op::Normalize { .. } => "normalize",
            Op::Attention { .. } => "attention",
            Op::Recurrent { .. } => "recurrent",
            Op::If => "if",
            Op::Loop { .. } => "loop",
            Op::Scan { .. } => "scan",
            Op::Opaque(_) => "opaque",
        }
    }

    /// Whether the operation matters although nothing uses a result of it.
    pub fn is_effect(&self) -> bool {
        matches!(self, Op::Bind { .. } | Op::Assert { .. })
    }

    /// The epilogue, if the operation has one.
    pub fn epilogue(&self) -> Option<&Epilogue> {
        match self {
            Op::MatMul { epilogue } | Op::Conv { epilogue, .. } | Op::ConvTranspose { epilogue, .. } => {
                epilogue.as_ref()
            }
            _ => None,
        }
    }

    /// The place of the epilogue, if the operation can have one.
    pub fn epilogue_mut(&mut self) -> Option<&mut Option<Epilogue>> {
        match self {
            Op::MatMul { epilogue } | Op::Conv { epilogue, .. } | Op::ConvTranspose { epilogue, .. } => Some(epilogue),
            _ => None,
        }
    }

    /// The type of the sums of products of these types, which a matrix product or a convolution has before its epilogue.
    pub fn sum_type(a: DType, b: DType) -> Option<DType> {
        match (a, b) {
            (DType::U8, DType::I8) => Some(DType::I32),
            _ => (a == b).then_some(a),
        }
    }

    /// The type of what an epilogue begins with: the sums of products of operands of these types.
    pub fn epilogue_type(&self, operands: &[DType]) -> Option<DType> {
        match (self, operands) {
            (Op::MatMul { .. } | Op::Conv { .. }, &[a, b, ..]) => Op::sum_type(a, b),
            _ => operands.first().copied(),
        }
    }

    /// The number of operands before those of the epilogue, for operations that can have one.
    pub fn epilogue_base(&self) -> Option<usize> {
        match self {
            Op::MatMul { .. } => Some(2),
            Op::Conv { bias, .. } | Op::ConvTranspose { bias, .. } => Some(2 + usize::from(*bias)),
            _ => None,
        }
    }
}
