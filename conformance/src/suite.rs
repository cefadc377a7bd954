//! The cases, as the archives hold them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use bytes::Bytes;
use clap::ValueEnum;
use onnxide_codegen::frontend::StoredValue;
use serde::Deserialize;

use crate::archive::{Files, read, values};
use crate::compare::{Agreement, Tolerance, compare};
use crate::value::Value;

/// The archives of cases, each with an `index.json` and a folder for each case.
const ARCHIVES: [&str; 2] = ["node.tar.zst", "models.tar.zst"];
/// The archive of further runs of cases.
const PARAMETERS: &str = "parameters.tar.zst";

/// The largest size of a dimension that a model leaves open, unless an input is larger; the smallest is 0.
pub const MAX_DIM: usize = 16;

/// How a case is listed in an archive.
#[derive(Clone, Debug, Deserialize)]
pub struct Entry {
    /// The name, which no other case has.
    pub name: String,
    /// `node`, `simple`, `pytorch-converted`, `pytorch-operator` or `real`; another word in a suite of the project.
    pub kind: String,
    /// The operator that the case is about; `<model>` for whole models.
    pub operator: String,
    /// The domain of the operator; `ai.onnx` for the standard one.
    pub domain: String,
    /// The case that this one is a twin of, with the operator replaced by the body of its function.
    pub expanded_of: Option<String>,
    /// How much of a shape depends on data, `T1` to `T5`.
    pub tier: String,
    /// The most uncommon element type: `main`, `half`, `exotic` or `string`.
    pub types: String,
    rtol: f64,
    atol: f64,
    /// How far rounded integers may be.
    #[serde(default)]
    steps: Option<u32>,
    /// The types of the inputs.
    inputs: Vec<String>,
    /// The types of the outputs.
    outputs: Vec<String>,
}

impl Entry {
    /// Whether the case is about one operator, or the body of its function.
    pub fn is_node(&self) -> bool {
        self.kind == "node"
    }
}

/// A case.
#[derive(Clone, Debug)]
pub struct Case {
    /// How it is listed.
    pub entry: Entry,
    /// The file of the model.
    pub model: Bytes,
    /// The run of the suite, and further ones with other parameters.
    pub runs: Vec<Run>,
}

/// Inputs of a case, and what they lead to.
#[derive(Clone, Debug)]
pub struct Run {
    inputs: Vec<StoredValue>,
    /// The outputs; `None` where there can be none.
    outputs: Option<Vec<StoredValue>>,
    refused: bool,
    /// How far outputs may be from the expected ones.
    tolerance: Tolerance,
}

/// What a run leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// These outputs.
    Outputs(Vec<Value>),
    /// An error, because the model does not promise room for what the inputs ask for; a model that has room all the same
    /// may give these outputs.
    Refusal(Option<Vec<Value>>),
}

impl Case {
    /// The name.
    pub fn name(&self) -> &str {
        &self.entry.name
    }

    /// The largest size of a dimension that the model leaves open: [`MAX_DIM`], or that of an input of the case where it
    /// is larger.
    pub fn max_dim(&self) -> usize {
        let inputs = self.runs.iter().filter_map(|run| run.inputs().ok()).flatten();
        let largest = inputs.flat_map(|value| match value {
            Value::Tensor(tensor) => tensor.shape,
            Value::Sequence(elements) => elements.into_iter().flat_map(|element| element.shape).collect(),
            Value::Strings(_) | Value::None => Vec::new(),
        });
        largest.fold(MAX_DIM, usize::max)
    }

    /// The number of outputs.
    pub fn outputs(&self) -> usize {
        self.entry.outputs.len()
    }
}

impl Run {
    /// The inputs.
    ///
    /// # Errors
    ///
    /// If one is of a kind that the compiler does not have.
    pub fn inputs(&self) -> Result<Vec<Value>, String> {
        self.inputs.iter().map(Value::new).collect()
    }

    /// Compares what the run has led to with what is expected.
    ///
    /// # Errors
    ///
    /// The first difference.
    pub fn check(&self, outputs: Result<Vec<Value>, String>, expected: &Expected) -> Result<Agreement, String> {
        match (expected, outputs) {
            (Expected::Outputs(expected), outputs) => compare(&outputs?, expected, self.tolerance),
            (Expected::Refusal(_), Err(_)) => Ok(Agreement::default()),
            (Expected::Refusal(None), Ok(outputs)) => Err(format!("{outputs:?}, not an error")),
            (Expected::Refusal(Some(expected)), Ok(outputs)) => compare(&outputs, expected, self.tolerance)
                .map_err(|difference| format!("neither an error nor what would be right: {difference}")),
        }
    }

    /// What the inputs lead to.
    ///
    /// # Errors
    ///
    /// If an output is of a kind that the compiler does not have.
    pub fn expected(&self) -> Result<Expected, String> {
        let values = |values: &Vec<StoredValue>| values.iter().map(Value::new).collect::<Result<_, String>>();
        let outputs = self.outputs.as_ref().map(values).transpose()?;
        Ok(match outputs {
            Some(outputs) if !self.refused => Expected::Outputs(outputs),
            outputs => Expected::Refusal(outputs),
        })
    }

    /// Whether an error is expected.
    pub fn is_refused(&self) -> bool {
        self.refused
    }
}

/// Further runs of a case and its twins.
#[derive(Deserialize)]
struct Changes {
    names: Vec<String>,
    runs: Vec<Change>,
}

