//! A race of onnxide against other engines on the same models and inputs.
//!
//! One process for each engine has loaded the model. Round by round, in an order that changes, each of them runs it for a
//! short time while the others wait, so that whatever else the machine does is the same for all. Between the rounds the
//! peak of the machine is measured.

mod arrays;
mod compare;
mod engine;
mod machine;
mod models;
mod picture;
mod race;
mod record;
mod stats;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use engine::{Engine, Launcher, Programs};
use machine::Machine;
use race::Rules;
use record::Record;

/// Measures onnxide and other engines on the same models, by turns.
#[derive(Debug, Parser)]
#[command(name = "onnxide-peers", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure, print a table, and keep a record
    Race(RaceArgs),
    /// Write table and picture of a record again
    Draw {
        /// The record, a JSON file
        record: PathBuf,
    },
    /// Run a model when told to, as a process of a race
    #[command(hide = true)]
    Worker {
        engine: Engine,
        model: PathBuf,
        inputs: PathBuf,
        outputs: PathBuf,
        threads: usize,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  onnxide-peers race ../../models
  onnxide-peers race /data/models --only resnet50,vit_b_16 --engines onnxide,onnxruntime --threads 1 --no-record")]
struct RaceArgs {
    /// Folder of models: NAME.onnx or NAME/model.onnx
    models: PathBuf,

    /// Table of models and their dimensions
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/models.toml"), hide_default_value = true)]
    table: PathBuf,

    /// Models to take; by default all of the table that are in the folder
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,

    /// Engines to take; what is missing is left out
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_values = ["onnxide", "onnxruntime", "openvino", "tract", "rten"])]
    engines: Vec<Engine>,

    /// Numbers of threads
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', default_values = ["1", "2"], value_parser = clap::value_parser!(u8).range(1..))]
    threads: Vec<u8>,

    /// Time for a model with a number of threads; slow models take more
    #[arg(long, value_name = "S", default_value = "4", value_parser = parse_positive)]
    seconds: f64,

    /// Rounds in this time; slow models have fewer
    #[arg(long, value_name = "N", default_value = "12", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,

    /// Largest relative error of a peer's outputs against those of onnxide
    #[arg(long, value_name = "X", default_value = "1e-3", value_parser = parse_positive)]
    tolerance: f64,

    /// Folder of records
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/records"), hide_default_value = true)]
    records: PathBuf,

    /// Name of the record; by default the date
    #[arg(long)]
    name: Option<String>,

    /// Add to the record of this name what it does not have, and replace what it has
    #[arg(long)]
    append: bool,

    /// Keep no record
    #[arg(long, conflicts_with_all = ["append", "name", "records"])]
    no_record: bool,

    #[command(flatten)]
    programs: Programs,
}

fn parse_positive(text: &str) -> Result<f64, String> {
    let valid = text.parse::<f64>().ok().filter(|x| x.is_finite() && *x > 0.0);
    valid.ok_or_else(|| "expected a positive number".into())
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Race(args) => run(&args),
        Command::Draw { record } => draw(&record),
        Command::Worker {
            engine,
            model,
            inputs,
            outputs,
            threads,
        } => engine::serve(engine, &model, &inputs, &outputs, threads),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &RaceArgs) -> Result<()> {
    let mut entries = models::table(&args.table)?;
    for name in &args.only {
        let known = entries.iter().any(|entry| entry.name == *name);
        ensure!(known, "there is no model `{name}` in {}", args.table.display());
    }
    entries.retain(|entry| args.only.is_empty() || args.only.contains(&entry.name));
    let bar = ProgressBar::new(entries.len() as u64);
    bar.set_style(ProgressStyle::with_template(
        "{spinner:.cyan} [{elapsed}] {pos}/{len} {msg}",
    )?);
    bar.enable_steady_tick(Duration::from_millis(200));

    let launchers = launchers(args, &bar)?;
    let rules = Rules {
        seconds: args.seconds,
        rounds: args.rounds.into(),
        tolerance: args.tolerance,
    };
    let threads: Vec<usize> = args.threads.iter().map(|&threads| threads.into()).collect();
    let mut heats = Vec::new();
    for entry in &entries {
        match entry.find(&args.models) {
            Some(path) => match race::race(entry, &path, &launchers, &threads, &rules, &bar) {
                Ok(found) => heats.extend(found),
                Err(error) => say(&bar, &format!("{} is left out: {error:#}", entry.name)),
            },
            None => say(
                &bar,
                &format!("{} is left out: it is not in {}", entry.name, args.models.display()),
            ),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    ensure!(
        !heats.is_empty(),
        "no model of the table is in {}",
        args.models.display()
    );

    let mut versions = engine::versions();
    versions.retain(|engine, _| launchers.contains_key(engine));
    let date = time::OffsetDateTime::now_utc().date().to_string();
    let mut record = Record {
        date: date.clone(),
        machine: Machine::this(),
        versions,
        tolerance: args.tolerance,
        onnxide_threads: engine::ONNXIDE_HAS_THREADS,
        heats,
    };
    if args.no_record {
        print!("{}", table::page(&record));
        return Ok(());
    }
    let file = args
        .records
        .join(format!("{}.json", args.name.as_ref().unwrap_or(&date)));
    if args.append && file.exists() {
        let mut earlier = Record::read(&file)?;
        earlier.append(record)?;
        record = earlier;
    }
    print!("{}", table::page(&record));
    keep(&file, &record)
}

/// What starts the workers of the engines that are there.
///
/// # Errors
///
/// None of them is.
fn launchers(args: &RaceArgs, bar: &ProgressBar) -> Result<BTreeMap<Engine, Launcher>> {
    let mut launchers = BTreeMap::new();
    for &engine in &args.engines {
        bar.set_message(format!("{} is made ready", engine.name()));
        match Launcher::new(engine, &args.programs) {
            Ok(launcher) => {
                launchers.insert(engine, launcher);
            }
            Err(error) => say(bar, &format!("{} is left out: {error:#}", engine.name())),
        }
    }
    ensure!(!launchers.is_empty(), "no engine can run");
    Ok(launchers)
}

/// Prints a line above the progress, or where there is none.
fn say(bar: &ProgressBar, line: &str) {
    bar.suspend(|| eprintln!("{line}"));
}

fn draw(file: &Path) -> Result<()> {
    let record = Record::read(file)?;
    keep(file, &record)
}

/// Writes a record, and table and picture beside it.
fn keep(file: &Path, record: &Record) -> Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let json = serde_json::to_string_pretty(record)? + "\n";
    let files = [
        ("json", json),
        ("md", table::page(record)),
        ("svg", picture::draw(record)),
    ];
    for (extension, text) in files {
        let file = file.with_extension(extension);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    eprintln!(
        "The record is in {}, with a table and a picture beside it.",
        file.display()
    );
    Ok(())
}
