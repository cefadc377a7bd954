//! A race as tables in Markdown, aligned so that they can be read in a terminal as well.

use std::fmt::Write;

use crate::engine::Engine;
use crate::record::{Heat, Outcome, Record};
use crate::stats::geometric_mean;

/// The whole record.
pub(crate) fn page(record: &Record) -> String {
    let machine = &record.machine;
    let took_part = record.engines();
    let versions = record.versions.iter().filter(|(engine, _)| took_part.contains(engine));
    let mut facts = vec![
        format!("{}, {} cores, {}", machine.processor, machine.cores, machine.isa),
        machine.system.clone(),
        machine.rustc.clone(),
        format!("onnxide at {}", machine.commit),
    ];
    facts.extend(versions.map(|(engine, version)| format!("{} {version}", engine.name())));
    let mut page = format!("# The race of {}\n\n{}.\n\n{LEGEND}\n", record.date, facts.join("; "));
    for threads in record.threads() {
        let alone = threads > 1 && !record.onnxide_threads;
        let note = if alone {
            "onnxide itself ran on one thread.\n\n"
        } else {
            ""
        };
        let _ = write!(page, "\n## {}\n\n{note}{}", counted(threads), table(record, threads));
    }
    let notes = notes(record);
    if !notes.is_empty() {
        let _ = write!(page, "\n## What did not run or differs\n\n{notes}");
    }
    page
}

const LEGEND: &str = "\
Times are milliseconds: the median run of the best round. The ratio is the time of the best peer over that of onnxide, so
over 1 onnxide is faster. The spread is the distance of the quartiles of onnxide's rounds over their median. GFLOP/s are those
of onnxide, two operations for a multiply-accumulate, and their fraction of the peak, which is what nothing but multiply-adds
reached between the rounds. The error is the largest relative error of a peer's outputs against those of onnxide. A time with `!`
is of a peer whose outputs differ by more than the tolerance; it does not count.";

fn counted(threads: usize) -> String {
    format!("{threads} thread{}", if threads == 1 { "" } else { "s" })
}

/// The table of a number of threads, with its summary.
pub(crate) fn table(record: &Record, threads: usize) -> String {
    let heats = record.heats(threads);
    let engines = record.engines();
    let mut rows = vec![header(&engines)];
    rows.extend(heats.iter().map(|heat| row(heat, &engines)));
    let mut text = align(&rows);
    let _ = write!(text, "\n{}", summary(&heats, &engines));
    text
}

fn header(engines: &[Engine]) -> Vec<String> {
    let mut header = vec!["model".to_owned()];
    header.extend(engines.iter().map(|engine| engine.name().to_owned()));
    header.extend(["best peer", "ratio", "spread", "GFLOP/s", "of peak", "error"].map(str::to_owned));
    header
}

fn row(heat: &Heat, engines: &[Engine]) -> Vec<String> {
    let dash = || "-".to_owned();
    let mut row = vec![heat.model.clone()];
    for engine in engines {
        row.push(match heat.engines.get(engine) {
            Some(Outcome::Ran { times, agrees, .. }) => {
                format!("{}{}", milliseconds(times.best), if *agrees { "" } else { "!" })
            }
            _ => dash(),
        });
    }
    let onnxide = heat.times(Engine::Onnxide);
    let flops = heat.flops().filter(|&flops| flops > 0.0);
    let error = heat.engines.values().filter_map(|outcome| match outcome {
        Outcome::Ran {
            error, agrees: true, ..
        } => *error,
        _ => None,
    });
    row.extend([
        heat.best_peer()
            .map_or_else(dash, |(engine, _)| engine.name().to_owned()),
        heat.ratio(Engine::Onnxide)
            .map_or_else(dash, |ratio| format!("{ratio:.2}")),
        onnxide.map_or_else(dash, |times| format!("{:.1} %", 100.0 * times.spread())),
        flops.map_or_else(dash, |flops| format!("{:.1}", flops / 1e9)),
        flops.map_or_else(dash, |flops| format!("{:.0} %", 100.0 * flops / heat.peak())),
        match error.reduce(f64::max) {
            None => dash(),
            Some(0.0) => "0".to_owned(),
            Some(error) => format!("{error:.0e}"),
        },
    ]);
    row
}

fn milliseconds(seconds: f64) -> String {
    let value = seconds * 1e3;
    match value {
        value if value < 1.0 => format!("{value:.4}"),
        value if value < 10.0 => format!("{value:.3}"),
        value if value < 100.0 => format!("{value:.2}"),
        value => format!("{value:.1}"),
    }
}

