//! Matrix products and attention.

use super::normalize::softmax_line;
use super::numbers::{Numbers, Ring, floats};
use crate::ir::op::Op;
use crate::ir::tensor::Tensor;

/// The matrix product over the last two axes; leading axes broadcast.
pub(super) fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor, String> {
    if a.dtype.is_float() {
        matmul_over::<f64>(a, b)
    } else {
        matmul_over::<i64>(a, b)
    }
}

fn matmul_over<R: Ring>(a: &Tensor, b: &Tensor) -> Result<Tensor, String> {
    let error = || format!("matrix product of {a:?} and {b:?}");
    let (Some((a_lead, &[m, k])), Some((b_lead, &[rows, n]))) =
        (a.shape.split_last_chunk::<2>(), b.shape.split_last_chunk::<2>())
    else {
        return Err(error());
    };
    let dtype = Op::sum_type(a.dtype, b.dtype).filter(|_| k == rows).ok_or_else(error)?;
    let lead = broadcast_shape(a_lead, b_lead).ok_or_else(error)?;
    let shape = [lead.as_slice(), &[m, n]].concat();
    let total = super::elements(dtype, &shape)?;
    let (x, y) = (R::decode(a)?, R::decode(b)?);
    let mut out = vec![R::default(); total];
    if total > 0 {
        for (index, product) in out.chunks_exact_mut(m * n).enumerate() {
            let x = &x[matrix_index(index, a_lead, &lead) * m * k..];
            let y = &y[matrix_index(index, b_lead, &lead) * k * n..];
            for (i, row) in product.chunks_exact_mut(n).enumerate() {
                for l in 0..k {
                    let factor = x[i * k + l];
                    for (sum, &value) in row.iter_mut().zip(&y[l * n..(l + 1) * n]) {
                        *sum = sum.add(factor.mul(value));
                    }
                }
            }
        }
    }
    R::encode(out, dtype, shape)
}

fn broadcast_shape(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    (0..rank)
        .map(|axis| {
            let size = |shape: &[usize]| (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis]);
            match (size(a), size(b)) {
                (a, b) if a == b => Some(a),
                (1, b) => Some(b),
                (a, 1) => Some(a),
                _ => None,
            }
        })
        .collect()
}

/// Which matrix of an operand with the leading sizes `from` belongs to matrix `index` of the result.
fn matrix_index(index: usize, from: &[usize], lead: &[usize]) -> usize {
    let (mut rest, mut result, mut stride) = (index, 0, 1);
    for (axis, &size) in lead.iter().enumerate().rev() {
        let coordinate = rest % size;
        rest /= size;
        if let Some(axis) = (axis + from.len()).checked_sub(lead.len()) {
            if from[axis] > 1 {
                result += coordinate * stride;
            }
            stride *= from[axis];
        }
    }
    result
}

/// `softmax(scale * q k^T + mask) v`.
pub(super) fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: Option<&Tensor>,
    scale: f32,
    causal: bool,
) -> Result<Tensor, String> {
    let error = || format!("attention of {q:?}, {k:?} and {v:?}");
    let split = |tensor: &Tensor| -> Option<(Vec<usize>, usize, usize)> {
        let (lead, &[rows, columns]) = tensor.shape.split_last_chunk::<2>()?;
        Some((lead.to_vec(), rows, columns))
    };
    let (Some((lead, m, d)), Some((k_lead, n, k_d)), Some((v_lead, v_n, e))) = (split(q), split(k), split(v)) else {
        return Err(error());
    };
    if lead != k_lead || lead != v_lead || d != k_d || n != v_n || [k.dtype, v.dtype] != [q.dtype; 2] {
        return Err(error());
    }
    let score_shape = [lead.as_slice(), &[m, n]].concat();
    let count = super::elements(q.dtype, &score_shape)?;
    let mask = match mask {
        Some(mask) => {
            let op = crate::ir::Op::Broadcast {
                shape: score_shape.iter().map(|&size| size.into()).collect(),
            };
            let mask = super::movement::move_tensors(&op, std::slice::from_ref(mask), &|_| None)?;
            floats(&mask)?
        }
        None => vec![0.0; count],
    };
    let shape = [lead.as_slice(), &[m, e]].concat();
    let total = super::elements(q.dtype, &shape)?;
    let (q_values, k_values, v_values) = (floats(q)?, floats(k)?, floats(v)?);
    let mut out = vec![0.0; total];
    let heads = lead.iter().product::<usize>();
    for head in 0..heads {
        for row in 0..m {
            let query = &q_values[(head * m + row) * d..][..d];
            let seen = if causal { n.min(row + 1) } else { n };
            let mut scores: Vec<f64> = (0..seen)
                .map(|column| {
                    let key = &k_values[(head * n + column) * d..][..d];
                    let dot: f64 = query.iter().zip(key).map(|(a, b)| a * b).sum();
                    f64::from(scale) * dot + mask[(head * m + row) * n + column]
                })
                .collect();
            softmax_line(&mut scores, false);
            let result = &mut out[(head * m + row) * e..][..e];
            for (column, weight) in scores.iter().enumerate() {
                let value = &v_values[(head * n + column) * e..][..e];
                for (sum, value) in result.iter_mut().zip(value) {
                    *sum += weight * value;
                }
            }
        }
    }
    Numbers::Float(out).into_tensor(q.dtype, shape)
}
