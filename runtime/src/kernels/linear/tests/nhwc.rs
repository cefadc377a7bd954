use super::*;
use crate::dispatch;
use crate::isa::Isa;
use crate::kernels::linear::*;

/// A convolution of a dense channels-last image, of the size that its padding on both sides gives.
pub(super) fn problem(
    [in_channels, in_height, in_width]: [usize; 3],
    out_channels: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    pad: [usize; 4],
    groups: usize,
) -> Conv2dNhwc {
    let size = |input: usize, axis: usize| {
        (input + pad[axis] + pad[axis + 2] - (kernel[axis] - 1) * dilation[axis] - 1) / stride[axis] + 1
    };
    Conv2dNhwc {
        in_channels,
        in_height,
        in_width,
        out_channels,
        out_height: size(in_height, 0),
        out_width: size(in_width, 1),
        kernel,
        stride,
        dilation,
        pad: [pad[0], pad[1]],
        groups,
        x_channel: 1,
        x_row: in_width * in_channels,
        x_column: in_channels,
        y_pixel: out_channels,
    }
}

/// The same convolution of an image stored by channels.
pub(super) fn planar(problem: Conv2dNhwc) -> Conv2dNhwc {
    Conv2dNhwc {
        x_channel: problem.in_height * problem.in_width,
        x_row: problem.in_width,
        x_column: 1,
        ..problem
    }
}

/// The same convolution with gaps between the channels of neighboring pixels, in the input and in the output.
pub(super) fn apart(problem: Conv2dNhwc) -> Conv2dNhwc {
    let x_column = problem.in_channels + 3;
    Conv2dNhwc {
        x_row: problem.in_width * x_column + 2,
        x_column,
        y_pixel: problem.out_channels + 5,
        ..problem
    }
}

/// Compares a kernel with the definition, from every start, with and without epilogue.
fn compare(problem: Conv2dNhwc, what: &str, kernel: impl FnMut(&[f32], &[f32], Init<'_>, &mut [f32], Epilogue<'_>)) {
    compare_rounded(problem, what, |number| number, kernel);
}

/// Compares a kernel with the definition for an image and weights that are rounded.
pub(super) fn compare_rounded(
    problem: Conv2dNhwc,
    what: &str,
    rounded: fn(f32) -> f32,
    mut kernel: impl FnMut(&[f32], &[f32], Init<'_>, &mut [f32], Epilogue<'_>),
) {
    let Conv2dNhwc {
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
    let held = random(3, extent([(pixels, problem.y_pixel), (out_channels, 1)]));
    let starts = starts(pixels, out_channels);
    let expected = |pixel: usize, channel: usize| {
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
                sum += f64::from(rounded(w[channel * depth + index])) * f64::from(rounded(x[at]));
            }
        }
        sum
    };
    let sums: Vec<f64> = (0..pixels * out_channels)
        .map(|at| expected(at / out_channels, at % out_channels))
        .collect();
    for index in 0..4 {
        let init = init_of(index, &starts);
        for epilogue in [false, true] {
            let mut y = held.clone();
            if epilogue {
                let mut run = |y: &mut [f32], epilogue: Epilogue<'_>| kernel(&x, &w, init, y, epilogue);
                check_epilogues(pixels, out_channels, problem.y_pixel, &held, &mut run);
                with_epilogue(pixels, out_channels, problem.y_pixel, &mut y, run);
            } else {
                kernel(&x, &w, init, &mut y, Epilogue::None);
            }
            for (at, (&actual, &held)) in y.iter().zip(&held).enumerate() {
                let (pixel, channel) = (at / problem.y_pixel, at % problem.y_pixel);
                if channel >= out_channels {
                    assert_eq!(actual, held, "{what} {problem:?} wrote between pixels");
                    continue;
                }
                let expected = sums[pixel * out_channels + channel] + start(init, pixel, channel, held);
                let terms = depth + if epilogue { TAG_TERMS } else { 0 };
                assert_close(actual, expected, terms, &|| {
                    format!("{what} {problem:?} {init:?} at pixel {pixel}, channel {channel}")
                });
            }
        }
    }
}

fn check<I: Isa>(isa: I, problem: Conv2dNhwc) {
    let mut packed = vec![f32::NAN; conv2d_nhwc_packed_len(&problem)];
    let (best, least) = (conv2d_nhwc_scratch(&problem), conv2d_nhwc_scratch_min(&problem));
    assert!(least <= best && (least > 0 || best == 0), "{problem:?}");
    for len in if least < best { vec![best, least] } else { vec![best] } {
        compare(problem, I::LEVEL.name(), |x, w, init, y, epilogue| {
            pack_conv2d_nhwc(&problem, w, &mut packed);
            let mut scratch = vec![f32::NAN; len];
            isa.conv2d_nhwc(&problem, x, &packed, init, y, &mut scratch, epilogue);
        });
    }
}

