//! Sequences in tensors: what is read from them and what is made of them.

use super::builder::{Builder, Fault};
use super::item::{Extent, RowType, Sequence, Stored};
use crate::ir::{BinaryOp, DType, Dim, Expr, FoldKind, Interval, Op, ScalarId, TensorType, ValueId};

/// The largest number of elements of a sequence that is a list.
pub(super) const MAX_LISTED: usize = 256;

/// The scalar arithmetic of this file, in `i64`.
trait Integers {
    fn add(&mut self, a: ScalarId, b: ScalarId) -> ScalarId;
    fn mul(&mut self, a: ScalarId, b: i64) -> ScalarId;
    fn less(&mut self, a: ScalarId, b: ScalarId) -> ScalarId;
    fn one_if(&mut self, condition: ScalarId) -> ScalarId;
    fn load(&mut self, operand: usize, dtype: DType, row: ScalarId, column: ScalarId, width: i64) -> ScalarId;
}

impl Integers for Expr {
    fn add(&mut self, a: ScalarId, b: ScalarId) -> ScalarId {
        self.apply2(BinaryOp::Add, a, b)
    }

    fn mul(&mut self, a: ScalarId, b: i64) -> ScalarId {
        let b = self.int(b.into(), DType::I64);
        self.apply2(BinaryOp::Mul, a, b)
    }

    fn less(&mut self, a: ScalarId, b: ScalarId) -> ScalarId {
        self.apply2(BinaryOp::Lt, a, b)
    }

    fn one_if(&mut self, condition: ScalarId) -> ScalarId {
        self.convert(condition, DType::I64)
    }

    /// The element of a row; zero behind the end of the row.
    fn load(&mut self, operand: usize, dtype: DType, row: ScalarId, column: ScalarId, width: i64) -> ScalarId {
        let end = self.int(width.into(), DType::I64);
        let inside = self.less(column, end);
        let start = self.mul(row, width);
        let place = self.add(start, column);
        let nowhere = self.int(-1, DType::I64);
        let place = self.select(inside, place, nowhere);
        self.at(operand, place, dtype)
    }
}

fn rank_zero(expr: Expr) -> Op {
    Op::Elementwise {
        expr,
        shape: Vec::new(),
    }
}

/// Rows.
impl Builder {
    /// A tensor as the one row of a sequence.
    pub(super) fn row(&mut self, value: ValueId, ty: &RowType) -> Result<Stored, Fault> {
        let found = self.ty(value).clone();
        self.fits(&found, ty)?;
        let one = Dim::from(1i64);
        let width = Dim::from(ty.width);
        let elements = if found.elements() == width {
            self.reshape(value, vec![one.clone(), width])?
        } else {
            let mut expr = Expr::empty();
            let column = expr.index(1);
            expr.at(0, column, ty.dtype);
            let shape = vec![one.clone(), width];
            self.emit(Op::Elementwise { expr, shape }, &[value])?
        };
        let mut sizes = found.shape;
        sizes.resize(ty.columns() as usize, Dim::from(-1i64));
        let shapes = self.dims(vec![1, sizes.len()], sizes);
        let length = self.number(1.0, DType::I64)?;
        let ty = RowType {
            capacity: 1,
            ..ty.clone()
        };
        Ok(Stored {
            ty,
            elements,
            shapes,
            length,
        })
    }

    /// Ends the run with an error unless rows of a type have room for a tensor.
    fn fits(&mut self, found: &TensorType, ty: &RowType) -> Result<(), Fault> {
        let rank_fits = found.rank() == ty.shape.len() || ty.mixed && found.rank() < ty.shape.len();
        if found.dtype != ty.dtype || !rank_fits {
            return Err(Fault::new(format!("{found} among tensors {ty}")));
        }
        for (dim, extent) in found.shape.iter().zip(&ty.shape) {
            match extent {
                Extent::Exactly(size) => self.equal("sizes of the elements of a sequence", dim, size)?,
                Extent::Between(low, high) => self.within(dim, *low, *high)?,
            }
        }
        let count = found.elements();
        self.within(&count, 0, ty.width)
    }

