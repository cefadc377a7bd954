//! From scores to labels and probabilities.

use super::Results;
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::import::formula::{Formula, Term};
use crate::ir::op::ReduceKind;
use crate::ir::{BinaryOp, DType, Dim, Op, Tensor, UnaryOp, ValueId};

/// What is done to scores before they are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transform {
    /// Nothing.
    None,
    /// The logistic function of each.
    Logistic,
    /// Softmax over the classes.
    Softmax,
    /// As `Softmax`, but a score of zero stays small: it is multiplied by the factor of the others.
    SoftmaxZero,
    /// The quantile of the normal distribution.
    Probit,
}

impl Transform {
    /// The transform that the attribute `post_transform` names.
    pub(super) fn of(cx: &Call) -> Result<Transform, Fault> {
        Ok(match cx.string("post_transform", "NONE")? {
            "NONE" => Transform::None,
            "LOGISTIC" => Transform::Logistic,
            "SOFTMAX" => Transform::Softmax,
            "SOFTMAX_ZERO" => Transform::SoftmaxZero,
            "PROBIT" => Transform::Probit,
            other => return cx.unsupported("post_transform", other),
        })
    }

    /// The transform that the attribute `post_transform` numbers.
    pub(super) fn of_number(cx: &Call) -> Result<Transform, Fault> {
        Ok(match cx.int("post_transform", 0)? {
            0 => Transform::None,
            1 => Transform::Softmax,
            2 => Transform::Logistic,
            3 => Transform::SoftmaxZero,
            4 => Transform::Probit,
            other => return cx.unsupported("post_transform", other),
        })
    }

    /// The transformed scores `[rows, classes]`.
    pub(super) fn apply(self, cx: &mut Call, scores: ValueId) -> Result<ValueId, Fault> {
        match self {
            Transform::None => Ok(scores),
            Transform::Logistic => unary(cx, scores, |x| x.unary(UnaryOp::Sigmoid)),
            Transform::Softmax => cx.emit(Op::Softmax { axis: 1, log: false }, &[scores]),
            Transform::SoftmaxZero => softmax_zero(cx, scores),
            Transform::Probit => unary(cx, scores, probit),
        }
    }
}

fn unary(cx: &mut Call, x: ValueId, of: impl for<'f> Fn(Term<'f>) -> Term<'f>) -> Result<ValueId, Fault> {
    let f = Formula::new();
    let expr = f.result(of(f.input(0, cx.dtype(x))));
    cx.elementwise(expr, &[x])
}

