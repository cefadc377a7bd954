//! Calls of functions that the user provides.

use super::super::Kernel;
use super::super::kernel::OpaqueCall;
use super::{Lowered, Lowering};
use crate::ir::graph::Node;
use crate::ir::{Dim, Opaque};

/// How many slots a step can borrow at once.
const MAX_SLOTS: usize = 12;

impl Lowering<'_> {
    pub(super) fn opaque(&mut self, node: &Node, call: &Opaque) -> Lowered {
        if node.inputs.len().max(node.outputs.len()) > MAX_SLOTS {
            return Err(format!(
                "a function with {} operands and {} results is not supported: {MAX_SLOTS} of each are",
                node.inputs.len(),
                node.outputs.len()
            ));
        }
        let mut targets = Vec::new();
        for &output in &node.outputs {
            targets.push(self.result(output)?);
        }
        let mut reads = Vec::new();
        for &input in &node.inputs {
            let mut operand = self.operand(input);
            for target in &targets {
                operand = self.apart_from(&operand, target, &node.origin)?;
            }
            let operand = self.dense(&operand, &node.origin)?;
            reads.push(self.access(&operand, Vec::new()));
        }
        let writes = targets.iter().map(|target| self.access(target, Vec::new())).collect();
        let results = self.types_of(&node.outputs);
        let kernel = Kernel::Opaque(OpaqueCall {
            function: call.function.clone(),
            arguments: call.arguments.clone(),
            operands: self.types_of(&node.inputs),
            results: results.clone(),
            fallible: call.fallible,
        });
        self.push(
            kernel,
            Vec::new(),
            reads,
            writes,
            None,
            &node.origin,
            results,
            Dim::from(0i64),
        );
        Ok(())
    }
}
