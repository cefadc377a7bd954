//! Says how close sentences are in meaning, with the sentence embeddings of all-MiniLM-L6-v2.
//!
//! ```text
//! scripts/fetch_minilm.sh
//! cargo run --release --example similarity --features similarity "A man plays a guitar." "Someone makes music."
//! ```

mod tokenizer;

use std::error::Error;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::{array, env};

use onnxide::TensorView;
use tokenizer::Tokenizer;

onnxide::include_model! {
    /// Vectors for the tokens of a sentence.
    pub mod minilm = "models/fetched/minilm.onnx", dims(batch = 1, sequence <= 128);
}

const VOCABULARY: &str = include_str!("../../models/fetched/minilm_vocab.txt");

/// Most tokens of a sentence; what is behind them is cut off.
const LONGEST: usize = 128;

const USAGE: &str = "\
Says how close the first sentence is to each of the others in meaning.

Usage: similarity SENTENCE SENTENCE...

Prints the cosine of the angle between the embeddings: 1 for the same meaning, about 0 for unrelated ones.";

/// The model with its memory, which would be large for a stack.
static MODEL: Mutex<minilm::Model> = Mutex::new(minilm::Model::new());

fn main() -> ExitCode {
    let sentences: Vec<String> = env::args().skip(1).collect();
    if sentences
        .iter()
        .any(|argument| argument == "-h" || argument == "--help")
    {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let [first, others @ ..] = sentences.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if others.is_empty() {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    match compare(first, others) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("similarity: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(first: &str, others: &[String]) -> Result<(), Box<dyn Error>> {
    let tokenizer = Tokenizer::new(VOCABULARY);
    let first = embed(&tokenizer, first)?;
    for other in others {
        let embedding = embed(&tokenizer, other)?;
        let cosine: f32 = first.iter().zip(&embedding).map(|(a, b)| a * b).sum();
        println!("{cosine:6.3}  {other}");
    }
    Ok(())
}

const HIDDEN: usize = 384;

/// The mean of the vectors of all tokens, of length one.
fn embed(tokenizer: &Tokenizer, sentence: &str) -> Result<[f32; HIDDEN], Box<dyn Error>> {
    let ids = tokenizer.encode(sentence, LONGEST);
    // There is no padding to mask in a batch of one, and no second sentence.
    let mask = vec![1; ids.len()];
    let types = vec![0; ids.len()];
    let shape = [1, ids.len()];

    let mut model = MODEL.lock().unwrap_or_else(PoisonError::into_inner);
    let vectors = model.run(
        TensorView::new(shape, &ids)?,
        TensorView::new(shape, &mask)?,
        TensorView::new(shape, &types)?,
    )?;
    let (tokens, _): (&[[f32; HIDDEN]], _) = vectors.data().as_chunks();
    let mean: [f32; HIDDEN] =
        array::from_fn(|index| tokens.iter().map(|token| token[index]).sum::<f32>() / tokens.len() as f32);
    let length = mean.iter().map(|value| value * value).sum::<f32>().sqrt();
    Ok(mean.map(|value| value / length))
}
