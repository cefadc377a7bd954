//! Whether two engines agree.

use crate::arrays::Arrays;

/// The largest relative error of the outputs that both engines have: the largest difference in an output over the largest
/// magnitude that the first engine gives it. Infinite if shapes differ, an output is missing, or only one of the engines
/// has a number at a place.
pub(crate) fn relative_error(reference: &Arrays, actual: &Arrays) -> f64 {
    let error = |(name, reference): (&String, &crate::arrays::Array)| {
        let Some(actual) = actual.get(name).filter(|actual| actual.shape == reference.shape) else {
            return f64::INFINITY;
        };
        let (reference, actual) = (reference.data.to_f64(), actual.data.to_f64());
        let difference = |(&a, &b): (&f64, &f64)| {
            if a == b || a.is_nan() && b.is_nan() {
                0.0
            } else if a.is_finite() && b.is_finite() {
                (a - b).abs()
            } else {
                f64::INFINITY
            }
        };
        let largest = reference.iter().zip(&actual).map(difference).fold(0.0, f64::max);
        let magnitude = reference
            .iter()
            .map(|x| x.abs())
            .filter(|x| x.is_finite())
            .fold(0.0, f64::max);
        if largest == 0.0 { 0.0 } else { largest / magnitude }
    };
    reference.iter().map(error).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrays::{Array, Data};

    fn outputs(shape: &[usize], data: &[f32]) -> Arrays {
        let (shape, data) = (shape.to_vec(), Data::F32(data.to_vec()));
        Arrays::from([("y".into(), Array { shape, data })])
    }

    #[test]
    fn errors_are_relative_to_the_largest_magnitude() {
        let error = |a: &[f32], b: &[f32]| relative_error(&outputs(&[2], a), &outputs(&[2], b));
        assert_eq!(error(&[0.0, -4.0], &[1.0, -4.0]), 0.25);
        assert_eq!(error(&[0.0, 0.0], &[0.0, 0.0]), 0.0);
        assert_eq!(error(&[0.0, 0.0], &[0.0, 1.0]), f64::INFINITY);
        assert_eq!(error(&[f32::NAN, 1.0], &[f32::NAN, 1.0]), 0.0);
        assert_eq!(error(&[f32::NAN, 1.0], &[0.0, 1.0]), f64::INFINITY);
        assert_eq!(error(&[1.0, f32::INFINITY], &[1.0, 2.0]), f64::INFINITY);
        let reference = outputs(&[2], &[1.0, 2.0]);
        assert_eq!(
            relative_error(&reference, &outputs(&[2, 1], &[1.0, 2.0])),
            f64::INFINITY
        );
        assert_eq!(relative_error(&reference, &Arrays::new()), f64::INFINITY);
    }
}
