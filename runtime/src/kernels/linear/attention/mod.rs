//! Scaled dot product attention.
//!
//! Keys are taken in blocks and the softmax is kept up to date as they pass (Milakov and Gimelshein, *Online
//! normalizer calculation for softmax*, 2018; Dao et al., *FlashAttention*, 2022), so that scores exist for one block
//! of queries and keys only. Unlike there, the blocks of keys are the outer loop: a block is packed once and serves all
//! queries of its head, whose outputs wait in the second level cache.

mod softmax;

use super::ahead::Ahead;
use super::block::{Block, Blocks};
use super::gemm::{GemmPart, block_scratch, equal_blocks};
use super::pack::{PANEL_COLUMNS, PANEL_ROWS, pack_rhs, packed_rhs_len};
use super::{Epilogue, Init, Lhs, Linear, MatrixMut, Rhs, extent, min};
use crate::isa::Isa;
use crate::kernels::vector::Vector;
use crate::team::{Compute, Team};
use softmax::{GROUP, Scores};

/// The attention of many heads. Rows of `q` and `out` are contiguous.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    /// Sequences, and heads of each. Every operand has a distance between either.
    pub heads: [usize; 2],
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
    /// Elements between the queries of sequences, and of heads.
    pub q_head: [usize; 2],
    /// Elements between queries.
    pub q_row: usize,
    /// Elements between the keys of sequences, and of heads.
    pub k_head: [usize; 2],
    /// Elements between keys.
    pub k_row: usize,
    /// Elements between the components of a key: 1, or the distance of rows where keys are given transposed.
    pub k_column: usize,
    /// Elements between the values of sequences, and of heads.
    pub v_head: [usize; 2],
    /// Elements between values.
    pub v_row: usize,
    /// Elements between the components of a value.
    pub v_column: usize,
    /// Elements between the results of sequences, and of heads.
    pub out_head: [usize; 2],
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
    /// Element `(sequence, head, query, key)` is
    /// `data[sequence * head[0] + head * head[1] + query * row + key]`, with the field [`head`](Mask::head).
    pub data: &'a [f32],
    /// Elements between the masks of sequences and of heads, 0 where they have the same.
    pub head: [usize; 2],
    /// Elements between queries, 0 if all queries have the same mask.
    pub row: usize,
}

/// Keys of a block. The outputs of all queries are read and written once for each, so that larger ones are better as long
/// as packed keys and values stay in the second level cache.
const KEYS: usize = 512;

/// Scores of a block: 48 KiB, a first level cache or a part of the second.
const SCORES: usize = 12288;

/// Queries of which a block is a multiple, so that it is cut into whole tiles.
const QUERIES: usize = 2 * PANEL_ROWS;

/// Queries from which on it pays to pack values.
const PACKED_QUERIES: usize = 12;

/// Queries up to which scores are dot products.
const DOT_QUERIES: usize = 3;

/// Values of scratch that an attention needs, monotone in every length.
pub const fn attention_scratch(problem: &Attention) -> usize {
    let keys = min(problem.kv_len.next_multiple_of(PANEL_COLUMNS), KEYS);
    let values = packed_rhs_len(keys, problem.value_dim);
    let on_the_fly = block_scratch(problem.value_dim, keys);
    let operands = packed_rhs_len(problem.head_dim, keys) + if values > on_the_fly { values } else { on_the_fly };
    2 * per_query(problem) + min(problem.q_len * keys, SCORES) + operands
}

/// Values of scratch with one for each query, a whole number of cache lines: vectors behind them are not cut by lines.
const fn per_query(problem: &Attention) -> usize {
    problem.q_len.next_multiple_of(PANEL_COLUMNS)
}

#[inline(always)]
pub(super) fn attention<S: Vector + Blocks + Linear>(
    isa: S,
    problem: &Attention,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    mask: Option<Mask<'_>>,
    out: &mut [f32],
    scratch: &mut [f32],
) {
    check(problem, q, k, v, mask, out);
    assert!(
        scratch.len() >= attention_scratch(problem),
        "attention: the scratch is too short"
    );
    if problem.q_len == 0 || problem.value_dim == 0 {
        return;
    }
    for sequence in 0..problem.heads[0] {
        for head in 0..problem.heads[1] {
            let from = |strides: [usize; 2]| sequence * strides[0] + head * strides[1];
            let mask = mask.map(|mask| Mask {
                data: &mask.data[from(mask.head)..],
                ..mask
            });
            one_head(
                isa,
                problem,
                &q[from(problem.q_head)..],
                &k[from(problem.k_head)..],
                &v[from(problem.v_head)..],
                mask,
                MatrixMut::new(
                    &mut out[from(problem.out_head)..],
                    problem.q_len,
                    problem.value_dim,
                    problem.out_row,
                ),
                scratch,
            );
        }
    }
}

