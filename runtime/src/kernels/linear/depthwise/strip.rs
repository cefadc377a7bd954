//! A strip of channels in scratch, with padding, split into phases.

use super::{SHARED_ROWS, SLACK};
use crate::kernels::linear::conv::Conv2d;
use crate::kernels::linear::min;
use crate::kernels::simd::Simd;

/// Values that a strip should fit, half of a first level cache.
const STRIP: usize = 6144;

/// What is in scratch at a time: a strip of one channel, or several channels where they are small.
///
/// What was just written in one width cannot be read at once in another, so several channels are better filled before
/// the first is used.
#[derive(Clone, Copy)]
pub(crate) struct Strip {
    /// Channels.
    pub(super) channels: usize,
    /// Output rows.
    pub(super) rows: usize,
    /// Rows of a phase.
    pub(super) height: usize,
    /// Columns of a phase.
    pub(super) width: usize,
    /// Phases of a channel.
    pub(super) phases: usize,
}

impl Strip {
    /// The strip of a problem. What does not fit in `usize` saturates, so that no scratch is long enough for it.
    pub(super) const fn new(problem: &Conv2d) -> Strip {
        let [kernel_y, kernel_x] = problem.kernel;
        let below = kernel_y.saturating_sub(1).saturating_mul(problem.dilation[0]) / problem.stride[0];
        let beyond = kernel_x.saturating_sub(1).saturating_mul(problem.dilation[1]) / problem.stride[1];
        let width = problem.out_width.saturating_add(beyond);
        let phases = problem.stride[0].saturating_mul(problem.stride[1]);
        let row = width.saturating_mul(phases).saturating_add(1);
        let mut rows = min((STRIP / row).saturating_sub(below), problem.out_height);
        if rows == 0 {
            rows = 1;
        }
        let height = rows.saturating_add(below);
        let mut channels = min(STRIP / height.saturating_mul(row), problem.in_channels);
        if channels == 0 || rows < problem.out_height {
            channels = 1;
        }
        Strip {
            channels,
            rows,
            height,
            width,
            phases,
        }
    }

    /// Values of a phase of a channel.
    pub(super) const fn plane(&self) -> usize {
        self.height.saturating_mul(self.width)
    }

    /// Values of a phase of all channels.
    pub(super) const fn phase(&self) -> usize {
        self.plane().saturating_mul(self.channels)
    }

    /// Values from the first of a channel on that its tiles may read.
    pub(super) const fn reach(&self) -> usize {
        (self.phases - 1) * self.phase() + self.plane() + self.slack()
    }

    /// Values that may be read past the end of a channel: rows of a tile that do not exist, and the end of a vector.
    const fn slack(&self) -> usize {
        self.width.saturating_mul(SHARED_ROWS - 1).saturating_add(SLACK)
    }
}

/// Values of scratch that a depthwise convolution needs.
pub const fn depthwise_conv2d_scratch(problem: &Conv2d) -> usize {
    let strip = Strip::new(problem);
    strip.phase().saturating_mul(strip.phases).saturating_add(strip.slack())
}

/// Fills the phases of a strip that begins at output row `oy` with channels from `channel` on.
#[inline(always)]
pub(super) fn fill<S: Simd>(
    isa: S,
    problem: &Conv2d,
    strip: Strip,
    x: &[f32],
    channel: usize,
    oy: usize,
    scratch: &mut [f32],
) {
    let [stride_y, stride_x] = problem.stride;
    let [pad_y, pad_x] = problem.pad;
    let (plane, width) = (strip.plane(), strip.width);
    let channels = strip.channels.min(problem.in_channels - channel);
    assert!(scratch.len() >= strip.phase() * strip.phases + strip.slack());
    for phase in 0..strip.phases {
        let (ry, rx) = (phase / stride_x, phase % stride_x);
        // The columns `stride_x * column + rx - pad` and rows `stride_y * (oy + row) + ry - pad` of the image that exist.
        let (begin, end) = existing(rx, stride_x, pad_x, problem.in_width, width);
        let (above, below) = existing(oy * stride_y + ry, stride_y, pad_y, problem.in_height, strip.height);
        let scratch = &mut scratch[phase * strip.phase()..];
        if begin == end || above == below {
            scratch[..channels * plane].fill(0.0);
            continue;
        }
        let y = oy * stride_y + ry + above * stride_y - pad_y;
        let first = y * problem.x_row + (stride_x * begin + rx - pad_x) * problem.x_column;
        let lines = Lines {
            step: stride_y * problem.x_row,
            count: below - above,
            begin,
            end,
            width,
        };
        for index in 0..channels {
            let x = &x[(channel + index) * problem.x_channel + first..];
            let target = &mut scratch[index * plane..];
            zero(isa, target, above * width);
            let rows = &mut target[above * width..];
            match stride_x * problem.x_column {
                1 => lines.copy::<S, false>(isa, x, rows),
                2 => lines.copy::<S, true>(isa, x, rows),
                step => lines.gather(step, x, rows),
            }
            zero(isa, &mut target[below * width..], plane - below * width);
        }
    }
}

/// Writes at least `len` zeros, in whole vectors: what follows is written later, or slack.
#[inline(always)]
fn zero<S: Simd>(isa: S, target: &mut [f32], len: usize) {
    assert!(target.len() >= len.next_multiple_of(S::LANES));
    for index in (0..len).step_by(S::LANES) {
        // SAFETY: the target has room for `len` rounded up to whole vectors.
        unsafe { isa.store(target.as_mut_ptr().add(index), isa.splat(0.0)) }
    }
}

