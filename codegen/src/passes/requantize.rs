//! Quantization to a constant scale.

use super::pattern::literal_number;
use super::rewrite::{Rewrite, Rewriter};
use crate::ir::{BinaryOp, DType, Expr, Graph, Literal, Node, Op, Scalar, ScalarId, Tensor, UnaryOp, ValueId};
use std::rc::Rc;

/// Moves the division by the scale of quantized numbers into the constants that their numerator is made of, or makes it a
/// multiplication: `round((x * a + b) / s)` becomes `round(x * (a / s) + b / s)`.
///
/// Postcondition: no division by a constant is directly below a rounding to numbers of 8 bits.
///
/// Results may differ from the original by one step where a quotient is close to the middle between two.
pub(super) fn run(graph: &mut Graph) -> bool {
    super::rewrite::sweep(graph, &mut |rewriter, node| match &node.op {
        Op::Elementwise { .. } => requantize(rewriter, node),
        _ => None,
    })
}

fn requantize(rewriter: &mut Rewriter<'_>, node: &Rc<Node>) -> Rewrite {
    let Op::Elementwise { expr, shape } = &node.op else {
        return None;
    };
    let is_narrow = |id: ScalarId| expr.nodes[id].dtype.is_int() && expr.nodes[id].dtype.bits() <= 8;
    if !(0..expr.nodes.len()).any(|id| is_narrow(id) && matches!(expr.nodes[id].op, Scalar::Cast(_))) {
        return None;
    }
    let (quotient, numerator, scale) = expr.nodes.iter().find_map(|rounded| match rounded.op {
        Scalar::Unary(UnaryOp::Round, quotient) if rounded.dtype == DType::F32 => match expr.nodes[quotient].op {
            Scalar::Binary(BinaryOp::Div, numerator, scale) => match expr.nodes[scale].op {
                Scalar::Const(scale) => Some((quotient, numerator, literal_number(scale)?)),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    })?;
    let factor = 1.0 / scale;
    if !(scale as f32).is_normal() || !(factor as f32).is_normal() || scale < 0.0 {
        return None;
    }
    let mut absorbed = Absorbed::new(rewriter, node, expr);
    let ratio = match absorbed.scaled(numerator, factor) {
        Some(ratio) => ratio,
        None => {
            absorbed = Absorbed::new(rewriter, node, expr);
            let factor = absorbed.expr.float(factor, DType::F32);
            absorbed.expr.apply2(BinaryOp::Mul, numerator, factor)
        }
    };
    let Absorbed {
        expr: mut changed,
        constants,
        ..
    } = absorbed;
    // What has been appended is used by what was there before, so that all of it is appended once more.
    let mut places: Vec<Option<ScalarId>> = vec![None; changed.nodes.len()];
    let mut ordered = Expr::empty();
    let result = copied(&changed, expr.result(), (quotient, ratio), &mut places, &mut ordered);
    changed = ordered.finish(result);
    let mut inputs = node.inputs.clone();
    for tensor in constants {
        inputs.push(rewriter.emit_like(node, Op::Constant(tensor), Vec::new())?);
    }
    let (changed, inputs) = super::pattern::compact(&changed, &inputs);
    Some(vec![rewriter.elementwise(
        changed,
        inputs,
        shape.clone(),
        &node.origin,
    )?])
}

/// Copies a node and what it is made of, with one in place of another.
fn copied(
    from: &Expr,
    id: ScalarId,
    (replaced, by): (ScalarId, ScalarId),
    places: &mut [Option<ScalarId>],
    to: &mut Expr,
) -> ScalarId {
    let id = if id == replaced { by } else { id };
    if let Some(place) = places[id] {
        return place;
    }
    let node = &from.nodes[id];
    let mut operands = Vec::new();
    node.op.for_each_operand(|operand| operands.push(operand));
    for operand in operands {
        copied(from, operand, (replaced, by), places, to);
    }
    let operand = |operand: ScalarId| {
        let operand = if operand == replaced { by } else { operand };
        places[operand].unwrap_or_default()
    };
    let place = to.push(node.op.map_operands(operand), node.dtype);
    places[id] = Some(place);
    place
}

/// An expression to whose end multiples of its parts are appended.
struct Absorbed<'a> {
    rewriter: &'a Rewriter<'a>,
    inputs: &'a [ValueId],
    /// How often each node is used.
    uses: Vec<usize>,
    expr: Expr,
    /// Further operands.
    constants: Vec<Tensor>,
}

impl<'a> Absorbed<'a> {
    fn new(rewriter: &'a Rewriter<'a>, node: &'a Node, expr: &Expr) -> Absorbed<'a> {
        let mut uses = vec![0; expr.nodes.len()];
        for node in &expr.nodes {
            node.op.for_each_operand(|id| uses[id] += 1);
        }
        Absorbed {
            rewriter,
            inputs: &node.inputs,
            uses,
            expr: expr.clone(),
            constants: Vec::new(),
        }
    }

    /// The multiple of a node by a positive factor, if the constants that it is made of can be multiplied instead.
    fn scaled(&mut self, id: ScalarId, factor: f64) -> Option<ScalarId> {
        let node = self.expr.nodes[id].clone();
        if node.dtype != DType::F32 {
            return None;
        }
        match node.op {
            Scalar::Const(Literal::Float(value)) => {
                let value = value * factor;
                (value == 0.0 || (value as f32).is_normal()).then(|| self.expr.float(value, DType::F32))
            }
            Scalar::Input(index) => {
                let tensor = self.rewriter.constant(self.inputs[index])?;
                let multiple = |&value: &f32| (f64::from(value) * factor) as f32;
                let values: Vec<f32> = tensor.to_vec::<f32>()?.iter().map(multiple).collect();
                let is_exact = values.iter().all(|value| value.is_normal() || *value == 0.0);
                is_exact.then(|| {
                    self.constants.push(Tensor::new(tensor.shape.clone(), &values));
                    let index = self.inputs.len() + self.constants.len() - 1;
                    self.expr.input(index, DType::F32)
                })
            }
            _ if self.uses[id] > 1 => None,
            Scalar::Binary(op @ (BinaryOp::Add | BinaryOp::Sub | BinaryOp::Max | BinaryOp::Min), a, b) => {
                let (a, b) = (self.scaled(a, factor)?, self.scaled(b, factor)?);
                Some(self.expr.apply2(op, a, b))
            }
            Scalar::Binary(BinaryOp::Mul, a, b) => {
                if let Some(b) = self.scaled(b, factor) {
                    return Some(self.expr.apply2(BinaryOp::Mul, a, b));
                }
                let a = self.scaled(a, factor)?;
                Some(self.expr.apply2(BinaryOp::Mul, a, b))
            }
            Scalar::Unary(UnaryOp::Neg, x) => {
                let x = self.scaled(x, factor)?;
                Some(self.expr.apply1(UnaryOp::Neg, x))
            }
            _ => None,
        }
    }
}
