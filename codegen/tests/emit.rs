//! Graphs become modules: the text is compared with snapshots and with rustfmt, then compiled, run, and compared with
//! the evaluator.

use onnxide_codegen::emit::{EmitOptions, WeightsSource, emit};
use onnxide_codegen::ir::eval::evaluate;
use onnxide_codegen::ir::parse::parse;
use onnxide_codegen::ir::{DType, Graph, Part, Tensor};
use onnxide_codegen::passes::optimize;
use onnxide_codegen::plan::{Plan, PlanOptions};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[path = "emit/coverage.rs"]
mod coverage;
#[path = "emit/random.rs"]
mod random;
#[path = "emit/rounding.rs"]
mod rounding;

const CASES: [&str; 21] = [
    "elementwise",
    "convolution",
    "images",
    "upsampled",
    "windows",
    "rows",
    "layers",
    "control",
    "recurrent",
    "gated",
    "computed",
    OPAQUE,
    "text",
    rounding::BF16,
    "integers",
    "quantized",
    "streamed",
    "compressed",
    rounding::INT8,
    "memory",
    "reordered",
];

/// The case whose functions are the user's, which the evaluator knows nothing of.
const OPAQUE: &str = "opaque";

/// Cases whose inputs and outputs are not all tensors, for which the evaluator has no values.
const INTERFACES: [&str; 1] = ["sequences"];

/// How many random graphs are compiled and run.
const RANDOM_GRAPHS: u64 = 40;

/// The end of the names of cases that are planned for the smallest arena.
const SMALLEST: &str = "_in_little_memory";

