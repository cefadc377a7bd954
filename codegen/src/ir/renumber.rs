//! Renumbering of values.

use super::graph::{Block, Graph, Value, ValueId};

impl Graph {
    /// Numbers the values in the order of their definitions and forgets values that nothing defines.
    ///
    /// Uses of such values keep a number that nothing defines.
    pub fn renumber(&mut self) {
        let mut body = std::mem::take(&mut self.body);
        let mut numbers = vec![None; self.value_count()];
        let mut values = Vec::new();
        self.define_block(&body, &mut numbers, &mut values);
        // Numbers past the last definition keep undefined values distinct.
        let undefined = values.len();
        visit(&mut body, &mut |id| {
            let number = numbers.get(id.0 as usize).copied().flatten();
            *id = number.unwrap_or(ValueId(id.0.saturating_add(undefined as u32)));
        });
        self.body = body;
        self.set_values(values);
    }

    fn define_block(&self, block: &Block, numbers: &mut [Option<ValueId>], values: &mut Vec<Value>) {
        block.params.iter().for_each(|&id| self.define(id, numbers, values));
        for node in &block.nodes {
            node.outputs.iter().for_each(|&id| self.define(id, numbers, values));
            for region in &node.regions {
                self.define_block(region, numbers, values);
            }
        }
    }

    fn define(&self, id: ValueId, numbers: &mut [Option<ValueId>], values: &mut Vec<Value>) {
        if let Some(slot @ None) = numbers.get_mut(id.0 as usize) {
            *slot = Some(ValueId(values.len() as u32));
            values.push(self.value(id).clone());
        }
    }
}

fn visit(block: &mut Block, change: &mut dyn FnMut(&mut ValueId)) {
    block.params.iter_mut().for_each(&mut *change);
    for node in &mut block.nodes {
        node.inputs.iter_mut().for_each(&mut *change);
        node.outputs.iter_mut().for_each(&mut *change);
        for region in &mut node.regions {
            visit(region, change);
        }
    }
    block.results.iter_mut().for_each(change);
}
