//! Losses of classifiers.

use super::{ONNX, Rules};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::infer::display_shape;
use crate::ir::op::ReduceKind;
use crate::ir::{BinaryOp, DType, Expr, Op, ScalarId, UnaryOp, ValueId};

pub(super) const RULES: Rules = &[
    (ONNX, "NegativeLogLikelihoodLoss", |cx| {
        let x = cx.input(0)?;
        Ok(vec![loss(cx, x)?])
    }),
    (ONNX, "SoftmaxCrossEntropyLoss", |cx| {
        let x = cx.input(0)?;
        let logarithms = cx.emit(Op::Softmax { axis: 1, log: true }, &[x])?;
        Ok(vec![loss(cx, logarithms)?, logarithms])
    }),
];

/// `-weight[class] * x[n, class, ...]` for the class that operand 1 says for each `[n, ...]`, 0 where it is
/// `ignore_index`; reduced over everything by `reduction`. A mean is by the sum of the weights.
fn loss(cx: &mut Call, x: ValueId) -> Result<ValueId, Fault> {
    let (target, weights) = (cx.input(1)?, cx.optional(2));
    let ignored = cx.optional_int("ignore_index")?;
    let reduction = cx.string("reduction", "mean")?;
    let (from, shape, dtype) = (cx.shape(x), cx.shape(target), cx.dtype(x));
    if from.len() < 2 || shape.len() + 1 != from.len() {
        let (from, shape) = (display_shape(&from), display_shape(&shape));
        return Err(Fault::new(format!(
            "classes of shape {shape} for scores of shape {from}"
        )));
    }
    for (axis, size) in shape.iter().enumerate() {
        let own = &from[if axis == 0 { 0 } else { axis + 1 }];
        cx.equal("sizes of classes and scores", size, own)?;
    }
    let class_type = cx.dtype(target);
    let class = |expr: &mut Expr| {
        let class = expr.input(0, class_type);
        expr.convert(class, DType::I64)
    };
    let is_ignored = |expr: &mut Expr, class: ScalarId| {
        let index = expr.int(ignored?.into(), DType::I64);
        Some(expr.apply2(BinaryOp::Eq, class, index))
    };

    let mut valid = Expr::empty();
    let id = class(&mut valid);
    let (zero, classes) = (valid.int(0, DType::I64), valid.dim(&from[1]));
    let (starts, ends) = (
        valid.apply2(BinaryOp::Ge, id, zero),
        valid.apply2(BinaryOp::Lt, id, classes),
    );
    let inside = valid.apply2(BinaryOp::And, starts, ends);
    if let Some(ignored) = is_ignored(&mut valid, id) {
        valid.apply2(BinaryOp::Or, inside, ignored);
    }
    cx.assert_all(valid, shape.clone(), &[target], "every class has a score")?;

    let weight = |expr: &mut Expr, operand: usize| {
        let id = class(expr);
        let weight = match weights {
            Some(_) => expr.at(operand, id, dtype),
            None => expr.float(1.0, dtype),
        };
        match is_ignored(expr, id) {
            Some(ignored) => {
                let none = expr.float(0.0, dtype);
                expr.select(ignored, none, weight)
            }
            None => weight,
        }
    };
    let mut expr = Expr::empty();
    let id = class(&mut expr);
    let mut coordinates: Vec<ScalarId> = (0..shape.len()).map(|axis| expr.index(axis)).collect();
    coordinates.insert(1, id);
    let place = expr.row_major(&coordinates, &from);
    let score = expr.at(1, place, dtype);
    let factor = weight(&mut expr, 2);
    let product = expr.apply2(BinaryOp::Mul, score, factor);
    let mut value = expr.apply1(UnaryOp::Neg, product);
    if let Some(ignored) = is_ignored(&mut expr, id) {
        let none = expr.float(0.0, dtype);
        value = expr.select(ignored, none, value);
    }
    let mut inputs = vec![target, x];
    inputs.extend(weights);
    let op = Op::Elementwise {
        expr: expr.finish(value),
        shape: shape.clone(),
    };
    let losses = cx.emit(op, &inputs)?;

    let axes: Vec<usize> = (0..shape.len()).collect();
    let total = |cx: &mut Call, kind: ReduceKind, x: ValueId| {
        let op = Op::Reduce {
            kind,
            axes: axes.clone(),
            keep_dims: false,
        };
        cx.emit(op, &[x])
    };
    match reduction {
        "none" => Ok(losses),
        "sum" => total(cx, ReduceKind::Sum, losses),
        "mean" if weights.is_none() && ignored.is_none() => total(cx, ReduceKind::Mean, losses),
        "mean" => {
            let mut expr = Expr::empty();
            let value = weight(&mut expr, 1);
            let mut inputs = vec![target];
            inputs.extend(weights);
            let op = Op::Elementwise {
                expr: expr.finish(value),
                shape: shape.clone(),
            };
            let factors = cx.emit(op, &inputs)?;
            let (sum, factors) = (
                total(cx, ReduceKind::Sum, losses)?,
                total(cx, ReduceKind::Sum, factors)?,
            );
            cx.binary(BinaryOp::Div, sum, factors)
        }
        other => cx.unsupported("reduction", other),
    }
}
