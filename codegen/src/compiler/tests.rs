use super::*;

/// A model with dimensions `batch` and `sequence`.
const BERT: &str = "../models/bert_tiny_dyn.onnx";

fn error(compiler: Compiler) -> String {
    compiler.load().map(|_| ()).unwrap_err().to_string()
}

#[test]
fn every_dimension_needs_a_size() {
    insta::assert_snapshot!(error(Compiler::new(BERT)), @r#"
    cannot compile ../models/bert_tiny_dyn.onnx (2 problems)
      dimension `batch` (axis 0 of input `input_ids`) has no size
        help: fix it with `.dim("batch", 1)` or bound it with `.dim("batch", 1..=8)`
      dimension `sequence` (axis 1 of input `input_ids`) has no size
        help: fix it with `.dim("sequence", 1)` or bound it with `.dim("sequence", 1..=8)`
    "#);
    insta::assert_snapshot!(error(Compiler::new(BERT).dim("batch", 1).front(Front::Macro)), @r"
    cannot compile ../models/bert_tiny_dyn.onnx
      dimension `sequence` (axis 1 of input `input_ids`) has no size
        help: fix it with `dims(sequence = 1)` or bound it with `dims(sequence <= 8)`
    ");
    insta::assert_snapshot!(error(Compiler::new(BERT).dim("batch", 1).front(Front::Command)), @r"
    cannot compile ../models/bert_tiny_dyn.onnx
      dimension `sequence` (axis 1 of input `input_ids`) has no size
        help: fix it with `--dim sequence=1` or bound it with `--dim sequence=1..=8`
    ");
}

#[test]
fn sizes_of_dimensions_make_sense() {
    #[expect(clippy::reversed_empty_ranges)]
    let compiler = Compiler::new(BERT)
        .dim("batch", 4..=3)
        .dim("sequence", ..=usize::MAX)
        .dim("seq", 8);
    insta::assert_snapshot!(error(compiler), @r"
    cannot compile ../models/bert_tiny_dyn.onnx (3 problems)
      the range 4..=3 of dimension `batch` is empty
      the model has no dimension `seq`
        help: its dimensions are `batch`, `sequence`
      dimension `sequence` may be as large as 18446744073709551615, but at most 2147483647 is supported
    ");
    insta::assert_snapshot!(error(Compiler::new("../models/silero_vad_openvino_16k.onnx").dim("batch", 1)), @r"
    cannot compile ../models/silero_vad_openvino_16k.onnx
      the model has no dimension `batch`
        help: all dimensions of its inputs are fixed: leave the option out
    ");
}

#[test]
fn paths_that_lead_nowhere() {
    insta::assert_snapshot!(error(Compiler::new("https://example.com/m.onnx")), @"cannot read https://example.com/m.onnx: it is a URL; download the file and give its path");
    insta::assert_snapshot!(error(Compiler::new("nowhere/m.onnx")), @"cannot read nowhere/m.onnx: there is no folder nowhere");
    insta::assert_snapshot!(error(Compiler::new("../models/m.onnx")), @"cannot read ../models/m.onnx: there is no such file");
    insta::assert_snapshot!(error(Compiler::new("Cargo.toml")), @r"
    cannot compile Cargo.toml
      this looks like text, not an ONNX model
    ");
    insta::assert_snapshot!(error(Compiler::new(BERT).name("my-bert").dim("batch", 1)), @r"
    cannot compile ../models/bert_tiny_dyn.onnx
      `my-bert` cannot be the name of a module
        help: use letters, digits and underscores, and no keyword of Rust
    ");
}

#[test]
fn modules_are_named_after_their_files() {
    let compiler = Compiler::new(BERT).dim("batch", 1).dim("sequence", 1..=64);
    let loaded = compiler.load().unwrap();
    assert_eq!(loaded.options.name, "bert_tiny_dyn");
    assert_eq!(
        loaded.options.weights,
        WeightsPath::Beside("bert_tiny_dyn.weights".into())
    );
    assert_eq!(loaded.options.dims["sequence"].to_string(), "1..=64");
    assert_eq!(loaded.key.len(), 32);
}

#[test]
fn the_last_size_of_a_dimension_counts() {
    let compiler = Compiler::new(BERT)
        .dim("batch", 1)
        .dim("sequence", 1..=64)
        .dim("sequence", 32);
    assert_eq!(compiler.load().unwrap().options.dims["sequence"], DimRange::from(32));
}

#[test]
fn files_appear_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.rs");
    cache::write_atomically(&path, b"one").unwrap();
    cache::write_atomically(&path, b"two").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"two");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let error = cache::write_atomically(&folder.path().join("none/m.rs"), b"").unwrap_err();
    assert!(matches!(error, CompileError::Write { .. }), "{error}");
}
