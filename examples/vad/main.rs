//! Prints where somebody speaks in a 16 kHz mono WAV file, with Silero VAD.
//!
//! ```text
//! cargo run --release --example vad [FILE.wav]
//! ```
//!
//! The model is recurrent: it looks at 32 ms at a time and carries its state from one run to the next, as it would at
//! a microphone.

mod segments;

use std::error::Error;
use std::io::{BufReader, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs};

use segments::{SAMPLE_RATE, Segment, Segmenter, WINDOW};

onnxide::include_model! {
    /// Probability that there is speech in 32 ms of sound at 16 kHz.
    pub mod silero = "models/silero_vad_openvino_16k.onnx";
}

/// Samples before the window that the model sees once more.
const CONTEXT: usize = 64;

const USAGE: &str = "\
Prints the segments of speech in a 16 kHz mono WAV file.

Usage: vad [FILE.wav]

Without a file it takes the recording that comes with the example.";

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let path = match arguments.next() {
        Some(argument) if argument == "-h" || argument == "--help" => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Some(argument) => PathBuf::from(argument),
        None => PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/assets/speech.wav")),
    };
    if arguments.next().is_some() {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    let result = fs::File::open(&path)
        .map_err(Into::into)
        .and_then(|file| detect(BufReader::new(file)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vad: {}: {error}", path.display());
            ExitCode::FAILURE
        }
    }
}

/// Runs the model over the sound in `file` window by window, and prints each segment as soon as it is over.
fn detect(file: impl Read) -> Result<(), Box<dyn Error>> {
    let mut samples = samples(file)?;
    let mut model = silero::Model::new();
    let mut input = [[0.0; CONTEXT + WINDOW]];
    let mut state = [[[0.0; 128]; 1]; 2];
    let mut segmenter = Segmenter::default();
    let mut total = 0;
    loop {
        let mut filled = 0;
        for (slot, sample) in input[0][CONTEXT..].iter_mut().zip(&mut samples) {
            *slot = sample?;
            filled += 1;
        }
        if filled == 0 {
            break;
        }
        total += filled as u64;
        input[0][CONTEXT + filled..].fill(0.0);

        let outputs = model.run(&input, &state);
        let probability = outputs.output[0][0];
        state = *outputs.state_n;
        input[0].copy_within(WINDOW.., 0);

        if let Some(segment) = segmenter.push(probability) {
            print(segment);
        }
    }
    if let Some(segment) = segmenter.finish(total) {
        print(segment);
    }
    Ok(())
}

fn print(segment: Segment) {
    let seconds = |sample: u64| sample as f64 / f64::from(SAMPLE_RATE);
    println!("{:9.3} s - {:9.3} s", seconds(segment.start), seconds(segment.end));
}

type Samples<'file> = Box<dyn Iterator<Item = hound::Result<f32>> + 'file>;

/// The samples of a WAV file, scaled to the range from -1 to 1.
///
/// # Errors
///
/// The file is no WAV file, or it is not 16 kHz mono. The iterator reports what is wrong later on.
fn samples<'file>(file: impl Read + 'file) -> Result<Samples<'file>, Box<dyn Error>> {
    let reader = hound::WavReader::new(file)?;
    let spec = reader.spec();
    if spec.sample_rate != SAMPLE_RATE || spec.channels != 1 {
        let (rate, channels) = (spec.sample_rate, spec.channels);
        return Err(format!("{rate} Hz and {channels} channel(s), but the model takes {SAMPLE_RATE} Hz mono").into());
    }
    Ok(match spec.sample_format {
        hound::SampleFormat::Float => Box::new(reader.into_samples::<f32>()),
        hound::SampleFormat::Int => {
            let scale = 2.0_f32.powi(1 - i32::from(spec.bits_per_sample));
            Box::new(
                reader
                    .into_samples::<i32>()
                    .map(move |sample| Ok(sample? as f32 * scale)),
            )
        }
    })
}
