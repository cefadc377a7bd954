//! Square roots, correctly rounded.

/// The square root, correctly rounded; NaN of negative numbers.
#[inline(always)]
pub fn sqrt(x: f32) -> f32 {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_mm_cvtss_f32, _mm_set1_ps, _mm_sqrt_ps};
        // SAFETY: SSE is part of x86_64. The compiler sees a square root, which it vectorizes.
        unsafe { _mm_cvtss_f32(_mm_sqrt_ps(_mm_set1_ps(x))) }
    }
    #[cfg(target_arch = "aarch64")]
    {
        use core::arch::aarch64::{vdup_n_f32, vget_lane_f32, vsqrt_f32};
        // SAFETY: NEON is part of aarch64 targets with floating point. The compiler sees a square root.
        unsafe { vget_lane_f32::<0>(vsqrt_f32(vdup_n_f32(x))) }
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        by_integers(x)
    }
}

/// The square root by the integer square root of the significand.
#[cfg_attr(any(target_arch = "x86_64", target_arch = "aarch64"), allow(dead_code))]
pub(super) fn by_integers(x: f32) -> f32 {
    if x.is_nan() || x <= 0.0 || x == f32::INFINITY {
        return if x < 0.0 { f32::NAN } else { x };
    }
    // x = significand 2^exponent; shifted so that the exponent is even and the root has 25 bits or more.
    let bits = x.to_bits();
    let (significand, exponent) = match bits >> 23 {
        0 => (bits, -149),
        biased => (bits & 0x007f_ffff | 0x0080_0000, biased as i32 - 150),
    };
    let shift = significand.leading_zeros() + 20 + (exponent as u32 & 1 ^ significand.leading_zeros() & 1);
    let radicand = u64::from(significand) << shift;
    let root = radicand.isqrt();
    // A bit below the last one tells a root that is not exact from a tie; the conversion rounds correctly then.
    let sticky = root << 1 | u64::from(root * root != radicand);
    let half_exponent = (exponent - shift as i32) / 2 - 1;
    sticky as f32 * super::exp::power_of_two(half_exponent)
}

/// `1 / sqrt(x)`. Error at most 1.5 ulp.
#[inline(always)]
pub fn rsqrt(x: f32) -> f32 {
    1.0 / sqrt(x)
}

/// `1 / x`, correctly rounded.
#[inline(always)]
pub fn recip(x: f32) -> f32 {
    1.0 / x
}
