//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::Styles;
use clap::builder::styling::{AnsiColor, Style};
use clap::{Args, Parser, Subcommand};
use onnxide_codegen::compiler::Front;
use onnxide_codegen::{Compiler, DimRange};

const STYLES: Styles = Styles::styled()
    .header(Style::new().bold())
    .usage(Style::new().bold())
    .literal(AnsiColor::Cyan.on_default());

const EXIT_STATUS: &str = "\
Exit status:
  0  success
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
    /// Show the steps of a model and its memory over time
    Inspect(Inspect),
}

/// A model and the sizes of its dimensions.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// The model, an ONNX file
    pub(crate) model: PathBuf,

    /// Size of a symbolic dimension, or the range from which each run chooses; once for every dimension
    #[arg(long = "dim", value_name = "NAME=N|LO..=HI")]
    pub(crate) dims: Vec<DimArg>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  onnxide compile magika.onnx --dim batch=1
  onnxide compile minilm.onnx -o src/models --dim batch=1 --dim sequence=1..=256")]
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

impl ModelArgs {
    /// A compiler of the model with these sizes.
    pub(crate) fn compiler(&self) -> Compiler {
        let mut compiler = Compiler::new(&self.model).front(Front::Command);
        for dim in &self.dims {
            compiler = compiler.dim(&dim.name, dim.range);
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
            ("image.0 = 3", "image.0", 3, 3),
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