    fn within(&mut self, dim: &Dim, low: i64, high: i64) -> Result<(), Fault> {
        let range = dim.range(&self.graph.bounds);
        if low <= range.low && range.high <= high {
            return Ok(());
        }
        let mut expr = Expr::empty();
        let (value, least, most) = (
            expr.dim(dim),
            expr.int(low.into(), DType::I64),
            expr.int(high.into(), DType::I64),
        );
        let above = expr.apply2(BinaryOp::Ge, value, least);
        let below = expr.apply2(BinaryOp::Le, value, most);
        expr.apply2(BinaryOp::And, above, below);
        let holds = self.emit(rank_zero(expr), &[])?;
        self.assert(holds, format!("the size {dim} is {low} to {high}"))
    }

    /// A sequence in rows of a type. What does not fit ends the run with an error.
    pub(super) fn stored(&mut self, sequence: &Sequence, ty: &RowType) -> Result<Stored, Fault> {
        let (dtype, elements) = match sequence {
            Sequence::Stored(stored) => return self.in_rows(stored, ty),
            Sequence::Listed { dtype, elements } => (*dtype, elements),
        };
        if dtype != ty.dtype {
            return Err(Fault::new(format!("a sequence of {dtype} among tensors {ty}")));
        }
        let length = self.number(elements.len() as f64, DType::I64)?;
        if elements.is_empty() {
            let zero = self.number(0.0, dtype)?;
            let none = self.number(-1.0, DType::I64)?;
            let shape = |columns: i64| vec![Dim::from(ty.capacity), Dim::from(columns)];
            let elements = self.emit(Op::Broadcast { shape: shape(ty.width) }, &[zero])?;
            let shapes = self.emit(
                Op::Broadcast {
                    shape: shape(ty.columns()),
                },
                &[none],
            )?;
            return Ok(Stored {
                ty: ty.clone(),
                elements,
                shapes,
                length,
            });
        }
        let mut rows = Vec::new();
        for &element in elements {
            rows.push(self.row(element, ty)?);
        }
        let parts = |part: fn(&Stored) -> ValueId| rows.iter().map(part).collect::<Vec<_>>();
        let (values, sizes) = (parts(|row| row.elements), parts(|row| row.shapes));
        let elements_of_rows = self.concat(&values, 0)?;
        let shapes = self.concat(&sizes, 0)?;
        let stored = Stored {
            ty: RowType {
                capacity: elements.len() as i64,
                ..ty.clone()
            },
            elements: elements_of_rows,
            shapes,
            length,
        };
        self.in_rows(&stored, ty)
    }

    /// Stored tensors in rows of another type.
    pub(super) fn in_rows(&mut self, stored: &Stored, ty: &RowType) -> Result<Stored, Fault> {
        let from = &stored.ty;
        if from == ty {
            return Ok(stored.clone());
        }
        if from.dtype != ty.dtype || from.shape.len() > ty.shape.len() || (from.mixed && !ty.mixed) {
            return Err(Fault::new(format!("a sequence of {from} in the place of one of {ty}")));
        }
        if from.capacity > ty.capacity {
            let mut expr = Expr::empty();
            let (length, most) = (expr.input(0, DType::I64), expr.int(ty.capacity.into(), DType::I64));
            expr.apply2(BinaryOp::Le, length, most);
            let holds = self.emit(rank_zero(expr), &[stored.length])?;
            self.assert(holds, format!("a sequence has at most {} elements", ty.capacity))?;
        }
        self.sizes_fit(stored, ty)?;
        let elements = self.resized(stored.elements, from.width, (ty.capacity, ty.width), 0)?;
        let shapes = self.resized(stored.shapes, from.columns(), (ty.capacity, ty.columns()), -1)?;
        Ok(Stored {
            ty: ty.clone(),
            elements,
            shapes,
            length: stored.length,
        })
    }