/// The attention of heads of one sequence, whose results are columns of a matrix.
#[inline(always)]
pub(super) fn attention_columns<S: Vector + Blocks + Linear>(
    isa: S,
    problem: &Attention,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    mask: Option<Mask<'_>>,
    mut out: MatrixMut<'_>,
    scratch: &mut [f32],
) {
    check_operands(problem, q, k, v, mask);
    assert!(
        scratch.len() >= attention_scratch(problem),
        "attention: the scratch is too short"
    );
    if problem.q_len == 0 || problem.value_dim == 0 {
        return;
    }
    for head in 0..problem.heads[1] {
        let mask = mask.map(|mask| Mask {
            data: &mask.data[head * mask.head[1]..],
            ..mask
        });
        let column = head * problem.out_head[1];
        one_head(
            isa,
            problem,
            &q[head * problem.q_head[1]..],
            &k[head * problem.k_head[1]..],
            &v[head * problem.v_head[1]..],
            mask,
            out.part(0..problem.q_len, column..column + problem.value_dim),
            scratch,
        );
    }
}

/// Divides the sequences, if there are enough, or the heads of each, or, where heads are few, the queries.
pub(super) fn attention_parts<S: Isa>(
    team: Team<'_, S>,
    problem: &Attention,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    mask: Option<Mask<'_>>,
    out: &mut [f32],
    scratch: &mut [f32],
) {
    check(problem, q, k, v, mask, out);
    let needed = attention_scratch(problem).max(1);
    let team = team.parts(team.count(scratch.len() / needed));
    let [sequences, heads] = problem.heads;
    let (out_sequence, out_head) = (problem.out_head[0], problem.out_head[1]);
    let matrix = extent([(problem.q_len, problem.out_row), (problem.value_dim, 1)]);
    // The columns of all heads of a sequence side by side, or its heads one after another.
    let columns = heads
        .saturating_sub(1)
        .saturating_mul(out_head)
        .saturating_add(problem.value_dim);
    let interleaved = out_head >= problem.value_dim && (columns <= problem.out_row || problem.q_len <= 1);
    let apart = out_head >= matrix;
    let sequence = extent([(heads, out_head), (matrix, 1)]);
    let part = |sequence: usize, head: usize, heads: [usize; 2]| {
        let from = |strides: [usize; 2]| sequence * strides[0] + head * strides[1];
        let mask = mask.map(|mask| Mask {
            data: mask.data.get(from(mask.head)..).unwrap_or_default(),
            ..mask
        });
        (
            Attention { heads, ..*problem },
            q.get(from(problem.q_head)..).unwrap_or_default(),
            k.get(from(problem.k_head)..).unwrap_or_default(),
            v.get(from(problem.v_head)..).unwrap_or_default(),
            mask,
        )
    };
    if problem.q_len == 0 || problem.value_dim == 0 {
        return;
    }
    if sequences >= team.count(usize::MAX) && (sequences == 1 || out_sequence >= sequence) {
        let share = team.share(sequences);
        let pieces = out.chunks_mut(share.saturating_mul(out_sequence).max(1));
        let pieces = pieces.take(sequences.div_ceil(share)).zip(scratch.chunks_mut(needed));
        team.each(pieces, |index, (out, scratch)| {
            let first = index * share;
            let (part, q, k, v, mask) = part(first, 0, [share.min(sequences - first), heads]);
            team.isa().attention(&part, q, k, v, mask, out, scratch);
        });
        return;
    }
    let share = team.share(heads);
    // Parts of heads are of unequal size where heads are few. Those of queries pack keys and values once more each.
    let unequal = heads.div_ceil(share) * share * 8 > heads * 9 || heads < team.count(usize::MAX);
    let queries = team.share(problem.q_len.div_ceil(2)) * 2;
    let last = problem.q_len - (problem.q_len - 1) / queries * queries;
    let by_queries = unequal && last >= 2 * PACKED_QUERIES && (interleaved || heads == 1);
    for sequence in 0..sequences {
        let out = &mut out[sequence * out_sequence..];
        let scratches = scratch.chunks_mut(needed);
        if by_queries {
            let out = MatrixMut::new(out, problem.q_len, columns, problem.out_row);
            let pieces = out.divide(queries, columns);
            team.each(pieces.zip(scratches), |index, (out, scratch)| {
                let first = index * queries;
                let (mut part, q, k, v, mask) = part(sequence, 0, [1, heads]);
                part.q_len = out.rows();
                part.causal_offset += first;
                let q = q.get(first * problem.q_row..).unwrap_or_default();
                let mask = mask.map(|mask| Mask {
                    data: mask.data.get(first * mask.row..).unwrap_or_default(),
                    ..mask
                });
                team.isa().attention_columns(&part, q, k, v, mask, out, scratch);
            });
        } else if apart {
            let pieces = out
                .chunks_mut(share.saturating_mul(out_head).max(1))
                .take(heads.div_ceil(share));
            team.each(pieces.zip(scratches), |index, (out, scratch)| {
                let first = index * share;
                let (part, q, k, v, mask) = part(sequence, first, [1, share.min(heads - first)]);
                team.isa().attention(&part, q, k, v, mask, out, scratch);
            });
        } else if interleaved {
            let out = MatrixMut::new(out, problem.q_len, columns, problem.out_row);
            let pieces = out.divide(problem.q_len, share.saturating_mul(out_head).max(1));
            team.each(pieces.zip(scratches), |index, (out, scratch)| {
                let first = index * share;
                let (part, q, k, v, mask) = part(sequence, first, [1, share.min(heads - first)]);
                team.isa().attention_columns(&part, q, k, v, mask, out, scratch);
            });
        } else {
            let (part, q, k, v, mask) = part(sequence, 0, [1, heads]);
            team.isa().attention(&part, q, k, v, mask, out, scratch);
        }
    }
}

