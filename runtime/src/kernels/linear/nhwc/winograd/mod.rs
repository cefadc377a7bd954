//! Convolution by minimal filtering algorithms (Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks*,
//! CVPR 2016), which the literature names after Winograd.
//!
//! An output tile of `m` by `m` pixels is made of an input tile of `m + 2` by `m + 2`: both the inputs and the weights
//! are transformed to `(m + 2)^2` points, at each of which the sum over input channels is a matrix product of tiles
//! and weights, and the sums are transformed back. Weights are transformed while packing.
//!
//! Tiles are taken in strips: the transformed inputs of a strip and, for a block of output channels, the products stay
//! in the second level cache between the three steps.

mod cost;
mod points;
mod strip;
mod transform;

use super::Conv2dNhwc;
use crate::kernels::linear::ahead::Ahead;
use crate::kernels::linear::block::{Block, Blocks};
use crate::kernels::linear::pack::{PANEL_COLUMNS, PANEL_ROWS, packed_rhs_len};
use crate::kernels::linear::{Epilogue, Init, MatrixMut, min};
use crate::kernels::simd::Simd;
pub use cost::{winograd_applies, winograd_conv2d_nhwc_time, winograd_is_faster};
use points::Matrices;
use strip::{Strip, Transforms};

use transform::{F2, F4, Filter, ROUNDINGS};

/// The size of the tiles of a [`WinogradConv2dNhwc`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WinogradTile {
    /// Output tiles of 2 by 2 pixels: 16 products of weights and inputs instead of 36, rounded as little as the
    /// definition.
    F2,
    /// Output tiles of 4 by 4 pixels: 36 products instead of 144.
    F4,
}

impl WinogradTile {
    /// Rows and columns of an output tile.
    pub const fn size(self) -> usize {
        match self {
            WinogradTile::F2 => 2,
            WinogradTile::F4 => 4,
        }
    }

    /// Points that a tile is transformed to.
    const fn points(self) -> usize {
        (self.size() + 2) * (self.size() + 2)
    }

    /// The root of the mean square of the errors of outputs on uniform random numbers, as a multiple of that of a sum
    /// in the order of the weights, measured at 64 and more input channels. At 16 channels it is half more.
    pub const fn typical_error(self) -> f64 {
        match self {
            WinogradTile::F2 => 0.63,
            WinogradTile::F4 => 1.75,
        }
    }

    /// A bound of the error of an output, as a multiple of the largest magnitude of an input times that of a weight.
    ///
    /// Every intermediate value is a sum of products whose coefficients are exact, so that the error is, by the usual
    /// argument (Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd edition, section 3.1), at most
    /// `n u / (1 - n u)` times the sum of magnitudes `|A^T| ((|G| |g| |G^T|) * (|B^T| |d| |B|)) |A|` over the input
    /// channels, where `u` is half of the epsilon of `f32` and `n` the number of roundings between an operand and a
    /// result: one a channel and one more without fused operations, two transforms of a line each for inputs and
    /// outputs, and one for a weight, which is transformed in `f64`. What an output is added to costs one more, of
    /// the magnitude of the sum.
    ///
    /// Signs are taken to conspire, which they do not: on random numbers the root of the mean square of the error is
    /// [`typical_error`](WinogradTile::typical_error) times that of the definition.
    pub const fn error_bound(self, in_channels: usize) -> f64 {
        const F2_AMPLIFICATION: f64 = Matrices::<2, 4>::new(F2::POINTS).amplification();
        const F4_AMPLIFICATION: f64 = Matrices::<4, 6>::new(F4::POINTS).amplification();
        let amplification = match self {
            WinogradTile::F2 => F2_AMPLIFICATION,
            WinogradTile::F4 => F4_AMPLIFICATION,
        };
        let roundings = (in_channels + 1 + 4 * ROUNDINGS + 2) as f64 * (f32::EPSILON as f64 / 2.0);
        if roundings >= 1.0 {
            return f64::INFINITY;
        }
        roundings / (1.0 - roundings) * amplification * in_channels as f64
    }
}

/// A convolution with a kernel of 3 by 3, stride 1, dilation 1 and one group, in tiles.
///
/// The tiles begin at the first pixel of the output. A run over some output rows gives the same bits as a run over
/// all if it begins at a multiple of [`size`](WinogradTile::size): a tile depends on nothing but its input, and no sum
/// on the place of its tile in a strip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WinogradConv2dNhwc {
    /// The convolution.
    pub problem: Conv2dNhwc,
    /// The size of the tiles.
    pub tile: WinogradTile,
}

/// Values that the transformed inputs of a strip and the products of a block may take: a part of a second level cache.
const BUDGET: usize = 192 * 1024;

/// Most tiles of a strip. A strip of more does not pay for its memory.
const TILES: usize = 48;

/// Tiles of a strip below which register tiles are low, and weights are read for too few of them.
const LEAST: usize = 16;

