//! The transforms of a strip of tiles, on vectors of channels.

use super::transform::{F2, F4, Filter};
use super::{Shape, WinogradConv2dNhwc, WinogradTile};
use crate::kernels::linear::{Epilogue, Init, MatrixMut};
use crate::kernels::simd::Simd;

/// Consecutive tiles of an image, in order of rows.
#[derive(Clone, Copy)]
pub(in crate::kernels::linear) struct Strip {
    pub(super) first: usize,
    pub(super) count: usize,
}

crate::isa::kernel_table! {
    /// The two transforms, apart from each other to have the registers for themselves.
    pub(in crate::kernels::linear) single trait Transforms {
        /// Writes the transformed inputs of a strip to `v`, `[points][tiles][channels]` with the distances of `shape`.
        fn transform_inputs(problem: &WinogradConv2dNhwc, shape: &Shape, strip: Strip, x: &[f32], v: &mut [f32]) = inputs;

        /// Makes outputs of `m`, the sums of the channels `first_channel..first_channel + channels` of a strip.
        fn transform_outputs(
            problem: &WinogradConv2dNhwc, shape: &Shape, strip: Strip, m: &[f32], first_channel: usize,
            channels: usize, init: Init<'_>, y: &mut [f32], epilogue: Epilogue<'_>,
        ) = outputs;
    }
}

#[inline(always)]
fn inputs<S: Simd>(isa: S, problem: &WinogradConv2dNhwc, shape: &Shape, strip: Strip, x: &[f32], v: &mut [f32]) {
    match problem.tile {
        WinogradTile::F2 => inputs_of::<S, F2, 2, 4>(isa, problem, shape, strip, x, v),
        WinogradTile::F4 => inputs_of::<S, F4, 4, 6>(isa, problem, shape, strip, x, v),
    }
}

#[inline(always)]
fn inputs_of<S: Simd, F: Filter<OUT, IN>, const OUT: usize, const IN: usize>(
    isa: S,
    problem: &WinogradConv2dNhwc,
    shape: &Shape,
    strip: Strip,
    x: &[f32],
    v: &mut [f32],
) {
    let p = &problem.problem;
    let channels = p.in_channels;
    assert!(strip.count <= shape.tiles && shape.v_row.is_multiple_of(16) && channels <= shape.v_row);
    assert!(shape.v_plane >= shape.tiles * shape.v_row && v.len() >= shape.points * shape.v_plane);
    assert!(shape.points == IN * IN);
    for index in 0..strip.count {
        let tile = strip.first + index;
        let row = (tile / shape.tiles_across * OUT).wrapping_sub(p.pad[0]);
        let column = (tile % shape.tiles_across * OUT).wrapping_sub(p.pad[1]);
        let inside = |begin: usize, size: usize| begin < size && size - begin >= IN;
        let whole = inside(row, p.in_height) && inside(column, p.in_width) && p.x_channel == 1;
        let window = Window {
            x: x.as_ptr()
                .wrapping_add(row.wrapping_mul(p.x_row))
                .wrapping_add(column.wrapping_mul(p.x_column)),
            distances: [p.x_row, p.x_column, p.x_channel],
            present: [present::<IN>(row, p.in_height), present::<IN>(column, p.in_width)],
        };
        let target = v[index * shape.v_row..].as_mut_ptr();
        let full = if whole { channels / S::LANES * S::LANES } else { 0 };
        // SAFETY: a window has the rows and columns of the image that are present, at the distances for which the
        // length of `x` was checked, and every channel below `channels`. A vector is written to channels below
        // `v_row`, a multiple of the lanes, of one of `strip.count` tiles of every point, for which `v` was checked.
        unsafe {
            for channel in (0..full).step_by(S::LANES) {
                let source = window.x.wrapping_add(channel);
                let load = Whole {
                    isa,
                    source,
                    window: &window,
                };
                tile_inputs::<S, F, OUT, IN>(isa, load, target.add(channel), shape.v_plane);
            }
            for channel in (full..channels).step_by(S::LANES) {
                let load = Partial {
                    isa,
                    source: window.x.wrapping_add(channel.wrapping_mul(p.x_channel)),
                    count: S::LANES.min(channels - channel),
                    window: &window,
                };
                tile_inputs::<S, F, OUT, IN>(isa, load, target.add(channel), shape.v_plane);
            }
        }
    }
}

/// A bit for each of `IN` positions from `begin` on that exists in `size`; a position left of the image has wrapped.
#[inline(always)]
fn present<const IN: usize>(begin: usize, size: usize) -> u32 {
    let mut bits = 0;
    for index in 0..IN {
        bits |= u32::from(begin.wrapping_add(index) < size) << index;
    }
    bits
}

