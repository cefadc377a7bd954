//! Every kernel of channels-last images, divided.

use super::kernels::{Case, check, random};
use crate::kernels::linear::*;
use crate::kernels::map::{Elementwise, Splat};
use crate::kernels::pool::{Divisor, PoolNhwc};
use crate::math;
use crate::team::Compute;

#[derive(Debug)]
struct Image {
    problem: Conv2dNhwc,
    depthwise: bool,
    winograd: Option<WinogradTile>,
    bf16: bool,
    init: usize,
    epilogue: bool,
}

impl Case for Image {
    fn output(&self) -> Vec<f32> {
        random(
            7,
            self.problem.out_height * self.problem.out_width * self.problem.y_pixel,
        )
    }

    fn run<C: Compute>(&self, compute: C, out: &mut [f32]) {
        let problem = &self.problem;
        let x = random(1, problem.in_channels * problem.in_height * problem.in_width);
        let weights = random(2, problem.out_channels * problem.in_channels / problem.groups * 9);
        let (pixels, channels) = (problem.out_height * problem.out_width, problem.out_channels);
        let (rows, columns) = (random(3, pixels), random(4, channels));
        let init = match self.init {
            0 => Init::Zero,
            1 => Init::PerRow(&rows),
            2 => Init::PerColumn(&columns),
            _ => Init::Accumulate,
        };
        let residual = random(5, pixels * channels);
        let epilogue = |run: &mut [f32], at: Position| {
            let residual = &residual[at.row * channels + at.column..][..run.len()];
            compute.apply(run, (residual,), |acc, (residual,)| math::relu(acc) + residual);
        };
        let epilogue: Epilogue<'_> = if self.epilogue {
            Epilogue::at(&epilogue)
        } else {
            Epilogue::None
        };
        if let Some(tile) = self.winograd {
            let problem = WinogradConv2dNhwc {
                problem: *problem,
                tile,
            };
            let mut packed = vec![0.0; winograd_conv2d_nhwc_packed_len(&problem)];
            pack_winograd_conv2d_nhwc(&problem, &weights, &mut packed);
            let mut scratch = vec![0.0; 3 * winograd_conv2d_nhwc_scratch(&problem)];
            compute.winograd_conv2d_nhwc(&problem, &x, &packed, init, out, &mut scratch, epilogue);
        } else if self.bf16 {
            let mut packed = vec![0; conv2d_nhwc_bf16_packed_len(problem)];
            pack_conv2d_nhwc_bf16(problem, &weights, &mut packed);
            let mut scratch = vec![0.0; 3 * conv2d_nhwc_bf16_scratch(problem)];
            compute.conv2d_nhwc_bf16(problem, &x, &packed, init, out, &mut scratch, epilogue);
        } else if self.depthwise {
            let mut packed = vec![0.0; depthwise_conv2d_nhwc_packed_len(problem)];
            pack_depthwise_conv2d_nhwc(problem, &weights, &mut packed);
            compute.depthwise_conv2d_nhwc(problem, &x, &packed, init, out, epilogue);
        } else {
            let mut packed = vec![0.0; conv2d_nhwc_packed_len(problem)];
            pack_conv2d_nhwc(problem, &weights, &mut packed);
            let mut scratch = vec![0.0; 3 * conv2d_nhwc_scratch(problem)];
            compute.conv2d_nhwc(problem, &x, &packed, init, out, &mut scratch, epilogue);
        }
    }
}

#[test]
fn images() {
    let mut init = 0;
    // Height, width, channels in and out, groups, stride, dilation, padding, and whether the input is one of planes.
    for (size, channels, groups, stride, dilation, pad, planes) in [
        ([7, 7], [20, 70], 1, 1, 1, 1, false),
        ([30, 45], [20, 37], 1, 1, 1, 1, false),
        ([30, 9], [5, 12], 1, 2, 1, 0, false),
        ([9, 11], [8, 24], 4, 1, 2, 2, false),
        ([8, 20], [3, 40], 1, 2, 1, 1, true),
        ([1, 60], [16, 18], 1, 1, 1, 1, false),
        ([3, 3], [4, 5], 1, 1, 1, 6, false),
        ([14, 14], [33, 33], 33, 1, 1, 1, false),
        ([9, 8], [16, 16], 16, 2, 1, 1, false),
        ([1, 40], [16, 16], 16, 1, 1, 1, false),
    ] {
        let [in_height, in_width] = size;
        let out = |size: usize| (size + 2 * pad - 2 * dilation - 1) / stride + 1;
        let kernel_height = if in_height == 1 { 1 } else { 3 };
        for epilogue in [false, true] {
            init = (init + 1) % 4;
            let problem = Conv2dNhwc {
                in_channels: channels[0],
                in_height,
                in_width,
                out_channels: channels[1],
                out_height: if in_height == 1 { 1 } else { out(in_height) },
                out_width: out(in_width),
                kernel: [kernel_height, 3],
                stride: [stride, stride],
                dilation: [dilation, dilation],
                pad: [if in_height == 1 { 0 } else { pad }, pad],
                groups,
                x_channel: if planes { in_height * in_width } else { 1 },
                x_row: if planes { in_width } else { in_width * channels[0] },
                x_column: if planes { 1 } else { channels[0] },
                y_pixel: channels[1] + init,
            };
            let applies = problem.kernel == [3, 3] && [stride, dilation, groups] == [1; 3];
            let tiles = [WinogradTile::F2, WinogradTile::F4].map(Some);
            let tiles = tiles.into_iter().filter(|_| applies).map(|tile| (tile, false));
            let rounded = (groups == 1).then_some((None, true));
            for (winograd, bf16) in tiles.chain([(None, false)]).chain(rounded) {
                check(&Image {
                    problem,
                    depthwise: groups > 4,
                    winograd,
                    bf16,
                    init,
                    epilogue,
                });
            }
        }
    }
}

