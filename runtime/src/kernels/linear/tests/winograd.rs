use super::*;
use crate::dispatch;
use crate::isa::{Isa, Scalar};
use crate::kernels::linear::*;

const TILES: [WinogradTile; 2] = [WinogradTile::F2, WinogradTile::F4];

/// A convolution of a dense image with this padding above, to the left, below and to the right.
fn problem([height, width]: [usize; 2], channels: usize, out_channels: usize, pad: [usize; 4]) -> Conv2dNhwc {
    Conv2dNhwc {
        in_channels: channels,
        in_height: height,
        in_width: width,
        out_channels,
        out_height: height + pad[0] + pad[2] - 2,
        out_width: width + pad[1] + pad[3] - 2,
        kernel: [3, 3],
        stride: [1, 1],
        dilation: [1, 1],
        pad: [pad[0], pad[1]],
        groups: 1,
        x_channel: 1,
        x_row: width * channels,
        x_column: channels,
        y_pixel: out_channels,
    }
}

/// The element of the input that a tap reads at a pixel, if the tap is inside of the image.
fn input_at(p: &Conv2dNhwc, pixel: usize, tap: usize, channel: usize) -> Option<usize> {
    let row = (pixel / p.out_width + tap / 3).wrapping_sub(p.pad[0]);
    let column = (pixel % p.out_width + tap % 3).wrapping_sub(p.pad[1]);
    (row < p.in_height && column < p.in_width).then(|| row * p.x_row + column * p.x_column + channel * p.x_channel)
}

/// The sums of products of every output in `f64`, pixels first, from weights `[out_channels, in_channels, 3, 3]`.
fn definition(p: &Conv2dNhwc, x: &[f32], w: &[f32]) -> Vec<f64> {
    let mut sums = Vec::new();
    for pixel in 0..p.out_height * p.out_width {
        let mut terms = Vec::new();
        for tap in 0..9 {
            for channel in 0..p.in_channels {
                if let Some(at) = input_at(p, pixel, tap, channel) {
                    terms.push((f64::from(x[at]), channel * 9 + tap));
                }
            }
        }
        for out in 0..p.out_channels {
            let w = &w[out * p.in_channels * 9..];
            sums.push(terms.iter().map(|&(x, at)| x * f64::from(w[at])).sum());
        }
    }
    sums
}

fn input_len(p: &Conv2dNhwc) -> usize {
    extent([
        (p.in_channels, p.x_channel),
        (p.in_height, p.x_row),
        (p.in_width, p.x_column),
    ])
}

fn output_len(p: &Conv2dNhwc) -> usize {
    extent([(p.out_height * p.out_width, p.y_pixel), (p.out_channels, 1)])
}

fn packed(problem: &WinogradConv2dNhwc, w: &[f32]) -> Vec<f32> {
    let mut packed = vec![f32::NAN; winograd_conv2d_nhwc_packed_len(problem)];
    pack_winograd_conv2d_nhwc(problem, w, &mut packed);
    packed
}

/// Compares both tiles with the definition, from every start, with and without epilogue.
fn check<I: Isa>(isa: I, p: Conv2dNhwc) {
    let pixels = p.out_height * p.out_width;
    let x = random(1, input_len(&p));
    let w = random(2, p.out_channels * p.in_channels * 9);
    let sums = definition(&p, &x, &w);
    let held = random(3, output_len(&p));
    let starts = starts(pixels, p.out_channels);
    for tile in TILES {
        let problem = WinogradConv2dNhwc { problem: p, tile };
        let packed = packed(&problem, &w);
        let bound = tile.error_bound(p.in_channels) + f64::from(f32::EPSILON) * (9 * p.in_channels + 2) as f64;
        for index in 0..4 {
            for with in [false, true] {
                let init = init_of(index, &starts);
                let mut y = held.clone();
                // What scratch held before does not matter.
                let mut scratch = vec![f32::NAN; winograd_conv2d_nhwc_scratch(&problem)];
                let mut run = |y: &mut [f32], epilogue: Epilogue<'_>| {
                    isa.winograd_conv2d_nhwc(&problem, &x, &packed, init, y, &mut scratch, epilogue);
                };
                let mut slack = 0.0;
                if with {
                    check_epilogues(pixels, p.out_channels, p.y_pixel, &held, &mut run);
                    with_epilogue(pixels, p.out_channels, p.y_pixel, &mut y, run);
                    slack = f64::from(f32::EPSILON) * 2.0 * TAG_TERMS as f64;
                } else {
                    run(&mut y, Epilogue::None);
                }
                for pixel in 0..pixels {
                    for channel in 0..p.out_channels {
                        let at = pixel * p.y_pixel + channel;
                        let expected = start(init, pixel, channel, held[at]) + sums[pixel * p.out_channels + channel];
                        assert!(
                            (f64::from(y[at]) - expected).abs() <= bound + slack,
                            "{} {problem:?} {init:?} pixel {pixel} channel {channel}: {} is not {expected}",
                            I::LEVEL.name(),
                            y[at]
                        );
                    }
                    let gap = p.out_channels..p.y_pixel.min(held.len().saturating_sub(pixel * p.y_pixel));
                    for at in gap.map(|channel| pixel * p.y_pixel + channel) {
                        assert_eq!(y[at].to_bits(), held[at].to_bits(), "a gap was written");
                    }
                }
            }
        }
    }
}

