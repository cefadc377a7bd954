//! Operators that read and write at computed places, and what a run must refuse.

use super::*;
use crate::ir::Tensor as Value;

fn list(values: &[f32]) -> Value {
    Value::new(vec![values.len()], values)
}

pub(super) fn matrix(rows: usize, columns: usize, values: &[f32]) -> Value {
    Value::new(vec![rows, columns], values)
}

fn indices(shape: &[usize], values: &[i64]) -> Value {
    Value::new(shape.to_vec(), values)
}

/// What an operator of some version makes of inputs that only the run knows.
pub(super) fn results(
    (opset, op): (i64, &str),
    attributes: &[(&str, Attribute)],
    inputs: &[Value],
    outputs: &[&str],
) -> Result<Vec<Value>, String> {
    let names: Vec<String> = (0..inputs.len()).map(|index| format!("x{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut build = Build::new(opset);
    for (name, input) in names.iter().zip(inputs) {
        let element = match input.dtype {
            DType::I64 => ElementType::Int64,
            DType::F64 => ElementType::Double,
            DType::Bool => ElementType::Bool,
            _ => ElementType::Float,
        };
        let dims: Vec<String> = input.shape.iter().map(usize::to_string).collect();
        build = build.typed_input(name, element, &dims.join(" "));
    }
    build = build.node(op, &names, outputs, attributes);
    let build = outputs
        .iter()
        .filter(|name| !name.is_empty())
        .fold(build, |build, output| build.output(output));
    let graph = build.import(&[]).map_err(|found| found.to_string())?;
    ir::verify(&graph).map_err(|found| format!("{found:?}"))?;
    ir::eval::evaluate(&graph, inputs).map_err(|error| error.to_string())
}

pub(super) fn result(op: &str, attributes: &[(&str, Attribute)], inputs: &[Value]) -> Result<Vec<f64>, String> {
    Ok(results((22, op), attributes, inputs, &["y"])?[0].to_floats().unwrap())
}

#[test]
fn scatter_along_an_axis() {
    let data = matrix(2, 3, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let axis = ("axis", Attribute::Int(1));
    let scatter = |reduction: &'static str, at: &[i64], updates: &[f32]| {
        let reduction = ("reduction", Attribute::String(reduction.into()));
        let shape = [2, at.len() / 2];
        let inputs = [data.clone(), indices(&shape, at), Value::new(shape.to_vec(), updates)];
        result("ScatterElements", &[axis.clone(), reduction], &inputs)
    };
    // Negative indices count from the end; the last of several updates stays.
    assert_eq!(
        scatter("none", &[0, 0, -1, 1], &[10.0, 11.0, 12.0, 13.0]).unwrap(),
        [11.0, 2.0, 3.0, 4.0, 13.0, 12.0]
    );
    assert_eq!(
        scatter("mul", &[0, 0, -1, 1], &[2.0, 3.0, 4.0, 5.0]).unwrap(),
        [6.0, 2.0, 3.0, 4.0, 25.0, 24.0]
    );
    assert_eq!(
        scatter("max", &[1, 1], &[0.0, 9.0]).unwrap(),
        [1.0, 2.0, 3.0, 4.0, 9.0, 6.0]
    );
    for outside in [3, -4] {
        let error = scatter("add", &[0, outside], &[1.0, 1.0]).unwrap_err();
        assert!(error.contains("the indices are from -3 to 3 - 1"), "{error}");
    }
}

#[test]
fn scatter_of_slices() {
    let data = matrix(3, 2, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let add = [("reduction", Attribute::String("add".into()))];
    let scatter = |at: &[i64]| {
        let rows = at.len();
        let updates = Value::new(vec![rows, 2], &vec![10.0f32; 2 * rows]);
        result("ScatterND", &add, &[data.clone(), indices(&[rows, 1], at), updates])
    };
    assert_eq!(scatter(&[2, -3, 2]).unwrap(), [11.0, 12.0, 3.0, 4.0, 25.0, 26.0]);
    let error = scatter(&[0, 3]).unwrap_err();
    assert!(error.contains("the indices are within shape [3]"), "{error}");
    let points = [indices(&[2, 2], &[1, 1, 2, 0]), list(&[7.0, 8.0])];
    let inputs = [vec![data.clone()], points.to_vec()].concat();
    assert_eq!(
        result("ScatterND", &[], &inputs).unwrap(),
        [1.0, 2.0, 3.0, 7.0, 8.0, 6.0]
    );
}

#[test]
fn losses_weigh_classes_and_ignore_targets() {
    let x = matrix(3, 2, &[-1.0, -2.0, -3.0, -4.0, -5.0, -6.0]);
    let loss = |reduction: &'static str, targets: &[i64]| {
        let attributes = [
            ("reduction", Attribute::String(reduction.into())),
            ("ignore_index", Attribute::Int(-7)),
        ];
        let inputs = [x.clone(), indices(&[3], targets), list(&[1.0, 3.0])];
        result("NegativeLogLikelihoodLoss", &attributes, &inputs)
    };
    assert_eq!(loss("none", &[0, 1, -7]).unwrap(), [1.0, 12.0, 0.0]);
    assert_eq!(loss("sum", &[0, 1, -7]).unwrap(), [13.0]);
    assert_eq!(loss("mean", &[0, 1, -7]).unwrap(), [13.0 / 4.0]);
    let error = loss("mean", &[0, 2, 0]).unwrap_err();
    assert!(error.contains("every class has a score"), "{error}");
    // The scores of two classes that differ by ln 3 are probabilities of 1/4 and 3/4.
    let scores = matrix(1, 2, &[0.0, 3f32.ln()]);
    let inputs = [scores, indices(&[1], &[1])];
    let found = results((13, "SoftmaxCrossEntropyLoss"), &[], &inputs, &["y", "log"]).unwrap();
    assert!((found[0].to_floats().unwrap()[0] - (4f64 / 3.0).ln()).abs() < 1e-6);
    assert!((found[1].to_floats().unwrap()[0] + 4f64.ln()).abs() < 1e-6);
}

#[test]
fn broadcasts_of_the_first_versions_start_at_an_axis() {
    let x = matrix(2, 2, &[1.0, 2.0, 3.0, 4.0]);
    let attributes = [("broadcast", Attribute::Int(1)), ("axis", Attribute::Int(0))];
    let sum = results((6, "Add"), &attributes, &[x.clone(), list(&[10.0, 20.0])], &["y"]).unwrap();
    assert_eq!(sum[0].to_floats().unwrap(), [11.0, 12.0, 23.0, 24.0]);
    let suffix = results((6, "Add"), &attributes[..1], &[x.clone(), list(&[10.0, 20.0])], &["y"]).unwrap();
    assert_eq!(suffix[0].to_floats().unwrap(), [11.0, 22.0, 13.0, 24.0]);
    let x = matrix(2, 2, &[1.0, -2.0, -3.0, -4.0]);
    let slopes = Value::new(vec![2], &[10.0f32, 20.0]);
    let sloped = results((6, "PRelu"), &[], &[x, slopes], &["y"]).unwrap();
    assert_eq!(sloped[0].to_floats().unwrap(), [1.0, -40.0, -30.0, -80.0]);
}

#[test]
fn batch_normalization_in_training_moves_the_statistics() {
    let x = matrix(2, 2, &[1.0, 10.0, 3.0, 30.0]);
    let parameters = [
        list(&[1.0, 2.0]),
        list(&[0.0, 1.0]),
        list(&[0.0, 0.0]),
        list(&[1.0, 1.0]),
    ];
    let inputs = [vec![x], parameters.to_vec()].concat();
    let attributes = [
        ("training_mode", Attribute::Int(1)),
        ("momentum", Attribute::Float(0.5)),
        ("epsilon", Attribute::Float(0.0)),
    ];
    let found = results((15, "BatchNormalization"), &attributes, &inputs, &["y", "m", "v"]).unwrap();
    let rounded = |value: &Value| {
        value
            .to_floats()
            .unwrap()
            .iter()
            .map(|v| (v * 1e4).round() / 1e4)
            .collect::<Vec<_>>()
    };
    assert_eq!(rounded(&found[0]), [-1.0, -1.0, 1.0, 3.0]);
    assert_eq!(rounded(&found[1]), [1.0, 10.0]);
    assert_eq!(rounded(&found[2]), [1.0, 50.5]);
}

#[test]
fn optimizers_take_a_step() {
    let scalar = |value: f32| Value::scalar(value);
    let mut build = Build::new(12);
    build.model.opsets.insert("ai.onnx.preview.training".into(), 1);
    for (name, dims) in [("r", ""), ("x", "1"), ("g", "1"), ("v", "1")] {
        build = build.input(name, dims);
    }
    let attributes = [
        ("alpha", Attribute::Float(0.5)),
        ("beta", Attribute::Float(0.25)),
        ("norm_coefficient", Attribute::Float(0.5)),
        ("mode", Attribute::String("nesterov".into())),
    ];
    build = build.typed_input("t", ElementType::Int64, "");
    let mut build = build.node("Momentum", &["r", "t", "x", "g", "v"], &["y", "w"], &attributes);
    build.model.graph.nodes[0].domain = "ai.onnx.preview.training".into();
    let graph = build.output("y").output("w").import(&[]).unwrap();
    let step = |count: i64| {
        let inputs = [
            scalar(0.5),
            list(&[4.0]),
            list(&[6.0]),
            list(&[2.0]),
            Value::scalar(count),
        ];
        let found = ir::eval::evaluate(&graph, &inputs).unwrap();
        [found[0].to_floats().unwrap()[0], found[1].to_floats().unwrap()[0]]
    };
    // The gradient with its penalty is 8; the first counts in full.
    assert_eq!(step(0), [4.0 - 0.5 * (8.0 + 0.5 * 9.0), 9.0]);
    assert_eq!(step(1), [4.0 - 0.5 * (8.0 + 0.5 * 3.0), 3.0]);
}

#[test]
fn einsum_with_ellipses_and_diagonals() {
    let einsum = |equation: &'static str, inputs: &[Value]| {
        result("Einsum", &[("equation", Attribute::String(equation.into()))], inputs)
    };
    let square = Value::new(vec![2, 2, 2], &[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    assert_eq!(
        einsum("...ii->...i", std::slice::from_ref(&square)).unwrap(),
        [1.0, 4.0, 5.0, 8.0]
    );
    assert_eq!(einsum("bii", std::slice::from_ref(&square)).unwrap(), [5.0, 13.0]);
    // The axis of size 1 that the ellipsis stands for broadcasts.
    let row = Value::new(vec![1, 2], &[10.0f32, 1.0]);
    let matrix = matrix(3, 2, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!(einsum("...i,...i", &[matrix.clone(), row]).unwrap(), [12.0, 34.0, 56.0]);
    assert!(einsum("...i...->i", &[matrix]).is_err());
}

#[test]
fn determinants_pivot() {
    let matrices = Value::new(
        vec![3, 2, 2],
        &[0.0f32, 2.0, 3.0, 5.0, 1.0, 2.0, 2.0, 4.0, 2.0, 1.0, 1.0, 3.0],
    );
    assert_eq!(result("Det", &[], &[matrices]).unwrap(), [-6.0, 0.0, 5.0]);
}

#[test]
fn positions_of_the_largest_elements() {
    let x = Value::new(
        vec![1, 2, 2, 3],
        &[1.0f32, 5.0, 2.0, 5.0, 3.0, 4.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0],
    );
    let kernel = ("kernel_shape", Attribute::Ints(vec![2, 2]));
    let found = |order: i64| {
        let order = ("storage_order", Attribute::Int(order));
        let results = results(
            (12, "MaxPool"),
            &[kernel.clone(), order],
            std::slice::from_ref(&x),
            &["y", "at"],
        )
        .unwrap();
        results[1].to_ints().unwrap()
    };
    assert_eq!(found(0), [1, 1, 6, 7]);
    assert_eq!(found(1), [2, 2, 6, 8]);
}

#[test]
fn sequences_are_reversed_by_their_lengths() {
    let x = matrix(2, 3, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let axes = [("batch_axis", Attribute::Int(0)), ("time_axis", Attribute::Int(1))];
    let reverse = |lengths: &[i64]| result("ReverseSequence", &axes, &[x.clone(), indices(&[2], lengths)]);
    assert_eq!(reverse(&[2, 3]).unwrap(), [2.0, 1.0, 3.0, 6.0, 5.0, 4.0]);
    assert!(reverse(&[2, 4]).unwrap_err().contains("from 0 to 3"));
}
