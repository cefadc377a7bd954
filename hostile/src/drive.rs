//! The driver: gives models to workers, which are processes with limits, and notes what goes wrong.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::limits::{BYTES, SECONDS};

/// What a worker is to compile.
#[derive(Clone, Debug)]
pub enum Models {
    /// Mutated models, from a number up to another one.
    Mutated {
        /// The first.
        first: u64,
        /// One more than the last.
        end: u64,
    },
    /// Files, which have numbers from 0 on.
    Files(Vec<PathBuf>),
}

/// What came of models.
#[derive(Debug, Default)]
pub struct Report {
    /// How many the compiler has refused.
    pub refused: usize,
    /// The numbers of those that became modules.
    pub compiled: Vec<u64>,
    /// What went wrong.
    pub findings: Vec<Finding>,
}

/// A model that the compiler does not stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The number of the model.
    pub number: u64,
    /// What happened.
    pub what: String,
}

/// Has workers compile models. `program` is the binary of this crate; modules are kept in `folder`.
///
/// # Errors
///
/// A worker cannot be started.
pub fn drive(program: &Path, models: &Models, folder: &Path) -> Result<Report> {
    let mut report = Report::default();
    let (mut next, end) = match models {
        Models::Mutated { first, end } => (*first, *end),
        Models::Files(files) => (0, files.len() as u64),
    };
    while next < end {
        let Some(failed) = Session::start(program, models, next, end, folder)?.watch(&mut report)? else {
            break;
        };
        // A machine that does something else may be slow, and so a model has a second chance.
        let slow = failed.what.starts_with("takes more");
        let again = match slow {
            true => Session::start(program, models, failed.number, failed.number + 1, folder)?.watch(&mut report)?,
            false => Some(failed.clone()),
        };
        report.findings.extend(again);
        next = failed.number + 1;
    }
    Ok(report)
}

/// A worker at work.
struct Session {
    child: Child,
    lines: mpsc::Receiver<String>,
    errors: thread::JoinHandle<String>,
}

impl Session {
    fn start(program: &Path, models: &Models, first: u64, end: u64, folder: &Path) -> Result<Self> {
        let mut command = limited(program);
        command
            .arg("work")
            .arg(folder)
            .args([first.to_string(), end.to_string()]);
        if let Models::Files(files) = models {
            command.args(files);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in out.into_iter().flat_map(|out| BufReader::new(out).lines()) {
                let Ok(line) = line else { break };
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let errors = thread::spawn(move || {
            let mut text = String::new();
            if let Some(mut err) = err {
                // What cannot be read is not shown.
                let _ = err.read_to_string(&mut text);
            }
            text
        });
        Ok(Self { child, lines, errors })
    }

    /// Adds what the worker says to a report; the model that has ended it, unless it has come to its end.
    fn watch(mut self, report: &mut Report) -> Result<Option<Finding>> {
        let mut current = None;
        let what = loop {
            match self.lines.recv_timeout(Duration::from_secs(SECONDS)) {
                Ok(line) => {
                    let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
                    let (number, text) = rest.split_once(' ').unwrap_or((rest, ""));
                    let number: u64 = number.parse().unwrap_or(0);
                    match verb {
                        "start" => current = Some(number),
                        "refused" => report.refused += 1,
                        "compiled" => report.compiled.push(number),
                        "panicked" => report.findings.push(Finding {
                            number,
                            what: text.to_owned(),
                        }),
                        _ => break None,
                    }
                }
                Err(RecvTimeoutError::Timeout) => break Some(format!("takes more than {SECONDS} seconds")),
                Err(RecvTimeoutError::Disconnected) => break Some(String::new()),
            }
        };
        if what.is_some() {
            // A worker that has ended cannot be killed.
            let _ = self.child.kill();
        }
        let status = self.child.wait().context("cannot wait for a worker")?;
        let errors = self.errors.join().unwrap_or_default();
        let what = what.map(|what| match what.as_str() {
            "" => format!("{status}: {}", errors.trim().replace('\n', " ")),
            _ => what,
        });
        match (what, current) {
            (None, _) => Ok(None),
            (Some(what), Some(number)) => Ok(Some(Finding { number, what })),
            (Some(what), None) => anyhow::bail!("a worker has not started: {what}"),
        }
    }
}

/// The program with a limit of memory.
fn limited(program: &Path) -> Command {
    if cfg!(unix) {
        let mut command = Command::new("sh");
        let script = format!("ulimit -v {} && exec \"$@\"", BYTES / 1024);
        command.args(["-c", &script, "sh"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}
