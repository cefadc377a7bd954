//! The softmax of a block of scores, kept up to date as blocks pass.

use crate::kernels::vector::Vector;
use core::f32::consts::LOG2_E;

/// Turns the scores of a query into weights relative to the largest score so far.
///
/// `largest` is that score in units of `log2`, and `sum` is that of the weights; they begin as minus infinity and 0.
/// `scores` is a multiple of [`LANES`](crate::kernels::simd::Simd::LANES) long, of which the first `visible` count; the
/// others become 0. `mask` holds at least `visible` values, which are added to the scaled scores. Returns the factor of
/// what was summed up before, where the largest score has grown.
#[inline(always)]
pub(super) fn weigh<S: Vector>(
    isa: S,
    scale: f32,
    scores: &mut [f32],
    visible: usize,
    mask: Option<&[f32]>,
    largest: &mut f32,
    sum: &mut f32,
) -> Option<f32> {
    let (scores, hidden) = scores.split_at_mut(visible.div_ceil(S::LANES) * S::LANES);
    if !hidden.is_empty() {
        hidden.fill(0.0);
    }
    // Without a mask the largest scaled score is that of the largest score, which saves an operation, unless scaling
    // turns their order.
    let (factor, found) = match mask {
        Some(mask) => (LOG2_E, prepare(isa, scores, visible, scale, Some(mask))),
        None if scale > 0.0 => (scale * LOG2_E, peak(isa, scores, visible)),
        None => (LOG2_E, prepare(isa, scores, visible, scale, None)),
    };
    let (found, before) = (found * factor, *largest);
    if found > before {
        *largest = found;
    }
    if *largest == f32::NEG_INFINITY {
        scores.fill(0.0);
        return None;
    }
    let total = raise(isa, scores, factor, -*largest);
    let grown = found > before && before != f32::NEG_INFINITY;
    let rescale = grown.then(|| isa.largest(isa.exp2(isa.splat(before - found))));
    *sum = *sum * rescale.unwrap_or(1.0) + total;
    rescale
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
