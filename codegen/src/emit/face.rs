//! A tensor as the caller sees it: of numbers, truth values or strings.

use super::literal::rust_type;
use super::module::Imports;
use crate::ir::{DType, Dim, Part, TensorType};

/// The type of a tensor at the interface.
pub(super) struct Face {
    item: Item,
    /// The sizes of the axes.
    pub(super) shape: Vec<Dim>,
}

/// What a tensor has at the interface.
enum Item {
    Number(DType),
    Bool,
    /// Strings with room for some bytes.
    Text(usize),
}

impl Face {
    /// The face of a tensor of the graph, which has strings as bytes along a last axis.
    pub(super) fn of(part: &Part, ty: &TensorType) -> Face {
        match (part, ty.shape.split_last()) {
            (Part::Text, Some((width, shape))) => Face {
                item: Item::Text(width.as_usize().unwrap_or(0)),
                shape: shape.to_vec(),
            },
            _ => Face {
                item: match ty.dtype {
                    DType::Bool => Item::Bool,
                    dtype => Item::Number(dtype),
                },
                shape: ty.shape.clone(),
            },
        }
    }

    /// The number of axes.
    pub(super) fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The sizes, if all are constant.
    pub(super) fn static_shape(&self) -> Option<Vec<usize>> {
        self.shape.iter().map(Dim::as_usize).collect()
    }

    /// The type of an element.
    pub(super) fn element(&self, imports: &mut Imports) -> String {
        match self.item {
            Item::Number(dtype) => {
                imports.element(dtype);
                rust_type(dtype).into()
            }
            Item::Bool => "bool".into(),
            Item::Text(width) => {
                imports.add("text", "Text");
                format!("Text<{width}>")
            }
        }
    }

    /// The type with a lifetime: an element, a reference to a nested array, or a view.
    pub(super) fn ty(&self, lifetime: &str, imports: &mut Imports) -> String {
        let element = self.element(imports);
        match self.static_shape() {
            Some(shape) if shape.is_empty() => element,
            Some(shape) => {
                let nested = shape
                    .iter()
                    .rev()
                    .fold(element, |inner, size| format!("[{inner}; {size}]"));
                match lifetime {
                    "'_" => format!("&{nested}"),
                    lifetime => format!("&{lifetime} {nested}"),
                }
            }
            None => {
                imports.add("tensor", "TensorView");
                format!("TensorView<{lifetime}, {element}, {}>", self.rank())
            }
        }
    }

    /// A slice of elements as the slice that steps read.
    pub(super) fn stored(&self, flat: String, imports: &mut Imports) -> String {
        match self.item {
            Item::Number(_) => flat,
            Item::Bool => {
                imports.add("nested", "bytes_of_bools");
                format!("bytes_of_bools({flat})")
            }
            Item::Text(_) => {
                imports.add("text", "bytes_of_texts");
                format!("bytes_of_texts({flat})")
            }
        }
    }

    /// A slice that steps wrote as a slice of elements.
    pub(super) fn shown(&self, data: String, imports: &mut Imports) -> String {
        match self.item {
            Item::Number(_) => data,
            Item::Bool => {
                imports.add("nested", "bools_of_bytes");
                format!("bools_of_bytes({data})")
            }
            Item::Text(width) => {
                imports.add("text", "texts_of_bytes");
                format!("texts_of_bytes::<{width}>({data})")
            }
        }
    }

    /// The type, for people.
    pub(super) fn text(&self) -> String {
        let shape = crate::ir::infer::display_shape(&self.shape);
        match self.item {
            Item::Number(dtype) => format!("`{dtype}{shape}`"),
            Item::Bool => format!("`bool{shape}`"),
            Item::Text(width) => format!("`string{shape}` of up to {width} bytes each"),
        }
    }
}
