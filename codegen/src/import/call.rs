//! What a lowering rule sees of a node: operands, attributes and the builder.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};

use super::builder::{Builder, Fault};
use super::item::{Item, Sequence};
use super::known::Known;
use super::{Importer, dtype, tensor};
use crate::frontend::{Attribute, DeclaredDim, ModelGraph, Node, Tensor};
use crate::ir::{self, Block, DType, Dim, ValueId};

/// Sizes in attributes are below this, so that products of a few of them do not overflow.
const MAX_SIZE: i64 = 1 << 30;

/// Lowers one node, also one with operands or results that are no tensors, as [`Rule`] does it.
pub(super) type ItemRule = for<'i, 'm> fn(&mut Call<'i, 'm>) -> Result<Vec<Item>, Fault>;

/// Lowers one node to primitives and gives its results; trailing results that nobody reads may be left out.
pub(super) type Rule = for<'i, 'm> fn(&mut Call<'i, 'm>) -> Result<Vec<ValueId>, Fault>;

/// A list of axes.
pub(super) enum Axes {
    /// It is left out.
    Omitted,
    /// It is known.
    Known(Vec<i64>),
    /// A tensor that only a run knows.
    Computed(ValueId),
}

/// A node being lowered.
pub(super) struct Call<'i, 'm> {
    pub(super) importer: &'i mut Importer<'m>,
    pub(super) node: &'m Node,
    /// Version of the operator set that the node belongs to.
    pub(super) version: i64,
    inputs: Vec<Option<Item>>,
    /// The operands that the rule has asked for as tensors of strings.
    texts: RefCell<BTreeSet<usize>>,
    read: RefCell<BTreeSet<&'m str>>,
}

impl Deref for Call<'_, '_> {
    type Target = Builder;
    fn deref(&self) -> &Builder {
        &self.importer.builder
    }
}

impl DerefMut for Call<'_, '_> {
    fn deref_mut(&mut self) -> &mut Builder {
        &mut self.importer.builder
    }
}

impl<'i, 'm> Call<'i, 'm> {
    pub(super) fn new(importer: &'i mut Importer<'m>, node: &'m Node, version: i64, inputs: Vec<Option<Item>>) -> Self {
        Call {
            importer,
            node,
            version,
            inputs,
            texts: RefCell::default(),
            read: RefCell::default(),
        }
    }

    /// The largest size that the model, or whoever compiles it, declares for an axis of a result.
    pub(super) fn capacity(&self, output: usize, axis: usize) -> Option<i64> {
        let name = self.node.outputs.get(output)?;
        match self.importer.declared(name).and_then(|shape| shape.get(axis)) {
            Some(DeclaredDim::Fixed(size)) => i64::try_from(*size).ok(),
            _ => self.named_capacity(&self.size_name(output, axis)),
        }
    }

    /// The name under which whoever compiles the model gives bounds for an axis of a result.
    pub(super) fn size_name(&self, output: usize, axis: usize) -> String {
        let name = self.node.outputs.get(output).map_or("", String::as_str);
        match self.importer.declared(name).and_then(|shape| shape.get(axis)) {
            Some(DeclaredDim::Named(name)) => name.clone(),
            _ => format!("{name}_{axis}"),
        }
    }

    /// A required operand.
    pub(super) fn input(&self, index: usize) -> Result<ValueId, Fault> {
        self.optional(index)
            .ok_or_else(|| Fault::new(format!("operand {index} is missing")))
    }

    /// An operand that may be left out.
    pub(super) fn optional(&self, index: usize) -> Option<ValueId> {
        match self.inputs.get(index)? {
            Some(Item::Tensor(value)) => Some(*value),
            _ => None,
        }
    }

    /// An operand of any kind that may be left out.
    pub(super) fn optional_item(&self, index: usize) -> Option<Item> {
        self.inputs.get(index)?.clone()
    }

    /// A required operand of any kind.
    pub(super) fn item(&self, index: usize) -> Result<Item, Fault> {
        self.optional_item(index)
            .ok_or_else(|| Fault::new(format!("operand {index} is missing")))
    }

    /// A required operand that is a sequence.
    pub(super) fn sequence(&self, index: usize) -> Result<Sequence, Fault> {
        match self.item(index)? {
            Item::Sequence(sequence) => Ok(sequence),
            other => Err(Fault::new(format!(
                "operand {index} is {}, not a sequence",
                other.kind()
            ))),
        }
    }

