//! Operations that copy elements without looking at them.
//!
//! Each is described once, as [runs](Run) of elements in the order of the result, and carried out on bytes for tensors
//! and on any element type for symbolic values.

use super::{Symbols, elements, int, operand, sizes, split};
use crate::ir::op::{Op, PadMode};
use crate::ir::tensor::Tensor;

/// Evenly spaced elements of an operand that follow one another in the result.
#[derive(Clone, Copy)]
struct Run {
    operand: usize,
    start: usize,
    step: isize,
    len: usize,
}

type Emit<'a> = &'a mut dyn FnMut(Run);

/// Carries out a reshape, transpose, slice, broadcast, concat, pad or gather on elements of any type, and gives the
/// shape of the result and its elements.
///
/// `shapes` and `inputs` are those of the operands. The elements of operand 1 of a gather are taken from `indices`
/// instead; the operand itself may then be empty.
///
/// The result is `None` if the operation is another one, has a symbol among its attributes, or does not suit the
/// operands.
pub fn movement<E: Clone>(
    op: &Op,
    shapes: &[&[usize]],
    inputs: &[&[E]],
    indices: &[i64],
) -> Option<(Vec<usize>, Vec<E>)> {
    let no_symbols: Symbols<'_> = &|_| None;
    let shape = result_shape(op, shapes, no_symbols).ok()?;
    let count = shape.iter().product::<usize>();
    let gathers = matches!(op, Op::Gather { .. } | Op::GatherElements { .. });
    for (operand, (shape, input)) in shapes.iter().zip(inputs).enumerate() {
        let found = if gathers && operand == 1 {
            indices.len()
        } else {
            input.len()
        };
        if shape.iter().try_fold(1usize, |total, &size| total.checked_mul(size)) != Some(found) {
            return None;
        }
    }
    if shapes.len() != inputs.len() {
        return None;
    }
    let mut out = Vec::with_capacity(count);
    runs(op, shapes, &shape, indices, no_symbols, &mut |run| {
        let data = inputs[run.operand];
        if run.step == 1 {
            out.extend_from_slice(&data[run.start..run.start + run.len]);
        } else {
            out.extend((0..run.len).map(|i| data[run.start.wrapping_add_signed(i as isize * run.step)].clone()));
        }
    })
    .ok()?;
    (out.len() == count).then_some((shape, out))
}

/// Carries out an operation of this module on tensors.
pub(super) fn move_tensors(op: &Op, inputs: &[Tensor], dims: Symbols<'_>) -> Result<Tensor, String> {
    let x = operand(inputs, 0)?;
    let gathers = matches!(op, Op::Gather { .. } | Op::GatherElements { .. });
    let indices = if gathers {
        let indices = operand(inputs, 1)?;
        indices
            .to_ints()
            .ok_or_else(|| format!("indices of type {}", indices.dtype))?
    } else {
        if let Some(other) = inputs.iter().find(|input| input.dtype != x.dtype) {
            return Err(format!("{} of {x:?} and {other:?}", op.name()));
        }
        Vec::new()
    };
    let shapes: Vec<&[usize]> = inputs.iter().map(|input| input.shape.as_slice()).collect();
    let shape = result_shape(op, &shapes, dims)?;
    let count = elements(x.dtype, &shape)?;
    if let Op::Reshape { .. } = op {
        return if count == x.len() {
            Ok(x.reshaped(shape))
        } else {
            Err(format!("reshape of {:?} to {shape:?}", x.shape))
        };
    }
    let mut out = Vec::with_capacity(count * x.dtype.size());
    runs(op, &shapes, &shape, &indices, dims, &mut |run| {
        let data = &inputs[run.operand].data;
        match x.dtype.size() {
            1 => copy_run::<1>(data, run, &mut out),
            2 => copy_run::<2>(data, run, &mut out),
            4 => copy_run::<4>(data, run, &mut out),
            _ => copy_run::<8>(data, run, &mut out),
        }
    })?;
    Ok(Tensor::from_bytes(x.dtype, shape, out.into()))
}

