//! What the command does with programs that it builds: every committed model against its stored reference, on every
//! instruction set of the machine.

use onnxide::runtime::isa::Level;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The models with what they need to be compiled.
const MODELS: &[(&str, &[&str])] = &[
    ("digits_cnn_fp32", &["batch=1..=16"]),
    ("magika_v3_3", &[]),
    ("silero_vad_openvino_16k", &[]),
    ("silero_vad_16k_op15", &["batch=1..=2"]),
    ("bert_tiny_dyn", &["batch=1..=2", "sequence=1..=64"]),
    ("bert_tiny_dynamo_dyn", &["sequence=1..=64"]),
    ("ppocr_cls_mobile_v2", &[]),
    ("loop_if_toy", &["rows=1..=5"]),
    ("skl_logreg_iris", &["X_0=1..=8"]),
    ("skl_rf_iris", &["X_0=1..=8"]),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("programs")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onnxide"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments);
    command.env("ONNXIDE_CACHE", folder().join("cache"));
    command
}

fn onnxide(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the command starts")
}

fn succeed(arguments: &[&str]) -> String {
    let output = onnxide(arguments);
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "onnxide {}\n{out}{err}", arguments.join(" "));
    out
}

#[test]
fn models_agree_with_their_references() {
    for (name, dims) in MODELS {
        let (model, reference) = (format!("models/{name}.onnx"), format!("models/{name}.npz"));
        for level in Level::ALL.into_iter().filter(|level| level.is_available()) {
            let mut arguments = vec!["check", &model, "--reference", &reference, "--isa", level.name()];
            for dim in *dims {
                arguments.extend(["--dim", dim]);
            }
            succeed(&arguments);
        }
    }
}

/// Whole images of a batch are divided among threads, and so are the rows of large ones.
#[test]
fn threads_agree_with_the_references() {
    for name in ["digits_cnn_fp32", "ppocr_cls_mobile_v2", "bert_tiny_dyn"] {
        let (model, reference) = (format!("models/{name}.onnx"), format!("models/{name}.npz"));
        for threads in ["2", "3"] {
            succeed(&["check", &model, "--reference", &reference, "--threads", threads]);
        }
    }
}

/// The largest relative error of the outputs of a few layers in bf16. Each rounds both factors of a product by up to 2⁻⁸ of
/// them, and the errors of layers are independent of each other: the noise of 16 layers is four times that of one.
const BF16_TOLERANCE: &str = "0.03125";

#[test]
fn models_in_bf16_are_near_their_references() {
    for (name, dims) in [
        ("digits_cnn_fp32", &[][..]),
        ("bert_tiny_dyn", &["sequence=1..=64"][..]),
    ] {
        let (model, reference) = (format!("models/{name}.onnx"), format!("models/{name}.npz"));
        let with_dims = |mut arguments: Vec<&'static str>| -> Vec<String> {
            arguments.extend(["--reference", "REF", "--precision", "bf16"]);
            let arguments = arguments.into_iter().chain(dims.iter().flat_map(|&dim| ["--dim", dim]));
            let text = arguments.map(|text| text.replace("REF", &reference).replace("MODEL", &model));
            text.collect()
        };
        let run = |arguments: Vec<String>| succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        for level in Level::ALL.into_iter().filter(|level| level.is_available()) {
            run(with_dims(vec![
                "check",
                "MODEL",
                "--isa",
                level.name(),
                "--tolerance",
                BF16_TOLERANCE,
            ]));
        }
        let drift: serde_json::Value = serde_json::from_str(&run(with_dims(vec!["drift", "MODEL", "--json"]))).unwrap();
        let layers = drift["layers"].as_array().unwrap();
        assert!(layers.len() >= 3, "{drift}");
        for layer in layers.iter().filter(|layer| layer["precision"] == "bf16") {
            // A single layer has some 50 dB, more where it is added to something larger, and f32 some 140.
            let ratio = layer["snr_db"].as_f64().unwrap();
            assert!((30.0..110.0).contains(&ratio), "{name}: {layer}");
            let [bytes, against] = ["weight_bytes", "weight_bytes_against"].map(|key| layer[key].as_u64().unwrap());
            assert!(bytes * 10 <= against * 7, "{name}: {layer}");
        }
        for output in drift["outputs"].as_array().unwrap() {
            assert!(output["snr_db"].as_f64().unwrap() > 25.0, "{name}: {output}");
        }
    }
}

