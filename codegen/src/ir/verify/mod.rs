//! The verifier. This page is the specification of the IR: what it says holds in every graph between passes.
//!
//! # Values
//!
//! 1. Every number that a node, block or port refers to is that of a value of the graph.
//! 2. A value is defined once: as a result of one node or as a parameter of one block.
//! 3. A value is used only after its definition, in the block that defines it or in regions within that block.
//! 4. The element type of a value is known, and none of its sizes is negative whatever the values of the symbols.
//!
//! # Symbols
//!
//! 5. A symbol that occurs in a type, an attribute, an expression or a constraint has bounds.
//! 6. The bounds of a symbol are in order and not negative.
//! 7. A symbol that a `bind` gives its value is bound once, and used only after that, in the block that binds it or in
//!    regions within that block.
//!
//! # Operations
//!
//! 8. The number of results of a node and their types are those that [`infer`] gives for its operation, operands and
//!    regions. Sizes may be written differently as long as they are [equal](Graph::dims_equal).
//! 9. The data of a constant has exactly the bytes that its type needs.
//! 10. The axes of a reduction are ascending.
//! 11. Windows have one kernel size, stride and dilation, none of them 0, and one padding on either side for each spatial
//!     axis; so has the output padding of a transposed convolution. There is at least one group.
//! 12. The scales of a resize are positive and finite. Blocks of quantized numbers have at least one row; numbers and zero
//!     points are of `i8`, scales of `f32`, and there is one of each for every block of a column.
//! 13. The operation has a meaning for its element type: softmax, normalization, attention, recurrent layers and pooling
//!     other than of maxima are of floating-point values; reductions, running sums, products, convolutions, maxima and
//!     interpolation are of numbers (maxima and minima of reductions, folds and scatters also of truth values). What an
//!     `assert` demands is a `bool`, what a `bind` binds an `i64`, both of rank 0.
//! 14. The operands of one operation that it combines have one element type: those of concatenation and products, biases
//!     and scales, the value of padding. A matrix product may be of `u8` and `i8`. The value of padding has rank 0.
//!
//! # Expressions
//!
//! 15. An expression has at least one part, and the operands of a part come before it.
//! 16. A reference to an operand is to one that exists and has its element type. A computed place is an `i64`.
//! 17. A constant is a value of its type. Dimensions and coordinates are `i64`; a coordinate is along an axis of the
//!     result.
//! 18. A function has operands of one type that it accepts: logic takes `bool`, or integers bit by bit; complements and
//!     shifts take integers, shifts unsigned ones; arithmetic, order, sign and magnitude take numbers; all other functions
//!     take floating-point values; equality takes anything.
//! 19. The result of a comparison or test is `bool`, that of another function has the type of its operands.
//! 20. A selection has a condition of type `bool`, and the type of both its alternatives.
//!
//! # Epilogues
//!
//! 21. Operand 0 of the expression of an epilogue has the element type of the sums of products. Further operands are those of the node after the operation's own, and broadcast to the shape of the result.
//! 22. An operation without epilogue has no further operands.
//!
//! # Regions and ports
//!
//! 23. The branches of an `if` have no parameters.
//! 24. Regions nest no deeper than [`MAX_DEPTH`].
//! 25. There are as many inputs as parameters of the body, and as many outputs as results.
//! 26. No two inputs and no two outputs have one name, unless they are different parts of one value.

mod expr;
mod op;

use super::dim::{Bounds, Dim};
use super::eval::MAX_DEPTH;
use super::expr::Scalar;
use super::graph::{Block, Graph, Node, Port, TensorType, ValueId};
use super::infer::infer;
use super::op::Op;
pub(super) use expr::check as check_expression;
pub(super) use op::check_types;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

/// A rule of the IR that a graph breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which node, value or port breaks it.
    pub place: String,
    /// What is wrong, in words that name values, types and shapes.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

impl std::error::Error for Violation {}

/// Checks a graph against the rules of this page.
///
/// # Errors
///
/// All violations that were found. Nodes that refer to values wrongly are not checked further.
pub fn verify(graph: &Graph) -> Result<(), Vec<Violation>> {
    let mut verifier = Verifier {
        graph,
        states: vec![State::Undefined; graph.value_count()],
        bound: HashMap::new(),
        violations: Vec::new(),
        too_deep: false,
    };
    verifier.symbols();
    verifier.ports("input", &graph.inputs, graph.body.params.len(), "parameters");
    verifier.ports("output", &graph.outputs, graph.body.results.len(), "results");
    verifier.collect(&graph.body, 0);
    if !verifier.too_deep {
        verifier.block(&graph.body, "the graph");
    }
    if verifier.violations.is_empty() {
        Ok(())
    } else {
        Err(verifier.violations)
    }
}

