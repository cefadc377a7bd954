//! Types and constants as Rust.

use super::operators::Prec;
use super::widen::is_stored_only;
use crate::ir::{DType, Literal};

/// The integer type that has the bits of elements.
pub(super) fn bits_type(dtype: DType) -> &'static str {
    match (dtype, dtype.arithmetic()) {
        (DType::F32, _) => "u32",
        (DType::F64, _) => "u64",
        (DType::F16 | DType::BF16, _) => "u16",
        (_, DType::F32) | (DType::Bool, _) => "u8",
        (_, wide) => wide.name(),
    }
}

/// The type in which elements are stored.
pub(super) fn rust_type(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "u8",
        other if is_stored_only(other) => super::model::variant(other),
        other => other.name(),
    }
}

/// A constant of a type.
pub(super) fn constant(literal: Literal, dtype: DType) -> (String, Prec) {
    let text = match (literal, dtype) {
        (Literal::Bool(value), _) => value.to_string(),
        (literal, _) if is_stored_only(dtype) => {
            let wide = dtype.arithmetic();
            format!("{}::from_{wide}({})", rust_type(dtype), constant(literal, wide).0)
        }
        (Literal::Int(value), _) => value.to_string(),
        (Literal::Float(value), DType::F64) => double(value),
        (Literal::Float(value), _) => single(value as f32),
    };
    let precedence = if text.starts_with('-') { Prec::Unary } else { Prec::Atom };
    (text, precedence)
}

/// An `f32`, exactly.
pub(super) fn single(value: f32) -> String {
    use std::f32::consts::*;
    const NAMED: [(f32, &str); 8] = [
        (PI, "PI"),
        (FRAC_PI_2, "FRAC_PI_2"),
        (E, "E"),
        (LN_2, "LN_2"),
        (LOG2_E, "LOG2_E"),
        (SQRT_2, "SQRT_2"),
        (FRAC_1_SQRT_2, "FRAC_1_SQRT_2"),
        (FRAC_2_SQRT_PI, "FRAC_2_SQRT_PI"),
    ];
    if let Some((_, name)) = NAMED.iter().find(|(known, _)| *known == value.abs()) {
        return format!("{}core::f32::consts::{name}", if value < 0.0 { "-" } else { "" });
    }
    special("f32", value.is_nan(), value.is_infinite(), value < 0.0).unwrap_or_else(|| format!("{value:?}"))
}

fn double(value: f64) -> String {
    special("f64", value.is_nan(), value.is_infinite(), value < 0.0).unwrap_or_else(|| format!("{value:?}"))
}

fn special(ty: &str, nan: bool, infinite: bool, negative: bool) -> Option<String> {
    match (nan, infinite, negative) {
        (true, ..) => Some(format!("{ty}::NAN")),
        (_, true, true) => Some(format!("{ty}::NEG_INFINITY")),
        (_, true, false) => Some(format!("{ty}::INFINITY")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_exact() {
        for (value, text) in [
            (0.1, "0.1"),
            (-0.0, "-0.0"),
            (1e-12, "1e-12"),
            (
                f64::from(std::f32::consts::FRAC_1_SQRT_2),
                "core::f32::consts::FRAC_1_SQRT_2",
            ),
            (f64::NAN, "f32::NAN"),
        ] {
            assert_eq!(constant(Literal::Float(value), DType::F32).0, text);
        }
    }
}
