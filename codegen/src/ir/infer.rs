//! Types of results.

mod control;
mod linear;

use super::dim::Dim;
use super::dtype::DType;
use super::expr::{Expr, Scalar};
use super::graph::{Block, Graph, TensorType, ValueId};
use super::op::{Cell, Op, PoolKind, Window};
use super::verify::{check_expression, check_types};

/// The types of the results of an operation on operands of a graph.
///
/// # Errors
///
/// What is wrong with the operands or attributes, in words that name shapes.
pub fn infer(graph: &Graph, op: &Op, inputs: &[ValueId], regions: &[Block]) -> Result<Vec<TensorType>, String> {
    let types: Vec<&TensorType> = inputs.iter().map(|&id| graph.ty(id)).collect();
    let cx = Context { graph, types: &types };
    match op {
        Op::If | Op::Loop { .. } | Op::Scan { .. } => cx.control(op, regions),
        _ if !regions.is_empty() => Err(format!("{} has no regions", op.name())),
        _ => {
            let mut types = cx.tensor_op(op)?;
            if let Some(epilogue) = op.epilogue()
                && let ([ty], Some(last)) = (types.as_mut_slice(), epilogue.expr.nodes.last())
            {
                ty.dtype = last.dtype;
            }
            Ok(types)
        }
    }
}

/// Pairs of sizes that must be equal.
pub type Equalities = Vec<(Dim, Dim)>;

/// The shape of the elementwise combination of operands, by numpy's rule.
///
/// Sizes that are neither provably equal nor 1 are returned as pairs that must be equal at run time.
///
/// # Errors
///
/// If the shapes contradict each other.
pub fn broadcast(graph: &Graph, shapes: &[&[Dim]]) -> Result<(Vec<Dim>, Equalities), String> {
    let rank = shapes.iter().map(|shape| shape.len()).max().unwrap_or(0);
    let mut result = vec![Dim::from(1i64); rank];
    let mut equalities = Vec::new();
    for shape in shapes {
        for (slot, dim) in result[rank - shape.len()..].iter_mut().zip(shape.iter()) {
            if dim.is(1) || graph.dims_equal(slot, dim) {
                continue;
            }
            if slot.is(1) {
                *slot = dim.clone();
                continue;
            }
            let difference = (slot.clone() - dim.clone()).range(&graph.bounds);
            if difference.low > 0 || difference.high < 0 {
                return Err(format!(
                    "shapes {} do not broadcast: {slot} against {dim}",
                    display_shapes(shapes)
                ));
            }
            equalities.push((slot.clone(), dim.clone()));
            // The constant is the simpler name of two equal sizes.
            if dim.as_const().is_some() {
                *slot = dim.clone();
            }
        }
    }
    Ok((result, equalities))
}

/// The size along one axis of sliding a window over `size` elements.
pub fn window_size(size: &Dim, window: &Window, axis: usize, ceil_mode: bool) -> Dim {
    let extent = window.dilations[axis] * (window.kernel[axis] - 1) + 1;
    let before = &window.pads_before[axis];
    let span = size.clone() + before.clone() + window.pads_after[axis].clone() - Dim::from(extent);
    let stride = Dim::from(window.strides[axis]);
    if !ceil_mode {
        return span.floor_div(&stride) + Dim::from(1i64);
    }
    let count = span.ceil_div(window.strides[axis] as i64) + Dim::from(1i64);
    // A window that starts in the padding after the tensor does not count.
    match (count.as_const(), size.as_const(), before.as_const()) {
        (Some(n), Some(size), Some(before)) if (n - 1) * window.strides[axis] as i64 >= size + before => {
            Dim::from(n - 1)
        }
        _ => count,
    }
}

fn display_shapes(shapes: &[&[Dim]]) -> String {
    let parts: Vec<String> = shapes.iter().map(|shape| display_shape(shape)).collect();
    parts.join(" and ")
}

/// A shape as people write it.
pub fn display_shape(shape: &[Dim]) -> String {
    let parts: Vec<String> = shape.iter().map(Dim::to_string).collect();
    format!("[{}]", parts.join(", "))
}

struct Context<'a> {
    graph: &'a Graph,
    types: &'a [&'a TensorType],
}

