//! Models of which the weights alone are quantized.

use super::*;

/// A product behind another one that is too small to be quantized, so that what it reads has few directions.
const LAYERS: &str = r#"graph "g" {
  input "x" %0: f32[8, 16]
  %1: f32[16, 80] = constant random(1)
  %2: f32[8, 80] = matmul %0, %1 from "small"
  %3: f32[80, 96] = constant random(2)
  %4: f32[8, 96] = matmul %2, %3 from "first"
  %5: f32[8, 96] = elementwise { max(x0, 0.0:f32) } %4
  %6: f32[64, 96] = constant random(3)
  %7: f32[96, 64] = transpose(permutation = [1, 0]) %6
  %8: f32[8, 64] = matmul %5, %7 from "second"
  output "y" %8
}"#;

const SHAPES: &[&[usize]] = &[&[8, 16]];

/// The rows of blocks of every dequantization, and the least and the greatest number.
fn blocks(graph: &Graph) -> Vec<(usize, i8, i8)> {
    let constant = |value: ValueId| {
        let mut nodes = graph.body.nodes.iter();
        match &nodes.find(|node| node.outputs.contains(&value)).unwrap().op {
            Op::Constant(tensor) => tensor.to_vec::<i8>().unwrap(),
            op => panic!("{}", op.name()),
        }
    };
    let nodes = graph.body.nodes.iter();
    let found = nodes.filter_map(|node| match node.op {
        Op::Dequantize { rows } => {
            let numbers = constant(node.inputs[0]);
            Some((rows, *numbers.iter().min()?, *numbers.iter().max()?))
        }
        _ => None,
    });
    found.collect()
}

/// The error of rounding to one of `steps` intervals of a range of evenly distributed weights is `1 / sqrt(12)` of an interval,
/// the weights are `steps / sqrt(12)` of it on average. Products of independent factors have the same ratio; several layers add
/// up, and the ranges of blocks are not those of all weights.
fn limit(steps: f64) -> f64 {
    2.0 / steps
}

#[test]
fn weights_of_products_are_in_blocks() {
    for rows in [16, 32, 256] {
        let options = Quantize::int4().block(BlockRows::new(rows).unwrap());
        let (float, graph, report) = quantized(LAYERS, SHAPES, options).unwrap();
        assert_eq!(factors(&graph), [DType::F32; 3]);
        assert_eq!(blocks(&graph), [(rows.min(80), -8, 7), (rows.min(96), -8, 7)]);
        let drift = drift(&float, &graph, SHAPES);
        assert!(drift > 0.0 && drift < limit(15.0), "{drift}");
        // Half a byte for each weight, five bytes for each block.
        let count = |depth: usize, outputs: usize| depth * outputs / 2 + 5 * depth.div_ceil(rows) * outputs;
        assert_eq!(report.weight_bytes, (count(80, 96) + count(96, 64)) as u64);
        let names: Vec<&str> = report.layers.iter().map(|layer| layer.name.as_str()).collect();
        assert_eq!(names, ["first", "second"]);
        assert_eq!((report.drift, report.observer), (None, None));
    }
    let (_, graph, _) = quantized(LAYERS, SHAPES, Quantize::int4()).unwrap();
    assert_eq!(blocks(&graph)[0].0, 32);
}

#[test]
fn weights_of_outputs_have_one_scale() {
    let (float, graph, _) = quantized(LAYERS, SHAPES, Quantize::int8_weights()).unwrap();
    assert_eq!(blocks(&graph).iter().map(|block| block.0).collect::<Vec<_>>(), [80, 96]);
    let whole = drift(&float, &graph, SHAPES);
    assert!(whole > 0.0 && whole < limit(254.0), "{whole}");
    let options = Quantize::int8_weights().block(BlockRows::new(16).unwrap());
    let (float, graph, _) = quantized(LAYERS, SHAPES, options).unwrap();
    assert_eq!(blocks(&graph).iter().map(|block| block.0).collect::<Vec<_>>(), [16, 16]);
    let blocks = drift(&float, &graph, SHAPES);
    assert!(blocks < whole, "{blocks} and {whole}");
}

