//! Which layers stay in floats so that the outputs are as close as they have to be.

use std::collections::{BTreeMap, BTreeSet};

use super::drift::{measure, measure_each};
use super::{MaxDrift, Plan, spread};
use crate::ir::Tensor;

/// The most samples on which layers are measured alone.
const SAMPLES: usize = 4;

/// What the layers do alone, and which of them stay in floats.
pub(super) struct Kept {
    /// The drift of the outputs with each layer quantized alone, by the number of the layer.
    pub(super) alone: BTreeMap<usize, f64>,
    /// The layers that stay in floats, by their numbers.
    pub(super) kept: BTreeSet<usize>,
}

/// Finds the fewest layers, those that do the most harm alone, without which the drift is within a bound.
///
/// That fewer quantized layers have less drift is the rule, to which there may be exceptions; what is found is within the
/// bound in any case.
///
/// # Errors
///
/// No layer can be quantized within the bound, or a sample cannot be run.
pub(super) fn keep(plan: &Plan<'_>, most: MaxDrift, samples: &[Vec<Tensor>]) -> Result<Kept, String> {
    let mut order = plan.candidates();
    let count = order.len();
    let all: BTreeSet<usize> = order.iter().copied().collect();
    let without = |index: usize| plan.graph_without(&all.iter().copied().filter(|&other| other != index).collect());
    let single = |number: usize| without(order[number]);
    let drifts = measure_each(plan.graph, count, &single, &spread(samples, SAMPLES))?;
    let alone: BTreeMap<usize, f64> = order.iter().copied().zip(drifts).collect();
    order.sort_by(|a, b| alone[b].total_cmp(&alone[a]).then(a.cmp(b)));
    let kept = |worst: usize| order[..worst].iter().copied().collect::<BTreeSet<usize>>();
    let fits = |worst: usize| -> Result<bool, String> {
        let quantized = plan.graph_without(&kept(worst));
        Ok(measure(plan.graph, &quantized, &[], samples)?.relative() <= most.get())
    };
    // Below `low` the drift is too large, with `high` layers in floats there is none.
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        match fits(middle)? {
            true => high = middle,
            false => low = middle + 1,
        }
    }
    if high == count {
        let least = order.last().map_or(0.0, |index| alone[index]);
        return Err(format!(
            "no layer can be quantized within a drift of {most}: the one that does the least harm has {least:.4} alone"
        ));
    }
    Ok(Kept {
        alone,
        kept: kept(high),
    })
}
