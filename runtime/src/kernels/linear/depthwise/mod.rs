//! Depthwise convolution, one channel at a time.
//!
//! A strip of a channel is copied into scratch with its padding and split into phases: phase `(ry, rx)` holds the
//! elements `(stride_y * y + ry, stride_x * x + rx)` of the padded image as a dense plane. A tap then reads one phase
//! at a constant distance from the output position, whatever the stride, the dilation and the padding are, so that a
//! register tile of whole vectors of one or several rows runs over the taps without a decision.

mod strip;
mod tile;

use super::conv::Conv2d;
use super::{Epilogue, Init, Position};
use crate::kernels::simd::Simd;
use strip::Strip;

pub use strip::{depthwise_conv2d_scratch, depthwise_conv2d_scratch_bound};

/// Vectors of a register tile.
const TILE: usize = 8;

/// Rows of a tile that shares what it loads.
const SHARED_ROWS: usize = 4;

/// Most values that may be read past the end of a row: those of a tile.
const SLACK: usize = TILE * 16;

/// Taps whose distances are at hand at a time.
const TAPS: usize = 64;

/// What is added to the sums on their way into the output.
#[derive(Clone, Copy)]
pub(super) enum Add<'a> {
    Nothing,
    Output,
    Values(&'a [f32]),
}

crate::isa::kernel_table! {
    /// The two loops of a depthwise convolution, apart from each other to have the registers for themselves.
    pub(super) single trait Strips {
        /// Fills the phases of a strip that begins at output row `oy` with channels from `channel` on.
        fn fill_strip(problem: &Conv2d, strip: Strip, x: &[f32], channel: usize, oy: usize, scratch: &mut [f32]) = strip::fill;

        /// Adds taps to `run`, the output rows of a strip of one channel, which starts from `start` and what `add`
        /// says.
        fn convolve_strip(taps: &Taps, strip: Strip, phases: &[f32], w: &[f32], start: f32, add: Add<'_>, run: &mut [f32])
            = tile::convolve;
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
