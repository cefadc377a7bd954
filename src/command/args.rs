//! The command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::Styles;
use clap::builder::styling::{AnsiColor, Style};
use clap::{Args, Parser, Subcommand};
use onnxide_codegen::compiler::Front;
use onnxide_codegen::quantize::Scheme;
use onnxide_codegen::{
    BlockRows, Compiler, DimRange, MaxDrift, Observer, Operator, Precision, Quantize, RamSize, Smooth,
};
use onnxide_runtime::isa::Level;

const STYLES: Styles = Styles::styled()
    .header(Style::new().bold())
    .usage(Style::new().bold())
    .literal(AnsiColor::Cyan.on_default());

const EXIT_STATUS: &str = "\
Exit status:
  0  success
  1  `check` has found a difference
  2  wrong usage, a model that does not compile, or another error";

/// Compiles ONNX models into Rust.
#[derive(Debug, Parser)]
#[command(name = "onnxide", version, styles = STYLES, after_help = EXIT_STATUS, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write the module of a model and its weights
    Compile(Compile),
    /// Make a package with a program that runs a model
    New(New),
    /// Show the steps of a model and its memory over time
    Inspect(Inspect),
    /// Compare a model's outputs with those of a reference
    Check(Check),
    /// Compare a model in one precision, or quantized, with itself in f32, layer by layer
    Drift(Drift),
    /// Run a model once
    Run(Run),
    /// Measure how long a model takes
    Bench(Bench),
}

/// A model and the sizes of its dimensions.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// The model, an ONNX file
    pub(crate) model: PathBuf,

    /// Size of a symbolic dimension, or the range from which each run chooses; once for every dimension
    #[arg(long = "dim", value_name = "NAME=N|LO..=HI")]
    pub(crate) dims: Vec<DimArg>,

    /// Operator that onnxide does not know, as DOMAIN::NAME=PATH:SIGNATURE with the path of the function that computes
    /// it; once for every one
    #[arg(long = "operator", value_name = "OPERATOR")]
    pub(crate) operators: Vec<Operator>,

    /// Number of threads that a run computes on
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) threads: NonZeroUsize,

    /// Compute no convolution by Winograd's algorithm, which is faster and rounds more
    #[arg(long)]
    pub(crate) no_winograd: bool,

    /// In what matrix products and convolutions multiply: f32; bf16, which is coarser and takes half the memory; or int8,
    /// for matrix products with weights that are stored in 4 or 8 bits
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    pub(crate) precision: Precision,

    /// Quantize a model in floats: to int8, which needs --calibration; to int8-dynamic, which computes the scales of
    /// what matrix products read in each run; or their weights alone, to int8-weights or int4
    #[arg(long, value_name = "SCHEME")]
    pub(crate) quantize: Option<Scheme>,

    /// Samples of inputs, from which scales are chosen: an archive of NumPy arrays with `in:NAME` or `NAME` for every
    /// input, each with one sample or several along its first axis, or a folder of such
    #[arg(long, value_name = "PATH", requires = "quantize")]
    pub(crate) calibration: Option<PathBuf>,

    /// How the ranges of activations are chosen from the samples: min-max, percentile, mse (the default) or entropy
    #[arg(long, value_name = "NAME", requires = "quantize")]
    pub(crate) observer: Option<Observer>,

    /// Weights of an output that have one scale in int4 or int8-weights: 16, 32 (the default of int4), 64, 128 or 256
    #[arg(long, value_name = "N", requires = "quantize")]
    pub(crate) block: Option<BlockRows>,

    /// Divide channels of what matrix products read by x^A / w^(1 - A), where x is the largest number that the samples
    /// show and w the largest weight, and multiply the weights (SmoothQuant), such as 0.5
    #[arg(long, value_name = "A", requires = "calibration")]
    pub(crate) smooth: Option<Smooth>,

    /// Make the weights on both sides of channels between convolutions about as large (cross-layer equalization)
    #[arg(long, requires = "quantize")]
    pub(crate) equalize: bool,

    /// Largest drift of an output over the samples, as a fraction of it, such as 0.05: layers that do the most harm
    /// stay in floats
    #[arg(long, value_name = "X", requires = "calibration")]
    pub(crate) max_drift: Option<MaxDrift>,

    /// Most memory that a run works in, such as 65536, 64K or 2M; by default what is fast
    #[arg(long, value_name = "SIZE")]
    pub(crate) ram: Option<RamSize>,

    /// What `bench --tune` has found to be fastest for this model
    #[arg(long, value_name = "FILE")]
    pub(crate) tuning: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  onnxide compile magika.onnx --dim batch=1
  onnxide compile minilm.onnx -o src/models --dim batch=1 --dim sequence=1..=256
  onnxide compile digits.onnx --dim batch=1 --quantize int8 --calibration samples.npz")]
pub(crate) struct Compile {
    #[command(flatten)]
    pub(crate) model: ModelArgs,

    /// Folder for NAME.rs and NAME.weights
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub(crate) output: PathBuf,

    /// Name of the module; by default that of the file
    #[arg(long)]
    pub(crate) name: Option<String>,

