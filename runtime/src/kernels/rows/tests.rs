use super::*;
use crate::isa::Isa;
use crate::testing::{Numbers, levels};

#[track_caller]
fn assert_close(result: &[f32], expected: &[f64], limit: f64, floor: f64) {
    assert_eq!(result.len(), expected.len());
    for (index, (&result, &expected)) in result.iter().zip(expected).enumerate() {
        let error = (f64::from(result) - expected).abs();
        assert!(
            error <= limit * expected.abs().max(floor),
            "element {index}: {result}, not {expected}"
        );
    }
}

#[test]
fn softmax_of_rows_and_columns() {
    fn check<I: Isa>(isa: I) {
        let mut numbers = Numbers::new(1);
        for shape in [
            [3, 1, 1],
            [2, 7, 1],
            [1, 1000, 1],
            [2, 33, 1],
            [2, 5, 3],
            [1, 4, 200],
            [0, 3, 2],
        ] {
            let [outer, n, inner] = shape;
            let input: Vec<f32> = numbers
                .floats(outer * n * inner)
                .iter()
                .map(|x| x * 40.0 + 500.0)
                .collect();
            let (mut soft, mut log) = (vec![0.0; input.len()], vec![0.0; input.len()]);
            for first in (0..outer).flat_map(|o| (0..inner).map(move |i| o * n * inner + i)) {
                let max = (0..n)
                    .map(|j| f64::from(input[first + j * inner]))
                    .fold(f64::NEG_INFINITY, f64::max);
                let total: f64 = (0..n).map(|j| (f64::from(input[first + j * inner]) - max).exp()).sum();
                for j in 0..n {
                    let shifted = f64::from(input[first + j * inner]) - max;
                    soft[first + j * inner] = shifted.exp() / total;
                    log[first + j * inner] = shifted - total.ln();
                }
            }
            let mut out = vec![f32::NAN; input.len()];
            isa.softmax(&mut out, Some(&input), shape);
            assert_close(&out, &soft, 1e-6, 1e-3);
            isa.log_softmax(&mut out, Some(&input), shape);
            assert_close(&out, &log, 1e-6, 1.0);
            out.copy_from_slice(&input);
            isa.softmax(&mut out, None, shape);
            assert_close(&out, &soft, 1e-6, 1e-3);
        }
        let mut masked = [f32::NEG_INFINITY, 1.0, 1.0, f32::NEG_INFINITY];
        isa.softmax(&mut masked, None, [1, 4, 1]);
        assert_eq!(masked, [0.0, 0.5, 0.5, 0.0]);
    }
    for level in levels() {
        crate::dispatch!(level, check());
    }
}

#[test]
fn normalizations_of_rows_far_from_zero() {
    fn check<I: Isa>(isa: I) {
        let mut numbers = Numbers::new(2);
        for (outer, n) in [(3, 1), (2, 7), (4, 384), (1, 5000)] {
            let input: Vec<f32> = numbers.floats(outer * n).iter().map(|x| x * 0.5 + 100.0).collect();
            let (scale, bias) = (numbers.floats(n), numbers.floats(n));
            for (with_scale, with_bias) in [(true, true), (true, false), (false, true), (false, false)] {
                let affine = Affine {
                    scale: with_scale.then_some(&scale[..]),
                    bias: with_bias.then_some(&bias[..]),
                };
                let (mut layer, mut rms) = (Vec::new(), Vec::new());
                let (mut means, mut inverses) = (Vec::new(), Vec::new());
                for row in input.chunks(n) {
                    let row: Vec<f64> = row.iter().map(|&x| f64::from(x)).collect();
                    let mean = row.iter().sum::<f64>() / n as f64;
                    let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
                    let square = row.iter().map(|x| x * x).sum::<f64>() / n as f64;
                    means.push(mean);
                    inverses.push(1.0 / (variance + 1e-3).sqrt());
                    for (j, x) in row.iter().enumerate() {
                        let scale = affine.scale.map_or(1.0, |scale| f64::from(scale[j]));
                        let bias = affine.bias.map_or(0.0, |bias| f64::from(bias[j]));
                        layer.push((x - mean) / (variance + 1e-3).sqrt() * scale + bias);
                        rms.push(x / (square + 1e-3).sqrt() * scale + bias);
                    }
                }
                let absolute = |result: &[f32], expected: &[f64]| {
                    let error = result.iter().zip(expected).map(|(a, b)| (f64::from(*a) - b).abs());
                    assert!(error.fold(0.0, f64::max) < 1e-4);
                };
                let mut out = vec![f32::NAN; input.len()];
                isa.layer_norm(&mut out, Some(&input), [outer, n], 1e-3, affine);
                absolute(&out, &layer);
                isa.rms_norm(&mut out, Some(&input), [outer, n], 1e-3, affine);
                absolute(&out, &rms);
                out.copy_from_slice(&input);
                isa.layer_norm(&mut out, None, [outer, n], 1e-3, affine);
                absolute(&out, &layer);
                let (mut mean, mut inverse) = (vec![0.0; outer], vec![0.0; outer]);
                isa.row_moments(&mut mean, &mut inverse, &input, [outer, n], 1e-3);
                assert_close(&mean, &means, 1e-6, 1.0);
                assert_close(&inverse, &inverses, 1e-3, 1e-3);
            }
        }
    }
    for level in levels() {
        crate::dispatch!(level, check());
    }
}

#[test]
fn group_normalization_has_channels() {
    fn check<I: Isa>(isa: I) {
        let mut numbers = Numbers::new(4);
        let shape = Groups {
            batch: 2,
            groups: 3,
            channels: 2,
            spatial: 37,
        };
        let input = numbers.floats(2 * 6 * 37);
        let (scale, bias) = (numbers.floats(6), numbers.floats(6));
        let mut expected = Vec::new();
        for (index, group) in input.chunks(74).enumerate() {
            let mean = group.iter().map(|&x| f64::from(x)).sum::<f64>() / 74.0;
            let variance = group.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / 74.0;
            for (j, &x) in group.iter().enumerate() {
                let channel = index % 3 * 2 + j / 37;
                let normal = (f64::from(x) - mean) / (variance + 1e-5).sqrt();
                expected.push(normal * f64::from(scale[channel]) + f64::from(bias[channel]));
            }
        }
        let mut out = vec![0.0; input.len()];
        isa.group_norm(
            &mut out,
            Some(&input),
            shape,
            1e-5,
            Affine {
                scale: Some(&scale),
                bias: Some(&bias),
            },
        );
        assert_close(&out, &expected, 1e-3, 1e-3);
    }
    for level in levels() {
        crate::dispatch!(level, check());
    }
}

#[test]
#[should_panic = "another number of factors"]
fn an_affine_of_another_length_is_refused() {
    let affine = Affine {
        scale: Some(&[1.0; 3]),
        bias: None,
    };
    crate::isa::Scalar.layer_norm(&mut [0.0; 4], None, [2, 2], 1e-5, affine);
}