#[test]
fn a_precision_is_compared_with_another() {
    let arguments = [
        "drift",
        "models/digits_cnn_fp32.onnx",
        "--reference",
        "models/digits_cnn_fp32.npz",
    ];
    let output = onnxide(&arguments);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "error: f32 is what others are compared with; choose one with --precision, such as bf16, or with --quantize\n"
    );
    let output = onnxide(&[&arguments[..], &["--precision", "int3"]].concat());
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        error.contains("unknown precision `int3`; the known ones are `f32`, `bf16`, `int8`"),
        "{error}"
    );
}

#[test]
fn arenas_are_as_small_as_the_lower_bound() {
    for (name, dims) in MODELS {
        let model = format!("models/{name}.onnx");
        let mut arguments = vec!["inspect", &model, "--json"];
        let fixed = match *name {
            "magika_v3_3" => &["unk__214=1"][..],
            "ppocr_cls_mobile_v2" => &["x_0=1..=2", "x_2=48", "x_3=48..=320"],
            "silero_vad_16k_op15" => &["batch=1..=2", "sequence=576"],
            "bert_tiny_dynamo_dyn" => &["batch=1..=2", "sequence=1..=64"],
            _ => dims,
        };
        for dim in fixed {
            arguments.extend(["--dim", dim]);
        }
        let report: serde_json::Value = serde_json::from_str(&succeed(&arguments)).unwrap();
        let [arena, bound] = ["arena_bytes", "arena_lower_bound"].map(|key| report[key].as_u64().unwrap());
        assert!(bound > 0 && arena * 100 <= bound * 102, "{name}: {arena} of {bound}");
    }
}

#[test]
fn a_difference_is_found() {
    let arguments = [
        "check",
        "models/loop_if_toy.onnx",
        "--reference",
        "models/loop_if_toy.npz",
        "--tolerance",
    ];
    succeed(&[&arguments[..], &["0"]].concat());
    let output = onnxide(&[
        "check",
        "models/digits_cnn_fp32.onnx",
        "--reference",
        "models/digits_cnn_fp32.npz",
        "--tolerance",
        "0",
    ]);
    assert_eq!(output.status.code(), Some(1), "no two engines add in the same order");
}

#[test]
fn a_run_writes_what_a_check_accepts() {
    let outputs = folder().join("outputs.npz");
    let outputs = outputs.to_str().expect("a path of Cargo's");
    std::fs::create_dir_all(folder()).unwrap();
    let model = "models/silero_vad_openvino_16k.onnx";
    succeed(&[
        "run",
        model,
        "--inputs",
        "models/silero_vad_openvino_16k.npz",
        "--outputs",
        outputs,
    ]);
    assert!(std::fs::metadata(outputs).unwrap().len() > 0);
}

#[test]
fn a_bench_reports_every_step() {
    let reference = "models/digits_cnn_fp32.npz";
    let report = succeed(&[
        "bench",
        "models/digits_cnn_fp32.onnx",
        "--reference",
        reference,
        "--seconds",
        "0.05",
        "--json",
    ]);
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert!(
        report["min_seconds"].as_f64().is_some_and(|time| time > 0.0),
        "{report}"
    );
    assert!(
        report["steps"].as_array().is_some_and(|steps| steps.len() >= 5),
        "{report}"
    );
    let fraction = report["gflops"].as_f64().zip(report["peak_gflops"].as_f64());
    assert!(
        fraction.is_some_and(|(rate, peak)| 0.0 < rate && rate < peak),
        "{report}"
    );
}

