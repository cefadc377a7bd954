//! Convolutions of quantized images.

use super::MAX_WEIGHTS;
use super::constants::{evaluated, scaled_weights};
use super::elements::{Difference, Elements, Part, scaled, unsigned};
use crate::ir::op::Window;
use crate::ir::{BinaryOp, DType, Dim, Expr, Node, Op, ScalarId, Tensor, ValueId};
use crate::passes::rewrite::{Rewrite, Rewriter};
use std::rc::Rc;

pub(super) fn conv(rewriter: &mut Rewriter<'_>, node: &Rc<Node>) -> Rewrite {
    let Op::Conv {
        window, groups, bias, ..
    } = &node.op
    else {
        return None;
    };
    let (x, w) = (node.inputs[0], node.inputs[1]);
    let dtype = rewriter.ty(x).dtype;
    let elements = rewriter.ty(w).elements().as_usize()?;
    let is_single = |value: ValueId| rewriter.shape(value)[1].is(*groups as i64);
    let is_depthwise = is_single(x) && is_single(node.outputs[0]);
    if elements == 0 || elements > MAX_WEIGHTS || window.kernel.len() > 2 || !(*groups == 1 || is_depthwise) {
        return None;
    }
    let image = Elements::of(rewriter, x)?;
    let added = bias.then(|| node.inputs[2]);
    match dtype {
        DType::I32 => {
            let image = Image::new(rewriter, &image, image.expr.result(), window)?;
            let filters = Filters::new(&evaluated(rewriter, w)?)?;
            let sums = image.convolved(rewriter, node, node.op.clone(), &filters)?;
            let Some(bias) = added else {
                return Some(vec![sums]);
            };
            let bias = per_channel(rewriter, node, bias)?;
            let shape = rewriter.shape(sums).to_vec();
            let expr = Expr::binary(BinaryOp::Add, DType::I32);
            Some(vec![rewriter.elementwise(
                expr,
                vec![sums, bias],
                shape,
                &node.origin,
            )?])
        }
        DType::F32 => {
            let (number, scale) = scaled(&image.expr)?;
            // What a rewrite that gives up has added would look like a change.
            let scale = Part::of(rewriter, &image, scale, usize::MAX)?;
            let image = Image::new(rewriter, &image, number, window)?;
            let (numbers, scales) = scaled_weights(rewriter, w)?;
            let (filters, scales) = (Filters::new(&numbers)?, same_filters(&scales)?);
            // The difference of two bytes of one kind is at most 255.
            if !image.is_byte || filters.magnitude > i64::from(i32::MAX) / 255 {
                return None;
            }
            let sums = image.convolved(rewriter, node, node.op.clone(), &filters)?;
            let scale = scale.emit(rewriter)?;
            let scales = rewriter.emit_like(node, Op::Constant(scales), Vec::new())?;
            let scales = per_channel(rewriter, node, scales)?;
            let mut inputs = vec![sums, scale, scales];
            let mut expr = Expr::empty();
            let sum = expr.input(0, DType::I32);
            let sum = expr.convert(sum, DType::F32);
            let [scale, scales] = [1, 2].map(|index| expr.input(index, DType::F32));
            let factor = expr.apply2(BinaryOp::Mul, scale, scales);
            let mut result = expr.apply2(BinaryOp::Mul, sum, factor);
            if let Some(bias) = added {
                inputs.push(per_channel(rewriter, node, bias)?);
                let bias = expr.input(3, DType::F32);
                result = expr.apply2(BinaryOp::Add, result, bias);
            }
            let shape = rewriter.shape(sums).to_vec();
            Some(vec![rewriter.elementwise(
                expr.finish(result),
                inputs,
                shape,
                &node.origin,
            )?])
        }
        _ => None,
    }
}

/// A value with an element for each channel, as it broadcasts to the result of a convolution.
fn per_channel(rewriter: &mut Rewriter<'_>, node: &Node, value: ValueId) -> Option<ValueId> {
    let rank = rewriter.shape(node.outputs[0]).len();
    let mut shape = vec![Dim::from(1i64); rank - 1];
    shape[0] = rewriter.shape(value)[0].clone();
    rewriter.reshaped(value, shape, &node.origin)
}

/// An image of 8-bit numbers with one zero point.
pub(super) struct Image<'a> {
    elements: &'a Elements,
    difference: Difference,
    zero: Option<Part>,
    /// The zero point of the unsigned numbers, if it is known.
    known: Option<i64>,
    /// Whether the zero point is known and one of the numbers that there are.
    pub(super) is_byte: bool,
}

