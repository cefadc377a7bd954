//! Names and order of the nodes of a graph: each value is defined once, before it is used.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};

use super::model::{Attribute, ModelGraph, Node};
use crate::diagnostics::{Diagnostic, Diagnostics};

/// Checks that the values of a list of nodes are defined once and brings the nodes into topological order, keeping the
/// order of the file where it is one already. `defined` are the graph's inputs and constants; what no node of the list
/// produces may come from the enclosing graphs, whose values are `outer`, outermost graph first.
pub(super) fn sort(
    nodes: &mut Vec<Node>,
    defined: impl IntoIterator<Item = String>,
    outer: &[HashSet<String>],
    found: &mut Diagnostics,
) {
    let mut producer: HashMap<&str, Option<usize>> = HashMap::new();
    let defined: Vec<String> = defined.into_iter().collect();
    for name in &defined {
        if producer.insert(name, None).is_some() {
            found.push(Diagnostic::new(format!("the value `{name}` is defined more than once")));
        }
    }
    for (i, node) in nodes.iter().enumerate() {
        for name in node.outputs.iter().filter(|name| !name.is_empty()) {
            if producer.insert(name, Some(i)).is_some() {
                found.push(at(
                    Diagnostic::new(format!("the value `{name}` is defined more than once")),
                    node,
                ));
            }
        }
    }

    let mut waits_for: Vec<BTreeSet<usize>> = Vec::with_capacity(nodes.len());
    for node in nodes.iter() {
        let mut producers = BTreeSet::new();
        for name in operands(node) {
            match producer.get(name) {
                Some(Some(i)) => drop(producers.insert(*i)),
                Some(None) => {}
                // What a subgraph misses is reported where the subgraph itself is sorted.
                None if !node.inputs.iter().any(|input| input == name) => {}
                None if outer.iter().any(|scope| scope.contains(name)) => {}
                None => found.push(at(
                    Diagnostic::new(format!("nothing defines its operand `{name}`")),
                    node,
                )),
            }
        }
        waits_for.push(producers);
    }
    if waits_for
        .iter()
        .enumerate()
        .all(|(i, producers)| producers.last().is_none_or(|last| *last < i))
    {
        return;
    }

    let mut users: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    let mut missing: Vec<usize> = waits_for.iter().map(BTreeSet::len).collect();
    for (i, producers) in waits_for.iter().enumerate() {
        for p in producers {
            users[*p].push(i);
        }
    }
    let mut ready: BinaryHeap<_> = (0..nodes.len()).filter(|i| missing[*i] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(Reverse(i)) = ready.pop() {
        order.push(i);
        for user in &users[i] {
            missing[*user] -= 1;
            if missing[*user] == 0 {
                ready.push(Reverse(*user));
            }
        }
    }
    if order.len() < nodes.len() {
        for (node, _) in nodes.iter().zip(&missing).filter(|(_, n)| **n > 0) {
            found.push(at(
                Diagnostic::new("it is part of a cycle or uses a result of one"),
                node,
            ));
        }
        return;
    }
    let mut slots: Vec<Option<Node>> = nodes.drain(..).map(Some).collect();
    nodes.extend(order.into_iter().filter_map(|i| slots[i].take()));
}

/// What a node reads: its operands, and what its subgraphs take from outside themselves.
fn operands(node: &Node) -> BTreeSet<&str> {
    let mut names: BTreeSet<&str> = node
        .inputs
        .iter()
        .map(String::as_str)
        .filter(|name| !name.is_empty())
        .collect();
    for graph in subgraphs(node) {
        names.extend(free_names(graph));
    }
    names
}

/// The graphs that a node carries.
pub(super) fn subgraphs(node: &Node) -> impl Iterator<Item = &ModelGraph> {
    node.attributes.values().flat_map(|attribute| match attribute {
        Attribute::Graph(graph) => std::slice::from_ref(graph.as_ref()),
        Attribute::Graphs(graphs) => graphs.as_slice(),
        _ => &[],
    })
}

fn free_names(graph: &ModelGraph) -> BTreeSet<&str> {
    let mut names: BTreeSet<&str> = graph.nodes.iter().flat_map(operands).collect();
    names.extend(graph.outputs.iter().map(|v| v.name.as_str()));
    for value in &graph.inputs {
        names.remove(value.name.as_str());
    }
    for (name, _) in &graph.initializers {
        names.remove(name.as_str());
    }
    for name in graph.nodes.iter().flat_map(|node| &node.outputs) {
        names.remove(name.as_str());
    }
    names
}

fn at(diagnostic: Diagnostic, node: &Node) -> Diagnostic {
    diagnostic.at(node.index, node.name.as_str(), node.operator())
}
