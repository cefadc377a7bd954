//! Comparing the steps of two programs that compute the same model.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use onnxide_codegen::Report;
use onnxide_codegen::plan::Choice;

/// What steps must gain, as a part of their time: less than this is noise.
const GAIN: f64 = 0.04;

/// A program with the time of each of its steps in nanoseconds.
pub(super) struct Profile<'a> {
    pub(super) report: &'a Report,
    pub(super) times: &'a [u64],
}

/// Steps that a choice makes faster.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gain {
    pub(super) choice: Choice,
    /// The nodes that it is to be chosen for.
    pub(super) nodes: Vec<String>,
    /// All nodes of the steps.
    touched: BTreeSet<String>,
    /// The time of the steps by default and with the choice, in nanoseconds.
    pub(super) before: u64,
    pub(super) after: u64,
}

/// Steps of both programs that compute the same nodes.
#[derive(Default)]
struct Group<'a> {
    nodes: BTreeSet<&'a str>,
    /// Names of the functions that the steps call. Groups of the same functions have the same sizes, and are judged
    /// together so that repeated layers stay alike.
    functions: [Vec<&'a str>; 2],
    times: [u64; 2],
}

/// What is gained where a choice makes a difference.
pub(super) fn gains(choice: Choice, default: &Profile<'_>, other: &Profile<'_>) -> Vec<Gain> {
    let mut alike: BTreeMap<[Vec<&str>; 2], Gain> = BTreeMap::new();
    for group in groups([default, other]) {
        let changed = default.report.decisions.iter().filter(|decision| {
            let differs = decision.chosen != choice && decision.others.contains(&choice);
            differs && group.nodes.contains(decision.node.as_str())
        });
        let nodes: BTreeSet<String> = changed.map(|decision| decision.node.clone()).collect();
        if nodes.is_empty() {
            continue;
        }
        let gain = alike.entry(group.functions).or_insert_with(|| Gain {
            choice,
            nodes: Vec::new(),
            touched: BTreeSet::new(),
            before: 0,
            after: 0,
        });
        gain.nodes.extend(nodes);
        gain.touched.extend(group.nodes.iter().map(|&node| node.to_owned()));
        gain.before += group.times[0];
        gain.after += group.times[1];
    }
    let faster = |gain: &Gain| (gain.after as f64) < gain.before as f64 * (1.0 - GAIN);
    alike.into_values().filter(faster).collect()
}

/// The gains that are greatest and do not contradict each other, greatest first.
pub(super) fn best(mut gains: Vec<Gain>) -> Vec<Gain> {
    gains.sort_by_key(|gain| std::cmp::Reverse(gain.before - gain.after));
    let mut taken: BTreeSet<String> = BTreeSet::new();
    gains.retain(|gain| {
        let free = gain.touched.is_disjoint(&taken);
        if free {
            taken.extend(gain.touched.iter().cloned());
        }
        free
    });
    gains
}

/// The steps of two programs, in the smallest groups such that no node is in two of them.
fn groups<'a>(profiles: [&Profile<'a>; 2]) -> Vec<Group<'a>> {
    let mut sets = Sets::default();
    for step in profiles.iter().flat_map(|profile| &profile.report.steps) {
        for pair in step.nodes.windows(2) {
            sets.join(&pair[0], &pair[1]);
        }
    }
    let mut groups: BTreeMap<usize, Group<'a>> = BTreeMap::new();
    for (side, profile) in profiles.into_iter().enumerate() {
        for (step, time) in profile.report.steps.iter().zip(profile.times) {
            let Some(first) = step.nodes.first() else {
                continue;
            };
            let group = groups.entry(sets.find(first)).or_default();
            group.nodes.extend(step.nodes.iter().map(String::as_str));
            group.functions[side].push(&step.kernel);
            group.times[side] += time;
        }
    }
    groups.into_values().collect()
}

/// Sets of names.
#[derive(Default)]
struct Sets<'a> {
    numbers: HashMap<&'a str, usize>,
    parents: Vec<usize>,
}

