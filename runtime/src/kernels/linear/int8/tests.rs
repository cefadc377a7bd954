//! Sums of integers are exact, so that every instruction set is compared with a plain loop to the bit.

use super::*;
use crate::dispatch;
use crate::isa::{Isa, Level};
use crate::kernels::linear::{Gemm, Linear};
use crate::kernels::map::Splat;
use crate::team::{Caller, Compute, Team};
use crate::testing::{bytes, levels};
use std::vec;
use std::vec::Vec;

/// A product whose left rows and outputs have gaps between them.
struct Case {
    problem: Gemm,
    a_row: usize,
    a: Vec<u8>,
    packed: Vec<u32>,
    sums: Vec<i32>,
}

impl Case {
    fn new(m: usize, n: usize, k: usize) -> Case {
        let (a_row, b_row) = (k + 3, n + 2);
        let a = bytes(1, (m.max(1) - 1) * a_row + k);
        let b: Vec<i8> = bytes(2, k * b_row).into_iter().map(u8::cast_signed).collect();
        let mut packed = vec![u32::MAX; packed_rhs_int8_len(k, n)];
        pack_rhs_int8(k, n, &b, b_row, 1, &mut packed);
        let sum = |i: usize, j: usize| -> i32 {
            (0..k)
                .map(|p| i32::from(a[i * a_row + p]) * i32::from(b[p * b_row + j]))
                .sum()
        };
        let sums = (0..m).flat_map(|i| (0..n).map(move |j| (i, j)));
        Case {
            problem: Gemm { m, n, k, c_row: n + 5 },
            a_row,
            sums: sums.map(|(i, j)| sum(i, j)).collect(),
            a,
            packed,
        }
    }

    fn lhs(&self) -> LhsInt8<'_> {
        LhsInt8 {
            data: &self.a,
            row: self.a_row,
        }
    }

    /// What an output holds that had `gap` everywhere, of what becomes of every sum.
    fn expected<T: Copy>(&self, gap: T, convert: impl Fn(i32, usize, usize) -> T) -> Vec<T> {
        let Gemm { m, n, c_row, .. } = self.problem;
        let mut expected = vec![gap; m * c_row];
        for (index, &sum) in self.sums.iter().enumerate() {
            let (row, column) = (index / n, index % n);
            expected[row * c_row + column] = convert(sum, row, column);
        }
        expected
    }

    fn output<T: Copy>(&self, gap: T) -> Vec<T> {
        vec![gap; self.problem.m * self.problem.c_row]
    }

    fn check<C: Linear + Compute>(&self, compute: C) {
        let isa = compute.isa();
        let run = |sink: Sink<'_>| compute.gemm_int8(&self.problem, self.lhs(), &self.packed, sink);
        let mut out = self.output(7);
        run(Sink::Sums(&mut out));
        assert_eq!(out, self.expected(7, |sum, _, _| sum), "{:?}", self.problem);

        let factors: Vec<f32> = (0..self.problem.n)
            .map(|column| 1e-3 * (1 + column % 7) as f32)
            .collect();
        let rows: Vec<f32> = (0..2 * self.problem.m).map(|row| (row / 2) as f32).collect();
        let operands = (PerColumn(&factors), PerRow(&rows, 2));
        let scale = Each::new(isa, operands, |(sum, factor, row)| sum as f32 * factor + row);
        let mut out = self.output(-1.5);
        run(Sink::F32(&mut out, &scale));
        let expected = self.expected(-1.5, |sum, row, column| sum as f32 * factors[column] + row as f32);
        assert_eq!(out, expected, "{:?}", self.problem);

        let byte = |sum: i32, row: usize, column: usize| (sum.wrapping_mul(31) + (row * 7 + column) as i32) as u8;
        let places: Vec<i32> = (0..self.problem.m)
            .flat_map(|row| (0..self.problem.n + 1).map(move |column| (row * 7 + column) as i32))
            .collect();
        let operands = (PerElement(&places, self.problem.n + 1), Splat(31));
        let fill = Each::new(isa, operands, |(sum, place, factor)| {
            (sum.wrapping_mul(factor) + place) as u8
        });
        let mut out = self.output(9);
        run(Sink::U8(&mut out, &fill));
        assert_eq!(out, self.expected(9, byte), "{:?}", self.problem);

        let signed = Each::new(isa, (), |(sum,)| (sum >> 8) as i8);
        let mut out = self.output(-3);
        run(Sink::I8(&mut out, &signed));
        assert_eq!(
            out,
            self.expected(-3, |sum, _, _| (sum >> 8) as i8),
            "{:?}",
            self.problem
        );

        // What is there goes into the result, once: a number for every element, between which the gaps stay.
        let held = |row: usize, column: usize| (row * 13 + column * 5) as u8;
        let gap = 200;
        let added = Update::new(
            isa,
            (PerElement(&places, self.problem.n + 1),),
            |old: u8, (sum, place)| (sum.wrapping_add(place) as u8).wrapping_sub(old.wrapping_mul(3)),
        );
        let mut out = self.expected(gap, |_, row, column| held(row, column));
        run(Sink::U8(&mut out, &added));
        let number = |sum: i32, row: usize, column: usize| {
            let sum = sum.wrapping_add((row * 7 + column) as i32) as u8;
            sum.wrapping_sub(held(row, column).wrapping_mul(3))
        };
        assert_eq!(out, self.expected(gap, number), "{:?}", self.problem);

        let grown = Update::new(isa, (), |old: f32, (sum,)| old + sum as f32);
        let mut out = self.expected(-1.5, |_, row, column| (row + 2 * column) as f32);
        run(Sink::F32(&mut out, &grown));
        let number = |sum: i32, row: usize, column: usize| (row + 2 * column) as f32 + sum as f32;
        assert_eq!(out, self.expected(-1.5, number), "{:?}", self.problem);

        let halved = Each::new(isa, (), |(sum,)| sum / 2);
        let mut out = self.output(-3);
        run(Sink::I32(&mut out, &halved));
        assert_eq!(out, self.expected(-3, |sum, _, _| sum / 2), "{:?}", self.problem);
    }
}

