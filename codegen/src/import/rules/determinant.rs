//! Determinants.

use super::{ONNX, Rules};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::infer::display_shape;
use crate::ir::{DType, Dim, FoldKind, Op, UnaryOp, ValueId};

pub(super) const RULES: Rules = &[(ONNX, "Det", determinant)];

/// The product of the pivots of Gaussian elimination with partial pivoting, one column a step.
fn determinant(cx: &mut Call) -> Result<Vec<ValueId>, Fault> {
    let x = cx.input(0)?;
    let (shape, dtype) = (cx.shape(x), cx.dtype(x));
    let [batch @ .., rows, columns] = shape.as_slice() else {
        return Err(Fault::new(format!("the determinant of {}", display_shape(&shape))));
    };
    cx.equal("rows and columns of a matrix with a determinant", rows, columns)?;
    let wide = if dtype == DType::F64 { dtype } else { DType::F32 };
    let count: Dim = batch.iter().cloned().product();
    let matrices = cx.cast(x, wide)?;
    let matrices = cx.reshape(matrices, vec![count.clone(), rows.clone(), rows.clone()])?;
    let ones = cx.filled(1.0, wide, vec![count.clone()])?;
    let steps = cx.each(vec![rows.clone()], &[], |f| f.index(0))?;
    let operands = [matrices, ones, steps].map(|value| cx.placed(value));
    let body = cx.scan_body(&operands, 2, |cx, params| eliminate(cx, params, &count, rows))?;
    let product = cx.emit_all(Op::Scan { carried: 2 }, &operands, vec![body])?[1];
    let product = cx.reshape(product, batch.to_vec())?;
    Ok(vec![cx.cast(product, dtype)?])
}

/// Clears a column below the diagonal, of matrices `[count, size, size]`, and multiplies the products by the pivots.
fn eliminate(cx: &mut Call, params: &[ValueId], count: &Dim, size: &Dim) -> Result<Vec<ValueId>, Fault> {
    let &[matrices, products, step] = params else {
        return Err(Fault::new("a step takes matrices, products and a column"));
    };
    let each = || [vec![count.clone()], vec![size.clone()]];
    let largest = cx.folded(FoldKind::Max, each(), &[matrices, step], |f| {
        let (row, column) = (f.index(1), f.operand(1));
        let magnitude = f.load(0, &[f.index(0), row, column]).unary(UnaryOp::Abs);
        row.ge(column).select(magnitude, -1.0)
    })?;
    let pivots = cx.folded(FoldKind::Min, each(), &[matrices, step, largest], |f| {
        let (row, column) = (f.index(1), f.operand(1));
        let magnitude = f.load(0, &[f.index(0), row, column]).unary(UnaryOp::Abs);
        let found = row.ge(column).and(magnitude.eq(f.load(2, &[f.index(0)])));
        found.select(row, f.dim(size) - 1i64)
    })?;
    let shape = vec![count.clone(), size.clone(), size.clone()];
    let next = cx.each(shape, &[matrices, step, pivots], |f| {
        let (matrix, row, column, step) = (f.index(0), f.index(1), f.index(2), f.operand(1));
        let from = f.load(2, &[matrix]);
        // The row of the pivot and that of the step change places.
        let other = row.eq(from).select(step, row);
        let source = row.eq(step).select(from, other);
        let (value, pivot) = (f.load(0, &[matrix, source, column]), f.load(0, &[matrix, from, step]));
        let factor = f.load(0, &[matrix, source, step]) / pivot;
        let cleared = value - factor * f.load(0, &[matrix, from, column]);
        row.gt(step).and(pivot.ne(0.0)).select(cleared, value)
    })?;
    let products = cx.each(vec![count.clone()], &[matrices, step, pivots, products], |f| {
        let from = f.operand(2);
        let pivot = f.load(0, &[f.index(0), from, f.operand(1)]);
        f.operand(3) * from.eq(f.operand(1)).select(pivot, -pivot)
    })?;
    Ok(vec![next, products])
}
