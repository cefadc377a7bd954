//! Channels that are divided and multiplied again.

use super::*;
use crate::passes::clean;

fn result(graph: &Graph, seed: u64, shapes: &[&[usize]]) -> Vec<f64> {
    evaluate(graph, &inputs(shapes, seed)).unwrap()[0].to_floats().unwrap()
}

/// The ratio of the noise to the signal of a graph that should compute the same as another one.
fn difference(graph: &Graph, other: &Graph, shapes: &[&[usize]]) -> f64 {
    let mut sums = Differences::default();
    sums.add(result(other, 5, shapes), result(graph, 5, shapes));
    sums.relative()
}

/// Each weight, value and bound is rounded once more, by 2^-24 at most, in each of a few layers.
const ROUNDED: f64 = 16.0 / (1 << 24) as f64;

fn weights_of(graph: &Graph) -> Vec<Vec<f32>> {
    let layers = layers::find(graph);
    layers
        .iter()
        .map(|layer| layer.weights.to_vec::<f32>().unwrap())
        .collect()
}

/// A chain of convolutions, all kinds of which have channels of very different sizes.
const CHAIN: &str = r#"graph "g" {
  input "x" %0: f32[1, 3, 8, 9]
  %1: f32[8, 3, 3, 3] = constant random(1)
  %2: f32[8, 1, 1, 1] = constant [0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 20.0, 90.0]
  %3: f32[8, 3, 3, 3] = elementwise { mul(x0, x1) } %1, %2
  %4: f32[8] = constant random(2)
  %5: f32[1, 8, 8, 9] = conv(kernel = [3, 3], pads_before = [1, 1], pads_after = [1, 1], bias) %0, %3, %4 from "stem"
  %6: f32[1, 8, 8, 9] = elementwise { ACTIVATION } %5
  %7: f32[8, 1, 3, 3] = constant random(3)
  %8: f32[1, 8, 8, 9] = conv(kernel = [3, 3], pads_before = [1, 1], pads_after = [1, 1], groups = 8) %6, %7 from "depthwise"
  %9: f32[8, 8, 1, 1] = constant random(4)
  %10: f32[1, 8, 8, 9] = conv(kernel = [1, 1]) %8, %9 from "project"
  output "y" %10
}"#;

const IMAGE: &[&[usize]] = &[&[1, 3, 8, 9]];

#[test]
fn equalized_graphs_compute_the_same() {
    for activation in [
        "max(x0, 0.0:f32)",
        "min(max(x0, 0.0:f32), 6.0:f32)",
        "max(x0, mul(x0, 0.1:f32))",
        "select(lt(x0, 0.5:f32), neg(x0), add(abs(x0), 1.0:f32))",
    ] {
        let mut graph = parse(&CHAIN.replace("ACTIVATION", activation)).unwrap();
        clean(&mut graph);
        let mut other = graph.clone();
        let layers = layers::find(&other);
        assert_eq!(equalize::equalize(&mut other, &layers), 2, "{activation}: {graph}");
        crate::ir::verify::verify(&other).unwrap();
        let found = difference(&graph, &other, IMAGE);
        assert!(found < ROUNDED, "{activation}: {found}");
        // The ranges of a channel are the same on both sides.
        let weights = weights_of(&other);
        let greatest =
            |weights: &mut dyn Iterator<Item = &f32>| weights.fold(0.0f32, |most, weight| most.max(weight.abs()));
        for channel in 0..8 {
            let stem = greatest(&mut weights[0][channel * 27..][..27].iter());
            let depthwise = greatest(&mut weights[1][channel * 9..][..9].iter());
            let project = greatest(&mut weights[2][channel..].iter().step_by(8));
            assert!(
                (stem / depthwise - 1.0).abs() < 0.01,
                "{channel}: {stem} and {depthwise}"
            );
            assert!(
                (project / depthwise - 1.0).abs() < 0.01,
                "{channel}: {project} and {depthwise}"
            );
        }
    }
}

#[test]
fn what_does_not_commute_is_no_pair() {
    for activation in ["silu(x0)", "mul(x0, x0)", "max(x0, exp(x0))", "mul(x0, sigmoid(x0))"] {
        let mut graph = parse(&CHAIN.replace("ACTIVATION", activation)).unwrap();
        clean(&mut graph);
        let layers = layers::find(&graph);
        assert_eq!(equalize::equalize(&mut graph, &layers), 1, "{activation}");
    }
    // A value that has another reader.
    let text = CHAIN
        .replace("ACTIVATION", "max(x0, 0.0:f32)")
        .replace("output \"y\" %10", "output \"y\" %10\n  output \"z\" %6");
    let mut graph = parse(&text).unwrap();
    clean(&mut graph);
    let layers = layers::find(&graph);
    assert_eq!(equalize::equalize(&mut graph, &layers), 1);
}

