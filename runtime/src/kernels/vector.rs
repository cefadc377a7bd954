//! Vector operations beyond those that products are made of: for softmax and for packing.

#[cfg(test)]
mod tests;

use super::simd::Simd;
use crate::isa;
use core::f32::consts::LN_2;

/// Further operations on the vectors of an instruction set.
pub(crate) trait Vector: Simd {
    /// `a - b`.
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32;

    /// The larger of `a` and `b`, or `b` where either is not a number.
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32;

    /// The nearest integer, the even one of two. For magnitudes below 2^22.
    fn round(self, value: Self::F32) -> Self::F32;

    /// `value * 2^power` for a value in 0.5..=2 and an integer power in -200..=126. What is subnormal may be 0.
    fn scale(self, value: Self::F32, power: Self::F32) -> Self::F32;

    /// The lanes of `a` that are chosen, those of `b` elsewhere.
    fn select(self, mask: Self::Mask, a: Self::F32, b: Self::F32) -> Self::F32;

    /// The sum of all lanes, in pairs: of lanes half a vector apart, then a quarter, and so on.
    fn sum(self, value: Self::F32) -> f32;

    /// The largest of all lanes; what it is if there is one that is not a number is not specified.
    fn largest(self, value: Self::F32) -> f32;

    /// Writes the transpose of a square of [`LANES`](Simd::LANES) rows and columns: element `(i, j)` of it is
    /// `source + j * source_row + i` and goes to `target + i * target_row + j`.
    ///
    /// # Safety
    ///
    /// Both squares are valid, `source` for reading and `target` for writing.
    unsafe fn transpose(self, source: *const f32, source_row: usize, target: *mut f32, target_row: usize);

    /// `2^value`, 0 below 2^-126. For values of at most 126, of which minus infinity is one. Error at most 2.6 ulp.
    #[inline(always)]
    fn exp2(self, value: Self::F32) -> Self::F32 {
        // The polynomial is minimax with the relative error 1.1e-7 on -0.5..=0.5, fitted for this crate.
        const COEFFICIENTS: [f32; 5] = [0.001_330_060_5, 0.009_669_691, 0.055_505_585, 0.240_222_83, LN_2];
        let value = self.max(self.splat(-160.0), value);
        let whole = self.round(value);
        let rest = self.sub(value, whole);
        let mut sum = self.splat(COEFFICIENTS[0]);
        for coefficient in &COEFFICIENTS[1..] {
            sum = self.mul_add(sum, rest, self.splat(*coefficient));
        }
        self.scale(self.mul_add(sum, rest, self.splat(1.0)), whole)
    }
}

impl Vector for isa::Scalar {
    #[inline(always)]
    fn sub(self, a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        [a[0] - b[0], a[1] - b[1], a[2] - b[2], a[3] - b[3]]
    }

