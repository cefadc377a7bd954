//! Workers: processes that have loaded a model and run it when told to.
//!
//! A worker prints `ready` once the model has run. For each line `WARM RUNS` of its standard input it runs the model WARM
//! times, and RUNS times with a clock, and prints these times in nanoseconds on one line. In between it waits for the next
//! line, so that the cores are free for the worker whose turn it is.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::{Engine, Job, last_lines};
use crate::arrays::Arrays;

/// How long a worker may take to load a model, or for a round.
const PATIENCE: Duration = Duration::from_secs(240);

/// How long a worker may take to end.
const END: Duration = Duration::from_secs(5);

/// A worker, from the side of the race.
#[derive(Debug)]
pub(crate) struct Worker {
    child: Child,
    requests: Option<ChildStdin>,
    answers: Receiver<String>,
    /// What the worker complains about.
    complaints: PathBuf,
}

impl Worker {
    /// Starts a worker and waits until it is ready.
    ///
    /// # Errors
    ///
    /// The program cannot be run, says that it failed, or is not ready in time.
    pub(super) fn start(mut command: Command, job: &Job<'_>) -> Result<Worker> {
        let program = command.get_program().to_string_lossy().into_owned();
        let complaints = job.folder.join("stderr");
        let file = File::create(&complaints).with_context(|| complaints.display().to_string())?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file);
        let mut child = command.spawn().with_context(|| format!("cannot run {program}"))?;
        let requests = child.stdin.take();
        let stdout = child.stdout.take().context("the worker has no standard output")?;
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(io::Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let worker = Worker {
            child,
            requests,
            answers,
            complaints,
        };
        let answer = worker.answer()?;
        match answer.strip_prefix("error ") {
            Some(error) => bail!("{error}"),
            None => ensure!(answer.starts_with("ready"), "the worker says `{answer}`"),
        }
        Ok(worker)
    }

    /// Runs the model `warm` times, and `runs` times with a clock; the times are in nanoseconds.
    ///
    /// # Errors
    ///
    /// The worker has ended or does not answer in time.
    pub(crate) fn run(&mut self, warm: usize, runs: usize) -> Result<Vec<u64>> {
        let requests = self.requests.as_mut().context("the worker takes no requests")?;
        writeln!(requests, "{warm} {runs}")
            .and_then(|()| requests.flush())
            .context("the worker has ended")?;
        let answer = self.answer()?;
        let times: Option<Vec<u64>> = answer.split_whitespace().map(|time| time.parse().ok()).collect();
        times
            .filter(|times| times.len() == runs)
            .with_context(|| format!("the worker says `{answer}`"))
    }

    fn answer(&self) -> Result<String> {
        self.answers.recv_timeout(PATIENCE).map_err(|error| match error {
            mpsc::RecvTimeoutError::Timeout => anyhow::anyhow!("no answer within {} s", PATIENCE.as_secs()),
            mpsc::RecvTimeoutError::Disconnected => {
                let complaints = fs::read_to_string(&self.complaints).unwrap_or_default();
                anyhow::anyhow!("the worker has ended: {}", last_lines(&complaints))
            }
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // A worker ends with its input.
        self.requests = None;
        let start = Instant::now();
        while start.elapsed() < END {
            if let Ok(Some(_)) | Err(_) = self.child.try_wait() {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A model that an engine has loaded, with its inputs.
pub(super) trait Session {
    /// Runs the model.
    fn run(&mut self) -> Result<()>;

    /// The outputs of a run, in the order of the model.
    fn outputs(&mut self) -> Result<Arrays>;
}

/// Works for the race, as a process of its own, with an engine that is linked into this program.
///
/// # Errors
///
/// The engine does not load or run the model, or the race breaks off the conversation.
pub(crate) fn serve(engine: Engine, model: &Path, inputs: &Path, outputs: &Path, threads: usize) -> Result<()> {
    let mut session = load(engine, model, inputs, threads)?;
    crate::arrays::write(outputs, &session.outputs()?)?;
    println!("ready");
    for line in io::stdin().lines() {
        let line = line?;
        let request = line
            .split_once(' ')
            .and_then(|(warm, runs)| Some((warm.parse().ok()?, runs.parse().ok()?)));
        let (warm, runs): (usize, usize) = request.with_context(|| format!("`{line}` is no request"))?;
        for _ in 0..warm {
            session.run()?;
        }
        let mut times = Vec::with_capacity(runs);
        for _ in 0..runs {
            let start = Instant::now();
            session.run()?;
            times.push(start.elapsed().as_nanos().to_string());
        }
        println!("{}", times.join(" "));
    }
    Ok(())
}

#[cfg_attr(not(any(feature = "rten", feature = "tract")), allow(unused_variables))]
fn load(engine: Engine, model: &Path, inputs: &Path, threads: usize) -> Result<Box<dyn Session>> {
    match engine {
        #[cfg(feature = "rten")]
        Engine::Rten => super::rten::load(model, &crate::arrays::read(inputs)?, threads),
        #[cfg(feature = "tract")]
        Engine::Tract => super::tract::load(model, &crate::arrays::read(inputs)?, threads),
        engine => bail!("{} is not linked into this program", engine.name()),
    }
}
