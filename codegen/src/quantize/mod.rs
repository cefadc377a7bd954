//! Quantization of a model in floats while it is compiled.
//!
//! It happens on the cleaned graph, in which normalization by channel is in the weights and activations are recognized. The
//! model runs on samples, `observe` chooses a range for every value that is quantized, and `insert` puts numbers of 8 bits
//! before layers and in the place of their weights, in the form that quantized models have. What becomes of that is the work
//! of the passes, which know nothing of this. Where the weights alone are quantized, there are no ranges to choose, and `fit`
//! and `gptq` choose numbers of 4 or 8 bits for them.

mod blocks;
mod calibrate;
mod cholesky;
mod compute;
mod data;
mod drift;
mod edit;
mod elements;
mod equalize;
mod fit;
mod gptq;
mod insert;
mod layers;
mod observe;
mod options;
mod report;
mod sensitivity;
mod smooth;
#[cfg(test)]
mod tests;
mod weights;

use std::collections::{BTreeMap, BTreeSet, HashMap};

pub use data::Files;
pub use observe::Observer;
pub use options::{BlockRows, MaxDrift, Quantize, Scheme, Smooth};
pub use report::{QuantizationReport, QuantizedLayer, QuantizedOutput};

use crate::diagnostics::Diagnostic;
use crate::ir::{Graph, Tensor, ValueId};
use blocks::Blocks;
use fit::Grid;
use insert::{Activations, Encoding, Target};
use layers::{Kind, Layer, Scales};
use weights::{Numbers, Weights};

/// The most samples that drift is measured on.
const MEASURED: usize = 32;

/// The error of an option that finds nothing to do.
fn nothing_to(option: &str, why: &str) -> Box<Diagnostic> {
    let finding = Diagnostic::new(format!("the option `{option}` has no effect on this model: {why}"));
    Box::new(finding.help("leave the option out"))
}

/// Quantizes a cleaned graph, with the calibration data of `files`, if there is any. `batches` are the inputs whose first axis
/// has no fixed size in the model.
///
/// # Errors
///
/// Nothing can be quantized, the data does not fit the model, or the bound of the drift cannot be met.
pub(crate) fn quantize(
    graph: &mut Graph,
    options: &Quantize,
    files: &Files,
    batches: &[&str],
) -> Result<QuantizationReport, Box<Diagnostic>> {
    options.check()?;
    let observer = options.observer.unwrap_or_default();
    let mut layers = find(graph, options)?;
    let about_data = |error: String| Box::new(Diagnostic::new(format!("calibration: {error}")));
    let samples = files.samples(graph, batches).map_err(about_data)?;
    if options.equalize {
        if equalize::equalize(graph, &layers) == 0 {
            return Err(nothing_to(
                "equalize",
                "it has no two convolutions with one reader each and only functions like Relu between them",
            ));
        }
        layers = find(graph, options)?;
    }
    if let Some(share) = options.smooth {
        if !layers.iter().any(|layer| layer.kind == Kind::Product) {
            return Err(nothing_to("smooth", "it has no matrix product that would be quantized"));
        }
        smooth::smooth(graph, &layers, share, &samples).map_err(about_data)?;
        layers = find(graph, options)?;
    }
    let scales = match options.scheme {
        Scheme::Int8 if samples.is_empty() => {
            let finding = Diagnostic::new("quantization to int8 needs calibration data");
            let help = "give samples of the inputs, an archive of NumPy arrays; int8-dynamic needs none";
            return Err(Box::new(finding.help(help)));
        }
        Scheme::Int8 => Some(Scales::new(graph, &layers)),
        _ => None,
    };
    let weights = match options.scheme {
        Scheme::Int8 | Scheme::Int8Dynamic => layers
            .iter()
            .map(|layer| Weights::Outputs(Numbers::new(layer)))
            .collect(),
        Scheme::Int8Weights | Scheme::Int4 => rounded(graph, &layers, options, &samples).map_err(about_data)?,
    };
    let mut plan = Plan::new(graph, &layers, weights);
    plan.activations_stay = options.scheme.is_of_weights();
    if let Some(scales) = &scales {
        let seen = calibrate::observe(graph, &layers, scales, &samples).map_err(about_data)?;
        let histograms = seen.histograms.iter();
        plan.encodings = histograms
            .filter_map(|(&leader, histogram)| {
                let (low, high) = histogram.range(observer);
                Some((leader, Encoding::new(low, high)?))
            })
            .collect();
        let corrections = layers.iter().zip(&plan.weights).map(|(layer, weights)| {
            let Weights::Outputs(numbers) = weights else {
                return None;
            };
            let means = seen.means(layer);
            means.map(|means| numbers.correction(layer, &means))
        });
        plan.corrections = corrections.collect();
        plan.scales = Some(scales);
        plan.find_unscaled()?;
    }
    let measured = &spread(&samples, MEASURED)[..];
    let mut alone = None;
    if let Some(most) = options.max_drift {
        if measured.is_empty() {
            let message = "a bound of the drift needs calibration data to measure it on";
            return Err(Box::new(Diagnostic::new(message)));
        }
        let found = sensitivity::keep(&plan, most, measured).map_err(|error| Box::new(Diagnostic::new(error)))?;
        alone = Some(found.alone);
        plan.kept = found.kept;
    }
    let quantized = plan.graph_without(&plan.kept);
    let drift = match measured.is_empty() {
        true => None,
        false => Some(drift::measure(graph, &quantized, &layers, measured).map_err(about_data)?),
    };
    let report = plan.report(options, samples.len(), measured.len(), drift.as_ref(), alone.as_ref());
    *graph = quantized;
    Ok(report)
}