impl<'a> Sets<'a> {
    /// The number of the set of a name.
    fn find(&mut self, name: &'a str) -> usize {
        let next = self.parents.len();
        let mut number = *self.numbers.entry(name).or_insert(next);
        if number == next {
            self.parents.push(next);
        }
        while self.parents[number] != number {
            self.parents[number] = self.parents[self.parents[number]];
            number = self.parents[number];
        }
        number
    }

    fn join(&mut self, a: &'a str, b: &'a str) {
        let (a, b) = (self.find(a), self.find(b));
        self.parents[a.max(b)] = a.min(b);
    }
}

#[cfg(test)]
mod tests {
    use onnxide_codegen::compiler::StepReport;
    use onnxide_codegen::plan::Decision;

    use super::*;

    fn report(steps: &[(&str, &[&str])], decisions: &[(&str, Choice, Choice)]) -> Report {
        let step = |&(kernel, nodes): &(&str, &[&str])| StepReport {
            kernel: kernel.into(),
            nodes: nodes.iter().map(ToString::to_string).collect(),
            results: Vec::new(),
            macs: 1,
            int8: false,
            threads: 1,
            weight_bytes: 0,
            live_bytes: 0,
        };
        let decision = |&(node, chosen, other): &(&str, Choice, Choice)| Decision {
            node: node.into(),
            chosen,
            others: vec![other],
        };
        Report {
            steps: steps.iter().map(step).collect(),
            decisions: decisions.iter().map(decision).collect(),
            ..Report::default()
        }
    }

    fn profile<'a>(report: &'a Report, times: &'a [u64]) -> Profile<'a> {
        Profile { report, times }
    }

    #[test]
    fn steps_that_compute_the_same_nodes_are_compared() {
        let (apart, streamed) = (Choice::Apart, Choice::Streamed);
        let default = report(
            &[
                ("gemm", &["a"]),
                ("depthwise", &["b", "relu"]),
                ("gemm", &["c"]),
                ("pool", &["p"]),
            ],
            &[("b", apart, streamed)],
        );
        let other = report(&[("block", &["a", "b", "relu", "c"]), ("pool", &["p"])], &[]);
        let gains = |times: [u64; 2]| gains(streamed, &profile(&default, &[10, 20, 10, 7]), &profile(&other, &times));
        assert!(gains([39, 1]).is_empty());
        let found = gains([30, 9]);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].before, found[0].after), (40, 30));
        assert_eq!(
            (found[0].choice, found[0].nodes.as_slice()),
            (streamed, &["b".to_owned()][..])
        );
    }

    #[test]
    fn layers_that_are_alike_are_judged_together() {
        let (one, two) = (Choice::Threads(1), Choice::Threads(2));
        let decisions = [("a", two, one), ("b", two, one), ("c", two, one)];
        let default = report(&[("gemm", &["a"]), ("gemm", &["b"]), ("gemm_2", &["c"])], &decisions);
        let other = report(&[("gemm", &["a"]), ("gemm", &["b"]), ("gemm_2", &["c"])], &[]);
        let found = |times: [u64; 3]| gains(one, &profile(&default, &[10, 10, 10]), &profile(&other, &times));
        assert!(found([5, 16, 10]).is_empty());
        let both = found([5, 12, 11]);
        assert_eq!(
            (both.len(), both[0].nodes.len(), both[0].before, both[0].after),
            (1, 2, 20, 17)
        );
        assert_eq!(found([9, 9, 9]).len(), 2);
    }

    #[test]
    fn the_greatest_gain_of_a_node_is_taken() {
        let gain = |choice, nodes: &[&str], after| Gain {
            choice,
            nodes: nodes.iter().map(ToString::to_string).collect(),
            touched: nodes.iter().map(ToString::to_string).collect(),
            before: 100,
            after,
        };
        let found = best(vec![
            gain(Choice::Direct, &["a"], 90),
            gain(Choice::Streamed, &["a", "b"], 60),
            gain(Choice::Threads(1), &["b"], 80),
            gain(Choice::Threads(1), &["c"], 95),
        ]);
        let chosen: Vec<_> = found.iter().map(|gain| (gain.choice, gain.nodes.len())).collect();
        assert_eq!(chosen, [(Choice::Streamed, 2), (Choice::Threads(1), 1)]);
    }
}
