//! In which order the axes of a value are stored.
//!
//! The core IR names the axes of an image batch, channels, height, width. Convolutions compute channels last: the
//! channels of a pixel are the columns of a matrix product, so that nothing is packed or transposed while the model
//! runs, and what follows a pixel is a run of contiguous values. Everything between convolutions follows, because an
//! elementwise result lies as its operands do. The order is back to that of the IR where an operation needs it, and at
//! the outputs of the model.

use super::{Layout, Lowering, Ref};
use crate::ir::graph::{Block, Graph, Node, ValueId};
use crate::ir::op::PoolKind;
use crate::ir::{Bounds, Dim, Op};
use std::collections::{HashMap, HashSet};

/// The axes of a value from the outermost to the innermost as they are stored.
pub(super) type Order = Vec<usize>;

/// Channels last: `[0, 2, .., 1]`.
pub(super) fn channels_last(rank: usize) -> Order {
    std::iter::once(0).chain(2..rank).chain([1]).collect()
}

/// The order in which a dense layout stores its axes. Axes of size 1 lie anywhere; they come first where any other axis
/// is out of place.
pub(super) fn stored_order(layout: &Layout, bounds: &Bounds) -> Order {
    let (ones, mut wide): (Order, Order) = (0..layout.shape.len()).partition(|&axis| layout.shape[axis].is(1));
    wide.sort_by_key(|&axis| std::cmp::Reverse(layout.strides[axis].upper(bounds)));
    if wide.is_sorted() {
        return (0..layout.shape.len()).collect();
    }
    ones.into_iter().chain(wide).collect()
}

/// The permutation that undoes `order`.
pub(super) fn inverse(order: &[usize]) -> Order {
    let mut inverse = vec![0; order.len()];
    for (place, &axis) in order.iter().enumerate() {
        inverse[axis] = place;
    }
    inverse
}

/// The layout of a value that is stored densely in an order.
pub(super) fn ordered(shape: &[Dim], order: &[usize]) -> Layout {
    let stored: Vec<Dim> = order.iter().map(|&axis| shape[axis].clone()).collect();
    Layout::dense(&stored).transpose(&inverse(order))
}

fn is_natural(order: &[usize]) -> bool {
    order.is_sorted()
}

impl Ref {
    /// The value with its axes in another order.
    pub(super) fn transpose(&self, order: &[usize]) -> Ref {
        Ref {
            layout: self.layout.transpose(order),
            ..self.clone()
        }
    }
}

impl Lowering<'_> {
    /// Chooses the order of the values of a block, front to back.
    pub(super) fn plan_orders(&mut self, block: &Block) {
        let mut chosen = Orders {
            graph: self.graph,
            known: &self.orders,
            outer: &self.refs,
            results: &block.results,
            blocks: block
                .nodes
                .iter()
                .filter(|node| self.becomes_blocks(node))
                .flat_map(|node| node.outputs.iter().copied())
                .collect(),
            layouts: HashMap::new(),
        };
        let mut orders = Vec::new();
        for node in &block.nodes {
            if let Some(order) = chosen.visit(node) {
                orders.push((node.outputs[0], order));
            }
        }
        self.orders.extend(orders);
    }

    /// The order of a value that gets a buffer of its own.
    pub(super) fn order(&self, value: ValueId) -> Order {
        let rank = self.graph.ty(value).shape.len();
        self.orders.get(&value).cloned().unwrap_or_else(|| (0..rank).collect())
    }

    /// A dense value in a new buffer, stored in an order.
    pub(super) fn new_ordered(&mut self, value: &Ref, order: &[usize]) -> Result<Ref, String> {
        let stored = value.transpose(order).layout.shape;
        let target = self.new_buffer(value.dtype, &stored, "")?;
        Ok(target.transpose(&inverse(order)))
    }

    /// The value itself if it lies densely in an order, otherwise a copy that does.
    pub(super) fn dense_in(&mut self, value: &Ref, order: &[usize], origin: &[String]) -> Result<Ref, String> {
        if value.layout.transpose(order).is_dense() {
            return Ok(value.clone());
        }
        let target = self.new_ordered(value, order)?;
        self.copy_to(value, &target, origin)?;
        Ok(target)
    }
}

/// The layouts that values will have, as far as they are chosen.
struct Orders<'a> {
    graph: &'a Graph,
    known: &'a HashMap<ValueId, Order>,
    outer: &'a HashMap<ValueId, Ref>,
    results: &'a [ValueId],
    /// Results of transposed convolutions whose pixels are computed as those of convolutions.
    blocks: HashSet<ValueId>,
    layouts: HashMap<ValueId, Layout>,
}

