//! What the planner does for small arenas, model by model.
//!
//! `cargo run -p onnxide-codegen --example memory -- MODEL.onnx[,NAME=SIZE].. ..` prints a row of a table for each model:
//! bytes if every value had a place of its own, bytes of an arena of values that live at the same time and nothing else
//! done, bytes of the arena with its lower bound, and the smallest arena that `ram` can ask for.

use onnxide_codegen::compiler::Front;
use onnxide_codegen::frontend;
use onnxide_codegen::import::{Options, import};
use onnxide_codegen::passes::optimize;
use onnxide_codegen::plan::{Plan, PlanOptions};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    println!("| model | all values | plain | arena | lower bound | smallest |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    let mut code = ExitCode::SUCCESS;
    for argument in std::env::args().skip(1) {
        match row(&argument) {
            Ok(row) => println!("{row}"),
            Err(error) => {
                eprintln!("{argument}: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

fn row(argument: &str) -> Result<String, String> {
    let mut parts = argument.split(',');
    let path = parts.next().unwrap_or_default();
    let model = frontend::load(Path::new(path)).map_err(|error| error.to_string())?;
    let dim = |part: &str| -> Option<_> {
        let (name, size) = part.split_once('=')?;
        let size: i64 = size.parse().ok()?;
        Some((name.to_owned(), size..=size))
    };
    let dims = parts.map(|part| dim(part).ok_or_else(|| format!("`{part}` is not NAME=SIZE")));
    let options = Options {
        dims: dims.collect::<Result<_, String>>()?,
        operators: Vec::new(),
        front: Front::Command,
    };
    let mut graph = import(&model, &options).map_err(|error| error.to_string())?;
    optimize(&mut graph, &mut |_, _| {});
    let plain = PlanOptions {
        plain: true,
        ..PlanOptions::default()
    };
    let failed = |errors| format!("{errors:?}");
    let before = Plan::with(&graph, &plain).map_err(failed)?;
    let after = Plan::new(&graph).map_err(failed)?;
    let smallest = Plan::smallest(&graph, &PlanOptions::default()).map_err(failed)?;
    let all: usize = before.buffers.iter().map(|buffer| buffer.bytes()).sum();
    let name = path.trim_end_matches("/model.onnx").trim_end_matches(".onnx");
    let name = name.rsplit('/').next().unwrap_or(name);
    let numbers = [
        all,
        before.certificate.arena_bytes,
        after.certificate.arena_bytes,
        after.certificate.lower_bound,
        smallest.certificate.arena_bytes,
    ];
    let columns: String = numbers.iter().map(|bytes| format!(" {} |", grouped(*bytes))).collect();
    Ok(format!("| {name} |{columns}"))
}

/// A number with commas between groups of three digits.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .filter_map(|group| std::str::from_utf8(group).ok())
        .collect();
    groups.join(",")
}
