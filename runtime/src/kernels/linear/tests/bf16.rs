//! The expectations are sums in `f64` of numbers that are rounded as the kernels round them, so that only the order of
//! sums is left.

use super::nhwc::{apart, compare_rounded, planar, problem};
use super::*;
use crate::dispatch;
use crate::element::Bf16;
use crate::isa::{Isa, Scalar};
use crate::kernels::linear::*;

fn rounded(number: f32) -> f32 {
    Bf16::from_f32(number).to_f32()
}

#[derive(Clone, Copy, Debug)]
struct Case {
    m: usize,
    n: usize,
    k: usize,
    /// The left matrix is strided by rows, strided by columns, or packed.
    lhs: usize,
    init: usize,
    epilogue: bool,
    /// Whether there is no more scratch than necessary.
    little: bool,
}

impl Case {
    fn run<I: Isa>(self, isa: I, a: &[f32], b: &[f32], c: &mut [f32], epilogue: Epilogue<'_>) {
        let Case { m, n, k, .. } = self;
        let [row, column] = self.strides();
        let mut a_packed = vec![f32::NAN; packed_lhs_len(m, k)];
        pack_lhs(m, k, a, row, column, &mut a_packed);
        let lhs = match self.lhs {
            2 => Lhs::Packed(&a_packed),
            _ => Lhs::Strided { data: a, row, column },
        };
        let mut b_packed = vec![u32::MAX; packed_rhs_bf16_len(k, n)];
        pack_rhs_bf16(k, n, b, n + 5, 1, &mut b_packed);
        let scratch = match self.little {
            true => gemm_bf16_scratch_min(m, k),
            false => gemm_bf16_scratch(m, k),
        };
        let starts = starts(m, n);
        let init = init_of(self.init, &starts);
        let problem = Gemm { m, n, k, c_row: n + 3 };
        isa.gemm_bf16(
            &problem,
            lhs,
            &b_packed,
            init,
            c,
            &mut vec![f32::NAN; scratch],
            epilogue,
        );
    }

    fn strides(self) -> [usize; 2] {
        match self.lhs {
            1 => [1, self.m + 2],
            _ => [self.k + 3, 1],
        }
    }

    /// The matrices, and what the output holds.
    fn operands(self) -> [Vec<f32>; 3] {
        let Case { m, n, k, .. } = self;
        let [row, column] = self.strides();
        [
            random(1, extent([(m, row), (k, column)])),
            random(2, extent([(k, n + 5), (n, 1)])),
            random(3, extent([(m, n + 3), (n, 1)])),
        ]
    }
}

fn check<I: Isa>(isa: I, case: Case) {
    let Case { m, n, k, .. } = case;
    let [a, b, held] = case.operands();
    let mut c = held.clone();
    if case.epilogue {
        check_epilogues(m, n, n + 3, &held, |c, epilogue| case.run(isa, &a, &b, c, epilogue));
        with_epilogue(m, n, n + 3, &mut c, |c, epilogue| case.run(isa, &a, &b, c, epilogue));
    } else {
        case.run(isa, &a, &b, &mut c, Epilogue::None);
    }
    let [a_row, a_column] = case.strides();
    let starts = starts(m, n);
    let init = init_of(case.init, &starts);
    for (at, (&actual, &held)) in c.iter().zip(&held).enumerate() {
        let (row, column) = (at / (n + 3), at % (n + 3));
        if column >= n {
            assert_eq!(actual, held, "{case:?} wrote between rows");
            continue;
        }
        let product = |p: usize| {
            let (a, b) = (a[row * a_row + p * a_column], b[p * (n + 5) + column]);
            f64::from(rounded(a)) * f64::from(rounded(b))
        };
        let expected = start(init, row, column, held) + (0..k).map(product).sum::<f64>();
        let terms = k + if case.epilogue { TAG_TERMS } else { 0 };
        assert_close(actual, expected, terms, &|| {
            format!("{:?} {case:?} at {row}, {column}", I::LEVEL)
        });
    }
}

