//! Steps on several threads.
//!
//! A [`Team`] is used like the token of an instruction set: it has the same kernels. Each divides its output into parts
//! that share no element, at places that depend on the sizes alone, and computes every part as it would compute the
//! whole, in the same order of operations. A result is therefore the same to the bit for any number of threads.
//!
//! Threads come from an [`Executor`]. With the feature `std` there is one for the process, see [`process`]; without it,
//! or with threads of your own, implement the trait:
//!
//! ```
//! use onnxide_runtime::isa::Scalar;
//! use onnxide_runtime::kernels::map::Elementwise;
//! use onnxide_runtime::team::{Executor, Team};
//!
//! struct Scoped;
//!
//! impl Executor for Scoped {
//!     fn run(&self, threads: usize, task: &(dyn Fn(usize) + Sync)) {
//!         std::thread::scope(|scope| {
//!             for thread in 1..threads {
//!                 scope.spawn(move || task(thread));
//!             }
//!             task(0);
//!         });
//!     }
//! }
//!
//! let mut values = [1.0; 1000];
//! Team::new(Scalar, &Scoped).parts(4).update(&mut values, [1000], (), |value, ()| value + 1.0);
//! assert_eq!(values, [2.0; 1000]);
//! ```

#[cfg(target_has_atomic = "32")]
mod fork;
#[cfg(feature = "std")]
mod pool;
#[cfg(test)]
mod tests;

use crate::isa::Isa;
use crate::kernels::Kernels;
use core::cell::UnsafeCell;
use core::fmt;
use core::mem::MaybeUninit;

#[cfg(feature = "std")]
pub use pool::Pool;

/// The largest number of parts of a step.
pub const MAX_PARTS: usize = 32;

/// Something that has threads.
pub trait Executor: Sync {
    /// Calls `task(0)`, `task(1)`, ..., `task(threads - 1)`, all at the same time if there are as many threads, and returns
    /// when every call has returned. One of them should be on the thread that called.
    ///
    /// A call does a share of the work, and then whatever of it no other call has begun. So calls that come late or not
    /// at all cost time, but change no result; a panic of a call should be passed on to the caller.
    fn run(&self, threads: usize, task: &(dyn Fn(usize) + Sync));
}

/// The executor that has no thread but its caller's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caller;

impl Executor for Caller {
    fn run(&self, _threads: usize, task: &(dyn Fn(usize) + Sync)) {
        task(0);
    }
}

/// The executor that models of this process share: with the feature `std` a [`Pool`] of as many threads as the machine
/// runs at once, which are started when they are first needed; without it, [`Caller`].
///
/// While one model computes with the threads of the pool, others compute on their callers' threads alone.
pub fn process() -> &'static dyn Executor {
    #[cfg(feature = "std")]
    {
        static PROCESS: Pool = Pool::of_machine();
        &PROCESS
    }
    #[cfg(not(feature = "std"))]
    &Caller
}

/// What computes a step: the token of an instruction set, or a [`Team`].
pub trait Compute: Kernels + Send + Sync {
    /// The token.
    type Isa: Isa;

    /// The token, with which a part is computed.
    fn isa(self) -> Self::Isa;

    /// Calls `part(index, count)` for each `index` below a `count` that is at least 1 and at most `most` or 1.
    #[doc(hidden)]
    fn divide(self, most: usize, part: impl Fn(usize, usize) + Sync);

    /// Calls `task` with the token, the number and the elements of each of the first `count` chunks of `len` elements of
    /// `out`, the last of which may be shorter. Parts have chunks that follow each other, and an equal share of `scratch`,
    /// which a plan makes as large as all of them need.
    #[doc(hidden)]
    #[inline(always)]
    fn chunks<T: Send>(
        self,
        count: usize,
        out: &mut [T],
        len: usize,
        scratch: &mut [f32],
        task: impl Fn(Self::Isa, usize, &mut [T], &mut [f32]) + Sync,
    ) {
        let team = self.team();
        let (len, share) = (len.max(1), team.share(count));
        let pieces = out.chunks_mut(share.saturating_mul(len)).take(count.div_ceil(share));
        let scratch = scratch.chunks_mut((scratch.len() / team.count(count)).max(1));
        let scratch = scratch.chain(core::iter::repeat_with(Default::default));
        team.each(pieces.zip(scratch), |index, (out, scratch)| {
            let first = index * share;
            for (number, out) in (first..count).zip(out.chunks_mut(len)) {
                task(team.isa, number, out, scratch);
            }
        });
    }

