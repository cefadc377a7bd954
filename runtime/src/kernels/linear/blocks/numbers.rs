//! What instruction sets make of packed numbers.

use super::pack::shift;
use crate::isa;
use crate::kernels::simd::Simd;

/// An instruction set that unpacks numbers into vectors of `f32`.
pub(in crate::kernels::linear) trait Numbers: Simd {
    /// As many words as a vector has lanes.
    type Words: Copy;

    /// The words at `source`.
    ///
    /// # Safety
    ///
    /// `source` is valid for reading as many words as a vector has lanes.
    unsafe fn words(self, source: *const u32) -> Self::Words;

    /// The numbers of `BITS` bits in the words that belong to a row, counted from the first one of the words, less
    /// `2^(BITS - 1)` if they are `CENTERED`.
    fn numbers<const BITS: u32, const CENTERED: bool>(self, words: Self::Words, row: usize) -> Self::F32;

    /// The bytes at `source` as numbers.
    ///
    /// # Safety
    ///
    /// `source` is valid for reading as many bytes as a vector has lanes.
    unsafe fn bytes(self, source: *const u8) -> Self::F32;

    /// Writes the last byte of the bits of each lane to `target`.
    ///
    /// # Safety
    ///
    /// `target` is valid for writing as many bytes as a vector has lanes.
    unsafe fn store_bytes(self, target: *mut u8, value: Self::F32);

    /// `a - b`.
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32;

    /// `a * b`.
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32;
}

/// What is subtracted from numbers that are centered.
const fn center(bits: u32, centered: bool) -> i32 {
    if centered { 1 << (bits - 1) } else { 0 }
}

impl Numbers for isa::Scalar {
    type Words = [u32; 4];

    #[inline(always)]
    unsafe fn words(self, source: *const u32) -> [u32; 4] {
        // SAFETY: the caller vouches for four words; an array of `u32` is aligned as a `u32` is.
        unsafe { source.cast::<[u32; 4]>().read() }
    }

    #[inline(always)]
    fn numbers<const BITS: u32, const CENTERED: bool>(self, words: [u32; 4], row: usize) -> [f32; 4] {
        let number = |word: u32| (word >> shift(BITS, row) & ((1 << BITS) - 1)) as i32 - center(BITS, CENTERED);
        words.map(|word| number(word) as f32)
    }

    #[inline(always)]
    unsafe fn bytes(self, source: *const u8) -> [f32; 4] {
        // SAFETY: the caller vouches for four bytes.
        unsafe { source.cast::<[u8; 4]>().read() }.map(f32::from)
    }

    #[inline(always)]
    unsafe fn store_bytes(self, target: *mut u8, value: [f32; 4]) {
        // SAFETY: the caller vouches for four bytes.
        unsafe { target.cast::<[u8; 4]>().write(value.map(|value| value.to_bits() as u8)) }
    }

    #[inline(always)]
    fn sub(self, a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        [0, 1, 2, 3].map(|lane| a[lane] - b[lane])
    }

    #[inline(always)]
    fn mul(self, a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        [0, 1, 2, 3].map(|lane| a[lane] * b[lane])
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Numbers, center, shift};
    use crate::isa::{Avx2, Avx512};
    use core::arch::x86_64::*;

    impl Numbers for Avx2 {
        type Words = __m256i;

        #[inline(always)]
        unsafe fn words(self, source: *const u32) -> __m256i {
            // SAFETY: the caller vouches for eight words, of any alignment.
            unsafe { _mm256_loadu_si256(source.cast()) }
        }

        #[inline(always)]
        fn numbers<const BITS: u32, const CENTERED: bool>(self, words: __m256i, row: usize) -> __m256 {
            // SAFETY: the token says that AVX2 exists; the same holds for every block of this implementation.
            unsafe {
                let shifted = _mm256_srlv_epi32(words, _mm256_set1_epi32(shift(BITS, row) as i32));
                let mut number = _mm256_and_si256(shifted, _mm256_set1_epi32((1 << BITS) - 1));
                if CENTERED {
                    number = _mm256_sub_epi32(number, _mm256_set1_epi32(center(BITS, CENTERED)));
                }
                _mm256_cvtepi32_ps(number)
            }
        }

