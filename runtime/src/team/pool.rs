//! Threads that wait for work.

use super::{Executor, MAX_PARTS};
use std::any::Any;
use std::cell::UnsafeCell;
use std::hint;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{self, JoinHandle};

/// Looks at the state before a thread sleeps: some 100 microseconds or more. Between two steps that are divided there may
/// be several that are not, and to wake a thread takes its caller some 10 microseconds.
const SPINS: usize = 8000;

/// Looks at the state before a caller that waits for its workers lets other threads run, which may be these.
const CALLER_SPINS: usize = 2000;

/// A pool of threads that help whoever calls [`run`](Executor::run).
///
/// Its threads start when they are first needed, wait a moment for more work after they have worked, and then sleep. It
/// serves one caller at a time. Another who comes meanwhile, from any thread including those of the pool, gets one call on
/// its own thread and waits for nothing, so that no two can wait for each other.
pub struct Pool {
    /// The number of threads, callers included; `None` for that of the machine.
    threads: Option<usize>,
    crew: Mutex<Crew>,
}

/// The threads of a pool.
struct Crew {
    shared: Option<Arc<Shared>>,
    workers: Vec<JoinHandle<()>>,
    /// The number of workers that there may be, once it is known.
    most: Option<usize>,
}

/// What the caller and the workers share.
///
/// `state` says it all: whether there is a job and its number, how many workers are wanted, and how many are at it.
///
/// - The caller writes `job`, then publishes it by storing a state that is open. A worker enters by adding one to the
///   count in an open state, in one exchange, and only then reads `job`. So it reads what was written before the state
///   that it has seen: the exchange acquires what the store, or the exchange of a worker before it, which continues the
///   store's release sequence, has released.
/// - The caller closes the state and waits until the count is zero. As nobody can enter a closed state, no worker has or
///   gets a reference to the job from then on, and `job` may be written again. A worker leaves by subtracting one, which
///   releases what it has written, and the caller's load of zero acquires that of all of them.
/// - A worker that is about to sleep sets `asleep` and then looks at the state once more; the caller stores the state and
///   then looks at `asleep`. All four are sequentially consistent: in their single order, one of the stores comes first
///   and is seen by the other side, so that no worker sleeps through a job. It would be slower if one did, not wrong:
///   nobody waits for a worker that has not entered.
#[repr(align(128))]
struct Shared {
    state: AtomicUsize,
    job: UnsafeCell<Option<Job>>,
    asleep: [AtomicBool; MAX_PARTS],
    /// Whether `panic` holds something.
    panicked: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// What is called. The reference is valid while the state is open or a worker is at it.
#[derive(Clone, Copy)]
struct Job(*const (dyn Fn(usize) + Sync));

// SAFETY: what the pointer refers to is `Sync`, and `state` says who may use it when, as described above.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

/// Bits of the state, from the lowest: workers that are at the job, workers wanted, whether more may enter, whether
/// workers are to end, and the number of the job. That number may wrap around: a worker that finds the state of its last
/// job again misses a job, which others do.
#[derive(Clone, Copy, PartialEq)]
struct State(usize);

impl State {
    const ACTIVE: usize = 0x3f;
    const WANTED: u32 = 6;
    const OPEN: usize = 1 << 12;
    const END: usize = 1 << 13;
    const NUMBER: u32 = 14;

    fn number(self) -> usize {
        self.0 >> State::NUMBER
    }

    /// The state in which the job after this one is published.
    fn next(self, wanted: usize) -> State {
        let number = self.number().wrapping_add(1) << State::NUMBER;
        State(number | State::OPEN | wanted << State::WANTED)
    }

    /// Whether a worker may enter, whose last job had this number.
    fn admits(self, worker: usize, last: usize) -> bool {
        let wanted = self.0 >> State::WANTED & State::ACTIVE;
        self.0 & State::OPEN != 0 && worker < wanted && self.number() != last
    }

    fn ends(self) -> bool {
        self.0 & State::END != 0
    }
}

impl Pool {
    /// A pool for this number of threads at work, its callers included. None starts before it is needed.
    pub const fn new(threads: usize) -> Self {
        Pool {
            threads: Some(threads),
            crew: Mutex::new(Crew::NONE),
        }
    }

    /// A pool for as many threads as the machine runs at once.
    pub(super) const fn of_machine() -> Self {
        Pool {
            threads: None,
            crew: Mutex::new(Crew::NONE),
        }
    }

    /// The number of workers that are not asleep.
    #[cfg(test)]
    pub(super) fn awake(&self) -> usize {
        let crew = self.crew.lock().unwrap_or_else(PoisonError::into_inner);
        let asleep = |worker: usize| {
            let shared = crew.shared.as_ref();
            shared.is_some_and(|shared| shared.asleep[worker].load(Ordering::SeqCst))
        };
        (0..crew.workers.len()).filter(|&worker| !asleep(worker)).count()
    }

