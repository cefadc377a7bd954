//! Matrix products of quantized numbers.

use super::MAX_WEIGHTS;
use super::constants::{evaluated, scaled_weights};
use super::elements::{Difference, Elements, Part, is_byte, scaled, unsigned};
use crate::ir::op::ReduceKind;
use crate::ir::{BinaryOp, DType, Expr, Node, Op, Tensor, ValueId};
use crate::passes::rewrite::{Rewrite, Rewriter};
use std::rc::Rc;

pub(super) fn matmul(rewriter: &mut Rewriter<'_>, node: &Rc<Node>) -> Rewrite {
    let (left, right) = (node.inputs[0], node.inputs[1]);
    let dtype = rewriter.ty(left).dtype;
    let elements = rewriter.ty(right).elements().as_usize()?;
    if rewriter.ty(right).rank() != 2 || elements == 0 || elements > MAX_WEIGHTS {
        return None;
    }
    let left = Elements::of(rewriter, left)?;
    match dtype {
        DType::I32 => {
            let difference = Difference::of(&left.expr, left.expr.result())?;
            let weights = Weights::new(&evaluated(rewriter, right)?)?;
            Some(vec![product(rewriter, node, &left, &difference, &weights)?])
        }
        DType::F32 => {
            let (number, scale) = scaled(&left.expr)?;
            let difference = Difference::of(&left.expr, number)?;
            // What a rewrite that gives up has added would look like a change.
            let scale = Part::of(rewriter, &left, scale, 1)?;
            if let Some(zero) = difference.zero {
                Part::of(rewriter, &left, zero, 1).filter(|_| is_byte(&left.expr, zero, difference.signed))?;
            }
            let (weights, scales) = scaled_weights(rewriter, right)?;
            let scales = same_columns(&scales)?;
            let weights = Weights::new(&weights)?;
            // The difference of two bytes of one kind is at most 255.
            if weights.magnitude > i64::from(i32::MAX) / 255 {
                return None;
            }
            let scale = scale.emit(rewriter)?;
            let scales = rewriter.emit_like(node, Op::Constant(scales), Vec::new())?;
            let product = product(rewriter, node, &left, &difference, &weights)?;
            let mut expr = Expr::empty();
            let sum = expr.input(0, DType::I32);
            let sum = expr.convert(sum, DType::F32);
            let [scale_id, scales_id] = [1, 2].map(|index| expr.input(index, DType::F32));
            let factor = expr.apply2(BinaryOp::Mul, scale_id, scales_id);
            let result = expr.apply2(BinaryOp::Mul, sum, factor);
            let shape = rewriter.shape(product).to_vec();
            let inputs = vec![product, scale, scales];
            Some(vec![rewriter.elementwise(
                expr.finish(result),
                inputs,
                shape,
                &node.origin,
            )?])
        }
        _ => None,
    }
}

/// The row of which all rows of a matrix are, to the bit.
fn same_columns(scales: &Tensor) -> Option<Tensor> {
    let &[_, n] = scales.shape.as_slice() else {
        return None;
    };
    let values = scales.to_vec::<f32>()?;
    let first = values.get(..n)?;
    let same = |row: &[f32]| row.iter().zip(first).all(|(a, b)| a.to_bits() == b.to_bits());
    values.chunks_exact(n).all(same).then(|| Tensor::new(vec![n], first))
}

/// A matrix of signed numbers of 8 bits, and what was subtracted from its columns.
struct Weights {
    numbers: Tensor,
    /// The sums of the columns.
    sums: Vec<i32>,
    /// What is missing in the columns; nothing if they all fit.
    shifts: Option<Vec<i32>>,
    /// The largest sum of the magnitudes of a column, with what is missing.
    magnitude: i64,
}

