//! Talking to the program of a package.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{self, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use onnxide_runtime::harness::container::Container;

/// How long a run may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// A program, started when it is asked something, and again when it has come to an end.
pub(super) struct Child {
    binary: PathBuf,
    isa: Option<String>,
    running: Option<Running>,
}

struct Running {
    process: process::Child,
    input: ChildStdin,
    frames: Receiver<Vec<u8>>,
}

/// What a program says to a case.
pub(super) enum Answer {
    /// The outputs.
    Outputs(Container),
    /// The error that the model gives.
    Error(String),
    /// What has happened instead of an answer.
    Crash(String),
}

impl Child {
    pub(super) fn new(binary: &Path, isa: Option<&str>) -> Self {
        Child {
            binary: binary.to_owned(),
            isa: isa.map(str::to_owned),
            running: None,
        }
    }

    /// Runs a case.
    pub(super) fn ask(&mut self, case: &str, inputs: &Container) -> Answer {
        let answer = self.try_ask(case, inputs);
        answer.unwrap_or_else(|reason| {
            let ended = self.running.take().map(Running::end);
            Answer::Crash(match ended {
                Some(Ok(status)) => format!("{reason}: {status}"),
                Some(Err(error)) => format!("{reason}: {error}"),
                None => reason,
            })
        })
    }

    fn try_ask(&mut self, case: &str, inputs: &Container) -> Result<Answer, String> {
        let running = match &mut self.running {
            Some(running) => running,
            none => none.insert(Running::start(&self.binary, self.isa.as_deref()).map_err(|error| error.to_string())?),
        };
        let sent =
            write(&mut running.input, case.as_bytes()).and_then(|()| write(&mut running.input, &inputs.to_bytes()));
        // A program that has ended says why when it is waited for.
        let _ = sent;
        let status = running.next()?;
        let content = running.next()?;
        let text = || String::from_utf8_lossy(&content).into_owned();
        Ok(match status.as_slice() {
            b"ok" => match Container::from_bytes(&content) {
                Ok(outputs) => Answer::Outputs(outputs),
                Err(message) => Answer::Crash(message),
            },
            b"error" => Answer::Error(text()),
            _ => Answer::Crash(format!("the module panics: {}", text())),
        })
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            let _ = running.end();
        }
    }
}

impl Running {
    fn start(binary: &Path, isa: Option<&str>) -> io::Result<Running> {
        let mut command = Command::new(binary);
        command
            .args(isa)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = command.spawn()?;
        let pipes = process.stdin.take().zip(process.stdout.take());
        let (input, mut output) = pipes.ok_or(io::ErrorKind::BrokenPipe)?;
        let (sender, frames) = mpsc::channel();
        thread::spawn(move || {
            while let Ok(frame) = read(&mut output)
                && sender.send(frame).is_ok()
            {}
        });
        Ok(Running { process, input, frames })
    }

    fn next(&mut self) -> Result<Vec<u8>, String> {
        self.frames.recv_timeout(PATIENCE).map_err(|error| match error {
            mpsc::RecvTimeoutError::Timeout => format!("no answer in {} s", PATIENCE.as_secs()),
            mpsc::RecvTimeoutError::Disconnected => "the program ends".into(),
        })
    }

    fn end(mut self) -> io::Result<process::ExitStatus> {
        drop(self.input);
        if self.frames.recv_timeout(Duration::from_secs(1)) != Err(mpsc::RecvTimeoutError::Disconnected) {
            self.process.kill()?;
        }
        self.process.wait()
    }
}

fn read(output: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 8];
    output.read_exact(&mut length)?;
    let length = usize::try_from(u64::from_le_bytes(length)).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut content = Vec::new();
    if output.take(length as u64).read_to_end(&mut content)? < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(content)
}

fn write(input: &mut impl Write, content: &[u8]) -> io::Result<()> {
    input.write_all(&(content.len() as u64).to_le_bytes())?;
    input.write_all(content)?;
    input.flush()
}
