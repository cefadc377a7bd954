//! Products of few rows are compared with sums one term after another, those of more rows with the product in `f32` of what
//! the weights stand for; both to the bit.

use super::*;
use crate::dispatch;
use crate::isa::{Isa, Level};
use crate::kernels::linear::*;

#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
    pub(super) format: BlockFormat,
    /// The left matrix is strided by rows, strided by columns, packed, or a single column for all.
    pub(super) lhs: usize,
    pub(super) init: usize,
    /// Whether there is no more scratch than necessary.
    pub(super) little: bool,
    /// Whether the left matrix is rounded to 8 bits.
    pub(super) rounded: bool,
}

/// Weights and what they stand for.
pub(super) struct Weights {
    packed: Vec<u32>,
    pub(super) values: Vec<f32>,
    /// The differences of numbers and zero points.
    pub(super) differences: Vec<i32>,
    /// The scale of each number.
    pub(super) scales: Vec<f32>,
}

impl Weights {
    pub(super) fn new(k: usize, n: usize, format: BlockFormat) -> Weights {
        let BlockFormat { bits, rows, zeros } = format;
        let parameters = k.div_ceil(rows) * n;
        let numbers: Vec<u8> = crate::testing::bytes(5, k * n)
            .iter()
            .map(|byte| byte >> (8 - bits))
            .collect();
        let zero_points: Vec<u8> = crate::testing::bytes(6, parameters)
            .iter()
            .map(|byte| byte >> (8 - bits))
            .collect();
        // Sums have terms of magnitude 1 at most.
        let scales: Vec<f32> = random(7, parameters).iter().map(|scale| scale / 255.0).collect();
        let parameter = |at: usize| at / n / rows * n + at % n;
        let difference = |at: usize| {
            let zero = match zeros {
                true => i32::from(zero_points[parameter(at)]),
                false => 1 << (bits - 1),
            };
            i32::from(numbers[at]) - zero
        };
        let mut packed = vec![u32::MAX; packed_rhs_blocks_len(k, n, format)];
        let stored = if zeros { &zero_points[..] } else { &[] };
        pack_rhs_blocks(format, k, n, &numbers, &scales, stored, &mut packed);
        let differences: Vec<i32> = (0..k * n).map(difference).collect();
        let scales: Vec<f32> = (0..k * n).map(|at| scales[parameter(at)]).collect();
        Weights {
            packed,
            values: differences
                .iter()
                .zip(&scales)
                .map(|(&number, scale)| number as f32 * scale)
                .collect(),
            differences,
            scales,
        }
    }
}

impl Case {
    pub(super) fn strides(self) -> [usize; 2] {
        match self.lhs {
            1 => [1, self.m + 2],
            3 => [1, 0],
            _ => [self.k + 3, 1],
        }
    }

    pub(super) fn run<I: Isa>(
        self,
        isa: I,
        a: &[f32],
        b: &Weights,
        c: &mut [f32],
        compressed: bool,
        epilogue: Epilogue<'_>,
    ) {
        let Case { m, n, k, .. } = self;
        let [row, column] = self.strides();
        let mut a_packed = vec![f32::NAN; packed_lhs_len(m, k)];
        pack_lhs(m, k, a, row, column, &mut a_packed);
        let lhs = match self.lhs {
            2 => Lhs::Packed(&a_packed),
            _ => Lhs::Strided { data: a, row, column },
        };
        let starts = starts(m, n);
        let init = init_of(self.init, &starts);
        let problem = Gemm { m, n, k, c_row: n + 3 };
        if self.rounded {
            let scratch = match self.little {
                true => gemm_blocks_int8_scratch_min(m, k, self.format),
                false => gemm_blocks_int8_scratch(m, k, self.format),
            };
            let rhs = RhsBlocks {
                data: &b.packed,
                format: self.format,
            };
            isa.gemm_blocks_int8(&problem, lhs, rhs, init, c, &mut vec![f32::NAN; scratch], epilogue);
        } else if compressed {
            let scratch = match self.little {
                true => gemm_blocks_scratch_min(m, n, k),
                false => gemm_blocks_scratch(m, n, k),
            };
            let rhs = RhsBlocks {
                data: &b.packed,
                format: self.format,
            };
            isa.gemm_blocks(&problem, lhs, rhs, init, c, &mut vec![f32::NAN; scratch], epilogue);
        } else {
            let mut packed = vec![f32::NAN; packed_rhs_len(k, n)];
            pack_rhs(k, n, &b.values, n, 1, &mut packed);
            isa.gemm(&problem, lhs, Rhs::Packed(&packed), init, c, &mut [], epilogue);
        }
    }

    /// The product of few rows, one term after another.
    fn sums<I: Isa>(self, a: &[f32], b: &Weights, held: &[f32]) -> Vec<f32> {
        let Case { m, n, k, .. } = self;
        let [a_row, a_column] = self.strides();
        let starts = starts(m, n);
        let init = init_of(self.init, &starts);
        let mut c = held.to_vec();
        for (row, column) in (0..m).flat_map(|row| (0..n).map(move |column| (row, column))) {
            let mut sum = 0.0f32;
            for p in 0..k {
                let (a, b) = (a[row * a_row + p * a_column], b.values[p * n + column]);
                sum = match I::LEVEL {
                    Level::Scalar => sum + a * b,
                    _ => a.mul_add(b, sum),
                };
            }
            let value = &mut c[row * (n + 3) + column];
            *value = match init {
                Init::Zero => sum,
                _ => sum + start(init, row, column, *value) as f32,
            };
        }
        c
    }
}

