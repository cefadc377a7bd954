//! What a name of the model stands for: a tensor, a sequence or an optional value.
//!
//! Sequences and optional values end in the importer. A sequence whose elements are all known while compiling is a
//! list of tensors. Any other is *stored* in ordinary tensors that have a row for each element that there may be, as the
//! [parts](crate::ir::Part) of an input; so is a tensor whose shape differs between the branches of a condition or the
//! iterations of a loop. An optional value is a truth value and what there is if it holds.

use super::builder::{Builder, Fault};
use crate::ir::infer::display_shape;
use crate::ir::{BinaryOp, DType, Dim, Interval, Op, TensorType, ValueId};
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// What a name stands for.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Tensor(ValueId),
    Sequence(Sequence),
    Optional(Optional),
}

/// A sequence of tensors.
#[derive(Clone, Debug)]
pub(super) enum Sequence {
    /// Tensors of one element type.
    Listed {
        dtype: DType,
        elements: Vec<ValueId>,
    },
    Stored(Stored),
}

/// Tensors in rows; see [`Part`](crate::ir::Part).
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) ty: RowType,
    /// `[capacity, width]`.
    pub(super) elements: ValueId,
    /// `i64 [capacity, columns]`.
    pub(super) shapes: ValueId,
    /// The number of rows in use, a rank-0 `i64`.
    pub(super) length: ValueId,
}

/// A value that may be absent.
#[derive(Clone, Debug)]
pub(super) struct Optional {
    /// A rank-0 `bool`.
    pub(super) present: ValueId,
    /// The value if it is present; `None` if that cannot be.
    pub(super) content: Option<Box<Item>>,
}

/// The type of tensors in rows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RowType {
    pub(super) dtype: DType,
    /// The number of rows.
    pub(super) capacity: i64,
    /// The sizes of the axes.
    pub(super) shape: Vec<Extent>,
    /// Whether a tensor may have fewer axes.
    pub(super) mixed: bool,
    /// The number of elements that there is room for in a row.
    pub(super) width: i64,
}

/// The size of an axis of tensors in rows.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Extent {
    /// The same in all rows.
    Exactly(Dim),
    /// From the first to the second number.
    Between(i64, i64),
}

/// The type of an [`Item`].
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ItemType {
    Tensor(TensorType),
    /// A tensor of strings as bytes, which only inputs and outputs are.
    Text(TensorType),
    /// A tensor whose shape varies, in one row.
    Varying(RowType),
    Sequence(RowType),
    Optional(Option<Box<ItemType>>),
}

impl Item {
    /// What this is, as findings name it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Item::Tensor(_) => "a tensor",
            Item::Sequence(_) => "a sequence",
            Item::Optional(_) => "an optional value",
        }
    }
}

impl RowType {
    /// The number of columns of the shapes.
    pub(super) fn columns(&self) -> i64 {
        self.shape.len().max(1) as i64
    }

    /// With as many elements in a row as the shape may have.
    pub(super) fn new(dtype: DType, capacity: i64, shape: Vec<Extent>, mixed: bool, width: Option<i64>) -> RowType {
        let room = |extent: &Extent| match extent {
            Extent::Exactly(dim) => dim.as_const().unwrap_or(i64::MAX),
            Extent::Between(_, high) => *high,
        };
        let whole = shape
            .iter()
            .fold(1i64, |product, extent| product.saturating_mul(room(extent).max(1)));
        RowType {
            dtype,
            capacity: capacity.max(1),
            shape,
            mixed,
            width: width.unwrap_or(whole).max(1),
        }
    }

    fn types(&self) -> [TensorType; 2] {
        let shape = |columns: i64| vec![Dim::from(self.capacity), Dim::from(columns)];
        [
            TensorType::new(self.dtype, shape(self.width)),
            TensorType::new(DType::I64, shape(self.columns())),
        ]
    }
}

impl fmt::Display for RowType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes: Vec<String> = self.shape.iter().map(Extent::to_string).collect();
        write!(f, "{}[{}]", self.dtype, sizes.join(", "))
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Extent::Exactly(dim) => dim.fmt(f),
            Extent::Between(low, high) => write!(f, "{low}..={high}"),
        }
    }
}

impl fmt::Display for ItemType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ItemType::Tensor(ty) | ItemType::Text(ty) => ty.fmt(f),
            ItemType::Varying(ty) => ty.fmt(f),
            ItemType::Sequence(ty) => write!(f, "a sequence of up to {} {ty}", ty.capacity),
            ItemType::Optional(Some(content)) => write!(f, "{content} or nothing"),
            ItemType::Optional(None) => f.write_str("nothing"),
        }
    }
}