    /// The threads, if nobody uses them. A panic of a task leaves them as they were, so that poison means nothing.
    fn crew(&self) -> Option<MutexGuard<'_, Crew>> {
        match self.crew.try_lock() {
            Ok(crew) => Some(crew),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Executor for Pool {
    fn run(&self, threads: usize, task: &(dyn Fn(usize) + Sync)) {
        match self.crew() {
            Some(mut crew) => crew.run(self.threads, threads, task),
            None => task(0),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let crew = self.crew.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = &crew.shared {
            shared.state.store(State::END, Ordering::SeqCst);
        }
        for worker in crew.workers.drain(..) {
            worker.thread().unpark();
            // A worker passes the panics of tasks on and has none of its own.
            let _ = worker.join();
        }
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

impl Crew {
    const NONE: Crew = Crew {
        shared: None,
        workers: Vec::new(),
        most: None,
    };

    fn run(&mut self, most: Option<usize>, threads: usize, task: &(dyn Fn(usize) + Sync)) {
        let most = *self.most.get_or_insert_with(|| {
            let threads = most.unwrap_or_else(|| thread::available_parallelism().map_or(1, |threads| threads.get()));
            threads.clamp(1, MAX_PARTS) - 1
        });
        let wanted = threads.saturating_sub(1).min(most);
        if wanted > self.workers.len() {
            self.hire(wanted);
        }
        let wanted = wanted.min(self.workers.len());
        let (Some(shared), 1..) = (&self.shared, wanted) else {
            return task(0);
        };
        // SAFETY: only the lifetime changes. The job is published within `Published`, whose end waits until no worker
        // refers to it, and which ends before this function does, by a return or by a panic.
        let job = Job(unsafe {
            core::mem::transmute::<*const (dyn Fn(usize) + Sync), *const (dyn Fn(usize) + Sync + 'static)>(task)
        });
        let published = shared.publish(job, wanted);
        for (worker, asleep) in self.workers.iter().zip(&shared.asleep).take(wanted) {
            if asleep.load(Ordering::SeqCst) {
                worker.thread().unpark();
            }
        }
        task(0);
        drop(published);
        shared.pass_panic_on();
    }

    /// Starts workers until there are this many, or as many as the system lets there be.
    fn hire(&mut self, count: usize) {
        let shared = self.shared.get_or_insert_with(|| Arc::new(Shared::new()));
        while self.workers.len() < count {
            let (shared, worker) = (shared.clone(), self.workers.len());
            let thread = thread::Builder::new().name(format!("onnxide {}", worker + 1));
            match thread.spawn(move || shared.work(worker)) {
                Ok(handle) => self.workers.push(handle),
                Err(_) => {
                    self.most = Some(self.workers.len());
                    return;
                }
            }
        }
    }
}

/// A job that workers may enter. Ends when they may not any more and all have left.
struct Published<'a>(&'a Shared);

impl Drop for Published<'_> {
    fn drop(&mut self) {
        let shared = self.0;
        let mut state = shared.state.fetch_and(!State::OPEN, Ordering::Acquire);
        let mut spins = 0;
        while state & State::ACTIVE != 0 {
            if spins < CALLER_SPINS {
                spins += 1;
                hint::spin_loop();
            } else {
                // A worker may need this processor to get on.
                thread::yield_now();
            }
            state = shared.state.load(Ordering::Acquire);
        }
    }
}

impl Shared {
    fn new() -> Self {
        Shared {
            state: AtomicUsize::new(0),
            job: UnsafeCell::new(None),
            asleep: [const { AtomicBool::new(false) }; MAX_PARTS],
            panicked: AtomicBool::new(false),
            panic: Mutex::new(None),
        }
    }

    /// Lets `wanted` workers enter. There is one caller, as only who has the lock on the crew calls this.
    fn publish(&self, job: Job, wanted: usize) -> Published<'_> {
        // Nothing changes a closed state but the caller, whoever that was before; the lock orders them.
        let state = State(self.state.load(Ordering::Relaxed));
        // SAFETY: the state is closed and no worker is at a job, so that nobody else refers to this one.
        unsafe { *self.job.get() = Some(job) };
        self.state.store(state.next(wanted).0, Ordering::SeqCst);
        Published(self)
    }

    /// Raises the panic of a worker on this thread.
    fn pass_panic_on(&self) {
        // The worker has left since, which orders this after its store.
        if self.panicked.load(Ordering::Relaxed) {
            self.panicked.store(false, Ordering::Relaxed);
            let mut panic = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(panic) = panic.take() {
                resume_unwind(panic);
            }
        }
    }

    /// The life of a worker.
    fn work(&self, worker: usize) {
        let mut last = 0;
        while let Some(state) = self.wait(worker, last) {
            let entered = State(state.0 + 1);
            let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
            if self
                .state
                .compare_exchange(state.0, entered.0, success, failure)
                .is_err()
            {
                // The job is over, or another worker has entered.
                continue;
            }
            last = state.number();
            // SAFETY: this worker is at the job, so that the caller neither writes it nor ends what it refers to.
            let task = unsafe { (*self.job.get()).map(|job| &*job.0) };
            let result = catch_unwind(AssertUnwindSafe(|| task.map(|task| task(worker + 1))));
            if let Err(panic) = result {
                *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
                self.panicked.store(true, Ordering::Relaxed);
            }
            self.state.fetch_sub(1, Ordering::Release);
        }
    }

    /// Waits for a state that admits a worker; `None` if workers are to end.
    fn wait(&self, worker: usize, last: usize) -> Option<State> {
        let mut spins = 0;
        loop {
            let state = State(self.state.load(Ordering::SeqCst));
            if state.ends() {
                return None;
            }
            if state.admits(worker, last) {
                self.asleep[worker].store(false, Ordering::Relaxed);
                return Some(state);
            }
            if spins < SPINS {
                spins += 1;
                hint::spin_loop();
            } else if !self.asleep[worker].load(Ordering::Relaxed) {
                self.asleep[worker].store(true, Ordering::SeqCst);
            } else {
                thread::park();
                self.asleep[worker].store(false, Ordering::Relaxed);
                spins = 0;
            }
        }
    }
}
