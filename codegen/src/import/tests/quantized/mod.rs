//! Operators of quantized tensors. Where a test does not say otherwise, its expectations are those of ONNX Runtime 1.32.

mod blocks;
mod elementwise;
mod layers;
mod linear;
mod pools;
mod products;

use super::types::{element, tensor, values};
use super::*;
use crate::ir::eval::{Numbers, evaluate};

fn ints(dtype: DType, shape: &[usize], values: &[i128]) -> Option<ir::Tensor> {
    let numbers = match dtype {
        DType::Bool => Numbers::Bool(values.iter().map(|&value| value != 0).collect()),
        _ => Numbers::Int(values.to_vec()),
    };
    Some(tensor(dtype, shape, numbers))
}

fn floats(dtype: DType, shape: &[usize], values: &[f64]) -> Option<ir::Tensor> {
    Some(tensor(dtype, shape, Numbers::Float(values.to_vec())))
}

/// A number of rank 0.
fn one(value: f32) -> Option<ir::Tensor> {
    floats(DType::F32, &[], &[value.into()])
}

/// A constant as a model has it.
fn constant(tensor: &ir::Tensor) -> Tensor {
    let bits = tensor.dtype.bits();
    let data: Vec<u8> = match bits {
        2 | 4 => {
            let packed = tensor.data.chunks(8 / bits).map(|numbers| {
                let places = numbers.iter().enumerate();
                places.fold(0, |byte, (place, number)| {
                    byte | (number & ((1 << bits) - 1)) << (place * bits)
                })
            });
            packed.collect()
        }
        _ => tensor.data.to_vec(),
    };
    Tensor {
        element: element(tensor.dtype),
        shape: tensor.shape.clone(),
        data: TensorData::Bytes(data.into()),
    }
}

/// A model of one operator, `Name` or `domain::Name`, with the operands that are there. All but the first may be constant.
fn model(
    op: &str,
    attributes: &[(&str, Attribute)],
    operands: &[Option<ir::Tensor>],
    outputs: &[&str],
    constants: bool,
) -> Build {
    let mut build = Build::new(25);
    let mut names = Vec::new();
    for (index, operand) in operands.iter().enumerate() {
        let Some(operand) = operand else {
            names.push(String::new());
            continue;
        };
        let name = format!("x{index}");
        build = if index > 0 && constants {
            build.constant(&name, constant(operand))
        } else {
            let dims: Vec<String> = operand.shape.iter().map(usize::to_string).collect();
            build.typed_input(&name, element(operand.dtype), &dims.join(" "))
        };
        names.push(name);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (domain, op) = op.split_once("::").unwrap_or(("", op));
    build = build.node(op, &names, outputs, attributes);
    for output in outputs {
        build = build.output(output);
    }
    build.model.graph.nodes[0].domain = domain.into();
    build
}

/// The results of an operator, which are the same for operands that are known and for others.
fn results(
    op: &str,
    attributes: &[(&str, Attribute)],
    operands: &[Option<ir::Tensor>],
    outputs: &[&str],
) -> Vec<ir::Tensor> {
    let given: Vec<ir::Tensor> = operands.iter().flatten().cloned().collect();
    let run = |constants: bool, inputs: &[ir::Tensor]| {
        let model = model(op, attributes, operands, outputs, constants);
        let graph = model.import(&[]).unwrap();
        evaluate(&graph, inputs).unwrap()
    };
    let computed = run(false, &given);
    let first = usize::from(operands[0].is_some());
    assert_eq!(run(true, &given[..first]), computed, "with constants");
    computed
}

fn result(op: &str, attributes: &[(&str, Attribute)], operands: &[Option<ir::Tensor>]) -> ir::Tensor {
    results(op, attributes, operands, &["y"]).swap_remove(0)
}

/// Why an operator is refused.
fn refusal(op: &str, attributes: &[(&str, Attribute)], operands: &[Option<ir::Tensor>]) -> String {
    model(op, attributes, operands, &["y"], false).error(&[])
}

/// A scale and a zero point.
fn scheme(dtype: DType, scale: f32, zero: Option<i128>) -> [Option<ir::Tensor>; 2] {
    [one(scale), zero.and_then(|zero| ints(dtype, &[], &[zero]))]
}

/// A tensor with its scale and zero point.
fn numbers(dtype: DType, shape: &[usize], values: &[i128], scale: f32, zero: Option<i128>) -> [Option<ir::Tensor>; 3] {
    let [scale, zero] = scheme(dtype, scale, zero);
    [ints(dtype, shape, values), scale, zero]
}

fn check(
    op: &str,
    attributes: &[(&str, Attribute)],
    operands: &[&[Option<ir::Tensor>]],
    shape: &[usize],
    expected: &[i128],
) {
    let y = result(&format!("com.microsoft::{op}"), attributes, &operands.concat());
    assert_eq!(Some(&y), ints(y.dtype, shape, expected).as_ref());
}

fn int(name: &str, value: i64) -> (&str, Attribute) {
    (name, Attribute::Int(value))
}

fn float(name: &str, value: f32) -> (&str, Attribute) {
    (name, Attribute::Float(value))
}

fn text<'n>(name: &'n str, value: &str) -> (&'n str, Attribute) {
    (name, Attribute::String(value.as_bytes().to_vec().into()))
}

/// A tensor in the form `f32[2]: 1 2.5`, or none.
fn parsed(text: &str) -> Option<ir::Tensor> {
    use DType::{Bool, F16, F32, I4, I8, I16, I32, I64, U4, U8, U16};
    let (ty, elements) = text.split_once(':')?;
    let (name, shape) = ty.trim_end_matches(']').split_once('[').unwrap();
    let dtypes = [Bool, F16, F32, I4, I8, I16, I32, I64, U4, U8, U16];
    let dtype = dtypes.into_iter().find(|dtype| dtype.to_string() == name).unwrap();
    let sizes = shape.split(", ").filter(|size| !size.is_empty());
    let shape: Vec<usize> = sizes.map(|size| size.parse().unwrap()).collect();
    let values: Vec<f64> = elements
        .split_whitespace()
        .map(|value| value.parse().unwrap())
        .collect();
    match dtype.is_float() {
        true => floats(dtype, &shape, &values),
        false => ints(
            dtype,
            &shape,
            &values.iter().map(|&value| value as i128).collect::<Vec<_>>(),
        ),
    }
}

/// Checks results of an operator; floats may differ by the rounding of sums.
fn expect(op: &str, attributes: &[(&str, Attribute)], operands: &[&str], expected: &[&str]) {
    let operands: Vec<_> = operands.iter().map(|text| parsed(text)).collect();
    let outputs = &["y0", "y1", "y2"][..expected.len()];
    for (found, expected) in results(op, attributes, &operands, outputs).iter().zip(expected) {
        let expected = parsed(expected).unwrap();
        assert_eq!((found.dtype, &found.shape), (expected.dtype, &expected.shape), "{op}");
        let tolerance = if found.dtype.is_float() { 1e-5 } else { 0.0 };
        for (a, b) in values(found).into_iter().zip(values(&expected)) {
            let close = (a - b).abs() <= tolerance * b.abs().max(1.0);
            assert!(close, "{a} is not {b} in the result of {op}");
        }
    }
}
