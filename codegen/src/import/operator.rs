//! Nodes of operators that the user has registered.

use std::collections::BTreeMap;

use super::builder::{Builder, Fault};
use super::call::Call;
use super::tensor;
use crate::frontend::Attribute;
use crate::ir::dim::Atom;
use crate::ir::infer::display_shape;
use crate::ir::{Argument, DType, Dim, Op, Opaque, TensorType, ValueId};
use crate::operator::{Axis, Element, Kind, Operator, OperatorCall, Parameter, Pattern, Value};

impl<'m> Call<'_, 'm> {
    /// Lowers the node to a call of the operator's function.
    pub(super) fn registered(&mut self, operator: &'m Operator) -> Result<Vec<ValueId>, Fault> {
        let wrong = |fault: Fault| match fault.help {
            Some(_) => fault,
            None => fault.help(format!(
                "the signature of {} is `{}`",
                operator.title(),
                operator.signature_text()
            )),
        };
        self.call_function(operator).map_err(wrong)
    }

    fn call_function(&mut self, operator: &'m Operator) -> Result<Vec<ValueId>, Fault> {
        static ANY: Parameter = Parameter::Operand {
            pattern: None,
            optional: false,
        };
        let signature = operator.parameters();
        let parameters: Vec<&'m Parameter> = match signature {
            Some(signature) => signature.parameters.iter().collect(),
            None => vec![&ANY; self.node.inputs.len()],
        };
        let operands = |parameter: &&&Parameter| matches!(parameter, Parameter::Operand { .. });
        let count = parameters.iter().filter(operands).count();
        if self.node.inputs.len() > count {
            let found = self.node.inputs.len();
            return Err(Fault::new(format!(
                "the node has {found} operands, but the signature {count}"
            )));
        }
        let mut names = Names::default();
        let mut shown: Vec<(String, &Pattern, TensorType)> = Vec::new();
        let mut call = OperatorCall {
            inputs: Vec::new(),
            known: Vec::new(),
            attributes: BTreeMap::new(),
            sizes: BTreeMap::new(),
        };
        let (mut arguments, mut inputs) = (Vec::new(), Vec::new());
        for parameter in parameters {
            match parameter {
                Parameter::Operand { pattern, optional } => {
                    let index = call.inputs.len();
                    let value = self.optional(index);
                    call.inputs.push(value.map(|value| self.ty(value).clone()));
                    call.known.push(value.and_then(|value| self.known_dims(value)));
                    arguments.push(match (value, optional) {
                        (Some(_), false) => Argument::Operand,
                        (Some(_), true) => Argument::Present,
                        (None, true) => Argument::Absent,
                        (None, false) => return Err(Fault::new(format!("operand {index} is missing"))),
                    });
                    if let Some(value) = value {
                        inputs.push(value);
                        if let Some(pattern) = pattern {
                            shown.push((format!("operand {index}"), pattern, self.ty(value).clone()));
                        }
                    }
                }
                Parameter::Attribute {
                    name,
                    kind: Kind::Tensor(pattern),
                    ..
                } => {
                    let value = self.tensor_attribute(name)?;
                    arguments.push(Argument::Operand);
                    inputs.push(value);
                    shown.push((format!("attribute `{name}`"), pattern, self.ty(value).clone()));
                }
                Parameter::Attribute { name, kind, default } => {
                    let value = match (self.node_attribute(name), default) {
                        (Some(found), _) => attribute(name, kind, found)?,
                        (None, Some(default)) => default.clone(),
                        (None, None) => return Err(Fault::new(format!("attribute `{name}` is missing"))),
                    };
                    if let Value::Int(value) = &value {
                        names.sizes.insert(name.clone(), Dim::from(*value));
                    }
                    arguments.push(argument(&value));
                    call.attributes.insert(name.clone(), value);
                }
            }
        }
        if let [unknown, ..] = self.unread()[..] {
            return Err(Fault::new(format!(
                "attribute `{unknown}` of the node is none of the signature"
            )));
        }
        for (what, pattern, ty) in &shown {
            if !names.bind(pattern, ty) {
                return Err(Fault::new(format!("{what} is {ty}, not {pattern}")));
            }
        }
        for (what, pattern, ty) in &shown {
            names.check(self, what, pattern, ty)?;
        }
        let patterns = signature.and_then(|signature| signature.results.as_ref());
        let results = match (patterns, operator.rule()) {
            (Some(patterns), _) => patterns
                .iter()
                .map(|pattern| names.result(self, pattern))
                .collect::<Result<_, _>>()?,
            (None, Some(rule)) => {
                call.sizes = names.sizes;
                let results = rule(&call).map_err(Fault::from)?;
                known_symbols(self, &results)?;
                results
            }
            (None, None) => Vec::new(),
        };
        if results.len() < self.node.outputs.len().max(1) {
            let (given, wanted) = (results.len(), self.node.outputs.len());
            return Err(Fault::new(format!(
                "the node has {wanted} results, but the function {given}"
            )));
        }
        let op = Op::Opaque(Opaque {
            operator: operator.title(),
            function: operator.path().to_owned(),
            arguments,
            results,
            fallible: signature.is_some_and(|signature| signature.fallible),
        });
        self.emit_all(op, &inputs, Vec::new())
    }

    fn tensor_attribute(&mut self, name: &'m str) -> Result<ValueId, Fault> {
        match self.node_attribute(name) {
            Some(Attribute::Tensor(found)) => {
                let constant = tensor(found).map_err(|message| Fault::new(format!("attribute `{name}`: {message}")))?;
                Ok(self.constant(constant))
            }
            Some(other) => Err(mismatch(name, "a tensor", other)),
            None => Err(Fault::new(format!("attribute `{name}` is missing"))),
        }
    }
}

