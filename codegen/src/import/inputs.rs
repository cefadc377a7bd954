//! The types of the model's inputs, with a symbol for each dynamic dimension.

use std::collections::BTreeMap;

use super::text::DEFAULT_WIDTH;
use super::{Options, dtype};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::frontend::{DeclaredDim, ElementType, Model, ValueInfo, ValueType};
use crate::ir::infer::display_shape;
use crate::ir::{Bounds, DType, Dim, Interval, TensorType};

/// The names of the dynamic dimensions of a model's inputs, in the order of the inputs. One without a name of its own is
/// called after its input and axis, such as `image_0`.
pub fn dynamic_dims(model: &Model) -> Vec<String> {
    let mut names = Vec::new();
    model.graph.inputs.iter().for_each(|input| names.extend(dims_of(input)));
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// The names of the dynamic dimensions of a value.
fn dims_of(value: &ValueInfo) -> Vec<String> {
    let Some(ValueType::Tensor { shape: Some(shape), .. }) = &value.ty else {
        return Vec::new();
    };
    let dims = shape.iter().enumerate();
    dims.filter_map(|(axis, dim)| value.dim_name(axis, dim)).collect()
}

/// The name of the option that says how many bytes a string of an input may have.
fn width_name(input: &ValueInfo) -> String {
    format!("{}_bytes", input.name)
}

/// Whether an input is a tensor of strings.
pub(super) fn is_text(input: &ValueInfo) -> bool {
    matches!(
        &input.ty,
        Some(ValueType::Tensor {
            element: ElementType::String,
            ..
        })
    )
}

/// The bounds of the symbols and the type of each input, except those that are reported as unusable.
pub(super) fn resolve(model: &Model, options: &Options, found: &mut Diagnostics) -> (Bounds, Vec<TensorType>) {
    let mut bounds = Bounds::new();
    let mut sizes = BTreeMap::new();
    for (name, range) in &options.dims {
        let (low, high) = (*range.start(), *range.end());
        if low < 0 || high < low || high < 1 || high > i64::from(i32::MAX) {
            found.push(Diagnostic::new(format!(
                "the dimension `{name}` cannot have sizes from {low} to {high}"
            )));
        }
        let size = if low == high {
            Dim::from(low)
        } else {
            bounds.insert(name.as_str(), Interval { low, high });
            Dim::symbol(name.as_str())
        };
        sizes.insert(name.as_str(), size);
    }

    let dynamic = dynamic_dims(model);
    let widths: Vec<_> = model
        .graph
        .inputs
        .iter()
        .filter(|input| is_text(input))
        .map(width_name)
        .collect();
    let mut types = Vec::new();
    for input in &model.graph.inputs {
        let ty = declared(input, found).map(|(element, dims)| {
            let shape = dims
                .iter()
                .enumerate()
                .map(|(axis, dim)| match (dim, input.dim_name(axis, dim)) {
                    (DeclaredDim::Fixed(size), _) => Dim::from(*size),
                    (_, name) => {
                        let name = name.unwrap_or_default();
                        sizes.get(name.as_str()).cloned().unwrap_or_else(|| Dim::symbol(name))
                    }
                });
            let width = is_text(input).then(|| match options.dims.get(&width_name(input)) {
                Some(range) => Dim::from(*range.end()),
                None => Dim::from(DEFAULT_WIDTH),
            });
            TensorType::new(element, shape.chain(width).collect())
        });
        types.push(ty);
    }

    let unbounded: Vec<_> = dynamic
        .iter()
        .filter(|name| !sizes.contains_key(name.as_str()))
        .collect();
    if !unbounded.is_empty() {
        let mut message = String::from("dynamic dimensions need a size or bounds:");
        for name in &unbounded {
            let uses = model.graph.inputs.iter().zip(&types).filter_map(|(input, ty)| {
                let shape = &ty.as_ref()?.shape;
                let symbol = Dim::symbol(name.as_str());
                shape
                    .contains(&symbol)
                    .then(|| format!("{} {}", input.name, display_shape(shape)))
            });
            message.push_str(&format!("\n`{name}` in {}", uses.collect::<Vec<_>>().join(", ")));
        }
        let examples: Vec<_> = unbounded
            .iter()
            .map(|name| format!("`{name} = 1` or `{name} = 1..=8`"))
            .collect();
        let help = format!(
            "give each one size, or the smallest and the largest: {}",
            examples.join(", ")
        );
        found.push(Diagnostic::new(message).help(help));
    }
    // Sizes of outputs that only a run can tell may be given bounds, too.
    let outputs: Vec<String> = model.graph.outputs.iter().flat_map(dims_of).collect();
    let unknown = |name: &&String| ![&dynamic, &outputs, &widths].iter().any(|known| known.contains(name));
    for name in options.dims.keys().filter(unknown) {
        let names: Vec<_> = dynamic.iter().chain(&widths).map(|name| format!("`{name}`")).collect();
        let known = match names.as_slice() {
            [] => "it has none".to_owned(),
            names => format!("it has {}", names.join(", ")),
        };
        found.push(Diagnostic::new(format!(
            "the model has no dynamic dimension `{name}`; {known}"
        )));
    }
    (bounds, types.into_iter().flatten().collect())
}

fn declared<'m>(input: &'m ValueInfo, found: &mut Diagnostics) -> Option<(DType, &'m [DeclaredDim])> {
    let name = &input.name;
    let message = match &input.ty {
        Some(ValueType::Tensor {
            element,
            shape: Some(shape),
        }) => match dtype(*element) {
            _ if *element == ElementType::String => return Some((DType::U8, shape)),
            Ok(dtype) => return Some((dtype, shape)),
            Err(message) => format!("input `{name}`: {message}"),
        },
        Some(ValueType::Tensor { shape: None, .. }) => format!("input `{name}` has no shape, not even a rank"),
        Some(ValueType::Other(what)) => format!("input `{name}` is {what}, which is not supported"),
        None => format!("input `{name}` has no type"),
    };
    found.push(Diagnostic::new(message));
    None
}