    #[inline(always)]
    fn max(self, a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        let max = |a: f32, b: f32| if a > b { a } else { b };
        [max(a[0], b[0]), max(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])]
    }

    #[inline(always)]
    fn round(self, value: [f32; 4]) -> [f32; 4] {
        // Numbers from 2^23 to 2^24 are integers, so that the sum is rounded to one.
        const SHIFT: f32 = 12_582_912.0;
        value.map(|value| (value + SHIFT) - SHIFT)
    }

    #[inline(always)]
    fn scale(self, value: [f32; 4], power: [f32; 4]) -> [f32; 4] {
        let factor = |power: f32| f32::from_bits(((power as i32 + 127).max(0) as u32) << 23);
        [0, 1, 2, 3].map(|lane| value[lane] * factor(power[lane]))
    }

    #[inline(always)]
    fn select(self, mask: [bool; 4], a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        [0, 1, 2, 3].map(|lane| if mask[lane] { a[lane] } else { b[lane] })
    }

    #[inline(always)]
    fn sum(self, value: [f32; 4]) -> f32 {
        (value[0] + value[2]) + (value[1] + value[3])
    }

    #[inline(always)]
    fn largest(self, value: [f32; 4]) -> f32 {
        value.into_iter().fold(value[0], |a, b| if b > a { b } else { a })
    }

    #[inline(always)]
    unsafe fn transpose(self, source: *const f32, source_row: usize, target: *mut f32, target_row: usize) {
        for row in 0..4 {
            for column in 0..4 {
                // SAFETY: the caller vouches for both squares.
                unsafe { *target.add(row * target_row + column) = *source.add(column * source_row + row) }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Vector;
    use crate::isa::{Avx2, Avx512};
    use crate::kernels::simd::Simd;
    use core::arch::x86_64::*;

    /// The vectors at these rows. A loop or a closure in its place is not unrolled in time for an array in registers.
    macro_rules! rows {
        ($isa:expr, $source:expr, $row:expr; $($index:literal)*) => {
            [$($isa.load($source.add($index * $row))),*]
        };
    }

    impl Vector for Avx2 {
        #[inline(always)]
        fn sub(self, a: __m256, b: __m256) -> __m256 {
            // SAFETY: the token says that AVX2 exists; the same holds for every block of this implementation.
            unsafe { _mm256_sub_ps(a, b) }
        }

        #[inline(always)]
        fn max(self, a: __m256, b: __m256) -> __m256 {
            // SAFETY: see `sub`.
            unsafe { _mm256_max_ps(a, b) }
        }

        #[inline(always)]
        fn round(self, value: __m256) -> __m256 {
            // SAFETY: see `sub`.
            unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(value) }
        }

        #[inline(always)]
        fn scale(self, value: __m256, power: __m256) -> __m256 {
            // SAFETY: see `sub`.
            unsafe {
                let biased = _mm256_add_epi32(_mm256_cvtps_epi32(power), _mm256_set1_epi32(127));
                let exponent = _mm256_max_epi32(biased, _mm256_setzero_si256());
                _mm256_mul_ps(value, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent)))
            }
        }

        #[inline(always)]
        fn select(self, mask: __m256i, a: __m256, b: __m256) -> __m256 {
            // SAFETY: see `sub`.
            unsafe { _mm256_blendv_ps(b, a, _mm256_castsi256_ps(mask)) }
        }

        #[inline(always)]
        fn sum(self, value: __m256) -> f32 {
            // SAFETY: see `sub`.
            unsafe {
                let four = _mm_add_ps(_mm256_castps256_ps128(value), _mm256_extractf128_ps::<1>(value));
                let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
            }
        }

        #[inline(always)]
        fn largest(self, value: __m256) -> f32 {
            // SAFETY: see `sub`.
            unsafe {
                let four = _mm_max_ps(_mm256_castps256_ps128(value), _mm256_extractf128_ps::<1>(value));
                let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
            }
        }

        #[inline(always)]
        unsafe fn transpose(self, source: *const f32, source_row: usize, target: *mut f32, target_row: usize) {
            // SAFETY: the caller vouches for both squares; for the rest see `sub`.
            unsafe {
                let rows = rows!(self, source, source_row; 0 1 2 3 4 5 6 7);
                // Pairs of rows are interleaved, then pairs of pairs; each half of a vector then holds four elements
                // of one column, which belong to the upper or the lower four rows.
                let mut pairs = rows;
                for pair in 0..4 {
                    pairs[2 * pair] = _mm256_unpacklo_ps(rows[2 * pair], rows[2 * pair + 1]);
                    pairs[2 * pair + 1] = _mm256_unpackhi_ps(rows[2 * pair], rows[2 * pair + 1]);
                }
                let mut quads = rows;
                for quad in 0..2 {
                    // Closures would be calls here, without the instruction set.
                    let (a, b) = (_mm256_castps_pd(pairs[4 * quad]), _mm256_castps_pd(pairs[4 * quad + 1]));
                    let (c, d) = (
                        _mm256_castps_pd(pairs[4 * quad + 2]),
                        _mm256_castps_pd(pairs[4 * quad + 3]),
                    );
                    quads[4 * quad] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, c));
                    quads[4 * quad + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, c));
                    quads[4 * quad + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(b, d));
                    quads[4 * quad + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(b, d));
                }
                for column in 0..4 {
                    let (upper, lower) = (quads[column], quads[4 + column]);
                    let low = _mm256_permute2f128_ps::<0x20>(upper, lower);
                    let high = _mm256_permute2f128_ps::<0x31>(upper, lower);
                    self.store(target.add(column * target_row), low);
                    self.store(target.add((4 + column) * target_row), high);
                }
            }
        }
    }

    impl Vector for Avx512 {
        #[inline(always)]
        fn sub(self, a: __m512, b: __m512) -> __m512 {
            // SAFETY: the token says that AVX-512 exists; the same holds for every block of this implementation.
            unsafe { _mm512_sub_ps(a, b) }
        }

        #[inline(always)]
        fn max(self, a: __m512, b: __m512) -> __m512 {
            // SAFETY: see `sub`.
            unsafe { _mm512_max_ps(a, b) }
        }

        #[inline(always)]
        fn round(self, value: __m512) -> __m512 {
            // SAFETY: see `sub`.
            unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(value) }
        }

        #[inline(always)]
        fn scale(self, value: __m512, power: __m512) -> __m512 {
            // SAFETY: see `sub`.
            unsafe { _mm512_scalef_ps(value, power) }
        }

        #[inline(always)]
        fn select(self, mask: __mmask16, a: __m512, b: __m512) -> __m512 {
            // SAFETY: see `sub`.
            unsafe { _mm512_mask_blend_ps(mask, b, a) }
        }

        #[inline(always)]
        fn sum(self, value: __m512) -> f32 {
            // SAFETY: see `sub`.
            unsafe { _mm512_reduce_add_ps(value) }
        }

        #[inline(always)]
        fn largest(self, value: __m512) -> f32 {
            // SAFETY: see `sub`.
            unsafe { _mm512_reduce_max_ps(value) }
        }

        #[inline(always)]
        unsafe fn transpose(self, source: *const f32, source_row: usize, target: *mut f32, target_row: usize) {
            // SAFETY: the caller vouches for both squares; for the rest see `sub`.
            unsafe {
                let rows = rows!(self, source, source_row; 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
                // Pairs of rows are interleaved, then pairs of pairs; quarter `q` of `quads[4 b + r]` then holds column
                // `4 q + r` of the rows from `4 b` on.
                let mut pairs = rows;
                for pair in 0..8 {
                    pairs[2 * pair] = _mm512_unpacklo_ps(rows[2 * pair], rows[2 * pair + 1]);
                    pairs[2 * pair + 1] = _mm512_unpackhi_ps(rows[2 * pair], rows[2 * pair + 1]);
                }
                let mut quads = rows;
                for quad in 0..4 {
                    // Closures would be calls here, without the instruction set.
                    let (a, b) = (_mm512_castps_pd(pairs[4 * quad]), _mm512_castps_pd(pairs[4 * quad + 1]));
                    let (c, d) = (
                        _mm512_castps_pd(pairs[4 * quad + 2]),
                        _mm512_castps_pd(pairs[4 * quad + 3]),
                    );
                    quads[4 * quad] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
                    quads[4 * quad + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
                    quads[4 * quad + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
                    quads[4 * quad + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
                }
                // What is left is to transpose 4 x 4 quarters.
                for column in 0..4 {
                    let (a, b) = (quads[column], quads[4 + column]);
                    let (c, d) = (quads[8 + column], quads[12 + column]);
                    let (ab_even, ab_odd) = (
                        _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b),
                        _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b),
                    );
                    let (cd_even, cd_odd) = (
                        _mm512_shuffle_f32x4::<0b10_00_10_00>(c, d),
                        _mm512_shuffle_f32x4::<0b11_01_11_01>(c, d),
                    );
                    let turned = [
                        _mm512_shuffle_f32x4::<0b10_00_10_00>(ab_even, cd_even),
                        _mm512_shuffle_f32x4::<0b10_00_10_00>(ab_odd, cd_odd),
                        _mm512_shuffle_f32x4::<0b11_01_11_01>(ab_even, cd_even),
                        _mm512_shuffle_f32x4::<0b11_01_11_01>(ab_odd, cd_odd),
                    ];
                    for (quarter, &value) in turned.iter().enumerate() {
                        self.store(target.add((4 * quarter + column) * target_row), value);
                    }
                }
            }
        }
    }
}
