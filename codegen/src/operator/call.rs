//! What a shape rule sees.

use std::collections::BTreeMap;

use super::Value;
use crate::ir::{Dim, TensorType};

/// A node of a registered operator, as its shape rule sees it.
#[derive(Debug)]
pub struct OperatorCall {
    pub(crate) inputs: Vec<Option<TensorType>>,
    pub(crate) known: Vec<Option<Vec<Dim>>>,
    pub(crate) attributes: BTreeMap<String, Value>,
    pub(crate) sizes: BTreeMap<String, Dim>,
}

impl OperatorCall {
    /// The types of the operands; `None` for one that is left out.
    pub fn inputs(&self) -> &[Option<TensorType>] {
        &self.inputs
    }

    /// The type of an operand.
    ///
    /// # Errors
    ///
    /// If the node does not have the operand.
    pub fn input(&self, index: usize) -> Result<&TensorType, String> {
        let input = self.inputs.get(index).and_then(Option::as_ref);
        input.ok_or_else(|| format!("operand {index} is missing"))
    }

    /// The elements of an operand of integers in row-major order.
    ///
    /// # Errors
    ///
    /// If they are not known while compiling.
    pub fn elements(&self, index: usize) -> Result<&[Dim], String> {
        let known = self.known.get(index).and_then(Option::as_ref);
        known
            .map(Vec::as_slice)
            .ok_or_else(|| format!("the elements of operand {index} are not known while compiling"))
    }

    /// The size that a name of the signature stands for.
    ///
    /// # Errors
    ///
    /// If the name stands for none.
    pub fn size(&self, name: &str) -> Result<Dim, String> {
        let size = self.sizes.get(name).cloned();
        size.ok_or_else(|| format!("`{name}` is the size of no axis that the node has"))
    }

    fn attribute(&self, name: &str) -> Result<&Value, String> {
        let value = self.attributes.get(name);
        value.ok_or_else(|| format!("the signature has no attribute `{name}`"))
    }

    /// An attribute that the signature says to be an `int`.
    ///
    /// # Errors
    ///
    /// If the signature says otherwise.
    pub fn int(&self, name: &str) -> Result<i64, String> {
        match self.attribute(name)? {
            Value::Int(value) => Ok(*value),
            _ => Err(format!("attribute `{name}` is no `int`")),
        }
    }

    /// An attribute that the signature says to be a `float`.
    ///
    /// # Errors
    ///
    /// If the signature says otherwise.
    pub fn float(&self, name: &str) -> Result<f32, String> {
        match self.attribute(name)? {
            Value::Float(value) => Ok(*value),
            _ => Err(format!("attribute `{name}` is no `float`")),
        }
    }

    /// An attribute that the signature says to be a `string`.
    ///
    /// # Errors
    ///
    /// If the signature says otherwise.
    pub fn string(&self, name: &str) -> Result<&str, String> {
        match self.attribute(name)? {
            Value::String(value) => Ok(value),
            _ => Err(format!("attribute `{name}` is no `string`")),
        }
    }

    /// An attribute that the signature says to be `ints`.
    ///
    /// # Errors
    ///
    /// If the signature says otherwise.
    pub fn ints(&self, name: &str) -> Result<&[i64], String> {
        match self.attribute(name)? {
            Value::Ints(values) => Ok(values),
            _ => Err(format!("attribute `{name}` is no `ints`")),
        }
    }

    /// An attribute that the signature says to be `floats`.
    ///
    /// # Errors
    ///
    /// If the signature says otherwise.
    pub fn floats(&self, name: &str) -> Result<&[f32], String> {
        match self.attribute(name)? {
            Value::Floats(values) => Ok(values),
            _ => Err(format!("attribute `{name}` is no `floats`")),
        }
    }

    /// An attribute that the signature says to be `strings`.
    ///
    /// # Errors
    ///
    /// If the signature says otherwise.
    pub fn strings(&self, name: &str) -> Result<&[String], String> {
        match self.attribute(name)? {
            Value::Strings(values) => Ok(values),
            _ => Err(format!("attribute `{name}` is no `strings`")),
        }
    }
}
