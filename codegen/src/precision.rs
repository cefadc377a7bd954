//! The precision of products.

use std::fmt;
use std::str::FromStr;

/// The type in which matrix products and convolutions with constant weights multiply. Values between steps, and
/// everything else, are `f32` in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// `f32`, as the model has it.
    #[default]
    F32,
    /// bf16, the upper half of an `f32`: weights are rounded to it when the model is compiled, and take half as many bytes.
    /// What they are multiplied with is rounded where it is read, and sums are `f32`. A product of two numbers errs by up to
    /// 2⁻⁷ of it.
    Bf16,
}

impl Precision {
    /// All of them.
    pub const ALL: [Precision; 2] = [Precision::F32, Precision::Bf16];

    /// The name that options give it.
    pub const fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Precision, String> {
        let known = Precision::ALL.into_iter().find(|precision| precision.name() == text);
        known.ok_or_else(|| {
            let names = Precision::ALL.map(|precision| format!("`{precision}`")).join(" and ");
            format!("unknown precision `{text}`; the known ones are {names}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precisions_have_names() {
        for precision in Precision::ALL {
            assert_eq!(precision.to_string().parse(), Ok(precision));
        }
        assert_eq!(
            "int3".parse::<Precision>().unwrap_err(),
            "unknown precision `int3`; the known ones are `f32` and `bf16`"
        );
    }
}