fn check_depthwise<I: Isa>(isa: I, problem: Conv2dNhwc) {
    let mut packed = vec![f32::NAN; depthwise_conv2d_nhwc_packed_len(&problem)];
    compare(problem, I::LEVEL.name(), |x, w, init, y, epilogue| {
        pack_depthwise_conv2d_nhwc(&problem, w, &mut packed);
        isa.depthwise_conv2d_nhwc(&problem, x, &packed, init, y, epilogue);
    });
}

#[test]
fn kernels_strides_dilations_pads_and_groups() {
    let problems = [
        problem([3, 9, 11], 7, [3, 3], [1, 1], [1, 1], [1, 1, 1, 1], 1),
        problem([3, 20, 37], 8, [3, 3], [2, 2], [1, 1], [1, 1, 1, 1], 1),
        problem([3, 32, 49], 40, [16, 16], [16, 16], [1, 1], [0; 4], 1),
        problem([2, 80, 3], 16, [70, 2], [1, 1], [1, 1], [1; 4], 1),
        problem([3, 21, 29], 20, [7, 7], [2, 2], [1, 1], [3, 3, 3, 3], 1),
        problem([3, 8, 8], 24, [4, 4], [4, 4], [1, 1], [0, 0, 0, 0], 1),
        problem([16, 7, 7], 40, [3, 3], [1, 1], [1, 1], [1, 1, 1, 1], 1),
        problem([17, 8, 9], 33, [3, 3], [2, 2], [1, 1], [0, 0, 1, 1], 1),
        problem([20, 13, 14], 70, [3, 3], [1, 1], [2, 3], [2, 3, 2, 3], 2),
        problem([32, 3, 31], 5, [1, 5], [1, 3], [1, 1], [0, 2, 0, 1], 1),
        problem([36, 5, 7], 18, [5, 2], [1, 1], [1, 1], [4, 0, 3, 1], 3),
        problem([1, 1, 100], 13, [1, 25], [1, 10], [1, 1], [0, 12, 0, 12], 1),
        problem([8, 1, 40], 16, [1, 65], [1, 1], [1, 1], [0, 32, 0, 32], 1),
        // Taps that never touch the image.
        problem([12, 2, 3], 3, [3, 3], [1, 1], [5, 5], [5, 5, 5, 5], 1),
        problem([2, 2, 3], 3, [3, 3], [1, 1], [5, 5], [5, 5, 5, 5], 1),
        // More channels than a row of zeros has, and more weights than a block holds.
        problem([700, 3, 4], 20, [1, 1], [1, 1], [1, 1], [1, 1, 1, 1], 1),
        problem([100, 5, 5], 300, [3, 3], [1, 1], [1, 1], [1, 1, 1, 1], 1),
        // Pointwise, of some pixels.
        problem([24, 6, 11], 16, [1, 1], [2, 2], [1, 1], [0; 4], 1),
    ];
    for level in levels() {
        for problem in problems {
            dispatch!(level, check(problem));
            dispatch!(level, check(planar(problem)));
            dispatch!(level, check(apart(problem)));
        }
    }
}

#[test]
fn every_remainder_of_pixels_and_channels() {
    for level in levels() {
        for pixels in (1..=30).chain([49, 64]) {
            for channels in [1, 4, 8, 9, 16, 24, 31, 40, 48, 65] {
                let problem = problem([9, 1, pixels], channels, [1, 3], [1, 1], [1, 1], [0, 1, 0, 1], 1);
                dispatch!(level, check(problem));
            }
        }
    }
}

