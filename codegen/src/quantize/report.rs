//! What quantization has done to a model, for people and tools.

use crate::measure::{Decisions, Noise};

/// What a model was quantized to, and how far its results are from those in floats.
///
/// Drifts are of the numbers that the quantized model has, computed in floats, on samples of the calibration data. What the
/// module itself computes differs by a rounding here and there.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct QuantizationReport {
    /// To what the model was quantized.
    pub scheme: &'static str,
    /// How ranges were chosen, if they were.
    pub observer: Option<&'static str>,
    /// The number of samples in the calibration data.
    pub samples: usize,
    /// The number of samples that drifts are of, at even distances.
    pub measured: usize,
    /// The root of the ratio of the squares of the differences to those of the outputs, of the output where it is greatest. Of
    /// an output of other types than floats it is the fraction of the elements that differ; it is infinite if an output has
    /// another shape, which is `null` in JSON.
    pub drift: Option<f64>,
    /// The bound of the drift.
    pub max_drift: Option<f64>,
    /// Bytes of the weights of the layers before.
    pub weight_bytes_before: u64,
    /// Bytes of them after, with their scales.
    pub weight_bytes: u64,
    /// The matrix products and convolutions that can be quantized, in the order of the model.
    pub layers: Vec<QuantizedLayer>,
    /// The outputs.
    pub outputs: Vec<QuantizedOutput>,
}

/// A matrix product or a convolution that can be quantized.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct QuantizedLayer {
    /// The name of the node.
    pub name: String,
    /// What it is.
    pub kind: &'static str,
    /// Whether it is quantized, rather than left in floats for what it would do.
    pub quantized: bool,
    /// Whether it stays in floats because what it reads is zero in all samples, so that there is no scale for it.
    pub reads_zeros: bool,
    /// The noise in its result, with all that has gathered on the way to it.
    pub noise: Option<Noise>,
    /// The drift of the outputs with this layer quantized alone, if it was measured.
    pub drift_alone: Option<f64>,
    /// Bytes of its weights before.
    pub weight_bytes_before: u64,
    /// Bytes of its weights after, with their scales.
    pub weight_bytes: u64,
}

/// An output of a quantized model.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct QuantizedOutput {
    /// The name in the model.
    pub name: String,
    /// The noise in it.
    pub noise: Noise,
    /// How many decisions are the same, if it has any.
    pub decisions: Option<Decisions>,
}
