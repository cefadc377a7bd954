//! Depthwise convolution, one channel at a time.
//!
//! A strip of a channel is copied into scratch with its padding and split into phases: phase `(ry, rx)` holds the
//! elements `(stride_y * y + ry, stride_x * x + rx)` of the padded image as a dense plane. A tap then reads one phase
//! at a constant distance from the output position, whatever the stride, the dilation and the padding are, so that a
//! register tile of whole vectors of one or several rows runs over the taps without a decision.

use super::conv::Conv2d;
use super::{Epilogue, Init, Position, min};
use crate::kernels::simd::Simd;

/// Values that a strip should fit, half of a first level cache.
const STRIP: usize = 6144;

/// Vectors of a register tile.
const TILE: usize = 8;

/// Rows of a tile that shares what it loads.
const SHARED_ROWS: usize = 4;

/// Most values that may be read past the end of a row: those of a tile.
const SLACK: usize = TILE * 16;

/// Taps whose distances are at hand at a time.
const TAPS: usize = 64;

/// What is in scratch at a time: a strip of one channel, or several channels where they are small.
///
/// What was just written in one width cannot be read at once in another, so several channels are better filled before
/// the first is used.
#[derive(Clone, Copy)]
pub(super) struct Strip {
    /// Channels.
    channels: usize,
    /// Output rows.
    rows: usize,
    /// Rows of a phase.
    height: usize,
    /// Columns of a phase.
    width: usize,
    /// Phases of a channel.
    phases: usize,
}