    /// Ends the run with an error unless the shapes of stored tensors are within those of a type.
    fn sizes_fit(&mut self, stored: &Stored, ty: &RowType) -> Result<(), Fault> {
        let columns = stored.ty.columns();
        let rows = vec![Dim::from(stored.ty.capacity)];
        for (axis, (extent, wanted)) in stored.ty.shape.iter().zip(&ty.shape).enumerate() {
            let (found, wanted) = (self.interval(extent), self.interval(wanted));
            if wanted.low <= found.low && found.high <= wanted.high {
                continue;
            }
            let mut expr = Expr::empty();
            let (row, column) = (expr.index(0), expr.int(axis as i128, DType::I64));
            let length = expr.input(1, DType::I64);
            let used = expr.less(row, length);
            let size = expr.load(0, DType::I64, row, column, columns);
            let (low, high) = (
                expr.int(wanted.low.into(), DType::I64),
                expr.int(wanted.high.into(), DType::I64),
            );
            let (above, below) = (
                expr.apply2(BinaryOp::Ge, size, low),
                expr.apply2(BinaryOp::Le, size, high),
            );
            let inside = expr.apply2(BinaryOp::And, above, below);
            let yes = expr.push(crate::ir::Scalar::Const(crate::ir::Literal::Bool(true)), DType::Bool);
            expr.select(used, inside, yes);
            let message = format!(
                "axis {axis} of the elements of a sequence has size {} to {}",
                wanted.low, wanted.high
            );
            self.assert_all(expr, rows.clone(), &[stored.shapes, stored.length], message)?;
        }
        Ok(())
    }

    /// Rows with other numbers of rows and columns, filled up with a value.
    pub(super) fn resized(&mut self, rows: ValueId, width: i64, to: (i64, i64), fill: i64) -> Result<ValueId, Fault> {
        let dtype = self.dtype(rows);
        let capacity = self.shape(rows)[0].clone();
        let shape = vec![Dim::from(to.0), Dim::from(to.1)];
        if width == to.1 && capacity.as_const().is_some_and(|capacity| capacity >= to.0) {
            return self.narrow(rows, 0, Dim::from(0i64), Dim::from(to.0));
        }
        let mut expr = Expr::empty();
        let (row, column) = (expr.index(0), expr.index(1));
        let value = expr.load(0, dtype, row, column, width);
        if fill != 0 {
            let (end, count) = (expr.int(width.into(), DType::I64), expr.dim(&capacity));
            let (in_row, is_row) = (expr.less(column, end), expr.less(row, count));
            let inside = expr.apply2(BinaryOp::And, in_row, is_row);
            let fill = expr.int(fill.into(), dtype);
            expr.select(inside, value, fill);
        }
        self.emit(Op::Elementwise { expr, shape }, &[rows])
    }

    /// A tensor whose sizes are those of a row.
    pub(super) fn row_at(&mut self, stored: &Stored, index: ValueId) -> Result<ValueId, Fault> {
        let ty = &stored.ty;
        if ty.mixed {
            return Err(Fault::new(format!(
                "the number of axes of a tensor {ty} must be known while compiling, but differs"
            )));
        }
        let mut shape = Vec::new();
        for (axis, extent) in ty.shape.iter().enumerate() {
            let (low, high) = match extent {
                Extent::Exactly(dim) => {
                    shape.push(dim.clone());
                    continue;
                }
                Extent::Between(low, high) => (*low, *high),
            };
            let mut expr = Expr::empty();
            let (row, column) = (expr.input(1, DType::I64), expr.int(axis as i128, DType::I64));
            expr.load(0, DType::I64, row, column, ty.columns());
            let size = self.emit(rank_zero(expr), &[stored.shapes, index])?;
            shape.push(self.bind_scalar(size, Interval { low, high })?);
        }
        let mut expr = Expr::empty();
        let coordinates: Vec<ScalarId> = (0..shape.len()).map(|axis| expr.index(axis)).collect();
        let column = expr.row_major(&coordinates, &shape);
        let row = expr.input(1, DType::I64);
        let start = expr.mul(row, ty.width);
        let place = expr.add(start, column);
        expr.at(0, place, ty.dtype);
        self.emit(Op::Elementwise { expr, shape }, &[stored.elements, index])
    }