fn copy_run<const SIZE: usize>(data: &[u8], run: Run, out: &mut Vec<u8>) {
    if run.step == 1 {
        out.extend_from_slice(&data[run.start * SIZE..(run.start + run.len) * SIZE]);
        return;
    }
    let (data, _) = data.as_chunks::<SIZE>();
    let mut index = run.start;
    for _ in 0..run.len {
        out.extend_from_slice(&data[index]);
        index = index.wrapping_add_signed(run.step);
    }
}

/// The shape of the result; operands and attributes have been checked as far as it goes.
fn result_shape(op: &Op, shapes: &[&[usize]], dims: Symbols<'_>) -> Result<Vec<usize>, String> {
    let x = *shapes
        .first()
        .ok_or_else(|| format!("{} without operands", op.name()))?;
    let rank = x.len();
    let shape = match op {
        Op::Reshape { shape } | Op::Broadcast { shape } => sizes(shape, dims)?,
        Op::Slice { starts, steps, shape } => {
            if [starts.len(), steps.len(), shape.len()] != [rank; 3] {
                return Err(format!("slice of shape {x:?}"));
            }
            sizes(shape, dims)?
        }
        Op::Transpose { permutation } => {
            let mut sorted = permutation.clone();
            sorted.sort_unstable();
            if !sorted.into_iter().eq(0..rank) {
                return Err(format!("transpose of shape {x:?} by {permutation:?}"));
            }
            permutation.iter().map(|&axis| x[axis]).collect()
        }
        Op::Concat { axis } => {
            let mut shape = x.to_vec();
            for other in &shapes[1..] {
                let fits = other.len() == rank && (0..rank).all(|i| i == *axis || x[i] == other[i]);
                if !fits || *axis >= rank {
                    return Err(format!("concat of {x:?} and {other:?} along axis {axis}"));
                }
                shape[*axis] = shape[*axis].saturating_add(other[*axis]);
            }
            split(&shape, *axis)?;
            shape
        }
        Op::Pad { before, after, .. } => {
            if before.len() != rank || after.len() != rank {
                return Err(format!("pad of shape {x:?}"));
            }
            let mut shape = Vec::with_capacity(rank);
            for axis in 0..rank {
                let size = i128::from(int(&before[axis], dims)?) + i128::from(int(&after[axis], dims)?);
                let size = size + x[axis] as i128;
                shape.push(usize::try_from(size).map_err(|_| format!("pad of {x:?} to size {size}"))?);
            }
            shape
        }
        Op::Gather { axis } => {
            split(x, *axis)?;
            let indices = shapes.get(1).ok_or("gather without indices")?;
            [&x[..*axis], indices, &x[axis + 1..]].concat()
        }
        Op::GatherElements { axis } => {
            split(x, *axis)?;
            let indices = *shapes.get(1).ok_or("gather without indices")?;
            let fits = indices.len() == rank && (0..rank).all(|i| i == *axis || indices[i] <= x[i]);
            if !fits {
                return Err(format!("gather_elements of {x:?} at {indices:?}"));
            }
            indices.to_vec()
        }
        _ => return Err(format!("{} computes", op.name())),
    };
    elements(crate::ir::DType::U8, &shape)?;
    Ok(shape)
}

