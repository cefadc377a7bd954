//! Convolutions, one image at a time.

use super::super::Kernel;
use super::super::kernel::{Conv, ConvKind, Init};
use super::super::layout::Layout;
use super::matmul::take_loops;
use super::{Lowered, Lowering, Packing, Ref, product};
use crate::ir::graph::Node;
use crate::ir::op::Window;
use crate::ir::{DType, Dim, Op};
use onnxide_runtime::linear;

impl Lowering<'_> {
    pub(super) fn conv(&mut self, node: &Node) -> Lowered {
        let (window, groups, bias, transposed) = match &node.op {
            Op::Conv {
                window, groups, bias, ..
            } => (window, *groups, *bias, false),
            Op::ConvTranspose {
                window, groups, bias, ..
            } => (window, *groups, *bias, true),
            _ => return Err("not a convolution".into()),
        };
        let base = node.op.epilogue_base().unwrap_or(2);
        let mut x = self.operand(node.inputs[0]);
        if x.dtype != DType::F32 {
            return Err(format!(
                "a convolution of {} is not supported yet, only of f32",
                x.dtype
            ));
        }
        let weights = self.operand(node.inputs[1]);
        let Some((weight_value, _)) = self.constant_of(&weights).filter(|_| weights.layout == dense(&weights)) else {
            return Err("weights known only at run time are not supported yet; they must be constant".into());
        };
        let y = self.result(node.outputs[0])?;
        x = self.apart_from(&x, &y, &node.origin)?;
        let plane = Plane::new(window)?;
        let (x_view, y_view) = (plane.lift(&x.layout), plane.lift(&y.layout));
        if !(y_view.strides[3].is(1) || y_view.shape[3].is(1))
            || !(y_view.strides[2] == y_view.shape[3] || y_view.shape[2].is(1))
        {
            return Err("the rows of a convolution's result are not dense".into());
        }
        let pixels = product(&y_view.shape[2..]);
        let flat = [y_view.shape[0].clone(), y_view.shape[1].clone(), pixels.clone()];
        let mut extras: Vec<Ref> = Vec::new();
        let mut layouts = vec![x_view.clone(), y_view.clone()];
        let mut flat_layouts = Vec::new();
        for &value in &node.inputs[base..] {
            let operand = self.operand(value);
            let operand = self.apart_from(&operand, &y, &node.origin)?;
            let mut operand = self.epilogue_ready(&operand, &y.layout.shape, &node.origin)?;
            let seen = plane.lift(&operand.layout.broadcast(&y.layout.shape));
            let layout = match seen.reshape(self.graph, &flat) {
                Some(layout) => layout,
                None => {
                    let whole = Ref {
                        layout: operand.layout.broadcast(&y.layout.shape),
                        ..operand.clone()
                    };
                    operand = self.copy(&whole, &node.origin)?;
                    let seen = plane.lift(&operand.layout);
                    seen.reshape(self.graph, &flat).ok_or("a dense value has a reshape")?
                }
            };
            flat_layouts.push(layout);
            extras.push(operand);
        }
        // The batch is the loop; every layout has it as its first axis.
        layouts.extend(flat_layouts.into_iter().map(|layout| Layout {
            offset: layout.offset,
            shape: [layout.shape, vec![Dim::from(1i64)]].concat(),
            strides: [layout.strides, vec![Dim::from(0i64)]].concat(),
        }));
        let (loops, mut views) = take_loops(&layouts, 3);
        for view in &mut views[2..] {
            view.layout.shape.truncate(2);
            view.layout.strides.truncate(2);
        }
        let in_channels = x_view.shape[1].clone();
        let out_channels = y_view.shape[1].clone();
        let kind = match () {
            () if transposed => ConvKind::Transposed,
            () if in_channels.is(groups as i64) && groups > 1 => ConvKind::Depthwise,
            () => ConvKind::Gemm,
        };
        let taps = product(&[Dim::from(plane.kernel[0]), Dim::from(plane.kernel[1])]);
        let per_pixel = taps.clone() * in_channels.floor_div(&Dim::from(groups));
        let macs = match transposed {
            true => product(&x_view.shape[1..]) * out_channels.floor_div(&Dim::from(groups)) * taps,
            false => out_channels.clone() * pixels.clone() * per_pixel,
        };
        let kernel = Conv {
            kind,
            input: [in_channels, x_view.shape[2].clone(), x_view.shape[3].clone()],
            output: [out_channels.clone(), y_view.shape[2].clone(), y_view.shape[3].clone()],
            kernel: plane.kernel,
            stride: plane.stride,
            dilation: plane.dilation,
            pad: plane.pad.clone(),
            groups,
            x: [1, 2, 3].map(|axis| x_view.strides[axis].clone()),
            y_channel: y_view.strides[1].clone(),
            init: Init::Zero,
            epilogue: None,
        };
        let bounded = self.bounded(&kernel);
        let fixed = kernel
            .input
            .iter()
            .chain(&kernel.output)
            .all(|size| size.as_const().is_some());
        let (packing, scratch) = match kind {
            ConvKind::Gemm => (Packing::Conv(bounded), linear::conv2d_scratch(&bounded)),
            ConvKind::Depthwise if fixed => (Packing::Dense, linear::depthwise_conv2d_scratch(&bounded)),
            ConvKind::Depthwise => (Packing::Dense, linear::depthwise_conv2d_scratch_bound(&bounded)),
            ConvKind::Transposed => {
                let problem = transposed_problem(&bounded);
                let scratch = match fixed {
                    true => linear::conv_transpose2d_scratch(&problem),
                    false => linear::conv_transpose2d_scratch_bound(&problem),
                };
                (Packing::ConvTranspose(problem), scratch)
            }
        };
        let packing = self.canonical(packing);
        let mut w = self.packed(weight_value, packing);
        w.loop_strides = vec![Dim::from(0i64); loops.len()];
        let x_access = self.access_view(&x, &views[0]);
        let y_access = self.access_view(&y, &views[1]);
        let starts: &[Init] = if bias { &[] } else { &[Init::PerRow] };
        let sizes = [&out_channels, &pixels];
        let mut placed = self.place_epilogue(node.op.epilogue(), &extras, &views[2..], sizes, starts)?;
        if bias {
            let operand = self.operand(node.inputs[2]);
            let operand = self.dense(&operand, &node.origin)?;
            placed.init = Init::PerRow;
            placed.bias = Some(self.access(&operand, vec![Dim::from(0i64); loops.len()]));
        }
        let kernel = Conv {
            init: placed.init,
            epilogue: placed.map,
            ..kernel
        };
        let scratch = self.scratch(scratch)?;
        let mut reads = vec![x_access, w];
        reads.extend(placed.bias);
        reads.extend(placed.reads);
        let results = self.types_of(&node.outputs);
        self.push(
            Kernel::Conv(kernel),
            loops,
            reads,
            vec![y_access],
            scratch,
            &node.origin,
            results,
            macs,
        );
        Ok(())
    }

    /// The problem at the bounds of the symbols.
    fn bounded(&self, kernel: &Conv) -> linear::Conv2d {
        linear::Conv2d {
            in_channels: self.upper(&kernel.input[0]),
            in_height: self.upper(&kernel.input[1]),
            in_width: self.upper(&kernel.input[2]),
            out_channels: self.upper(&kernel.output[0]),
            out_height: self.upper(&kernel.output[1]),
            out_width: self.upper(&kernel.output[2]),
            kernel: kernel.kernel,
            stride: kernel.stride,
            dilation: kernel.dilation,
            pad: [self.upper(&kernel.pad[0]), self.upper(&kernel.pad[1])],
            groups: kernel.groups,
            x_channel: self.upper(&kernel.x[0]),
            x_row: self.upper(&kernel.x[1]),
            x_column: self.upper(&kernel.x[2]),
            y_channel: self.upper(&kernel.y_channel),
        }
    }

    /// The packing with everything that it does not depend on set to zero, so that equal weights share an entry.
    fn canonical(&self, packing: Packing) -> Packing {
        match packing {
            Packing::Conv(problem) => Packing::Conv(linear::Conv2d {
                in_height: 0,
                in_width: 0,
                out_height: 0,
                out_width: 0,
                x_channel: 0,
                x_row: 0,
                x_column: 0,
                y_channel: 0,
                ..problem
            }),
            other => other,
        }
    }
}

