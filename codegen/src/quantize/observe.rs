//! Observers: the range of a value that is quantized, from what it has been in the calibration.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// How the range of an activation is chosen. What is beyond it is brought to its ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Observer {
    /// From the least to the greatest number that was seen.
    MinMax,
    /// Without the 0.005 % of the numbers at either end that are farthest out.
    Percentile,
    /// With the least mean of the squares of the errors of rounding and cutting off.
    #[default]
    Mse,
    /// With the least relative entropy of the distributions before and after, as of Migacz, "8-bit Inference with TensorRT"
    /// (GTC 2017), for ranges of either sign.
    Entropy,
}

impl Observer {
    /// All of them.
    pub const ALL: [Observer; 4] = [Observer::MinMax, Observer::Percentile, Observer::Mse, Observer::Entropy];

    /// The name that options give it.
    pub const fn name(self) -> &'static str {
        match self {
            Observer::MinMax => "min-max",
            Observer::Percentile => "percentile",
            Observer::Mse => "mse",
            Observer::Entropy => "entropy",
        }
    }
}

impl fmt::Display for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Observer {
    type Err = String;

    fn from_str(text: &str) -> Result<Observer, String> {
        let known = Observer::ALL.into_iter().find(|observer| observer.name() == text);
        known.ok_or_else(|| {
            let names = Observer::ALL.map(|observer| format!("`{observer}`")).join(", ");
            format!("unknown observer `{text}`; the known ones are {names}")
        })
    }
}

/// The most bins of a histogram.
const MAX_BINS: f64 = 4096.0;

/// The binary logarithm of the width of the first bins.
const FINEST: i32 = -40;

/// The fraction of the numbers at either end that [`Observer::Percentile`] leaves out.
const OUTLIERS: f64 = 5e-5;

/// The parts into which the way from zero to an end of the range is divided, each of which may end the range instead.
const CANDIDATES: usize = 128;

/// How often each end of a range is chosen anew, with the other as it is.
const ROUNDS: usize = 2;

/// The steps of a range.
const STEPS: usize = 255;

/// How often numbers were seen, in bins whose width is a power of two.
///
/// In which bin a number is depends on it and the width alone, and the width on the least and the greatest, so that a
/// histogram is the same whatever the order was in which numbers were seen.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    /// The binary logarithm of the width.
    exponent: i32,
    /// Bin `i` has the numbers from `i` to `i + 1` times the width, but for zeros.
    bins: BTreeMap<i64, u64>,
    /// The zeros, which every range has exactly.
    zeros: u64,
    low: f64,
    high: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            exponent: FINEST,
            bins: BTreeMap::new(),
            zeros: 0,
            low: 0.0,
            high: 0.0,
        }
    }
}

impl Histogram {
    /// Adds numbers; none of them if one is not finite, which is an error.
    pub(super) fn add(&mut self, numbers: &[f32]) -> Result<(), f32> {
        if let Some(&number) = numbers.iter().find(|number| !number.is_finite()) {
            return Err(number);
        }
        for &number in numbers {
            (self.low, self.high) = (self.low.min(number.into()), self.high.max(number.into()));
        }
        let before = self.exponent;
        while bin(self.high, self.exponent) - bin(self.low, self.exponent) >= MAX_BINS {
            self.exponent += 1;
        }
        let shift = (self.exponent - before).min(63);
        if shift > 0 {
            // Two bins are one of twice the width.
            for (bin, count) in std::mem::take(&mut self.bins) {
                *self.bins.entry(bin >> shift).or_default() += count;
            }
        }
        let first = bin(self.low, self.exponent);
        let mut counts = vec![0u64; (bin(self.high, self.exponent) - first) as usize + 1];
        for &number in numbers {
            match number == 0.0 {
                true => self.zeros += 1,
                false => counts[(bin(number.into(), self.exponent) - first) as usize] += 1,
            }
        }
        for (index, count) in counts.into_iter().enumerate().filter(|(_, count)| *count > 0) {
            *self.bins.entry(first as i64 + index as i64).or_default() += count;
        }
        Ok(())
    }

    /// The range that an observer chooses. It has zero.
    pub(super) fn range(&self, observer: Observer) -> (f64, f64) {
        match observer {
            Observer::MinMax => (self.low, self.high),
            Observer::Percentile => self.percentile(),
            Observer::Mse => {
                let sums = Sums::new(self);
                self.least(|low, high| sums.error(low, high))
            }
            Observer::Entropy => self.least(|low, high| self.divergence(low, high)),
        }
    }

