//! A model with an operator that is written in Rust: how loud are the low frequencies of a tone?
//!
//! ```text
//! cargo run --release --example lowpass
//! ```

mod operators;

use onnxide::TensorView;

onnxide::include_model! {
    /// The frequencies of a signal below 1 kHz, and their level.
    pub mod lowpass = "models/lowpass.onnx", dims(channels <= 2, samples in 4..=16000), operators(
        "dsp::Biquad" => crate::operators::biquad:
            (f32[channels, n], coefficients: floats, step: int = 1) -> Result<f32[channels, n / step]>,
    );
}

/// Samples in a second.
const RATE: u16 = 16_000;

fn main() {
    let mut model = lowpass::Model::boxed();
    for frequency in [100, 500, 1000, 2000, 4000] {
        let level = level(&mut model, frequency);
        println!("{frequency:5} Hz: {:5.1} dB", 20.0 * (level * 2f32.sqrt()).log10());
    }
}

/// The level of a second of a tone after the filter.
fn level(model: &mut lowpass::Model, frequency: u16) -> f32 {
    let step = core::f32::consts::TAU * f32::from(frequency) / f32::from(RATE);
    let tone: Vec<f32> = (0..RATE).map(|n| (step * f32::from(n)).sin()).collect();
    let signal = TensorView::new([1, tone.len()], &tone).expect("one channel");
    let outputs = model.run(signal).expect("a second of one channel");
    outputs.level.data()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_tones_pass_and_high_ones_do_not() {
        let mut model = lowpass::Model::boxed();
        // A tone of amplitude 1 has the level 1 / sqrt(2), and the filter halves the power at its edge.
        let [low, edge, high] = [100, 1000, 5000].map(|frequency| level(&mut model, frequency) * 2f32.sqrt());
        assert!((low - 1.0).abs() < 0.01, "{low}");
        assert!((edge - 0.5f32.sqrt()).abs() < 0.01, "{edge}");
        assert!(high < 0.02, "{high}");
    }

    #[test]
    fn sizes_are_those_of_the_run() {
        let mut model = lowpass::Model::boxed();
        let signal = [1.0; 2 * 31];
        let outputs = model.run(TensorView::new([2, 31], &signal).unwrap()).unwrap();
        assert_eq!(outputs.low.shape(), [2, 31 / 4]);
        let (first, second) = outputs.low.data().split_at(31 / 4);
        assert_eq!(first, second);
    }
}
