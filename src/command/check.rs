//! `onnxide check`

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::args::Check;
use crate::compare::{Difference, compare};
use crate::program::Program;
use crate::term::{BAD, BOLD, GOOD};
use crate::{Outcome, model};
use onnxide_codegen::npz::{self, Array};

/// The result of a check, as it is printed in JSON.
#[derive(Serialize)]
struct Verdict {
    ok: bool,
    tolerance: f64,
    outputs: Vec<Output>,
}

/// An output that was compared.
#[derive(Serialize)]
struct Output {
    name: String,
    dtype: &'static str,
    shape: Vec<usize>,
    /// An infinite error is `null` in JSON.
    #[serde(flatten)]
    difference: Difference,
    ok: bool,
}

pub(crate) fn check(args: &Check) -> Result<Outcome> {
    let mut arrays: BTreeMap<String, Array> = npz::read(&args.reference)?.into_iter().collect();
    let bound = model::bind(&args.model, &mut arrays, &args.reference)?;
    let expected = expected(arrays, &args.reference)?;
    let program = Program::build(bound.compiler, &args.run.operators_from)?;
    let outputs = program.run(&bound.inputs, &args.run)?;
    let verdict = judge(&outputs, &expected, args.tolerance)?;

    let mut out = anstream::stdout();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &verdict)?;
        writeln!(out)?;
    } else {
        print(&verdict, &mut out)?;
    }
    Ok(if verdict.ok {
        Outcome::Success
    } else {
        Outcome::Difference
    })
}

/// The arrays whose names start with `out:`, without that.
fn expected(arrays: BTreeMap<String, Array>, file: &Path) -> Result<Vec<(String, Array)>> {
    let expected: Vec<_> = arrays
        .into_iter()
        .filter_map(|(name, array)| Some((name.strip_prefix("out:")?.to_owned(), array)))
        .collect();
    ensure!(
        !expected.is_empty(),
        "{} has no array `out:NAME` to compare an output with",
        file.display()
    );
    Ok(expected)
}

fn judge(outputs: &[(String, Array)], expected: &[(String, Array)], tolerance: f64) -> Result<Verdict> {
    let mut verdict = Verdict {
        ok: true,
        tolerance,
        outputs: Vec::new(),
    };
    for (name, reference) in expected {
        let found = outputs.iter().find(|(output, _)| output == name);
        let (_, output) = found.with_context(|| {
            let names: Vec<_> = outputs.iter().map(|(name, _)| format!("`{name}`")).collect();
            format!("the model has no output `{name}`, only {}", names.join(", "))
        })?;
        let difference = compare(output, reference).with_context(|| format!("output `{name}`"))?;
        let ok = difference.relative <= tolerance;
        verdict.ok &= ok;
        verdict.outputs.push(Output {
            name: name.clone(),
            dtype: output.dtype.name(),
            shape: output.shape.clone(),
            difference,
            ok,
        });
    }
    Ok(verdict)
}

fn print(verdict: &Verdict, out: &mut impl Write) -> Result<()> {
    for output in &verdict.outputs {
        let Difference { absolute, relative } = output.difference;
        let (style, word) = if output.ok { (GOOD, "ok") } else { (BAD, "differs") };
        writeln!(
            out,
            "{BOLD}{}{BOLD:#} {}{:?}: {style}{word}{style:#}, absolute error {absolute:.3e}, relative error {relative:.3e}",
            output.name, output.dtype, output.shape
        )?;
    }
    if !verdict.ok {
        writeln!(out, "the relative error may be at most {:e}", verdict.tolerance)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use onnxide_runtime::element::DType;

    use super::*;

    fn scalar(name: &str, value: f32) -> (String, Array) {
        let data = value.to_le_bytes().to_vec();
        (
            name.to_owned(),
            Array {
                dtype: DType::F32,
                shape: vec![1],
                data,
            },
        )
    }

    #[test]
    fn one_difference_fails_the_check() {
        let outputs = [scalar("a", 1.0), scalar("b", 2.0), scalar("c", 3.0)];
        let expected = [scalar("a", 1.0), scalar("b", 2.5)];
        let verdict = judge(&outputs, &expected, 0.1).unwrap();
        assert!(!verdict.ok);
        assert_eq!(
            verdict.outputs.iter().map(|output| output.ok).collect::<Vec<_>>(),
            [true, false]
        );
        let mut text = Vec::new();
        print(&verdict, &mut text).unwrap();
        let plain = anstream::adapter::strip_bytes(&text).into_vec();
        insta::assert_snapshot!(String::from_utf8(plain).unwrap(), @r"
        a float32[1]: ok, absolute error 0.000e0, relative error 0.000e0
        b float32[1]: differs, absolute error 5.000e-1, relative error 2.000e-1
        the relative error may be at most 1e-1
        ");
        insta::assert_snapshot!(serde_json::to_string(&verdict).unwrap(), @r#"{"ok":false,"tolerance":0.1,"outputs":[{"name":"a","dtype":"float32","shape":[1],"max_absolute_error":0.0,"max_relative_error":0.0,"ok":true},{"name":"b","dtype":"float32","shape":[1],"max_absolute_error":0.5,"max_relative_error":0.2,"ok":false}]}"#);
        assert!(judge(&outputs, &expected, 0.2).unwrap().ok);
    }

    #[test]
    fn outputs_that_the_model_does_not_have() {
        let error = judge(&[scalar("a", 1.0)], &[scalar("d", 1.0)], 1.0).err().unwrap();
        assert_eq!(error.to_string(), "the model has no output `d`, only `a`");
        let mut arrays = BTreeMap::from([scalar("out:a", 1.0), scalar("note", 1.0)]);
        assert_eq!(
            expected(arrays.clone(), Path::new("r.npz")).unwrap(),
            [scalar("a", 1.0)]
        );
        arrays.remove("out:a");
        let error = expected(arrays, Path::new("r.npz")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "r.npz has no array `out:NAME` to compare an output with"
        );
    }
}
