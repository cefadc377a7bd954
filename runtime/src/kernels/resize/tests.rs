use super::*;
use crate::isa::Isa;
use crate::testing::{Numbers, levels};

const COORDINATES: [Coordinates; 4] = [
    Coordinates::HalfPixel,
    Coordinates::PytorchHalfPixel,
    Coordinates::Asymmetric,
    Coordinates::AlignCorners,
];

/// One output element by the definition: a weighted sum over both axes, in `f64`.
fn naive(resize: &Resize, plane: &[f32], at: [usize; 2], weights: &dyn Fn(f64, i64) -> f64, outside: bool) -> f64 {
    let axis = |axis: usize| -> Vec<(usize, f64)> {
        let (input, output) = (resize.input[axis] as f64, resize.output[axis] as f64);
        let scale = resize.scales.map_or(output / input, |scales| f64::from(scales[axis]));
        let index = at[axis] as f64;
        let x = match resize.coordinates {
            Coordinates::PytorchHalfPixel | Coordinates::AlignCorners if output == 1.0 => 0.0,
            Coordinates::HalfPixel | Coordinates::PytorchHalfPixel => (index + 0.5) / scale - 0.5,
            Coordinates::Asymmetric => index / scale,
            Coordinates::AlignCorners => index * (input - 1.0) / (output - 1.0),
        };
        let last = resize.input[axis] as i64 - 1;
        let first = x.floor() as i64;
        let taps = (first - 2..=first + 3).filter(|i| !outside || (0..=last).contains(i));
        let taps: Vec<(usize, f64)> = taps.map(|i| (i.clamp(0, last) as usize, weights(x, i))).collect();
        let total: f64 = taps.iter().map(|(_, weight)| weight).sum();
        taps.into_iter().map(|(i, weight)| (i, weight / total)).collect()
    };
    let columns = axis(1);
    let row = |y: usize| {
        columns
            .iter()
            .map(|&(x, weight)| f64::from(plane[y * resize.input[1] + x]) * weight)
            .sum::<f64>()
    };
    axis(0).into_iter().map(|(y, weight)| row(y) * weight).sum()
}

fn cases(numbers: &mut Numbers) -> Vec<(Resize, Vec<f32>)> {
    let mut cases = Vec::new();
    for (input, output) in [
        ([4, 5], [9, 13]),
        ([7, 6], [3, 1]),
        ([1, 3], [2, 300]),
        ([8, 8], [8, 8]),
        ([5, 1], [1, 4]),
    ] {
        let ratio = |axis: usize| output[axis] as f32 / input[axis] as f32;
        for coordinates in COORDINATES {
            for scales in [None, Some([ratio(0) * 1.05, ratio(1) * 1.01])] {
                let resize = Resize {
                    images: 3,
                    channels: 1,
                    input,
                    output,
                    y_pixel: 1,
                    scales,
                    coordinates,
                };
                cases.push((resize, numbers.floats(3 * input[0] * input[1])));
            }
        }
    }
    cases
}

fn compare(resize: &Resize, input: &[f32], out: &[f32], weights: &dyn Fn(f64, i64) -> f64, outside: bool) {
    let ([height, width], [out_height, out_width]) = (resize.input, resize.output);
    for (index, result) in out.iter().enumerate() {
        let plane = &input[index / (out_height * out_width) * height * width..][..height * width];
        let at = [index / out_width % out_height, index % out_width];
        let expected = naive(resize, plane, at, weights, outside);
        assert!(
            (f64::from(*result) - expected).abs() < 1e-4,
            "{resize:?} {at:?}: {result}, not {expected}"
        );
    }
}

#[test]
fn linear_and_cubic_interpolation() {
    fn check<I: Isa>(isa: I) {
        for (resize, input) in cases(&mut Numbers::new(12)) {
            let mut out = vec![f32::NAN; 3 * resize.output[0] * resize.output[1]];
            isa.resize_linear(&mut out, &input, &resize);
            compare(
                &resize,
                &input,
                &out,
                &|x, i| (1.0 - (x - i as f64).abs()).max(0.0),
                false,
            );
            for exclude_outside in [false, true] {
                let a = -0.75;
                isa.resize_cubic(
                    &mut out,
                    &input,
                    &resize,
                    Cubic {
                        coefficient: a as f32,
                        exclude_outside,
                    },
                );
                let weight = |x: f64, i: i64| match (x - i as f64).abs() {
                    d if d <= 1.0 => (a + 2.0) * d.powi(3) - (a + 3.0) * d.powi(2) + 1.0,
                    d if d < 2.0 => a * d.powi(3) - 5.0 * a * d.powi(2) + 8.0 * a * d - 4.0 * a,
                    _ => 0.0,
                };
                compare(&resize, &input, &out, &weight, exclude_outside);
            }
        }
    }
    for level in levels() {
        crate::dispatch!(level, check());
    }
}

