//! Axes and sizes that only a run knows: the normalized ones are computed there, and sizes bound to symbols.

use super::arithmetic::{Arithmetic, from_start};
use super::builder::{Builder, Fault, MAX_RANK};
use super::call::Call;
use crate::ir::op::ScatterKind;
use crate::ir::{DType, Dim, Expr, FoldKind, Interval, Op, ScalarId, ValueId};

impl Builder {
    /// A value for every element of a shape, given by its coordinates.
    pub(super) fn generate(
        &mut self,
        shape: Vec<Dim>,
        inputs: &[ValueId],
        body: impl FnOnce(&mut Expr) -> ScalarId,
    ) -> Result<ValueId, Fault> {
        let mut expr = Expr::empty();
        let result = body(&mut expr);
        let expr = expr.with_result(result);
        self.emit(Op::Elementwise { expr, shape }, inputs)
    }

    /// For every element of a shape, the values of a domain combined. Coordinates are those of the shape, then those of
    /// the domain.
    pub(super) fn combined(
        &mut self,
        kind: FoldKind,
        [shape, domain]: [Vec<Dim>; 2],
        inputs: &[ValueId],
        body: impl FnOnce(&mut Expr) -> ScalarId,
    ) -> Result<ValueId, Fault> {
        let mut expr = Expr::empty();
        let result = body(&mut expr);
        let expr = expr.with_result(result);
        let op = Op::Fold {
            kind,
            expr,
            shape,
            domain,
        };
        self.emit(op, inputs)
    }

    /// Ends the run with an error unless a condition holds for every element of a shape.
    pub(super) fn require(
        &mut self,
        shape: Vec<Dim>,
        inputs: &[ValueId],
        message: impl Into<String>,
        body: impl FnOnce(&mut Expr) -> ScalarId,
    ) -> Result<(), Fault> {
        let mut expr = Expr::empty();
        let holds = body(&mut expr);
        self.assert_all(expr.with_result(holds), shape, inputs, message)
    }

    /// Integers of any type and of rank 1 as `i64`, and how many there are: one or two for each axis of a tensor.
    pub(super) fn integers(&mut self, value: ValueId, what: &str) -> Result<(ValueId, usize), Fault> {
        let ty = self.ty(value);
        let count = match ty.shape.as_slice() {
            [size] => size.as_usize(),
            _ => None,
        };
        let count = count.filter(|_| ty.dtype.is_int());
        let count =
            count.ok_or_else(|| Fault::new(format!("{what} are {ty}, not a list of integers of fixed length")))?;
        if count > 2 * MAX_RANK {
            return Err(Fault::new(format!("{what} are {ty}, more than a tensor has axes")));
        }
        Ok((self.cast(value, DType::I64)?, count))
    }

    /// Axes of a tensor of some rank, counted from the start; one that does not exist or occurs twice ends the run with
    /// an error. The first result has the axes, the second how often each axis occurs: once or not at all.
    pub(super) fn computed_axes(&mut self, axes: ValueId, rank: usize) -> Result<[ValueId; 2], Fault> {
        let (axes, count) = self.integers(axes, "the axes")?;
        let message = format!("axes are those of a tensor of rank {rank}, each at most once");
        let axes = self.generate(vec![Dim::from(count)], &[axes], |e| {
            let (axis, rank) = (e.input(0, DType::I64), e.number(rank as i64));
            from_start(e, axis, rank)
        })?;
        self.require(vec![Dim::from(count)], &[axes], message.clone(), |e| {
            let (axis, rank) = (e.input(0, DType::I64), e.number(rank as i64));
            e.within(axis, rank)
        })?;
        let (nothing, ones) = (
            self.dims(vec![rank], vec![Dim::from(0i64); rank]),
            self.dims(vec![count], vec![Dim::from(1i64); count]),
        );
        let scatter = Op::Scatter { kind: ScatterKind::Add };
        let mask = self.emit(scatter, &[nothing, axes, ones])?;
        self.require(vec![Dim::from(rank)], &[mask], message, |e| {
            let (times, one) = (e.input(0, DType::I64), e.number(1));
            e.at_most(times, one)
        })?;
        Ok([axes, mask])
    }

    /// One value for each axis: that of `values` where `axes` has the axis, else that of `defaults`.
    pub(super) fn per_axis(&mut self, values: ValueId, axes: ValueId, defaults: Vec<i64>) -> Result<ValueId, Fault> {
        let count = defaults.len();
        let defaults = self.dims(vec![count], defaults.into_iter().map(Dim::from).collect());
        let scatter = Op::Scatter {
            kind: ScatterKind::Replace,
        };
        self.emit(scatter, &[defaults, axes, values])
    }

    /// How many axes before each axis a mask leaves out.
    fn unmasked_before(&mut self, mask: ValueId, rank: usize) -> Result<ValueId, Fault> {
        let axes = vec![Dim::from(rank)];
        self.combined(FoldKind::Sum, [axes.clone(), axes], &[mask], |e| {
            let (axis, other) = (e.index(0), e.index(1));
            let (masked, zero, one) = (e.at(0, other, DType::I64), e.number(0), e.number(1));
            let (before, counts) = (e.less(other, axis), e.sub(one, masked));
            e.select(before, counts, zero)
        })
    }

