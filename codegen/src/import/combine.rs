//! Common combinations of primitives.

use super::builder::{Builder, Fault};
use crate::ir::infer::{self, display_shape};
use crate::ir::{BinaryOp, DType, Dim, Expr, Op, ScalarId, Tensor, TensorType, ValueId};

impl Builder {
    /// The shape that operands broadcast to.
    pub(super) fn broadcast_shape(&mut self, inputs: &[ValueId]) -> Result<Vec<Dim>, Fault> {
        let shapes: Vec<_> = inputs.iter().map(|&input| self.shape(input)).collect();
        let shapes: Vec<_> = shapes.iter().map(Vec::as_slice).collect();
        self.broadcast_shapes(&shapes)
    }

    /// The shape that shapes broadcast to.
    pub(super) fn broadcast_shapes(&mut self, shapes: &[&[Dim]]) -> Result<Vec<Dim>, Fault> {
        let (shape, equalities) = infer::broadcast(&self.graph, shapes)?;
        for (a, b) in equalities {
            self.equal("sizes of one broadcast axis", &a, &b)?;
        }
        Ok(shape)
    }

    /// Emits an expression over operands that broadcast.
    pub(super) fn elementwise(&mut self, expr: Expr, inputs: &[ValueId]) -> Result<ValueId, Fault> {
        let shape = self.broadcast_shape(inputs)?;
        self.emit(Op::Elementwise { expr, shape }, inputs)
    }

    /// Emits a binary operation on operands of one type.
    pub(super) fn binary(&mut self, op: BinaryOp, a: ValueId, b: ValueId) -> Result<ValueId, Fault> {
        let dtype = self.dtype(a);
        if dtype != self.dtype(b) {
            return Err(Fault::new(format!("the operands are {dtype} and {}", self.dtype(b))));
        }
        self.elementwise(Expr::binary(op, dtype), &[a, b])
    }

    /// Emits an expression over operands that broadcast, given by what it does with their elements.
    pub(super) fn map(
        &mut self,
        inputs: &[ValueId],
        body: impl FnOnce(&mut Expr, &[ScalarId]) -> ScalarId,
    ) -> Result<ValueId, Fault> {
        let shape = self.broadcast_shape(inputs)?;
        self.map_to(shape, inputs, body)
    }

    /// Emits an expression for every element of a shape, to which the operands broadcast.
    pub(super) fn map_to(
        &mut self,
        shape: Vec<Dim>,
        inputs: &[ValueId],
        body: impl FnOnce(&mut Expr, &[ScalarId]) -> ScalarId,
    ) -> Result<ValueId, Fault> {
        let mut expr = Expr::empty();
        let elements: Vec<_> = inputs
            .iter()
            .enumerate()
            .map(|(number, &input)| expr.input(number, self.dtype(input)))
            .collect();
        let result = body(&mut expr, &elements);
        let expr = expr.finish(result);
        self.emit(Op::Elementwise { expr, shape }, inputs)
    }

    /// The operand times a number.
    pub(super) fn scaled(&mut self, x: ValueId, factor: f64) -> Result<ValueId, Fault> {
        if factor == 1.0 {
            return Ok(x);
        }
        let dtype = self.dtype(x);
        self.map(&[x], |expr, of| {
            let factor = expr.float(factor, dtype);
            expr.apply2(BinaryOp::Mul, of[0], factor)
        })
    }

    /// A tensor with one value everywhere.
    pub(super) fn filled(&mut self, value: f64, dtype: DType, shape: Vec<Dim>) -> Result<ValueId, Fault> {
        let value = self.number(value, dtype)?;
        self.emit(Op::Broadcast { shape }, &[value])
    }

    /// Converts the elements.
    pub(super) fn cast(&mut self, x: ValueId, to: DType) -> Result<ValueId, Fault> {
        let from = self.dtype(x);
        if from == to {
            Ok(x)
        } else {
            self.elementwise(Expr::cast(from, to), &[x])
        }
    }

