//! What the command prints, and its exit status.

use std::process::{Command, Output};

const BERT: &str = "models/bert_tiny_dyn.onnx";

fn onnxide(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onnxide"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments);
    command.env("COLUMNS", "100").output().expect("the command starts")
}

fn text(bytes: Vec<u8>) -> String {
    // The name of a program has an ending on Windows.
    String::from_utf8(bytes)
        .expect("output is UTF-8")
        .replace("onnxide.exe", "onnxide")
}

fn help(arguments: &[&str]) -> String {
    let output = onnxide(arguments);
    assert!(output.status.success());
    assert!(output.stderr.is_empty());
    text(output.stdout)
}

fn error(arguments: &[&str]) -> String {
    let output = onnxide(arguments);
    assert_eq!(output.status.code(), Some(2), "{}", text(output.stdout));
    assert!(output.stdout.is_empty());
    text(output.stderr)
}

#[test]
fn help_lists_the_commands() {
    insta::assert_snapshot!(help(&["--help"]), @r"
    Compiles ONNX models into Rust

    Usage: onnxide <COMMAND>

    Commands:
      compile  Write the module of a model and its weights
      inspect  Show the steps of a model and its memory over time
      help     Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Exit status:
      0  success
      2  wrong usage, a model that does not compile, or another error
    ");
}

#[test]
fn help_of_each_command() {
    insta::assert_snapshot!(help(&["compile", "--help"]), @r"
    Write the module of a model and its weights

    Usage: onnxide compile [OPTIONS] <MODEL>

    Arguments:
      <MODEL>  The model, an ONNX file

    Options:
          --dim <NAME=N|LO..=HI>  Size of a symbolic dimension, or the range from which each run
                                  chooses; once for every dimension
      -o, --output <DIR>          Folder for NAME.rs and NAME.weights [default: .]
          --name <NAME>           Name of the module; by default that of the file
          --force                 Overwrite files that this command has not written
      -h, --help                  Print help

    Examples:
      onnxide compile magika.onnx --dim batch=1
      onnxide compile minilm.onnx -o src/models --dim batch=1 --dim sequence=1..=256
    ");
    insta::assert_snapshot!(help(&["inspect", "--help"]), @r"
    Show the steps of a model and its memory over time

    Usage: onnxide inspect [OPTIONS] <MODEL>

    Arguments:
      <MODEL>  The model, an ONNX file

    Options:
          --dim <NAME=N|LO..=HI>  Size of a symbolic dimension, or the range from which each run
                                  chooses; once for every dimension
          --json                  Print JSON
          --svg <FILE>            Write a picture of the memory over time
      -h, --help                  Print help

    Examples:
      onnxide inspect minilm.onnx --dim batch=1 --dim sequence=128
      onnxide inspect minilm.onnx --dim batch=1 --dim sequence=128 --svg memory.svg
    ");
}

#[test]
fn wrong_arguments() {
    insta::assert_snapshot!(error(&["inspect", BERT, "--dim", "batch"]), @r"
    error: invalid value 'batch' for '--dim <NAME=N|LO..=HI>': expected NAME=N or NAME=LO..=HI, such as batch=1 or sequence=1..=256

    For more information, try '--help'.
    ");
}

#[test]
fn models_that_are_none() {
    insta::assert_snapshot!(error(&["inspect", "https://example.com/cat.onnx"]), @"error: cannot read https://example.com/cat.onnx: it is a URL; download the file and give its path");
    insta::assert_snapshot!(error(&["inspect", "cat.onnx"]), @"error: cannot read cat.onnx: there is no such file");
    insta::assert_snapshot!(error(&["inspect", "nowhere/cat.onnx"]), @"error: cannot read nowhere/cat.onnx: there is no folder nowhere");
    insta::assert_snapshot!(error(&["inspect", "README.md"]), @r"
    error: cannot compile README.md
      this looks like text, not an ONNX model
    ");
}

#[test]
fn dimensions_that_have_no_size_or_do_not_exist() {
    insta::assert_snapshot!(error(&["inspect", BERT, "--dim", "batch=1"]), @r"
    error: cannot compile models/bert_tiny_dyn.onnx
      dimension `sequence` (axis 1 of input `input_ids`) has no size
        help: fix it with `--dim sequence=1` or bound it with `--dim sequence=1..=8`
    ");
    insta::assert_snapshot!(error(&["compile", BERT, "--dim", "batch=1", "--dim", "seq=1..=64"]), @r"
    error: cannot compile models/bert_tiny_dyn.onnx (2 problems)
      dimension `sequence` (axis 1 of input `input_ids`) has no size
        help: fix it with `--dim sequence=1` or bound it with `--dim sequence=1..=8`
      the model has no dimension `seq`
        help: its dimensions are `batch`, `sequence`
    ");
}
