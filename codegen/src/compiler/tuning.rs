//! Files with what measurements have chosen for a model.
//!
//! A line is a choice and the node that it is for; names are the last of a line because they may have spaces in them.
//!
//! ```text
//! onnxide tuning 1
//! model 5d0c…
//! # Lines like this one are for people.
//! winograd-2 /layer1/0/conv1/Conv
//! threads-1 /fc/Gemm
//! ```

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use crate::diagnostics::{CompileError, Diagnostic, Diagnostics};
use crate::frontend::Model;
use crate::plan::{Choice, Tuning};

/// The largest file that is read.
const MAX_BYTES: u64 = 16 << 20;

/// How many findings about a file are told.
const MAX_ERRORS: usize = 8;

/// The content of a tuning file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TuningFile {
    /// BLAKE3 of the model and its external data, in hexadecimal.
    pub model: String,
    /// What people are told about the measurement, by lines.
    pub notes: Vec<String>,
    /// What was chosen.
    pub tuning: Tuning,
}

impl TuningFile {
    /// How every file starts.
    pub const MARKER: &str = "onnxide tuning 1";

    /// Whether a file can say something about a node: a name that is no rest of a line cannot be written.
    pub fn can_name(node: &str) -> bool {
        !node.contains(char::is_control) && !node.is_empty() && node.trim() == node
    }
}

impl fmt::Display for TuningFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\nmodel {}", Self::MARKER, self.model)?;
        for note in &self.notes {
            writeln!(f, "# {}", note.replace(char::is_control, " "))?;
        }
        for (node, choices) in &self.tuning.nodes {
            if TuningFile::can_name(node) {
                for choice in choices {
                    writeln!(f, "{choice} {node}")?;
                }
            }
        }
        Ok(())
    }
}

impl FromStr for TuningFile {
    type Err = Vec<String>;

    /// Reads a text; the error has all that is wrong with it.
    fn from_str(text: &str) -> Result<TuningFile, Vec<String>> {
        let mut lines = text.lines().zip(1..);
        if lines.next().is_none_or(|(line, _)| line.trim_end() != Self::MARKER) {
            let marker = Self::MARKER;
            return Err(vec![format!("it is no tuning file: the first line is not `{marker}`")]);
        }
        let (mut file, mut errors) = (TuningFile::default(), Vec::new());
        for (line, number) in lines {
            if errors.len() == MAX_ERRORS {
                errors.push("there may be more".to_owned());
                break;
            }
            let line = line.trim();
            if let Some(note) = line.strip_prefix('#') {
                file.notes.push(note.trim_start().to_owned());
                continue;
            }
            match line.split_once(' ') {
                Some(("model", hash)) if file.model.is_empty() => file.model = hash.trim().to_owned(),
                Some(("model", _)) => errors.push(format!("line {number}: the model is given twice")),
                Some((choice, node)) => match choice.parse::<Choice>() {
                    Ok(choice) if file.tuning.contradicts(node.trim(), choice) => {
                        errors.push(format!("line {number}: something else is chosen for this node before"));
                    }
                    Ok(choice) => file.tuning.choose(node.trim(), choice),
                    Err(error) => errors.push(format!("line {number}: {error}")),
                },
                None if line.is_empty() => {}
                None => errors.push(format!("line {number}: expected a choice and the name of a node")),
            }
        }
        if file.model.is_empty() && errors.len() < MAX_ERRORS {
            errors.push("there is no line `model HASH`".to_owned());
        }
        if errors.is_empty() { Ok(file) } else { Err(errors) }
    }
}

/// Reads what was chosen for a model.
///
/// # Errors
///
/// The file cannot be read, is no tuning file, or is one of another model.
pub(super) fn read(path: &Path, model: &Model) -> Result<Tuning, CompileError> {
    super::check_path(path)?;
    let read_error = |reason: String| CompileError::Read {
        path: path.to_owned(),
        reason,
    };
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| read_error(error.to_string()))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(read_error("it is too large for a tuning file".to_owned()));
    }
    let text = String::from_utf8(bytes).map_err(|_| read_error("it is no tuning file but binary".to_owned()))?;
    let file: TuningFile = text
        .parse()
        .map_err(|errors: Vec<String>| read_error(errors.join("; ")))?;
    if file.model != model.hash_hex() {
        let finding = Diagnostic::new(format!(
            "{} is of another model, or of an older version of this",
            path.display()
        ))
        .help("tune the model again with `onnxide bench MODEL --tune FILE`, or leave the file out");
        return Err(Diagnostics::one(&model.name, finding).into());
    }
    Ok(file.tuning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_as_they_were_written() {
        let mut file = TuningFile {
            model: "5d0c".into(),
            notes: vec!["8.1 ms instead of 8.3 ms".into()],
            tuning: Tuning::default(),
        };
        file.tuning.choose("/a b/Conv", "winograd-2".parse().unwrap());
        file.tuning.choose("/a b/Conv", Choice::Threads(1));
        file.tuning.choose("/c", Choice::Apart);
        let text = file.to_string();
        assert_eq!(
            text,
            "onnxide tuning 1\nmodel 5d0c\n# 8.1 ms instead of 8.3 ms\nwinograd-2 /a b/Conv\nthreads-1 /a b/Conv\napart /c\n"
        );
        assert_eq!(text.parse(), Ok(file.clone()));
        assert_eq!(text.replace('\n', "\r\n").parse(), Ok(file.clone()));
        file.tuning.choose("two\nlines", Choice::Direct);
        assert_eq!(file.to_string(), text);
    }

    #[test]
    fn what_is_wrong_is_told_by_line() {
        let errors = |text: &str| text.parse::<TuningFile>().unwrap_err().join("\n");
        insta::assert_snapshot!(errors(""), @"it is no tuning file: the first line is not `onnxide tuning 1`");
        insta::assert_snapshot!(errors("onnxide tuning 1\nmodel a\nmodel b\nfast /a\n\nconv\n"), @r"
        line 3: the model is given twice
        line 4: `fast` is no choice; there are direct, winograd-2, winograd-4, streamed, apart and threads-N
        line 6: expected a choice and the name of a node
        ");
        let twice = "onnxide tuning 1\nmodel a\nwinograd-2 /a\nthreads-1 /a\ndirect /a\n";
        insta::assert_snapshot!(errors(twice), @"line 5: something else is chosen for this node before");
        let many = format!("onnxide tuning 1\nmodel a\n{}", "a b\n".repeat(1000));
        assert_eq!(errors(&many).lines().count(), MAX_ERRORS + 1);
        insta::assert_snapshot!(errors("onnxide tuning 1\n"), @"there is no line `model HASH`");
    }
}
