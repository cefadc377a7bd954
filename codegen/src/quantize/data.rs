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

    /// The inputs of a graph for each run, in the order of the files. `batches` are the inputs whose first axis has no fixed
    /// size in the model: where the graph takes more at a time than there are, they are taken again.
    ///
    /// # Errors
    ///
    /// An array is missing, does not fit the model, has no elements, or has numbers that are not finite; the error names it.
    pub(super) fn samples(&self, graph: &Graph, batches: &[&str]) -> Result<Vec<Vec<Tensor>>, String> {
        if let Some(port) = graph.inputs.iter().find(|port| port.part != Part::Whole) {
            return Err(format!(
                "input `{}` is no tensor of numbers, for which there is no calibration",
                port.name
            ));
        }
        let mut samples = Vec::new();
        for path in &self.paths {
            let arrays = npz::read(path).map_err(|error| error.to_string())?;
            let found = of_file(graph, batches, &arrays).map_err(|error| format!("{}: {error}", path.display()))?;
            samples.extend(found);
            if samples.len() > MAX_SAMPLES {
                return Err(format!("the calibration has more than {MAX_SAMPLES} samples"));
            }
        }
        Ok(samples)
    }
}

/// The samples of a file.
fn of_file(graph: &Graph, batches: &[&str], arrays: &[(String, Array)]) -> Result<Vec<Vec<Tensor>>, String> {
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
                let may_repeat = batches.contains(&port.name.as_str());
                let pieces = pieces(graph, graph.ty(param), array, may_repeat);
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
/// is one more than the input has or longer than that of the input may be. `may_repeat` says whether a shorter one is taken
/// several times.
fn pieces(graph: &Graph, ty: &TensorType, array: &Array, may_repeat: bool) -> Result<Vec<Tensor>, String> {
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
    if tensor.is_empty() {
        return Err(format!("has no elements in the shape {:?}", tensor.shape));
    }
    if fits(&tensor.shape) {
        return Ok(vec![tensor]);
    }
    let mut tensor = tensor;
    let sizes = tensor.shape.clone();
    let shape = match (sizes.split_first(), ty.shape.first()) {
        (Some((_, rest)), _) if fits(rest) => Some(rest.to_vec()),
        (Some((&count, rest)), Some(first)) => {
            let range = first.range(&graph.bounds);
            let [least, most] = [range.low, range.high].map(|size| usize::try_from(size).unwrap_or(0));
            let shape = [&[most], rest].concat();
            if most > 0 && count > 0 && count % most != 0 && fits(&shape) && may_repeat {
                // As many as are missing in the last run, from the first ones.
                let size = if count < least { least } else { most };
                let whole = count.next_multiple_of(size);
                let bytes = whole * (tensor.data.len() / count);
                let data: Vec<u8> = tensor.data.iter().copied().cycle().take(bytes).collect();
                let shape = [&[whole], rest].concat();
                tensor = Tensor::from_bytes(ty.dtype, shape, data.into());
                Some([&[size], rest].concat())
            } else {
                (most > 0 && count % most == 0 && fits(&shape)).then_some(shape)
            }
        }
        _ => None,
    };
    let bytes = |shape: &[usize]| shape.iter().product::<usize>() * ty.dtype.size();
    match shape {
        Some(shape) if bytes(&shape) > 0 => {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::parse;
    use onnxide_runtime::element::DType;

    fn graph() -> Graph {
        let text = "graph \"g\" {\n  bounds { b: 2..=4 }\n  input \"x\" %0: f32[b, 3]\n  input \"n\" %1: i64[]\n  output \"y\" %0\n}";
        parse(text).unwrap()
    }

    fn array(dtype: DType, shape: &[usize]) -> Array {
        let count: usize = shape.iter().product();
        let data = match dtype {
            DType::F32 => (0..count).flat_map(|number| (number as f32).to_le_bytes()).collect(),
            _ => vec![0; count * dtype.size()],
        };
        Array {
            dtype,
            shape: shape.to_vec(),
            data,
        }
    }

    fn samples(folder: &Path, x: Array, n: Array, batches: &[&str]) -> Result<Vec<Vec<Tensor>>, String> {
        let path = folder.join("calib.npz");
        npz::write(&path, &[("in:x".into(), x), ("n".into(), n)]).unwrap();
        let samples = Files::find(&path).unwrap().samples(&graph(), batches);
        samples.map_err(|error| error.replace(&folder.display().to_string(), "."))
    }

    #[test]
    fn arrays_have_one_sample_or_several() {
        let folder = tempfile::tempdir().unwrap();
        let shapes = |x: &[usize], n: &[usize], batches: &[&str]| -> Vec<Vec<usize>> {
            let samples = samples(folder.path(), array(DType::F32, x), array(DType::I64, n), batches).unwrap();
            assert!(samples.iter().all(|sample| sample[1].shape.is_empty()));
            samples.iter().map(|sample| sample[0].shape.clone()).collect()
        };
        assert_eq!(shapes(&[3, 3], &[], &[]), [[3, 3]]);
        assert_eq!(shapes(&[8, 3], &[], &[]), [[4, 3]; 2]);
        assert_eq!(shapes(&[8, 3], &[2], &[]), [[4, 3]; 2]);
        assert_eq!(shapes(&[2, 3, 3], &[], &[]), [[3, 3]; 2]);
        assert_eq!(shapes(&[9, 3], &[], &["x"]), [[4, 3]; 3]);
        assert_eq!(shapes(&[1, 3], &[], &["x"]), [[2, 3]]);
        let last = samples(
            folder.path(),
            array(DType::F32, &[9, 3]),
            array(DType::I64, &[]),
            &["x"],
        )
        .unwrap();
        let values = last[2][0].to_vec::<f32>().unwrap();
        assert_eq!(values[..6], [24.0, 25.0, 26.0, 0.0, 1.0, 2.0]);
    }

    #[test]
    fn arrays_that_do_not_fit() {
        let folder = tempfile::tempdir().unwrap();
        let error = |x: Array, n: Array| samples(folder.path(), x, n, &[]).unwrap_err();
        let (x, n) = (|shape: &[usize]| array(DType::F32, shape), || array(DType::I64, &[]));
        assert_eq!(
            error(x(&[9, 3]), n()),
            "./calib.npz: input `x` has the shape [9, 3], but the model takes [2 to 4, 3], or several of these one after \
             another"
        );
        assert_eq!(
            error(x(&[0, 3]), n()),
            "./calib.npz: input `x` has no elements in the shape [0, 3]"
        );
        assert_eq!(
            error(array(DType::F64, &[3, 3]), n()),
            "./calib.npz: input `x` is float64, but the model takes float32"
        );
        assert_eq!(
            error(x(&[8, 3]), array(DType::I64, &[3])),
            "./calib.npz: input `x` has 2 samples where another has 3"
        );
        let mut missing = x(&[3, 3]);
        missing.data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
        assert_eq!(
            error(missing, n()),
            "./calib.npz: input `x` has numbers that are not finite"
        );
    }

    #[test]
    fn archives_that_end_early() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calib.npz");
        let arrays = [("in:x", DType::F32, vec![3, 3]), ("n", DType::I64, vec![])];
        let arrays = arrays.map(|(name, dtype, shape)| (name.to_owned(), array(dtype, &shape)));
        npz::write(&path, &arrays).unwrap();
        let whole = fs::read(&path).unwrap();
        for length in (0..whole.len()).step_by(7) {
            fs::write(&path, &whole[..length]).unwrap();
            let found = Files::find(&path).unwrap().samples(&graph(), &[]);
            assert!(found.is_err(), "{length} of {} bytes", whole.len());
        }
    }

    #[test]
    fn files_are_found_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let error = Files::find(path).unwrap_err();
        assert!(error.ends_with("has no file `*.npz` with samples"), "{error}");
        assert!(
            Files::find(&path.join("none.npz"))
                .unwrap_err()
                .starts_with("cannot read ")
        );
        for name in ["b.npz", "a.npz", "c.txt"] {
            npz::write(&path.join(name), &[]).unwrap();
        }
        let files = Files::find(path).unwrap();
        assert_eq!(files.paths, [path.join("a.npz"), path.join("b.npz")]);
        let error = files.samples(&graph(), &[]).unwrap_err();
        assert!(
            error.ends_with("a.npz: there is no array `in:x`, `in:n` for an input of the model; the arrays are none"),
            "{error}"
        );
        npz::write(&path.join("b.npz"), &[("x".into(), array(DType::F32, &[1]))]).unwrap();
        assert_ne!(Files::find(path).unwrap().hash, files.hash);
    }
}