impl Weights {
    fn new(tensor: &Tensor) -> Option<Weights> {
        let &[_, n] = tensor.shape.as_slice() else {
            return None;
        };
        let values = tensor.to_ints()?;
        let mut ranges = vec![(i64::MAX, i64::MIN); n];
        for row in values.chunks_exact(n) {
            for ((low, high), &value) in ranges.iter_mut().zip(row) {
                (*low, *high) = ((*low).min(value), (*high).max(value));
            }
        }
        let fits = |&(low, high): &(i64, i64)| low >= -128 && high <= 127;
        let shifts = (!ranges.iter().all(fits)).then(|| {
            let shift = |range: &(i64, i64)| if fits(range) { 0 } else { range.1.saturating_sub(127) };
            ranges.iter().map(shift).collect::<Vec<i64>>()
        });
        let shift = |j: usize| shifts.as_ref().map_or(0, |shifts| shifts[j]);
        let mut sums = vec![0i32; n];
        let mut magnitudes = vec![0i64; n];
        let mut numbers = Vec::with_capacity(values.len());
        for row in values.chunks_exact(n) {
            for (j, (sum, &value)) in sums.iter_mut().zip(row).enumerate() {
                let number = i8::try_from(value.checked_sub(shift(j))?).ok()?;
                *sum = sum.wrapping_add(number.into());
                magnitudes[j] = magnitudes[j].saturating_add(value.saturating_abs());
                numbers.push(number);
            }
        }
        let narrow = |shifts: Vec<i64>| shifts.into_iter().map(|shift| i32::try_from(shift).ok()).collect();
        let shifts: Option<Option<Vec<i32>>> = shifts.map(narrow);
        Some(Weights {
            numbers: Tensor::new(tensor.shape.clone(), &numbers),
            sums,
            shifts: match shifts {
                Some(shifts) => Some(shifts?),
                None => None,
            },
            magnitude: magnitudes.into_iter().max().unwrap_or(0),
        })
    }
}

/// The product of a difference that is part of an elementwise node and weights, in `i32`.
fn product(
    rewriter: &mut Rewriter<'_>,
    node: &Rc<Node>,
    left: &Elements,
    difference: &Difference,
    weights: &Weights,
) -> Option<ValueId> {
    let zero = match difference.zero {
        Some(zero) => Some(Part::of(rewriter, left, zero, 1)?.emit(rewriter)?),
        None => None,
    };
    let a = unsigned(rewriter, left, difference)?;
    let b = rewriter.emit_like(node, Op::Constant(weights.numbers.clone()), Vec::new())?;
    let sums = rewriter.emit_like(node, Op::MatMul { epilogue: None }, vec![a, b])?;

    let mut inputs = vec![sums];
    let mut expr = Expr::empty();
    let mut result = expr.input(0, DType::I32);
    // The zero point of the unsigned numbers.
    let mut zero_id = zero.map(|zero| {
        inputs.push(zero);
        expr.input(1, DType::I32)
    });
    if difference.signed {
        let offset = expr.int(128, DType::I32);
        zero_id = Some(match zero_id {
            Some(zero) => expr.apply2(BinaryOp::Add, zero, offset),
            None => offset,
        });
    }
    if let Some(zero) = zero_id {
        let columns = Tensor::new(vec![weights.sums.len()], &weights.sums);
        inputs.push(rewriter.emit_like(node, Op::Constant(columns), Vec::new())?);
        let columns = expr.input(inputs.len() - 1, DType::I32);
        let missing = expr.apply2(BinaryOp::Mul, zero, columns);
        result = expr.apply2(BinaryOp::Sub, result, missing);
    }
    if let Some(shifts) = &weights.shifts {
        let shape = rewriter.shape(a).to_vec();
        let wide = Expr::cast(DType::U8, DType::I32);
        let wide = rewriter.elementwise(wide, vec![a], shape, &node.origin)?;
        let rows = Op::Reduce {
            kind: ReduceKind::Sum,
            axes: vec![rewriter.shape(a).len() - 1],
            keep_dims: true,
        };
        inputs.push(rewriter.emit_like(node, rows, vec![wide])?);
        let mut rows = expr.input(inputs.len() - 1, DType::I32);
        if let Some(zero) = zero_id {
            let depth = expr.int(weights.numbers.shape[0] as i128, DType::I32);
            let missing = expr.apply2(BinaryOp::Mul, zero, depth);
            rows = expr.apply2(BinaryOp::Sub, rows, missing);
        }
        let shifts = Tensor::new(vec![shifts.len()], shifts);
        inputs.push(rewriter.emit_like(node, Op::Constant(shifts), Vec::new())?);
        let shifts = expr.input(inputs.len() - 1, DType::I32);
        let more = expr.apply2(BinaryOp::Mul, shifts, rows);
        result = expr.apply2(BinaryOp::Add, result, more);
    }
    if inputs.len() == 1 {
        return Some(sums);
    }
    let shape = rewriter.shape(sums).to_vec();
    rewriter.elementwise(expr.finish(result), inputs, shape, &node.origin)
}
