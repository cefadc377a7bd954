use super::*;
use crate::isa::Isa;
use crate::testing::{Numbers, levels};

fn output_size(input: usize, kernel: usize, stride: usize, dilation: usize, pads: usize, ceil: bool) -> usize {
    let free = input + pads - (kernel - 1) * dilation - 1;
    1 + if ceil { free.div_ceil(stride) } else { free / stride }
}

fn pools() -> Vec<Pool> {
    let mut pools = Vec::new();
    for input in [[1, 1, 40], [1, 7, 9], [3, 5, 6], [1, 20, 70]] {
        for (kernel, stride, dilation, begin, end) in [
            (2, 2, 1, 0, 0),
            (3, 1, 1, 1, 1),
            (3, 2, 1, 1, 0),
            (2, 3, 2, 1, 1),
            (3, 2, 1, 1, 1),
            (1, 1, 1, 0, 0),
        ] {
            for ceil in [false, true] {
                let used = input.map(|size| size > 1);
                let pick = |value, unused| used.map(|used| if used { value } else { unused });
                let mut pool = Pool {
                    planes: 3,
                    input,
                    output: [1; 3],
                    kernel: pick(kernel, 1),
                    stride: pick(stride, 1),
                    dilation: pick(dilation, 1),
                    pad_begin: pick(begin, 0),
                    pad_end: pick(end, 0),
                    input_strides: [input.iter().product(), input[1] * input[2], input[2], 1],
                    output_stride: 0,
                };
                for (axis, &size) in input.iter().enumerate() {
                    let pads = pool.pad_begin[axis] + pool.pad_end[axis];
                    let (kernel, stride, dilation) = (pool.kernel[axis], pool.stride[axis], pool.dilation[axis]);
                    pool.output[axis] = output_size(size, kernel, stride, dilation, pads, ceil);
                }
                pool.output_stride = pool.output.iter().product();
                pools.push(pool);
            }
        }
    }
    pools
}

/// The elements of each window with their positions, and the number of them that are inside of the padding.
fn windows(pool: &Pool, input: &[f32]) -> Vec<(Vec<(f32, usize)>, usize)> {
    let [depth, height, width] = pool.input;
    let mut windows = Vec::new();
    for index in 0..pool.planes * pool.output.iter().product::<usize>() {
        let [oz, oy, ox] = [
            index / (pool.output[1] * pool.output[2]) % pool.output[0],
            index / pool.output[2] % pool.output[1],
            index % pool.output[2],
        ];
        let plane = index / pool.output.iter().product::<usize>();
        let (mut window, mut padded) = (Vec::new(), 0);
        for tap in 0..pool.kernel.iter().product::<usize>() {
            let k = [
                tap / (pool.kernel[1] * pool.kernel[2]),
                tap / pool.kernel[2] % pool.kernel[1],
                tap % pool.kernel[2],
            ];
            let at: [isize; 3] = std::array::from_fn(|axis| {
                ([oz, oy, ox][axis] * pool.stride[axis] + k[axis] * pool.dilation[axis]) as isize
                    - pool.pad_begin[axis] as isize
            });
            padded += usize::from((0..3).all(|axis| at[axis] < (pool.input[axis] + pool.pad_end[axis]) as isize));
            if (0..3).all(|axis| (0..pool.input[axis] as isize).contains(&at[axis])) {
                let [z, y, x] = at.map(|at| at as usize);
                let position = plane * depth * height * width + (z * height + y) * width + x;
                window.push((input[position], position));
            }
        }
        windows.push((window, padded));
    }
    windows
}

