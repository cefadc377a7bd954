//! What the command prints, and its exit status.

use std::process::{Command, Output};

const BERT: &str = "models/bert_tiny_dyn.onnx";
const REFERENCE: &str = "models/bert_tiny_dyn.npz";

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
      new      Make a package with a program that runs a model
      inspect  Show the steps of a model and its memory over time
      check    Compare a model's outputs with those of a reference
      drift    Compare a model in one precision, or quantized, with itself in f32, layer by layer
      run      Run a model once
      bench    Measure how long a model takes
      help     Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Exit status:
      0  success
      1  `check` has found a difference
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
          --operator <OPERATOR>   Operator that onnxide does not know, as DOMAIN::NAME=PATH:SIGNATURE
                                  with the path of the function that computes it; once for every one
          --threads <N>           Number of threads that a run computes on [default: 1]
          --no-winograd           Compute no convolution by Winograd's algorithm, which is faster and
                                  rounds more
          --precision <TYPE>      In what matrix products and convolutions multiply: f32; bf16, which is
                                  coarser and takes half the memory; or int8, for matrix products with
                                  weights that are stored in 4 or 8 bits [default: f32]
          --quantize <SCHEME>     Quantize a model in floats: to int8, which needs --calibration; to
                                  int8-dynamic, which computes the scales of what matrix products read
                                  in each run; or their weights alone, to int8-weights or int4
          --calibration <PATH>    Samples of inputs, from which scales are chosen: an archive of NumPy
                                  arrays with `in:NAME` or `NAME` for every input, each with one sample
                                  or several along its first axis, or a folder of such
          --observer <NAME>       How the ranges of activations are chosen from the samples: min-max,
                                  percentile, mse (the default) or entropy
          --block <N>             Weights of an output that have one scale in int4 or int8-weights: 16,
                                  32 (the default of int4), 64, 128 or 256
          --smooth <A>            Divide channels of what matrix products read by x^A / w^(1 - A), where
                                  x is the largest number that the samples show and w the largest
                                  weight, and multiply the weights (SmoothQuant), such as 0.5
          --equalize              Make the weights on both sides of channels between convolutions about
                                  as large (cross-layer equalization)
          --max-drift <X>         Largest drift of an output over the samples, as a fraction of it, such
                                  as 0.05: layers that do the most harm stay in floats
          --ram <SIZE>            Most memory that a run works in, such as 65536, 64K or 2M; by default
                                  what is fast
          --tuning <FILE>         What `bench --tune` has found to be fastest for this model
      -o, --output <DIR>          Folder for NAME.rs and NAME.weights [default: .]
          --name <NAME>           Name of the module; by default that of the file
          --force                 Overwrite files that this command has not written
          --drift-json <FILE>     Write what quantization has done to each layer and output as JSON
          --drift-svg <FILE>      Write a picture of the ratios of signal to noise over the samples
      -h, --help                  Print help

    Examples:
      onnxide compile magika.onnx --dim batch=1
      onnxide compile minilm.onnx -o src/models --dim batch=1 --dim sequence=1..=256
      onnxide compile digits.onnx --dim batch=1 --quantize int8 --calibration samples.npz
    ");
    insta::assert_snapshot!(help(&["new", "--help"]), @r"
    Make a package with a program that runs a model

    Usage: onnxide new [OPTIONS] <MODEL> <NAME>

    Arguments:
      <MODEL>  The model, an ONNX file
      <NAME>   Folder of the package, which must not exist yet

    Options:
          --dim <NAME=N|LO..=HI>      Size of a symbolic dimension, or the range from which each run
                                      chooses; once for every dimension
          --operator <OPERATOR>       Operator that onnxide does not know, as
                                      DOMAIN::NAME=PATH:SIGNATURE with the path of the function that
                                      computes it; once for every one
          --threads <N>               Number of threads that a run computes on [default: 1]
          --no-winograd               Compute no convolution by Winograd's algorithm, which is faster
                                      and rounds more
          --precision <TYPE>          In what matrix products and convolutions multiply: f32; bf16,
                                      which is coarser and takes half the memory; or int8, for matrix
                                      products with weights that are stored in 4 or 8 bits [default:
                                      f32]
          --quantize <SCHEME>         Quantize a model in floats: to int8, which needs --calibration; to
                                      int8-dynamic, which computes the scales of what matrix products
                                      read in each run; or their weights alone, to int8-weights or int4
          --calibration <PATH>        Samples of inputs, from which scales are chosen: an archive of
                                      NumPy arrays with `in:NAME` or `NAME` for every input, each with
                                      one sample or several along its first axis, or a folder of such
          --observer <NAME>           How the ranges of activations are chosen from the samples:
                                      min-max, percentile, mse (the default) or entropy
          --block <N>                 Weights of an output that have one scale in int4 or int8-weights:
                                      16, 32 (the default of int4), 64, 128 or 256
          --smooth <A>                Divide channels of what matrix products read by x^A / w^(1 - A),
                                      where x is the largest number that the samples show and w the
                                      largest weight, and multiply the weights (SmoothQuant), such as
                                      0.5
          --equalize                  Make the weights on both sides of channels between convolutions
                                      about as large (cross-layer equalization)
          --max-drift <X>             Largest drift of an output over the samples, as a fraction of it,
                                      such as 0.05: layers that do the most harm stay in floats
          --ram <SIZE>                Most memory that a run works in, such as 65536, 64K or 2M; by
                                      default what is fast
          --tuning <FILE>             What `bench --tune` has found to be fastest for this model
          --operators-from <FILE.rs>  Source of functions that compute operators: `crate::ops::f` is in
                                      a file `ops.rs`
      -h, --help                      Print help

    Example:
      onnxide new magika.onnx filetype --dim batch=1
      cd filetype
      cargo run --release
    ");
    insta::assert_snapshot!(help(&["inspect", "--help"]), @r"
    Show the steps of a model and its memory over time

    Usage: onnxide inspect [OPTIONS] <MODEL>

    Arguments:
      <MODEL>  The model, an ONNX file

    Options:
          --dim <NAME=N|LO..=HI>  Size of a symbolic dimension, or the range from which each run
                                  chooses; once for every dimension
          --operator <OPERATOR>   Operator that onnxide does not know, as DOMAIN::NAME=PATH:SIGNATURE
                                  with the path of the function that computes it; once for every one
          --threads <N>           Number of threads that a run computes on [default: 1]
          --no-winograd           Compute no convolution by Winograd's algorithm, which is faster and
                                  rounds more
          --precision <TYPE>      In what matrix products and convolutions multiply: f32; bf16, which is
                                  coarser and takes half the memory; or int8, for matrix products with
                                  weights that are stored in 4 or 8 bits [default: f32]
          --quantize <SCHEME>     Quantize a model in floats: to int8, which needs --calibration; to
                                  int8-dynamic, which computes the scales of what matrix products read
                                  in each run; or their weights alone, to int8-weights or int4
          --calibration <PATH>    Samples of inputs, from which scales are chosen: an archive of NumPy
                                  arrays with `in:NAME` or `NAME` for every input, each with one sample
                                  or several along its first axis, or a folder of such
          --observer <NAME>       How the ranges of activations are chosen from the samples: min-max,
                                  percentile, mse (the default) or entropy
          --block <N>             Weights of an output that have one scale in int4 or int8-weights: 16,
                                  32 (the default of int4), 64, 128 or 256
          --smooth <A>            Divide channels of what matrix products read by x^A / w^(1 - A), where
                                  x is the largest number that the samples show and w the largest
                                  weight, and multiply the weights (SmoothQuant), such as 0.5
          --equalize              Make the weights on both sides of channels between convolutions about
                                  as large (cross-layer equalization)
          --max-drift <X>         Largest drift of an output over the samples, as a fraction of it, such
                                  as 0.05: layers that do the most harm stay in floats
          --ram <SIZE>            Most memory that a run works in, such as 65536, 64K or 2M; by default
                                  what is fast
          --tuning <FILE>         What `bench --tune` has found to be fastest for this model
          --json                  Print JSON
          --svg <FILE>            Write a picture of the memory over time
      -h, --help                  Print help

    Examples:
      onnxide inspect minilm.onnx --dim batch=1 --dim sequence=128
      onnxide inspect minilm.onnx --dim batch=1 --dim sequence=128 --svg memory.svg
    ");
    insta::assert_snapshot!(help(&["check", "--help"]), @r"
    Compare a model's outputs with those of a reference

    Usage: onnxide check [OPTIONS] --reference <REF.npz> <MODEL>

    Arguments:
      <MODEL>  The model, an ONNX file

    Options:
          --dim <NAME=N|LO..=HI>      Size of a symbolic dimension, or the range from which each run
                                      chooses; once for every dimension
          --operator <OPERATOR>       Operator that onnxide does not know, as
                                      DOMAIN::NAME=PATH:SIGNATURE with the path of the function that
                                      computes it; once for every one
          --threads <N>               Number of threads that a run computes on [default: 1]
          --no-winograd               Compute no convolution by Winograd's algorithm, which is faster
                                      and rounds more
          --precision <TYPE>          In what matrix products and convolutions multiply: f32; bf16,
                                      which is coarser and takes half the memory; or int8, for matrix
                                      products with weights that are stored in 4 or 8 bits [default:
                                      f32]
          --quantize <SCHEME>         Quantize a model in floats: to int8, which needs --calibration; to
                                      int8-dynamic, which computes the scales of what matrix products
                                      read in each run; or their weights alone, to int8-weights or int4
          --calibration <PATH>        Samples of inputs, from which scales are chosen: an archive of
                                      NumPy arrays with `in:NAME` or `NAME` for every input, each with
                                      one sample or several along its first axis, or a folder of such
          --observer <NAME>           How the ranges of activations are chosen from the samples:
                                      min-max, percentile, mse (the default) or entropy
          --block <N>                 Weights of an output that have one scale in int4 or int8-weights:
                                      16, 32 (the default of int4), 64, 128 or 256
          --smooth <A>                Divide channels of what matrix products read by x^A / w^(1 - A),
                                      where x is the largest number that the samples show and w the
                                      largest weight, and multiply the weights (SmoothQuant), such as
                                      0.5
          --equalize                  Make the weights on both sides of channels between convolutions
                                      about as large (cross-layer equalization)
          --max-drift <X>             Largest drift of an output over the samples, as a fraction of it,
                                      such as 0.05: layers that do the most harm stay in floats
          --ram <SIZE>                Most memory that a run works in, such as 65536, 64K or 2M; by
                                      default what is fast
          --tuning <FILE>             What `bench --tune` has found to be fastest for this model
          --reference <REF.npz>       Inputs and the outputs expected of them
          --tolerance <X>             Largest relative error of an output [default: 1e-4]
          --isa <NAME>                Instruction set; by default the best that this machine has
          --operators-from <FILE.rs>  Source of functions that compute operators: `crate::ops::f` is in
                                      a file `ops.rs`
          --json                      Print JSON
      -h, --help                      Print help

    The reference is an archive of NumPy arrays: `in:NAME` for every input, `out:NAME` for the outputs
    to compare.
    The relative error is the largest difference over the largest magnitude in the reference.
    A dimension without --dim has the size that the reference gives it. With --dim NAME=N it may have
    any size up to N.

    Example:
      onnxide check bert.onnx --reference ref.npz --dim sequence=64 --tolerance 1e-5
      onnxide check scan.onnx --reference ref.npz --operators-from src/ops.rs \
          --operator 'my.domain::Unpack = crate::ops::unpack: (u8[n, k]) -> f32[n, 8 * k]'
    ");
    insta::assert_snapshot!(help(&["drift", "--help"]), @r"
    Compare a model in one precision, or quantized, with itself in f32, layer by layer

    Usage: onnxide drift [OPTIONS] --reference <REF.npz> <MODEL>

    Arguments:
      <MODEL>  The model, an ONNX file

    Options:
          --dim <NAME=N|LO..=HI>      Size of a symbolic dimension, or the range from which each run
                                      chooses; once for every dimension
          --operator <OPERATOR>       Operator that onnxide does not know, as
                                      DOMAIN::NAME=PATH:SIGNATURE with the path of the function that
                                      computes it; once for every one
          --threads <N>               Number of threads that a run computes on [default: 1]
          --no-winograd               Compute no convolution by Winograd's algorithm, which is faster
                                      and rounds more
          --precision <TYPE>          In what matrix products and convolutions multiply: f32; bf16,
                                      which is coarser and takes half the memory; or int8, for matrix
                                      products with weights that are stored in 4 or 8 bits [default:
                                      f32]
          --quantize <SCHEME>         Quantize a model in floats: to int8, which needs --calibration; to
                                      int8-dynamic, which computes the scales of what matrix products
                                      read in each run; or their weights alone, to int8-weights or int4
          --calibration <PATH>        Samples of inputs, from which scales are chosen: an archive of
                                      NumPy arrays with `in:NAME` or `NAME` for every input, each with
                                      one sample or several along its first axis, or a folder of such
          --observer <NAME>           How the ranges of activations are chosen from the samples:
                                      min-max, percentile, mse (the default) or entropy
          --block <N>                 Weights of an output that have one scale in int4 or int8-weights:
                                      16, 32 (the default of int4), 64, 128 or 256
          --smooth <A>                Divide channels of what matrix products read by x^A / w^(1 - A),
                                      where x is the largest number that the samples show and w the
                                      largest weight, and multiply the weights (SmoothQuant), such as
                                      0.5
          --equalize                  Make the weights on both sides of channels between convolutions
                                      about as large (cross-layer equalization)
          --max-drift <X>             Largest drift of an output over the samples, as a fraction of it,
                                      such as 0.05: layers that do the most harm stay in floats
          --ram <SIZE>                Most memory that a run works in, such as 65536, 64K or 2M; by
                                      default what is fast
          --tuning <FILE>             What `bench --tune` has found to be fastest for this model
          --reference <REF.npz>       Inputs, as for `check`
          --isa <NAME>                Instruction set; by default the best that this machine has
          --operators-from <FILE.rs>  Source of functions that compute operators: `crate::ops::f` is in
                                      a file `ops.rs`
          --json                      Print JSON
          --svg <FILE>                Write a picture of the ratios of signal to noise
      -h, --help                      Print help

    The model runs twice on the same inputs, in f32 and in the precision or quantized. SNR is the ratio
    of the
    squares of the results in f32 to those of the differences, error/range the largest difference over
    the range of the results in f32. What a layer shows has gathered on the way to it. A decision is
    which number is the greatest along the last axis. The results of layers are kept for this, which
    takes memory. Those of a quantized model are no floats: what its layers show was computed with the
    quantized numbers on the samples of the calibration.

    Examples:
      onnxide drift resnet50.onnx --reference ref.npz --precision bf16 --svg drift.svg
      onnxide drift resnet50.onnx --reference ref.npz --quantize int8 --calibration samples.npz
    ");
    insta::assert_snapshot!(help(&["run", "--help"]), @r"
    Run a model once

    Usage: onnxide run [OPTIONS] --inputs <IN.npz> --outputs <OUT.npz> <MODEL>

    Arguments:
      <MODEL>  The model, an ONNX file

    Options:
          --dim <NAME=N|LO..=HI>      Size of a symbolic dimension, or the range from which each run
                                      chooses; once for every dimension
          --operator <OPERATOR>       Operator that onnxide does not know, as
                                      DOMAIN::NAME=PATH:SIGNATURE with the path of the function that
                                      computes it; once for every one
          --threads <N>               Number of threads that a run computes on [default: 1]
          --no-winograd               Compute no convolution by Winograd's algorithm, which is faster
                                      and rounds more
          --precision <TYPE>          In what matrix products and convolutions multiply: f32; bf16,
                                      which is coarser and takes half the memory; or int8, for matrix
                                      products with weights that are stored in 4 or 8 bits [default:
                                      f32]
          --quantize <SCHEME>         Quantize a model in floats: to int8, which needs --calibration; to
                                      int8-dynamic, which computes the scales of what matrix products
                                      read in each run; or their weights alone, to int8-weights or int4
          --calibration <PATH>        Samples of inputs, from which scales are chosen: an archive of
                                      NumPy arrays with `in:NAME` or `NAME` for every input, each with
                                      one sample or several along its first axis, or a folder of such
          --observer <NAME>           How the ranges of activations are chosen from the samples:
                                      min-max, percentile, mse (the default) or entropy
          --block <N>                 Weights of an output that have one scale in int4 or int8-weights:
                                      16, 32 (the default of int4), 64, 128 or 256
          --smooth <A>                Divide channels of what matrix products read by x^A / w^(1 - A),
                                      where x is the largest number that the samples show and w the
                                      largest weight, and multiply the weights (SmoothQuant), such as
                                      0.5
          --equalize                  Make the weights on both sides of channels between convolutions
                                      about as large (cross-layer equalization)
          --max-drift <X>             Largest drift of an output over the samples, as a fraction of it,
                                      such as 0.05: layers that do the most harm stay in floats
          --ram <SIZE>                Most memory that a run works in, such as 65536, 64K or 2M; by
                                      default what is fast
          --tuning <FILE>             What `bench --tune` has found to be fastest for this model
          --inputs <IN.npz>           File to read the inputs from
          --outputs <OUT.npz>         File to write the outputs to
          --isa <NAME>                Instruction set; by default the best that this machine has
          --operators-from <FILE.rs>  Source of functions that compute operators: `crate::ops::f` is in
                                      a file `ops.rs`
      -h, --help                      Print help

    Both files are archives of NumPy arrays, named after the model's inputs and outputs. Inputs may also
    be named `in:NAME`.
    A dimension without --dim has the size that the inputs give it. With --dim NAME=N it may have any
    size up to N.

    Example:
      onnxide run magika.onnx --inputs in.npz --outputs out.npz
    ");
    insta::assert_snapshot!(help(&["bench", "--help"]), @r"
    Measure how long a model takes

    Usage: onnxide bench [OPTIONS] <MODEL>

    Arguments:
      <MODEL>  The model, an ONNX file

    Options:
          --dim <NAME=N|LO..=HI>      Size of a symbolic dimension, or the range from which each run
                                      chooses; once for every dimension
          --operator <OPERATOR>       Operator that onnxide does not know, as
                                      DOMAIN::NAME=PATH:SIGNATURE with the path of the function that
                                      computes it; once for every one
          --threads <N>               Number of threads that a run computes on [default: 1]
          --no-winograd               Compute no convolution by Winograd's algorithm, which is faster
                                      and rounds more
          --precision <TYPE>          In what matrix products and convolutions multiply: f32; bf16,
                                      which is coarser and takes half the memory; or int8, for matrix
                                      products with weights that are stored in 4 or 8 bits [default:
                                      f32]
          --quantize <SCHEME>         Quantize a model in floats: to int8, which needs --calibration; to
                                      int8-dynamic, which computes the scales of what matrix products
                                      read in each run; or their weights alone, to int8-weights or int4
          --calibration <PATH>        Samples of inputs, from which scales are chosen: an archive of
                                      NumPy arrays with `in:NAME` or `NAME` for every input, each with
                                      one sample or several along its first axis, or a folder of such
          --observer <NAME>           How the ranges of activations are chosen from the samples:
                                      min-max, percentile, mse (the default) or entropy
          --block <N>                 Weights of an output that have one scale in int4 or int8-weights:
                                      16, 32 (the default of int4), 64, 128 or 256
          --smooth <A>                Divide channels of what matrix products read by x^A / w^(1 - A),
                                      where x is the largest number that the samples show and w the
                                      largest weight, and multiply the weights (SmoothQuant), such as
                                      0.5
          --equalize                  Make the weights on both sides of channels between convolutions
                                      about as large (cross-layer equalization)
          --max-drift <X>             Largest drift of an output over the samples, as a fraction of it,
                                      such as 0.05: layers that do the most harm stay in floats
          --ram <SIZE>                Most memory that a run works in, such as 65536, 64K or 2M; by
                                      default what is fast
          --tuning <FILE>             What `bench --tune` has found to be fastest for this model
          --reference <REF.npz>       Inputs, as for `check`
          --seconds <S>               How long to measure [default: 3]
          --isa <NAME>                Instruction set; by default the best that this machine has
          --operators-from <FILE.rs>  Source of functions that compute operators: `crate::ops::f` is in
                                      a file `ops.rs`
          --sort                      Show the slowest steps first
          --json                      Print JSON
          --small-pages               Leave the weights where they were loaded; by default they are in
                                      large pages of memory, where the system has such, as an
                                      application may have them
          --rounds                    Measure when told to by the standard input, by turns with other
                                      programs
          --tune <FILE>               Find out what is fastest on this machine, and write it to a file
      -h, --help                      Print help

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
      onnxide bench resnet.onnx --threads 2 --tune resnet.tuning
    ");
}

#[test]
fn wrong_arguments() {
    insta::assert_snapshot!(error(&["inspect", BERT, "--dim", "batch"]), @r"
    error: invalid value 'batch' for '--dim <NAME=N|LO..=HI>': expected NAME=N or NAME=LO..=HI, such as batch=1 or sequence=1..=256

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(error(&["check", BERT, "--reference", REFERENCE, "--tolerance", "-1"]), @r"
    error: invalid value '-1' for '--tolerance <X>': expected a number that is not negative, such as 1e-4

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(error(&["inspect", BERT, "--dim", "batch=1", "--dim", "sequence=8", "--threads", "33"]), @r"
    error: cannot compile models/bert_tiny_dyn.onnx
      a model cannot run on 33 threads
        help: the number is 1 to 32
    ");
    insta::assert_snapshot!(error(&["check", BERT, "--reference", REFERENCE, "--isa", "mmx"]), @r"
    error: invalid value 'mmx' for '--isa <NAME>': expected one of scalar, avx2, avx512

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(error(&["bench", BERT, "--seconds", "0"]), @r"
    error: invalid value '0' for '--seconds <S>': expected a positive number, such as 0.5

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
    insta::assert_snapshot!(error(&["check", "cat.onnx", "--reference", REFERENCE]), @"error: cannot read cat.onnx: there is no such file");
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

#[test]
fn references_that_do_not_fit() {
    insta::assert_snapshot!(error(&["check", BERT, "--reference", "nowhere.npz"]), @"error: cannot open nowhere.npz: No such file or directory (os error 2)");
    insta::assert_snapshot!(error(&["check", BERT, "--reference", "README.md"]), @"error: README.md is not an archive of NumPy arrays; numpy.savez makes one: invalid Zip archive: Could not find EOCD");
    insta::assert_snapshot!(error(&["check", BERT, "--reference", "models/digits_cnn_fp32.npz"]), @"error: models/digits_cnn_fp32.npz: there is no array `in:input_ids`, `in:attention_mask`, `in:token_type_ids` for an input of the model; the other arrays are `in:image`, `out:logits`");
    insta::assert_snapshot!(error(&["check", BERT, "--reference", REFERENCE, "--dim", "sequence=8"]), @"error: dimension `sequence` is 16 in models/bert_tiny_dyn.npz, outside of --dim sequence=8");
}
