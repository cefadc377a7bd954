//! The models of the race and their inputs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use fastrand::Rng;
use onnxide_codegen::frontend::{self, DeclaredDim, ValueInfo, ValueType};
use serde::Deserialize;

use crate::arrays::{self, Array, Arrays, Data};

const SEED: u64 = 7;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    model: Vec<Entry>,
}

/// A line of the table of models.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) note: String,
    /// The name of the model's file, if it is another one.
    #[serde(default)]
    model: Option<String>,
    /// In what products read what they multiply with weights that are stored in 4 or 8 bits.
    #[serde(default)]
    activations: Activations,
    /// The sizes of symbolic dimensions.
    #[serde(default)]
    dims: BTreeMap<String, usize>,
    /// The range of seeded integers, by input.
    #[serde(default)]
    inputs: BTreeMap<String, [i64; 2]>,
}

/// The precision of activations, where weights alone are quantized.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Activations {
    #[default]
    F32,
    /// Rounded in each run, by those engines that can.
    Int8,
}

impl Activations {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Activations::F32 => "f32",
            Activations::Int8 => "int8",
        }
    }
}

/// A model with its inputs.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) path: PathBuf,
    pub(crate) activations: Activations,
    /// The size of every symbolic dimension of the inputs.
    pub(crate) dims: BTreeMap<String, usize>,
    pub(crate) inputs: Arrays,
}

/// Reads a table of models.
///
/// # Errors
///
/// The file cannot be read or is no such table.
pub(crate) fn table(path: &Path) -> Result<Vec<Entry>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let table: Table = toml::from_str(&text).with_context(|| path.display().to_string())?;
    Ok(table.model)
}

impl Entry {
    /// The file of the model in a folder, if it is there.
    pub(crate) fn find(&self, folder: &Path) -> Option<PathBuf> {
        let name = self.model.as_ref().unwrap_or(&self.name);
        let files = [format!("{name}.onnx"), format!("{name}/model.onnx")];
        files.iter().map(|file| folder.join(file)).find(|file| file.is_file())
    }

    /// Gathers what a model runs on.
    ///
    /// # Errors
    ///
    /// The model or its stored inputs cannot be read, a size is not known, or the table does not say which integers an
    /// input takes.
    pub(crate) fn load(&self, path: PathBuf) -> Result<Model> {
        let ports = frontend::load(&path)?.graph.inputs;
        let stored = match self.reference(&path) {
            Some(file) => arrays::read(&file)?,
            None => Arrays::new(),
        };
        let find = |port: &ValueInfo| {
            let array = stored
                .get(&format!("in:{}", port.name))
                .or_else(|| stored.get(&port.name));
            array.cloned().map(|array| (port.name.clone(), array))
        };
        let stored: Option<Arrays> = ports.iter().map(find).collect();
        let sizes = |arrays: &Arrays| sizes(&ports, arrays);
        // Stored inputs of other sizes would be another race.
        let fits = |arrays: &Arrays| {
            let found = sizes(arrays).ok()?;
            self.dims
                .iter()
                .all(|(name, size)| found.get(name) == Some(size))
                .then_some(())
        };
        let inputs = match stored.filter(|arrays| fits(arrays).is_some()) {
            Some(arrays) => arrays,
            None => self.seeded(&ports)?,
        };
        let dims = sizes(&inputs)?;
        Ok(Model {
            path,
            activations: self.activations,
            dims,
            inputs,
        })
    }

    fn reference(&self, path: &Path) -> Option<PathBuf> {
        [path.with_extension("npz"), path.with_file_name("ref.npz")]
            .into_iter()
            .find(|file| file.is_file() && (file.file_stem() == path.file_stem() || path.ends_with("model.onnx")))
    }