    /// Overwrite files that this command has not written
    #[arg(long)]
    pub(crate) force: bool,

    /// Write what quantization has done to each layer and output as JSON
    #[arg(long, value_name = "FILE", requires = "quantize")]
    pub(crate) drift_json: Option<PathBuf>,

    /// Write a picture of the ratios of signal to noise over the samples
    #[arg(long, value_name = "FILE", requires = "calibration")]
    pub(crate) drift_svg: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  onnxide new magika.onnx filetype --dim batch=1
  cd filetype
  cargo run --release")]
pub(crate) struct New {
    #[command(flatten)]
    pub(crate) model: ModelArgs,

    /// Folder of the package, which must not exist yet
    #[arg(value_name = "NAME")]
    pub(crate) folder: PathBuf,

    /// Source of functions that compute operators: `crate::ops::f` is in a file `ops.rs`
    #[arg(long, value_name = "FILE.rs")]
    pub(crate) operators_from: Vec<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  onnxide inspect minilm.onnx --dim batch=1 --dim sequence=128
  onnxide inspect minilm.onnx --dim batch=1 --dim sequence=128 --svg memory.svg")]
pub(crate) struct Inspect {
    #[command(flatten)]
    pub(crate) model: ModelArgs,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Write a picture of the memory over time
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

/// How a compiled model runs.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Instruction set; by default the best that this machine has
    #[arg(long, value_name = "NAME", value_parser = parse_isa)]
    pub(crate) isa: Option<Level>,

    /// Source of functions that compute operators: `crate::ops::f` is in a file `ops.rs`
    #[arg(long, value_name = "FILE.rs")]
    pub(crate) operators_from: Vec<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The reference is an archive of NumPy arrays: `in:NAME` for every input, `out:NAME` for the outputs to compare.
The relative error is the largest difference over the largest magnitude in the reference.
A dimension without --dim has the size that the reference gives it. With --dim NAME=N it may have any size up to N.

Example:
  onnxide check bert.onnx --reference ref.npz --dim sequence=64 --tolerance 1e-5
  onnxide check scan.onnx --reference ref.npz --operators-from src/ops.rs \\
      --operator 'my.domain::Unpack = crate::ops::unpack: (u8[n, k]) -> f32[n, 8 * k]'")]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) model: ModelArgs,

    /// Inputs and the outputs expected of them
    #[arg(long, value_name = "REF.npz")]
    pub(crate) reference: PathBuf,

    /// Largest relative error of an output
    #[arg(long, value_name = "X", default_value = "1e-4", value_parser = parse_tolerance, allow_negative_numbers = true)]
    pub(crate) tolerance: f64,

    #[command(flatten)]
    pub(crate) run: RunArgs,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The model runs twice on the same inputs, in f32 and in the precision or quantized. SNR is the ratio of the
squares of the results in f32 to those of the differences, error/range the largest difference over
the range of the results in f32. What a layer shows has gathered on the way to it. A decision is
which number is the greatest along the last axis. The results of layers are kept for this, which
takes memory. Those of a quantized model are no floats: what its layers show was computed with the
quantized numbers on the samples of the calibration.

Examples:
  onnxide drift resnet50.onnx --reference ref.npz --precision bf16 --svg drift.svg
  onnxide drift resnet50.onnx --reference ref.npz --quantize int8 --calibration samples.npz")]
pub(crate) struct Drift {
    #[command(flatten)]
    pub(crate) model: ModelArgs,

    /// Inputs, as for `check`
    #[arg(long, value_name = "REF.npz")]
    pub(crate) reference: PathBuf,

    #[command(flatten)]
    pub(crate) run: RunArgs,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Write a picture of the ratios of signal to noise
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Both files are archives of NumPy arrays, named after the model's inputs and outputs. Inputs may also be named `in:NAME`.
A dimension without --dim has the size that the inputs give it. With --dim NAME=N it may have any size up to N.

Example:
  onnxide run magika.onnx --inputs in.npz --outputs out.npz")]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) model: ModelArgs,

    /// File to read the inputs from
    #[arg(long, value_name = "IN.npz")]
    pub(crate) inputs: PathBuf,

    /// File to write the outputs to
    #[arg(long, value_name = "OUT.npz")]
    pub(crate) outputs: PathBuf,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Without a reference the inputs are zero, and every symbolic dimension has its largest size.
The peak is what nothing but multiply-adds reaches on as many threads, measured in the same run.
With --rounds it prints `ready` once the model has run. For each line `WARM RUNS` of the standard
input it then runs the model WARM times, and RUNS times with a clock, and prints these times in
nanoseconds.
With --tune it measures what the compiler could have decided otherwise (algorithms of convolutions,
steps that are computed together, threads), each for the time of --seconds, and writes what was
faster to a file, for the option --tuning of all commands. Outputs may differ in rounding.

Examples:
  onnxide bench bert.onnx --reference ref.npz --seconds 5 --sort
  onnxide bench resnet.onnx --threads 2 --tune resnet.tuning")]
pub(crate) struct Bench {
    #[command(flatten)]
    pub(crate) model: ModelArgs,