fn check<I: Isa>(isa: I, case: Case) {
    check_with(isa, case, |a, b, held| {
        // A product of more rows than a tile has cuts its depth in one way.
        if case.m <= 8 {
            return case.sums::<I>(a, b, held);
        }
        let mut expected = held.to_vec();
        case.run(isa, a, b, &mut expected, false, Epilogue::None);
        expected
    });
}

/// Compares a product, alone and with what follows it, with what is expected of a left matrix, weights and what the output held.
pub(super) fn check_with<I: Isa>(isa: I, case: Case, expected: impl FnOnce(&[f32], &Weights, &[f32]) -> Vec<f32>) {
    let Case { m, n, k, format, .. } = case;
    let [row, column] = case.strides();
    let a = random(1, extent([(m, row), (k, column)]));
    let held = random(3, extent([(m, n + 3), (n, 1)]));
    let b = Weights::new(k, n, format);
    let mut actual = held.clone();
    case.run(isa, &a, &b, &mut actual, true, Epilogue::None);
    let expected = expected(&a, &b, &held);
    for (at, (actual, expected)) in actual.iter().zip(&expected).enumerate() {
        let (row, column) = (at / (n + 3), at % (n + 3));
        let same = actual.to_bits() == expected.to_bits() || (*actual == 0.0 && *expected == 0.0);
        assert!(
            same,
            "{:?} {case:?} at {row}, {column}: {actual} is not {expected}",
            I::LEVEL
        );
    }
    check_epilogues(m, n, n + 3, &held, |c, epilogue| {
        case.run(isa, &a, &b, c, true, epilogue)
    });
    let mut c = held.clone();
    with_epilogue(m, n, n + 3, &mut c, |c, epilogue| {
        case.run(isa, &a, &b, c, true, epilogue)
    });
    for (at, (&value, &expected)) in c.iter().zip(&actual).enumerate().filter(|(at, _)| at % (n + 3) < n) {
        assert_close(value, f64::from(expected), k + TAG_TERMS, &|| {
            format!("{case:?} at {at}")
        });
    }
}

/// Formats by number.
pub(super) fn format(index: usize, rows: usize) -> BlockFormat {
    BlockFormat {
        bits: [4, 8][index % 2],
        rows,
        zeros: index / 2 % 2 == 1,
    }
}

#[test]
fn every_remainder_of_rows_columns_depth_and_blocks() {
    let mut index = 0;
    for level in levels() {
        for m in (0..=10).chain([13, 24, 25, 40]) {
            for n in [0, 1, 7, 15, 16, 17, 31, 33, 48, 49, 64, 65, 100] {
                for k in [0, 1, 8, 37, 65] {
                    index += 1;
                    let case = Case {
                        m,
                        n,
                        k,
                        format: format(index, [1, 3, 4, 8, 16, 32, 37, 64, 100][index % 9]),
                        lhs: index % 3,
                        init: index / 3 % 4,
                        little: index % 5 == 0,
                        rounded: false,
                    };
                    dispatch!(level, check(case));
                }
            }
        }
    }
}

#[test]
fn several_blocks_of_depth_and_columns() {
    for level in levels() {
        for (m, n, k) in [
            (1, 600, 1300),
            (7, 150, 1300),
            (4, 40, 7000),
            (3, 130, 513),
            (9, 700, 1025),
            (60, 270, 777),
        ] {
            for (index, rows) in [(0, 32), (1, 128), (2, 16), (3, k)] {
                let case = Case {
                    m,
                    n,
                    k,
                    format: format(index, rows),
                    lhs: index % 3,
                    init: index,
                    little: index == 3,
                    rounded: false,
                };
                dispatch!(level, check(case));
            }
        }
    }
}

/// A number of 4 bits and one of 8 bits, at the ends of what there is, in every place of a word.
#[test]
fn numbers_at_their_ends() {
    for level in levels() {
        for (bits, most) in [(4, 15), (8, 255)] {
            for zeros in [false, true] {
                let format = BlockFormat { bits, rows: 16, zeros };
                let numbers: Vec<u8> = (0..16 * 16)
                    .map(|at| if (at / 16 + at) % 2 == 0 { most } else { 0 })
                    .collect();
                let zero_points = [most; 16];
                let mut packed = vec![0; packed_rhs_blocks_len(16, 16, format)];
                let stored = if zeros { &zero_points[..] } else { &[] };
                pack_rhs_blocks(format, 16, 16, &numbers, &[0.5; 16], stored, &mut packed);
                for p in 0..16 {
                    let mut a = [0.0; 16];
                    a[p] = 2.0;
                    let mut c = [0.0; 16];
                    let problem = Gemm {
                        m: 1,
                        n: 16,
                        k: 16,
                        c_row: 16,
                    };
                    fn run<I: Isa>(isa: I, problem: &Gemm, a: &[f32], b: RhsBlocks<'_>, c: &mut [f32]) {
                        let a = Lhs::Strided {
                            data: a,
                            row: 16,
                            column: 1,
                        };
                        isa.gemm_blocks(problem, a, b, Init::Zero, c, &mut [], Epilogue::None);
                    }
                    let b = RhsBlocks { data: &packed, format };
                    dispatch!(level, run(&problem, &a, b, &mut c));
                    let zero = if zeros { i32::from(most) } else { 1 << (bits - 1) };
                    let expected: Vec<f32> = (0..16)
                        .map(|j| (i32::from(numbers[p * 16 + j]) - zero) as f32)
                        .collect();
                    assert_eq!(c[..], expected, "{level:?} {format:?} row {p}");
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "more bits than the format")]
fn numbers_with_too_many_bits_are_refused() {
    pack_rhs_blocks(format(0, 16), 1, 1, &[16], &[1.0], &[], &mut [0; 64]);
}