    /// The same elements in another shape, whose number of elements must be equal at run time if it cannot be told now.
    pub(super) fn reshape(&mut self, x: ValueId, shape: Vec<Dim>) -> Result<ValueId, Fault> {
        let (from, to): (Dim, Dim) = (self.ty(x).elements(), shape.iter().cloned().product());
        let (before, after) = (display_shape(&self.ty(x).shape), display_shape(&shape));
        self.equal(
            &format!("a tensor of shape {before} cannot have shape {after}: number of elements"),
            &from,
            &to,
        )?;
        self.emit(Op::Reshape { shape }, &[x])
    }

    /// Axis `i` of the result is axis `permutation[i]`.
    pub(super) fn transpose(&mut self, x: ValueId, permutation: Vec<usize>) -> Result<ValueId, Fault> {
        self.emit(Op::Transpose { permutation }, &[x])
    }

    /// `size` elements of one axis from `start`.
    pub(super) fn narrow(&mut self, x: ValueId, axis: usize, start: Dim, size: Dim) -> Result<ValueId, Fault> {
        let mut shape = self.shape(x);
        let mut starts = vec![Dim::from(0i64); shape.len()];
        let steps = vec![1; shape.len()];
        if axis >= shape.len() {
            return Err(Fault::new(format!("axis {axis} of {}", display_shape(&shape))));
        }
        starts[axis] = start;
        shape[axis] = size;
        self.emit(Op::Slice { starts, steps, shape }, &[x])
    }

    /// The slice at one index of an axis, without the axis.
    pub(super) fn select(&mut self, x: ValueId, axis: usize, index: Dim) -> Result<ValueId, Fault> {
        let part = self.narrow(x, axis, index, Dim::from(1i64))?;
        let mut shape = self.shape(part);
        shape.remove(axis);
        self.emit(Op::Reshape { shape }, &[part])
    }

    /// A further axis of size 1.
    pub(super) fn unsqueeze(&mut self, x: ValueId, axis: usize) -> Result<ValueId, Fault> {
        let mut shape = self.shape(x);
        shape.insert(axis.min(shape.len()), Dim::from(1i64));
        self.emit(Op::Reshape { shape }, &[x])
    }

    /// A value after some rounds of a computation that keeps its type. The computation gets the number of the round, a
    /// rank-0 `i64`, and the value; it may say when to stop earlier, by a rank-0 `bool` that no longer holds.
    pub(super) fn repeat(
        &mut self,
        rounds: usize,
        start: ValueId,
        body: impl FnOnce(&mut Builder, ValueId, ValueId) -> Result<(ValueId, Option<ValueId>), Fault>,
    ) -> Result<ValueId, Fault> {
        let (count, go_on) = (
            self.constant(Tensor::scalar(rounds as i64)),
            self.constant(Tensor::scalar(true)),
        );
        let start = self.placed(start);
        let ty = self.ty(start).clone();
        self.open();
        let round = self.parameter(TensorType::scalar(DType::I64), None);
        let condition = self.parameter(TensorType::scalar(DType::Bool), None);
        let carried = self.parameter(ty, None);
        let (next, go_on_then) = match body(self, round, carried) {
            Ok(results) => results,
            Err(fault) => {
                self.abandon();
                return Err(fault);
            }
        };
        let results = vec![go_on_then.unwrap_or(condition), next];
        let block = self.close(vec![round, condition, carried], results);
        let op = Op::Loop {
            carried: 1,
            trips: Dim::from(rounds),
        };
        let operands = [self.placed(count), self.placed(go_on), start];
        Ok(self.emit_all(op, &operands, vec![block])?.swap_remove(0))
    }

    /// The operands one after another along an axis. The other sizes must agree.
    pub(super) fn concat(&mut self, inputs: &[ValueId], axis: usize) -> Result<ValueId, Fault> {
        if let Some((&first, rest)) = inputs.split_first() {
            let expected = self.shape(first);
            for &other in rest {
                let shape = self.shape(other);
                let what = format!(
                    "shapes {} and {} in one concat",
                    display_shape(&expected),
                    display_shape(&shape)
                );
                for (_, (a, b)) in expected.iter().zip(&shape).enumerate().filter(|(i, _)| *i != axis) {
                    self.equal(&what, a, b)?;
                }
            }
        }
        self.emit(Op::Concat { axis }, inputs)
    }
}
