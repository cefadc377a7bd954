use super::*;
use crate::dispatch;
use crate::isa::{Isa, Level};
use crate::kernels::linear::Linear;
use crate::team::{Caller, Team};
use crate::testing::{bytes, levels};
use std::vec;
use std::vec::Vec;

#[derive(Clone, Copy)]
struct Window {
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    /// Numbers before and behind the image.
    pads: [[usize; 2]; 2],
}

const WINDOWS: [Window; 12] = [
    window([3, 3], [1, 1], [1, 1], [[1, 1], [1, 1]]),
    window([3, 3], [2, 2], [1, 1], [[0, 1], [0, 1]]),
    window([1, 1], [1, 1], [1, 1], [[0, 0], [0, 0]]),
    window([1, 1], [2, 3], [1, 1], [[0, 1], [1, 2]]),
    window([5, 5], [1, 2], [1, 1], [[2, 2], [1, 3]]),
    window([7, 7], [2, 2], [1, 1], [[3, 3], [3, 3]]),
    window([3, 2], [1, 1], [2, 3], [[2, 1], [0, 4]]),
    window([1, 9], [1, 1], [1, 1], [[0, 0], [4, 4]]),
    window([4, 1], [3, 1], [1, 1], [[1, 2], [0, 0]]),
    window([2, 6], [1, 3], [1, 1], [[0, 0], [0, 2]]),
    window([2, 3], [1, 2], [3, 2], [[3, 0], [9, 9]]),
    window([3, 3], [5, 4], [1, 1], [[4, 3], [6, 5]]),
];

const fn window(kernel: [usize; 2], stride: [usize; 2], dilation: [usize; 2], pads: [[usize; 2]; 2]) -> Window {
    Window {
        kernel,
        stride,
        dilation,
        pads,
    }
}

/// A convolution with gaps between the pixels on both sides.
struct Case {
    problem: Conv2dNhwc,
    x: Vec<u8>,
    pad_value: u8,
    weights: Vec<i8>,
    sums: Vec<i32>,
}

impl Case {
    fn new(size: [usize; 2], channels: [usize; 2], groups: usize, window: Window, is_planar: bool) -> Case {
        let Window {
            kernel,
            stride,
            dilation,
            pads,
        } = window;
        let out = |axis: usize| {
            let padded = size[axis] + pads[axis][0] + pads[axis][1];
            (padded - dilation[axis] * (kernel[axis] - 1) - 1) / stride[axis] + 1
        };
        let strides = match is_planar {
            true => [size[0] * size[1], size[1], 1],
            false => [1, size[1] * (channels[0] + 3) + 5, channels[0] + 3],
        };
        let problem = Conv2dNhwc {
            in_channels: channels[0],
            in_height: size[0],
            in_width: size[1],
            out_channels: channels[1],
            out_height: out(0),
            out_width: out(1),
            kernel,
            stride,
            dilation,
            pad: [pads[0][0], pads[1][0]],
            groups,
            x_channel: strides[0],
            x_row: strides[1],
            x_column: strides[2],
            y_pixel: channels[1] + 2,
        };
        let len = (channels[0] - 1) * strides[0] + (size[0] - 1) * strides[1] + (size[1] - 1) * strides[2] + 1;
        let count = channels[1] * problem.depth();
        let mut case = Case {
            problem,
            x: bytes(1, len),
            pad_value: 131,
            weights: bytes(2, count).into_iter().map(u8::cast_signed).collect(),
            sums: Vec::new(),
        };
        let outputs = 0..problem.pixels() * channels[1];
        case.sums = outputs
            .map(|index| case.sum(index / channels[1], index % channels[1]))
            .collect();
        case
    }

    fn sum(&self, pixel: usize, channel: usize) -> i32 {
        let problem = &self.problem;
        let at = [pixel / problem.out_width, pixel % problem.out_width];
        let mut sum = 0;
        for input in 0..problem.group_in() {
            for tap in 0..problem.taps() {
                let tap_at = [tap / problem.kernel[1], tap % problem.kernel[1]];
                let [row, column] = [0, 1].map(|axis| {
                    (at[axis] * problem.stride[axis] + tap_at[axis] * problem.dilation[axis])
                        .wrapping_sub(problem.pad[axis])
                });
                let own = channel / problem.group_out() * problem.group_in() + input;
                let number = match row < problem.in_height && column < problem.in_width {
                    true => self.x[own * problem.x_channel + row * problem.x_row + column * problem.x_column],
                    false => self.pad_value,
                };
                let weight = self.weights[(channel * problem.group_in() + input) * problem.taps() + tap];
                sum += i32::from(number) * i32::from(weight);
            }
        }
        sum
    }

