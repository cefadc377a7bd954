//! Vector operations that kernels are written in.

use crate::isa;
use crate::math::Number;

/// The vector operations of an instruction set, on vectors of `f32`.
///
/// Every method is inlined into the entry point of a kernel, which is compiled for the instruction set of the token.
pub trait Simd: Copy + 'static {
    /// A vector of [`LANES`](Simd::LANES) values.
    type F32: Copy;
    /// A choice of lanes.
    type Mask: Copy;
    /// Values of a vector: 4, 8 or 16.
    const LANES: usize;
    /// Rows of the tallest matrix multiplication tile whose accumulators fit the registers: 3, 6 or 8.
    const TILE_ROWS: usize;
    /// The same for a tile whose rows lie at equal distances, so that a few addresses do for all of them: at most 12.
    const STRIDED_ROWS: usize = Self::TILE_ROWS;
    /// An instruction set of half as long vectors that exists wherever this one does, if there is one, or else itself.
    type Narrow: Simd;

    /// The token of [`Narrow`](Simd::Narrow).
    fn narrow(self) -> Self::Narrow;

    /// `value` in every lane.
    fn splat(self, value: f32) -> Self::F32;

    /// `a + b`.
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32;

    /// `a * b + c`, rounded once where the instruction set has a fused operation.
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;

    /// The greater of each pair of lanes; NaN if either is.
    fn greater(self, a: Self::F32, b: Self::F32) -> Self::F32;

    /// `min(max(value, low), high)`, and not-a-number where the value is.
    fn clamp(self, value: Self::F32, low: Self::F32, high: Self::F32) -> Self::F32;

    /// The vector at `source`, of any alignment.
    ///
    /// # Safety
    ///
    /// `source` is valid for reading `LANES` values.
    unsafe fn load(self, source: *const f32) -> Self::F32;

    /// The chosen lanes from `source + lane`, zero in the others.
    ///
    /// # Safety
    ///
    /// `source + lane` is valid for reading for each chosen lane.
    unsafe fn load_masked(self, source: *const f32, mask: Self::Mask) -> Self::F32;

    /// Writes every lane to `target`, of any alignment.
    ///
    /// # Safety
    ///
    /// `target` is valid for writing `LANES` values.
    unsafe fn store(self, target: *mut f32, value: Self::F32);

    /// Writes the chosen lanes to `target + lane`.
    ///
    /// # Safety
    ///
    /// `target + lane` is valid for writing for each chosen lane.
    unsafe fn store_masked(self, target: *mut f32, value: Self::F32, mask: Self::Mask);

    /// The lanes `begin..end`, where `end <= LANES`.
    fn lanes(self, begin: usize, end: usize) -> Self::Mask;

    /// Asks for the cache line of an address, which may be any.
    #[inline(always)]
    fn prefetch(self, _address: *const f32) {}

    /// The same addresses, of which the compiler does not know where they come from: it computes what is derived from
    /// them when it is used, instead of keeping it in registers.
    #[inline(always)]
    fn opaque<const N: usize>(self, addresses: [*const f32; N]) -> [*const f32; N] {
        addresses
    }

    /// The even lanes of `a`, then those of `b`.
    fn even(self, a: Self::F32, b: Self::F32) -> Self::F32;
}

impl Simd for isa::Scalar {
    // Four independent lanes are what every baseline with vectors (SSE2, NEON, simd128) has registers for.
    type F32 = [f32; 4];
    type Mask = [bool; 4];
    const LANES: usize = 4;
    const TILE_ROWS: usize = 3;
    type Narrow = isa::Scalar;

    #[inline(always)]
    fn narrow(self) -> isa::Scalar {
        self
    }

    #[inline(always)]
    fn splat(self, value: f32) -> [f32; 4] {
        [value; 4]
    }

