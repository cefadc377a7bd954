//! The cases, as the archives hold them.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use onnxide_codegen::frontend::{StoredKind, StoredValue};
use serde::Deserialize;

use crate::compare::Tolerance;

/// The archives, each with an `index.json` and a folder for each case.
const ARCHIVES: [&str; 2] = ["node.tar.zst", "models.tar.zst"];

/// The largest size of a dimension that a model leaves open; the smallest is 0.
pub const MAX_DIM: usize = 16;

/// How a case is listed in an archive.
#[derive(Clone, Debug, Deserialize)]
pub struct Entry {
    /// The name, which no other case has.
    pub name: String,
    /// `node`, `simple`, `pytorch-converted`, `pytorch-operator` or `real`.
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
    /// The files of the inputs.
    inputs: Vec<Bytes>,
    /// The files of the outputs.
    outputs: Vec<Bytes>,
}

impl Case {
    /// The name.
    pub fn name(&self) -> &str {
        &self.entry.name
    }

    /// How far outputs may be from the expected ones.
    pub fn tolerance(&self) -> Tolerance {
        Tolerance {
            relative: self.entry.rtol,
            absolute: self.entry.atol,
        }
    }

    /// The inputs.
    ///
    /// # Errors
    ///
    /// If one cannot be read.
    pub fn inputs(&self) -> Result<Vec<StoredValue>, String> {
        decode(&self.inputs, &self.entry.inputs)
    }

    /// The outputs that are expected.
    ///
    /// # Errors
    ///
    /// If one cannot be read.
    pub fn outputs(&self) -> Result<Vec<StoredValue>, String> {
        decode(&self.outputs, &self.entry.outputs)
    }
}

fn decode(files: &[Bytes], types: &[String]) -> Result<Vec<StoredValue>, String> {
    let value = |(file, ty): (&Bytes, &String)| {
        let kind = match ty.split('(').next() {
            Some("seq") => StoredKind::Sequence,
            Some("opt") => StoredKind::Optional,
            _ => StoredKind::Tensor,
        };
        StoredValue::decode(file.clone(), kind)
    };
    files.iter().zip(types).map(value).collect()
}

#[derive(Deserialize)]
struct Index {
    cases: Vec<Entry>,
}

/// All cases, in the order of their names.
///
/// # Errors
///
/// If an archive cannot be read.
pub fn load() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for name in ARCHIVES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name);
        cases.extend(read(&path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    cases.sort_by(|a, b| a.entry.name.cmp(&b.entry.name));
    Ok(cases)
}

fn read(path: &Path) -> Result<Vec<Case>> {
    let mut files = unpack(path)?;
    let index = files
        .remove(Path::new("index.json"))
        .context("there is no index.json")?;
    let index: Index = serde_json::from_slice(&index).context("index.json")?;
    let mut take = |name: String| {
        files
            .remove(Path::new(&name))
            .with_context(|| format!("there is no {name}"))
    };
    let mut case = |entry: Entry| {
        let name = &entry.name;
        let model = take(format!("{name}/model.onnx"))?;
        let mut values = |kind: &str, count: usize| {
            (0..count)
                .map(|number| take(format!("{name}/{kind}_{number}.pb")))
                .collect::<Result<Vec<_>>>()
        };
        let inputs = values("input", entry.inputs.len())?;
        let outputs = values("output", entry.outputs.len())?;
        Ok(Case {
            entry,
            model,
            inputs,
            outputs,
        })
    };
    index.cases.into_iter().map(&mut case).collect()
}

/// The files of an archive.
fn unpack(path: &Path) -> Result<HashMap<PathBuf, Bytes>> {
    let decoder = ruzstd::decoding::StreamingDecoder::new(File::open(path)?).map_err(|error| anyhow!("{error}"))?;
    let mut files = HashMap::new();
    for entry in tar::Archive::new(decoder).entries()? {
        let mut entry = entry?;
        let name = entry.path()?.into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        if files.insert(name.clone(), content.into()).is_some() {
            bail!("{} occurs twice", name.display());
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archives_hold_the_whole_suite() {
        let cases = load().unwrap();
        let count = |f: &dyn Fn(&Entry) -> bool| cases.iter().filter(|case| f(&case.entry)).count();
        assert_eq!(count(&|entry| entry.is_node() && entry.expanded_of.is_none()), 1404);
        assert_eq!(count(&|entry| entry.is_node() && entry.expanded_of.is_some()), 480);
        assert_eq!(count(&|entry| !entry.is_node()), 149);
        for case in &cases {
            case.inputs()
                .and_then(|_| case.outputs())
                .unwrap_or_else(|error| panic!("{}: {error}", case.name()));
        }
        assert!(cases.is_sorted_by(|a, b| a.name() < b.name()));
    }
}
