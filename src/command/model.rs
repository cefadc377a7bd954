//! A model together with the arrays that it is to run on.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use onnxide_codegen::frontend::{self, DeclaredDim, Model, ValueInfo, ValueType};
use onnxide_codegen::{Compiler, DimRange};
use onnxide_runtime::element::DType;

use crate::args::{DimArg, ModelArgs};
use onnxide_codegen::npz::Array;

/// The arrays of the inputs, in the order of the model, and a compiler that has the sizes of all dimensions.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) compiler: Compiler,
    pub(crate) inputs: Vec<(String, Array)>,
}

/// Takes the arrays of the inputs out of `arrays`, by their names after `in:` or as they are, and the sizes of dimensions
/// from them. `--dim NAME=N` bounds a dimension instead of fixing it if its size is smaller.
///
/// # Errors
///
/// An input is missing, or arrays do not fit the model or each other.
pub(crate) fn bind(args: &ModelArgs, arrays: &mut BTreeMap<String, Array>, file: &Path) -> Result<Bound> {
    let mut compiler = args.compiler();
    if !args.model.is_file() {
        // The compiler knows better than the front end what to say about a path that leads nowhere.
        compiler.clone().compile_module()?;
    }
    let model = frontend::load(&args.model)?;
    let inputs = take_inputs(&model, arrays).with_context(|| file.display().to_string())?;
    for (name, size) in sizes(&model, &inputs).with_context(|| file.display().to_string())? {
        compiler = compiler.dim(&name, range(&name, size, &args.dims, file)?);
    }
    Ok(Bound { compiler, inputs })
}

/// Inputs that are zero, with the largest size of every symbolic dimension.
///
/// # Errors
///
/// The model cannot be read, or has inputs whose size is not known.
pub(crate) fn zeros(args: &ModelArgs) -> Result<Vec<(String, Array)>> {
    let model = frontend::load(&args.model)?;
    let zeros = |value: &ValueInfo| {
        let unknown = || {
            format!(
                "the shape of input `{}` is not known; give the inputs with --reference",
                value.name
            )
        };
        let Some(ValueType::Tensor {
            element,
            shape: Some(dims),
        }) = &value.ty
        else {
            bail!(unknown());
        };
        let dtype = DType::from_name(&element.to_string()).with_context(unknown)?;
        let size = |(axis, dim): (usize, &DeclaredDim)| match dim {
            DeclaredDim::Fixed(size) => Some(*size),
            dim => {
                let name = value.dim_name(axis, dim)?;
                Some(args.dims.iter().rfind(|dim| dim.name == name)?.range.max)
            }
        };
        let shape: Vec<usize> = dims
            .iter()
            .enumerate()
            .map(size)
            .collect::<Option<_>>()
            .with_context(unknown)?;
        let data = vec![0; shape.iter().product::<usize>() * dtype.size()];
        Ok((value.name.clone(), Array { dtype, shape, data }))
    };
    model.graph.inputs.iter().map(zeros).collect()
}

fn take_inputs(model: &Model, arrays: &mut BTreeMap<String, Array>) -> Result<Vec<(String, Array)>> {
    let mut inputs = Vec::new();
    let mut missing = Vec::new();
    for input in &model.graph.inputs {
        match arrays
            .remove(&format!("in:{}", input.name))
            .or_else(|| arrays.remove(&input.name))
        {
            Some(array) => inputs.push((input.name.clone(), array)),
            None => missing.push(format!("`in:{}`", input.name)),
        }
    }
    if missing.is_empty() {
        return Ok(inputs);
    }
    let found: Vec<_> = arrays.keys().map(|name| format!("`{name}`")).collect();
    let found = if found.is_empty() {
        "none".into()
    } else {
        found.join(", ")
    };
    bail!(
        "there is no array {} for an input of the model; the other arrays are {found}",
        missing.join(", ")
    )
}

/// The size of every symbolic dimension.
fn sizes(model: &Model, inputs: &[(String, Array)]) -> Result<BTreeMap<String, usize>> {
    let mut sizes: BTreeMap<String, (usize, &str)> = BTreeMap::new();
    for (value, (name, array)) in model.graph.inputs.iter().zip(inputs) {
        for (axis, (dim, &size)) in declared(value, array)?.iter().zip(&array.shape).enumerate() {
            match (value.dim_name(axis, dim), dim) {
                (Some(symbol), _) => {
                    let (first, whose) = *sizes.entry(symbol.clone()).or_insert((size, name));
                    ensure!(
                        first == size,
                        "dimension `{symbol}` is {first} in input `{whose}`, but {size} in input `{name}`"
                    );
                }
                (None, DeclaredDim::Fixed(fixed)) => ensure!(
                    *fixed == size,
                    "input `{name}` has the shape {:?}, but the model takes {fixed} at axis {axis}",
                    array.shape
                ),
                (None, _) => {}
            }
        }
    }
    Ok(sizes.into_iter().map(|(name, (size, _))| (name, size)).collect())
}

/// The declared dimensions of an input, once data type and rank are found to be those of its array.
fn declared<'a>(value: &'a ValueInfo, array: &Array) -> Result<&'a [DeclaredDim]> {
    let Some(ValueType::Tensor { element, shape }) = &value.ty else {
        return Ok(&[]);
    };
    ensure!(
        element.to_string() == array.dtype.name(),
        "input `{}` is {}, but the model takes {element}",
        value.name,
        array.dtype
    );
    let Some(shape) = shape else {
        return Ok(&[]);
    };
    ensure!(
        shape.len() == array.shape.len(),
        "input `{}` has {} dimensions, but the model takes {}",
        value.name,
        array.shape.len(),
        shape.len()
    );
    Ok(shape)
}

