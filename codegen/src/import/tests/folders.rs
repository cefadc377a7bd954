use std::path::{Path, PathBuf};

use super::super::*;
use crate::frontend;

/// Imports every model of the folder that `ONNXIDE_MODELS` names. Dynamic dimensions get the bounds that
/// `ONNXIDE_DIMS` lists as `name=low..high` or `name=size`, 1 to 64 otherwise.
#[test]
#[ignore = "needs a folder of models"]
fn import_a_folder() {
    let mut failed = Vec::new();
    let folder = PathBuf::from(std::env::var_os("ONNXIDE_MODELS").expect("ONNXIDE_MODELS"));
    let models = models_below(&folder);
    assert!(!models.is_empty(), "no models found");
    for path in models {
        let model = frontend::load(&path).unwrap_or_else(|e| panic!("{e}"));
        let options = listed_dims(&model, 64);
        let start = std::time::Instant::now();
        match import(&model, &options) {
            Ok(graph) => {
                let mut ops = BTreeMap::new();
                count(&graph.body, &mut ops);
                println!("{:.3} s {} {ops:?}", start.elapsed().as_secs_f64(), model.name);
                for constraint in &graph.constraints {
                    println!("    {} = {} ({})", constraint.left, constraint.right, constraint.origin);
                }
                for &result in &graph.body.results {
                    println!("    -> {}", graph.ty(result));
                }
            }
            Err(found) => {
                println!("{found}");
                failed.push(model.name);
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// The bounds that `ONNXIDE_DIMS` lists as `name=low..high` or `name=size`, and up to `limit` for other dimensions.
fn listed_dims(model: &Model, limit: i64) -> Options {
    let listed = std::env::var("ONNXIDE_DIMS").unwrap_or_default();
    let bounds = |name: String| {
        let range = listed
            .split(',')
            .filter_map(|entry| entry.split_once('='))
            .find(|entry| entry.0 == name);
        let Some((_, range)) = range else {
            return (name, 1..=limit);
        };
        let (low, high) = range.split_once("..").unwrap_or((range, range));
        (name, low.parse().expect("a size")..=high.parse().expect("a size"))
    };
    Options {
        dims: dynamic_dims(model).into_iter().map(bounds).collect(),
        ..Options::default()
    }
}

fn models_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(models_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "onnx") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn count(block: &ir::Block, ops: &mut BTreeMap<&'static str, usize>) {
    for node in &block.nodes {
        *ops.entry(node.op.name()).or_default() += 1;
        node.regions.iter().for_each(|region| count(region, ops));
    }
}

/// Imports and evaluates every case of the folder that `ONNXIDE_CASES` names: folders with a `model.onnx` and tensors
/// `ds<k>_in<j>.pb` and `ds<k>_out<j>.pb`, as in the ONNX backend test suite.
#[test]
#[ignore = "needs a folder of cases"]
fn evaluate_a_folder() {
    let folder = PathBuf::from(std::env::var_os("ONNXIDE_CASES").expect("ONNXIDE_CASES"));
    let (mut passed, mut refused, mut wrong) = (0, BTreeMap::new(), Vec::new());
    for path in models_below(&folder) {
        let case = path.parent().unwrap();
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        match evaluate_case(&path, case) {
            Ok(()) => passed += 1,
            Err(Failure::Refused(text)) => *refused.entry(text).or_insert(0) += 1,
            Err(Failure::Wrong(text)) => wrong.push(format!("{name}: {text}")),
        }
    }
    for (text, count) in &refused {
        println!("{count:>5} {text}");
    }
    println!(
        "{passed} passed, {} refused, {} wrong",
        refused.values().sum::<i32>(),
        wrong.len()
    );
    assert!(wrong.is_empty() && passed > 0, "{}", wrong.join("\n"));
}

enum Failure {
    /// The compiler says why it cannot compile the model.
    Refused(String),
    /// The result is not the expected one.
    Wrong(String),
}

fn evaluate_case(path: &Path, case: &Path) -> Result<(), Failure> {
    let refused = |found: &dyn std::fmt::Display| Failure::Refused(found.to_string().lines().skip(1).take(1).collect());
    let mut model = frontend::load(path).map_err(|found| refused(&found))?;
    let read = |kind: &str| -> Option<Vec<ir::Tensor>> {
        let paths = (0..)
            .map(|i| case.join(format!("ds0_{kind}{i}.pb")))
            .take_while(|path| path.exists());
        paths
            .map(|path| tensor(&frontend::read_tensor(&path).ok()?).ok())
            .collect()
    };
    let no_tensors = || Failure::Refused("tensors of an unsupported kind".into());
    let (mut inputs, expected) = (read("in").ok_or_else(no_tensors)?, read("out").ok_or_else(no_tensors)?);
    // The suite passes shapes and the like as inputs. Those that the compiler must know become constants.
    let graph = loop {
        let text = match import(&model, &listed_dims(&model, 1 << 12)) {
            Ok(graph) => break graph,
            Err(found) => found.to_string(),
        };
        let unknown = text
            .split_once("but `")
            .and_then(|(_, rest)| rest.split_once("` is computed at run time"));
        let at = unknown.and_then(|(name, _)| model.graph.inputs.iter().position(|input| input.name == name));
        let Some(at) = at else { return Err(refused(&text)) };
        let name = model.graph.inputs.remove(at).name;
        model.graph.initializers.push((name, constant(&inputs.remove(at))));
    };
    let results = ir::eval::evaluate(&graph, &inputs).map_err(Failure::Wrong)?;
    if results.len() != expected.len() {
        return Err(Failure::Wrong(format!(
            "{} results, not {}",
            results.len(),
            expected.len()
        )));
    }
    results
        .iter()
        .zip(&expected)
        .try_for_each(|(result, expected)| compare(result, expected))
        .map_err(Failure::Wrong)
}

/// A tensor of the graph as one of the model.
fn constant(tensor: &ir::Tensor) -> frontend::Tensor {
    let element = (0..32)
        .filter_map(ElementType::from_onnx)
        .find(|element| dtype(*element) == Ok(tensor.dtype));
    frontend::Tensor {
        element: element.expect("a type of ONNX"),
        shape: tensor.shape.clone(),
        data: TensorData::Bytes(tensor.data.clone()),
    }
}

fn compare(result: &ir::Tensor, expected: &ir::Tensor) -> Result<(), String> {
    if result.dtype != expected.dtype || result.shape != expected.shape {
        return Err(format!("{result:?}, not {expected:?}"));
    }
    let (ir::eval::Numbers::Float(found), ir::eval::Numbers::Float(wanted)) =
        (ir::eval::Numbers::of(result), ir::eval::Numbers::of(expected))
    else {
        return if result.data == expected.data {
            Ok(())
        } else {
            Err("integers differ".into())
        };
    };
    let tolerance = match result.dtype {
        DType::BF16 => 1.0 / 64.0,
        DType::F16 => 1.0 / 512.0,
        _ => 1e-3,
    };
    let scale = wanted
        .iter()
        .filter(|v| v.is_finite())
        .fold(1e-4f64, |scale, value| scale.max(value.abs()));
    for (i, (a, b)) in found.iter().zip(&wanted).enumerate() {
        let close = (a - b).abs() <= tolerance * b.abs() + tolerance * 1e-2 * scale;
        if !(close || a == b || (a.is_nan() && b.is_nan())) {
            return Err(format!("element {i} is {a}, not {b}"));
        }
    }
    Ok(())
}