fn mismatch(name: &str, wanted: &str, found: &Attribute) -> Fault {
    Fault::new(format!(
        "attribute `{name}` is {}, but the signature says `{wanted}`",
        found.kind()
    ))
}

fn attribute(name: &str, kind: &Kind, found: &Attribute) -> Result<Value, Fault> {
    let text = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).map(str::to_owned);
        text.map_err(|_| Fault::new(format!("attribute `{name}` is not UTF-8")))
    };
    Ok(match (kind, found) {
        (Kind::Int, Attribute::Int(value)) => Value::Int(*value),
        (Kind::Float, Attribute::Float(value)) => Value::Float(*value),
        (Kind::String, Attribute::String(bytes)) => Value::String(text(bytes)?),
        (Kind::Ints, Attribute::Ints(values)) => Value::Ints(values.clone()),
        (Kind::Floats, Attribute::Floats(values)) => Value::Floats(values.clone()),
        (Kind::Strings, Attribute::Strings(texts)) => {
            Value::Strings(texts.iter().map(|bytes| text(bytes)).collect::<Result<_, _>>()?)
        }
        (kind, found) => return Err(mismatch(name, kind.name(), found)),
    })
}

fn argument(value: &Value) -> Argument {
    match value.clone() {
        Value::Int(value) => Argument::Int(value),
        Value::Float(value) => Argument::Float(value),
        Value::String(text) => Argument::String(text),
        Value::Ints(values) => Argument::Ints(values),
        Value::Floats(values) => Argument::Floats(values),
        Value::Strings(texts) => Argument::Strings(texts),
    }
}

/// Refuses sizes that a shape rule has made up.
fn known_symbols(builder: &Builder, results: &[TensorType]) -> Result<(), Fault> {
    let mut unknown = None;
    for dim in results.iter().flat_map(|ty| &ty.shape) {
        dim.visit_symbols(&mut |symbol| {
            if !builder.graph.bounds.iter().any(|(known, _)| known == symbol) {
                unknown = Some(symbol.clone());
            }
        });
    }
    match unknown {
        Some(symbol) => Err(Fault::new(format!(
            "the shape rule gives a size with the unknown name `{symbol}`"
        ))),
        None => Ok(()),
    }
}

/// What the names of a signature stand for at a node.
#[derive(Default)]
struct Names {
    sizes: BTreeMap<String, Dim>,
    elements: BTreeMap<String, DType>,
    rest: Option<Vec<Dim>>,
}

/// Axes of a pattern with their sizes, and the sizes in the place of `..`.
type Paired<'a> = (Vec<(&'a Axis, &'a Dim)>, Option<&'a [Dim]>);

