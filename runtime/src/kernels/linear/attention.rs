//! Scaled dot product attention of one head.
//!
//! Keys are taken in blocks and the softmax is kept up to date as they pass (Milakov and Gimelshein, *Online
//! normalizer calculation for softmax*, 2018; Dao et al., *FlashAttention*, 2022), so that scores exist for one block
//! of queries and keys only.

use super::gemm::{Gemm, block_scratch};
use super::pack::{pack_rhs, packed_rhs_len};
use super::{Init, Lhs, Linear, Rhs, extent, min};
use crate::kernels::simd::Simd;
use crate::math::exp;

/// The attention of one head. Rows of `q` and `out` are contiguous.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    /// Queries, the rows of `q` and `out`.
    pub q_len: usize,
    /// Keys, the rows of `k` and `v`.
    pub kv_len: usize,
    /// Columns of `q` and `k`.
    pub head_dim: usize,
    /// Columns of `v` and `out`.
    pub value_dim: usize,
    /// Factor of the products of queries and keys.
    pub scale: f32,
    /// Elements between queries.
    pub q_row: usize,
    /// Elements between keys.
    pub k_row: usize,
    /// Elements between the components of a key: 1, or the distance of rows where keys are given transposed.
    pub k_column: usize,
    /// Elements between values.
    pub v_row: usize,
    /// Elements between the components of a value.
    pub v_column: usize,
    /// Elements between rows of `out`.
    pub out_row: usize,
    /// Whether query `i` sees no key after `i + causal_offset`.
    pub causal: bool,
    /// Keys that precede the first query, such as those of a cache.
    pub causal_offset: usize,
}

/// What is added to the scores before the softmax; minus infinity excludes a key.
///
/// A query for which no key is left yields zeros, as the operator `Attention` of ONNX does.
#[derive(Clone, Copy, Debug)]
pub struct Mask<'a> {
    /// Element `(query, key)` is `data[query * row + key]`.
    pub data: &'a [f32],
    /// Elements between queries, 0 if all queries have the same mask.
    pub row: usize,
}

/// Keys of a block.
const KEYS: usize = 256;

/// Queries of a block.
const QUERIES: usize = 24;

/// Queries from which on it pays to pack keys and values.
const PACKED_QUERIES: usize = 12;

/// Queries up to which scores are dot products.
const DOT_QUERIES: usize = 3;

/// Values of scratch that an attention needs, monotone in every length.
pub const fn attention_scratch(problem: &Attention) -> usize {
    let keys = min(problem.kv_len, KEYS);
    let packed = packed_rhs_len(problem.head_dim, keys) + packed_rhs_len(keys, problem.value_dim);
    let blocks = [
        block_scratch(keys, problem.head_dim),
        block_scratch(problem.value_dim, keys),
    ];
    let on_the_fly = if blocks[0] > blocks[1] { blocks[0] } else { blocks[1] };
    let operands = if packed > on_the_fly { packed } else { on_the_fly };
    2 * problem.q_len + min(problem.q_len, QUERIES) * keys + operands
}

