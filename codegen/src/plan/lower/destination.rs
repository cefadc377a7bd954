//! Where results are wanted: inside a concatenation, or transposed.

use super::{Lowering, Ref, storage_dtype};
use crate::ir::graph::{Block, Node, ValueId};
use crate::ir::{Dim, Op};
use std::collections::HashMap;

impl Lowering<'_> {
    /// Gives values that are only concatenated a place inside the concatenation, and notes products that are only
    /// transposed. Later concatenations come first, so that one inside another finds its own place.
    pub(super) fn plan_destinations(&mut self, block: &Block) {
        let mut uses: HashMap<ValueId, usize> = HashMap::new();
        let mut producer: HashMap<ValueId, usize> = HashMap::new();
        for (number, node) in block.nodes.iter().enumerate() {
            for &input in &node.inputs {
                *uses.entry(input).or_default() += 1;
            }
            for region in &node.regions {
                for captured in region.captures() {
                    *uses.entry(captured).or_default() += 1;
                }
            }
            for &output in &node.outputs {
                producer.insert(output, number);
            }
        }
        for &result in &block.results {
            *uses.entry(result).or_default() += 1;
        }
        for node in block.nodes.iter().rev() {
            match &node.op {
                Op::Concat { axis } => self.plan_concat(block, node, *axis, &producer),
                Op::Transpose { permutation } => {
                    let value = node.inputs[0];
                    let inner_stays = permutation.last().is_some_and(|&last| last + 1 == permutation.len());
                    let writer = producer.get(&value).map(|&number| &block.nodes[number].op);
                    let strided = matches!(writer, Some(Op::MatMul { .. } | Op::Attention { .. }));
                    if inner_stays && strided && uses[&value] == 1 && !self.destinations.contains_key(&value) {
                        self.transposed.insert(value, permutation.clone());
                    }
                }
                _ => {}
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
                match self.whole_buffer(ty.dtype, &ty.shape, &name) {
                    Ok(y) => y,
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

/// Whether the kernels of an operation can write their result the way `part` lies.
pub(super) fn writes_strided(op: &Op, part: &Ref) -> bool {
    let strides = &part.layout.strides;
    let shape = &part.layout.shape;
    let rank = shape.len();
    if part.layout.is_dense() {
        let view = matches!(
            op,
            Op::Constant(_) | Op::Reshape { .. } | Op::Transpose { .. } | Op::Slice { .. } | Op::Broadcast { .. }
        );
        let control = matches!(op, Op::If | Op::Loop { .. } | Op::Scan { .. } | Op::Recurrent { .. });
        return !view && !control;
    }
    match op {
        Op::Elementwise { .. } | Op::Concat { .. } => true,
        Op::MatMul { .. } | Op::Attention { .. } => strides[rank - 1].is(1),
        // The planes of images are dense; channels and images lie anywhere.
        Op::Conv { .. } | Op::ConvTranspose { .. } | Op::Pool { .. } => {
            let mut expected = Dim::from(1i64);
            (2..rank).rev().all(|axis| {
                let fits = strides[axis] == expected || shape[axis].is(1);
                expected = expected.clone() * shape[axis].clone();
                fits
            })
        }
        _ => false,
    }
}
