//! Reads 450 handwritten digits that the network was not trained on, and says how many it got right.
//!
//! ```text
//! cargo run --release --example digits
//! ```

use std::array;

onnxide::include_model! {
    /// Scores of the ten digits for an image of 8 by 8 pixels.
    pub mod digits = "models/digits_cnn_fp32.onnx", dims(batch = 1);
}

const SIDE: usize = 8;
const PIXELS: usize = SIDE * SIDE;

/// An image and what it shows: 64 bytes, row by row, from 0 for paper to 16 for ink, then the digit.
type Record = [u8; PIXELS + 1];

static TEST_SET: &[u8] = include_bytes!("../models/digits_test.bin");

fn main() {
    let (records, rest): (&[Record], _) = TEST_SET.as_chunks();
    assert!(rest.is_empty(), "the test set ends within a record");

    let mut model = digits::Model::new();
    let mut correct = 0;
    let mut mistakes = Vec::new();
    for record in records {
        let image = array::from_fn(|row| array::from_fn(|column| f32::from(record[row * SIDE + column]) / 16.0));
        let scores: &[[f32; 10]; 1] = model.run(&[[image]]);
        let prediction = digit_of(&scores[0]);
        if prediction == usize::from(record[PIXELS]) {
            correct += 1;
        } else {
            mistakes.push((record, prediction));
        }
    }

    for (record, prediction) in &mistakes {
        println!(
            "a {} that looks like a {prediction}:\n{}",
            record[PIXELS],
            drawing(record)
        );
    }
    // In thousandths: printing floating-point numbers would add 15 KB to a program that is small otherwise.
    let accuracy = 1000 * correct / records.len();
    println!(
        "{correct} of {} digits right: {}.{} %",
        records.len(),
        accuracy / 10,
        accuracy % 10
    );
}

/// The digit with the highest score.
fn digit_of(scores: &[f32; 10]) -> usize {
    (1..scores.len()).fold(0, |best, digit| if scores[digit] > scores[best] { digit } else { best })
}

fn drawing(record: &Record) -> String {
    const SHADES: [&str; 5] = ["  ", "..", "++", "##", "@@"];
    let mut text = String::new();
    for row in record[..PIXELS].chunks_exact(SIDE) {
        text.push_str("    ");
        text.extend(row.iter().map(|&ink| SHADES[usize::from(ink) / 4]));
        text.push('\n');
    }
    text
}
