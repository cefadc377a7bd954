//! Whether an output is the expected one, by the rule of the suite.

use std::{fmt, ops};

use onnxide_codegen::ir::Tensor;
use onnxide_codegen::ir::eval::Numbers;

use crate::value::{Strings, Value};

/// How far an element may be from the expected one `e`: `absolute + relative * |e|`.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// The relative part.
    pub relative: f64,
    /// The absolute part.
    pub absolute: f64,
    /// How far integers may be instead, where they are rounded floats.
    pub steps: Option<u32>,
}

/// How well integers agree that may be some steps from the expected ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// The number of those that are the expected ones.
    pub exact: usize,
    /// The number of the others.
    pub near: usize,
}

impl ops::Add for Agreement {
    type Output = Agreement;

    fn add(self, other: Agreement) -> Agreement {
        Agreement {
            exact: self.exact + other.exact,
            near: self.near + other.near,
        }
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Agreement { exact, near } = self;
        write!(f, "{exact} of {} rounded integers exact, {near} near", exact + near)
    }
}

/// Compares outputs with the expected ones. Their types and shapes must be the same; a NaN equals a NaN only, and an
/// infinity equals the same one only.
///
/// # Errors
///
/// The first difference.
pub fn compare(outputs: &[Value], expected: &[Value], tolerance: Tolerance) -> Result<Agreement, String> {
    if outputs.len() != expected.len() {
        return Err(format!("{} outputs, not {}", outputs.len(), expected.len()));
    }
    let mut agreement = Agreement::default();
    for (index, (output, expected)) in outputs.iter().zip(expected).enumerate() {
        let found = value(output, expected, tolerance).map_err(|difference| format!("output {index}: {difference}"))?;
        agreement = agreement + found;
    }
    Ok(agreement)
}

fn value(output: &Value, expected: &Value, tolerance: Tolerance) -> Result<Agreement, String> {
    match (output, expected) {
        (Value::Tensor(output), Value::Tensor(expected)) => tensor(output, expected, tolerance),
        (Value::Sequence(output), Value::Sequence(expected)) if output.len() == expected.len() => {
            let mut pairs = output.iter().zip(expected);
            pairs.try_fold(Agreement::default(), |sum, (output, expected)| {
                Ok(sum + tensor(output, expected, tolerance)?)
            })
        }
        (Value::None, Value::None) => Ok(Agreement::default()),
        (Value::Strings(output), Value::Strings(expected)) if output == expected => Ok(Agreement::default()),
        (Value::Tensor(rows), Value::Strings(expected)) if Strings::of_rows(rows).as_ref() == Some(expected) => {
            Ok(Agreement::default())
        }
        _ => Err(format!("{output:?}, not {expected:?}")),
    }
}

fn tensor(output: &Tensor, expected: &Tensor, tolerance: Tolerance) -> Result<Agreement, String> {
    if output.dtype != expected.dtype || output.shape != expected.shape {
        return Err(format!("{output:?}, not {expected:?}"));
    }
    let (found, wanted) = (floats(output), floats(expected));
    let steps = tolerance.steps.filter(|_| expected.dtype.is_int());
    let tolerance = match steps {
        Some(steps) => Tolerance {
            relative: 0.0,
            absolute: steps.into(),
            steps: None,
        },
        None => tolerance,
    };
    let mut wrong = found
        .iter()
        .zip(&wanted)
        .enumerate()
        .filter(|(_, (found, wanted))| !close(**found, **wanted, tolerance));
    match wrong.next() {
        None if steps.is_some() => {
            let exact = found
                .iter()
                .zip(&wanted)
                .filter(|(found, wanted)| found == wanted)
                .count();
            Ok(Agreement {
                exact,
                near: found.len() - exact,
            })
        }
        None => Ok(Agreement::default()),
        Some((index, (found, wanted))) => Err(format!(
            "element {index} is {found}, not {wanted}; {} of {} elements of {output:?} differ",
            1 + wrong.count(),
            expected.len(),
        )),
    }
}

