//! The division of work among the calls of an executor.

use super::{Executor, MAX_PARTS};
use core::sync::atomic::{AtomicU32, Ordering};

const _: () = assert!(MAX_PARTS <= 32, "there is a bit for each part");

/// Calls `task` with every index below `parts`, once, whatever the executor does.
///
/// # Panics
///
/// If a call panics and the executor does not pass that on.
pub(super) fn fork(executor: &dyn Executor, parts: usize, task: &(dyn Fn(usize) + Sync)) {
    let all = u32::MAX >> (MAX_PARTS - parts);
    // The parts that a thread has begun, and those that are complete.
    let (begun, complete) = (AtomicU32::new(0), AtomicU32::new(0));
    let share = |thread: usize| {
        // The part of the thread's own number comes first, so that the same data stays in the same core's cache from
        // step to step; then any that nobody has begun, whose thread must have been held up.
        let mut next = thread;
        loop {
            // Only who sets a bit that was not set runs the part. That needs no more than the single order of changes
            // that any atomic has: what the part reads was written before the executor was called.
            if next < parts && begun.fetch_or(1 << next, Ordering::Relaxed) & 1 << next == 0 {
                task(next);
                // Everything that the part has written is written before its bit is seen.
                complete.fetch_or(1 << next, Ordering::Release);
            }
            let left = !begun.load(Ordering::Relaxed) & all;
            if left == 0 {
                return;
            }
            next = left.trailing_zeros() as usize;
        }
    };
    executor.run(parts, &share);
    // Executors may leave calls out, even all of them.
    share(0);
    // Pairs with `Release` above. An executor that joins its threads orders memory too, but nothing makes it do so.
    assert!(
        complete.load(Ordering::Acquire) == all,
        "a part of a step has panicked or goes on after its executor has returned"
    );
}