#[test]
fn every_form_of_window() {
    fn check<I: Isa>(isa: I) {
        let mut numbers = Numbers::new(8);
        for pool in pools() {
            let input = numbers.floats(pool.planes * pool.input.iter().product::<usize>());
            let windows = windows(&pool, &input);
            let mut out = vec![f32::NAN; windows.len()];
            isa.max_pool_f32(&mut out, &input, &pool);
            let mut indices = vec![-1; windows.len()];
            max_pool_indices(&mut indices, &input, &pool, false);
            for (index, (window, _)) in windows.iter().enumerate() {
                let best = window
                    .iter()
                    .copied()
                    .fold((f32::NEG_INFINITY, 0), |a, b| if b.0 > a.0 { b } else { a });
                assert_eq!((out[index], indices[index]), (best.0, best.1 as i64), "{pool:?}");
            }
            for divisor in [Divisor::Inside, Divisor::Padded, Divisor::One] {
                isa.average_pool(&mut out, &input, &pool, divisor);
                for (result, (window, padded)) in out.iter().zip(&windows) {
                    let count = match divisor {
                        Divisor::Inside => window.len(),
                        Divisor::Padded => *padded,
                        Divisor::One => 1,
                    };
                    let expected = window.iter().map(|(x, _)| x).sum::<f32>() / count.max(1) as f32;
                    assert!(
                        (result - expected).abs() < 1e-5,
                        "{divisor:?} {pool:?}: {result}, not {expected}"
                    );
                }
            }
            for p in [1, 2, 3] {
                isa.lp_pool(&mut out, &input, &pool, p);
                for (result, (window, _)) in out.iter().zip(&windows) {
                    let expected = window
                        .iter()
                        .map(|(x, _)| x.abs().powi(p as i32))
                        .sum::<f32>()
                        .powf(1.0 / p as f32);
                    assert!(
                        (result - expected).abs() < 1e-5,
                        "{p} {pool:?}: {result}, not {expected}"
                    );
                }
            }
            let bytes: Vec<i8> = input.iter().map(|x| (x * 127.0) as i8).collect();
            let mut maxima = vec![0; windows.len()];
            isa.max_pool_i8(&mut maxima, &bytes, &pool);
            for (result, (window, _)) in maxima.iter().zip(&windows) {
                let expected = window.iter().map(|&(_, position)| bytes[position]).max();
                assert_eq!(*result, expected.unwrap_or(i8::MIN));
            }
        }
    }
    for level in levels() {
        crate::dispatch!(level, check());
    }
}

#[test]
fn planes_with_strides() {
    fn check<I: Isa>(isa: I) {
        let mut numbers = Numbers::new(6);
        let dense = pools()
            .into_iter()
            .find(|pool| pool.input == [1, 7, 9] && pool.kernel == [1, 3, 3])
            .unwrap();
        let windows = dense.output.iter().product::<usize>();
        // Channels are innermost in the input, and output planes are apart.
        let pool = Pool {
            input_strides: [1, 0, 27, 3],
            output_stride: windows + 5,
            ..dense
        };
        let input = numbers.floats(7 * 9 * 3);
        let planes: Vec<f32> = (0..3)
            .flat_map(|plane| input.chunks(3).map(move |pixel| pixel[plane]))
            .collect();
        let mut expected = vec![0.0; 3 * windows];
        isa.max_pool_f32(&mut expected, &planes, &dense);
        let mut out = vec![7.0; 3 * (windows + 5) - 5];
        isa.max_pool_f32(&mut out, &input, &pool);
        for (plane, expected) in out.chunks(windows + 5).zip(expected.chunks(windows)) {
            assert_eq!(&plane[..windows], expected);
            assert!(plane[windows..].iter().all(|&x| x == 7.0));
        }
    }
    for level in levels() {
        crate::dispatch!(level, check());
    }
}

#[test]
#[should_panic = "reach out of the input"]
fn a_short_input_is_refused() {
    let pool = pools()[0];
    crate::isa::Scalar.average_pool(&mut [0.0; 1000], &[0.0; 100], &pool, Divisor::Inside);
}

#[test]
fn positions_in_column_major_order() {
    let pool = Pool {
        planes: 2,
        input: [1, 2, 3],
        output: [1, 1, 1],
        kernel: [1, 2, 3],
        stride: [1; 3],
        dilation: [1; 3],
        pad_begin: [0; 3],
        pad_end: [0; 3],
        input_strides: [6, 6, 3, 1],
        output_stride: 1,
    };
    let mut out = [0; 2];
    max_pool_indices(&mut out, &[0, 9, 1, 2, 3, 4, 0, 0, 0, 7, 0, 0], &pool, true);
    assert_eq!(out, [2, 6 + 1]);
}

/// What a window with a count of elements gives.
type Expected<'a> = dyn Fn(&[(f32, usize)], usize) -> f32 + 'a;