    /// The team; that of a token divides nothing.
    #[doc(hidden)]
    fn team(&self) -> Team<'_, Self::Isa>;
}

impl<S: Isa> Compute for S {
    type Isa = S;

    #[inline(always)]
    fn isa(self) -> S {
        self
    }

    #[inline(always)]
    fn divide(self, _most: usize, part: impl Fn(usize, usize) + Sync) {
        part(0, 1);
    }

    #[inline(always)]
    fn team(&self) -> Team<'_, S> {
        Team::new(*self, &Caller)
    }
}

/// The token of an instruction set together with threads, over which each kernel divides its work.
#[derive(Clone, Copy)]
pub struct Team<'a, S> {
    isa: S,
    executor: &'a dyn Executor,
    parts: usize,
}

impl<S> fmt::Debug for Team<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Team")
            .field("parts", &self.parts)
            .finish_non_exhaustive()
    }
}

impl<'a, S: Isa> Team<'a, S> {
    /// A team whose kernels do all of their work on the caller's thread, until it is told [how many
    /// parts](Team::parts) there are.
    pub fn new(isa: S, executor: &'a dyn Executor) -> Self {
        Team {
            isa,
            executor,
            parts: 1,
        }
    }

    /// The team whose kernels divide their work into this number of parts, at least 1 and at most [`MAX_PARTS`], or
    /// into fewer where there are no more.
    #[must_use]
    pub fn parts(self, parts: usize) -> Self {
        Team {
            parts: parts.clamp(1, MAX_PARTS),
            ..self
        }
    }

    /// The number of parts that work of `units`, each of which is done as one, is divided into.
    pub(crate) fn count(self, units: usize) -> usize {
        self.parts.min(units).max(1)
    }

    /// How many of `units`, each of which is done as one, a part has; the last one may have fewer. At least 1.
    pub(crate) fn share(self, units: usize) -> usize {
        units.div_ceil(self.parts).max(1)
    }

    /// Calls `task` with every index below `parts`, at most [`MAX_PARTS`], once.
    fn fork(self, parts: usize, task: &(dyn Fn(usize) + Sync)) {
        #[cfg(target_has_atomic = "32")]
        if parts > 1 {
            return fork::fork(self.executor, parts, task);
        }
        // Threads without atomic exchanges cannot agree on who does what.
        (0..parts).for_each(task);
    }

    /// Calls `task` once with each of the pieces, of which there are at most [`MAX_PARTS`], and its index.
    ///
    /// # Panics
    ///
    /// If there are more pieces.
    #[inline]
    pub(crate) fn each<P: Send>(self, pieces: impl IntoIterator<Item = P>, task: impl Fn(usize, P) + Sync) {
        let mut slots = Slots([const { MaybeUninit::uninit() }; MAX_PARTS]);
        let mut count = 0;
        for piece in pieces {
            assert!(count < MAX_PARTS, "work is divided into too many parts");
            slots.0[count].write(UnsafeCell::new(piece));
            count += 1;
        }
        let slots = &slots;
        self.fork(count, &|index| {
            // SAFETY: the slots below `count` are initialized. `fork` calls this once for each index, so that every
            // piece is moved out at most once and by one thread, and `P: Send` lets that be another one.
            let piece = unsafe { slots.0[index].assume_init_ref().get().read() };
            task(index, piece);
        });
    }
}

/// Pieces of work, each for the thread that gets its index.
struct Slots<P>([MaybeUninit<UnsafeCell<P>>; MAX_PARTS]);

// SAFETY: a piece is accessed by no more than one thread, to which it is sent.
unsafe impl<P: Send> Sync for Slots<P> {}

impl<S: Isa> Compute for Team<'_, S> {
    type Isa = S;

    #[inline(always)]
    fn isa(self) -> S {
        self.isa
    }

    #[inline(always)]
    fn divide(self, most: usize, part: impl Fn(usize, usize) + Sync) {
        let count = self.count(most);
        self.fork(count, &|index| part(index, count));
    }

    #[inline(always)]
    fn team(&self) -> Team<'_, S> {
        *self
    }
}
