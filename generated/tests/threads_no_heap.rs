//! Threads that have started divide the work of a model without a heap.

use onnxide_generated::bert_tiny_threads;
use onnxide_runtime::team::Pool;
use onnxide_runtime::tensor::TensorView;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, which counts what all threads allocate.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as of the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as of the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The only test of this program, as others would allocate meanwhile.
#[test]
fn a_run_allocates_nothing() {
    let (ids, ones, zeros) = ([3i64; 4 * 64], [1i64; 4 * 64], [0i64; 4 * 64]);
    let view = |data| TensorView::new([4, 64], data).unwrap();
    let mut model = bert_tiny_threads::Model::boxed();
    let pool = Pool::new(2);
    let mut counts = Vec::with_capacity(3);
    for _ in 0..3 {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        model.run_on(&pool, view(&ids), view(&ones), view(&zeros)).unwrap();
        counts.push(ALLOCATIONS.load(Ordering::Relaxed) - before);
    }
    assert!(counts[0] > 0, "threads start in the first run");
    // A thread may still be about to start its work while the first run is over.
    assert_eq!(counts[2], 0, "{counts:?}");
}
