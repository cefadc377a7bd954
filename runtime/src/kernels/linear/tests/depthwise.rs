use super::conv::{channels_last, compare, problem};
use super::*;
use crate::dispatch;
use crate::isa::Isa;
use crate::kernels::linear::*;

fn check<I: Isa>(isa: I, problem: Conv2d) {
    compare(problem, I::LEVEL.name(), |x, w, init, y, epilogue| {
        let mut scratch = vec![f32::NAN; depthwise_conv2d_scratch(&problem)];
        isa.depthwise_conv2d(&problem, x, w, init, y, &mut scratch, epilogue);
    });
}

#[test]
fn kernels_strides_dilations_and_pads() {
    let problems = [
        problem([3, 7, 7], 3, [3, 3], [1, 1], [1, 1], [1; 4], 3),
        problem([2, 14, 14], 2, [5, 5], [1, 1], [1, 1], [2; 4], 2),
        problem([3, 15, 18], 3, [3, 3], [2, 2], [1, 1], [0, 0, 1, 1], 3),
        problem([2, 9, 130], 2, [3, 3], [1, 1], [1, 1], [1; 4], 2),
        problem([2, 9, 150], 2, [3, 3], [2, 2], [1, 1], [1; 4], 2),
        problem([2, 20, 20], 2, [3, 3], [1, 1], [2, 3], [2, 3, 2, 3], 2),
        problem([2, 20, 20], 2, [2, 4], [3, 2], [1, 3], [1, 0, 0, 2], 2),
        problem([2, 20, 20], 2, [3, 3], [2, 3], [3, 2], [0; 4], 2),
        problem([1, 1, 300], 1, [1, 31], [1, 1], [1, 1], [0, 15, 0, 15], 1),
        // A channel multiplier.
        problem([3, 9, 11], 6, [3, 3], [1, 1], [1, 1], [1; 4], 3),
        // Strips of a few rows, and of one.
        problem([1, 90, 100], 1, [3, 3], [1, 1], [1, 1], [1; 4], 1),
        problem([1, 3, 7000], 1, [3, 3], [1, 1], [1, 1], [1; 4], 1),
        // Taps that never touch the image.
        problem([2, 2, 3], 2, [3, 3], [1, 1], [5, 5], [5; 4], 2),
    ];
    for level in levels() {
        for problem in problems {
            dispatch!(level, check(problem));
            dispatch!(level, check(channels_last(problem)));
            dispatch!(
                level,
                check(Conv2d {
                    y_channel: problem.y_channel + 5,
                    ..problem
                })
            );
        }
    }
}

#[test]
#[should_panic(expected = "a group has more than one channel")]
fn a_grouped_convolution_panics() {
    let problem = problem([4, 7, 7], 4, [3, 3], [1, 1], [1, 1], [1; 4], 2);
    let (x, w) = ([0.0; 196], [0.0; 72]);
    crate::isa::Scalar.depthwise_conv2d(&problem, &x, &w, Init::Zero, &mut [0.0; 196], &mut [0.0; 1000], None);
}
