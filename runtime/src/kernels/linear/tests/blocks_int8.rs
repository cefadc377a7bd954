//! Products of rounded rows are compared, to the bit on every instruction set, with sums of groups one after another.

use super::blocks::{Case, Weights, check_with, format};
use super::*;
use crate::dispatch;
use crate::isa::Isa;
use crate::kernels::linear::*;

const GROUP: usize = 64;

/// The numbers of a group and their scale.
fn rounded(values: &[f32]) -> (Vec<i32>, f32) {
    let greatest = values.iter().fold(0.0f32, |greatest, value| greatest.max(value.abs()));
    let inverse = if greatest < 1e-36 { 0.0 } else { 127.0 / greatest };
    let numbers = values.iter().map(|value| (value * inverse).round_ties_even() as i32);
    let scale = if greatest < 1e-36 { 0.0 } else { greatest / 127.0 };
    (numbers.collect(), scale)
}

/// The product, which is also as near to that of numbers that are not rounded as half a step of each allows.
fn expected(case: Case, a: &[f32], b: &Weights, held: &[f32]) -> Vec<f32> {
    let Case { m, n, k, format, .. } = case;
    let [a_row, a_column] = case.strides();
    let starts = starts(m, n);
    let init = init_of(case.init, &starts);
    let mut c = held.to_vec();
    for row in 0..m {
        let values: Vec<f32> = (0..k).map(|p| a[row * a_row + p * a_column]).collect();
        let blocks = values.chunks(format.rows).map(|block| block.chunks(GROUP).map(rounded));
        let groups: Vec<(Vec<i32>, f32)> = blocks.flatten().collect();
        for column in 0..n {
            let (mut sum, mut exact, mut steps, mut magnitude) = (0.0f32, 0.0f64, 0.0f64, 0.0f64);
            let mut p = 0;
            for (numbers, scale) in &groups {
                let at = |index: usize| (p + index) * n + column;
                let products = numbers
                    .iter()
                    .enumerate()
                    .map(|(index, number)| number * b.differences[at(index)]);
                let products: i32 = products.sum();
                sum += products as f32 * (scale * b.scales[at(0)]);
                for index in 0..numbers.len() {
                    let weight = f64::from(b.values[at(index)]);
                    let value = f64::from(values[p + index]);
                    exact += value * weight;
                    steps += f64::from(*scale) / 2.0 * weight.abs();
                    magnitude += value.abs() * weight.abs();
                }
                p += numbers.len();
            }
            // A term is rounded where it is divided by its scale and where weights, scales and sums are multiplied, and then
            // with every group that follows.
            let roundings = (groups.len() + 6) as f64 * f64::from(f32::EPSILON);
            let allowed = steps + roundings * (magnitude + steps);
            assert!((f64::from(sum) - exact).abs() <= allowed, "{case:?}: {sum} for {exact}");
            let value = &mut c[row * (n + 3) + column];
            *value = match init {
                Init::Zero => sum,
                _ => sum + start(init, row, column, *value) as f32,
            };
        }
    }
    c
}

fn check<I: Isa>(isa: I, case: Case) {
    check_with(isa, case, |a, b, held| expected(case, a, b, held));
}

#[test]
fn every_remainder_of_rows_columns_depth_and_blocks() {
    let mut index = 0;
    for level in levels() {
        for m in (0..=9).chain([12, 17]) {
            for n in [0, 1, 15, 16, 17, 33, 64, 65, 100] {
                for k in [0, 1, 8, 37, 65, 200] {
                    index += 1;
                    let case = Case {
                        m,
                        n,
                        k,
                        format: format(index, [1, 3, 4, 8, 16, 32, 37, 64, 100, 130][index % 10]),
                        lhs: index % 4,
                        init: index / 3 % 4,
                        little: index % 5 == 0,
                        rounded: true,
                    };
                    dispatch!(level, check(case));
                }
            }
        }
    }
}

#[test]
fn several_blocks_of_rows_and_columns() {
    for level in levels() {
        for (m, n, k) in [(1, 600, 1300), (130, 150, 300), (270, 40, 70)] {
            for (index, rows) in [(0, 32), (1, 128), (2, 16), (3, k)] {
                let case = Case {
                    m,
                    n,
                    k,
                    format: format(index, rows),
                    lhs: index % 3,
                    init: index,
                    little: index == 3,
                    rounded: true,
                };
                dispatch!(level, check(case));
            }
        }
    }
}

/// Rows of what has no scale: zeros, numbers near them, and what is not finite.
#[test]
fn rows_without_a_scale() {
    fn run<I: Isa>(isa: I, row: &[f32], b: &[u32], format: BlockFormat) -> f32 {
        let a = Lhs::Strided {
            data: row,
            row: 0,
            column: 1,
        };
        let problem = Gemm {
            m: 1,
            n: 1,
            k: 70,
            c_row: 1,
        };
        let mut c = [5.0];
        let mut scratch = vec![0.0; gemm_blocks_int8_scratch(1, 70, format)];
        let b = RhsBlocks { data: b, format };
        isa.gemm_blocks_int8(&problem, a, b, Init::Zero, &mut c, &mut scratch, Epilogue::None);
        c[0]
    }
    for level in levels() {
        for zeros in [false, true] {
            let format = BlockFormat {
                bits: 8,
                rows: 70,
                zeros,
            };
            let mut packed = vec![0; packed_rhs_blocks_len(70, 1, format)];
            let zero_points = if zeros { &[7][..] } else { &[] };
            pack_rhs_blocks(format, 70, 1, &[255; 70], &[2.0], zero_points, &mut packed);
            for value in [0.0, -0.0, f32::MIN_POSITIVE, -1e-40] {
                assert_eq!(dispatch!(level, run(&[value; 70], &packed, format)), 0.0);
            }
            for value in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
                let mut row = [1.0; 70];
                row[67] = value;
                let found = dispatch!(level, run(&row, &packed, format));
                assert!(found.is_nan(), "{level:?} {value}: {found}");
            }
        }
    }
}