    fn seeded(&self, ports: &[ValueInfo]) -> Result<Arrays> {
        let mut rng = Rng::with_seed(SEED);
        let array = |port: &ValueInfo| {
            let name = &port.name;
            let Some(ValueType::Tensor {
                element,
                shape: Some(dims),
            }) = &port.ty
            else {
                bail!("the shape of input `{name}` is not known; store its array beside the model");
            };
            let size = |(axis, dim): (usize, &DeclaredDim)| match (port.dim_name(axis, dim), dim) {
                (_, DeclaredDim::Fixed(size)) => Ok(*size),
                (symbol, _) => {
                    let symbol = symbol.unwrap_or_default();
                    let size = self.dims.get(&symbol);
                    size.copied()
                        .with_context(|| format!("the table has no size for `{symbol}` of input `{name}`"))
                }
            };
            let shape = dims.iter().enumerate().map(size).collect::<Result<Vec<_>>>()?;
            let dtype = element.to_string();
            let range = self.inputs.get(name);
            ensure!(
                range.is_some() || dtype.starts_with("float"),
                "the table does not say which integers the input `{name}` takes"
            );
            let next = || match range {
                Some(&[low, high]) => rng.i64(low..high.max(low + 1)) as f64,
                None => normal(&mut rng),
            };
            let data = Data::generate(&dtype, shape.iter().product(), next)
                .with_context(|| format!("the type {dtype} of input `{name}` is not supported"))?;
            Ok((name.clone(), Array { shape, data }))
        };
        ports.iter().map(array).collect()
    }
}

/// A number from the normal distribution, after Box and Muller.
fn normal(rng: &mut Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.f64()).cos()
}

/// The size of every symbolic dimension.
fn sizes(ports: &[ValueInfo], arrays: &Arrays) -> Result<BTreeMap<String, usize>> {
    let mut sizes = BTreeMap::new();
    for port in ports {
        let array = arrays
            .get(&port.name)
            .with_context(|| format!("there is no input `{}`", port.name))?;
        let Some(ValueType::Tensor { shape: Some(dims), .. }) = &port.ty else {
            continue;
        };
        let misfit = || {
            format!(
                "input `{}` has the shape {:?}, which is not the model's",
                port.name, array.shape
            )
        };
        ensure!(dims.len() == array.shape.len(), misfit());
        for (axis, (dim, &size)) in dims.iter().zip(&array.shape).enumerate() {
            match (port.dim_name(axis, dim), dim) {
                (Some(name), _) => ensure!(*sizes.entry(name).or_insert(size) == size, misfit()),
                (None, DeclaredDim::Fixed(fixed)) => ensure!(*fixed == size, misfit()),
                (None, _) => {}
            }
        }
    }
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(file: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models").join(file)
    }

    fn entry(text: &str) -> Entry {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn the_table_is_one() {
        let entries = table(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models.toml")).unwrap();
        let mut names: Vec<_> = entries.iter().map(|entry| &entry.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn stored_inputs_of_the_right_sizes_are_taken() {
        let path = model("digits_cnn_fp32.onnx");
        let stored = entry("name = 'digits_cnn_fp32'").load(path.clone()).unwrap();
        let batch = stored.dims["batch"];
        assert_eq!(stored.inputs["image"].shape, [batch, 1, 8, 8]);
        let same = entry(&format!("name = 'digits_cnn_fp32'\ndims = {{ batch = {batch} }}"))
            .load(path.clone())
            .unwrap();
        assert_eq!(same.inputs, stored.inputs);
        let other = entry("name = 'digits_cnn_fp32'\ndims = { batch = 3 }")
            .load(path)
            .unwrap();
        assert_eq!(other.dims["batch"], 3);
        assert_ne!(
            other.inputs["image"].data.to_f64()[..8],
            stored.inputs["image"].data.to_f64()[..8]
        );
    }

    #[test]
    fn seeded_integers_are_in_their_range() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bert.onnx");
        fs::copy(model("bert_tiny_dyn.onnx"), &path).unwrap();
        let bert = "name = 'bert'\ndims = { batch = 2, sequence = 50 }\n";
        let error = entry(bert).load(path.clone()).unwrap_err().to_string();
        assert_eq!(
            error,
            "the table does not say which integers the input `input_ids` takes"
        );
        let inputs = "inputs = { input_ids = [5, 9], attention_mask = [1, 2], token_type_ids = [0, 1] }";
        let model = entry(&format!("{bert}{inputs}")).load(path).unwrap();
        let ids = model.inputs["input_ids"].data.to_f64();
        assert_eq!(ids.len(), 100);
        assert!([5.0, 6.0, 7.0, 8.0].iter().all(|id| ids.contains(id)) && ids.iter().all(|id| (5.0..9.0).contains(id)));
    }
}
