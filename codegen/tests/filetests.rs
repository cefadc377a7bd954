//! Graphs in text form, what is done to them, and what becomes of them, each in a file of `filetests/`.
//!
//! A file begins with comments, among them directives, then comes a graph. After the line `// ---` comes the expected text.
//!
//! - `// run: views, dce` runs passes; the expected text is that of the graph afterwards. The graph must be
//!   [valid](verify) before and after every pass, and compute the same on random inputs for several values of its symbols.
//!   `optimize` stands for all passes in their order.
//! - `// run: verify` expects the violations of a graph, one a line.
//! - `// run: print` expects the text of the graph as it is.
//! - `// run: parse` expects the error of a text that cannot be read.
//! - `// integers: 0..=9` bounds the integers of random inputs, such as indices.
//!
//! With `BLESS=1` in the environment the expected texts are rewritten, with `FILETEST=views` only files whose path contains
//! `views` are run.

use onnxide_codegen::ir::eval::{Numbers, evaluate};
use onnxide_codegen::ir::sample::SplitMix;
use onnxide_codegen::ir::{Bounds, DType, Graph, Interval, Tensor, parse, verify};
use onnxide_codegen::passes;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The line before the expected text.
const DIVIDER: &str = "// ---\n";

/// For how many values of the symbols a graph is evaluated, and the largest of these values, unless the bounds are above.
const SAMPLES: usize = 4;
const SPAN: i64 = 6;

#[test]
fn filetests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filetests");
    let filter = std::env::var("FILETEST").unwrap_or_default();
    let bless = std::env::var_os("BLESS").is_some_and(|value| value == "1");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    let mut failures = Vec::new();
    let mut count = 0;
    for file in files {
        let name = file.strip_prefix(&root).unwrap_or(&file).display().to_string();
        if !name.contains(&filter) {
            continue;
        }
        count += 1;
        if let Err(error) = check(&file, bless) {
            failures.push(format!("{name}: {error}"));
        }
    }
    assert!(count > 0, "no file contains {filter:?} in its path");
    assert!(
        failures.is_empty(),
        "{} of {count} files fail\n\n{}",
        failures.len(),
        failures.join("\n\n")
    );
}

#[test]
fn every_pass_has_a_file_of_its_own() {
    let mut files = Vec::new();
    collect(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filetests"),
        &mut files,
    );
    let runs: Vec<String> = files
        .iter()
        .flat_map(|file| {
            let text = fs::read_to_string(file).expect("a readable file");
            let lines = text.lines().filter_map(|line| line.strip_prefix("// run: "));
            lines
                .flat_map(|passes| passes.split(", "))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    for pass in passes::PASSES {
        assert!(
            runs.iter().any(|run| run == pass.name),
            "no file runs {} alone",
            pass.name
        );
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder of the filetests is readable") {
        let path = entry.expect("an entry of the folder").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "oxir") {
            files.push(path);
        }
    }
}

fn check(file: &Path, bless: bool) -> Result<(), String> {
    let text = fs::read_to_string(file)
        .map_err(|error| error.to_string())?
        .replace("\r\n", "\n");
    let (input, expected) = match text.split_once(DIVIDER) {
        Some(parts) => parts,
        None if bless => (text.as_str(), ""),
        None => return Err("no expected text; BLESS=1 writes it".into()),
    };
    let found = run(input)?;
    if found == expected {
        return Ok(());
    }
    if bless {
        let separator = if input.ends_with('\n') { "" } else { "\n" };
        let blessed = format!("{input}{separator}{DIVIDER}{found}");
        return fs::write(file, blessed).map_err(|error| error.to_string());
    }
    Err(format!("expected\n{expected}\nbut found (BLESS=1 accepts it)\n{found}"))
}

/// The value of a directive.
fn directive<'a>(input: &'a str, key: &str) -> Option<&'a str> {
    let comments = input.lines().map_while(|line| line.strip_prefix("//"));
    comments
        .filter_map(|line| line.trim().strip_prefix(key)?.strip_prefix(':'))
        .map(str::trim)
        .next()
}