    /// An index into a sequence as a number from 0 on: a negative one counts from the end. One that is not below `length`
    /// (or equal, if `end` is an index, too) ends the run with an error.
    pub(super) fn position(&mut self, index: ValueId, length: ValueId, end: bool) -> Result<ValueId, Fault> {
        let index = self.cast(index, DType::I64)?;
        let index = self.reshape(index, Vec::new())?;
        let mut expr = Expr::empty();
        let (given, length_id) = (expr.input(0, DType::I64), expr.input(1, DType::I64));
        let zero = expr.int(0, DType::I64);
        let negative = expr.less(given, zero);
        let from_end = expr.add(given, length_id);
        expr.select(negative, from_end, given);
        let position = self.emit(rank_zero(expr), &[index, length])?;
        let mut expr = Expr::empty();
        let (place, length_id) = (expr.input(0, DType::I64), expr.input(1, DType::I64));
        let zero = expr.int(0, DType::I64);
        let above = expr.apply2(BinaryOp::Ge, place, zero);
        let op = if end { BinaryOp::Le } else { BinaryOp::Lt };
        let below = expr.apply2(op, place, length_id);
        expr.apply2(BinaryOp::And, above, below);
        let holds = self.emit(rank_zero(expr), &[position, length])?;
        self.assert(holds, "the position is inside of the sequence")?;
        Ok(position)
    }

    /// Stored tensors with one more at a position that has been checked.
    pub(super) fn inserted(&mut self, stored: &Stored, value: ValueId, position: ValueId) -> Result<Stored, Fault> {
        let visible = self.visible();
        let own = self.row_type(&self.ty(value).clone(), &visible);
        // The row of a sequence that cannot have elements says nothing of those to come.
        let mut ty = match self.known_dims(stored.length).as_deref() {
            Some([length]) if length.is(0) && stored.ty.dtype == own.dtype => own,
            _ => self.join_rows(&stored.ty, &own, &visible)?,
        };
        ty.capacity = stored.ty.capacity + 1;
        let row = self.row(value, &ty)?;
        let shifted = |expr: &mut Expr| {
            let (index, position) = (expr.index(0), expr.input(2, DType::I64));
            let after = expr.less(position, index);
            let after = expr.one_if(after);
            let before = expr.apply2(BinaryOp::Sub, index, after);
            (before, expr.apply2(BinaryOp::Eq, index, position))
        };
        let mut both = Vec::new();
        for (old, new, dtype, (from, to)) in [
            (stored.elements, row.elements, ty.dtype, (stored.ty.width, ty.width)),
            (
                stored.shapes,
                row.shapes,
                DType::I64,
                (stored.ty.columns(), ty.columns()),
            ),
        ] {
            let mut expr = Expr::empty();
            let (before, here) = shifted(&mut expr);
            let column = expr.index(1);
            let mut kept = expr.load(0, dtype, before, column, from);
            if dtype == DType::I64 && old == stored.shapes && from < to {
                let end = expr.int(from.into(), DType::I64);
                let inside = expr.less(column, end);
                let none = expr.int(-1, DType::I64);
                kept = expr.select(inside, kept, none);
            }
            let added = expr.at(1, column, dtype);
            expr.select(here, added, kept);
            let shape = vec![Dim::from(ty.capacity), Dim::from(to)];
            both.push(self.emit(Op::Elementwise { expr, shape }, &[old, new, position])?);
        }
        let length = self.counted(stored.length, 1)?;
        Ok(Stored {
            ty,
            elements: both[0],
            shapes: both[1],
            length,
        })
    }