/// The axes of a type beside those of a pattern, and those in the place of `..`; `None` if there are too few or many.
fn pair<'a>(pattern: &'a Pattern, shape: &'a [Dim]) -> Option<Paired<'a>> {
    let axes = &pattern.shape;
    let Some(place) = axes.iter().position(|axis| *axis == Axis::Rest) else {
        return (axes.len() == shape.len()).then(|| (axes.iter().zip(shape).collect(), None));
    };
    let after = axes.len() - place - 1;
    let end = shape.len().checked_sub(after).filter(|end| *end >= place)?;
    let before = axes[..place].iter().zip(&shape[..place]);
    let pairs = before.chain(axes[place + 1..].iter().zip(&shape[end..]));
    Some((pairs.collect(), Some(&shape[place..end])))
}

impl Names {
    /// Lets names of a pattern stand for what they meet first; `false` if element type or rank do not fit.
    fn bind(&mut self, pattern: &Pattern, ty: &TensorType) -> bool {
        let fits = match &pattern.element {
            Element::Is(dtype) => *dtype == ty.dtype,
            Element::Named(name) => *self.elements.entry(name.clone()).or_insert(ty.dtype) == ty.dtype,
        };
        let Some((axes, rest)) = pair(pattern, &ty.shape) else {
            return false;
        };
        for (axis, dim) in axes {
            if let Axis::Size(size) = axis
                && let Some(name) = size.as_symbol()
            {
                self.sizes.entry(name.to_string()).or_insert_with(|| dim.clone());
            }
        }
        if let Some(rest) = rest {
            let known = self.rest.get_or_insert_with(|| rest.to_vec());
            return fits && known.len() == rest.len();
        }
        fits
    }

    /// Requires the sizes of a type to be those of a pattern.
    fn check(&self, builder: &mut Builder, what: &str, pattern: &Pattern, ty: &TensorType) -> Result<(), Fault> {
        let Some((axes, rest)) = pair(pattern, &ty.shape) else {
            return Ok(());
        };
        let what = format!("{what} is {ty}");
        for (axis, dim) in axes {
            if let Axis::Size(size) = axis {
                let wanted = self.size(builder, size)?;
                builder.equal(&format!("{what}, where {size} is {wanted}"), dim, &wanted)?;
            }
        }
        if let (Some(rest), Some(known)) = (rest, &self.rest) {
            for (dim, wanted) in rest.iter().zip(known) {
                builder.equal(&format!("{what}, where .. is {}", display_shape(known)), dim, wanted)?;
            }
        }
        Ok(())
    }

    /// The size that an expression over names stands for.
    fn size(&self, builder: &Builder, size: &Dim) -> Result<Dim, Fault> {
        let mut missing = None;
        size.visit_symbols(&mut |name| {
            if !self.sizes.contains_key(&**name) {
                missing = Some(name.clone());
            }
        });
        if let Some(name) = missing {
            return Err(Fault::new(format!("`{name}` is the size of no axis that the node has")));
        }
        for (atom, _) in size.terms().flat_map(|(_, factors)| factors) {
            match atom {
                Atom::Symbol(_) => {}
                Atom::FloorDiv(a, b) => {
                    self.size(builder, a)?;
                    let divisor = self.size(builder, b)?;
                    if divisor.range(&builder.graph.bounds).low <= 0 {
                        return Err(Fault::new(format!(
                            "the size {size} divides by {divisor}, which may not be positive"
                        )));
                    }
                }
                Atom::Min(a, b) | Atom::Max(a, b) => {
                    self.size(builder, a)?;
                    self.size(builder, b)?;
                }
            }
        }
        let value = |name: &str| self.sizes.get(name).cloned();
        Ok(size.substitute(&value, &builder.graph.bounds))
    }

    fn result(&self, builder: &Builder, pattern: &Pattern) -> Result<TensorType, Fault> {
        let dtype = match &pattern.element {
            Element::Is(dtype) => *dtype,
            Element::Named(name) => match self.elements.get(name) {
                Some(dtype) => *dtype,
                None => {
                    return Err(Fault::new(format!(
                        "`{name}` is the element type of no operand that the node has"
                    )));
                }
            },
        };
        let mut shape = Vec::new();
        for axis in &pattern.shape {
            match axis {
                Axis::Size(size) => shape.push(self.size(builder, size)?),
                Axis::Rest => shape.extend(self.rest.iter().flatten().cloned()),
                Axis::Any => {}
            }
        }
        Ok(TensorType::new(dtype, shape))
    }
}
