//! Types of matrix products, convolutions, attention and recurrent layers.

use super::{Context, broadcast, window_size};
use crate::ir::DType;
use crate::ir::dim::Dim;
use crate::ir::graph::TensorType;
use crate::ir::op::{Cell, Op, Window};

impl Context<'_> {
    pub(super) fn matmul(&self) -> Result<Vec<TensorType>, String> {
        let (a, b) = (self.types[0], self.types[1]);
        let dtype = Op::sum_type(a.dtype, b.dtype)
            .ok_or_else(|| format!("element types {} and {} differ", a.dtype, b.dtype))?;
        if a.rank() < 2 || b.rank() < 2 {
            return Err(format!("matrix product of {a} and {b}"));
        }
        let (a_lead, a_matrix) = a.shape.split_at(a.rank() - 2);
        let (b_lead, b_matrix) = b.shape.split_at(b.rank() - 2);
        self.equal("the inner sizes of a matrix product", &a_matrix[1], &b_matrix[0])?;
        let (mut shape, equalities) = broadcast(self.graph, &[a_lead, b_lead])?;
        if let Some((a, b)) = equalities.first() {
            return Err(format!("leading sizes {a} and {b} of a matrix product"));
        }
        shape.push(a_matrix[0].clone());
        shape.push(b_matrix[1].clone());
        Ok(vec![TensorType::new(dtype, shape)])
    }

    pub(super) fn dequantize(&self, rows: usize) -> Result<Vec<TensorType>, String> {
        let numbers = self.rank(0, 2)?;
        let dtypes = self.types.iter().map(|ty| ty.dtype);
        if !dtypes.eq([DType::I8, DType::F32, DType::I8].into_iter().take(self.types.len())) {
            return Err("numbers and zero points are not of i8, or scales not of f32".into());
        }
        let rows = i64::try_from(rows).ok().filter(|rows| (1..1 << 32).contains(rows));
        let blocks = numbers[0].ceil_div(rows.ok_or("blocks without rows, or with too many")?);
        for parameter in 1..self.types.len() {
            let shape = self.rank(parameter, 2)?;
            self.equal("blocks and their parameters", &blocks, &shape[0])?;
            self.equal("columns and the parameters of blocks", &numbers[1], &shape[1])?;
        }
        Ok(vec![TensorType::new(DType::F32, numbers.to_vec())])
    }

    pub(super) fn conv_operands(&self, window: &Window, bias: bool, out: &Dim) -> Result<(), String> {
        let spatial = window.kernel.len();
        self.rank(0, spatial + 2)?;
        for (size, dim) in window.kernel.iter().zip(&self.rank(1, spatial + 2)?[2..]) {
            self.equal("kernel size and weights", &Dim::from(*size), dim)?;
        }
        if [
            window.strides.len(),
            window.dilations.len(),
            window.pads_before.len(),
            window.pads_after.len(),
        ] != [spatial; 4]
            || window.strides.contains(&0)
            || window.dilations.contains(&0)
            || window.kernel.contains(&0)
        {
            return Err("a window with a missing or zero size".into());
        }
        if bias {
            self.equal("bias size and output channels", &self.rank(2, 1)?[0], out)?;
        }
        Ok(())
    }

    pub(super) fn conv(&self, window: &Window, groups: usize, bias: bool) -> Result<Vec<TensorType>, String> {
        let (x, w) = (&self.types[0].shape, &self.types[1].shape);
        let dtype = match (self.types[0].dtype, self.types[1].dtype) {
            (DType::U8, DType::I8) => DType::I32,
            _ => self.same_float(2)?,
        };
        self.rank(1, window.kernel.len() + 2)?;
        self.conv_operands(window, bias, &w[0])?;
        self.equal("input channels", &x[1], &(w[1].clone() * Dim::from(groups)))?;
        if w[0]
            .as_const()
            .is_none_or(|out| groups == 0 || out % groups as i64 != 0)
        {
            return Err(format!("{} output channels in {groups} groups", w[0]));
        }
        let mut shape = vec![x[0].clone(), w[0].clone()];
        for axis in 0..window.kernel.len() {
            shape.push(self.positive(window_size(&x[axis + 2], window, axis, false))?);
        }
        Ok(vec![TensorType::new(dtype, shape)])
    }

    pub(super) fn conv_transpose(
        &self,
        window: &Window,
        output_padding: &[usize],
        groups: usize,
        bias: bool,
    ) -> Result<Vec<TensorType>, String> {
        let (x, w) = (&self.types[0].shape, &self.types[1].shape);
        self.same_float(2)?;
        self.rank(1, window.kernel.len() + 2)?;
        let channels = w[1].clone() * Dim::from(groups);
        self.conv_operands(window, bias, &channels)?;
        self.equal("input channels", &x[1], &w[0])?;
        let mut shape = vec![x[0].clone(), channels];
        for axis in 0..window.kernel.len() {
            let extent = window.dilations[axis] * (window.kernel[axis] - 1) + 1;
            let steps = (x[axis + 2].clone() - Dim::from(1i64)) * Dim::from(window.strides[axis]);
            let pads = window.pads_before[axis].clone() + window.pads_after[axis].clone();
            shape.push(self.positive(steps + Dim::from(extent + output_padding[axis]) - pads)?);
        }
        Ok(vec![TensorType::new(self.types[0].dtype, shape)])
    }

    pub(super) fn attention(&self, mask: bool) -> Result<Vec<TensorType>, String> {
        let dtype = self.same_float(3 + usize::from(mask))?;
        let (q, k, v) = (&self.types[0].shape, &self.types[1].shape, &self.types[2].shape);
        let rank = q.len();
        if rank < 2 {
            return Err("attention needs matrices".into());
        }
        self.rank(1, rank)?;
        self.rank(2, rank)?;
        for axis in 0..rank - 2 {
            self.equal("leading sizes of attention", &q[axis], &k[axis])?;
            self.equal("leading sizes of attention", &q[axis], &v[axis])?;
        }
        self.equal("query and key size", &q[rank - 1], &k[rank - 1])?;
        self.equal("key and value count", &k[rank - 2], &v[rank - 2])?;
        let mut scores = q[..rank - 1].to_vec();
        scores.push(k[rank - 2].clone());
        if mask {
            self.broadcasts_to(&self.types[3].shape, &scores)?;
        }
        scores[rank - 1] = v[rank - 1].clone();
        Ok(vec![TensorType::new(dtype, scores)])
    }

    pub(super) fn recurrent(&self, cell: Cell) -> Result<Vec<TensorType>, String> {
        let gates: i64 = match cell {
            Cell::Lstm => 4,
            Cell::Gru { .. } => 3,
            Cell::Rnn => 1,
        };
        let dtype = self.same_float(self.types.len())?;
        let (x, w, r) = (self.rank(0, 3)?, self.rank(1, 2)?, self.rank(2, 2)?);
        let hidden = &r[1];
        let rows = hidden.clone() * Dim::from(gates);
        self.equal("rows of the input weights", &w[0], &rows)?;
        self.equal("rows of the recurrent weights", &r[0], &rows)?;
        self.equal("input size", &x[2], &w[1])?;
        let biases = if matches!(cell, Cell::Gru { .. }) { 2 } else { 1 };
        self.equal("bias size", &self.rank(3, 1)?[0], &(rows * Dim::from(biases as i64)))?;
        let state = TensorType::new(dtype, vec![x[1].clone(), hidden.clone()]);
        for operand in 4..self.types.len() {
            let shape = self.rank(operand, 2)?;
            self.equal("batch of the state", &shape[0], &x[1])?;
            self.equal("size of the state", &shape[1], hidden)?;
        }
        let y = TensorType::new(dtype, vec![x[0].clone(), x[1].clone(), hidden.clone()]);
        let mut results = vec![y, state.clone()];
        if cell == Cell::Lstm {
            results.push(state);
        }
        Ok(results)
    }
}
