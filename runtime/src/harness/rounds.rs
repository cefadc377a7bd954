//! Measuring a model when told to, by turns with other programs.

use crate::describe::{AnyValue, Program};
use std::fmt::Write as _;
use std::format;
use std::io::{BufRead, Write};
use std::string::{String, ToString};
use std::time::Instant;

use super::container::Container;

/// Runs the model once and writes `ready`, then answers each line of `requests` until they end.
///
/// # Errors
///
/// If the inputs do not fit the model, a line is no request, or the streams fail.
pub(super) fn rounds<P: Program>(
    model: &mut P,
    container: &Container,
    requests: impl BufRead,
    mut answers: impl Write,
) -> Result<(), String> {
    let inputs = super::inputs::<P>(container)?;
    let mut run = || {
        let mut discard = |_: usize, value: AnyValue<'_>| {
            std::hint::black_box(value);
        };
        model.run_dyn(&inputs, &mut discard).map_err(|error| error.to_string())
    };
    let mut answer = |text: &str| {
        writeln!(answers, "{text}")
            .and_then(|()| answers.flush())
            .map_err(|error| format!("standard output: {error}"))
    };
    run()?;
    answer("ready")?;
    for line in requests.lines() {
        let line = line.map_err(|error| format!("standard input: {error}"))?;
        let (warm, runs) =
            request(&line).ok_or_else(|| format!("`{line}` is no request: pass two numbers, as in `2 10`"))?;
        for _ in 0..warm {
            run()?;
        }
        let mut times = String::new();
        for number in 0..runs {
            let start = Instant::now();
            run()?;
            let time = start.elapsed().as_nanos();
            let _ = write!(times, "{}{time}", if number > 0 { " " } else { "" });
        }
        answer(&times)?;
    }
    Ok(())
}

fn request(line: &str) -> Option<(usize, usize)> {
    let (warm, runs) = line.trim().split_once(' ')?;
    Some((warm.parse().ok()?, runs.parse().ok()?))
}
