//! How far a tensor is from what it was meant to be.

use serde::Serialize;

use crate::compare::numbers;
use onnxide_codegen::npz::Array;

/// The difference of a tensor from its reference as noise.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Noise {
    /// The ratio of the squares of the reference to those of the differences, in decibels. Infinite where there is no
    /// difference, which is `null` in JSON.
    pub(super) snr_db: f64,
    /// The largest difference over the distance of the least and the greatest number of the reference.
    pub(super) error_over_range: f64,
}

/// How many decisions are the same: which is the greatest along the last axis, or each number of a tensor of integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Decisions {
    pub(super) agreeing_decisions: usize,
    pub(super) decisions: usize,
}

/// The noise in a tensor. Differences from and to what is no finite number are infinite, unless both are the same.
pub(super) fn noise(found: &Array, expected: &Array) -> Noise {
    let (mut signal, mut noise, mut largest) = (0.0, 0.0, 0.0_f64);
    let (mut least, mut greatest) = (f64::INFINITY, f64::NEG_INFINITY);
    for (a, b) in numbers(found).zip(numbers(expected)) {
        let difference = match a - b {
            difference if difference.is_finite() => difference.abs(),
            _ if a == b || (a.is_nan() && b.is_nan()) => 0.0,
            _ => f64::INFINITY,
        };
        largest = largest.max(difference);
        noise += difference * difference;
        if b.is_finite() {
            signal += b * b;
            (least, greatest) = (least.min(b), greatest.max(b));
        }
    }
    let range = greatest - least;
    // A tensor of one number has no range.
    let range = if range > 0.0 { range } else { greatest.abs() };
    let over = |a: f64, b: f64, same: f64| if a == 0.0 { same } else { a / b };
    Noise {
        snr_db: -10.0 * over(noise, signal, 0.0).log10(),
        error_over_range: over(largest, range, 0.0),
    }
}

/// How many decisions are the same, if the tensor has any.
pub(super) fn decisions(found: &Array, expected: &Array) -> Option<Decisions> {
    let pairs = || numbers(found).zip(numbers(expected));
    if !found.dtype.name().starts_with("float") && !found.dtype.name().starts_with("bfloat") {
        let agreeing = pairs().filter(|(a, b)| a == b).count();
        return Some(Decisions {
            agreeing_decisions: agreeing,
            decisions: pairs().count(),
        });
    }
    let size = *found.shape.last()?;
    if size < 2 {
        return None;
    }
    let [found, expected] = [found, expected].map(|array| {
        let numbers: Vec<f64> = numbers(array).collect();
        numbers.chunks(size).map(greatest).collect::<Vec<usize>>()
    });
    let agreeing = found.iter().zip(&expected).filter(|(a, b)| a == b).count();
    Some(Decisions {
        agreeing_decisions: agreeing,
        decisions: expected.len(),
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
    use onnxide_runtime::element::DType;

    use super::super::tests::floats;
    use super::*;

    fn of(found: &[f32], expected: &[f32]) -> Noise {
        noise(&floats(&[found.len()], found), &floats(&[expected.len()], expected))
    }

    #[test]
    fn noise_is_relative_to_the_signal_and_the_range() {
        let found = of(&[3.0, -4.5], &[3.0, -4.0]);
        assert!((found.snr_db - 20.0).abs() < 1e-9, "{found:?}");
        assert!((found.error_over_range - 0.5 / 7.0).abs() < 1e-9, "{found:?}");
        let same = of(&[1.0, f32::NAN, f32::INFINITY], &[1.0, f32::NAN, f32::INFINITY]);
        assert_eq!((same.snr_db, same.error_over_range), (f64::INFINITY, 0.0));
        assert_eq!(of(&[], &[]).error_over_range, 0.0);
        assert_eq!(of(&[0.0], &[0.0]).snr_db, f64::INFINITY);
        assert_eq!(of(&[1.0], &[0.0]).snr_db, f64::NEG_INFINITY);
        assert_eq!(of(&[1.0], &[2.0]).error_over_range, 0.5);
        let lost = of(&[f32::NAN, 1.0], &[1.0, 1.0]);
        assert_eq!((lost.snr_db, lost.error_over_range), (f64::NEG_INFINITY, f64::INFINITY));
    }

    #[test]
    fn decisions_are_the_greatest_of_rows() {
        let of = |shape: &[usize], found: &[f32], expected: &[f32]| {
            decisions(&floats(shape, found), &floats(shape, expected))
                .map(|decisions| (decisions.agreeing_decisions, decisions.decisions))
        };
        let expected = [1.0, 3.0, 2.0, 5.0, 5.0, 4.0];
        assert_eq!(of(&[2, 3], &[1.0, 3.0, 3.5, 6.0, 5.0, 4.0], &expected), Some((1, 2)));
        assert_eq!(of(&[1, 6], &expected, &expected), Some((1, 1)));
        assert_eq!(of(&[6, 1], &expected, &expected), None);
        assert_eq!(of(&[], &[1.0], &[2.0]), None);
        let labels = |bytes: &[u8]| Array {
            dtype: DType::U8,
            shape: vec![bytes.len()],
            data: bytes.to_vec(),
        };
        let decisions = decisions(&labels(&[1, 2, 3]), &labels(&[1, 2, 4])).unwrap();
        assert_eq!((decisions.agreeing_decisions, decisions.decisions), (2, 3));
    }
}