impl Strip {
    const fn new(problem: &Conv2d) -> Strip {
        let [kernel_y, kernel_x] = problem.kernel;
        let below = kernel_y.saturating_sub(1) * problem.dilation[0] / problem.stride[0];
        let beyond = kernel_x.saturating_sub(1) * problem.dilation[1] / problem.stride[1];
        let width = problem.out_width + beyond;
        let phases = problem.stride[0] * problem.stride[1];
        let mut rows = min((STRIP / (width * phases + 1)).saturating_sub(below), problem.out_height);
        if rows == 0 {
            rows = 1;
        }
        let height = rows + below;
        let mut channels = min(STRIP / (height * width * phases + 1), problem.in_channels);
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
    const fn plane(&self) -> usize {
        self.height * self.width
    }

    /// Values of a phase of all channels.
    const fn phase(&self) -> usize {
        self.plane() * self.channels
    }

    /// Values from the first of a channel on that its tiles may read.
    const fn reach(&self) -> usize {
        (self.phases - 1) * self.phase() + self.plane() + self.slack()
    }

    /// Values that may be read past the end of a channel: rows of a tile that do not exist, and the end of a vector.
    const fn slack(&self) -> usize {
        (SHARED_ROWS - 1) * self.width + SLACK
    }
}

/// Values of scratch that a depthwise convolution needs.
pub const fn depthwise_conv2d_scratch(problem: &Conv2d) -> usize {
    let strip = Strip::new(problem);
    strip.phase() * strip.phases + strip.slack()
}

crate::isa::kernel_table! {
    /// The two loops of a depthwise convolution, apart from each other to have the registers for themselves.
    pub(super) trait Strips {
        /// Fills the phases of a strip that begins at output row `oy` with channels from `channel` on.
        fn fill_strip(problem: &Conv2d, strip: Strip, x: &[f32], channel: usize, oy: usize, scratch: &mut [f32]) = fill;

        /// Adds taps to `run`, the output rows of a strip of one channel, which starts from `start` and what `add`
        /// says.
        fn convolve_strip(taps: &Taps, strip: Strip, phases: &[f32], w: &[f32], start: f32, add: Add<'_>, run: &mut [f32])
            = convolve;
    }
}

#[inline(always)]
pub(super) fn depthwise_conv2d<S: Simd + Strips>(
    isa: S,
    problem: &Conv2d,
    x: &[f32],
    w: &[f32],
    init: Init<'_>,
    y: &mut [f32],
    scratch: &mut [f32],
    epilogue: Epilogue<'_>,
) {
    problem.check(x, init, y);
    assert!(
        problem.groups == problem.in_channels,
        "depthwise convolution: a group has more than one channel"
    );
    let taps = problem.taps();
    assert!(
        w.len() >= problem.out_channels * taps,
        "depthwise convolution: the weights are too short"
    );
    assert!(
        scratch.len() >= depthwise_conv2d_scratch(problem),
        "depthwise convolution: the scratch is too short"
    );
    let (pixels, out_width) = (problem.pixels(), problem.out_width);
    if pixels == 0 {
        return;
    }
    let multiplier = problem.out_channels / problem.groups;
    let shape = Strip::new(problem);
    let mut pass = Taps::new(problem, shape, 0);
    let mut first_channel = 0;
    while first_channel < problem.in_channels {
        let channels = shape.channels.min(problem.in_channels - first_channel);
        let mut oy = 0;
        while oy < problem.out_height {
            let strip = Strip {
                rows: shape.rows.min(problem.out_height - oy),
                ..shape
            };
            isa.fill_strip(problem, strip, x, first_channel, oy, scratch);
            let first = oy * out_width;
            for index in 0..channels * multiplier {
                let row = first_channel * multiplier + index;
                let run = &mut y[row * problem.y_channel + first..][..strip.rows * out_width];
                let phases = &scratch[index / multiplier * strip.plane()..];
                let w = &w[row * taps..][..taps];
                let (mut start, mut add) = match init {
                    Init::Zero => (0.0, Add::Nothing),
                    Init::PerRow(values) => (values[row], Add::Nothing),
                    Init::PerColumn(values) => (0.0, Add::Values(&values[first..])),
                    Init::Accumulate => (0.0, Add::Output),
                };
                // A kernel of more taps than a pass holds takes several, which follow each other in the output.
                let mut done = 0;
                loop {
                    if taps > TAPS {
                        pass = Taps::new(problem, shape, done);
                    }
                    isa.convolve_strip(&pass, strip, phases, &w[done..], start, add, run);
                    done += TAPS;
                    if done >= taps {
                        break;
                    }
                    (start, add) = (0.0, Add::Output);
                }
                if let Some(epilogue) = epilogue {
                    epilogue(run, Position { row, column: first });
                }
            }
            oy += strip.rows;
        }
        first_channel += channels;
    }
}

/// Distances of taps from the output position in the phases of a strip.
pub(super) struct Taps {
    distance: [usize; TAPS],
    count: usize,
    out_width: usize,
    /// Height and width of a kernel whose rows are one row of a phase apart, and which are all here.
    rows: Option<[usize; 2]>,
}

impl Taps {
    /// The taps from `first` on, as many as there is room for.
    #[inline(always)]
    fn new(problem: &Conv2d, strip: Strip, first: usize) -> Taps {
        let [stride_y, stride_x] = problem.stride;
        let [kernel_y, kernel_x] = problem.kernel;
        let mut taps = Taps {
            distance: [0; TAPS],
            count: 0,
            out_width: problem.out_width,
            rows: None,
        };
        for (tap, distance) in (first..problem.taps()).zip(&mut taps.distance) {
            let (y, x) = (
                tap / kernel_x * problem.dilation[0],
                tap % kernel_x * problem.dilation[1],
            );
            let phase = y % stride_y * stride_x + x % stride_x;
            *distance = phase * strip.phase() + y / stride_y * strip.width + x / stride_x;
            taps.count += 1;
        }
        if stride_y == 1 && problem.dilation[0] == 1 && taps.count == problem.taps() {
            taps.rows = Some([kernel_y, kernel_x]);
        }
        taps
    }
}

#[inline(always)]
fn fill<S: Simd>(isa: S, problem: &Conv2d, strip: Strip, x: &[f32], channel: usize, oy: usize, scratch: &mut [f32]) {
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

/// What is added to the sums on their way into the output.
#[derive(Clone, Copy)]
pub(super) enum Add<'a> {
    Nothing,
    Output,
    Values(&'a [f32]),
}

/// The operands of the tiles of a strip, valid for it and its slack.
#[derive(Clone, Copy)]
struct Operands<'a> {
    distance: &'a [usize],
    phases: *const f32,
    w: &'a [f32],
    start: f32,
}

#[inline(always)]
fn convolve<S: Simd>(
    isa: S,
    taps: &Taps,
    strip: Strip,
    phases: &[f32],
    w: &[f32],
    start: f32,
    add: Add<'_>,
    run: &mut [f32],
) {
    assert!(phases.len() >= strip.reach());
    let (distance, w) = (&taps.distance[..taps.count], &w[..taps.count]);
    let operands = Operands {
        distance,
        phases: phases.as_ptr(),
        w,
        start,
    };
    let output = Output::new(strip.rows, taps.out_width, add, run);
    // SAFETY: the distance of a tap is that of a phase, and at most as many rows and columns as a phase has beyond the
    // output. So a vector begins within a row of a phase, or of the rows after it for which there is slack.
    unsafe {
        match (taps.rows, taps.out_width.div_ceil(S::LANES)) {
            (Some([3, 3]), _) => shared::<S, 3, 3>(isa, operands, strip, output),
            (Some([5, 5]), _) => shared::<S, 5, 5>(isa, operands, strip, output),
            (Some([7, 7]), _) => shared::<S, 7, 7>(isa, operands, strip, output),
            (_, 1) => separate::<S, 1, 8>(isa, operands, strip, output),
            (_, 2) => separate::<S, 2, 4>(isa, operands, strip, output),
            (_, 3 | 4) => separate::<S, 4, 2>(isa, operands, strip, output),
            _ => separate::<S, 8, 1>(isa, operands, strip, output),
        }
    }
}

/// The output rows of a strip.
#[derive(Clone, Copy)]
struct Output {
    rows: usize,
    width: usize,
    /// What is added, or null.
    add: *const f32,
    target: *mut f32,
}

impl Output {
    #[inline(always)]
    fn new(rows: usize, width: usize, add: Add<'_>, run: &mut [f32]) -> Output {
        assert!(run.len() >= rows * width);
        let target = run.as_mut_ptr();
        let add = match add {
            Add::Nothing => core::ptr::null(),
            Add::Output => target.cast_const(),
            Add::Values(values) => values[..rows * width].as_ptr(),
        };
        Output {
            rows,
            width,
            add,
            target,
        }
    }

    /// Writes what exists of a vector.
    ///
    /// # Safety
    ///
    /// The slices that this was made of are still borrowed.
    #[inline(always)]
    unsafe fn write<S: Simd>(&self, isa: S, row: usize, column: usize, sum: S::F32) {
        if row >= self.rows || column >= self.width {
            return;
        }
        let at = row * self.width + column;
        // SAFETY: row and column exist, and no lane from the end of the row on is written.
        unsafe {
            let (target, add) = (self.target.add(at), self.add.wrapping_add(at));
            if column + S::LANES <= self.width {
                let value = if self.add.is_null() {
                    sum
                } else {
                    isa.add(sum, isa.load(add))
                };
                isa.store(target, value);
            } else {
                let lanes = isa.lanes(0, self.width - column);
                let value = if self.add.is_null() {
                    sum
                } else {
                    isa.add(sum, isa.load_masked(add, lanes))
                };
                isa.store_masked(target, value, lanes);
            }
        }
    }
}

/// Computes tiles of `WIDE` vectors by `HIGH` rows, each vector for itself.
///
/// # Safety
///
/// The operands and the output are valid for the strip.
#[inline(always)]
unsafe fn separate<S: Simd, const WIDE: usize, const HIGH: usize>(
    isa: S,
    operands: Operands<'_>,
    strip: Strip,
    output: Output,
) {
    for row in (0..strip.rows).step_by(HIGH) {
        // Rows that do not exist are computed as the last that does.
        let lines: [*const f32; HIGH] = core::array::from_fn(|index| {
            operands
                .phases
                .wrapping_add((row + index).min(strip.rows - 1) * strip.width)
        });
        for column in (0..output.width).step_by(WIDE * S::LANES) {
            let mut sums = [[isa.splat(operands.start); WIDE]; HIGH];
            for (&distance, &w) in operands.distance.iter().zip(operands.w) {
                let w = isa.splat(w);
                for (sums, line) in sums.iter_mut().zip(&lines) {
                    for (vector, sum) in sums.iter_mut().enumerate() {
                        // SAFETY: as the caller vouches.
                        let value = unsafe { isa.load(line.add(column + distance + vector * S::LANES)) };
                        *sum = isa.mul_add(w, value, *sum);
                    }
                }
            }
            for (index, sums) in sums.iter().enumerate() {
                for (vector, &sum) in sums.iter().enumerate() {
                    // SAFETY: as the caller vouches.
                    unsafe { output.write(isa, row + index, column + vector * S::LANES, sum) }
                }
            }
        }
    }
}

/// Computes tiles of one vector by [`SHARED_ROWS`] rows, in which every vector of the input is loaded once.
///
/// # Safety
///
/// The operands and the output are valid for the strip. The kernel has `KY` rows, one row of a phase apart, of `KX` taps.
#[inline(always)]
unsafe fn shared<S: Simd, const KY: usize, const KX: usize>(
    isa: S,
    operands: Operands<'_>,
    strip: Strip,
    output: Output,
) {
    assert!(operands.w.len() == KY * KX && operands.distance.len() == KY * KX);
    for row in (0..strip.rows).step_by(SHARED_ROWS) {
        for column in (0..output.width).step_by(S::LANES) {
            let first = operands.phases.wrapping_add(row * strip.width + column);
            let mut sums = [isa.splat(operands.start); SHARED_ROWS];
            for line in 0..SHARED_ROWS + KY - 1 {
                for x in 0..KX {
                    // SAFETY: as the caller vouches.
                    let value = unsafe { isa.load(first.add(line * strip.width + operands.distance[x])) };
                    for (index, sum) in sums.iter_mut().enumerate() {
                        if line >= index && line - index < KY {
                            *sum = isa.mul_add(isa.splat(operands.w[(line - index) * KX + x]), value, *sum);
                        }
                    }
                }
            }
            for (index, &sum) in sums.iter().enumerate() {
                // SAFETY: as the caller vouches.
                unsafe { output.write(isa, row + index, column, sum) }
            }
        }
    }
}