fn cases() -> impl Iterator<Item = Case> {
    let small = (0..=17).flat_map(|m| [1, 2, 3, 4, 5, 8, 15, 18].map(|k| (m, 1 + (m * 7 + k) % 70, k)));
    let wide = [(5, 300, 9), (9, 513, 6), (1, 700, 33), (8, 256, 4), (30, 129, 64)];
    // Last tiles and strips that are higher than the others, and more than one tile of deep rows.
    let high = [
        (26, 40, 300),
        (61, 20, 8),
        (62, 20, 8),
        (63, 20, 8),
        (122, 20, 8),
        (26, 300, 300),
    ];
    let empty = [(3, 0, 4), (4, 5, 0), (0, 7, 3)];
    small
        .chain(wide)
        .chain(high)
        .chain(empty)
        .map(|(m, n, k)| Case::new(m, n, k))
}

#[test]
fn every_instruction_set_gives_the_exact_sums() {
    fn check<S: Isa>(isa: S, case: &Case) {
        case.check(isa);
    }
    for case in cases() {
        for level in levels() {
            dispatch!(level, check(&case));
        }
    }
}

#[test]
fn parts_give_the_same_bits() {
    fn check<S: Isa>(isa: S, case: &Case, parts: usize) {
        case.check(Team::new(isa, &Caller).parts(parts));
    }
    for case in cases() {
        for parts in [2, 3, 7] {
            dispatch!(Level::detect(), check(&case, parts));
        }
    }
}

/// Processors with AVX-512 VNNI use another way than this one, which is for those without.
#[cfg(target_arch = "x86_64")]
#[test]
fn widened_numbers_give_the_exact_sums() {
    use super::matrix::Matrix;
    use super::quads::Task;
    use super::quads::Widened;
    use crate::isa::Avx512;

    let Some(isa) = Avx512::detect() else { return };
    for case in cases() {
        let Gemm { m, n, k, c_row } = case.problem;
        let mut out = case.output(7);
        let product = Product {
            rows: Matrix { a: case.lhs(), k },
            b: &case.packed,
            c: Sink::Sums(&mut out).whole([m, n, c_row]),
            scratch: &mut [],
        };
        isa.vectorize(|| product.run(Widened(isa)));
        assert_eq!(out, case.expected(7, |sum, _, _| sum), "{:?}", case.problem);
    }
}

#[test]
fn sums_of_extremes_are_exact() {
    fn run<S: Isa>(isa: S, k: usize, a: u8, b: i8) -> i32 {
        let mut packed = vec![0; packed_rhs_int8_len(k, 1)];
        pack_rhs_int8(k, 1, &vec![b; k], 1, 1, &mut packed);
        let mut out = [0];
        let problem = Gemm {
            m: 1,
            n: 1,
            k,
            c_row: 1,
        };
        let a = vec![a; k];
        isa.gemm_int8(&problem, LhsInt8 { data: &a, row: k }, &packed, Sink::Sums(&mut out));
        out[0]
    }
    // The longest sum of extremes that fits in 32 bits.
    let k = 65793;
    for level in levels() {
        assert_eq!(dispatch!(level, run(k, 255, -128)), -2_147_483_520);
        assert_eq!(dispatch!(level, run(k, 255, 127)), 2_130_706_305);
    }
}

#[test]
fn a_product_without_depth_is_zero() {
    let problem = Gemm {
        m: 9,
        n: 3,
        k: 0,
        c_row: 3,
    };
    let mut out = [7; 27];
    let a = LhsInt8 { data: &[], row: 1 };
    crate::isa::Scalar.gemm_int8(&problem, a, &[], Sink::Sums(&mut out));
    assert_eq!(out, [0; 27]);
}

fn product(a_len: usize, b_len: usize, c_len: usize) {
    let (a, b, mut c) = (vec![0; a_len], vec![0; b_len], vec![0; c_len]);
    let problem = Gemm {
        m: 3,
        n: 5,
        k: 6,
        c_row: 5,
    };
    let a = LhsInt8 { data: &a, row: 6 };
    crate::isa::Scalar.gemm_int8(&problem, a, &b, Sink::Sums(&mut c));
}

#[test]
#[should_panic(expected = "product: the left matrix is too short")]
fn a_short_left_matrix_panics() {
    product(17, 32, 15);
}

#[test]
#[should_panic(expected = "product: the right matrix is too short")]
fn a_short_right_matrix_panics() {
    product(18, 31, 15);
}

#[test]
#[should_panic(expected = "gemm: the output is too short")]
fn a_short_output_panics() {
    product(18, 32, 14);
}
