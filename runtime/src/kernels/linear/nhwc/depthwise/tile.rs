//! The register tiles of a channels-last depthwise convolution.

use crate::kernels::linear::store::Start;
use crate::kernels::simd::Simd;
use core::ops::Range;

/// Columns of the tile that computes `width` of them.
#[inline(always)]
pub(super) fn columns(width: usize) -> usize {
    match width {
        0..=4 => 4,
        5 | 6 => 6,
        _ => 8,
    }
}

/// Input columns of a line that a tile reads.
#[inline(always)]
pub(super) const fn inputs(kernel: usize, stride: usize, columns: usize) -> usize {
    (columns - 1) * stride + kernel
}

/// An output row by at most 8 columns of some channels.
pub(super) struct Tile<'a> {
    /// The first tap of each line.
    pub(super) lines: &'a [usize],
    /// The pixels of each line from the first that the tile reads on, [`inputs`] of them.
    pub(super) addresses: &'a [*const f32],
    /// Addresses between those of lines.
    pub(super) pitch: usize,
    /// The weights, `[taps, channels]`.
    pub(super) w: *const f32,
    pub(super) channels: usize,
    /// The channels to compute.
    pub(super) range: Range<usize>,
    pub(super) columns: usize,
    pub(super) start: Start,
    /// Channel 0 of the first pixel of the output.
    pub(super) target: *mut f32,
    /// Elements between output pixels.
    pub(super) pixel: usize,
    /// The bounds between which the result is brought.
    pub(super) bounds: [f32; 2],
}

impl Tile<'_> {
    /// Computes the tile.
    ///
    /// # Safety
    ///
    /// The addresses are valid for reading the channels of the range, `w` for those of the taps of all lines, `target` for
    /// reading and writing those of `columns` pixels, and `start` for reading these.
    #[inline(always)]
    pub(super) unsafe fn run<S: Simd, const KX: usize, const SX: usize>(&self, isa: S) {
        // SAFETY: as the caller vouches.
        unsafe {
            match columns(self.columns) {
                8 => self.vectors::<S, KX, SX, 8>(isa),
                6 => self.vectors::<S, KX, SX, 6>(isa),
                _ => self.vectors::<S, KX, SX, 4>(isa),
            }
        }
    }

    /// # Safety
    ///
    /// As of [`run`](Tile::run), with at most `COLS` columns.
    #[inline(always)]
    unsafe fn vectors<S: Simd, const KX: usize, const SX: usize, const COLS: usize>(&self, isa: S) {
        let mut channel = self.range.start;
        // SAFETY: as the caller vouches; the lanes of a vector are within the range.
        unsafe {
            while self.range.end - channel >= S::LANES {
                let all = isa.lanes(0, S::LANES);
                self.vector::<S, KX, SX, COLS, false>(isa, channel, all);
                channel += S::LANES;
            }
            if S::LANES == 16 && self.range.end - channel == 8 {
                let all = isa.narrow().lanes(0, 8);
                self.vector::<S::Narrow, KX, SX, COLS, false>(isa.narrow(), channel, all);
            } else if channel < self.range.end {
                let some = isa.lanes(0, self.range.end - channel);
                self.vector::<S, KX, SX, COLS, true>(isa, channel, some);
            }
        }
    }

    /// Computes one vector of channels, or those `lanes` of it that exist if `MASKED`.
    ///
    /// # Safety
    ///
    /// As of [`vectors`](Tile::vectors); the lanes from `channel` on are in the range.
    #[inline(always)]
    unsafe fn vector<S: Simd, const KX: usize, const SX: usize, const COLS: usize, const MASKED: bool>(
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
        let mut sums = [isa.splat(0.0); COLS];
        match self.start {
            Start::Zero => {}
            Start::Matrix(start, 0) => sums = [load(start.wrapping_add(channel)); COLS],
            // Columns that do not exist begin as the last that does.
            Start::Matrix(start, stride) => {
                for (column, sum) in sums.iter_mut().enumerate() {
                    *sum = load(start.wrapping_add(column.min(self.columns - 1) * stride + channel));
                }
            }
            Start::PerRow(start) => {
                for (column, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: the caller vouches for a value of every pixel.
                    *sum = isa.splat(unsafe { *start.add(column.min(self.columns - 1)) });
                }
            }
        }
        let inputs = inputs(KX, SX, COLS);
        let w = self.w.wrapping_add(channel);
        for (line, &tap) in self.lines.iter().enumerate() {
            let addresses: &[*const f32] = &self.addresses[line * self.pitch..][..inputs];
            let mut weights = [isa.splat(0.0); KX];
            for (kx, weight) in weights.iter_mut().enumerate() {
                *weight = load(w.wrapping_add((tap + kx) * self.channels));
            }
            // An input that several columns read is loaded once, because nothing is written in between.
            for (column, sum) in sums.iter_mut().enumerate() {
                for (kx, &weight) in weights.iter().enumerate() {
                    let value = load(addresses[column * SX + kx].wrapping_add(channel));
                    *sum = isa.mul_add(weight, value, *sum);
                }
            }
        }
        let [low, high] = self.bounds.map(|bound| isa.splat(bound));
        let mut target = self.target.wrapping_add(channel);
        for (column, &sum) in sums.iter().enumerate() {
            if column < self.columns {
                let value = isa.clamp(sum, low, high);
                // SAFETY: the caller vouches for the channels of `columns` pixels.
                unsafe {
                    if MASKED {
                        isa.store_masked(target, value, lanes);
                    } else {
                        isa.store(target, value);
                    }
                }
                target = target.wrapping_add(self.pixel);
            }
        }
    }
}