/// At most so many of the samples, at even distances from the first one on.
fn spread(samples: &[Vec<Tensor>], most: usize) -> Vec<Vec<Tensor>> {
    let count = samples.len().min(most);
    let sample = |index: usize| samples[index * samples.len() / count].clone();
    (0..count).map(sample).collect()
}

/// The numbers of weights that alone are quantized, and the rows of their blocks.
fn format(options: &Quantize) -> (Grid, usize) {
    match (options.scheme, options.block) {
        (Scheme::Int4, rows) => (Grid::Halves, rows.unwrap_or_default().get()),
        (_, rows) => (Grid::Bytes, rows.map_or(usize::MAX, BlockRows::get)),
    }
}

/// The weights of layers that alone are quantized: with the least error of products on the samples where these are in 4 bits
/// and there are any, otherwise at the nearest numbers.
///
/// # Errors
///
/// A sample does not suit the graph.
fn rounded(
    graph: &Graph,
    layers: &[Layer],
    options: &Quantize,
    samples: &[Vec<Tensor>],
) -> Result<Vec<Weights>, String> {
    let (grid, rows) = format(options);
    let mut found: Vec<Option<Weights>> = layers.iter().map(|_| None).collect();
    if options.scheme == Scheme::Int4 && !samples.is_empty() {
        gptq::each_hessian(graph, layers, samples, &mut |index, hessian| {
            found[index] = Some(Weights::Blocks(Blocks::new(&layers[index], grid, rows, Some(hessian))));
        })?;
    }
    let nearest = |layer: &Layer| match layer.kind {
        Kind::Table => Weights::Outputs(Numbers::of_table(layer)),
        _ => Weights::Blocks(Blocks::new(layer, grid, rows, None)),
    };
    let weights = layers.iter().zip(found);
    Ok(weights
        .map(|(layer, found)| found.unwrap_or_else(|| nearest(layer)))
        .collect())
}

/// The layers that a scheme quantizes.
fn find(graph: &Graph, options: &Quantize) -> Result<Vec<Layer>, Box<Diagnostic>> {
    let scheme = options.scheme;
    let mut layers = match scheme.is_of_weights() {
        true => layers::find_weights(graph),
        false => layers::find(graph),
    };
    if scheme.is_of_weights() {
        let (grid, rows) = format(options);
        layers.retain(|layer| layer.kind == Kind::Table || blocks::pay(layer, grid, rows));
    }
    if scheme == Scheme::Int8Dynamic {
        layers.retain(|layer| layer.kind == Kind::Product);
    }
    if !layers.is_empty() {
        return Ok(layers);
    }
    if layers::has_integers(graph) {
        let finding = Diagnostic::new("the model is quantized already: its products are of integers");
        return Err(Box::new(finding.help("compile it without quantization")));
    }
    if scheme.is_of_weights() && layers::has_dequantized(graph) {
        let finding = Diagnostic::new("the weights of the model are quantized already");
        return Err(Box::new(finding.help("compile it without quantization")));
    }
    let what = match scheme {
        Scheme::Int8 => "no matrix product or convolution over one or two axes",
        Scheme::Int8Dynamic => "no matrix product",
        Scheme::Int8Weights | Scheme::Int4 => "no matrix product or table with at least 4096 constant weights",
    };
    let which = match scheme.is_of_weights() {
        true => "of floats",
        false => "of floats with constant weights",
    };
    Err(Box::new(Diagnostic::new(format!(
        "nothing can be quantized to {scheme}: the model has {what} {which} outside of branches and loops"
    ))))
}

