//! `onnxide bench`

use std::collections::BTreeMap;
use std::io::{self, Write};

use anyhow::Result;
use onnxide_codegen::{Compiler, Report};
use serde::Serialize;

use crate::args::Bench;
use crate::inspect::nodes;
use crate::program::{Measured, Program};
use crate::term::{self, BOLD, DIM};
use crate::{Outcome, model, tune};
use onnxide_codegen::npz::{self, Array};

/// What was measured, as it is printed in JSON.
#[derive(Debug, Serialize)]
struct Times<'a> {
    isa: &'a str,
    load_seconds: f64,
    iterations: u64,
    min_seconds: f64,
    median_seconds: f64,
    /// 2 operations for each multiply-accumulate, in the shortest run.
    gflops: f64,
    /// Of nothing but multiply-adds on this machine, of `f32` and of integers of 8 bits.
    peak_gflops: f64,
    peak_int8_gops: f64,
    /// The time that these multiply-adds would take at the peaks, over that of the shortest run.
    fraction_of_peak: f64,
    weight_bytes: u64,
    large_page_bytes: u64,
    arena_bytes: u64,
    steps: Vec<StepTime<'a>>,
}

#[derive(Debug, Serialize)]
struct StepTime<'a> {
    kernel: &'a str,
    nodes: &'a [String],
    results: &'a [String],
    macs: u64,
    /// The median time.
    seconds: f64,
    gflops: f64,
    fraction_of_peak: f64,
}

pub(crate) fn bench(args: &Bench) -> Result<Outcome> {
    if let Some(file) = &args.tune {
        return tune::tune(args, file);
    }
    let sources = &args.run.operators_from;
    // A profile costs what a call between two steps costs; for rounds the program is that of `run`.
    let (compiler, inputs) = prepare(args)?;
    let program = Program::build(compiler.profile(!args.rounds), sources)?;
    if args.rounds {
        program.rounds(&inputs, args)?;
        return Ok(Outcome::Success);
    }
    let measured = program.bench(&inputs, args.seconds, args)?;
    let times = times(&measured, &program.report);
    let mut out = anstream::stdout();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &times)?;
        writeln!(out)?;
    } else {
        print(&times, &program.report, args.sort, &mut out)?;
    }
    Ok(Outcome::Success)
}

/// The compiler and the inputs that the arguments ask for.
pub(crate) fn prepare(args: &Bench) -> Result<(Compiler, Vec<(String, Array)>)> {
    let Some(reference) = &args.reference else {
        let compiler = args.model.compiler();
        if !args.model.model.is_file() {
            // The compiler knows better than the front end what to say about a path that leads nowhere.
            compiler.clone().compile_module()?;
        }
        return Ok((compiler, model::zeros(&args.model)?));
    };
    let mut arrays: BTreeMap<String, Array> = npz::read(reference)?.into_iter().collect();
    let bound = model::bind(&args.model, &mut arrays, reference)?;
    Ok((bound.compiler, bound.inputs))
}

fn times<'a>(measured: &'a Measured, report: &'a Report) -> Times<'a> {
    let seconds = |ns: u64| ns as f64 / 1e9;
    // Operations per nanosecond; a step may be too short for the clock.
    let gflops = |macs: u64, ns: u64| 2.0 * macs as f64 / ns.max(1) as f64;
    let peak = |int8: bool| {
        1e-9 * if int8 {
            measured.peak_int8_ops
        } else {
            measured.peak_flops
        }
    };
    let at_peak = report.steps.iter().map(|step| 2.0 * step.macs as f64 / peak(step.int8));
    let steps = report.steps.iter().zip(&measured.steps).map(|(step, time)| StepTime {
        kernel: &step.kernel,
        nodes: &step.nodes,
        results: &step.results,
        macs: step.macs,
        seconds: seconds(time.ns),
        gflops: gflops(step.macs, time.ns),
        fraction_of_peak: gflops(step.macs, time.ns) / peak(step.int8),
    });
    Times {
        isa: &measured.isa,
        load_seconds: seconds(measured.load_ns),
        iterations: measured.iterations,
        min_seconds: seconds(measured.min_ns),
        median_seconds: seconds(measured.median_ns),
        gflops: gflops(report.steps.iter().map(|step| step.macs).sum(), measured.min_ns),
        peak_gflops: measured.peak_flops / 1e9,
        peak_int8_gops: measured.peak_int8_ops / 1e9,
        fraction_of_peak: at_peak.sum::<f64>() / measured.min_ns.max(1) as f64,
        weight_bytes: report.weight_bytes,
        large_page_bytes: measured.large_page_bytes,
        arena_bytes: report.arena_bytes,
        steps: steps.collect(),
    }
}

