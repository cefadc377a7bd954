//! Gradients, against differences of the values.

use super::*;
use crate::ir::Tensor as Value;

fn with_gradient(build: Build, xs: &[&'static str], y: &'static str, operands: &[&str]) -> Build {
    let names = xs.iter().map(|x| x.as_bytes().to_vec().into()).collect();
    let attributes = [("xs", Attribute::Strings(names)), ("y", Attribute::String(y.into()))];
    let outputs: Vec<String> = xs.iter().map(|x| format!("d{x}")).collect();
    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let mut build = build.node("Gradient", operands, &outputs, &attributes);
    build.model.opsets.insert("ai.onnx.preview.training".into(), 1);
    if let Some(node) = build.model.graph.nodes.last_mut() {
        node.domain = "ai.onnx.preview.training".into();
    }
    outputs
        .iter()
        .fold(build.output(y), |build, output| build.output(output))
}

/// A product, a broadcast sum, functions of elements and a mean.
fn network() -> Build {
    Build::new(17)
        .input("a", "2 3")
        .input("w", "3 2")
        .input("b", "2")
        .node("MatMul", &["a", "w"], &["p"], &[])
        .node("Add", &["p", "b"], &["s"], &[])
        .node("Tanh", &["s"], &["t"], &[])
        .node("Exp", &["b"], &["e"], &[])
        .node("Div", &["t", "e"], &["q"], &[])
        .node("Transpose", &["q"], &["r"], &[])
        .node("ReduceMean", &["r"], &["m"], &[("axes", Attribute::Ints(vec![1]))])
        .node("Mul", &["m", "m"], &["y"], &[])
}

#[test]
fn gradients_are_limits_of_differences() {
    let graph = with_gradient(network(), &["a", "w", "b"], "y", &["a", "w", "b"])
        .import(&[])
        .unwrap();
    ir::verify(&graph).unwrap();
    let values = [
        vec![0.1f32, -0.4, 0.3, 0.7, 0.2, -0.6],
        vec![0.5f32, -0.3, 0.8, 0.1, -0.2, 0.4],
        vec![0.2f32, -0.1],
    ];
    let shapes = [vec![2, 3], vec![3, 2], vec![2]];
    let at = |values: &[Vec<f32>]| {
        let inputs: Vec<_> = shapes
            .iter()
            .zip(values)
            .map(|(shape, data)| Value::new(shape.clone(), data))
            .collect();
        ir::eval::evaluate(&graph, &inputs).unwrap()
    };
    let found = at(&values);
    for input in 0..3 {
        let gradient = found[1 + input].to_floats().unwrap();
        assert_eq!(found[1 + input].shape, shapes[input]);
        for element in 0..gradient.len() {
            let total = |step: f32| {
                let mut moved = values.clone();
                moved[input][element] += step;
                at(&moved)[0].to_floats().unwrap().iter().sum::<f64>()
            };
            let difference = (total(0.01) - total(-0.01)) / 0.02;
            let error = (difference - gradient[element]).abs();
            assert!(
                error < 1e-3,
                "input {input}, element {element}: {difference} {}",
                gradient[element]
            );
        }
    }
}

#[test]
fn gradients_that_cannot_be_taken() {
    let at_another_value = with_gradient(network(), &["a"], "y", &["w"]).error(&[]);
    assert!(
        at_another_value.contains("at another value of `a`"),
        "{at_another_value}"
    );
    let softmax = Build::new(17).input("a", "2 3").node("Softmax", &["a"], &["y"], &[]);
    let unknown = with_gradient(softmax, &["a"], "y", &["a"]).error(&[]);
    assert!(
        unknown.contains("the gradient of the primitive `softmax` is not supported"),
        "{unknown}"
    );
}