fn run(input: &str) -> Result<String, String> {
    let steps: Vec<&str> = directive(input, "run")
        .ok_or("no `// run:` among the first comments")?
        .split(',')
        .map(str::trim)
        .collect();
    if steps == ["parse"] {
        return match parse(input) {
            Ok(_) => Err("the text can be read".into()),
            Err(error) => Ok(format!("{error}\n")),
        };
    }
    let mut graph = parse(input).map_err(|error| error.to_string())?;
    if steps == ["verify"] {
        return match verify(&graph) {
            Ok(()) => Err("the graph is valid".into()),
            Err(violations) => Ok(violations.iter().map(|violation| format!("{violation}\n")).collect()),
        };
    }
    if steps == ["print"] {
        return Ok(graph.to_string());
    }
    let integers = match directive(input, "integers") {
        Some(text) => {
            let parts = text
                .split_once("..=")
                .and_then(|(low, high)| Some((low.parse().ok()?, high.parse().ok()?)));
            parts.ok_or_else(|| format!("integers {text:?}"))?
        }
        None => (-8, 7),
    };
    check_valid(&graph, "at first")?;
    let samples = samples(&graph, integers)?;
    for step in steps {
        if step == "optimize" {
            let mut result = Ok(());
            passes::optimize(&mut graph, &mut |name, graph| {
                if result.is_ok() {
                    result = check_valid(graph, &format!("after {name}")).and_then(|()| compare(graph, &samples, name));
                }
            });
            result?;
        } else {
            let pass = passes::by_name(step).ok_or_else(|| format!("no pass {step:?}"))?;
            pass.run(&mut graph);
            check_valid(&graph, &format!("after {step}"))?;
            compare(&graph, &samples, step)?;
        }
    }
    graph.renumber();
    Ok(graph.to_string())
}

fn check_valid(graph: &Graph, when: &str) -> Result<(), String> {
    verify(graph).map_err(|violations| {
        let violations: Vec<String> = violations.iter().map(ToString::to_string).collect();
        format!("{when} the graph is not valid:\n{}\n{graph}", violations.join("\n"))
    })
}

/// Inputs and what a graph makes of them.
struct Sample {
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
}

/// Samples at the smallest and largest sizes and at random ones between, as far as the constraints allow.
fn samples(graph: &Graph, integers: (i64, i64)) -> Result<Vec<Sample>, String> {
    let mut random = SplitMix::new(1);
    let mut samples: Vec<Sample> = Vec::new();
    let mut seen = Vec::new();
    for attempt in 0..1000u64 {
        let sizes = assignment(&graph.bounds, attempt, &mut random);
        let value = |symbol: &str| sizes.get(symbol).copied();
        let holds = |constraint: &onnxide_codegen::ir::Constraint| {
            constraint.left.eval(&value) == constraint.right.eval(&value)
        };
        if samples.len() == SAMPLES || !graph.constraints.iter().all(holds) || seen.contains(&sizes) {
            continue;
        }
        let mut inputs = Vec::new();
        for (index, &id) in graph.body.params.iter().enumerate() {
            let ty = graph.ty(id);
            let shape: Option<Vec<usize>> = ty
                .shape
                .iter()
                .map(|dim| usize::try_from(dim.eval(&value)?).ok())
                .collect();
            let shape = shape.ok_or_else(|| format!("a size of {ty} at {sizes:?}"))?;
            let seed = 100 * attempt + index as u64;
            inputs.push(Tensor::random_integers(ty.dtype, shape, seed, integers.0, integers.1));
        }
        let outputs = evaluate(graph, &inputs).map_err(|error| format!("before any pass, at {sizes:?}: {error}"))?;
        samples.push(Sample { inputs, outputs });
        seen.push(sizes);
    }
    if samples.is_empty() {
        return Err("no values of the symbols satisfy the constraints".into());
    }
    Ok(samples)
}