#[test]
fn sizes_and_pads() {
    for level in levels() {
        for (size, pad) in [
            ([1, 1], [1; 4]),
            ([3, 3], [0; 4]),
            ([4, 4], [1; 4]),
            ([7, 7], [1; 4]),
            ([9, 5], [0, 1, 2, 3]),
            ([6, 11], [2, 2, 0, 0]),
            ([1, 13], [1; 4]),
            ([14, 14], [1; 4]),
            // Whole tiles of padding.
            ([2, 3], [7, 6, 5, 9]),
        ] {
            dispatch!(level, check(problem(size, 5, 7, pad)));
            dispatch!(level, check(problem(size, 20, 18, pad)));
        }
    }
}

#[test]
fn channels() {
    for level in levels() {
        for channels in 1..=70 {
            dispatch!(level, check(problem([3, 5], channels, 71 - channels, [1; 4])));
        }
    }
}

#[test]
fn blocks_of_channels_and_strips_of_tiles() {
    for level in levels() {
        dispatch!(level, check(problem([5, 6], 16, 150, [1; 4])));
        dispatch!(level, check(problem([37, 41], 3, 4, [1; 4])));
        dispatch!(level, check(problem([10, 11], 600, 5, [1; 4])));
    }
}

#[test]
fn distances() {
    for level in levels() {
        let dense = problem([9, 7], 18, 20, [1; 4]);
        let planar = Conv2dNhwc {
            x_channel: 64,
            x_row: 7,
            x_column: 1,
            ..dense
        };
        let gaps = Conv2dNhwc {
            x_row: 200,
            x_column: 21,
            y_pixel: 33,
            ..dense
        };
        dispatch!(level, check(planar));
        dispatch!(level, check(gaps));
        // A row that is read again and again, as a broadcast image is.
        dispatch!(level, check(Conv2dNhwc { x_row: 0, ..dense }));
    }
}

#[test]
fn nothing_to_do() {
    for level in levels() {
        let p = problem([6, 5], 3, 4, [1; 4]);
        dispatch!(level, check(Conv2dNhwc { in_channels: 0, ..p }));
        dispatch!(level, check(Conv2dNhwc { out_channels: 0, ..p }));
        dispatch!(level, check(Conv2dNhwc { out_height: 0, ..p }));
        dispatch!(level, check(Conv2dNhwc { in_height: 0, ..p }));
    }
}

/// The outputs of a run over all rows, and of two runs over the rows before and from `split` on.
fn split<I: Isa>(isa: I, problem: WinogradConv2dNhwc, split: usize) -> [Vec<f32>; 2] {
    let p = problem.problem;
    let x = random(1, input_len(&p));
    let packed = packed(&problem, &random(2, p.out_channels * p.in_channels * 9));
    let run = |p: Conv2dNhwc, x: &[f32], y: &mut [f32]| {
        let problem = WinogradConv2dNhwc { problem: p, ..problem };
        let mut scratch = vec![f32::NAN; winograd_conv2d_nhwc_scratch(&problem)];
        isa.winograd_conv2d_nhwc(&problem, x, &packed, Init::Zero, y, &mut scratch, Epilogue::None);
    };
    let mut whole = vec![0.0; output_len(&p)];
    run(p, &x, &mut whole);
    let mut parts = vec![0.0; output_len(&p)];
    let (above, below) = parts.split_at_mut(split * p.out_width * p.y_pixel);
    let top = Conv2dNhwc { out_height: split, ..p };
    run(top, &x, above);
    let skipped = split - p.pad[0];
    let bottom = Conv2dNhwc {
        in_height: p.in_height - skipped,
        out_height: p.out_height - split,
        pad: [0, p.pad[1]],
        ..p
    };
    run(bottom, &x[skipped * p.x_row..], below);
    [whole, parts]
}

