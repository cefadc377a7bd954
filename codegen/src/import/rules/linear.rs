//! Matrix products.

use super::{MICROSOFT, ONNX, Rules, activation};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::infer::display_shape;
use crate::ir::{BinaryOp, Op, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[
    (ONNX, "MatMul", |cx| {
        let (a, b) = (cx.input(0)?, cx.input(1)?);
        Ok(vec![matmul(cx, a, b)?])
    }),
    (ONNX, "Gemm", gemm),
    (MICROSOFT, "FusedMatMul", fused_matmul),
    (MICROSOFT, "TransposeMatMul", fused_matmul),
    (MICROSOFT, "FusedGemm", |cx| {
        let mut parameters = Vec::new();
        for name in ["activation_alpha", "activation_beta", "activation_gamma"] {
            parameters.extend(cx.optional_float(name)?);
        }
        let product = gemm(cx)?[0];
        Ok(vec![activation::fused(cx, product, &parameters)?])
    }),
];

/// The product by numpy's rule: a vector on the left is a row, on the right a column.
pub(super) fn matmul(cx: &mut Call, a: ValueId, b: ValueId) -> Result<ValueId, Fault> {
    let (a_rank, b_rank) = (cx.rank(a), cx.rank(b));
    if a_rank == 0 || b_rank == 0 {
        return Err(Fault::new("a matrix product with a scalar"));
    }
    if cx.dtype(a) != cx.dtype(b) {
        return Err(Fault::new(format!(
            "a matrix product of {} and {}",
            cx.dtype(a),
            cx.dtype(b)
        )));
    }
    let left = if a_rank == 1 { cx.unsqueeze(a, 0)? } else { a };
    let right = if b_rank == 1 { cx.unsqueeze(b, 1)? } else { b };
    let (left_shape, right_shape) = (cx.shape(left), cx.shape(right));
    let (a_lead, a_matrix) = left_shape.split_at(left_shape.len() - 2);
    let (b_lead, b_matrix) = right_shape.split_at(right_shape.len() - 2);
    let what = format!(
        "inner sizes of the matrix product of {} and {}",
        display_shape(&cx.shape(a)),
        display_shape(&cx.shape(b))
    );
    cx.equal(&what, &a_matrix[1], &b_matrix[0])?;
    cx.broadcast_shapes(&[a_lead, b_lead])?;
    let product = cx.emit(Op::MatMul { epilogue: None }, &[left, right])?;
    let mut shape = cx.shape(product);
    if b_rank == 1 {
        shape.pop();
    }
    if a_rank == 1 {
        shape.remove(shape.len() - if b_rank == 1 { 1 } else { 2 });
    }
    cx.reshape(product, shape)
}

/// The operand with its last two axes exchanged.
pub(super) fn transposed(cx: &mut Call, x: ValueId) -> Result<ValueId, Fault> {
    let rank = cx.rank(x);
    if rank < 2 {
        return Ok(x);
    }
    let mut permutation: Vec<_> = (0..rank).collect();
    permutation.swap(rank - 2, rank - 1);
    cx.transpose(x, permutation)
}

fn gemm(cx: &mut Call) -> Results {
    // Version 7 made broadcasting the rule.
    cx.ignore(&["broadcast"]);
    let (mut a, mut b) = (cx.input(0)?, cx.input(1)?);
    for operand in [a, b] {
        if cx.rank(operand) != 2 {
            return Err(Fault::new(format!(
                "a matrix of shape {}",
                display_shape(&cx.shape(operand))
            )));
        }
    }
    if cx.flag("transA", false)? {
        a = transposed(cx, a)?;
    }
    if cx.flag("transB", false)? {
        b = transposed(cx, b)?;
    }
    let (alpha, beta) = (cx.float("alpha", 1.0)?, cx.float("beta", 1.0)?);
    let product = matmul(cx, a, b)?;
    let mut result = cx.scaled(product, alpha.into())?;
    if let Some(c) = cx.optional(2)
        && beta != 0.0
    {
        let c = cx.scaled(c, beta.into())?;
        if cx.rank(c) > 2 {
            return Err(Fault::new(format!(
                "a summand of shape {}",
                display_shape(&cx.shape(c))
            )));
        }
        result = cx.binary(BinaryOp::Add, result, c)?;
    }
    Ok(vec![result])
}

/// The operand with its first axis after those of the batch.
fn batch_first(cx: &mut Call, x: ValueId) -> Result<ValueId, Fault> {
    let rank = cx.rank(x);
    let mut permutation: Vec<_> = (0..rank).collect();
    permutation[..rank.saturating_sub(1)].rotate_left(usize::from(rank > 1));
    cx.transpose(x, permutation)
}

fn fused_matmul(cx: &mut Call) -> Results {
    let (mut a, mut b) = (cx.input(0)?, cx.input(1)?);
    if cx.flag("transBatchA", false)? {
        a = batch_first(cx, a)?;
    }
    if cx.flag("transBatchB", false)? {
        b = batch_first(cx, b)?;
    }
    if cx.flag("transA", false)? {
        a = transposed(cx, a)?;
    }
    if cx.flag("transB", false)? {
        b = transposed(cx, b)?;
    }
    let alpha = cx.float("alpha", 1.0)?;
    let product = matmul(cx, a, b)?;
    Ok(vec![cx.scaled(product, alpha.into())?])
}
