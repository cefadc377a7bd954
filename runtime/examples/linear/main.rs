//! Speed of the linear kernels on this machine, for every instruction set that it has.
//!
//! `cargo run --release -p onnxide-runtime --example linear [FILTER]` prints GFLOP/s, the best of several repetitions,
//! where a multiply and an add are two operations. What the matrices hold is not changed by the run. The first line is
//! what a loop of nothing but fused multiplications and additions reaches.

mod nhwc;

use onnxide_runtime::dispatch;
use onnxide_runtime::isa::{Isa, Level};
use onnxide_runtime::linear::*;
use std::time::{Duration, Instant};

/// Time that the repetitions of one case may take.
const BUDGET: Duration = Duration::from_millis(150);

fn main() {
    let filter = std::env::args().nth(1).unwrap_or_default();
    println!(
        "{:<44}{}",
        "GFLOP/s",
        Level::ALL.map(|level| format!("{:>9}", level.name())).concat()
    );
    for (name, case) in cases() {
        if !name.contains(&filter) && !matches!(case, Case::Peak) {
            continue;
        }
        let mut line = format!("{name:<44}");
        for level in Level::ALL {
            if level.is_available() {
                line += &format!("{:>9.1}", dispatch!(level, measure(&case)));
            } else {
                line += &format!("{:>9}", "-");
            }
        }
        println!("{line}");
    }
}

/// A problem to measure.
enum Case {
    /// Sizes, and whether the right-hand side is packed.
    Gemm([usize; 3], bool),
    Conv(Conv2dNhwc),
    Depthwise(Conv2dNhwc),
    Peak,
    ConvTranspose(ConvTranspose2d),
    Attention(Attention),
    Lstm(Lstm),
    Gru(Gru),
}

fn cases() -> Vec<(String, Case)> {
    let mut cases = vec![("peak".into(), Case::Peak)];
    for [m, n, k] in [
        [128, 768, 768],
        [128, 3072, 768],
        [128, 768, 3072],
        [256, 1024, 1024],
        [8, 384, 384],
        [31, 100, 77],
        [1, 1000, 1280],
        [1, 384, 384],
        [1, 4096, 4096],
        [4, 4096, 4096],
        [1000, 16, 16],
    ] {
        cases.push((format!("gemm {m}x{n}x{k}"), Case::Gemm([m, n, k], true)));
    }
    for [m, n, k] in [[128, 128, 64], [128, 64, 128], [512, 512, 512], [12, 256, 64]] {
        cases.push((format!("gemm {m}x{n}x{k} not packed"), Case::Gemm([m, n, k], false)));
    }
    cases.extend(nhwc::cases());
    for (channels, size, out, kernel, stride) in [(256, 28, 128, 2, 2), (64, 64, 32, 4, 2)] {
        let out_size = (size - 1) * stride + kernel - 2 * ((kernel - stride) / 2);
        let problem = ConvTranspose2d {
            in_channels: channels,
            in_height: size,
            in_width: size,
            out_channels: out,
            out_height: out_size,
            out_width: out_size,
            kernel: [kernel; 2],
            stride: [stride; 2],
            dilation: [1, 1],
            pad: [(kernel - stride) / 2; 2],
            groups: 1,
            x_channel: size * size,
            x_row: size,
            x_column: 1,
            y_channel: out_size * out_size,
        };
        let name = format!("transposed conv {channels}->{out}@{size} {kernel}x{kernel}/{stride}");
        cases.push((name, Case::ConvTranspose(problem)));
    }
    for (heads, q_len, kv_len, head_dim) in [
        (12, 128, 128, 64),
        (12, 32, 32, 32),
        (2, 16, 16, 64),
        (12, 197, 197, 64),
        (6, 1500, 1500, 64),
        (12, 1, 1024, 64),
    ] {
        let row = heads * head_dim;
        let problem = Attention {
            heads: [1, heads],
            q_len,
            kv_len,
            head_dim,
            value_dim: head_dim,
            scale: 0.125,
            q_head: [0, head_dim],
            q_row: row,
            k_head: [0, head_dim],
            k_row: row,
            k_column: 1,
            v_head: [0, head_dim],
            v_row: row,
            v_column: 1,
            out_head: [0, head_dim],
            out_row: row,
            causal: false,
            causal_offset: 0,
        };
        cases.push((
            format!("attention {heads}x{q_len}x{kv_len}x{head_dim}"),
            Case::Attention(problem),
        ));
    }
    let (steps, batch, input, hidden) = (32, 1, 256, 256);
    let (x_step, x_batch, y_step, y_batch, reverse) = (input, input, hidden, hidden, false);
    let lstm = Lstm {
        steps,
        batch,
        input,
        hidden,
        reverse,
        x_step,
        x_batch,
        y_step,
        y_batch,
    };
    cases.push(("lstm 32 steps 256".into(), Case::Lstm(lstm)));
    let linear_before_reset = true;
    let gru = Gru {
        steps,
        batch,
        input,
        hidden,
        reverse,
        linear_before_reset,
        x_step,
        x_batch,
        y_step,
        y_batch,
    };
    cases.push(("gru 32 steps 256".into(), Case::Gru(gru)));
    cases
}

