//! Quantized graphs against the evaluator's results of the graphs in floats.

use super::*;
use crate::ir::eval::evaluate;
use crate::ir::op::Op;
use crate::ir::{DType, Tensor, parse};
use crate::measure::Differences;
use crate::npz::{self, Array};
use std::path::PathBuf;

mod channels;
mod weights;

/// Calibration data in a folder of its own.
struct Data {
    folder: tempfile::TempDir,
}

impl Data {
    /// An archive with the samples of each input.
    fn new(graph: &Graph, samples: &[Vec<Tensor>]) -> Data {
        let folder = tempfile::tempdir().unwrap();
        for (index, sample) in samples.iter().enumerate() {
            let arrays = graph.inputs.iter().zip(sample).map(|(port, tensor)| {
                let dtype = onnxide_runtime::element::DType::from_name(&tensor.dtype.numpy_name()).unwrap();
                let array = Array {
                    dtype,
                    shape: tensor.shape.clone(),
                    data: tensor.data.to_vec(),
                };
                (port.name.clone(), array)
            });
            let path = folder.path().join(format!("{index:02}.npz"));
            npz::write(&path, &arrays.collect::<Vec<_>>()).unwrap();
        }
        Data { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

/// Reproducible inputs of the given shapes.
fn inputs(shapes: &[&[usize]], seed: u64) -> Vec<Tensor> {
    let shapes = shapes.iter().zip(seed * 100..);
    shapes
        .map(|(shape, seed)| Tensor::random(DType::F32, shape.to_vec(), seed))
        .collect()
}

/// Quantizes a graph with a few samples.
fn quantized(text: &str, shapes: &[&[usize]], options: Quantize) -> Result<(Graph, Graph, QuantizationReport), String> {
    let mut graph = parse(text).unwrap();
    crate::passes::clean(&mut graph);
    let float = graph.clone();
    let samples: Vec<_> = (0..4).map(|seed| inputs(shapes, seed)).collect();
    let data = Data::new(&graph, &samples);
    let options = match options.scheme {
        Scheme::Int8 => options.calibration(data.path()),
        _ => options,
    };
    let files = options
        .data()
        .map(|path| Files::find(path).unwrap())
        .unwrap_or_default();
    let report = quantize(&mut graph, &options, &files, &[]).map_err(|finding| finding.message)?;
    crate::passes::optimize(&mut graph, &mut |_, _| {});
    Ok((float, graph, report))
}

/// The drift of the outputs on inputs that are not those of the calibration.
fn drift(float: &Graph, quantized: &Graph, shapes: &[&[usize]]) -> f64 {
    let mut sums = Differences::default();
    for seed in 10..13 {
        let sample = inputs(shapes, seed);
        let (expected, found) = (evaluate(float, &sample).unwrap(), evaluate(quantized, &sample).unwrap());
        for (found, expected) in found.iter().zip(&expected) {
            sums.add(found.to_floats().unwrap(), expected.to_floats().unwrap());
        }
    }
    sums.relative()
}

/// The types of what products and convolutions multiply.
fn factors(graph: &Graph) -> Vec<DType> {
    let products = graph.body.nodes.iter();
    products
        .filter(|node| matches!(node.op, Op::MatMul { .. } | Op::Conv { .. }))
        .map(|node| graph.ty(node.inputs[0]).dtype)
        .collect()
}

const SIMPLE: &str = r#"graph "g" {
  input "x" %0: f32[2, 6]
  %1: f32[6, 5] = constant random(1)
  %2: f32[2, 5] = matmul %0, %1 from "first"
  %3: f32[2, 5] = elementwise { max(x0, 0.0:f32) } %2
  %4: f32[5, 4] = constant random(2)
  %5: f32[2, 4] = matmul %3, %4 from "second"
  output "y" %5
}"#;

/// A residual block with a depthwise convolution, an average and a classifier.
const IMAGES: &str = r#"graph "g" {
  input "x" %0: f32[1, 3, 8, 9]
  %1: f32[8, 3, 3, 3] = constant random(1)
  %2: f32[8] = constant random(2)
  %3: f32[1, 8, 8, 9] = conv(kernel = [3, 3], pads_before = [1, 1], pads_after = [1, 1], bias) %0, %1, %2 from "stem"
  %4: f32[1, 8, 8, 9] = elementwise { max(x0, 0.0:f32) } %3
  %5: f32[8, 1, 3, 3] = constant random(3)
  %6: f32[1, 8, 8, 9] = conv(kernel = [3, 3], pads_before = [1, 1], pads_after = [1, 1], groups = 8) %4, %5 from "depthwise"
  %7: f32[1, 8, 8, 9] = elementwise { min(max(x0, 0.0:f32), 6.0:f32) } %6
  %8: f32[8, 8, 1, 1] = constant random(4)
  %9: f32[1, 8, 8, 9] = conv(kernel = [1, 1]) %7, %8 from "project"
  %10: f32[1, 8, 8, 9] = elementwise { add(x0, x1) } %9, %4
  %11: f32[4, 8, 3, 3] = constant random(5)
  %12: f32[1, 4, 3, 4] = conv(kernel = [3, 3], strides = [2, 2]) %10, %11 from "last"
  %13: f32[1, 48] = reshape %12
  %14: f32[48, 10] = constant random(6)
  %15: f32[1, 10] = matmul %13, %14 from "classify"
  output "y" %15
}"#;

const IMAGE: &[&[usize]] = &[&[1, 3, 8, 9]];

/// A uniform error of half a step of 1/255 of a range is about 1 % of what is in the range; a few layers add up.
const CLOSE: f64 = 0.03;

#[test]
fn images_are_bytes_between_layers() {
    for observer in Observer::ALL {
        let options = Quantize::new(Scheme::Int8).observer(observer);
        let (float, graph, report) = quantized(IMAGES, IMAGE, options).unwrap();
        assert_eq!(factors(&graph), [DType::U8; 5]);
        let drift = drift(&float, &graph, IMAGE);
        let limit = if observer == Observer::Entropy {
            3.0 * CLOSE
        } else {
            CLOSE
        };
        assert!(drift < limit, "{observer}: {drift}");
        let names: Vec<&str> = report.layers.iter().map(|layer| layer.name.as_str()).collect();
        assert_eq!(names, ["stem", "depthwise", "project", "last", "classify"]);
        assert!(
            report
                .layers
                .iter()
                .all(|layer| layer.quantized && layer.noise.is_some())
        );
        assert!(report.weight_bytes * 2 < report.weight_bytes_before);
        // Convolutions have nothing but bytes between them.
        let convolutions = graph
            .body
            .nodes
            .iter()
            .filter(|node| matches!(node.op, Op::Conv { .. }));
        for node in convolutions {
            assert_eq!(graph.ty(node.outputs[0]).dtype, DType::U8, "{graph}");
        }
    }
}

#[test]
fn the_report_is_of_what_is_computed() {
    let (float, graph, report) = quantized(IMAGES, IMAGE, Quantize::new(Scheme::Int8)).unwrap();
    let mut sums = Differences::default();
    for seed in 0..4 {
        let sample = inputs(IMAGE, seed);
        let (expected, found) = (evaluate(&float, &sample).unwrap(), evaluate(&graph, &sample).unwrap());
        sums.add(found[0].to_floats().unwrap(), expected[0].to_floats().unwrap());
    }
    // Requantization rounds a product of scales once where the report's floats are rounded twice, so that a few numbers
    // differ by a step.
    let (found, reported) = (sums.relative(), report.drift.unwrap());
    assert!((found / reported - 1.0).abs() < 0.2, "{found} and {reported}");
    let decisions = report.outputs[0].decisions.unwrap();
    assert_eq!(decisions.decisions, 4);
}

#[test]
fn rows_have_scales_of_the_run() {
    let shapes: &[&[usize]] = &[&[2, 6]];
    let (float, graph, report) = quantized(SIMPLE, shapes, Quantize::int8_dynamic()).unwrap();
    assert_eq!(factors(&graph), [DType::U8; 2]);
    let drift = drift(&float, &graph, shapes);
    assert!(drift < CLOSE, "{drift}");
    assert_eq!((report.drift, report.samples), (None, 0));
    // Rows of zeros, and of very different sizes.
    let sample = Tensor::new(
        vec![2, 6],
        &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1e9, -3e9, 2e9, 0.0, 5e8, 1e9f32],
    );
    let sample = std::slice::from_ref(&sample);
    let (expected, found) = (evaluate(&float, sample).unwrap(), evaluate(&graph, sample).unwrap());
    let [found, expected] = [&found[0], &expected[0]].map(|tensor| tensor.to_floats().unwrap());
    assert_eq!(found[..4], [0.0; 4]);
    let mut sums = Differences::default();
    sums.add(found, expected);
    assert!(sums.relative() < CLOSE, "{}", sums.relative());
}

