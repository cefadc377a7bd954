//! Pooling.

use super::conv::window;
use super::{ONNX, Rules};
use crate::import::arithmetic::Arithmetic;
use crate::import::builder::{Fault, literal};
use crate::import::call::Call;
use crate::ir::infer::display_shape;
use crate::ir::op::{PoolKind, ReduceKind, ScatterKind, Window};
use crate::ir::{DType, Dim, FoldKind, Op, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[
    (ONNX, "MaxPool", |cx| {
        let by_columns = cx.flag("storage_order", false)?;
        let x = cx.input(0)?;
        let mut results = vec![pool(cx, x, PoolKind::Max)?];
        if cx.wants(1) {
            results.push(positions(cx, results[0], by_columns)?);
        }
        Ok(results)
    }),
    (ONNX, "AveragePool", |cx| {
        let x = cx.input(0)?;
        Ok(vec![average(cx, x, false)?])
    }),
    (ONNX, "LpPool", |cx| {
        let (x, p) = (cx.input(0)?, cx.int("p", 2)?);
        match u32::try_from(p) {
            Ok(p) if p > 0 => Ok(vec![pool(cx, x, PoolKind::Lp { p })?]),
            _ => cx.unsupported("p", p),
        }
    }),
    (ONNX, "MaxUnpool", max_unpool),
    (ONNX, "GlobalMaxPool", |cx| {
        let x = cx.input(0)?;
        Ok(vec![global(cx, x, ReduceKind::Max)?])
    }),
    (ONNX, "GlobalAveragePool", |cx| {
        let x = cx.input(0)?;
        Ok(vec![global(cx, x, ReduceKind::Mean)?])
    }),
    (ONNX, "GlobalLpPool", |cx| {
        let x = cx.input(0)?;
        let kind = match cx.int("p", 2)? {
            1 => ReduceKind::L1,
            2 => ReduceKind::L2,
            p => return cx.unsupported("p", p),
        };
        Ok(vec![global(cx, x, kind)?])
    }),
];

/// The window that a pooling describes.
fn pool_window(cx: &mut Call, x: ValueId) -> Result<Window, Fault> {
    let shape = cx.shape(x);
    if shape.len() < 3 {
        return Err(Fault::new(format!("pooling of {}", display_shape(&shape))));
    }
    let spatial = &shape[2..];
    if !cx.has("kernel_shape") {
        return Err(Fault::new("attribute `kernel_shape` is missing"));
    }
    let kernel = cx.sizes("kernel_shape", spatial.len(), 1, 1)?;
    window(cx, kernel, spatial)
}

fn pool(cx: &mut Call, x: ValueId, kind: PoolKind) -> Result<ValueId, Fault> {
    let window = pool_window(cx, x)?;
    let ceil_mode = cx.flag("ceil_mode", false)?;
    cx.emit(
        Op::Pool {
            kind,
            window,
            ceil_mode,
        },
        &[x],
    )
}

/// The means over windows that the attributes describe. Where padding counts, so may all of a window that overhangs it.
pub(super) fn average(cx: &mut Call, x: ValueId, overhang_counts: bool) -> Result<ValueId, Fault> {
    let count_include_pad = cx.flag("count_include_pad", false)?;
    let kind = PoolKind::Average { count_include_pad };
    let means = pool(cx, x, kind)?;
    if !(overhang_counts && count_include_pad && cx.flag("ceil_mode", false)?) {
        return Ok(means);
    }
    // With more padding no window overhangs it.
    let (mut window, shape) = (pool_window(cx, x)?, cx.shape(means));
    for (pad, &stride) in window.pads_after.iter_mut().zip(&window.strides) {
        *pad = pad.clone() + Dim::from(stride - 1);
    }
    let (starts, steps) = (vec![Dim::from(0i64); shape.len()], vec![1; shape.len()]);
    let ceil_mode = false;
    let padded = Op::Pool {
        kind,
        window,
        ceil_mode,
    };
    let means = cx.emit(padded, &[x])?;
    cx.emit(Op::Slice { starts, steps, shape }, &[means])
}

/// Where in the whole tensor the largest elements of windows are, the first of equal ones; the last axis counts fastest
/// or, `by_columns`, the first spatial one.
fn positions(cx: &mut Call, largest: ValueId, by_columns: bool) -> Result<ValueId, Fault> {
    let x = cx.input(0)?;
    let window = pool_window(cx, x)?;
    let (shape, result) = (cx.shape(x), cx.shape(largest));
    let rank = shape.len();
    let domain = window.kernel.iter().map(|&size| Dim::from(size)).collect();
    let first = cx.folded(FoldKind::Min, [result.clone(), domain], &[x, largest], |f| {
        let mut coordinates = f.indices(0..rank);
        let mut found = f.number(1.0, DType::Bool);
        for axis in 0..window.kernel.len() {
            let start = f.index(2 + axis) * window.strides[axis] as i64 - f.dim(&window.pads_before[axis]);
            coordinates[2 + axis] = start + f.index(rank + axis) * window.dilations[axis] as i64;
            found = found.and(coordinates[2 + axis].within(f.dim(&shape[2 + axis])));
        }
        let (value, largest) = (f.load(0, &coordinates), f.load(1, &f.indices(0..rank)));
        let is_largest = value.eq(largest).or(value.ne(value));
        found
            .and(is_largest)
            .select(f.place(&coordinates, &shape), f.int(i64::MAX))
    })?;
    if !by_columns {
        return Ok(first);
    }
    cx.each(result, &[first], |f| {
        let mut rest = f.operand(0);
        let mut coordinates = Vec::new();
        for size in shape[2..].iter().rev() {
            coordinates.push(rest % f.dim(size));
            rest = rest / f.dim(size);
        }
        let mut sizes: Vec<_> = shape[2..].to_vec();
        sizes.reverse();
        // The plane comes first, whatever the order within.
        sizes.insert(0, Dim::from(1i64));
        coordinates.insert(0, rest);
        f.place(&coordinates, &sizes)
    })
}

/// One number for each channel.
pub(super) fn global(cx: &mut Call, x: ValueId, kind: ReduceKind) -> Result<ValueId, Fault> {
    let axes: Vec<_> = (2..cx.rank(x)).collect();
    if axes.is_empty() {
        return Err(Fault::new(format!("pooling of {}", display_shape(&cx.shape(x)))));
    }
    cx.emit(
        Op::Reduce {
            kind,
            axes,
            keep_dims: true,
        },
        &[x],
    )
}

/// Each element goes back to the place that pooling took it from, which counts in the tensor that has been pooled. Only
/// the run may know the shape of the result, which has that tensor at its start and zeros elsewhere.
fn max_unpool(cx: &mut Call) -> Results {
    let (x, places) = (cx.input(0)?, cx.input(1)?);
    let (shape, dtype) = (cx.shape(x), cx.dtype(x));
    if shape.len() < 3 {
        return Err(Fault::new(format!("unpooling of {}", display_shape(&shape))));
    }
    let rank = shape.len() - 2;
    let kernel = cx.sizes("kernel_shape", rank, 1, 1)?;
    let strides = cx.sizes("strides", rank, 1, 1)?;
    let pads = cx.sizes("pads", 2 * rank, 0, 0)?;
    let mut pooled = shape[..2].to_vec();
    for axis in 0..rank {
        let steps = (shape[axis + 2].clone() - Dim::from(1i64)) * Dim::from(strides[axis]);
        pooled.push(steps + Dim::from(kernel[axis]) - Dim::from(pads[axis] + pads[rank + axis]));
    }
    let elements: Dim = pooled.iter().cloned().product();
    let nothing = cx.filled(0.0, dtype, vec![elements])?;
    let places = cx.cast(places, DType::I64)?;
    let scatter = Op::Scatter {
        kind: ScatterKind::Replace,
    };
    let whole = cx.emit(scatter, &[nothing, places, x])?;
    let whole = cx.reshape(whole, pooled.clone())?;
    if cx.optional(2).is_none() {
        return Ok(vec![whole]);
    }
    let (sizes, _) = cx.listed(2, "the sizes of the result")?;
    let result = cx.bind_shape(0, sizes, |_| None)?;
    if result.len() != pooled.len() {
        return Err(Fault::new(format!(
            "{} sizes for {}",
            result.len(),
            display_shape(&pooled)
        )));
    }
    let larger = cx.generate(result, &[whole], |e| {
        let coordinates: Vec<_> = (0..pooled.len()).map(|axis| e.index(axis)).collect();
        let place = e.row_major(&coordinates, &pooled);
        let (mut element, zero) = (e.at(0, place, dtype), literal(e, 0.0, dtype));
        for (&coordinate, size) in coordinates.iter().zip(&pooled) {
            let size = e.dim(size);
            let inside = e.less(coordinate, size);
            element = e.select(inside, element, zero);
        }
        element
    })?;
    Ok(vec![larger])
}
