//! What instruction sets make of pairs of bf16.

use super::tile::{self, Strip};
use crate::element::Bf16;
use crate::isa;
use crate::kernels::simd::Simd;

/// A way to add up the products of pairs.
pub(in crate::kernels::linear) trait Pairs: Copy {
    /// The instruction set of the sums.
    type Simd: Simd;
    /// A rounded number of the left-hand side as tiles read it; no larger than an `f32`, and any bits are one.
    type Value: Copy + 'static;
    /// A pair of the left-hand side, the same for all columns.
    type Factor: Copy;
    /// Pairs of the right-hand side for as many columns as a vector has lanes.
    type Line: Copy;

    /// The token of the instruction set.
    fn simd(self) -> Self::Simd;

    /// Rounds a number.
    fn value(number: f32) -> Self::Value;

    /// The pair at `source`.
    ///
    /// # Safety
    ///
    /// `source` is valid for reading two values.
    unsafe fn factor(self, source: *const Self::Value) -> Self::Factor;

    /// The words at `source`.
    ///
    /// # Safety
    ///
    /// `source` is valid for reading as many words as a vector has lanes.
    unsafe fn line(self, source: *const u32) -> Self::Line;

    /// `sum` and the products of both parts of the pairs.
    fn add(self, factor: Self::Factor, line: Self::Line, sum: Vector<Self>) -> Vector<Self>;

    /// Computes a strip.
    fn run(self, strip: &Strip<'_, Self::Value>);
}

/// A vector of sums.
pub(super) type Vector<P> = <<P as Pairs>::Simd as Simd>::F32;

/// Vectors whose lanes are taken apart.
pub(in crate::kernels::linear) trait Halves: Simd {
    /// The lower and the upper halves of the words at `source`, as the numbers that they are in bf16.
    ///
    /// # Safety
    ///
    /// `source` is valid for reading [`LANES`](Simd::LANES) words.
    unsafe fn halves(self, source: *const u32) -> [Self::F32; 2];

    /// Computes a strip by [`Emulated`].
    fn run_emulated(self, strip: &Strip<'_, f32>);
}

/// Two fused operations for every pair.
#[derive(Clone, Copy)]
pub(super) struct Emulated<S>(pub(super) S);

impl<S: Halves> Pairs for Emulated<S> {
    type Simd = S;
    type Value = f32;
    type Factor = [S::F32; 2];
    type Line = [S::F32; 2];

    #[inline(always)]
    fn simd(self) -> S {
        self.0
    }

    #[inline(always)]
    fn value(number: f32) -> f32 {
        Bf16::from_f32(number).to_f32()
    }

    #[inline(always)]
    unsafe fn factor(self, source: *const f32) -> [S::F32; 2] {
        // SAFETY: the caller vouches for two values.
        unsafe { [self.0.splat(*source), self.0.splat(*source.add(1))] }
    }

    #[inline(always)]
    unsafe fn line(self, source: *const u32) -> [S::F32; 2] {
        // SAFETY: the caller vouches for a vector of words.
        unsafe { self.0.halves(source) }
    }

    #[inline(always)]
    fn add(self, factor: [S::F32; 2], line: [S::F32; 2], sum: S::F32) -> S::F32 {
        let sum = self.0.mul_add(factor[0], line[0], sum);
        self.0.mul_add(factor[1], line[1], sum)
    }

    #[inline(always)]
    fn run(self, strip: &Strip<'_, f32>) {
        self.0.run_emulated(strip);
    }
}

impl Halves for isa::Scalar {
    #[inline(always)]
    unsafe fn halves(self, source: *const u32) -> [[f32; 4]; 2] {
        // SAFETY: the caller vouches for four words; an array of `u32` is aligned as a `u32` is.
        let words = unsafe { source.cast::<[u32; 4]>().read() };
        [
            words.map(|word| f32::from_bits(word << 16)),
            words.map(|word| f32::from_bits(word & 0xffff_0000)),
        ]
    }