#[test]
fn what_is_only_moved_has_one_scale() {
    let text = r#"graph "g" {
  input "a" %0: f32[1, 2, 4, 4]
  input "b" %1: f32[1, 2, 4, 4]
  %2: f32[1, 2, 4, 4] = elementwise { mul(x0, 9.0:f32) } %1
  %3: f32[1, 4, 4, 4] = concat(axis = 1) %0, %2
  %4: f32[3, 4, 1, 1] = constant random(4)
  %5: f32[1, 3, 4, 4] = conv(kernel = [1, 1]) %3, %4 from "conv"
  output "y" %5
}"#;
    let shapes: &[&[usize]] = &[&[1, 2, 4, 4], &[1, 2, 4, 4]];
    let (float, graph, _) = quantized(text, shapes, Quantize::new(Scheme::Int8)).unwrap();
    assert_eq!(factors(&graph), [DType::U8]);
    let concat = graph
        .body
        .nodes
        .iter()
        .find(|node| matches!(node.op, Op::Concat { .. }));
    assert_eq!(graph.ty(concat.unwrap().outputs[0]).dtype, DType::U8);
    let drift = drift(&float, &graph, shapes);
    assert!(drift < CLOSE, "{drift}");
}

#[test]
fn what_has_no_kernel_stays_in_floats() {
    let text = r#"graph "g" {
  input "x" %0: f32[1, 4, 5, 5]
  %1: f32[4, 2, 1, 1] = constant random(1)
  %2: f32[1, 4, 5, 5] = conv(kernel = [1, 1], groups = 2) %0, %1 from "grouped"
  %3: f32[2, 4, 1, 1] = constant random(2)
  %4: f32[1, 2, 5, 5] = conv(kernel = [1, 1]) %2, %3 from "plain"
  output "y" %4
}"#;
    let (_, graph, report) = quantized(text, &[&[1, 4, 5, 5]], Quantize::new(Scheme::Int8)).unwrap();
    assert_eq!(factors(&graph), [DType::F32, DType::U8]);
    assert_eq!(report.layers.len(), 1);
}