/// Most output channels of a block.
const COLUMNS: usize = 64;

/// Tiles that a strip is rounded up to, a multiple of the rows of the register tiles.
const STEP: usize = 24;

/// Tiles of a strip that are enough for register tiles of full height.
const FEW: usize = 12;

/// How a problem is cut, and the distances in its scratch.
#[derive(Clone, Copy)]
pub(in crate::kernels::linear) struct Shape {
    points: usize,
    tiles_across: usize,
    /// Tiles of the image.
    total: usize,
    /// Most tiles of a strip.
    tiles: usize,
    /// Output channels of a block and values between the tiles of a point in the products, a multiple of 16.
    columns: usize,
    /// Values between the tiles of a point in the transformed inputs, a multiple of 16.
    v_row: usize,
    /// Values between points.
    v_plane: usize,
    m_plane: usize,
}

impl Shape {
    const fn new(problem: &WinogradConv2dNhwc) -> Shape {
        Shape::within(problem, usize::MAX)
    }

    /// The shape for `room` values of scratch. It is one of a strip of one tile where there is no room for that.
    const fn within(problem: &WinogradConv2dNhwc, room: usize) -> Shape {
        let p = &problem.problem;
        let (size, points) = (problem.tile.size(), problem.tile.points());
        let tiles_across = p.out_width.div_ceil(size);
        let total = tiles_across * p.out_height.div_ceil(size);
        let out_columns = p.out_channels.next_multiple_of(PANEL_COLUMNS);
        let columns = if out_columns == 0 {
            0
        } else {
            let blocks = out_columns.div_ceil(COLUMNS);
            out_columns.div_ceil(blocks).next_multiple_of(PANEL_COLUMNS)
        };
        let mut v_row = p.in_channels.next_multiple_of(PANEL_COLUMNS);
        if v_row >= 256 {
            v_row = odd_lines(v_row);
        }
        // As few strips of about equal size as the memory allows, in whole register tiles if there is room for that.
        // A small problem is not worth more than it has values itself, but a strip is not shorter than pays for reading the weights.
        let own = p.pixels() * (p.in_channels + p.out_channels) + 9 * p.in_channels * p.out_channels;
        let tile = points * (v_row + columns) + 1;
        let (most, fair) = (min(BUDGET / tile, TILES), own / tile);
        let limit = min(most, if fair > LEAST { fair } else { LEAST });
        let mut limit = if limit == 0 { 1 } else { limit };
        while limit > 1 && points * (odd_lines(limit * v_row) + odd_lines(limit * columns)) > room {
            limit -= 1;
        }
        let tiles = if total == 0 {
            0
        } else {
            total.div_ceil(total.div_ceil(limit))
        };
        let rounded = tiles.next_multiple_of(STEP);
        let tiles = if rounded <= limit { min(rounded, total) } else { tiles };
        Shape {
            points,
            tiles_across,
            total,
            tiles,
            columns,
            v_row,
            v_plane: odd_lines(tiles * v_row),
            m_plane: odd_lines(tiles * columns),
        }
    }

    const fn scratch(&self) -> usize {
        self.points * (self.v_plane + self.m_plane)
    }
}

/// The next length of an odd number of cache lines, so that the points of a tile are in different sets of a cache.
const fn odd_lines(len: usize) -> usize {
    (len.div_ceil(16) / 2 * 2 + 1) * 16
}

/// Length of the packed weights: for each point a right-hand side of input by output channels.
pub const fn winograd_conv2d_nhwc_packed_len(problem: &WinogradConv2dNhwc) -> usize {
    problem.tile.points() * packed_rhs_len(problem.problem.in_channels, problem.problem.out_channels)
}

/// Values of scratch that a convolution is fastest with: at most about 192 K, and about as many as its input, output and
/// weights have together, unless that is too little for a few tiles.
pub const fn winograd_conv2d_nhwc_scratch(problem: &WinogradConv2dNhwc) -> usize {
    Shape::new(problem).scratch()
}

/// Values of scratch that a convolution cannot do without. It is slower the less there is.
pub const fn winograd_conv2d_nhwc_scratch_min(problem: &WinogradConv2dNhwc) -> usize {
    let one = Shape::within(problem, 0);
    let room = one.points * (odd_lines(FEW * one.v_row) + odd_lines(FEW * one.columns));
    Shape::within(problem, room).scratch()
}

/// Values that a convolution uses of `room` values of scratch, which are at least
/// [`winograd_conv2d_nhwc_scratch_min`].
pub const fn winograd_conv2d_nhwc_scratch_within(problem: &WinogradConv2dNhwc, room: usize) -> usize {
    Shape::within(problem, room).scratch()
}