    fn percentile(&self) -> (f64, f64) {
        let total = self.zeros + self.bins.values().sum::<u64>();
        let room = (total as f64 * OUTLIERS).floor() as u64;
        let kept = |bins: &mut dyn Iterator<Item = (&i64, &u64)>| {
            let mut left = room;
            for (&bin, &count) in bins {
                left = match left.checked_sub(count) {
                    Some(left) => left,
                    None => return Some(bin),
                };
            }
            None
        };
        let low = kept(&mut self.bins.range(..0)).map_or(0.0, |bin| edge(bin, self.exponent));
        let high = kept(&mut self.bins.range(0..).rev()).map_or(0.0, |bin| edge(bin + 1, self.exponent));
        (low.max(self.low), high.min(self.high))
    }

    /// The range of the least cost: each end in turn, with the other as it is.
    fn least(&self, cost: impl Fn(f64, f64) -> f64) -> (f64, f64) {
        let (mut low, mut high) = (self.low, self.high);
        let part = |end: f64, index: usize| end * index as f64 / CANDIDATES as f64;
        // Of ranges of the same cost the widest.
        let best = |end: f64, cost: &dyn Fn(f64) -> f64| {
            let candidates = (1..=CANDIDATES).rev().map(|index| part(end, index));
            let costs = candidates.map(|candidate| (candidate, cost(candidate)));
            costs
                .fold(
                    (end, f64::INFINITY),
                    |best, next| if next.1 < best.1 { next } else { best },
                )
                .0
        };
        for _ in 0..ROUNDS {
            if self.high > 0.0 {
                high = best(self.high, &|high| cost(low, high));
            }
            if self.low < 0.0 {
                low = best(self.low, &|low| cost(low, high));
            }
        }
        (low, high)
    }

    /// The relative entropy of the distribution in a range, with what is beyond at its ends, to the same in 255 steps.
    fn divergence(&self, low: f64, high: f64) -> f64 {
        let width = f64::from(self.exponent).exp2();
        let first = bin(low, self.exponent) as i64;
        let len = (bin(high, self.exponent) as i64 - first + 1) as usize;
        let mut clipped = vec![0.0; len];
        let mut inner = vec![0.0; len];
        for (&bin, &count) in &self.bins {
            let index = (bin - first).clamp(0, len as i64 - 1) as usize;
            clipped[index] += count as f64;
            if (first..first + len as i64).contains(&bin) {
                inner[index] += count as f64;
            }
        }
        let step = (high - low) / STEPS as f64;
        let mut sums = vec![(0.0, 0.0); STEPS + 1];
        let level = |index: usize| {
            let center = ((first + index as i64) as f64 + 0.5) * width;
            (((center - low) / step).round().max(0.0) as usize).min(STEPS)
        };
        for (index, &count) in inner.iter().enumerate() {
            let sum = &mut sums[level(index)];
            *sum = (sum.0 + count, sum.1 + f64::from(clipped[index] > 0.0));
        }
        let (total, kept): (f64, f64) = (clipped.iter().sum(), inner.iter().sum());
        let mut divergence = 0.0;
        for (index, &count) in clipped.iter().enumerate().filter(|(_, count)| **count > 0.0) {
            let (sum, places) = sums[level(index)];
            // What has no counterpart is as unlikely as less than one number.
            let other = if sum > 0.0 { sum / places / kept } else { 0.1 / total };
            divergence += count / total * (count / total / other).ln();
        }
        divergence
    }
}

/// The bin of a number, of bins of a width.
fn bin(number: f64, exponent: i32) -> f64 {
    (number * f64::from(-exponent).exp2()).floor()
}

/// Where a bin begins.
fn edge(bin: i64, exponent: i32) -> f64 {
    bin as f64 * f64::from(exponent).exp2()
}

/// Sums over the bins up to each, from which follow those over the numbers beyond an end of a range.
struct Sums {
    centers: Vec<f64>,
    /// The sums of the counts, of the counts times the centers and of those times the centers again.
    sums: Vec<[f64; 3]>,
}

impl Sums {
    fn new(histogram: &Histogram) -> Sums {
        let mut sums = vec![[0.0; 3]];
        let mut centers = Vec::new();
        for (&bin, &count) in &histogram.bins {
            let (center, count) = (
                edge(bin, histogram.exponent) * 0.5 + edge(bin + 1, histogram.exponent) * 0.5,
                count as f64,
            );
            let [a, b, c] = sums[sums.len() - 1];
            sums.push([a + count, b + count * center, c + count * center * center]);
            centers.push(center);
        }
        Sums { centers, sums }
    }