#[test]
fn rows_in_parts_give_the_same_bits() {
    for level in levels() {
        for tile in TILES {
            for rows in [4, 8, 12, 20] {
                let problem = WinogradConv2dNhwc {
                    problem: problem([23, 26], 70, 33, [1; 4]),
                    tile,
                };
                let [whole, parts] = dispatch!(level, split(problem, rows));
                assert!(
                    whole.iter().zip(&parts).all(|(a, b)| a.to_bits() == b.to_bits()),
                    "{} {tile:?} at row {rows}",
                    level.name()
                );
            }
        }
    }
}

/// The root of the mean square of the errors of both tiles and of the definition in `f32`.
fn errors<I: Isa>(isa: I, p: Conv2dNhwc) -> [f64; 3] {
    let x = random(1, input_len(&p));
    let w = random(2, p.out_channels * p.in_channels * 9);
    let sums = definition(&p, &x, &w);
    let rms = |y: &[f32]| {
        let squares = y.iter().zip(&sums).map(|(&y, &sum)| (f64::from(y) - sum).powi(2));
        (squares.sum::<f64>() / y.len() as f64).sqrt()
    };
    let of_tile = |tile| {
        let problem = WinogradConv2dNhwc { problem: p, tile };
        let mut scratch = vec![f32::NAN; winograd_conv2d_nhwc_scratch(&problem)];
        let mut y = vec![0.0; output_len(&p)];
        isa.winograd_conv2d_nhwc(
            &problem,
            &x,
            &packed(&problem, &w),
            Init::Zero,
            &mut y,
            &mut scratch,
            Epilogue::None,
        );
        rms(&y)
    };
    let mut y = Vec::new();
    for pixel in 0..p.out_height * p.out_width {
        for w in w.chunks_exact(p.in_channels * 9) {
            let mut sum = 0.0f32;
            for channel in 0..p.in_channels {
                for tap in 0..9 {
                    let value = input_at(&p, pixel, tap, channel).map_or(0.0, |at| x[at]);
                    sum = value.mul_add(w[channel * 9 + tap], sum);
                }
            }
            y.push(sum);
        }
    }
    [of_tile(WinogradTile::F2), of_tile(WinogradTile::F4), rms(&y)]
}

#[test]
fn errors_are_as_typical() {
    for level in levels() {
        for channels in [16, 64, 256] {
            let [f2, f4, direct] = dispatch!(level, errors(problem([12, 16], channels, 8, [1; 4])));
            for (tile, error) in [(WinogradTile::F2, f2), (WinogradTile::F4, f4)] {
                let ratio = error / direct;
                assert!(
                    (0.8..1.5).contains(&(ratio / tile.typical_error())),
                    "{} {tile:?} {channels} channels: {ratio}",
                    level.name()
                );
            }
        }
    }
}

#[test]
#[should_panic(expected = "winograd convolution: the kernel is not 3 by 3")]
fn another_stride_panics() {
    let problem = WinogradConv2dNhwc {
        problem: Conv2dNhwc {
            stride: [2, 1],
            ..problem([5, 5], 1, 1, [1; 4])
        },
        tile: WinogradTile::F2,
    };
    Scalar.winograd_conv2d_nhwc(
        &problem,
        &[0.0; 25],
        &[0.0; 256],
        Init::Zero,
        &mut [0.0; 25],
        &mut [],
        Epilogue::None,
    );
}

#[test]
#[should_panic(expected = "winograd convolution: the scratch is too short")]
fn a_short_scratch_panics() {
    let problem = WinogradConv2dNhwc {
        problem: problem([5, 5], 1, 1, [1; 4]),
        tile: WinogradTile::F2,
    };
    let mut scratch = vec![0.0; winograd_conv2d_nhwc_scratch_within(&problem, 0) - 1];
    Scalar.winograd_conv2d_nhwc(
        &problem,
        &[0.0; 25],
        &[0.0; 256],
        Init::Zero,
        &mut [0.0; 25],
        &mut scratch,
        Epilogue::None,
    );
}

