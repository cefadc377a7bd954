//! Floating-point numbers of at most eight bits.
//!
//! `F8E4M3Fn` and `F8E5M2` are those of Micikevicius et al., *FP8 Formats for Deep Learning* (2022), and of the *OCP 8-bit
//! Floating Point Specification*; the `Fnuz` forms those of Noune et al., *8-bit Numerical Formats for Deep Neural
//! Networks* (2022). `F8E8M0`, `F6E2M3`, `F6E3M2` and `F4E2M1` are those of the *OCP Microscaling Formats (MX)
//! Specification*. ONNX gives them the same meaning. The name says how many bits exponent and mantissa have, then what is
//! special: finite numbers alone (F), NaN (N), one unsigned zero (UZ).
//!
//! Conversions from `f32` round to nearest, ties to even, and have no branches.

use super::half::to_odd;

/// What a format has besides finite numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Specials {
    /// Infinities, then NaN, as in IEEE 754.
    Ieee,
    /// NaN in place of the largest magnitude.
    Nan,
    /// NaN in place of the negative zero.
    NanForNegativeZero,
    /// Nothing: too large numbers become the largest, and NaN becomes the negative zero.
    Nothing,
}

/// A format with a sign.
#[derive(Clone, Copy)]
struct Format {
    /// The bits of the exponent and of the mantissa together.
    magnitude_bits: u32,
    mantissa_bits: u32,
    bias: u32,
    specials: Specials,
}

impl Format {
    #[inline(always)]
    const fn magnitudes(self) -> u32 {
        (1 << self.magnitude_bits) - 1
    }

    /// The largest finite number.
    #[inline(always)]
    const fn largest(self) -> u32 {
        match self.specials {
            Specials::Ieee => self.infinity() - 1,
            Specials::Nan => self.magnitudes() - 1,
            Specials::NanForNegativeZero | Specials::Nothing => self.magnitudes(),
        }
    }

    #[inline(always)]
    const fn infinity(self) -> u32 {
        self.magnitudes() >> self.mantissa_bits << self.mantissa_bits
    }

    #[inline(always)]
    fn decode(self, code: u8) -> f32 {
        let code = u32::from(code);
        let magnitude = code & self.magnitudes();
        let sign = code >> self.magnitude_bits << 31;
        let aligned = magnitude << (23 - self.mantissa_bits);
        // The product has the bias of an `f32` and is normal where the code is not.
        let finite = f32::from_bits(aligned) * f32::from_bits((254 - self.bias) << 23);
        let value = f32::from_bits(finite.to_bits() | sign);
        match self.specials {
            Specials::Ieee if magnitude >= self.infinity() => f32::from_bits(aligned | 0x7f80_0000 | sign),
            Specials::Nan if magnitude == self.magnitudes() => f32::from_bits(0x7fc0_0000 | sign),
            Specials::NanForNegativeZero if magnitude == 0 && sign != 0 => f32::NAN,
            _ => value,
        }
    }

    #[inline(always)]
    fn encode(self, value: f32) -> u8 {
        let bits = value.to_bits() & 0x7fff_ffff;
        let shift = 23 - self.mantissa_bits;
        // Adding half of the last place kept, less one unless it is odd, rounds to nearest with ties to even.
        let half = (1 << (shift - 1)) - 1 + (bits >> shift & 1);
        let normal = bits.wrapping_sub((127 - self.bias) << 23).wrapping_add(half) >> shift;
        // The addition aligns the mantissa so that the hardware rounds at the place of a subnormal's last bit.
        let aligning = (151 - self.bias - self.mantissa_bits) << 23;
        let subnormal = (f32::from_bits(bits) + f32::from_bits(aligning))
            .to_bits()
            .wrapping_sub(aligning);
        let rounded = if bits < (128 - self.bias) << 23 {
            subnormal
        } else {
            normal
        };
        let overflow = match self.specials {
            Specials::Ieee => self.infinity(),
            Specials::Nan | Specials::Nothing => self.magnitudes(),
            Specials::NanForNegativeZero => 0,
        };
        let nan = match self.specials {
            Specials::Ieee => self.infinity() | self.infinity() >> 1,
            Specials::Nan => self.magnitudes(),
            Specials::NanForNegativeZero | Specials::Nothing => 0,
        };
        let is_nan = bits > 0x7f80_0000;
        let overflows = rounded > self.largest();
        let magnitude = if is_nan {
            nan
        } else if overflows {
            overflow
        } else {
            rounded
        };
        let negative = match self.specials {
            Specials::Ieee | Specials::Nan => value.is_sign_negative(),
            Specials::Nothing => value.is_sign_negative() || is_nan,
            Specials::NanForNegativeZero if magnitude == 0 => is_nan || overflows,
            Specials::NanForNegativeZero => value.is_sign_negative(),
        };
        (magnitude | u32::from(negative) << self.magnitude_bits) as u8
    }
}