fn dense(value: &Ref) -> Layout {
    Layout::dense(&value.layout.shape)
}

/// A transposed problem from the fields it shares with a convolution.
pub(crate) fn transposed_problem(problem: &linear::Conv2d) -> linear::ConvTranspose2d {
    linear::ConvTranspose2d {
        in_channels: problem.in_channels,
        in_height: problem.in_height,
        in_width: problem.in_width,
        out_channels: problem.out_channels,
        out_height: problem.out_height,
        out_width: problem.out_width,
        kernel: problem.kernel,
        stride: problem.stride,
        dilation: problem.dilation,
        pad: problem.pad,
        groups: problem.groups,
        x_channel: problem.x_channel,
        x_row: problem.x_row,
        x_column: problem.x_column,
        y_channel: problem.y_channel,
    }
}

/// A window over one or two spatial axes as one over two.
pub(super) struct Plane {
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) dilation: [usize; 2],
    pub(super) pad: [Dim; 2],
    pub(super) pad_after: [Dim; 2],
}

impl Plane {
    pub(super) fn new(window: &Window) -> Result<Plane, String> {
        let sizes = |list: &[usize]| match *list {
            [x] => Ok([1, x]),
            [y, x] => Ok([y, x]),
            _ => Err(format!(
                "windows over {} spatial axes are not supported yet, only over one or two",
                list.len()
            )),
        };
        let dims = |list: &[Dim]| match list {
            [x] => [Dim::from(0i64), x.clone()],
            [y, x] => [y.clone(), x.clone()],
            _ => [Dim::from(0i64), Dim::from(0i64)],
        };
        let pads = [dims(&window.pads_before), dims(&window.pads_after)];
        if pads
            .iter()
            .flatten()
            .any(|pad| pad.as_const().is_some_and(|pad| pad < 0))
        {
            return Err("negative padding is not supported yet".into());
        }
        let [pad, pad_after] = pads;
        Ok(Plane {
            kernel: sizes(&window.kernel)?,
            stride: sizes(&window.strides)?,
            dilation: sizes(&window.dilations)?,
            pad,
            pad_after,
        })
    }

    /// A layout `[batch, channels, spatial...]` with two spatial axes.
    pub(super) fn lift(&self, layout: &Layout) -> Layout {
        let mut lifted = layout.clone();
        if lifted.shape.len() == 3 {
            lifted.shape.insert(2, Dim::from(1i64));
            let row = lifted.strides[2].clone() * lifted.shape[3].clone();
            lifted.strides.insert(2, row);
        }
        lifted
    }
}