/// What the compiler is told about a dimension of this size.
fn range(name: &str, size: usize, dims: &[DimArg], file: &Path) -> Result<DimRange> {
    let Some(dim) = dims.iter().rfind(|dim| dim.name == name) else {
        return Ok(size.into());
    };
    let mut range = dim.range;
    if range.min == range.max && size < range.max {
        range.min = size.min(1);
    }
    ensure!(
        (range.min..=range.max).contains(&size),
        "dimension `{name}` is {size} in {}, outside of --dim {name}={}",
        file.display(),
        dim.range
    );
    Ok(range)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use onnxide_codegen::Precision;

    use super::*;

    fn arrays(shapes: [(&str, DType, &[usize]); 3]) -> BTreeMap<String, Array> {
        let array = |dtype: DType, shape: &[usize]| {
            let bytes = shape.iter().product::<usize>() * dtype.size();
            Array {
                dtype,
                shape: shape.to_vec(),
                data: vec![0; bytes],
            }
        };
        shapes
            .into_iter()
            .map(|(name, dtype, shape)| (name.to_owned(), array(dtype, shape)))
            .collect()
    }

    fn bert(dims: &[&str]) -> ModelArgs {
        ModelArgs {
            model: Path::new(env!("CARGO_MANIFEST_DIR")).join("models/bert_tiny_dyn.onnx"),
            dims: dims.iter().map(|dim| dim.parse().unwrap()).collect(),
            operators: Vec::new(),
            threads: NonZeroUsize::MIN,
            no_winograd: false,
            precision: Precision::F32,
            quantize: None,
            calibration: None,
            observer: None,
            block: None,
            smooth: None,
            equalize: false,
            max_drift: None,
            ram: None,
            tuning: None,
        }
    }

    fn error(dims: &[&str], shapes: [(&str, DType, &[usize]); 3]) -> String {
        let error = bind(&bert(dims), &mut arrays(shapes), Path::new("ref.npz")).unwrap_err();
        format!("{error:#}")
    }

    const IDS: (&str, DType, &[usize]) = ("in:input_ids", DType::I64, &[1, 16]);
    const MASK: (&str, DType, &[usize]) = ("in:attention_mask", DType::I64, &[1, 16]);
    const TYPES: (&str, DType, &[usize]) = ("token_type_ids", DType::I64, &[1, 16]);

    #[test]
    fn inputs_come_in_the_order_of_the_model() {
        let mut arrays = arrays([TYPES, MASK, IDS]);
        let bound = bind(&bert(&[]), &mut arrays, Path::new("ref.npz")).unwrap();
        let names: Vec<_> = bound.inputs.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["input_ids", "attention_mask", "token_type_ids"]);
        assert!(arrays.is_empty());
    }

    #[test]
    fn arrays_that_do_not_fit() {
        let mut extra = IDS;
        extra.0 = "in:ids";
        assert_eq!(
            error(&[], [extra, MASK, TYPES]),
            "ref.npz: there is no array `in:input_ids` for an input of the model; the other arrays are `in:ids`"
        );
        let mut float = MASK;
        float.1 = DType::F32;
        assert_eq!(
            error(&[], [IDS, float, TYPES]),
            "ref.npz: input `attention_mask` is float32, but the model takes int64"
        );
        let mut flat = MASK;
        flat.2 = &[16];
        assert_eq!(
            error(&[], [IDS, flat, TYPES]),
            "ref.npz: input `attention_mask` has 1 dimensions, but the model takes 2"
        );
        let mut short = TYPES;
        short.2 = &[1, 15];
        assert_eq!(
            error(&[], [IDS, MASK, short]),
            "ref.npz: dimension `sequence` is 16 in input `input_ids`, but 15 in input `token_type_ids`"
        );
        assert_eq!(
            error(&["sequence=8"], [IDS, MASK, TYPES]),
            "dimension `sequence` is 16 in ref.npz, outside of --dim sequence=8"
        );
    }

    #[test]
    fn zeros_have_the_largest_size() {
        let inputs = zeros(&bert(&["batch=1", "sequence=2..=9"])).unwrap();
        assert!(
            inputs
                .iter()
                .all(|(_, array)| array.shape == [1, 9] && array.data == [0; 72])
        );
        let error = zeros(&bert(&["batch=1"])).unwrap_err().to_string();
        assert_eq!(
            error,
            "the shape of input `input_ids` is not known; give the inputs with --reference"
        );
    }

    #[test]
    fn given_sizes_are_bounds() {
        let range = |dims: &[&str]| range("s", 16, &bert(dims).dims, Path::new("")).ok();
        assert_eq!(range(&[]), Some(16.into()));
        assert_eq!(range(&["t=4"]), Some(16.into()));
        assert_eq!(range(&["s=16"]), Some(16.into()));
        assert_eq!(range(&["s=64"]), Some((1..=64).into()));
        assert_eq!(range(&["s=8..=64"]), Some((8..=64).into()));
        assert_eq!(range(&["s=64", "s=15"]), None);
    }
}
