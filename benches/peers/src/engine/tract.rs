//! tract.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use onnxide_codegen::frontend;
use tract_linalg::multithread::{Executor, set_default_executor};
use tract_onnx::prelude::*;

use super::worker::Session;
use crate::arrays::{Array, Arrays, Data};

struct Tract {
    plan: Arc<TypedRunnableModel>,
    inputs: TVec<TValue>,
    /// The names of the outputs.
    names: Vec<String>,
}

/// Loads a model for the shapes of its inputs.
///
/// # Errors
///
/// tract does not know what to do with it.
pub(super) fn load(path: &Path, arrays: &Arrays, threads: usize) -> Result<Box<dyn Session>> {
    if threads > 1 {
        set_default_executor(Executor::multithread(threads));
    }
    let graph = frontend::load(path)?.graph;
    let names = graph.outputs.into_iter().map(|output| output.name).collect();
    let mut model = tract_onnx::onnx().model_for_path(path)?;
    let mut inputs = TVec::new();
    for (index, port) in graph.inputs.iter().enumerate() {
        let array = arrays
            .get(&port.name)
            .with_context(|| format!("there is no input `{}`", port.name))?;
        let tensor = tensor(array)?;
        model.set_input_fact(index, InferenceFact::dt_shape(tensor.datum_type(), tensor.shape()))?;
        inputs.push(tensor.into_tvalue());
    }
    let plan = model.into_optimized()?.into_runnable()?;
    Ok(Box::new(Tract { plan, inputs, names }))
}

fn tensor(array: &Array) -> Result<Tensor> {
    let shape = &array.shape;
    match &array.data {
        Data::F32(data) => Tensor::from_shape(shape, data),
        Data::F64(data) => Tensor::from_shape(shape, data),
        Data::I8(data) => Tensor::from_shape(shape, data),
        Data::I16(data) => Tensor::from_shape(shape, data),
        Data::I32(data) => Tensor::from_shape(shape, data),
        Data::I64(data) => Tensor::from_shape(shape, data),
        Data::U8(data) => Tensor::from_shape(shape, data),
        Data::Bool(data) => Tensor::from_shape(shape, data),
    }
}

impl Session for Tract {
    fn run(&mut self) -> Result<()> {
        std::hint::black_box(self.plan.run(self.inputs.clone())?);
        Ok(())
    }

    fn outputs(&mut self) -> Result<Arrays> {
        let outputs = self.plan.run(self.inputs.clone())?;
        let array = |(name, value): (&String, &TValue)| {
            let value = value.cast_to::<f64>()?;
            let data = value
                .to_plain_array_view::<f64>()
                .map_err(|error| anyhow!("output `{name}`: {error}"))?;
            let array = Array {
                shape: value.shape().to_vec(),
                data: Data::F64(data.iter().copied().collect()),
            };
            Ok((name.clone(), array))
        };
        self.names.iter().zip(&outputs).map(array).collect()
    }
}