#[test]
fn equalization_helps_where_channels_differ() {
    let text = CHAIN.replace("ACTIVATION", "min(max(x0, 0.0:f32), 600.0:f32)");
    let drift_of = |options: Quantize| {
        let (float, graph, _) = quantized(&text, IMAGE, options).unwrap();
        assert_eq!(factors(&graph), [DType::U8; 3]);
        drift(&float, &graph, IMAGE)
    };
    let (before, after) = (
        drift_of(Quantize::new(Scheme::Int8)),
        drift_of(Quantize::new(Scheme::Int8).equalize(true)),
    );
    assert!(after < before, "{after} and {before}");
}

/// A normalization whose channels differ, read by two products, and a value that something else reads, too.
const PRODUCTS: &str = r#"graph "g" {
  input "x" %0: f32[2, 6]
  %1: f32[6] = constant [0.1, 50.0, 1.0, 1.0, 0.2, 3.0]
  %2: f32[6] = constant random(1)
  %3: f32[2, 6] = normalize(kind = layer, axis = 1, epsilon = 0.00001, scale, bias) %0, %1, %2
  %4: f32[6, 5] = constant random(2)
  %5: f32[2, 5] = matmul %3, %4 from "first"
  %6: f32[6, 5] = constant random(3)
  %7: f32[2, 5] = matmul %3, %6 from "second"
  %8: f32[2, 5] = elementwise { mul(x0, tanh(x1)) } %5, %7
  %9: f32[5, 5] = constant random(4)
  %10: f32[2, 5] = matmul %8, %9 from "third"
  %11: f32[2, 5] = elementwise { add(x0, x1) } %10, %8
  output "y" %11
}"#;

const ROWS: &[&[usize]] = &[&[2, 6]];

#[test]
fn smoothed_graphs_compute_the_same() {
    let mut graph = parse(PRODUCTS).unwrap();
    clean(&mut graph);
    let samples: Vec<_> = (0..4).map(|seed| inputs(ROWS, seed)).collect();
    for share in [0.3, 0.5, 0.8] {
        let mut other = graph.clone();
        let layers = layers::find(&other);
        let nodes = other.body.nodes.len();
        smooth::smooth(&mut other, &layers, Smooth::new(share).unwrap(), &samples).unwrap();
        let found = difference(&graph, &other, ROWS);
        crate::ir::verify::verify(&other).unwrap();
        assert!(found > 0.0 && found < ROUNDED, "{share}: {found}");
        // Scale and bias of the normalization, weights of three products, and one product of a value with constants.
        assert_eq!(other.body.nodes.len(), nodes + 2 + 3 + 2, "{other}");
        let normalize = other
            .body
            .nodes
            .iter()
            .find(|node| matches!(node.op, Op::Normalize { .. }));
        let value = normalize.unwrap().outputs[0];
        let layers = layers::find(&other);
        assert_eq!(layers.iter().filter(|layer| layer.input == value).count(), 2);
    }
}

#[test]
fn smoothing_helps_where_channels_differ() {
    for options in [Quantize::new(Scheme::Int8), Quantize::int8_dynamic()] {
        let mut graph = parse(PRODUCTS).unwrap();
        clean(&mut graph);
        let samples: Vec<_> = (0..4).map(|seed| inputs(ROWS, seed)).collect();
        let data = Data::new(&graph, &samples);
        let options = options.calibration(data.path());
        let drift_of = |options: Quantize| {
            let mut graph = graph.clone();
            let files = Files::find(options.data().unwrap()).unwrap();
            quantize(&mut graph, &options, &files, &[]).unwrap().drift.unwrap()
        };
        let (before, after) = (
            drift_of(options.clone()),
            drift_of(options.clone().smooth(Smooth::new(0.5).unwrap())),
        );
        assert!(after < before, "{}: {after} and {before}", options.scheme());
    }
}

#[test]
fn options_that_a_scheme_does_not_have_are_errors() {
    let error = |options: Quantize| quantized(SIMPLE, ROWS, options).unwrap_err();
    let share = Smooth::new(0.5).unwrap();
    assert_eq!(
        error(Quantize::int4().smooth(share)),
        "there is nothing to smooth in int4"
    );
    assert_eq!(
        error(Quantize::int8_dynamic().smooth(share)),
        "smoothing with 0.5 needs calibration data"
    );
    assert_eq!(
        error(Quantize::int8_dynamic().equalize(true)),
        "there are no convolutions to equalize in int8-dynamic"
    );
}
