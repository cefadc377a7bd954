//! Convolutions and pooling, of any type, over any number of axes.

use super::with_epilogue;
use crate::ir::op::{PoolKind, Window};
use crate::ir::{BinaryOp, DType, Dim, Expr, FoldKind, Node, Op, ScalarId, UnaryOp, ValueId};
use crate::passes::rewrite::{Rewrite, Rewriter};
use std::rc::Rc;

/// The axes of the batch and the channels.
const LEAD: usize = 2;

pub(super) fn conv(rewriter: &mut Rewriter<'_>, node: &Rc<Node>) -> Rewrite {
    let Op::Conv {
        window,
        groups,
        bias,
        pad_value,
        ..
    } = &node.op
    else {
        return None;
    };
    let (x, w) = (
        rewriter.ty(node.inputs[0]).clone(),
        rewriter.shape(node.inputs[1]).to_vec(),
    );
    let w_dtype = rewriter.ty(node.inputs[1]).dtype;
    let sum = Op::sum_type(x.dtype, w_dtype)?;
    let shape = rewriter.shape(node.outputs[0]).to_vec();
    let rank = shape.len();
    let mut expr = Expr::empty();
    let (image, filter, channel) = (expr.index(0), expr.index(1), expr.index(rank));
    let own = grouped(&mut expr, filter, &shape[1], *groups, channel, &w[1]);
    let places = Places::new(&mut expr, window, LEAD, rank + 1);
    let spatial = places.forward(&mut expr);
    let inside = Places::inside(&mut expr, &spatial, &x.shape[LEAD..], window);
    let mut coordinates = vec![image, own];
    coordinates.extend(&spatial);
    let place = expr.row_major(&coordinates, &x.shape);
    let mut value = expr.at(0, place, x.dtype);
    if let Some(inside) = inside {
        let outside = number(&mut expr, (*pad_value).into(), x.dtype);
        value = expr.select(inside, value, outside);
    }
    let mut coordinates = vec![filter, channel];
    coordinates.extend(&places.taps);
    let place = expr.row_major(&coordinates, &w);
    let weight = expr.at(1, place, w_dtype);
    let [value, weight] = [value, weight].map(|id| expr.convert(id, sum));
    expr.apply2(BinaryOp::Mul, value, weight);
    let op = Op::Fold {
        kind: FoldKind::Sum,
        expr,
        shape,
        domain: w[1..].to_vec(),
    };
    let sum = rewriter.emit_like(node, op, node.inputs[..2].to_vec())?;
    finished(rewriter, node, sum, *bias)
}

pub(super) fn conv_transpose(rewriter: &mut Rewriter<'_>, node: &Rc<Node>) -> Rewrite {
    let Op::ConvTranspose {
        window, groups, bias, ..
    } = &node.op
    else {
        return None;
    };
    let (x, w) = (
        rewriter.ty(node.inputs[0]).clone(),
        rewriter.shape(node.inputs[1]).to_vec(),
    );
    let shape = rewriter.shape(node.outputs[0]).to_vec();
    let rank = shape.len();
    let per_group = w[0].floor_div(&Dim::from(*groups));
    let mut expr = Expr::empty();
    let (image, filter, channel) = (expr.index(0), expr.index(1), expr.index(rank));
    let own = grouped(&mut expr, filter, &shape[1], *groups, channel, &per_group);
    let filters = expr.dim(&w[1]);
    let filter = match groups {
        1 => filter,
        _ => expr.apply2(BinaryOp::Mod, filter, filters),
    };
    let places = Places::new(&mut expr, window, LEAD, rank + 1);
    let (spatial, whole) = places.backward(&mut expr, window);
    let mut inside = Places::within(&mut expr, &spatial, &x.shape[LEAD..]);
    if let Some(whole) = whole {
        inside = expr.apply2(BinaryOp::And, whole, inside);
    }
    let mut coordinates = vec![image, own];
    coordinates.extend(&spatial);
    let place = expr.row_major(&coordinates, &x.shape);
    let value = expr.at(0, place, x.dtype);
    let zero = number(&mut expr, 0.0, x.dtype);
    let value = expr.select(inside, value, zero);
    let mut coordinates = vec![own, filter];
    coordinates.extend(&places.taps);
    let place = expr.row_major(&coordinates, &w);
    let weight = expr.at(1, place, x.dtype);
    expr.apply2(BinaryOp::Mul, value, weight);
    let mut domain = vec![per_group];
    domain.extend_from_slice(&w[LEAD..]);
    let op = Op::Fold {
        kind: FoldKind::Sum,
        expr,
        shape,
        domain,
    };
    let sum = rewriter.emit_like(node, op, node.inputs[..2].to_vec())?;
    finished(rewriter, node, sum, *bias)
}

