//! The softmax of a block of scores, kept up to date as blocks pass.

use crate::kernels::vector::Vector;

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
    let whole = visible / S::LANES;
    let rest = isa.lanes(0, visible % S::LANES);
    let used = visible.div_ceil(S::LANES) * S::LANES;
    let (scores, hidden) = scores.split_at_mut(used);
    hidden.fill(0.0);
    let mask = mask.map(|mask| &mask[..visible]);
    // Without a mask the largest scaled score is that of the largest score, which saves an
    // operation, unless scaling turns their order.
    let (factor, prescaled) = if mask.is_some() || scale <= 0.0 || scale.is_nan() {
        (core::f32::consts::LOG2_E, true)
    } else {
        (scale * core::f32::consts::LOG2_E, false)
    };
    let (data, lowest) = (scores.as_mut_ptr(), isa.splat(f32::NEG_INFINITY));
    let mut maxima = [lowest; 2];
    let count = used / S::LANES;
    for vector in 0..count {
        let at = vector * S::LANES;
        let is_whole = vector < whole;
        // SAFETY: `at + LANES <= used`, the length of `scores`. A mask is read where it has values: whole vectors
        // below `visible`, and the lanes of the last that are.
        unsafe {
            let mut score = isa.load(data.add(at));
            if prescaled {
                let term = match mask {
                    None => isa.splat(0.0),
                    Some(mask) if is_whole => isa.load(mask.as_ptr().add(at)),
                    Some(mask) => isa.load_masked(mask.as_ptr().add(at), rest),
                };
                score = isa.mul_add(score, isa.splat(scale), term);
            }
            if !is_whole {
                score = isa.select(rest, score, lowest);
            }
            if prescaled || !is_whole {
                isa.store(data.add(at), score);
            }
            maxima[vector % 2] = isa.max(score, maxima[vector % 2]);
        }
    }
    let found = isa.largest(isa.max(maxima[0], maxima[1])) * factor;
    let before = *largest;
    if found > before {
        *largest = found;
    }
    if *largest == f32::NEG_INFINITY {
        scores.fill(0.0);
        return None;
    }
    let (factor, shift) = (isa.splat(factor), isa.splat(-*largest));
    let mut sums = [isa.splat(0.0); 2];
    for vector in 0..count {
        let at = vector * S::LANES;
        // SAFETY: as above.
        unsafe {
            let weight = isa.exp2(isa.mul_add(isa.load(data.add(at)), factor, shift));
            isa.store(data.add(at), weight);
            sums[vector % 2] = isa.add(sums[vector % 2], weight);
        }
    }
    let rescale =
        (found > before && before != f32::NEG_INFINITY).then(|| isa.largest(isa.exp2(isa.splat(before - found))));
    *sum = *sum * rescale.unwrap_or(1.0) + isa.sum(isa.add(sums[0], sums[1]));
    rescale
}
