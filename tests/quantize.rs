//! A network in floats that is quantized while it is compiled.

onnxide::include_model! {
    /// In floats.
    pub mod digits = "models/digits_cnn_fp32.onnx", dims(batch = 1);
    /// In bytes.
    pub mod bytes = "models/digits_cnn_fp32.onnx", dims(batch = 1),
        quantize(int8, calibration = "models/digits_calibration.npz");
    /// In bytes but for what does the most harm.
    pub mod careful = "models/digits_cnn_fp32.onnx", dims(batch = 1),
        quantize(int8, calibration = "models/digits_calibration.npz", observer = min_max, max_drift = 0.003);
    /// With a scale for each row.
    pub mod rows = "models/digits_cnn_fp32.onnx", dims(batch = 1), quantize(int8 dynamic);
    /// In bytes, with channels of about the same size.
    pub mod equal = "models/digits_cnn_fp32.onnx", dims(batch = 1),
        quantize(int8, calibration = "models/digits_calibration.npz", smooth = 0.5, equalize);
    /// With weights of 4 bits.
    pub mod small = "models/digits_cnn_fp32.onnx", dims(batch = 1), quantize(int4, block = 16);
    /// With weights of 4 bits that suit the samples.
    pub mod suited = "models/digits_cnn_fp32.onnx", dims(batch = 1),
        quantize(int4, block = 16, calibration = "models/digits_calibration.npz");
    /// With weights of 8 bits.
    pub mod weights = "models/digits_cnn_fp32.onnx", dims(batch = 1), quantize(int8 weights);
}

type Image = [[[[f32; 8]; 8]; 1]; 1];
type Scores = [[f32; 10]; 1];

/// The digits that the scales were not chosen from, and what they are.
fn digits_to_read() -> Vec<(Image, usize)> {
    let (records, rest): (&[[u8; 65]], _) = include_bytes!("../models/digits_test.bin").as_chunks();
    assert!(rest.is_empty());
    let image = |record: &[u8; 65]| {
        let pixel = |row: usize, column: usize| f32::from(record[row * 8 + column]) / 16.0;
        let rows = std::array::from_fn(|row| std::array::from_fn(|column| pixel(row, column)));
        ([[rows]], usize::from(record[64]))
    };
    records[64..].iter().map(image).collect()
}

fn best(scores: &Scores) -> usize {
    let scores = scores[0].iter().enumerate();
    scores.max_by(|a, b| a.1.total_cmp(b.1)).expect("ten scores").0
}

/// The root of the ratio of the squares of differences to those of the scores, and the digits that are read right.
fn quality(run: &mut dyn FnMut(&Image) -> Scores) -> (f64, usize) {
    let mut float = digits::Model::new();
    let (mut signal, mut noise, mut right) = (0.0, 0.0, 0);
    for (image, digit) in digits_to_read() {
        let (expected, found) = (*float.run(&image), run(&image));
        for (a, b) in found[0].iter().zip(&expected[0]) {
            signal += f64::from(*b).powi(2);
            noise += f64::from(a - b).powi(2);
        }
        right += usize::from(best(&found) == digit);
    }
    ((noise / signal).sqrt(), right)
}

#[test]
fn digits_are_read_from_bytes_as_from_floats() {
    let mut float = digits::Model::new();
    let (none, all) = quality(&mut |image| *float.run(image));
    assert_eq!(none, 0.0);
    let mut model = bytes::Model::new();
    let (drift, right) = quality(&mut |image| *model.run(image));
    // 0.5 % of the digits are two of 386.
    assert!(right + 2 >= all, "{right} of {all}");
    assert!(drift > 0.0 && drift < 0.02, "{drift}");
    let mut model = careful::Model::new();
    let (careful, right) = quality(&mut |image| *model.run(image));
    assert!(right + 2 >= all, "{right} of {all}");
    // The bound is met on the samples; these digits are others.
    assert!(careful > 0.0 && careful < 0.0045 && careful < drift, "{careful}");
    let mut model = rows::Model::new();
    let (rows, right) = quality(&mut |image| *model.run(image));
    assert!(right + 2 >= all, "{right} of {all}");
    assert!(rows > 0.0 && rows < 0.02, "{rows}");
}

#[test]
fn digits_are_read_with_channels_of_the_same_size() {
    let mut float = digits::Model::new();
    let (_, all) = quality(&mut |image| *float.run(image));
    let mut model = equal::Model::new();
    let (drift, right) = quality(&mut |image| *model.run(image));
    assert!(right + 2 >= all, "{right} of {all}");
    assert!(drift > 0.0 && drift < 0.02, "{drift}");
}

#[test]
fn digits_are_read_with_weights_of_few_bits() {
    let mut float = digits::Model::new();
    let (_, all) = quality(&mut |image| *float.run(image));
    let mut model = small::Model::new();
    let (small, right) = quality(&mut |image| *model.run(image));
    assert!(right + 2 >= all, "{right} of {all}");
    // Half of a fifteenth of the range is an error of 7 % of the weights on average.
    assert!(small > 0.0 && small < 0.07, "{small}");
    let mut model = suited::Model::new();
    let (suited, right) = quality(&mut |image| *model.run(image));
    assert!(right + 2 >= all, "{right} of {all}");
    // These digits are not those of the samples.
    assert!(suited > 0.0 && suited < small, "{suited} and {small}");
    let mut model = weights::Model::new();
    let (bytes, right) = quality(&mut |image| *model.run(image));
    assert_eq!(right, all);
    assert!(bytes > 0.0 && bytes < 0.005, "{bytes}");
    assert!(small::WEIGHTS.len() < weights::WEIGHTS.len() && weights::WEIGHTS.len() < digits::WEIGHTS.len());
}

#[test]
fn weights_are_a_quarter() {
    assert!(bytes::WEIGHTS.len() * 3 < digits::WEIGHTS.len());
}
