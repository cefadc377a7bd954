//! The right-hand side of a convolution, packed one block at a time.

use super::conv::Conv2d;
use super::gemm::Pack;
use super::pack::PANEL_COLUMNS;
use crate::kernels::simd::Simd;

/// The patches of a group of channels as a matrix: row `channel * taps + tap`, column `oy * out_width + ox`.
///
/// A row of a panel, 16 columns, consists of runs of neighboring pixels in an output row. What exists of them in the
/// image depends on the tap alone, so that the innermost loop runs over channels and has nothing to decide.
pub(super) struct Patches<'a, S> {
    isa: S,
    problem: &'a Conv2d,
    /// The image from the first channel of the group on.
    x: &'a [f32],
}

/// Neighboring pixels of an output row in the lanes of a panel.
#[derive(Clone, Copy, Default)]
struct Run {
    /// Row of the padded image that the first tap reads.
    y: usize,
    /// Column of the padded image that the first tap reads at the first pixel.
    x: usize,
    begin: usize,
    end: usize,
    /// Whether every tap reads columns of the image only.
    inside: bool,
}

/// Lanes of a panel row and where they come from: lane `l` is at `origin + l * step`, which wraps around where the
/// lanes before `begin` are outside of the image.
#[derive(Clone, Copy, Default)]
struct Segment {
    origin: usize,
    begin: usize,
    end: usize,
}

impl<'a, S: Simd> Patches<'a, S> {
    /// Whether frequent cases have code of their own. With few lanes they gain little, and every program with a
    /// convolution contains that code for every instruction set.
    const SPECIALIZED: bool = S::LANES > 4;

    /// The patches of an image that [`Conv2d::check`] has found long enough, from the first channel of a group on.
    #[inline(always)]
    pub(super) fn new(isa: S, problem: &'a Conv2d, x: &'a [f32]) -> Patches<'a, S> {
        Patches { isa, problem, x }
    }

    /// Finds the runs of `columns` pixels from `pixel` on.
    #[inline(always)]
    fn runs(&self, pixel: usize, columns: usize) -> ([Run; PANEL_COLUMNS], usize) {
        let problem = self.problem;
        let mut runs = [Run::default(); PANEL_COLUMNS];
        let (mut oy, mut ox) = (pixel / problem.out_width, pixel % problem.out_width);
        let (mut count, mut lane) = (0, 0);
        while lane < columns {
            let len = (columns - lane).min(problem.out_width - ox);
            let x = ox * problem.stride[1];
            let last = x + (len - 1) * problem.stride[1] + (problem.kernel[1] - 1) * problem.dilation[1];
            let inside = x >= problem.pad[1] && last < problem.in_width + problem.pad[1];
            runs[count] = Run {
                y: oy * problem.stride[0],
                x,
                begin: lane,
                end: lane + len,
                inside,
            };
            count += 1;
            lane += len;
            (oy, ox) = (oy + 1, 0);
        }
        (runs, count)
    }

    /// The lanes of a run that exist in the image for the tap at `ky`, `kx` dilated rows and columns.
    #[inline(always)]
    fn segment(&self, run: &Run, ky: usize, kx: usize) -> Option<Segment> {
        let problem = self.problem;
        let y = (run.y + ky).wrapping_sub(problem.pad[0]);
        if y >= problem.in_height {
            return None;
        }
        let (stride, pad) = (problem.stride[1], problem.pad[1]);
        let x = run.x + kx;
        let (mut begin, mut end) = (run.begin, run.end);
        if !run.inside {
            begin += pad.saturating_sub(x).div_ceil(stride);
            end = end.min(run.begin + (problem.in_width + pad).saturating_sub(x).div_ceil(stride));
            if begin >= end {
                return None;
            }
        }
        let column = x.wrapping_sub(pad).wrapping_sub(run.begin * stride);
        let origin = (y * problem.x_row).wrapping_add(column.wrapping_mul(problem.x_column));
        Some(Segment { origin, begin, end })
    }

    /// Packs a panel that is one run inside of the image, whose elements are neighbors or, if `EVEN`, every second one,
    /// from row `p` on.
    #[inline(always)]
    fn pack_inside<const EVEN: bool>(&self, run: &Run, p: usize, panel: &mut [f32]) {
        let (isa, problem) = (self.isa, self.problem);
        let [kernel_y, kernel_x] = problem.kernel;
        let mut rows = panel.chunks_exact_mut(PANEL_COLUMNS);
        let mut channel = p / problem.taps();
        let (mut first_y, mut first_x) = (p % problem.taps() / kernel_x, p % kernel_x);
        loop {
            for ky in first_y..kernel_y {
                let y = (run.y + ky * problem.dilation[0]).wrapping_sub(problem.pad[0]);
                let line =
                    (channel * problem.x_channel + run.x - problem.pad[1]).wrapping_add(y.wrapping_mul(problem.x_row));
                for kx in first_x..kernel_x {
                    let Some(row) = rows.next() else { return };
                    if y >= problem.in_height {
                        row.fill(0.0);
                        continue;
                    }
                    let source = &self.x[line + kx * problem.dilation[1]..];
                    if !EVEN {
                        row.copy_from_slice(&source[..PANEL_COLUMNS]);
                    } else if let Some(source) = source.get(..2 * PANEL_COLUMNS) {
                        for (row, source) in row.chunks_exact_mut(S::LANES).zip(source.chunks_exact(2 * S::LANES)) {
                            // SAFETY: `row` has one vector, `source` has two.
                            unsafe {
                                let (a, b) = (isa.load(source.as_ptr()), isa.load(source.as_ptr().add(S::LANES)));
                                isa.store(row.as_mut_ptr(), isa.even(a, b));
                            }
                        }
                    } else {
                        // The element after the last one that is wanted is the end of the image.
                        for (value, &source) in row.iter_mut().zip(source.iter().step_by(2)) {
                            *value = source;
                        }
                    }
                }
                first_x = 0;
            }
            first_y = 0;
            channel += 1;
        }
    }

    /// Packs one tap of `count` channels from `channel` on into rows of a panel, `row_step` elements apart.
    #[inline(always)]
    fn pack_tap(&self, segments: &[Segment], channel: usize, count: usize, panel: &mut [f32], row_step: usize) {
        let step = self.problem.stride[1] * self.problem.x_column;
        let source = self.x.as_ptr().wrapping_add(channel * self.problem.x_channel);
        assert!(count > 0 && panel.len() >= (count - 1) * row_step + PANEL_COLUMNS);
        let rows = Rows {
            source,
            source_step: self.problem.x_channel,
            target: panel.as_mut_ptr(),
            row_step,
            count,
        };
        // SAFETY: the assertion covers the target. A segment has only lanes whose row and column exist in the image,
        // and `Pack::pack` asks for channels of the group only; `Conv2d::check` has found all of them within `x`.
        unsafe {
            match (step, segments) {
                (
                    1,
                    [
                        Segment {
                            origin,
                            begin: 0,
                            end: PANEL_COLUMNS,
                        },
                    ],
                ) => rows.dense(self.isa, *origin),
                _ if !Self::SPECIALIZED => rows.strided(segments, step),
                (1, [first]) => rows.segments::<S, 1, false>(self.isa, &[*first]),
                (1, [first, second]) => rows.segments::<S, 2, false>(self.isa, &[*first, *second]),
                (1, [first, second, third]) => rows.segments::<S, 3, false>(self.isa, &[*first, *second, *third]),
                (2, [first]) => rows.segments::<S, 1, true>(self.isa, &[*first]),
                (2, [first, second]) => rows.segments::<S, 2, true>(self.isa, &[*first, *second]),
                _ => rows.strided(segments, step),
            }
        }
    }
}

