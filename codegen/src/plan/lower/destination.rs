//! Where results are wanted: inside a concatenation, or transposed.

use super::order::inverse;
use super::{Layout, Lowering, Ref, storage_dtype};
use crate::ir::graph::{Block, Node, ValueId};
use crate::ir::op::PoolKind;
use crate::ir::{Dim, Op};
use std::collections::HashMap;

impl Lowering<'_> {
    /// Notes the products that are only transposed, so that they are written transposed.
    pub(super) fn plan_transposes(&mut self, block: &Block) {
        let (uses, producer) = links(block);
        for node in &block.nodes {
            let Op::Transpose { permutation } = &node.op else {
                continue;
            };
            let value = node.inputs[0];
            let inner_stays = permutation.last().is_some_and(|&last| last + 1 == permutation.len());
            let writer = producer.get(&value).map(|&number| &block.nodes[number].op);
            let strided = matches!(writer, Some(Op::MatMul { .. } | Op::Attention { .. }));
            if inner_stays && strided && uses[&value] == 1 {
                self.orders.insert(value, permutation.clone());
            }
        }
    }

    /// Gives values that are only concatenated a place inside the concatenation. Later concatenations come first, so
    /// that one inside another finds its own place.
    pub(super) fn plan_concats(&mut self, block: &Block) {
        let (_, producer) = links(block);
        for node in block.nodes.iter().rev() {
            if let Op::Concat { axis } = &node.op {
                self.plan_concat(block, node, *axis, &producer);
            }
        }
    }

    fn plan_concat(&mut self, block: &Block, node: &Node, axis: usize, producer: &HashMap<ValueId, usize>) {
        let output = node.outputs[0];
        let ty = self.graph.ty(output);
        let y = match self.destinations.get(&output) {
            Some(y) => y.clone(),
            None => {
                let name = self.graph.value(output).name.clone().unwrap_or_default();
                let order = self.order(output);
                let stored: Vec<Dim> = order.iter().map(|&axis| ty.shape[axis].clone()).collect();
                match self.whole_buffer(ty.dtype, &stored, &name) {
                    Ok(y) => y.transpose(&inverse(&order)),
                    // The node itself reports the error when it is lowered.
                    Err(_) => return,
                }
            }
        };
        self.destinations.insert(output, y.clone());
        let mut start = Dim::from(0i64);
        for &input in &node.inputs {
            let shape = self.graph.ty(input).shape.clone();
            let part = self.part(&y, axis, &start, &shape);
            start = start + shape[axis].clone();
            let once = node.inputs.iter().filter(|&&other| other == input).count() == 1;
            let is_result = block.results.contains(&input);
            let Some(&number) = producer.get(&input) else {
                continue;
            };
            if once
                && !is_result
                && !self.destinations.contains_key(&input)
                && writes_strided(&block.nodes[number].op, &part)
            {
                debug_assert_eq!(storage_dtype(self.graph.ty(input).dtype), part.dtype);
                self.destinations.insert(input, part);
            }
        }
    }

    /// The part of a concatenation along `axis` that starts at `start`.
    pub(super) fn part(&self, y: &Ref, axis: usize, start: &Dim, shape: &[Dim]) -> Ref {
        let mut starts = vec![Dim::from(0i64); shape.len()];
        starts[axis] = start.clone();
        Ref {
            layout: y
                .layout
                .slice(&starts, &vec![1; shape.len()], shape, &self.graph.bounds),
            ..y.clone()
        }
    }
}

/// How often values are used in a block, and the number of the node that computes each.
pub(super) fn links(block: &Block) -> (HashMap<ValueId, usize>, HashMap<ValueId, usize>) {
    let mut uses: HashMap<ValueId, usize> = HashMap::new();
    let mut producer: HashMap<ValueId, usize> = HashMap::new();
    for (number, node) in block.nodes.iter().enumerate() {
        let captured = node.regions.iter().flat_map(Block::captures);
        for value in node.inputs.iter().copied().chain(captured) {
            *uses.entry(value).or_default() += 1;
        }
        for &output in &node.outputs {
            producer.insert(output, number);
        }
    }
    for &result in &block.results {
        *uses.entry(result).or_default() += 1;
    }
    (uses, producer)
}

/// Whether the kernels of an operation can write their result the way `part` lies.
pub(super) fn writes_strided(op: &Op, part: &Ref) -> bool {
    let layout = &part.layout;
    match op {
        Op::Constant(_)
        | Op::Dequantize { .. }
        | Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Slice { .. }
        | Op::Broadcast { .. }
        | Op::If
        | Op::Loop { .. }
        | Op::Scan { .. }
        | Op::Recurrent { .. } => false,
        Op::Elementwise { .. } | Op::Concat { .. } => true,
        Op::Conv { .. } => is_rows_of_pixels(layout),
        Op::Pool { kind, .. } => {
            has_dense_planes(layout) || is_rows_of_pixels(layout) && !matches!(kind, PoolKind::Lp { .. })
        }
        Op::ConvTranspose { .. } => has_dense_planes(layout),
        Op::Resize { .. } => layout.is_dense() || is_one_run_of_pixels(layout),
        Op::MatMul { .. } | Op::Attention { .. } => layout.strides.last().is_some_and(|stride| stride.is(1)),
        _ => layout.is_dense(),
    }
}

/// Whether the channels of a pixel are contiguous and its pixels equally far apart, row after row.
pub(super) fn is_rows_of_pixels(layout: &Layout) -> bool {
    let rank = layout.shape.len();
    (layout.strides[1].is(1) || layout.shape[1].is(1)) && are_runs(layout, layout.strides[rank - 1].clone())
}

/// Whether the channels of a pixel of an image in two dimensions are contiguous and its pixels, and those of all images,
/// equally far apart.
pub(super) fn is_one_run_of_pixels(layout: &Layout) -> bool {
    let [batch, _, height, width] = layout.shape.as_slice() else {
        return false;
    };
    let image = height.clone() * width.clone() * layout.strides[3].clone();
    is_rows_of_pixels(layout) && (batch.is(1) || layout.strides[0] == image)
}

/// Whether the planes of an image are dense; channels and images lie anywhere.
pub(super) fn has_dense_planes(layout: &Layout) -> bool {
    are_runs(layout, Dim::from(1i64))
}

/// Whether the spatial axes of an image are walked with one stride.
fn are_runs(layout: &Layout, stride: Dim) -> bool {
    let mut expected = stride;
    (2..layout.shape.len()).rev().all(|axis| {
        let fits = layout.strides[axis] == expected || layout.shape[axis].is(1);
        expected = expected.clone() * layout.shape[axis].clone();
        fits
    })
}
