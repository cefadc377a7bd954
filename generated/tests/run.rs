//! Every module gives the outputs of another engine, on every instruction set that the machine has.

use onnxide_generated::{bert_tiny, digits, magika};
use onnxide_runtime::isa::Level;
use onnxide_runtime::tensor::TensorView;
use std::fs::File;
use std::io::Read;

/// The arrays beside a model: `in:` and `out:` with the names of the model.
struct Reference(zip::ZipArchive<File>);

impl Reference {
    fn of(model: &str) -> Reference {
        let path = format!("{}/../models/{model}.npz", env!("CARGO_MANIFEST_DIR"));
        Reference(zip::ZipArchive::new(File::open(path).unwrap()).unwrap())
    }

    /// The elements of an array, each from `N` little-endian bytes of the given NumPy type.
    fn elements<T, const N: usize>(&mut self, name: &str, dtype: &str, element: fn([u8; N]) -> T) -> Vec<T> {
        let mut bytes = Vec::new();
        let mut file = self.0.by_name(&format!("{name}.npy")).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes[..8], *b"\x93NUMPY\x01\x00");
        let (header, data) = bytes[10..].split_at(usize::from(u16::from_le_bytes([bytes[8], bytes[9]])));
        let header = str::from_utf8(header).unwrap();
        assert!(
            header.contains(&format!("'descr': '{dtype}', 'fortran_order': False")),
            "{header}"
        );
        let (elements, rest) = data.as_chunks();
        assert!(rest.is_empty());
        elements.iter().copied().map(element).collect()
    }

    fn floats(&mut self, name: &str) -> Vec<f32> {
        self.elements(name, "<f4", f32::from_le_bytes)
    }
}

fn available_levels() -> impl Iterator<Item = Level> {
    Level::ALL.into_iter().filter(|level| level.is_available())
}

fn assert_close(actual: &[f32], expected: &[f32], tolerance: f32, level: Level) {
    assert_eq!(actual.len(), expected.len());
    for (index, (a, b)) in actual.iter().zip(expected).enumerate() {
        // Written so that NaN fails.
        let close = (a - b).abs() <= tolerance * b.abs().max(1.0);
        assert!(close, "element {index} is {a} instead of {b} on {}", level.name());
    }
}

#[test]
fn digits_gives_the_reference() {
    let mut reference = Reference::of("digits_cnn_fp32");
    let (images, logits) = (reference.floats("in:image"), reference.floats("out:logits"));
    let mut model = digits::Model::boxed();
    for level in available_levels() {
        model.set_isa(level);
        for (image, logits) in images.chunks(64).zip(logits.chunks(10)) {
            let mut pixels = [[[[0.0; 8]; 8]; 1]; 1];
            pixels
                .as_flattened_mut()
                .as_flattened_mut()
                .as_flattened_mut()
                .copy_from_slice(image);
            assert_close(&model.run(&pixels)[0], logits, 1e-5, level);
        }
    }
}

#[test]
fn magika_gives_the_reference() {
    let mut reference = Reference::of("magika_v3_3");
    let bytes = reference.elements("in:bytes", "<i4", i32::from_le_bytes);
    let scores = reference.floats("out:target_label");
    let bytes: &[[i32; 2048]; 1] = bytes.as_chunks().0.try_into().unwrap();
    let mut model = magika::Model::boxed();
    for level in available_levels() {
        model.set_isa(level);
        assert_close(&model.run(bytes)[0], &scores, 1e-5, level);
    }
}

#[test]
fn bert_tiny_gives_the_reference_at_any_size() {
    let mut reference = Reference::of("bert_tiny_dyn");
    let [ids, mask, types] = ["in:input_ids", "in:attention_mask", "in:token_type_ids"]
        .map(|name| reference.elements(name, "<i8", i64::from_le_bytes));
    let (states, pooled) = (
        reference.floats("out:last_hidden_state"),
        reference.floats("out:pooler_output"),
    );
    let length = ids.len();
    let mut model = bert_tiny::Model::boxed();
    for level in available_levels() {
        model.set_isa(level);
        // Sequences of a batch do not see each other, and none sees the padding behind it.
        for (batch, padding) in [(1, 0), (4, 0), (2, 48), (3, 5)] {
            let padded = |values: &[i64], pad: i64| -> Vec<i64> {
                let row: Vec<i64> = values.iter().copied().chain(vec![pad; padding]).collect();
                row.repeat(batch)
            };
            let (ids, mask, types) = (padded(&ids, 999), padded(&mask, 0), padded(&types, 1));
            let view = |data| TensorView::new([batch, length + padding], data).unwrap();
            let outputs = model.run(view(&ids), view(&mask), view(&types)).unwrap();
            assert_eq!(outputs.last_hidden_state.shape(), [batch, length + padding, 128]);
            assert_eq!(outputs.pooler_output.shape(), [batch, 128]);
            for row in outputs.last_hidden_state.data().chunks((length + padding) * 128) {
                assert_close(&row[..length * 128], &states, 2e-5, level);
            }
            for row in outputs.pooler_output.data().chunks(128) {
                assert_close(row, &pooled, 2e-5, level);
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let mut model = bert_tiny::Model::boxed();
    let (ids, long) = ([3i64; 8], [0i64; 65]);
    let mut error = |shape: [usize; 2], ids: &[i64], mask: [usize; 2]| {
        let types = [0i64; 65];
        let view = |shape, data| TensorView::new(shape, data).unwrap();
        let result = model.run(
            view(shape, ids),
            view(mask, &types[..mask[0] * mask[1]]),
            view(shape, &types[..ids.len()]),
        );
        result.err().unwrap().to_string()
    };
    assert_eq!(
        error([1, 65], &long, [1, 65]),
        "axis 1 of input `input_ids` gives `sequence` the size 65, but the module was compiled for 1 to 64: pass at most \
         64, or compile the model with a higher bound for `sequence`"
    );
    assert_eq!(
        error([2, 4], &ids, [4, 2]),
        "`batch` is 2 at axis 0 of input `input_ids`, but 4 at axis 0 of input `attention_mask`: make the sizes equal"
    );
    assert_eq!(
        error([2, 4], &[3, 3, 3, 1000, 3, 3, 3, 3], [2, 4]),
        "an index at node `/m/embeddings/word_embeddings/Gather` is outside of the axis that it selects from: check the \
         inputs that hold indices, such as token numbers"
    );
}