#[test]
fn every_remainder_of_rows_columns_and_depth() {
    for level in levels() {
        for m in (0..=26).chain([48, 61]) {
            for n in [0, 1, 4, 15, 16, 17, 31, 32, 33, 48, 49, 63, 64, 65, 100] {
                let case = Case {
                    m,
                    n,
                    k: [7, 8, 1, 0][(m + n) % 4],
                    lhs: m % 3,
                    init: (m + n / 4) % 4,
                    epilogue: m % 2 == 0,
                    little: n % 3 == 0,
                };
                dispatch!(level, check(case));
            }
        }
    }
}

#[test]
fn several_blocks() {
    for level in levels() {
        for (m, n, k) in [
            (1, 600, 1300),
            (2, 40, 7000),
            (60, 270, 2049),
            (130, 65, 520),
            (9, 700, 1025),
        ] {
            for (lhs, init, little) in [(0, 1, false), (1, 3, false), (2, 2, true)] {
                let case = Case {
                    m,
                    n,
                    k,
                    lhs,
                    init,
                    epilogue: init == 1,
                    little,
                };
                dispatch!(level, check(case));
            }
        }
    }
}

fn check_convolution<I: Isa>(isa: I, problem: Conv2dNhwc) {
    let mut packed = vec![u32::MAX; conv2d_nhwc_bf16_packed_len(&problem)];
    for scratch in [
        conv2d_nhwc_bf16_scratch(&problem),
        conv2d_nhwc_bf16_scratch_min(&problem),
    ] {
        let mut scratch = vec![f32::NAN; scratch];
        compare_rounded(problem, I::LEVEL.name(), rounded, |x, w, init, y, epilogue| {
            pack_conv2d_nhwc_bf16(&problem, w, &mut packed);
            isa.conv2d_nhwc_bf16(&problem, x, &packed, init, y, &mut scratch, epilogue);
        });
    }
}

#[test]
fn convolutions() {
    let problems = [
        problem([3, 9, 11], 7, [3, 3], [1, 1], [1, 1], [1; 4], 1),
        problem([3, 20, 37], 8, [3, 3], [2, 2], [1, 1], [1; 4], 1),
        problem([3, 21, 29], 20, [7, 7], [2, 2], [1, 1], [3; 4], 1),
        problem([3, 8, 8], 24, [4, 4], [4, 4], [1, 1], [0; 4], 1),
        problem([16, 7, 7], 40, [3, 3], [1, 1], [1, 1], [1; 4], 1),
        problem([17, 8, 9], 33, [3, 3], [2, 2], [1, 1], [0, 0, 1, 1], 1),
        problem([20, 13, 14], 70, [3, 3], [1, 1], [2, 3], [2, 3, 2, 3], 1),
        problem([32, 3, 31], 5, [1, 5], [1, 3], [1, 1], [0, 2, 0, 1], 1),
        problem([1, 1, 100], 13, [1, 25], [1, 10], [1, 1], [0, 12, 0, 12], 1),
        problem([8, 1, 40], 16, [1, 65], [1, 1], [1, 1], [0, 32, 0, 32], 1),
        // Taps that never touch the image, and pixels none of whose taps do.
        problem([12, 2, 3], 3, [3, 3], [1, 1], [5, 5], [5; 4], 1),
        problem([2, 2, 3], 3, [1, 1], [2, 2], [1, 1], [5, 4, 3, 7], 1),
        // Pointwise, of some pixels.
        problem([24, 6, 11], 16, [1, 1], [2, 2], [1, 1], [0; 4], 1),
        problem([24, 6, 11], 16, [3, 1], [2, 3], [2, 1], [2, 0, 1, 0], 1),
        // More weights than a block has, several blocks of rows, and a row of pixels that is more than one.
        problem([100, 5, 5], 300, [3, 3], [1, 1], [1, 1], [1; 4], 1),
        problem([66, 40, 33], 5, [3, 3], [1, 1], [1, 1], [1; 4], 1),
    ];
    for level in levels() {
        for problem in problems {
            dispatch!(level, check_convolution(problem));
            dispatch!(level, check_convolution(planar(problem)));
            dispatch!(level, check_convolution(apart(problem)));
        }
    }
}