    /// The sum of the squares of the errors of rounding in the range, which are uniform in a step, and of those beyond it.
    fn error(&self, low: f64, high: f64) -> f64 {
        let step = (high - low) / STEPS as f64;
        let first = self.centers.partition_point(|&center| center < low);
        let last = self.centers.partition_point(|&center| center <= high).max(first);
        let between = |from: usize, to: usize| {
            let (a, b) = (self.sums[from], self.sums[to]);
            [b[0] - a[0], b[1] - a[1], b[2] - a[2]]
        };
        let beyond = |[count, sum, squares]: [f64; 3], end: f64| squares - 2.0 * end * sum + count * end * end;
        between(first, last)[0] * step * step / 12.0
            + beyond(between(0, first), low)
            + beyond(between(last, self.centers.len()), high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::sample::SplitMix;

    fn histogram(numbers: &[f32]) -> Histogram {
        let mut histogram = Histogram::default();
        histogram.add(numbers).unwrap();
        histogram
    }

    /// Sums of twelve uniform numbers, which are about normal.
    fn normal(count: usize) -> Vec<f32> {
        let mut random = SplitMix::new(7);
        (0..count)
            .map(|_| (0..12).map(|_| random.unit()).sum::<f64>() as f32)
            .collect()
    }

    #[test]
    fn observers_have_names() {
        for observer in Observer::ALL {
            assert_eq!(observer.to_string().parse(), Ok(observer));
        }
        assert_eq!(
            "max".parse::<Observer>().unwrap_err(),
            "unknown observer `max`; the known ones are `min-max`, `percentile`, `mse`, `entropy`"
        );
    }

    #[test]
    fn the_order_of_numbers_does_not_matter() {
        let mut numbers = normal(3000);
        numbers.extend([1e-30, -1e20, 0.0, 3e38, -2.5]);
        let whole = histogram(&numbers);
        let mut parts = Histogram::default();
        for part in numbers.rchunks(70) {
            parts.add(part).unwrap();
        }
        assert_eq!(
            (whole.exponent, &whole.bins, whole.zeros),
            (parts.exponent, &parts.bins, parts.zeros)
        );
        for observer in Observer::ALL {
            assert_eq!(whole.range(observer), parts.range(observer));
        }
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        let mut histogram = histogram(&[1.0]);
        assert!(histogram.add(&[2.0, f32::NAN]).unwrap_err().is_nan());
        assert_eq!(histogram.add(&[f32::INFINITY]), Err(f32::INFINITY));
        assert_eq!(histogram.range(Observer::MinMax), (0.0, 1.0));
    }

    #[test]
    fn ranges_have_zero() {
        for observer in Observer::ALL {
            assert_eq!(histogram(&[]).range(observer), (0.0, 0.0));
            let (low, high) = histogram(&[3.0, 5.0]).range(observer);
            assert!(low == 0.0 && high > 4.0, "{observer}: {low} to {high}");
            let (low, high) = histogram(&[-3.0, -5.0]).range(observer);
            assert!(low < -4.0 && high == 0.0, "{observer}: {low} to {high}");
        }
    }

    /// The error of rounding to 255 steps of a range.
    fn error(numbers: &[f32], (low, high): (f64, f64)) -> f64 {
        let step = (high - low) / 255.0;
        let squares = numbers.iter().map(|&number| {
            let number = f64::from(number);
            let rounded = (number.clamp(low, high) / step).round() * step;
            (number - rounded).powi(2)
        });
        squares.sum()
    }

    #[test]
    fn outliers_are_cut_off_where_that_errs_less() {
        // A million numbers, and one that is four times as large as the others.
        let (numbers, repeats, outlier) = (normal(20_000), 50, [30.0]);
        let mut histogram = histogram(&outlier);
        for _ in 0..repeats {
            histogram.add(&numbers).unwrap();
        }
        let ranges = Observer::ALL.map(|observer| histogram.range(observer));
        assert_eq!(ranges[0].1, 30.0);
        assert!(ranges[1].1 < 10.0, "{ranges:?}");
        let error = |range| f64::from(repeats) * error(&numbers, range) + error(&outlier, range);
        let errors = ranges.map(error);
        assert!(errors[2] < 0.6 * errors[0], "{errors:?}");
        // No other end of the range is better by more than the histogram is coarse.
        for index in 1..=60 {
            let other = error((ranges[2].0, f64::from(index) / 2.0));
            assert!(errors[2] <= 1.02 * other, "{index}: {other} and {errors:?}");
        }
    }

    #[test]
    fn entropy_cuts_off_a_long_tail() {
        let mut numbers = normal(20_000);
        numbers.extend((0..20).map(|index| 20.0 + index as f32));
        let (low, high) = histogram(&numbers).range(Observer::Entropy);
        assert!(
            (2.0..30.0).contains(&high) && (-12.0..-2.0).contains(&low),
            "{low} to {high}"
        );
    }
}
