//! The lowering rules, one per ONNX operator, in one file per family.

mod activation;
mod attention;
mod cast;
mod control;
mod conv;
mod einsum;
mod elementwise;
mod generate;
mod indexing;
mod linear;
mod linear_attention;
mod loss;
mod ml;
mod movement;
mod norm;
mod pad;
mod pool;
mod quantize;
mod recurrent;
mod reduce;
mod resize;
mod rotary;
mod sample;
mod shape;
mod slice;
mod strings;
mod tfidf;

use super::call::Rule;

/// Rules by domain and operator.
type Rules = &'static [(&'static str, &'static str, Rule)];

/// The standard domain.
const ONNX: &str = "";
/// Operators of ONNX that may still change.
const PREVIEW: &str = "ai.onnx.preview";
/// Operators that ONNX Runtime adds.
const MICROSOFT: &str = "com.microsoft";

const FAMILIES: &[Rules] = &[
    activation::RULES,
    attention::RULES,
    cast::RULES,
    control::RULES,
    conv::RULES,
    einsum::RULES,
    elementwise::RULES,
    generate::RULES,
    indexing::RULES,
    linear::RULES,
    linear_attention::RULES,
    loss::RULES,
    ml::encode::RULES,
    ml::features::RULES,
    ml::linear::RULES,
    ml::svm::RULES,
    ml::tree::RULES,
    movement::RULES,
    norm::RULES,
    pad::RULES,
    pool::RULES,
    quantize::RULES,
    recurrent::RULES,
    reduce::RULES,
    resize::RULES,
    rotary::RULES,
    sample::RULES,
    shape::RULES,
    slice::RULES,
    strings::RULES,
    tfidf::RULES,
];

/// The rule of an operator.
pub(super) fn find(domain: &str, op_type: &str) -> Option<Rule> {
    FAMILIES
        .iter()
        .copied()
        .flatten()
        .find(|rule| rule.0 == domain && rule.1 == op_type)
        .map(|rule| rule.2)
}

/// The operators that have a rule, as domain and name.
#[cfg(test)]
pub(super) fn operators() -> impl Iterator<Item = (&'static str, &'static str)> {
    FAMILIES.iter().copied().flatten().map(|rule| (rule.0, rule.1))
}