#[test]
fn levels_without_the_instruction_agree() {
    #[cfg(target_arch = "x86_64")]
    if crate::isa::Avx512::detect().is_some_and(crate::isa::Avx512::has_bf16) {
        return;
    }
    fn on<I: Isa>(isa: I, case: Case) -> Vec<u32> {
        let [a, b, mut c] = case.operands();
        case.run(isa, &a, &b, &mut c, Epilogue::None);
        c.into_iter().map(f32::to_bits).collect()
    }
    for (m, n, k) in [(1, 40, 100), (7, 70, 1500), (30, 33, 65)] {
        let case = Case {
            m,
            n,
            k,
            lhs: 0,
            init: 1,
            epilogue: false,
            little: false,
        };
        let expected = on(Scalar, case);
        for level in levels() {
            assert!(dispatch!(level, on(case)) == expected, "{level:?} {case:?}");
        }
    }
}

#[test]
fn numbers_that_have_no_neighbors() {
    fn on<I: Isa>(isa: I) {
        let problem = Gemm {
            m: 1,
            n: 1,
            k: 2,
            c_row: 1,
        };
        let product = |a: [f32; 2], b: [f32; 2]| {
            let mut packed = [0; 16];
            pack_rhs_bf16(2, 1, &b, 1, 1, &mut packed);
            let a = Lhs::Strided {
                data: &a,
                row: 2,
                column: 1,
            };
            let mut c = [0.0];
            isa.gemm_bf16(&problem, a, &packed, Init::Zero, &mut c, &mut [0.0; 2], Epilogue::None);
            c[0]
        };
        // Ties go to even, beyond the largest number is infinity, and what is none stays so.
        let tie = 1.0 + 1.0 / 256.0;
        assert_eq!(product([tie, 3.0 * tie], [1.0, 0.0]), 1.0);
        assert_eq!(product([1.0 + 3.0 / 256.0, 0.0], [1.0, 0.0]), 1.0 + 4.0 / 256.0);
        assert_eq!(product([1.0, 2.0], [tie, tie]), 3.0);
        assert_eq!(product([f32::MAX, 0.0], [1.0, 1.0]), f32::INFINITY);
        assert_eq!(product([1.0, 1.0], [0.0, f32::NEG_INFINITY]), f32::NEG_INFINITY);
        assert!(product([f32::from_bits(0x7f80_0001), 0.0], [1.0, 1.0]).is_nan());
        assert!(product([0.0, 0.0], [f32::from_bits(0xff80_0001), 1.0]).is_nan());
    }
    for level in levels() {
        dispatch!(level, on());
    }
}

#[test]
fn pairs_are_packed_by_rows() {
    let source: Vec<f32> = (1..=51).map(|x| x as f32).collect();
    let mut packed = [u32::MAX; 64];
    pack_rhs_bf16(3, 17, &source, 17, 1, &mut packed);
    let pair = |low: f32, high: f32| low.to_bits() >> 16 | high.to_bits();
    assert_eq!(packed[0], pair(1.0, 18.0));
    assert_eq!(packed[15], pair(16.0, 33.0));
    assert_eq!(packed[16], pair(35.0, 0.0));
    assert_eq!(packed[32..34], [pair(17.0, 34.0), 0]);
    assert_eq!(packed[48..50], [pair(51.0, 0.0), 0]);
}

/// A product of depth 3 with a right-hand side of `words` words and `scratch` values of scratch.
fn multiply(m: usize, n: usize, words: usize, scratch: usize) {
    let problem = Gemm { m, n, k: 3, c_row: n };
    let a = vec![0.0; 3 * m];
    let a = Lhs::Strided {
        data: &a,
        row: 3,
        column: 1,
    };
    let (b, mut c, mut scratch) = (vec![0; words], vec![0.0; m * n], vec![0.0; scratch]);
    Scalar.gemm_bf16(&problem, a, &b, Init::Zero, &mut c, &mut scratch, Epilogue::None);
}

#[test]
#[should_panic(expected = "product: the right matrix is too short")]
fn a_short_operand_panics() {
    multiply(2, 17, 63, 8);
}

#[test]
#[should_panic(expected = "product: the scratch is too short")]
fn short_scratch_panics() {
    multiply(1, 16, 32, 3);
}

#[test]
#[should_panic(expected = "convolution: there are several groups")]
fn a_grouped_convolution_panics() {
    let problem = problem([4, 7, 7], 4, [3, 3], [1, 1], [1, 1], [1; 4], 2);
    let mut y = [0.0; 196];
    Scalar.conv2d_nhwc_bf16(&problem, &[0.0; 196], &[], Init::Zero, &mut y, &mut [], Epilogue::None);
}