impl Orders<'_> {
    fn layout(&self, value: ValueId) -> Layout {
        match (self.layouts.get(&value), self.outer.get(&value)) {
            (Some(layout), _) => layout.clone(),
            (None, Some(known)) => known.layout.clone(),
            (None, None) => Layout::dense(&self.graph.ty(value).shape),
        }
    }

    /// Chooses for a node. `None` if it is a view or keeps the order of the IR.
    fn visit(&mut self, node: &Node) -> Option<Order> {
        let &[output] = node.outputs.as_slice() else {
            return None;
        };
        let shape = &self.graph.ty(output).shape;
        if let Some(view) = self.view(node) {
            self.layouts.insert(output, view);
            return None;
        }
        let known = self.known.get(&output).cloned();
        let order = known
            .or_else(|| self.choose(node, output))
            .filter(|order| !is_natural(order))?;
        self.layouts.insert(output, ordered(shape, &order));
        Some(order)
    }

    fn view(&self, node: &Node) -> Option<Layout> {
        let source = || self.layout(node.inputs[0]);
        match &node.op {
            Op::Reshape { shape } => source().reshape(self.graph, shape),
            Op::Transpose { permutation } => Some(source().transpose(permutation)),
            Op::Slice { starts, steps, shape } if steps.iter().all(|&step| step > 0) => {
                Some(source().slice(starts, steps, shape, &self.graph.bounds))
            }
            Op::Broadcast { shape } => Some(source().broadcast(shape)),
            _ => None,
        }
    }

    fn choose(&self, node: &Node, output: ValueId) -> Option<Order> {
        let shape = &self.graph.ty(output).shape;
        let rank = shape.len();
        let is_result = self.results.contains(&output);
        match &node.op {
            Op::Conv { .. } => Some(channels_last(rank)),
            _ if is_result => None,
            _ if rank < 3 => None,
            Op::ConvTranspose { .. } if self.blocks.contains(&output) => Some(channels_last(rank)),
            // There is no kernel for norms over windows of such images.
            Op::Pool {
                kind: PoolKind::Lp { .. },
                ..
            } => None,
            Op::Resize { .. } if rank == 4 => Some(self.stored(node.inputs[0])),
            Op::Pool { .. } | Op::Pad { .. } => Some(self.stored(node.inputs[0])),
            Op::Elementwise { .. } | Op::Concat { .. } => self.common(node, shape),
            Op::Reshape { .. } => self.reshaped(node, shape),
            _ => None,
        }
        .filter(|order| *order == channels_last(rank))
    }

    fn stored(&self, value: ValueId) -> Order {
        stored_order(&self.layout(value), &self.graph.bounds)
    }

    /// The order of the operands of full rank with the most elements together; the one that is not that of the IR if
    /// two are equal.
    fn common(&self, node: &Node, shape: &[Dim]) -> Option<Order> {
        let mut weights: Vec<(Order, i64)> = Vec::new();
        let joins = matches!(node.op, Op::Concat { .. });
        for &input in &node.inputs {
            let ty = self.graph.ty(input);
            let whole = ty.shape.len() == shape.len() && (joins || ty.elements() == shape.iter().cloned().product());
            let layout = self.layout(input);
            let moves = layout.shape.iter().zip(&layout.strides);
            if !whole || moves.clone().any(|(size, stride)| !size.is(1) && stride.is(0)) {
                continue;
            }
            let order = stored_order(&layout, &self.graph.bounds);
            let elements = ty.elements().upper(&self.graph.bounds);
            match weights.iter_mut().find(|(known, _)| *known == order) {
                Some((_, weight)) => *weight = weight.saturating_add(elements),
                None => weights.push((order, elements)),
            }
        }
        let best = weights
            .into_iter()
            .max_by_key(|(order, weight)| (*weight, !is_natural(order)));
        best.map(|(order, _)| order)
    }

    /// The order of a reshape that has to copy: channels last if the innermost elements are those of channels.
    fn reshaped(&self, node: &Node, shape: &[Dim]) -> Option<Order> {
        let source = self.layout(node.inputs[0]);
        if source.shape.len() < 4 || shape.len() < 3 {
            return None;
        }
        let innermost = *stored_order(&source, &self.graph.bounds).last()?;
        let behind = |shape: &[Dim], axis: usize| -> i64 {
            let sizes = shape[axis + 1..].iter().cloned();
            sizes.product::<Dim>().upper(&self.graph.bounds)
        };
        let place = behind(&source.shape, innermost);
        let channels = (behind(shape, 1), behind(shape, 0));
        (channels.0 <= place && place < channels.1).then(|| channels_last(shape.len()))
    }
}
