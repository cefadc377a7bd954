//! The committed modules are what the compiler makes of the models today.

use onnxide_codegen::Compiler;
use std::fs;
use std::path::Path;

/// Compares a module and its weights with the committed files, or writes these if `BLESS` is set.
fn check(name: &str, compiler: Compiler) {
    let module = compiler.name(name).compile_module().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (source, weights) = (
        folder.join(name).with_extension("rs"),
        folder.join(name).with_extension("weights"),
    );
    if std::env::var_os("BLESS").is_some() {
        fs::write(&source, &module.source).unwrap();
        fs::write(&weights, &module.weights).unwrap();
        return;
    }
    let advice = "run BLESS=1 cargo test -p onnxide-generated --test drift, and review the difference";
    let committed = fs::read_to_string(&source).unwrap();
    let difference = committed.lines().zip(module.source.lines()).position(|(a, b)| a != b);
    if let Some(line) = difference {
        let (old, new) = (committed.lines().nth(line), module.source.lines().nth(line));
        panic!(
            "{name}.rs differs from line {} on: {old:?} is now {new:?}; {advice}",
            line + 1
        );
    }
    assert!(committed == module.source, "{name}.rs has another length; {advice}");
    assert!(
        fs::read(&weights).unwrap() == module.weights[..],
        "{name}.weights differs; {advice}"
    );
}

/// The same model on one thread and on two, with the same weights.
fn bert_tiny_compiler() -> Compiler {
    compiler("bert_tiny_dyn.onnx").dim("batch", ..=4).dim("sequence", ..=64)
}

fn compiler(file: &str) -> Compiler {
    Compiler::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../models").join(file))
}

#[test]
fn digits() {
    check("digits", compiler("digits_cnn_fp32.onnx").dim("batch", 1));
}

#[test]
fn magika() {
    check("magika", compiler("magika_v3_3.onnx").dim("unk__214", 1));
}

#[test]
fn bert_tiny() {
    check("bert_tiny", bert_tiny_compiler());
}

#[test]
fn bert_tiny_threads() {
    check("bert_tiny_threads", bert_tiny_compiler().threads(2));
}
