//! Transposed convolutions, one image at a time.

use super::super::Kernel;
use super::super::kernel::{ConvTranspose, Init};
use super::super::layout::Layout;
use super::conv::{Plane, take_image_loops};
use super::{Lowered, Lowering, Packing, Ref, product};
use crate::ir::graph::Node;
use crate::ir::{Dim, Op};
use onnxide_runtime::linear;

impl Lowering<'_> {
    /// A transposed convolution. Its result is stored as planes: rows are channels, columns pixels.
    pub(super) fn conv_transpose(&mut self, node: &Node) -> Lowered {
        let Op::ConvTranspose {
            window, groups, bias, ..
        } = &node.op
        else {
            return Err("not a transposed convolution".into());
        };
        let base = node.op.epilogue_base().unwrap_or(2);
        let (x, weights) = self.image_and_weights(node)?;
        let y = self.result(node.outputs[0])?;
        let x = self.apart_from(&x, &y, &node.origin)?;
        let plane = Plane::new(window)?;
        let (x_view, y_view) = (plane.lift(&x.layout), plane.lift(&y.layout));
        let [batch, channels] = [0, 1].map(|axis| y_view.shape[axis].clone());
        let flat = [batch, channels.clone(), product(&y_view.shape[2..])];
        let planes = |layout: &Layout| plane.lift(layout).reshape(self.graph, &flat);
        let y_planes = planes(&y.layout).filter(|planes| planes.strides[2].is(1) || planes.shape[2].is(1));
        let y_planes = y_planes.ok_or("the planes of a transposed convolution's result are not dense")?;
        let (mut operands, mut layouts) = (Vec::new(), vec![y_planes]);
        for &value in &node.inputs[base..] {
            let operand = self.operand(value);
            let operand = self.apart_from(&operand, &y, &node.origin)?;
            let mut operand = Ref {
                layout: operand.layout.broadcast(&y.layout.shape),
                ..operand
            };
            let planes = |layout: &Layout| plane.lift(layout).reshape(self.graph, &flat);
            let readable = |planes: &Layout| planes.strides[2].is(1) || planes.strides[2].is(0);
            let mut seen = planes(&operand.layout).filter(readable);
            if seen.is_none() {
                operand = self.copy(&operand, &node.origin)?;
                seen = plane.lift(&operand.layout).reshape(self.graph, &flat);
            }
            layouts.push(seen.ok_or("a dense value has a reshape")?);
            operands.push(operand);
        }
        let macs = product(&x_view.shape[1..])
            * channels.floor_div(&Dim::from(*groups))
            * Dim::from(plane.kernel[0] * plane.kernel[1]);
        let (loops, views) = take_image_loops(x_view, layouts);
        let starts: &[Init] = if *bias { &[] } else { &[Init::PerRow] };
        let expr = node.op.epilogue().map(|epilogue| &epilogue.expr);
        let mut placed = self.place_epilogue(expr, &operands, &views[2..], starts)?;
        if *bias {
            let operand = self.operand(node.inputs[2]);
            let operand = self.dense(&operand, &node.origin)?;
            placed.init = Init::PerRow;
            placed.bias = Some(self.access(&operand, vec![Dim::from(0i64); loops.len()]));
        }
        let kernel = ConvTranspose {
            window: plane.window(&views[0], &y_view, *groups),
            y_channel: views[1].layout.strides[0].clone(),
            init: placed.init,
            epilogue: placed.map,
        };
        let problem = self.bounded_transpose(&kernel);
        let scratch = match kernel.window.is_fixed() {
            true => linear::conv_transpose2d_scratch(&problem),
            false => linear::conv_transpose2d_scratch_bound(&problem),
        };
        let w = self.packed_in(weights, Packing::ConvTranspose(problem), &loops);
        let mut reads = vec![self.access_view(&x, &views[0]), w];
        reads.extend(placed.bias);
        reads.extend(placed.reads);
        let writes = vec![self.access_view(&y, &views[1])];
        let scratch = self.scratch(scratch)?;
        let results = self.types_of(&node.outputs);
        let kernel = Kernel::ConvTranspose(kernel);
        self.push(kernel, loops, reads, writes, scratch, &node.origin, results, macs);
        Ok(())
    }

    /// The problem at the bounds of the symbols.
    fn bounded_transpose(&self, kernel: &ConvTranspose) -> linear::ConvTranspose2d {
        let window = &kernel.window;
        let [in_channels, in_height, in_width] = [0, 1, 2].map(|axis| self.upper(&window.input[axis]));
        let [out_channels, out_height, out_width] = [0, 1, 2].map(|axis| self.upper(&window.output[axis]));
        let [x_channel, x_row, x_column] = [0, 1, 2].map(|axis| self.upper(&window.x[axis]));
        linear::ConvTranspose2d {
            in_channels,
            in_height,
            in_width,
            out_channels,
            out_height,
            out_width,
            kernel: window.kernel,
            stride: window.stride,
            dilation: window.dilation,
            pad: [0, 1].map(|axis| self.upper(&window.pad[axis])),
            groups: window.groups,
            x_channel,
            x_row,
            x_column,
            y_channel: self.upper(&kernel.y_channel),
        }
    }
}