/// Gives types that become `f32` exactly the order of their values.
macro_rules! compare_as_f32 {
    ($($name:ident)*) => {$(
        impl PartialEq for $name {
            #[inline(always)]
            fn eq(&self, other: &Self) -> bool {
                self.to_f32() == other.to_f32()
            }
        }

        impl PartialOrd for $name {
            #[inline(always)]
            fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
                self.to_f32().partial_cmp(&other.to_f32())
            }
        }
    )*};
}
pub(super) use compare_as_f32;

macro_rules! small {
    ($($(#[$doc:meta])* $name:ident: $exponent:literal, $mantissa:literal, bias $bias:literal, $specials:ident, $overflow:literal;)*) => {$(
        $(#[$doc])*
        ///
        /// The lowest bits of the byte count. Numbers are compared by their values.
        #[derive(Clone, Copy, Debug, Default)]
        #[repr(transparent)]
        pub struct $name(pub u8);

        impl $name {
            const FORMAT: Format = Format {
                magnitude_bits: $exponent + $mantissa,
                mantissa_bits: $mantissa,
                bias: $bias,
                specials: Specials::$specials,
            };

            /// The exact value.
            #[inline(always)]
            pub fn to_f32(self) -> f32 {
                // Bits above the sign are dropped.
                const UNUSED: u32 = 7 - $exponent - $mantissa;
                Self::FORMAT.decode(self.0 << UNUSED >> UNUSED)
            }

            /// The nearest value, ties to even;
            #[doc = $overflow]
            #[inline(always)]
            pub fn from_f32(value: f32) -> $name {
                $name(Self::FORMAT.encode(value))
            }

            /// As [`from_f32`](Self::from_f32), without intermediate rounding.
            #[inline(always)]
            pub fn from_f64(value: f64) -> $name {
                Self::from_f32(to_odd(value))
            }
        }

        compare_as_f32!($name);
    )*};
}

small! {
    /// Four bits of exponent and three of mantissa, NaN without infinities; up to 448.
    F8E4M3Fn: 4, 3, bias 7, Nan, "overflow gives NaN.";
    /// Four bits of exponent and three of mantissa, one zero and one NaN; up to 240.
    F8E4M3Fnuz: 4, 3, bias 8, NanForNegativeZero, "overflow gives NaN.";
    /// Five bits of exponent and two of mantissa; up to 57344.
    F8E5M2: 5, 2, bias 15, Ieee, "overflow gives an infinity.";
    /// Five bits of exponent and two of mantissa, one zero and one NaN; up to 57344.
    F8E5M2Fnuz: 5, 2, bias 16, NanForNegativeZero, "overflow gives NaN.";
    /// Two bits of exponent and three of mantissa, in a byte of its own; up to 7.5.
    F6E2M3: 2, 3, bias 1, Nothing, "overflow gives the largest value, NaN the negative zero.";
    /// Three bits of exponent and two of mantissa, in a byte of its own; up to 28.
    F6E3M2: 3, 2, bias 3, Nothing, "overflow gives the largest value, NaN the negative zero.";
    /// Two bits of exponent and one of mantissa, in a byte of its own; up to 6.
    F4E2M1: 2, 1, bias 1, Nothing, "overflow gives the largest value, NaN the negative zero.";
}

/// A power of two from 2^-127 to 2^127, or NaN: the biased exponent of a scale. Numbers are compared by their values.
#[derive(Clone, Copy, Debug, Default)]
#[repr(transparent)]
pub struct F8E8M0(pub u8);

compare_as_f32!(F8E8M0);

impl F8E8M0 {
    /// The exact value.
    #[inline(always)]
    pub fn to_f32(self) -> f32 {
        f32::from_bits(match self.0 {
            0 => 0x0040_0000,
            0xff => 0x7fc0_0000,
            exponent => u32::from(exponent) << 23,
        })
    }

    /// The nearest value, ties to the greater one; NaN if that is out of range, as it is for zero and for negative
    /// numbers.
    #[inline(always)]
    pub fn from_f32(value: f32) -> F8E8M0 {
        // The lowest power of two is a subnormal number, where the exponent does not say the place.
        F8E8M0(match value.to_bits() {
            bits @ 0x0060_0000..0x7f80_0000 => ((bits + 0x0040_0000) >> 23) as u8,
            0x0030_0000..0x0060_0000 => 0,
            _ => 0xff,
        })
    }

    /// As [`from_f32`](Self::from_f32), without intermediate rounding.
    #[inline(always)]
    pub fn from_f64(value: f64) -> F8E8M0 {
        Self::from_f32(to_odd(value))
    }
}

#[cfg(test)]
mod tests;