/// The channel of the input: that within the group of a filter, after those of the groups before.
fn grouped(
    expr: &mut Expr,
    filter: ScalarId,
    filters: &Dim,
    groups: usize,
    channel: ScalarId,
    channels: &Dim,
) -> ScalarId {
    if groups == 1 {
        return channel;
    }
    let per_group = expr.dim(&filters.floor_div(&Dim::from(groups)));
    let group = expr.apply2(BinaryOp::Div, filter, per_group);
    let channels = expr.dim(channels);
    let first = expr.apply2(BinaryOp::Mul, group, channels);
    expr.apply2(BinaryOp::Add, first, channel)
}

/// Adds the bias and applies the epilogue.
fn finished(rewriter: &mut Rewriter<'_>, node: &Node, sum: ValueId, bias: bool) -> Rewrite {
    let mut value = sum;
    if bias {
        let ty = rewriter.ty(sum).clone();
        let mut along = vec![Dim::from(1i64); ty.rank() - 1];
        along[0] = ty.shape[1].clone();
        let bias = rewriter.reshaped(node.inputs[2], along, &node.origin)?;
        let expr = Expr::binary(BinaryOp::Add, ty.dtype);
        value = rewriter.elementwise(expr, vec![sum, bias], ty.shape, &node.origin)?;
    }
    with_epilogue(rewriter, node, value)
}

pub(super) fn pool(rewriter: &mut Rewriter<'_>, node: &Rc<Node>) -> Rewrite {
    let Op::Pool { kind, window, .. } = &node.op else {
        return None;
    };
    let x = rewriter.ty(node.inputs[0]).clone();
    let shape = rewriter.shape(node.outputs[0]).to_vec();
    let rank = shape.len();
    let mut expr = Expr::empty();
    let (image, channel) = (expr.index(0), expr.index(1));
    let places = Places::new(&mut expr, window, LEAD, rank);
    let spatial = places.forward(&mut expr);
    let inside = Places::within(&mut expr, &spatial, &x.shape[LEAD..]);
    let mut coordinates = vec![image, channel];
    coordinates.extend(&spatial);
    let place = expr.row_major(&coordinates, &x.shape);
    let mut value = expr.at(0, place, x.dtype);
    let outside = match kind {
        PoolKind::Max if x.dtype.is_float() => expr.float(f64::NEG_INFINITY, x.dtype),
        PoolKind::Max => expr.int(crate::ir::eval::int_limits(x.dtype).0, x.dtype),
        _ => number(&mut expr, 0.0, x.dtype),
    };
    if let PoolKind::Lp { p } = kind {
        value = expr.apply1(UnaryOp::Abs, value);
        let power = expr.float(f64::from(*p), x.dtype);
        value = expr.apply2(BinaryOp::Pow, value, power);
    }
    expr.select(inside, value, outside);
    let domain: Vec<Dim> = window.kernel.iter().map(|&size| Dim::from(size)).collect();
    let op = Op::Fold {
        kind: match kind {
            PoolKind::Max => FoldKind::Max,
            _ => FoldKind::Sum,
        },
        expr,
        shape: shape.clone(),
        domain: domain.clone(),
    };
    let folded = rewriter.emit_like(node, op, vec![node.inputs[0]])?;
    let value = match kind {
        PoolKind::Max => folded,
        PoolKind::Lp { p } => {
            let mut root = Expr::empty();
            let (sum, power) = (root.input(0, x.dtype), root.float(1.0 / f64::from(*p), x.dtype));
            root.apply2(BinaryOp::Pow, sum, power);
            rewriter.elementwise(root, vec![folded], shape, &node.origin)?
        }
        PoolKind::Average { count_include_pad } => {
            let counts = counts(rewriter, node, window, *count_include_pad, &x.shape[LEAD..], domain)?;
            let mut mean = Expr::empty();
            let (sum, count) = (mean.input(0, x.dtype), mean.input(1, DType::I64));
            let count = mean.convert(count, x.dtype);
            mean.apply2(BinaryOp::Div, sum, count);
            rewriter.elementwise(mean, vec![folded, counts], shape, &node.origin)?
        }
    };
    Some(vec![value])
}

/// How many elements of each window count, by the spatial axes of the result. A window may overhang the padded tensor;
/// what is there never counts.
fn counts(
    rewriter: &mut Rewriter<'_>,
    node: &Node,
    window: &Window,
    with_padding: bool,
    sizes: &[Dim],
    domain: Vec<Dim>,
) -> Option<ValueId> {
    let shape = rewriter.shape(node.outputs[0])[LEAD..].to_vec();
    let mut expr = Expr::empty();
    let places = Places::new(&mut expr, window, 0, shape.len());
    let spatial = places.forward(&mut expr);
    let inside = match with_padding {
        false => Places::within(&mut expr, &spatial, sizes),
        true => {
            let mut inside = None;
            for (axis, &place) in spatial.iter().enumerate() {
                let end = expr.dim(&(sizes[axis].clone() + window.pads_after[axis].clone()));
                let own = expr.apply2(BinaryOp::Lt, place, end);
                inside = Some(match inside {
                    Some(others) => expr.apply2(BinaryOp::And, others, own),
                    None => own,
                });
            }
            inside?
        }
    };
    expr.convert(inside, DType::I64);
    let op = Op::Fold {
        kind: FoldKind::Sum,
        expr,
        shape,
        domain,
    };
    rewriter.emit_like(node, op, Vec::new())
}