#[test]
fn what_is_fastest_is_measured_and_kept() {
    let model = "models/digits_cnn_fp32.onnx";
    let file = folder().join("digits.tuning");
    let _ = std::fs::remove_file(&file);
    let path = file.to_str().unwrap();
    let reference = ["--reference", "models/digits_cnn_fp32.npz"];
    let tune = |path| [&["bench", model, "--seconds", "0.1", "--tune", path], &reference[..]].concat();
    let table = succeed(&tune(path));
    assert!(
        table.ends_with("is for the option --tuning of all commands\n"),
        "{table}"
    );
    let tuning = std::fs::read_to_string(&file).unwrap();
    assert!(tuning.starts_with("onnxide tuning 1\nmodel "), "{tuning}");
    succeed(&[&["check", model, "--tuning", path], &reference[..]].concat());

    // What was chosen by hand is taken as well.
    let header: Vec<&str> = tuning.lines().take(2).collect();
    let chosen = format!(
        "{}\nwinograd-2 /3/Conv\nthreads-2 /3/Conv\nthreads-1 /6/Conv\n",
        header.join("\n")
    );
    std::fs::write(&file, chosen).unwrap();
    succeed(&[&["check", model, "--tuning", path, "--threads", "3"], &reference[..]].concat());

    let refused = |arguments: &[&str]| {
        let output = onnxide(arguments);
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let other = refused(&["inspect", "models/magika_v3_3.onnx", "--tuning", path]);
    assert!(other.contains("digits.tuning is of another model"), "{other}");
    std::fs::write(&file, "onnxide tuning 1\nmodel a\nfaster /0/Conv\n").unwrap();
    let wrong = refused(&["inspect", model, "--dim", "batch=1", "--tuning", path]);
    assert!(wrong.contains("line 3: `faster` is no choice"), "{wrong}");
    std::fs::write(&file, "precious").unwrap();
    let foreign = refused(&tune(path));
    assert!(foreign.contains("is no tuning file"), "{foreign}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
fn rounds_are_measured_when_told_to() {
    let reference = "models/digits_cnn_fp32.npz";
    let mut command = command(&[
        "bench",
        "models/digits_cnn_fp32.onnx",
        "--reference",
        reference,
        "--rounds",
    ]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"1 2\n0 3\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let counts: Vec<usize> = text.lines().skip(1).map(|line| line.split(' ').count()).collect();
    assert!(text.starts_with("ready\n"), "{text}");
    assert_eq!(counts, [2, 3], "{text}");
}

#[test]
fn a_new_package_builds() {
    let package = folder().join("digits");
    let _ = std::fs::remove_dir_all(&package);
    std::fs::create_dir_all(folder()).unwrap();
    succeed(&[
        "new",
        "models/digits_cnn_fp32.onnx",
        package.to_str().unwrap(),
        "--dim",
        "batch=1",
    ]);
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "--offline"])
        .current_dir(&package)
        .env("CARGO_TARGET_DIR", folder().join("target"))
        .status()
        .unwrap();
    assert!(built.success());
}

const BIQUAD: &str = "dsp::Biquad = crate::operators::biquad: (f32[c, n], coefficients: floats, step: int = 1) -> \
                      Result<f32[c, n / step]>";

fn lowpass<'a>(operator: &'a str, file: &'a str) -> Vec<&'a str> {
    let mut arguments = vec!["check", "models/lowpass.onnx", "--reference", "models/lowpass.npz"];
    arguments.extend(["--operator", operator, "--operators-from", file]);
    arguments
}

#[test]
fn operators_are_functions_from_a_file() {
    succeed(&lowpass(BIQUAD, "examples/lowpass/operators.rs"));
}

#[test]
fn a_function_with_other_parameters_is_an_error_of_the_rust_compiler() {
    std::fs::create_dir_all(folder()).unwrap();
    let file = folder().join("operators.rs");
    std::fs::write(&file, "pub fn biquad(_: onnxide::TensorView<'_, f64, 2>) {}\n").unwrap();
    let output = onnxide(&lowpass(BIQUAD, file.to_str().expect("a path of Cargo's")));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        text.contains("this function takes 1 argument but 4 arguments were supplied"),
        "{text}"
    );
    assert!(text.contains("crate::operators::biquad("), "{text}");
}
