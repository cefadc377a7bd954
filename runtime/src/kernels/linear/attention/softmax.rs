//! The softmax of a block of scores, kept up to date as blocks pass.

use crate::kernels::vector::Vector;
use core::f32::consts::LOG2_E;

/// Most queries of a [`Scores`].
pub(super) const GROUP: usize = 16;

/// The scores of at most [`GROUP`] queries on the keys of a block.
pub(super) struct Scores<'a> {
    /// Rows of `row` values, a multiple of [`LANES`](crate::kernels::simd::Simd::LANES).
    pub(super) data: &'a mut [f32],
    pub(super) row: usize,
    /// Factor of the scores.
    pub(super) scale: f32,
}

impl Scores<'_> {
    /// Turns scores into weights relative to the largest score of their query so far.
    ///
    /// Of a row those scores count that are `visible`, and the others become 0. `mask` has at least as many values, which
    /// are added to the scaled scores. `maxima` are the largest scores so far, in units of `log2`, and `sums` are those of
    /// the weights; they begin as minus infinity and 0. Returns the factors of what was summed up before, unless all are 1.
    ///
    /// The rows take each step together: none waits for the end of another, and nothing depends on which of them has a new
    /// maximum.
    #[inline(always)]
    pub(super) fn weigh<'m, S: Vector>(
        &mut self,
        isa: S,
        visible: impl Fn(usize) -> usize,
        mask: Option<impl Fn(usize) -> &'m [f32]>,
        maxima: &mut [f32],
        sums: &mut [f32],
    ) -> Option<[f32; GROUP]> {
        let scale = self.scale;
        // Without a mask the largest scaled score is that of the largest score, which saves an operation, unless scaling
        // turns their order.
        let is_raw = mask.is_none() && scale > 0.0;
        let factor = if is_raw { scale * LOG2_E } else { LOG2_E };
        let mut found = [f32::NEG_INFINITY; GROUP];
        let rows = self.data.chunks_exact_mut(self.row);
        for ((index, scores), found) in rows.enumerate().zip(&mut found) {
            let visible = visible(index);
            let (scores, hidden) = scores.split_at_mut(visible.div_ceil(S::LANES) * S::LANES);
            if !hidden.is_empty() {
                hidden.fill(0.0);
            }
            let largest = match &mask {
                _ if is_raw => peak(isa, scores, visible),
                Some(mask) => prepare(isa, scores, visible, scale, Some(mask(index))),
                None => prepare(isa, scores, visible, scale, None),
            };
            *found = largest * factor;
        }
        let (mut shifts, mut factors) = ([0.0; GROUP], [1.0; GROUP]);
        let mut largest = [f32::NEG_INFINITY; GROUP];
        largest[..maxima.len()].copy_from_slice(maxima);
        for lane in (0..GROUP).step_by(S::LANES) {
            // SAFETY: all arrays have `GROUP` elements, a multiple of the lanes.
            unsafe {
                let before = isa.load(largest.as_ptr().add(lane));
                let now = isa.max(isa.load(found.as_ptr().add(lane)), before);
                isa.store(largest.as_mut_ptr().add(lane), now);
                // With no score above minus infinity, all weights are 0 relative to any other.
                let finite = isa.max(now, isa.splat(f32::MIN));
                isa.store(shifts.as_mut_ptr().add(lane), isa.sub(isa.splat(0.0), finite));
                isa.store(factors.as_mut_ptr().add(lane), isa.exp2(isa.sub(before, finite)));
            }
        }
        maxima.copy_from_slice(&largest[..maxima.len()]);
        let rows = self.data.chunks_exact_mut(self.row).enumerate();
        for ((index, scores), (sum, (shift, before))) in rows.zip(sums.iter_mut().zip(shifts.iter().zip(&factors))) {
            let scores = &mut scores[..visible(index).div_ceil(S::LANES) * S::LANES];
            *sum = *sum * before + raise(isa, scores, factor, *shift);
        }
        let grown = factors[..maxima.len()].iter().any(|&factor| factor != 1.0);
        grown.then_some(factors)
    }
}

