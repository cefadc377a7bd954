//! Interpolation.

use super::movement::move_tensors;
use super::numbers::Numbers;
use super::split;
use crate::ir::op::{NearestRounding, Op, ResizeCoordinates, ResizeMode};
use crate::ir::tensor::Tensor;

/// Resizes axis by axis. Coordinates are computed in `f32`, as inference engines do, so that ties of the nearest element
/// fall the same way.
pub(super) fn resize(
    mode: ResizeMode,
    coordinates: ResizeCoordinates,
    scales: Option<&[f32]>,
    shape: &[usize],
    x: &Tensor,
) -> Result<Tensor, String> {
    let rank = x.shape.len();
    if shape.len() != rank || scales.is_some_and(|scales| scales.len() != rank) {
        return Err(format!("resize of {x:?} to {shape:?}"));
    }
    super::elements(x.dtype, shape)?;
    if x.is_empty() && !shape.contains(&0) {
        return Err(format!("resize of {x:?} to {shape:?}"));
    }
    if shape.contains(&0) {
        return Ok(Tensor::from_bytes(x.dtype, shape.to_vec(), Vec::new().into()));
    }
    let source = |axis: usize, index: usize| -> f32 {
        let (input, output) = (x.shape[axis] as f32, shape[axis] as f32);
        let scale = scales.map_or(output / input, |scales| scales[axis]);
        let index = index as f32;
        match coordinates {
            ResizeCoordinates::HalfPixel => (index + 0.5) / scale - 0.5,
            ResizeCoordinates::PytorchHalfPixel if shape[axis] == 1 => 0.0,
            ResizeCoordinates::PytorchHalfPixel => (index + 0.5) / scale - 0.5,
            ResizeCoordinates::Asymmetric => index / scale,
            ResizeCoordinates::AlignCorners if shape[axis] == 1 => 0.0,
            ResizeCoordinates::AlignCorners => index * (input - 1.0) / (output - 1.0),
        }
    };
    let mut current = x.clone();
    if let ResizeMode::Nearest(rounding) = mode {
        for (axis, (&size, &target)) in x.shape.iter().zip(shape).enumerate() {
            let indices: Vec<i64> = (0..target)
                .map(|index| nearest(rounding, source(axis, index), size))
                .collect();
            let indices = Tensor::new(vec![target], &indices);
            current = move_tensors(&Op::Gather { axis }, &[current, indices], &|_| None)?;
        }
        return Ok(current);
    }
    let mut values = match Numbers::of(x) {
        Numbers::Float(values) => values,
        Numbers::Int(values) => values.into_iter().map(|value| value as f64).collect(),
        Numbers::Bool(_) => return Err("interpolation of truth values".into()),
    };
    let mut sizes = x.shape.clone();
    for axis in 0..rank {
        let unchanged = shape[axis] == x.shape[axis] && scales.is_none_or(|scales| scales[axis] == 1.0);
        if unchanged {
            continue;
        }
        let weights: Vec<Vec<(usize, f64)>> = (0..shape[axis])
            .map(|index| neighbors(mode, source(axis, index), sizes[axis]))
            .collect();
        let (outer, size, inner) = split(&sizes, axis)?;
        sizes[axis] = shape[axis];
        let mut result = Vec::with_capacity(super::elements(x.dtype, &sizes)?);
        for row in 0..outer {
            for weights in &weights {
                for column in 0..inner {
                    let terms = weights
                        .iter()
                        .map(|&(at, w)| w * values[(row * size + at) * inner + column]);
                    result.push(terms.sum::<f64>());
                }
            }
        }
        values = result;
    }
    if x.dtype.is_float() {
        Numbers::Float(values).into_tensor(x.dtype, sizes)
    } else {
        super::scalar::cast(&Numbers::Float(values), x.dtype).into_tensor(x.dtype, sizes)
    }
}

fn nearest(rounding: NearestRounding, x: f32, size: usize) -> i64 {
    let index = match rounding {
        NearestRounding::RoundPreferFloor if x - x.floor() == 0.5 => x.floor(),
        NearestRounding::RoundPreferFloor => x.round(),
        NearestRounding::RoundPreferCeil if x - x.floor() == 0.5 => x.ceil(),
        NearestRounding::RoundPreferCeil => x.round(),
        NearestRounding::Floor => x.floor(),
        NearestRounding::Ceil => x.ceil(),
    };
    (index as i64).clamp(0, size as i64 - 1)
}

/// The elements that make the value at a coordinate, and their weights.
fn neighbors(mode: ResizeMode, x: f32, size: usize) -> Vec<(usize, f64)> {
    let last = size as i64 - 1;
    let clamp = |index: i64| index.clamp(0, last) as usize;
    match mode {
        ResizeMode::Nearest(rounding) => vec![(clamp(nearest(rounding, x, size)), 1.0)],
        ResizeMode::Linear => {
            let x = f64::from(x).clamp(0.0, last as f64);
            let low = x.floor();
            let fraction = x - low;
            if fraction == 0.0 {
                // The other neighbor may be infinite.
                return vec![(clamp(low as i64), 1.0)];
            }
            vec![(clamp(low as i64), 1.0 - fraction), (clamp(low as i64 + 1), fraction)]
        }
        ResizeMode::Cubic {
            coefficient,
            exclude_outside,
        } => {
            let low = f64::from(x).floor();
            let fraction = f64::from(x) - low;
            let mut weights = Vec::with_capacity(4);
            for offset in -1..=2i64 {
                let index = (low as i64).saturating_add(offset);
                if exclude_outside && !(0..=last).contains(&index) {
                    continue;
                }
                weights.push((clamp(index), cubic(fraction - offset as f64, f64::from(coefficient))));
            }
            if exclude_outside {
                let total: f64 = weights.iter().map(|(_, weight)| weight).sum();
                weights.iter_mut().for_each(|(_, weight)| *weight /= total);
            }
            weights
        }
    }
}

/// The cubic convolution kernel of Keys, "Cubic Convolution Interpolation for Digital Image Processing" (1981).
fn cubic(distance: f64, a: f64) -> f64 {
    let d = distance.abs();
    if d <= 1.0 {
        ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0
    } else if d < 2.0 {
        a * (((d - 5.0) * d + 8.0) * d - 4.0)
    } else {
        0.0
    }
}
