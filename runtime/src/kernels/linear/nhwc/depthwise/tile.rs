//! The register tiles of a channels-last depthwise convolution.

use crate::kernels::linear::tile::Start;
use crate::kernels::simd::Simd;
use core::ops::Range;

/// Addresses that a tile may have: those of 10 input rows for 8 columns of a kernel of 5 and a stride of 2, or those of 8
/// columns for each of 24 taps.
pub(super) const ADDRESSES: usize = 192;

/// Columns of the tile that computes `width` of them.
#[inline(always)]
pub(super) fn columns(width: usize) -> usize {
    match width {
        0..=4 => 4,
        5 | 6 => 6,
        _ => 8,
    }
}

/// Whether there is code for two output rows at a time, which read fewer pixels of the input but need more registers.
#[inline(always)]
pub(super) const fn is_paired<S: Simd>(kernel: usize, stride: usize) -> bool {
    false && S::LANES == 16 && stride == 1 && kernel == 3
}

/// Input columns of a line that a tile reads.
#[inline(always)]
pub(super) const fn inputs(kernel: usize, stride: usize, columns: usize) -> usize {
    (columns - 1) * stride + kernel
}

/// Input pixels that neighboring taps of a kernel read.
#[derive(Clone, Copy)]
pub(super) struct Line {
    /// The first of the taps, for the first output row and for the second.
    pub(super) taps: [usize; 2],
    /// Whether there are such taps.
    pub(super) used: [bool; 2],
}

impl Line {
    pub(super) const EMPTY: Line = Line {
        taps: [0; 2],
        used: [false; 2],
    };
}

/// One or two output rows by at most 8 columns of some channels.
pub(super) struct Tile<'a> {
    pub(super) lines: &'a [Line],
    /// The pixels of each line, [`inputs`] of them.
    pub(super) addresses: &'a [*const f32; ADDRESSES],
    /// The weights, `[taps, channels]`.
    pub(super) w: *const f32,
    pub(super) channels: usize,
    /// The channels to compute.
    pub(super) range: Range<usize>,
    /// Rows and columns.
    pub(super) size: [usize; 2],
    pub(super) start: Start,
    /// Channel 0 of the first pixel of the output.
    pub(super) target: *mut f32,
    /// Elements between output rows.
    pub(super) row: usize,
    /// Elements between output pixels.
    pub(super) pixel: usize,
    /// Pixels of an output row.
    pub(super) row_pixels: usize,
    /// The bounds between which the result is brought.
    pub(super) bounds: [f32; 2],
}

