//! Numbers of few bits for weights: the scale, and where there is one the zero point, with the least squared error.

/// Added to a number of less than 2^22 and subtracted again, this rounds it to the nearest integer, ties to even. It takes
/// less than a call of a function, which rounding is on processors without an instruction for it.
const ROUNDING: f32 = 12_582_912.0;

/// By how many parts of the whole range it is shrunk at most.
const CANDIDATES: usize = 24;

/// Of how many parts.
const PARTS: f32 = 48.0;

/// The numbers that weights may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grid {
    /// From -127 to 127.
    Bytes,
    /// From -8 to 7, less a zero point of the same range.
    Halves,
}

/// What numbers stand for: `(number - zero) scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Step {
    pub(super) scale: f32,
    pub(super) zero: i8,
    ends: [f32; 2],
}

impl Step {
    /// The nearest number.
    pub(super) fn number(self, weight: f32) -> i8 {
        // What is beyond the rounding's range is beyond the ends.
        let number = (weight / self.scale).clamp(-1e6, 1e6) + f32::from(self.zero);
        let [low, high] = self.ends;
        ((number + ROUNDING) - ROUNDING).clamp(low, high) as i8
    }

    /// What a number stands for, rounded as it is when the model runs.
    pub(super) fn value(self, number: i8) -> f32 {
        f32::from(i16::from(number) - i16::from(self.zero)) * self.scale
    }

    fn error(self, weights: &[f32]) -> f64 {
        let squares = weights.iter().map(|&weight| {
            let difference = f64::from(self.value(self.number(weight)) - weight);
            difference * difference
        });
        squares.sum()
    }

    /// The scale with the least squared error of the numbers that weights have now.
    fn refined(self, weights: &[f32]) -> Step {
        let (mut products, mut squares) = (0.0, 0.0);
        for &weight in weights {
            let number = f64::from(i16::from(self.number(weight)) - i16::from(self.zero));
            products += number * f64::from(weight);
            squares += number * number;
        }
        let scale = (products / squares) as f32;
        match scale.is_normal() && (1.0 / scale).is_normal() {
            true => Step { scale, ..self },
            false => self,
        }
    }
}

impl Grid {
    /// Bits of a number.
    pub(super) fn bits(self) -> u32 {
        match self {
            Grid::Bytes => 8,
            Grid::Halves => 4,
        }
    }

    /// Whether there are zero points.
    pub(super) fn has_zeros(self) -> bool {
        self == Grid::Halves
    }

    fn ends(self) -> [f32; 2] {
        match self {
            Grid::Bytes => [-127.0, 127.0],
            Grid::Halves => [-8.0, 7.0],
        }
    }

    /// The step for a range that has zero. `None` if the range is of zero alone, or almost.
    fn step(self, low: f32, high: f32) -> Option<Step> {
        let ends @ [least, most] = self.ends();
        let scale = match self.has_zeros() {
            true => high / (most - least) - low / (most - least),
            false => high.max(-low) / most,
        };
        if !scale.is_normal() || !(1.0 / scale).is_normal() {
            return None;
        }
        let zero = match self.has_zeros() {
            true => (least - low / scale).round_ties_even().clamp(least, most) as i8,
            false => 0,
        };
        Some(Step { scale, zero, ends })
    }

    /// The step with the least squared error: the range of the weights is shrunk as far as that makes the error less, and
    /// the scale is then chosen for the numbers that the weights have.
    pub(super) fn fit(self, weights: &[f32]) -> Step {
        let (low, high) = weights.iter().fold((0.0f32, 0.0f32), |(low, high), &weight| {
            (low.min(weight), high.max(weight))
        });
        let none = Step {
            scale: 1.0,
            zero: 0,
            ends: self.ends(),
        };
        let candidates = (0..CANDIDATES).filter_map(|index| {
            let part = 1.0 - index as f32 / PARTS;
            let step = self.step(low * part, high * part)?;
            Some((step, step.error(weights)))
        });
        let least = |best: (Step, f64), next: (Step, f64)| if next.1 < best.1 { next } else { best };
        let best = candidates.fold((none, f64::INFINITY), least);
        if best.1 == f64::INFINITY {
            return none;
        }
        let refined = best.0.refined(weights);
        least(best, (refined, refined.error(weights))).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{DType, Tensor};

    #[test]
    fn numbers_are_the_nearest() {
        for grid in [Grid::Bytes, Grid::Halves] {
            let [low, high] = grid.ends();
            let step = grid.step(-3.0, 4.5).unwrap();
            for index in -400..=400 {
                let weight = index as f32 / 50.0;
                let number = step.number(weight);
                let found = (step.value(number) - weight).abs();
                let all = (low as i8..=high as i8).map(|number| (step.value(number) - weight).abs());
                let nearest = all.fold(f32::INFINITY, f32::min);
                assert!(found <= nearest + 1e-6, "{grid:?} {weight}: {found} and {nearest}");
            }
            assert_eq!(step.value(step.number(0.0)), 0.0);
            assert_eq!(f32::from(step.number(f32::MAX)), high);
        }
    }

    #[test]
    fn no_other_range_is_better() {
        for (grid, seed) in [(Grid::Halves, 1), (Grid::Halves, 2), (Grid::Bytes, 3)] {
            let mut weights = Tensor::random(DType::F32, vec![64], seed).to_vec::<f32>().unwrap();
            weights[0] = 4.0;
            let step = grid.fit(&weights);
            let error = step.error(&weights);
            let whole = grid.step(weights.iter().copied().fold(0.0, f32::min), 4.0).unwrap();
            assert!(error <= whole.error(&weights), "{error}");
            // Zero points and scales at a distance.
            for scale in (50..200).map(|percent| step.scale * percent as f32 / 100.0) {
                let other = Step { scale, ..step }.error(&weights);
                assert!(error <= 1.15 * other, "{grid:?}: {error} and {other} of {scale}");
            }
        }
    }

    #[test]
    fn weights_without_a_range_have_a_step() {
        for grid in [Grid::Bytes, Grid::Halves] {
            for weights in [[0.0; 4], [1e-44; 4]] {
                let step = grid.fit(&weights);
                assert!(weights.iter().all(|&weight| step.value(step.number(weight)) == 0.0));
            }
            let step = grid.fit(&[3e38, 3e38, -3e38]);
            assert!(step.value(step.number(3e38)).is_finite());
        }
    }
}
