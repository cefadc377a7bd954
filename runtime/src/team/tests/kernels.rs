//! Every kernel that divides its work gives the same bits for any number of parts, on every instruction set.

use super::Scoped;
use crate::dispatch;
use crate::isa::Isa;
use crate::kernels::fold::Folding;
use crate::kernels::gather::Gathering;
use crate::kernels::linear::*;
use crate::kernels::map::{Elementwise, Index, Splat, Strided};
use crate::kernels::reduce::{Reduce, Reduction};
use crate::kernels::resize::{Coordinates, Cubic, Resize, Rounding};
use crate::kernels::rows::Affine;
use crate::kernels::{fold, gather};
use crate::math;
use crate::team::{Caller, Compute, Executor, Team};
use crate::testing::{Numbers, levels};
use std::fmt::Debug;

/// A call of a kernel.
pub(super) trait Case: Debug {
    /// The output before the call.
    fn output(&self) -> Vec<f32>;
    fn run<C: Compute>(&self, compute: C, out: &mut [f32]);
}

/// Fails unless a case gives the same bits for some numbers of parts as for the token alone.
#[track_caller]
pub(super) fn check(case: &impl Case) {
    fn on<I: Isa>(isa: I, case: &impl Case) {
        let mut expected = case.output();
        case.run(isa, &mut expected);
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
        for parts in [1, 2, 3, 4, 7] {
            for executor in [&Caller as &dyn Executor, &Scoped] {
                let mut out = case.output();
                case.run(Team::new(isa, executor).parts(parts), &mut out);
                assert!(
                    bits(&out) == bits(&expected),
                    "{:?}: {case:?} in {parts} parts",
                    I::LEVEL
                );
            }
        }
    }
    for level in levels() {
        dispatch!(level, on(case));
    }
}

pub(super) fn random(seed: u64, len: usize) -> Vec<f32> {
    Numbers::new(seed).floats(len)
}

#[derive(Debug)]
struct Product {
    m: usize,
    n: usize,
    k: usize,
    c_row: usize,
    /// Packed, with contiguous rows, with contiguous columns, packed in bf16, or in numbers of 4 bits.
    rhs: usize,
    packed_lhs: bool,
    init: usize,
    epilogue: bool,
}

impl Case for Product {
    fn output(&self) -> Vec<f32> {
        random(7, self.m * self.c_row)
    }

    fn run<C: Compute>(&self, compute: C, out: &mut [f32]) {
        let &Product { m, n, k, c_row, .. } = self;
        let (a, b) = (random(1, m * k), random(2, k * n));
        let mut a_packed = vec![0.0; packed_lhs_len(m, k)];
        pack_lhs(m, k, &a, k, 1, &mut a_packed);
        let mut b_packed = vec![0.0; packed_rhs_len(k, n)];
        pack_rhs(k, n, &b, n, 1, &mut b_packed);
        let lhs = match self.packed_lhs {
            true => Lhs::Packed(&a_packed),
            false => Lhs::Strided {
                data: &a,
                row: k,
                column: 1,
            },
        };
        let rhs = match self.rhs {
            0 => Rhs::Packed(&b_packed),
            1 => Rhs::Strided {
                data: &b,
                row: n,
                column: 1,
            },
            _ => Rhs::Strided {
                data: &b,
                row: 1,
                column: k,
            },
        };
        let (rows, columns) = (random(3, m), random(4, n));
        let init = match self.init {
            0 => Init::Zero,
            1 => Init::PerRow(&rows),
            2 => Init::PerColumn(&columns),
            _ => Init::Accumulate,
        };
        let residual = random(5, m * n);
        let epilogue = |run: &mut [f32], at: Position| {
            let residual = &residual[at.row * n + at.column..][..run.len()];
            compute.apply(run, (residual,), |acc, (residual,)| math::gelu(acc) + residual);
        };
        let epilogue: Epilogue<'_> = if self.epilogue {
            Epilogue::at(&epilogue)
        } else {
            Epilogue::None
        };
        if self.rhs == 3 {
            let mut packed = vec![0; packed_rhs_bf16_len(k, n)];
            pack_rhs_bf16(k, n, &b, n, 1, &mut packed);
            let mut scratch = vec![0.0; 3 * gemm_bf16_scratch(m, k)];
            let problem = Gemm { m, n, k, c_row };
            compute.gemm_bf16(&problem, lhs, &packed, init, out, &mut scratch, epilogue);
            return;
        }
        if self.rhs >= 4 {
            let format = BlockFormat {
                bits: 4,
                rows: 32,
                zeros: false,
            };
            let numbers: Vec<u8> = b.iter().map(|value| (value * 8.0 + 8.0) as u8).collect();
            let scales = random(4, k.div_ceil(32) * n);
            let mut packed = vec![0; packed_rhs_blocks_len(k, n, format)];
            pack_rhs_blocks(format, k, n, &numbers, &scales, &[], &mut packed);
            let rhs = RhsBlocks { data: &packed, format };
            let problem = Gemm { m, n, k, c_row };
            if self.rhs == 5 {
                let mut scratch = vec![0.0; 3 * gemm_blocks_int8_scratch(m, k, format)];
                compute.gemm_blocks_int8(&problem, lhs, rhs, init, out, &mut scratch, epilogue);
                return;
            }
            let mut scratch = vec![0.0; 3 * gemm_blocks_scratch(m, n, k)];
            compute.gemm_blocks(&problem, lhs, rhs, init, out, &mut scratch, epilogue);
            return;
        }
        // What a plan has for three parts, so that four have to do with less.
        let mut scratch = vec![0.0; 3 * gemm_scratch(m, n, k, self.rhs == 0)];
        let problem = Gemm { m, n, k, c_row };
        compute.gemm(&problem, lhs, rhs, init, out, &mut scratch, epilogue);
    }
}