/// The largest of the first `visible` scores; the others become minus infinity.
#[inline(always)]
fn peak<S: Vector>(isa: S, scores: &mut [f32], visible: usize) -> f32 {
    let lowest = isa.splat(f32::NEG_INFINITY);
    let (mut even, mut odd) = (lowest, lowest);
    let data = scores.as_mut_ptr();
    let (whole, rest) = (visible / S::LANES, visible % S::LANES);
    // SAFETY: vectors below `whole` end below `visible`, and the one after them, of which `rest` lanes are below it,
    // is inside of `scores`, whose length is a multiple of a vector.
    unsafe {
        for pair in 0..whole / 2 {
            even = isa.max(isa.load(data.add(2 * pair * S::LANES)), even);
            odd = isa.max(isa.load(data.add((2 * pair + 1) * S::LANES)), odd);
        }
        if whole % 2 == 1 {
            even = isa.max(isa.load(data.add((whole - 1) * S::LANES)), even);
        }
        if rest > 0 {
            let last = data.add(whole * S::LANES);
            let score = isa.select(isa.lanes(0, rest), isa.load(last), lowest);
            isa.store(last, score);
            odd = isa.max(score, odd);
        }
    }
    isa.largest(isa.max(even, odd))
}

/// Scales the first `visible` scores and adds the mask, and makes the others minus infinity. Returns the largest.
#[inline(always)]
fn prepare<S: Vector>(isa: S, scores: &mut [f32], visible: usize, scale: f32, mask: Option<&[f32]>) -> f32 {
    let lowest = isa.splat(f32::NEG_INFINITY);
    let factor = isa.splat(scale);
    let mut found = lowest;
    let mask = mask.map(|mask| &mask[..visible]);
    let data = scores.as_mut_ptr();
    let (whole, rest) = (visible / S::LANES, visible % S::LANES);
    // SAFETY: as for `peak`; the mask is read in whole vectors below `visible` and in the lanes of the last that are.
    unsafe {
        for vector in 0..whole {
            let at = vector * S::LANES;
            let term = match mask {
                None => isa.splat(0.0),
                Some(mask) => isa.load(mask.as_ptr().add(at)),
            };
            let score = isa.mul_add(isa.load(data.add(at)), factor, term);
            isa.store(data.add(at), score);
            found = isa.max(score, found);
        }
        if rest > 0 {
            let (at, lanes) = (whole * S::LANES, isa.lanes(0, rest));
            let term = match mask {
                None => isa.splat(0.0),
                Some(mask) => isa.load_masked(mask.as_ptr().add(at), lanes),
            };
            let score = isa.mul_add(isa.load(data.add(at)), factor, term);
            let score = isa.select(lanes, score, lowest);
            isa.store(data.add(at), score);
            found = isa.max(score, found);
        }
    }
    isa.largest(found)
}

/// Replaces every score by `2^(score * factor + shift)`, whole vectors of them, and returns the sum.
#[inline(always)]
fn raise<S: Vector>(isa: S, scores: &mut [f32], factor: f32, shift: f32) -> f32 {
    let (factor, shift) = (isa.splat(factor), isa.splat(shift));
    let (mut even, mut odd) = (isa.splat(0.0), isa.splat(0.0));
    let count = scores.len() / S::LANES;
    let data = scores.as_mut_ptr();
    // SAFETY: `count` vectors are in `scores`.
    unsafe {
        for pair in 0..count / 2 {
            let (first, second) = (data.add(2 * pair * S::LANES), data.add((2 * pair + 1) * S::LANES));
            let a = isa.exp2(isa.mul_add(isa.load(first), factor, shift));
            let b = isa.exp2(isa.mul_add(isa.load(second), factor, shift));
            isa.store(first, a);
            isa.store(second, b);
            (even, odd) = (isa.add(even, a), isa.add(odd, b));
        }
        if count % 2 == 1 {
            let last = data.add((count - 1) * S::LANES);
            let weight = isa.exp2(isa.mul_add(isa.load(last), factor, shift));
            isa.store(last, weight);
            even = isa.add(even, weight);
        }
    }
    isa.sum(isa.add(even, odd))
}
