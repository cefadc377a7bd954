use super::*;
use crate::dispatch;
use crate::isa::Isa;
use crate::kernels::linear::*;

/// How keys are masked: not at all, per query, for all queries alike.
#[derive(Clone, Copy, Debug)]
enum Masked {
    No,
    PerQuery,
    Broadcast,
}

fn check<I: Isa>(isa: I, problem: Attention, masked: Masked) {
    let Attention {
        heads,
        q_len,
        kv_len,
        head_dim,
        value_dim,
        ..
    } = problem;
    let len = |strides: [usize; 2], row: (usize, usize), column: (usize, usize)| {
        extent([(heads[0], strides[0]), (heads[1], strides[1]), row, column])
    };
    let q = random(1, len(problem.q_head, (q_len, problem.q_row), (head_dim, 1)));
    let k = random(
        2,
        len(problem.k_head, (kv_len, problem.k_row), (head_dim, problem.k_column)),
    );
    let v = random(
        3,
        len(problem.v_head, (kv_len, problem.v_row), (value_dim, problem.v_column)),
    );
    // A quarter of the keys is hidden; query 1 of each mask sees none. Sequences have their own masks.
    let mut data = random(4, heads[0] * q_len * kv_len);
    for (index, value) in data.iter_mut().enumerate() {
        if *value > 0.5 || (index / kv_len % q_len == 1 && matches!(masked, Masked::PerQuery)) {
            *value = f32::NEG_INFINITY;
        }
    }
    let row = match masked {
        Masked::PerQuery => kv_len,
        Masked::No | Masked::Broadcast => 0,
    };
    let mask = Mask {
        data: &data,
        head: [q_len * kv_len, 0],
        row,
    };
    let mask = (!matches!(masked, Masked::No)).then_some(mask);
    let mut out = vec![f32::NAN; len(problem.out_head, (q_len, problem.out_row), (value_dim, 1))];
    let mut scratch = vec![f32::NAN; attention_scratch(&problem)];
    isa.attention(&problem, &q, &k, &v, mask, &mut out, &mut scratch);
    for (sequence, head) in (0..heads[0]).flat_map(|sequence| (0..heads[1]).map(move |head| (sequence, head))) {
        let from = |strides: [usize; 2]| sequence * strides[0] + head * strides[1];
        let (q, k, v) = (
            &q[from(problem.q_head)..],
            &k[from(problem.k_head)..],
            &v[from(problem.v_head)..],
        );
        for query in 0..q_len {
            let score = |key: usize| {
                let at = |d: usize| {
                    f64::from(q[query * problem.q_row + d]) * f64::from(k[key * problem.k_row + d * problem.k_column])
                };
                let hidden = problem.causal && key > query + problem.causal_offset;
                let mask = mask.map_or(0.0, |mask| {
                    f64::from(mask.data[from(mask.head) + query * mask.row + key])
                });
                if hidden {
                    f64::NEG_INFINITY
                } else {
                    (0..head_dim).map(at).sum::<f64>() * f64::from(problem.scale) + mask
                }
            };
            let weights: Vec<f64> = (0..kv_len).map(|key| score(key).exp()).collect();
            let total: f64 = weights.iter().sum();
            for d in 0..value_dim {
                let value = |key: usize| weights[key] * f64::from(v[key * problem.v_row + d * problem.v_column]);
                let expected = if total == 0.0 {
                    0.0
                } else {
                    (0..kv_len).map(value).sum::<f64>() / total
                };
                let actual = f64::from(out[from(problem.out_head) + query * problem.out_row + d]);
                // The error of a score is a relative error of its weight.
                let bound = 2e-7 * (16.0 + (head_dim as f64).sqrt() + (kv_len as f64).sqrt());
                let close = (actual - expected).abs() <= bound;
                assert!(
                    close,
                    "{:?} {problem:?} {masked:?} at {sequence}, {head}, {query}, {d}: {actual} is not {expected}",
                    I::LEVEL
                );
            }
        }
    }
}