#[test]
fn nearest_elements() {
    fn check<I: Isa>(isa: I) {
        let line = |output: usize, coordinates, rounding| {
            let resize = Resize {
                images: 1,
                channels: 1,
                input: [1, 4],
                output: [1, output],
                y_pixel: 1,
                scales: None,
                coordinates,
            };
            let mut out = vec![0.0; output];
            isa.resize_nearest(&mut out, &[0.0, 1.0, 2.0, 3.0], &resize, rounding);
            out
        };
        let asymmetric = Coordinates::Asymmetric;
        assert_eq!(
            line(8, asymmetric, Rounding::Floor),
            [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0]
        );
        assert_eq!(
            line(8, asymmetric, Rounding::Ceil),
            [0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 3.0]
        );
        assert_eq!(
            line(8, asymmetric, Rounding::PreferFloor),
            [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0]
        );
        assert_eq!(
            line(8, asymmetric, Rounding::PreferCeil),
            [0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 3.0]
        );
        assert_eq!(line(2, Coordinates::HalfPixel, Rounding::PreferFloor), [0.0, 2.0]);
        assert_eq!(line(2, Coordinates::HalfPixel, Rounding::PreferCeil), [1.0, 3.0]);
        assert_eq!(line(2, Coordinates::AlignCorners, Rounding::Floor), [0.0, 3.0]);
        assert_eq!(line(1, Coordinates::PytorchHalfPixel, Rounding::Floor), [0.0]);

        let mut numbers = Numbers::new(1);
        let resize = Resize {
            images: 2,
            channels: 1,
            input: [3, 150],
            output: [6, 300],
            y_pixel: 1,
            scales: None,
            coordinates: Coordinates::Asymmetric,
        };
        let input = numbers.floats(2 * 450);
        let mut out = vec![0.0; 2 * 1800];
        isa.resize_nearest(&mut out, &input, &resize, Rounding::Floor);
        for (index, result) in out.into_iter().enumerate() {
            let (plane, y, x) = (index / 1800, index / 300 % 6, index % 300);
            assert_eq!(result, input[plane * 450 + y / 2 * 150 + x / 2]);
        }
    }
    for level in levels() {
        crate::dispatch!(level, check());
    }
}

#[test]
fn an_infinite_neighbor_without_weight_does_not_matter() {
    let resize = Resize {
        images: 1,
        channels: 1,
        input: [1, 2],
        output: [1, 3],
        y_pixel: 1,
        scales: None,
        coordinates: Coordinates::AlignCorners,
    };
    let mut out = [0.0; 3];
    crate::isa::Scalar.resize_linear(&mut out, &[1.0, f32::INFINITY], &resize);
    assert_eq!(out, [1.0, f32::INFINITY, f32::INFINITY]);
}

#[test]
fn channels_of_pixels_are_what_planes_are() {
    fn check<I: Isa>(isa: I) {
        const CHANNELS: usize = 5;
        for (planar, _) in cases(&mut Numbers::new(3)) {
            let planar = Resize {
                images: 2 * CHANNELS,
                ..planar
            };
            let [pixels, out_pixels] = [planar.input, planar.output].map(|[height, width]| height * width);
            let input = Numbers::new(4).floats(planar.images * pixels);
            // Image, pixel and channel from image, channel and pixel.
            let place = |index: usize, pixels: usize, y_pixel: usize| {
                let (image, channel, pixel) = (index / pixels / CHANNELS, index / pixels % CHANNELS, index % pixels);
                (image * pixels + pixel) * y_pixel + channel
            };
            let mut interleaved = vec![0.0; input.len()];
            for (index, &value) in input.iter().enumerate() {
                interleaved[place(index, pixels, CHANNELS)] = value;
            }
            for y_pixel in [CHANNELS, CHANNELS + 3] {
                let by_pixel = Resize {
                    images: 2,
                    channels: CHANNELS,
                    y_pixel,
                    ..planar
                };
                let cubic = Cubic {
                    coefficient: -0.5,
                    exclude_outside: true,
                };
                for mode in 0..3 {
                    let run = |out: &mut [f32], input: &[f32], resize: &Resize| match mode {
                        0 => isa.resize_nearest(out, input, resize, Rounding::PreferFloor),
                        1 => isa.resize_linear(out, input, resize),
                        _ => isa.resize_cubic(out, input, resize, cubic),
                    };
                    let mut expected = vec![f32::NAN; planar.images * out_pixels];
                    run(&mut expected, &input, &planar);
                    let mut out = vec![f32::NAN; (2 * out_pixels - 1) * y_pixel + CHANNELS];
                    run(&mut out, &interleaved, &by_pixel);
                    for (index, value) in expected.iter().enumerate() {
                        assert_eq!(out[place(index, out_pixels, y_pixel)], *value, "{by_pixel:?}");
                    }
                    let written = out.iter().filter(|value| !value.is_nan()).count();
                    assert_eq!(written, expected.len(), "{by_pixel:?} writes between pixels");
                }
            }
        }
    }
    for level in levels() {
        crate::dispatch!(level, check());
    }
}