        #[inline(always)]
        unsafe fn bytes(self, source: *const u8) -> __m256 {
            // SAFETY: the caller vouches for eight bytes.
            unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(source.cast()))) }
        }

        #[inline(always)]
        unsafe fn store_bytes(self, target: *mut u8, value: __m256) {
            // SAFETY: the caller vouches for eight bytes.
            unsafe {
                let bytes = _mm256_and_si256(_mm256_castps_si256(value), _mm256_set1_epi32(0xff));
                let (front, back) = (_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes));
                let bytes = _mm_packus_epi32(front, back);
                _mm_storel_epi64(target.cast(), _mm_packus_epi16(bytes, bytes));
            }
        }

        #[inline(always)]
        fn sub(self, a: __m256, b: __m256) -> __m256 {
            // SAFETY: see `numbers`.
            unsafe { _mm256_sub_ps(a, b) }
        }

        #[inline(always)]
        fn mul(self, a: __m256, b: __m256) -> __m256 {
            // SAFETY: see `numbers`.
            unsafe { _mm256_mul_ps(a, b) }
        }
    }

    impl Numbers for Avx512 {
        type Words = __m512i;

        #[inline(always)]
        unsafe fn words(self, source: *const u32) -> __m512i {
            // SAFETY: the caller vouches for sixteen words, of any alignment.
            unsafe { _mm512_loadu_si512(source.cast()) }
        }

        #[inline(always)]
        fn numbers<const BITS: u32, const CENTERED: bool>(self, words: __m512i, row: usize) -> __m512 {
            let center = center(BITS, CENTERED);
            // SAFETY: the token says that AVX-512 exists; the same holds for every block of this implementation.
            unsafe {
                if BITS == 4 {
                    // A permutation looks at the lowest four bits of an index alone.
                    let number = |index: i32| (index - center) as f32;
                    let table = _mm512_setr_ps(
                        number(0),
                        number(1),
                        number(2),
                        number(3),
                        number(4),
                        number(5),
                        number(6),
                        number(7),
                        number(8),
                        number(9),
                        number(10),
                        number(11),
                        number(12),
                        number(13),
                        number(14),
                        number(15),
                    );
                    let index = _mm512_srlv_epi32(words, _mm512_set1_epi32(shift(BITS, row) as i32));
                    return _mm512_permutexvar_ps(index, table);
                }
                // The lowest byte of 2^23 in `f32` is its lowest integer digits.
                let base = _mm512_castps_si512(_mm512_set1_ps(8_388_608.0));
                let place = _mm512_set1_epi32(row as i32);
                let lanes = _mm512_set4_epi32(12, 8, 4, 0);
                let number =
                    _mm512_mask_shuffle_epi8(base, 0x1111_1111_1111_1111, words, _mm512_add_epi32(place, lanes));
                _mm512_sub_ps(_mm512_castsi512_ps(number), _mm512_set1_ps((8_388_608 + center) as f32))
            }
        }

        #[inline(always)]
        unsafe fn bytes(self, source: *const u8) -> __m512 {
            // SAFETY: the caller vouches for sixteen bytes.
            unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(source.cast()))) }
        }

        #[inline(always)]
        unsafe fn store_bytes(self, target: *mut u8, value: __m512) {
            // SAFETY: the caller vouches for sixteen bytes.
            unsafe { _mm_storeu_si128(target.cast(), _mm512_cvtepi32_epi8(_mm512_castps_si512(value))) }
        }

        #[inline(always)]
        fn sub(self, a: __m512, b: __m512) -> __m512 {
            // SAFETY: see `numbers`.
            unsafe { _mm512_sub_ps(a, b) }
        }

        #[inline(always)]
        fn mul(self, a: __m512, b: __m512) -> __m512 {
            // SAFETY: see `numbers`.
            unsafe { _mm512_mul_ps(a, b) }
        }
    }
}
