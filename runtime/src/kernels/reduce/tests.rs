use super::*;
use crate::testing::{Numbers, levels};

const REDUCTIONS: [Reduction; 10] = {
    use Reduction::*;
    [Sum, Mean, Max, Min, Product, SumOfSquares, L1, L2, LogSum, LogSumExp]
};

fn naive(reduction: Reduction, elements: &[f64]) -> f64 {
    let sum = |f: fn(&f64) -> f64| elements.iter().map(f).sum::<f64>();
    match reduction {
        Reduction::Sum => sum(|x| *x),
        Reduction::Mean => sum(|x| *x) / elements.len() as f64,
        Reduction::Max => elements.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Reduction::Min => elements.iter().copied().fold(f64::INFINITY, f64::min),
        Reduction::Product => elements.iter().product(),
        Reduction::SumOfSquares => sum(|x| x * x),
        Reduction::L1 => sum(|x| x.abs()),
        Reduction::L2 => sum(|x| x * x).sqrt(),
        Reduction::LogSum => sum(|x| *x).ln(),
        Reduction::LogSumExp => {
            let max = elements.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            elements.iter().map(|x| (x - max).exp()).sum::<f64>().ln() + max
        }
    }
}

/// The elements that become each element of the output.
fn groups(shape: [usize; 4], strides: [isize; 4], data: &[f32], reduced: [bool; 4]) -> Vec<Vec<f64>> {
    let kept: [usize; 4] = std::array::from_fn(|axis| if reduced[axis] { 1 } else { shape[axis] });
    let mut groups = vec![Vec::new(); kept.iter().product()];
    for index in 0..shape.iter().product() {
        let (mut rest, mut offset, mut group, mut place) = (index, 0, 0, 1);
        for axis in (0..4).rev() {
            let at = rest % shape[axis];
            rest /= shape[axis];
            let along = if strides[axis] < 0 { shape[axis] - 1 - at } else { at };
            offset += along * strides[axis].unsigned_abs();
            if !reduced[axis] {
                group += at * place;
                place *= shape[axis];
            }
        }
        groups[group].push(f64::from(data[offset]));
    }
    groups
}

#[test]
fn any_axes_of_any_layout() {
    fn check<I: Isa>(isa: I) {
        let mut numbers = Numbers::new(3);
        let cases = [
            ([2, 3, 4, 5], [60, 20, 5, 1]),
            ([2, 3, 4, 5], [1, 2, 6, 24]),
            ([2, 3, 4, 5], [-60, 20, -5, 1]),
            ([3, 1, 70, 300], [21000, 21000, 300, 1]),
            ([2, 2, 40, 33], [1320, 2640, 33, 2]),
            ([1, 5, 1, 1000], [0, 1000, 1000, 1]),
            ([4, 6, 1, 129], [0, 129, 3, 1]),
        ];
        for (shape, strides) in cases {
            let reach = 1
                + (0..4)
                    .map(|axis| isize::unsigned_abs(strides[axis]) * (shape[axis] - 1))
                    .sum::<usize>();
            let data: Vec<f32> = numbers.floats(reach).iter().map(|x| x + 1.1).collect();
            let near_one: Vec<f32> = data.iter().map(|x| 1.0 + x * 1e-3).collect();
            for mask in 0..16 {
                let reduced = std::array::from_fn(|axis| mask >> axis & 1 == 1);
                for reduction in REDUCTIONS {
                    let data = if reduction == Reduction::Product {
                        &near_one
                    } else {
                        &data
                    };
                    let groups = groups(shape, strides, data, reduced);
                    let mut out = vec![f32::NAN; groups.len()];
                    isa.reduce(reduction, &mut out, shape, Strided { data, strides }, reduced);
                    for (result, group) in out.iter().zip(&groups) {
                        let expected = naive(reduction, group);
                        let error = (f64::from(*result) - expected).abs();
                        let limit = 1e-6 * expected.abs().max(1.0);
                        let limit = if reduction == Reduction::Product {
                            limit * 50.0
                        } else {
                            limit
                        };
                        assert!(
                            error <= limit,
                            "{reduction:?} {shape:?} {reduced:?}: {result}, not {expected}"
                        );
                    }
                }
            }
        }
    }
    for level in levels() {
        crate::dispatch!(level, check());
    }
}

#[test]
fn special_values_and_nothing() {
    fn check<I: Isa>(isa: I) {
        let one = |reduction, data: &[f32]| {
            let mut out = [0.5];
            isa.reduce(
                reduction,
                &mut out,
                [data.len()],
                Strided { data, strides: [1] },
                [true],
            );
            out[0]
        };
        let mut with_nan = [1.0f32; 70];
        with_nan[68] = f32::NAN;
        assert!(one(Reduction::Max, &with_nan).is_nan() && one(Reduction::Min, &with_nan).is_nan());
        assert_eq!(one(Reduction::LogSumExp, &[f32::NEG_INFINITY; 3]), f32::NEG_INFINITY);
        assert_eq!(one(Reduction::LogSumExp, &[f32::INFINITY, 0.0]), f32::INFINITY);
        assert_eq!(one(Reduction::LogSumExp, &[1000.0]), 1000.0);
        assert_eq!((one(Reduction::Sum, &[]), one(Reduction::Product, &[])), (0.0, 1.0));
        assert_eq!(
            (one(Reduction::Max, &[]), one(Reduction::Min, &[])),
            (f32::NEG_INFINITY, f32::INFINITY)
        );
        assert!(one(Reduction::Mean, &[]).is_nan());
        let mut out: [f32; 0] = [];
        isa.reduce(
            Reduction::Sum,
            &mut out,
            [0, 3],
            Strided {
                data: &[],
                strides: [3, 1],
            },
            [false, true],
        );
    }
    for level in levels() {
        crate::dispatch!(level, check());
    }
}

