//! What a generated module uses, in a crate that forbids unsafe code as generated modules do.
#![forbid(unsafe_code)]

use onnxide_runtime::arena::{Arena, Slot};
use onnxide_runtime::weights::{Weight, Weights};
use onnxide_runtime::{weights, weights_object};

onnxide_runtime::model! {
    /// A model.
    pub struct Model {
        arena: Arena<128>,
        started: bool,
    }
}

const FIRST: Weight<f32> = Weight::new(0, 2);
const SECOND: Weight<u8> = Weight::new(68, 3);

#[test]
fn weights_are_linked_by_either_road() {
    let included: Weights = weights!("weights.bin", 71);
    let linked: Weights = weights_object!(of_test, concat!(env!("CARGO_MANIFEST_DIR"), "/tests/weights.bin"), 71);
    for weights in [included, linked] {
        assert_eq!(weights.len(), 71);
        assert_eq!(weights.get(FIRST), [1.0, -2.5]);
        assert_eq!(weights.get(FIRST).as_ptr().addr() % 64, 0);
        assert_eq!(weights.get(SECOND), [7, 8, 9]);
    }
}

#[test]
#[should_panic = "a weight reaches out of its blob"]
fn a_weight_outside_is_refused() {
    weights!("weights.bin", 71).get(Weight::<u8>::new(71, 1));
}

#[test]
#[cfg(feature = "alloc")]
fn a_boxed_model_is_zeroed() {
    let mut model = Model::boxed();
    assert!(!model.started);
    assert!(
        model
            .arena
            .memory()
            .get(Slot::<u64>::new(0, 16))
            .iter()
            .all(|&word| word == 0)
    );
}

#[test]
fn a_model_can_be_static() {
    static MODEL: std::sync::Mutex<Model> = std::sync::Mutex::new(Model {
        arena: Arena::new(),
        started: true,
    });
    let mut model = MODEL.lock().unwrap();
    assert!(model.started);
    let mut memory = model.arena.memory();
    let (sum, operand) = memory.split(Slot::<f32>::new(0, 4), Slot::<f32>::new(64, 4));
    assert_eq!(sum, operand);
}