fn print(times: &Times<'_>, report: &Report, sort: bool, out: &mut impl Write) -> io::Result<()> {
    let percent = |fraction: f64| format!("{:.1} %", 100.0 * fraction);
    let share = |seconds: f64, total: f64| percent(seconds / total);
    let has_int8 = report.steps.iter().any(|step| step.int8 && step.macs > 0);
    let unit = if has_int8 { "GOP/s" } else { "GFLOP/s" };
    let total: f64 = times.steps.iter().map(|step| step.seconds).sum();
    if total > 0.0 {
        writeln!(
            out,
            "{BOLD}{:>4}  {:>9}  {:>7}  {:>7}  {:>7}  kernel{BOLD:#}",
            "step", "time", "share", unit, "of peak"
        )?;
        let mut steps: Vec<_> = times.steps.iter().zip(&report.steps).enumerate().collect();
        if sort {
            steps.sort_by(|(_, (a, _)), (_, (b, _))| b.seconds.total_cmp(&a.seconds));
        }
        for (index, (step, described)) in steps {
            let (gflops, fraction) = if step.macs == 0 {
                ("-".into(), "-".into())
            } else {
                (format!("{:.1}", step.gflops), percent(step.fraction_of_peak))
            };
            writeln!(
                out,
                "{index:>4}  {:>9}  {:>7}  {gflops:>7}  {fraction:>7}  {} {} {DIM}{}{DIM:#}",
                term::seconds(step.seconds),
                share(step.seconds, total),
                step.kernel,
                step.results.join(" "),
                nodes(described)
            )?;
        }
        writeln!(out)?;
    }
    writeln!(
        out,
        "{BOLD}minimum{BOLD:#}  {} ({:.1} {unit}, {} of the peak)",
        term::seconds(times.min_seconds),
        times.gflops,
        percent(times.fraction_of_peak)
    )?;
    writeln!(out, "{BOLD}median{BOLD:#}   {}", term::seconds(times.median_seconds))?;
    writeln!(out, "{BOLD}load{BOLD:#}     {}", term::seconds(times.load_seconds))?;
    write!(out, "{BOLD}peak{BOLD:#}     {:.1} GFLOP/s", times.peak_gflops)?;
    if has_int8 {
        write!(out, ", {:.1} GOP/s of integers of 8 bits", times.peak_int8_gops)?;
    }
    writeln!(out)?;
    if times.large_page_bytes > 0 {
        let (moved, all) = (times.large_page_bytes, times.weight_bytes);
        let (moved, all) = (term::bytes(moved), term::bytes(all));
        writeln!(out, "{BOLD}weights{BOLD:#}  {all}, {moved} of them in large pages")?;
    }
    writeln!(out, "{DIM}{} runs, {}{DIM:#}", times.iterations, times.isa)
}

#[cfg(test)]
mod tests {
    use onnxide_codegen::compiler::StepReport;

    use super::*;

    #[test]
    fn steps_have_times_and_rates() {
        let step = |kernel: &str, node: &str, macs| StepReport {
            kernel: kernel.into(),
            nodes: vec![node.into()],
            results: vec!["f32[1, 8]".into()],
            macs,
            int8: kernel.contains("int8"),
            threads: 1,
            weight_bytes: 0,
            live_bytes: 0,
        };
        let report = Report {
            steps: vec![
                step("softmax", "/Softmax", 0),
                step("gemm", "/fc/Gemm", 60_000),
                step("matmul_int8", "/MatMul", 200_000),
            ],
            arena_bytes: 128,
            weight_bytes: 64,
            ..Report::default()
        };
        let json = r#"{"isa":"avx2","large_page_bytes":32,"load_ns":700,"iterations":9,"min_ns":5000,"median_ns":6000,
            "peak_flops":100e9,"peak_int8_ops":800e9,"steps":[{"ns":1000},{"ns":3000},{"ns":1000}]}"#;
        let measured: Measured = serde_json::from_str(json).unwrap();
        let times = times(&measured, &report);
        let text = |sort| {
            let mut text = Vec::new();
            print(&times, &report, sort, &mut text).unwrap();
            String::from_utf8(anstream::adapter::strip_bytes(&text).into_vec()).unwrap()
        };
        insta::assert_snapshot!(text(false), @r"
        step       time    share    GOP/s  of peak  kernel
           0     1.0 µs   20.0 %        -        -  softmax f32[1, 8] /Softmax
           1     3.0 µs   60.0 %     40.0   40.0 %  gemm f32[1, 8] /fc/Gemm
           2     1.0 µs   20.0 %    400.0   50.0 %  matmul_int8 f32[1, 8] /MatMul

        minimum  5.0 µs (104.0 GOP/s, 34.0 % of the peak)
        median   6.0 µs
        load     700 ns
        peak     100.0 GFLOP/s, 800.0 GOP/s of integers of 8 bits
        weights  64 B, 32 B of them in large pages
        9 runs, avx2
        ");
        let sorted = text(true);
        assert!(sorted.find("/fc/Gemm") < sorted.find("/Softmax"));
        insta::assert_snapshot!(serde_json::to_string(&times).unwrap(), @r#"{"isa":"avx2","load_seconds":7e-7,"iterations":9,"min_seconds":5e-6,"median_seconds":6e-6,"gflops":104.0,"peak_gflops":100.0,"peak_int8_gops":800.0,"fraction_of_peak":0.34,"weight_bytes":64,"large_page_bytes":32,"arena_bytes":128,"steps":[{"kernel":"softmax","nodes":["/Softmax"],"results":["f32[1, 8]"],"macs":0,"seconds":1e-6,"gflops":0.0,"fraction_of_peak":0.0},{"kernel":"gemm","nodes":["/fc/Gemm"],"results":["f32[1, 8]"],"macs":60000,"seconds":3e-6,"gflops":40.0,"fraction_of_peak":0.4},{"kernel":"matmul_int8","nodes":["/MatMul"],"results":["f32[1, 8]"],"macs":200000,"seconds":1e-6,"gflops":400.0,"fraction_of_peak":0.5}]}"#);
    }
}