/// The means over all models, and the worst model.
fn summary(heats: &[&Heat], engines: &[Engine]) -> String {
    let ratios = || {
        heats
            .iter()
            .filter_map(|heat| Some((heat, heat.ratio(Engine::Onnxide)?)))
    };
    let mut text = String::new();
    if let Some(mean) = geometric_mean(ratios().map(|(_, ratio)| ratio)) {
        let won = ratios().filter(|(_, ratio)| *ratio > 1.0).count();
        let _ = write!(
            text,
            "Against the best peer of each model: geometric mean {mean:.3} over {} models, {won} of them faster",
            ratios().count()
        );
        if let Some(median) = geometric_mean(heats.iter().filter_map(|heat| heat.median_ratio())) {
            let _ = write!(text, "; {median:.3} by the medians of all rounds");
        }
        text.push_str(".\n");
    }
    if let Some((heat, ratio)) = ratios().min_by(|(_, a), (_, b)| a.total_cmp(b)) {
        let _ = writeln!(text, "Worst model: {} ({ratio:.2}).", heat.model);
    }
    let against = |&engine: &Engine| {
        let ratio = |heat: &&Heat| Some(heat.agreeing(engine)?.best / heat.times(Engine::Onnxide)?.best);
        let ratios: Vec<f64> = heats.iter().filter_map(ratio).collect();
        let mean = geometric_mean(ratios.iter().copied())?;
        Some(format!("{} {mean:.2} ({})", engine.name(), ratios.len()))
    };
    let peers: Vec<String> = engines
        .iter()
        .filter(|&&engine| engine != Engine::Onnxide)
        .filter_map(against)
        .collect();
    if !peers.is_empty() {
        let _ = writeln!(text, "Against each peer (models that both run): {}.", peers.join(", "));
    }
    let peak = |name: &str| {
        let peaks = heats.iter().filter_map(|heat| heat.peak_flops.get(name));
        peaks
            .copied()
            .reduce(f64::max)
            .map(|peak| format!("{:.1} GFLOP/s with {name}", peak / 1e9))
    };
    let mut names: Vec<&String> = heats.iter().flat_map(|heat| heat.peak_flops.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let peaks: Vec<String> = names.into_iter().filter_map(|name| peak(name)).collect();
    if !peaks.is_empty() {
        let _ = writeln!(text, "Peak: {}.", peaks.join(", "));
    }
    text
}

fn notes(record: &Record) -> String {
    let mut notes = String::new();
    for heat in &record.heats {
        for (engine, outcome) in &heat.engines {
            let reason = match outcome {
                Outcome::Failed { reason } => reason.clone(),
                Outcome::Ran { agrees: true, .. } => continue,
                Outcome::Ran { error: Some(error), .. } => format!("differs by {error:.1e}"),
                Outcome::Ran { .. } => "differs without a bound".to_owned(),
            };
            let (model, threads) = (&heat.model, counted(heat.threads));
            let _ = writeln!(notes, "- {model}, {threads}, {}: {}", engine.name(), escaped(&reason));
        }
    }
    notes
}

/// Text without characters that Markdown makes something of, and not too long.
fn escaped(text: &str) -> String {
    const LENGTH: usize = 200;
    let mut escaped = String::new();
    for character in text.chars().take(LENGTH) {
        if "\\`*_{}[]<>|#".contains(character) {
            escaped.push('\\');
        }
        escaped.push(if character.is_control() { ' ' } else { character });
    }
    if text.chars().count() > LENGTH {
        escaped.push_str("...");
    }
    escaped
}

/// A table whose first row is the header; all columns but the first one are aligned to the right.
fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            let _ = match column {
                0 => write!(text, "| {cell:<width$} |"),
                _ => write!(text, " {cell:>width$} |"),
            };
        }
        text.push('\n');
        if number == 0 {
            let rule = |(column, width): (usize, &usize)| match column {
                0 => "-".repeat(*width),
                _ => "-".repeat(width - 1) + ":",
            };
            let rules: Vec<String> = widths.iter().enumerate().map(rule).collect();
            let _ = writeln!(text, "| {} |", rules.join(" | "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::record;

    #[test]
    fn a_table_of_a_race() {
        let expected = "\
| model | onnxide | onnxruntime | OpenVINO | tract |   best peer | ratio | spread | GFLOP/s | of peak | error |
| ----- | ------: | ----------: | -------: | ----: | ----------: | ----: | -----: | ------: | ------: | ----: |
| fast  |   2.000 |       4.000 |   1.000! |     - | onnxruntime |  2.00 | 40.0 % |    50.0 |    50 % |  1e-6 |
| slow  |   2.000 |       1.000 |   2.000! |     - | onnxruntime |  0.50 | 40.0 % |    50.0 |    50 % |  1e-6 |

Against the best peer of each model: geometric mean 1.000 over 2 models, 1 of them faster; 1.000 by the medians of all rounds.
Worst model: slow (0.50).
Against each peer (models that both run): onnxruntime 1.00 (2).
Peak: 90.0 GFLOP/s with avx2, 100.0 GFLOP/s with avx512.
";
        assert_eq!(table(&record(), 1), expected);
    }

    #[test]
    fn a_page_says_what_did_not_run() {
        let page = page(&record());
        assert!(page.starts_with("# The race of 2026-01-31\n\nAbacus, 2 cores, avx512; linux 6; rustc 1; onnxide at abc; onnxruntime 1.2.3.\n"));
        assert!(page.contains("\n## 2 threads\n\nonnxide itself ran on one thread.\n"));
        assert!(page.contains("\n- fast, 2 threads, tract: no such \\| operator\n"));
        assert!(page.contains("\n- slow, 1 thread, OpenVINO: differs by 5.0e-1\n"));
    }
}
