//! What is said about the times of an engine.

use serde::{Deserialize, Serialize};

/// The times of the runs of an engine, in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Times {
    /// The median run of the best round: what the engine takes when nothing else is in its way.
    pub(crate) best: f64,
    /// The shortest run.
    pub(crate) min: f64,
    /// The median of the medians of the rounds.
    pub(crate) median: f64,
    /// The quartiles of the medians of the rounds.
    pub(crate) quartiles: [f64; 2],
    /// The number of runs with a clock.
    pub(crate) runs: usize,
}

impl Times {
    /// The times of rounds, each of at least one run, in nanoseconds; `None` if there are no rounds.
    pub(crate) fn of(rounds: &[Vec<u64>]) -> Option<Times> {
        let seconds = |round: &Vec<u64>| sorted(round.iter().map(|&ns| ns as f64 / 1e9).collect());
        let rounds: Vec<Vec<f64>> = rounds.iter().filter(|round| !round.is_empty()).map(seconds).collect();
        let medians = sorted(rounds.iter().map(|round| quantile(round, 0.5)).collect());
        Some(Times {
            best: *medians.first()?,
            min: rounds.iter().map(|round| round[0]).fold(f64::INFINITY, f64::min),
            median: quantile(&medians, 0.5),
            quartiles: [0.25, 0.75].map(|q| quantile(&medians, q)),
            runs: rounds.iter().map(Vec::len).sum(),
        })
    }

    /// The distance of the quartiles as a fraction of the median.
    pub(crate) fn spread(&self) -> f64 {
        (self.quartiles[1] - self.quartiles[0]) / self.median
    }
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// The quantile of ascending values, interpolated between neighbors.
///
/// # Panics
///
/// If there are no values.
fn quantile(values: &[f64], q: f64) -> f64 {
    let position = q * (values.len() - 1) as f64;
    let (low, high) = (values[position.floor() as usize], values[position.ceil() as usize]);
    low + (high - low) * position.fract()
}

/// The geometric mean, of no values `None`.
pub(crate) fn geometric_mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0);
    for value in values {
        sum += value.ln();
        count += 1;
    }
    (count > 0).then(|| (sum / f64::from(count)).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_rounds() {
        let ns = 1e-9;
        let times = Times::of(&[vec![30, 10, 20], vec![40], vec![15, 5], vec![]]).unwrap();
        let close = |a: f64, b: f64| (a - b * ns).abs() < 1e-12;
        assert!(close(times.best, 10.0) && close(times.min, 5.0) && close(times.median, 20.0));
        assert!(close(times.quartiles[0], 15.0) && close(times.quartiles[1], 30.0));
        assert_eq!(times.runs, 6);
        assert!((times.spread() - 0.75).abs() < 1e-9);
        assert_eq!(Times::of(&[]), None);
    }

    #[test]
    fn means_are_geometric() {
        assert!((geometric_mean([0.5, 2.0, 8.0]).unwrap() - 2.0).abs() < 1e-12);
        assert_eq!(geometric_mean([]), None);
    }
}
