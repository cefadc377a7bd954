//! Elementwise expressions over `f32` and the integers of quantized numbers.
//!
//! The evaluator means the same; it computes in `f64` and integers of 128 bits, which takes several times as long.

use crate::ir::eval::{bytes, float_function};
use crate::ir::expr::ScalarNode;
use crate::ir::{BinaryOp, DType, Dim, Expr, Literal, Op, Scalar, Tensor, UnaryOp};

/// How many elements are computed at a time, so that they stay in the first level cache.
const CHUNK: usize = 1024;

/// The elements of an expression; `None` if it has something that only the evaluator knows.
pub(super) fn elementwise(expr: &Expr, shape: &[usize], inputs: &[Tensor]) -> Option<Tensor> {
    let bytes = bytes(expr.dtype(), shape).ok()?;
    if !expr.nodes.iter().all(|node| is_known(node, expr)) {
        return None;
    }
    let inputs: Vec<Operand> = inputs
        .iter()
        .map(|input| Operand::new(input, shape))
        .collect::<Option<_>>()?;
    let total: usize = shape.iter().product();
    let mut out = Vec::with_capacity(bytes);
    let mut values: Vec<Vec<f32>> = vec![Vec::new(); expr.nodes.len()];
    for start in (0..total).step_by(CHUNK) {
        let len = CHUNK.min(total - start);
        for (id, node) in expr.nodes.iter().enumerate() {
            let (before, rest) = values.split_at_mut(id);
            chunk(node, expr, before, &inputs, start..start + len, &mut rest[0]);
        }
        encode(values.last()?, expr.dtype(), &mut out)?;
    }
    Some(Tensor::from_bytes(expr.dtype(), shape.to_vec(), out.into()))
}

/// Types whose numbers, those of `i32` as far as they occur below, `f32` has all of.
fn is_type(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::U8 | DType::I8 | DType::I32)
}

/// Whether a node has the same value in `f32`.
///
/// An `i32` is known only as a byte, a constant of 16 bits, or the difference of such.
fn is_known(node: &ScalarNode, expr: &Expr) -> bool {
    if !is_type(node.dtype) {
        return false;
    }
    let is_float = node.dtype == DType::F32;
    match &node.op {
        Scalar::Input(_) => node.dtype != DType::I32,
        Scalar::Const(Literal::Float(_)) => is_float,
        Scalar::Const(Literal::Int(value)) => value.unsigned_abs() < 1 << 16,
        Scalar::Unary(op, _) => is_float && float_function(*op).is_some(),
        Scalar::Binary(op, ..) => match op {
            BinaryOp::Add | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Max | BinaryOp::Min => is_float,
            BinaryOp::Sub => is_float || node.dtype == DType::I32,
            _ => false,
        },
        &Scalar::Cast(x) => matches!(
            (expr.nodes[x].dtype, node.dtype),
            (DType::F32, DType::U8 | DType::I8)
                | (DType::U8 | DType::I8 | DType::I32, DType::F32)
                | (DType::U8 | DType::I8, DType::I32)
        ),
        _ => false,
    }
}

/// An operand as it broadcasts.
enum Operand {
    One(f32),
    All(Vec<f32>),
}

impl Operand {
    fn new(tensor: &Tensor, shape: &[usize]) -> Option<Operand> {
        let tensor = match tensor.shape == shape || tensor.len() == 1 {
            true => tensor.clone(),
            false => {
                let shape = shape.iter().map(|&size| Dim::from(size)).collect();
                let op = Op::Broadcast { shape };
                let tensor = std::slice::from_ref(tensor);
                crate::ir::eval::eval_node(&op, tensor, &|_| None).ok()?.pop()?
            }
        };
        let values: Vec<f32> = match tensor.dtype {
            DType::F32 => tensor.to_vec::<f32>()?,
            DType::U8 => tensor.data.iter().map(|&byte| byte.into()).collect(),
            DType::I8 => tensor.data.iter().map(|&byte| (byte as i8).into()).collect(),
            _ => return None,
        };
        Some(match values[..] {
            [one] => Operand::One(one),
            _ => Operand::All(values),
        })
    }
}

/// A part of the values of a node.
fn chunk(
    node: &ScalarNode,
    expr: &Expr,
    before: &[Vec<f32>],
    inputs: &[Operand],
    range: std::ops::Range<usize>,
    out: &mut Vec<f32>,
) {
    let len = range.len();
    out.clear();
    match node.op {
        Scalar::Input(index) => match &inputs[index] {
            Operand::One(value) => out.resize(len, *value),
            Operand::All(values) => out.extend_from_slice(&values[range]),
        },
        Scalar::Const(Literal::Float(value)) => out.resize(len, value as f32),
        Scalar::Const(Literal::Int(value)) => out.resize(len, value as f32),
        Scalar::Unary(op, x) => {
            let x = before[x].iter();
            match op {
                UnaryOp::Neg => out.extend(x.map(|x| -x)),
                UnaryOp::Abs => out.extend(x.map(|x| x.abs())),
                UnaryOp::Round => out.extend(x.map(|x| x.round_ties_even())),
                UnaryOp::Floor => out.extend(x.map(|x| x.floor())),
                UnaryOp::Sqrt => out.extend(x.map(|x| x.sqrt())),
                // In `f64` and rounded once, as the evaluator does.
                op => match float_function(op) {
                    Some(function) => out.extend(x.map(|&x| function(x.into()) as f32)),
                    None => out.resize(len, f32::NAN),
                },
            }
        }
        Scalar::Binary(op, a, b) => {
            let pairs = before[a].iter().zip(&before[b]);
            match op {
                BinaryOp::Add => out.extend(pairs.map(|(a, b)| a + b)),
                BinaryOp::Sub => out.extend(pairs.map(|(a, b)| a - b)),
                BinaryOp::Mul => out.extend(pairs.map(|(a, b)| a * b)),
                BinaryOp::Div => out.extend(pairs.map(|(a, b)| a / b)),
                // Not-a-number if either is.
                BinaryOp::Max => out.extend(pairs.map(|(&a, &b)| if a > b || a.is_nan() { a } else { b })),
                _ => out.extend(pairs.map(|(&a, &b)| if a < b || a.is_nan() { a } else { b })),
            }
        }
        Scalar::Cast(x) => {
            let values = before[x].iter();
            match (expr.nodes[x].dtype, node.dtype) {
                (DType::F32, DType::U8) => out.extend(values.map(|&x| f32::from(x as u8))),
                (DType::F32, DType::I8) => out.extend(values.map(|&x| f32::from(x as i8))),
                _ => out.extend(values),
            }
        }
        _ => {}
    }
}

fn encode(values: &[f32], dtype: DType, out: &mut Vec<u8>) -> Option<()> {
    match dtype {
        DType::F32 => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        DType::U8 => out.extend(values.iter().map(|&value| value as u8)),
        DType::I8 => out.extend(values.iter().map(|&value| value as i8 as u8)),
        _ => return None,
    }
    Some(())
}
