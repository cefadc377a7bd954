use super::*;
use crate::testing::{Numbers, levels};

const SHAPES: [[usize; 4]; 14] = [
    [1, 1, 1, 1],
    [2, 3, 4, 5],
    [1, 7, 1, 3],
    [3, 1, 1, 300],
    [2, 17, 33, 5],
    [1, 1, 40, 50],
    [5, 64, 3, 1],
    [2, 2, 300, 2],
    [4, 3, 2, 1000],
    [1, 300, 1, 7],
    [0, 2, 3, 4],
    [3, 4, 0, 2],
    [300, 3, 1, 1],
    [2, 31, 1, 37],
];

/// The strides of a dense tensor whose axes are stored in the order `order`, some of them repeated or walked backward.
fn strides(shape: [usize; 4], order: [usize; 4], numbers: &mut Numbers, kinds: usize) -> [isize; 4] {
    let mut strides = [0; 4];
    let mut stride = 1;
    for axis in order.into_iter().rev() {
        match numbers.below(kinds) {
            3 => continue,
            4 => strides[axis] = -stride,
            5 => {
                stride *= 2;
                strides[axis] = stride;
            }
            _ => strides[axis] = stride,
        }
        stride *= shape[axis] as isize;
    }
    strides
}

fn order(numbers: &mut Numbers) -> [usize; 4] {
    let mut order = [0, 1, 2, 3];
    for last in (1..4).rev() {
        order.swap(last, numbers.below(last + 1));
    }
    order
}

fn reach(shape: [usize; 4], strides: [isize; 4]) -> usize {
    1 + (0..4)
        .map(|axis| strides[axis].unsigned_abs() * shape[axis].saturating_sub(1))
        .sum::<usize>()
}

fn offset(shape: [usize; 4], strides: [isize; 4], at: [usize; 4]) -> usize {
    let walk = |axis: usize| match strides[axis] {
        stride if stride < 0 => stride.unsigned_abs() * (shape[axis] - 1 - at[axis]),
        stride => stride as usize * at[axis],
    };
    (0..4).map(walk).sum()
}

fn coordinates(shape: [usize; 4]) -> impl Iterator<Item = [usize; 4]> {
    let [a, b, c, d] = shape;
    (0..a * b * c * d).map(move |index| [index / (b * c * d), index / (c * d) % b, index / d % c, index % d])
}

#[test]
fn any_strides_give_what_a_plain_loop_gives() {
    fn check<I: Isa>(isa: I, seed: u64) {
        let mut numbers = Numbers::new(seed);
        for shape in SHAPES {
            for round in 0..12 {
                // The first rounds have a dense output, the second half of the others also dense operands.
                let out_order = if round < 8 { [0, 1, 2, 3] } else { order(&mut numbers) };
                let out_strides = strides(shape, out_order, &mut numbers, 3);
                let gap_strides = if round < 8 {
                    out_strides
                } else {
                    out_strides.map(|stride| stride * 2)
                };
                let a_order = order(&mut numbers);
                let a_strides = strides(shape, a_order, &mut numbers, if round % 2 == 0 { 6 } else { 3 });
                let b_order = order(&mut numbers);
                let b_strides = strides(shape, b_order, &mut numbers, 6);
                let a = numbers.floats(reach(shape, a_strides));
                let b: Vec<i8> = (0..reach(shape, b_strides))
                    .map(|_| numbers.below(256) as u8 as i8)
                    .collect();
                let dense = numbers.floats(shape.iter().product());
                let axis = numbers.below(4);
                let f = |(a, b, dense, splat, index): (f32, i8, f32, f32, i64)| {
                    a * splat + f32::from(b) + dense * index as f32
                };
                let operands = (
                    Strided {
                        data: &a,
                        strides: a_strides,
                    },
                    Strided {
                        data: &b,
                        strides: b_strides,
                    },
                    &dense[..],
                    Splat(3.0),
                    Index { axis },
                );
                let start = numbers.floats(reach(shape, gap_strides));
                let (mut expected, mut expected_update) = (start.clone(), start.clone());
                for (index, at) in coordinates(shape).enumerate() {
                    let a = a[offset(shape, a_strides, at)];
                    let b = b[offset(shape, b_strides, at)];
                    let value = f((a, b, dense[index], 3.0, at[axis] as i64));
                    expected[offset(shape, gap_strides, at)] = value;
                    expected_update[offset(shape, gap_strides, at)] += value;
                }
                let mut out = start.clone();
                isa.map_into(&mut out, gap_strides, shape, operands, f);
                assert_eq!(out, expected, "{shape:?} {gap_strides:?} {a_strides:?} {b_strides:?}");
                let mut out = start.clone();
                isa.update_into(&mut out, gap_strides, shape, operands, |out, items| out + f(items));
                assert_eq!(
                    out, expected_update,
                    "{shape:?} {gap_strides:?} {a_strides:?} {b_strides:?}"
                );
                if round < 8 && !shape.contains(&0) {
                    let mut out = start.clone();
                    isa.map(&mut out, shape, operands, f);
                    assert_eq!(out, expected);
                    let mut out = start.clone();
                    isa.update(&mut out, shape, operands, |out, items| out + f(items));
                    assert_eq!(out, expected_update);
                }
            }
        }
    }
    for level in levels() {
        crate::dispatch!(level, check(11));
    }
}

