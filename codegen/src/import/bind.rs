//! Sizes that only a run can tell, and what it must check.

use super::builder::{Builder, Fault};
use super::known::Known;
use crate::ir::{BinaryOp, DType, Dim, Expr, Interval, Op, ValueId};

impl Builder {
    /// The elements of a tensor of integers, in row-major order, as dimensions. Those that are not known now become
    /// symbols to which the run gives the elements as values; `range` gives the bounds of each by its place, and a
    /// value outside of them ends the run with an error.
    pub(super) fn bind(
        &mut self,
        value: ValueId,
        mut range: impl FnMut(usize) -> Result<Interval, Fault>,
    ) -> Result<Vec<Dim>, Fault> {
        self.bind_from(value, 0, &mut range)
    }

    /// As [`bind`](Self::bind), for a part of a tensor that starts at `first`.
    fn bind_from(
        &mut self,
        value: ValueId,
        first: usize,
        range: &mut dyn FnMut(usize) -> Result<Interval, Fault>,
    ) -> Result<Vec<Dim>, Fault> {
        if let Some(dims) = self.known_dims(value) {
            return Ok(dims);
        }
        if !self.dtype(value).is_int() {
            return Err(Fault::new(format!("sizes of type {}", self.dtype(value))));
        }
        let Some(shape) = self.ty(value).static_shape() else {
            let shape = crate::ir::infer::display_shape(&self.shape(value));
            return Err(Fault::new(format!("sizes in a tensor whose own shape {shape} varies")));
        };
        let count: usize = shape.iter().product();
        // The parts of a concatenation may be known where the whole is not.
        if let Some(parts) = self.parts(value) {
            let mut dims = Vec::with_capacity(count);
            for part in parts {
                dims.extend(self.bind_from(part, first + dims.len(), range)?);
            }
            return Ok(dims);
        }
        let flat = self.reshape(value, vec![Dim::from(count)])?;
        (0..count)
            .map(|place| match self.binding(value, place) {
                Some(dim) => Ok(dim),
                None => {
                    let range = range(first + place)?;
                    let element = self.element(flat, place)?;
                    let dim = self.bind_scalar(element, range)?;
                    self.remember(value, place, dim.clone());
                    Ok(dim)
                }
            })
            .collect()
    }

    /// The elements of a list of integers, each as far as it is known: also where the list is a concatenation of parts of
    /// which only some are.
    pub(super) fn known_elements(&self, value: ValueId) -> Vec<Option<Dim>> {
        if let Some(dims) = self.known_dims(value) {
            return dims.into_iter().map(Some).collect();
        }
        match self.parts(value) {
            Some(parts) => parts.into_iter().flat_map(|part| self.known_elements(part)).collect(),
            None => vec![None; self.ty(value).elements().as_usize().unwrap_or(0)],
        }
    }

    /// A rank-0 integer as a dimension; see [`bind`](Self::bind).
    pub(super) fn bind_scalar(&mut self, value: ValueId, range: Interval) -> Result<Dim, Fault> {
        if range.low > range.high {
            return Err(Fault::new(format!(
                "a size from {} to {}, which no run can have",
                range.low, range.high
            )));
        }
        let value = self.cast(value, DType::I64)?;
        if range.low == range.high {
            let size = Dim::from(range.low);
            let holds = self.map(&[value], |expr, of| {
                let size = expr.dim(&size);
                expr.apply2(BinaryOp::Eq, of[0], size)
            })?;
            self.assert(holds, format!("a size is {size}"))?;
            return Ok(size);
        }
        let symbol = self.fresh_symbol(range);
        self.emit_all(Op::Bind { symbol: symbol.clone() }, &[value], Vec::new())?;
        self.mark_bound(symbol.clone());
        Ok(Dim::symbol(symbol))
    }

    /// Ends the run with an error unless a rank-0 `bool` holds; `message` says what holds.
    pub(super) fn assert(&mut self, value: ValueId, message: impl Into<String>) -> Result<(), Fault> {
        let message = message.into();
        match self.known(value).as_deref() {
            Some([Known::Bool(true)]) => return Ok(()),
            Some([Known::Bool(false)]) => return Err(Fault::new(format!("it does not hold that {message}"))),
            _ => {}
        }
        self.emit_all(Op::Assert { message }, &[value], Vec::new())?;
        Ok(())
    }

    /// Ends the run with an error unless `expr`, a `bool`, holds for every element of a shape.
    pub(super) fn assert_all(
        &mut self,
        expr: Expr,
        shape: Vec<Dim>,
        inputs: &[ValueId],
        message: impl Into<String>,
    ) -> Result<(), Fault> {
        let holds = Op::Fold {
            kind: crate::ir::FoldKind::Min,
            expr,
            shape: Vec::new(),
            domain: shape,
        };
        let holds = self.emit(holds, inputs)?;
        self.assert(holds, message)
    }

    /// Ends the run with an error unless two dimensions are equal.
    pub(super) fn assert_equal(&mut self, what: &str, a: &Dim, b: &Dim) -> Result<(), Fault> {
        let mut expr = Expr::empty();
        let (left, right) = (expr.dim(a), expr.dim(b));
        expr.apply2(BinaryOp::Eq, left, right);
        let holds = Op::Elementwise {
            expr,
            shape: Vec::new(),
        };
        let holds = self.emit(holds, &[])?;
        self.assert(holds, format!("{what}: {a} is {b}"))
    }

    /// An element of a tensor of rank 1, as a tensor of rank 0.
    pub(super) fn element(&mut self, value: ValueId, place: usize) -> Result<ValueId, Fault> {
        let slice = Op::Slice {
            starts: vec![Dim::from(place)],
            steps: vec![1],
            shape: vec![Dim::from(1i64)],
        };
        let one = self.emit(slice, &[value])?;
        self.reshape(one, Vec::new())
    }
}
