//! What a user is told about files that cannot be compiled.

use onnxide_codegen::Compiler;
use std::fs;

/// A field of protobuf's wire format that holds bytes: a text, or a message.
fn bytes(number: u8, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let mut field = vec![number << 3 | 2];
    let mut length = content.len();
    while length > 127 {
        field.push(length as u8 | 128);
        length >>= 7;
    }
    field.push(length as u8);
    field.extend(content);
    field
}

/// A field that holds a number below 128.
fn number(number: u8, value: u8) -> Vec<u8> {
    vec![number << 3, value]
}

fn node(op: &str, inputs: &[&str], output: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut fields: Vec<_> = inputs.iter().map(|input| bytes(1, input)).collect();
    fields.extend([bytes(2, output), bytes(3, format!("make_{output}")), bytes(4, op)]);
    fields.extend(attributes.iter().map(|attribute| bytes(5, attribute)));
    bytes(1, fields.concat())
}

/// An attribute that holds a text.
fn attribute(name: &str, value: &str) -> Vec<u8> {
    [bytes(1, name), bytes(4, value), vec![0xa0, 1, 3]].concat()
}

/// An input (field 11 of a graph) or an output (12) of `f32`.
fn port(field: u8, name: &str, shape: &[u8]) -> Vec<u8> {
    let dims: Vec<u8> = shape.iter().flat_map(|&size| bytes(1, number(1, size))).collect();
    let tensor = [number(1, 1), bytes(2, dims)].concat();
    bytes(field, [bytes(1, name), bytes(2, bytes(1, tensor))].concat())
}

/// A model of opset 17 with an input `x` of shape `[2, 3]` and an output `y`.
fn model(graph: &[Vec<u8>]) -> Vec<u8> {
    let graph = [graph.concat(), port(11, "x", &[2, 3]), port(12, "y", &[2, 3])].concat();
    [number(1, 8), bytes(7, graph), bytes(8, number(2, 17))].concat()
}

/// What the compiler says about a file with this content.
fn error(content: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    fs::write(&path, content).unwrap();
    let text = Compiler::new(&path).compile_module().unwrap_err().to_string();
    text.replace(&*path.to_string_lossy(), "model.onnx")
}

#[test]
fn the_files_of_these_tests_are_models() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    fs::write(&path, model(&[node("Relu", &["x"], "y", &[])])).unwrap();
    Compiler::new(&path).compile_module().unwrap();
}

#[test]
fn files_that_are_no_models() {
    let digits = fs::read("../models/digits_cnn_fp32.onnx").unwrap();
    let mut corrupt = digits.clone();
    corrupt[20..60].fill(0xff);
    let texts = [
        error(b""),
        error(b"PK\x03\x04 and so on"),
        error(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        error(b"<!DOCTYPE html><html></html>"),
        error(&digits[..digits.len() / 2]),
        error(&corrupt),
    ];
    insta::assert_snapshot!(texts.join("\n"), @r"
    cannot compile model.onnx
      the file is empty
    cannot compile model.onnx
      this looks like a ZIP archive, not an ONNX model
        help: PyTorch checkpoints (.pt) and Keras models are such archives: export the model to ONNX
    cannot compile model.onnx
      this looks like a Git LFS pointer, not an ONNX model
        help: fetch the content itself with `git lfs pull`
    cannot compile model.onnx
      this looks like an HTML or XML page, not an ONNX model
        help: a download may have stored an error page in place of the model
    cannot compile model.onnx
      the file is truncated: it has 46755 bytes and describes 93507
        help: fetch or export the model again
    cannot compile model.onnx
      this is not an ONNX model, or it is damaged (failed to decode Protobuf message: ModelProto.graph: invalid varint)
    ");
}

#[test]
fn operators_that_are_not_known_are_listed_at_once() {
    let mut graph: Vec<_> = (0..9)
        .map(|index| node("Blur", &["x"], &format!("blurred_{index}"), &[]))
        .collect();
    graph.push(node("Sharpen", &["blurred_3"], "sharp", &[]));
    graph.push(node("Relu", &["sharp"], "y", &[]));
    insta::assert_snapshot!(error(&model(&graph)), @r"
    cannot compile model.onnx (2 problems)
      Blur: the operator is not supported
        at `make_blurred_0` (#0), `make_blurred_1` (#1), `make_blurred_2` (#2), `make_blurred_3` (#3), `make_blurred_4` (#4), `make_blurred_5` (#5) ... and 3 more
      Sharpen: the operator is not supported
        at `make_sharp` (#9)
    ");
}

#[test]
fn attributes_and_shapes_that_do_not_fit() {
    let pad = node("Pad", &["x"], "y", &[attribute("mode", "mirror")]);
    let data = [
        number(1, 3),
        number(1, 4),
        number(2, 1),
        bytes(8, "w"),
        bytes(9, [0; 48]),
    ]
    .concat();
    let add = [bytes(5, data), node("Add", &["x", "w"], "y", &[])];
    let texts = [error(&model(&[pad])), error(&model(&add))];
    insta::assert_snapshot!(texts.join("\n"), @r"
    cannot compile model.onnx
      Pad: `mode` = mirror is not supported
        at `make_y` (#0)
    cannot compile model.onnx
      Add: shapes [2, 3] and [3, 4] do not broadcast: 2 against 3
        at `make_y` (#0)
    ");
}

#[test]
fn external_data_that_is_missing() {
    let location = bytes(13, [bytes(1, "location"), bytes(2, "weights.bin")].concat());
    let data = [number(1, 3), number(2, 1), bytes(8, "w"), location, number(14, 1)].concat();
    let text = error(&model(&[bytes(5, data), node("Add", &["x", "w"], "y", &[])]));
    // What follows is in the words of the operating system.
    let told = "cannot compile model.onnx\n  initializer `w`: external data `weights.bin`: ";
    assert!(text.starts_with(told), "{text}");
}
