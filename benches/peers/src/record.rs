//! What a race has found, as it is kept.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::machine::Machine;
use crate::stats::Times;

/// A race, or several on one machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) date: String,
    pub(crate) machine: Machine,
    /// The versions of the peers.
    pub(crate) versions: BTreeMap<Engine, String>,
    /// The largest relative error of a peer that counts.
    pub(crate) tolerance: f64,
    /// Whether onnxide used as many threads as the others.
    pub(crate) onnxide_threads: bool,
    pub(crate) heats: Vec<Heat>,
}

/// A model with a number of threads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Heat {
    pub(crate) model: String,
    pub(crate) note: String,
    pub(crate) threads: usize,
    /// Multiply-accumulates of a run; zero if onnxide does not compile the model.
    pub(crate) macs: u64,
    /// The operations per second of nothing but multiply-adds, by instruction set, measured between the rounds.
    pub(crate) peak_flops: BTreeMap<String, f64>,
    pub(crate) engines: BTreeMap<Engine, Outcome>,
}

/// What an engine has done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Outcome {
    /// It ran.
    Ran {
        times: Times,
        /// The relative error against onnxide; `None` for onnxide itself, if it did not run, and if there is no bound.
        error: Option<f64>,
        /// Whether the outputs are those of onnxide, as far as the tolerance goes.
        agrees: bool,
    },
    /// It did not run the model.
    Failed { reason: String },
}

impl Heat {
    /// The times of an engine, if it ran.
    pub(crate) fn times(&self, engine: Engine) -> Option<&Times> {
        match self.engines.get(&engine)? {
            Outcome::Ran { times, .. } => Some(times),
            Outcome::Failed { .. } => None,
        }
    }

    /// The times of an engine whose outputs are right, as far as onnxide's are.
    pub(crate) fn agreeing(&self, engine: Engine) -> Option<&Times> {
        match self.engines.get(&engine)? {
            Outcome::Ran {
                times, agrees: true, ..
            } => Some(times),
            _ => None,
        }
    }

    /// The fastest of the peers that agree with onnxide.
    pub(crate) fn best_peer(&self) -> Option<(Engine, &Times)> {
        let peers = self.engines.keys().filter(|&&engine| engine != Engine::Onnxide);
        let peers = peers.filter_map(|&engine| Some((engine, self.agreeing(engine)?)));
        peers.min_by(|(_, a), (_, b)| a.best.total_cmp(&b.best))
    }

    /// The time of the best peer over that of an engine: over 1 the engine is faster.
    pub(crate) fn ratio(&self, engine: Engine) -> Option<f64> {
        Some(self.best_peer()?.1.best / self.times(engine)?.best)
    }

    /// The ratio of onnxide by the medians of all rounds. The best peer is the same.
    pub(crate) fn median_ratio(&self) -> Option<f64> {
        Some(self.best_peer()?.1.median / self.times(Engine::Onnxide)?.median)
    }

    /// The operations per second of onnxide, two for a multiply-accumulate.
    pub(crate) fn flops(&self) -> Option<f64> {
        Some(2.0 * self.macs as f64 / self.times(Engine::Onnxide)?.best)
    }

    /// The most operations per second of any instruction set.
    pub(crate) fn peak(&self) -> f64 {
        self.peak_flops.values().copied().fold(0.0, f64::max)
    }
}

impl Record {
    /// The heats with a number of threads.
    pub(crate) fn heats(&self, threads: usize) -> Vec<&Heat> {
        self.heats.iter().filter(|heat| heat.threads == threads).collect()
    }

    /// The numbers of threads, ascending.
    pub(crate) fn threads(&self) -> Vec<usize> {
        let mut threads: Vec<usize> = self.heats.iter().map(|heat| heat.threads).collect();
        threads.sort_unstable();
        threads.dedup();
        threads
    }