    #[inline(always)]
    fn add(self, a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        [a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]]
    }

    #[inline(always)]
    fn mul_add(self, a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        [
            a[0] * b[0] + c[0],
            a[1] * b[1] + c[1],
            a[2] * b[2] + c[2],
            a[3] * b[3] + c[3],
        ]
    }

    #[inline(always)]
    fn greater(self, a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        [0, 1, 2, 3].map(|lane| a[lane].greater(b[lane]))
    }

    #[inline(always)]
    fn clamp(self, value: [f32; 4], low: [f32; 4], high: [f32; 4]) -> [f32; 4] {
        [0, 1, 2, 3].map(|lane| {
            // Comparisons with not-a-number are false.
            let raised = if value[lane] < low[lane] {
                low[lane]
            } else {
                value[lane]
            };
            if raised > high[lane] { high[lane] } else { raised }
        })
    }

    #[inline(always)]
    unsafe fn load(self, source: *const f32) -> [f32; 4] {
        // SAFETY: the caller vouches for four readable values; an array of `f32` is aligned as an `f32` is.
        unsafe { source.cast::<[f32; 4]>().read() }
    }

    #[inline(always)]
    unsafe fn load_masked(self, source: *const f32, mask: [bool; 4]) -> [f32; 4] {
        let mut value = [0.0; 4];
        for lane in 0..4 {
            if mask[lane] {
                // SAFETY: the caller vouches for the chosen lanes. The address of lane 0 may be outside.
                value[lane] = unsafe { *source.wrapping_add(lane) };
            }
        }
        value
    }

    #[inline(always)]
    unsafe fn store(self, target: *mut f32, value: [f32; 4]) {
        // SAFETY: the caller vouches for four writable values; an array of `f32` is aligned as an `f32` is.
        unsafe { target.cast::<[f32; 4]>().write(value) }
    }

    #[inline(always)]
    unsafe fn store_masked(self, target: *mut f32, value: [f32; 4], mask: [bool; 4]) {
        for lane in 0..4 {
            if mask[lane] {
                // SAFETY: the caller vouches for the chosen lanes. The address of lane 0 may be outside.
                unsafe { *target.wrapping_add(lane) = value[lane] }
            }
        }
    }

    #[inline(always)]
    fn lanes(self, begin: usize, end: usize) -> [bool; 4] {
        [0, 1, 2, 3].map(|lane| begin <= lane && lane < end)
    }

    #[inline(always)]
    fn even(self, a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        [a[0], a[2], b[0], b[2]]
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Simd;
    use crate::isa::{Avx2, Avx512};
    use core::arch::x86_64::*;

    impl Simd for Avx2 {
        type F32 = __m256;
        type Mask = __m256i;
        const LANES: usize = 8;
        const TILE_ROWS: usize = 6;
        type Narrow = Avx2;

        #[inline(always)]
        fn narrow(self) -> Avx2 {
            self
        }

        #[inline(always)]
        fn splat(self, value: f32) -> __m256 {
            // SAFETY: the token says that AVX2 and FMA exist; the same holds for every block of this implementation.
            unsafe { _mm256_set1_ps(value) }
        }

        #[inline(always)]
        fn add(self, a: __m256, b: __m256) -> __m256 {
            // SAFETY: see `splat`.
            unsafe { _mm256_add_ps(a, b) }
        }

        #[inline(always)]
        fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
            // SAFETY: see `splat`.
            unsafe { _mm256_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        fn greater(self, a: __m256, b: __m256) -> __m256 {
            // SAFETY: see `splat`.
            unsafe {
                // The maximum is `b` where either is NaN.
                _mm256_blendv_ps(_mm256_max_ps(a, b), a, _mm256_cmp_ps::<_CMP_UNORD_Q>(a, a))
            }
        }

        #[inline(always)]
        fn clamp(self, value: __m256, low: __m256, high: __m256) -> __m256 {
            // SAFETY: see `splat`. The result is the second operand where either is NaN.
            unsafe { _mm256_min_ps(high, _mm256_max_ps(low, value)) }
        }

        #[inline(always)]
        unsafe fn load(self, source: *const f32) -> __m256 {
            // SAFETY: the caller vouches for eight readable values.
            unsafe { _mm256_loadu_ps(source) }
        }

        #[inline(always)]
        unsafe fn load_masked(self, source: *const f32, mask: __m256i) -> __m256 {
            // SAFETY: the lanes that the mask excludes are not read.
            unsafe { _mm256_maskload_ps(source, mask) }
        }

        #[inline(always)]
        unsafe fn store(self, target: *mut f32, value: __m256) {
            // SAFETY: the caller vouches for eight writable values.
            unsafe { _mm256_storeu_ps(target, value) }
        }

        #[inline(always)]
        unsafe fn store_masked(self, target: *mut f32, value: __m256, mask: __m256i) {
            // SAFETY: the lanes that the mask excludes are not written.
            unsafe { _mm256_maskstore_ps(target, mask, value) }
        }

        #[inline(always)]
        fn lanes(self, begin: usize, end: usize) -> __m256i {
            // SAFETY: see `splat`.
            unsafe {
                let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
                let below = _mm256_cmpgt_epi32(_mm256_set1_epi32(begin as i32), lanes);
                _mm256_andnot_si256(below, _mm256_cmpgt_epi32(_mm256_set1_epi32(end as i32), lanes))
            }
        }

        #[inline(always)]
        fn prefetch(self, address: *const f32) {
            // SAFETY: a hint, which reads nothing and accepts any address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
        }

        #[inline(always)]
        fn even(self, a: __m256, b: __m256) -> __m256 {
            // SAFETY: see `splat`.
            unsafe {
                // Even lanes of the halves a.0, b.0, a.1, b.1, then in order.
                let mixed = _mm256_castps_pd(_mm256_shuffle_ps::<0b10_00_10_00>(a, b));
                _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(mixed))
            }
        }
    }

    impl Simd for Avx512 {
        type F32 = __m512;
        type Mask = __mmask16;
        const LANES: usize = 16;
        const TILE_ROWS: usize = 8;
        const STRIDED_ROWS: usize = 12;
        type Narrow = Avx2;

        #[inline(always)]
        fn narrow(self) -> Avx2 {
            self.avx2()
        }

        #[inline(always)]
        fn splat(self, value: f32) -> __m512 {
            // SAFETY: the token says that AVX-512 exists; the same holds for every block of this implementation.
            unsafe { _mm512_set1_ps(value) }
        }

        #[inline(always)]
        fn add(self, a: __m512, b: __m512) -> __m512 {
            // SAFETY: see `splat`.
            unsafe { _mm512_add_ps(a, b) }
        }

        #[inline(always)]
        fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
            // SAFETY: see `splat`.
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        fn greater(self, a: __m512, b: __m512) -> __m512 {
            // SAFETY: see `splat`.
            unsafe {
                // The maximum is `b` where either is NaN.
                _mm512_mask_mov_ps(_mm512_max_ps(a, b), _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a), a)
            }
        }

        #[inline(always)]
        fn clamp(self, value: __m512, low: __m512, high: __m512) -> __m512 {
            // SAFETY: see `splat`. The result is the second operand where either is NaN.
            unsafe { _mm512_min_ps(high, _mm512_max_ps(low, value)) }
        }

        #[inline(always)]
        unsafe fn load(self, source: *const f32) -> __m512 {
            // SAFETY: the caller vouches for sixteen readable values.
            unsafe { _mm512_loadu_ps(source) }
        }

        #[inline(always)]
        unsafe fn load_masked(self, source: *const f32, mask: __mmask16) -> __m512 {
            // SAFETY: the lanes that the mask excludes are not read.
            unsafe { _mm512_maskz_loadu_ps(mask, source) }
        }

        #[inline(always)]
        unsafe fn store(self, target: *mut f32, value: __m512) {
            // SAFETY: the caller vouches for sixteen writable values.
            unsafe { _mm512_storeu_ps(target, value) }
        }

        #[inline(always)]
        unsafe fn store_masked(self, target: *mut f32, value: __m512, mask: __mmask16) {
            // SAFETY: the lanes that the mask excludes are not written.
            unsafe { _mm512_mask_storeu_ps(target, mask, value) }
        }

        #[inline(always)]
        fn lanes(self, begin: usize, end: usize) -> __mmask16 {
            (((1u32 << end) - 1) & !((1u32 << begin) - 1)) as __mmask16
        }

        #[inline(always)]
        fn prefetch(self, address: *const f32) {
            // SAFETY: a hint, which reads nothing and accepts any address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
        }

        #[inline(always)]
        fn opaque<const N: usize>(self, mut addresses: [*const f32; N]) -> [*const f32; N] {
            for slot in &mut addresses {
                let mut address = *slot;
                // SAFETY: there are no instructions, so that the address is the same.
                unsafe {
                    core::arch::asm!("/* {0} */", inout(reg) address, options(pure, readonly, nostack, preserves_flags));
                }
                *slot = address;
            }
            addresses
        }

        #[inline(always)]
        fn even(self, a: __m512, b: __m512) -> __m512 {
            // SAFETY: see `splat`.
            unsafe {
                let lanes = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
                _mm512_permutex2var_ps(a, lanes, b)
            }
        }
    }
}
