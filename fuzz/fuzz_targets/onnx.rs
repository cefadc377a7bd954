//! The road from the bytes of an ONNX model to the text of a module.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use onnxide_codegen::emit::{EmitOptions, WeightsSource, emit};
use onnxide_codegen::plan::Plan;
use onnxide_codegen::{frontend, import, ir, passes};

fuzz_target!(|data: &[u8]| {
    let Ok(model) = frontend::from_bytes(Bytes::copy_from_slice(data), "fuzzed.onnx") else {
        return;
    };
    let names = import::dynamic_dims(&model).into_iter();
    let options = import::Options {
        dims: names.map(|name| (name, 1..=4)).collect(),
        ..import::Options::default()
    };
    let Ok(mut graph) = import::import(&model, &options) else {
        return;
    };
    ir::verify(&graph).expect("what is imported is valid");
    passes::optimize(&mut graph, &mut |_, _| {});
    ir::verify(&graph).expect("what is optimized is valid");
    let Ok(plan) = Plan::new(&graph) else {
        return;
    };
    let options = EmitOptions {
        runtime: "onnxide_runtime".into(),
        header: Vec::new(),
        weights: WeightsSource::Include(String::new()),
        program: true,
        profile: true,
    };
    emit(&plan, &options);
});
