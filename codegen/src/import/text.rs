//! Strings. The core IR has none: a tensor of strings is a tensor of `i64`, which numbers the rows of a *table*
//! `u8 [rows, width]`. A row holds the bytes of a string in UTF-8, and zeros after them; a string has no zero bytes.
//!
//! So an operator that only moves elements moves strings without knowing it, a function of a string is computed once for
//! each row of the table, and labels are a constant table with computed numbers. Which table a value numbers is
//! remembered beside the value. A rule that has not asked for the table of an operand must not see its numbers.

use super::builder::{Builder, Fault};
use super::formula::Formula;
use crate::ir::op::PadMode;
use crate::ir::{BinaryOp, DType, Dim, Op, Tensor, ValueId};

/// The largest number of bytes of a string for which an input has room unless told otherwise.
pub(super) const DEFAULT_WIDTH: i64 = 64;
/// The largest number of bytes of a string.
const MAX_WIDTH: usize = 1 << 16;

impl Builder {
    /// The table that a value numbers, if it is a tensor of strings.
    pub(super) fn table(&self, value: ValueId) -> Option<ValueId> {
        self.tables.get(&value).copied()
    }

    /// Makes a value, which nothing else must use as a number, a tensor of the strings in a table.
    pub(super) fn numbering(&mut self, numbers: ValueId, table: ValueId) -> ValueId {
        self.tables.insert(numbers, table);
        numbers
    }

    /// The number of bytes in a row of a table.
    pub(super) fn width(&self, table: ValueId) -> usize {
        self.shape(table).last().and_then(Dim::as_usize).unwrap_or(0)
    }

    /// A constant table.
    pub(super) fn constant_table<S: AsRef<[u8]>>(&mut self, strings: &[S]) -> Result<ValueId, Fault> {
        let longest = strings.iter().map(|text| text.as_ref().len()).max().unwrap_or(0);
        if longest > MAX_WIDTH {
            return Err(Fault::new(format!("a string of {longest} bytes is too long")));
        }
        let width = longest.max(1);
        let mut bytes = vec![0; width * strings.len()];
        for (row, text) in bytes.chunks_exact_mut(width).zip(strings) {
            let text = text.as_ref();
            if text.contains(&0) {
                return Err(Fault::new("a string contains a zero byte"));
            }
            if std::str::from_utf8(text).is_err() {
                return Err(Fault::new("a string is not UTF-8"));
            }
            row[..text.len()].copy_from_slice(text);
        }
        Ok(self.constant(Tensor::new(vec![strings.len(), width], &bytes)))
    }

    /// A constant tensor of strings.
    pub(super) fn constant_text<S: AsRef<[u8]>>(&mut self, shape: Vec<usize>, strings: &[S]) -> Result<ValueId, Fault> {
        let table = self.constant_table(strings)?;
        let numbers: Vec<_> = (0..strings.len() as i64).collect();
        let numbers = self.constant(Tensor::new(shape, &numbers));
        Ok(self.numbering(numbers, table))
    }

    /// The tensor of a shape whose strings are the rows of a table in order.
    pub(super) fn rows_in_order(&mut self, table: ValueId, shape: Vec<Dim>) -> Result<ValueId, Fault> {
        let f = Formula::new();
        let coordinates: Vec<_> = (0..shape.len()).map(|axis| f.index(axis)).collect();
        let number = coordinates
            .iter()
            .zip(&shape)
            .fold(f.number(0.0, DType::I64), |number, (&index, size)| {
                number * f.dim(size) + index
            });
        let expr = f.result(number);
        let numbers = self.emit(Op::Elementwise { expr, shape }, &[])?;
        Ok(self.numbering(numbers, table))
    }

    /// The strings of bytes `[..., width]`.
    pub(super) fn text_of_bytes(&mut self, bytes: ValueId) -> Result<ValueId, Fault> {
        let mut shape = self.shape(bytes);
        let width = shape.pop().unwrap_or(Dim::from(1i64));
        let rows = shape.iter().cloned().product();
        let table = self.reshape(bytes, vec![rows, width])?;
        self.rows_in_order(table, shape)
    }

