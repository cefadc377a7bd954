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
    /// 8 bits, where weights are stored in 4 or 8 bits and matrix products would multiply what they stand for in `f32`: what
    /// is multiplied with them is rounded to 8 bits, up to 64 numbers of a row with a scale in common. Such a number errs by up to
    /// 1/254 of the greatest of these. Sums of so many products are integers, and the same on every processor. All other
    /// products are as in [`F32`](Precision::F32).
    Int8,
}

impl Precision {
    /// All of them.
    pub const ALL: [Precision; 3] = [Precision::F32, Precision::Bf16, Precision::Int8];

    /// The name that options give it.
    pub const fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
            Precision::Int8 => "int8",
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
            let names = Precision::ALL.map(|precision| format!("`{precision}`")).join(", ");
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
            "unknown precision `int3`; the known ones are `f32`, `bf16`, `int8`"
        );
    }
}
