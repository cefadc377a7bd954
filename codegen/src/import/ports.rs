//! Inputs and outputs as the tensors that they consist of.

use super::builder::{Builder, Fault};
use super::dtype;
use super::item::{Extent, Item, ItemType, Optional, RowType, Sequence};
use crate::frontend::{ValueInfo, ValueType};
use crate::ir::{DType, Dim, Expr, Interval, Part, Port, Tensor, TensorType, ValueId};

impl Builder {
    /// An input of a type, with a parameter of the graph for each of its tensors.
    pub(super) fn input(&mut self, name: &str, ty: &ItemType) -> Result<Item, Fault> {
        self.origin = format!("{name}_len");
        let parts = self.parts_of(ty);
        let mut values = Vec::new();
        for (part, ty) in parts.into_iter().zip(Builder::tensor_types(ty)) {
            let name = name.to_owned();
            let whole = matches!(part, Part::Whole | Part::Text);
            let value = self.parameter(ty, whole.then(|| name.clone()));
            self.graph.inputs.push(Port { name, part });
            self.graph.body.params.push(value);
            values.push(value);
        }
        let (ItemType::Optional(Some(content)), [present, rest @ ..]) = (ty, values.as_slice()) else {
            return self.input_content(&values, ty);
        };
        let content = match (content.as_ref(), rest) {
            (ItemType::Varying(row), &[elements, shapes]) => {
                // The caller leaves the shape of an absent tensor as it is.
                let mut expr = Expr::empty();
                let (present, size) = (expr.input(0, DType::Bool), expr.input(1, DType::I64));
                let zero = expr.int(0, DType::I64);
                expr.select(present, size, zero);
                let shapes = self.elementwise(expr, &[values[0], shapes])?;
                self.unflatten(&mut [elements, shapes].into_iter(), &ItemType::Varying(row.absent()))?
            }
            (content, rest) => self.input_content(rest, content)?,
        };
        Ok(Item::Optional(Optional {
            present: *present,
            content: Some(Box::new(content)),
        }))
    }

    fn input_content(&mut self, values: &[ValueId], ty: &ItemType) -> Result<Item, Fault> {
        let mut item = self.unflatten(&mut values.iter().copied(), ty)?;
        if let Item::Sequence(Sequence::Stored(stored)) = &mut item {
            // A length that is a symbol decides how often a loop over the sequence runs.
            let high = stored.ty.capacity;
            let length = self.bind_scalar(stored.length, Interval { low: 0, high })?;
            stored.length = self.dims(Vec::new(), vec![length]);
        }
        Ok(item)
    }

    /// The parts that an item of a type consists of, in the order of its tensors.
    fn parts_of(&self, ty: &ItemType) -> Vec<Part> {
        let elements = |row: &RowType| Part::Elements {
            sizes: row.shape.iter().map(|extent| self.interval(extent)).collect(),
            mixed: row.mixed,
        };
        match ty {
            ItemType::Tensor(_) => vec![Part::Whole],
            ItemType::Text(_) => vec![Part::Text],
            ItemType::Varying(row) => vec![elements(row), Part::Shapes],
            ItemType::Sequence(row) => vec![elements(row), Part::Shapes, Part::Length],
            ItemType::Optional(content) => {
                let mut parts = vec![Part::Present];
                parts.extend(content.iter().flat_map(|content| self.parts_of(content)));
                parts
            }
        }
    }

    /// Makes an item an output, of the kind that the model declares.
    pub(super) fn output(&mut self, output: &ValueInfo, item: Item) -> Result<(), Fault> {
        let item = self.declared_kind(output.ty.as_ref(), item)?;
        let visible = self.visible();
        let ty = match self.item_type(&item, &visible)? {
            ItemType::Tensor(ty) if self.table_of(&item).is_some() => {
                let width = self.table_of(&item).map_or(0, |table| self.width(table));
                let width = Dim::from(width);
                let shape = ty.shape.into_iter().chain([width]).collect();
                ItemType::Text(TensorType::new(DType::U8, shape))
            }
            ItemType::Optional(content) => {
                let content = match content.map(|content| *content) {
                    Some(ItemType::Tensor(ty)) => ItemType::Varying(self.row_type(&ty, &visible)),
                    Some(content) => content,
                    None => absent_type(output.ty.as_ref())?,
                };
                ItemType::Optional(Some(Box::new(content)))
            }
            ty => ty,
        };
        let values = self.flatten(&item, &ty)?;
        for (part, value) in self.parts_of(&ty).into_iter().zip(values) {
            let value = self.placed(value);
            let name = output.name.clone();
            self.graph.outputs.push(Port { name, part });
            self.graph.body.results.push(value);
        }
        Ok(())
    }

    fn table_of(&self, item: &Item) -> Option<ValueId> {
        match item {
            Item::Tensor(value) => self.table(*value),
            _ => None,
        }
    }

    /// A value that may be absent and is declared not to be must be there; one that is there may be declared optional.
    fn declared_kind(&mut self, declared: Option<&ValueType>, item: Item) -> Result<Item, Fault> {
        let optional = matches!(item, Item::Optional(_));
        Ok(match declared {
            Some(ValueType::Optional(_)) if !optional => Item::Optional(Optional {
                present: self.constant(Tensor::scalar(true)),
                content: Some(Box::new(item)),
            }),
            Some(ValueType::Tensor { .. } | ValueType::Sequence(_)) if optional => self.content(item)?,
            _ => item,
        })
    }

    /// What an optional value holds. One that is absent ends the run with an error.
    pub(super) fn content(&mut self, item: Item) -> Result<Item, Fault> {
        let Item::Optional(Optional { present, content }) = item else {
            return Ok(item);
        };
        self.assert(present, "the optional value is there")?;
        content
            .map(|content| *content)
            .ok_or_else(|| Fault::new("the optional value is never there"))
    }
}

/// The type of a value that is never there, of which nothing is known but what the model declares.
fn absent_type(declared: Option<&ValueType>) -> Result<ItemType, Fault> {
    let Some(ValueType::Optional(held)) = declared else {
        return Err(Fault::new(
            "an optional value that is never there and has no declared type",
        ));
    };
    let row = |element| -> Result<RowType, Fault> { Ok(RowType::new(dtype(element)?, 1, Vec::new(), false, None)) };
    match held.as_ref() {
        ValueType::Tensor { element, .. } => Ok(ItemType::Varying(row(*element)?)),
        ValueType::Sequence(held) => match held.as_ref() {
            ValueType::Tensor { element, .. } => Ok(ItemType::Sequence(row(*element)?)),
            _ => Err(Fault::new("a sequence of what are no tensors")),
        },
        _ => Err(Fault::new("an optional value of an unknown type")),
    }
}

impl RowType {
    /// The type of rows that also hold what stands in the place of a tensor that is absent.
    pub(super) fn absent(&self) -> RowType {
        let mut ty = self.clone();
        for extent in &mut ty.shape {
            if let Extent::Between(_, high) = *extent {
                *extent = Extent::Between(0, high);
            }
        }
        ty
    }
}