#[test]
fn a_value_may_be_read_by_convolutions_and_products() {
    let conv = r#"%1: f32[4, 3, 3, 3] = constant random(1)
  %2: f32[1, 4, 6, 6] = conv(kernel = [3, 3]) %0, %1 from "conv""#;
    let product = r#"%3: f32[8, 5] = constant random(2)
  %4: f32[1, 3, 8, 5] = matmul %0, %3 from "product""#;
    let shapes: &[&[usize]] = &[&[1, 3, 8, 8]];
    for [first, second] in [[conv, product], [product, conv]] {
        let text = format!(
            r#"graph "g" {{
  input "x" %0: f32[1, 3, 8, 8]
  {first}
  {second}
  output "a" %2
  output "b" %4
}}"#
        );
        let (float, graph, _) = quantized(&text, shapes, Quantize::new(Scheme::Int8)).unwrap();
        assert_eq!(factors(&graph), [DType::U8; 2]);
        let drift = drift(&float, &graph, shapes);
        assert!(drift < CLOSE, "{drift}");
    }
}

#[test]
fn what_reads_zeros_alone_stays_in_floats() {
    let shapes: &[&[usize]] = &[&[2, 6]];
    // The inputs are less than 1.
    let text = SIMPLE.replace("max(x0, 0.0:f32)", "max(sub(x0, 100.0:f32), 0.0:f32)");
    for options in [
        Quantize::new(Scheme::Int8),
        Quantize::new(Scheme::Int8).max_drift(MaxDrift::new(0.5).unwrap()),
    ] {
        let (_, graph, report) = quantized(&text, shapes, options).unwrap();
        assert_eq!(factors(&graph), [DType::U8, DType::F32]);
        let layers = report.layers.iter().map(|layer| (layer.quantized, layer.reads_zeros));
        assert_eq!(layers.collect::<Vec<_>>(), [(true, false), (false, true)]);
    }
    let text = SIMPLE.replace("matmul %0, %1", "matmul %6, %1");
    let text = text.replace(
        "  %1:",
        "  %6: f32[2, 6] = elementwise { max(sub(x0, 100.0:f32), 0.0:f32) } %0\n  %1:",
    );
    assert_eq!(
        quantized(&text, shapes, Quantize::new(Scheme::Int8)).unwrap_err(),
        "nothing can be quantized to int8: what `first` and all other layers read is zero in every sample"
    );
}