    /// The largest size that the options give for a name, as `y_len` for a sequence `y`.
    pub(super) fn named_capacity(&self, name: &str) -> Option<i64> {
        Some(*self.importer.options.dims.get(name)?.end())
    }

    /// An operand that is a tensor of strings: its numbers, and the table that they number; `None` for another one.
    pub(super) fn text(&self, index: usize) -> Option<(ValueId, ValueId)> {
        self.texts.borrow_mut().insert(index);
        let numbers = self.optional(index)?;
        Some((numbers, self.table(numbers)?))
    }

    /// An operand that must be a tensor of strings.
    pub(super) fn required_text(&self, index: usize) -> Result<(ValueId, ValueId), Fault> {
        self.input(index)?;
        self.text(index)
            .ok_or_else(|| Fault::new(format!("operand {index} is no tensor of strings")))
    }

    /// The first operand that is a tensor of strings without the rule knowing it.
    pub(super) fn unnoticed_text(&self) -> Option<usize> {
        let texts = self.texts.borrow();
        (0..self.inputs.len()).find(|index| {
            !texts.contains(index) && self.optional(*index).is_some_and(|value| self.table(value).is_some())
        })
    }

    /// All operands, none of which may be left out.
    pub(super) fn inputs(&self) -> Result<Vec<ValueId>, Fault> {
        (0..self.inputs.len()).map(|index| self.input(index)).collect()
    }

    /// Whether somebody may read the result.
    pub(super) fn wants(&self, output: usize) -> bool {
        self.node.outputs.get(output).is_some_and(|name| !name.is_empty())
    }

    /// An attribute as the file has it, or as the caller of the function does.
    pub(super) fn node_attribute(&self, name: &'m str) -> Option<&'m Attribute> {
        self.read.borrow_mut().insert(name);
        match self.node.attributes.get(name)? {
            Attribute::Reference(outer) => self.importer.attribute_of_caller(outer),
            attribute => Some(attribute),
        }
    }

    /// Marks attributes as known that have no bearing on inference.
    pub(super) fn ignore(&self, names: &[&'static str]) {
        self.read.borrow_mut().extend(names);
    }

    /// Attributes that the rule has not asked for.
    pub(super) fn unread(&self) -> Vec<&'m str> {
        let read = self.read.borrow();
        self.node
            .attributes
            .keys()
            .map(String::as_str)
            .filter(|name| !read.contains(name))
            .collect()
    }

    fn mismatch<T>(name: &str, wanted: &str, found: &Attribute) -> Result<T, Fault> {
        Err(Fault::new(format!(
            "attribute `{name}` is {}, not {wanted}",
            found.kind()
        )))
    }

    /// Whether the attribute is given.
    pub(super) fn has(&self, name: &'static str) -> bool {
        self.node_attribute(name).is_some()
    }

    /// An integer.
    pub(super) fn optional_int(&self, name: &'static str) -> Result<Option<i64>, Fault> {
        match self.node_attribute(name) {
            None => Ok(None),
            Some(Attribute::Int(value)) => Ok(Some(*value)),
            Some(other) => Self::mismatch(name, "an integer", other),
        }
    }

    /// An integer with a default.
    pub(super) fn int(&self, name: &'static str, default: i64) -> Result<i64, Fault> {
        Ok(self.optional_int(name)?.unwrap_or(default))
    }

    /// An integer that stands for a truth value.
    pub(super) fn flag(&self, name: &'static str, default: bool) -> Result<bool, Fault> {
        Ok(self.int(name, default.into())? != 0)
    }

    /// Integers.
    pub(super) fn ints(&self, name: &'static str) -> Result<Option<Vec<i64>>, Fault> {
        match self.node_attribute(name) {
            None => Ok(None),
            Some(Attribute::Ints(values)) => Ok(Some(values.clone())),
            Some(other) => Self::mismatch(name, "a list of integers", other),
        }
    }

    /// As many sizes as asked for, none below `least`; the default if the attribute is not given.
    pub(super) fn sizes(
        &self,
        name: &'static str,
        count: usize,
        least: i64,
        default: usize,
    ) -> Result<Vec<usize>, Fault> {
        let Some(values) = self.ints(name)? else {
            return Ok(vec![default; count]);
        };
        let valid = values.len() == count && values.iter().all(|v| (least..MAX_SIZE).contains(v));
        let sizes = values
            .iter()
            .map(|&v| usize::try_from(v))
            .collect::<Result<Vec<_>, _>>();
        sizes.ok().filter(|_| valid).ok_or_else(|| {
            Fault::new(format!(
                "attribute `{name}` = {values:?}, where {count} sizes from {least} on are expected"
            ))
        })
    }

    /// A float.
    pub(super) fn optional_float(&self, name: &'static str) -> Result<Option<f32>, Fault> {
        match self.node_attribute(name) {
            None => Ok(None),
            Some(Attribute::Float(value)) => Ok(Some(*value)),
            Some(other) => Self::mismatch(name, "a float", other),
        }
    }

    /// A float with a default.
    pub(super) fn float(&self, name: &'static str, default: f32) -> Result<f32, Fault> {
        Ok(self.optional_float(name)?.unwrap_or(default))
    }

    /// Floats.
    pub(super) fn floats(&self, name: &'static str) -> Result<Option<Vec<f32>>, Fault> {
        match self.node_attribute(name) {
            None => Ok(None),
            Some(Attribute::Floats(values)) => Ok(Some(values.clone())),
            Some(other) => Self::mismatch(name, "a list of floats", other),
        }
    }

    /// A string with a default.
    pub(super) fn string(&self, name: &'static str, default: &'static str) -> Result<&'m str, Fault> {
        match self.node_attribute(name) {
            None => Ok(default),
            Some(Attribute::String(bytes)) => {
                std::str::from_utf8(bytes).map_err(|_| Fault::new(format!("attribute `{name}` is not UTF-8")))
            }
            Some(other) => Self::mismatch(name, "a string", other),
        }
    }

