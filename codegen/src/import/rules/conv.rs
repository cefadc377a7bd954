//! Convolutions.

use super::{MICROSOFT, ONNX, Rules, activation};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::infer::display_shape;
use crate::ir::op::Window;
use crate::ir::{BinaryOp, Dim, Op, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[
    (ONNX, "Conv", conv),
    (ONNX, "ConvTranspose", conv_transpose),
    (MICROSOFT, "FusedConv", |cx| {
        let mut result = conv(cx)?[0];
        if let Some(added) = cx.optional(3) {
            result = cx.binary(BinaryOp::Add, result, added)?;
        }
        let parameters = cx.floats("activation_params")?.unwrap_or_default();
        Ok(vec![activation::fused(cx, result, &parameters)?])
    }),
];

/// The window that `auto_pad`, `dilations`, `pads` and `strides` describe over the given spatial sizes.
pub(super) fn window(cx: &mut Call, kernel: Vec<usize>, spatial: &[Dim]) -> Result<Window, Fault> {
    let count = kernel.len();
    let strides = cx.sizes("strides", count, 1, 1)?;
    let dilations = cx.sizes("dilations", count, 1, 1)?;
    let pads = cx.sizes("pads", 2 * count, 0, 0)?;
    let pads: Vec<_> = pads.into_iter().map(Dim::from).collect();
    let (mut before, mut after) = (pads[..count].to_vec(), pads[count..].to_vec());
    let auto_pad = cx.string("auto_pad", "NOTSET")?;
    match auto_pad {
        "NOTSET" => {}
        "VALID" => {
            before.fill(Dim::from(0i64));
            after.fill(Dim::from(0i64));
        }
        "SAME_UPPER" | "SAME_LOWER" => {
            for axis in 0..count {
                let extent = dilations[axis] * (kernel[axis] - 1) + 1;
                let total = same_padding(cx, &spatial[axis], extent, strides[axis])?;
                let half = total.floor_div(&Dim::from(2i64));
                let rest = total - half.clone();
                (before[axis], after[axis]) = if auto_pad == "SAME_UPPER" {
                    (half, rest)
                } else {
                    (rest, half)
                };
            }
        }
        other => return cx.unsupported("auto_pad", other),
    }
    Ok(Window {
        kernel,
        strides,
        dilations,
        pads_before: before,
        pads_after: after,
    })
}

/// Padding that makes a result of size `ceil(size / stride)`.
fn same_padding(cx: &Call, size: &Dim, extent: usize, stride: usize) -> Result<Dim, Fault> {
    let reached = (size.ceil_div(stride as i64) - Dim::from(1i64)) * Dim::from(stride) + Dim::from(extent);
    let total = reached - size.clone();
    if extent >= stride {
        // The last window starts less than a stride before the end, so this is not negative.
        return Ok(total);
    }
    Ok(total.maximum(&Dim::from(0i64), &cx.graph.bounds))
}

/// The kernel sizes of weights `[_, _, kernel...]`, which `kernel_shape` may repeat.
fn kernel(cx: &Call, weights: ValueId) -> Result<Vec<usize>, Fault> {
    let shape = cx.shape(weights);
    let sizes = shape
        .get(2..)
        .and_then(|dims| dims.iter().map(Dim::as_usize).collect::<Option<Vec<_>>>());
    let Some(sizes) = sizes.filter(|sizes| sizes.iter().all(|size| (1..1 << 30).contains(size))) else {
        return Err(Fault::new(format!("weights of shape {}", display_shape(&shape))));
    };
    if cx.has("kernel_shape") && cx.sizes("kernel_shape", sizes.len(), 1, 1)? != sizes {
        return Err(Fault::new(format!(
            "attribute `kernel_shape` does not fit weights {}",
            display_shape(&shape)
        )));
    }
    Ok(sizes)
}

fn groups(cx: &Call) -> Result<usize, Fault> {
    let groups = cx.int("group", 1)?;
    usize::try_from(groups)
        .ok()
        .filter(|groups| (1..1 << 30).contains(groups))
        .ok_or_else(|| Fault::new(format!("{groups} groups")))
}

/// Spatial sizes of `[batch, channels, spatial...]` for weights of as many dimensions.
fn spatial(cx: &Call, x: ValueId, weights: ValueId) -> Result<Vec<Dim>, Fault> {
    let shape = cx.shape(x);
    if shape.len() < 3 || shape.len() != cx.rank(weights) {
        let (x, w) = (display_shape(&shape), display_shape(&cx.shape(weights)));
        return Err(Fault::new(format!("a convolution of {x} with weights {w}")));
    }
    Ok(shape[2..].to_vec())
}

fn conv(cx: &mut Call) -> Results {
    let (x, weights) = (cx.input(0)?, cx.input(1)?);
    let bias = cx.optional(2);
    let result = convolve(cx, x, weights, bias)?;
    Ok(vec![result])
}

/// The convolution that the attributes describe.
pub(super) fn convolve(cx: &mut Call, x: ValueId, weights: ValueId, bias: Option<ValueId>) -> Result<ValueId, Fault> {
    let spatial = spatial(cx, x, weights)?;
    let kernel = kernel(cx, weights)?;
    let window = window(cx, kernel, &spatial)?;
    let groups = groups(cx)?;
    let (channels, w) = (cx.shape(x)[1].clone(), cx.shape(weights));
    let what = format!(
        "channels of the input and of weights {} in {groups} groups",
        display_shape(&w)
    );
    cx.equal(&what, &channels, &(w[1].clone() * Dim::from(groups)))?;
    let mut operands = vec![x, weights];
    operands.extend(bias);
    cx.emit(
        Op::Conv {
            window,
            groups,
            bias: bias.is_some(),
            pad_value: 0,
            epilogue: None,
        },
        &operands,
    )
}

/// The padding follows from the size of the result if that is given.
fn conv_transpose(cx: &mut Call) -> Results {
    let (x, weights) = (cx.input(0)?, cx.input(1)?);
    let spatial = spatial(cx, x, weights)?;
    let kernel = kernel(cx, weights)?;
    let count = kernel.len();
    let groups = groups(cx)?;
    let mut output_padding = cx.sizes("output_padding", count, 0, 0)?;
    let strides = cx.sizes("strides", count, 1, 1)?;
    let dilations = cx.sizes("dilations", count, 1, 1)?;
    let pads: Vec<_> = cx.sizes("pads", 2 * count, 0, 0)?.into_iter().map(Dim::from).collect();
    let (mut before, mut after) = (pads[..count].to_vec(), pads[count..].to_vec());
    let auto_pad = cx.string("auto_pad", "NOTSET")?;
    let wanted = cx.ints("output_shape")?;
    if !matches!(auto_pad, "NOTSET" | "VALID" | "SAME_UPPER" | "SAME_LOWER") {
        return cx.unsupported("auto_pad", auto_pad);
    }
    if wanted.is_some() || auto_pad.starts_with("SAME") {
        // Some models give the whole shape, batch and channels included.
        let wanted = wanted.map(|sizes| sizes[sizes.len().saturating_sub(count)..].to_vec());
        for axis in 0..count {
            let size = match &wanted {
                Some(sizes) => sizes.get(axis).map(|&size| Dim::from(size)),
                None => Some(spatial[axis].clone() * Dim::from(strides[axis])),
            };
            let size = size.ok_or_else(|| Fault::new("attribute `output_shape` has too few sizes"))?;
            let extent = dilations[axis] * (kernel[axis] - 1) + 1 + output_padding[axis];
            let steps = (spatial[axis].clone() - Dim::from(1i64)) * Dim::from(strides[axis]);
            let total = steps + Dim::from(extent) - size;
            // What is missing at the end of a larger result is zero.
            if let Some(missing) = total.as_const().filter(|total| *total < 0) {
                output_padding[axis] += usize::try_from(missing.unsigned_abs()).unwrap_or(usize::MAX >> 1);
            }
            let total = total.maximum(&Dim::from(0i64), &cx.graph.bounds);
            let half = total.floor_div(&Dim::from(2i64));
            let rest = total - half.clone();
            (before[axis], after[axis]) = if auto_pad == "SAME_UPPER" {
                (half, rest)
            } else {
                (rest, half)
            };
        }
    }
    let window = Window {
        kernel,
        strides,
        dilations,
        pads_before: before,
        pads_after: after,
    };
    let (channels, inputs) = (cx.shape(x)[1].clone(), cx.shape(weights)[0].clone());
    cx.equal("channels of the input and of the weights", &channels, &inputs)?;
    let mut operands = vec![x, weights];
    operands.extend(cx.optional(2));
    let bias = operands.len() == 3;
    Ok(vec![cx.emit(
        Op::ConvTranspose {
            window,
            output_padding,
            groups,
            bias,
            epilogue: None,
        },
        &operands,
    )?])
}
