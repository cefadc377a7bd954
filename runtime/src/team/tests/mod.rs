//! Executors, and every kernel divided over them.

mod images;
mod kernels;

use super::*;
use crate::isa::Scalar;
use crate::kernels::map::Elementwise;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::vec::Vec;

/// One thread for each call.
pub(crate) struct Scoped;

impl Executor for Scoped {
    fn run(&self, threads: usize, task: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|scope| {
            for thread in 1..threads {
                scope.spawn(move || task(thread));
            }
            task(0);
        });
    }
}

/// Calls with one number, over and over.
struct Stubborn;

impl Executor for Stubborn {
    fn run(&self, threads: usize, task: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|scope| {
            for _ in 0..2 * threads {
                scope.spawn(|| task(1));
            }
        });
    }
}

/// Does nothing.
struct Idle;

impl Executor for Idle {
    fn run(&self, _threads: usize, _task: &(dyn Fn(usize) + Sync)) {}
}

/// Keeps panics to itself.
struct Deaf;

impl Executor for Deaf {
    fn run(&self, threads: usize, task: &(dyn Fn(usize) + Sync)) {
        for thread in 0..threads {
            let _ = catch_unwind(AssertUnwindSafe(|| task(thread)));
        }
    }
}

fn executors() -> Vec<(&'static str, Box<dyn Executor>)> {
    vec![
        ("caller", Box::new(Caller)),
        ("scoped", Box::new(Scoped)),
        ("stubborn", Box::new(Stubborn)),
        ("idle", Box::new(Idle)),
        ("deaf", Box::new(Deaf)),
        #[cfg(feature = "std")]
        ("pool", Box::new(Pool::new(3))),
    ]
}

#[test]
fn every_part_runs_once_whatever_the_executor_does() {
    for (name, executor) in executors() {
        for parts in [1, 2, 3, 7, MAX_PARTS] {
            let counts = [const { AtomicUsize::new(0) }; MAX_PARTS];
            let team = Team::new(Scalar, &*executor).parts(parts);
            team.each(0..parts, |index, piece| {
                assert_eq!(index, piece);
                counts[piece].fetch_add(1, Ordering::Relaxed);
            });
            for (part, count) in counts.iter().enumerate() {
                let expected = usize::from(part < parts);
                assert_eq!(
                    count.load(Ordering::Relaxed),
                    expected,
                    "{name}: part {part} of {parts}"
                );
            }
        }
    }
}

#[test]
fn a_panic_of_a_part_reaches_the_caller() {
    for (name, executor) in executors() {
        for bad in 0..3 {
            let team = Team::new(Scalar, &*executor).parts(3);
            let result = catch_unwind(AssertUnwindSafe(|| {
                team.each(0..3, |index, _| assert!(index != bad, "part {bad} fails"));
            }));
            assert!(result.is_err(), "{name}: part {bad}");
            // The executor is as good as before.
            let mut values = [1.0; 2000];
            team.update(&mut values, [2000], (), |value, ()| value + 1.0);
            assert_eq!(values, [2.0; 2000], "{name}");
        }
    }
}

#[test]
fn a_team_divides_into_no_more_parts_than_there_are() {
    let team = Team::new(Scalar, &Caller);
    assert_eq!((team.count(9), team.share(9)), (1, 9));
    let team = team.parts(4);
    assert_eq!((team.count(9), team.share(9)), (4, 3));
    assert_eq!((team.count(2), team.share(2)), (2, 1));
    assert_eq!((team.count(0), team.share(0)), (1, 1));
    assert_eq!(team.parts(0).count(9), 1);
    assert_eq!(team.parts(1000).count(1000), MAX_PARTS);
}

#[cfg(feature = "std")]
mod pools {
    use super::*;
    use std::sync::{Barrier, Mutex};
    use std::thread;
    use std::time::{Duration, Instant};