#[test]
#[should_panic(expected = "winograd convolution: the sizes overflow")]
fn channels_that_overflow_panic() {
    // An image that repeats one channel needs no memory for it.
    let p = Conv2dNhwc {
        in_channels: usize::MAX / 1024,
        x_channel: 0,
        x_row: 0,
        x_column: 0,
        ..problem([5, 5], 1, 1, [1; 4])
    };
    let problem = WinogradConv2dNhwc {
        problem: p,
        tile: WinogradTile::F4,
    };
    Scalar.winograd_conv2d_nhwc(
        &problem,
        &[0.0; 25],
        &[],
        Init::Zero,
        &mut [0.0; 25],
        &mut [],
        Epilogue::None,
    );
}

/// A convolution that keeps the size of a square image.
fn same(channels: usize, size: usize, out_channels: usize) -> Conv2dNhwc {
    problem([size, size], channels, out_channels, [1; 4])
}

#[test]
fn tiles_are_chosen_where_they_were_measured_to_be_faster() {
    for (p, tile) in [
        (same(16, 32, 16), Some(WinogradTile::F4)),
        (same(64, 56, 64), Some(WinogradTile::F4)),
        (same(128, 28, 128), Some(WinogradTile::F4)),
        // The larger tile gains nothing where it reaches out of the image, or reads more weights than it saves.
        (same(256, 14, 256), Some(WinogradTile::F2)),
        (same(512, 7, 512), None),
        (same(128, 4, 128), None),
        // Few weights are read faster than many.
        (same(32, 16, 32), Some(WinogradTile::F4)),
        // The transform of many outputs costs more than few inputs do.
        (same(3, 224, 64), None),
        (
            Conv2dNhwc {
                stride: [2, 2],
                ..same(64, 56, 64)
            },
            None,
        ),
        (
            Conv2dNhwc {
                groups: 2,
                ..same(64, 56, 64)
            },
            None,
        ),
    ] {
        assert_eq!(winograd_is_faster(&p), tile, "{p:?}");
    }
}

#[test]
fn scratch_is_bounded() {
    for channels in [1, 16, 64, 128, 256, 512, 1024] {
        for size in [1, 4, 7, 14, 28, 56, 224] {
            for tile in TILES {
                let problem = same(channels, size, channels);
                let scratch = winograd_conv2d_nhwc_scratch(&WinogradConv2dNhwc { problem, tile });
                assert!(scratch <= 200 * 1024, "{problem:?} {tile:?}: {scratch}");
            }
        }
    }
}

#[test]
fn less_scratch_gives_the_same_bits() {
    let large = problem([26, 30], 20, 70, [1; 4]);
    for tile in TILES {
        let large = WinogradConv2dNhwc { problem: large, tile };
        assert!(winograd_conv2d_nhwc_scratch_min(&large) < winograd_conv2d_nhwc_scratch(&large));
    }
    for level in levels() {
        dispatch!(level, shrink(large));
        dispatch!(level, shrink(problem([9, 33], 3, 16, [0, 1, 0, 1])));
    }
}

fn shrink<I: Isa>(isa: I, p: Conv2dNhwc) {
    let x = random(1, input_len(&p));
    let w = random(2, p.out_channels * p.in_channels * 9);
    for tile in TILES {
        let problem = WinogradConv2dNhwc { problem: p, tile };
        let packed = packed(&problem, &w);
        let (most, least) = (
            winograd_conv2d_nhwc_scratch(&problem),
            winograd_conv2d_nhwc_scratch_min(&problem),
        );
        assert!(least <= most);
        let mut expected = None;
        for room in [most, (most - 1).max(least), (most + least) / 2, least] {
            let used = winograd_conv2d_nhwc_scratch_within(&problem, room);
            assert!(used <= room && used >= least, "{problem:?} {room}: {used}");
            assert!(winograd_conv2d_nhwc_time(&problem, used) >= winograd_conv2d_nhwc_time(&problem, most));
            let mut scratch = vec![f32::NAN; used];
            let mut y = vec![0.0; output_len(&p)];
            isa.winograd_conv2d_nhwc(&problem, &x, &packed, Init::Zero, &mut y, &mut scratch, Epilogue::None);
            let bits: Vec<u32> = y.iter().map(|y| y.to_bits()).collect();
            assert_eq!(
                *expected.get_or_insert_with(|| bits.clone()),
                bits,
                "{problem:?} with {used}"
            );
        }
    }
}