#[test]
fn lengths_layouts_and_masks() {
    for level in levels() {
        for (q_len, kv_len, head_dim, value_dim) in [
            (1, 1, 1, 1),
            (1, 70, 64, 64),
            (1, 600, 33, 20),
            (5, 30, 16, 17),
            (13, 300, 24, 32),
            (40, 40, 8, 5),
            (50, 520, 40, 48),
            (3, 0, 4, 4),
            (0, 3, 4, 4),
        ] {
            let base = Attention {
                heads: [1, 1],
                q_len,
                kv_len,
                head_dim,
                value_dim,
                scale: 0.7,
                q_head: [0, 0],
                q_row: head_dim + 3,
                k_head: [0, 0],
                k_row: head_dim + 5,
                k_column: 1,
                v_head: [0, 0],
                v_row: value_dim + 1,
                v_column: 1,
                out_head: [0, 0],
                out_row: value_dim + 2,
                causal: false,
                causal_offset: 0,
            };
            for masked in [Masked::No, Masked::PerQuery, Masked::Broadcast] {
                dispatch!(level, check(base, masked));
                let offset = kv_len.saturating_sub(q_len);
                dispatch!(
                    level,
                    check(
                        Attention {
                            causal: true,
                            causal_offset: offset,
                            ..base
                        },
                        masked
                    )
                );
                dispatch!(level, check(Attention { causal: true, ..base }, masked));
                let transposed = Attention {
                    k_row: 1,
                    k_column: kv_len + 1,
                    v_row: 1,
                    v_column: kv_len + 2,
                    ..base
                };
                dispatch!(level, check(transposed, masked));
                dispatch!(level, check(Attention { scale: -0.7, ..base }, masked));
            }
        }
    }
}

#[test]
fn heads_side_by_side_and_heads_of_their_own() {
    for level in levels() {
        let (q_len, kv_len, head_dim) = (14, 35, 24);
        let base = Attention {
            heads: [2, 3],
            q_len,
            kv_len,
            head_dim,
            value_dim: head_dim,
            scale: 0.25,
            // Queries, and results, of three heads in a row; keys that all heads share.
            q_head: [q_len * 3 * head_dim, head_dim],
            q_row: 3 * head_dim,
            k_head: [kv_len * head_dim, 0],
            k_row: head_dim,
            k_column: 1,
            v_head: [3 * kv_len * head_dim, kv_len * head_dim],
            v_row: head_dim,
            v_column: 1,
            out_head: [q_len * 3 * head_dim, head_dim],
            out_row: 3 * head_dim,
            causal: false,
            causal_offset: 0,
        };
        for masked in [Masked::No, Masked::PerQuery, Masked::Broadcast] {
            dispatch!(level, check(base, masked));
            dispatch!(level, check(Attention { q_len: 2, ..base }, masked));
            dispatch!(level, check(Attention { heads: [2, 0], ..base }, masked));
        }
    }
}

#[test]
fn large_scores_do_not_overflow() {
    fn check<I: Isa>(isa: I) {
        let problem = Attention {
            heads: [1, 1],
            q_len: 1,
            kv_len: 300,
            head_dim: 1,
            value_dim: 1,
            scale: 1000.0,
            q_head: [0, 0],
            q_row: 1,
            k_head: [0, 0],
            k_row: 1,
            k_column: 1,
            v_head: [0, 0],
            v_row: 1,
            v_column: 1,
            out_head: [0, 0],
            out_row: 1,
            causal: false,
            causal_offset: 0,
        };
        let k: Vec<f32> = (0..300).map(|key| key as f32).collect();
        let mut out = [0.0];
        let mut scratch = vec![0.0; attention_scratch(&problem)];
        isa.attention(&problem, &[1.0], &k, &k, None, &mut out, &mut scratch);
        assert_eq!(out, [299.0]);
    }
    for level in levels() {
        dispatch!(level, check());
    }
}