#[test]
fn ranks_from_zero_to_eight_and_no_operands() {
    let isa = crate::isa::Scalar;
    let mut out = [0.0];
    isa.map(&mut out, [], (&[2.0][..], Splat(1.0)), |(a, b)| a + b);
    assert_eq!(out, [3.0]);
    let mut out = [0u8; 5];
    isa.map(&mut out, [1, 1, 1, 5, 1, 1, 1, 1], (), |()| 9);
    assert_eq!(out, [9; 5]);
    let mut out = [0i64; 6];
    isa.map(
        &mut out,
        [2, 3],
        (Index { axis: 0 }, Index { axis: 1 }),
        |(row, col)| row * 10 + col,
    );
    assert_eq!(out, [0, 1, 2, 10, 11, 12]);
    let none = Strided {
        data: &[0.0; 0][..],
        strides: [3, 1],
    };
    isa.map(&mut [], [0, 3], (none,), |(a,)| a);
}

#[test]
fn a_run_is_replaced_in_place() {
    fn check<I: Isa>(isa: I) {
        for len in [0, 1, 7, 64, 1000] {
            let mut numbers = Numbers::new(len as u64);
            let (mut run, residual) = (numbers.floats(len), numbers.floats(len));
            let expected: Vec<f32> = run
                .iter()
                .zip(&residual)
                .map(|(acc, residual)| acc * 2.0 + residual)
                .collect();
            isa.apply(&mut run, (Splat(2.0), &residual[..]), |acc, (scale, residual)| {
                acc * scale + residual
            });
            assert_eq!(run, expected);
        }
    }
    for level in levels() {
        crate::dispatch!(level, check());
    }
}

#[test]
fn copies_transpose_and_concatenate() {
    let isa = crate::isa::Scalar;
    let mut out = [0u8; 6];
    isa.copy(
        &mut out,
        [3, 2],
        Strided {
            data: &[1, 2, 3, 4, 5, 6],
            strides: [1, 3],
        },
    );
    assert_eq!(out, [1, 4, 2, 5, 3, 6]);
    isa.copy_into(
        &mut out[1..],
        [2, 1],
        [2, 1],
        Strided {
            data: &[8, 9],
            strides: [1, 1],
        },
    );
    assert_eq!(out, [1, 8, 2, 9, 3, 6]);
}

#[test]
#[should_panic = "a strided operand reaches out of its data"]
fn an_operand_that_is_too_short_is_refused() {
    let operand = Strided {
        data: &[0.0; 5][..],
        strides: [-4, 1],
    };
    crate::isa::Scalar.map(&mut [0.0; 4], [2, 2], (operand,), |(a,)| a);
}

#[test]
#[should_panic = "a strided operand reaches out of its data"]
fn strides_beyond_the_address_space_are_refused() {
    let operand = Strided {
        data: &[0.0; 5][..],
        strides: [isize::MAX, isize::MIN],
    };
    crate::isa::Scalar.map(&mut [0.0; 9], [3, 3], (operand,), |(a,)| a);
}

#[test]
#[should_panic = "a strided output reaches out of its data"]
fn an_output_that_is_too_short_is_refused() {
    crate::isa::Scalar.map_into(&mut [0.0; 5], [4, 1], [2, 2], (Splat(1.0),), |(a,)| a);
}

#[test]
#[should_panic = "a dense operand has another number of elements"]
fn a_dense_operand_of_another_length_is_refused() {
    crate::isa::Scalar.map(&mut [0.0; 4], [2, 2], (&[0.0; 5][..],), |(a,)| a);
}

#[test]
#[should_panic = "an operand has another length than its run"]
fn a_run_operand_of_another_length_is_refused() {
    crate::isa::Scalar.apply(&mut [0.0; 4], (&[0.0; 3][..],), |acc, (a,)| acc + a);
}