#[test]
fn a_long_sum_is_accurate() {
    fn check<I: Isa>(isa: I) {
        let data = vec![0.1f32; 1 << 20];
        for (shape, strides) in [([1, 1 << 20], [1 << 20, 1]), ([2, 1 << 19], [1, 2])] {
            let mut out = vec![0.0; shape[0]];
            isa.reduce(
                Reduction::Mean,
                &mut out,
                shape,
                Strided { data: &data, strides },
                [false, true],
            );
            out.iter().for_each(|mean| assert!((mean - 0.1).abs() < 1e-5, "{mean}"));
        }
    }
    for level in levels() {
        crate::dispatch!(level, check());
    }
}

#[test]
fn integers_are_reduced_too() {
    fn check<I: Isa>(isa: I) {
        let data: Vec<i64> = (-50..50).collect();
        let reduce = |reduction, expected: &[i64]| {
            let mut out = vec![0; expected.len()];
            let input = Strided {
                data: &data,
                strides: [50, 1],
            };
            isa.reduce(reduction, &mut out, [2, 50], input, [false, true]);
            assert_eq!(out, expected);
        };
        reduce(Reduction::Sum, &[-1275, 1225]);
        reduce(Reduction::Mean, &[-25, 24]);
        reduce(Reduction::Max, &[-1, 49]);
        reduce(Reduction::Min, &[-50, 0]);
        let mut out = [0u8];
        let bytes: Vec<u8> = (0..=255).collect();
        isa.reduce(
            Reduction::Max,
            &mut out,
            [256],
            Strided {
                data: &bytes,
                strides: [1],
            },
            [true],
        );
        assert_eq!(out, [255]);
    }
    for level in levels() {
        crate::dispatch!(level, check());
    }
}

#[test]
fn positions_of_extremes() {
    fn check<I: Isa>(isa: I) {
        let mut numbers = Numbers::new(9);
        for shape in [[3, 100, 1], [2, 7, 300], [1, 1, 5], [4, 33, 2]] {
            let [outer, n, inner] = shape;
            let data: Vec<i32> = (0..outer * n * inner).map(|_| numbers.below(6) as i32).collect();
            for (extreme, last) in [
                (Extreme::Max, false),
                (Extreme::Max, true),
                (Extreme::Min, false),
                (Extreme::Min, true),
            ] {
                let mut out = vec![-1; outer * inner];
                isa.arg(extreme, last, &mut out, &data, shape);
                for (index, &position) in out.iter().enumerate() {
                    let column: Vec<i32> = (0..n)
                        .map(|row| data[(index / inner * n + row) * inner + index % inner])
                        .collect();
                    let best = if extreme == Extreme::Max {
                        column.iter().max()
                    } else {
                        column.iter().min()
                    };
                    let matches = |x: &i32| Some(x) == best;
                    let expected = if last {
                        column.iter().rposition(matches)
                    } else {
                        column.iter().position(matches)
                    };
                    assert_eq!(position, expected.unwrap() as i64);
                }
            }
        }
        for shape in [[1, 4, 1], [1, 4, 2]] {
            let column = [1.0, f32::NAN, 5.0, f32::NAN];
            let data: Vec<f32> = column.into_iter().flat_map(|x| vec![x; shape[2]]).collect();
            let mut out = vec![-1; shape[2]];
            isa.arg(Extreme::Max, false, &mut out, &data, shape);
            assert!(out.iter().all(|&position| position == 1));
            isa.arg(Extreme::Min, true, &mut out, &data, shape);
            assert!(out.iter().all(|&position| position == 3));
        }
    }
    for level in levels() {
        crate::dispatch!(level, check());
    }
}

#[test]
fn running_sums() {
    fn check<I: Isa>(isa: I) {
        for [outer, n, inner] in [[2, 5, 3], [1, 1, 1], [3, 40, 1], [2, 0, 2]] {
            let data: Vec<i64> = (0..(outer * n * inner) as i64).map(|x| x * x % 17).collect();
            for (exclusive, reverse) in [(false, false), (true, false), (false, true), (true, true)] {
                let mut out = vec![-1; data.len()];
                isa.cumulative_sum(CumulativeSum { exclusive, reverse }, &mut out, &data, [outer, n, inner]);
                for (index, &result) in out.iter().enumerate() {
                    let row = index / inner % n;
                    let first = index - row * inner;
                    let counts =
                        |other: usize| other == row && !exclusive || if reverse { other > row } else { other < row };
                    let expected: i64 = (0..n)
                        .filter(|&other| counts(other))
                        .map(|other| data[first + other * inner])
                        .sum();
                    assert_eq!(result, expected);
                }
            }
        }
    }
    for level in levels() {
        crate::dispatch!(level, check());
    }
}
