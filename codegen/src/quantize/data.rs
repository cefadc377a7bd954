//! Calibration data: archives of NumPy arrays as inputs of the model.

use std::fs;
use std::path::{Path, PathBuf};

use crate::ir::{Graph, Part, Tensor, TensorType};
use crate::npz::{self, Array};

/// The most samples that are taken.
const MAX_SAMPLES: usize = 1 << 16;

/// Files with samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The archives, in order of their names.
    pub paths: Vec<PathBuf>,
    /// BLAKE3 of their contents.
    pub hash: [u8; 32],
}

impl Files {
    /// The archive at a path, or those in the folder at a path.
    ///
    /// # Errors
    ///
    /// There is nothing at the path, no archive in the folder, or a file cannot be read.
    pub fn find(path: &Path) -> Result<Files, String> {
        let unreadable = |path: &Path, error: std::io::Error| format!("cannot read {}: {error}", path.display());
        let mut paths = Vec::new();
        if path.is_dir() {
            for entry in fs::read_dir(path).map_err(|error| unreadable(path, error))? {
                let file = entry.map_err(|error| unreadable(path, error))?.path();
                if file.extension().is_some_and(|end| end == "npz") && file.is_file() {
                    paths.push(file);
                }
            }
            paths.sort();
            if paths.is_empty() {
                return Err(format!(
                    "the folder {} has no file `*.npz` with samples",
                    path.display()
                ));
            }
        } else {
            paths.push(path.to_owned());
        }
        let mut hasher = blake3::Hasher::new();
        for path in &paths {
            let content = fs::read(path).map_err(|error| unreadable(path, error))?;
            hasher.update(&(content.len() as u64).to_le_bytes());
            hasher.update(&content);
        }
        Ok(Files {
            paths,
            hash: hasher.finalize().into(),
        })
    }

    /// The inputs of a graph for each run, in the order of the files.
    ///
    /// # Errors
    ///
    /// An array is missing or does not fit the model, or has numbers that are not finite; the error names it.
    pub(super) fn samples(&self, graph: &Graph) -> Result<Vec<Vec<Tensor>>, String> {
        if let Some(port) = graph.inputs.iter().find(|port| port.part != Part::Whole) {
            return Err(format!(
                "input `{}` is no tensor of numbers, for which there is no calibration",
                port.name
            ));
        }
        let mut samples = Vec::new();
        for path in &self.paths {
            let arrays = npz::read(path).map_err(|error| error.to_string())?;
            let found = of_file(graph, &arrays).map_err(|error| format!("{}: {error}", path.display()))?;
            samples.extend(found);
            if samples.len() > MAX_SAMPLES {
                return Err(format!("the calibration has more than {MAX_SAMPLES} samples"));
            }
        }
        Ok(samples)
    }
}

/// The samples of a file.
fn of_file(graph: &Graph, arrays: &[(String, Array)]) -> Result<Vec<Vec<Tensor>>, String> {
    let mut inputs: Vec<Vec<Tensor>> = Vec::new();
    let mut missing = Vec::new();
    for (port, &param) in graph.inputs.iter().zip(&graph.body.params) {
        let named = format!("in:{}", port.name);
        let array = [&named, &port.name].into_iter().find_map(|name| {
            let found = arrays.iter().find(|(other, _)| other == name);
            found.map(|(_, array)| array)
        });
        match array {
            Some(array) => {
                let pieces = pieces(graph, graph.ty(param), array);
                inputs.push(pieces.map_err(|error| format!("input `{}` {error}", port.name))?);
            }
            None => missing.push(format!("`{named}`")),
        }
    }
    if !missing.is_empty() {
        let found: Vec<String> = arrays.iter().map(|(name, _)| format!("`{name}`")).collect();
        return Err(format!(
            "there is no array {} for an input of the model; the arrays are {}",
            missing.join(", "),
            if found.is_empty() {
                "none".into()
            } else {
                found.join(", ")
            }
        ));
    }
    let count = inputs.iter().map(Vec::len).max().unwrap_or(0);
    let mut names = graph.inputs.iter().zip(&inputs);
    if let Some((port, pieces)) = names.find(|(_, pieces)| pieces.len() != count && pieces.len() != 1) {
        let found = pieces.len();
        return Err(format!(
            "input `{}` has {found} samples where another has {count}",
            port.name
        ));
    }
    let sample = |index: usize| {
        let piece = |pieces: &Vec<Tensor>| pieces[index.min(pieces.len() - 1)].clone();
        inputs.iter().map(piece).collect()
    };
    Ok((0..count).map(sample).collect())
}

/// The inputs in an array: one if it has the shape of the input, else those that follow each other along a first axis, which
/// is one more than the input has or longer than that of the input may be.
fn pieces(graph: &Graph, ty: &TensorType, array: &Array) -> Result<Vec<Tensor>, String> {
    let expected = ty.dtype.numpy_name();
    if array.dtype.name() != expected {
        return Err(format!("is {}, but the model takes {expected}", array.dtype));
    }
    let tensor = Tensor::from_bytes(ty.dtype, array.shape.clone(), array.data.clone().into());
    let finite = |values: Option<Vec<f64>>| values.is_none_or(|values| values.iter().all(|value| value.is_finite()));
    if !finite(tensor.to_floats()) {
        return Err("has numbers that are not finite".into());
    }
    let fits = |shape: &[usize]| {
        let sizes = shape.iter().zip(&ty.shape);
        shape.len() == ty.rank()
            && sizes.into_iter().all(|(&size, dim)| {
                let range = dim.range(&graph.bounds);
                i64::try_from(size).is_ok_and(|size| (range.low..=range.high).contains(&size))
            })
    };
    if fits(&tensor.shape) {
        return Ok(vec![tensor]);
    }
    let shape = match (tensor.shape.split_first(), ty.shape.first()) {
        (Some((_, rest)), _) if fits(rest) => Some(rest.to_vec()),
        (Some((&count, rest)), Some(first)) => {
            let most = usize::try_from(first.range(&graph.bounds).high).unwrap_or(0);
            let shape = [&[most], rest].concat();
            (most > 0 && count % most == 0 && fits(&shape)).then_some(shape)
        }
        _ => None,
    };
    let bytes = |shape: &[usize]| shape.iter().product::<usize>() * ty.dtype.size();
    match shape {
        Some(shape) if bytes(&shape) > 0 && !tensor.is_empty() => {
            let size = bytes(&shape);
            let piece = |start: usize| {
                let data = tensor.data.slice(start..start + size);
                Tensor::from_bytes(ty.dtype, shape.clone(), data)
            };
            Ok((0..tensor.data.len()).step_by(size).map(piece).collect())
        }
        _ => {
            let takes = ty.shape.iter().map(|dim| {
                let range = dim.range(&graph.bounds);
                match range.low == range.high {
                    true => range.low.to_string(),
                    false => format!("{} to {}", range.low, range.high),
                }
            });
            let takes: Vec<String> = takes.collect();
            Err(format!(
                "has the shape {:?}, but the model takes [{}], or several of these one after another",
                array.shape,
                takes.join(", ")
            ))
        }
    }
}
