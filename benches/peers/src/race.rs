//! The race itself.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fastrand::Rng;
use indicatif::ProgressBar;
use onnxide_runtime::harness::{Arithmetic, peak};
use onnxide_runtime::isa::Level;

use crate::arrays::{self, Arrays};
use crate::compare::relative_error;
use crate::engine::{self, Engine, Job, Launcher, Worker};
use crate::models::{Entry, Model};
use crate::record::{Heat, Outcome};
use crate::stats::Times;

/// Runs of this length precede the runs with a clock in each round: other engines have used the caches.
const WARM: Duration = Duration::from_millis(5);

/// Until a worker's threads have stopped waiting actively for more work, which they do for some time after a run.
const PAUSE: Duration = Duration::from_millis(5);

/// How long the peak is measured in each round.
const PEAK: Duration = Duration::from_millis(4);

/// No model runs in fewer rounds.
const MIN_ROUNDS: usize = 5;

/// No round has more runs.
const MAX_RUNS: usize = 5000;

/// How a race goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Time for a model with a number of threads.
    pub(crate) seconds: f64,
    /// Rounds in this time; slow models have fewer.
    pub(crate) rounds: usize,
    /// The largest relative error of a peer that agrees.
    pub(crate) tolerance: f64,
}

/// Races with a model for every number of threads. `bar` shows what is done.
///
/// # Errors
///
/// There are no inputs for the model. That an engine does not run it is no error.
pub(crate) fn race(
    entry: &Entry,
    path: &Path,
    launchers: &BTreeMap<Engine, Launcher>,
    threads: &[usize],
    rules: &Rules,
    bar: &ProgressBar,
) -> Result<Vec<Heat>> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let model = entry.load(path.to_owned())?;
    let inputs = folder.path().join("inputs.npz");
    arrays::write(&inputs, &model.inputs)?;
    threads
        .iter()
        .map(|&threads| heat(entry, &model, &inputs, folder.path(), launchers, threads, rules, bar))
        .collect()
}

/// An engine in a heat.
struct Runner {
    engine: Engine,
    worker: Worker,
    outputs: Arrays,
    /// Runs of a round before the clock starts, and with it.
    warm: usize,
    runs: usize,
    /// The time of a run, by a first measurement.
    seconds: f64,
    rounds: Vec<Vec<u64>>,
}

#[allow(clippy::too_many_arguments)]
fn heat(
    entry: &Entry,
    model: &Model,
    inputs: &Path,
    folder: &Path,
    launchers: &BTreeMap<Engine, Launcher>,
    threads: usize,
    rules: &Rules,
    bar: &ProgressBar,
) -> Result<Heat> {
    let job = Job {
        model,
        inputs,
        threads,
        folder,
    };
    let mut outcomes = BTreeMap::new();
    let mut runners = Vec::new();
    for (&engine, launcher) in launchers {
        bar.set_message(format!("{}, {threads} threads: {} loads", entry.name, engine.name()));
        match start(engine, launcher, &job) {
            Ok(runner) => runners.push(runner),
            Err(error) => {
                let reason = format!("{error:#}");
                outcomes.insert(engine, Outcome::Failed { reason });
            }
        }
    }
    let macs = match launchers.get(&Engine::Onnxide) {
        Some(Launcher::Onnxide(program)) => engine::macs(program, &job).unwrap_or(0),
        _ => 0,
    };
    let share = rules.seconds / (rules.rounds * runners.len().max(1)) as f64;
    for runner in &mut runners {
        runner.runs = ((share / runner.seconds) as usize).clamp(1, MAX_RUNS);
    }
    let round: f64 = runners
        .iter()
        .map(|runner| (runner.warm + runner.runs) as f64 * runner.seconds)
        .sum();
    let rounds = ((rules.seconds / round) as usize).clamp(MIN_ROUNDS.min(rules.rounds), rules.rounds);

    let mut peaks = BTreeMap::new();
    // The order differs from round to round, and is the same in every race.
    let mut rng = Rng::with_seed(threads as u64);
    let mut order: Vec<usize> = (0..runners.len()).collect();
    for round in 0..rounds {
        bar.set_message(format!(
            "{}, {threads} threads: round {} of {rounds}",
            entry.name,
            round + 1
        ));
        for level in vector_levels() {
            let flops = peak(Arithmetic::F32, level, threads, PEAK);
            let peak = peaks.entry(level.name().to_owned()).or_insert(flops);
            *peak = flops.max(*peak);
        }
        rng.shuffle(&mut order);
        for &index in &order {
            let runner = &mut runners[index];
            if outcomes.contains_key(&runner.engine) {
                continue;
            }
            thread::sleep(PAUSE);
            match runner.worker.run(runner.warm, runner.runs) {
                Ok(times) => runner.rounds.push(times),
                Err(error) => {
                    let reason = format!("{error:#}");
                    outcomes.insert(runner.engine, Outcome::Failed { reason });
                }
            }
        }
    }

    let reference = runners
        .iter()
        .find(|runner| runner.engine == Engine::Onnxide)
        .map(|runner| &runner.outputs);
    for runner in &runners {
        let Some(times) = Times::of(&runner.rounds).filter(|_| !outcomes.contains_key(&runner.engine)) else {
            continue;
        };
        let reference = reference.filter(|_| runner.engine != Engine::Onnxide);
        let error = reference.map(|reference| relative_error(reference, &runner.outputs));
        let outcome = Outcome::Ran {
            times,
            agrees: error.is_none_or(|error| error <= rules.tolerance),
            // JSON has no infinity.
            error: error.filter(|error| error.is_finite()),
        };
        outcomes.insert(runner.engine, outcome);
    }
    Ok(Heat {
        model: entry.name.clone(),
        note: entry.note.clone(),
        threads,
        macs,
        peak_flops: peaks,
        engines: outcomes,
    })
}

/// Starts a worker and finds out how long a run takes.
fn start(engine: Engine, launcher: &Launcher, job: &Job<'_>) -> Result<Runner> {
    let (mut worker, outputs) = launcher.start(job)?;
    // Some engines decide in their first runs how they go about it.
    let begin = Instant::now();
    let mut first = Vec::new();
    while first.len() < 3 || begin.elapsed() < 4 * WARM {
        first.extend(worker.run(0, 1)?);
    }
    let shortest = first.into_iter().min().unwrap_or(1).max(1);
    let seconds = shortest as f64 / 1e9;
    Ok(Runner {
        engine,
        worker,
        outputs,
        warm: (WARM.as_secs_f64() / seconds) as usize,
        runs: 1,
        seconds,
        rounds: Vec::new(),
    })
}

/// The instruction sets whose peak is measured: those with vectors of their own, if there are any.
fn vector_levels() -> Vec<Level> {
    let available = |&level: &Level| level.is_available();
    let levels: Vec<Level> = Level::ALL.into_iter().filter(available).collect();
    match levels.as_slice() {
        [scalar] => vec![*scalar],
        [_, vectors @ ..] => vectors.to_vec(),
        [] => Vec::new(),
    }
}