    /// Stored tensors without the one at a position that has been checked.
    pub(super) fn erased(&mut self, stored: &Stored, position: ValueId) -> Result<Stored, Fault> {
        let ty = RowType {
            capacity: (stored.ty.capacity - 1).max(1),
            ..stored.ty.clone()
        };
        let mut both = Vec::new();
        for (old, dtype, width) in [
            (stored.elements, ty.dtype, ty.width),
            (stored.shapes, DType::I64, ty.columns()),
        ] {
            let mut expr = Expr::empty();
            let (index, position_id) = (expr.index(0), expr.input(1, DType::I64));
            let after = expr.apply2(BinaryOp::Ge, index, position_id);
            let after = expr.one_if(after);
            let row = expr.add(index, after);
            let column = expr.index(1);
            expr.load(0, dtype, row, column, width);
            let shape = vec![Dim::from(ty.capacity), Dim::from(width)];
            both.push(self.emit(Op::Elementwise { expr, shape }, &[old, position])?);
        }
        let length = self.counted(stored.length, -1)?;
        Ok(Stored {
            ty,
            elements: both[0],
            shapes: both[1],
            length,
        })
    }

    fn counted(&mut self, length: ValueId, more: i64) -> Result<ValueId, Fault> {
        let mut expr = Expr::empty();
        let (length_id, more) = (expr.input(0, DType::I64), expr.int(more.into(), DType::I64));
        expr.add(length_id, more);
        self.emit(rank_zero(expr), &[length])
    }

    /// The sizes of row 0, which those of all rows in use must be, but for `free`.
    fn common_shape(&mut self, stored: &Stored, free: Option<usize>) -> Result<Vec<Dim>, Fault> {
        let ty = stored.ty.clone();
        if ty.mixed {
            return Err(Fault::new("tensors of different ranks do not concatenate"));
        }
        let mut shape = Vec::new();
        for (axis, extent) in ty.shape.iter().enumerate() {
            let (low, high) = match extent {
                Extent::Exactly(dim) => {
                    shape.push(dim.clone());
                    continue;
                }
                _ if free == Some(axis) => {
                    shape.push(Dim::from(0i64));
                    continue;
                }
                Extent::Between(low, high) => (*low, *high),
            };
            let first = self.narrow(stored.shapes, 0, Dim::from(0i64), Dim::from(1i64))?;
            let first = self.narrow(first, 1, Dim::from(axis), Dim::from(1i64))?;
            let first = self.reshape(first, Vec::new())?;
            let mut expr = Expr::empty();
            let (row, length) = (expr.index(0), expr.input(1, DType::I64));
            let used = expr.less(row, length);
            let column = expr.int(axis as i128, DType::I64);
            let size = expr.load(0, DType::I64, row, column, ty.columns());
            let first_id = expr.input(2, DType::I64);
            let expected = expr.select(used, size, first_id);
            expr.apply2(BinaryOp::Eq, expected, first_id);
            let operands = [stored.shapes, stored.length, first];
            let message = "the elements of a sequence that are concatenated have the same sizes";
            self.assert_all(expr, vec![Dim::from(ty.capacity)], &operands, message)?;
            // The first row of an empty sequence says nothing.
            let mut expr = Expr::empty();
            let (length, size, zero) = (
                expr.input(1, DType::I64),
                expr.input(0, DType::I64),
                expr.int(low.into(), DType::I64),
            );
            let none = expr.int(0, DType::I64);
            let some = expr.less(none, length);
            expr.select(some, size, zero);
            let size = self.emit(rank_zero(expr), &[first, stored.length])?;
            shape.push(self.bind_scalar(size, Interval { low, high })?);
        }
        Ok(shape)
    }

