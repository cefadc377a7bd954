//! What a compiled module consists of, for people and tools.

use crate::plan::Decision;
use crate::quantize::QuantizationReport;

/// The steps, the memory and the interface of a module. Sizes that depend on symbols are those at their bounds.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Report {
    /// The name of the module.
    pub name: String,
    /// BLAKE3 of the model and its external data, in hexadecimal.
    pub model_hash: String,
    /// The symbols of dimensions.
    pub symbols: Vec<SymbolReport>,
    /// The inputs.
    pub inputs: Vec<PortReport>,
    /// The outputs.
    pub outputs: Vec<PortReport>,
    /// The steps, in the order in which they run; the number of a step is its index.
    pub steps: Vec<StepReport>,
    /// The values that live in the arena.
    pub slots: Vec<SlotReport>,
    /// The size of the arena in bytes.
    pub arena_bytes: u64,
    /// The largest sum of bytes alive at one step, which no placement of the same steps can do without.
    pub arena_lower_bound: u64,
    /// The size of the weights in bytes.
    pub weight_bytes: u64,
    /// What was decided that measurements can decide otherwise.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub decisions: Vec<Decision>,
    /// The layers whose results are outputs after those of the model; for tools that ask for it.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub layers: Vec<LayerReport>,
    /// What quantization has done, if the model was quantized when it was compiled.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub quantization: Option<QuantizationReport>,
}

/// A matrix product or a convolution whose result is an output.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct LayerReport {
    /// The name of the output.
    pub output: String,
    /// The kernel.
    pub kernel: String,
    /// In what the step multiplies.
    pub precision: &'static str,
    /// Multiply-accumulate operations.
    pub macs: u64,
    /// Bytes of weights that the step reads.
    pub weight_bytes: u64,
}

/// A symbol of dimensions and the sizes it may have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct SymbolReport {
    /// The name.
    pub name: String,
    /// The least size.
    pub min: u64,
    /// The greatest size.
    pub max: u64,
}

/// An input or an output.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct PortReport {
    /// The name in the model.
    pub name: String,
    /// The type of the elements, spelled as in NumPy.
    pub dtype: String,
    /// The dimensions: sizes, or expressions over symbols.
    pub shape: Vec<String>,
}

/// A step.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct StepReport {
    /// The kernel.
    pub kernel: String,
    /// The ONNX nodes that the step computes.
    pub nodes: Vec<String>,
    /// The types of the results, such as `f32[1, 16, 128]`.
    pub results: Vec<String>,
    /// Multiply-accumulate operations.
    pub macs: u64,
    /// Whether these are of integers of 8 bits.
    pub int8: bool,
    /// The largest number of threads that compute the step.
    pub threads: usize,
    /// Bytes of weights that the step reads.
    pub weight_bytes: u64,
    /// Bytes of the arena that are alive while the step runs.
    pub live_bytes: u64,
}

/// A value in the arena.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct SlotReport {
    /// The name of the value.
    pub name: String,
    /// The first byte.
    pub offset: u64,
    /// The number of bytes.
    pub bytes: u64,
    /// The step that writes the value.
    pub first: usize,
    /// The last step that reads the value.
    pub last: usize,
}
