//! The archives in the folder of the data.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use onnxide_codegen::frontend::{StoredKind, StoredValue};
use serde::Deserialize;

#[derive(Deserialize)]
struct Index<T> {
    cases: Vec<T>,
}

/// The values in files that are called after their number.
pub(crate) fn values<'a>(
    files: &mut Files,
    stem: &str,
    types: impl Iterator<Item = (usize, &'a String)>,
) -> Result<Vec<StoredValue>> {
    let mut value = |(number, ty): (usize, &String)| {
        let name = format!("{stem}_{number}.pb");
        let kind = match ty.split('(').next() {
            Some("seq") => StoredKind::Sequence,
            Some("opt") => StoredKind::Optional,
            _ => StoredKind::Tensor,
        };
        StoredValue::decode(files.take(&name)?, kind).map_err(|error| anyhow!("{name}: {error}"))
    };
    types.map(&mut value).collect()
}

/// The files of an archive that were not taken yet.
pub(crate) struct Files(HashMap<PathBuf, Bytes>);

/// What a function makes of an archive in the folder of the data.
pub(crate) fn read<R>(archive: &str, f: impl FnOnce(&mut Files) -> Result<R>) -> Result<R> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(archive);
    let read = || f(&mut Files(unpack(&path)?));
    read().with_context(|| format!("cannot read {}", path.display()))
}

impl Files {
    pub(crate) fn take(&mut self, name: &str) -> Result<Bytes> {
        self.0
            .remove(Path::new(name))
            .with_context(|| format!("there is no {name}"))
    }

    pub(crate) fn index<T: for<'a> Deserialize<'a>>(&mut self) -> Result<Vec<T>> {
        let index: Index<T> = serde_json::from_slice(&self.take("index.json")?).context("index.json")?;
        Ok(index.cases)
    }
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