/// The queries and keys of a step.
#[derive(Clone, Copy)]
struct Tile {
    query: usize,
    queries: usize,
    key: usize,
    /// Keys of the block, which begins at `key`.
    keys: usize,
    /// How many of them any of the queries sees.
    visible: usize,
    /// Elements between rows of scores.
    row: usize,
}

#[inline(always)]
fn one_head<S: Vector + Blocks + Linear>(
    isa: S,
    problem: &Attention,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    mask: Option<Mask<'_>>,
    mut out: MatrixMut<'_>,
    scratch: &mut [f32],
) {
    let &Attention {
        q_len,
        kv_len,
        head_dim,
        value_dim,
        ..
    } = problem;
    if kv_len == 0 {
        for row in 0..q_len {
            out.run(row, 0..value_dim).fill(0.0);
        }
        return;
    }
    let (maxima, scratch) = scratch.split_at_mut(per_query(problem));
    let (sums, scratch) = scratch.split_at_mut(per_query(problem));
    maxima.fill(f32::NEG_INFINITY);
    sums.fill(0.0);
    let block = equal_blocks(kv_len, KEYS, PANEL_COLUMNS);
    let block_queries = (SCORES / block / QUERIES * QUERIES).min(q_len);
    let (scores, operands) = scratch.split_at_mut(block_queries * block);
    let (k_packed, operands) = operands.split_at_mut(packed_rhs_len(head_dim, block));
    let by_dots = q_len <= DOT_QUERIES && problem.k_column == 1;
    let v_in_place = q_len < PACKED_QUERIES && problem.v_column == 1;
    let mut key = 0;
    while key < kv_len {
        let keys = block.min(kv_len - key);
        let (k, v) = (&k[key * problem.k_row..], &v[key * problem.v_row..]);
        if !by_dots {
            pack_keys(isa, problem, keys, k, k_packed);
        }
        if !v_in_place {
            pack_rhs(keys, value_dim, v, problem.v_row, problem.v_column, operands);
        }
        let mut query = 0;
        while query < q_len {
            let queries = block_queries.min(q_len - query);
            let tile = Tile {
                query,
                queries,
                key,
                keys,
                visible: problem.visible(query + queries - 1, key, keys),
                row: keys.next_multiple_of(PANEL_COLUMNS),
            };
            query += queries;
            if tile.visible == 0 {
                continue;
            }
            let q = &q[tile.query * problem.q_row..];
            if by_dots {
                for (row, scores) in scores.chunks_exact_mut(tile.row).take(queries).enumerate() {
                    let q = &q[row * problem.q_row..][..head_dim];
                    for (key, score) in scores[..tile.visible].iter_mut().enumerate() {
                        *score = dot(isa, q, &k[key * problem.k_row..][..head_dim]);
                    }
                    scores[tile.visible..].fill(0.0);
                }
            } else {
                score(isa, problem, tile, q, k_packed, scores);
            }
            let mut out = out.part(tile.query..tile.query + queries, 0..value_dim);
            for first in (0..queries).step_by(GROUP) {
                let count = GROUP.min(queries - first);
                let index = tile.query + first;
                let mut group = Scores {
                    data: &mut scores[first * tile.row..(first + count) * tile.row],
                    row: tile.row,
                    scale: problem.scale,
                };
                let mask = mask.map(|mask| move |row: usize| &mask.data[(index + row) * mask.row + key..]);
                let visible = |row: usize| problem.visible(index + row, key, keys);
                let (maxima, sums) = (&mut maxima[index..][..count], &mut sums[index..][..count]);
                let factors = group.weigh(isa, visible, mask, maxima, sums);
                if let (Some(factors), 1..) = (factors, key) {
                    for (row, factor) in factors[..count].iter().enumerate() {
                        scale(out.run(first + row, 0..value_dim), *factor);
                    }
                }
            }
            average(isa, problem, tile, scores, v_in_place.then_some(v), operands, &mut out);
            if problem.visible(tile.query + queries - 1, key + keys, kv_len - (key + keys)) == 0 {
                for (row, &sum) in sums[tile.query..][..queries].iter().enumerate() {
                    let factor = if sum == 0.0 { 0.0 } else { 1.0 / sum };
                    scale(out.run(row, 0..value_dim), factor);
                }
            }
        }
        key += keys;
    }
}

