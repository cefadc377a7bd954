//! Talking to a program: files of tensors in, files of tensors or a report out.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Error, Result, bail};
use onnxide_runtime::describe::{AnyData, AnyTensor};
use onnxide_runtime::harness::container::Container;
use serde::Deserialize;

use super::Program;
use crate::args::{Bench, RunArgs};
use crate::term;
use onnxide_codegen::npz::Array;

/// What a program has measured. Times are in nanoseconds.
#[derive(Debug, Deserialize)]
pub(crate) struct Measured {
    pub(crate) isa: String,
    /// Bytes of weights in large pages.
    pub(crate) large_page_bytes: u64,
    pub(crate) load_ns: u64,
    pub(crate) iterations: u64,
    pub(crate) min_ns: u64,
    pub(crate) median_ns: u64,
    /// Operations per second of nothing but multiply-adds, of `f32` and of integers of 8 bits.
    pub(crate) peak_flops: f64,
    pub(crate) peak_int8_ops: f64,
    /// In the order of the report's steps.
    pub(crate) steps: Vec<MeasuredStep>,
}

/// The time of a step.
#[derive(Debug, Deserialize)]
pub(crate) struct MeasuredStep {
    pub(crate) ns: u64,
}

impl Program {
    /// The outputs of a run.
    ///
    /// # Errors
    ///
    /// The program cannot be run, or refuses the inputs.
    pub(crate) fn run(&self, inputs: &[(String, Array)], args: &RunArgs) -> Result<Vec<(String, Array)>> {
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        let [input, output] = ["inputs", "outputs"].map(|name| folder.path().join(name));
        write(&input, inputs)?;
        let mut command = self.command("run", &input, args);
        command.arg("--outputs").arg(&output);
        term::with_spinner("Running", || call(command))?;
        let outputs = Container::read(&output).map_err(Error::msg)?;
        Ok(outputs
            .iter()
            .map(|(name, tensor)| (name.to_owned(), array(tensor)))
            .collect())
    }

    /// How long runs take.
    ///
    /// # Errors
    ///
    /// As [`run`](Program::run).
    pub(crate) fn bench(&self, inputs: &[(String, Array)], seconds: f64, args: &Bench) -> Result<Measured> {
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        let [input, report] = ["inputs", "report"].map(|name| folder.path().join(name));
        write(&input, inputs)?;
        let mut command = self.measuring("bench", &input, args);
        command
            .arg("--seconds")
            .arg(seconds.to_string())
            .arg("--threads")
            .arg(args.model.threads.to_string())
            .arg("--json")
            .arg(&report);
        term::with_spinner("Measuring", || call(command))?;
        let report = fs::read_to_string(&report).context("cannot read the report of the program")?;
        serde_json::from_str(&report).context("cannot read the report of the program")
    }

    /// Lets the program measure as the standard input tells it to.
    ///
    /// # Errors
    ///
    /// As [`run`](Program::run).
    pub(crate) fn rounds(&self, inputs: &[(String, Array)], args: &Bench) -> Result<()> {
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        let input = folder.path().join("inputs");
        write(&input, inputs)?;
        let mut command = self.measuring("rounds", &input, args);
        command
            .stdin(Stdio::inherit())
            .stdout(Stdio::inherit())
            .stderr(Stdio::piped());
        call(command)
    }

    fn measuring(&self, verb: &str, inputs: &Path, args: &Bench) -> Command {
        let mut command = self.command(verb, inputs, &args.run);
        command.args(["--pages", if args.small_pages { "small" } else { "large" }]);
        command
    }

    fn command(&self, verb: &str, inputs: &Path, args: &RunArgs) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg(verb).arg("--inputs").arg(inputs);
        if let Some(isa) = args.isa {
            command.args(["--isa", isa.name()]);
        }
        command
    }
}

fn call(mut command: Command) -> Result<()> {
    let output = command.output().context("cannot run the program")?;
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr);
    match reason.trim_end() {
        "" => bail!("the program of the model has ended with {}", output.status),
        reason => bail!("{reason}"),
    }
}

fn write(path: &Path, arrays: &[(String, Array)]) -> Result<()> {
    let mut container = Container::default();
    for (name, array) in arrays {
        // Elements in words are aligned for every type.
        let words: Vec<u64> = array
            .data
            .chunks(8)
            .map(|chunk| {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                u64::from_le_bytes(word)
            })
            .collect();
        let bytes = &AnyData::U64(&words).bytes()[..array.data.len()];
        let data = AnyData::from_bytes(array.dtype, bytes)
            .with_context(|| format!("array `{name}` does not have whole elements"))?;
        let shape = &array.shape;
        container.push(name, AnyTensor { shape, data });
    }
    Container::write(path, &container).map_err(Error::msg)
}

fn array(tensor: AnyTensor<'_>) -> Array {
    Array {
        dtype: tensor.data.dtype(),
        shape: tensor.shape.to_vec(),
        data: tensor.data.bytes().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use onnxide_runtime::element::DType;

    use super::*;

    #[test]
    fn tensors_survive_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inputs");
        let arrays: Vec<_> = DType::ALL
            .into_iter()
            .map(|dtype| {
                let data = (0..3 * dtype.size()).map(|i| u8::from(i % 3 == 0)).collect();
                (
                    dtype.name().to_owned(),
                    Array {
                        dtype,
                        shape: vec![3, 1],
                        data,
                    },
                )
            })
            .collect();
        write(&path, &arrays).unwrap();
        let read: Vec<_> = Container::read(&path)
            .unwrap()
            .iter()
            .map(|(name, tensor)| (name.to_owned(), array(tensor)))
            .collect();
        assert_eq!(read, arrays);
    }

    #[test]
    fn reports_are_read() {
        let json = r#"{"isa":"avx2","large_page_bytes":4096,"load_ns":7,"iterations":3,"min_ns":1,"median_ns":2,
            "peak_flops":5e9,"peak_int8_ops":2e10,"steps":[{"kernel":"gemm","nodes":"/a","ns":3}]}"#;
        let measured: Measured = serde_json::from_str(json).unwrap();
        assert_eq!(
            (
                measured.isa.as_str(),
                measured.large_page_bytes,
                measured.min_ns,
                [measured.peak_flops, measured.peak_int8_ops],
                measured.steps[0].ns
            ),
            ("avx2", 4096, 1, [5e9, 2e10], 3)
        );
    }

    #[test]
    #[cfg(unix)]
    fn what_a_program_says_is_the_error() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo 'input `x` is int64' >&2; exit 1"]);
        assert_eq!(call(command).unwrap_err().to_string(), "input `x` is int64");
        let mut silent = Command::new("sh");
        silent.args(["-c", "exit 3"]);
        assert_eq!(
            call(silent).unwrap_err().to_string(),
            "the program of the model has ended with exit status: 3"
        );
    }
}
