//! What threads cost and gain on this machine.
//!
//! `cargo run --release -p onnxide-runtime --features std --example team` prints the time of a fork and a join while the
//! threads are awake, and that of some kernels on one thread and on two, the best of many repetitions each.

use onnxide_runtime::dispatch;
use onnxide_runtime::isa::{Isa, Level};
use onnxide_runtime::kernels::map::Elementwise;
use onnxide_runtime::kernels::rows::Rows;
use onnxide_runtime::linear::*;
use onnxide_runtime::math;
use onnxide_runtime::team::{Executor, Pool, Team};
use std::hint;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn main() {
    let pool = Pool::new(2);
    let fork = best(100_000, || {
        // Each thread waits for the other, so that the time of the other's coming counts.
        let here = AtomicUsize::new(0);
        pool.run(2, &|_| {
            here.fetch_add(1, Ordering::Relaxed);
            while here.load(Ordering::Relaxed) < 2 {
                hint::spin_loop();
            }
        });
    });
    println!("fork and join of two threads: {} ns", fork.as_nanos());
    dispatch!(Level::detect(), kernels(&pool));
}

/// The shortest of some repetitions.
fn best(repetitions: usize, mut f: impl FnMut()) -> Duration {
    let time = |_| {
        let start = Instant::now();
        f();
        start.elapsed()
    };
    (0..repetitions).map(time).min().unwrap_or_default()
}

fn kernels<S: Isa>(s: S, pool: &Pool) {
    let team = Team::new(s, pool).parts(2);
    println!("{:<28}{:>10}{:>10}{:>8}", "", "1 thread", "2", "ratio");
    let report = |name: String, one: Duration, two: Duration| {
        let ratio = one.as_secs_f64() / two.as_secs_f64();
        println!("{name:<28}{:>7.1} µs{:>7.1} µs{ratio:>8.2}", micros(one), micros(two));
    };
    for [m, n, k] in [
        [1, 768, 768],
        [1, 3072, 768],
        [12, 512, 512],
        [16, 64, 64],
        [64, 64, 64],
        [49, 512, 512],
        [128, 384, 384],
        [128, 3072, 768],
        [3136, 64, 64],
        [12544, 32, 32],
    ] {
        let (a, packed) = (vec![0.5; m * k], vec![0.5; packed_rhs_len(k, n)]);
        let problem = Gemm { m, n, k, c_row: n };
        let a = Lhs::Strided {
            data: &a,
            row: k,
            column: 1,
        };
        let mut c = vec![0.0; m * n];
        let repetitions = (200_000_000 / (m * n * k)).clamp(20, 5000);
        let one = best(repetitions, || {
            s.gemm(
                &problem,
                a,
                Rhs::Packed(&packed),
                Init::Zero,
                &mut c,
                &mut [],
                Epilogue::None,
            )
        });
        let two = best(repetitions, || {
            team.gemm(
                &problem,
                a,
                Rhs::Packed(&packed),
                Init::Zero,
                &mut c,
                &mut [],
                Epilogue::None,
            )
        });
        report(format!("gemm {m} {n} {k}"), one, two);
    }
    for len in [1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20] {
        let (x, mut y) = (vec![0.5; len], vec![0.5; len]);
        let repetitions = (50_000_000 / len).clamp(50, 5000);
        let add = |x: f32, y: f32| x + y;
        let one = best(repetitions, || s.update(&mut y, [len], (&x[..],), |y, (x,)| add(x, y)));
        let two = best(repetitions, || {
            team.update(&mut y, [len], (&x[..],), |y, (x,)| add(x, y))
        });
        report(format!("add {len}"), one, two);
        let one = best(repetitions, || s.map(&mut y, [len], (&x[..],), |(x,)| math::gelu(x)));
        let two = best(repetitions, || team.map(&mut y, [len], (&x[..],), |(x,)| math::gelu(x)));
        report(format!("gelu {len}"), one, two);
    }
    for n in [128, 768] {
        let x = vec![0.5; 128 * n];
        let mut y = vec![0.5; 128 * n];
        let one = best(2000, || s.softmax(&mut y, Some(&x), [128, n, 1]));
        let two = best(2000, || team.softmax(&mut y, Some(&x), [128, n, 1]));
        report(format!("softmax 128 {n}"), one, two);
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