fn close(found: f64, wanted: f64, tolerance: Tolerance) -> bool {
    found == wanted
        || (found.is_nan() && wanted.is_nan())
        || (found - wanted).abs() <= tolerance.absolute + tolerance.relative * wanted.abs() && wanted.is_finite()
}

fn floats(tensor: &Tensor) -> Vec<f64> {
    match Numbers::of(tensor) {
        Numbers::Float(values) => values,
        Numbers::Int(values) => values.into_iter().map(|value| value as f64).collect(),
        Numbers::Bool(values) => values.into_iter().map(|value| f64::from(u8::from(value))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUITE: Tolerance = Tolerance {
        relative: 1e-3,
        absolute: 1e-7,
        steps: None,
    };

    fn differs(output: &[f32], expected: &[f32]) -> bool {
        let tensor = |values: &[f32]| Value::Tensor(Tensor::new(vec![values.len()], values));
        compare(&[tensor(output)], &[tensor(expected)], SUITE).is_err()
    }

    #[test]
    fn the_tolerance_is_relative_to_what_is_expected() {
        assert!(!differs(&[1000.9, 0.0], &[1000.0, 1e-8]));
        assert!(differs(&[1001.1], &[1000.0]));
        assert!(differs(&[1e-3], &[0.0]));
    }

    #[test]
    fn numbers_that_are_not_finite_equal_themselves_only() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        assert!(!differs(&[nan, inf, -inf], &[nan, inf, -inf]));
        for (output, expected) in [(nan, 1.0), (1.0, nan), (1.0, inf), (inf, 1.0), (inf, -inf), (nan, inf)] {
            assert!(differs(&[output], &[expected]), "{output} {expected}");
        }
    }

    #[test]
    fn integers_may_be_some_steps_away() {
        let steps = |steps| Tolerance {
            steps: Some(steps),
            ..SUITE
        };
        let [output, expected] = [[7u8, 8, 9], [7, 7, 10]].map(|row| [Value::Tensor(Tensor::new(vec![3], &row))]);
        assert!(compare(&output, &expected, steps(0)).is_err() && compare(&output, &expected, SUITE).is_err());
        let agreement = Agreement { exact: 1, near: 2 };
        assert_eq!(compare(&output, &expected, steps(1)), Ok(agreement));
        let [output, expected] = [1.0f32, 1.5].map(|number| [Value::Tensor(Tensor::scalar(number))]);
        assert!(compare(&output, &expected, steps(1)).is_err());
    }

    #[test]
    fn types_shapes_and_numbers_of_outputs_count() {
        let row = Tensor::new(vec![1, 2], &[1i64, 2]);
        let column = row.reshaped(vec![2, 1]);
        let narrow = Tensor::new(vec![1, 2], &[1i32, 2]);
        let compare = |output: &Tensor, expected: &Tensor| {
            let value = |tensor: &Tensor| [Value::Tensor(tensor.clone())];
            compare(&value(output), &value(expected), SUITE)
        };
        assert_eq!(
            compare(&row, &column).unwrap_err(),
            "output 0: i64[1, 2], not i64[2, 1]"
        );
        assert_eq!(
            compare(&narrow, &row).unwrap_err(),
            "output 0: i32[1, 2], not i64[1, 2]"
        );
        assert_eq!(
            super::compare(&[], &[Value::None], SUITE).unwrap_err(),
            "0 outputs, not 1"
        );
        let sequence = |tensors: &[&Tensor]| [Value::Sequence(tensors.iter().map(|&tensor| tensor.clone()).collect())];
        assert!(super::compare(&sequence(&[&row, &column]), &sequence(&[&row, &column]), SUITE).is_ok());
        for other in [&[&row][..], &[&row, &row], &[]] {
            assert!(super::compare(&sequence(other), &sequence(&[&row, &column]), SUITE).is_err());
        }
        assert!(super::compare(&[Value::None], &sequence(&[]), SUITE).is_err());
    }
}