/// The products of the queries of a tile with the keys of a block, which end in zeros.
#[inline(always)]
fn score<S: Vector + Blocks>(isa: S, problem: &Attention, tile: Tile, q: &[f32], k_packed: &[f32], scores: &mut [f32]) {
    isa.gemm_block(Block {
        k: problem.head_dim,
        a: q,
        a_group: PANEL_ROWS * problem.q_row,
        a_row: problem.q_row,
        a_column: 1,
        b: k_packed,
        b_panel: problem.head_dim * PANEL_COLUMNS,
        b_row: PANEL_COLUMNS,
        ahead: Ahead::NONE,
        init: Init::Zero,
        c: MatrixMut::new(
            scores,
            tile.queries,
            tile.visible.next_multiple_of(PANEL_COLUMNS),
            tile.row,
        ),
        bounds: Epilogue::UNBOUNDED,
    });
}

/// Adds the values of a block, weighted, to the results of a tile, or writes them if it is the first block. Values that
/// are not read in place have been packed into `operands`.
#[inline(always)]
fn average<S: Vector + Blocks + Linear>(
    isa: S,
    problem: &Attention,
    tile: Tile,
    weights: &[f32],
    in_place: Option<&[f32]>,
    operands: &mut [f32],
    out: &mut MatrixMut<'_>,
) {
    let out = out.part(0..tile.queries, 0..problem.value_dim);
    let init = if tile.key == 0 { Init::Zero } else { Init::Accumulate };
    if let Some(data) = in_place {
        let product = GemmPart::whole(tile.queries, tile.visible);
        let weights = Lhs::Strided {
            data: weights,
            row: tile.row,
            column: 1,
        };
        let values = Rhs::Strided {
            data,
            row: problem.v_row,
            column: 1,
        };
        isa.gemm_part(product, weights, values, init, out, operands, Epilogue::None);
        return;
    }
    isa.gemm_block(Block {
        k: tile.visible,
        a: weights,
        a_group: PANEL_ROWS * tile.row,
        a_row: tile.row,
        a_column: 1,
        b: operands,
        b_panel: tile.keys * PANEL_COLUMNS,
        b_row: PANEL_COLUMNS,
        ahead: Ahead::NONE,
        init,
        c: out,
        bounds: Epilogue::UNBOUNDED,
    });
}