fn assignment(bounds: &Bounds, attempt: u64, random: &mut SplitMix) -> BTreeMap<String, i64> {
    let value = |Interval { low, high }: Interval, random: &mut SplitMix| {
        let high = high.min(low.saturating_add(SPAN));
        match attempt {
            0 => low,
            1 => high,
            _ => random.integer(low, high),
        }
    };
    bounds
        .iter()
        .map(|(symbol, interval)| (symbol.to_string(), value(interval, random)))
        .collect()
}

fn compare(graph: &Graph, samples: &[Sample], pass: &str) -> Result<(), String> {
    for Sample { inputs, outputs } in samples {
        let found = evaluate(graph, inputs).map_err(|error| format!("after {pass}: {error}\n{graph}"))?;
        if found.len() != outputs.len() {
            return Err(format!(
                "after {pass} there are {} outputs, not {}",
                found.len(),
                outputs.len()
            ));
        }
        for (index, (found, expected)) in found.iter().zip(outputs).enumerate() {
            difference(found, expected)
                .map_err(|error| format!("after {pass}, output {index} on {inputs:?}: {error}\n{graph}"))?;
        }
    }
    Ok(())
}

fn difference(found: &Tensor, expected: &Tensor) -> Result<(), String> {
    if (found.dtype, &found.shape) != (expected.dtype, &expected.shape) {
        return Err(format!("{found:?} instead of {expected:?}"));
    }
    let (Numbers::Float(a), Numbers::Float(b)) = (Numbers::of(found), Numbers::of(expected)) else {
        return if found == expected {
            Ok(())
        } else {
            Err(format!(
                "{:?} instead of {:?}",
                Numbers::of(found),
                Numbers::of(expected)
            ))
        };
    };
    let tolerance = match found.dtype {
        DType::F64 => 1e-12,
        DType::F16 => 4e-3,
        DType::BF16 => 3e-2,
        _ => 2e-5,
    };
    // Reassociated sums err by a fraction of their terms, which are as large as other results at least.
    let finite = b.iter().copied().filter(|x| x.is_finite());
    let scale = finite.fold(0.0, |largest: f64, x| largest.max(x.abs()));
    for (index, (&a, &b)) in a.iter().zip(&b).enumerate() {
        let same = a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * scale;
        if !same {
            return Err(format!("element {index} is {a:?}, not {b:?}"));
        }
    }
    Ok(())
}

#[test]
fn wrong_results_are_noticed() {
    let right = Tensor::new(vec![3], &[1.0f32, -2.0, f32::NAN]);
    let near = Tensor::new(vec![3], &[1.0f32 + 1e-6, -2.0, f32::NAN]);
    let far = Tensor::new(vec![3], &[1.001f32, -2.0, f32::NAN]);
    assert_eq!(difference(&near, &right), Ok(()));
    assert_eq!(
        difference(&far, &right),
        Err("element 0 is 1.0010000467300415, not 1.0".into())
    );
    assert!(difference(&Tensor::new(vec![3], &[1.0f32, -2.0, 0.0]), &right).is_err());
    assert!(difference(&right.reshaped(vec![3, 1]), &right).is_err());
    assert!(difference(&Tensor::new(vec![2], &[1i64, 2]), &Tensor::new(vec![2], &[1i64, 3])).is_err());

    let graph = |op: &str| {
        let text = format!("graph \"g\" {{ input \"x\" %0: f32[4] %1: f32[4] = {op} %0 output \"y\" %1 }}");
        parse(&text).unwrap()
    };
    let samples = samples(&graph("softmax(axis = 0)"), (-8, 7)).unwrap();
    assert!(compare(&graph("softmax(axis = 0)"), &samples, "nothing").is_ok());
    assert!(compare(&graph("softmax(axis = 0, log)"), &samples, "a wrong pass").is_err());
}
