//! Products of quantized tensors, as products of integers of 8 bits.

use super::pattern::compact;
use super::rewrite::{Rewrite, Rewriter};
use crate::ir::eval::eval_node;
use crate::ir::op::ReduceKind;
use crate::ir::{BinaryOp, DType, Dim, Expr, Graph, Literal, Node, Op, Scalar, ScalarId, Tensor, ValueId};
use std::rc::Rc;

/// The most elements of a constant right matrix.
const MAX_WEIGHTS: usize = 1 << 26;

/// How many times as many elements as its operands have the value of a constant expression may have, beyond a few.
const MAX_GROWTH: usize = 4;

/// The most operations between a constant and the weights that are computed from it.
const MAX_DEPTH: usize = 4;

/// Makes products of differences to zero points, of 8-bit numbers on the left and of constants on the right, products of
/// unsigned with signed numbers of 8 bits, which there are instructions for:
///
/// - in `i32`, `(a - z) w`, where the columns of `w` span at most 255;
/// - in `f32`, `((a - z) s) (w t)`, where `s` is the same along a row and `t` along a column, `z` is of 8 bits, and no sum of
///   products of integers is beyond 32 bits; it is then multiplied by `s t`, so that nothing is rounded before.
///
/// What is missing, `z` times the sums of the columns of `w`, is subtracted from the result. Signed numbers on the left become
/// unsigned by adding 128 to them and to their zero point. Columns of `w` that do not fit in 8 signed bits are shifted, and
/// the sums of the rows on the left times the shift added to the result.
///
/// Postcondition: no matrix product of these forms is left whose right operand is a matrix of at most [`MAX_WEIGHTS`] elements
/// that is constant, or a few operations away from constants.
pub(super) fn run(graph: &mut Graph) -> bool {
    super::rewrite::sweep(graph, &mut |rewriter, node| match &node.op {
        Op::MatMul { epilogue: None } => matmul(rewriter, node),
        _ => None,
    })
}

