//! A comparison as a table.

use std::io::{self, Write};

use super::{Comparison, Layer, Output};
use crate::term::{self, BOLD, DIM};

/// Widest column of kernels.
const WIDEST: usize = 40;

/// Prints the layers in the order of the model, then the outputs.
pub(super) fn print(comparison: &Comparison, out: &mut impl Write) -> io::Result<()> {
    let Comparison {
        name,
        precision,
        against,
        ..
    } = comparison;
    writeln!(out, "{BOLD}{name}{BOLD:#}  {precision} against {against}")?;
    writeln!(out)?;
    layers(comparison, out)?;
    for output in &comparison.outputs {
        writeln!(out, "{BOLD}{}{BOLD:#}  {}", output.name, self::output(output))?;
    }
    writeln!(
        out,
        "{BOLD}weights{BOLD:#}  {} of {}",
        term::bytes(comparison.weight_bytes),
        term::bytes(comparison.weight_bytes_against)
    )
}

fn layers(comparison: &Comparison, out: &mut impl Write) -> io::Result<()> {
    let layers = &comparison.layers;
    if layers.is_empty() {
        return Ok(());
    }
    let longest = layers.iter().map(|layer| layer.kernel.chars().count()).max();
    let width = longest.unwrap_or(0).clamp(6, WIDEST);
    writeln!(
        out,
        "{BOLD}{:<width$}  {:>9}  {:>9}  {:>10}  {:>9}  {:>9}  layer{BOLD:#}",
        "kernel", "precision", "SNR", "error/range", "weights", "before"
    )?;
    for layer in layers {
        let Layer {
            name,
            kernel,
            precision,
            weight_bytes,
            weight_bytes_against,
            noise,
            ..
        } = layer;
        let kernel: String = kernel.chars().take(WIDEST).collect();
        writeln!(
            out,
            "{kernel:<width$}  {precision:>9}  {:>9}  {:>11}  {:>9}  {:>9}  {DIM}{name}{DIM:#}",
            decibels(noise.snr_db),
            percent(noise.error_over_range),
            term::bytes(*weight_bytes),
            term::bytes(*weight_bytes_against),
        )?;
    }
    writeln!(out)
}

fn output(output: &Output) -> String {
    let mut text = format!(
        "{}{:?}: SNR {}, largest error {} of the range",
        output.dtype,
        output.shape,
        decibels(output.noise.snr_db),
        percent(output.noise.error_over_range)
    );
    if let Some(decisions) = output.decisions {
        text += &format!(
            ", {} of {} decisions agree",
            decisions.agreeing_decisions, decisions.decisions
        );
    }
    text
}

fn decibels(ratio: f64) -> String {
    if ratio == f64::INFINITY {
        "exact".into()
    } else {
        format!("{ratio:.1} dB")
    }
}

fn percent(fraction: f64) -> String {
    format!("{:.3} %", 100.0 * fraction)
}

#[cfg(test)]
mod tests {
    use super::super::tests::comparison;
    use super::*;

    #[test]
    fn layers_come_before_outputs() {
        let mut text = Vec::new();
        print(&comparison(), &mut text).unwrap();
        let plain = anstream::adapter::strip_bytes(&text).into_vec();
        insta::assert_snapshot!(String::from_utf8(plain).unwrap());
    }
}