    /// Strings.
    pub(super) fn strings(&self, name: &'static str) -> Result<Option<Vec<String>>, Fault> {
        match self.node_attribute(name) {
            None => Ok(None),
            Some(Attribute::Strings(values)) => Ok(Some(
                values
                    .iter()
                    .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
                    .collect(),
            )),
            Some(other) => Self::mismatch(name, "a list of strings", other),
        }
    }

    /// A tensor as the file has it.
    pub(super) fn tensor(&self, name: &'static str) -> Result<Option<&'m Tensor>, Fault> {
        match self.node_attribute(name) {
            None => Ok(None),
            Some(Attribute::Tensor(tensor)) => Ok(Some(tensor)),
            Some(other) => Self::mismatch(name, "a tensor", other),
        }
    }

    /// A constant.
    pub(super) fn constant_attribute(&self, name: &'static str) -> Result<Option<ir::Tensor>, Fault> {
        self.tensor(name)?
            .map(|found| tensor(found).map_err(Fault::from))
            .transpose()
    }

    /// A graph.
    pub(super) fn graph(&self, name: &'static str) -> Result<&'m ModelGraph, Fault> {
        match self.node_attribute(name) {
            None => Err(Fault::new(format!("attribute `{name}` is missing"))),
            Some(Attribute::Graph(graph)) => Ok(graph),
            Some(other) => Self::mismatch(name, "a graph", other),
        }
    }

    /// An element type by its ONNX number.
    pub(super) fn dtype_attribute(&self, name: &'static str) -> Result<Option<DType>, Fault> {
        let Some(number) = self.optional_int(name)? else {
            return Ok(None);
        };
        let element = crate::frontend::ElementType::from_onnx(number)
            .ok_or_else(|| Fault::new(format!("attribute `{name}` = {number} is no element type")))?;
        Ok(Some(dtype(element)?))
    }

    /// Says that a value of an attribute is not supported.
    pub(super) fn unsupported<T>(&self, name: &str, value: impl std::fmt::Display) -> Result<T, Fault> {
        Err(Fault::new(format!("`{name}` = {value} is not supported")))
    }

    /// Requires an attribute to have its default, because nothing else is supported.
    pub(super) fn only_int(&self, name: &'static str, supported: i64) -> Result<(), Fault> {
        match self.int(name, supported)? {
            value if value == supported => Ok(()),
            value => self.unsupported(name, value),
        }
    }

    /// An axis of a tensor of the given rank; a negative one counts from the end.
    pub(super) fn axis(&self, axis: i64, rank: usize) -> Result<usize, Fault> {
        let from_start = if axis < 0 {
            axis.checked_add(rank as i64)
        } else {
            Some(axis)
        };
        from_start
            .and_then(|axis| usize::try_from(axis).ok())
            .filter(|axis| *axis < rank)
            .ok_or_else(|| Fault::new(format!("axis {axis} of a tensor of rank {rank}")))
    }

    /// Distinct axes of a tensor of the given rank, ascending.
    pub(super) fn axes(&self, axes: &[i64], rank: usize) -> Result<Vec<usize>, Fault> {
        let mut result = axes
            .iter()
            .map(|&axis| self.axis(axis, rank))
            .collect::<Result<Vec<_>, _>>()?;
        result.sort_unstable();
        if result.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Fault::new(format!("axes {axes:?} of a tensor of rank {rank} repeat")));
        }
        Ok(result)
    }

