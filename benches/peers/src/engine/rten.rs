//! rten.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value};
use rten_tensor::Tensor;
use rten_tensor::prelude::*;

use super::worker::Session;
use crate::arrays::{Array, Arrays, Data};

struct Rten {
    model: Model,
    inputs: Vec<(NodeId, Value)>,
    options: RunOptions,
}

/// Loads a model, with its weights packed for the products they are in. rten takes the shapes as they come.
///
/// # Errors
///
/// rten does not know what to do with it.
pub(super) fn load(path: &Path, arrays: &Arrays, threads: usize) -> Result<Box<dyn Session>> {
    let model = ModelOptions::with_all_ops().prepack_weights(true).load_file(path)?;
    let mut inputs = Vec::new();
    for &id in model.input_ids() {
        let name = model
            .node_info(id)
            .and_then(|node| node.name().map(str::to_owned))
            .unwrap_or_default();
        let array = arrays
            .get(&name)
            .with_context(|| format!("there is no input `{name}`"))?;
        inputs.push((id, value(array)?));
    }
    let pool = ThreadPool::with_num_threads(threads);
    let options = RunOptions::default().with_thread_pool(Some(Arc::new(pool)));
    Ok(Box::new(Rten { model, inputs, options }))
}

/// rten has 32-bit integers for all that are wider, and for booleans.
fn value(array: &Array) -> Result<Value> {
    let shape = array.shape.as_slice();
    Ok(match &array.data {
        Data::F32(data) => Tensor::from_data(shape, data.clone()).into(),
        Data::F64(data) => Tensor::from_data(shape, data.iter().map(|&x| x as f32).collect::<Vec<_>>()).into(),
        Data::I8(data) => Tensor::from_data(shape, data.clone()).into(),
        Data::U8(data) => Tensor::from_data(shape, data.clone()).into(),
        Data::I32(data) => Tensor::from_data(shape, data.clone()).into(),
        Data::I64(data) => Tensor::from_data(shape, data.iter().map(|&x| x as i32).collect::<Vec<_>>()).into(),
        Data::Bool(data) => Tensor::from_data(shape, data.iter().map(|&x| i32::from(x)).collect::<Vec<_>>()).into(),
        Data::I16(_) => bail!("rten has no 16-bit integers"),
    })
}

impl Rten {
    fn values(&self) -> Result<Vec<Value>> {
        let inputs = self.inputs.iter().map(|(id, value)| (*id, value.into())).collect();
        Ok(self
            .model
            .run(inputs, self.model.output_ids(), Some(self.options.clone()))?)
    }
}

impl Session for Rten {
    fn run(&mut self) -> Result<()> {
        std::hint::black_box(self.values()?);
        Ok(())
    }

    fn outputs(&mut self) -> Result<Arrays> {
        let mut outputs = Arrays::new();
        for (&id, value) in self.model.output_ids().iter().zip(self.values()?) {
            let name = self
                .model
                .node_info(id)
                .and_then(|node| node.name().map(str::to_owned))
                .unwrap_or_default();
            let (shape, data) = match value {
                Value::FloatTensor(tensor) => (tensor.shape().to_vec(), Data::F32(tensor.to_vec())),
                Value::Int32Tensor(tensor) => (tensor.shape().to_vec(), Data::I32(tensor.to_vec())),
                Value::Int8Tensor(tensor) => (tensor.shape().to_vec(), Data::I8(tensor.to_vec())),
                Value::UInt8Tensor(tensor) => (tensor.shape().to_vec(), Data::U8(tensor.to_vec())),
                _ => bail!("the output `{name}` is no tensor"),
            };
            outputs.insert(name, Array { shape, data });
        }
        Ok(outputs)
    }
}