impl<S: Simd> Pack for Patches<'_, S> {
    #[inline(always)]
    fn pack(&self, p: usize, depth: usize, j: usize, columns: usize, packed: &mut [f32]) {
        if depth == 0 {
            return;
        }
        let problem = self.problem;
        let taps = problem.taps();
        // Row `channel * taps + tap` is within `p..p + depth` for the channels between these, one more where the tap
        // is below the remainder.
        let (first, first_taps) = (p / taps, p % taps);
        let (last, last_taps) = ((p + depth) / taps, (p + depth) % taps);
        for (index, panel) in packed.chunks_exact_mut(depth * PANEL_COLUMNS).enumerate() {
            let begin = index * PANEL_COLUMNS;
            let (runs, run_count) = self.runs(j + begin, PANEL_COLUMNS.min(columns - begin));
            if Self::SPECIALIZED
                && let [
                    run @ Run {
                        end: PANEL_COLUMNS,
                        inside: true,
                        ..
                    },
                ] = &runs[..run_count]
            {
                match (problem.stride[1], problem.x_column) {
                    (1, 1) => {
                        self.pack_inside::<false>(run, p, panel);
                        continue;
                    }
                    (2, 1) => {
                        self.pack_inside::<true>(run, p, panel);
                        continue;
                    }
                    _ => {}
                }
            }
            let mut segments = [Segment::default(); PANEL_COLUMNS];
            let mut tap = 0;
            for ky in 0..problem.kernel[0] {
                for kx in 0..problem.kernel[1] {
                    let channel = first + usize::from(tap < first_taps);
                    let count = (last + usize::from(tap < last_taps)).saturating_sub(channel);
                    if count > 0 {
                        let mut len = 0;
                        for run in &runs[..run_count] {
                            if let Some(segment) = self.segment(run, ky * problem.dilation[0], kx * problem.dilation[1])
                            {
                                segments[len] = segment;
                                len += 1;
                            }
                        }
                        let rows = &mut panel[(channel * taps + tap - p) * PANEL_COLUMNS..];
                        self.pack_tap(&segments[..len], channel, count, rows, taps * PANEL_COLUMNS);
                    }
                    tap += 1;
                }
            }
        }
    }
}