#[test]
fn samples_are_at_even_distances() {
    let sample = |number: i64| vec![Tensor::new(vec![], &[number])];
    let samples: Vec<_> = (0..10).map(sample).collect();
    let numbers = |most: usize| -> Vec<i64> {
        let samples = spread(&samples, most);
        samples
            .iter()
            .flat_map(|sample| sample[0].to_vec::<i64>().unwrap())
            .collect()
    };
    assert_eq!(numbers(4), [0, 2, 5, 7]);
    assert_eq!(numbers(20), (0..10).collect::<Vec<_>>());
    assert!(spread(&[], 4).is_empty());
}

#[test]
fn drift_of_integers_is_how_many_differ() {
    let text = SIMPLE.replace(
        "output \"y\" %5",
        "%6: i64[2, 4] = elementwise { i64(mul(x0, 1000.0:f32)) } %5\n  output \"y\" %6",
    );
    let (_, _, report) = quantized(&text, &[&[2, 6]], Quantize::new(Scheme::Int8)).unwrap();
    let decisions = report.outputs[0].decisions.unwrap();
    let expected = 1.0 - decisions.agreeing_decisions as f64 / decisions.decisions as f64;
    assert!(decisions.agreeing_decisions < decisions.decisions, "{decisions:?}");
    assert!((report.drift.unwrap() - expected).abs() < 1e-12, "{report:?}");
    let bound = Quantize::new(Scheme::Int8).max_drift(MaxDrift::new(1e-9).unwrap());
    assert!(quantized(&text, &[&[2, 6]], bound).is_err());
}

#[test]
fn layers_alone_drift_through_loops() {
    let text = SIMPLE.replace(
        "output \"y\" %5",
        r#"%6: i64[] = constant [3]
  %7: bool[] = constant [true]
  %8: f32[2, 4] = loop(carried = 1, trips = 3) %6, %7, %5 (%9: i64[], %10: bool[], %11: f32[2, 4]) {
    %12: f32[2, 6] = elementwise { mul(x0, 0.5:f32) } %0
    %13: f32[2, 4] = slice(starts = [0, 0]) %12
    %14: f32[2, 4] = elementwise { add(mul(x0, 0.5:f32), x1) } %11, %13
    yield %10, %14
  }
  %15: f32[2, 4] = elementwise { mul(x0, 3.0:f32) } %8
  output "y" %15"#,
    );
    let graph = parse(&text).unwrap();
    let layers = layers::find(&graph);
    let samples: Vec<_> = (0..3).map(|seed| inputs(&[&[2, 6]], seed)).collect();
    let weights = layers.iter().map(|layer| Weights::Outputs(Numbers::new(layer)));
    let plan = Plan::new(&graph, &layers, weights.collect());
    let others: Vec<Graph> = [1, 0].map(|kept| plan.graph_without(&BTreeSet::from([kept]))).into();
    let found = drift::measure_each(&graph, others.len(), &|number| others[number].clone(), &samples).unwrap();
    for (other, found) in others.iter().zip(found) {
        let expected = drift::measure(&graph, other, &[], &samples).unwrap().relative();
        assert!(found > 0.0 && found == expected, "{found} is not {expected}");
    }
}

