//! Work on many cases at once, none of which can end the others.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once};
use std::thread;

/// The stack of a thread, in bytes. Graphs nest.
const STACK: usize = 64 << 20;

thread_local! {
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The results of a function for each item, in order; a panic becomes an `Err` that says where it was.
///
/// # Panics
///
/// If a thread cannot be started.
pub fn map<T: Sync, R: Send>(items: &[T], f: impl Fn(&T) -> R + Sync) -> Vec<Result<R, String>> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        panic::set_hook(Box::new(|info| {
            let place = info
                .location()
                .map(|place| format!("{}:{}", place.file(), place.line()));
            PLACE.set(place);
        }));
    });
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    let work = || {
        while let Some((index, item)) = take(items, &next) {
            let result = panic::catch_unwind(AssertUnwindSafe(|| f(item))).map_err(|payload| describe(&*payload));
            results
                .lock()
                .expect("no thread panics with the lock")
                .push((index, result));
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, Into::into) {
            thread::Builder::new()
                .stack_size(STACK)
                .spawn_scoped(scope, work)
                .expect("a thread can be started");
        }
    });
    let mut results = results.into_inner().expect("no thread panics with the lock");
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

fn take<'a, T>(items: &'a [T], next: &AtomicUsize) -> Option<(usize, &'a T)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    Some((index, items.get(index)?))
}

fn describe(payload: &(dyn Any + Send)) -> String {
    let message = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let message = message
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    let place = PLACE.take().unwrap_or_default();
    format!("panic at {place}: {message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_one_result_among_others() {
        let results = map(&[1, 2, 3], |&item| {
            assert_ne!(item, 2, "two");
            item * 10
        });
        assert_eq!((&results[0], &results[2]), (&Ok(10), &Ok(30)));
        let text = results[1].as_ref().unwrap_err();
        assert!(text.starts_with("panic at ") && text.contains("two"), "{text}");
    }
}
