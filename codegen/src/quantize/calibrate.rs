//! What the values of a model are in the calibration data.

use std::collections::{HashMap, HashSet};

use super::compute::compute;
use super::layers::{Kind, Layer, Scales};
use super::observe::Histogram;
use crate::ir::eval::{Observer, Symbols, evaluate_with};
use crate::ir::{Graph, Node, Tensor, ValueId};

/// What was seen of the values.
#[derive(Default)]
pub(super) struct Observations {
    /// The numbers of the values with one scale, by the value that stands for them.
    pub(super) histograms: HashMap<ValueId, Histogram>,
    /// The means of the channels of inputs of layers.
    means: HashMap<Channels, Means>,
}

/// A value, and whether its channels are those of a product: the last axis of matrices, rather than the second one of images.
/// A value may have both.
type Channels = (ValueId, bool);

fn channels(layer: &Layer) -> Channels {
    (layer.input, layer.kind == Kind::Product)
}

/// Sums over the channels of a value.
#[derive(Default)]
struct Means {
    sums: Vec<f64>,
    /// The numbers of each channel.
    count: usize,
}

impl Observations {
    /// The means of the channels of the input of a layer.
    pub(super) fn means(&self, layer: &Layer) -> Option<Vec<f64>> {
        let Means { sums, count } = self.means.get(&channels(layer))?;
        (*count > 0).then(|| sums.iter().map(|sum| sum / *count as f64).collect())
    }
}

/// Runs the graph on all samples.
///
/// # Errors
///
/// A sample does not suit the graph, or gives something that is not finite, of which the error names the node.
pub(super) fn observe(
    graph: &Graph,
    layers: &[Layer],
    scales: &Scales,
    samples: &[Vec<Tensor>],
) -> Result<Observations, String> {
    let mut sources = HashMap::new();
    for &source in &scales.sources {
        if let Some(leader) = scales.leader(source) {
            sources.insert(source, leader);
        }
    }
    let mut seen = Seen {
        sources,
        axes: layers.iter().map(channels).collect(),
        found: Observations::default(),
        names: names(graph),
    };
    for (index, sample) in samples.iter().enumerate() {
        evaluate_with(graph, sample, &mut seen).map_err(|error| format!("sample {index}: {error}"))?;
    }
    Ok(seen.found)
}

/// The node that gives each value, or the input that it is.
fn names(graph: &Graph) -> HashMap<ValueId, String> {
    let inputs = graph.body.params.iter().zip(&graph.inputs);
    let mut names: HashMap<ValueId, String> = inputs.map(|(&value, port)| (value, port.name.clone())).collect();
    for node in &graph.body.nodes {
        let name = node.origin.last().cloned().unwrap_or_else(|| node.op.name().to_owned());
        names.extend(node.outputs.iter().map(|&output| (output, name.clone())));
    }
    names
}

struct Seen {
    /// The values whose numbers count, and who stands for them.
    sources: HashMap<ValueId, ValueId>,
    axes: HashSet<Channels>,
    found: Observations,
    names: HashMap<ValueId, String>,
}

impl Observer for Seen {
    fn compute(&mut self, node: &Node, inputs: &[Tensor], dims: Symbols<'_>) -> Option<Result<Vec<Tensor>, String>> {
        compute(node, inputs, dims)
    }

    fn see(&mut self, value: ValueId, tensor: &Tensor) -> Result<(), String> {
        let leader = self.sources.get(&value);
        let axes: Vec<bool> = [false, true]
            .into_iter()
            .filter(|&is_product| self.axes.contains(&(value, is_product)))
            .collect();
        if leader.is_none() && axes.is_empty() {
            return Ok(());
        }
        let Some(numbers) = tensor.to_vec::<f32>() else {
            return Ok(());
        };
        if let Some(&leader) = leader {
            let histogram = self.found.histograms.entry(leader).or_default();
            histogram.add(&numbers).map_err(|number| {
                let name = self.names.get(&value).map_or("", String::as_str);
                format!("`{name}` gives {number}, which has no number of 8 bits")
            })?;
        }
        for is_product in axes {
            let (channels, inner) = match is_product {
                true => (tensor.shape.last().copied().unwrap_or(1), 1),
                false => (tensor.shape[1], tensor.shape[2..].iter().product()),
            };
            let means = self.found.means.entry((value, is_product)).or_default();
            means.sums.resize(channels, 0.0);
            for (index, line) in numbers.chunks_exact(usize::max(inner, 1)).enumerate() {
                means.sums[index % channels] += line.iter().map(|&x| f64::from(x)).sum::<f64>();
            }
            means.count += numbers.len() / channels.max(1);
        }
        Ok(())
    }
}