    /// The tensors of a sequence one after another along a new axis.
    pub(super) fn stacked(&mut self, stored: &Stored, axis: usize) -> Result<ValueId, Fault> {
        let element = self.common_shape(stored, None)?;
        let most = Interval {
            low: 0,
            high: stored.ty.capacity,
        };
        let count = match self.known_dims(stored.length).as_deref() {
            Some([length]) => length.clone(),
            _ => self.bind_scalar(stored.length, most)?,
        };
        let mut shape = element.clone();
        shape.insert(axis, count);
        let mut expr = Expr::empty();
        let row = expr.index(axis);
        let others = (0..shape.len()).filter(|&other| other != axis);
        let coordinates: Vec<ScalarId> = others.map(|axis| expr.index(axis)).collect();
        let column = expr.row_major(&coordinates, &element);
        let start = expr.mul(row, stored.ty.width);
        let place = expr.add(start, column);
        expr.at(0, place, stored.ty.dtype);
        self.emit(Op::Elementwise { expr, shape }, &[stored.elements])
    }

    /// The tensors of a sequence one after another along an axis of theirs.
    pub(super) fn concatenated(&mut self, stored: &Stored, axis: usize) -> Result<ValueId, Fault> {
        let ty = stored.ty.clone();
        let element = self.common_shape(stored, Some(axis))?;
        let capacity = Dim::from(ty.capacity);
        // The sizes along the axis, zero for the rows that are not in use, and where each row ends.
        let mut expr = Expr::empty();
        let (row, length, zero) = (expr.index(0), expr.input(1, DType::I64), expr.int(0, DType::I64));
        let used = expr.less(row, length);
        let column = expr.int(axis as i128, DType::I64);
        let size = expr.load(0, DType::I64, row, column, ty.columns());
        expr.select(used, size, zero);
        let shape = vec![capacity.clone()];
        let sizes = self.emit(Op::Elementwise { expr, shape }, &[stored.shapes, stored.length])?;
        let ends = self.emit(
            Op::CumSum {
                axis: 0,
                exclusive: false,
                reverse: false,
            },
            &[sizes],
        )?;
        let total = self.narrow(ends, 0, capacity.clone() - Dim::from(1i64), Dim::from(1i64))?;
        let total = self.reshape(total, Vec::new())?;
        let most = self.interval(&ty.shape[axis]).high.saturating_mul(ty.capacity);
        let total = match self.known_dims(total).as_deref() {
            Some([total]) => total.clone(),
            _ => self.bind_scalar(total, Interval { low: 0, high: most })?,
        };
        // The row that each index along the axis lies in: as many rows as end before it.
        let mut expr = Expr::empty();
        let (index, row) = (expr.index(0), expr.index(1));
        let end = expr.at(0, row, DType::I64);
        let past = expr.apply2(BinaryOp::Le, end, index);
        expr.one_if(past);
        let rows = Op::Fold {
            kind: FoldKind::Sum,
            expr,
            shape: vec![total.clone()],
            domain: vec![capacity],
        };
        let rows = self.emit(rows, &[ends])?;
        let mut shape = element;
        shape[axis] = total;
        let mut expr = Expr::empty();
        let index = expr.index(axis);
        let row = expr.at(1, index, DType::I64);
        let size = expr.at(3, row, DType::I64);
        let end = expr.at(2, row, DType::I64);
        let start = expr.apply2(BinaryOp::Sub, end, size);
        let within = expr.apply2(BinaryOp::Sub, index, start);
        let mut column = expr.int(0, DType::I64);
        for (other, dim) in shape.iter().enumerate() {
            let (count, coordinate) = match other == axis {
                true => (size, within),
                false => (expr.dim(dim), expr.index(other)),
            };
            let rows_before = expr.apply2(BinaryOp::Mul, column, count);
            column = expr.add(rows_before, coordinate);
        }
        let first = expr.mul(row, ty.width);
        let place = expr.add(first, column);
        expr.at(0, place, ty.dtype);
        self.emit(Op::Elementwise { expr, shape }, &[stored.elements, rows, ends, sizes])
    }

