//! Compiles the model that `tests/build_script.rs` uses, as an application's build script would.
//!
//! The published package has no models; then there is nothing to do.

use onnxide_codegen::{Compiler, Operator};
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
    let model = Path::new("models/lowpass.onnx");
    if model.exists() {
        // The shape that a signature could say as well, by a closure.
        let biquad = Operator::new("dsp", "Biquad")
            .function("crate::operators::biquad")
            .signature("(f32[channels, n], coefficients: floats, step: int = 1) -> Result<_>")
            .shape(|call| {
                let mut ty = call.input(0)?.clone();
                ty.shape[1] = call.size("n")?.floor_div(&call.int("step")?.into());
                Ok(vec![ty])
            });
        Compiler::new(model)
            .dim("channels", 1)
            .dim("samples", 16)
            .operator(biquad)
            .compile()?;
    }
    Ok(())
}