/// The symbols that have a value where it matters.
pub(super) struct Visible(HashSet<Arc<str>>);

impl Visible {
    fn has(&self, dim: &Dim) -> bool {
        let mut all = true;
        dim.visit_symbols(&mut |symbol| all &= self.0.contains(symbol));
        all
    }
}

/// Types.
impl Builder {
    /// The symbols that have been introduced so far.
    pub(super) fn visible(&self) -> Visible {
        Visible(self.graph.bounds.iter().map(|(symbol, _)| symbol.clone()).collect())
    }

    /// The type of an item, with the sizes that `visible` has symbols for.
    pub(super) fn item_type(&self, item: &Item, visible: &Visible) -> Result<ItemType, Fault> {
        Ok(match item {
            Item::Tensor(value) => {
                let ty = self.ty(*value);
                match ty.shape.iter().all(|dim| visible.has(dim)) {
                    true => ItemType::Tensor(ty.clone()),
                    false => ItemType::Varying(self.row_type(ty, visible)),
                }
            }
            Item::Sequence(sequence) => ItemType::Sequence(self.sequence_type(sequence, visible)?),
            Item::Optional(optional) => {
                let content = optional.content.as_ref();
                let content = content.map(|content| self.item_type(content, visible)).transpose()?;
                ItemType::Optional(content.map(Box::new))
            }
        })
    }

    pub(super) fn sequence_type(&self, sequence: &Sequence, visible: &Visible) -> Result<RowType, Fault> {
        let (dtype, elements) = match sequence {
            Sequence::Listed { dtype, elements } => (*dtype, elements),
            Sequence::Stored(stored) => return Ok(self.seen(&stored.ty, visible)),
        };
        let mut elements = elements.iter().map(|&element| self.row_type(self.ty(element), visible));
        let Some(mut ty) = elements.next() else {
            return Ok(RowType::new(dtype, 0, Vec::new(), false, None));
        };
        let mut count = 1;
        for other in elements {
            ty = self.join_rows(&ty, &other, visible)?;
            count += 1;
        }
        ty.capacity = count;
        Ok(ty)
    }

    /// A row type without the symbols that are not visible.
    fn seen(&self, ty: &RowType, visible: &Visible) -> RowType {
        let mut ty = ty.clone();
        for extent in &mut ty.shape {
            if let Extent::Exactly(dim) = extent
                && !visible.has(dim)
            {
                *extent = self.range(extent);
            }
        }
        ty
    }

    /// The type of one row that holds a tensor.
    pub(super) fn row_type(&self, ty: &TensorType, visible: &Visible) -> RowType {
        let extents = ty.shape.iter().map(|dim| Extent::Exactly(dim.clone()));
        let mut width = 1i64;
        for dim in &ty.shape {
            width = width.saturating_mul(dim.upper(&self.graph.bounds));
        }
        self.seen(
            &RowType::new(ty.dtype, 1, extents.collect(), false, Some(width)),
            visible,
        )
    }

    /// The sizes that an axis may have.
    pub(super) fn interval(&self, extent: &Extent) -> Interval {
        let (low, high) = match extent {
            Extent::Exactly(dim) => {
                let range = dim.range(&self.graph.bounds);
                (range.low.max(0), range.high)
            }
            Extent::Between(low, high) => (*low, *high),
        };
        Interval { low, high }
    }

    fn range(&self, extent: &Extent) -> Extent {
        let Interval { low, high } = self.interval(extent);
        match low == high {
            true => Extent::Exactly(Dim::from(low)),
            false => Extent::Between(low, high),
        }
    }

    /// The type of rows that hold what rows of both types hold.
    pub(super) fn join_rows(&self, a: &RowType, b: &RowType, visible: &Visible) -> Result<RowType, Fault> {
        if a.dtype != b.dtype {
            return Err(Fault::new(format!(
                "tensors of types {} and {} together",
                a.dtype, b.dtype
            )));
        }
        let (long, short) = if a.shape.len() >= b.shape.len() { (a, b) } else { (b, a) };
        let mut shape = Vec::new();
        for (axis, extent) in long.shape.iter().enumerate() {
            shape.push(match short.shape.get(axis) {
                Some(other) if extent == other => extent.clone(),
                Some(Extent::Exactly(other)) if matches!(extent, Extent::Exactly(dim) if visible.has(dim) && visible.has(other) && self.graph.dims_equal(dim, other)) => {
                    extent.clone()
                }
                Some(other) => {
                    let (x, y) = (self.interval(extent), self.interval(other));
                    Extent::Between(x.low.min(y.low), x.high.max(y.high))
                }
                None => extent.clone(),
            });
        }
        let mixed = a.mixed || b.mixed || long.shape.len() != short.shape.len();
        let whole = shape.iter().fold(1i64, |product, extent| {
            product.saturating_mul(self.interval(extent).high.max(1))
        });
        // Where neither has room for the largest sizes of all axes at once, there is no need of more.
        let narrow = a.width.max(b.width);
        let bounded = |ty: &RowType| {
            let sizes = ty.shape.iter().map(|extent| self.interval(extent).high.max(1));
            ty.width < sizes.fold(1i64, i64::saturating_mul)
        };
        let width = if bounded(a) || bounded(b) { narrow } else { whole };
        Ok(RowType::new(
            a.dtype,
            a.capacity.max(b.capacity),
            shape,
            mixed,
            Some(width),
        ))
    }