/// The part of an image under a tile. Its first position may be outside.
struct Window {
    x: *const f32,
    /// Elements between rows, columns and channels.
    distances: [usize; 3],
    /// A bit for each row and each column that exists.
    present: [u32; 2],
}

/// Where the pixels of a tile come from.
trait Load<S: Simd>: Copy {
    /// A vector of channels of a pixel.
    ///
    /// # Safety
    ///
    /// The window is valid for the channels that this was made for.
    unsafe fn pixel(self, row: usize, column: usize) -> S::F32;
}

/// All pixels exist, and a whole vector of contiguous channels.
#[derive(Clone, Copy)]
struct Whole<'a, S> {
    isa: S,
    source: *const f32,
    window: &'a Window,
}

impl<S: Simd> Load<S> for Whole<'_, S> {
    #[inline(always)]
    unsafe fn pixel(self, row: usize, column: usize) -> S::F32 {
        let [x_row, x_column, _] = self.window.distances;
        // SAFETY: as the caller vouches.
        unsafe { self.isa.load(self.source.add(row * x_row + column * x_column)) }
    }
}

/// Pixels outside of the image are zeros, and the first `count` channels exist, at any distance.
#[derive(Clone, Copy)]
struct Partial<'a, S> {
    isa: S,
    source: *const f32,
    count: usize,
    window: &'a Window,
}

impl<S: Simd> Load<S> for Partial<'_, S> {
    #[inline(always)]
    unsafe fn pixel(self, row: usize, column: usize) -> S::F32 {
        let [rows, columns] = self.window.present;
        let [x_row, x_column, x_channel] = self.window.distances;
        if (rows >> row) & (columns >> column) & 1 == 0 {
            return self.isa.splat(0.0);
        }
        let pixel = self
            .source
            .wrapping_add(row.wrapping_mul(x_row))
            .wrapping_add(column.wrapping_mul(x_column));
        // SAFETY: the pixel exists, and as the caller vouches.
        unsafe {
            if x_channel == 1 {
                return self.isa.load_masked(pixel, self.isa.lanes(0, self.count));
            }
            let mut values = [0.0; 16];
            for (channel, value) in values[..self.count].iter_mut().enumerate() {
                *value = *pixel.add(channel * x_channel);
            }
            self.isa.load(values.as_ptr())
        }
    }
}

/// Transforms a vector of channels of a tile and writes the values of the points `plane` elements apart.
///
/// # Safety
///
/// `load` is valid for all pixels of the tile, and `v` for writing a vector at every point.
#[inline(always)]
unsafe fn tile_inputs<S: Simd, F: Filter<OUT, IN>, const OUT: usize, const IN: usize>(
    isa: S,
    load: impl Load<S>,
    v: *mut f32,
    plane: usize,
) {
    let mut lines = [[isa.splat(0.0); IN]; IN];
    for (row, transformed) in lines.iter_mut().enumerate() {
        let mut line = [isa.splat(0.0); IN];
        for (column, value) in line.iter_mut().enumerate() {
            // SAFETY: as the caller vouches.
            *value = unsafe { load.pixel(row, column) };
        }
        *transformed = F::input(isa, line);
    }
    for column in 0..IN {
        let mut line = [isa.splat(0.0); IN];
        for (value, transformed) in line.iter_mut().zip(&lines) {
            *value = transformed[column];
        }
        for (row, value) in F::input(isa, line).into_iter().enumerate() {
            // SAFETY: as the caller vouches.
            unsafe { isa.store(v.add((row * IN + column) * plane), value) }
        }
    }
}

#[inline(always)]
fn outputs<S: Simd>(
    isa: S,
    problem: &WinogradConv2dNhwc,
    shape: &Shape,
    strip: Strip,
    m: &[f32],
    first_channel: usize,
    channels: usize,
    init: Init<'_>,
    y: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    let block = OutputBlock {
        problem,
        shape,
        m,
        first_channel,
        channels,
        init,
        epilogue,
    };
    match problem.tile {
        WinogradTile::F2 => block.run::<S, F2, 2, 4>(isa, strip, y),
        WinogradTile::F4 => block.run::<S, F4, 4, 6>(isa, strip, y),
    }
}

/// The operands of the output transform.
struct OutputBlock<'a> {
    problem: &'a WinogradConv2dNhwc,
    shape: &'a Shape,
    m: &'a [f32],
    first_channel: usize,
    channels: usize,
    init: Init<'a>,
    epilogue: Epilogue<'a>,
}

