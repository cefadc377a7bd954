use super::*;
use crate::dispatch;
use crate::isa::Isa;
use crate::kernels::linear::*;

/// A convolution of an image stored by channels, of the size that its padding on both sides gives.
pub(super) fn problem(
    [in_channels, in_height, in_width]: [usize; 3],
    out_channels: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    pad: [usize; 4],
    groups: usize,
) -> Conv2d {
    let size = |input: usize, axis: usize| {
        (input + pad[axis] + pad[axis + 2] - (kernel[axis] - 1) * dilation[axis] - 1) / stride[axis] + 1
    };
    let (out_height, out_width) = (size(in_height, 0), size(in_width, 1));
    Conv2d {
        in_channels,
        in_height,
        in_width,
        out_channels,
        out_height,
        out_width,
        kernel,
        stride,
        dilation,
        pad: [pad[0], pad[1]],
        groups,
        x_channel: in_height * in_width,
        x_row: in_width,
        x_column: 1,
        y_channel: out_height * out_width,
    }
}

/// The same convolution of an image whose channels are innermost.
pub(super) fn channels_last(problem: Conv2d) -> Conv2d {
    let channels = problem.in_channels;
    Conv2d {
        x_channel: 1,
        x_row: problem.in_width * channels,
        x_column: channels,
        ..problem
    }
}

/// Compares a kernel with the definition, from every start, with and without epilogue.
pub(super) fn compare(
    problem: Conv2d,
    what: &str,
    mut kernel: impl FnMut(&[f32], &[f32], Init<'_>, &mut [f32], Epilogue<'_>),
) {
    let Conv2d {
        in_channels,
        out_channels,
        out_width,
        kernel: [kernel_y, kernel_x],
        groups,
        ..
    } = problem;
    let pixels = problem.out_height * out_width;
    let x = random(
        1,
        extent([
            (in_channels, problem.x_channel),
            (problem.in_height, problem.x_row),
            (problem.in_width, problem.x_column),
        ]),
    );
    let depth = in_channels / groups * kernel_y * kernel_x;
    let w = random(2, out_channels * depth);
    let y_len = extent([(out_channels, problem.y_channel), (pixels, 1)]);
    let held = random(3, y_len);
    let starts = starts(out_channels, pixels);
    let expected = |channel: usize, pixel: usize| {
        let group = channel / (out_channels / groups);
        let mut sum = 0.0;
        for index in 0..depth {
            let (c, tap) = (index / (kernel_y * kernel_x), index % (kernel_y * kernel_x));
            let (ky, kx) = (tap / kernel_x, tap % kernel_x);
            let y = (pixel / out_width * problem.stride[0] + ky * problem.dilation[0]).wrapping_sub(problem.pad[0]);
            let x_at = (pixel % out_width * problem.stride[1] + kx * problem.dilation[1]).wrapping_sub(problem.pad[1]);
            if y < problem.in_height && x_at < problem.in_width {
                let c = group * (in_channels / groups) + c;
                let at = c * problem.x_channel + y * problem.x_row + x_at * problem.x_column;
                sum += f64::from(w[channel * depth + index]) * f64::from(x[at]);
            }
        }
        sum
    };
    let sums: Vec<f64> = (0..out_channels * pixels)
        .map(|at| expected(at / pixels, at % pixels))
        .collect();
    for index in 0..4 {
        let init = init_of(index, &starts);
        for epilogue in [false, true] {
            let mut y = held.clone();
            if epilogue {
                let run = |y: &mut [f32], epilogue: Epilogue<'_>| kernel(&x, &w, init, y, epilogue);
                with_epilogue(out_channels, pixels, problem.y_channel, &mut y, run);
            } else {
                kernel(&x, &w, init, &mut y, None);
            }
            for (at, sum) in sums.iter().enumerate() {
                let (channel, pixel) = (at / pixels, at % pixels);
                let at = channel * problem.y_channel + pixel;
                let expected = sum + start(init, channel, pixel, held[at]);
                let terms = depth + if epilogue { TAG_TERMS } else { 0 };
                assert_close(y[at], expected, terms, &|| {
                    format!("{what} {problem:?} {init:?} at {channel}, {pixel}")
                });
            }
        }
    }
}