fn matmul(rewriter: &mut Rewriter<'_>, node: &Rc<Node>) -> Rewrite {
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
            let weights = Weights::new(&evaluated(rewriter, right, MAX_DEPTH)?)?;
            Some(vec![product(rewriter, node, &left, &difference, &weights)?])
        }
        DType::F32 => {
            let (number, scale) = scaled(&left.expr)?;
            let difference = Difference::of(&left.expr, number)?;
            // What a rewrite that gives up has added would look like a change.
            let scale = RowPart::of(rewriter, &left, scale)?;
            if let Some(zero) = difference.zero {
                RowPart::of(rewriter, &left, zero).filter(|_| is_byte(&left.expr, zero, difference.signed))?;
            }
            let (weights, scales) = scaled_weights(rewriter, right)?;
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

/// What the elements of an elementwise node are, together with the elementwise nodes before it.
struct Elements {
    expr: Expr,
    inputs: Vec<ValueId>,
    shape: Vec<Dim>,
    origin: Vec<String>,
}

impl Elements {
    fn of(rewriter: &Rewriter<'_>, value: ValueId) -> Option<Elements> {
        let node = rewriter.definition(value)?;
        let Op::Elementwise { expr, shape } = &node.op else {
            return None;
        };
        let mut elements = Elements {
            expr: expr.clone(),
            inputs: node.inputs.clone(),
            shape: shape.clone(),
            origin: node.origin.clone(),
        };
        // A number, its zero point and its scale are no more than a few operations apart.
        for _ in 0..3 {
            elements = elements.extended(rewriter);
        }
        Some(elements)
    }

    /// The same with the nodes before those that it has: of operands that are no bytes, those that are as large or casts.
    fn extended(self, rewriter: &Rewriter<'_>) -> Elements {
        let Elements { expr, shape, .. } = &self;
        let mut inputs: Vec<ValueId> = Vec::new();
        let mut result = Expr::empty();
        let place = |inputs: &mut Vec<ValueId>, value: ValueId| {
            inputs.iter().position(|&input| input == value).unwrap_or_else(|| {
                inputs.push(value);
                inputs.len() - 1
            })
        };
        let id = result.append(expr, expr.result(), &mut |result, index, dtype| {
            let value = self.inputs[index];
            let before = rewriter
                .definition(value)
                .filter(|_| dtype.bits() > 8 && !expr.is_positional());
            match before.as_deref() {
                Some(Node {
                    op: Op::Elementwise { expr: inner, .. },
                    inputs: operands,
                    ..
                }) if !inner.is_positional()
                    && (is_cast(inner) || rewriter.same_shape(rewriter.shape(value), shape)) =>
                {
                    result.append(inner, inner.result(), &mut |result, index, dtype| {
                        let index = place(&mut inputs, operands[index]);
                        result.input(index, dtype)
                    })
                }
                _ => {
                    let index = place(&mut inputs, value);
                    result.input(index, dtype)
                }
            }
        });
        Elements {
            expr: result.finish(id),
            inputs,
            ..self
        }
    }
}

/// Whether an expression is the conversion of its operand.
fn is_cast(expr: &Expr) -> bool {
    matches!(expr.nodes[expr.result()].op, Scalar::Cast(x) if matches!(expr.nodes[x].op, Scalar::Input(_)))
}

/// The difference of an 8-bit number to a zero point, or the number, if there is none.
struct Difference {
    number: ScalarId,
    signed: bool,
    zero: Option<ScalarId>,
}

impl Difference {
    fn of(expr: &Expr, id: ScalarId) -> Option<Difference> {
        let byte = |id: ScalarId| match (expr.nodes[id].dtype, &expr.nodes[id].op) {
            (DType::U8 | DType::I8, _) => Some(id),
            (_, &Scalar::Cast(x)) if matches!(expr.nodes[x].dtype, DType::U8 | DType::I8) => Some(x),
            _ => None,
        };
        let dtype = expr.nodes[id].dtype;
        let (number, zero) = match expr.nodes[id].op {
            Scalar::Binary(BinaryOp::Sub, x, zero) if dtype == DType::I32 => (byte(x)?, Some(zero)),
            _ if matches!(dtype, DType::I32 | DType::U8 | DType::I8) => (byte(id)?, None),
            _ => return None,
        };
        Some(Difference {
            number,
            signed: expr.nodes[number].dtype == DType::I8,
            zero,
        })
    }
}

/// An integer and what it is multiplied by in `f32`.
fn scaled(expr: &Expr) -> Option<(ScalarId, ScalarId)> {
    let Scalar::Binary(BinaryOp::Mul, a, b) = expr.nodes[expr.result()].op else {
        return None;
    };
    let integer = |id: ScalarId| match expr.nodes[id].op {
        Scalar::Cast(x) if expr.nodes[id].dtype == DType::F32 => {
            let from = expr.nodes[x].dtype;
            (from.is_int() && from != DType::U64).then_some(x)
        }
        _ => None,
    };
    integer(a)
        .map(|number| (number, b))
        .or_else(|| integer(b).map(|number| (number, a)))
}

/// Whether a value is one of 8 bits, with a sign or without, whatever its type is.
fn is_byte(expr: &Expr, id: ScalarId, signed: bool) -> bool {
    let (dtype, range) = match signed {
        true => (DType::I8, -128..128),
        false => (DType::U8, 0..256),
    };
    match expr.nodes[id].op {
        Scalar::Cast(x) => expr.nodes[x].dtype == dtype,
        Scalar::Const(Literal::Int(value)) => range.contains(&value),
        _ => false,
    }
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
    let shape = &left.shape;
    let zero = match difference.zero {
        Some(zero) => Some(RowPart::of(rewriter, left, zero)?.emit(rewriter)?),
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
        let wide = Expr::cast(DType::U8, DType::I32);
        let wide = rewriter.elementwise(wide, vec![a], shape.clone(), &node.origin)?;
        let rows = Op::Reduce {
            kind: ReduceKind::Sum,
            axes: vec![shape.len() - 1],
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

/// The number of a difference as a value of type `u8`.
fn unsigned(rewriter: &mut Rewriter<'_>, left: &Elements, difference: &Difference) -> Option<ValueId> {
    let mut number = left.expr.with_result(difference.number);
    if difference.signed {
        let mut result = number.result();
        result = number.bits(result, DType::U8);
        let top = number.int(128, DType::U8);
        result = number.apply2(BinaryOp::Xor, result, top);
        number = number.finish(result);
    }
    if let Scalar::Input(index) = number.nodes[number.result()].op
        && rewriter.same_shape(rewriter.shape(left.inputs[index]), &left.shape)
    {
        return Some(left.inputs[index]);
    }
    let (number, inputs) = compact(&number, &left.inputs);
    rewriter.elementwise(number, inputs, left.shape.clone(), &left.origin)
}

/// A part of an expression that is the same along rows.
struct RowPart {
    expr: Expr,
    inputs: Vec<ValueId>,
    /// The last axis has size 1.
    shape: Vec<Dim>,
    origin: Vec<String>,
}

impl RowPart {
    /// `None` if the part differs along rows.
    fn of(rewriter: &Rewriter<'_>, elements: &Elements, id: ScalarId) -> Option<RowPart> {
        let (expr, inputs) = compact(&elements.expr.with_result(id), &elements.inputs);
        let shapes: Vec<&[Dim]> = inputs.iter().map(|&input| rewriter.shape(input)).collect();
        let is_constant = |shape: &&[Dim]| shape.last().is_none_or(|size| size.is(1));
        if expr.is_positional() || !shapes.iter().all(is_constant) {
            return None;
        }
        let (shape, equalities) = crate::ir::infer::broadcast(rewriter.graph, &shapes).ok()?;
        equalities.is_empty().then(|| RowPart {
            expr,
            inputs,
            shape,
            origin: elements.origin.clone(),
        })
    }

    /// The part as a value of its own.
    fn emit(self, rewriter: &mut Rewriter<'_>) -> Option<ValueId> {
        rewriter.elementwise(self.expr, self.inputs, self.shape, &self.origin)
    }
}

/// A constant right matrix `w t`, as `w` and a row of `t`.
fn scaled_weights(rewriter: &Rewriter<'_>, right: ValueId) -> Option<(Tensor, Tensor)> {
    let node = rewriter.definition(right)?;
    let (value, transpose) = match &node.op {
        Op::Transpose { .. } => (node.inputs[0], Some(node.op.clone())),
        _ => (right, None),
    };
    let Elements {
        expr, inputs, shape, ..
    } = Elements::of(rewriter, value)?;
    let (number, scale) = scaled(&expr)?;
    let inputs: Vec<Tensor> = inputs
        .iter()
        .map(|&input| evaluated(rewriter, input, MAX_DEPTH))
        .collect::<Option<_>>()?;
    is_moderate(&shape, &inputs).then_some(())?;
    let part = |id: ScalarId, dtype: DType| {
        let mut expr = expr.with_result(id);
        let result = expr.result();
        let result = expr.convert(result, dtype);
        let op = Op::Elementwise {
            expr: expr.finish(result),
            shape: shape.clone(),
        };
        let tensor = one(&op, &inputs)?;
        match &transpose {
            Some(op) => one(op, &[tensor]),
            None => Some(tensor),
        }
    };
    let (numbers, scales) = (part(number, DType::I64)?, part(scale, DType::F32)?);
    let &[_, n] = scales.shape.as_slice() else {
        return None;
    };
    let values = scales.to_vec::<f32>()?;
    let first = values.get(..n)?;
    let same = |row: &[f32]| row.iter().zip(first).all(|(a, b)| a.to_bits() == b.to_bits());
    values
        .chunks_exact(n)
        .all(same)
        .then(|| (numbers, Tensor::new(vec![n], first)))
}

/// The value of what is a few operations away from constants.
fn evaluated(rewriter: &Rewriter<'_>, value: ValueId, depth: usize) -> Option<Tensor> {
    let node = rewriter.definition(value)?;
    match &node.op {
        Op::Constant(tensor) => Some(tensor.clone()),
        Op::Reshape { .. } | Op::Transpose { .. } | Op::Broadcast { .. } | Op::Elementwise { .. } => {
            let depth = depth.checked_sub(1)?;
            let inputs = node.inputs.iter().map(|&input| evaluated(rewriter, input, depth));
            let inputs = inputs.collect::<Option<Vec<Tensor>>>()?;
            is_moderate(rewriter.shape(value), &inputs).then(|| one(&node.op, &inputs))?
        }
        _ => None,
    }
}

/// Whether a value is not much larger than what it is computed from.
fn is_moderate(shape: &[Dim], inputs: &[Tensor]) -> bool {
    let from: usize = inputs.iter().map(Tensor::len).sum();
    let elements = shape.iter().cloned().product::<Dim>().as_usize();
    elements.is_some_and(|elements| elements <= (from * MAX_GROWTH).clamp(4096, MAX_WEIGHTS))
}

/// The result of an operation with one.
fn one(op: &Op, inputs: &[Tensor]) -> Option<Tensor> {
    eval_node(op, inputs, &|_| None).ok()?.into_iter().next()
}
