//! Products of quads on processors with AVX2, AVX-512 and AVX-512 VNNI.

use super::{BlockStrip, DepthwiseStrip, Lines, Products, Quads, Strip, Task, blocks, burst, depthwise, tile};
use crate::isa::{Avx2, Avx512};
use core::arch::x86_64::*;
use core::hint::black_box;

impl Products for Avx2 {
    #[inline(always)]
    fn with_quads<T: Task>(self, task: T) -> T::Output {
        task.run(self)
    }
}

impl Products for Avx512 {
    #[inline(always)]
    fn with_quads<T: Task>(self, task: T) -> T::Output {
        match Native::detect(self) {
            Some(native) => task.run(native),
            None => task.run(Widened(self)),
        }
    }
}

/// What words of four rows of eight numbers are made with: ones in the bytes that are in the image, and the padding.
type Gather8 = [__m256i; 2];

/// # Safety
///
/// The processor has AVX2.
#[inline(always)]
unsafe fn gatherer_8(inside: u32, pad_value: u8) -> Gather8 {
    // SAFETY: passed on.
    unsafe {
        [
            _mm256_set1_epi32(inside.cast_signed()),
            _mm256_set1_epi8(pad_value.cast_signed()),
        ]
    }
}

/// # Safety
///
/// There are eight numbers in each row. The processor has AVX2.
#[inline(always)]
unsafe fn gather_8([inside, padding]: Gather8, rows: [*const u8; 4]) -> __m256i {
    // SAFETY: passed on; no alignment is asked for.
    unsafe {
        let [a, b, c, d] = rows.map(|row| _mm_loadl_epi64(row.cast()));
        let (front, back) = (_mm_unpacklo_epi8(a, b), _mm_unpacklo_epi8(c, d));
        let words = _mm256_set_m128i(_mm_unpackhi_epi16(front, back), _mm_unpacklo_epi16(front, back));
        _mm256_blendv_epi8(padding, words, inside)
    }
}

/// What words of four rows of sixteen numbers are made with: ones in the bytes that are in the image, the padding, and where
/// each number goes.
type Gather16 = [__m512i; 4];

