//! Convolutions of one group, as products of integers whose rows are the pixels.

use super::{BYTES, bytes_of, divide};
use crate::isa::Isa;
use crate::kernels::linear::depth::Depth;
use crate::kernels::linear::int8::{Product, Products, QUAD, Rows, SinkPart};
use crate::kernels::linear::nhwc::Conv2dNhwc;
use crate::kernels::linear::nhwc::pixels::{Pixels, seen};
use crate::kernels::linear::{Linear, PANEL_COLUMNS, Sink};
use crate::team::{Compute, Team};

/// Bytes of a block, if a row of the image is no larger: with the weights that it passes over, they fit a second level
/// cache.
const BLOCK: usize = 64 * 1024;

/// Runs that the taps of a row of the kernel make, and numbers of a run: those of neighboring taps follow each other.
const fn runs(problem: &Conv2dNhwc) -> (usize, usize) {
    let [height, width] = problem.kernel;
    if problem.dilation[1] == 1 || width == 1 {
        (height, width * problem.in_channels)
    } else {
        (height * width, problem.in_channels)
    }
}

/// Words of the packed weights of a channels-last convolution of integers of 8 bits.
pub const fn conv2d_nhwc_int8_packed_len(problem: &Conv2dNhwc) -> usize {
    let (runs, numbers) = runs(problem);
    runs * numbers.div_ceil(QUAD) * problem.out_channels.next_multiple_of(PANEL_COLUMNS)
}

/// Values of scratch with which a channels-last convolution of integers of 8 bits is fastest.
pub const fn conv2d_nhwc_int8_scratch(problem: &Conv2dNhwc) -> usize {
    let all = bytes(problem, problem.out_height, problem.out_width);
    let row = bytes(problem, 1, problem.out_width);
    let most = if row > BLOCK { row } else { BLOCK };
    let most = if all < most { all } else { most };
    most.div_ceil(BYTES)
}

/// Values of scratch that a channels-last convolution of integers of 8 bits cannot do without. It is slower the less there
/// is.
pub const fn conv2d_nhwc_int8_scratch_min(problem: &Conv2dNhwc) -> usize {
    bytes(problem, 1, 1).div_ceil(BYTES)
}

/// An estimate of the time that a channels-last convolution of integers of 8 bits takes with this many values of scratch, in
/// multiplications and additions of a large product in `f32`.
pub fn conv2d_nhwc_int8_time(problem: &Conv2dNhwc, scratch: usize) -> f64 {
    let pixels = Pixels {
        problem,
        x: &[0u8; 0],
        width: problem.in_channels,
    };
    if !problem.is_representable() {
        return f64::INFINITY;
    }
    if problem.pixels() == 0 {
        return 0.0;
    }
    let block = pixels.fitting(0, (scratch * BYTES).saturating_sub(QUAD - 1));
    let (blocks, rows) = match block / problem.out_width {
        0 if block == 0 => return f64::INFINITY,
        0 => (problem.out_width.div_ceil(block) * problem.out_height, 1),
        rows => (problem.out_height.div_ceil(rows), rows),
    };
    let weights = (conv2d_nhwc_int8_packed_len(problem) * QUAD) as f64;
    // A block is computed in tiles, and its weights are read, at a fourth of the time of as many of `f32`.
    let products = (block.next_multiple_of(8) + 2) as f64 * weights / 4.0;
    let copied = bytes(problem, rows, block.min(problem.out_width)) as f64;
    blocks as f64 * (products + copied)
}

/// Bytes of a block of some rows and columns of the output, of which the last quad may be read as a whole.
const fn bytes(problem: &Conv2dNhwc, rows: usize, columns: usize) -> usize {
    if problem.out_height == 0 || problem.out_width == 0 {
        return 0;
    }
    let pixels = seen(problem, rows, columns);
    pixels.saturating_mul(problem.in_channels).saturating_add(QUAD - 1)
}

