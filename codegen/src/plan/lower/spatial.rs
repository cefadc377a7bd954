//! Pooling, interpolation and padding.

use super::super::Kernel;
use super::super::kernel::{Pool, PoolResult, Resize};
use super::conv::Plane;
use super::destination::{has_dense_planes, is_one_run_of_pixels};
use super::matmul::take_loops;
use super::order::{channels_last, stored_order};
use super::{Lowered, Lowering, product};
use crate::ir::graph::Node;
use crate::ir::op::{PadMode, PoolKind, ResizeMode};
use crate::ir::{DType, Dim, Op};

impl Lowering<'_> {
    pub(super) fn pool(&mut self, node: &Node) -> Lowered {
        let Op::Pool { kind, window, .. } = &node.op else {
            return Err("not a pool".into());
        };
        let x = self.operand(node.inputs[0]);
        if x.dtype != DType::U8 || *kind != PoolKind::Max {
            self.only_f32(x.dtype)?;
        }
        let dtype = x.dtype;
        let y = self.result(node.outputs[0])?;
        let mut x = self.apart_from(&x, &y, &node.origin)?;
        let plane = Plane::new(window)?;
        // Of a single pixel both is true; then the order of the image decides.
        let is_pixel = y.layout.shape[2..].iter().all(|size| size.is(1));
        let by_channel = !matches!(kind, PoolKind::Lp { .. }) && [&x, &y].iter().all(|at| at.layout.strides[1].is(1));
        let planes = has_dense_planes(&y.layout) && !(is_pixel && by_channel);
        if !planes && !x.layout.strides[1].is(1) {
            x = self.dense_in(&x, &channels_last(x.layout.shape.len()), &node.origin)?;
        }
        let layouts = [plane.lift(&x.layout), plane.lift(&y.layout)];
        let (loops, views) = take_loops(&layouts, 3);
        let (x_view, y_view) = (&views[0].layout, &views[1].layout);
        let kernel = Pool {
            kind: *kind,
            dtype,
            input: [0, 1, 2].map(|axis| x_view.shape[axis].clone()),
            output: [y_view.shape[1].clone(), y_view.shape[2].clone()],
            kernel: plane.kernel,
            stride: plane.stride,
            dilation: plane.dilation,
            pad: plane.pad,
            pad_after: plane.pad_after,
            x: [0, 1, 2].map(|axis| x_view.strides[axis].clone()),
            y: match planes {
                true => PoolResult::Planes(y_view.strides[0].clone()),
                false if is_pixel => PoolResult::Pixels(y_view.shape[0].clone()),
                false => PoolResult::Pixels(y_view.strides[2].clone()),
            },
        };
        let (x_access, y_access) = (self.access_view(&x, &views[0]), self.access_view(&y, &views[1]));
        let results = self.types_of(&node.outputs);
        let none = Dim::from(0i64);
        self.push(
            Kernel::Pool(kernel),
            loops,
            vec![x_access],
            vec![y_access],
            None,
            &node.origin,
            results,
            none,
        );
        Ok(())
    }

    pub(super) fn resize(&mut self, node: &Node) -> Lowered {
        let Op::Resize {
            mode,
            coordinates,
            scales,
            shape,
        } = &node.op
        else {
            return Err("not a resize".into());
        };
        let nearest = match mode {
            ResizeMode::Nearest(rounding) => Some(*rounding),
            ResizeMode::Linear => None,
            ResizeMode::Cubic { .. } => return Err("cubic interpolation is not supported yet".into()),
        };
        let x = self.operand(node.inputs[0]);
        self.only_f32(x.dtype)?;
        let rank = shape.len();
        let changed: Vec<usize> = (0..rank)
            .filter(|&axis| !self.graph.dims_equal(&x.layout.shape[axis], &shape[axis]))
            .collect();
        let first = rank.saturating_sub(2);
        if changed.iter().any(|&axis| axis < first) {
            return Err("only the last two axes can be interpolated yet".into());
        }
        let pair = |dims: &[Dim]| match dims {
            [.., y, x] => [y.clone(), x.clone()],
            [x] => [Dim::from(1i64), x.clone()],
            [] => [Dim::from(1i64), Dim::from(1i64)],
        };
        let y = self.result(node.outputs[0])?;
        let x = self.apart_from(&x, &y, &node.origin)?;
        let one = Dim::from(1i64);
        let (x, images, channels, y_pixel) = if y.layout.is_dense() {
            (
                self.dense(&x, &node.origin)?,
                product(&shape[..first]),
                one.clone(),
                one,
            )
        } else if is_one_run_of_pixels(&y.layout) {
            let x = self.dense_in(&x, &channels_last(rank), &node.origin)?;
            (x, shape[0].clone(), shape[1].clone(), y.layout.strides[3].clone())
        } else {
            return Err("an interpolation writes densely".into());
        };
        let kernel = Resize {
            images,
            channels,
            y_pixel,
            input: pair(&x.layout.shape),
            output: pair(shape),
            scales: scales.as_ref().map(|scales| match scales.as_slice() {
                [.., y, x] => [*y, *x],
                [x] => [1.0, *x],
                [] => [1.0, 1.0],
            }),
            nearest,
            coordinates: *coordinates,
        };
        let (reads, writes) = (vec![self.access(&x, Vec::new())], vec![self.access(&y, Vec::new())]);
        let results = self.types_of(&node.outputs);
        let none = Dim::from(0i64);
        self.push(
            Kernel::Resize(kernel),
            Vec::new(),
            reads,
            writes,
            None,
            &node.origin,
            results,
            none,
        );
        Ok(())
    }

    pub(super) fn pad(&mut self, node: &Node) -> Lowered {
        let Op::Pad { mode, before, after } = &node.op else {
            return Err("not a pad".into());
        };
        let x = self.operand(node.inputs[0]);
        self.only_f32(x.dtype)?;
        let y = self.result(node.outputs[0])?;
        let x = self.apart_from(&x, &y, &node.origin)?;
        // The axes are taken in the order in which the result is stored.
        let order = stored_order(&y.layout, &self.graph.bounds);
        let x = self.dense_in(&x, &order, &node.origin)?;
        let mut reads = vec![self.access(&x, Vec::new())];
        if *mode == PadMode::Constant {
            let value = self.operand(node.inputs[1]);
            let value = self.apart_from(&value, &y, &node.origin)?;
            reads.push(self.access(&value, Vec::new()));
        }
        let kernel = Kernel::Pad {
            mode: *mode,
            shape: x.layout.transpose(&order).shape,
            before: order.iter().map(|&axis| before[axis].clone()).collect(),
            after: order.iter().map(|&axis| after[axis].clone()).collect(),
        };
        let writes = vec![self.access(&y, Vec::new())];
        let results = self.types_of(&node.outputs);
        self.push(
            kernel,
            Vec::new(),
            reads,
            writes,
            None,
            &node.origin,
            results,
            Dim::from(0i64),
        );
        Ok(())
    }

    pub(super) fn concat(&mut self, node: &Node, axis: usize) -> Lowered {
        let y = self.destinations.get(&node.outputs[0]).cloned();
        let y = match y {
            Some(y) => {
                self.refs.insert(node.outputs[0], y.clone());
                y
            }
            None => self.result(node.outputs[0])?,
        };
        let mut start = Dim::from(0i64);
        for &input in &node.inputs {
            let source = self.operand(input);
            let size = source.layout.shape[axis].clone();
            let part = self.part(&y, axis, &start, &source.layout.shape);
            start = start + size;
            let there = source.origin == part.origin && source.layout == part.layout;
            if !there {
                let source = self.apart_from(&source, &part, &node.origin)?;
                self.copy_to(&source, &part, &node.origin)?;
            }
        }
        Ok(())
    }

    pub(super) fn only_f32(&self, dtype: DType) -> Lowered {
        if dtype == DType::F32 {
            Ok(())
        } else {
            Err(format!("{dtype} is not supported here yet, only f32"))
        }
    }
}