/// Packs keys as the right-hand side `[head_dim, keys]`.
#[inline(always)]
fn pack_keys<S: Vector>(isa: S, problem: &Attention, keys: usize, k: &[f32], packed: &mut [f32]) {
    let &Attention {
        head_dim,
        k_row,
        k_column,
        ..
    } = problem;
    // Squares of keys that are contiguous are transposed in registers; what is left over is packed as usual.
    let (whole, depth) = if k_column == 1 {
        (keys / PANEL_COLUMNS, head_dim / S::LANES * S::LANES)
    } else {
        (0, 0)
    };
    let (panels, last) = packed.split_at_mut(whole * PANEL_COLUMNS * head_dim);
    for (index, panel) in panels.chunks_exact_mut((PANEL_COLUMNS * head_dim).max(1)).enumerate() {
        let k = &k[index * PANEL_COLUMNS * k_row..];
        let k_len = extent([(PANEL_COLUMNS, k_row), (head_dim, 1)]);
        assert!(k.len() >= k_len, "attention: the keys are too short");
        for p in (0..depth).step_by(S::LANES) {
            for column in (0..PANEL_COLUMNS).step_by(S::LANES) {
                // SAFETY: the source ends with column `p + LANES <= head_dim` of row `column + LANES <= 16`, which the
                // assertion covers, the target with column `column + LANES <= 16` of row `p + LANES` of the panel,
                // which has `head_dim` rows of 16.
                unsafe {
                    isa.transpose(
                        k.as_ptr().add(column * k_row + p),
                        k_row,
                        panel.as_mut_ptr().add(p * PANEL_COLUMNS + column),
                        PANEL_COLUMNS,
                    );
                }
            }
        }
        let k = &k[depth.min(k.len())..];
        pack_rhs(
            head_dim - depth,
            PANEL_COLUMNS,
            k,
            1,
            k_row,
            &mut panel[depth * PANEL_COLUMNS..],
        );
    }
    let done = whole * PANEL_COLUMNS;
    if done < keys {
        pack_rhs(head_dim, keys - done, &k[done * k_row..], k_column, k_row, last);
    }
}

#[inline(always)]
fn scale(row: &mut [f32], factor: f32) {
    for value in row {
        *value *= factor;
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
    check_operands(problem, q, k, v, mask);
    let out_needed = extent([
        (problem.heads[0], problem.out_head[0]),
        (problem.heads[1], problem.out_head[1]),
        (problem.q_len, problem.out_row),
        (problem.value_dim, 1),
    ]);
    assert!(out.len() >= out_needed, "attention: the output is too short");
}

fn check_operands(problem: &Attention, q: &[f32], k: &[f32], v: &[f32], mask: Option<Mask<'_>>) {
    let &Attention {
        heads,
        q_len,
        kv_len,
        head_dim,
        value_dim,
        ..
    } = problem;
    let len = |strides: [usize; 2], rows: (usize, usize), columns: (usize, usize)| {
        extent([(heads[0], strides[0]), (heads[1], strides[1]), rows, columns])
    };
    let q_needed = len(problem.q_head, (q_len, problem.q_row), (head_dim, 1));
    assert!(q.len() >= q_needed, "attention: the queries are too short");
    let k_needed = len(problem.k_head, (kv_len, problem.k_row), (head_dim, problem.k_column));
    assert!(k.len() >= k_needed, "attention: the keys are too short");
    let v_needed = len(problem.v_head, (kv_len, problem.v_row), (value_dim, problem.v_column));
    assert!(v.len() >= v_needed, "attention: the values are too short");
    if let Some(mask) = mask {
        let mask_needed = len(mask.head, (q_len, mask.row), (kv_len, 1));
        assert!(mask.data.len() >= mask_needed, "attention: the mask is too short");
    }
}

/// The product of two vectors of the same length.
#[inline(always)]
fn dot<S: Vector>(isa: S, a: &[f32], b: &[f32]) -> f32 {
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
    isa.sum(isa.add(isa.add(sums[0], sums[1]), isa.add(sums[2], sums[3])))
}
