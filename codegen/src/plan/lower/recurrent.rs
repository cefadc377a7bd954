//! Recurrent layers.

use super::super::Kernel;
use super::super::kernel::Recurrent;
use super::super::layout::Layout;
use super::{Lowered, Lowering, Packing};
use crate::ir::graph::Node;
use crate::ir::{Cell, Dim, Op};
use onnxide_runtime::linear;

impl Lowering<'_> {
    pub(super) fn recurrent(&mut self, node: &Node) -> Lowered {
        let Op::Recurrent { cell, reverse } = node.op else {
            return Err("not a recurrent layer".into());
        };
        let mut x = self.operand(node.inputs[0]);
        self.only_f32(x.dtype)?;
        if !(x.layout.strides[2].is(1) || x.layout.shape[2].is(1)) {
            x = self.copy(&x, &node.origin)?;
        }
        let hidden = self.graph.ty(node.outputs[1]).shape[1].clone();
        let kernel = Recurrent {
            cell,
            reverse,
            steps: x.layout.shape[0].clone(),
            batch: x.layout.shape[1].clone(),
            input: x.layout.shape[2].clone(),
            hidden: hidden.clone(),
            x: [x.layout.strides[0].clone(), x.layout.strides[1].clone()],
        };
        let (Some(input), Some(hidden)) = (kernel.input.as_usize(), hidden.as_usize()) else {
            return Err("the sizes of a recurrent layer must be constant".into());
        };
        let (steps, batch) = (self.upper(&kernel.steps), self.upper(&kernel.batch));
        let fixed = kernel.steps.as_const().is_some() && kernel.batch.as_const().is_some();
        let (gates, scratch) = match cell {
            Cell::Lstm => {
                let problem = linear::Lstm {
                    steps,
                    batch,
                    input,
                    hidden,
                    reverse,
                    x_step: 0,
                    x_batch: 0,
                    y_step: 0,
                    y_batch: 0,
                };
                (
                    4,
                    if fixed {
                        linear::lstm_scratch(&problem)
                    } else {
                        linear::lstm_scratch_bound(&problem)
                    },
                )
            }
            Cell::Gru { linear_before_reset } => {
                let problem = linear::Gru {
                    steps,
                    batch,
                    input,
                    hidden,
                    reverse,
                    linear_before_reset,
                    x_step: 0,
                    x_batch: 0,
                    y_step: 0,
                    y_batch: 0,
                };
                (
                    3,
                    if fixed {
                        linear::gru_scratch(&problem)
                    } else {
                        linear::gru_scratch_bound(&problem)
                    },
                )
            }
            Cell::Rnn => return Err("the plain recurrent cell is not supported yet".into()),
        };
        let mut reads = vec![self.access(&x, Vec::new())];
        for (place, size) in [(1, input), (2, hidden)] {
            let weights = self.operand(node.inputs[place]);
            let Some((value, _)) = self
                .constant_of(&weights)
                .filter(|_| weights.layout == Layout::dense(&weights.layout.shape))
            else {
                return Err("weights known only at run time are not supported yet; they must be constant".into());
            };
            // The matrix of ONNX is the transpose of the right matrix of the product.
            let packing = if place == 2 && gates == 3 {
                Packing::GruState { hidden }
            } else {
                Packing::Rhs {
                    k: size,
                    n: gates * hidden,
                    row: 1,
                    column: size,
                    offset: 0,
                }
            };
            reads.push(self.packed(value, packing));
        }
        let bias = self.operand(node.inputs[3]);
        if gates == 3 {
            let Some((value, _)) = self
                .constant_of(&bias)
                .filter(|_| bias.layout == Layout::dense(&bias.layout.shape))
            else {
                return Err("a bias known only at run time is not supported yet; it must be constant".into());
            };
            reads.push(self.packed(value, Packing::GruBias { hidden }));
        } else {
            let bias = self.dense(&bias, &node.origin)?;
            reads.push(self.access(&bias, Vec::new()));
        }
        let mut writes = Vec::new();
        let y = self.result(node.outputs[0])?;
        writes.push(self.access(&y, Vec::new()));
        // States start as the initial ones and are updated in place.
        for (place, &output) in node.outputs[1..].iter().enumerate() {
            let initial = self.operand(node.inputs[4 + place]);
            let state = self.result(output)?;
            self.copy_to(&initial, &state, &node.origin)?;
            writes.push(self.access(&state, Vec::new()));
        }
        let scratch = self.scratch(scratch)?;
        let macs = kernel.steps.clone() * kernel.batch.clone() * Dim::from(gates * hidden * (input + hidden));
        let results = self.types_of(&node.outputs);
        self.push(
            Kernel::Recurrent(kernel),
            Vec::new(),
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