/// Describes the result, of the shape that [`result_shape`] has given.
fn runs(
    op: &Op,
    shapes: &[&[usize]],
    shape: &[usize],
    indices: &[i64],
    dims: Symbols<'_>,
    emit: Emit<'_>,
) -> Result<(), String> {
    let x = shapes[0];
    match op {
        Op::Reshape { .. } => emit(Run {
            operand: 0,
            start: 0,
            step: 1,
            len: x.iter().product(),
        }),
        Op::Transpose { permutation } => {
            let strides = row_major(x);
            let strides: Vec<isize> = permutation.iter().map(|&axis| strides[axis]).collect();
            strided(shape, &strides, 0, emit);
        }
        Op::Broadcast { .. } => strided(shape, &broadcast_strides(x, shape)?, 0, emit),
        Op::Slice { starts, steps, .. } => {
            if shape.contains(&0) {
                return Ok(());
            }
            let mut strides = row_major(x);
            let mut offset = 0;
            for axis in 0..x.len() {
                let start = int(&starts[axis], dims)?;
                let last = i128::from(start) + (shape[axis] as i128 - 1) * i128::from(steps[axis]);
                let within = 0..x[axis] as i128;
                if !within.contains(&i128::from(start)) || !within.contains(&last) {
                    return Err(format!("slice from {start} to {last} on axis {axis} of {x:?}"));
                }
                offset += start as usize * strides[axis] as usize;
                strides[axis] = strides[axis].wrapping_mul(steps[axis] as isize);
            }
            strided(shape, &strides, offset, emit);
        }
        Op::Concat { axis } => {
            let (outer, _, _) = split(shape, *axis)?;
            let rows: Vec<usize> = shapes.iter().map(|shape| shape[*axis..].iter().product()).collect();
            for row in 0..outer {
                for (operand, &len) in rows.iter().enumerate() {
                    emit(Run {
                        operand,
                        start: row * len,
                        step: 1,
                        len,
                    });
                }
            }
        }
        Op::Pad { mode, before, .. } => {
            if *mode == PadMode::Constant && shapes.get(1).is_none_or(|value| !value.is_empty()) {
                return Err("pad needs one value".into());
            }
            let before: Vec<i64> = before.iter().map(|dim| int(dim, dims)).collect::<Result<_, _>>()?;
            pad(*mode, x, shape, &before, emit)?;
        }
        Op::Gather { axis } => {
            let (outer, size, inner) = split(x, *axis)?;
            for row in 0..outer {
                for &index in indices {
                    emit(Run {
                        operand: 0,
                        start: (row * size + wrap_index(index, size)?) * inner,
                        step: 1,
                        len: inner,
                    });
                }
            }
        }
        Op::GatherElements { axis } => {
            let strides = row_major(x);
            for (flat, &index) in indices.iter().enumerate() {
                let (mut rest, mut start) = (flat, 0);
                for other in (0..shape.len()).rev() {
                    let coordinate = rest % shape[other];
                    rest /= shape[other];
                    let coordinate = if other == *axis {
                        wrap_index(index, x[other])?
                    } else {
                        coordinate
                    };
                    start += coordinate * strides[other] as usize;
                }
                emit(Run {
                    operand: 0,
                    start,
                    step: 1,
                    len: 1,
                });
            }
        }
        _ => return Err(format!("{} computes", op.name())),
    }
    Ok(())
}

/// The distances between neighbors on each axis of a row-major tensor.
fn row_major(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1isize; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].wrapping_mul(shape[axis] as isize);
    }
    strides
}

/// The distances between neighbors on each axis of a tensor broadcast to `shape`.
fn broadcast_strides(from: &[usize], shape: &[usize]) -> Result<Vec<isize>, String> {
    let error = || format!("{from:?} does not broadcast to {shape:?}");
    let missing = shape.len().checked_sub(from.len()).ok_or_else(error)?;
    let mut strides = vec![0; missing];
    for ((&size, &target), stride) in from.iter().zip(&shape[missing..]).zip(row_major(from)) {
        if size != 1 && size != target {
            return Err(error());
        }
        strides.push(if size == 1 { 0 } else { stride });
    }
    Ok(strides)
}

/// Describes an affine view; axes that are contiguous in the operand are walked as one.
fn strided(shape: &[usize], strides: &[isize], offset: usize, emit: Emit<'_>) {
    if shape.contains(&0) {
        return;
    }
    let mut axes: Vec<(usize, isize)> = Vec::with_capacity(shape.len());
    for (&size, &stride) in shape.iter().zip(strides) {
        match axes.last_mut() {
            _ if size == 1 => {}
            Some((outer, outer_stride)) if *outer_stride == stride.wrapping_mul(size as isize) => {
                *outer *= size;
                *outer_stride = stride;
            }
            _ => axes.push((size, stride)),
        }
    }
    let (len, step) = axes.pop().unwrap_or((1, 1));
    let mut position = vec![0; axes.len()];
    let mut start = offset;
    loop {
        emit(Run {
            operand: 0,
            start,
            step,
            len,
        });
        let mut axis = axes.len();
        loop {
            if axis == 0 {
                return;
            }
            axis -= 1;
            let (size, stride) = axes[axis];
            position[axis] += 1;
            start = start.wrapping_add_signed(stride);
            if position[axis] < size {
                break;
            }
            position[axis] = 0;
            start = start.wrapping_add_signed(-(stride * size as isize));
        }
    }
}

