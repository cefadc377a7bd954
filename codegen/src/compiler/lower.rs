//! The middle of the road: a model to the text of a module.

use bytes::Bytes;

use super::layers;
use super::{LayerReport, Options, PortReport, Report, SlotReport, StepReport, SymbolReport, WeightsPath};
use crate::diagnostics::{CompileError, Diagnostic, Diagnostics};
use crate::emit::{EmitOptions, WeightsSource, emit};
use crate::frontend::{DeclaredDim, Model, ValueType};
use crate::import::{self, import};
use crate::ir::TensorType;
use crate::passes;
use crate::plan::kernel::Matrix;
use crate::plan::{Base, Kernel, Plan, PlanError, PlanOptions, Step};
use crate::precision::Precision;
use crate::quantize::{self, QuantizationReport};

/// What a model becomes.
pub(super) struct Lowered {
    /// The text of the module.
    pub(super) source: String,
    /// The weights, in the layout that the module reads.
    pub(super) weights: Bytes,
    /// What the module consists of.
    pub(super) report: Report,
}

/// Bytes of weights from which on the assembler rather than the Rust compiler includes them: `include_bytes!` costs
/// the Rust compiler 12 ms and 15 MB of memory a megabyte.
const OBJECT_BYTES: usize = 1 << 22;

/// Compiles a model with options that fit it; `header` is what the text starts with.
///
/// # Errors
///
/// All that is wrong with the model, or that the compiler does not support.
pub(super) fn lower(model: Model, options: &Options, header: Vec<String>) -> Result<Lowered, CompileError> {
    let (plan, layers, quantization) = plan(&model, options)?;
    let blob = plan.weights.blob();
    let emit_options = EmitOptions {
        runtime: "onnxide_runtime".into(),
        header,
        weights: weights_source(&model, options, blob.bytes().len()),
        program: options.program,
        profile: options.profile,
    };
    Ok(Lowered {
        source: emit(&plan, &emit_options),
        report: Report {
            layers,
            quantization,
            ..report(&plan, &model, options)
        },
        weights: Bytes::from_owner(blob),
    })
}

/// A plan, the results of layers that are outputs, and what quantization has done.
type Planned = (Plan, Vec<LayerReport>, Option<QuantizationReport>);

/// Takes every decision.
fn plan(model: &Model, options: &Options) -> Result<Planned, CompileError> {
    let dims = options.dims.iter().map(|(name, range)| {
        let size = |size: usize| i64::try_from(size).unwrap_or(i64::MAX);
        (name.clone(), size(range.min)..=size(range.max))
    });
    let import_options = import::Options {
        dims: dims.collect(),
        operators: options.operators.clone(),
        front: options.front,
    };
    let mut graph = import(model, &import_options)?;
    graph.name.clone_from(&options.name);
    let mut quantization = None;
    if let Some(quantize) = &options.quantize {
        passes::clean(&mut graph);
        let batches = batches(model);
        let report = quantize::quantize(&mut graph, quantize, &options.calibration, &batches);
        quantization = Some(report.map_err(|finding| Diagnostics::one(&model.name, *finding))?);
    }
    passes::optimize(&mut graph, &mut |_, _| {});
    let plan_options = PlanOptions {
        threads: options.threads,
        winograd: options.winograd,
        precision: options.precision,
        ram: options.ram.map(|ram| ram.0),
        tuning: options.tuning.clone(),
        plain: false,
    };
    let planned = match options.layers {
        true => layers::expose(&mut graph, &plan_options),
        false => Plan::with(&graph, &plan_options).map(|plan| (plan, Vec::new())),
    };
    if let Ok((plan, _)) = &planned
        && options.precision == Precision::Int8
        && !plan.steps.iter().any(rounds)
    {
        let message = "precision int8 rounds what matrix products multiply with weights that are stored in 4 or 8 bits, of which this \
                       model has none; the option `quantize` quantizes a model in floats";
        return Err(Diagnostics::one(&model.name, Diagnostic::new(message)).into());
    }
    let planned = planned.map(|(plan, layers)| (plan, layers, quantization));
    planned.map_err(|errors| {
        let mut found = Diagnostics::new(model.name.as_str());
        for PlanError {
            origin,
            operator,
            message,
        } in errors
        {
            let place = match origin.first() {
                Some(node) => format!("`{node}` ({operator}): {message}"),
                None => format!("{operator}: {message}"),
            };
            found.push(Diagnostic::new(place));
        }
        found.into()
    })
}