#[derive(Debug)]
struct Pooled {
    pool: PoolNhwc,
    divisor: Option<Divisor>,
}

impl Case for Pooled {
    fn output(&self) -> Vec<f32> {
        random(7, self.pool.output[0] * self.pool.output[1] * self.pool.y_pixel)
    }

    fn run<C: Compute>(&self, compute: C, out: &mut [f32]) {
        let x = random(1, self.pool.input[0] * self.pool.x_row);
        match self.divisor {
            None => {
                compute.max_pool_nhwc(out, &x, &self.pool);
                let bytes: Vec<u8> = x.iter().map(|x| (x * 100.0 + 128.0) as u8).collect();
                let mut maxima = vec![0; out.len()];
                compute.max_pool_nhwc_u8(&mut maxima, &bytes, &self.pool);
                out.iter_mut().zip(maxima).for_each(|(x, byte)| *x += f32::from(byte));
            }
            Some(divisor) => compute.average_pool_nhwc(out, &x, &self.pool, divisor),
        }
    }
}

#[test]
fn pools() {
    for (input, output, kernel, stride, pad_begin, pad_end) in [
        ([9, 7], [9, 7], [3, 3], [1, 1], [1, 1], [1, 1]),
        ([8, 6], [4, 3], [2, 2], [2, 2], [0, 0], [0, 0]),
        ([5, 5], [4, 4], [2, 2], [2, 2], [0, 0], [1, 1]),
        ([2, 2], [8, 8], [3, 3], [1, 1], [4, 4], [4, 4]),
    ] {
        for divisor in [None, Some(Divisor::Inside), Some(Divisor::Padded)] {
            let channels = 21;
            let pool = PoolNhwc {
                channels,
                input,
                output,
                kernel,
                stride,
                dilation: [1, 1],
                pad_begin,
                pad_end,
                x_row: input[1] * channels,
                x_column: channels,
                y_pixel: channels + 3,
            };
            check(&Pooled { pool, divisor });
        }
    }
}

#[derive(Debug)]
struct Block {
    problem: Conv2dNhwc,
    expand: Option<usize>,
    project: Option<usize>,
}

impl Case for Block {
    fn output(&self) -> Vec<f32> {
        random(
            7,
            self.problem.out_height * self.problem.out_width * self.problem.y_pixel,
        )
    }

    fn run<C: Compute>(&self, compute: C, out: &mut [f32]) {
        let problem = &self.problem;
        let channels = problem.in_channels;
        let x = random(1, problem.in_height * problem.x_row);
        let packed = |seed: u64, k: usize, n: usize| {
            let mut packed = vec![0.0; packed_rhs_len(k, n)];
            pack_rhs(k, n, &random(seed, k * n), n, 1, &mut packed);
            packed
        };
        let mut w = vec![0.0; depthwise_conv2d_nhwc_packed_len(problem)];
        pack_depthwise_conv2d_nhwc(problem, &random(2, channels * 9), &mut w);
        let (w_in, w_out) = (
            packed(3, self.expand.unwrap_or(0), channels),
            packed(4, channels, self.project.unwrap_or(0)),
        );
        let bias = random(5, channels);
        // Every epilogue depends on the position.
        let by_position = |run: &mut [f32], at: Position| {
            let factor = (1 + (at.row * 7 + at.column) % 5) as f32 * 0.3;
            compute.apply(run, (Splat(factor),), |acc, (factor,)| math::relu(acc) * factor);
        };
        let pointwise = |channels: usize, w| Pointwise {
            channels,
            w,
            init: Init::Zero,
            epilogue: Epilogue::at(&by_position),
        };
        let expand = self.expand.map(|channels| pointwise(channels, &w_in));
        let project = self.project.map(|channels| pointwise(channels, &w_out));
        let needed = depthwise_block_scratch(problem, expand.is_some(), project.is_some());
        let mut scratch = vec![0.0; 3 * needed];
        let init = Init::PerColumn(&bias);
        compute.depthwise_block(
            problem,
            &x,
            expand,
            &w,
            init,
            Epilogue::at(&by_position),
            project,
            out,
            &mut scratch,
        );
    }
}

#[test]
fn depthwise_blocks() {
    for (size, channels, expand, project, stride) in [
        ([7, 7], 300, Some(50), Some(70), 1),
        ([28, 30], 96, Some(16), Some(24), 2),
        ([14, 5], 40, None, Some(300), 1),
        ([9, 9], 16, Some(700), None, 1),
        ([2, 3], 500, Some(20), Some(20), 1),
    ] {
        let [height, width] = size;
        let inputs = expand.unwrap_or(channels);
        check(&Block {
            problem: Conv2dNhwc {
                in_channels: channels,
                in_height: height,
                in_width: width,
                out_channels: channels,
                out_height: (height - 1) / stride + 1,
                out_width: (width - 1) / stride + 1,
                kernel: [3, 3],
                stride: [stride, stride],
                dilation: [1, 1],
                pad: [1, 1],
                groups: channels,
                x_channel: 1,
                x_row: width * inputs,
                x_column: inputs,
                y_pixel: project.unwrap_or(channels) + 1,
            },
            expand,
            project,
        });
    }
}
