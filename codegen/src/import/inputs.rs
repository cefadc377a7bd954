//! The types of the model's inputs, with a symbol for each dynamic dimension.

use std::collections::BTreeMap;

use super::item::{Extent, ItemType, RowType};
use super::text::DEFAULT_WIDTH;
use super::{Options, dtype};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::frontend::{Attribute, DeclaredDim, ElementType, Model, Node, ValueInfo, ValueType};
use crate::ir::infer::display_shape;
use crate::ir::{Bounds, DType, Dim, Interval, TensorType};

/// The largest rank of the elements of a sequence whose shapes the model does not declare.
const MIXED_RANK: usize = 8;

/// The names of the dynamic dimensions of a model's inputs, in the order of the inputs. One without a name of its own is
/// called after its input and axis, such as `image_0`.
pub fn dynamic_dims(model: &Model) -> Vec<String> {
    let mut names = Vec::new();
    model.graph.inputs.iter().for_each(|input| names.extend(dims_of(input)));
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// The names of the dynamic dimensions of a model's outputs that are none of its inputs. Only a run may be able to tell
/// these sizes, and then needs a bound of them.
pub fn open_sizes(model: &Model) -> Vec<String> {
    let inputs = dynamic_dims(model);
    let names: std::collections::BTreeSet<_> = model.graph.outputs.iter().flat_map(dims_of).collect();
    names.into_iter().filter(|name| !inputs.contains(name)).collect()
}

/// The names of the dynamic dimensions of a value. The greatest length of a sequence is called `NAME_len`; where elements
/// have no declared shape, the greatest number of elements in one is `NAME_size`.
fn dims_of(value: &ValueInfo) -> Vec<String> {
    let mut names = Vec::new();
    if let Some(ty) = &value.ty {
        add_dims(value, ty, &mut names);
    }
    names
}

fn add_dims(value: &ValueInfo, ty: &ValueType, names: &mut Vec<String>) {
    match ty {
        ValueType::Tensor { shape: Some(shape), .. } => {
            let dims = shape.iter().enumerate();
            names.extend(dims.filter_map(|(axis, dim)| value.dim_name(axis, dim)));
        }
        ValueType::Sequence(held) => {
            names.push(format!("{}_len", value.name));
            if let ValueType::Tensor { shape: None, .. } = **held {
                names.push(format!("{}_size", value.name));
            }
            add_dims(value, held, names);
        }
        ValueType::Optional(held) => add_dims(value, held, names),
        ValueType::Tensor { shape: None, .. } | ValueType::Other(_) => {}
    }
}

/// Whether a name stands for a size for which the options may give bounds and need not: one that only a run can tell,
/// which is a dynamic dimension of an output, or `NAME_len` of a sequence or `NAME_0` and so on of a tensor, where `NAME`
/// is the result of a node; or `NAME_bytes`, the number of bytes of a string of the input `NAME`.
pub fn is_size(model: &Model, name: &str) -> bool {
    fn defines(nodes: &[Node], value: &str) -> bool {
        nodes.iter().any(|node| {
            let graphs = node.attributes.values().flat_map(|attribute| match attribute {
                Attribute::Graph(graph) => std::slice::from_ref(graph.as_ref()),
                Attribute::Graphs(graphs) => graphs.as_slice(),
                _ => &[],
            });
            node.outputs.iter().any(|output| output == value)
                || graphs.into_iter().any(|graph| defines(&graph.nodes, value))
        })
    }
    if model.graph.outputs.iter().flat_map(dims_of).any(|dim| dim == name) || widths(model).any(|width| width == name) {
        return true;
    }
    let Some((value, suffix)) = name.rsplit_once('_') else {
        return false;
    };
    let is_axis = !suffix.is_empty() && suffix.bytes().all(|byte| byte.is_ascii_digit());
    (is_axis || suffix == "len") && defines(&model.graph.nodes, value)
}

/// The name of the option that says how many bytes a string of an input may have.
fn width_name(input: &ValueInfo) -> String {
    format!("{}_bytes", input.name)
}

/// The names of these options.
fn widths(model: &Model) -> impl Iterator<Item = String> {
    let inputs = model.graph.inputs.iter();
    inputs.filter(|input| is_text(input)).map(width_name)
}

/// Whether an input is a tensor of strings.
fn is_text(input: &ValueInfo) -> bool {
    matches!(
        &input.ty,
        Some(ValueType::Tensor {
            element: ElementType::String,
            ..
        })
    )
}

/// The bounds of the symbols and the type of each input, except those that are reported as unusable.
pub(super) fn resolve(model: &Model, options: &Options, found: &mut Diagnostics) -> (Bounds, Vec<ItemType>) {
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
    let mut types = Vec::new();
    for input in &model.graph.inputs {
        let sizes = Sizes {
            input,
            sizes: &sizes,
            bounds: &bounds,
            width: options
                .dims
                .get(&width_name(input))
                .map_or(DEFAULT_WIDTH, |range| *range.end()),
        };
        let ty = match &input.ty {
            Some(ty) => sizes.item_type(ty),
            None => Err("has no type".into()),
        };
        if let Err(message) = &ty {
            found.push(Diagnostic::new(format!("input `{}` {message}", input.name)));
        }
        types.push(ty.ok());
    }

    let unbounded: Vec<_> = dynamic
        .iter()
        .filter(|name| !sizes.contains_key(name.as_str()))
        .collect();
    if !unbounded.is_empty() {
        let mut message = String::from("dynamic dimensions need a size or bounds:");
        for name in &unbounded {
            let uses = model.graph.inputs.iter().zip(&types).filter_map(|(input, ty)| {
                let known = ty.as_ref()?;
                let used = dims_of(input).contains(name);
                used.then(|| match known {
                    ItemType::Tensor(ty) => format!("{} {}", input.name, display_shape(&ty.shape)),
                    _ => input.name.clone(),
                })
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
    let unknown = |name: &&String| !dynamic.contains(name) && !is_size(model, name);
    for name in options.dims.keys().filter(unknown) {
        let names: Vec<_> = dynamic
            .iter()
            .cloned()
            .chain(widths(model))
            .map(|name| format!("`{name}`"))
            .collect();
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

/// The sizes that the options give for the dimensions of an input.
struct Sizes<'a> {
    input: &'a ValueInfo,
    sizes: &'a BTreeMap<&'a str, Dim>,
    bounds: &'a Bounds,
    /// The number of bytes of a string.
    width: i64,
}

impl Sizes<'_> {
    fn size(&self, name: &str) -> Dim {
        self.sizes.get(name).cloned().unwrap_or_else(|| Dim::symbol(name))
    }

    /// What an input of a declared type consists of.
    fn item_type(&self, ty: &ValueType) -> Result<ItemType, String> {
        match ty {
            ValueType::Tensor {
                element,
                shape: Some(shape),
            } => {
                let dims = shape.iter().enumerate().map(|(axis, dim)| self.dim(axis, dim));
                if *element == ElementType::String {
                    let shape = dims.chain([Dim::from(self.width)]).collect();
                    return Ok(ItemType::Text(TensorType::new(DType::U8, shape)));
                }
                let dtype = dtype(*element).map_err(|message| format!("cannot be read: {message}"))?;
                Ok(ItemType::Tensor(TensorType::new(dtype, dims.collect())))
            }
            ValueType::Tensor { shape: None, .. } => Err("has no shape, not even a rank".into()),
            ValueType::Sequence(held) => {
                let capacity = self.most(&format!("{}_len", self.input.name));
                Ok(ItemType::Sequence(self.row_type(held, capacity)?))
            }
            ValueType::Optional(held) => {
                let content = match held.as_ref() {
                    ValueType::Sequence(_) => self.item_type(held)?,
                    held => ItemType::Varying(self.row_type(held, 1)?),
                };
                Ok(ItemType::Optional(Some(Box::new(content))))
            }
            ValueType::Other(what) => Err(format!("is {what}, which is not supported")),
        }
    }

    fn dim(&self, axis: usize, dim: &DeclaredDim) -> Dim {
        match (dim, self.input.dim_name(axis, dim)) {
            (DeclaredDim::Fixed(size), _) => Dim::from(*size),
            (_, name) => self.size(&name.unwrap_or_default()),
        }
    }

    fn most(&self, name: &str) -> i64 {
        self.size(name).upper(self.bounds)
    }

    /// The type of rows for tensors. A dimension with a name may have another size in each, within the same bounds.
    fn row_type(&self, held: &ValueType, capacity: i64) -> Result<RowType, String> {
        let ValueType::Tensor { element, shape } = held else {
            return Err("holds what are no tensors, which is not supported".into());
        };
        let dtype = dtype(*element).map_err(|message| format!("cannot be read: {message}"))?;
        let Some(shape) = shape else {
            let size = self.most(&format!("{}_size", self.input.name));
            let shape = vec![Extent::Between(0, size); MIXED_RANK];
            return Ok(RowType::new(dtype, capacity, shape, true, Some(size)));
        };
        let extent = |(axis, dim): (usize, &DeclaredDim)| {
            let range = self.dim(axis, dim).range(self.bounds);
            match range.low == range.high {
                true => Extent::Exactly(Dim::from(range.low)),
                false => Extent::Between(range.low.max(0), range.high),
            }
        };
        let shape = shape.iter().enumerate().map(extent).collect();
        Ok(RowType::new(dtype, capacity, shape, false, None))
    }
}