/// The coordinates that windows join.
struct Places {
    /// The coordinates of the result, times the strides, or plus the padding.
    origins: Vec<ScalarId>,
    /// The coordinates within the window.
    taps: Vec<ScalarId>,
    /// The same, times the dilations.
    steps: Vec<ScalarId>,
    before: Vec<ScalarId>,
    strides: Vec<ScalarId>,
}

impl Places {
    /// `first` and `taps` are the first spatial axis of the result and the first axis of the window.
    fn new(expr: &mut Expr, window: &Window, first: usize, taps: usize) -> Places {
        let rank = window.kernel.len();
        let scaled = |expr: &mut Expr, axis: usize, factor: usize| {
            let id = expr.index(axis);
            match factor {
                1 => id,
                factor => {
                    let factor = expr.int(factor as i128, DType::I64);
                    expr.apply2(BinaryOp::Mul, id, factor)
                }
            }
        };
        Places {
            origins: (0..rank).map(|axis| expr.index(first + axis)).collect(),
            taps: (0..rank).map(|axis| expr.index(taps + axis)).collect(),
            steps: (0..rank)
                .map(|axis| scaled(expr, taps + axis, window.dilations[axis]))
                .collect(),
            before: window.pads_before.iter().map(|pad| expr.dim(pad)).collect(),
            strides: window
                .strides
                .iter()
                .map(|&stride| expr.int(stride as i128, DType::I64))
                .collect(),
        }
    }

    /// The coordinates in the tensor that the windows slide over.
    fn forward(&self, expr: &mut Expr) -> Vec<ScalarId> {
        (0..self.taps.len())
            .map(|axis| {
                let start = expr.apply2(BinaryOp::Mul, self.origins[axis], self.strides[axis]);
                let place = expr.apply2(BinaryOp::Add, start, self.steps[axis]);
                expr.apply2(BinaryOp::Sub, place, self.before[axis])
            })
            .collect()
    }

    /// The coordinates of the windows that reach an element of the result of a transposed convolution, and whether there
    /// are such, unless all strides are 1.
    fn backward(&self, expr: &mut Expr, window: &Window) -> (Vec<ScalarId>, Option<ScalarId>) {
        let mut whole = None;
        let places = (0..self.taps.len())
            .map(|axis| {
                let from_start = expr.apply2(BinaryOp::Add, self.origins[axis], self.before[axis]);
                let distance = expr.apply2(BinaryOp::Sub, from_start, self.steps[axis]);
                if window.strides[axis] == 1 {
                    return distance;
                }
                let (rest, zero) = (
                    expr.apply2(BinaryOp::Mod, distance, self.strides[axis]),
                    expr.int(0, DType::I64),
                );
                let own = expr.apply2(BinaryOp::Eq, rest, zero);
                whole = Some(match whole {
                    Some(others) => expr.apply2(BinaryOp::And, others, own),
                    None => own,
                });
                expr.apply2(BinaryOp::Div, distance, self.strides[axis])
            })
            .collect();
        (places, whole)
    }

    /// Whether coordinates are inside of a tensor; `None` if nothing is padded, so that all are.
    fn inside(expr: &mut Expr, places: &[ScalarId], sizes: &[Dim], window: &Window) -> Option<ScalarId> {
        let padded = window
            .pads_before
            .iter()
            .chain(&window.pads_after)
            .any(|pad| !pad.is(0));
        padded.then(|| Places::within(expr, places, sizes))
    }

    fn within(expr: &mut Expr, places: &[ScalarId], sizes: &[Dim]) -> ScalarId {
        let mut inside = None;
        for (&place, size) in places.iter().zip(sizes) {
            let (zero, size) = (expr.int(0, DType::I64), expr.dim(size));
            let starts = expr.apply2(BinaryOp::Ge, place, zero);
            let ends = expr.apply2(BinaryOp::Lt, place, size);
            let own = expr.apply2(BinaryOp::And, starts, ends);
            inside = Some(match inside {
                Some(others) => expr.apply2(BinaryOp::And, others, own),
                None => own,
            });
        }
        inside.unwrap_or_else(|| expr.push(crate::ir::Scalar::Const(crate::ir::Literal::Bool(true)), DType::Bool))
    }
}

fn number(expr: &mut Expr, value: f64, dtype: DType) -> ScalarId {
    match dtype.is_float() {
        true => expr.float(value, dtype),
        false => expr.int(value as i128, dtype),
    }
}