    /// Inputs, as for `check`
    #[arg(long, value_name = "REF.npz")]
    pub(crate) reference: Option<PathBuf>,

    /// How long to measure
    #[arg(long, value_name = "S", default_value = "3", value_parser = parse_seconds)]
    pub(crate) seconds: f64,

    #[command(flatten)]
    pub(crate) run: RunArgs,

    /// Show the slowest steps first
    #[arg(long)]
    pub(crate) sort: bool,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Leave the weights where they were loaded; by default they are in large pages of memory, where
    /// the system has such, as an application may have them
    #[arg(long)]
    pub(crate) small_pages: bool,

    /// Measure when told to by the standard input, by turns with other programs
    #[arg(long, conflicts_with_all = ["seconds", "sort", "json"])]
    pub(crate) rounds: bool,

    /// Find out what is fastest on this machine, and write it to a file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["tuning", "rounds", "sort", "json"])]
    pub(crate) tune: Option<PathBuf>,
}

/// `NAME=N`, `NAME=LO..=HI` or `NAME=..=HI`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DimArg {
    pub(crate) name: String,
    pub(crate) range: DimRange,
}

impl FromStr for DimArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected NAME=N or NAME=LO..=HI, such as batch=1 or sequence=1..=256".to_owned();
        let (name, range) = text.split_once('=').ok_or_else(expected)?;
        let size = |text: &str| text.trim().parse::<usize>().map_err(|_| expected());
        let range = match range.split_once("..=") {
            Some((min, max)) if min.trim().is_empty() => DimRange::from(..=size(max)?),
            Some((min, max)) => DimRange::from(size(min)?..=size(max)?),
            None => DimRange::from(size(range)?),
        };
        if name.trim().is_empty() {
            return Err(expected());
        }
        Ok(Self {
            name: name.trim().to_owned(),
            range,
        })
    }
}

fn parse_isa(text: &str) -> Result<Level, String> {
    let level = Level::from_name(text).ok_or_else(|| format!("expected one of {}", names(&Level::ALL)))?;
    if level.is_available() {
        return Ok(level);
    }
    let available: Vec<_> = Level::ALL.into_iter().filter(|level| level.is_available()).collect();
    Err(format!("this machine does not have it, only {}", names(&available)))
}

fn names(levels: &[Level]) -> String {
    levels.iter().map(|level| level.name()).collect::<Vec<_>>().join(", ")
}

fn parse_tolerance(text: &str) -> Result<f64, String> {
    let valid = text.parse::<f64>().ok().filter(|x| x.is_finite() && *x >= 0.0);
    valid.ok_or_else(|| "expected a number that is not negative, such as 1e-4".into())
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    let valid = text.parse::<f64>().ok().filter(|x| *x > 0.0 && *x <= 86_400.0);
    valid.ok_or_else(|| "expected a positive number, such as 0.5".into())
}

impl ModelArgs {
    /// How the model is quantized, if it is.
    pub(crate) fn quantization(&self) -> Option<Quantize> {
        let mut quantize = Quantize::new(self.quantize?);
        if let Some(path) = &self.calibration {
            quantize = quantize.calibration(path);
        }
        if let Some(observer) = self.observer {
            quantize = quantize.observer(observer);
        }
        if let Some(rows) = self.block {
            quantize = quantize.block(rows);
        }
        if let Some(share) = self.smooth {
            quantize = quantize.smooth(share);
        }
        quantize = quantize.equalize(self.equalize);
        if let Some(drift) = self.max_drift {
            quantize = quantize.max_drift(drift);
        }
        Some(quantize)
    }

    /// A compiler of the model with these sizes.
    pub(crate) fn compiler(&self) -> Compiler {
        let mut compiler = Compiler::new(&self.model)
            .threads(self.threads.get())
            .winograd(!self.no_winograd)
            .precision(self.precision)
            .front(Front::Command);
        if let Some(quantize) = self.quantization() {
            compiler = compiler.quantize(quantize);
        }
        if let Some(ram) = self.ram {
            compiler = compiler.ram(ram);
        }
        if let Some(tuning) = &self.tuning {
            compiler = compiler.tuning(tuning);
        }
        for dim in &self.dims {
            compiler = compiler.dim(&dim.name, dim.range);
        }
        for operator in &self.operators {
            compiler = compiler.operator(operator.clone());
        }
        compiler
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn dimensions_are_sizes_or_ranges() {
        for (text, name, min, max) in [
            ("batch=1", "batch", 1, 1),
            ("sequence=2..=256", "sequence", 2, 256),
            ("sequence=..=256", "sequence", 1, 256),
            ("image_0 = 3", "image_0", 3, 3),
        ] {
            let dim: DimArg = text.parse().unwrap();
            assert_eq!((dim.name.as_str(), dim.range), (name, DimRange { min, max }));
        }
        for text in [
            "",
            "batch",
            "batch=",
            "=1",
            "batch=x",
            "batch=-1",
            "batch=1..2",
            "batch=1..=",
        ] {
            assert!(text.parse::<DimArg>().is_err(), "{text}");
        }
    }
}
