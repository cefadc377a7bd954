//! The patches of a few output pixels, packed side by side.

use super::Conv2dNhwc;
use crate::kernels::simd::Simd;

/// Pixels that are packed at a time: a row for each term of the sum has a lane for each of them.
pub(super) const PATCH_LANES: usize = 16;

/// The patches of a group of channels of an image of any strides.
pub(super) struct Patches<'a> {
    problem: &'a Conv2dNhwc,
    /// The image from the first channel of the group on.
    x: &'a [f32],
}

/// Neighboring pixels of an output row, in the lanes from `begin` on.
#[derive(Clone, Copy, Default)]
struct Run {
    /// Row and column of the padded image that the first tap of the first pixel reads.
    y: usize,
    x: usize,
    begin: usize,
    end: usize,
}

impl<'a> Patches<'a> {
    /// The patches of an image that `Conv2dNhwc::check` has found long enough.
    #[inline(always)]
    pub(super) fn new(problem: &'a Conv2dNhwc, x: &'a [f32], group: usize) -> Patches<'a> {
        let first = group * problem.group_in() * problem.x_channel;
        Patches {
            problem,
            x: x.get(first..).unwrap_or_default(),
        }
    }

    /// Writes the patches of `lanes` pixels from `pixel` on: element `(tap, channel)` of lane `l` is
    /// `packed[(tap * channels + channel) * PATCH_LANES + l]`. Lanes without a pixel are zero.
    #[inline(always)]
    pub(super) fn pack<S: Simd>(&self, isa: S, pixel: usize, lanes: usize, packed: &mut [f32]) {
        let problem = self.problem;
        let mut runs = [Run::default(); PATCH_LANES];
        let (mut count, mut lane) = (0, 0);
        let (mut oy, mut ox) = (pixel / problem.out_width, pixel % problem.out_width);
        while lane < lanes {
            let len = (lanes - lane).min(problem.out_width - ox);
            runs[count] = Run {
                y: oy * problem.stride[0],
                x: ox * problem.stride[1],
                begin: lane,
                end: lane + len,
            };
            count += 1;
            lane += len;
            (oy, ox) = (oy + 1, 0);
        }
        let runs = &runs[..count];
        let channels = problem.group_in();
        let mut rows = packed.chunks_exact_mut(PATCH_LANES * channels.max(1));
        for ky in 0..problem.kernel[0] {
            for kx in 0..problem.kernel[1] {
                let Some(rows) = rows.next() else { return };
                let (dy, dx) = (ky * problem.dilation[0], kx * problem.dilation[1]);
                if let [run] = runs {
                    self.pack_run(isa, run, dy, dx, rows);
                } else {
                    rows.fill(0.0);
                    for run in runs {
                        self.add_run(run, dy, dx, rows);
                    }
                }
            }
        }
    }

    /// The lanes of a run that exist in the image for a tap, and the place of the first of them.
    #[inline(always)]
    fn existing(&self, run: &Run, dy: usize, dx: usize) -> Option<(usize, usize, usize)> {
        let problem = self.problem;
        let (stride, pad) = (problem.stride[1], problem.pad[1]);
        let y = (run.y + dy).wrapping_sub(problem.pad[0]);
        let x = run.x + dx;
        let (mut begin, mut end) = (0, run.end - run.begin);
        // Most taps are inside of the image, which takes no division to see.
        if x < pad {
            begin = (pad - x).div_ceil(stride);
        }
        if x + (end - 1) * stride >= problem.in_width + pad {
            end = (problem.in_width + pad).saturating_sub(x).div_ceil(stride);
        }
        (y < problem.in_height && begin < end).then(|| {
            let column = x + begin * stride - pad;
            let place = y * problem.x_row + column * problem.x_column;
            (run.begin + begin, run.begin + end, place)
        })
    }

    /// Writes the rows of a tap for the only run.
    #[inline(always)]
    fn pack_run<S: Simd>(&self, isa: S, run: &Run, dy: usize, dx: usize, rows: &mut [f32]) {
        let problem = self.problem;
        let Some((begin, end, place)) = self.existing(run, dy, dx) else {
            return rows.fill(0.0);
        };
        match problem.stride[1] * problem.x_column {
            1 => self.copy::<S, false>(isa, begin, end, place, rows),
            2 => self.copy::<S, true>(isa, begin, end, place, rows),
            _ => {
                if end - begin < PATCH_LANES {
                    rows.fill(0.0);
                }
                self.add_run(run, dy, dx, rows);
            }
        }
    }

    /// Writes the lanes `begin..end` of all rows of a tap, zeros in the others: elements that are neighbors, or, if
    /// `EVEN`, every second one, from `place` on.
    #[inline(always)]
    fn copy<S: Simd, const EVEN: bool>(&self, isa: S, begin: usize, end: usize, place: usize, rows: &mut [f32]) {
        let step = if EVEN { 2 } else { 1 };
        let channels = rows.len() / PATCH_LANES;
        assert!((channels - 1) * self.problem.x_channel + place + (end - begin - 1) * step < self.x.len());
        // Most patches have all lanes, and what vectors read beyond them is in the image, too.
        let reach = place + PATCH_LANES * step;
        if end - begin == PATCH_LANES && reach + (channels - 1) * self.problem.x_channel <= self.x.len() {
            let mut source = self.x[place..].as_ptr();
            for row in rows.chunks_exact_mut(PATCH_LANES) {
                for lane in (0..PATCH_LANES).step_by(S::LANES) {
                    // SAFETY: the vectors are within the `PATCH_LANES * step` elements that were found to exist, and
                    // within a row of `PATCH_LANES` elements.
                    unsafe {
                        let from = source.add(lane * step);
                        let mut value = isa.load(from);
                        if EVEN {
                            value = isa.even(value, isa.load(from.add(S::LANES)));
                        }
                        isa.store(row.as_mut_ptr().add(lane), value);
                    }
                }
                source = source.wrapping_add(self.problem.x_channel);
            }
            return;
        }
        // The elements from the first to the last lane, of which a vector has some.
        let (first, last) = (begin * step, (end - 1) * step + 1);
        let lanes = |vector: usize| {
            let at = vector * S::LANES;
            isa.lanes(
                first.saturating_sub(at).min(S::LANES),
                last.saturating_sub(at).min(S::LANES),
            )
        };
        for vector in 0..PATCH_LANES / S::LANES {
            let (low, high) = (lanes(vector * step), lanes(vector * step + step - 1));
            let mut source = self
                .x
                .as_ptr()
                .wrapping_add(place)
                .wrapping_sub(first)
                .wrapping_add(vector * step * S::LANES);
            for row in rows.chunks_exact_mut(PATCH_LANES) {
                // SAFETY: the lanes are within the elements that were found to exist, or, where every second one is
                // taken, between two of them. A row has `PATCH_LANES` elements.
                unsafe {
                    let mut value = isa.load_masked(source, low);
                    if EVEN {
                        value = isa.even(value, isa.load_masked(source.wrapping_add(S::LANES), high));
                    }
                    isa.store(row.as_mut_ptr().add(vector * S::LANES), value);
                }
                source = source.wrapping_add(self.problem.x_channel);
            }
        }
    }

    /// Writes those lanes of a run that exist, for all rows of a tap.
    #[inline(always)]
    fn add_run(&self, run: &Run, dy: usize, dx: usize, rows: &mut [f32]) {
        let problem = self.problem;
        let Some((begin, end, place)) = self.existing(run, dy, dx) else {
            return;
        };
        let step = problem.stride[1] * problem.x_column;
        for (channel, row) in rows.chunks_exact_mut(PATCH_LANES).enumerate() {
            let source = &self.x[place + channel * problem.x_channel..];
            for (index, target) in row[begin..end].iter_mut().enumerate() {
                *target = source[index * step];
            }
        }
    }
}
