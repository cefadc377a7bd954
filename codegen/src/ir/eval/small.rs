//! Floating-point formats of at most sixteen bits, by their definitions.

use crate::ir::dtype::DType;

/// What a format has besides finite numbers.
#[derive(Clone, Copy, PartialEq)]
enum Specials {
    /// Infinities and NaN, as in IEEE 754.
    Ieee,
    /// NaN in place of the largest magnitude.
    Nan,
    /// NaN in place of the negative zero.
    NanForNegativeZero,
    /// Nothing; too large numbers become the largest, NaN the negative zero.
    Nothing,
}

/// A format of sign, exponent and mantissa.
struct Format {
    exponent_bits: u32,
    mantissa_bits: u32,
    bias: i32,
    specials: Specials,
}

impl Format {
    fn of(dtype: DType) -> Option<Format> {
        let (exponent_bits, mantissa_bits, bias, specials) = match dtype {
            DType::F16 => (5, 10, 15, Specials::Ieee),
            DType::BF16 => (8, 7, 127, Specials::Ieee),
            DType::F8E5M2 => (5, 2, 15, Specials::Ieee),
            DType::F8E5M2Fnuz => (5, 2, 16, Specials::NanForNegativeZero),
            DType::F8E4M3Fn => (4, 3, 7, Specials::Nan),
            DType::F8E4M3Fnuz => (4, 3, 8, Specials::NanForNegativeZero),
            DType::F6E2M3 => (2, 3, 1, Specials::Nothing),
            DType::F6E3M2 => (3, 2, 3, Specials::Nothing),
            DType::F4E2M1 => (2, 1, 1, Specials::Nothing),
            _ => return None,
        };
        Some(Format {
            exponent_bits,
            mantissa_bits,
            bias,
            specials,
        })
    }

    /// The bit of the sign, and one more than the largest magnitude.
    fn sign(&self) -> u32 {
        1 << (self.exponent_bits + self.mantissa_bits)
    }

    fn infinity(&self) -> u32 {
        self.sign() - (1 << self.mantissa_bits)
    }

    /// The magnitude of the largest finite number.
    fn largest(&self) -> u32 {
        match self.specials {
            Specials::Ieee => self.infinity() - 1,
            Specials::Nan => self.sign() - 2,
            Specials::NanForNegativeZero | Specials::Nothing => self.sign() - 1,
        }
    }

    fn decode(&self, code: u32) -> f64 {
        let magnitude = code & (self.sign() - 1);
        let negative = code & self.sign() != 0;
        let value = if self.specials == Specials::NanForNegativeZero && negative && magnitude == 0 {
            f64::NAN
        } else if self.specials == Specials::Ieee && magnitude == self.infinity() {
            f64::INFINITY
        } else if magnitude > self.largest() {
            f64::NAN
        } else {
            let mantissa = f64::from(magnitude & ((1 << self.mantissa_bits) - 1));
            let unit = |exponent: i32| 2f64.powi(exponent - self.bias - self.mantissa_bits as i32);
            match (magnitude >> self.mantissa_bits) as i32 {
                0 => mantissa * unit(1),
                exponent => (mantissa + f64::from(1 << self.mantissa_bits)) * unit(exponent),
            }
        };
        if negative { -value } else { value }
    }

    fn encode(&self, value: f64) -> u32 {
        let magnitude = value.abs();
        let rounded = if magnitude.is_finite() {
            let exponent = ((magnitude.to_bits() >> 52) as i32 - 1023).max(1 - self.bias);
            let units = (magnitude * 2f64.powi(self.mantissa_bits as i32 - exponent)).round_ties_even();
            // The leading bit of the units of a normal number is the lowest of the exponent field, and a carry of
            // rounding goes into the exponent by itself.
            let field = ((exponent - 1 + self.bias) as u64) << self.mantissa_bits;
            field + units as u64
        } else {
            u64::MAX
        };
        let out_of_range = rounded > u64::from(self.largest());
        let magnitude = match self.specials {
            _ if !out_of_range => rounded as u32,
            Specials::Ieee if value.is_nan() => self.infinity() | self.infinity() >> 1,
            Specials::Ieee => self.infinity(),
            Specials::Nan => self.sign() - 1,
            Specials::Nothing if !value.is_nan() => self.largest(),
            Specials::NanForNegativeZero | Specials::Nothing => 0,
        };
        let negative = match self.specials {
            Specials::NanForNegativeZero if magnitude == 0 => out_of_range,
            Specials::Nothing if value.is_nan() => true,
            _ => value.is_sign_negative(),
        };
        magnitude | if negative { self.sign() } else { 0 }
    }
}