/// `sqrt(2) erfinv(2 p - 1)` with Winitzki's approximation of the inverse error function (S. Winitzki, A handy
/// approximation for the error function and its inverse, 2008, with a = 0.147), which is what the operators specify.
fn probit(p: Term<'_>) -> Term<'_> {
    const A: f64 = 0.147;
    let x = p * 2.0 - 1.0;
    let log = ((-x + 1.0) * (x + 1.0)).unary(UnaryOp::Ln);
    let v = log * 0.5 + 2.0 / (std::f64::consts::PI * A);
    let root = (v * v - log / A).unary(UnaryOp::Sqrt);
    let magnitude = (root - v).unary(UnaryOp::Sqrt) * std::f64::consts::SQRT_2;
    x.lt(0.0).select(-magnitude, magnitude)
}

fn softmax_zero(cx: &mut Call, scores: ValueId) -> Result<ValueId, Fault> {
    let dtype = cx.dtype(scores);
    let over = |kind| Op::Reduce {
        kind,
        axes: vec![1],
        keep_dims: true,
    };
    let largest = cx.emit(over(ReduceKind::Max), &[scores])?;
    let f = Formula::new();
    let (x, max) = (f.input(0, dtype), f.input(1, dtype));
    let zero = x.unary(UnaryOp::Abs).le(1e-7);
    let weight = zero.select(x * (-max).unary(UnaryOp::Exp), (x - max).unary(UnaryOp::Exp));
    let weights = cx.elementwise(f.result(weight), &[scores, largest])?;
    let total = cx.emit(over(ReduceKind::Sum), &[weights])?;
    let f = Formula::new();
    let (weight, total_of_row) = (f.input(0, dtype), f.input(1, dtype));
    let half = f.number(0.5, dtype);
    let share = total_of_row.eq(0.0).select(half, weight / total_of_row);
    cx.elementwise(f.result(share), &[weights, total])
}

/// The labels of the classes.
pub(super) enum Labels {
    /// Integers.
    Ints(Vec<i64>),
    /// Strings.
    Strings(Vec<String>),
}

impl Labels {
    /// The labels that the attributes give, the names of which differ between operators.
    pub(super) fn of(cx: &Call, ints: &'static str, strings: &'static str) -> Result<Labels, Fault> {
        let (ints, strings) = (
            cx.ints(ints)?.unwrap_or_default(),
            cx.strings(strings)?.unwrap_or_default(),
        );
        match (ints.is_empty(), strings.is_empty()) {
            (false, true) => Ok(Labels::Ints(ints)),
            (true, false) => Ok(Labels::Strings(strings)),
            (true, true) => Err(Fault::new("the classes have no labels")),
            (false, false) => Err(Fault::new("the classes have labels of two types")),
        }
    }

    /// The number of labels.
    pub(super) fn len(&self) -> usize {
        match self {
            Labels::Ints(labels) => labels.len(),
            Labels::Strings(labels) => labels.len(),
        }
    }

    /// The label of the class with the largest score, the first one of equals, in each row.
    pub(super) fn of_largest(&self, cx: &mut Call, scores: ValueId) -> Result<ValueId, Fault> {
        let classes = Op::ArgReduce {
            largest: true,
            axis: 1,
            keep_dims: false,
            last: false,
        };
        let classes = cx.emit(classes, &[scores])?;
        self.at(cx, classes)
    }

    /// The labels of the classes `[rows]`.
    fn at(&self, cx: &mut Call, classes: ValueId) -> Result<ValueId, Fault> {
        match self {
            Labels::Ints(labels) => {
                let labels = cx.constant(Tensor::new(vec![labels.len()], labels));
                cx.emit(Op::Gather { axis: 0 }, &[labels, classes])
            }
            Labels::Strings(labels) => {
                let table = cx.constant_table(labels)?;
                Ok(cx.numbering(classes, table))
            }
        }
    }
}

/// The label of the class with the largest score and the transformed scores.
pub(super) fn largest(cx: &mut Call, scores: ValueId, labels: &Labels, transform: Transform) -> Results {
    let label = labels.of_largest(cx, scores)?;
    Ok(vec![label, transform.apply(cx, scores)?])
}

/// How a single score decides between two classes.
#[derive(Clone, Copy)]
pub(super) struct Binary {
    /// The second class is chosen above this score.
    pub(super) threshold: f64,
    /// Whether the score is a share of 1, so that the first class has the rest of it, rather than its negative.
    pub(super) share: bool,
}

/// The labels and scores of two classes of which only the second has a score `[rows, 1]`.
///
/// The transforms that set classes against each other take the negative score for the first class, as the reference
/// evaluator does; ONNX Runtime leaves the scores as they are there.
pub(super) fn binary(cx: &mut Call, score: ValueId, labels: &Labels, transform: Transform, rule: Binary) -> Results {
    let dtype = cx.dtype(score);
    let f = Formula::new();
    let second = f.input(0, dtype).gt(rule.threshold).cast(DType::I64);
    let rows = cx.shape(score)[0].clone();
    let second = cx.elementwise(f.result(second), &[score])?;
    let classes = cx.reshape(second, vec![rows.clone()])?;
    // One label is that of the second class; the other class has the label 0.
    let both = match labels {
        Labels::Ints(own) if own.len() == 1 => &Labels::Ints(vec![0, own[0]]),
        Labels::Strings(own) if own.len() == 1 => &Labels::Strings(vec![String::new(), own[0].clone()]),
        _ => labels,
    };
    let label = both.at(cx, classes)?;
    if labels.len() == 1 {
        return Ok(vec![label, transform.apply(cx, score)?]);
    }
    let share = match transform {
        Transform::None => rule.share,
        Transform::Probit => true,
        _ => false,
    };
    let f = Formula::new();
    let x = f.input(0, dtype);
    let first = if share { -x + 1.0 } else { -x };
    let first = f.index(1).eq(0).select(first, x);
    let shape = vec![rows, Dim::from(2i64)];
    let scores = cx.emit(
        Op::Elementwise {
            expr: f.result(first),
            shape,
        },
        &[score],
    )?;
    Ok(vec![label, transform.apply(cx, scores)?])
}

/// Adds one summand for each class.
pub(super) fn shifted(cx: &mut Call, scores: ValueId, values: &[f64]) -> Result<ValueId, Fault> {
    if values.is_empty() {
        return Ok(scores);
    }
    let dtype = cx.dtype(scores);
    let values = super::table(cx, vec![values.len()], values, dtype)?;
    let shape = cx.shape(scores);
    let sum = cx.binary(BinaryOp::Add, scores, values)?;
    if cx.shape(sum) == shape {
        Ok(sum)
    } else {
        Err(Fault::new("there are more values to add than classes or targets"))
    }
}
