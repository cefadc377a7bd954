//! What kernels need of any number.

use super::Integer;
use crate::element::Element;

/// Arithmetic of elements that reductions and other kernels are generic over. Integers wrap.
pub trait Number: Element {
    /// The neutral element of addition.
    const ZERO: Self;
    /// The neutral element of multiplication.
    const ONE: Self;
    /// The neutral element of [`greater`](Number::greater).
    const LOWEST: Self;
    /// The neutral element of [`lesser`](Number::lesser).
    const HIGHEST: Self;

    /// The sum.
    fn plus(self, other: Self) -> Self;
    /// The difference.
    fn minus(self, other: Self) -> Self;
    /// The product.
    fn times(self, other: Self) -> Self;
    /// The quotient by a count; integers round toward zero.
    fn over(self, count: usize) -> Self;
    /// The absolute value.
    fn magnitude(self) -> Self;
    /// The greater number; NaN if either is.
    fn greater(self, other: Self) -> Self;
    /// The lesser number; NaN if either is.
    fn lesser(self, other: Self) -> Self;
    /// Whether this is NaN.
    fn is_nan(self) -> bool;
    /// `e^self`, rounded toward zero for integers.
    fn exp(self) -> Self;
    /// The natural logarithm, rounded toward zero for integers.
    fn ln(self) -> Self;
    /// The square root, rounded toward zero for integers.
    fn sqrt(self) -> Self;
}

macro_rules! floats {
    ($($type:ty, $exp:path, $ln:path, $sqrt:path;)*) => {$(
        impl Number for $type {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const LOWEST: Self = <$type>::NEG_INFINITY;
            const HIGHEST: Self = <$type>::INFINITY;

            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                self + other
            }

            #[inline(always)]
            fn minus(self, other: Self) -> Self {
                self - other
            }

            #[inline(always)]
            fn times(self, other: Self) -> Self {
                self * other
            }

            #[inline(always)]
            fn over(self, count: usize) -> Self {
                self / count as $type
            }

            #[inline(always)]
            fn magnitude(self) -> Self {
                self.abs()
            }

            #[inline(always)]
            fn greater(self, other: Self) -> Self {
                if self > other || self.is_nan() { self } else { other }
            }

            #[inline(always)]
            fn lesser(self, other: Self) -> Self {
                if self < other || self.is_nan() { self } else { other }
            }

            #[inline(always)]
            fn is_nan(self) -> bool {
                self != self
            }

            #[inline(always)]
            fn exp(self) -> Self {
                $exp(self)
            }

            #[inline(always)]
            fn ln(self) -> Self {
                $ln(self)
            }

            #[inline(always)]
            fn sqrt(self) -> Self {
                $sqrt(self)
            }
        }
    )*};
}

floats! {
    f32, super::exp, super::ln, super::sqrt;
    f64, super::exp_f64, super::ln_f64, super::sqrt_f64;
}

macro_rules! integers {
    ($($type:ty)*) => {$(
        impl Number for $type {
            const ZERO: Self = 0;
            const ONE: Self = 1;
            const LOWEST: Self = <$type>::MIN;
            const HIGHEST: Self = <$type>::MAX;

            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }

            #[inline(always)]
            fn minus(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }

            #[inline(always)]
            fn times(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }

            #[inline(always)]
            fn over(self, count: usize) -> Self {
                (self as i128 / count.max(1) as i128) as $type
            }

            #[inline(always)]
            fn magnitude(self) -> Self {
                Integer::abs(self)
            }

            #[inline(always)]
            fn greater(self, other: Self) -> Self {
                Ord::max(self, other)
            }

            #[inline(always)]
            fn lesser(self, other: Self) -> Self {
                Ord::min(self, other)
            }

            #[inline(always)]
            fn is_nan(self) -> bool {
                false
            }

            #[inline(always)]
            fn exp(self) -> Self {
                super::exp_f64(self as f64) as $type
            }

            #[inline(always)]
            fn ln(self) -> Self {
                super::ln_f64(self as f64) as $type
            }

            #[inline(always)]
            fn sqrt(self) -> Self {
                super::sqrt_f64(self as f64) as $type
            }
        }
    )*};
}

integers!(i8 i16 i32 i64 u8 u16 u32 u64);