#[inline(always)]
pub(super) fn attention<S: Simd + Linear>(
    isa: S,
    problem: &Attention,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    mask: Option<Mask<'_>>,
    out: &mut [f32],
    scratch: &mut [f32],
) {
    let &Attention {
        q_len,
        kv_len,
        head_dim,
        value_dim,
        ..
    } = problem;
    check(problem, q, k, v, mask, out);
    assert!(
        scratch.len() >= attention_scratch(problem),
        "attention: the scratch is too short"
    );
    for row in 0..q_len {
        out[row * problem.out_row..][..value_dim].fill(0.0);
    }
    let (maxima, scratch) = scratch.split_at_mut(q_len);
    let (sums, scratch) = scratch.split_at_mut(q_len);
    maxima.fill(f32::NEG_INFINITY);
    sums.fill(0.0);
    let (scores, operands) = scratch.split_at_mut(min(q_len, QUERIES) * min(kv_len, KEYS));
    let mut key = 0;
    while key < kv_len {
        let keys = KEYS.min(kv_len - key);
        let (k, v) = (&k[key * problem.k_row..], &v[key * problem.v_row..]);
        let (mut k_side, mut v_side) = (
            Rhs::Strided {
                data: k,
                row: problem.k_column,
                column: problem.k_row,
            },
            Rhs::Strided {
                data: v,
                row: problem.v_row,
                column: problem.v_column,
            },
        );
        let mut scratch = &mut operands[..];
        if q_len >= PACKED_QUERIES {
            let (k_packed, rest) = scratch.split_at_mut(packed_rhs_len(head_dim, keys));
            let (v_packed, rest) = rest.split_at_mut(packed_rhs_len(keys, value_dim));
            pack_rhs(head_dim, keys, k, problem.k_column, problem.k_row, k_packed);
            pack_rhs(keys, value_dim, v, problem.v_row, problem.v_column, v_packed);
            (k_side, v_side) = (Rhs::Packed(k_packed), Rhs::Packed(v_packed));
            scratch = rest;
        }
        let mut query = 0;
        while query < q_len {
            let queries = QUERIES.min(q_len - query);
            let visible = problem.visible(query + queries - 1, key, keys);
            if visible == 0 {
                query += queries;
                continue;
            }
            let rows = &q[query * problem.q_row..];
            if q_len <= DOT_QUERIES && problem.k_column == 1 {
                for (row, scores) in scores.chunks_exact_mut(keys).take(queries).enumerate() {
                    let q = &rows[row * problem.q_row..][..head_dim];
                    for (key, score) in scores.iter_mut().enumerate() {
                        *score = dot(isa, q, &k[key * problem.k_row..][..head_dim]);
                    }
                }
            } else {
                let product = Gemm {
                    m: queries,
                    n: keys,
                    k: head_dim,
                    c_row: keys,
                };
                let q_side = Lhs::Strided {
                    data: rows,
                    row: problem.q_row,
                    column: 1,
                };
                isa.gemm(&product, q_side, k_side, Init::Zero, scores, scratch, None);
            }
            for row in 0..queries {
                let index = query + row;
                let scores = &mut scores[row * keys..][..keys];
                let mask = mask.map(|mask| &mask.data[index * mask.row + key..][..keys]);
                let (visible, hidden) = scores.split_at_mut(problem.visible(index, key, keys));
                hidden.fill(0.0);
                let out = &mut out[index * problem.out_row..][..value_dim];
                update(problem.scale, visible, mask, &mut maxima[index], &mut sums[index], out);
            }
            let product = Gemm {
                m: queries,
                n: value_dim,
                k: keys,
                c_row: problem.out_row,
            };
            let weights = Lhs::Strided {
                data: scores,
                row: keys,
                column: 1,
            };
            let out = &mut out[query * problem.out_row..];
            isa.gemm(&product, weights, v_side, Init::Accumulate, out, scratch, None);
            query += queries;
        }
        key += keys;
    }
    for (row, &sum) in sums.iter().enumerate() {
        let factor = if sum == 0.0 { 0.0 } else { 1.0 / sum };
        for value in &mut out[row * problem.out_row..][..value_dim] {
            *value *= factor;
        }
    }
}

impl Attention {
    /// How many of the keys `key..key + keys` a query sees.
    #[inline(always)]
    fn visible(&self, query: usize, key: usize, keys: usize) -> usize {
        if self.causal {
            (query + self.causal_offset + 1).saturating_sub(key).min(keys)
        } else {
            keys
        }
    }
}

