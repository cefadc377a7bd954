use super::*;
use crate::dispatch;
use crate::isa::Isa;
use crate::kernels::linear::*;

/// The ways to give the operands: the left strided by rows, strided by columns, packed; the right packed, strided by
/// rows, strided by columns.
#[derive(Clone, Copy, Debug)]
struct Case {
    m: usize,
    n: usize,
    k: usize,
    lhs: usize,
    rhs: usize,
    init: usize,
    epilogue: bool,
}

fn check<I: Isa>(isa: I, case: Case) {
    let Case { m, n, k, .. } = case;
    let (a_row, a_column) = if case.lhs == 1 { (1, m + 2) } else { (k + 3, 1) };
    let (b_row, b_column) = if case.rhs == 2 { (1, k + 1) } else { (n + 5, 1) };
    let a = random(1, extent([(m, a_row), (k, a_column)]));
    let b = random(2, extent([(k, b_row), (n, b_column)]));
    let c_row = n + 3;
    let held = random(3, extent([(m, c_row), (n, 1)]));
    let starts = starts(m, n);
    let init = init_of(case.init, &starts);
    let mut a_packed = vec![f32::NAN; packed_lhs_len(m, k)];
    pack_lhs(m, k, &a, a_row, a_column, &mut a_packed);
    let mut b_packed = vec![f32::NAN; packed_rhs_len(k, n)];
    pack_rhs(k, n, &b, b_row, b_column, &mut b_packed);
    let lhs = match case.lhs {
        2 => Lhs::Packed(&a_packed),
        _ => Lhs::Strided {
            data: &a,
            row: a_row,
            column: a_column,
        },
    };
    let rhs = match case.rhs {
        0 => Rhs::Packed(&b_packed),
        _ => Rhs::Strided {
            data: &b,
            row: b_row,
            column: b_column,
        },
    };
    let problem = Gemm { m, n, k, c_row };
    let mut scratch = vec![f32::NAN; gemm_scratch(m, n, k, case.rhs == 0)];
    let mut c = held.clone();
    if case.epilogue {
        let mut run = |c: &mut [f32], epilogue: Epilogue<'_>| {
            isa.gemm(&problem, lhs, rhs, init, c, &mut scratch, epilogue);
        };
        check_epilogues(m, n, c_row, &held, &mut run);
        with_epilogue(m, n, c_row, &mut c, run);
    } else {
        isa.gemm(&problem, lhs, rhs, init, &mut c, &mut scratch, Epilogue::None);
    }
    for row in 0..m {
        for column in 0..c_row.min(c.len().saturating_sub(row * c_row)) {
            let (actual, held) = (c[row * c_row + column], held[row * c_row + column]);
            if column >= n {
                assert_eq!(actual, held, "{case:?} wrote between rows");
                continue;
            }
            let product =
                |p: usize| f64::from(a[row * a_row + p * a_column]) * f64::from(b[p * b_row + column * b_column]);
            let expected = start(init, row, column, held) + (0..k).map(product).sum::<f64>();
            let terms = k + if case.epilogue { TAG_TERMS } else { 0 };
            assert_close(actual, expected, terms, &|| {
                format!("{:?} {case:?} at {row}, {column}", I::LEVEL)
            });
        }
    }
}

#[test]
fn all_operands_and_starts() {
    for level in levels() {
        for (m, n, k) in [(1, 1, 1), (5, 17, 3), (13, 33, 20), (31, 70, 9)] {
            for lhs in 0..3 {
                for rhs in 0..3 {
                    for init in 0..4 {
                        for epilogue in [false, true] {
                            dispatch!(
                                level,
                                check(Case {
                                    m,
                                    n,
                                    k,
                                    lhs,
                                    rhs,
                                    init,
                                    epilogue
                                })
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn every_remainder_of_rows_and_columns() {
    for level in levels() {
        for m in (0..=26).chain([48, 61]) {
            for n in [0, 1, 4, 15, 16, 17, 31, 32, 48, 63, 64, 65, 100] {
                dispatch!(
                    level,
                    check(Case {
                        m,
                        n,
                        k: 7,
                        lhs: m % 3,
                        rhs: n % 3,
                        init: (m + n) % 4,
                        epilogue: m % 2 == 0
                    })
                );
            }
        }
    }
}

#[test]
fn several_blocks() {
    for level in levels() {
        for (m, n, k) in [
            (1, 600, 300),
            (2, 40, 7000),
            (14, 530, 257),
            (30, 300, 520),
            (3, 1030, 513),
        ] {
            for rhs in 0..3 {
                dispatch!(
                    level,
                    check(Case {
                        m,
                        n,
                        k,
                        lhs: 0,
                        rhs,
                        init: 1,
                        epilogue: true
                    })
                );
                dispatch!(
                    level,
                    check(Case {
                        m,
                        n,
                        k,
                        lhs: 2,
                        rhs,
                        init: 2,
                        epilogue: false
                    })
                );
            }
        }
    }
}

#[test]
fn no_depth() {
    for level in levels() {
        for (rhs, init) in [(0, 0), (1, 1), (2, 2), (0, 3)] {
            dispatch!(
                level,
                check(Case {
                    m: 4,
                    n: 20,
                    k: 0,
                    lhs: 0,
                    rhs,
                    init,
                    epilogue: true
                })
            );
        }
    }
}

#[test]
#[should_panic(expected = "gemm: the right matrix is too short")]
fn a_short_operand_panics() {
    let problem = Gemm {
        m: 2,
        n: 16,
        k: 3,
        c_row: 16,
    };
    let a = Lhs::Strided {
        data: &[0.0; 6],
        row: 3,
        column: 1,
    };
    let b = Rhs::Packed(&[0.0; 47]);
    crate::isa::Scalar.gemm(&problem, a, b, Init::Zero, &mut [0.0; 32], &mut [], Epilogue::None);
}

#[test]
#[should_panic(expected = "gemm: the left matrix is too short")]
fn a_stride_that_overflows_panics() {
    let problem = Gemm {
        m: 3,
        n: 16,
        k: 3,
        c_row: 16,
    };
    let a = Lhs::Strided {
        data: &[0.0; 6],
        row: usize::MAX,
        column: 1,
    };
    let b = Rhs::Packed(&[0.0; 48]);
    crate::isa::Scalar.gemm(&problem, a, b, Init::Zero, &mut [0.0; 48], &mut [], Epilogue::None);
}

#[test]
fn a_clamp_keeps_what_is_not_a_number() {
    fn check<I: Isa>(isa: I) {
        let (m, n, k) = (13, 37, 3);
        let mut a = vec![1.0; m * k];
        a[5 * k] = f32::NAN;
        let mut b = vec![f32::NAN; packed_rhs_len(k, n)];
        pack_rhs(k, n, &vec![1.0; k * n], n, 1, &mut b);
        let lhs = Lhs::Strided {
            data: &a,
            row: k,
            column: 1,
        };
        let mut c = vec![0.0; m * n];
        let problem = Gemm { m, n, k, c_row: n };
        let clamp = Epilogue::Clamp(-1.0, 2.0);
        isa.gemm(&problem, lhs, Rhs::Packed(&b), Init::Zero, &mut c, &mut [], clamp);
        for (at, value) in c.iter().enumerate() {
            match at / n {
                5 => assert!(value.is_nan(), "{:?}: {value} at {at}", I::LEVEL),
                _ => assert_eq!(*value, 2.0, "{:?} at {at}", I::LEVEL),
            }
        }
    }
    for level in levels() {
        dispatch!(level, check());
    }
}