impl Context<'_> {
    fn expect_operands(&self, op: &Op, least: usize, most: usize) -> Result<(), String> {
        let found = self.types.len();
        if found < least || found > most {
            return Err(format!("{} takes {least} to {most} operands, not {found}", op.name()));
        }
        Ok(())
    }

    fn same_float(&self, count: usize) -> Result<DType, String> {
        let dtype = self.types[0].dtype;
        for ty in &self.types[..count] {
            if ty.dtype != dtype {
                return Err(format!("element types {dtype} and {} differ", ty.dtype));
            }
        }
        Ok(dtype)
    }

    fn axis(&self, axis: usize, rank: usize) -> Result<usize, String> {
        if axis < rank {
            Ok(axis)
        } else {
            Err(format!("axis {axis} of a tensor of rank {rank}"))
        }
    }

    fn rank(&self, operand: usize, rank: usize) -> Result<&[Dim], String> {
        let shape = &self.types[operand].shape;
        if shape.len() == rank {
            Ok(shape)
        } else {
            Err(format!(
                "operand {operand} has shape {}, not rank {rank}",
                display_shape(shape)
            ))
        }
    }

    fn equal(&self, what: &str, a: &Dim, b: &Dim) -> Result<(), String> {
        if self.graph.dims_equal(a, b) {
            Ok(())
        } else {
            Err(format!("{what}: {a} is not {b}"))
        }
    }

    /// Checks the operands of an expression for the elements of a shape.
    fn expression(&self, expr: &Expr, shape: &[Dim]) -> Result<(), String> {
        if expr.nodes.is_empty() {
            return Err("an empty expression".into());
        }
        for node in &expr.nodes {
            match node.op {
                Scalar::Input(index) | Scalar::At(index, _) => match self.types.get(index) {
                    Some(ty) if ty.dtype == node.dtype => {}
                    Some(ty) => return Err(format!("operand {index} is {}, not {}", ty.dtype, node.dtype)),
                    None => return Err(format!("expression refers to operand {index}")),
                },
                Scalar::Index(axis) if axis >= shape.len() => return Err(format!("index along axis {axis}")),
                _ => {}
            }
        }
        let dtypes: Vec<DType> = self.types.iter().map(|ty| ty.dtype).collect();
        check_expression(expr, &dtypes).map_err(|message| format!("no meaning for these element types: {message}"))?;
        for (number, ty) in self.types.iter().enumerate() {
            if expr.reads_element(number) {
                self.broadcasts_to(&ty.shape, shape)?;
            }
        }
        Ok(())
    }

    fn tensor_op(&self, op: &Op) -> Result<Vec<TensorType>, String> {
        let base = op.epilogue_base().unwrap_or(usize::MAX);
        match op {
            Op::Constant(tensor) => {
                self.expect_operands(op, 0, 0)?;
                let shape = tensor.shape.iter().map(|&size| Dim::from(size)).collect();
                return Ok(vec![TensorType::new(tensor.dtype, shape)]);
            }
            Op::Elementwise { expr, shape } => {
                self.expression(expr, shape)?;
                return Ok(vec![TensorType::new(expr.dtype(), shape.clone())]);
            }
            Op::Fold {
                expr, shape, domain, ..
            } => {
                self.expression(expr, &[shape.as_slice(), domain].concat())?;
                return Ok(vec![TensorType::new(expr.dtype(), shape.clone())]);
            }
            Op::Bind { .. } | Op::Assert { .. } => {
                self.expect_operands(op, 1, 1)?;
                self.rank(0, 0)?;
                return Ok(Vec::new());
            }
            Op::MatMul { .. } | Op::Conv { .. } | Op::ConvTranspose { .. } => {
                self.expect_operands(op, base, usize::MAX)?;
            }
            Op::Opaque(call) => {
                self.expect_operands(op, call.operands(), call.operands())?;
                return Ok(call.results.clone());
            }
            Op::Concat { .. } => self.expect_operands(op, 1, usize::MAX)?,
            Op::Gather { .. } | Op::GatherElements { .. } => self.expect_operands(op, 2, 2)?,
            Op::Scatter { .. } => self.expect_operands(op, 3, 3)?,
            Op::Dequantize { .. } => self.expect_operands(op, 2, 3)?,
            Op::Pad {
                mode: super::op::PadMode::Constant,
                ..
            } => self.expect_operands(op, 2, 2)?,
            Op::Normalize { scale, bias, .. } => {
                let count = 1 + usize::from(*scale) + usize::from(*bias);
                self.expect_operands(op, count, count)?;
            }
            Op::Attention { mask, .. } => {
                let count = 3 + usize::from(*mask);
                self.expect_operands(op, count, count)?;
            }
            Op::Recurrent { cell, .. } => {
                let count = 5 + usize::from(*cell == Cell::Lstm);
                self.expect_operands(op, count, count)?;
            }
            _ => self.expect_operands(op, 1, 1)?,
        }
        let dtypes: Vec<DType> = self.types.iter().map(|ty| ty.dtype).collect();
        check_types(op, &dtypes)?;
        let x = self.types[0];
        let result = |shape: Vec<Dim>| Ok(vec![TensorType::new(x.dtype, shape)]);
        match op {
            Op::Constant(_)
            | Op::Elementwise { .. }
            | Op::Fold { .. }
            | Op::Bind { .. }
            | Op::Assert { .. }
            | Op::If
            | Op::Loop { .. }
            | Op::Scan { .. }
            | Op::Opaque(_) => unreachable!(),
            Op::Scatter { .. } => {
                let [places, updates] = [self.types[1], self.types[2]];
                if updates.dtype != x.dtype || places.dtype != DType::I64 {
                    return Err(format!("scatter of {updates} at {places} into {x}"));
                }
                for (a, b) in self.rank(1, updates.rank())?.iter().zip(&updates.shape) {
                    self.equal("the sizes of places and updates", a, b)?;
                }
                result(x.shape.clone())
            }
            Op::Sort { .. } => {
                if x.rank() == 0 {
                    return Err("sort of a tensor without axes".into());
                }
                Ok(vec![TensorType::new(DType::I64, x.shape.clone())])
            }
            Op::Reduce { axes, keep_dims, .. } => {
                let mut shape = x.shape.clone();
                for &axis in axes.iter().rev() {
                    self.axis(axis, x.rank())?;
                    if *keep_dims {
                        shape[axis] = Dim::from(1i64);
                    } else {
                        shape.remove(axis);
                    }
                }
                result(shape)
            }
            Op::ArgReduce { axis, keep_dims, .. } => {
                let mut shape = x.shape.clone();
                self.axis(*axis, x.rank())?;
                if *keep_dims {
                    shape[*axis] = Dim::from(1i64);
                } else {
                    shape.remove(*axis);
                }
                Ok(vec![TensorType::new(DType::I64, shape)])
            }
            Op::CumSum { axis, .. } | Op::Softmax { axis, .. } => {
                self.axis(*axis, x.rank())?;
                result(x.shape.clone())
            }
            Op::MatMul { .. } => self.matmul(),
            Op::Dequantize { rows } => self.dequantize(*rows),
            Op::Conv {
                window, groups, bias, ..
            } => self.conv(window, *groups, *bias),
            Op::ConvTranspose {
                window,
                output_padding,
                groups,
                bias,
                ..
            } => self.conv_transpose(window, output_padding, *groups, *bias),
            Op::Pool {
                kind,
                window,
                ceil_mode,
            } => {
                if matches!(kind, PoolKind::Lp { p: 0 }) {
                    return Err("pooling with a 0-norm".into());
                }
                if x.rank() != window.kernel.len() + 2 {
                    return Err(format!(
                        "a window of rank {} over {}",
                        window.kernel.len(),
                        display_shape(&x.shape)
                    ));
                }
                let mut shape = x.shape[..2].to_vec();
                for axis in 0..window.kernel.len() {
                    shape.push(self.positive(window_size(&x.shape[axis + 2], window, axis, *ceil_mode))?);
                }
                result(shape)
            }
            Op::Reshape { shape } => {
                let (from, to): (Dim, Dim) = (x.elements(), shape.iter().cloned().product());
                if from != to && !self.graph.dims_equal(&from, &to) {
                    return Err(format!(
                        "reshape of {} ({from} elements) to {} ({to} elements)",
                        display_shape(&x.shape),
                        display_shape(shape)
                    ));
                }
                result(shape.clone())
            }
            Op::Transpose { permutation } => {
                let mut seen = vec![false; x.rank()];
                for &axis in permutation {
                    seen[self.axis(axis, x.rank())?] = true;
                }
                if permutation.len() != x.rank() || seen.contains(&false) {
                    return Err(format!("{permutation:?} is no permutation of {} axes", x.rank()));
                }
                result(permutation.iter().map(|&axis| x.shape[axis].clone()).collect())
            }
            Op::Slice { starts, steps, shape } => {
                if starts.len() != x.rank() || steps.len() != x.rank() || shape.len() != x.rank() {
                    return Err(format!(
                        "a slice needs start, step and size for each of {} axes",
                        x.rank()
                    ));
                }
                for axis in 0..x.rank() {
                    if steps[axis] == 0 {
                        return Err("a slice with step 0".into());
                    }
                    let span = (shape[axis].clone() - Dim::from(1i64)) * Dim::from(steps[axis]);
                    let last = starts[axis].clone() + span;
                    let empty = shape[axis].is(0);
                    let outside = |index: &Dim| {
                        index.range(&self.graph.bounds).high < 0
                            || (index.clone() - x.shape[axis].clone()).range(&self.graph.bounds).low >= 0
                    };
                    if !empty && (outside(&starts[axis]) || outside(&last)) {
                        return Err(format!(
                            "a slice reaches index {last} of axis {axis} of {}",
                            display_shape(&x.shape)
                        ));
                    }
                }
                result(shape.clone())
            }
            Op::Broadcast { shape } => {
                self.broadcasts_to(&x.shape, shape)?;
                result(shape.clone())
            }
            Op::Concat { axis } => {
                self.axis(*axis, x.rank())?;
                let mut shape = x.shape.clone();
                for (index, ty) in self.types.iter().enumerate().skip(1) {
                    if ty.dtype != x.dtype || ty.rank() != x.rank() {
                        return Err(format!("concat of {x} and {ty}"));
                    }
                    for (other, (mine, theirs)) in x.shape.iter().zip(&ty.shape).enumerate() {
                        if other != *axis {
                            self.equal(&format!("axis {other} of concat operand {index}"), mine, theirs)?;
                        }
                    }
                    shape[*axis] = shape[*axis].clone() + ty.shape[*axis].clone();
                }
                result(shape)
            }
            Op::Pad { before, after, .. } => {
                if before.len() != x.rank() || after.len() != x.rank() {
                    return Err(format!("padding needs two sizes for each of {} axes", x.rank()));
                }
                let sizes = x.shape.iter().zip(before).zip(after);
                result(
                    sizes
                        .map(|((size, before), after)| size.clone() + before.clone() + after.clone())
                        .collect(),
                )
            }
            Op::Gather { axis } => {
                self.axis(*axis, x.rank())?;
                self.index_operand(1)?;
                let mut shape = x.shape[..*axis].to_vec();
                shape.extend(self.types[1].shape.iter().cloned());
                shape.extend(x.shape[axis + 1..].iter().cloned());
                result(shape)
            }
            Op::GatherElements { axis } => {
                self.axis(*axis, x.rank())?;
                self.index_operand(1)?;
                self.rank(1, x.rank())?;
                result(self.types[1].shape.clone())
            }
            Op::Resize { shape, scales, .. } => {
                if shape.len() != x.rank() || scales.as_ref().is_some_and(|scales| scales.len() != x.rank()) {
                    return Err(format!(
                        "resize of {} to {}",
                        display_shape(&x.shape),
                        display_shape(shape)
                    ));
                }
                result(shape.clone())
            }
            Op::Normalize { axis, scale, bias, .. } => {
                self.axis(*axis, x.rank())?;
                for operand in 1..=usize::from(*scale) + usize::from(*bias) {
                    for (a, b) in self.rank(operand, x.rank() - axis)?.iter().zip(&x.shape[*axis..]) {
                        self.equal("the size of a normalized axis and of its scale or bias", b, a)?;
                    }
                }
                result(x.shape.clone())
            }
            Op::Attention { mask, .. } => self.attention(*mask),
            Op::Recurrent { cell, .. } => self.recurrent(*cell),
        }
    }

    fn index_operand(&self, operand: usize) -> Result<(), String> {
        match self.types[operand].dtype {
            DType::I32 | DType::I64 => Ok(()),
            other => Err(format!("indices of type {other}")),
        }
    }

    fn positive(&self, size: Dim) -> Result<Dim, String> {
        if size.range(&self.graph.bounds).high < 0 {
            Err(format!("the result has size {size}"))
        } else {
            Ok(size)
        }
    }

    fn broadcasts_to(&self, from: &[Dim], to: &[Dim]) -> Result<(), String> {
        let fits = from.len() <= to.len()
            && from
                .iter()
                .zip(&to[to.len() - from.len()..])
                .all(|(from, to)| from.is(1) || self.graph.dims_equal(from, to));
        if fits {
            Ok(())
        } else {
            Err(format!(
                "shape {} does not broadcast to {}",
                display_shape(from),
                display_shape(to)
            ))
        }
    }
}
