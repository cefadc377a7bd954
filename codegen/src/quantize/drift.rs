//! How far a quantized graph is from the graph in floats.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::compute::compute;
use super::layers::Layer;
use super::report::QuantizedOutput;
use crate::ir::eval::{Numbers, Observer, Symbols, evaluate_with};
use crate::ir::{Graph, Node, Tensor, ValueId};
use crate::measure::{Decisions, Differences, decisions};

/// The differences of the results of layers and of the outputs.
#[derive(Default)]
pub(super) struct Drift {
    pub(super) layers: BTreeMap<ValueId, Differences>,
    outputs: Vec<(Differences, Option<Decisions>, bool)>,
}

impl Drift {
    /// The drift of an output, of that where it is greatest.
    pub(super) fn relative(&self) -> f64 {
        let floats = self.outputs.iter().filter(|(_, _, is_float)| *is_float);
        floats.map(|(sums, ..)| sums.relative()).fold(0.0, f64::max)
    }

    /// The outputs by name.
    pub(super) fn outputs(&self, graph: &Graph) -> Vec<QuantizedOutput> {
        let ports = graph.outputs.iter().zip(&self.outputs);
        ports
            .map(|(port, (sums, decisions, _))| QuantizedOutput {
                name: port.name.clone(),
                noise: sums.noise(),
                decisions: *decisions,
            })
            .collect()
    }

    fn add(&mut self, found: &[Tensor], expected: &[Tensor]) {
        self.outputs
            .resize(expected.len(), (Differences::default(), None, false));
        for ((sums, sum, is_float), (found, expected)) in self.outputs.iter_mut().zip(found.iter().zip(expected)) {
            let [a, b] = [found, expected].map(numbers);
            sums.add(a.iter().copied(), b.iter().copied());
            *is_float = expected.dtype.is_float();
            if let Some(more) = decisions(&a, &b, &expected.shape, *is_float) {
                let sum = sum.get_or_insert_default();
                sum.agreeing_decisions += more.agreeing_decisions;
                sum.decisions += more.decisions;
            }
        }
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
                sums.add(numbers(a), numbers(b));
            }
        }
    }
    Ok(drift)
}

/// Takes values that are known from an earlier run, and computes what depends on others.
struct Changed<'a> {
    known: &'a HashMap<ValueId, Tensor>,
    /// The values that are not what they were.
    changed: HashSet<ValueId>,
}

impl Observer for Changed<'_> {
    fn compute(&mut self, node: &Node, inputs: &[Tensor], dims: Symbols<'_>) -> Option<Result<Vec<Tensor>, String>> {
        let is_new = |value: &ValueId| !self.known.contains_key(value) || self.changed.contains(value);
        if !node.inputs.iter().any(is_new) {
            let outputs = node.outputs.iter().map(|output| self.known.get(output).cloned());
            if let Some(outputs) = outputs.collect::<Option<Vec<Tensor>>>() {
                return Some(Ok(outputs));
            }
        }
        self.changed.extend(&node.outputs);
        compute(node, inputs, dims)
    }
}

/// The drift of the outputs of each of several graphs, in which few values are not those of `graph`.
///
/// What does not depend on these is computed once for each sample.
pub(super) fn measure_each(graph: &Graph, others: &[Graph], samples: &[Vec<Tensor>]) -> Result<Vec<f64>, String> {
    let mut drifts: Vec<Drift> = others.iter().map(|_| Drift::default()).collect();
    let all: HashSet<ValueId> = (0..graph.value_count() as u32).map(ValueId).collect();
    for sample in samples {
        let mut keep = Keep {
            wanted: &all,
            kept: HashMap::new(),
        };
        let expected = evaluate_with(graph, sample, &mut keep)?;
        for (other, drift) in others.iter().zip(&mut drifts) {
            let mut changed = Changed {
                known: &keep.kept,
                changed: HashSet::new(),
            };
            drift.add(&evaluate_with(other, sample, &mut changed)?, &expected);
        }
    }
    Ok(drifts.iter().map(Drift::relative).collect())
}
