//! Models run without a heap, and without an operating system.

use onnxide_generated::{bert_tiny, digits, magika};
use onnxide_runtime::tensor::TensorView;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::process::Command;

thread_local! {
    static FORBIDDEN: Cell<bool> = const { Cell::new(false) };
}

/// The system's allocator, except that it refuses while a model runs.
struct Refusing;

// SAFETY: every call is passed on to the system's allocator as it is, or does not return.
unsafe impl GlobalAlloc for Refusing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if FORBIDDEN.get() {
            FORBIDDEN.set(false);
            panic!("{} bytes were allocated while a model ran", layout.size());
        }
        // SAFETY: as of the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as of the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Refusing = Refusing;

fn without_heap<R>(f: impl FnOnce() -> R) -> R {
    FORBIDDEN.set(true);
    let result = f();
    FORBIDDEN.set(false);
    result
}

#[test]
fn the_allocator_does_refuse() {
    let caught = std::panic::catch_unwind(|| without_heap(|| Box::new(std::hint::black_box(1))));
    FORBIDDEN.set(false);
    assert!(caught.is_err());
}

#[test]
fn a_static_model_runs_without_a_heap() {
    let mut model = digits::Model::boxed();
    let scores = without_heap(|| *model.run(&[[[[0.5; 8]; 8]]]));
    assert!(scores[0].iter().all(|score| score.is_finite()));
    let mut model = magika::Model::boxed();
    let scores = without_heap(|| *model.run(&[[7; 2048]]));
    let sum: f32 = scores[0].iter().sum();
    assert!((sum - 1.0).abs() < 1e-4, "{sum}");
}

#[test]
fn a_dynamic_model_runs_without_a_heap() {
    let mut model = bert_tiny::Model::boxed();
    let (ids, ones, zeros) = ([3i64; 2 * 5], [1i64; 2 * 5], [0i64; 2 * 5]);
    let shape = without_heap(|| {
        let view = |data| TensorView::new([2, 5], data).unwrap();
        let outputs = model.run(view(&ids), view(&ones), view(&zeros)).unwrap();
        outputs.last_hidden_state.shape()
    });
    assert_eq!(shape, [2, 5, 128]);
}

#[test]
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn a_model_runs_in_a_freestanding_program() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/freestanding");
    let target = concat!(env!("CARGO_TARGET_TMPDIR"), "/freestanding");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "--offline", "--locked"])
        .arg("--manifest-path")
        .arg(format!("{folder}/Cargo.toml"))
        .arg("--target-dir")
        .arg(target)
        .status()
        .unwrap();
    assert!(built.success());
    let status = Command::new(format!("{target}/release/freestanding")).status().unwrap();
    assert_eq!(status.code(), Some(3), "the digit three");
}