/// All that a graph is quantized with.
struct Plan<'a> {
    graph: &'a Graph,
    layers: &'a [Layer],
    weights: Vec<Weights>,
    /// Whether the weights alone are quantized.
    activations_stay: bool,
    corrections: Vec<Option<Vec<f32>>>,
    scales: Option<&'a Scales>,
    encodings: HashMap<ValueId, Encoding>,
    /// The layers that read zeros alone in all samples, which have no scale and stay in floats.
    unscaled: BTreeSet<usize>,
    /// The other layers that stay in floats.
    kept: BTreeSet<usize>,
}

impl<'a> Plan<'a> {
    fn new(graph: &'a Graph, layers: &'a [Layer], weights: Vec<Weights>) -> Plan<'a> {
        Plan {
            graph,
            layers,
            weights,
            activations_stay: false,
            corrections: vec![None; layers.len()],
            scales: None,
            encodings: HashMap::new(),
            unscaled: BTreeSet::new(),
            kept: BTreeSet::new(),
        }
    }

    /// Finds the layers without a scale for what they read.
    ///
    /// # Errors
    ///
    /// No layer has one.
    fn find_unscaled(&mut self) -> Result<(), Box<Diagnostic>> {
        let encoding = |layer: &Layer| self.encodings.get(&self.scales?.leader(layer.input)?);
        let layers = self.layers.iter().enumerate();
        let unscaled = layers.filter(|(_, layer)| encoding(layer).is_none());
        self.unscaled = unscaled.map(|(index, _)| index).collect();
        match self.layers.first() {
            Some(first) if self.unscaled.len() == self.layers.len() => Err(Box::new(Diagnostic::new(format!(
                "nothing can be quantized to int8: what `{}` and all other layers read is zero in every sample",
                first.name
            )))),
            _ => Ok(()),
        }
    }

    /// The layers that can be quantized.
    fn candidates(&self) -> Vec<usize> {
        let all = 0..self.layers.len();
        all.filter(|index| !self.unscaled.contains(index)).collect()
    }

    /// The quantized graph but for some layers.
    fn graph_without(&self, kept: &BTreeSet<usize>) -> Graph {
        let quantized = self.candidates().into_iter().filter(|index| !kept.contains(index));
        let targets: Vec<Target<'_>> = quantized
            .map(|index| Target {
                layer: &self.layers[index],
                weights: &self.weights[index],
                correction: self.corrections[index].as_deref(),
            })
            .collect();
        let activations = match self.scales {
            Some(scales) => Activations::Static {
                scales,
                encodings: &self.encodings,
            },
            None if self.activations_stay => Activations::Float,
            None => Activations::Dynamic,
        };
        insert::quantized(self.graph, &targets, &activations)
    }

    fn report(
        &self,
        options: &Quantize,
        samples: usize,
        measured: usize,
        drift: Option<&drift::Drift>,
        alone: Option<&BTreeMap<usize, f64>>,
    ) -> QuantizationReport {
        let layers = self.layers.iter().enumerate().map(|(index, layer)| {
            let is_unscaled = self.unscaled.contains(&index);
            let quantized = !is_unscaled && !self.kept.contains(&index);
            let before = 4 * layer.weights.len() as u64;
            let after = self.weights[index].bytes();
            QuantizedLayer {
                name: layer.name.clone(),
                kind: layer.kind.name(),
                quantized,
                reads_zeros: is_unscaled,
                noise: drift
                    .and_then(|drift| drift.layers.get(&layer.result))
                    .map(|sums| sums.noise()),
                drift_alone: alone.and_then(|alone| alone.get(&index).copied()),
                weight_bytes_before: before,
                weight_bytes: if quantized { after } else { before },
            }
        });
        let layers: Vec<QuantizedLayer> = layers.collect();
        QuantizationReport {
            scheme: options.scheme.name(),
            observer: self.scales.map(|_| options.observer.unwrap_or_default().name()),
            samples,
            measured,
            drift: drift.map(drift::Drift::relative),
            max_drift: options.max_drift.map(MaxDrift::get),
            weight_bytes_before: layers.iter().map(|layer| layer.weight_bytes_before).sum(),
            weight_bytes: layers.iter().map(|layer| layer.weight_bytes).sum(),
            layers,
            outputs: drift.map(|drift| drift.outputs(self.graph)).unwrap_or_default(),
        }
    }
}
