//! Decisions of a plan that measurements may overrule.
//!
//! The cost model decides from sizes alone, so that a model always becomes the same module. A machine may differ from
//! those that the model was fitted to. A [`Tuning`] names a [`Choice`] for nodes of the model, and a plan lists the
//! [`Decision`]s that it has taken, each with what else there was to choose.

use onnxide_runtime::linear::WinogradTile;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// What can be chosen for a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A convolution by its definition.
    Direct,
    /// A convolution in tiles by Winograd's algorithm, if the options allow it.
    Winograd(WinogradTile),
    /// A depthwise convolution computed a few rows at a time, together with the pointwise ones around it.
    Streamed,
    /// A depthwise convolution that is a step of its own.
    Apart,
    /// A step in so many parts, each for a thread; at most as many as the options allow.
    Threads(usize),
}

impl Choice {
    /// Whether one of the two takes the place of the other.
    pub fn excludes(self, other: Choice) -> bool {
        let kind = |choice| match choice {
            Choice::Direct | Choice::Winograd(_) => 0,
            Choice::Streamed | Choice::Apart => 1,
            Choice::Threads(_) => 2,
        };
        kind(self) == kind(other)
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Choice::Direct => f.write_str("direct"),
            Choice::Winograd(WinogradTile::F2) => f.write_str("winograd-2"),
            Choice::Winograd(WinogradTile::F4) => f.write_str("winograd-4"),
            Choice::Streamed => f.write_str("streamed"),
            Choice::Apart => f.write_str("apart"),
            Choice::Threads(threads) => write!(f, "threads-{threads}"),
        }
    }
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Choice, String> {
        let threads = || {
            let number = text.strip_prefix("threads-")?.parse().ok()?;
            (number > 0).then_some(Choice::Threads(number))
        };
        match text {
            "direct" => Ok(Choice::Direct),
            "winograd-2" => Ok(Choice::Winograd(WinogradTile::F2)),
            "winograd-4" => Ok(Choice::Winograd(WinogradTile::F4)),
            "streamed" => Ok(Choice::Streamed),
            "apart" => Ok(Choice::Apart),
            _ => threads().ok_or_else(|| {
                let shown: String = text.chars().take(40).flat_map(char::escape_debug).collect();
                format!(
                    "`{shown}` is no choice; there are direct, winograd-2, winograd-4, streamed, apart and threads-N"
                )
            }),
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Choice {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Something that a plan has decided.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Decision {
    /// The node of the source model that it is about.
    pub node: String,
    /// What was chosen.
    pub chosen: Choice,
    /// What else there was.
    pub others: Vec<Choice>,
}

/// Choices that take the place of what the cost model would decide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tuning {
    /// The choice for every node that it applies to and that has none of its own.
    pub every: Option<Choice>,
    /// The choices for nodes, by their names.
    pub nodes: BTreeMap<String, Vec<Choice>>,
}

impl Tuning {
    /// Chooses for a node, instead of what may have been chosen of this kind before.
    pub fn choose(&mut self, node: &str, choice: Choice) {
        let choices = self.nodes.entry(node.to_owned()).or_default();
        choices.retain(|other| !other.excludes(choice));
        choices.push(choice);
    }

    /// Whether something else of this kind is chosen for a node.
    pub fn contradicts(&self, node: &str, choice: Choice) -> bool {
        let known = self.nodes.get(node);
        known.is_some_and(|choices| choices.iter().any(|&other| other != choice && other.excludes(choice)))
    }

    /// What is chosen for a step of these nodes, of the kinds that `find` takes.
    fn find<T>(&self, origin: &[String], find: impl Fn(Choice) -> Option<T>) -> Option<T> {
        let own = origin.iter().filter_map(|node| self.nodes.get(node)).flatten();
        own.chain(&self.every).find_map(|&choice| find(choice))
    }

    /// The algorithm of a convolution: the size of the tiles, or none for its definition.
    pub(super) fn algorithm(&self, origin: &[String]) -> Option<Option<WinogradTile>> {
        self.find(origin, |choice| match choice {
            Choice::Direct => Some(None),
            Choice::Winograd(tile) => Some(Some(tile)),
            _ => None,
        })
    }

    /// Whether a depthwise convolution is computed together with its neighbors.
    pub(super) fn streamed(&self, origin: &[String]) -> Option<bool> {
        self.find(origin, |choice| match choice {
            Choice::Streamed => Some(true),
            Choice::Apart => Some(false),
            _ => None,
        })
    }

    /// The number of parts of a step.
    pub(super) fn threads(&self, origin: &[String]) -> Option<usize> {
        self.find(origin, |choice| match choice {
            Choice::Threads(threads) => Some(threads),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_texts() {
        let choices = [
            Choice::Direct,
            Choice::Winograd(WinogradTile::F2),
            Choice::Winograd(WinogradTile::F4),
            Choice::Streamed,
            Choice::Apart,
            Choice::Threads(12),
        ];
        for choice in choices {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        for text in [
            "",
            "Direct",
            "winograd-3",
            "threads-0",
            "threads-",
            "threads-x",
            "threads--1",
        ] {
            let error = text.parse::<Choice>().unwrap_err();
            assert!(error.starts_with(&format!("`{text}` is no choice")), "{error}");
        }
    }

    #[test]
    fn a_node_s_own_choice_comes_before_that_for_every_node() {
        let mut tuning = Tuning {
            every: Some(Choice::Direct),
            ..Tuning::default()
        };
        tuning.choose("a", Choice::Threads(1));
        tuning.choose("a", Choice::Winograd(WinogradTile::F2));
        tuning.choose("a", Choice::Winograd(WinogradTile::F4));
        let [a, b] = ["a", "b"].map(|name| [name.to_owned()]);
        assert_eq!(tuning.algorithm(&a), Some(Some(WinogradTile::F4)));
        assert_eq!(tuning.algorithm(&b), Some(None));
        assert_eq!(tuning.threads(&a), Some(1));
        assert_eq!(tuning.threads(&b), None);
        assert_eq!(tuning.streamed(&a), None);
        assert_eq!(tuning.nodes["a"].len(), 2);
    }
}