/// Packs weights `[out_channels, in_channels, kernel height, kernel width]` of a convolution of one group as the right-hand
/// side `[taps, in_channels, out_channels]`, in quads of neighboring channels and taps, as
/// [`pack_rhs_int8`](crate::kernels::linear::pack_rhs_int8) does.
///
/// # Panics
///
/// If `weights` is shorter than that, `packed` is shorter than [`conv2d_nhwc_int8_packed_len`], or there are several
/// groups.
pub fn pack_conv2d_nhwc_int8(problem: &Conv2dNhwc, weights: &[i8], packed: &mut [u32]) {
    let (taps, inputs, outputs) = (problem.taps(), problem.in_channels, problem.out_channels);
    assert!(problem.groups == 1, "convolution: there are several groups");
    assert!(
        weights.len() >= outputs * inputs * taps,
        "convolution: the weights are too short"
    );
    let len = conv2d_nhwc_int8_packed_len(problem);
    assert!(packed.len() >= len, "convolution: the packed weights are too short");
    if len == 0 {
        return;
    }
    let (runs, numbers) = runs(problem);
    let (quads, taps_of_run) = (numbers.div_ceil(QUAD), taps / runs);
    let panels = packed[..len].chunks_exact_mut(runs * quads * PANEL_COLUMNS);
    for (panel, first) in panels.zip((0..outputs).step_by(PANEL_COLUMNS)) {
        panel.fill(0);
        let filters = weights[first * inputs * taps..]
            .chunks_exact(inputs * taps)
            .take(PANEL_COLUMNS.min(outputs - first));
        for (lane, filter) in filters.enumerate() {
            for (channel, kernel) in filter.chunks_exact(taps).enumerate() {
                for (tap, &weight) in kernel.iter().enumerate() {
                    let number = tap % taps_of_run * inputs + channel;
                    let quad = tap / taps_of_run * quads + number / QUAD;
                    panel[quad * PANEL_COLUMNS + lane] |= u32::from(weight.cast_unsigned()) << (number % QUAD * 8);
                }
            }
        }
    }
}

/// The pixels of an output as rows of a matrix, with a number around the image.
struct Surrounded<'a> {
    pixels: Pixels<'a, u8>,
    pad_value: u8,
}

impl Rows for Surrounded<'_> {
    #[inline(always)]
    fn block(&self, first: usize, room: usize) -> usize {
        match room.checked_sub(QUAD - 1) {
            Some(numbers) => self.pixels.fitting(first, numbers),
            None => 0,
        }
    }

    /// The last quad of a run may go beyond it: the weights there are zero.
    #[inline(always)]
    fn depth(&self, rows: usize) -> Depth {
        let depth = self.pixels.runs(rows);
        Depth {
            run: depth.run.next_multiple_of(QUAD),
            ..depth
        }
    }

    #[inline(always)]
    fn starts(&self, rows: usize, row: usize, starts: &mut [usize]) {
        self.pixels.starts(rows, row, starts);
    }

    #[inline(always)]
    fn numbers<'s>(&'s self, first: usize, rows: usize, scratch: &'s mut [u8]) -> &'s [u8] {
        let used = self.pixels.copy(first, rows, scratch, self.pad_value, |number| number);
        &scratch[..used + QUAD - 1]
    }
}

#[inline(always)]
pub(in crate::kernels::linear) fn conv2d_nhwc_int8<S: Linear>(
    isa: S,
    problem: &Conv2dNhwc,
    x: &[u8],
    pad_value: u8,
    w: &[u32],
    y: Sink<'_>,
    scratch: &mut [f32],
) {
    let y = y.whole([problem.pixels(), problem.out_channels, problem.y_pixel]);
    isa.conv2d_nhwc_int8_part(problem, x, pad_value, w, y, scratch);
}

#[inline(always)]
pub(in crate::kernels::linear) fn conv2d_nhwc_int8_part<S: Products>(
    isa: S,
    problem: &Conv2dNhwc,
    x: &[u8],
    pad_value: u8,
    w: &[u32],
    y: SinkPart<'_>,
    scratch: &mut [f32],
) {
    problem.check_input(x.len());
    assert!(problem.groups == 1, "convolution: there are several groups");
    assert!(
        y.rows() == problem.pixels() && y.columns() == problem.out_channels,
        "convolution: the output has another size"
    );
    assert!(
        w.len() >= conv2d_nhwc_int8_packed_len(problem),
        "convolution: the weights are too short"
    );
    assert!(
        scratch.len() >= conv2d_nhwc_int8_scratch_min(problem),
        "convolution: the scratch is too short"
    );
    let pixels = Pixels {
        problem,
        x,
        width: problem.in_channels,
    };
    isa.with_quads(Product {
        rows: Surrounded { pixels, pad_value },
        b: w,
        c: y,
        scratch: bytes_of(scratch),
    });
}

/// Divides a convolution.
pub(in crate::kernels::linear) fn conv2d_nhwc_int8_parts<S: Isa>(
    team: Team<'_, S>,
    problem: &Conv2dNhwc,
    x: &[u8],
    pad_value: u8,
    w: &[u32],
    y: Sink<'_>,
    scratch: &mut [f32],
) {
    let needed = conv2d_nhwc_int8_scratch_min(problem);
    divide(team, problem, x, y, scratch, needed, |part| {
        let before = Conv2dNhwc {
            out_channels: part.column,
            ..part.problem
        };
        let w = w.get(conv2d_nhwc_int8_packed_len(&before)..).unwrap_or_default();
        let isa = team.isa();
        isa.conv2d_nhwc_int8_part(&part.problem, part.x, pad_value, w, part.y, part.scratch);
    });
}