/// The value of a code. Types that have more than sixteen bits have none: NaN.
pub(super) fn decode(code: u16, dtype: DType) -> f64 {
    match Format::of(dtype) {
        Some(format) => format.decode(code.into()),
        None if dtype == DType::F8E8M0 && code & 0xff != 0xff => 2f64.powi(i32::from(code & 0xff) - 127),
        None => f64::NAN,
    }
}

/// The largest finite value; NaN of types that have more than sixteen bits.
pub(super) fn largest(dtype: DType) -> f64 {
    match Format::of(dtype) {
        Some(format) => format.decode(format.largest()),
        None => decode(0xfe, dtype),
    }
}

/// The code of the nearest value, the even one of two; of two powers of two the greater one, and NaN for what is not
/// near one that there is.
pub(super) fn encode(value: f64, dtype: DType) -> u16 {
    match Format::of(dtype) {
        Some(format) => format.encode(value) as u16,
        None if value > 0.0 && value.is_finite() => {
            // The mantissa is at least half of one, and then the next power of two is as near, with its highest bit.
            let exponent = ((value.to_bits() + (1 << 51)) >> 52) as i32 - 1023;
            u16::try_from(exponent + 127).map_or(0xff, |code| code.min(0xff))
        }
        None => 0xff,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use onnxide_runtime::element as runtime;

    fn check(dtype: DType, decode_there: &dyn Fn(u16) -> f32, encode_there: &dyn Fn(f64) -> u16) {
        let codes = 1u32 << dtype.bits();
        let mut finite: Vec<f64> = Vec::new();
        for code in 0..codes {
            let (code, here) = (code as u16, decode(code as u16, dtype));
            let there = f64::from(decode_there(code));
            assert!(here == there || here.is_nan() && there.is_nan(), "{dtype} {code:#x}");
            if here.is_nan() {
                assert!(decode(encode(here, dtype), dtype).is_nan());
            } else {
                assert_eq!(encode(here, dtype), code);
                finite.push(here);
            }
        }
        finite.retain(|value| value.is_finite());
        finite.sort_by(f64::total_cmp);
        let middles = finite.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0);
        let extremes = [
            0.0,
            -0.0,
            1e-320,
            f64::MAX,
            f64::INFINITY,
            f64::NAN,
            finite[finite.len() - 1] * 1.1,
        ];
        for value in middles.chain(finite.iter().copied()).chain(extremes) {
            for value in [value, value.next_up(), value.next_down(), -value] {
                assert_eq!(encode(value, dtype), encode_there(value), "{dtype} of {value:e}");
            }
        }
    }

    #[test]
    fn formats_agree_with_those_of_the_runtime() {
        macro_rules! check {
            ($($dtype:ident: $name:ident, $bits:ty;)*) => {$(
                check(
                    DType::$dtype,
                    &|code| runtime::$name(code as $bits).to_f32(),
                    &|value| runtime::$name::from_f64(value).0.into(),
                );
            )*};
        }
        check! {
            F16: F16, u16; BF16: Bf16, u16;
            F8E4M3Fn: F8E4M3Fn, u8; F8E4M3Fnuz: F8E4M3Fnuz, u8; F8E5M2: F8E5M2, u8; F8E5M2Fnuz: F8E5M2Fnuz, u8;
            F8E8M0: F8E8M0, u8; F6E2M3: F6E2M3, u8; F6E3M2: F6E3M2, u8; F4E2M1: F4E2M1, u8;
        }
    }
}
