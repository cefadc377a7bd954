//! Whether an output is the expected one, by the rule of the suite.

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
}

/// Compares outputs with the expected ones. Their types and shapes must be the same; a NaN equals a NaN only, and an
/// infinity equals the same one only.
///
/// # Errors
///
/// The first difference.
pub fn compare(outputs: &[Value], expected: &[Value], tolerance: Tolerance) -> Result<(), String> {
    if outputs.len() != expected.len() {
        return Err(format!("{} outputs, not {}", outputs.len(), expected.len()));
    }
    for (index, (output, expected)) in outputs.iter().zip(expected).enumerate() {
        value(output, expected, tolerance).map_err(|difference| format!("output {index}: {difference}"))?;
    }
    Ok(())
}

fn value(output: &Value, expected: &Value, tolerance: Tolerance) -> Result<(), String> {
    match (output, expected) {
        (Value::Tensor(output), Value::Tensor(expected)) => tensor(output, expected, tolerance),
        (Value::Sequence(output), Value::Sequence(expected)) if output.len() == expected.len() => {
            let mut pairs = output.iter().zip(expected);
            pairs.try_for_each(|(output, expected)| tensor(output, expected, tolerance))
        }
        (Value::None, Value::None) => Ok(()),
        (Value::Strings(output), Value::Strings(expected)) if output == expected => Ok(()),
        (Value::Tensor(rows), Value::Strings(expected)) if Strings::of_rows(rows).as_ref() == Some(expected) => Ok(()),
        _ => Err(format!("{output:?}, not {expected:?}")),
    }
}

fn tensor(output: &Tensor, expected: &Tensor, tolerance: Tolerance) -> Result<(), String> {
    if output.dtype != expected.dtype || output.shape != expected.shape {
        return Err(format!("{output:?}, not {expected:?}"));
    }
    let (found, wanted) = (floats(output), floats(expected));
    let mut wrong = found
        .iter()
        .zip(&wanted)
        .enumerate()
        .filter(|(_, (found, wanted))| !close(**found, **wanted, tolerance));
    match wrong.next() {
        None => Ok(()),
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