#[test]
fn products() {
    let mut init = 0;
    // The sums of few rows are longer than those of many, and sums of any length depend on how the depth is cut.
    for (m, n, k) in [
        (1, 1, 1),
        (1, 300, 700),
        (4, 70, 90),
        (5, 130, 2000),
        (12, 64, 900),
        (13, 40, 600),
        (18, 33, 700),
        (25, 16, 300),
        (61, 530, 20),
        (200, 48, 270),
        (2, 3, 0),
        (0, 5, 3),
    ] {
        for rhs in 0..6 {
            for (packed_lhs, epilogue, gap) in [(false, true, 0), (true, false, 5)] {
                init = (init + 1) % 4;
                check(&Product {
                    m,
                    n,
                    k,
                    c_row: n + gap,
                    rhs,
                    packed_lhs,
                    init,
                    epilogue,
                });
            }
        }
    }
}

#[derive(Debug)]
enum Map {
    Dense(usize),
    /// Transposes the last two axes.
    Transposed([usize; 3]),
    /// Writes rows with gaps, after what is there and a row that is the same for all.
    Rows([usize; 2], usize),
    Numbered([usize; 2]),
    /// Backward along both axes.
    Reversed([usize; 2]),
}

impl Case for Map {
    fn output(&self) -> Vec<f32> {
        random(
            7,
            match *self {
                Map::Dense(len) => len,
                Map::Transposed(shape) => shape.iter().product(),
                Map::Rows([rows, _], stride) => rows * stride,
                Map::Numbered([rows, columns]) | Map::Reversed([rows, columns]) => rows * columns,
            },
        )
    }

    fn run<C: Compute>(&self, compute: C, out: &mut [f32]) {
        let x = random(1, out.len());
        match *self {
            Map::Dense(len) => {
                compute.map(out, [len], (&x[..], Splat(0.3)), |(x, y)| {
                    math::exp(x * y) + math::erf(x)
                });
            }
            Map::Transposed([a, b, c]) => {
                let x = Strided {
                    data: &x,
                    strides: [(b * c) as isize, 1, b as isize],
                };
                compute.update(out, [a, b, c], (x,), |old, (x,)| old + math::tanh(x));
            }
            Map::Rows([rows, columns], stride) => {
                let row = random(2, columns);
                let row = Strided {
                    data: &row,
                    strides: [0, 1],
                };
                let strides = [stride as isize, 1];
                compute.update_into(out, strides, [rows, columns], (row,), |old, (row,)| old * 2.0 + row);
            }
            Map::Numbered(shape) => {
                let (row, column) = (Index { axis: 0 }, Index { axis: 1 });
                compute.map(out, shape, (row, column), |(row, column)| (row * 1000 + column) as f32);
            }
            Map::Reversed([rows, columns]) => {
                let strides = [-(columns as isize), -1];
                compute.copy(out, [rows, columns], Strided { data: &x, strides });
            }
        }
    }
}

#[test]
fn elementwise() {
    for len in [0, 1, 255, 257, 1000, 70_001] {
        check(&Map::Dense(len));
    }
    for shape in [[1, 1, 1], [2, 40, 50], [3, 7, 300], [1, 300, 7]] {
        check(&Map::Transposed(shape));
    }
    for (shape, stride) in [([1, 900], 900), ([2, 700], 701), ([300, 3], 10), ([5, 129], 200)] {
        check(&Map::Rows(shape, stride));
    }
    for shape in [[1, 1000], [31, 33], [1000, 1]] {
        check(&Map::Numbered(shape));
        check(&Map::Reversed(shape));
    }
}