fn graph(case: &str) -> Graph {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/emit")
        .join(format!("{}.oxir", rounding::file(case)));
    let text = std::fs::read_to_string(&path).unwrap();
    parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn plan(case: &str) -> Plan {
    Plan::with(&graph(case), &rounding::options(case)).unwrap_or_else(|errors| panic!("{case}: {errors:?}"))
}

fn module(case: &str, plan: &Plan, profile: bool) -> String {
    let options = EmitOptions {
        runtime: "::onnxide_runtime".into(),
        header: vec![format!("Generated from `{case}.oxir`.")],
        weights: WeightsSource::Include(format!("\"{case}.weights\"")),
        program: profile,
        profile,
    };
    emit(plan, &options)
}

#[test]
fn modules_are_as_reviewed() {
    for case in CASES.into_iter().chain(INTERFACES) {
        let plan = plan(case);
        let text = module(case, &plan, false);
        assert_eq!(text, module(case, &plan, false), "the same plan gives another text");
        insta::assert_snapshot!(case, text);
    }
}

#[test]
fn modules_are_as_rustfmt_has_them() {
    for case in CASES.into_iter().chain(INTERFACES) {
        for profile in [false, true] {
            let text = module(case, &plan(case), profile);
            let mut rustfmt = Command::new("rustfmt")
                .args([
                    "--edition",
                    "2024",
                    "--config",
                    "max_width=120,use_field_init_shorthand=true",
                ])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("rustfmt is a part of the toolchain");
            rustfmt.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
            let output = rustfmt.wait_with_output().unwrap();
            assert!(output.status.success());
            similar_lines(case, &text, &String::from_utf8(output.stdout).unwrap());
        }
    }
}

/// Compares line by line, so that a failure shows the place.
fn similar_lines(case: &str, ours: &str, theirs: &str) {
    for (number, (ours, theirs)) in ours.lines().zip(theirs.lines()).enumerate() {
        assert_eq!(ours, theirs, "{case}, line {}", number + 1);
    }
    assert_eq!(ours.lines().count(), theirs.lines().count(), "{case}");
}

#[test]
fn modules_compute_what_the_evaluator_does() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("emit");
    std::fs::create_dir_all(folder.join("src")).unwrap();
    let runtime = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../runtime");
    let manifest = format!(
        "[package]\nname = \"emitted\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\nonnxide-runtime = {{ path = \
         {runtime:?}, features = [\"alloc\"] }}\n\n[profile.dev.package.onnxide-runtime]\nopt-level = 3\n\n[workspace]\n"
    );
    write(&folder.join("Cargo.toml"), manifest.as_bytes());
    let mut library = String::new();
    let mut calls = String::new();
    let mut floats = Vec::new();
    let mut names = Vec::new();
    for (case, graph) in cases() {
        let case = case.as_str();
        let plan = match case.ends_with(SMALLEST) {
            true => Plan::smallest(&graph, &PlanOptions::default()),
            false => Plan::with(&graph, &rounding::options(case)),
        };
        let plan = plan.unwrap_or_else(|errors| panic!("{case}: {errors:?}\n{graph}"));
        let graph = rounding::simulated(&graph, &plan);
        names.push(case.to_owned());
        write(&folder.join(format!("src/{case}.weights")), plan.weights.blob().bytes());
        write(
            &folder.join(format!("src/{case}.rs")),
            module(case, &plan, true).as_bytes(),
        );
        writeln!(library, "#[forbid(unsafe_code)]\n#[deny(warnings)]\npub mod {case};").unwrap();
        for seed in 0..4 {
            write_run(&mut calls, &mut floats, case, &graph, &plan, seed);
        }
    }
    write(&folder.join("src/lib.rs"), library.as_bytes());
    write(
        &folder.join("src/main.rs"),
        format!("{HARNESS}make!({});\n\nfn main() {{\n{calls}}}\n", names.join(" ")).as_bytes(),
    );
    write(&folder.join("src/floats.bin"), &floats);
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--offline", "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Writes a file unless it has the content already, so that cargo does not compile again.
fn write(path: &Path, content: &[u8]) {
    if std::fs::read(path).ok().as_deref() != Some(content) {
        std::fs::write(path, content).unwrap();
    }
}

/// The graphs that are compiled and run: the reviewed ones, one whose values share storage in every way that once went
/// wrong, and random ones, every second of them optimized.
fn cases() -> Vec<(String, Graph)> {
    let files = CASES
        .iter()
        .filter(|case| **case != OPAQUE)
        .chain([&"aliasing", &"types"]);
    let mut cases: Vec<(String, Graph)> = files.map(|case| (case.to_string(), graph(case))).collect();
    for case in ["memory", "images", "convolution", "layers", "streamed"] {
        cases.push((format!("{case}{SMALLEST}"), graph(case)));
    }
    for seed in 0..RANDOM_GRAPHS {
        let mut graph = random::graph(seed);
        if seed % 2 == 1 {
            optimize(&mut graph, &mut |_, _| {});
        }
        cases.push((format!("random_{seed}"), graph));
    }
    cases
}

/// Appends a run with inputs that depend on a seed, and what the evaluator gives for them.
fn write_run(calls: &mut String, floats: &mut Vec<u8>, case: &str, graph: &Graph, plan: &Plan, seed: u64) {
    let size = |symbol: &str| -> Option<i64> {
        let range = graph.bounds.get(symbol);
        Some(range.low + (range.high - range.low) * seed as i64 / 3)
    };
    let inputs: Vec<Tensor> = graph
        .body
        .params
        .iter()
        .enumerate()
        .map(|(number, &value)| {
            let ty = graph.ty(value);
            let shape: Vec<usize> = ty.shape.iter().map(|dim| dim.eval(&size).unwrap() as usize).collect();
            let seed = seed * 100 + number as u64;
            if graph.inputs[number].part == Part::Text {
                return words(shape, seed);
            }
            match ty.dtype {
                DType::I64 => Tensor::random_integers(ty.dtype, shape, seed, 0, 3),
                dtype => Tensor::random(dtype, shape, seed),
            }
        })
        .collect();
    let outputs = evaluate(graph, &rounding::inputs(plan, &inputs)).unwrap();
    let mut tensors = |tensors: &[Tensor]| tensors.iter().map(|t| tensor(t, floats)).collect::<Vec<_>>().join(", ");
    writeln!(
        calls,
        "    check::<{case}::Model>(\"{case}\", &[{}], &[{}]);",
        tensors(&inputs),
        tensors(&outputs)
    )
    .unwrap();
}

/// Strings of letters, which fill their rows or do not.
fn words(shape: Vec<usize>, seed: u64) -> Tensor {
    let width = shape[shape.len() - 1];
    let letters = Tensor::random_integers(DType::U8, shape.clone(), seed, 97, 122);
    let byte = |(place, &letter): (usize, &u8)| {
        let length = (place / width + seed as usize) % (width + 1);
        if place % width < length { letter } else { 0 }
    };
    let bytes: Vec<u8> = letters.data.iter().enumerate().map(byte).collect();
    Tensor::new(shape, &bytes)
}

/// A tensor as the expression of an `AnyTensor`, whose floating-point numbers are appended to a file.
fn tensor(tensor: &Tensor, floats: &mut Vec<u8>) -> String {
    if tensor.dtype == DType::F32 {
        let start = floats.len();
        floats.extend(tensor.to_vec::<f32>().unwrap().iter().flat_map(|x| x.to_le_bytes()));
        let end = floats.len();
        return format!(
            "AnyTensor {{ shape: &{:?}, data: AnyData::F32(&floats({start}..{end})) }}",
            tensor.shape
        );
    }
    if !matches!(tensor.dtype, DType::I64 | DType::Bool) {
        let start = floats.len();
        floats.extend_from_slice(&tensor.data);
        let number = DType::ALL.into_iter().position(|dtype| dtype == tensor.dtype).unwrap();
        return format!(
            "AnyTensor {{ shape: &{:?}, data: data({number}, {start}..{}) }}",
            tensor.shape,
            floats.len()
        );
    }
    let elements: Vec<String> = tensor.to_ints().unwrap().iter().map(i64::to_string).collect();
    let kind = if tensor.dtype == DType::Bool { "Bool" } else { "I64" };
    format!(
        "AnyTensor {{ shape: &{:?}, data: AnyData::{kind}(&[{}]) }}",
        tensor.shape,
        elements.join(", ")
    )
}

/// What runs a model at every level and compares its outputs.
const HARNESS: &str = "use emitted::*;
use onnxide_runtime::describe::{AnyData, AnyTensor, AnyValue, Profile, Program};
use onnxide_runtime::element::DType;
use onnxide_runtime::isa::Level;

trait Make: Program {
    fn make(level: Level) -> Self;
}

macro_rules! make {
    ($($module:ident)*) => {$(
        impl Make for $module::Model {
            fn make(level: Level) -> Self {
                Self::with_isa(level)
            }
        }
    )*};
}

fn floats(range: std::ops::Range<usize>) -> Vec<f32> {
    let bytes = &include_bytes!(\"floats.bin\")[range];
    bytes.chunks_exact(4).map(|x| f32::from_le_bytes(x.try_into().unwrap())).collect()
}

/// Elements of a type, by its number.
fn data(dtype: usize, range: std::ops::Range<usize>) -> AnyData<'static> {
    let bytes = &include_bytes!(\"floats.bin\")[range];
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
    let words: &'static [u64] = bytes.chunks(8).map(word).collect::<Vec<_>>().leak();
    AnyData::from_bytes(DType::ALL[dtype], &AnyData::U64(words).bytes()[..bytes.len()]).unwrap()
}

struct Steps(usize);

impl Profile for Steps {
    fn step(&mut self, _index: usize) {
        self.0 += 1;
    }
}

fn check<M: Make>(name: &str, inputs: &[AnyTensor<'_>], expected: &[AnyTensor<'_>]) {
    let shapes: Vec<_> = inputs.iter().map(|input| input.shape).collect();
    let inputs: Vec<_> = inputs.iter().copied().map(AnyValue::Tensor).collect();
    // Rounding errors grow along a random chain of operations. A sum of n products of uniform numbers up to 1 is a random
    // walk, whose n roundings of 2^-24 of what it has reached have a root mean square of 2^-24 n / 7.3: 4.7e-6 for the
    // 576 of `square`, and no output of some ten thousand is off by more than six times that.
    let tolerance = match () {
        () if name.starts_with(\"random\") => 1e-4,
        () if name.starts_with(\"images\") => 3e-5,
        () => 1e-5,
    };
    for level in Level::ALL {
        let mut model = M::make(level);
        // The second run finds what the first one left in the arena.
        for _ in 0..2 {
            let mut seen = 0;
            let mut steps = Steps(0);
            let mut compare = |index: usize, actual: AnyValue<'_>| {
                seen += 1;
                let AnyValue::Tensor(actual) = actual else {
                    panic!(\"{name} {index}: {actual:?}\");
                };
                let expected = &expected[index];
                assert_eq!(actual.shape, expected.shape, \"{name} {index}\");
                match (actual.data, expected.data) {
                    (AnyData::F32(actual), AnyData::F32(expected)) => {
                        for (a, e) in actual.iter().zip(expected) {
                            let close = (a - e).abs() <= tolerance * e.abs().max(1.0);
                            assert!(close, \"{name} {index} {level:?} {shapes:?}: {a} {e}\");
                        }
                    }
                    (AnyData::F64(actual), AnyData::F64(expected)) => {
                        for (a, e) in actual.iter().zip(expected) {
                            let close = (a - e).abs() <= 1e-13 * e.abs().max(1.0);
                            assert!(close, \"{name} {index} {level:?} {shapes:?}: {a} {e}\");
                        }
                    }
                    // What is not a number has the same bits all the same.
                    (actual, expected) if actual.bytes() == expected.bytes() => {}
                    (actual, expected) => assert_eq!(actual, expected, \"{name} {index}\"),
                }
            };
            model.run_profiled(&inputs, &mut compare, &mut steps).unwrap();
            assert_eq!(seen, expected.len());
            assert!(steps.0 > 0);
        }
    }
}

";
