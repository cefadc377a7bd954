//! Rules of scalar expressions.

use crate::ir::dtype::DType;
use crate::ir::eval::{int_limits, round_to};
use crate::ir::expr::{BinaryOp, Expr, Literal, Scalar, UnaryOp};

/// Checks an expression on operands of given types.
pub(in crate::ir) fn check(expr: &Expr, operands: &[DType]) -> Result<(), String> {
    if expr.nodes.is_empty() {
        return Err("an empty expression".into());
    }
    for (id, node) in expr.nodes.iter().enumerate() {
        let mut ordered = true;
        node.op.for_each_operand(|operand| ordered &= operand < id);
        if !ordered {
            return Err(format!("part {id} uses one that is not before it"));
        }
        let dtype = |id: usize| expr.nodes[id].dtype;
        let expected = match &node.op {
            Scalar::Input(index) => match operands.get(*index) {
                Some(&dtype) => dtype,
                None => return Err(format!("a reference to operand {index} of {}", operands.len())),
            },
            Scalar::Const(literal) => {
                check_literal(*literal, node.dtype)?;
                node.dtype
            }
            Scalar::Dim(_) | Scalar::Index(_) => DType::I64,
            Scalar::At(index, place) => match (operands.get(*index), dtype(*place)) {
                (Some(&dtype), DType::I64) => dtype,
                (Some(_), other) => return Err(format!("an element at a place of type {other}")),
                (None, _) => return Err(format!("a reference to operand {index} of {}", operands.len())),
            },
            Scalar::Unary(op, x) => {
                let operand = dtype(*x);
                if !accepts(unary_domain(*op), operand) {
                    return Err(format!("{} of {operand}", op.name()));
                }
                if op.gives_bool() { DType::Bool } else { operand }
            }
            Scalar::Binary(op, a, b) => {
                let (left, right) = (dtype(*a), dtype(*b));
                if left != right || !accepts(binary_domain(*op), left) {
                    return Err(format!("{} of {left} and {right}", op.name()));
                }
                if op.is_comparison() { DType::Bool } else { left }
            }
            Scalar::Select(condition, a, b) => {
                let types = [dtype(*condition), dtype(*a), dtype(*b)];
                if types != [DType::Bool, node.dtype, node.dtype] {
                    let [condition, a, b] = types;
                    return Err(format!("a selection by {condition} of {a} and {b}"));
                }
                node.dtype
            }
            Scalar::Cast(_) => node.dtype,
            Scalar::Bits(x) => {
                if dtype(*x).bits() != node.dtype.bits() {
                    return Err(format!("the bits of {} as {}", dtype(*x), node.dtype));
                }
                node.dtype
            }
        };
        if node.dtype != expected {
            return Err(format!("part {id} is of type {}, not {expected}", node.dtype));
        }
    }
    Ok(())
}

fn check_literal(literal: Literal, dtype: DType) -> Result<(), String> {
    let fits = match literal {
        Literal::Float(value) => dtype.is_float() && (value.is_nan() || round_to(value, dtype) == value),
        Literal::Int(value) => {
            let (low, high) = int_limits(dtype);
            dtype.is_int() && (low..=high).contains(&value)
        }
        Literal::Bool(_) => dtype == DType::Bool,
    };
    let text = match literal {
        Literal::Float(value) => format!("{value:?}"),
        Literal::Int(value) => value.to_string(),
        Literal::Bool(value) => value.to_string(),
    };
    if fits {
        Ok(())
    } else {
        Err(format!("{text} is no {dtype}"))
    }
}

/// The element types that a function takes.
enum Domain {
    Any,
    Bool,
    Float,
    Int,
    Number,
    BoolOrInt,
}

fn accepts(domain: Domain, dtype: DType) -> bool {
    match domain {
        Domain::Any => true,
        Domain::Bool => dtype == DType::Bool,
        Domain::Float => dtype.is_float(),
        Domain::Int => dtype.is_int(),
        Domain::Number => dtype != DType::Bool,
        Domain::BoolOrInt => !dtype.is_float(),
    }
}

fn unary_domain(op: UnaryOp) -> Domain {
    match op {
        UnaryOp::Neg | UnaryOp::Abs | UnaryOp::Sign => Domain::Number,
        UnaryOp::Not => Domain::Bool,
        UnaryOp::BitNot => Domain::Int,
        _ => Domain::Float,
    }
}

fn binary_domain(op: BinaryOp) -> Domain {
    match op {
        BinaryOp::Eq | BinaryOp::Ne => Domain::Any,
        BinaryOp::And | BinaryOp::Or | BinaryOp::Xor => Domain::BoolOrInt,
        BinaryOp::Shl | BinaryOp::Shr => Domain::Int,
        _ => Domain::Number,
    }
}
