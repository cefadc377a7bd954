//! How far numbers are from what they were meant to be.

/// The difference of numbers from their reference as noise.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Noise {
    /// The ratio of the squares of the reference to those of the differences, in decibels. Infinite where there is no
    /// difference, which is `null` in JSON.
    pub snr_db: f64,
    /// The largest difference over the distance of the least and the greatest number of the reference.
    pub error_over_range: f64,
}

/// How many decisions are the same: which is the greatest along the last axis, or each number of a tensor of integers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Decisions {
    /// Those that are the same.
    pub agreeing_decisions: usize,
    /// All of them.
    pub decisions: usize,
}

/// Sums over the differences of numbers from their reference, of any number of tensors.
#[derive(Clone, Copy, Debug)]
pub struct Differences {
    signal: f64,
    noise: f64,
    largest: f64,
    least: f64,
    greatest: f64,
}

impl Default for Differences {
    fn default() -> Self {
        Differences {
            signal: 0.0,
            noise: 0.0,
            largest: 0.0,
            least: f64::INFINITY,
            greatest: f64::NEG_INFINITY,
        }
    }
}

impl Differences {
    /// Adds numbers and what they were meant to be. Differences from and to what is no finite number are infinite, unless
    /// both are the same.
    pub fn add(&mut self, found: impl IntoIterator<Item = f64>, expected: impl IntoIterator<Item = f64>) {
        for (a, b) in found.into_iter().zip(expected) {
            let difference = match a - b {
                difference if difference.is_finite() => difference.abs(),
                _ if a == b || (a.is_nan() && b.is_nan()) => 0.0,
                _ => f64::INFINITY,
            };
            self.largest = self.largest.max(difference);
            self.noise += difference * difference;
            if b.is_finite() {
                self.signal += b * b;
                (self.least, self.greatest) = (self.least.min(b), self.greatest.max(b));
            }
        }
    }

    /// The differences as noise.
    pub fn noise(&self) -> Noise {
        let range = self.greatest - self.least;
        // Numbers that are all the same have no range.
        let range = if range > 0.0 { range } else { self.greatest.abs() };
        Noise {
            snr_db: -10.0 * over(self.noise, self.signal).log10(),
            error_over_range: over(self.largest, range),
        }
    }

    /// The root of the ratio of the squares of the differences to those of the reference.
    pub fn relative(&self) -> f64 {
        over(self.noise, self.signal).sqrt()
    }
}

fn over(a: f64, b: f64) -> f64 {
    if a == 0.0 { 0.0 } else { a / b }
}

/// The noise in numbers.
pub fn noise(found: impl IntoIterator<Item = f64>, expected: impl IntoIterator<Item = f64>) -> Noise {
    let mut differences = Differences::default();
    differences.add(found, expected);
    differences.noise()
}

/// How many decisions of numbers of a shape are the same, if there are any: floats decide along the last axis if it has
/// several, other types in each number.
pub fn decisions(found: &[f64], expected: &[f64], shape: &[usize], is_float: bool) -> Option<Decisions> {
    if !is_float {
        let pairs = found.iter().zip(expected);
        return Some(Decisions {
            agreeing_decisions: pairs.filter(|(a, b)| a == b).count(),
            decisions: expected.len(),
        });
    }
    let size = *shape.last()?;
    if size < 2 {
        return None;
    }
    let rows = found.chunks(size).zip(expected.chunks(size));
    Some(Decisions {
        agreeing_decisions: rows.filter(|(a, b)| greatest(a) == greatest(b)).count(),
        decisions: expected.len() / size,
    })
}

/// Where the first of the greatest numbers is.
fn greatest(row: &[f64]) -> usize {
    let mut best = 0;
    for (index, &number) in row.iter().enumerate() {
        if number > row[best] {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(found: &[f64], expected: &[f64]) -> Noise {
        noise(found.iter().copied(), expected.iter().copied())
    }

    #[test]
    fn noise_is_relative_to_the_signal_and_the_range() {
        let found = of(&[3.0, -4.5], &[3.0, -4.0]);
        assert!((found.snr_db - 20.0).abs() < 1e-9, "{found:?}");
        assert!((found.error_over_range - 0.5 / 7.0).abs() < 1e-9, "{found:?}");
        let same = of(&[1.0, f64::NAN, f64::INFINITY], &[1.0, f64::NAN, f64::INFINITY]);
        assert_eq!((same.snr_db, same.error_over_range), (f64::INFINITY, 0.0));
        assert_eq!(of(&[], &[]).error_over_range, 0.0);
        assert_eq!(of(&[0.0], &[0.0]).snr_db, f64::INFINITY);
        assert_eq!(of(&[1.0], &[0.0]).snr_db, f64::NEG_INFINITY);
        assert_eq!(of(&[1.0], &[2.0]).error_over_range, 0.5);
        let lost = of(&[f64::NAN, 1.0], &[1.0, 1.0]);
        assert_eq!((lost.snr_db, lost.error_over_range), (f64::NEG_INFINITY, f64::INFINITY));
    }

    #[test]
    fn differences_of_several_tensors_add_up() {
        let mut sums = Differences::default();
        sums.add([3.0], [3.0]);
        sums.add([-4.5], [-4.0]);
        assert_eq!(sums.noise(), of(&[3.0, -4.5], &[3.0, -4.0]));
        assert!((sums.relative() - 0.1).abs() < 1e-12);
    }

    #[test]
    fn decisions_are_the_greatest_of_rows() {
        let of = |shape: &[usize], found: &[f64], expected: &[f64]| {
            decisions(found, expected, shape, true).map(|decisions| (decisions.agreeing_decisions, decisions.decisions))
        };
        let expected = [1.0, 3.0, 2.0, 5.0, 5.0, 4.0];
        assert_eq!(of(&[2, 3], &[1.0, 3.0, 3.5, 6.0, 5.0, 4.0], &expected), Some((1, 2)));
        assert_eq!(of(&[1, 6], &expected, &expected), Some((1, 1)));
        assert_eq!(of(&[6, 1], &expected, &expected), None);
        assert_eq!(of(&[], &[1.0], &[2.0]), None);
        let labels = decisions(&[1.0, 2.0, 3.0], &[1.0, 2.0, 4.0], &[3], false).unwrap();
        assert_eq!((labels.agreeing_decisions, labels.decisions), (2, 3));
    }
}
