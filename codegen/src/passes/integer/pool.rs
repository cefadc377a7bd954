//! Averages and maxima of quantized images.

use super::conv::{Filters, Image};
use super::elements::{Difference, Elements, Part, scaled, unsigned};
use super::encode::with_other_sign;
use crate::ir::op::{PoolKind, Window};
use crate::ir::{BinaryOp, DType, Dim, Expr, Node, Op, Tensor, ValueId};
use crate::passes::rewrite::{Rewrite, Rewriter};
use std::rc::Rc;

/// The most ones that filters have, all of which are read. No sum of as many bytes is beyond 32 bits.
const MAX_ONES: usize = 1 << 18;

/// The largest magnitude of a zero point that maxima are taken before.
const MAX_ZERO_POINT: u64 = 1 << 16;

/// The average of quantized numbers as a convolution with filters of ones, if all windows have as many numbers.
pub(super) fn average(rewriter: &mut Rewriter<'_>, node: &Rc<Node>) -> Rewrite {
    let Op::Pool {
        kind: PoolKind::Average { count_include_pad },
        window,
        ceil_mode: false,
    } = &node.op
    else {
        return None;
    };
    let x = node.inputs[0];
    let is_whole = *count_include_pad || is_unpadded(window);
    let taps = window
        .kernel
        .iter()
        .try_fold(1usize, |taps, &size| taps.checked_mul(size))?;
    if !is_whole || window.kernel.len() > 2 || rewriter.ty(x).dtype != DType::F32 {
        return None;
    }
    let channels = rewriter.shape(x)[1].as_usize().filter(|&channels| channels > 0)?;
    channels.checked_mul(taps).filter(|&ones| ones <= MAX_ONES)?;
    let image = Elements::of(rewriter, x)?;
    let (number, scale) = scaled(&image.expr)?;
    let scale = Part::of(rewriter, &image, scale, usize::MAX)?;
    let image = Image::new(rewriter, &image, number, window)?;
    if !image.is_byte {
        return None;
    }
    let ones = vec![1i64; channels * taps];
    let filters = Filters::new(&Tensor::new([&[channels, 1], window.kernel.as_slice()].concat(), &ones))?;
    let op = Op::Conv {
        window: window.clone(),
        groups: channels,
        bias: false,
        pad_value: 0,
        epilogue: None,
    };
    let sums = image.convolved(rewriter, node, op, &filters)?;
    let scale = scale.emit(rewriter)?;
    let mut expr = Expr::empty();
    let (sum, scale_id) = (expr.input(0, DType::I32), expr.input(1, DType::F32));
    let (sum, count) = (expr.convert(sum, DType::F32), expr.float(1.0 / taps as f64, DType::F32));
    let factor = expr.apply2(BinaryOp::Mul, scale_id, count);
    let result = expr.apply2(BinaryOp::Mul, sum, factor);
    let shape = rewriter.shape(sums).to_vec();
    let inputs = vec![sums, scale];
    Some(vec![rewriter.elementwise(
        expr.finish(result),
        inputs,
        shape,
        &node.origin,
    )?])
}

/// The maxima of quantized numbers, whose order is that of what they stand for, as those of numbers of 8 bits without a sign.
pub(super) fn greatest(rewriter: &mut Rewriter<'_>, node: &Rc<Node>) -> Rewrite {
    let Op::Pool {
        kind: PoolKind::Max,
        window,
        ceil_mode,
    } = &node.op
    else {
        return None;
    };
    let x = node.inputs[0];
    // The maximum of nothing is another number.
    if window.kernel.len() > 2 || !sees_something(rewriter, x, window, *ceil_mode) {
        return None;
    }
    let mut expr = Expr::empty();
    let greatest = expr.input(0, DType::U8);
    let signed = |expr: &mut Expr, signed: bool| match signed {
        true => {
            let number = with_other_sign(expr, greatest);
            expr.bits(number, DType::I8)
        }
        false => greatest,
    };
    let mut inputs = Vec::new();
    let numbers = match rewriter.ty(x).dtype {
        DType::F32 => {
            let image = Elements::of(rewriter, x)?;
            let (number, scale) = scaled(&image.expr)?;
            let difference = Difference::of(&image.expr, number)?;
            let scale = Part::of(rewriter, &image, scale, usize::MAX)?;
            let zero = match difference.zero {
                Some(zero) => Some(Part::of(rewriter, &image, zero, usize::MAX)?),
                None => None,
            };
            // Differences to a zero point of another size could overflow.
            let is_near = |zero: &Part| {
                zero.number(rewriter)
                    .is_some_and(|zero| zero.unsigned_abs() <= MAX_ZERO_POINT)
            };
            if !scale.is_positive(rewriter) || !zero.iter().all(is_near) {
                return None;
            }
            let numbers = unsigned(rewriter, &image, &difference)?;
            let number = signed(&mut expr, difference.signed);
            let mut value = expr.convert(number, DType::I32);
            for (index, part) in [zero, Some(scale)].into_iter().enumerate() {
                let Some(part) = part else { continue };
                inputs.push(part.emit(rewriter)?);
                value = if index == 0 {
                    let zero = expr.input(inputs.len(), DType::I32);
                    expr.apply2(BinaryOp::Sub, value, zero)
                } else {
                    let scale = expr.input(inputs.len(), DType::F32);
                    let value = expr.convert(value, DType::F32);
                    expr.apply2(BinaryOp::Mul, value, scale)
                };
            }
            numbers
        }
        DType::I8 => {
            signed(&mut expr, true);
            let mut other = Expr::empty();
            let number = other.input(0, DType::I8);
            let number = other.bits(number, DType::U8);
            with_other_sign(&mut other, number);
            let shape = rewriter.shape(x).to_vec();
            rewriter.elementwise(other, vec![x], shape, &node.origin)?
        }
        _ => return None,
    };
    let maxima = rewriter.emit_like(node, node.op.clone(), vec![numbers])?;
    inputs.insert(0, maxima);
    let shape = rewriter.shape(maxima).to_vec();
    Some(vec![rewriter.elementwise(expr, inputs, shape, &node.origin)?])
}

/// Whether every window over an image sees an element of it: the image is not empty, and no window is beyond it.
pub(in crate::passes) fn sees_something(
    rewriter: &Rewriter<'_>,
    image: ValueId,
    window: &Window,
    ceil_mode: bool,
) -> bool {
    let is_some = |size: &Dim| size.range(&rewriter.graph.bounds).low > 0;
    (rewriter.shape(image).iter().skip(2)).all(is_some)
        && (0..window.kernel.len()).all(|axis| {
            // Rounded up, the last window begins up to a stride later.
            let later = if ceil_mode { window.strides[axis] - 1 } else { 0 };
            let is_less = |pad: &Dim, more: usize| pad.as_usize().is_some_and(|pad| pad + more < window.kernel[axis]);
            window.dilations[axis] == 1
                && is_less(&window.pads_before[axis], 0)
                && is_less(&window.pads_after[axis], later)
        })
}

fn is_unpadded(window: &Window) -> bool {
    let mut pads = window.pads_before.iter().chain(&window.pads_after);
    pads.all(|pad| pad.is(0))
}