    /// The elements of an operand that must be known while compiling.
    pub(super) fn known_input(&self, index: usize, what: &str) -> Result<Vec<Dim>, Fault> {
        let value = self.input(index)?;
        self.known_dims(value).ok_or_else(|| self.unknown(index, what))
    }

    /// Says that an operand is known at run time only.
    pub(super) fn unknown(&self, index: usize, what: &str) -> Fault {
        let name = self.node.inputs.get(index).map_or("", String::as_str);
        Fault::new(format!(
            "{what} must be known while compiling, but `{name}` is computed at run time"
        ))
    }

    /// As [`known_input`](Self::known_input), for constants; `None` if the operand is left out.
    pub(super) fn constant_ints(&self, index: usize, what: &str) -> Result<Option<Vec<i64>>, Fault> {
        if self.optional(index).is_none() {
            return Ok(None);
        }
        let dims = self.known_input(index, what)?;
        let values = dims.iter().map(|dim| {
            dim.as_const()
                .ok_or_else(|| Fault::new(format!("{what} must be constant, but depend on the size {dim}")))
        });
        values.collect::<Result<_, _>>().map(Some)
    }

    /// The elements of a value as floats, if they are known.
    pub(super) fn known_floats(&self, value: ValueId) -> Option<Vec<f64>> {
        let elements = self.known(value)?;
        let values = elements.iter().map(|element| match element {
            Known::Float(value) => Some(*value),
            Known::Int(dim) => dim.as_const().map(|value| value as f64),
            Known::Bool(_) => None,
        });
        values.collect()
    }

    /// Axes that older versions give as an attribute and newer ones as an operand.
    pub(super) fn axes_or_input(&self, index: usize, operand_since: i64) -> Result<Axes, Fault> {
        if self.version < operand_since {
            return Ok(self.ints("axes")?.map_or(Axes::Omitted, Axes::Known));
        }
        Ok(match self.optional(index) {
            None => Axes::Omitted,
            Some(value) if self.known(value).is_none() => Axes::Computed(value),
            Some(_) => Axes::Known(self.constant_ints(index, "the axes")?.unwrap_or_default()),
        })
    }

    /// The truth value that an operand of one element has, if it is known.
    pub(super) fn known_bool(&self, value: ValueId) -> Option<bool> {
        match self.known(value)?.as_slice() {
            [Known::Bool(value)] => Some(*value),
            _ => None,
        }
    }

    /// The body of a scan over operands of which the first are carried: parameters of their types, and what is made of
    /// them.
    pub(super) fn scan_body(
        &mut self,
        operands: &[ValueId],
        carried: usize,
        body: impl FnOnce(&mut Self, &[ValueId]) -> Result<Vec<ValueId>, Fault>,
    ) -> Result<Block, Fault> {
        self.open();
        let params: Vec<_> = operands
            .iter()
            .enumerate()
            .map(|(number, &operand)| {
                let mut ty = self.ty(operand).clone();
                if number >= carried {
                    ty.shape.remove(0);
                }
                self.parameter(ty, None)
            })
            .collect();
        match body(self, &params) {
            Ok(results) => Ok(self.close(params, results)),
            Err(fault) => {
                self.abandon();
                Err(fault)
            }
        }
    }
}