fn check(problem: &Attention, q: &[f32], k: &[f32], v: &[f32], mask: Option<Mask<'_>>, out: &[f32]) {
    let &Attention {
        q_len,
        kv_len,
        head_dim,
        value_dim,
        ..
    } = problem;
    assert!(
        q.len() >= extent([(q_len, problem.q_row), (head_dim, 1)]),
        "attention: the queries are too short"
    );
    let k_len = extent([(kv_len, problem.k_row), (head_dim, problem.k_column)]);
    assert!(k.len() >= k_len, "attention: the keys are too short");
    let v_len = extent([(kv_len, problem.v_row), (value_dim, problem.v_column)]);
    assert!(v.len() >= v_len, "attention: the values are too short");
    let out_len = extent([(q_len, problem.out_row), (value_dim, 1)]);
    assert!(out.len() >= out_len, "attention: the output is too short");
    if let Some(mask) = mask {
        let mask_len = extent([(q_len, mask.row), (kv_len, 1)]);
        assert!(mask.data.len() >= mask_len, "attention: the mask is too short");
    }
}

/// Turns the scores of a query into weights relative to the largest score so far, and rescales what was summed
/// before where that has grown.
#[inline(always)]
fn update(scale: f32, scores: &mut [f32], mask: Option<&[f32]>, maximum: &mut f32, sum: &mut f32, out: &mut [f32]) {
    match mask {
        Some(mask) => {
            for (score, mask) in scores.iter_mut().zip(mask) {
                *score = *score * scale + mask;
            }
        }
        None => {
            for score in scores.iter_mut() {
                *score *= scale;
            }
        }
    }
    let largest = lanes(scores, *maximum, |a, b| if b > a { b } else { a });
    if largest == f32::NEG_INFINITY {
        scores.fill(0.0);
        return;
    }
    if largest > *maximum {
        if *sum != 0.0 {
            let factor = exp(*maximum - largest);
            *sum *= factor;
            for value in out.iter_mut() {
                *value *= factor;
            }
        }
        *maximum = largest;
    }
    for score in scores.iter_mut() {
        *score = exp(*score - largest);
    }
    *sum += lanes(scores, 0.0, |a, b| a + b);
}

/// Combines values in 32 independent lanes, which a compiler may keep in vectors.
#[inline(always)]
fn lanes(values: &[f32], start: f32, combine: impl Fn(f32, f32) -> f32) -> f32 {
    let mut totals = [start; 32];
    let mut chunks = values.chunks_exact(32);
    for chunk in &mut chunks {
        for (total, &value) in totals.iter_mut().zip(chunk) {
            *total = combine(*total, value);
        }
    }
    for (total, &value) in totals.iter_mut().zip(chunks.remainder()) {
        *total = combine(*total, value);
    }
    let mut width = 16;
    while width > 0 {
        for lane in 0..width {
            totals[lane] = combine(totals[lane], totals[lane + width]);
        }
        width /= 2;
    }
    totals[0]
}

/// The product of two vectors of the same length.
#[inline(always)]
fn dot<S: Simd>(isa: S, a: &[f32], b: &[f32]) -> f32 {
    let len = a.len().min(b.len());
    let mut sums = [isa.splat(0.0); 4];
    let mut index = 0;
    // SAFETY: all reads end at `len`, the length of the shorter slice.
    unsafe {
        while len - index >= 4 * S::LANES {
            for (vector, sum) in sums.iter_mut().enumerate() {
                let at = index + vector * S::LANES;
                *sum = isa.mul_add(isa.load(a.as_ptr().add(at)), isa.load(b.as_ptr().add(at)), *sum);
            }
            index += 4 * S::LANES;
        }
        while index < len {
            let count = S::LANES.min(len - index);
            let lanes = isa.lanes(0, count);
            let a = isa.load_masked(a.as_ptr().add(index), lanes);
            sums[0] = isa.mul_add(a, isa.load_masked(b.as_ptr().add(index), lanes), sums[0]);
            index += count;
        }
    }
    let total = isa.add(isa.add(sums[0], sums[1]), isa.add(sums[2], sums[3]));
    let mut stored = [0.0; 16];
    // SAFETY: a vector has at most 16 lanes.
    unsafe { isa.store(stored.as_mut_ptr(), total) };
    let mut width = S::LANES / 2;
    while width > 0 {
        for lane in 0..width {
            stored[lane] += stored[lane + width];
        }
        width /= 2;
    }
    stored[0]
}
