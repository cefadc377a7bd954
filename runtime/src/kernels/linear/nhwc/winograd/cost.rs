//! When tiles are faster than the definition.

use super::{LEAST, Shape, WinogradConv2dNhwc, WinogradTile};
use crate::kernels::linear::PANEL_COLUMNS;
use crate::kernels::linear::nhwc::Conv2dNhwc;

/// Multiply-adds in the time that a weight takes to come from memory. Zen 4 reads 4 bytes at 20 GB/s and does 53 G a second,
/// which is 10; Zen 5 and Emerald Rapids do 85 to 140 G and read no faster.
const MEMORY: f64 = 20.0;

/// The same for few weights, of which a cache of the core still has a part when the model is run again soon.
const FEW: f64 = 10.0;

/// Bytes of few weights: half of a second level cache, or less.
const FEW_BYTES: f64 = 1e6;

/// Multiply-adds in the time that a weight takes to come from the last level cache.
const CACHE: f64 = 2.5;

/// Bytes of weights that the last level cache keeps from one strip to the next.
const LAST_LEVEL: f64 = 16e6;

/// Terms in the time that a register tile takes to begin and end.
const TILE: f64 = 8.0;

/// What another algorithm must gain to be worth its larger weights and scratch, and the larger tile its error.
const GAIN: f64 = 0.85;

/// Whether a convolution can be computed in tiles at all.
pub const fn winograd_applies(problem: &Conv2dNhwc) -> bool {
    let p = problem;
    p.kernel[0] == 3
        && p.kernel[1] == 3
        && p.stride[0] == 1
        && p.stride[1] == 1
        && p.dilation[0] == 1
        && p.dilation[1] == 1
        && p.groups == 1
        && p.in_channels > 0
}

/// Multiply-adds in the time that each of so many weights takes.
const fn weight_time(weights: f64) -> f64 {
    if weights * 4.0 > FEW_BYTES { MEMORY } else { FEW }
}

/// The tile with which a convolution is faster than without, unless there is none.
///
/// This counts the time that a core takes in multiply-adds, for weights that come from memory, as in a model that is
/// run once in a while:
///
/// - a register tile takes a little more than its depth, which matters for few input channels;
/// - weights are read once for all tiles of a strip, so that the 36 instead of 9 values of the larger tile, and 16 of
///   the smaller one, do not pay for an image of few pixels;
/// - the transforms take about 225 multiply-adds for a channel of a tile of 4 by 4 on each side, and 65 for one of 2 by
///   2, which matters for few channels on the other side;
/// - tiles that reach out of the image are computed as a whole.
///
/// The constants are fitted to measurements of AVX2 and AVX-512 on layers of 3 to 1024 channels.
pub const fn winograd_is_faster(problem: &Conv2dNhwc) -> Option<WinogradTile> {
    let p = problem;
    if !winograd_applies(p) {
        return None;
    }
    let columns = p.out_channels.next_multiple_of(PANEL_COLUMNS / 2) as f64;
    let pixels = p.out_height as f64 * p.out_width as f64;
    let depth = 9.0 * p.in_channels as f64;
    let direct = (pixels + weight_time(depth * columns)) * (depth + TILE) * columns;
    let (small, large) = (cost(p, WinogradTile::F2), cost(p, WinogradTile::F4));
    if large < GAIN * small && large < GAIN * direct {
        Some(WinogradTile::F4)
    } else if small < GAIN * direct {
        Some(WinogradTile::F2)
    } else {
        None
    }
}

/// What strips of fewer than [`LEAST`] tiles cost, whose register tiles are low.
const LOW: f64 = 1.15;

/// The time that a convolution takes with this many values of scratch, in multiply-adds.
pub const fn winograd_conv2d_nhwc_time(problem: &WinogradConv2dNhwc, scratch: usize) -> f64 {
    let (best, shape) = (Shape::new(problem), Shape::within(problem, scratch));
    let low = if shape.tiles < LEAST && shape.tiles < best.tiles {
        LOW
    } else {
        1.0
    };
    time(problem, &shape) * low
}

/// The time of a convolution in tiles, in multiply-adds.
const fn cost(p: &Conv2dNhwc, tile: WinogradTile) -> f64 {
    let problem = WinogradConv2dNhwc { problem: *p, tile };
    time(&problem, &Shape::new(&problem))
}

const fn time(problem: &WinogradConv2dNhwc, shape: &Shape) -> f64 {
    let WinogradConv2dNhwc { problem: p, tile } = problem;
    if shape.total == 0 {
        return 0.0;
    }
    let transform = match tile {
        WinogradTile::F2 => 65.0,
        WinogradTile::F4 => 225.0,
    };
    let columns = p.out_channels.next_multiple_of(PANEL_COLUMNS / 2) as f64;
    let lanes =
        p.in_channels.next_multiple_of(PANEL_COLUMNS) as f64 + p.out_channels.next_multiple_of(PANEL_COLUMNS) as f64;
    let (tiles, points) = (shape.total as f64, shape.points as f64);
    let weights = points * p.in_channels as f64 * columns;
    let again = if weights * 4.0 > LAST_LEVEL { MEMORY } else { CACHE };
    let strips = shape.total.div_ceil(shape.tiles) as f64;
    tiles * points * (p.in_channels as f64 + TILE) * columns
        + weights * (weight_time(weights) + again * (strips - 1.0))
        + tiles * lanes * transform
}