/// Transforms weights `[out_channels, in_channels, 3, 3]` and packs them as
/// [`winograd_conv2d_nhwc_packed_len`] says, each point by [`pack_rhs`](crate::linear::pack_rhs).
///
/// # Panics
///
/// If `weights` is shorter than that or `packed` is shorter than [`winograd_conv2d_nhwc_packed_len`].
pub fn pack_winograd_conv2d_nhwc(problem: &WinogradConv2dNhwc, weights: &[f32], packed: &mut [f32]) {
    let p = &problem.problem;
    let packed = &mut packed[..winograd_conv2d_nhwc_packed_len(problem)];
    let weights = &weights[..p.out_channels * p.in_channels * 9];
    match problem.tile {
        WinogradTile::F2 => pack::<F2, 2, 4>(p.in_channels, p.out_channels, weights, packed),
        WinogradTile::F4 => pack::<F4, 4, 6>(p.in_channels, p.out_channels, weights, packed),
    }
}

fn pack<F: Filter<OUT, IN>, const OUT: usize, const IN: usize>(
    in_channels: usize,
    out_channels: usize,
    weights: &[f32],
    packed: &mut [f32],
) {
    if !out_channels.is_multiple_of(PANEL_COLUMNS) {
        packed.fill(0.0);
    }
    let len = packed_rhs_len(in_channels, out_channels);
    for (index, w) in weights.chunks_exact(9).enumerate() {
        let (column, row) = (index / in_channels, index % in_channels);
        let at = column / PANEL_COLUMNS * in_channels * PANEL_COLUMNS + row * PANEL_COLUMNS + column % PANEL_COLUMNS;
        let line = |x: usize| F::weights([w[x].into(), w[3 + x].into(), w[6 + x].into()]);
        let lines = [line(0), line(1), line(2)];
        for y in 0..IN {
            let values = F::weights([lines[0][y], lines[1][y], lines[2][y]]);
            for (x, value) in values.into_iter().enumerate() {
                packed[(y * IN + x) * len + at] = value as f32;
            }
        }
    }
}

/// Whether a length of the packed weights and, with a tile of every channel, of scratch is representable.
fn is_representable(p: &Conv2dNhwc) -> bool {
    let panels = p.out_channels.checked_add(PANEL_COLUMNS);
    let weights = panels.and_then(|columns| columns.checked_mul(p.in_channels));
    weights.is_some_and(|weights| weights <= usize::MAX / 64) && p.in_channels.max(p.out_channels) <= usize::MAX / 65536
}

#[inline(always)]
pub(in crate::kernels::linear) fn winograd_conv2d_nhwc<S: Simd + Blocks + Transforms>(
    isa: S,
    problem: &WinogradConv2dNhwc,
    x: &[f32],
    w: &[f32],
    init: Init<'_>,
    y: &mut [f32],
    scratch: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    let p = &problem.problem;
    assert!(
        p.kernel == [3, 3] && p.stride == [1, 1] && p.dilation == [1, 1] && p.groups == 1,
        "winograd convolution: the kernel is not 3 by 3 with stride, dilation and groups 1"
    );
    p.check(x, init, y);
    assert!(is_representable(p), "winograd convolution: the sizes overflow");
    assert!(
        w.len() >= winograd_conv2d_nhwc_packed_len(problem),
        "winograd convolution: the weights are too short"
    );
    let shape = Shape::within(problem, scratch.len());
    assert!(
        scratch.len() >= shape.scratch(),
        "winograd convolution: the scratch is too short"
    );
    let w_plane = packed_rhs_len(p.in_channels, p.out_channels);
    let (v, m) = scratch.split_at_mut(shape.points * shape.v_plane);
    let mut first = 0;
    while first < shape.total {
        let strip = Strip {
            first,
            count: shape.tiles.min(shape.total - first),
        };
        isa.transform_inputs(problem, &shape, strip, x, v);
        let mut channel = 0;
        while channel < p.out_channels {
            let channels = shape.columns.min(p.out_channels - channel);
            for point in 0..shape.points {
                // The columns that fill half of a panel are zeros, and computing them needs no masks.
                let columns = channels.next_multiple_of(PANEL_COLUMNS / 2);
                let products = &mut m[point * shape.m_plane..];
                isa.gemm_block(Block {
                    k: p.in_channels,
                    a: &v[point * shape.v_plane..],
                    a_group: PANEL_ROWS * shape.v_row,
                    a_row: shape.v_row,
                    a_column: 1,
                    b: &w[point * w_plane + channel * p.in_channels..],
                    b_panel: p.in_channels * PANEL_COLUMNS,
                    b_row: PANEL_COLUMNS,
                    ahead: Ahead::new(w_plane, strip.count, S::STRIDED_ROWS),
                    init: Init::Zero,
                    c: MatrixMut::new(products, strip.count, columns, shape.columns),
                    bounds: Epilogue::UNBOUNDED,
                });
            }
            isa.transform_outputs(problem, &shape, strip, m, channel, channels, init, y, epilogue);
            channel += channels;
        }
        first += strip.count;
    }
}
