//! `onnxide drift`

pub(crate) mod svg;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;

use anyhow::{Context, Result, ensure};
use onnxide_codegen::compiler::LayerReport;
use onnxide_codegen::measure::{self, Decisions, Noise};
use onnxide_codegen::npz::{self, Array};
use onnxide_codegen::{Compiler, Precision, QuantizationReport, Report};
use serde::Serialize;

use crate::args::Drift;
use crate::compare::numbers;
use crate::program::Program;
use crate::{Outcome, model};

/// How far a model in one precision is from itself in another, as it is printed in JSON.
#[derive(Serialize)]
struct Comparison {
    name: String,
    precision: &'static str,
    against: &'static str,
    weight_bytes: u64,
    weight_bytes_against: u64,
    outputs: Vec<Output>,
    layers: Vec<Layer>,
}

/// An output of the model.
#[derive(Serialize)]
struct Output {
    name: String,
    dtype: &'static str,
    shape: Vec<usize>,
    #[serde(flatten)]
    noise: Noise,
    #[serde(flatten)]
    decisions: Option<Decisions>,
}

/// The result of a matrix product or a convolution, with all that has gathered on the way to it.
#[derive(Serialize)]
struct Layer {
    name: String,
    kernel: String,
    /// In what the layer itself multiplies.
    precision: &'static str,
    /// Multiply-accumulate operations, where the kernel is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    macs: Option<u64>,
    weight_bytes: u64,
    weight_bytes_against: u64,
    #[serde(flatten)]
    noise: Noise,
}

pub(crate) fn drift(args: &Drift) -> Result<Outcome> {
    let (precision, quantize) = (args.model.precision, args.model.quantize);
    let against = Precision::F32;
    ensure!(
        precision != against || quantize.is_some(),
        "{against} is what others are compared with; choose one with --precision, such as bf16, or with --quantize"
    );
    let mut arrays: BTreeMap<String, Array> = npz::read(&args.reference)?.into_iter().collect();
    let bound = model::bind(&args.model, &mut arrays, &args.reference)?;
    let run = |compiler: Compiler| -> Result<_> {
        let program = Program::build(compiler, &args.run.operators_from)?;
        let outputs = program.run(&bound.inputs, &args.run)?;
        Ok((program.report, outputs))
    };
    // The results of quantized layers are no floats. How far these are from floats, the compiler has measured.
    let compiler = bound.compiler.clone().layers(quantize.is_none());
    let expected = run(compiler.clone().without_quantization().precision(against))?;
    let found = run(compiler)?;
    let name = quantize.map_or(precision.name(), |scheme| scheme.name());
    let mut comparison = compare(name, against.name(), (&found.0, &found.1), (&expected.0, &expected.1))?;
    if let Some(quantization) = &found.0.quantization {
        comparison.layers = quantized_layers(quantization, name, against.name());
    }
    if let Some(path) = &args.svg {
        fs::write(path, svg::draw(&comparison)).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let mut out = anstream::stdout();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &comparison)?;
        writeln!(out)?;
    } else {
        table::print(&comparison, &mut out)?;
    }
    Ok(Outcome::Success)
}

/// A report and the outputs, those of layers among them.
type Ran<'a> = (&'a Report, &'a [(String, Array)]);

fn compare(precision: &'static str, against: &'static str, found: Ran<'_>, expected: Ran<'_>) -> Result<Comparison> {
    let named = |(_, arrays): Ran<'_>, name: &str| -> Result<Array> {
        let array = arrays.iter().find(|(other, _)| other == name);
        Ok(array
            .with_context(|| format!("the program has no output `{name}`"))?
            .1
            .clone())
    };
    let pair = |name: &str| -> Result<[Array; 2]> {
        let pair = [named(found, name)?, named(expected, name)?];
        ensure!(
            pair[0].dtype == pair[1].dtype && pair[0].shape == pair[1].shape,
            "output `{name}` has the shape {:?} in {precision} and {:?} in {against}",
            pair[0].shape,
            pair[1].shape
        );
        Ok(pair)
    };
    let is_layer = |name: &str| expected.0.layers.iter().any(|layer| layer.output == name);
    let mut outputs = Vec::new();
    for port in &expected.0.outputs {
        if is_layer(&port.name) {
            continue;
        }
        let [found, expected] = pair(&port.name)?;
        outputs.push(Output {
            name: port.name.clone(),
            dtype: found.dtype.name(),
            shape: found.shape.clone(),
            noise: measure::noise(numbers(&found), numbers(&expected)),
            decisions: decisions(&found, &expected),
        });
    }
    let mut layers = Vec::new();
    for LayerReport {
        output, weight_bytes, ..
    } in &expected.0.layers
    {
        let Some(layer) = found.0.layers.iter().find(|layer| layer.output == *output) else {
            continue;
        };
        let [found, expected] = pair(output)?;
        layers.push(Layer {
            name: output.clone(),
            kernel: layer.kernel.clone(),
            precision: layer.precision,
            macs: Some(layer.macs),
            weight_bytes: layer.weight_bytes,
            weight_bytes_against: *weight_bytes,
            noise: measure::noise(numbers(&found), numbers(&expected)),
        });
    }
    Ok(Comparison {
        name: found.0.name.clone(),
        precision,
        against,
        weight_bytes: found.0.weight_bytes,
        weight_bytes_against: expected.0.weight_bytes,
        outputs,
        layers,
    })
}