/// The rows of a panel that one tap of several channels fills.
struct Rows {
    source: *const f32,
    source_step: usize,
    target: *mut f32,
    row_step: usize,
    count: usize,
}

impl Rows {
    /// Copies whole rows.
    ///
    /// # Safety
    ///
    /// The target is valid for `count` rows and the source for 16 elements from `origin` on of `count` channels.
    #[inline(always)]
    unsafe fn dense<S: Simd>(self, isa: S, origin: usize) {
        let (mut source, mut target) = (self.source.wrapping_add(origin), self.target);
        for _ in 0..self.count {
            for vector in 0..PANEL_COLUMNS / S::LANES {
                // SAFETY: as the caller vouches.
                unsafe { isa.store(target.add(vector * S::LANES), isa.load(source.add(vector * S::LANES))) }
            }
            source = source.wrapping_add(self.source_step);
            target = target.wrapping_add(self.row_step);
        }
    }

    /// Puts rows together from `COUNT` segments of neighboring elements, or of every second element if `EVEN`.
    ///
    /// # Safety
    ///
    /// The target is valid for `count` rows and the source for the lanes of the segments in `count` channels.
    #[inline(always)]
    unsafe fn segments<S: Simd, const COUNT: usize, const EVEN: bool>(self, isa: S, segments: &[Segment; COUNT]) {
        // A panel row is at most four vectors, the last `vectors` of an array are not used.
        let vectors = PANEL_COLUMNS / S::LANES;
        let step = if EVEN { 2 } else { 1 };
        let mut masks = [[isa.lanes(0, 0); 8]; COUNT];
        for (masks, segment) in masks.iter_mut().zip(segments) {
            // The elements from the first to the last lane, of which a vector has some.
            let (begin, end) = (segment.begin * step, (segment.end - 1) * step + 1);
            for (vector, mask) in masks[..vectors * step].iter_mut().enumerate() {
                let first = vector * S::LANES;
                *mask = isa.lanes(
                    begin.saturating_sub(first).min(S::LANES),
                    end.saturating_sub(first).min(S::LANES),
                );
            }
        }
        let (mut source, mut target) = (self.source, self.target);
        for _ in 0..self.count {
            for vector in 0..vectors {
                let mut row = isa.splat(0.0);
                for (segment, masks) in segments.iter().zip(&masks) {
                    let from = source
                        .wrapping_add(segment.origin)
                        .wrapping_add(vector * step * S::LANES);
                    // SAFETY: a mask has the lanes of the segment only, for which the caller vouches, or, where every
                    // second element is taken, elements between two of them.
                    let lanes = unsafe {
                        if EVEN {
                            let low = isa.load_masked(from, masks[2 * vector]);
                            let high = isa.load_masked(from.wrapping_add(S::LANES), masks[2 * vector + 1]);
                            isa.even(low, high)
                        } else {
                            isa.load_masked(from, masks[vector])
                        }
                    };
                    // At most one of the terms is not zero.
                    row = isa.add(row, lanes);
                }
                // SAFETY: as the caller vouches.
                unsafe { isa.store(target.add(vector * S::LANES), row) }
            }
            source = source.wrapping_add(self.source_step);
            target = target.wrapping_add(self.row_step);
        }
    }

    /// Puts rows together from elements `step` apart.
    ///
    /// # Safety
    ///
    /// The target is valid for `count` rows and the source for the lanes of the segments in `count` channels.
    #[inline(always)]
    unsafe fn strided(self, segments: &[Segment], step: usize) {
        let (mut source, mut target) = (self.source, self.target);
        let whole = segments
            .iter()
            .map(|segment| segment.end - segment.begin)
            .sum::<usize>()
            == PANEL_COLUMNS;
        for _ in 0..self.count {
            // SAFETY: as the caller vouches.
            unsafe {
                if !whole {
                    target.cast::<[f32; PANEL_COLUMNS]>().write([0.0; PANEL_COLUMNS]);
                }
                for &Segment { origin, begin, end } in segments {
                    let source = source.wrapping_add(origin);
                    if end - begin == PANEL_COLUMNS {
                        for lane in 0..PANEL_COLUMNS {
                            *target.add(lane) = *source.wrapping_add(lane * step);
                        }
                    } else {
                        for lane in begin..end {
                            *target.add(lane) = *source.wrapping_add(lane * step);
                        }
                    }
                }
            }
            source = source.wrapping_add(self.source_step);
            target = target.wrapping_add(self.row_step);
        }
    }
}
