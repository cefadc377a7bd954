//! What the terminal shows.

use std::fmt::Display;
use std::io::{self, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();

/// Prints an error with its causes.
pub(crate) fn print_error(error: &anyhow::Error) {
    // Nobody can be told if even this fails.
    let _ = writeln!(anstream::stderr(), "{BAD}error{BAD:#}: {error:#}");
}

/// Whether the reader of the output has closed its end.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = |cause: &(dyn std::error::Error + 'static)| match cause.downcast_ref::<serde_json::Error>() {
        Some(error) => error.io_error_kind(),
        None => cause.downcast_ref().map(io::Error::kind),
    };
    error
        .chain()
        .any(|cause| kind(cause) == Some(io::ErrorKind::BrokenPipe))
}

/// Shows `message` while `work` is done, if the standard error is a terminal.
pub(crate) fn with_spinner<T>(message: impl Display, work: impl FnOnce() -> T) -> T {
    let bar = ProgressBar::new_spinner().with_message(message.to_string());
    if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {msg} {elapsed:.dim}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    let result = work();
    bar.finish_and_clear();
    result
}

/// A number of bytes with a unit, such as `1.5 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    if count < 1024 {
        return format!("{count} B");
    }
    let (mut value, mut unit) = (count as f64 / 1024.0, "KiB");
    for next in ["MiB", "GiB"] {
        if value >= 1023.95 {
            (value, unit) = (value / 1024.0, next);
        }
    }
    format!("{value:.1} {unit}")
}

/// A count with a unit, such as `22.8 M`.
pub(crate) fn count(count: u64) -> String {
    if count < 1000 {
        return count.to_string();
    }
    let (mut value, mut unit) = (count as f64 / 1e3, "k");
    for next in ["M", "G", "T"] {
        if value >= 999.95 {
            (value, unit) = (value / 1e3, next);
        }
    }
    format!("{value:.1} {unit}")
}

/// A time with a unit, such as `1.50 ms`.
pub(crate) fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 1e-6 => format!("{:.0} ns", s * 1e9),
        s if s < 1e-3 => format!("{:.1} µs", s * 1e6),
        s if s < 1.0 => format!("{:.2} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

/// `text` cut to `width` characters, its middle left out.
pub(crate) fn shorten(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let tail = width / 2;
    let head: String = text.chars().take(width.saturating_sub(tail + 1)).collect();
    let tail: String = text.chars().skip(length - tail).collect();
    format!("{head}…{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_units() {
        let all = [0, 1023, 1024, 1536, 1_048_575, 1_048_576, 3 << 30].map(bytes);
        assert_eq!(
            all,
            ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "1.0 MiB", "3.0 GiB"]
        );
        let all = [999, 1000, 999_949, 999_950, 22_800_000, 3_000_000_000_000].map(count);
        assert_eq!(all, ["999", "1.0 k", "999.9 k", "1.0 M", "22.8 M", "3.0 T"]);
        let all = [2e-8, 1.5e-5, 0.0015, 1.5].map(seconds);
        assert_eq!(all, ["20 ns", "15.0 µs", "1.50 ms", "1.50 s"]);
    }

    #[test]
    fn a_closed_pipe_is_recognized() {
        let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(&closed().into()));
        assert!(is_broken_pipe(&serde_json::Error::io(closed()).into()));
        assert!(is_broken_pipe(&anyhow::Error::from(closed()).context("printing")));
        assert!(!is_broken_pipe(&io::Error::from(io::ErrorKind::NotFound).into()));
    }

    #[test]
    fn long_texts_lose_their_middle() {
        assert_eq!(shorten("/layer.0/MatMul", 15), "/layer.0/MatMul");
        assert_eq!(shorten("/layer.0/MatMul", 9), "/lay…tMul");
    }
}