/// The indices below `count` for which `index * stride + first - pad` is below `size`.
#[inline(always)]
fn existing(first: usize, stride: usize, pad: usize, size: usize, count: usize) -> (usize, usize) {
    let begin = pad.saturating_sub(first).div_ceil(stride).min(count);
    let end = (size + pad).saturating_sub(first).div_ceil(stride).min(count);
    (begin, end.max(begin))
}

/// Rows of an image that a phase has, and the columns of the phase that they fill; the others are zero.
struct Lines {
    /// Elements between rows of the image.
    step: usize,
    count: usize,
    begin: usize,
    end: usize,
    /// Columns of the phase.
    width: usize,
}

impl Lines {
    /// Copies elements that are neighbors or, if `EVEN`, every second one, from the first that exists on.
    ///
    /// Whole vectors are written, past the end of a row too: what follows is written later, or slack.
    #[inline(always)]
    fn copy<S: Simd, const EVEN: bool>(&self, isa: S, x: &[f32], target: &mut [f32]) {
        let &Lines {
            step,
            count,
            begin,
            end,
            width,
        } = self;
        let apart = if EVEN { 2 } else { 1 };
        assert!(begin < end && x.len() > (count - 1) * step + (end - begin - 1) * apart);
        assert!(target.len() >= (count - 1) * width + width.next_multiple_of(S::LANES));
        // The elements of a row are counted from column 0, which may lie before the first that exists.
        let elements = (begin * apart, (end - 1) * apart + 1);
        let vectors = width.div_ceil(S::LANES);
        // Vectors between `whole.0` and `whole.1` read existing elements only.
        let whole_end = (elements.1 / (apart * S::LANES)).min(vectors);
        let whole = (elements.0.div_ceil(apart * S::LANES).min(whole_end), whole_end);
        let mut source = x.as_ptr().wrapping_sub(elements.0);
        let mut target = target.as_mut_ptr();
        for _ in 0..count {
            // SAFETY: `x` holds the elements of `count` rows, and the target has room for whole vectors. The vectors
            // that are loaded without a mask are within the elements.
            unsafe {
                for vector in 0..whole.0 {
                    copy_edge::<S, EVEN>(isa, source, target, vector, elements);
                }
                for vector in whole.0..whole.1 {
                    let from = source.wrapping_add(vector * apart * S::LANES);
                    let mut value = isa.load(from);
                    if EVEN {
                        value = isa.even(value, isa.load(from.add(S::LANES)));
                    }
                    isa.store(target.add(vector * S::LANES), value);
                }
                for vector in whole.1..vectors {
                    copy_edge::<S, EVEN>(isa, source, target, vector, elements);
                }
            }
            source = source.wrapping_add(step);
            target = target.wrapping_add(width);
        }
    }

    /// Copies elements `apart` from each other, from the first that exists on.
    #[inline(always)]
    fn gather(&self, apart: usize, x: &[f32], target: &mut [f32]) {
        for (row, target) in target.chunks_exact_mut(self.width).take(self.count).enumerate() {
            target[..self.begin].fill(0.0);
            target[self.end..].fill(0.0);
            let target = &mut target[self.begin..self.end];
            let source = &x[row * self.step..][..(target.len() - 1) * apart + 1];
            for (column, value) in target.iter_mut().enumerate() {
                *value = source[column * apart];
            }
        }
    }
}

/// Copies a vector of a row of which only the elements between `elements.0` and `elements.1` exist.
///
/// # Safety
///
/// `source` is valid for the elements, counted from it, and `target` for the vector.
#[inline(always)]
unsafe fn copy_edge<S: Simd, const EVEN: bool>(
    isa: S,
    source: *const f32,
    target: *mut f32,
    vector: usize,
    elements: (usize, usize),
) {
    let index = vector * S::LANES * if EVEN { 2 } else { 1 };
    // SAFETY: as the caller vouches; the masks have lanes of existing elements only.
    unsafe {
        let mut value = load_existing(isa, source, index, elements);
        if EVEN {
            value = isa.even(value, load_existing(isa, source, index + S::LANES, elements));
        }
        isa.store(target.add(vector * S::LANES), value);
    }
}

/// Loads the elements from `index` on, zero where they are not between `elements.0` and `elements.1`.
///
/// # Safety
///
/// `source` is valid for the elements, counted from it.
#[inline(always)]
unsafe fn load_existing<S: Simd>(isa: S, source: *const f32, index: usize, elements: (usize, usize)) -> S::F32 {
    let end = elements.1.saturating_sub(index).min(S::LANES);
    let lanes = isa.lanes(elements.0.saturating_sub(index).min(end), end);
    // SAFETY: as the caller vouches.
    unsafe { isa.load_masked(source.wrapping_add(index), lanes) }
}

/// Values of scratch that are enough for this depthwise convolution and for every one with smaller images.
pub const fn depthwise_conv2d_scratch_bound(problem: &Conv2d) -> usize {
    let [kernel_y, kernel_x] = problem.kernel;
    let below = kernel_y.saturating_sub(1).saturating_mul(problem.dilation[0]) / problem.stride[0];
    let beyond = kernel_x.saturating_sub(1).saturating_mul(problem.dilation[1]) / problem.stride[1];
    let width = problem.out_width.saturating_add(beyond);
    let phases = problem.stride[0].saturating_mul(problem.stride[1]);
    let row = width.saturating_mul(phases).saturating_add(1);
    // A strip has all rows of all channels, or fits in `STRIP`, or is a single row of a single channel.
    let all = row
        .saturating_mul(problem.out_height.saturating_add(below))
        .saturating_mul(problem.in_channels);
    let single = row.saturating_mul(below.saturating_add(1));
    let strip = min(all, if single > STRIP { single } else { STRIP });
    strip
        .saturating_add(width.saturating_mul(SHARED_ROWS - 1))
        .saturating_add(SLACK)
}