#[derive(Debug)]
struct Reduced {
    reduction: Reduction,
    shape: [usize; 3],
    reduced: [bool; 3],
    backward: bool,
}

impl Case for Reduced {
    fn output(&self) -> Vec<f32> {
        let kept = self.shape.iter().zip(self.reduced).filter(|(_, reduced)| !reduced);
        random(7, kept.map(|(&size, _)| size).product())
    }

    fn run<C: Compute>(&self, compute: C, out: &mut [f32]) {
        let [a, b, c] = self.shape;
        let x = random(1, a * b * c);
        let sign = if self.backward { -1 } else { 1 };
        let strides = [sign * (b * c) as isize, c as isize, sign];
        compute.reduce(
            self.reduction,
            out,
            self.shape,
            Strided { data: &x, strides },
            self.reduced,
        );
    }
}

#[test]
fn reductions() {
    for reduction in [Reduction::Mean, Reduction::Max, Reduction::L2, Reduction::LogSumExp] {
        for shape in [[1, 1, 1], [2, 70, 300], [7, 5, 3], [33, 90, 1], [0, 3, 4], [3, 0, 40]] {
            for reduced in [
                [false, true, false],
                [true, false, false],
                [false, false, true],
                [true, true, false],
                [true, true, true],
            ] {
                check(&Reduced {
                    reduction,
                    shape,
                    reduced,
                    backward: shape[0] == 7,
                });
            }
        }
    }
}

#[derive(Debug)]
enum Row {
    Softmax { log: bool, inner: usize },
    LayerNorm,
    RmsNorm,
}

#[derive(Debug)]
struct Rows {
    row: Row,
    shape: [usize; 2],
    in_place: bool,
}

impl Case for Rows {
    fn output(&self) -> Vec<f32> {
        let inner = if let Row::Softmax { inner, .. } = self.row {
            inner
        } else {
            1
        };
        random(7, self.shape[0] * self.shape[1] * inner)
    }

    fn run<C: Compute>(&self, compute: C, out: &mut [f32]) {
        let [rows, n] = self.shape;
        let x = random(1, out.len());
        let x = if self.in_place { None } else { Some(&x[..]) };
        let (scale, bias) = (random(2, n), random(3, n));
        let affine = Affine {
            scale: Some(&scale),
            bias: Some(&bias),
        };
        match self.row {
            Row::Softmax { log: false, inner } => compute.softmax(out, x, [rows, n, inner]),
            Row::Softmax { log: true, inner } => compute.log_softmax(out, x, [rows, n, inner]),
            Row::LayerNorm => compute.layer_norm(out, x, self.shape, 1e-5, affine),
            Row::RmsNorm => compute.rms_norm(out, x, self.shape, 1e-5, affine),
        }
    }
}

#[test]
fn rows() {
    for shape in [[0, 3], [1, 100], [2, 33], [7, 1], [50, 65]] {
        for in_place in [false, true] {
            for row in [
                Row::Softmax { log: false, inner: 1 },
                Row::Softmax { log: true, inner: 3 },
                Row::LayerNorm,
                Row::RmsNorm,
            ] {
                check(&Rows { row, shape, in_place });
            }
        }
    }
}

#[derive(Debug)]
struct Images {
    images: usize,
    channels: usize,
    kind: usize,
}

impl Case for Images {
    fn output(&self) -> Vec<f32> {
        random(7, self.images * 9 * 14 * self.channels)
    }

    fn run<C: Compute>(&self, compute: C, out: &mut [f32]) {
        let x = random(1, self.images * 5 * 7 * self.channels);
        let resize = Resize {
            images: self.images,
            channels: self.channels,
            input: [5, 7],
            output: [9, 14],
            y_pixel: self.channels,
            scales: None,
            coordinates: Coordinates::HalfPixel,
        };
        let cubic = Cubic {
            coefficient: -0.75,
            exclude_outside: true,
        };
        match self.kind {
            0 => compute.resize_nearest(out, &x, &resize, Rounding::PreferFloor),
            1 => compute.resize_linear(out, &x, &resize),
            _ => compute.resize_cubic(out, &x, &resize, cubic),
        }
    }
}

#[test]
fn images() {
    for (images, channels) in [(0, 1), (1, 1), (3, 1), (8, 1), (1, 20), (3, 3)] {
        for kind in 0..3 {
            check(&Images { images, channels, kind });
        }
    }
}

