//! Operators that the user provides.

mod call;
mod signature;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::ir::TensorType;
use crate::ir::opaque::is_function_path;
use crate::ir::parse::signature;

pub use call::OperatorCall;
pub(crate) use signature::{Axis, Element, Kind, Parameter, Pattern, Signature, Value};

/// The types of an operator's results, or what is wrong with a node.
type ShapeRule = dyn Fn(&OperatorCall) -> Result<Vec<TensorType>, String> + Send + Sync;

/// An operator with a Rust function that computes it.
///
/// A model's nodes of this domain and name become calls of the function. It takes operands and attributes in the order
/// of the signature, then the results to be filled:
///
/// ```
/// # use onnxide_codegen::Operator;
/// let operator = Operator::new("my.domain", "Repeat")
///     .function("crate::operators::repeat")
///     .signature("(f32[n, k], times: int = 2) -> f32[n, times * k]");
/// // pub fn repeat(x: TensorView<f32, 2>, times: i64, mut y: TensorViewMut<f32, 2>) { .. }
/// ```
///
/// The same in one text, as the macro and the command have it:
///
/// ```
/// # use onnxide_codegen::Operator;
/// # fn main() -> Result<(), String> {
/// let operator: Operator =
///     "my.domain::Repeat = crate::operators::repeat: (f32[n, k], times: int = 2) -> f32[n, times * k]".parse()?;
/// # Ok(())
/// # }
/// ```
///
/// # Signatures
///
/// | | is | the function takes |
/// | --- | --- | --- |
/// | `f32[n, 3]` | an operand of this type | `TensorView<'_, f32, 2>` |
/// | `T[n, n]` | an operand of any element type; the same one for each `T` | `TensorView<'_, T, 2>` |
/// | `f32[.., k]` | any number of axes at this place, the same ones wherever `..` occurs | `TensorView<'_, f32, R>` |
/// | `f32[_, k]` | an axis of any size | `TensorView<'_, f32, 2>` |
/// | `f32[k]?` | an operand that a node may leave out | `Option<TensorView<'_, f32, 1>>` |
/// | `_` | an operand of any type | a `TensorView` |
/// | `times: int = 2` | an attribute; without `= 2` every node must have it | `i64` |
/// | `scale: float`, `mode: string` | as `int` | `f32`, `&str` |
/// | `pads: ints`, `scales: floats`, `names: strings` | as `int`, with defaults such as `[0, 0]` | `&[i64]`, `&[f32]`, `&[&str]` |
/// | `table: f32[m]` | an attribute that is a tensor | `TensorView<'_, f32, 1>` |
/// | `-> f32[n]`, `-> (f32[n], i64[n])` | the results | `TensorViewMut` for each |
/// | `-> Result<f32[n]>` | results of a function that can fail | as above; it returns `Result<(), &'static str>` |
/// | `-> _`, `-> Result<_>`, or nothing | results whose types a [closure](Operator::shape) gives | `TensorViewMut` for each |
///
/// Sizes are expressions over the names of other sizes and of `int` attributes, with `+`, `-`, `*`, `/` (rounded down),
/// `min(a, b)` and `max(a, b)`. A name stands for the size of the first axis that is nothing but the name; other sizes
/// with the name must agree, where it cannot be told before, in every run. Names of attributes that are no identifiers
/// are quoted.
///
/// A function is a function of its arguments: calls of it may be merged, moved and left out. Results are not cleared
/// before a call, but for those of type `bool`.
#[derive(Clone)]
#[must_use]
pub struct Operator {
    domain: String,
    name: String,
    function: String,
    signature: Option<(String, Result<Signature, String>)>,
    shape: Option<Arc<ShapeRule>>,
}

impl Operator {
    /// The operator `name` of a domain. The standard domain is `""` or `"ai.onnx"`.
    ///
    /// An operator that the compiler knows itself is replaced, and so is a function of the model.
    pub fn new(domain: impl Into<String>, name: impl Into<String>) -> Self {
        let domain = domain.into();
        Operator {
            domain: if domain == "ai.onnx" { String::new() } else { domain },
            name: name.into(),
            function: String::new(),
            signature: None,
            shape: None,
        }
    }

    /// The path of the function as seen from the generated module, best from the root: `crate::operators::decode`.
    pub fn function(mut self, path: impl Into<String>) -> Self {
        self.function = path.into().split_whitespace().collect();
        self
    }

    /// What the function takes and gives; without a signature it takes all operands and no attributes.
    pub fn signature(mut self, text: impl Into<String>) -> Self {
        let text = text.into();
        let parsed = signature(&text).map_err(|error| error.to_string());
        self.signature = Some((text, parsed));
        self
    }