fn measure<I: Isa>(isa: I, case: &Case) -> f64 {
    let (flops, seconds) = match case {
        &Case::Gemm([m, n, k], packed) => {
            let (a, b, mut c) = (values(m * k), values(packed_rhs_len(k, n)), values(m * n));
            let mut scratch = values(gemm_scratch(m, n, k, packed));
            let rhs = if packed {
                Rhs::Packed(&b)
            } else {
                Rhs::Strided {
                    data: &b,
                    row: n,
                    column: 1,
                }
            };
            let lhs = Lhs::Strided {
                data: &a,
                row: k,
                column: 1,
            };
            let problem = Gemm { m, n, k, c_row: n };
            let run = || isa.gemm(&problem, lhs, rhs, Init::Zero, &mut c, &mut scratch, Epilogue::None);
            (2 * m * n * k, best(run))
        }
        Case::Conv(p) => {
            let x = values(p.in_channels * p.in_height * p.in_width);
            let (w, mut y) = (
                values(conv2d_nhwc_packed_len(p)),
                values(p.out_height * p.out_width * p.y_pixel),
            );
            let mut scratch = values(conv2d_nhwc_scratch(p));
            let flops =
                2 * p.out_channels * p.out_height * p.out_width * p.in_channels / p.groups * p.kernel[0] * p.kernel[1];
            let run = || isa.conv2d_nhwc(p, &x, &w, Init::Zero, &mut y, &mut scratch, Epilogue::None);
            (flops, best(run))
        }
        Case::Depthwise(p) => {
            let x = values(p.in_channels * p.in_height * p.in_width);
            let w = values(depthwise_conv2d_nhwc_packed_len(p));
            let mut y = values(p.out_height * p.out_width * p.y_pixel);
            let flops = 2 * p.out_channels * p.out_height * p.out_width * p.kernel[0] * p.kernel[1];
            (
                flops,
                best(|| isa.depthwise_conv2d_nhwc(p, &x, &w, Init::Zero, &mut y, Epilogue::None)),
            )
        }
        Case::Peak => {
            const ROUNDS: usize = 10_000;
            let mut sums = [[1.0f32; 16]; 10];
            let (factor, term) = (std::hint::black_box([0.5; 16]), std::hint::black_box([0.5; 16]));
            let run = || {
                isa.vectorize(|| {
                    let mut values = sums;
                    for _ in 0..ROUNDS {
                        for values in &mut values {
                            for (value, (factor, term)) in values.iter_mut().zip(factor.iter().zip(&term)) {
                                *value = if I::LEVEL == Level::Scalar {
                                    *value * factor + term
                                } else {
                                    value.mul_add(*factor, *term)
                                };
                            }
                        }
                    }
                    sums = values;
                });
            };
            (2 * ROUNDS * 16 * 10, best(run))
        }
        Case::ConvTranspose(p) => {
            let (x, w) = (
                values(p.in_channels * p.x_channel),
                values(conv_transpose2d_packed_len(p)),
            );
            let (mut y, mut scratch) = (
                values(p.out_channels * p.y_channel),
                values(conv_transpose2d_scratch(p)),
            );
            let flops = 2 * p.in_channels * p.x_channel * p.out_channels * p.kernel[0] * p.kernel[1];
            (
                flops,
                best(|| isa.conv_transpose2d(p, &x, &w, Init::Zero, &mut y, &mut scratch, Epilogue::None)),
            )
        }
        Case::Attention(p) => {
            let (q, k, v) = (
                values(p.q_len * p.q_row),
                values(p.kv_len * p.k_row),
                values(p.kv_len * p.v_row),
            );
            let (mut out, mut scratch) = (values(p.q_len * p.out_row), values(attention_scratch(p)));
            let flops = 2 * p.heads[1] * p.q_len * p.kv_len * (p.head_dim + p.value_dim);
            (
                flops,
                best(|| isa.attention(p, &q, &k, &v, None, &mut out, &mut scratch)),
            )
        }
        Case::Lstm(p) => {
            let (x, w, r) = (
                values(p.steps * p.input),
                values(packed_rhs_len(p.input, 4 * p.hidden)),
                values(packed_rhs_len(p.hidden, 4 * p.hidden)),
            );
            let (mut h, mut c, mut y) = (values(p.hidden), values(p.hidden), values(p.steps * p.hidden));
            let mut scratch = values(lstm_scratch(p));
            let flops = 2 * p.steps * 4 * p.hidden * (p.input + p.hidden);
            (
                flops,
                best(|| isa.lstm(p, &x, &w, &r, None, None, &mut h, &mut c, Some(&mut y), &mut scratch)),
            )
        }
        Case::Gru(p) => {
            let (x, w, r) = (
                values(p.steps * p.input),
                values(packed_rhs_len(p.input, 3 * p.hidden)),
                values(packed_rhs_len(p.hidden, 3 * p.hidden)),
            );
            let (mut h, mut y) = (values(p.hidden), values(p.steps * p.hidden));
            let mut scratch = values(gru_scratch(p));
            let flops = 2 * p.steps * 3 * p.hidden * (p.input + p.hidden);
            (
                flops,
                best(|| isa.gru(p, &x, &w, &r, None, &mut h, Some(&mut y), &mut scratch)),
            )
        }
    };
    flops as f64 / seconds / 1e9
}

/// Small values, none of which is subnormal.
fn values(len: usize) -> Vec<f32> {
    (0..len).map(|index| (index * 37 % 101) as f32 * 0.001 - 0.05).collect()
}

/// Seconds of the fastest repetition.
fn best(mut run: impl FnMut()) -> f64 {
    let begin = Instant::now();
    let mut best = f64::INFINITY;
    while begin.elapsed() < BUDGET {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}
