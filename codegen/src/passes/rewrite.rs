//! The engine under the passes: one sweep over a graph in definition order that applies a rule to every node.

use crate::ir::{Block, Dim, Expr, Graph, Node, Op, TensorType, ValueId, infer};
use std::rc::Rc;

/// Where a value is defined, among the blocks being rebuilt.
#[derive(Clone, Copy)]
struct Definition {
    depth: usize,
    index: usize,
}

/// A graph in the middle of a sweep.
///
/// The operands of the node at hand are already rewritten, so that a chain of rewrites from inputs to outputs takes one
/// sweep. Use counts are exact at every moment: a node whose last use goes away disappears, and so do its operands.
pub(super) struct Rewriter<'g> {
    /// The graph; its body is being rebuilt.
    pub(super) graph: &'g mut Graph,
    blocks: Vec<Vec<Option<Rc<Node>>>>,
    definitions: Vec<Option<Definition>>,
    uses: Vec<u32>,
    replacements: Vec<Option<ValueId>>,
    changed: bool,
}

/// What a rule does to a node: the values that replace its results, or `None` to keep it.
pub(super) type Rewrite = Option<Vec<ValueId>>;

/// Applies `rule` to every node of the body and of all regions, in definition order. Returns whether it replaced any.
pub(super) fn sweep(graph: &mut Graph, rule: &mut dyn FnMut(&mut Rewriter<'_>, &Rc<Node>) -> Rewrite) -> bool {
    let mut body = std::mem::take(&mut graph.body);
    let count = graph.value_count();
    let mut rewriter = Rewriter {
        graph,
        blocks: Vec::new(),
        definitions: vec![None; count],
        uses: vec![0; count],
        replacements: vec![None; count],
        changed: false,
    };
    rewriter.count_block(&body);
    rewriter.block(&mut body, rule);
    let changed = rewriter.changed;
    graph.body = body;
    changed
}

impl Rewriter<'_> {
    fn count_block(&mut self, block: &Block) {
        for node in &block.nodes {
            self.count_node(node, 1);
        }
        for result in &block.results {
            self.uses[result.0 as usize] += 1;
        }
    }

    /// Adds `change` to the use counts of the operands of a node and of everything in its regions.
    fn count_node(&mut self, node: &Node, change: i32) {
        fn visit(node: &Node, add: &mut dyn FnMut(ValueId)) {
            node.inputs.iter().copied().for_each(&mut *add);
            for region in &node.regions {
                for node in &region.nodes {
                    visit(node, add);
                }
                region.results.iter().copied().for_each(&mut *add);
            }
        }
        let uses = &mut self.uses;
        visit(node, &mut |value| {
            let slot = &mut uses[value.0 as usize];
            *slot = slot.checked_add_signed(change).expect("use counts are exact");
        });
    }

    fn resolve(&mut self, value: &mut ValueId) {
        while let Some(next) = self.replacements[value.0 as usize] {
            *value = next;
        }
    }

    fn block(&mut self, block: &mut Block, rule: &mut dyn FnMut(&mut Rewriter<'_>, &Rc<Node>) -> Rewrite) {
        self.blocks.push(Vec::with_capacity(block.nodes.len()));
        for mut node in std::mem::take(&mut block.nodes) {
            for input in &mut node.inputs {
                self.resolve(input);
            }
            for region in &mut node.regions {
                self.block(region, rule);
            }
            let node = Rc::new(node);
            self.push(node.clone());
            if let Some(values) = rule(self, &node) {
                debug_assert_eq!(values.len(), node.outputs.len(), "a value for every result");
                self.changed = true;
                for (&old, &new) in node.outputs.iter().zip(&values) {
                    self.replace(old, new);
                }
                self.release(node);
            }
        }
        for result in &mut block.results {
            self.resolve(result);
        }
        let nodes = self.blocks.pop().expect("the block pushed above");
        let unshared = |node| Rc::try_unwrap(node).unwrap_or_else(|shared| Node::clone(&shared));
        block.nodes = nodes.into_iter().flatten().map(unshared).collect();
    }

    fn push(&mut self, node: Rc<Node>) {
        let depth = self.blocks.len() - 1;
        let index = self.blocks[depth].len();
        for output in &node.outputs {
            self.definitions[output.0 as usize] = Some(Definition { depth, index });
        }
        self.blocks[depth].push(Some(node));
    }

    fn replace(&mut self, old: ValueId, new: ValueId) {
        if old == new {
            return;
        }
        debug_assert_eq!(self.graph.ty(old).dtype, self.graph.ty(new).dtype);
        debug_assert_eq!(self.graph.ty(old).rank(), self.graph.ty(new).rank());
        let (from, to) = (old.0 as usize, new.0 as usize);
        self.replacements[from] = Some(new);
        self.uses[to] += std::mem::take(&mut self.uses[from]);
        if self.graph.value(new).name.is_none() {
            let name = self.graph.value_mut(old).name.take();
            self.graph.value_mut(new).name = name;
        }
    }

    /// Removes a node without uses, and the operands of which it was the last user.
    fn release(&mut self, node: Rc<Node>) {
        let mut dead = vec![node];
        while let Some(node) = dead.pop() {
            let Some(slot) = self.slot(node.outputs.first().copied()) else {
                continue;
            };
            *slot = None;
            self.count_node(&node, -1);
            for &input in &node.inputs {
                if let Some(definition) = self.definition(input)
                    && definition.outputs.iter().all(|&output| self.uses(output) == 0)
                {
                    dead.push(definition);
                }
            }
        }
    }

    fn slot(&mut self, value: Option<ValueId>) -> Option<&mut Option<Rc<Node>>> {
        let Definition { depth, index } = self.definitions[value?.0 as usize]?;
        let slot = self.blocks.get_mut(depth)?.get_mut(index)?;
        slot.as_ref()
            .is_some_and(|node| node.outputs.first().copied() == value)
            .then_some(slot)
    }

    /// The node that defines a value; `None` for parameters of blocks.
    pub(super) fn definition(&self, value: ValueId) -> Option<Rc<Node>> {
        let Definition { depth, index } = self.definitions[value.0 as usize]?;
        let node = self.blocks.get(depth)?.get(index)?.as_ref()?;
        node.outputs.contains(&value).then(|| node.clone())
    }

    /// Whether a value is defined in the block at hand rather than in one around it.
    pub(super) fn is_local(&self, value: ValueId) -> bool {
        self.definitions[value.0 as usize].is_some_and(|definition| definition.depth + 1 == self.blocks.len())
    }

    /// A number that grows with the place of the definition of a value; parameters of blocks come first.
    pub(super) fn order(&self, value: ValueId) -> (usize, usize) {
        self.definitions[value.0 as usize].map_or((0, 0), |definition| (definition.depth + 1, definition.index))
    }

    /// How often a value is used, as an operand or as a result of a block.
    pub(super) fn uses(&self, value: ValueId) -> u32 {
        self.uses[value.0 as usize]
    }

    /// The type of a value.
    pub(super) fn ty(&self, value: ValueId) -> &TensorType {
        self.graph.ty(value)
    }

    /// The shape of a value.
    pub(super) fn shape(&self, value: ValueId) -> &[Dim] {
        &self.graph.ty(value).shape
    }

    /// Whether two shapes are equal for every input the model accepts.
    pub(super) fn same_shape(&self, a: &[Dim], b: &[Dim]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| self.graph.dims_equal(a, b))
    }

    /// Adds a node with one result. `None` if the operation does not accept the operands.
    pub(super) fn emit(&mut self, op: Op, inputs: Vec<ValueId>, origin: &[String]) -> Option<ValueId> {
        let ty = infer::infer(self.graph, &op, &inputs, &[]).ok()?.into_iter().next()?;
        let output = self.graph.add_value(ty, None);
        let count = self.graph.value_count();
        self.definitions.resize(count, None);
        self.uses.resize(count, 0);
        self.replacements.resize(count, None);
        let node = Node {
            op,
            inputs,
            outputs: vec![output],
            regions: Vec::new(),
            origin: origin.to_vec(),
        };
        self.count_node(&node, 1);
        self.push(Rc::new(node));
        Some(output)
    }

    /// Adds a demand: the run ends with an error unless a rank-0 `bool` holds.
    pub(super) fn demand(&mut self, value: ValueId, message: &str, origin: &[String]) {
        let node = Node {
            op: Op::Assert {
                message: message.to_owned(),
            },
            inputs: vec![value],
            outputs: Vec::new(),
            regions: Vec::new(),
            origin: origin.to_vec(),
        };
        self.count_node(&node, 1);
        self.push(Rc::new(node));
    }

    /// Adds a node like another one, with other operands.
    pub(super) fn emit_like(&mut self, node: &Node, op: Op, inputs: Vec<ValueId>) -> Option<ValueId> {
        self.emit(op, inputs, &node.origin)
    }

    /// Adds an elementwise node.
    pub(super) fn elementwise(
        &mut self,
        expr: Expr,
        inputs: Vec<ValueId>,
        shape: Vec<Dim>,
        origin: &[String],
    ) -> Option<ValueId> {
        self.emit(Op::Elementwise { expr, shape }, inputs, origin)
    }

    /// A value in another shape with the same elements: the value itself, or a new reshape.
    pub(super) fn reshaped(&mut self, value: ValueId, shape: Vec<Dim>, origin: &[String]) -> Option<ValueId> {
        if self.same_shape(self.shape(value), &shape) {
            return Some(value);
        }
        self.emit(Op::Reshape { shape }, vec![value], origin)
    }

    /// A value repeated to a shape: the value itself, or a new broadcast.
    pub(super) fn broadcast_to(&mut self, value: ValueId, shape: Vec<Dim>, origin: &[String]) -> Option<ValueId> {
        if self.same_shape(self.shape(value), &shape) {
            return Some(value);
        }
        self.emit(Op::Broadcast { shape }, vec![value], origin)
    }
}

/// The origins of several nodes, without repetition.
pub(super) fn merged_origin<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Vec<String> {
    let mut origin: Vec<String> = Vec::new();
    for name in nodes.into_iter().flat_map(|node| &node.origin) {
        if !origin.contains(name) {
            origin.push(name.clone());
        }
    }
    origin
}