impl Tile<'_> {
    /// Computes the tile.
    ///
    /// # Safety
    ///
    /// The addresses are valid for reading the channels of the range, `w` for those of the taps of all used lines,
    /// `target` for reading and writing those of `size` pixels, and `start` for reading these.
    #[inline(always)]
    pub(super) unsafe fn run<S: Simd, const KX: usize, const SX: usize>(&self, isa: S) {
        // SAFETY: as the caller vouches.
        unsafe {
            match (self.size[0], columns(self.size[1])) {
                (2, 8) if is_paired::<S>(KX, SX) => self.vectors::<S, KX, SX, 8, 2>(isa),
                (2, 6) if is_paired::<S>(KX, SX) => self.vectors::<S, KX, SX, 6, 2>(isa),
                (2, _) if is_paired::<S>(KX, SX) => self.vectors::<S, KX, SX, 4, 2>(isa),
                (1, 8) => self.vectors::<S, KX, SX, 8, 1>(isa),
                (1, 6) => self.vectors::<S, KX, SX, 6, 1>(isa),
                (1, _) => self.vectors::<S, KX, SX, 4, 1>(isa),
                _ => unreachable!("a tile has one or two rows"),
            }
        }
    }

    /// # Safety
    ///
    /// As of [`run`](Tile::run), with at most `COLS` columns and `ROWS` rows.
    #[inline(always)]
    unsafe fn vectors<S: Simd, const KX: usize, const SX: usize, const COLS: usize, const ROWS: usize>(&self, isa: S) {
        let mut channel = self.range.start;
        // SAFETY: as the caller vouches; the lanes of a vector are within the range.
        unsafe {
            while self.range.end - channel >= S::LANES {
                let all = isa.lanes(0, S::LANES);
                self.vector::<S, KX, SX, COLS, ROWS, false>(isa, channel, all);
                channel += S::LANES;
            }
            if S::LANES == 16 && self.range.end - channel == 8 {
                let all = isa.narrow().lanes(0, 8);
                self.vector::<S::Narrow, KX, SX, COLS, ROWS, false>(isa.narrow(), channel, all);
            } else if channel < self.range.end {
                let some = isa.lanes(0, self.range.end - channel);
                self.vector::<S, KX, SX, COLS, ROWS, true>(isa, channel, some);
            }
        }
    }

    /// Computes one vector of channels, or those `lanes` of it that exist if `MASKED`.
    ///
    /// # Safety
    ///
    /// As of [`vectors`](Tile::vectors); the lanes from `channel` on are in the range.
    #[inline(always)]
    unsafe fn vector<
        S: Simd,
        const KX: usize,
        const SX: usize,
        const COLS: usize,
        const ROWS: usize,
        const MASKED: bool,
    >(
        &self,
        isa: S,
        channel: usize,
        lanes: S::Mask,
    ) {
        // SAFETY: what is read here are channels of the range.
        let load = |source: *const f32| unsafe {
            if MASKED {
                isa.load_masked(source, lanes)
            } else {
                isa.load(source)
            }
        };
        let mut sums = [[isa.splat(0.0); COLS]; ROWS];
        let inputs = inputs(KX, SX, COLS);
        let w = self.w.wrapping_add(channel);
        for (index, line) in self.lines.iter().enumerate() {
            let addresses: &[*const f32] = &self.addresses[index * inputs..][..inputs];
            let mut weights = [[isa.splat(0.0); KX]; ROWS];
            for (weights, (&tap, &used)) in weights.iter_mut().zip(line.taps.iter().zip(&line.used)) {
                if used {
                    for (kx, weight) in weights.iter_mut().enumerate() {
                        *weight = load(w.wrapping_add((tap + kx) * self.channels));
                    }
                }
            }
            let value = |input: usize| load(addresses[input].wrapping_add(channel));
            let (first, second) = sums.split_at_mut(1);
            match (second.first_mut(), line.used) {
                (Some(second), [true, true]) => {
                    let weights = [&weights[0], &weights[ROWS - 1]];
                    accumulate::<S, KX, SX, COLS, 2>(isa, [&mut first[0], second], weights, value);
                }
                (Some(second), [false, true]) => {
                    accumulate::<S, KX, SX, COLS, 1>(isa, [second], [&weights[ROWS - 1]], value);
                }
                _ => accumulate::<S, KX, SX, COLS, 1>(isa, [&mut first[0]], [&weights[0]], value),
            }
        }
        let [low, high] = self.bounds.map(|bound| isa.splat(bound));
        for (row, sums) in sums.iter().enumerate() {
            for (column, &sum) in sums.iter().enumerate() {
                if column >= self.size[1] {
                    break;
                }
                let at = row * self.row + column * self.pixel + channel;
                let pixel = row * self.row_pixels + column;
                let target = self.target.wrapping_add(at);
                // SAFETY: the caller vouches for the channels of `size` pixels of `target` and `start`.
                unsafe {
                    let value = match self.start {
                        Start::Zero => sum,
                        Start::Matrix(start, stride) => {
                            isa.add(sum, load(start.wrapping_add(pixel * stride + channel)))
                        }
                        Start::PerRow(start) => isa.add(sum, isa.splat(*start.add(pixel))),
                    };
                    let value = isa.clamp(value, low, high);
                    if MASKED {
                        isa.store_masked(target, value, lanes);
                    } else {
                        isa.store(target, value);
                    }
                }
            }
        }
    }
}

/// Adds the taps of a line to the columns of one or two rows. An input that several columns read is loaded once, because
/// nothing is written in between.
#[inline(always)]
fn accumulate<S: Simd, const KX: usize, const SX: usize, const COLS: usize, const ROWS: usize>(
    isa: S,
    mut sums: [&mut [S::F32; COLS]; ROWS],
    weights: [&[S::F32; KX]; ROWS],
    value: impl Fn(usize) -> S::F32,
) {
    for column in 0..COLS {
        for kx in 0..KX {
            let value = value(column * SX + kx);
            for (sums, weights) in sums.iter_mut().zip(&weights) {
                sums[column] = isa.mul_add(weights[kx], value, sums[column]);
            }
        }
    }
}
