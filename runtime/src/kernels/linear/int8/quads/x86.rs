//! Products of quads on processors with AVX2, AVX-512 and AVX-512 VNNI.

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
