//! Layers of well-known networks over channels-last images.

use crate::Case;
use onnxide_runtime::linear::Conv2dNhwc;

pub(crate) fn cases() -> Vec<(String, Case)> {
    let mut cases = Vec::new();
    // Pixels, output and input channels of pointwise convolutions.
    for [m, n, k] in [
        [12544, 16, 32],
        [12544, 96, 16],
        [3136, 24, 96],
        [3136, 144, 24],
        [784, 32, 144],
        [784, 192, 32],
        [196, 64, 384],
        [196, 384, 64],
        [196, 576, 96],
        [49, 160, 960],
        [49, 960, 160],
        [49, 1280, 320],
        [3136, 256, 64],
        [3136, 64, 256],
        [784, 512, 128],
        [196, 1024, 256],
        [196, 256, 1024],
        [49, 2048, 512],
        [49, 512, 2048],
        [125, 64, 64],
        [2304, 16, 8],
        [576, 32, 32],
        [9, 256, 256],
        [4800, 40, 8],
        [4800, 8, 24],
        [1200, 40, 120],
        [300, 120, 40],
        [19200, 8, 8],
    ] {
        cases.push((format!("pointwise {m}x{n}x{k}"), Case::Gemm([m, n, k], true)));
    }
    for (channels, size, out, kernel, stride) in [
        (64, 56, 64, 3, 1),
        (64, 56, 128, 3, 2),
        (128, 28, 128, 3, 1),
        (256, 14, 256, 3, 1),
        (512, 7, 512, 3, 1),
        (16, 32, 16, 3, 1),
        (16, 32, 32, 3, 2),
        (32, 16, 32, 3, 1),
        (32, 16, 64, 3, 2),
        (64, 8, 64, 3, 1),
        (64, 56, 128, 1, 2),
        (24, 60, 96, 9, 1),
        (24, 60, 32, 9, 1),
        (32, 60, 96, 9, 1),
        (24, 60, 96, 3, 1),
        (24, 60, 96, 5, 1),
        (64, 60, 96, 9, 1),
        (16, 112, 16, 3, 1),
        (64, 56, 64, 2, 1),
    ] {
        let problem = conv(channels, size, out, kernel, stride, 1);
        cases.push((
            format!("nhwc {channels}->{out}@{size} {kernel}x{kernel}/{stride}"),
            Case::Conv(problem),
        ));
    }
    for (channels, size, out, kernel, stride) in [
        (3, 224, 64, 7, 2),
        (3, 224, 32, 3, 2),
        (3, 224, 16, 3, 2),
        (3, 96, 8, 3, 2),
        (3, 32, 16, 3, 1),
        (3, 224, 768, 16, 16),
        (1, 49, 64, 4, 2),
    ] {
        let problem = conv(channels, size, out, kernel, stride, 1);
        let name = format!("{channels}->{out}@{size} {kernel}x{kernel}/{stride}");
        cases.push((format!("nhwc from planes {name}"), Case::Conv(planar(problem))));
        cases.push((format!("nhwc {name}"), Case::Conv(problem)));
    }
    cases.push((
        "nhwc 128->128@56 3x3/1 groups 32".into(),
        Case::Conv(conv(128, 56, 128, 3, 1, 32)),
    ));
    for (channels, size, kernel, stride) in [
        (32, 112, 3, 1),
        (96, 112, 3, 2),
        (144, 56, 3, 1),
        (144, 56, 3, 2),
        (192, 28, 3, 1),
        (384, 14, 3, 1),
        (576, 14, 3, 2),
        (960, 7, 3, 1),
        (8, 48, 3, 1),
        (16, 48, 3, 2),
        (64, 12, 3, 1),
        (256, 3, 3, 1),
        (960, 7, 5, 1),
        (120, 28, 5, 1),
        (40, 56, 5, 2),
        (96, 56, 7, 1),
    ] {
        let problem = conv(channels, size, channels, kernel, stride, channels);
        cases.push((
            format!("nhwc depthwise {channels}@{size} {kernel}x{kernel}/{stride}"),
            Case::Depthwise(problem),
        ));
    }
    cases
}

/// A convolution of a square channels-last image with half the kernel as padding, or none where the kernel is the
/// stride.
fn conv(channels: usize, size: usize, out_channels: usize, kernel: usize, stride: usize, groups: usize) -> Conv2dNhwc {
    let pad = if kernel == stride { 0 } else { kernel / 2 };
    let out = (size + 2 * pad - kernel) / stride + 1;
    Conv2dNhwc {
        in_channels: channels,
        in_height: size,
        in_width: size,
        out_channels,
        out_height: out,
        out_width: out,
        kernel: [kernel; 2],
        stride: [stride; 2],
        dilation: [1, 1],
        pad: [pad; 2],
        groups,
        x_channel: 1,
        x_row: size * channels,
        x_column: channels,
        y_pixel: out_channels,
    }
}

/// The same convolution of an image stored as planes.
fn planar(p: Conv2dNhwc) -> Conv2dNhwc {
    Conv2dNhwc {
        x_channel: p.in_height * p.in_width,
        x_row: p.in_width,
        x_column: 1,
        ..p
    }
}