/// How a run differs from that of the suite.
#[derive(Deserialize)]
struct Change {
    /// The numbers of the inputs that are others.
    inputs: Vec<usize>,
    /// Whether there are outputs.
    outputs: bool,
    /// The absolute tolerance.
    atol: f64,
    /// Whether the model does not promise room for what they ask for.
    refused: bool,
}

/// Which cases there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Suite {
    /// The official suite, and further runs of its cases.
    #[default]
    Official,
    /// Operators of `ai.onnx.ml`, strings and n-grams.
    Ml,
    /// Operators of ONNX Runtime, and recurrent layers in every form.
    Contrib,
    /// Quantized layers, and chains of them.
    Quantized,
}

impl Suite {
    /// All of its cases, in the order of their names.
    ///
    /// # Errors
    ///
    /// If an archive cannot be read.
    pub fn load(self) -> Result<Vec<Case>> {
        match self {
            Suite::Official => load_official(),
            Suite::Ml => read("ml.tar.zst", cases_of),
            Suite::Contrib => read("contrib.tar.zst", cases_of),
            Suite::Quantized => read("quantized.tar.zst", cases_of),
        }
    }

    /// The name of the folder that packages are built in.
    pub fn folder(self) -> &'static str {
        match self {
            Suite::Official => "conformance",
            Suite::Ml => "ml",
            Suite::Contrib => "contrib",
            Suite::Quantized => "quantized",
        }
    }

    /// The file that lists what does not pass, and what says so at its head; `None` if all passes.
    pub fn expectations(self) -> Option<(&'static str, &'static str)> {
        match self {
            Suite::Official => Some(("expectations.txt", "run --bless")),
            Suite::Quantized => Some(("expectations-quantized.txt", "run --suite quantized --bless")),
            Suite::Ml | Suite::Contrib => None,
        }
    }
}

fn load_official() -> Result<Vec<Case>> {
    let mut cases = BTreeMap::new();
    for name in ARCHIVES {
        for case in read(name, cases_of)? {
            cases.insert(case.entry.name.clone(), case);
        }
    }
    read(PARAMETERS, |files| further_runs(files, &mut cases))?;
    Ok(cases.into_values().collect())
}

fn cases_of(files: &mut Files) -> Result<Vec<Case>> {
    let entries = files.index()?;
    let mut case = |entry: Entry| {
        let name = &entry.name;
        let inputs = values(files, &format!("{name}/input"), entry.inputs.iter().enumerate())?;
        let outputs = values(files, &format!("{name}/output"), entry.outputs.iter().enumerate())?;
        let model = files.take(&format!("{name}/model.onnx"))?;
        let runs = vec![Run {
            inputs,
            outputs: Some(outputs),
            refused: false,
            tolerance: Tolerance {
                relative: entry.rtol,
                absolute: entry.atol,
                steps: entry.steps,
            },
        }];
        Ok(Case { entry, model, runs })
    };
    entries.into_iter().map(&mut case).collect()
}

fn further_runs(files: &mut Files, cases: &mut BTreeMap<String, Case>) -> Result<()> {
    for Changes { names, runs } in files.index()? {
        let name = names.first().context("there is a case without a name")?;
        let case = cases.get(name).with_context(|| format!("there is no case {name}"))?;
        let (first, types) = (&case.runs[0], (&case.entry.inputs, &case.entry.outputs));
        let mut further = Vec::new();
        for (number, change) in (1..).zip(runs) {
            let mut inputs = first.inputs.clone();
            let changed = change
                .inputs
                .iter()
                .filter_map(|&input| Some((input, types.0.get(input)?)));
            let others = values(files, &format!("{name}/{number}/input"), changed)?;
            for (&input, value) in change.inputs.iter().zip(others) {
                inputs[input] = value;
            }
            let outputs = || values(files, &format!("{name}/{number}/output"), types.1.iter().enumerate());
            further.push(Run {
                inputs,
                outputs: change.outputs.then(outputs).transpose()?,
                refused: change.refused,
                tolerance: Tolerance {
                    absolute: change.atol,
                    ..first.tolerance
                },
            });
        }
        for name in &names {
            let case = cases
                .get_mut(name)
                .with_context(|| format!("there is no case {name}"))?;
            case.runs.extend(further.iter().cloned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archives_hold_the_whole_suite() {
        let cases = Suite::Official.load().unwrap();
        let count = |f: &dyn Fn(&Entry) -> bool| cases.iter().filter(|case| f(&case.entry)).count();
        assert_eq!(count(&|entry| entry.is_node() && entry.expanded_of.is_none()), 1404);
        assert_eq!(count(&|entry| entry.is_node() && entry.expanded_of.is_some()), 480);
        assert_eq!(count(&|entry| !entry.is_node()), 149);
        assert!(cases.is_sorted_by(|a, b| a.name() < b.name()));
    }

    #[test]
    fn further_runs_differ_from_that_of_the_suite() {
        let cases = Suite::Official.load().unwrap();
        for case in &cases {
            let (first, others) = case.runs.split_first().unwrap();
            assert!(!first.is_refused());
            for other in others {
                assert_ne!(other.inputs, first.inputs, "{}", case.name());
            }
        }
        let refused = cases.iter().flat_map(|case| &case.runs).filter(|run| run.is_refused());
        assert!(refused.count() > 0);
    }
}