#[test]
fn a_bound_keeps_what_does_the_most_harm() {
    // A column of weights with an outlier, and numbers of which most are small: the second product loses more.
    let text = SIMPLE.replace("max(x0, 0.0:f32)", "mul(mul(x0, x0), mul(x0, mul(x0, mul(x0, x0))))");
    let shapes: &[&[usize]] = &[&[2, 6]];
    let drift_of = |options: Quantize| quantized(&text, shapes, options).map(|(_, graph, report)| (graph, report));
    let (_, whole) = drift_of(Quantize::new(Scheme::Int8)).unwrap();
    let bound = |drift: f64| Quantize::new(Scheme::Int8).max_drift(MaxDrift::new(drift).unwrap());
    let (graph, loose) = drift_of(bound(0.9)).unwrap();
    assert_eq!(factors(&graph), [DType::U8; 2]);
    let alone: Vec<f64> = loose.layers.iter().map(|layer| layer.drift_alone.unwrap()).collect();
    let least = alone.iter().copied().fold(f64::INFINITY, f64::min);
    let between = (least * 1.05).max(f64::MIN_POSITIVE);
    assert!(between < whole.drift.unwrap(), "{alone:?} of {whole:?}");
    let (graph, tight) = drift_of(bound(between)).unwrap();
    let kept: Vec<bool> = tight.layers.iter().map(|layer| !layer.quantized).collect();
    assert_eq!(kept.iter().filter(|kept| **kept).count(), 1);
    assert!(kept[usize::from(alone[1] > alone[0])], "{alone:?} {kept:?}");
    assert_eq!(factors(&graph).iter().filter(|dtype| **dtype == DType::U8).count(), 1);
    assert!(tight.drift.unwrap() <= between);
    let error = drift_of(bound(1e-9)).unwrap_err();
    assert!(
        error.starts_with("no layer can be quantized within a drift of 0.000000001: "),
        "{error}"
    );
}

#[test]
fn errors_say_what_is_missing() {
    let none = r#"graph "g" { input "x" %0: f32[2] output "y" %0 }"#;
    let error = |text: &str, options: Quantize| quantized(text, &[&[2]], options).unwrap_err();
    assert_eq!(
        error(none, Quantize::new(Scheme::Int8)),
        "nothing can be quantized to int8: the model has no matrix product or convolution over one or two axes of floats \
         with constant weights outside of branches and loops"
    );
    let mut graph = parse(SIMPLE).unwrap();
    let without = quantize(&mut graph, &Quantize::new(Scheme::Int8), &Files::default(), &[]).unwrap_err();
    assert_eq!(without.message, "quantization to int8 needs calibration data");
    let (_, mut graph, _) = quantized(SIMPLE, &[&[2, 6]], Quantize::int8_dynamic()).unwrap();
    let again = quantize(&mut graph, &Quantize::int8_dynamic(), &Files::default(), &[]).unwrap_err();
    assert_eq!(
        again.message,
        "the model is quantized already: its products are of integers"
    );
    assert_eq!(
        error(SIMPLE, Quantize::int8_dynamic().observer(Observer::Mse)),
        "the observer mse has no ranges to choose in int8-dynamic"
    );
    let infinite = SIMPLE.replace("max(x0, 0.0:f32)", "div(x0, 0.0:f32)");
    let error = quantized(&infinite, &[&[2, 6]], Quantize::new(Scheme::Int8)).unwrap_err();
    assert!(error.contains("which has no number of 8 bits"), "{error}");
}

#[test]
fn the_correction_takes_the_errors_of_weights_out_of_means() {
    let shapes: &[&[usize]] = &[&[2, 6]];
    let graph = parse(SIMPLE).unwrap();
    let layers = layers::find(&graph);
    let numbers = Numbers::new(&layers[0]);
    let means = [1.0, -2.0, 0.5, 3.0, 0.0, 1.5];
    let correction = numbers.correction(&layers[0], &means);
    let (weights, bytes) = (
        layers[0].weights.to_vec::<f32>().unwrap(),
        numbers.numbers.to_vec::<i8>().unwrap(),
    );
    for (output, correction) in correction.iter().enumerate() {
        let mean = |weight: &dyn Fn(usize) -> f32| -> f64 {
            let products = means
                .iter()
                .enumerate()
                .map(|(row, mean)| mean * f64::from(weight(row * 5 + output)));
            products.sum()
        };
        let before = mean(&|index| weights[index]);
        let after = mean(&|index| f32::from(bytes[index]) * numbers.scales[output]) + f64::from(*correction);
        assert!((before - after).abs() < 1e-5, "{before} {after}");
    }
    assert!(quantized(SIMPLE, shapes, Quantize::new(Scheme::Int8)).is_ok());
}