    /// The bytes `[..., width]` of a tensor of strings.
    pub(super) fn bytes_of_text(&mut self, numbers: ValueId, table: ValueId) -> Result<ValueId, Fault> {
        self.emit(Op::Gather { axis: 0 }, &[table, numbers])
    }

    /// A table with zeros after its rows up to a width.
    pub(super) fn widened(&mut self, table: ValueId, width: usize) -> Result<ValueId, Fault> {
        let excess = width.saturating_sub(self.width(table));
        let (none, after) = (vec![Dim::from(0i64); 2], vec![Dim::from(0i64), Dim::from(excess)]);
        if excess == 0 {
            return Ok(table);
        }
        let zero = self.number(0.0, DType::U8)?;
        self.emit(
            Op::Pad {
                mode: PadMode::Constant,
                before: none,
                after,
            },
            &[table, zero],
        )
    }

    /// One table for all operands that are tensors of strings, and the operands with numbers into it.
    pub(super) fn joined(
        &mut self,
        operands: Vec<Option<ValueId>>,
    ) -> Result<(Vec<Option<ValueId>>, Option<ValueId>), Fault> {
        let mut tables: Vec<ValueId> = Vec::new();
        for table in operands.iter().flatten().filter_map(|&value| self.table(value)) {
            if !tables.contains(&table) {
                tables.push(table);
            }
        }
        if let [] | [_] = tables.as_slice() {
            return Ok((operands, tables.pop()));
        }
        let width = tables.iter().map(|&table| self.width(table)).max().unwrap_or(1);
        let (mut parts, mut starts, mut start) = (Vec::new(), Vec::new(), Dim::from(0i64));
        for &table in &tables {
            parts.push(self.widened(table, width)?);
            starts.push(start.clone());
            start = start + self.shape(table)[0].clone();
        }
        let joined = self.concat(&parts, 0)?;
        let mut moved = Vec::with_capacity(operands.len());
        for operand in operands {
            let place = operand
                .and_then(|value| self.table(value))
                .and_then(|table| tables.iter().position(|&t| t == table));
            moved.push(match (operand, place) {
                (Some(numbers), Some(place)) => {
                    let first = self.dims(Vec::new(), vec![starts[place].clone()]);
                    Some(self.binary(BinaryOp::Add, numbers, first)?)
                }
                (other, _) => other,
            });
        }
        Ok((moved, Some(joined)))
    }

    /// The length in bytes `[rows]` of the strings in a table.
    pub(super) fn lengths(&mut self, table: ValueId) -> Result<ValueId, Fault> {
        let f = Formula::new();
        let expr = f.result(f.input(0, DType::U8).ne(0).cast(DType::I64));
        let counted = self.elementwise(expr, &[table])?;
        let sum = Op::Reduce {
            kind: crate::ir::op::ReduceKind::Sum,
            axes: vec![1],
            keep_dims: false,
        };
        self.emit(sum, &[counted])
    }
}

/// Operators that move elements without looking at them, and so move strings by number.
pub(super) fn moves(domain: &str, op_type: &str) -> bool {
    const MOVES: [&str; 16] = [
        "Identity",
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Transpose",
        "Gather",
        "GatherElements",
        "GatherND",
        "Slice",
        "Expand",
        "Tile",
        "Concat",
        "Split",
        "Where",
        "Compress",
    ];
    match domain {
        "" => MOVES.contains(&op_type),
        "ai.onnx.ml" => op_type == "ArrayFeatureExtractor",
        _ => false,
    }
}

/// Operators that look at the shape of an operand alone.
pub(super) fn measures(domain: &str, op_type: &str) -> bool {
    domain.is_empty() && matches!(op_type, "Shape" | "Size")
}
