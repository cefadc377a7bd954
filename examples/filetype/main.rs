//! Names the content type of files by their bytes, with Magika.
//!
//! ```text
//! cargo run --release --example filetype PATH...
//! ```

mod features;
mod labels;

use std::ffi::OsString;
use std::io::{self, Cursor, Read, Seek, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::{env, fs};

use features::Content;
use labels::Verdict;

onnxide::include_model! {
    /// Probabilities of the content types of a file, from its first and last bytes.
    pub mod magika = "models/magika_v3_3.onnx", dims(unk__214 = 1);
}

const USAGE: &str = "\
Names the content type of files by their bytes.

Usage: filetype PATH...

Prints the label, its probability and the path; a dash stands for the standard input.
A label in parentheses is a guess that the model is not sure enough of.
The exit status is 1 if some path could not be read.";

fn main() -> ExitCode {
    let paths: Vec<OsString> = env::args_os().skip(1).collect();
    if paths.iter().any(|path| path == "-h" || path == "--help") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    if paths.is_empty() {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    match identify_all(&paths, &mut io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("filetype: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The model with its memory, which would be large for a stack.
static MODEL: Mutex<magika::Model> = Mutex::new(magika::Model::new());

/// Prints a line per path to `output`, or to the standard error where a path cannot be read. Returns whether all
/// could.
///
/// # Errors
///
/// `output` cannot be written to.
fn identify_all(paths: &[OsString], output: &mut impl Write) -> io::Result<bool> {
    let mut model = MODEL.lock().unwrap_or_else(PoisonError::into_inner);
    let mut all_read = true;
    for path in paths {
        let shown = path.display();
        match identify(&mut model, path.as_ref()) {
            Ok(Verdict { label, score, guess }) => {
                let guess = guess.map(|guess| format!(" ({guess}?)")).unwrap_or_default();
                writeln!(output, "{label:<16} {:5.1} %  {shown}{guess}", 100.0 * score)?;
            }
            Err(error) => {
                eprintln!("filetype: {shown}: {error}");
                all_read = false;
            }
        }
    }
    Ok(all_read)
}

fn identify(model: &mut magika::Model, path: &Path) -> io::Result<Verdict> {
    if path == "-" {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes)?;
        return identify_content(model, &mut Cursor::new(bytes));
    }
    // What is neither a file nor a directory, a pipe say, might block or have no end.
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        Ok(certain("directory"))
    } else if metadata.is_file() {
        identify_content(model, &mut fs::File::open(path)?)
    } else {
        Ok(certain("unknown"))
    }
}

fn identify_content(model: &mut magika::Model, file: &mut (impl Read + Seek)) -> io::Result<Verdict> {
    Ok(match features::read(file)? {
        Content::Empty => certain("empty"),
        Content::Few { is_text: true } => certain("txt"),
        Content::Few { is_text: false } => certain("unknown"),
        Content::Features(features) => {
            let scores: &[[f32; labels::COUNT]; 1] = model.run(&[*features]);
            labels::decide(&scores[0])
        }
    })
}

fn certain(label: &'static str) -> Verdict {
    Verdict {
        label,
        score: 1.0,
        guess: None,
    }
}
