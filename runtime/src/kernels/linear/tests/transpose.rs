use super::*;
use crate::dispatch;
use crate::isa::Isa;
use crate::kernels::linear::*;

fn problem(
    [in_channels, in_height, in_width]: [usize; 3],
    out_channels: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    pad: [usize; 4],
    groups: usize,
) -> ConvTranspose2d {
    let size = |input: usize, axis: usize| {
        (input - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1 - pad[axis] - pad[axis + 2]
    };
    let (out_height, out_width) = (size(in_height, 0), size(in_width, 1));
    ConvTranspose2d {
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

fn check<I: Isa>(isa: I, problem: ConvTranspose2d) {
    let ConvTranspose2d {
        in_channels,
        out_channels,
        in_width,
        out_width,
        kernel: [kernel_y, kernel_x],
        ..
    } = problem;
    let pixels = problem.out_height * out_width;
    let x = random(
        1,
        extent([
            (in_channels, problem.x_channel),
            (problem.in_height, problem.x_row),
            (in_width, problem.x_column),
        ]),
    );
    let (group_in, group_out) = (in_channels / problem.groups, out_channels / problem.groups);
    let taps = kernel_y * kernel_x;
    let w = random(2, in_channels * group_out * taps);
    let held = random(3, extent([(out_channels, problem.y_channel), (pixels, 1)]));
    let starts = starts(out_channels, pixels);
    let mut sums = vec![0.0; out_channels * pixels];
    for c in 0..in_channels {
        for o in 0..group_out {
            for tap in 0..taps {
                for at in 0..problem.in_height * in_width {
                    let (iy, ix) = (at / in_width, at % in_width);
                    let (ky, kx) = (tap / kernel_x, tap % kernel_x);
                    let y = (iy * problem.stride[0] + ky * problem.dilation[0]).wrapping_sub(problem.pad[0]);
                    let x_at = (ix * problem.stride[1] + kx * problem.dilation[1]).wrapping_sub(problem.pad[1]);
                    if y < problem.out_height && x_at < out_width {
                        let out = (c / group_in * group_out + o) * pixels + y * out_width + x_at;
                        let from = c * problem.x_channel + iy * problem.x_row + ix * problem.x_column;
                        sums[out] += f64::from(w[(c * group_out + o) * taps + tap]) * f64::from(x[from]);
                    }
                }
            }
        }
    }
    let mut packed = vec![f32::NAN; conv_transpose2d_packed_len(&problem)];
    pack_conv_transpose2d(&problem, &w, &mut packed);
    for index in 0..4 {
        let init = init_of(index, &starts);
        let mut y = held.clone();
        let mut scratch = vec![f32::NAN; conv_transpose2d_scratch(&problem)];
        let mut run = |y: &mut [f32], epilogue: Epilogue<'_>| {
            isa.conv_transpose2d(&problem, &x, &packed, init, y, &mut scratch, epilogue);
        };
        check_epilogues(out_channels, pixels, problem.y_channel, &held, &mut run);
        with_epilogue(out_channels, pixels, problem.y_channel, &mut y, run);
        for (at, sum) in sums.iter().enumerate() {
            let (channel, pixel) = (at / pixels, at % pixels);
            let at = channel * problem.y_channel + pixel;
            let expected = sum + start(init, channel, pixel, held[at]);
            let terms = group_in * taps + TAG_TERMS;
            assert_close(y[at], expected, terms, &|| {
                format!("{:?} {problem:?} {init:?} at {channel}, {pixel}", I::LEVEL)
            });
        }
    }
}

#[test]
fn kernels_strides_dilations_pads_and_groups() {
    let problems = [
        problem([5, 4, 6], 3, [2, 2], [2, 2], [1, 1], [0; 4], 1),
        problem([5, 7, 9], 4, [3, 3], [1, 1], [1, 1], [1; 4], 1),
        problem([4, 7, 30], 6, [4, 4], [2, 2], [1, 1], [1; 4], 2),
        problem([3, 5, 6], 2, [3, 2], [3, 4], [2, 3], [2, 1, 0, 4], 1),
        problem([20, 1, 200], 9, [1, 16], [1, 8], [1, 1], [0, 4, 0, 4], 1),
        problem([300, 4, 5], 30, [3, 3], [2, 2], [1, 1], [1; 4], 1),
    ];
    for level in levels() {
        for problem in problems {
            dispatch!(level, check(problem));
            let gaps = ConvTranspose2d {
                x_row: problem.in_width + 2,
                ..problem
            };
            dispatch!(
                level,
                check(ConvTranspose2d {
                    x_channel: gaps.x_row * gaps.in_height,
                    ..gaps
                })
            );
            let channels = problem.in_channels;
            let last = ConvTranspose2d {
                x_channel: 1,
                x_row: problem.in_width * channels,
                x_column: channels,
                ..problem
            };
            dispatch!(
                level,
                check(ConvTranspose2d {
                    y_channel: last.y_channel + 3,
                    ..last
                })
            );
        }
    }
}
