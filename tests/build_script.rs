//! A model that the build script compiled.
#![allow(missing_docs, unreachable_pub)]

use onnxide::{RunError, TensorView};

#[forbid(unsafe_code)]
pub mod bert_tiny {
    use onnxide::runtime as onnxide_runtime;

    include!(concat!(env!("OUT_DIR"), "/bert_tiny.rs"));
}

#[path = "../examples/lowpass/operators.rs"]
mod operators;

#[forbid(unsafe_code)]
pub mod lowpass {
    use onnxide::runtime as onnxide_runtime;

    include!(concat!(env!("OUT_DIR"), "/lowpass.rs"));
}

#[test]
fn an_operator_is_a_function_of_the_package() {
    let mut model = lowpass::Model::new();
    let mut signal = [[0.0; 16]];
    signal[0][0] = 1.0;
    let outputs = model.run(&signal).unwrap();
    let low: &[[f32; 4]; 1] = outputs.low;
    // The response of the filter to an impulse, every fourth sample of it.
    let mut expected = [[0.0; 4]];
    let view = onnxide::TensorViewMut::new([1, 4], expected.as_flattened_mut()).unwrap();
    let coefficients = [0.029_954_5, 0.059_909_1, 0.029_954_5, -1.454_243_5, 0.574_061_6];
    operators::biquad(
        TensorView::new([1, 16], signal.as_flattened()).unwrap(),
        &coefficients,
        4,
        view,
    )
    .unwrap();
    for (a, b) in low.as_flattened().iter().zip(expected.as_flattened()) {
        assert!((a - b).abs() < 1e-5, "{low:?} and {expected:?}");
    }
}

fn view(shape: [usize; 2], data: &[i64]) -> TensorView<'_, i64, 2> {
    TensorView::new(shape, data).expect("as many values as the shape needs")
}

#[test]
fn sizes_are_those_of_the_inputs() {
    let mut model = bert_tiny::Model::boxed();
    let (ids, ones, zeros) = ([7; 12], [1; 12], [0; 12]);
    for shape in [[1, 12], [3, 4], [4, 3]] {
        let outputs = model
            .run(view(shape, &ids), view(shape, &ones), view(shape, &zeros))
            .unwrap();
        assert_eq!(outputs.last_hidden_state.shape(), [shape[0], shape[1], 128]);
        assert_eq!(outputs.pooler_output.shape(), [shape[0], 128]);
        assert!(outputs.pooler_output.data().iter().all(|value| value.abs() <= 1.0));
    }
}

#[test]
fn sequences_in_a_batch_do_not_depend_on_each_other() {
    let mut model = bert_tiny::Model::boxed();
    let ids: Vec<i64> = (0..24).map(|i| i * 37 % 1000).collect();
    let (ones, zeros) = ([1; 24], [0; 24]);
    let together = model
        .run(view([3, 8], &ids), view([3, 8], &ones), view([3, 8], &zeros))
        .unwrap();
    let together = together.last_hidden_state.data().to_vec();
    for sequence in 0..3 {
        let ids = &ids[sequence * 8..][..8];
        let alone = model
            .run(view([1, 8], ids), view([1, 8], &ones[..8]), view([1, 8], &zeros[..8]))
            .unwrap();
        let expected = &together[sequence * 8 * 128..][..8 * 128];
        for (a, b) in alone.last_hidden_state.data().iter().zip(expected) {
            assert!((a - b).abs() < 1e-5, "{a} and {b}");
        }
    }
}

#[test]
fn sizes_that_do_not_fit_are_errors() {
    let mut model = bert_tiny::Model::boxed();
    let (ids, ones) = ([7; 40], [1; 40]);
    let mut error = |a: [usize; 2], b: [usize; 2]| -> RunError {
        let (x, y) = (view(a, &ids[..a[0] * a[1]]), view(b, &ones[..b[0] * b[1]]));
        model.run(x, y, y).map(|_| ()).unwrap_err()
    };
    insta::assert_snapshot!(error([1, 40], [1, 40]), @"axis 1 of input `input_ids` gives `sequence` the size 40, but the module was compiled for 1 to 32: pass at most 32, or compile the model with a higher bound for `sequence`");
    insta::assert_snapshot!(error([1, 4], [1, 5]), @"`sequence` is 4 at axis 1 of input `input_ids`, but 5 at axis 1 of input `attention_mask`: make the sizes equal");
    let mut model = bert_tiny::Model::boxed();
    let shape = [1, 1];
    let error = model
        .run(view(shape, &[1000]), view(shape, &[1]), view(shape, &[0]))
        .map(|_| ())
        .unwrap_err();
    insta::assert_snapshot!(error, @"an index at node `/m/embeddings/word_embeddings/Gather` is outside of the axis that it selects from: check the inputs that hold indices, such as token numbers");
    insta::assert_snapshot!(TensorView::new([2, 3], &[0f32; 5]).unwrap_err(), @"the data has 5 elements, but its shape has 6: pass as many elements as the product of the shape");
}