/// Kernels without a token divide their work in methods of a team.
fn teams(mut f: impl FnMut(Team<'_, crate::isa::Scalar>)) {
    for parts in 1..=4 {
        for executor in [&Caller as &dyn Executor, &Scoped] {
            f(Team::new(crate::isa::Scalar, executor).parts(parts));
        }
    }
}

#[test]
fn values_of_coordinates() {
    let value = |[i, j]: [i64; 2], [k]: [i64; 1]| (i * 31 + j * 7 + k) as f32 * 0.1;
    for shape in [[0, 4], [1, 1], [5, 7], [2, 100]] {
        let len = shape[0] * shape[1];
        let (mut folded, mut generated) = (vec![0.0; len], vec![0.0; len]);
        fold::fold(&mut folded, shape, [5], 0.5, value, |sum, x| sum + x);
        fold::generate(&mut generated, shape, |at| value(at, [3]));
        teams(|team| {
            let (mut a, mut b) = (vec![0.0; len], vec![0.0; len]);
            team.fold(&mut a, shape, [5], 0.5, value, |sum, x| sum + x);
            team.generate(&mut b, shape, |at| value(at, [3]));
            assert_eq!((&a, &b), (&folded, &generated), "{team:?} {shape:?}");
        });
    }
}

#[test]
fn gathers() {
    let data = random(1, 2 * 9 * 5);
    for (sizes, indices) in [
        ([1, 18, 5], &[3i64, 17, -1, 0, 5, 5, 2][..]),
        ([1, 18, 5], &[3, 18, 1]),
        ([1, 18, 5], &[1, 2, 3, 4, 5, -19]),
        ([2, 9, 5], &[8, 0, 1]),
        ([1, 90, 1], &[89, 0, 1]),
        ([1, 90, 1], &[]),
    ] {
        let len = sizes[0] * indices.len() * sizes[2];
        let mut expected = vec![0.0; len];
        let inside = gather::gather(&mut expected, &data, indices, sizes);
        teams(|team| {
            let mut out = vec![0.0; len];
            assert_eq!(
                team.gather(&mut out, &data, indices, sizes),
                inside,
                "{team:?} {sizes:?}"
            );
            assert_eq!(out, expected, "{team:?} {sizes:?}");
        });
    }
}

#[derive(Debug)]
struct Heads {
    heads: [usize; 2],
    lengths: [usize; 2],
    /// Whether the heads of a sequence lie side by side, or one after another.
    interleaved: bool,
    causal: bool,
    masked: bool,
}

impl Heads {
    const HEAD: usize = 20;

    /// The distances of sequences and heads, and of rows, of `len` rows.
    fn strides(&self, len: usize) -> ([usize; 2], usize) {
        let heads = self.heads[1];
        match self.interleaved {
            true => ([len * heads * Heads::HEAD, Heads::HEAD], heads * Heads::HEAD),
            false => ([len * heads * Heads::HEAD, len * Heads::HEAD], Heads::HEAD),
        }
    }
}

impl Case for Heads {
    fn output(&self) -> Vec<f32> {
        random(7, self.heads[0] * self.heads[1] * self.lengths[0] * Heads::HEAD)
    }

    fn run<C: Compute>(&self, compute: C, out: &mut [f32]) {
        let ([sequences, heads], [q_len, kv_len]) = (self.heads, self.lengths);
        let ((q_head, q_row), (k_head, k_row)) = (self.strides(q_len), self.strides(kv_len));
        let problem = Attention {
            heads: self.heads,
            q_len,
            kv_len,
            head_dim: Heads::HEAD,
            value_dim: Heads::HEAD,
            scale: 0.3,
            q_head,
            q_row,
            k_head,
            k_row,
            k_column: 1,
            v_head: k_head,
            v_row: k_row,
            v_column: 1,
            out_head: q_head,
            out_row: q_row,
            causal: self.causal,
            causal_offset: 0,
        };
        let data = |seed, len| random(seed, sequences * heads * len * Heads::HEAD);
        let (q, k, v) = (data(1, q_len), data(2, kv_len), data(3, kv_len));
        // The masks of causal attentions have a row for each query.
        let rows = if self.causal { q_len } else { 1 };
        let mask = random(4, sequences * heads * rows * kv_len);
        let mask = self.masked.then_some(Mask {
            data: &mask,
            head: [heads * rows * kv_len, rows * kv_len],
            row: if self.causal { kv_len } else { 0 },
        });
        let mut scratch = vec![0.0; 3 * attention_scratch(&problem)];
        compute.attention(&problem, &q, &k, &v, mask, out, &mut scratch);
    }
}

#[test]
fn attention() {
    for heads in [[1, 1], [1, 5], [2, 3], [7, 2], [3, 1]] {
        for lengths in [[1, 30], [2, 300], [13, 40], [40, 270], [91, 270]] {
            for (interleaved, causal, masked) in [(true, false, true), (false, true, false), (true, true, true)] {
                check(&Heads {
                    heads,
                    lengths,
                    interleaved,
                    causal,
                    masked,
                });
            }
        }
    }
}