/// Describes padding. An axis has a source index, or none for the value, at each index of the result.
fn pad(mode: PadMode, x: &[usize], shape: &[usize], before: &[i64], emit: Emit<'_>) -> Result<(), String> {
    // Trailing axes that are not padded are one row.
    let padded = (0..x.len())
        .rev()
        .find(|&axis| before[axis] != 0 || shape[axis] != x[axis])
        .map_or(0, |axis| axis + 1);
    let row: usize = x[padded..].iter().product();
    let (x, shape) = (&x[..padded], &shape[..padded]);
    if shape.contains(&0) || row == 0 {
        return Ok(());
    }
    let Some(last) = padded.checked_sub(1) else {
        emit(Run {
            operand: 0,
            start: 0,
            step: 1,
            len: row,
        });
        return Ok(());
    };
    let mut sources = Vec::with_capacity(padded);
    for axis in 0..padded {
        if x[axis] == 0 && mode != PadMode::Constant {
            return Err("nothing to pad with".into());
        }
        let indices =
            (0..shape[axis]).map(|index| pad_source(mode, (index as i64).saturating_sub(before[axis]), x[axis] as i64));
        sources.push(indices.collect::<Vec<_>>());
    }
    // Neighbors of the last padded axis that are neighbors in the operand are one run.
    let mut segments: Vec<(Option<usize>, usize)> = Vec::new();
    for &source in &sources[last] {
        match segments.last_mut() {
            Some((None, len)) if source.is_none() => *len += 1,
            Some((Some(first), len)) if source == Some(*first + *len) => *len += 1,
            _ => segments.push((source, 1)),
        }
    }
    let outer: usize = shape[..last].iter().product();
    for flat in 0..outer {
        let (mut rest, mut start, mut stride) = (flat, Some(0), x[last]);
        for axis in (0..last).rev() {
            let source = sources[axis][rest % shape[axis]];
            rest /= shape[axis];
            start = start.zip(source).map(|(start, source)| start + source * stride);
            stride *= x[axis];
        }
        for &(source, len) in &segments {
            emit(match start.zip(source) {
                Some((start, source)) => Run {
                    operand: 0,
                    start: (start + source) * row,
                    step: 1,
                    len: len * row,
                },
                None => Run {
                    operand: 1,
                    start: 0,
                    step: 0,
                    len: len * row,
                },
            });
        }
    }
    Ok(())
}

/// The index, within `0..size`, of the element that padding puts at `index`.
fn pad_source(mode: PadMode, index: i64, size: i64) -> Option<usize> {
    let source = match mode {
        PadMode::Constant if (0..size).contains(&index) => index,
        PadMode::Constant => return None,
        PadMode::Edge => index.clamp(0, size - 1),
        PadMode::Wrap => index.rem_euclid(size),
        PadMode::Reflect if size == 1 => 0,
        PadMode::Reflect => {
            let period = 2 * (size - 1);
            let phase = index.rem_euclid(period);
            phase.min(period - phase)
        }
    };
    usize::try_from(source).ok()
}

fn wrap_index(index: i64, size: usize) -> Result<usize, String> {
    let positive = if index < 0 {
        index.checked_add_unsigned(size as u64)
    } else {
        Some(index)
    };
    positive
        .and_then(|index| usize::try_from(index).ok())
        .filter(|&index| index < size)
        .ok_or_else(|| format!("index {index} of an axis of size {size}"))
}