    /// The type that holds what both types hold.
    pub(super) fn join(&self, a: &ItemType, b: &ItemType, visible: &Visible) -> Result<ItemType, Fault> {
        let rows = |ty: &ItemType| match ty {
            ItemType::Tensor(ty) => Some(self.row_type(ty, visible)),
            ItemType::Varying(ty) => Some(ty.clone()),
            _ => None,
        };
        Ok(match (a, b) {
            (ItemType::Tensor(x), ItemType::Tensor(y)) if self.same(x, y) => a.clone(),
            (ItemType::Sequence(x), ItemType::Sequence(y)) => {
                // An empty sequence says nothing of its elements.
                let mut joined = match (x.capacity, y.capacity) {
                    _ if x.shape.is_empty() && x.capacity <= 1 && !x.mixed && x.dtype == y.dtype => y.clone(),
                    _ if y.shape.is_empty() && y.capacity <= 1 && !y.mixed && x.dtype == y.dtype => x.clone(),
                    _ => self.join_rows(x, y, visible)?,
                };
                joined.capacity = x.capacity.max(y.capacity);
                ItemType::Sequence(joined)
            }
            (ItemType::Optional(x), ItemType::Optional(y)) => ItemType::Optional(match (x, y) {
                (Some(x), Some(y)) => Some(Box::new(self.join(x, y, visible)?)),
                (x, y) => x.clone().or_else(|| y.clone()),
            }),
            (ItemType::Optional(None), other) | (other, ItemType::Optional(None)) => {
                ItemType::Optional(Some(Box::new(other.clone())))
            }
            (ItemType::Optional(Some(content)), other) | (other, ItemType::Optional(Some(content))) => {
                ItemType::Optional(Some(Box::new(self.join(content, other, visible)?)))
            }
            _ => match (rows(a), rows(b)) {
                (Some(x), Some(y)) => ItemType::Varying(self.join_rows(&x, &y, visible)?),
                _ => return Err(Fault::new(format!("{a} and {b} in one place"))),
            },
        })
    }

    /// Whether a value has a type.
    pub(super) fn same_type(&self, value: ValueId, ty: &TensorType) -> bool {
        self.same(self.ty(value), ty)
    }

    fn same(&self, a: &TensorType, b: &TensorType) -> bool {
        a.dtype == b.dtype
            && a.rank() == b.rank()
            && a.shape.iter().zip(&b.shape).all(|(a, b)| self.graph.dims_equal(a, b))
    }

    /// The types of the tensors that an item of a type consists of.
    pub(super) fn tensor_types(ty: &ItemType) -> Vec<TensorType> {
        match ty {
            ItemType::Tensor(ty) | ItemType::Text(ty) => vec![ty.clone()],
            ItemType::Varying(ty) => ty.types().to_vec(),
            ItemType::Sequence(ty) => {
                let mut types = ty.types().to_vec();
                types.push(TensorType::scalar(DType::I64));
                types
            }
            ItemType::Optional(content) => {
                let mut types = vec![TensorType::scalar(DType::Bool)];
                types.extend(content.iter().flat_map(|content| Self::tensor_types(content)));
                types
            }
        }
    }
}