/// The layers of a quantized model, with the noise that the compiler has measured.
fn quantized_layers(report: &QuantizationReport, scheme: &'static str, against: &'static str) -> Vec<Layer> {
    let layers = report.layers.iter().filter_map(|layer| {
        Some(Layer {
            name: layer.name.clone(),
            kernel: layer.kind.to_owned(),
            precision: if layer.quantized { scheme } else { against },
            macs: None,
            weight_bytes: layer.weight_bytes,
            weight_bytes_against: layer.weight_bytes_before,
            noise: layer.noise?,
        })
    });
    layers.collect()
}

fn decisions(found: &Array, expected: &Array) -> Option<Decisions> {
    let name = found.dtype.name();
    let is_float = name.starts_with("float") || name.starts_with("bfloat");
    let [a, b] = [found, expected].map(|array| numbers(array).collect::<Vec<f64>>());
    measure::decisions(&a, &b, &found.shape, is_float)
}

#[cfg(test)]
mod tests {
    use onnxide_codegen::compiler::PortReport;
    use onnxide_runtime::element::DType;

    use super::*;

    pub(super) fn floats(shape: &[usize], values: &[f32]) -> Array {
        Array {
            dtype: DType::F32,
            shape: shape.to_vec(),
            data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }

    fn ran(precision: &'static str, weight_bytes: u64, values: &[f32]) -> (Report, Vec<(String, Array)>) {
        let layer = |output: &str, kernel: &str, precision, weight_bytes| LayerReport {
            output: output.into(),
            kernel: kernel.into(),
            precision,
            macs: 4096,
            weight_bytes,
        };
        let port = |name: &str| PortReport {
            name: name.into(),
            dtype: "float32".into(),
            shape: Vec::new(),
        };
        let report = Report {
            name: "cat".into(),
            weight_bytes: weight_bytes + 64,
            outputs: ["scores", "/conv<1>", "/depthwise"].map(port).into(),
            layers: vec![
                layer("/conv<1>", "conv_3x3_relu", precision, weight_bytes),
                layer("/depthwise", "depthwise_conv_3x3", "f32", 64),
            ],
            ..Report::default()
        };
        let outputs = vec![
            ("scores".into(), floats(&[2, 2], values)),
            ("/conv<1>".into(), floats(&[4], values)),
            ("/depthwise".into(), floats(&[2], &[1.0, -1.0])),
        ];
        (report, outputs)
    }

    /// Two layers, one of which is rounded, and two decisions, one of which is another.
    pub(super) fn comparison() -> Comparison {
        let (report, outputs) = ran("bf16", 2048, &[1.0, 2.0, 3.5, 4.0]);
        let (report_against, outputs_against) = ran("f32", 4096, &[1.0, 2.0, 4.5, 4.0]);
        compare("bf16", "f32", (&report, &outputs), (&report_against, &outputs_against)).unwrap()
    }

    #[test]
    fn outputs_and_layers_are_told_apart() {
        let json = serde_json::to_string_pretty(&comparison()).unwrap();
        insta::assert_snapshot!(json);
    }

    #[test]
    fn sizes_that_depend_on_data_may_differ() {
        let (report, outputs) = ran("bf16", 2048, &[1.0; 4]);
        let mut shorter = outputs.clone();
        shorter[0].1 = floats(&[1, 2], &[1.0; 2]);
        let error = compare("bf16", "f32", (&report, &shorter), (&report, &outputs));
        assert_eq!(
            error.err().unwrap().to_string(),
            "output `scores` has the shape [1, 2] in bf16 and [2, 2] in f32"
        );
    }
}