#[test]
fn tables_have_a_scale_for_each_row() {
    let text = r#"graph "g" {
  input "x" %0: i64[5]
  %1: f32[100, 48] = constant random(1)
  %2: f32[5, 48] = gather(axis = 0) %1, %0 from "table"
  %3: f32[9, 48] = constant random(2)
  %4: f32[5, 48] = gather(axis = 0) %3, %0 from "small"
  output "y" %2
  output "z" %4
}"#;
    for scheme in [Scheme::Int4, Scheme::Int8Weights] {
        let mut graph = parse(text).unwrap();
        let float = graph.clone();
        let report = quantize(&mut graph, &Quantize::new(scheme), &Files::default(), &[]).unwrap();
        assert_eq!(report.layers.len(), 1);
        assert_eq!((report.layers[0].kind, report.weight_bytes), ("gather", 100 * (48 + 4)));
        crate::passes::optimize(&mut graph, &mut |_, _| {});
        let gathers = graph
            .body
            .nodes
            .iter()
            .filter(|node| matches!(node.op, Op::Gather { .. }));
        let dtypes: Vec<DType> = gathers.map(|node| graph.ty(node.outputs[0]).dtype).collect();
        assert_eq!(dtypes.iter().filter(|dtype| **dtype == DType::I8).count(), 1, "{graph}");
        let rows = [Tensor::new(vec![5], &[3i64, 0, 8, 8, 5])];
        let (expected, found) = (evaluate(&float, &rows).unwrap(), evaluate(&graph, &rows).unwrap());
        let mut sums = Differences::default();
        sums.add(found[0].to_floats().unwrap(), expected[0].to_floats().unwrap());
        assert!(
            sums.relative() > 0.0 && sums.relative() < limit(254.0),
            "{}",
            sums.relative()
        );
        assert_eq!(found[1], expected[1]);
    }
}

#[test]
fn products_of_samples_have_the_least_error() {
    let mut graph = parse(LAYERS).unwrap();
    crate::passes::clean(&mut graph);
    let samples: Vec<_> = (0..4).map(|seed| inputs(SHAPES, seed)).collect();
    let data = Data::new(&graph, &samples);
    let error = |options: Quantize| {
        let mut quantized = graph.clone();
        let files = options
            .data()
            .map(|path| Files::find(path).unwrap())
            .unwrap_or_default();
        quantize(&mut quantized, &options, &files, &[]).unwrap();
        let drift = drift::measure(&graph, &quantized, &layers::find_weights(&graph), &samples).unwrap();
        let layers: Vec<f64> = drift.layers.values().map(Differences::relative).collect();
        (layers[0], drift.relative())
    };
    let (nearest, whole) = error(Quantize::int4());
    let (least, whole_least) = error(Quantize::int4().calibration(data.path()));
    // 80 weights of an output have 32 rows to suit, of which 16 are independent of each other.
    assert!(least < 0.5 * nearest, "{least} and {nearest}");
    assert!(whole_least < 0.8 * whole, "{whole_least} and {whole}");
}

#[test]
fn a_bound_keeps_weights_in_floats() {
    let mut graph = parse(LAYERS).unwrap();
    crate::passes::clean(&mut graph);
    let samples: Vec<_> = (0..4).map(|seed| inputs(SHAPES, seed)).collect();
    let data = Data::new(&graph, &samples);
    let run = |drift: f64| {
        let bound = MaxDrift::new(drift).unwrap();
        let options = Quantize::int8_weights().calibration(data.path()).max_drift(bound);
        let files = Files::find(&data.path()).unwrap();
        quantize(&mut graph.clone(), &options, &files, &[]).unwrap()
    };
    let whole = run(0.5);
    assert!(whole.layers.iter().all(|layer| layer.quantized));
    let least = whole
        .layers
        .iter()
        .map(|layer| layer.drift_alone.unwrap())
        .fold(1.0, f64::min);
    let tight = run(1.01 * least);
    assert_eq!(tight.layers.iter().filter(|layer| layer.quantized).count(), 1);
}

#[test]
fn weights_that_do_not_pay_stay() {
    let error = |text: &str, options: Quantize| quantized(text, &[], options).unwrap_err();
    let none = "the model has no matrix product or table with at least 4096 constant weights of floats outside of branches \
                and loops";
    assert_eq!(
        error(SIMPLE, Quantize::int4()),
        format!("nothing can be quantized to int4: {none}")
    );
    // One output of 4096 weights is packed as 16.
    let one = r#"graph "g" {
  input "x" %0: f32[2, 4096]
  %1: f32[4096, 1] = constant random(1)
  %2: f32[2, 1] = matmul %0, %1
  output "y" %2
}"#;
    assert_eq!(
        error(one, Quantize::int8_weights()),
        format!("nothing can be quantized to int8-weights: {none}")
    );
    let (_, mut graph, _) = quantized(LAYERS, SHAPES, Quantize::int4()).unwrap();
    let again = quantize(&mut graph, &Quantize::int4(), &Files::default(), &[]).unwrap_err();
    assert_eq!(again.message, "the weights of the model are quantized already");
    assert_eq!(
        error(LAYERS, Quantize::int4().observer(Observer::Mse)),
        "the observer mse has no ranges to choose in int4"
    );
    assert_eq!(
        error(LAYERS, Quantize::int8_dynamic().block(BlockRows::default())),
        "there are no blocks of 32 rows in int8-dynamic"
    );
}