    fn check<C: Linear>(&self, compute: C) {
        let problem = &self.problem;
        let is_depthwise = problem.groups > 1;
        let (least, best, len) = match is_depthwise {
            true => (0, 0, depthwise_conv2d_nhwc_int8_packed_len(problem)),
            false => (
                conv2d_nhwc_int8_scratch_min(problem),
                conv2d_nhwc_int8_scratch(problem),
                conv2d_nhwc_int8_packed_len(problem),
            ),
        };
        let mut packed = vec![u32::MAX; len];
        match is_depthwise {
            true => pack_depthwise_conv2d_nhwc_int8(problem, &self.weights, &mut packed),
            false => pack_conv2d_nhwc_int8(problem, &self.weights, &mut packed),
        }
        let mut expected = vec![7; problem.pixels() * problem.y_pixel];
        for (index, &sum) in self.sums.iter().enumerate() {
            expected[index / problem.out_channels * problem.y_pixel + index % problem.out_channels] = sum;
        }
        // A few rows at a time, of what they see.
        for count in [1, 2, 5] {
            let mut scratch = vec![f32::NAN; best];
            let mut y = vec![7; expected.len()];
            for first in (0..problem.out_height).step_by(count) {
                let (band, sees) = problem.band(&(first..problem.out_height.min(first + count)));
                let x = self.x.get(sees.start * problem.x_row..).unwrap_or_default();
                let sink = Sink::Sums(&mut y[first * problem.out_width * problem.y_pixel..]);
                match is_depthwise {
                    true => compute.depthwise_conv2d_nhwc_int8(&band, x, self.pad_value, &packed, sink),
                    false => compute.conv2d_nhwc_int8(&band, x, self.pad_value, &packed, sink, &mut scratch),
                }
            }
            assert!(y == expected, "{problem:?} in bands of {count} rows");
        }
        for room in [least, least + 1, best.min(2 * least), best / 2, best, best + 100] {
            let mut scratch = vec![f32::NAN; room.max(least)];
            let mut y = vec![7; expected.len()];
            let sink = Sink::Sums(&mut y);
            match is_depthwise {
                true => compute.depthwise_conv2d_nhwc_int8(problem, &self.x, self.pad_value, &packed, sink),
                false => compute.conv2d_nhwc_int8(problem, &self.x, self.pad_value, &packed, sink, &mut scratch),
            }
            assert!(y == expected, "{problem:?} with {room} values of scratch");
        }
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (index, window) in WINDOWS.into_iter().enumerate() {
        for channels in [[1, 5], [3, 16], [4, 33], [17, 3], [8, 40]] {
            let size = [5 + index % 4, 9 + index % 3];
            cases.push(Case::new(size, channels, 1, window, index % 2 == 0));
        }
        for channels in [2, 16, 23, 67, 130] {
            let size = [4 + index % 3, 10 + index % 5];
            cases.push(Case::new(size, [channels; 2], channels, window, false));
        }
    }
    cases.push(Case::new([30, 41], [16, 35], 1, WINDOWS[0], false));
    cases.push(Case::new([1, 70], [5, 300], 1, WINDOWS[7], true));
    cases.push(Case::new([30, 41], [80, 80], 80, WINDOWS[0], false));
    cases.push(Case::new([1, 150], [70, 70], 70, WINDOWS[7], false));
    for (stride, dilation) in [([1, 2], [1, 1]), ([1, 1], [1, 2])] {
        let window = window([1, 6], stride, dilation, [[0, 0], [2, 3]]);
        cases.push(Case::new([1, 70], [64, 64], 64, window, false));
        cases.push(Case::new([2, 261], [16, 16], 16, window, false));
    }
    cases
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

#[test]
#[should_panic(expected = "convolution: the scratch is too short")]
fn short_scratch_panics() {
    let case = Case::new([5, 5], [3, 5], 1, WINDOWS[0], false);
    let packed = vec![0; conv2d_nhwc_int8_packed_len(&case.problem)];
    let mut y = vec![0; case.problem.pixels() * case.problem.y_pixel];
    let mut scratch = vec![0.0; conv2d_nhwc_int8_scratch_min(&case.problem) - 1];
    crate::isa::Scalar.conv2d_nhwc_int8(&case.problem, &case.x, 0, &packed, Sink::Sums(&mut y), &mut scratch);
}

#[test]
#[should_panic(expected = "convolution: the input is too short")]
fn a_short_input_panics() {
    let case = Case::new([5, 5], [3, 3], 3, WINDOWS[0], false);
    let packed = vec![0; depthwise_conv2d_nhwc_int8_packed_len(&case.problem)];
    let mut y = vec![0; case.problem.pixels() * case.problem.y_pixel];
    let x = &case.x[1..];
    crate::isa::Scalar.depthwise_conv2d_nhwc_int8(&case.problem, x, 0, &packed, Sink::Sums(&mut y));
}
