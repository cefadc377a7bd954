//! Quantization to a constant scale.

use super::pattern::literal_number;
use super::rewrite::{Rewrite, Rewriter};
use crate::ir::{BinaryOp, DType, Expr, Graph, Literal, Node, Op, Scalar, ScalarId, Tensor, UnaryOp, ValueId};
use std::rc::Rc;

/// The most elements of a constant of which there is a multiple, too.
const MAX_CONSTANT: usize = 1 << 16;

/// Moves the division by the scale of quantized numbers into the constants that their numerator is made of, or makes it a
/// multiplication: `round((x * a + b) / s)` becomes `round(x * (a / s) + b / s)`.
///
/// Postcondition: no numbers of 8 bits are rounded quotients that nothing else uses, of anything and a positive literal. (A
/// node with several is left with those beyond one for each run.)
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
    let (quotient, numerator, scale) = (0..expr.nodes.len()).find_map(|id| quantized(expr, id))?;
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

/// The quotient, its numerator and its divisor, of which a node is the rounded quotient as a number of 8 bits, after it has
/// been moved and bounded by constants.
fn quantized(expr: &Expr, id: ScalarId) -> Option<(ScalarId, ScalarId, f64)> {
    let constant = |id: ScalarId| match expr.nodes[id].op {
        Scalar::Const(literal) => literal_number(literal),
        _ => None,
    };
    let dtype = expr.nodes[id].dtype;
    let Scalar::Cast(mut value) = expr.nodes[id].op else {
        return None;
    };
    if !dtype.is_int() || dtype.bits() > 8 || expr.nodes[value].dtype != DType::F32 {
        return None;
    }
    let quotient = loop {
        match expr.nodes[value].op {
            Scalar::Binary(BinaryOp::Add | BinaryOp::Sub | BinaryOp::Max | BinaryOp::Min, a, b) => {
                constant(b)?;
                value = a;
            }
            Scalar::Unary(UnaryOp::Round, quotient) => break quotient,
            _ => return None,
        }
    };
    let mut uses = 0;
    for node in &expr.nodes {
        node.op
            .for_each_operand(|operand| uses += usize::from(operand == quotient));
    }
    match expr.nodes[quotient].op {
        Scalar::Binary(BinaryOp::Div, numerator, scale) if uses == 1 => Some((quotient, numerator, constant(scale)?)),
        _ => None,
    }
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
                if tensor.len() > MAX_CONSTANT {
                    return None;
                }
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