    /// The parts of a tensor along an axis as a sequence: `sizes`, an `i64 [capacity]`, has the size of each. The parts
    /// lose the axis unless `keep`.
    pub(super) fn split_stored(
        &mut self,
        x: ValueId,
        axis: usize,
        sizes: ValueId,
        length: ValueId,
        keep: bool,
    ) -> Result<Stored, Fault> {
        let from = self.ty(x).clone();
        let capacity = self.shape(sizes)[0].as_const().unwrap_or(1);
        let most = from.shape[axis].upper(&self.graph.bounds);
        let mut extents: Vec<Extent> = from.shape.iter().map(|dim| Extent::Exactly(dim.clone())).collect();
        extents[axis] = match keep {
            true => Extent::Between(0, most),
            false => Extent::Exactly(Dim::from(1i64)),
        };
        let room = |extent: &Extent| self.interval(extent).high.max(1);
        let width = extents.iter().map(room).fold(1i64, i64::saturating_mul);
        let ends = self.emit(
            Op::CumSum {
                axis: 0,
                exclusive: false,
                reverse: false,
            },
            &[sizes],
        )?;
        // A row has the coordinates before the axis, the one along the part, and those after the axis.
        let mut expr = Expr::empty();
        let (row, column) = (expr.index(0), expr.index(1));
        let (size, end) = (expr.at(1, row, DType::I64), expr.at(2, row, DType::I64));
        let start = expr.apply2(BinaryOp::Sub, end, size);
        let inner: Dim = from.shape[axis + 1..].iter().cloned().product();
        let (inner, whole) = (expr.dim(&inner), expr.dim(&from.shape[axis]));
        let one = expr.int(1, DType::I64);
        let (inner, size) = (
            expr.apply2(BinaryOp::Max, inner, one),
            expr.apply2(BinaryOp::Max, size, one),
        );
        let last = expr.apply2(BinaryOp::Mod, column, inner);
        let line = expr.apply2(BinaryOp::Div, column, inner);
        let (within, before) = (
            expr.apply2(BinaryOp::Mod, line, size),
            expr.apply2(BinaryOp::Div, line, size),
        );
        let along = expr.add(start, within);
        let lines = expr.apply2(BinaryOp::Mul, before, whole);
        let line = expr.add(lines, along);
        let place = expr.apply2(BinaryOp::Mul, line, inner);
        let place = expr.add(place, last);
        expr.at(0, place, from.dtype);
        let shape = vec![Dim::from(capacity), Dim::from(width)];
        let elements = self.emit(Op::Elementwise { expr, shape }, &[x, sizes, ends])?;
        let mut columns = Vec::new();
        for (other, dim) in from.shape.iter().enumerate() {
            let part = match (other == axis, keep) {
                (true, false) => continue,
                (true, true) => self.reshape(sizes, vec![Dim::from(capacity), Dim::from(1i64)])?,
                (false, _) => {
                    let size = self.dims(Vec::new(), vec![dim.clone()]);
                    let shape = vec![Dim::from(capacity), Dim::from(1i64)];
                    self.emit(Op::Broadcast { shape }, &[size])?
                }
            };
            columns.push(part);
        }
        if !keep {
            extents.remove(axis);
        }
        if columns.is_empty() {
            let none = self.number(-1.0, DType::I64)?;
            let shape = vec![Dim::from(capacity), Dim::from(1i64)];
            columns.push(self.emit(Op::Broadcast { shape }, &[none])?);
        }
        let shapes = self.concat(&columns, 1)?;
        Ok(Stored {
            ty: RowType::new(from.dtype, capacity, extents, false, Some(width)),
            elements,
            shapes,
            length,
        })
    }
}
