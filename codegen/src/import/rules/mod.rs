//! The lowering rules, one per ONNX operator, in one file per family.

mod activation;
mod attention;
mod cast;
mod choose;
mod control;
mod conv;
mod determinant;
mod einsum;
mod elementwise;
mod generate;
mod gradient;
mod indexing;
mod linear;
mod linear_attention;
mod loss;
mod ml;
mod movement;
mod norm;
mod packed;
mod pad;
mod pool;
mod quantize;
mod random;
mod recurrent;
mod reduce;
mod region;
mod residual;
mod resize;
mod rotary;
mod sample;
mod scan;
mod scatter;
mod select;
mod sequence;
mod shape;
mod signal;
mod slice;
mod strings;
mod tfidf;
mod training;

use super::call::{ItemRule, Rule};

/// Rules by domain and operator.
type Rules = &'static [(&'static str, &'static str, Rule)];

/// Rules of operators with operands or results that are no tensors, by domain and operator.
type ItemRules = &'static [(&'static str, &'static str, ItemRule)];

/// The standard domain.
const ONNX: &str = "";
/// Operators of ONNX that may still change.
const PREVIEW: &str = "ai.onnx.preview";
/// Operators of ONNX for training that may still change.
const TRAINING: &str = "ai.onnx.preview.training";
/// Operators that ONNX Runtime adds.
const MICROSOFT: &str = "com.microsoft";

const FAMILIES: &[Rules] = &[
    activation::RULES,
    attention::RULES,
    cast::RULES,
    choose::RULES,
    conv::RULES,
    determinant::RULES,
    einsum::RULES,
    elementwise::RULES,
    generate::RULES,
    gradient::RULES,
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
    packed::RULES,
    pad::RULES,
    pool::RULES,
    quantize::convert::RULES,
    quantize::elementwise::RULES,
    quantize::pool::RULES,
    quantize::product::RULES,
    random::RULES,
    recurrent::RULES,
    reduce::RULES,
    region::RULES,
    residual::RULES,
    resize::RULES,
    rotary::RULES,
    sample::RULES,
    scatter::RULES,
    select::RULES,
    shape::RULES,
    signal::RULES,
    slice::RULES,
    strings::RULES,
    tfidf::RULES,
    training::RULES,
];

const ITEM_FAMILIES: [ItemRules; 3] = [control::RULES, scan::RULES, sequence::RULES];

/// The rule of an operator.
#[derive(Clone, Copy)]
pub(super) enum AnyRule {
    Tensors(Rule),
    Items(ItemRule),
}

/// The rule of an operator for operands that are tensors, or for others.
pub(super) fn find(domain: &str, op_type: &str, tensors: bool) -> Option<AnyRule> {
    fn rule<R: Copy>(families: &[&[(&str, &str, R)]], domain: &str, op_type: &str) -> Option<R> {
        let mut rules = families.iter().copied().flatten();
        rules
            .find(|rule| rule.0 == domain && rule.1 == op_type)
            .map(|rule| rule.2)
    }
    let of_tensors = || rule(FAMILIES, domain, op_type).map(AnyRule::Tensors);
    let of_items = || rule(&ITEM_FAMILIES, domain, op_type).map(AnyRule::Items);
    match tensors {
        true => of_tensors().or_else(of_items),
        false => of_items(),
    }
}

/// The operators that have a rule, as domain and name.
#[cfg(test)]
pub(super) fn operators() -> impl Iterator<Item = (&'static str, &'static str)> {
    let tensors = FAMILIES.iter().copied().flatten().map(|rule| (rule.0, rule.1));
    let items = ITEM_FAMILIES.iter().copied().flatten().map(|rule| (rule.0, rule.1));
    tensors.chain(items)
}
