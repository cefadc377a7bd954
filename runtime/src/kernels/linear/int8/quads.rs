//! What instruction sets make of quads of numbers of 8 bits.

use super::depthwise::{self, DepthwiseStrip};
use super::product::{Product, Rows, multiply};
use super::tile::{self, Strip};
use crate::isa;
use crate::kernels::linear::PANEL_COLUMNS;
use crate::kernels::linear::nhwc::Depthwise;

/// A way to add up the products of quads.
pub(in crate::kernels::linear) trait Quads: Copy {
    /// Lanes of a vector of sums: 4, 8 or 16.
    const LANES: usize;
    /// Rows of the tallest tile whose sums fit the registers, together with what the products need: 3, 4 or 8.
    const ROWS: usize;
    /// Room for the sums of a strip: [`ROWS`](Quads::ROWS) rows of a multiple of 32 columns.
    type Sums: Room;
    /// A vector of sums.
    type Sum: Copy;
    /// Four numbers of the left-hand side, the same for all columns.
    type Factor: Copy;
    /// Four numbers of the left-hand side for as many columns as a vector has lanes.
    type Words: Copy;
    /// Four numbers of the right-hand side for as many columns as a vector has lanes.
    type Line: Copy;

    /// Zeros.
    fn zero(self) -> Self::Sum;

    /// The numbers in the bytes of a word.
    fn factor(self, word: u32) -> Self::Factor;

    /// The words at `source`.
    ///
    /// # Safety
    ///
    /// `source` is valid for reading as many words as a vector has lanes.
    unsafe fn line(self, source: *const u32) -> Self::Line;

    /// Quads of unsigned numbers, one for each lane, in the words at `source`.
    ///
    /// # Safety
    ///
    /// As of [`line`](Quads::line).
    unsafe fn words(self, source: *const u32) -> Self::Words;

    /// `sum` and the products of all parts of the quads of each lane, modulo 2^32.
    fn add_words(self, words: Self::Words, line: Self::Line, sum: Self::Sum) -> Self::Sum;

    /// `sum` and the products of all parts of one quad with those of each lane, modulo 2^32.
    fn add(self, factor: Self::Factor, line: Self::Line, sum: Self::Sum) -> Self::Sum;

    /// Writes sums to `target`, of any alignment.
    ///
    /// # Safety
    ///
    /// `target` is valid for writing as many numbers as a vector has lanes.
    unsafe fn store(self, target: *mut i32, sum: Self::Sum);

    /// Words of four numbers each, one of every operand.
    #[inline(always)]
    fn interleave(self, [a, b, c, d]: [&[u8; PANEL_COLUMNS]; 4], words: &mut [u32; PANEL_COLUMNS]) {
        *words = core::array::from_fn(|lane| u32::from_le_bytes([a[lane], b[lane], c[lane], d[lane]]));
    }

    /// Asks for the cache line of an address, which may be any.
    #[inline(always)]
    fn prefetch(self, _address: *const u32) {}

