//! The steps as a table.

use std::io::{self, Write};

use onnxide_codegen::compiler::{PortReport, Report, StepReport};

use super::picture;
use crate::term::{self, BOLD, DIM};

/// Widest column of kernels, and of results.
const WIDEST: usize = 32;
/// Width of the column of nodes.
const NODES: usize = 40;
/// Width and height of the picture in characters.
const PICTURE: (usize, usize) = (72, 8);

/// Prints what the module consists of.
pub(super) fn print(report: &Report, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{BOLD}{}{BOLD:#}  {DIM}{}{DIM:#}", report.name, report.model_hash)?;
    for (kind, ports) in [("input", &report.inputs), ("output", &report.outputs)] {
        for port in ports {
            writeln!(out, "  {kind:<7} {}", self::port(port))?;
        }
    }
    for symbol in &report.symbols {
        writeln!(
            out,
            "  {:<7} {} from {} to {}",
            "size", symbol.name, symbol.min, symbol.max
        )?;
    }
    writeln!(out)?;
    steps(report, out)?;

    let macs = report.steps.iter().map(|step| step.macs).sum();
    writeln!(out)?;
    writeln!(out, "{BOLD}steps{BOLD:#}    {}", report.steps.len())?;
    writeln!(out, "{BOLD}MACs{BOLD:#}     {}", term::count(macs))?;
    writeln!(out, "{BOLD}weights{BOLD:#}  {}", term::bytes(report.weight_bytes))?;
    writeln!(
        out,
        "{BOLD}arena{BOLD:#}    {} ({})",
        term::bytes(report.arena_bytes),
        above_bound(report.arena_bytes, report.arena_lower_bound)
    )?;
    let live: Vec<u64> = report.steps.iter().map(|step| step.live_bytes).collect();
    for line in picture::draw(&live, report.arena_bytes, PICTURE.0, PICTURE.1) {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}

fn above_bound(arena: u64, bound: u64) -> String {
    if arena <= bound {
        return "the lower bound".into();
    }
    let percent = 100.0 * (arena - bound) as f64 / bound.max(1) as f64;
    format!("{percent:.1} % above the lower bound {}", term::bytes(bound))
}

fn port(port: &PortReport) -> String {
    format!("{} {}[{}]", port.name, port.dtype, port.shape.join(", "))
}

fn steps(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let results: Vec<String> = report.steps.iter().map(|step| step.results.join(" ")).collect();
    let width = |title: &str, texts: &mut dyn Iterator<Item = &String>| {
        let longest = texts.map(|text| text.chars().count()).max().unwrap_or(0);
        longest.max(title.len()).min(WIDEST)
    };
    // The column of threads is there where a step has several.
    let threads = |text: &dyn std::fmt::Display| match report.steps.iter().any(|step| step.threads > 1) {
        true => format!("  {text:>7}"),
        false => String::new(),
    };
    let kernel = width("kernel", &mut report.steps.iter().map(|step| &step.kernel));
    let result = width("result", &mut results.iter());
    writeln!(
        out,
        "{BOLD}{:>4}  {:<kernel$}  {:<result$}  {:>8}{}  {:>9}  {:>9}  nodes{BOLD:#}",
        "step",
        "kernel",
        "result",
        "MACs",
        threads(&"threads"),
        "weights",
        "live"
    )?;
    for (index, (step, types)) in report.steps.iter().zip(&results).enumerate() {
        writeln!(
            out,
            "{index:>4}  {:<kernel$}  {:<result$}  {:>8}{}  {:>9}  {:>9}  {DIM}{}{DIM:#}",
            term::shorten(&step.kernel, kernel),
            term::shorten(types, result),
            or_dash(step.macs, term::count),
            threads(&step.threads),
            or_dash(step.weight_bytes, term::bytes),
            term::bytes(step.live_bytes),
            nodes(step)
        )?;
    }
    Ok(())
}

fn or_dash(value: u64, show: impl Fn(u64) -> String) -> String {
    if value == 0 { "-".into() } else { show(value) }
}

/// The nodes of a step: the first, and how many there are besides.
pub(crate) fn nodes(step: &StepReport) -> String {
    match &step.nodes[..] {
        [] => String::new(),
        [node] => term::shorten(node, NODES),
        [node, others @ ..] => format!("{} +{}", term::shorten(node, NODES), others.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;

    #[test]
    fn the_table_shows_everything() {
        let mut text = Vec::new();
        print(&report(), &mut text).unwrap();
        let plain = anstream::adapter::strip_bytes(&text).into_vec();
        insta::assert_snapshot!(String::from_utf8(plain).unwrap(), @r"
        cat  5fec
          input   image float32[batch, 64]
          output  a<b float32[batch, 2]
          size    batch from 1 to 8

        step  kernel   result               MACs    weights       live  nodes
           0  gemm     f32[batch, 128]    65.5 k   32.5 KiB    4.0 KiB  /layer.0/MatMul +2
           1  gemm     f32[batch, 96]     98.3 k   48.0 KiB    7.0 KiB  /layer.1/MatMul
           2  softmax  f32[batch, 2]           -          -    3.1 KiB  a<b

        steps    3
        MACs     163.8 k
        weights  80.5 KiB
        arena    7.2 KiB (3.6 % above the lower bound 7.0 KiB)
           ▆
           █
           █
          ▄█
          ██▄
          ███
          ███
          ███
        ");
    }
}