/// Where the walk through the graph stands with a value.
#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Nothing defines it.
    Undefined,
    /// Its definition comes later.
    Later,
    /// It may be used.
    Visible,
    /// It belongs to a region that has ended.
    Past,
}

struct Verifier<'a> {
    graph: &'a Graph,
    states: Vec<State>,
    /// The symbols that a `bind` defines, and whether they may be used here.
    bound: HashMap<Arc<str>, State>,
    violations: Vec<Violation>,
    too_deep: bool,
}

impl<'a> Verifier<'a> {
    fn report(&mut self, place: &str, message: impl Into<String>) {
        self.violations.push(Violation {
            place: place.to_owned(),
            message: message.into(),
        });
    }

    fn symbols(&mut self) {
        for (symbol, bounds) in self.graph.bounds.iter() {
            if bounds.low < 0 || bounds.low > bounds.high {
                let message = format!("bounds {}..={}", bounds.low, bounds.high);
                self.report(&format!("symbol {symbol}"), message);
            }
        }
        for constraint in &self.graph.constraints {
            let place = format!("the constraint of {:?}", constraint.origin);
            self.dims(&place, [&constraint.left, &constraint.right]);
        }
    }

    fn ports(&mut self, kind: &str, ports: &[Port], count: usize, values: &str) {
        if ports.len() != count {
            self.report(
                "the graph",
                format!("{} {kind}s and {count} {values} of the body", ports.len()),
            );
        }
        let mut names = HashSet::new();
        for port in ports {
            let part = std::mem::discriminant(&port.part);
            if !names.insert((port.name.as_str(), part)) {
                self.report(&format!("{kind} {:?}", port.name), "the name is taken");
            }
        }
    }

