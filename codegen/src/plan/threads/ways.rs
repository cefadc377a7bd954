//! How each step would be divided.

use super::cut::NEVER;
use super::work::{volume, work};
use crate::ir::{Bounds, Dim};
use crate::plan::kernel::{ConvKind, PoolResult};
use crate::plan::{Kernel, Step};

/// The most time of a step that is told from more.
const MOST: u64 = NEVER >> 16;

/// The least work of a part where the sizes of a run decide about it, a few times as much as handing it to another thread.
const PART: i64 = 150_000;

/// The time in which work is handed to other threads, which read from the caller's cache what it is, and say that it is
/// done: a microsecond or somewhat more.
const FORK: i64 = 90_000;

/// The number of iterations of the loop around a kernel, if they write parts of the result that follow each other.
fn apart(step: &Step) -> Option<i64> {
    let ([trips], [write]) = (step.loops.as_slice(), step.writes.as_slice()) else {
        return None;
    };
    // Rows of the result, the distance between them, and the elements of each.
    let (rows, row, elements) = match &step.kernel {
        Kernel::Gemm(gemm) => (gemm.m.clone(), &gemm.c_row, &gemm.n),
        Kernel::Conv(conv) => (conv.window.pixels(), &conv.y_pixel, &conv.window.output[0]),
        Kernel::Pool(pool) => match &pool.y {
            PoolResult::Pixels(pixel) => (volume(&pool.output), pixel, &pool.input[0]),
            PoolResult::Planes(_) => return None,
        },
        _ => return None,
    };
    let (distance, rows) = (write.loop_strides[0].as_const()?, rows.as_const()?);
    let last = (rows - 1).checked_mul(row.as_const()?)?;
    let reach = last.checked_add(elements.as_const()?)?;
    let trips = trips.as_const()?;
    (trips > 1 && rows > 0 && reach <= distance).then_some(trips)
}

/// How a step would be divided, and what that costs, in the unit of [`work`].
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) parts: Dim,
    /// Whether a part is some iterations of the loop around the kernel.
    pub(super) divides_loop: bool,
    /// The time of the largest part and of handing out the parts; [`NEVER`] if the step cannot be divided.
    pub(super) divided: u64,
    /// The time on one thread; [`NEVER`] if the step has to be divided.
    pub(super) alone: u64,
}

impl Way {
    /// For a step that is not divided.
    fn alone(step: &Step) -> Way {
        Way {
            parts: Dim::from(1i64),
            divides_loop: false,
            divided: NEVER,
            alone: step.macs.min(MOST),
        }
    }

    /// How a step is divided among at most this number of threads, or among as many as were measured to be fastest.
    pub(super) fn of(step: &Step, threads: usize, tuned: Option<usize>, bounds: &Bounds) -> Way {
        let Some(work) = work(step) else {
            return Way::alone(step);
        };
        let tuned = tuned.map(|tuned| tuned.min(threads));
        let trips = step
            .loops
            .iter()
            .try_fold(1i64, |trips, size| trips.checked_mul(size.as_const()?));
        let (Some(each), Some(trips)) = (work.as_const(), trips) else {
            // The sizes of a run decide. What was measured for some of them is the most for others.
            let parts = parts(&work, tuned.unwrap_or(threads), bounds);
            return if parts.is(1) {
                Way::alone(step)
            } else {
                Way {
                    parts,
                    divides_loop: false,
                    divided: 0,
                    alone: NEVER,
                }
            };
        };
        let count = |work: f64| match tuned {
            Some(tuned) => tuned as i64,
            None => ((work / FORK as f64) as i64).clamp(2, threads as i64),
        };
        let way = Way::within(step, each, trips, count);
        match tuned {
            Some(..2) => Way { divided: NEVER, ..way },
            Some(_) => Way { alone: NEVER, ..way },
            None => way,
        }
    }

    /// For the work of a kernel, in loops with so many iterations; `count` says how many parts some work has.
    fn within(step: &Step, each: i64, trips: i64, count: impl Fn(f64) -> i64) -> Way {
        // Smaller parts are somewhat slower for their size.
        let share =
            |units: i64, parts: i64| 1.1 * (units.max(1) as u64).div_ceil(parts as u64) as f64 / units.max(1) as f64;
        let whole = each as f64 * trips as f64;
        let parts = count(each as f64);
        let inside = (
            whole * share(units(step), parts) + FORK as f64 * trips as f64,
            parts,
            false,
        );
        // Whole iterations share nothing, and leave what they have written to the thread that reads it next.
        let loops = apart(step).map(|trips| {
            let parts = count(whole).min(trips);
            (whole * share(trips, parts) + FORK as f64, parts, true)
        });
        let (divided, parts, divides_loop) = match loops {
            Some(loops) if loops.0 <= inside.0 => loops,
            _ => inside,
        };
        Way {
            parts: Dim::from(parts),
            divides_loop,
            divided: (divided as u64).min(MOST),
            alone: (whole as u64).min(MOST),
        }
    }
}

/// How many pieces a kernel can divide its work into.
fn units(step: &Step) -> i64 {
    let rows = |dim: &Dim| dim.as_const().unwrap_or(i64::MAX);
    match &step.kernel {
        Kernel::Conv(conv) => match conv.kind {
            ConvKind::Winograd(tile) => (rows(&conv.window.output[1]) as u64).div_ceil(tile.size() as u64) as i64,
            ConvKind::Depthwise | ConvKind::DepthwiseInt8(_) => rows(&conv.window.output[1]),
            ConvKind::Direct | ConvKind::Bf16 | ConvKind::Int8(_) => i64::MAX,
        },
        Kernel::DepthwiseBlock(block) => rows(&block.depthwise.window.output[1]),
        Kernel::Streamed(streamed) => streamed.height() as i64,
        Kernel::Pool(pool) => rows(&pool.output[0]),
        _ => i64::MAX,
    }
}

/// The number of parts for an amount of work: one for each [`PART`] of it, at most one for each thread. Where the work
/// depends on sizes that only a run knows, so does the number, and may be 0 for 1.
fn parts(work: &Dim, threads: usize, bounds: &Bounds) -> Dim {
    let threads = threads as i64;
    let range = work.range(bounds);
    let most = (range.high / PART).min(threads);
    if most < 2 {
        return Dim::from(1i64);
    }
    if range.low / PART >= most {
        return Dim::from(most);
    }
    // What does not depend on the sizes of the run is little, and left out for the sake of who reads the module. Of what
    // is left, factors that are the same in every run go into the divisor.
    let constant = work
        .terms()
        .filter(|(_, factors)| factors.is_empty())
        .map(|(value, _)| value)
        .sum::<i64>();
    let varying = work.clone() - Dim::from(constant);
    let factor = varying
        .terms()
        .fold(0, |common, (coefficient, _)| gcd(common, coefficient))
        .max(1);
    let quotient = varying.exact_div(&Dim::from(factor)).unwrap_or(varying);
    quotient
        .floor_div(&Dim::from((PART as u64).div_ceil(factor as u64) as i64))
        .minimum(&Dim::from(most), bounds)
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a.abs() } else { gcd(b, a % b) }
}
