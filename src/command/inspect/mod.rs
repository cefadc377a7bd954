//! `onnxide inspect`

mod picture;
mod svg;
mod table;

use std::fs;
use std::io::Write;

use anyhow::{Context, Result};

pub(crate) use table::nodes;

use crate::Outcome;
use crate::args::Inspect;
use crate::term;

pub(crate) fn inspect(args: &Inspect) -> Result<Outcome> {
    let module = term::with_spinner("Compiling", || args.model.compiler().compile_module())?;
    let report = &module.report;
    if let Some(path) = &args.svg {
        fs::write(path, svg::draw(report)).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let mut out = anstream::stdout();
    if args.json {
        serde_json::to_writer_pretty(&mut out, report)?;
        writeln!(out)?;
    } else {
        table::print(report, &mut out)?;
    }
    Ok(Outcome::Success)
}

#[cfg(test)]
mod tests {
    use onnxide_codegen::compiler::{PortReport, Report, SlotReport, StepReport, SymbolReport};

    /// Three steps, of which the second needs the whole arena.
    pub(super) fn report() -> Report {
        let step = |kernel: &str, nodes: &[&str], result: &str, macs, weight_bytes, live_bytes| StepReport {
            kernel: kernel.into(),
            nodes: nodes.iter().map(ToString::to_string).collect(),
            results: vec![result.into()],
            macs,
            int8: false,
            threads: 1,
            weight_bytes,
            live_bytes,
        };
        let slot = |name: &str, offset, bytes, first, last| SlotReport {
            name: name.into(),
            offset,
            bytes,
            first,
            last,
        };
        let port = |name: &str, shape: &[&str]| PortReport {
            name: name.into(),
            dtype: "float32".into(),
            shape: shape.iter().map(ToString::to_string).collect(),
        };
        Report {
            name: "cat".into(),
            model_hash: "5fec".into(),
            symbols: vec![SymbolReport {
                name: "batch".into(),
                min: 1,
                max: 8,
            }],
            inputs: vec![port("image", &["batch", "64"])],
            outputs: vec![port("a<b", &["batch", "2"])],
            steps: vec![
                step(
                    "gemm",
                    &["/layer.0/MatMul", "/layer.0/Add", "/layer.0/Relu"],
                    "f32[batch, 128]",
                    65_536,
                    33_280,
                    4096,
                ),
                step("gemm", &["/layer.1/MatMul"], "f32[batch, 96]", 98_304, 49_152, 7168),
                step("softmax", &["a<b"], "f32[batch, 2]", 0, 0, 3136),
            ],
            slots: vec![
                slot("h", 0, 4096, 0, 1),
                slot("g", 4096, 3072, 1, 2),
                slot("a<b", 0, 64, 2, 2),
            ],
            arena_bytes: 7424,
            arena_lower_bound: 7168,
            weight_bytes: 82_432,
            decisions: Vec::new(),
            layers: Vec::new(),
            quantization: None,
        }
    }
}
