use super::*;
use crate::describe::{AnyData, AnyTensor, Port, PortDim, PortKind, Profile, Step};
use crate::element::DType;
use crate::error::RunError;

/// Doubles its input.
struct Double;

const SHAPE: &[PortDim] = &[PortDim::Fixed(2)];

impl Program for Double {
    const INPUTS: &'static [Port] = &[Port {
        name: "x",
        kind: PortKind::Tensor,
        dtype: DType::F32,
        shape: SHAPE,
    }];
    const OUTPUTS: &'static [Port] = &[Port {
        name: "y",
        kind: PortKind::Tensor,
        dtype: DType::F32,
        shape: SHAPE,
    }];
    const STEPS: &'static [Step] = &[Step {
        nodes: "/double",
        kernel: "map",
    }];

    fn run_dyn(
        &mut self,
        inputs: &[AnyValue<'_>],
        outputs: &mut dyn FnMut(usize, AnyValue<'_>),
    ) -> Result<(), RunError> {
        let (shape, data) = inputs[0].input::<f32, 1>(&Self::INPUTS[0])?;
        let doubled: Vec<f32> = data.iter().map(|x| x * 2.0).collect();
        outputs(
            0,
            AnyValue::Tensor(AnyTensor {
                shape: &shape,
                data: AnyData::F32(&doubled),
            }),
        );
        Ok(())
    }

    fn run_profiled(
        &mut self,
        inputs: &[AnyValue<'_>],
        outputs: &mut dyn FnMut(usize, AnyValue<'_>),
        profile: &mut dyn Profile,
    ) -> Result<(), RunError> {
        profile.step(0);
        self.run_dyn(inputs, outputs)
    }
}

/// A directory that is removed in the end.
struct Directory(std::path::PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("onnxide-harness-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_string()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn call(arguments: &[&str]) -> Result<(), String> {
    drive(
        |_| Box::new(Double),
        arguments.iter().map(|argument| argument.to_string()),
    )
}

fn inputs_file(directory: &Directory, name: &str, data: AnyData<'_>) -> String {
    let mut container = Container::default();
    container.push(
        name,
        AnyTensor {
            shape: &[data.len()],
            data,
        },
    );
    let path = directory.file("inputs");
    Container::write(&path, &container).unwrap();
    path
}

#[test]
fn run_writes_the_outputs() {
    let directory = Directory::new("run");
    let (inputs, outputs) = (
        inputs_file(&directory, "x", AnyData::F32(&[1.0, 2.5])),
        directory.file("outputs"),
    );
    call(&["run", "--inputs", &inputs, "--outputs", &outputs, "--isa", "scalar"]).unwrap();
    let container = Container::read(&outputs).unwrap();
    assert_eq!(
        container.get("y"),
        Some(AnyTensor {
            shape: &[2],
            data: AnyData::F32(&[2.0, 5.0])
        })
    );
}

#[test]
fn bench_writes_a_report() {
    let directory = Directory::new("bench");
    let (inputs, json) = (
        inputs_file(&directory, "x", AnyData::F32(&[1.0, 2.5])),
        directory.file("json"),
    );
    call(&[
        "bench",
        "--inputs",
        &inputs,
        "--seconds",
        "0",
        "--threads",
        "2",
        "--json",
        &json,
    ])
    .unwrap();
    let report = std::fs::read_to_string(&json).unwrap();
    assert!(
        report.contains("\"iterations\":3,") && report.contains("\"nodes\":\"/double\""),
        "{report}"
    );
}

#[test]
fn rounds_answer_each_line() {
    let mut container = Container::default();
    let x = AnyTensor {
        shape: &[2],
        data: AnyData::F32(&[1.0, 2.5]),
    };
    container.push("x", x);
    let call = |requests: &str| {
        let mut answers = Vec::new();
        let result = rounds::rounds(&mut Double, &container, requests.as_bytes(), &mut answers);
        (result, String::from_utf8(answers).unwrap())
    };
    let (result, answers) = call("1 3\n0 1\n2 0\n");
    assert_eq!(result, Ok(()));
    let lines: Vec<&str> = answers.lines().collect();
    assert_eq!((lines.len(), lines[0]), (4, "ready"));
    let count = |line: &str| {
        let times: Result<Vec<u64>, _> = line.split_whitespace().map(str::parse).collect();
        times.expect("times are numbers").len()
    };
    let counts = [1, 2, 3].map(|line| count(lines[line]));
    assert_eq!(counts, [3, 1, 0]);
    let (result, answers) = call("1\n");
    assert_eq!(answers, "ready\n");
    assert_eq!(result, Err("`1` is no request: pass two numbers, as in `2 10`".into()));
}

#[test]
fn errors_say_what_to_do() {
    let directory = Directory::new("errors");
    let error = |arguments: &[&str]| call(arguments).unwrap_err();
    assert_eq!(error(&[]), USAGE);
    assert_eq!(error(&["fly"]), format!("there is no command `fly`\n{USAGE}"));
    assert_eq!(
        error(&["run", "--seconds", "1"]),
        format!("`run` has no option `--seconds`\n{USAGE}")
    );
    assert_eq!(
        error(&["run", "--inputs"]),
        format!("option `--inputs` needs a value\n{USAGE}")
    );
    assert_eq!(error(&["run"]), format!("option `--inputs` is missing\n{USAGE}"));
    assert_eq!(
        error(&["run", "--isa", "mmx"]),
        "there is no instruction set `mmx`: choose one of scalar, avx2, avx512"
    );
    let inputs = inputs_file(&directory, "z", AnyData::F32(&[1.0]));
    assert_eq!(
        error(&["bench", "--inputs", &inputs]),
        "the inputs have no tensor `x`: there are `z`"
    );
    let forever = error(&["bench", "--inputs", &inputs, "--seconds", "inf"]);
    assert_eq!(forever, "`inf` is no number of seconds: pass one from 0 to 1000000");
    let none = error(&["bench", "--inputs", &inputs, "--threads", "0"]);
    assert_eq!(none, "`0` is no number of threads: pass one from 1 to 1024");
    let huge = error(&["rounds", "--inputs", &inputs, "--pages", "huge"]);
    assert_eq!(huge, "there are no `huge` pages: choose small or large");
    let inputs = inputs_file(&directory, "x", AnyData::I64(&[1]));
    assert_eq!(
        error(&["bench", "--inputs", &inputs]),
        "input `x` is int64, but the model takes float32: convert it before the run"
    );
    let absent = directory.file("absent");
    assert!(error(&["bench", "--inputs", &absent]).starts_with(&format!("{absent}: ")));
}
