//! Real models: how many operations of each kind remain. Run by hand:
//! `ONNXIDE_MODELS=folder:folder cargo test -p onnxide-codegen models -- --ignored --nocapture`, each folder with one
//! `NAME/model.onnx` per model. `ONNXIDE_MODEL=NAME` prints the graph of one; `ONNXIDE_EVALUATE=1` evaluates graphs
//! before and after, which takes long for all but small models. `ONNXIDE_SIZES=symbol=8,other=9` fixes sizes.

use crate::frontend;
use crate::import;
use crate::ir::eval::evaluate;
use crate::ir::verify::verify;
use crate::ir::{Block, DType, Dim, Graph, Op, Tensor};
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
    let sizes = std::env::var("ONNXIDE_SIZES").unwrap_or_default();
    let sizes: BTreeMap<&str, i64> = sizes
        .split(',')
        .filter_map(|size| size.split_once('='))
        .map(|(name, size)| (name, size.parse().unwrap()))
        .collect();
    for name in import::dynamic_dims(&model) {
        let range = sizes.get(name.as_str()).map_or(1..=64, |&size| size..=size);
        options.dims.insert(name, range);
    }
    import::import(&model, &options).map_err(|error| format!("{error:?}"))
}

/// Inputs with every symbol 32 or the nearest size within its bounds, which most networks can halve a few times.
fn inputs(graph: &Graph) -> Vec<Tensor> {
    let size = |symbol: &str| {
        let bounds = graph.bounds.get(symbol);
        Some(32.clamp(bounds.low, bounds.high))
    };
    let params = graph.body.params.iter().enumerate();
    params
        .map(|(index, &param)| {
            let ty = graph.ty(param);
            let extent = |dim: &Dim| dim.eval(&size).unwrap() as usize;
            let shape: Vec<usize> = ty.shape.iter().map(extent).collect();
            match ty.dtype {
                dtype if dtype.is_float() || dtype == DType::Bool => Tensor::random(dtype, shape, index as u64),
                dtype => Tensor::random_integers(dtype, shape, index as u64, 0, 1),
            }
        })
        .collect()
}

/// The largest difference between results, relative to the largest magnitude of the expected one.
fn difference(found: &[Tensor], expected: &[Tensor]) -> f64 {
    let mut worst = 0.0f64;
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!((found.dtype, &found.shape), (expected.dtype, &expected.shape));
        let (Some(found), Some(expected)) = (found.to_floats(), expected.to_floats()) else {
            assert_eq!(found.data, expected.data);
            continue;
        };
        let magnitude = expected.iter().fold(f64::MIN_POSITIVE, |most, x| most.max(x.abs()));
        for (a, b) in found
            .iter()
            .zip(&expected)
            .filter(|(a, b)| a != b && !(a.is_nan() && b.is_nan()))
        {
            worst = worst.max((a - b).abs() / magnitude);
        }
    }
    worst
}

#[test]
#[ignore = "needs a folder of models"]
fn models() {
    let folders = std::env::var("ONNXIDE_MODELS").expect("ONNXIDE_MODELS names folders of models");
    let only = std::env::var("ONNXIDE_MODEL").unwrap_or_default();
    let compare = std::env::var_os("ONNXIDE_EVALUATE").is_some();
    for folder in folders.split(':') {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        for path in paths {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if !only.is_empty() && !only.split(',').any(|only| only == name) {
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
            assert_eq!(verify(&graph), Ok(()));
            let inputs = inputs(&graph);
            let expected = compare.then(|| evaluate(&graph, &inputs).unwrap());
            let start = Instant::now();
            let mut changes = 0;
            optimize(&mut graph, &mut |_, _| changes += 1);
            println!(
                "    optimized in {:.0?} ({changes} changes): {}",
                start.elapsed(),
                summary(&graph)
            );
            if let Some(expected) = expected {
                let found = evaluate(&graph, &inputs).unwrap();
                println!("    relative difference {:.1e}", difference(&found, &expected));
            } else if !only.is_empty() {
                println!("{graph}");
            }
        }
    }
}
