//! Softmax and normalization.

use super::numbers::{Numbers, floats};
use super::split;
use crate::ir::op::NormalizeKind;
use crate::ir::tensor::Tensor;

/// Softmax along an axis, or its logarithm.
pub(super) fn softmax(axis: usize, log: bool, x: &Tensor) -> Result<Tensor, String> {
    let (outer, size, inner) = split(&x.shape, axis)?;
    let mut values = floats(x)?;
    let mut line = vec![0.0; size];
    for row in 0..outer {
        for column in 0..inner {
            let at = |index: usize| (row * size + index) * inner + column;
            for (index, slot) in line.iter_mut().enumerate() {
                *slot = values[at(index)];
            }
            softmax_line(&mut line, log);
            for (index, &value) in line.iter().enumerate() {
                values[at(index)] = value;
            }
        }
    }
    Numbers::Float(values).into_tensor(x.dtype, x.shape.clone())
}

/// Softmax of all values, or its logarithm; the maximum is subtracted first, so that nothing overflows.
pub(super) fn softmax_line(values: &mut [f64], log: bool) {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = values.iter().map(|&x| (x - largest).exp()).sum();
    for value in values {
        let shifted = *value - largest;
        *value = if log { shifted - sum.ln() } else { shifted.exp() / sum };
    }
}

/// Normalization over the axes from `axis` on.
pub(super) fn normalize(
    kind: NormalizeKind,
    axis: usize,
    epsilon: f32,
    x: &Tensor,
    scale: Option<&Tensor>,
    bias: Option<&Tensor>,
) -> Result<Tensor, String> {
    if axis >= x.shape.len() {
        return Err(format!("axis {axis} of shape {:?}", x.shape));
    }
    let group: usize = x.shape[axis..].iter().product();
    let factor = |tensor: Option<&Tensor>| match tensor {
        Some(tensor) if tensor.shape == x.shape[axis..] => floats(tensor).map(Some),
        Some(tensor) => Err(format!("{tensor:?} over the axes {:?}", &x.shape[axis..])),
        None => Ok(None),
    };
    let (scale, bias) = (factor(scale)?, factor(bias)?);
    let mut values = floats(x)?;
    for values in values.chunks_exact_mut(group.max(1)) {
        let count = values.len() as f64;
        let mean = match kind {
            NormalizeKind::Layer => values.iter().sum::<f64>() / count,
            NormalizeKind::Rms => 0.0,
        };
        let spread = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
        let divisor = (spread + f64::from(epsilon)).sqrt();
        for (index, value) in values.iter_mut().enumerate() {
            *value = (*value - mean) / divisor;
            if let Some(scale) = &scale {
                *value *= scale[index];
            }
            if let Some(bias) = &bias {
                *value += bias[index];
            }
        }
    }
    Numbers::Float(values).into_tensor(x.dtype, x.shape.clone())
}
