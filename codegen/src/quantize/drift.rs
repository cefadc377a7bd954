//! How far a quantized graph is from the graph in floats.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::compute::compute;
use super::layers::Layer;
use super::report::QuantizedOutput;
use crate::ir::eval::{Numbers, Observer, Symbols, evaluate_with};
use crate::ir::{Block, Graph, Node, Op, Tensor, ValueId};
use crate::measure::{Decisions, Differences, decisions};

/// The differences of the results of layers and of the outputs.
#[derive(Default)]
pub(super) struct Drift {
    pub(super) layers: BTreeMap<ValueId, Differences>,
    outputs: Vec<Output>,
}

/// The differences of an output.
#[derive(Clone, Default)]
struct Output {
    sums: Differences,
    decisions: Option<Decisions>,
    is_float: bool,
    /// Whether a sample has given another shape.
    is_reshaped: bool,
}

impl Output {
    /// The drift of floats, or the fraction of the integers that are others, of which near ones may mean something else.
    fn relative(&self) -> f64 {
        match self.decisions {
            _ if self.is_reshaped => f64::INFINITY,
            Some(Decisions {
                agreeing_decisions,
                decisions,
            }) if !self.is_float => (decisions - agreeing_decisions) as f64 / decisions.max(1) as f64,
            _ => self.sums.relative(),
        }
    }
}

impl Drift {
    /// The drift of an output, of that where it is greatest.
    pub(super) fn relative(&self) -> f64 {
        self.outputs.iter().map(Output::relative).fold(0.0, f64::max)
    }

    /// The outputs by name.
    pub(super) fn outputs(&self, graph: &Graph) -> Vec<QuantizedOutput> {
        let ports = graph.outputs.iter().zip(&self.outputs);
        ports
            .map(|(port, output)| QuantizedOutput {
                name: port.name.clone(),
                noise: output.sums.noise(),
                decisions: output.decisions,
            })
            .collect()
    }

    fn add(&mut self, found: &[Tensor], expected: &[Tensor]) {
        self.outputs.resize(expected.len(), Output::default());
        for (output, (found, expected)) in self.outputs.iter_mut().zip(found.iter().zip(expected)) {
            let is_reshaped = found.shape != expected.shape;
            add(&mut output.sums, found, expected);
            output.is_float = expected.dtype.is_float();
            output.is_reshaped |= is_reshaped;
            // Elements of different shapes have no counterparts, so that none of the decisions is the same.
            let a = if is_reshaped { Vec::new() } else { numbers(found) };
            if let Some(more) = decisions(&a, &numbers(expected), &expected.shape, output.is_float) {
                let sum = output.decisions.get_or_insert_default();
                sum.agreeing_decisions += more.agreeing_decisions;
                sum.decisions += more.decisions;
            }
        }
    }
}

/// Adds the differences of two tensors, which are infinite if their shapes differ.
fn add(sums: &mut Differences, found: &Tensor, expected: &Tensor) {
    match found.shape == expected.shape {
        true => sums.add(numbers(found), numbers(expected)),
        false => sums.add([f64::INFINITY], [0.0]),
    }
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    match Numbers::of(tensor) {
        Numbers::Float(values) => values,
        Numbers::Int(values) => values.into_iter().map(|value| value as f64).collect(),
        Numbers::Bool(values) => values.into_iter().map(|value| f64::from(u8::from(value))).collect(),
    }
}

/// Runs a graph and keeps some of its values.
struct Keep<'a> {
    wanted: &'a HashSet<ValueId>,
    kept: HashMap<ValueId, Tensor>,
}

impl Observer for Keep<'_> {
    fn compute(&mut self, node: &Node, inputs: &[Tensor], dims: Symbols<'_>) -> Option<Result<Vec<Tensor>, String>> {
        compute(node, inputs, dims)
    }

    fn see(&mut self, value: ValueId, tensor: &Tensor) -> Result<(), String> {
        if self.wanted.contains(&value) {
            self.kept.insert(value, tensor.clone());
        }
        Ok(())
    }
}

/// Runs both graphs on the samples, whose layers have the same values as results.
pub(super) fn measure(
    graph: &Graph,
    quantized: &Graph,
    layers: &[Layer],
    samples: &[Vec<Tensor>],
) -> Result<Drift, String> {
    let wanted: HashSet<ValueId> = layers.iter().map(|layer| layer.result).collect();
    let mut drift = Drift::default();
    for sample in samples {
        let run = |graph: &Graph| {
            let mut keep = Keep {
                wanted: &wanted,
                kept: HashMap::new(),
            };
            let outputs = evaluate_with(graph, sample, &mut keep)?;
            Ok::<_, String>((outputs, keep.kept))
        };
        let ((expected, floats), (found, others)) = (run(graph)?, run(quantized)?);
        drift.add(&found, &expected);
        for layer in layers {
            if let (Some(a), Some(b)) = (others.get(&layer.result), floats.get(&layer.result)) {
                let sums = drift.layers.entry(layer.result).or_default();
                add(sums, a, b);
            }
        }
    }
    Ok(drift)
}

