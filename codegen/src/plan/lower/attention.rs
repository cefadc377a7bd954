//! Attention, all heads at once.

use super::super::Kernel;
use super::super::kernel::{Attention, HeadStrides};
use super::matmul::{View, take_loops};
use super::{Lowered, Lowering};
use crate::ir::graph::Node;
use crate::ir::{Dim, Op};
use onnxide_runtime::linear;

impl Lowering<'_> {
    pub(super) fn attention(&mut self, node: &Node) -> Lowered {
        let Op::Attention { scale, mask, causal } = &node.op else {
            return Err("not attention".into());
        };
        let mut operands = Vec::new();
        for &input in &node.inputs {
            let operand = self.operand(input);
            self.only_f32(operand.dtype)?;
            operands.push(operand);
        }
        let out = self.result(node.outputs[0])?;
        for operand in &mut operands {
            *operand = self.apart_from(operand, &out, &node.origin)?;
        }
        let rank = out.layout.shape.len();
        let adjacent = |strides: &[Dim]| strides[strides.len() - 1].is(1);
        // Queries are read along rows; keys and values may lie transposed.
        if !adjacent(&operands[0].layout.strides) {
            operands[0] = self.copy(&operands[0], &node.origin)?;
        }
        let mut layouts: Vec<_> = operands.iter().map(|operand| operand.layout.clone()).collect();
        if *mask {
            let mut scores = out.layout.shape[..rank - 1].to_vec();
            scores.push(operands[1].layout.shape[rank - 2].clone());
            let mut seen = operands[3].layout.broadcast(&scores);
            if !adjacent(&seen.strides) {
                // A mask that is the same for all keys, or lies transposed, is spread out along them.
                let mut wide = operands[3].layout.shape.clone();
                wide.pop();
                wide.push(scores[rank - 1].clone());
                let spread = super::Ref {
                    layout: operands[3].layout.broadcast(&wide),
                    ..operands[3].clone()
                };
                operands[3] = self.copy(&spread, &node.origin)?;
                seen = operands[3].layout.broadcast(&scores);
            }
            layouts[3] = seen;
        }
        layouts.push(out.layout.clone());
        let (mut loops, mut views) = take_loops(&layouts, 2);
        // The kernel runs the innermost two loops, which are the sequences and their heads as a rule.
        let inner = loops.split_off(loops.len().saturating_sub(2));
        let strides: Vec<HeadStrides> = views.iter_mut().map(|view| head_strides(view, loops.len())).collect();
        let last = views.len() - 1;
        let size = |view: usize, axis: usize| views[view].layout.shape[axis].clone();
        let kernel = Attention {
            heads: right_aligned(&inner, 1),
            queries: size(0, 0),
            keys: size(1, 0),
            head: size(0, 1),
            value: size(2, 1),
            scale: *scale,
            causal: *causal,
            q: strides[0].clone(),
            k: strides[1].clone(),
            v: strides[2].clone(),
            out: strides[last].clone(),
            mask: mask.then(|| strides[3].clone()),
        };
        let problem = linear::Attention {
            heads: [1, 1],
            q_len: self.upper(&kernel.queries),
            kv_len: self.upper(&kernel.keys),
            head_dim: self.upper(&kernel.head),
            value_dim: self.upper(&kernel.value),
            scale: *scale,
            q_head: [0, 0],
            q_row: 0,
            k_head: [0, 0],
            k_row: 0,
            k_column: 0,
            v_head: [0, 0],
            v_row: 0,
            v_column: 0,
            out_head: [0, 0],
            out_row: 0,
            causal: *causal,
            causal_offset: 0,
        };
        let scratch = self.scratch(linear::attention_scratch(&problem))?;
        let [sequences, heads] = kernel.heads.clone();
        let per_head = kernel.queries.clone() * kernel.keys.clone() * (kernel.head.clone() + kernel.value.clone());
        let macs = sequences * heads * per_head;
        let mut reads = Vec::new();
        for (operand, view) in operands.iter().zip(&views) {
            reads.push(self.access_view(operand, view));
        }
        let writes = vec![self.access_view(&out, &views[last])];
        let results = self.types_of(&node.outputs);
        self.push(
            Kernel::Attention(Box::new(kernel)),
            loops,
            reads,
            writes,
            scratch,
            &node.origin,
            results,
            macs,
        );
        Ok(())
    }
}

/// Takes the strides of all loops but the first `kept` out of a view.
fn head_strides(view: &mut View, kept: usize) -> HeadStrides {
    let inner = view.loop_strides.split_off(kept);
    HeadStrides {
        head: right_aligned(&inner, 0),
        row: view.layout.strides[0].clone(),
        column: view.layout.strides[1].clone(),
    }
}

/// At most two sizes or strides as the last of two.
fn right_aligned(dims: &[Dim], fill: i64) -> [Dim; 2] {
    let fill = Dim::from(fill);
    match dims {
        [first, second] => [first.clone(), second.clone()],
        [second] => [fill, second.clone()],
        _ => [fill.clone(), fill],
    }
}