    #[inline(never)]
    fn run_emulated(self, strip: &Strip<'_, f32>) {
        tile::run(Emulated(self), strip);
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::Native;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Bf16, Emulated, Halves, Pairs, Strip, tile};
    use crate::isa::{Avx2, Avx512};
    use core::arch::x86_64::*;

    impl Halves for Avx2 {
        #[inline(always)]
        unsafe fn halves(self, source: *const u32) -> [__m256; 2] {
            // SAFETY: the token says that AVX2 exists, and the caller vouches for eight words.
            unsafe {
                let words = _mm256_loadu_si256(source.cast());
                let upper = _mm256_and_si256(words, _mm256_set1_epi32(0xffff_0000_u32 as i32));
                [
                    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(words)),
                    _mm256_castsi256_ps(upper),
                ]
            }
        }

        #[inline(always)]
        fn run_emulated(self, strip: &Strip<'_, f32>) {
            #[target_feature(enable = "avx2,fma")]
            #[inline(never)]
            fn entry(isa: Avx2, strip: &Strip<'_, f32>) {
                tile::run(Emulated(isa), strip);
            }
            // SAFETY: an `Avx2` token exists only where AVX2 and FMA were detected.
            unsafe { entry(self, strip) }
        }
    }

    impl Halves for Avx512 {
        #[inline(always)]
        unsafe fn halves(self, source: *const u32) -> [__m512; 2] {
            // SAFETY: the token says that AVX-512 exists, and the caller vouches for sixteen words.
            unsafe {
                let words = _mm512_loadu_si512(source.cast());
                let upper = _mm512_and_si512(words, _mm512_set1_epi32(0xffff_0000_u32 as i32));
                [
                    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(words)),
                    _mm512_castsi512_ps(upper),
                ]
            }
        }

        #[inline(always)]
        fn run_emulated(self, strip: &Strip<'_, f32>) {
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            #[inline(never)]
            fn entry(isa: Avx512, strip: &Strip<'_, f32>) {
                tile::run(Emulated(isa), strip);
            }
            // SAFETY: an `Avx512` token exists only where these features were detected.
            unsafe { entry(self, strip) }
        }
    }

    /// The instruction of AVX-512 BF16 for every pair.
    #[derive(Clone, Copy)]
    pub(in crate::kernels::linear::bf16) struct Native(Avx512);

    impl Native {
        /// The way of this processor, if it has the instruction.
        #[inline(always)]
        pub(in crate::kernels::linear::bf16) fn detect(isa: Avx512) -> Option<Native> {
            isa.has_bf16().then_some(Native(isa))
        }
    }

    impl Pairs for Native {
        type Simd = Avx512;
        type Value = u16;
        type Factor = __m512bh;
        type Line = __m512bh;

        #[inline(always)]
        fn simd(self) -> Avx512 {
            self.0
        }

        #[inline(always)]
        fn value(number: f32) -> u16 {
            Bf16::from_f32(number).0
        }

        #[inline(always)]
        unsafe fn factor(self, source: *const u16) -> __m512bh {
            // SAFETY: the token says that AVX-512 exists, and the caller vouches for two values. Both vectors have the
            // same bits.
            unsafe {
                let pair = source.cast::<i32>().read_unaligned();
                core::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(pair))
            }
        }

        #[inline(always)]
        unsafe fn line(self, source: *const u32) -> __m512bh {
            // SAFETY: as above, with sixteen words.
            unsafe { core::mem::transmute::<__m512i, __m512bh>(_mm512_loadu_si512(source.cast())) }
        }

        #[inline(always)]
        fn add(self, factor: __m512bh, line: __m512bh, sum: __m512) -> __m512 {
            // SAFETY: this exists only where AVX-512 BF16 was detected.
            unsafe { _mm512_dpbf16_ps(sum, factor, line) }
        }

        #[inline(always)]
        fn run(self, strip: &Strip<'_, u16>) {
            #[target_feature(enable = "avx512bf16,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            #[inline(never)]
            fn entry(pairs: Native, strip: &Strip<'_, u16>) {
                tile::run(pairs, strip);
            }
            // SAFETY: this exists only where these features were detected.
            unsafe { entry(self, strip) }
        }
    }
}