/// The values of a graph outside of regions that are the same in another one made of it, in every run.
///
/// A value is if all that goes into it is. Regions compute what their captured values decide, too. Shapes, trips and positions
/// may have symbols that no operand shows; where values decide what these are, nothing is known to be the same.
fn unchanged(graph: &Graph, other: &Graph) -> HashSet<ValueId> {
    if has_symbols_of_values(graph) {
        return HashSet::new();
    }
    let is_old = |value: &ValueId| (value.0 as usize) < graph.value_count();
    let mut same: HashSet<ValueId> = other.body.params.iter().copied().collect();
    for node in &other.body.nodes {
        let captures = node.regions.iter().flat_map(Block::captures);
        let mut operands = node.inputs.iter().copied().chain(captures);
        if operands.all(|value| same.contains(&value)) && node.outputs.iter().all(is_old) {
            same.extend(&node.outputs);
        }
    }
    same
}

/// Whether a graph has symbols that are not the sizes of inputs.
fn has_symbols_of_values(graph: &Graph) -> bool {
    let mut sizes = HashSet::new();
    for &param in &graph.body.params {
        for dim in &graph.ty(param).shape {
            dim.visit_symbols(&mut |symbol| {
                sizes.insert(symbol.clone());
            });
        }
    }
    let mut has_others = has_bind(&graph.body);
    for value in (0..graph.value_count() as u32).map(ValueId) {
        for dim in &graph.ty(value).shape {
            dim.visit_symbols(&mut |symbol| has_others |= !sizes.contains(symbol));
        }
    }
    has_others
}

fn has_bind(block: &Block) -> bool {
    let is_bind = |node: &Node| matches!(node.op, Op::Bind { .. }) || node.regions.iter().any(has_bind);
    block.nodes.iter().any(is_bind)
}

/// Takes values that are known from an earlier run, and computes what depends on others.
struct Reuse<'a> {
    known: &'a HashMap<ValueId, Tensor>,
    /// The values that are what they were.
    unchanged: &'a HashSet<ValueId>,
}

impl Observer for Reuse<'_> {
    fn compute(&mut self, node: &Node, inputs: &[Tensor], dims: Symbols<'_>) -> Option<Result<Vec<Tensor>, String>> {
        if !node.outputs.is_empty() && node.outputs.iter().all(|output| self.unchanged.contains(output)) {
            let outputs = node.outputs.iter().map(|output| self.known.get(output).cloned());
            if let Some(outputs) = outputs.collect::<Option<Vec<Tensor>>>() {
                return Some(Ok(outputs));
            }
        }
        compute(node, inputs, dims)
    }
}

/// The drift of the outputs of each of `count` graphs, in which few values are not those of `graph`. One at a time exists.
///
/// What does not depend on these is computed once for each sample.
pub(super) fn measure_each(
    graph: &Graph,
    count: usize,
    other: &dyn Fn(usize) -> Graph,
    samples: &[Vec<Tensor>],
) -> Result<Vec<f64>, String> {
    let mut drifts: Vec<Drift> = (0..count).map(|_| Drift::default()).collect();
    let outputs = graph.body.nodes.iter().flat_map(|node| &node.outputs);
    let all: HashSet<ValueId> = graph.body.params.iter().chain(outputs).copied().collect();
    for sample in samples {
        let mut keep = Keep {
            wanted: &all,
            kept: HashMap::new(),
        };
        let expected = evaluate_with(graph, sample, &mut keep)?;
        for (number, drift) in drifts.iter_mut().enumerate() {
            let other = other(number);
            let mut reuse = Reuse {
                known: &keep.kept,
                unchanged: &unchanged(graph, &other),
            };
            drift.add(&evaluate_with(&other, sample, &mut reuse)?, &expected);
        }
    }
    Ok(drifts.iter().map(Drift::relative).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::parse;

    #[test]
    fn other_shapes_are_infinitely_far() {
        let tensor = |shape: &[usize]| vec![Tensor::new(shape.to_vec(), &vec![1.0f32; shape.iter().product()])];
        let mut drift = Drift::default();
        drift.add(&tensor(&[2, 3]), &tensor(&[2, 3]));
        assert_eq!(drift.relative(), 0.0);
        drift.add(&tensor(&[1, 3]), &tensor(&[2, 3]));
        assert_eq!(drift.relative(), f64::INFINITY);
        let decisions = drift.outputs[0].decisions.unwrap();
        assert_eq!((decisions.agreeing_decisions, decisions.decisions), (2, 4));
        let integers = |count: usize| vec![Tensor::new(vec![count], &vec![1i64; count])];
        let mut drift = Drift::default();
        drift.add(&integers(2), &integers(3));
        assert_eq!(drift.relative(), f64::INFINITY);
    }

    #[test]
    fn nothing_is_reused_where_values_decide_symbols() {
        let text = r#"graph "g" {
  bounds { n: 1..=4, s: 1..=4 }
  input "x" %0: f32[s]
  input "n" %1: i64[]
  %2: f32[s] = elementwise { exp(x0) } %0
  output "y" %2
}"#;
        let graph = parse(text).unwrap();
        assert!(unchanged(&graph, &graph).contains(&ValueId(2)));
        let graph = parse(&text.replace("  %2:", "  = bind(symbol = n) %1\n  %2:")).unwrap();
        assert!(unchanged(&graph, &graph).is_empty());
    }
}