/// Items as tensors, and back.
impl Builder {
    /// The tensors that an item consists of as one of a type, which may hold more. What the type cannot hold ends the run
    /// with an error.
    pub(super) fn flatten(&mut self, item: &Item, ty: &ItemType) -> Result<Vec<ValueId>, Fault> {
        match (item, ty) {
            (Item::Tensor(value), ItemType::Text(_)) => {
                let table = self
                    .table(*value)
                    .ok_or_else(|| Fault::new("numbers in the place of strings"))?;
                Ok(vec![self.bytes_of_text(*value, table)?])
            }
            (Item::Tensor(value), _) if self.table(*value).is_some() => {
                Err(Fault::new("strings in sequences, branches and loops are not supported"))
            }
            (Item::Tensor(value), ItemType::Tensor(ty)) => {
                if !self.same(self.ty(*value), ty) {
                    let found = self.ty(*value);
                    return Err(Fault::new(format!("{found} in the place of {ty}")));
                }
                Ok(vec![*value])
            }
            (Item::Tensor(value), ItemType::Varying(ty)) => {
                let row = self.row(*value, ty)?;
                Ok(vec![row.elements, row.shapes])
            }
            (Item::Sequence(sequence), ItemType::Sequence(ty)) => {
                let stored = self.stored(sequence, ty)?;
                Ok(vec![stored.elements, stored.shapes, stored.length])
            }
            (Item::Optional(optional), ItemType::Optional(content)) => {
                let mut values = vec![optional.present];
                match (&optional.content, content) {
                    (Some(item), Some(ty)) => values.extend(self.flatten(item, ty)?),
                    (None, Some(ty)) => {
                        for ty in Self::tensor_types(ty) {
                            values.push(self.zeros(&ty)?);
                        }
                    }
                    _ => {}
                }
                Ok(values)
            }
            (item, ItemType::Optional(Some(content))) => {
                let mut values = vec![self.constant(crate::ir::Tensor::scalar(true))];
                values.extend(self.flatten(item, content)?);
                Ok(values)
            }
            (item, ty) => Err(Fault::new(format!("{} in the place of {ty}", item.kind()))),
        }
    }

    /// The item of a type that consists of tensors, which are taken from `values`.
    pub(super) fn unflatten(
        &mut self,
        values: &mut impl Iterator<Item = ValueId>,
        ty: &ItemType,
    ) -> Result<Item, Fault> {
        let mut next = || values.next().ok_or_else(|| Fault::new("too few tensors"));
        Ok(match ty {
            ItemType::Tensor(_) => Item::Tensor(next()?),
            ItemType::Text(_) => Item::Tensor(self.text_of_bytes(next()?)?),
            ItemType::Varying(ty) => {
                let (elements, shapes) = (next()?, next()?);
                let length = self.number(1.0, DType::I64)?;
                let row = Stored {
                    ty: ty.clone(),
                    elements,
                    shapes,
                    length,
                };
                let first = self.number(0.0, DType::I64)?;
                Item::Tensor(self.row_at(&row, first)?)
            }
            ItemType::Sequence(ty) => {
                let (elements, shapes, length) = (next()?, next()?, next()?);
                Item::Sequence(Sequence::Stored(Stored {
                    ty: ty.clone(),
                    elements,
                    shapes,
                    length,
                }))
            }
            ItemType::Optional(content) => {
                let present = next()?;
                let content = content.as_ref().map(|content| match content.as_ref() {
                    ItemType::Varying(row) => ItemType::Varying(row.absent()),
                    other => other.clone(),
                });
                let content = content.map(|content| self.unflatten(values, &content)).transpose()?;
                Item::Optional(Optional {
                    present,
                    content: content.map(Box::new),
                })
            }
        })
    }

    /// Items of some types from all tensors that they consist of.
    pub(super) fn unflatten_all(&mut self, values: Vec<ValueId>, types: &[ItemType]) -> Result<Vec<Item>, Fault> {
        let mut values = values.into_iter();
        types.iter().map(|ty| self.unflatten(&mut values, ty)).collect()
    }

    fn zeros(&mut self, ty: &TensorType) -> Result<ValueId, Fault> {
        let zero = self.number(0.0, ty.dtype)?;
        let shape = ty.shape.clone();
        self.emit(Op::Broadcast { shape }, &[zero])
    }

    /// The value of an item that must be a tensor.
    pub(super) fn as_tensor(&self, item: &Item) -> Result<ValueId, Fault> {
        match item {
            Item::Tensor(value) => Ok(*value),
            other => Err(Fault::new(format!("{} in the place of a tensor", other.kind()))),
        }
    }

    /// The shape of a tensor as text, for findings.
    pub(super) fn shape_text(&self, value: ValueId) -> String {
        display_shape(&self.shape(value))
    }

    /// The rank-0 `bool` that compares two rank-0 integers.
    pub(super) fn compared(&mut self, op: BinaryOp, a: ValueId, b: ValueId) -> Result<ValueId, Fault> {
        let expr = crate::ir::Expr::binary(op, DType::I64);
        self.elementwise(expr, &[a, b])
    }
}