impl OutputBlock<'_> {
    #[inline(always)]
    fn run<S: Simd, F: Filter<OUT, IN>, const OUT: usize, const IN: usize>(&self, isa: S, strip: Strip, y: &mut [f32]) {
        let (p, shape) = (&self.problem.problem, self.shape);
        assert!(strip.count <= shape.tiles && self.channels <= shape.columns && shape.columns.is_multiple_of(16));
        assert!(shape.m_plane >= shape.tiles * shape.columns && self.m.len() >= shape.points * shape.m_plane);
        assert!(shape.points == IN * IN);
        for index in 0..strip.count {
            let tile = strip.first + index;
            let (row, column) = (tile / shape.tiles_across * OUT, tile % shape.tiles_across * OUT);
            let rows = OUT.min(p.out_height - row);
            let columns = OUT.min(p.out_width - column);
            let source = self.m[index * shape.columns..].as_ptr();
            for channel in (0..self.channels).step_by(S::LANES) {
                // SAFETY: a vector is read at channels below `columns`, a multiple of the lanes, of one of the tiles
                // of every point, for which `m` was checked.
                let values = unsafe { tile_outputs::<S, F, OUT, IN>(isa, source.add(channel), shape.m_plane) };
                for (c, line) in values.iter().enumerate().take(columns) {
                    for (r, &value) in line.iter().enumerate().take(rows) {
                        let pixel = (row + r) * p.out_width + column + c;
                        self.write(isa, pixel, channel, value, y);
                    }
                }
            }
            if self.epilogue.is_apart() {
                let mut y = MatrixMut::new(y, p.pixels(), p.out_channels, p.y_pixel);
                for r in 0..rows {
                    let pixel = (row + r) * p.out_width + column;
                    let channels = self.first_channel..self.first_channel + self.channels;
                    self.epilogue.finish(&mut y, pixel..pixel + columns, channels);
                }
            }
        }
    }

    /// Writes what exists of a vector of outputs, added to what `init` says.
    #[inline(always)]
    fn write<S: Simd>(&self, isa: S, pixel: usize, channel: usize, value: S::F32, y: &mut [f32]) {
        let column = self.first_channel + channel;
        let count = S::LANES.min(self.channels - channel);
        let target = &mut y[pixel * self.problem.problem.y_pixel + column..][..count];
        let (held, target) = (target.as_ptr(), target.as_mut_ptr());
        let whole = count == S::LANES;
        let lanes = isa.lanes(0, count);
        // SAFETY: `target` and the values of a start have `count` values, at most a vector.
        unsafe {
            let load = |from: *const f32| {
                if whole {
                    isa.load(from)
                } else {
                    isa.load_masked(from, lanes)
                }
            };
            let value = match self.init {
                Init::Zero => value,
                Init::PerColumn(values) => isa.add(value, load(values[column..][..count].as_ptr())),
                Init::PerRow(values) => isa.add(value, isa.splat(values[pixel])),
                Init::Accumulate => isa.add(value, load(held)),
            };
            let [low, high] = self.epilogue.bounds_if(true).map(|bound| isa.splat(bound));
            let value = isa.clamp(value, low, high);
            if whole {
                isa.store(target, value);
            } else {
                isa.store_masked(target, value, lanes);
            }
        }
    }
}

/// The outputs of a vector of channels of a tile, `[columns][rows]`, from sums whose points are `plane` elements apart.
///
/// # Safety
///
/// `m` is valid for reading a vector at every point.
#[inline(always)]
unsafe fn tile_outputs<S: Simd, F: Filter<OUT, IN>, const OUT: usize, const IN: usize>(
    isa: S,
    m: *const f32,
    plane: usize,
) -> [[S::F32; OUT]; OUT] {
    let mut lines = [[isa.splat(0.0); OUT]; IN];
    for (row, transformed) in lines.iter_mut().enumerate() {
        let mut line = [isa.splat(0.0); IN];
        for (column, value) in line.iter_mut().enumerate() {
            // SAFETY: as the caller vouches.
            *value = unsafe { isa.load(m.add((row * IN + column) * plane)) };
        }
        *transformed = F::output(isa, line);
    }
    let mut values = [[isa.splat(0.0); OUT]; OUT];
    for (column, values) in values.iter_mut().enumerate() {
        let mut line = [isa.splat(0.0); IN];
        for (value, transformed) in line.iter_mut().zip(&lines) {
            *value = transformed[column];
        }
        *values = F::output(isa, line);
    }
    values
}