#[test]
fn depthwise_kernels_strides_dilations_and_pads() {
    let problems = [
        problem([3, 7, 7], 3, [3, 3], [1, 1], [1, 1], [1; 4], 3),
        problem([16, 7, 7], 16, [3, 3], [1, 1], [1, 1], [1; 4], 16),
        problem([70, 14, 13], 70, [3, 3], [1, 1], [1, 1], [1; 4], 70),
        problem([33, 15, 18], 33, [3, 3], [2, 2], [1, 1], [0, 0, 1, 1], 33),
        problem([24, 15, 18], 24, [3, 3], [2, 2], [1, 1], [1; 4], 24),
        problem([20, 14, 14], 20, [5, 5], [1, 1], [1, 1], [2; 4], 20),
        problem([20, 14, 15], 20, [5, 5], [2, 2], [1, 1], [2; 4], 20),
        problem([18, 17, 16], 18, [7, 7], [1, 1], [1, 1], [3; 4], 18),
        problem([16, 25, 5], 16, [3, 3], [1, 1], [1, 1], [1; 4], 16),
        problem([9, 20, 20], 9, [3, 3], [1, 1], [2, 3], [2, 3, 2, 3], 9),
        problem([9, 20, 20], 9, [2, 4], [3, 2], [1, 3], [1, 0, 0, 2], 9),
        problem([2, 20, 20], 2, [3, 3], [2, 3], [3, 2], [0; 4], 2),
        problem([5, 1, 300], 5, [1, 31], [1, 1], [1, 1], [0, 15, 0, 15], 5),
        problem([40, 1, 1], 40, [3, 3], [1, 1], [1, 1], [1; 4], 40),
        // More columns than addresses are found for at a time.
        problem([4, 3, 700], 4, [3, 3], [1, 1], [1, 1], [1; 4], 4),
        problem([4, 5, 431], 4, [5, 5], [2, 2], [1, 1], [2; 4], 4),
        problem([40, 2, 2], 40, [5, 5], [1, 1], [1, 1], [2; 4], 40),
        // Taps that never touch the image.
        problem([2, 2, 3], 2, [3, 3], [1, 1], [5, 5], [5; 4], 2),
        // Several strips of rows.
        problem([130, 30, 30], 130, [3, 3], [1, 1], [1, 1], [1; 4], 130),
    ];
    for level in levels() {
        for problem in problems {
            dispatch!(level, check_depthwise(problem));
            dispatch!(level, check_depthwise(apart(problem)));
        }
    }
}

#[test]
#[should_panic(expected = "convolution: the input is too short")]
fn a_short_input_panics() {
    let problem = problem([3, 9, 11], 7, [3, 3], [1, 1], [1, 1], [1, 1, 1, 1], 1);
    crate::isa::Scalar.conv2d_nhwc(&problem, &[0.0; 296], &[], Init::Zero, &mut [], &mut [], Epilogue::None);
}

#[test]
#[should_panic(expected = "convolution: the bias is too short")]
fn a_short_bias_panics() {
    let problem = problem([3, 9, 11], 7, [3, 3], [1, 1], [1, 1], [1, 1, 1, 1], 1);
    let mut y = [0.0; 99 * 7];
    let bias = Init::PerColumn(&[0.0; 6]);
    crate::isa::Scalar.conv2d_nhwc(&problem, &[0.0; 297], &[], bias, &mut y, &mut [], Epilogue::None);
}

#[test]
#[should_panic(expected = "convolution: the weights are too short")]
fn short_weights_panic() {
    let problem = problem([3, 9, 11], 7, [3, 3], [1, 1], [1, 1], [1, 1, 1, 1], 1);
    let mut y = [0.0; 99 * 7];
    let w = vec![0.0; 27 * 16 - 1];
    crate::isa::Scalar.conv2d_nhwc(&problem, &[0.0; 297], &w, Init::Zero, &mut y, &mut [], Epilogue::None);
}

#[test]
#[should_panic(expected = "convolution: the sizes overflow")]
fn sizes_that_overflow_panic() {
    let problem = Conv2dNhwc {
        stride: [1, usize::MAX / 2],
        ..problem([1, 9, 11], 1, [3, 3], [1, 1], [1, 1], [1, 1, 1, 1], 1)
    };
    crate::isa::Scalar.conv2d_nhwc(
        &problem,
        &[0.0; 99],
        &[],
        Init::Zero,
        &mut [0.0; 99],
        &mut [],
        Epilogue::None,
    );
}

#[test]
#[should_panic(expected = "a group has more than one channel")]
fn a_grouped_depthwise_convolution_panics() {
    let problem = problem([4, 7, 7], 4, [3, 3], [1, 1], [1, 1], [1; 4], 2);
    let (x, w) = ([0.0; 196], [0.0; 72]);
    crate::isa::Scalar.depthwise_conv2d_nhwc(&problem, &x, &w, Init::Zero, &mut [0.0; 196], Epilogue::None);
}

#[test]
#[should_panic(expected = "the channels of the input are not contiguous")]
fn a_planar_depthwise_convolution_panics() {
    let problem = planar(problem([4, 7, 7], 4, [3, 3], [1, 1], [1, 1], [1; 4], 4));
    let (x, w) = ([0.0; 196], [0.0; 72]);
    crate::isa::Scalar.depthwise_conv2d_nhwc(&problem, &x, &w, Init::Zero, &mut [0.0; 196], Epilogue::None);
}
