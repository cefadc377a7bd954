//! `onnxide run`

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Result;

use crate::args::Run;
use crate::program::Program;
use crate::term::BOLD;
use crate::{Outcome, model};
use onnxide_codegen::npz::{self, Array};

pub(crate) fn run(args: &Run) -> Result<Outcome> {
    let mut arrays: BTreeMap<String, Array> = npz::read(&args.inputs)?.into_iter().collect();
    let bound = model::bind(&args.model, &mut arrays, &args.inputs)?;
    let outputs = Program::build(bound.compiler, &args.run.operators_from)?.run(&bound.inputs, &args.run)?;
    npz::write(&args.outputs, &outputs)?;
    let mut out = anstream::stdout();
    for (name, array) in &outputs {
        writeln!(out, "{BOLD}{name}{BOLD:#} {}{:?}", array.dtype, array.shape)?;
    }
    Ok(Outcome::Success)
}