    /// Reports symbols without bounds.
    fn dims<'d>(&mut self, place: &str, dims: impl IntoIterator<Item = &'d Dim>) {
        let unbounded = unbounded(&self.graph.bounds, dims);
        if !unbounded.is_empty() {
            let names: Vec<String> = unbounded.into_iter().collect();
            self.report(place, format!("no bounds of {}", names.join(", ")));
        }
    }

    /// Finds what is defined where. Blocks that nest too deep are reported and not entered.
    fn collect(&mut self, block: &Block, depth: usize) {
        if depth > MAX_DEPTH {
            if !self.too_deep {
                self.report("the graph", format!("regions nest deeper than {MAX_DEPTH}"));
            }
            self.too_deep = true;
            return;
        }
        for &id in &block.params {
            self.define("a parameter", id);
        }
        for node in &block.nodes {
            for &id in &node.outputs {
                self.define(&place(node), id);
            }
            if let Op::Bind { symbol } = &node.op
                && self.bound.insert(symbol.clone(), State::Later).is_some()
            {
                self.report(&place(node), format!("{symbol} is bound twice"));
            }
            for region in &node.regions {
                self.collect(region, depth + 1);
            }
        }
    }

    fn define(&mut self, place: &str, id: ValueId) {
        match self.states.get(id.0 as usize) {
            None => self.report(place, format!("{id} is no value of the graph")),
            Some(State::Undefined) => {
                self.states[id.0 as usize] = State::Later;
                self.value(id);
            }
            Some(_) => self.report(place, format!("{id} is defined twice")),
        }
    }

    fn value(&mut self, id: ValueId) {
        let ty = self.graph.ty(id);
        self.dims(&id.to_string(), &ty.shape);
        for dim in &ty.shape {
            if dim.upper(&self.graph.bounds) < 0 {
                self.report(&id.to_string(), format!("size {dim} is negative"));
            }
        }
    }

    fn enter(&mut self, ids: &[ValueId], state: State) {
        for id in ids {
            if let Some(slot) = self.states.get_mut(id.0 as usize) {
                *slot = state;
            }
        }
    }

    fn enter_symbol(&mut self, node: &Node, state: State) {
        if let Op::Bind { symbol } = &node.op {
            self.bound.insert(symbol.clone(), state);
        }
    }

    /// Reports symbols that are not bound yet, or not any more.
    fn bound_symbols<'d>(&mut self, place: &str, dims: impl IntoIterator<Item = &'d Dim>) {
        if self.bound.is_empty() {
            return;
        }
        let mut unbound = BTreeSet::new();
        for dim in dims {
            dim.visit_symbols(&mut |symbol| {
                if self.bound.get(symbol).is_some_and(|&state| state != State::Visible) {
                    unbound.insert(symbol.to_string());
                }
            });
        }
        for symbol in unbound {
            self.report(place, format!("{symbol} is not bound here"));
        }
    }

    /// Whether all values may be used here; those that may not are reported.
    fn uses(&mut self, place: &str, ids: &[ValueId]) -> bool {
        let mut sound = true;
        for &id in ids {
            let message = match self.states.get(id.0 as usize) {
                Some(State::Visible) => continue,
                None => "is no value of the graph",
                Some(State::Undefined) => "has no definition",
                Some(State::Later) => "is used before its definition",
                Some(State::Past) => "is used outside of the region that defines it",
            };
            self.report(place, format!("{id} {message}"));
            sound = false;
        }
        sound
    }

    fn block(&mut self, block: &'a Block, owner: &str) {
        self.enter(&block.params, State::Visible);
        for node in &block.nodes {
            self.node(node);
            self.enter(&node.outputs, State::Visible);
            self.enter_symbol(node, State::Visible);
        }
        self.uses(owner, &block.results);
        self.enter(&block.params, State::Past);
        for node in &block.nodes {
            self.enter(&node.outputs, State::Past);
            self.enter_symbol(node, State::Past);
        }
    }

    fn node(&mut self, node: &'a Node) {
        let place = place(node);
        let mut sound = self.uses(&place, &node.inputs);
        let before = self.violations.len();
        for region in &node.regions {
            self.block(region, &place);
        }
        let known = |id: &ValueId| (id.0 as usize) < self.graph.value_count();
        let regions = || {
            node.regions
                .iter()
                .flat_map(|region| region.params.iter().chain(&region.results))
        };
        sound &= self.violations.len() == before && node.outputs.iter().chain(regions()).all(known);
        if !sound {
            return;
        }
        if let Err(message) = op::check(self.graph, node) {
            return self.report(&place, message);
        }
        self.dims(&place, op::dims(&node.op));
        let shapes = node.outputs.iter().flat_map(|&id| &self.graph.ty(id).shape);
        self.bound_symbols(&place, op::dims(&node.op).into_iter().chain(shapes));
        match infer(self.graph, &node.op, &node.inputs, &node.regions) {
            Err(message) => self.report(&place, message),
            Ok(types) if types.len() != node.outputs.len() => {
                self.report(&place, format!("{} results, not {}", node.outputs.len(), types.len()));
            }
            Ok(types) => {
                for (&id, ty) in node.outputs.iter().zip(&types) {
                    let declared = self.graph.ty(id);
                    if !self.same_type(declared, ty) {
                        self.report(&place, format!("{id} has type {declared}, not {ty}"));
                    }
                }
                self.epilogue(&place, node, &types);
            }
        }
    }

    fn same_type(&self, a: &TensorType, b: &TensorType) -> bool {
        a.dtype == b.dtype
            && a.rank() == b.rank()
            && a.shape.iter().zip(&b.shape).all(|(a, b)| self.graph.dims_equal(a, b))
    }

    /// The shapes of further operands and coordinates, which need the shape of the result.
    fn epilogue(&mut self, place: &str, node: &Node, types: &[TensorType]) {
        let (Some(epilogue), Some(base), [result]) = (node.op.epilogue(), node.op.epilogue_base(), types) else {
            return;
        };
        for &id in node.inputs.iter().skip(base) {
            let ty = self.graph.ty(id);
            let missing = result.rank().checked_sub(ty.rank());
            let fits = missing.is_some_and(|missing| {
                let mut pairs = ty.shape.iter().zip(&result.shape[missing..]);
                pairs.all(|(from, to)| from.is(1) || self.graph.dims_equal(from, to))
            });
            if !fits {
                self.report(place, format!("{id} of type {ty} does not broadcast to {result}"));
            }
        }
        for part in &epilogue.expr.nodes {
            if let Scalar::Index(axis) = part.op
                && axis >= result.rank()
            {
                self.report(place, format!("a coordinate along axis {axis} of {result}"));
            }
        }
    }
}

/// A node in words.
fn place(node: &Node) -> String {
    let mut text = node.op.name().to_owned();
    for (index, id) in node.outputs.iter().enumerate() {
        text.push_str(if index == 0 { " " } else { ", " });
        text.push_str(&id.to_string());
    }
    if let Some(origin) = node.origin.first() {
        text.push_str(&format!(" from {origin:?}"));
    }
    text
}

fn unbounded<'d>(bounds: &Bounds, dims: impl IntoIterator<Item = &'d Dim>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for dim in dims {
        dim.visit_symbols(&mut |symbol| {
            if !bounds.contains(symbol) {
                found.insert(symbol.to_string());
            }
        });
    }
    found
}

#[cfg(test)]
mod tests;
