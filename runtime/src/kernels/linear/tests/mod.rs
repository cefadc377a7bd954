//! Every kernel on every instruction set against sums in `f64` as the definition has them.

mod attention;
mod bf16;
mod block;
mod blocks;
mod blocks_int8;
mod gemm;
mod nhwc;
mod recurrent;
mod transpose;
mod winograd;

use crate::kernels::linear::{Epilogue, Init, Position};
use crate::testing::{Numbers, levels};
use std::collections::BTreeSet;
use std::sync::Mutex;

pub(in crate::kernels::linear) fn random(seed: u64, len: usize) -> Vec<f32> {
    Numbers::new(seed).floats(len)
}

/// The four ways to start from, for an output of `rows` by `columns`.
fn starts(rows: usize, columns: usize) -> [Vec<f32>; 4] {
    [Vec::new(), random(11, columns), random(12, rows), Vec::new()]
}

fn init_of<'a>(index: usize, starts: &'a [Vec<f32>; 4]) -> Init<'a> {
    match index {
        0 => Init::Zero,
        1 => Init::PerColumn(&starts[1]),
        2 => Init::PerRow(&starts[2]),
        _ => Init::Accumulate,
    }
}

/// What an output starts from.
fn start(init: Init<'_>, row: usize, column: usize, held: f32) -> f64 {
    f64::from(match init {
        Init::Zero => 0.0,
        Init::PerColumn(values) => values[column],
        Init::PerRow(values) => values[row],
        Init::Accumulate => held,
    })
}

/// Runs `kernel` with an epilogue that doubles and adds a function of the position, checks that every output was given
/// to it once, and returns the inverse to compare with.
fn with_epilogue(
    rows: usize,
    columns: usize,
    row_stride: usize,
    output: &mut [f32],
    kernel: impl FnOnce(&mut [f32], Epilogue<'_>),
) {
    let seen = Mutex::new(BTreeSet::new());
    let epilogue = |run: &mut [f32], at: Position| {
        let mut seen = seen.lock().unwrap();
        for (index, value) in run.iter_mut().enumerate() {
            assert!(seen.insert((at.row, at.column + index)), "{at:?} twice");
            *value = *value * 2.0 + tag(at.row, at.column + index);
        }
    };
    kernel(output, Epilogue::at(&epilogue));
    assert_eq!(seen.into_inner().unwrap().len(), rows * columns);
    for row in 0..rows {
        for column in 0..columns {
            let value = &mut output[row * row_stride + column];
            *value = (*value - tag(row, column)) / 2.0;
        }
    }
}

/// Checks that a clamp and a function of values alone do to every output what they should, and to nothing between rows.
fn check_epilogues(
    rows: usize,
    columns: usize,
    row_stride: usize,
    held: &[f32],
    mut kernel: impl FnMut(&mut [f32], Epilogue<'_>),
) {
    let mut run = |epilogue: Epilogue<'_>| {
        let mut output = held.to_vec();
        kernel(&mut output, epilogue);
        output
    };
    let plain = run(Epilogue::None);
    let count = Mutex::new(0);
    let double = |run: &mut [f32]| {
        *count.lock().unwrap() += run.len();
        run.iter_mut().for_each(|value| *value = *value * 2.0 + 1.0);
    };
    let (clamped, doubled) = (run(Epilogue::Clamp(-0.25, 0.5)), run(Epilogue::Each(&double)));
    assert_eq!(
        count.into_inner().unwrap(),
        rows * columns,
        "values given to the function"
    );
    for (at, &value) in plain.iter().enumerate() {
        let is_output = at % row_stride.max(1) < columns && at / row_stride.max(1) < rows;
        let expected = match is_output {
            true => [value.clamp(-0.25, 0.5), value * 2.0 + 1.0],
            false => [held[at]; 2],
        };
        assert_eq!([clamped[at], doubled[at]], expected, "the epilogues of {value} at {at}");
    }
}

/// A small number that tells neighbors apart.
fn tag(row: usize, column: usize) -> f32 {
    ((row * 2 + column) % 61) as f32
}

/// Terms of a sum whose rounding is at least that of adding and subtracting a [`tag`].
const TAG_TERMS: usize = 64;

/// Fails unless `actual` is within the rounding of a sum of `terms` products of magnitude at most 1, in any order.
#[track_caller]
fn assert_close(actual: f32, expected: f64, terms: usize, what: &dyn Fn() -> String) {
    // Rounding errors of a random walk; the bound is proportional to the worst case for short sums only.
    let bound =
        f64::from(f32::EPSILON) * (2.0 + (terms as f64).min(4.0 * (terms as f64).sqrt())) * (1.0 + expected.abs());
    assert!(
        (f64::from(actual) - expected).abs() <= bound,
        "{}: {actual} is not {expected}",
        what()
    );
}