    #[test]
    fn threads_work_at_the_same_time() {
        let pool = Pool::new(3);
        // Each call waits for the others.
        let barrier = Barrier::new(3);
        for _ in 0..100 {
            Team::new(Scalar, &pool).parts(3).each(0..3, |_, _| {
                barrier.wait();
            });
        }
    }

    #[test]
    fn threads_that_sleep_wake_up() {
        let pool = Pool::new(2);
        let barrier = Barrier::new(2);
        for _ in 0..20 {
            thread::sleep(Duration::from_millis(2));
            Team::new(Scalar, &pool).parts(2).each(0..2, |_, _| {
                barrier.wait();
            });
        }
    }

    #[test]
    fn a_part_whose_thread_is_held_up_is_done_by_another() {
        let pool = Pool::new(2);
        let done = Mutex::new(Vec::new());
        Team::new(Scalar, &pool)
            .parts(5)
            .each(0..5, |_, part| done.lock().unwrap().push(part));
        let mut done = done.into_inner().unwrap();
        done.sort_unstable();
        assert_eq!(done, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn many_callers_share_a_pool() {
        let pool = Pool::new(2);
        thread::scope(|scope| {
            for caller in 0..4 {
                let pool = &pool;
                scope.spawn(move || {
                    let mut values = [caller as f32; 600];
                    for _ in 0..500 {
                        Team::new(Scalar, pool)
                            .parts(2)
                            .update(&mut values, [600], (), |value, ()| value + 1.0);
                    }
                    assert_eq!(values, [caller as f32 + 500.0; 600]);
                });
            }
        });
    }

    #[test]
    fn a_part_may_use_the_pool_that_it_runs_on() {
        let pool = Pool::new(2);
        let total = AtomicUsize::new(0);
        let team = Team::new(Scalar, &pool).parts(2);
        for _ in 0..100 {
            team.each(0..2, |_, _| {
                team.each(0..2, |_, _| {
                    total.fetch_add(1, Ordering::Relaxed);
                });
            });
        }
        assert_eq!(total.into_inner(), 400);
    }

    #[test]
    fn pools_end() {
        for threads in [0, 1, 2, 5, 1000] {
            // One that never started, and one that has.
            drop(Pool::new(threads));
            let pool = Pool::new(threads);
            Team::new(Scalar, &pool).parts(2).each(0..2, |_, _| {});
            drop(pool);
        }
    }

    #[test]
    fn threads_without_work_sleep() {
        let pool = Pool::new(2);
        let barrier = Barrier::new(2);
        Team::new(Scalar, &pool).parts(2).each(0..2, |_, _| {
            barrier.wait();
        });
        let deadline = Instant::now() + Duration::from_secs(60);
        while pool.awake() > 0 {
            assert!(Instant::now() < deadline, "a thread goes on looking for work");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn the_process_has_a_pool() {
        let counted = AtomicUsize::new(0);
        Team::new(Scalar, process()).parts(2).each(0..2, |_, _| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(counted.into_inner(), 2);
    }
}

#[test]
fn every_chunk_is_computed_once_whatever_the_parts() {
    for (count, len, elements) in [(1, 4, 4), (5, 3, 15), (8, 2, 15), (3, 4, 20), (0, 3, 6), (2, 0, 0)] {
        for parts in 1..5 {
            let team = Team::new(Scalar, &Scoped).parts(parts);
            let (mut out, mut scratch) = (vec![0; elements], vec![0.0; 8]);
            team.chunks(count, &mut out, len, &mut scratch, |_, number, out, scratch| {
                assert!(scratch.len() >= 8 / parts);
                scratch.fill(number as f32);
                out.iter_mut().for_each(|value| *value += 1 + number);
            });
            let expected: Vec<usize> = (0..elements)
                .map(|index| if index < count * len { 1 + index / len.max(1) } else { 0 })
                .collect();
            assert_eq!(out, expected, "{count} chunks of {len} in {parts} parts");
        }
    }
}