#[test]
fn channels_last_windows() {
    fn check<I: Isa>(isa: I) {
        let mut numbers = Numbers::new(9);
        for pool in pools().into_iter().filter(|pool| pool.input[0] == 1) {
            for channels in [1, 5, 16, 40, 70] {
                let [_, height, width] = pool.input;
                let planes = numbers.floats(channels * height * width);
                let (x_column, y_pixel) = (channels + 2, channels + 3);
                let mut input = vec![f32::NAN; height * width * x_column];
                for (at, pixel) in input.chunks_mut(x_column).enumerate() {
                    for channel in 0..channels {
                        pixel[channel] = planes[channel * height * width + at];
                    }
                }
                let last = |sizes: [usize; 3]| [sizes[1], sizes[2]];
                let problem = PoolNhwc {
                    channels,
                    input: last(pool.input),
                    output: last(pool.output),
                    kernel: last(pool.kernel),
                    stride: last(pool.stride),
                    dilation: last(pool.dilation),
                    pad_begin: last(pool.pad_begin),
                    pad_end: last(pool.pad_end),
                    x_row: width * x_column,
                    x_column,
                    y_pixel,
                };
                let pool = Pool {
                    planes: channels,
                    ..pool
                };
                let windows = windows(&pool, &planes);
                let pixels = windows.len() / channels;
                let compare = |out: &[f32], expected: &Expected| {
                    for (at, &result) in out.iter().enumerate() {
                        let (pixel, channel) = (at / y_pixel, at % y_pixel);
                        if channel >= channels {
                            assert_eq!(result, 7.0, "{problem:?} wrote between pixels");
                            continue;
                        }
                        let (window, padded) = &windows[channel * pixels + pixel];
                        let expected = expected(window, *padded);
                        assert!(
                            result == expected || (result - expected).abs() < 1e-5,
                            "{problem:?} at {pixel}, {channel}: {result}, not {expected}"
                        );
                    }
                };
                let mut out = vec![7.0; pixels * y_pixel];
                isa.max_pool_nhwc(&mut out, &input, &problem);
                compare(&out, &|window, _| {
                    window.iter().fold(f32::NEG_INFINITY, |best, &(x, _)| best.max(x))
                });
                let byte = |x: f32| (x * 127.0 + 128.0) as u8;
                let bytes: Vec<u8> = input.iter().map(|&x| byte(x)).collect();
                let mut maxima = vec![7; pixels * y_pixel];
                isa.max_pool_nhwc_u8(&mut maxima, &bytes, &problem);
                let maxima: Vec<f32> = maxima.into_iter().map(f32::from).collect();
                compare(&maxima, &|window, _| {
                    window.iter().fold(0.0, |best, &(x, _)| best.max(f32::from(byte(x))))
                });
                for divisor in [Divisor::Inside, Divisor::Padded, Divisor::One] {
                    isa.average_pool_nhwc(&mut out, &input, &problem, divisor);
                    compare(&out, &|window, padded| {
                        let count = match divisor {
                            Divisor::Inside => window.len(),
                            Divisor::Padded => padded,
                            Divisor::One => 1,
                        };
                        window.iter().map(|(x, _)| x).sum::<f32>() / count.max(1) as f32
                    });
                }
            }
        }
    }
    for level in levels() {
        crate::dispatch!(level, check());
    }
}

#[test]
fn channels_last_maximum_of_nan_is_nan() {
    fn check<I: Isa>(isa: I) {
        let pool = PoolNhwc {
            channels: 20,
            input: [1, 3],
            output: [1, 1],
            kernel: [1, 3],
            stride: [1, 1],
            dilation: [1, 1],
            pad_begin: [0, 0],
            pad_end: [0, 0],
            x_row: 60,
            x_column: 20,
            y_pixel: 20,
        };
        for at in 0..60 {
            let mut input = [1.0; 60];
            input[at] = f32::NAN;
            let mut out = [0.0; 20];
            isa.max_pool_nhwc(&mut out, &input, &pool);
            for (channel, value) in out.iter().enumerate() {
                assert_eq!(value.is_nan(), channel == at % 20);
            }
        }
    }
    for level in levels() {
        crate::dispatch!(level, check());
    }
}

#[test]
#[should_panic = "the pixels of a pooling reach out of the input"]
fn a_short_channels_last_input_is_refused() {
    let pool = PoolNhwc {
        channels: 2,
        input: [1, 3],
        output: [1, 1],
        kernel: [1, 3],
        stride: [1, 1],
        dilation: [1, 1],
        pad_begin: [0, 0],
        pad_end: [0, 0],
        x_row: 6,
        x_column: 2,
        y_pixel: 2,
    };
    crate::isa::Scalar.max_pool_nhwc(&mut [0.0; 2], &[0.0; 5], &pool);
}
