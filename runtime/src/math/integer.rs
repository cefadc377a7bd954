//! Integer arithmetic as ONNX needs it: it wraps and never panics.

use crate::element::Element;

/// Arithmetic of an integer element that is defined for all values.
pub trait Integer: Element {
    /// The sum, modulo the size of the type.
    fn add(self, other: Self) -> Self;
    /// The difference, modulo the size of the type.
    fn sub(self, other: Self) -> Self;
    /// The product, modulo the size of the type.
    fn mul(self, other: Self) -> Self;
    /// The quotient rounded toward zero; 0 for a divisor of 0.
    fn div(self, divisor: Self) -> Self;
    /// The remainder with the sign of the dividend, as `%` of C (ONNX `Mod` with `fmod = 1`); 0 for a divisor of 0.
    fn rem(self, divisor: Self) -> Self;
    /// The remainder with the sign of the divisor, as `%` of Python (ONNX `Mod`); 0 for a divisor of 0.
    fn modulo(self, divisor: Self) -> Self;
    /// The negative, modulo the size of the type.
    fn neg(self) -> Self;
    /// The absolute value, modulo the size of the type.
    fn abs(self) -> Self;
    /// -1, 0 or 1.
    fn sign(self) -> Self;
    /// The power, modulo the size of the type. A negative exponent gives the power rounded toward zero; 0 of 0.
    fn pow(self, exponent: i64) -> Self;
    /// The bits moved to the left; 0 if by as many as there are, or more.
    fn shl(self, places: Self) -> Self;
    /// The bits moved to the right; if by as many as there are, or more, what that tends to.
    fn shr(self, places: Self) -> Self;
}

macro_rules! integers {
    ($($type:ty: $negative:expr, $abs:expr, $sign:expr;)*) => {$(
        impl Integer for $type {
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self.wrapping_add(other)
            }

            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }

            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }

            #[inline(always)]
            fn div(self, divisor: Self) -> Self {
                if divisor == 0 { 0 } else { self.wrapping_div(divisor) }
            }

            #[inline(always)]
            fn rem(self, divisor: Self) -> Self {
                if divisor == 0 { 0 } else { self.wrapping_rem(divisor) }
            }

            #[inline(always)]
            fn modulo(self, divisor: Self) -> Self {
                let remainder = Integer::rem(self, divisor);
                let crosses = remainder != 0 && ($negative)(remainder) != ($negative)(divisor);
                if crosses { remainder.wrapping_add(divisor) } else { remainder }
            }

            #[inline(always)]
            fn neg(self) -> Self {
                self.wrapping_neg()
            }

            #[inline(always)]
            fn abs(self) -> Self {
                ($abs)(self)
            }

            #[inline(always)]
            fn sign(self) -> Self {
                ($sign)(self)
            }

            #[inline(always)]
            fn pow(self, exponent: i64) -> Self {
                if exponent >= 0 {
                    let (mut result, mut base, mut rest) = (1 as $type, self, exponent);
                    while rest > 0 {
                        if rest & 1 == 1 {
                            result = result.wrapping_mul(base);
                        }
                        base = base.wrapping_mul(base);
                        rest >>= 1;
                    }
                    result
                } else if self == 1 || self.wrapping_mul(self) == 1 && self.wrapping_add(1) == 0 && ($negative)(self) {
                    if exponent & 1 == 0 { 1 } else { self }
                } else {
                    0
                }
            }

            #[inline(always)]
            fn shl(self, places: Self) -> Self {
                let places = u32::try_from(places).unwrap_or(u32::MAX);
                self.checked_shl(places).unwrap_or(0)
            }

            #[inline(always)]
            fn shr(self, places: Self) -> Self {
                let places = u32::try_from(places).unwrap_or(u32::MAX);
                self >> places.min(<$type>::BITS - 1) >> (places >= <$type>::BITS) as u32
            }
        }
    )*};
}

integers! {
    i8: i8::is_negative, i8::wrapping_abs, i8::signum;
    i16: i16::is_negative, i16::wrapping_abs, i16::signum;
    i32: i32::is_negative, i32::wrapping_abs, i32::signum;
    i64: i64::is_negative, i64::wrapping_abs, i64::signum;
    u8: |_| false, |x| x, |x: u8| x.min(1);
    u16: |_| false, |x| x, |x: u16| x.min(1);
    u32: |_| false, |x| x, |x: u32| x.min(1);
    u64: |_| false, |x| x, |x: u64| x.min(1);
}