/// # Safety
///
/// The processor has AVX-512 with its instructions for bytes.
#[inline(always)]
unsafe fn gatherer_16(inside: u32, pad_value: u8) -> Gather16 {
    // SAFETY: passed on.
    unsafe {
        // Four numbers of every row come to each quarter, and there to the words that they belong to.
        let quarters = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
        let words = _mm_set_epi8(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
        [
            _mm512_set1_epi32(inside.cast_signed()),
            _mm512_set1_epi8(pad_value.cast_signed()),
            // The compiler would make more instructions of two permutations that it knew.
            black_box(quarters),
            black_box(_mm512_broadcast_i32x4(words)),
        ]
    }
}

/// # Safety
///
/// There are sixteen numbers in each row. The processor has AVX-512 with its instructions for bytes.
#[inline(always)]
unsafe fn gather_16([inside, padding, quarters, words]: Gather16, rows: [*const u8; 4]) -> __m512i {
    // SAFETY: passed on; no alignment is asked for.
    unsafe {
        let [a, b, c, d] = rows.map(|row| _mm_loadu_si128(row.cast()));
        let rows = _mm512_inserti32x4::<1>(_mm512_castsi128_si512(a), b);
        let rows = _mm512_inserti32x4::<3>(_mm512_inserti32x4::<2>(rows, c), d);
        let words = _mm512_shuffle_epi8(_mm512_permutexvar_epi32(quarters, rows), words);
        // `inside ? words : padding`
        _mm512_ternarylogic_epi32::<0xca>(inside, words, padding)
    }
}

/// What does not depend on how products are added: the methods of [`Quads`] that run strips, for the token `$name`.
macro_rules! strips {
    ($name:ty, $features:literal) => {
        #[inline(always)]
        fn prefetch(self, address: *const u32) {
            // SAFETY: there is no address that may not be asked for.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
        }

        #[inline(always)]
        fn run(self, strip: &Strip<'_>) {
            #[target_feature(enable = $features)]
            #[inline(never)]
            fn entry(quads: $name, strip: &Strip<'_>) {
                tile::run(quads, strip);
            }
            // SAFETY: a token exists only where these features were detected.
            unsafe { entry(self, strip) }
        }

        #[inline(always)]
        fn run_depthwise(self, strip: &DepthwiseStrip<'_>) {
            #[target_feature(enable = $features)]
            #[inline(never)]
            fn entry(quads: $name, strip: &DepthwiseStrip<'_>) {
                depthwise::run(quads, strip);
            }
            // SAFETY: a token exists only where these features were detected.
            unsafe { entry(self, strip) }
        }

        #[inline(always)]
        fn run_blocks(self, strip: &BlockStrip<'_>) {
            #[target_feature(enable = $features)]
            #[inline(never)]
            fn entry(quads: $name, strip: &BlockStrip<'_>) {
                blocks::run(quads, strip);
            }
            // SAFETY: a token exists only where these features were detected.
            unsafe { entry(self, strip) }
        }

        #[inline(always)]
        fn run_burst(self, rounds: usize) -> usize {
            #[target_feature(enable = $features)]
            #[inline(never)]
            fn entry(quads: $name, rounds: usize) -> usize {
                burst::run(quads, rounds)
            }
            // SAFETY: a token exists only where these features were detected.
            unsafe { entry(self, rounds) }
        }
    };
}

/// Numbers are widened to 16 bits, those with even places and those with odd ones; their products are added in pairs.
macro_rules! widened {
    (
        $name:ty, $features:literal, $vector:ty, lanes: $lanes:literal, rows: $rows:literal, columns: $columns:literal,
        $zero:ident, $set32:ident, $set16:ident, $and:ident, $left:ident, $right:ident, $right_signed:ident,
        $load:ident, $store:ident, $madd:ident, $add:ident,
        $Gather:ty, $gatherer:ident, $gather:ident,
        $Simd:ty, |$this:ident| $simd:expr, $single:ty, $convert:ident
    ) => {
        impl Quads for $name {
            const LANES: usize = $lanes;
            const ROWS: usize = $rows;
            type Sums = Lines<{ $rows * $columns }>;
            type Sum = $vector;
            type Factor = [$vector; 2];
            type Words = [$vector; 2];
            type Line = [$vector; 2];
            type Gather = $Gather;
            type Signed = [$vector; 2];
            type Unsigned = [$vector; 2];
            type Simd = $Simd;

            #[inline(always)]
            fn simd(self) -> $Simd {
                let $this = self;
                $simd
            }

            #[inline(always)]
            fn zero(self) -> $vector {
                // SAFETY: the token says that the instructions exist; the same holds for every block of this implementation.
                unsafe { $zero() }
            }

            #[inline(always)]
            fn signed(self, word: u32) -> [$vector; 2] {
                // SAFETY: see `zero`.
                unsafe {
                    let bytes = $set32(word.cast_signed());
                    [$right_signed::<8>($left::<8>(bytes)), $right_signed::<8>(bytes)]
                }
            }

            #[inline(always)]
            fn unsigned<const BITS: u32>(self, words: $vector, upper: bool) -> [$vector; 2] {
                // SAFETY: see `zero`.
                unsafe {
                    match (BITS, upper) {
                        (4, false) => [$and(words, $set16(0xf)), $and($right::<8>(words), $set16(0xf))],
                        (4, true) => [$and($right::<4>(words), $set16(0xf)), $right::<12>(words)],
                        _ => [$and(words, $set16(0xff)), $right::<8>(words)],
                    }
                }
            }

            #[inline(always)]
            fn add_unsigned(self, factor: [$vector; 2], line: [$vector; 2], sum: $vector) -> $vector {
                Quads::add(self, factor, line, sum)
            }

            #[inline(always)]
            fn splat(self, value: i32) -> $vector {
                // SAFETY: see `zero`.
                unsafe { $set32(value) }
            }

            #[inline(always)]
            fn single(self, sum: $vector) -> $single {
                // SAFETY: see `zero`.
                unsafe { $convert(sum) }
            }

            #[inline(always)]
            fn factor(self, word: u32) -> [$vector; 2] {
                // SAFETY: see `zero`.
                unsafe {
                    let bytes = $set32(word.cast_signed());
                    [$and(bytes, $set16(0xff)), $right::<8>(bytes)]
                }
            }

            #[inline(always)]
            unsafe fn line(self, source: *const u32) -> [$vector; 2] {
                // SAFETY: the caller vouches for as many words as there are lanes.
                unsafe {
                    let bytes = $load(source.cast());
                    [$right_signed::<8>($left::<8>(bytes)), $right_signed::<8>(bytes)]
                }
            }

            #[inline(always)]
            fn gatherer(self, inside: u32, pad_value: u8) -> $Gather {
                // SAFETY: see `zero`.
                unsafe { $gatherer(inside, pad_value) }
            }

            #[inline(always)]
            unsafe fn gather(self, with: $Gather, rows: [*const u8; 4]) -> [$vector; 2] {
                // SAFETY: the caller vouches for as many numbers as there are lanes.
                unsafe {
                    let bytes = $gather(with, rows);
                    [$and(bytes, $set16(0xff)), $right::<8>(bytes)]
                }
            }

            #[inline(always)]
            fn padding(self, with: $Gather) -> [$vector; 2] {
                // SAFETY: see `zero`.
                [unsafe { $and(with[1], $set16(0xff)) }; 2]
            }

            #[inline(always)]
            fn add_words(self, words: [$vector; 2], line: [$vector; 2], sum: $vector) -> $vector {
                Quads::add(self, words, line, sum)
            }

            #[inline(always)]
            fn add(self, factor: [$vector; 2], line: [$vector; 2], sum: $vector) -> $vector {
                // SAFETY: see `zero`.
                unsafe { $add(sum, $add($madd(factor[0], line[0]), $madd(factor[1], line[1]))) }
            }

            #[inline(always)]
            fn plus(self, a: $vector, b: $vector) -> $vector {
                // SAFETY: see `zero`.
                unsafe { $add(a, b) }
            }

            #[inline(always)]
            unsafe fn load(self, source: *const i32) -> $vector {
                // SAFETY: the caller vouches for as many numbers as there are lanes.
                unsafe { $load(source.cast()) }
            }

            #[inline(always)]
            unsafe fn store(self, target: *mut i32, sum: $vector) {
                // SAFETY: the caller vouches for as many numbers as there are lanes.
                unsafe { $store(target.cast(), sum) }
            }

            strips!($name, $features);
        }
    };
}

widened!(
    Avx2, "avx2,fma", __m256i, lanes: 8, rows: 4, columns: 128,
    _mm256_setzero_si256, _mm256_set1_epi32, _mm256_set1_epi16, _mm256_and_si256, _mm256_slli_epi16, _mm256_srli_epi16,
    _mm256_srai_epi16, _mm256_loadu_si256, _mm256_storeu_si256, _mm256_madd_epi16, _mm256_add_epi32,
    Gather8, gatherer_8, gather_8,
    Avx2, |this| this, __m256, _mm256_cvtepi32_ps
);

/// The way of AVX2, with twice as long vectors.
#[derive(Clone, Copy)]
pub(in crate::kernels::linear) struct Widened(pub(in crate::kernels::linear) Avx512);

widened!(
    Widened, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma", __m512i, lanes: 16, rows: 8, columns: 256,
    _mm512_setzero_si512, _mm512_set1_epi32, _mm512_set1_epi16, _mm512_and_si512, _mm512_slli_epi16, _mm512_srli_epi16,
    _mm512_srai_epi16, _mm512_loadu_si512, _mm512_storeu_si512, _mm512_madd_epi16, _mm512_add_epi32,
    Gather16, gatherer_16, gather_16,
    Avx512, |this| this.0, __m512, _mm512_cvtepi32_ps
);

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
    const ROWS: usize = 12;
    const LAST_ROWS: usize = 14;
    type Sums = Lines<{ 14 * 256 }>;
    type Sum = __m512i;
    type Factor = __m512i;
    type Words = __m512i;
    type Line = __m512i;
    type Gather = Gather16;
    type Signed = __m512i;
    type Unsigned = __m512i;
    type Simd = Avx512;

    #[inline(always)]
    fn simd(self) -> Avx512 {
        self.0
    }

    #[inline(always)]
    fn zero(self) -> __m512i {
        // SAFETY: the token says that AVX-512 exists.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    fn signed(self, word: u32) -> __m512i {
        // SAFETY: see `zero`.
        unsafe { _mm512_set1_epi32(word.cast_signed()) }
    }

    #[inline(always)]
    fn unsigned<const BITS: u32>(self, words: __m512i, upper: bool) -> __m512i {
        // SAFETY: see `zero`.
        unsafe {
            match (BITS, upper) {
                (4, false) => _mm512_and_si512(words, _mm512_set1_epi8(0xf)),
                (4, true) => _mm512_and_si512(_mm512_srli_epi16::<4>(words), _mm512_set1_epi8(0xf)),
                _ => words,
            }
        }
    }

    #[inline(always)]
    fn add_unsigned(self, factor: __m512i, line: __m512i, sum: __m512i) -> __m512i {
        // SAFETY: this exists only where AVX-512 VNNI was detected.
        unsafe { _mm512_dpbusd_epi32(sum, line, factor) }
    }

    #[inline(always)]
    fn splat(self, value: i32) -> __m512i {
        // SAFETY: see `zero`.
        unsafe { _mm512_set1_epi32(value) }
    }

    #[inline(always)]
    fn single(self, sum: __m512i) -> __m512 {
        // SAFETY: see `zero`.
        unsafe { _mm512_cvtepi32_ps(sum) }
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
    fn gatherer(self, inside: u32, pad_value: u8) -> Gather16 {
        // SAFETY: see `zero`.
        unsafe { gatherer_16(inside, pad_value) }
    }

    #[inline(always)]
    unsafe fn gather(self, with: Gather16, rows: [*const u8; 4]) -> __m512i {
        // SAFETY: the caller vouches for sixteen numbers of each row.
        unsafe { gather_16(with, rows) }
    }

    #[inline(always)]
    fn padding(self, with: Gather16) -> __m512i {
        with[1]
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
    fn plus(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see `zero`.
        unsafe { _mm512_add_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn load(self, source: *const i32) -> __m512i {
        // SAFETY: the caller vouches for sixteen numbers.
        unsafe { _mm512_loadu_si512(source.cast()) }
    }

    #[inline(always)]
    unsafe fn store(self, target: *mut i32, sum: __m512i) {
        // SAFETY: the caller vouches for sixteen numbers.
        unsafe { _mm512_storeu_si512(target.cast(), sum) }
    }

    strips!(Native, "avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma");
}
