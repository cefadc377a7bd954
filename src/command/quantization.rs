//! What quantization has done to a model, as `compile` shows it.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};
use onnxide_codegen::QuantizationReport;

use crate::drift::svg::{self, Bar, CHANGED, OUTPUT, UNCHANGED};
use crate::term::{self, BOLD};

/// Writes the report as JSON.
pub(crate) fn write_json(report: &QuantizationReport, path: &Path) -> Result<()> {
    let mut json = serde_json::to_string_pretty(report)?;
    json.push('\n');
    fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a picture of the report.
pub(crate) fn write_svg(name: &str, report: &QuantizationReport, path: &Path) -> Result<()> {
    fs::write(path, draw(name, report)).with_context(|| format!("cannot write {}", path.display()))
}

fn draw(name: &str, report: &QuantizationReport) -> String {
    let layers = report.layers.iter().filter_map(|layer| {
        Some(Bar {
            name: &layer.name,
            kind: layer.kind,
            snr_db: layer.noise?.snr_db,
            color: if layer.quantized { CHANGED } else { UNCHANGED },
        })
    });
    let outputs = report.outputs.iter().map(|output| Bar {
        name: &output.name,
        kind: "output",
        snr_db: output.noise.snr_db,
        color: OUTPUT,
    });
    let title = format!(
        "{name}: signal to noise of {} over {} samples, weights of layers {} of {}",
        report.scheme,
        report.measured,
        term::bytes(report.weight_bytes),
        term::bytes(report.weight_bytes_before)
    );
    svg::bars(&title, &layers.chain(outputs).collect::<Vec<_>>())
}

/// Prints what was quantized, and how far the outputs are from those in floats.
pub(crate) fn print(report: &QuantizationReport, out: &mut impl Write) -> io::Result<()> {
    let quantized = report.layers.iter().filter(|layer| layer.quantized).count();
    writeln!(
        out,
        "{BOLD}{}{BOLD:#}: {quantized} of {} layers, their weights {} of {}",
        report.scheme,
        report.layers.len(),
        term::bytes(report.weight_bytes),
        term::bytes(report.weight_bytes_before)
    )?;
    for output in &report.outputs {
        let ratio = match output.noise.snr_db {
            ratio if ratio == f64::INFINITY => "exact".to_owned(),
            ratio => format!("SNR {ratio:.1} dB"),
        };
        write!(
            out,
            "  {}: {ratio}, largest error {:.3} % of the range",
            output.name,
            100.0 * output.noise.error_over_range
        )?;
        if let Some(decisions) = output.decisions {
            let (agreeing, all) = (decisions.agreeing_decisions, decisions.decisions);
            write!(out, ", {agreeing} of {all} decisions agree")?;
        }
        writeln!(out, " (over {} of {} samples)", report.measured, report.samples)?;
    }
    for layer in report.layers.iter().filter(|layer| layer.reads_zeros) {
        writeln!(
            out,
            "  {} stays in floats: what it reads is zero in every sample",
            layer.name
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use onnxide_codegen::measure::{Decisions, Noise};
    use onnxide_codegen::quantize::{QuantizedLayer, QuantizedOutput};

    use super::*;

    fn report() -> QuantizationReport {
        let noise = |snr_db: f64| Noise {
            snr_db,
            error_over_range: 0.01,
        };
        let layer = |name: &str, kind, quantized: bool| QuantizedLayer {
            name: name.into(),
            kind,
            quantized,
            reads_zeros: !quantized,
            noise: Some(noise(if quantized { 35.0 } else { f64::INFINITY })),
            drift_alone: Some(0.02),
            weight_bytes_before: 4096,
            weight_bytes: if quantized { 1088 } else { 4096 },
        };
        QuantizationReport {
            scheme: "int8",
            observer: Some("mse"),
            samples: 64,
            measured: 32,
            drift: Some(0.0178),
            max_drift: Some(0.02),
            weight_bytes_before: 8192,
            weight_bytes: 5184,
            layers: vec![layer("/stem<1>", "conv", false), layer("/fc", "matmul", true)],
            outputs: vec![QuantizedOutput {
                name: "scores".into(),
                noise: noise(35.0),
                decisions: Some(Decisions {
                    agreeing_decisions: 31,
                    decisions: 32,
                }),
            }],
        }
    }

    #[test]
    fn a_summary_is_printed() {
        let mut text = Vec::new();
        print(&report(), &mut text).unwrap();
        let plain = anstream::adapter::strip_bytes(&text).into_vec();
        insta::assert_snapshot!(String::from_utf8(plain).unwrap(), @r"
        int8: 1 of 2 layers, their weights 5.1 KiB of 8.0 KiB
          scores: SNR 35.0 dB, largest error 1.000 % of the range, 31 of 32 decisions agree (over 32 of 64 samples)
          /stem<1> stays in floats: what it reads is zero in every sample
        ");
    }

    #[test]
    fn every_layer_and_output_is_a_bar() {
        insta::assert_snapshot!(draw("cat", &report()));
    }

    #[test]
    fn the_report_is_json() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&report()).unwrap());
    }
}