    /// A rule for the types of the results where a signature cannot say them.
    ///
    /// ```
    /// # use onnxide_codegen::Operator;
    /// # use onnxide_codegen::ir::{Dim, TensorType};
    /// let operator = Operator::new("my.domain", "Crop")
    ///     .function("crate::operators::crop")
    ///     .signature("(f32[n, h, w], border: ints)")
    ///     .shape(|call| {
    ///         let [y, x] = call.ints("border")?[..] else {
    ///             return Err("`border` has two sizes".into());
    ///         };
    ///         let mut ty = call.input(0)?.clone();
    ///         ty.shape[1] = call.size("h")? - Dim::from(2 * y);
    ///         ty.shape[2] = call.size("w")? - Dim::from(2 * x);
    ///         Ok(vec![ty])
    ///     });
    /// ```
    pub fn shape(
        mut self,
        rule: impl Fn(&OperatorCall) -> Result<Vec<TensorType>, String> + Send + Sync + 'static,
    ) -> Self {
        self.shape = Some(Arc::new(rule));
        self
    }

    pub(crate) fn is(&self, domain: &str, name: &str) -> bool {
        self.domain == domain && self.name == name
    }

    /// The path of the function.
    pub fn path(&self) -> &str {
        &self.function
    }

    pub(crate) fn parameters(&self) -> Option<&Signature> {
        self.signature.as_ref()?.1.as_ref().ok()
    }

    /// The text of the signature, for people.
    pub(crate) fn signature_text(&self) -> String {
        match &self.signature {
            Some((_, Ok(signature))) => signature.to_string(),
            Some((text, Err(_))) => text.clone(),
            None => "(..)".into(),
        }
    }

    pub(crate) fn rule(&self) -> Option<&ShapeRule> {
        self.shape.as_deref()
    }

    /// Domain and name as people write them.
    pub(crate) fn title(&self) -> String {
        match self.domain.as_str() {
            "" => self.name.clone(),
            domain => format!("{domain}::{}", self.name),
        }
    }

    /// What is wrong with the registration.
    pub(crate) fn check(&self) -> Result<(), String> {
        let fault = |message: String| Err(format!("operator {}: {message}", self.title()));
        if self.function.is_empty() {
            return fault("it has no function".into());
        }
        if !is_function_path(&self.function) {
            return fault(format!("`{}` is no path of a function", self.function));
        }
        match &self.signature {
            Some((text, Err(error))) => return fault(format!("the signature `{text}` is wrong at {error}")),
            Some((text, Ok(signature))) if signature.results.is_none() && self.shape.is_none() => {
                return fault(format!(
                    "the signature `{text}` has no results: end it with one, as in `-> f32[n]`"
                ));
            }
            Some((text, Ok(signature))) if signature.results.is_some() && self.shape.is_some() => {
                return fault(format!("both the signature `{text}` and a closure give the results"));
            }
            None if self.shape.is_none() => {
                return fault("it has no signature, such as `(f32[n]) -> f32[n]`".into());
            }
            _ => {}
        }
        Ok(())
    }
}

/// `DOMAIN::NAME = PATH: SIGNATURE`, as one can write it again.
impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}: {}", self.title(), self.function, self.signature_text())
    }
}

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = if self.shape.is_some() { " with a closure" } else { "" };
        write!(f, "Operator({self}{rule})")
    }
}

/// Operators with closures are equal if the closures are one.
impl PartialEq for Operator {
    fn eq(&self, other: &Self) -> bool {
        let same_rule = match (&self.shape, &other.shape) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (a, b) => a.is_none() && b.is_none(),
        };
        same_rule && self.to_string() == other.to_string()
    }
}

impl Eq for Operator {}

impl FromStr for Operator {
    type Err = String;

    /// Reads `DOMAIN::NAME = PATH: SIGNATURE`; the standard domain may be left out.
    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            "expected DOMAIN::NAME = PATH: SIGNATURE, such as \
             `my.domain::MyOp = crate::operators::my_op: (f32[n]) -> f32[n]`"
                .to_owned()
        };
        let (operator, rest) = text.split_once('=').ok_or_else(expected)?;
        let (path, signature) = rest.split_at(rest.find('(').ok_or_else(expected)?);
        let path = path.trim_end().strip_suffix(':').ok_or_else(expected)?;
        let operator = operator.trim();
        let (domain, name) = operator.rsplit_once("::").unwrap_or(("", operator));
        if name.is_empty() {
            return Err(expected());
        }
        let operator = Operator::new(domain, name).function(path).signature(signature);
        operator.check().map(|()| operator)
    }
}

#[cfg(test)]
mod tests;