    /// The engines that took part.
    pub(crate) fn engines(&self) -> Vec<Engine> {
        let mut engines: Vec<Engine> = self
            .heats
            .iter()
            .flat_map(|heat| heat.engines.keys().copied())
            .collect();
        engines.sort_unstable();
        engines.dedup();
        engines
    }

    /// Adds a later race: its heats replace those of the same model and threads.
    ///
    /// # Errors
    ///
    /// The races do not compare: another machine, commit, version or tolerance.
    pub(crate) fn append(&mut self, later: Record) -> Result<()> {
        let key = |record: &Record| (record.machine.clone(), record.versions.clone(), record.onnxide_threads);
        ensure!(
            key(self) == key(&later) && self.tolerance == later.tolerance,
            "the record is of another machine, commit, version or tolerance; choose another name with --name"
        );
        for heat in later.heats {
            let same = |other: &Heat| (&other.model, other.threads) == (&heat.model, heat.threads);
            match self.heats.iter().position(same) {
                Some(position) => self.heats[position] = heat,
                None => self.heats.push(heat),
            }
        }
        Ok(())
    }

    /// Reads a record.
    ///
    /// # Errors
    ///
    /// The file cannot be read or is no record.
    pub(crate) fn read(path: &Path) -> Result<Record> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no record of a race", path.display()))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn ran(best: f64, agrees: bool) -> Outcome {
        let times = Times {
            best,
            min: best,
            median: best * 1.25,
            quartiles: [best, best * 1.5],
            runs: 10,
        };
        Outcome::Ran {
            times,
            error: Some(if agrees { 1e-6 } else { 0.5 }),
            agrees,
        }
    }

    pub(crate) fn record() -> Record {
        let failed = Outcome::Failed {
            reason: "no such | operator".into(),
        };
        let heat = |model: &str, threads, times: [f64; 3]| Heat {
            model: model.into(),
            note: "224x224".into(),
            threads,
            macs: 50_000_000,
            peak_flops: BTreeMap::from([("avx2".into(), 90e9), ("avx512".into(), 100e9)]),
            engines: BTreeMap::from([
                (Engine::Onnxide, ran(times[0], true)),
                (Engine::Onnxruntime, ran(times[1], true)),
                (Engine::Openvino, ran(times[2], false)),
                (Engine::Tract, failed.clone()),
            ]),
        };
        Record {
            date: "2026-01-31".into(),
            machine: Machine {
                processor: "Abacus".into(),
                cores: 2,
                isa: "avx512".into(),
                system: "linux 6".into(),
                rustc: "rustc 1".into(),
                commit: "abc".into(),
            },
            versions: BTreeMap::from([(Engine::Onnxruntime, "1.2.3".into())]),
            tolerance: 1e-3,
            onnxide_threads: false,
            heats: vec![
                heat("fast", 1, [0.002, 0.004, 0.001]),
                heat("slow", 1, [0.002, 0.001, 0.002]),
                heat("fast", 2, [0.002, 0.002, 0.001]),
            ],
        }
    }

    #[test]
    fn peers_that_disagree_do_not_count() {
        let record = record();
        let heat = &record.heats[0];
        assert_eq!(heat.best_peer().map(|(engine, _)| engine), Some(Engine::Onnxruntime));
        assert_eq!(heat.ratio(Engine::Onnxide), Some(2.0));
        assert_eq!(heat.ratio(Engine::Tract), None);
        assert_eq!(heat.flops(), Some(50e9));
        assert_eq!(heat.peak(), 100e9);
    }

    #[test]
    fn later_heats_replace_earlier_ones() {
        let mut record = record();
        let mut later = record.clone();
        later.heats.truncate(1);
        later.heats[0].macs = 1;
        later.heats.push(Heat {
            model: "new".into(),
            ..later.heats[0].clone()
        });
        record.append(later.clone()).unwrap();
        assert_eq!((record.heats.len(), record.heats[0].macs), (4, 1));
        later.machine.commit = "other".into();
        assert!(record.append(later).is_err());
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let record = record();
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }
}
