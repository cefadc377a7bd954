//! Measuring a model.

use super::Arithmetic;
use super::container::Container;
use crate::describe::{AnyValue, Profile, Program, Step};
use crate::isa::Level;
use std::boxed::Box;
use std::fmt::Write;
use std::string::{String, ToString};
use std::time::{Duration, Instant};
use std::vec::Vec;
use std::{format, vec};

/// What was measured.
pub(super) struct Report {
    isa: &'static str,
    /// Bytes of weights in large pages.
    large_page_bytes: usize,
    load: Duration,
    /// The times of the runs, ascending.
    runs: Vec<Duration>,
    /// What [`peak`](super::peak) found before and after the runs, whichever is more.
    peak_flops: f64,
    peak_int8_ops: f64,
    /// The steps, each with its median time.
    steps: Vec<(Step, Duration)>,
}

/// How long the peak is measured, before the runs and after them.
const PEAK: Duration = Duration::from_millis(20);

/// Loads the model, runs it for some time, at least three times after a first run that does not count, and then
/// as often with a profile if there is one, for a tenth of that time. The peak is that of so many threads.
pub(super) fn bench<P: Program>(
    new: fn(Level) -> Box<P>,
    level: Level,
    container: &Container,
    seconds: f64,
    threads: usize,
    large_page_bytes: usize,
) -> Result<Report, String> {
    let inputs = super::inputs::<P>(container)?;
    let start = Instant::now();
    let mut model = new(level);
    let load = start.elapsed();
    let mut discard = |_: usize, value: AnyValue<'_>| {
        std::hint::black_box(value);
    };
    model
        .run_dyn(&inputs, &mut discard)
        .map_err(|error| error.to_string())?;
    let peaks = || [Arithmetic::F32, Arithmetic::Int8].map(|arithmetic| super::peak(arithmetic, level, threads, PEAK));
    let before = peaks();
    let mut runs = repeat(seconds, || {
        model.run_dyn(&inputs, &mut discard).map_err(|error| error.to_string())
    })?;
    runs.sort_unstable();
    let mut steps = Vec::new();
    if !P::STEPS.is_empty() {
        let mut profile = StepTimes {
            times: vec![Duration::ZERO; P::STEPS.len()],
            current: None,
        };
        let mut times = vec![Vec::new(); P::STEPS.len()];
        repeat(seconds / 10.0, || {
            let result = model.run_profiled(&inputs, &mut discard, &mut profile);
            profile.stop();
            for (times, time) in times.iter_mut().zip(&mut profile.times) {
                times.push(core::mem::take(time));
            }
            result.map_err(|error| error.to_string())
        })?;
        steps = P::STEPS.iter().copied().zip(times.into_iter().map(median)).collect();
    }
    let after = peaks();
    let [peak_flops, peak_int8_ops] = [0, 1].map(|index| f64::max(before[index], after[index]));
    Ok(Report {
        isa: level.name(),
        large_page_bytes,
        load,
        runs,
        peak_flops,
        peak_int8_ops,
        steps,
    })
}

/// The median, one of the times.
fn median(mut times: Vec<Duration>) -> Duration {
    let middle = times.len() / 2;
    *times.select_nth_unstable(middle).1
}

/// The times of at least three calls.
fn repeat(seconds: f64, mut f: impl FnMut() -> Result<(), String>) -> Result<Vec<Duration>, String> {
    let mut times = Vec::new();
    let begin = Instant::now();
    while times.len() < 3 || begin.elapsed().as_secs_f64() < seconds {
        let start = Instant::now();
        f()?;
        times.push(start.elapsed());
    }
    Ok(times)
}

/// Adds up the time of each step of a run.
struct StepTimes {
    times: Vec<Duration>,
    current: Option<(usize, Instant)>,
}

impl StepTimes {
    /// Ends the current step.
    fn stop(&mut self) {
        if let Some((index, start)) = self.current.take()
            && let Some(time) = self.times.get_mut(index)
        {
            *time += start.elapsed();
        }
    }
}

impl Profile for StepTimes {
    fn step(&mut self, index: usize) {
        self.stop();
        self.current = Some((index, Instant::now()));
    }
}

impl Report {
    fn min(&self) -> Duration {
        self.runs[0]
    }

    fn median(&self) -> Duration {
        self.runs[self.runs.len() / 2]
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let mut text = format!(
            "{}: load {:.1} us, {} runs, min {:.1} us, median {:.1} us, peak {:.1} GFLOP/s",
            self.isa,
            micros(self.load),
            self.runs.len(),
            micros(self.min()),
            micros(self.median()),
            self.peak_flops / 1e9,
        );
        let total: Duration = self.steps.iter().map(|(_, time)| *time).sum();
        let mut steps: Vec<&(Step, Duration)> = self.steps.iter().collect();
        steps.sort_by_key(|(_, time)| core::cmp::Reverse(*time));
        for (step, time) in steps {
            let share = time.as_secs_f64() / total.as_secs_f64().max(f64::MIN_POSITIVE) * 100.0;
            let _ = write!(
                text,
                "\n{share:5.1} % {:10.2} us  {}  {}",
                micros(*time),
                step.kernel,
                step.nodes
            );
        }
        text
    }

    /// For programs. Times are in nanoseconds.
    pub(super) fn json(&self) -> String {
        let mut json = format!(
            "{{\"isa\":{},\"large_page_bytes\":{},\"load_ns\":{},\"iterations\":{},\"min_ns\":{},\"median_ns\":{},\"peak_flops\":{:.0},\"peak_int8_ops\":{:.0},\"steps\":[",
            quoted(self.isa),
            self.large_page_bytes,
            self.load.as_nanos(),
            self.runs.len(),
            self.min().as_nanos(),
            self.median().as_nanos(),
            self.peak_flops,
            self.peak_int8_ops,
        );
        for (index, (step, time)) in self.steps.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let (kernel, nodes) = (quoted(step.kernel), quoted(step.nodes));
            let _ = write!(
                json,
                "{comma}{{\"kernel\":{kernel},\"nodes\":{nodes},\"ns\":{}}}",
                time.as_nanos()
            );
        }
        json.push_str("]}\n");
        json
    }
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\0'..'\x20' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(character));
            }
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_for_programs() {
        let step = Step {
            nodes: "/a/\"b\"\n",
            kernel: "gemm",
        };
        let report = Report {
            isa: "avx2",
            large_page_bytes: 4096,
            load: Duration::from_nanos(7),
            runs: [1, 2, 9].map(Duration::from_nanos).to_vec(),
            peak_flops: 5e9,
            peak_int8_ops: 2e10,
            steps: vec![(step, Duration::from_nanos(3)), (step, Duration::ZERO)],
        };
        assert_eq!(
            report.json(),
            concat!(
                r#"{"isa":"avx2","large_page_bytes":4096,"load_ns":7,"iterations":3,"min_ns":1,"median_ns":2,"peak_flops":5000000000,"peak_int8_ops":20000000000,"steps":["#,
                r#"{"kernel":"gemm","nodes":"/a/\"b\"\u000a","ns":3},"#,
                r#"{"kernel":"gemm","nodes":"/a/\"b\"\u000a","ns":0}]}"#,
                "\n"
            )
        );
    }
}