    /// The sizes of the axes that a mask leaves out, of which there are `count`.
    pub(super) fn unmasked_sizes(&mut self, sizes: ValueId, mask: ValueId, count: usize) -> Result<ValueId, Fault> {
        let rank = self.shape(sizes)[0].as_usize().unwrap_or(0);
        let before = self.unmasked_before(mask, rank)?;
        let places = self.generate(vec![Dim::from(rank)], &[before, mask], |e| {
            let (place, masked) = (e.input(0, DType::I64), e.input(1, DType::I64));
            let (zero, nowhere) = (e.number(0), e.number(-1));
            let kept = e.equals(masked, zero);
            e.select(kept, place, nowhere)
        })?;
        let nothing = self.dims(vec![count], vec![Dim::from(0i64); count]);
        let scatter = Op::Scatter {
            kind: ScatterKind::Replace,
        };
        self.emit(scatter, &[nothing, places, sizes])
    }

    /// The sizes, with a size of 1 at each axis of the result that a mask has.
    pub(super) fn sizes_with_ones(&mut self, sizes: ValueId, mask: ValueId, rank: usize) -> Result<ValueId, Fault> {
        let before = self.unmasked_before(mask, rank)?;
        self.generate(vec![Dim::from(rank)], &[before, mask, sizes], |e| {
            let (source, masked) = (e.input(0, DType::I64), e.input(1, DType::I64));
            let (zero, one, size) = (e.number(0), e.number(1), e.at(2, source, DType::I64));
            let kept = e.equals(masked, zero);
            e.select(kept, size, one)
        })
    }
}

impl Call<'_, '_> {
    /// An operand that is a list of integers, as `i64`, and how many there are.
    pub(super) fn listed(&mut self, index: usize, what: &str) -> Result<(ValueId, usize), Fault> {
        let value = self.input(index)?;
        self.integers(value, what)
    }

    /// The bounds of a size that only the run knows: up to what is declared for the axis of the result and up to
    /// `most`. Where neither says anything of a value in between, the size is taken to be none larger than the largest of
    /// an input or result of the model.
    pub(super) fn size_bounds(&self, output: usize, axis: usize, most: Option<i64>) -> Result<Interval, Fault> {
        let name = self.node.outputs.get(output).map_or("", String::as_str);
        let (declared, between) = (self.capacity(output, axis), !self.importer.is_output(name));
        let high = match (declared, most) {
            (Some(declared), Some(most)) => Some(declared.min(most)),
            (one, other) => one.or(other),
        };
        let guess = || self.importer.largest_size().filter(|_| between);
        let high = high.or_else(guess).ok_or_else(|| {
            Fault::new(format!(
                "only a run knows size {axis} of `{name}`, which nothing bounds"
            ))
            .help(format!(
                "give the dimension bounds: `{} <= 16`",
                self.size_name(output, axis)
            ))
        })?;
        Ok(Interval { low: 0, high })
    }

    /// The shape of a result from a tensor of its sizes.
    pub(super) fn bind_shape(
        &mut self,
        output: usize,
        sizes: ValueId,
        most: impl Fn(usize) -> Option<i64>,
    ) -> Result<Vec<Dim>, Fault> {
        let count = match self.shape(sizes).as_slice() {
            [count] => count.as_usize(),
            _ => None,
        };
        let Some(count) = count else {
            let ty = self.ty(sizes);
            return Err(Fault::new(format!(
                "the shape is {ty}, not a vector of a known number of sizes"
            )));
        };
        let ranges = (0..count).map(|axis| self.size_bounds(output, axis, most(axis)));
        let ranges = ranges.collect::<Result<Vec<_>, _>>()?;
        self.bind(sizes, |axis| Ok(ranges[axis]))
    }

    /// A size that a rank-0 value gives, for an axis of a result.
    pub(super) fn bind_size(
        &mut self,
        output: usize,
        axis: usize,
        size: ValueId,
        most: Option<i64>,
    ) -> Result<Dim, Fault> {
        let range = self.size_bounds(output, axis, most)?;
        let line = self.reshape(size, vec![Dim::from(1i64)])?;
        let mut dims = self.bind(line, |_| Ok(range))?;
        Ok(dims.swap_remove(0))
    }

    /// The sizes of a tensor, as a tensor.
    pub(super) fn sizes_of(&mut self, shape: &[Dim]) -> ValueId {
        self.dims(vec![shape.len()], shape.to_vec())
    }

    /// The largest value of the largest dimension.
    pub(super) fn largest_of(&self, shape: &[Dim]) -> i64 {
        let sizes = shape.iter().map(|dim| dim.upper(&self.graph.bounds));
        sizes.max().unwrap_or(1).max(1)
    }

    /// The places in a list of `bool` where it holds, in order. How many there are, the size of an axis of a result, only
    /// the run knows.
    pub(super) fn places_of(&mut self, output: usize, axis: usize, mask: ValueId) -> Result<ValueId, Fault> {
        let length = self.shape(mask);
        let ones = self.cast(mask, DType::I64)?;
        let count = self.combined(FoldKind::Sum, [Vec::new(), length.clone()], &[ones], |e| {
            e.input(0, DType::I64)
        })?;
        let most = length[0].upper(&self.graph.bounds);
        let count = self.bind_size(output, axis, count, Some(most))?;
        let running = Op::CumSum {
            axis: 0,
            exclusive: true,
            reverse: false,
        };
        let before = self.emit(running, &[ones])?;
        let places = self.map(&[before, mask], |e, of| {
            let nowhere = e.number(-1);
            e.select(of[1], of[0], nowhere)
        })?;
        let own = self.generate(length, &[], |e| e.index(0))?;
        let nothing = self.filled(0.0, DType::I64, vec![count])?;
        let scatter = Op::Scatter {
            kind: ScatterKind::Replace,
        };
        self.emit(scatter, &[nothing, places, own])
    }
}