    /// Computes a strip.
    fn run(self, strip: &Strip<'_>);

    /// Computes a strip of a depthwise convolution.
    fn run_depthwise(self, strip: &DepthwiseStrip<'_>);
}

/// Sums of rows of columns.
pub(in crate::kernels::linear) trait Room {
    /// Zeros.
    fn default() -> Self;

    fn as_mut(&mut self) -> &mut [i32];
}

impl<const N: usize> Room for [i32; N] {
    #[inline(always)]
    fn default() -> Self {
        [0; N]
    }

    #[inline(always)]
    fn as_mut(&mut self) -> &mut [i32] {
        self
    }
}

/// An instruction set that computes products of quads, in the way that is best on the processor.
pub(in crate::kernels::linear) trait Products: Copy {
    /// Computes a product. The instruction set is that of the caller.
    fn product<R: Rows>(self, product: Product<'_, R>);

    /// Computes a depthwise convolution. The instruction set is that of the caller.
    fn depthwise(self, convolution: Depthwise<'_>);
}

impl Products for isa::Scalar {
    #[inline(always)]
    fn product<R: Rows>(self, product: Product<'_, R>) {
        multiply(self, product);
    }

    #[inline(always)]
    fn depthwise(self, convolution: Depthwise<'_>) {
        convolution.run(self);
    }
}

impl Quads for isa::Scalar {
    const LANES: usize = 4;
    const ROWS: usize = 3;
    type Sums = [i32; 3 * 96];
    type Sum = [i32; 4];
    type Factor = [i32; 4];
    type Words = [[i32; 4]; 4];
    type Line = [[i32; 4]; 4];

    #[inline(always)]
    fn zero(self) -> [i32; 4] {
        [0; 4]
    }

    #[inline(always)]
    fn factor(self, word: u32) -> [i32; 4] {
        word.to_le_bytes().map(i32::from)
    }

    #[inline(always)]
    unsafe fn line(self, source: *const u32) -> [[i32; 4]; 4] {
        // SAFETY: the caller vouches for four words; an array of `u32` is aligned as a `u32` is.
        let words = unsafe { source.cast::<[u32; 4]>().read() };
        let bytes = |index: u32| words.map(|word| i32::from((word >> (8 * index)) as u8 as i8));
        [bytes(0), bytes(1), bytes(2), bytes(3)]
    }

    #[inline(always)]
    unsafe fn words(self, source: *const u32) -> [[i32; 4]; 4] {
        // SAFETY: as of `line`.
        let words = unsafe { source.cast::<[u32; 4]>().read() };
        let bytes = |index: u32| words.map(|word| i32::from((word >> (8 * index)) as u8));
        [bytes(0), bytes(1), bytes(2), bytes(3)]
    }

    #[inline(always)]
    fn add_words(self, words: [[i32; 4]; 4], line: [[i32; 4]; 4], mut sum: [i32; 4]) -> [i32; 4] {
        for (factors, numbers) in words.into_iter().zip(line) {
            for (sum, (factor, number)) in sum.iter_mut().zip(factors.into_iter().zip(numbers)) {
                *sum = sum.wrapping_add(factor * number);
            }
        }
        sum
    }

    #[inline(always)]
    fn add(self, factor: [i32; 4], line: [[i32; 4]; 4], mut sum: [i32; 4]) -> [i32; 4] {
        for (factor, numbers) in factor.into_iter().zip(line) {
            for (sum, number) in sum.iter_mut().zip(numbers) {
                *sum = sum.wrapping_add(factor * number);
            }
        }
        sum
    }

    #[inline(always)]
    unsafe fn store(self, target: *mut i32, sum: [i32; 4]) {
        // SAFETY: the caller vouches for four numbers.
        unsafe { target.cast::<[i32; 4]>().write(sum) }
    }

    #[inline(never)]
    fn run(self, strip: &Strip<'_>) {
        tile::run(self, strip);
    }

    #[inline(never)]
    fn run_depthwise(self, strip: &DepthwiseStrip<'_>) {
        depthwise::run(self, strip);
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
pub(super) use x86::Widened;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{
        Depthwise, DepthwiseStrip, PANEL_COLUMNS, Product, Products, Quads, Rows, Strip, depthwise, multiply, tile,
    };
    use crate::isa::{Avx2, Avx512};
    use core::arch::x86_64::*;

    impl Products for Avx2 {
        #[inline(always)]
        fn product<R: Rows>(self, product: Product<'_, R>) {
            multiply(self, product);
        }

        #[inline(always)]
        fn depthwise(self, convolution: Depthwise<'_>) {
            convolution.run(self);
        }
    }

    impl Products for Avx512 {
        #[inline(always)]
        fn product<R: Rows>(self, product: Product<'_, R>) {
            match Native::detect(self) {
                Some(native) => multiply(native, product),
                None => multiply(Widened(self), product),
            }
        }

        #[inline(always)]
        fn depthwise(self, convolution: Depthwise<'_>) {
            match Native::detect(self) {
                Some(native) => convolution.run(native),
                None => convolution.run(Widened(self)),
            }
        }
    }

    /// [`Quads::interleave`] with instructions of SSE2, which every processor of this architecture has.
    #[inline(always)]
    fn interleave(numbers: [&[u8; PANEL_COLUMNS]; 4], words: &mut [u32; PANEL_COLUMNS]) {
        let target = words.as_mut_ptr().cast::<__m128i>();
        // SAFETY: the arrays are of 16 bytes, and of 64 bytes; no alignment is asked for.
        unsafe {
            let [a, b, c, d] = numbers.map(|numbers| _mm_loadu_si128(numbers.as_ptr().cast()));
            let low = [_mm_unpacklo_epi8(a, b), _mm_unpacklo_epi8(c, d)];
            let high = [_mm_unpackhi_epi8(a, b), _mm_unpackhi_epi8(c, d)];
            _mm_storeu_si128(target, _mm_unpacklo_epi16(low[0], low[1]));
            _mm_storeu_si128(target.add(1), _mm_unpackhi_epi16(low[0], low[1]));
            _mm_storeu_si128(target.add(2), _mm_unpacklo_epi16(high[0], high[1]));
            _mm_storeu_si128(target.add(3), _mm_unpackhi_epi16(high[0], high[1]));
        }
    }

    /// Numbers are widened to 16 bits, those with even places and those with odd ones; their products are added in pairs.
    impl Quads for Avx2 {
        const LANES: usize = 8;
        const ROWS: usize = 4;
        type Sums = [i32; 4 * 128];
        type Sum = __m256i;
        type Factor = [__m256i; 2];
        type Words = [__m256i; 2];
        type Line = [__m256i; 2];

        #[inline(always)]
        fn zero(self) -> __m256i {
            // SAFETY: the token says that AVX2 exists; the same holds for every block of this implementation.
            unsafe { _mm256_setzero_si256() }
        }

        #[inline(always)]
        fn factor(self, word: u32) -> [__m256i; 2] {
            // SAFETY: see `zero`.
            unsafe {
                let bytes = _mm256_set1_epi32(word.cast_signed());
                let even = _mm256_and_si256(bytes, _mm256_set1_epi16(0xff));
                [even, _mm256_srli_epi16::<8>(bytes)]
            }
        }

        #[inline(always)]
        unsafe fn line(self, source: *const u32) -> [__m256i; 2] {
            // SAFETY: the caller vouches for eight words.
            unsafe {
                let bytes = _mm256_loadu_si256(source.cast());
                let even = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(bytes));
                [even, _mm256_srai_epi16::<8>(bytes)]
            }
        }

        #[inline(always)]
        unsafe fn words(self, source: *const u32) -> [__m256i; 2] {
            // SAFETY: the caller vouches for eight words.
            unsafe {
                let bytes = _mm256_loadu_si256(source.cast());
                let even = _mm256_and_si256(bytes, _mm256_set1_epi16(0xff));
                [even, _mm256_srli_epi16::<8>(bytes)]
            }
        }

        #[inline(always)]
        fn add_words(self, words: [__m256i; 2], line: [__m256i; 2], sum: __m256i) -> __m256i {
            self.add(words, line, sum)
        }

        #[inline(always)]
        fn add(self, factor: [__m256i; 2], line: [__m256i; 2], sum: __m256i) -> __m256i {
            // SAFETY: see `zero`.
            unsafe {
                let even = _mm256_madd_epi16(factor[0], line[0]);
                let odd = _mm256_madd_epi16(factor[1], line[1]);
                _mm256_add_epi32(sum, _mm256_add_epi32(even, odd))
            }
        }

        #[inline(always)]
        unsafe fn store(self, target: *mut i32, sum: __m256i) {
            // SAFETY: the caller vouches for eight numbers.
            unsafe { _mm256_storeu_si256(target.cast(), sum) }
        }

        #[inline(always)]
        fn interleave(self, numbers: [&[u8; PANEL_COLUMNS]; 4], words: &mut [u32; PANEL_COLUMNS]) {
            interleave(numbers, words);
        }

        #[inline(always)]
        fn prefetch(self, address: *const u32) {
            // SAFETY: there is no address that may not be asked for.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
        }

        #[inline(always)]
        fn run(self, strip: &Strip<'_>) {
            #[target_feature(enable = "avx2,fma")]
            #[inline(never)]
            fn entry(isa: Avx2, strip: &Strip<'_>) {
                tile::run(isa, strip);
            }
            // SAFETY: an `Avx2` token exists only where AVX2 and FMA were detected.
            unsafe { entry(self, strip) }
        }

        #[inline(always)]
        fn run_depthwise(self, strip: &DepthwiseStrip<'_>) {
            #[target_feature(enable = "avx2,fma")]
            #[inline(never)]
            fn entry(isa: Avx2, strip: &DepthwiseStrip<'_>) {
                depthwise::run(isa, strip);
            }
            // SAFETY: an `Avx2` token exists only where AVX2 and FMA were detected.
            unsafe { entry(self, strip) }
        }
    }

    /// The way of AVX2, with twice as long vectors.
    #[derive(Clone, Copy)]
    pub(in crate::kernels::linear::int8) struct Widened(pub(in crate::kernels::linear::int8) Avx512);

    impl Quads for Widened {
        const LANES: usize = 16;
        const ROWS: usize = 8;
        type Sums = [i32; 8 * 256];
        type Sum = __m512i;
        type Factor = [__m512i; 2];
        type Words = [__m512i; 2];
        type Line = [__m512i; 2];

        #[inline(always)]
        fn zero(self) -> __m512i {
            // SAFETY: the token says that AVX-512 exists; the same holds for every block of this implementation.
            unsafe { _mm512_setzero_si512() }
        }

        #[inline(always)]
        fn factor(self, word: u32) -> [__m512i; 2] {
            // SAFETY: see `zero`.
            unsafe {
                let bytes = _mm512_set1_epi32(word.cast_signed());
                let even = _mm512_and_si512(bytes, _mm512_set1_epi16(0xff));
                [even, _mm512_srli_epi16::<8>(bytes)]
            }
        }

        #[inline(always)]
        unsafe fn line(self, source: *const u32) -> [__m512i; 2] {
            // SAFETY: the caller vouches for sixteen words.
            unsafe {
                let bytes = _mm512_loadu_si512(source.cast());
                let even = _mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(bytes));
                [even, _mm512_srai_epi16::<8>(bytes)]
            }
        }

        #[inline(always)]
        unsafe fn words(self, source: *const u32) -> [__m512i; 2] {
            // SAFETY: the caller vouches for sixteen words.
            unsafe {
                let bytes = _mm512_loadu_si512(source.cast());
                let even = _mm512_and_si512(bytes, _mm512_set1_epi16(0xff));
                [even, _mm512_srli_epi16::<8>(bytes)]
            }
        }

        #[inline(always)]
        fn add_words(self, words: [__m512i; 2], line: [__m512i; 2], sum: __m512i) -> __m512i {
            self.add(words, line, sum)
        }

        #[inline(always)]
        fn add(self, factor: [__m512i; 2], line: [__m512i; 2], sum: __m512i) -> __m512i {
            // SAFETY: see `zero`.
            unsafe {
                let even = _mm512_madd_epi16(factor[0], line[0]);
                let odd = _mm512_madd_epi16(factor[1], line[1]);
                _mm512_add_epi32(sum, _mm512_add_epi32(even, odd))
            }
        }

        #[inline(always)]
        unsafe fn store(self, target: *mut i32, sum: __m512i) {
            // SAFETY: the caller vouches for sixteen numbers.
            unsafe { _mm512_storeu_si512(target.cast(), sum) }
        }

        #[inline(always)]
        fn interleave(self, numbers: [&[u8; PANEL_COLUMNS]; 4], words: &mut [u32; PANEL_COLUMNS]) {
            interleave(numbers, words);
        }

        #[inline(always)]
        fn prefetch(self, address: *const u32) {
            // SAFETY: there is no address that may not be asked for.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
        }

        #[inline(always)]
        fn run(self, strip: &Strip<'_>) {
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            #[inline(never)]
            fn entry(quads: Widened, strip: &Strip<'_>) {
                tile::run(quads, strip);
            }
            // SAFETY: an `Avx512` token exists only where these features were detected.
            unsafe { entry(self, strip) }
        }

        #[inline(always)]
        fn run_depthwise(self, strip: &DepthwiseStrip<'_>) {
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            #[inline(never)]
            fn entry(quads: Widened, strip: &DepthwiseStrip<'_>) {
                depthwise::run(quads, strip);
            }
            // SAFETY: an `Avx512` token exists only where these features were detected.
            unsafe { entry(self, strip) }
        }
    }

    /// The instruction of AVX-512 VNNI for every quad.
    #[derive(Clone, Copy)]
    pub(in crate::kernels::linear::int8) struct Native(Avx512);

    impl Native {
        /// The way of this processor, if it has the instruction.
        #[inline(always)]
        pub(in crate::kernels::linear::int8) fn detect(isa: Avx512) -> Option<Native> {
            isa.has_vnni().then_some(Native(isa))
        }
    }

    impl Quads for Native {
        const LANES: usize = 16;
        const ROWS: usize = 8;
        type Sums = [i32; 8 * 256];
        type Sum = __m512i;
        type Factor = __m512i;
        type Words = __m512i;
        type Line = __m512i;

        #[inline(always)]
        fn zero(self) -> __m512i {
            // SAFETY: the token says that AVX-512 exists.
            unsafe { _mm512_setzero_si512() }
        }

        #[inline(always)]
        fn factor(self, word: u32) -> __m512i {
            // SAFETY: see `zero`.
            unsafe { _mm512_set1_epi32(word.cast_signed()) }
        }

        #[inline(always)]
        unsafe fn line(self, source: *const u32) -> __m512i {
            // SAFETY: the caller vouches for sixteen words.
            unsafe { _mm512_loadu_si512(source.cast()) }
        }

        #[inline(always)]
        unsafe fn words(self, source: *const u32) -> __m512i {
            // SAFETY: the caller vouches for sixteen words.
            unsafe { _mm512_loadu_si512(source.cast()) }
        }

        #[inline(always)]
        fn add_words(self, words: __m512i, line: __m512i, sum: __m512i) -> __m512i {
            self.add(words, line, sum)
        }

        #[inline(always)]
        fn add(self, factor: __m512i, line: __m512i, sum: __m512i) -> __m512i {
            // SAFETY: this exists only where AVX-512 VNNI was detected.
            unsafe { _mm512_dpbusd_epi32(sum, factor, line) }
        }

        #[inline(always)]
        unsafe fn store(self, target: *mut i32, sum: __m512i) {
            // SAFETY: the caller vouches for sixteen numbers.
            unsafe { _mm512_storeu_si512(target.cast(), sum) }
        }

        #[inline(always)]
        fn interleave(self, numbers: [&[u8; PANEL_COLUMNS]; 4], words: &mut [u32; PANEL_COLUMNS]) {
            interleave(numbers, words);
        }

        #[inline(always)]
        fn prefetch(self, address: *const u32) {
            // SAFETY: there is no address that may not be asked for.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
        }

        #[inline(always)]
        fn run(self, strip: &Strip<'_>) {
            #[target_feature(enable = "avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            #[inline(never)]
            fn entry(quads: Native, strip: &Strip<'_>) {
                tile::run(quads, strip);
            }
            // SAFETY: this exists only where these features were detected.
            unsafe { entry(self, strip) }
        }

        #[inline(always)]
        fn run_depthwise(self, strip: &DepthwiseStrip<'_>) {
            #[target_feature(enable = "avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            #[inline(never)]
            fn entry(quads: Native, strip: &DepthwiseStrip<'_>) {
                depthwise::run(quads, strip);
            }
            // SAFETY: this exists only where these features were detected.
            unsafe { entry(self, strip) }
        }
    }
}