fn check<I: Isa>(isa: I, problem: Conv2d) {
    let mut packed = vec![f32::NAN; conv2d_packed_len(&problem)];
    for scratch_len in [conv2d_scratch(&problem), conv2d_scratch_min(&problem)] {
        compare(problem, I::LEVEL.name(), |x, w, init, y, epilogue| {
            pack_conv2d(&problem, w, &mut packed);
            let mut scratch = vec![f32::NAN; scratch_len];
            isa.conv2d(&problem, x, &packed, init, y, &mut scratch, epilogue);
        });
    }
}

#[test]
fn kernels_strides_dilations_pads_and_groups() {
    let problems = [
        problem([3, 9, 11], 7, [3, 3], [1, 1], [1, 1], [1, 1, 1, 1], 1),
        problem([3, 20, 37], 8, [3, 3], [2, 2], [1, 1], [1, 1, 1, 1], 1),
        problem([4, 17, 40], 6, [3, 3], [1, 1], [2, 3], [2, 3, 2, 3], 2),
        problem([2, 9, 33], 5, [1, 5], [1, 3], [1, 1], [0, 2, 0, 1], 1),
        problem([6, 5, 7], 9, [5, 2], [1, 1], [1, 1], [4, 0, 3, 1], 3),
        problem([1, 1, 100], 13, [1, 25], [1, 10], [1, 1], [0, 12, 0, 12], 1),
        problem([3, 8, 8], 4, [4, 4], [4, 4], [1, 1], [0, 0, 0, 0], 1),
        // Taps that never touch the image.
        problem([2, 2, 3], 3, [3, 3], [1, 1], [5, 5], [5, 5, 5, 5], 1),
        // Several blocks of depth and columns.
        problem([40, 20, 30], 14, [3, 3], [1, 1], [1, 1], [1, 1, 1, 1], 1),
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
fn pointwise() {
    for level in levels() {
        for (channels, out_channels) in [(5, 3), (17, 64), (300, 20)] {
            let base = problem([channels, 6, 11], out_channels, [1, 1], [1, 1], [1, 1], [0; 4], 1);
            dispatch!(level, check(base));
            dispatch!(level, check(channels_last(base)));
            // Rows with a gap between them, which are not one long row.
            dispatch!(
                level,
                check(Conv2d {
                    x_row: 14,
                    x_channel: 14 * 6,
                    ..base
                })
            );
            dispatch!(
                level,
                check(problem(
                    [channels, 6, 11],
                    out_channels,
                    [1, 1],
                    [2, 2],
                    [1, 1],
                    [0; 4],
                    1
                ))
            );
            dispatch!(
                level,
                check(problem(
                    [channels, 6, 11],
                    out_channels,
                    [1, 1],
                    [1, 1],
                    [1, 1],
                    [1; 4],
                    1
                ))
            );
        }
    }
}

#[test]
#[should_panic(expected = "convolution: the input is too short")]
fn a_short_input_panics() {
    let problem = problem([3, 9, 11], 7, [3, 3], [1, 1], [1, 1], [1, 1, 1, 1], 1);
    crate::isa::Scalar.conv2d(&problem, &[0.0; 296], &[], Init::Zero, &mut [], &mut [], None);
}

#[test]
#[should_panic(expected = "convolution: the sizes overflow")]
fn sizes_that_overflow_panic() {
    let problem = problem([1, 9, 11], 1, [3, 3], [1, 1], [1, 1], [1, 1, 1, 1], 1);
    let problem = Conv2d {
        stride: [1, usize::MAX / 2],
        ..problem
    };
    crate::isa::Scalar.conv2d(&problem, &[0.0; 99], &[], Init::Zero, &mut [0.0; 99], &mut [], None);
}
