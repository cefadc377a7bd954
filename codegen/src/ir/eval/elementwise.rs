//! Scalar expressions over tensors.

use super::movement::move_tensors;
use super::numbers::{Numbers, round_to, wrap_to};
use super::{Symbols, bytes, int, scalar};
use crate::ir::dim::Dim;
use crate::ir::dtype::DType;
use crate::ir::expr::{Expr, Literal, Scalar};
use crate::ir::op::Op;
use crate::ir::tensor::Tensor;

/// How many elements are computed at a time, so that intermediate values stay small.
const CHUNK: usize = 4096;

/// Evaluates an expression for every element of a result of a shape.
pub(super) fn expression(expr: &Expr, shape: &[usize], inputs: &[Tensor], dims: Symbols<'_>) -> Result<Tensor, String> {
    let result = expr.nodes.last().ok_or("an empty expression")?;
    let total = bytes(result.dtype, shape)? / result.dtype.size();
    let broadcast_operand = |(number, input): (usize, &Tensor)| {
        if expr.reads_element(number) {
            broadcast(input, shape)
        } else {
            Ok(input.clone())
        }
    };
    let operands: Vec<Tensor> = inputs
        .iter()
        .enumerate()
        .map(broadcast_operand)
        .collect::<Result<_, _>>()?;
    let mut out = Vec::with_capacity(total * result.dtype.size());
    for start in (0..total).step_by(CHUNK) {
        let len = CHUNK.min(total - start);
        let mut values: Vec<Numbers> = Vec::with_capacity(expr.nodes.len());
        for node in &expr.nodes {
            let value = |id: usize| values.get(id).ok_or("an operand that comes later");
            let dtype = |id: usize| expr.nodes[id].dtype;
            values.push(match &node.op {
                Scalar::Input(index) => {
                    let operand = operands
                        .get(*index)
                        .filter(|operand| operand.dtype == node.dtype)
                        .ok_or_else(|| format!("no operand {index} of type {}", node.dtype))?;
                    let size = operand.dtype.size();
                    if operand.len() == 1 {
                        repeat(&Numbers::of(operand), len)
                    } else {
                        Numbers::decode(operand.dtype, &operand.data[start * size..(start + len) * size])
                    }
                }
                Scalar::Const(literal) => repeat(&constant(*literal, node.dtype)?, len),
                Scalar::Dim(dim) => Numbers::Int(vec![i128::from(int(dim, dims)?); len]),
                Scalar::Index(axis) => {
                    let (_, size, inner) = super::split(shape, *axis)?;
                    Numbers::Int((start..start + len).map(|flat| (flat / inner % size) as i128).collect())
                }
                Scalar::At(index, place) => {
                    let operand = inputs
                        .get(*index)
                        .filter(|operand| operand.dtype == node.dtype)
                        .ok_or_else(|| format!("no operand {index} of type {}", node.dtype))?;
                    at(operand, value(*place)?)?
                }
                Scalar::Unary(op, x) => scalar::unary(*op, value(*x)?, dtype(*x))?,
                Scalar::Binary(op, a, b) => {
                    let (x, y) = (value(*a)?, value(*b)?);
                    if dtype(*a) != dtype(*b) {
                        return Err(format!("{} of {} and {}", op.name(), dtype(*a), dtype(*b)));
                    }
                    scalar::binary(*op, x, y, dtype(*a))?
                }
                Scalar::Select(condition, a, b) => select(value(*condition)?, value(*a)?, value(*b)?)?,
                Scalar::Cast(x) => scalar::cast(value(*x)?, node.dtype),
                Scalar::Bits(x) => {
                    let mut bytes = Vec::new();
                    value(*x)?.encode(dtype(*x), &mut bytes)?;
                    Numbers::decode(node.dtype, &bytes)
                }
            });
        }
        if let Some(last) = values.last() {
            last.encode(result.dtype, &mut out)?;
        }
    }
    Ok(Tensor::from_bytes(result.dtype, shape.to_vec(), out.into()))
}

/// Applies the epilogue of an operation, if it has one, to its result so far.
pub(super) fn epilogue(op: &Op, result: Tensor, inputs: &[Tensor], dims: Symbols<'_>) -> Result<Tensor, String> {
    let (Some(epilogue), Some(base)) = (op.epilogue(), op.epilogue_base()) else {
        return Ok(result);
    };
    let shape = result.shape.clone();
    let mut operands = vec![result];
    operands.extend_from_slice(inputs.get(base..).unwrap_or(&[]));
    expression(&epilogue.expr, &shape, &operands, dims)
}

/// An operand broadcast to a shape; one element stays one.
fn broadcast(tensor: &Tensor, shape: &[usize]) -> Result<Tensor, String> {
    if tensor.shape == shape || (tensor.len() == 1 && tensor.shape.len() <= shape.len()) {
        return Ok(tensor.clone());
    }
    let op = Op::Broadcast {
        shape: shape.iter().map(|&size| Dim::from(size)).collect(),
    };
    move_tensors(&op, std::slice::from_ref(tensor), &|_| None)
}

/// The elements of a tensor at places.
fn at(operand: &Tensor, places: &Numbers) -> Result<Numbers, String> {
    let Numbers::Int(places) = places else {
        return Err("elements at places that are no integers".into());
    };
    let size = operand.dtype.size();
    let mut bytes = Vec::with_capacity(places.len() * size);
    for &place in places {
        match usize::try_from(place).ok().filter(|&place| place < operand.len()) {
            Some(place) => bytes.extend_from_slice(&operand.data[place * size..(place + 1) * size]),
            None => bytes.resize(bytes.len() + size, 0),
        }
    }
    Ok(Numbers::decode(operand.dtype, &bytes))
}

fn constant(literal: Literal, dtype: DType) -> Result<Numbers, String> {
    match literal {
        Literal::Float(value) if dtype.is_float() => Ok(Numbers::Float(vec![round_to(value, dtype)])),
        Literal::Int(value) if dtype.is_int() => Ok(Numbers::Int(vec![wrap_to(value, dtype)])),
        Literal::Bool(value) if dtype == DType::Bool => Ok(Numbers::Bool(vec![value])),
        _ => Err(format!("{literal:?} as {dtype}")),
    }
}

fn repeat(one: &Numbers, len: usize) -> Numbers {
    match one {
        Numbers::Float(values) => Numbers::Float(values.repeat(len)),
        Numbers::Int(values) => Numbers::Int(values.repeat(len)),
        Numbers::Bool(values) => Numbers::Bool(values.repeat(len)),
    }
}

fn select(condition: &Numbers, a: &Numbers, b: &Numbers) -> Result<Numbers, String> {
    fn pick<T: Copy>(condition: &[bool], a: &[T], b: &[T]) -> Vec<T> {
        let pairs = a.iter().zip(b);
        condition
            .iter()
            .zip(pairs)
            .map(|(&c, (&a, &b))| if c { a } else { b })
            .collect()
    }
    match (condition, a, b) {
        (Numbers::Bool(c), Numbers::Float(a), Numbers::Float(b)) => Ok(Numbers::Float(pick(c, a, b))),
        (Numbers::Bool(c), Numbers::Int(a), Numbers::Int(b)) => Ok(Numbers::Int(pick(c, a, b))),
        (Numbers::Bool(c), Numbers::Bool(a), Numbers::Bool(b)) => Ok(Numbers::Bool(pick(c, a, b))),
        _ => Err(format!("select of {}, {} and {}", condition.kind(), a.kind(), b.kind())),
    }
}
