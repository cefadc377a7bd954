//! What the function of an operator takes and gives.

use std::fmt::{self, Display};

use crate::ir::{DType, Dim};

/// The parameters and results of an operator's function, as [`Operator`](super::Operator) documents them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Signature {
    pub(crate) parameters: Vec<Parameter>,
    /// The results; `None` if a closure gives their types.
    pub(crate) results: Option<Vec<Pattern>>,
    /// Whether the function can fail.
    pub(crate) fallible: bool,
}

/// A parameter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Parameter {
    /// An operand of the node.
    Operand {
        /// What types it may have; any if there is no pattern.
        pattern: Option<Pattern>,
        /// Whether a node may leave it out.
        optional: bool,
    },
    /// An attribute of the node.
    Attribute {
        /// Its name in the model.
        name: String,
        /// What it is.
        kind: Kind,
        /// Its value where a node does not have it.
        default: Option<Value>,
    },
}

/// What an attribute is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Int,
    Float,
    String,
    Ints,
    Floats,
    Strings,
    Tensor(Pattern),
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Int(i64),
    Float(f32),
    String(String),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    Strings(Vec<String>),
}

/// A type with names in it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pattern {
    pub(crate) element: Element,
    pub(crate) shape: Vec<Axis>,
}

/// The element type of a [`Pattern`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Element {
    Is(DType),
    /// The same type wherever the name occurs.
    Named(String),
}

/// An axis, or several, of a [`Pattern`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Axis {
    /// A size over the names of sizes.
    Size(Dim),
    /// Any size.
    Any,
    /// Any number of axes, the same ones wherever they occur.
    Rest,
}

impl Kind {
    /// The word that signatures have for it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Kind::Int => "int",
            Kind::Float => "float",
            Kind::String => "string",
            Kind::Ints => "ints",
            Kind::Floats => "floats",
            Kind::Strings => "strings",
            Kind::Tensor(_) => "a tensor",
        }
    }
}

impl Parameter {
    fn pattern(&self) -> Option<&Pattern> {
        match self {
            Parameter::Operand { pattern, .. } => pattern.as_ref(),
            Parameter::Attribute {
                kind: Kind::Tensor(pattern),
                ..
            } => Some(pattern),
            Parameter::Attribute { .. } => None,
        }
    }
}

impl Signature {
    /// What names stand for nothing.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.results.as_ref().is_some_and(Vec::is_empty) {
            return Err("there is no result".into());
        }
        let (mut sizes, mut elements, mut rest) = (Vec::new(), Vec::new(), false);
        for parameter in &self.parameters {
            if let Parameter::Attribute {
                name, kind: Kind::Int, ..
            } = parameter
            {
                sizes.push(name.as_str());
            }
            if let Some(Pattern { element, shape }) = parameter.pattern() {
                if let Element::Named(name) = element {
                    elements.push(name);
                }
                for axis in shape {
                    match axis {
                        Axis::Size(size) => sizes.extend(size.as_symbol().map(|name| &**name)),
                        Axis::Any => {}
                        Axis::Rest => rest = true,
                    }
                }
            }
        }
        let results = self.results.iter().flatten();
        for Pattern { element, shape } in self.parameters.iter().filter_map(Parameter::pattern).chain(results) {
            match element {
                Element::Named(name) if !elements.contains(&name) => {
                    return Err(format!("`{name}` is the element type of no parameter"));
                }
                _ => {}
            }
            for axis in shape {
                let mut unknown = None;
                if let Axis::Size(size) = axis {
                    size.visit_symbols(&mut |name| {
                        if !sizes.contains(&&**name) {
                            unknown = Some(name.to_string());
                        }
                    });
                }
                if let Some(name) = unknown {
                    return Err(format!(
                        "`{name}` is neither the size of an axis of a parameter nor an `int` attribute"
                    ));
                }
            }
        }
        let mut given = self.results.iter().flatten().flat_map(|pattern| &pattern.shape);
        match given.find(|axis| matches!(axis, Axis::Any) || matches!(axis, Axis::Rest) && !rest) {
            Some(Axis::Any) => Err("a result has an axis `_` of no known size".into()),
            Some(_) => Err("a result has axes `..` that no parameter has".into()),
            None => Ok(()),
        }
    }
}

/// As one can write it again.
impl Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({})", list(&self.parameters))?;
        let results = match self.results.as_deref() {
            None => "_".to_owned(),
            Some([one]) => one.to_string(),
            Some(several) => format!("({})", list(several)),
        };
        match (self.fallible, &self.results) {
            (true, _) => write!(f, " -> Result<{results}>"),
            (false, Some(_)) => write!(f, " -> {results}"),
            (false, None) => Ok(()),
        }
    }
}

impl Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Parameter::Operand { pattern, optional } => {
                match pattern {
                    Some(pattern) => write!(f, "{pattern}")?,
                    None => f.write_str("_")?,
                }
                f.write_str(if *optional { "?" } else { "" })
            }
            Parameter::Attribute { name, kind, default } => {
                match crate::compiler::is_identifier(name) {
                    true => f.write_str(name)?,
                    false => write!(f, "{name:?}")?,
                }
                match kind {
                    Kind::Tensor(pattern) => write!(f, ": {pattern}")?,
                    kind => write!(f, ": {}", kind.name())?,
                }
                match default {
                    Some(value) => write!(f, " = {value}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(value) => write!(f, "{value:?}"),
            Value::String(text) => write!(f, "{text:?}"),
            Value::Ints(values) => write!(f, "{values:?}"),
            Value::Floats(values) => write!(f, "{values:?}"),
            Value::Strings(texts) => write!(f, "{texts:?}"),
        }
    }
}

impl Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.element {
            Element::Is(dtype) => write!(f, "{dtype}[{}]", list(&self.shape)),
            Element::Named(name) => write!(f, "{name}[{}]", list(&self.shape)),
        }
    }
}

impl Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Axis::Size(size) => write!(f, "{size}"),
            Axis::Any => f.write_str("_"),
            Axis::Rest => f.write_str(".."),
        }
    }
}

fn list<T: Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}
