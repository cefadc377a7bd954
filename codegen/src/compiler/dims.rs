//! The symbolic dimensions of a model, compared with the sizes its user has chosen.

use std::collections::BTreeMap;

use super::Front;
use super::options::{DimRange, identifier};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::frontend::{DeclaredDim, Model, ValueInfo, ValueType};
use crate::import;
use crate::plan::names::snake;

/// Where each symbol of the inputs occurs first, in order of the names: the input and the axis.
pub fn symbols(model: &Model) -> BTreeMap<String, (String, usize)> {
    let mut symbols = BTreeMap::new();
    for input in &model.graph.inputs {
        for (axis, dim) in declared_shape(input).iter().enumerate() {
            if let Some(name) = input.dim_name(axis, dim) {
                symbols.entry(name).or_insert_with(|| (input.name.clone(), axis));
            }
        }
    }
    symbols
}

fn declared_shape(value: &ValueInfo) -> &[DeclaredDim] {
    match &value.ty {
        Some(ValueType::Tensor { shape: Some(shape), .. }) => shape,
        _ => &[],
    }
}

/// Finds symbols without a size, sizes without a symbol, and empty ranges.
pub(super) fn check(model: &Model, dims: &BTreeMap<String, DimRange>, front: Front) -> Result<(), Diagnostics> {
    let symbols = symbols(model);
    let mut findings = Diagnostics::new(&model.name);
    for (name, (input, axis)) in &symbols {
        if !dims.contains_key(name) {
            let message = format!("dimension `{name}` (axis {axis} of input `{input}`) has no size");
            let help = format!(
                "fix it with {} or bound it with {}",
                front.dim(name, "1"),
                front.range(name)
            );
            findings.push(Diagnostic::new(message).help(help));
        }
    }
    for name in import::dynamic_dims(model) {
        if !symbols.contains_key(&name) && !dims.contains_key(&name) {
            let message = format!("the size `{name}` of what a sequence or an optional input may hold is not known");
            findings.push(Diagnostic::new(message).help(format!("bound it with {}", front.range(&name))));
        }
    }
    for (name, range) in dims {
        let known = symbols.contains_key(name) || import::is_size(model, name);
        if !known && !import::dynamic_dims(model).contains(name) {
            let known = symbols
                .keys()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", ");
            let finding = Diagnostic::new(format!("the model has no dimension `{name}`"));
            findings.push(if known.is_empty() {
                finding.help("all dimensions of its inputs are fixed: leave the option out")
            } else {
                finding.help(format!("its dimensions are {known}"))
            });
        }
        if range.min > range.max {
            findings.push(Diagnostic::new(format!(
                "the range {range} of dimension `{name}` is empty"
            )));
        }
        if range.max > i32::MAX as usize {
            let message = format!(
                "dimension `{name}` may be as large as {}, but at most {} is supported",
                range.max,
                i32::MAX
            );
            findings.push(Diagnostic::new(message));
        }
    }
    findings.into_result(())
}

impl Front {
    /// How an option that sets the size of a dimension is written.
    fn dim(self, name: &str, size: &str) -> String {
        match self {
            Front::Library => format!("`.dim({name:?}, {size})`"),
            Front::Macro => format!("`dims({} = {size})`", macro_name(name)),
            Front::Command => format!("`--dim {name}={size}`"),
        }
    }

    /// How a function for an operator is registered.
    pub(crate) fn operator(self, domain: &str, name: &str) -> String {
        let name = name.escape_debug();
        let (operator, path) = (
            format!("{}::{name}", domain.escape_debug()),
            identifier(&snake(&name.to_string())),
        );
        let call = format!("crate::{path}: (f32[n]) -> f32[n]");
        let option = match self {
            Front::Library => format!(".operator({:?}.parse()?)", format!("{operator} = {call}")),
            Front::Macro => format!("operators({operator:?} => {call})"),
            Front::Command => format!("--operator '{operator} = {call}'"),
        };
        format!("register a function for it, such as `{option}`")
    }

    /// How an option that bounds a dimension is written.
    fn range(self, name: &str) -> String {
        match self {
            Front::Library | Front::Command => self.dim(name, "1..=8"),
            Front::Macro => format!("`dims({} <= 8)`", macro_name(name)),
        }
    }
}

fn macro_name(name: &str) -> String {
    if super::options::is_identifier(name) {
        name.into()
    } else {
        format!("{name:?}")
    }
}