impl<'a> Image<'a> {
    /// `None` if the zero point is not the same everywhere, or not known although it is in a padding.
    pub(super) fn new(
        rewriter: &Rewriter<'_>,
        elements: &'a Elements,
        number: ScalarId,
        window: &Window,
    ) -> Option<Image<'a>> {
        let difference = Difference::of(&elements.expr, number)?;
        let zero = match difference.zero {
            Some(zero) => Some(Part::of(rewriter, elements, zero, usize::MAX)?),
            None => None,
        };
        let known = match &zero {
            Some(zero) => zero.number(rewriter),
            None => Some(0),
        };
        let known = known.map(|known| known + if difference.signed { 128 } else { 0 });
        let is_byte = known.is_some_and(|known| (0..256).contains(&known));
        let mut pads = window.pads_before.iter().chain(&window.pads_after);
        (is_byte || pads.all(|pad| pad.is(0))).then_some(Image {
            elements,
            difference,
            zero,
            known,
            is_byte,
        })
    }

    /// What `op`, a convolution, makes of the differences with filters, in `i32`.
    pub(super) fn convolved(
        self,
        rewriter: &mut Rewriter<'_>,
        node: &Rc<Node>,
        mut op: Op,
        filters: &Filters,
    ) -> Option<ValueId> {
        let x = unsigned(rewriter, self.elements, &self.difference)?;
        let w = rewriter.emit_like(node, Op::Constant(filters.numbers.clone()), Vec::new())?;
        let Op::Conv { bias, pad_value, .. } = &mut op else {
            return None;
        };
        *bias = false;
        *pad_value = self.known.and_then(|known| u8::try_from(known).ok()).unwrap_or(0);
        let sums = rewriter.emit_like(node, op, vec![x, w])?;
        let shape = rewriter.shape(sums).to_vec();
        let mut expr = Expr::empty();
        let sum = expr.input(0, DType::I32);
        let mut inputs = vec![sums];
        let result = if let Some(known) = self.known {
            if known == 0 {
                return Some(sums);
            }
            let missing = |&sum: &i32| (known as i32).wrapping_mul(sum).wrapping_neg();
            let missing: Vec<i32> = filters.sums.iter().map(missing).collect();
            inputs.push(constant(rewriter, node, &missing)?);
            let missing = expr.input(1, DType::I32);
            expr.apply2(BinaryOp::Add, sum, missing)
        } else {
            inputs.push(self.zero?.emit(rewriter)?);
            inputs.push(constant(rewriter, node, &filters.sums)?);
            let [mut zero, sums] = [1, 2].map(|index| expr.input(index, DType::I32));
            if self.difference.signed {
                let offset = expr.int(128, DType::I32);
                zero = expr.apply2(BinaryOp::Add, zero, offset);
            }
            let missing = expr.apply2(BinaryOp::Mul, zero, sums);
            expr.apply2(BinaryOp::Sub, sum, missing)
        };
        rewriter.elementwise(expr.finish(result), inputs, shape, &node.origin)
    }
}

/// A constant with an element for each channel.
fn constant(rewriter: &mut Rewriter<'_>, node: &Node, values: &[i32]) -> Option<ValueId> {
    let tensor = Tensor::new(vec![values.len()], values);
    let value = rewriter.emit_like(node, Op::Constant(tensor), Vec::new())?;
    per_channel(rewriter, node, value)
}

/// Filters of signed numbers of 8 bits.
pub(super) struct Filters {
    numbers: Tensor,
    /// The sum of each.
    sums: Vec<i32>,
    /// The largest sum of the magnitudes of one.
    magnitude: i64,
}

impl Filters {
    pub(super) fn new(tensor: &Tensor) -> Option<Filters> {
        let values = tensor.to_ints()?;
        let numbers: Vec<i8> = values
            .iter()
            .map(|&value| i8::try_from(value).ok())
            .collect::<Option<_>>()?;
        let filters = || numbers.chunks_exact(numbers.len() / tensor.shape[0]);
        let magnitude = |filter: &[i8]| filter.iter().map(|&number| i64::from(number).abs()).sum::<i64>();
        let sum = |filter: &[i8]| filter.iter().fold(0i32, |sum, &number| sum.wrapping_add(number.into()));
        Some(Filters {
            sums: filters().map(sum).collect(),
            magnitude: filters().map(magnitude).max()?,
            numbers: Tensor::new(tensor.shape.clone(), &numbers),
        })
    }
}

/// The scale of every filter, if its weights have the same, to the bit.
fn same_filters(scales: &Tensor) -> Option<Tensor> {
    let values = scales.to_vec::<f32>()?;
    let size = values.len().checked_div(scales.shape[0]).filter(|&size| size > 0)?;
    let filters = values.chunks_exact(size);
    let same = |filter: &[f32]| filter.iter().all(|scale| scale.to_bits() == filter[0].to_bits());
    let firsts: Vec<f32> = filters.clone().map(|filter| filter[0]).collect();
    filters
        .into_iter()
        .all(same)
        .then(|| Tensor::new(vec![firsts.len()], &firsts))
}
