//! Real models: how many operations of each kind remain. Run by hand:
//! `ONNXIDE_MODELS=folder:folder cargo test -p onnxide-codegen models -- --ignored --nocapture`, each folder with one
//! `NAME/model.onnx` per model. `ONNXIDE_MODEL=NAME` shows the nodes of one.

use super::support::text;
use crate::frontend;
use crate::import;
use crate::ir::{Block, Graph, Op};
use crate::passes::optimize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Counts the operations of a block and its regions; `+` marks an epilogue.
fn count(block: &Block, counts: &mut BTreeMap<String, usize>) {
    for node in &block.nodes {
        if matches!(node.op, Op::Constant(_)) {
            continue;
        }
        let epilogue = if node.op.epilogue().is_some() { "+" } else { "" };
        *counts.entry(format!("{}{epilogue}", node.op.name())).or_default() += 1;
        for region in &node.regions {
            count(region, counts);
        }
    }
}

fn summary(graph: &Graph) -> String {
    let mut counts = BTreeMap::new();
    count(&graph.body, &mut counts);
    let parts: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    parts.join(", ")
}

fn load(path: &Path) -> Result<Graph, String> {
    let model = frontend::load(path).map_err(|error| error.to_string())?;
    let mut options = import::Options::default();
    for name in import::dynamic_dims(&model) {
        options.dims.insert(name, 1..=64);
    }
    import::import(&model, &options).map_err(|error| format!("{error:?}"))
}

#[test]
#[ignore = "needs a folder of models"]
fn models() {
    let folders = std::env::var("ONNXIDE_MODELS").expect("ONNXIDE_MODELS names folders of models");
    let only = std::env::var("ONNXIDE_MODEL").unwrap_or_default();
    for folder in folders.split(':') {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        for path in paths {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if !only.is_empty() && name != only {
                continue;
            }
            let start = Instant::now();
            let mut graph = match load(&path.join("model.onnx")) {
                Ok(graph) => graph,
                Err(error) => {
                    println!("{name}: {error:.600}");
                    continue;
                }
            };
            println!("{name}: imported in {:.0?}: {}", start.elapsed(), summary(&graph));
            let mut changes: Vec<&'static str> = Vec::new();
            let start = Instant::now();
            optimize(&mut graph, &mut |pass, _| changes.push(pass));
            println!(
                "    optimized in {:.0?} ({} changes): {}",
                start.elapsed(),
                changes.len(),
                summary(&graph)
            );
            if !only.is_empty() {
                println!("{changes:?}");
                show(&graph, &graph.body, 0);
            }
        }
    }
}

fn show(graph: &Graph, block: &Block, depth: usize) {
    for node in &block.nodes {
        let inputs: Vec<String> = node
            .inputs
            .iter()
            .map(|&input| format!("{input}:{}", graph.ty(input)))
            .collect();
        let detail = match &node.op {
            Op::Constant(_) => continue,
            Op::Elementwise { expr, .. } => text(expr, expr.result()),
            op if op.epilogue().is_some() => op
                .epilogue()
                .map(|epilogue| text(&epilogue.expr, epilogue.expr.result()))
                .unwrap(),
            Op::Transpose { permutation } => format!("{permutation:?}"),
            Op::Reduce { kind, axes, .. } => format!("{kind:?} {axes:?}"),
            Op::Normalize {
                kind,
                axis,
                scale,
                bias,
                ..
            } => format!("{kind:?} {axis} {scale} {bias}"),
            Op::Attention { scale, mask, .. } => format!("{scale} {mask}"),
            _ => String::new(),
        };
        let outputs: Vec<String> = node
            .outputs
            .iter()
            .map(|&output| format!("{output}:{}", graph.ty(output)))
            .collect();
        println!(
            "{:depth$}{} = {} {detail} ({})",
            "",
            outputs.join(", "),
            node.op.name(),
            inputs.join(", ")
        );
        for region in &node.regions {
            println!("{:depth$}  region {:?}", "", region.params);
            show(graph, region, depth + 4);
        }
    }
}
