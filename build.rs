//! Compiles the model that `tests/build_script.rs` uses, as an application's build script would.
//!
//! The published package has no models; then there is nothing to do.

use onnxide_codegen::Compiler;
use std::path::Path;

fn main() -> Result<(), onnxide_codegen::compiler::BuildError> {
    let model = Path::new("models/bert_tiny_dyn.onnx");
    println!("cargo::rerun-if-changed=build.rs");
    if model.exists() {
        Compiler::new(model)
            .name("bert_tiny")
            .dim("batch", ..=4)
            .dim("sequence", ..=32)
            .compile()?;
    }
    Ok(())
}