/// Whether a step rounds what it multiplies with weights in blocks.
fn rounds(step: &Step) -> bool {
    match &step.kernel {
        Kernel::Gemm(gemm) => matches!(gemm.b, Matrix::PackedBlocks { rounded: true, .. }),
        _ => false,
    }
}

/// The inputs whose first axis has no fixed size in the model.
fn batches(model: &Model) -> Vec<&str> {
    let inputs = model.graph.inputs.iter().filter(|input| match &input.ty {
        Some(ValueType::Tensor { shape: Some(shape), .. }) => shape
            .first()
            .is_some_and(|first| !matches!(first, DeclaredDim::Fixed(_))),
        _ => false,
    });
    inputs.map(|input| input.name.as_str()).collect()
}

fn weights_source(model: &Model, options: &Options, bytes: usize) -> WeightsSource {
    let path = options.weights.expression();
    // The assembler does not look beside the source file.
    if bytes < OBJECT_BYTES || matches!(options.weights, WeightsPath::Beside(_)) {
        return WeightsSource::Include(path);
    }
    let symbol = format!("{}_{}", options.name, &options.key(&model.hash)[..16]);
    WeightsSource::Object { symbol, path }
}

fn report(plan: &Plan, model: &Model, options: &Options) -> Report {
    let port = |name: &str, ty: &TensorType| PortReport {
        name: name.to_owned(),
        dtype: ty.dtype.numpy_name(),
        shape: ty.shape.iter().map(ToString::to_string).collect(),
    };
    let bounds = plan.bounds();
    let size = |size: i64| u64::try_from(size).unwrap_or(0);
    let steps = plan.steps.iter().enumerate().map(|(number, step)| {
        let weights = step.reads.iter().filter_map(|access| match access.base {
            Base::Weight(id) => {
                let entry = &plan.weights.entries[id.0];
                Some(entry.bytes() as u64)
            }
            _ => None,
        });
        StepReport {
            kernel: plan.functions[step.function].name.clone(),
            nodes: step.origin.clone(),
            results: step.results.iter().map(ToString::to_string).collect(),
            macs: step.macs,
            int8: step.kernel.is_int8(),
            threads: usize::try_from(step.parts.upper(&bounds)).unwrap_or(1).max(1),
            weight_bytes: weights.sum(),
            live_bytes: plan.certificate.peaks[number] as u64,
        }
    });
    Report {
        name: options.name.clone(),
        model_hash: model.hash_hex(),
        symbols: plan
            .symbols
            .iter()
            .map(|(name, range)| SymbolReport {
                name: name.to_string(),
                min: size(range.low),
                max: size(range.high),
            })
            .collect(),
        inputs: plan
            .inputs
            .iter()
            .map(|input| port(&input.port.name, &input.ty))
            .collect(),
        outputs: plan
            .outputs
            .iter()
            .map(|output| port(&output.port.name, &output.ty))
            .collect(),
        steps: steps.collect(),
        slots: plan
            .buffers
            .iter()
            .map(|buffer| SlotReport {
                name: buffer.name.clone(),
                offset: buffer.offset as u64,
                bytes: buffer.bytes() as u64,
                first: buffer.first,
                last: buffer.last,
            })
            .collect(),
        arena_bytes: plan.certificate.arena_bytes as u64,
        arena_lower_bound: plan.certificate.lower_bound as u64,
        weight_bytes: plan.weights.bytes as u64,
        decisions: plan.decisions.clone(),
        layers: Vec::new(),
        quantization: None,
    }
}
