//! Random numbers: their distributions, and what they depend on.

use super::places::results;
use super::*;
use crate::ir::Tensor as Value;

const COUNT: usize = 20_000;

fn drawn(op: &str, attributes: &[(&str, Attribute)], inputs: &[Value]) -> Vec<f64> {
    let found = results((22, op), attributes, inputs, &["y"]).unwrap();
    found[0].to_floats().unwrap()
}

/// Mean, variance, and correlation of neighbors.
fn moments(values: &[f64]) -> [f64; 3] {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
    let neighbors = values
        .windows(2)
        .map(|pair| (pair[0] - mean) * (pair[1] - mean))
        .sum::<f64>()
        / count;
    [mean, variance, neighbors / variance]
}

fn shaped(seed: Option<f32>) -> Vec<(&'static str, Attribute)> {
    let mut attributes = vec![("shape", Attribute::Ints(vec![4, COUNT as i64 / 4]))];
    attributes.extend(seed.map(|seed| ("seed", Attribute::Float(seed))));
    attributes
}

#[test]
fn uniform_numbers_fill_their_range() {
    for seed in [None, Some(0.0), Some(1.0), Some(-3.5)] {
        let values = drawn("RandomUniform", &shaped(seed), &[]);
        assert!(values.iter().all(|v| (0.0..1.0).contains(v)));
        let [mean, variance, neighbors] = moments(&values);
        // Five deviations of the estimates.
        assert!((mean - 0.5).abs() < 5.0 * (1.0 / 12.0 / COUNT as f64).sqrt(), "{mean}");
        assert!((variance - 1.0 / 12.0).abs() < 0.003, "{variance}");
        assert!(neighbors.abs() < 5.0 / (COUNT as f64).sqrt(), "{neighbors}");
        let mut cells = [0.0f64; 64];
        values.iter().for_each(|v| cells[(v * 64.0) as usize] += 1.0);
        let expected = COUNT as f64 / 64.0;
        let chi: f64 = cells.iter().map(|n| (n - expected).powi(2) / expected).sum();
        // Between the quantiles of 1e-6 and 1 - 1e-6 of 63 degrees of freedom.
        assert!((23.0..133.0).contains(&chi), "{chi}");
    }
}

#[test]
fn normal_numbers_have_their_moments() {
    let mut attributes = shaped(Some(7.0));
    attributes.extend([("mean", Attribute::Float(3.0)), ("scale", Attribute::Float(2.0))]);
    let values = drawn("RandomNormal", &attributes, &[]);
    let [mean, variance, neighbors] = moments(&values);
    assert!((mean - 3.0).abs() < 10.0 / (COUNT as f64).sqrt(), "{mean}");
    assert!((variance - 4.0).abs() < 0.2, "{variance}");
    assert!(neighbors.abs() < 5.0 / (COUNT as f64).sqrt(), "{neighbors}");
    let beyond = values.iter().filter(|v| (**v - 3.0).abs() > 4.0).count() as f64 / COUNT as f64;
    assert!((beyond - 0.0455).abs() < 0.008, "{beyond}");
}

#[test]
fn seeds_decide() {
    let first = drawn("RandomUniform", &shaped(Some(1.0)), &[]);
    assert_eq!(first, drawn("RandomUniform", &shaped(Some(1.0)), &[]));
    let other = drawn("RandomUniform", &shaped(Some(2.0)), &[]);
    let agree = first.iter().zip(&other).filter(|(a, b)| (*a - *b).abs() < 1e-3).count();
    assert!(agree < COUNT / 200, "{agree}");
}

#[test]
fn events_have_their_probabilities() {
    let probabilities = Value::new(vec![COUNT], &vec![0.3f32; COUNT]);
    let events = drawn("Bernoulli", &[], &[probabilities]);
    assert!(events.iter().all(|v| *v == 0.0 || *v == 1.0));
    assert!((moments(&events)[0] - 0.3).abs() < 0.02);
    let classes = Value::new(vec![1, 3], &[0.0f32, 2f32.ln(), f32::NEG_INFINITY]);
    let attributes = [
        ("sample_size", Attribute::Int(COUNT as i64)),
        ("dtype", Attribute::Int(ElementType::Int64.onnx().into())),
    ];
    let found = results((22, "Multinomial"), &attributes, &[classes], &["y"]).unwrap();
    let found = found[0].to_ints().unwrap();
    let second = found.iter().filter(|class| **class == 1).count() as f64 / COUNT as f64;
    assert!((second - 2.0 / 3.0).abs() < 0.02, "{second}");
    assert!(found.iter().all(|class| *class < 2));
}

#[test]
fn dropout_scales_what_stays() {
    let x = Value::new(vec![COUNT], &vec![3.0f32; COUNT]);
    let drop = |ratio: f32, training: bool| {
        let inputs = [x.clone(), Value::scalar(ratio), Value::scalar(training)];
        results((22, "Dropout"), &[], &inputs, &["y", "mask"])
    };
    let found = drop(0.25, true).unwrap();
    let values = found[0].to_floats().unwrap();
    let kept = values.iter().filter(|v| (**v - 4.0).abs() < 1e-6).count();
    assert!((kept as f64 / COUNT as f64 - 0.75).abs() < 0.02, "{kept}");
    assert_eq!(values.iter().filter(|v| **v == 0.0).count(), COUNT - kept);
    assert_eq!(drop(0.25, false).unwrap()[0].to_floats().unwrap(), vec![3.0; COUNT]);
    assert_eq!(drop(1.0, true).unwrap()[0].to_floats().unwrap(), vec![0.0; COUNT]);
    assert!(drop(1.5, true).unwrap_err().contains("from 0 to 1"));
}
