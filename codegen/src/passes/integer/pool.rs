//! Averages of quantized images.

use super::conv::{Filters, Image};
use super::elements::{Elements, Part, scaled};
use crate::ir::op::{PoolKind, Window};
use crate::ir::{BinaryOp, DType, Expr, Node, Op, Tensor};
use crate::passes::rewrite::{Rewrite, Rewriter};
use std::rc::Rc;

/// The most ones that filters have, all of which are read. No sum of as many bytes is beyond 32 bits.
const MAX_ONES: usize = 1 << 18;

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

fn is_unpadded(window: &Window) -> bool {
    let mut pads = window.pads_before.iter().chain(&window.pads_after);
    pads.all(|pad| pad.is(0))
}
