//! Speed of the convolutions of images stored channels last, against each other.
//!
//! `cargo run --release -p onnxide-runtime --example winograd [FILTER]` prints the operations of the definition per
//! second, in units of 10^9 a second, the best of several interleaved repetitions. In columns with a star the weights
//! come from memory, as in a model whose weights do not fit the last level cache.

use onnxide_runtime::dispatch;
use onnxide_runtime::isa::{Isa, Level};
use onnxide_runtime::linear::*;
use std::time::{Duration, Instant};

/// Time that the repetitions of one case may take.
const BUDGET: Duration = Duration::from_millis(200);

/// Values of weights that no cache holds.
const COLD: usize = 24 << 20;

/// Input channels, height and width, output channels.
const CASES: &[(usize, [usize; 2], usize)] = &[
    (3, [224, 224], 64),
    (8, [112, 112], 8),
    (16, [32, 32], 16),
    (32, [16, 16], 32),
    (64, [8, 8], 64),
    (16, [112, 112], 16),
    (24, [80, 80], 24),
    (32, [56, 56], 32),
    (32, [112, 112], 64),
    (64, [56, 56], 64),
    (128, [28, 28], 128),
    (256, [14, 14], 256),
    (512, [7, 7], 512),
    (64, [12, 80], 64),
    (96, [24, 160], 24),
    (128, [6, 40], 128),
    (128, [40, 40], 128),
    (256, [20, 20], 256),
    (64, [80, 80], 64),
    (256, [56, 56], 256),
    (512, [14, 14], 512),
    (512, [28, 28], 512),
    (1024, [13, 13], 1024),
    (64, [128, 128], 3),
    (256, [14, 14], 24),
    (40, [7, 7], 40),
    (128, [4, 4], 128),
];

fn main() {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let names = ["planar", "direct", "F2", "F4"];
    println!(
        "{:<28}{:>8}{}{}  chosen",
        "GFLOP/s",
        "",
        names.map(|name| format!("{name:>8}")).concat(),
        names.map(|name| format!("{:>8}", format!("{name}*"))).concat()
    );
    for &(channels, size, out_channels) in CASES {
        let name = format!("{channels}->{out_channels}@{}x{}", size[0], size[1]);
        if !name.contains(&filter) {
            continue;
        }
        for level in [Level::Avx2, Level::Avx512] {
            if level.is_available() {
                let warm = dispatch!(level, measure(channels, size, out_channels, false));
                let cold = dispatch!(level, measure(channels, size, out_channels, true));
                let columns: String = warm.iter().chain(&cold).map(|value| format!("{value:>8.1}")).collect();
                let tile = winograd_is_faster(&channels_last(channels, size, out_channels));
                let chosen = tile.map_or_else(|| "direct".into(), |tile| format!("{tile:?}"));
                println!("{name:<28}{:>8}{columns}  {chosen}", level.name());
            }
        }
    }
}

fn measure<I: Isa>(isa: I, channels: usize, [height, width]: [usize; 2], out_channels: usize, cold: bool) -> [f64; 3] {
    let last = channels_last(channels, [height, width], out_channels);
    let tiles = [WinogradTile::F2, WinogradTile::F4].map(|tile| WinogradConv2dNhwc { problem: last, tile });
    let x = values(channels * height * width);
    let mut y = values(out_channels * height * width);
    let lens = [
        conv2d_nhwc_packed_len(&last),
        winograd_conv2d_nhwc_packed_len(&tiles[0]),
        winograd_conv2d_nhwc_packed_len(&tiles[1]),
    ];
    let weights = values(if cold { COLD.max(lens[2]) } else { lens[2] });
    let scratch_len = conv2d_nhwc_scratch(&last)
        .max(winograd_conv2d_nhwc_scratch(&tiles[0]))
        .max(winograd_conv2d_nhwc_scratch(&tiles[1]));
    let mut scratch = values(scratch_len);
    let mut at = 0;
    let mut next = |len: usize| {
        if at + len > weights.len() {
            at = 0;
        }
        at += len;
        &weights[at - len..at]
    };
    let begin = Instant::now();
    let mut best = [f64::INFINITY; 3];
    while begin.elapsed() < BUDGET {
        for (index, best) in best.iter_mut().enumerate() {
            let w = if cold {
                next(lens[index])
            } else {
                &weights[..lens[index]]
            };
            let start = Instant::now();
            match index {
                0 => isa.conv2d_nhwc(&last, &x, w, Init::Zero, &mut y, &mut scratch, Epilogue::None),
                _ => isa.winograd_conv2d_nhwc(
                    &tiles[index - 1],
                    &x,
                    w,
                    Init::Zero,
                    &mut y,
                    &mut scratch,
                    Epilogue::None,
                ),
            }
            *best = best.min(start.elapsed().as_secs_f64());
        }
    }
    let operations = (2 * 9 * channels * out_channels * height * width) as f64;
    best.map(|seconds| operations / seconds / 1e9)
}

/// A convolution that keeps the size of an image.
fn channels_last(channels: usize, [height, width]: [usize; 2], out_channels: usize) -> Conv2dNhwc {
    Conv2dNhwc {
        in_channels: channels,
        in_height: height,
        in_width: width,
        out_channels,
        out_height: height,
        out_width: width,
        kernel: [3; 2],
        stride: [1; 2],
        dilation: [1; 2],
        pad: [1; 2],
        groups: 1,
        x_channel: 1,
        x_row: width * channels,
        x_column: channels,
        y_pixel: out_channels,
    }
}

/// Small values, none of which is subnormal.
fn values(len: usize) -> Vec<f32> {
    (0..len).map(|index| (index * 37 % 101) as f32 * 0.001 - 0.05).collect()
}
