//! Weights that stay quantized.

use super::matmul::View;
use super::{Lowered, Lowering, Origin, Ref};
use crate::Precision;
use crate::ir::eval::eval_node;
use crate::ir::graph::{Block, Node, ValueId};
use crate::ir::{DType, Op, Tensor};
use crate::plan::access::Access;
use crate::plan::kernel::Matrix;
use crate::plan::layout::Layout;
use crate::plan::weights::Packing;
use onnxide_runtime::linear::BlockFormat;
use std::collections::hash_map::Entry;

/// A matrix of quantized numbers, which no step but products may read.
#[derive(Debug)]
pub(super) struct Quantized {
    /// The operation that says what the numbers stand for, and its operands.
    op: Op,
    tensors: Vec<Tensor>,
    format: BlockFormat,
    name: String,
}

impl Quantized {
    /// What the numbers stand for.
    fn unpacked(&self) -> Result<Tensor, String> {
        let mut results = eval_node(&self.op, &self.tensors, &|_| None)?;
        results.pop().ok_or_else(|| "no result".to_owned())
    }
}

impl Lowering<'_> {
    /// What quantized numbers stand for: a constant. It does not exist as such unless something else than a product that can
    /// read the numbers needs it.
    pub(super) fn dequantize(&mut self, node: &Node, rows: usize) -> Lowered {
        let mut tensors = Vec::with_capacity(node.inputs.len());
        for &input in &node.inputs {
            let source = self.operand(input);
            let constant = self.constant_of(&source).filter(|_| source.layout.is_dense());
            let shape = self.graph.ty(input).static_shape();
            let (Some((_, tensor)), Some(shape)) = (constant, shape) else {
                return Err("only the run knows quantized numbers or their scales".into());
            };
            tensors.push(tensor.reshaped(shape));
        }
        let value = node.outputs[0];
        let numbers = tensors.iter().filter(|tensor| tensor.dtype == DType::I8);
        let is_short = numbers
            .flat_map(|tensor| tensor.data.iter())
            .all(|&byte| (-8..8).contains(&(byte as i8)));
        let quantized = Quantized {
            format: BlockFormat {
                bits: if is_short { 4 } else { 8 },
                rows,
                zeros: tensors.len() > 2,
            },
            op: node.op.clone(),
            tensors,
            name: self.constant_name(node),
        };
        self.refs.insert(
            value,
            Ref {
                origin: Origin::Constant(value),
                dtype: DType::F32,
                layout: Layout::dense(&self.graph.ty(value).shape),
            },
        );
        if !is_right_matrix(&self.graph.body, value) {
            self.constants
                .insert(value, (quantized.unpacked()?, quantized.name.clone()));
        }
        self.quantized.insert(value, quantized);
        Ok(())
    }

    /// A right matrix of a product that stays quantized. Where it cannot, it becomes a constant.
    pub(super) fn quantized_right(
        &mut self,
        node: &Node,
        b: &Ref,
        view: &View,
    ) -> Result<Option<(Matrix, Access)>, String> {
        let Origin::Constant(value) = b.origin else {
            return Ok(None);
        };
        let Some(quantized) = self.quantized.get(&value) else {
            return Ok(None);
        };
        let &[k, n] = quantized.tensors[0].shape.as_slice() else {
            return Ok(None);
        };
        let same = view.loop_strides.iter().all(|stride| stride.is(0));
        let is_whole = view.layout.is_dense() && view.layout.offset.is(0) && view.layout.shape[0].is(k as i64);
        if same && is_whole && !self.is_bf16(node, k) {
            let mut parameters = quantized.tensors[1..].iter().cloned();
            let packing = Packing::RhsBlocks {
                format: quantized.format,
                k,
                n,
                scales: parameters.next().ok_or("no scales")?,
                zeros: parameters.next(),
            };
            let id = self.weights.add(&quantized.tensors[0], packing, &quantized.name);
            let access = Access::weight(id, DType::U32, 0);
            let matrix = Matrix::PackedBlocks {
                format: quantized.format,
                rounded: self.options.precision == Precision::Int8,
            };
            return Ok(Some((matrix, access)));
        }
        if let Entry::Vacant(place) = self.constants.entry(value) {
            place.insert((quantized.unpacked()?, quantized.name.clone()));
        }
        Ok(None)
    }
}

/// Whether a value is nothing but the right matrix of products.
fn is_right_matrix(block: &Block, value: ValueId) -> bool {
    let of_node = |node: &Node| {
        let place = match node.op {
            Op::MatMul { .. } => 1,
            _ => usize::MAX,
        };
        let mut inputs = node.inputs.iter().enumerate();
        inputs.all(|(index, &input)| input != value || index == place)
            && node.regions.iter().all(|region| is_right_matrix(region, value))
    };
    !block.results.contains(&value) && block.nodes.iter().all(of_node)
}
