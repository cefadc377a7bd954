//! Transposed convolutions, one image at a time.
//!
//! Where the stride is the size of the kernel, every pixel of the input becomes a block of the result that is its own: a
//! product of pixels with weights, without sums over taps, written where the block lies. Such a result is stored channels
//! last. Others are computed as planes.

use super::super::kernel::{ConvTranspose, Init, Matrix};
use super::super::layout::Layout;
use super::super::{Access, Kernel};
use super::conv::{Plane, take_image_loops};
use super::matmul::take_loops;
use super::{Lowered, Lowering, Packing, Ref, product};
use crate::ir::graph::{Node, ValueId};
use crate::ir::{DType, Dim, Op, Tensor};
use onnxide_runtime::linear;

impl Lowering<'_> {
    /// Whether the blocks of the result that pixels become do not overlap, and are products with constant weights.
    pub(super) fn becomes_blocks(&self, node: &Node) -> bool {
        let Op::ConvTranspose {
            window,
            output_padding,
            groups,
            ..
        } = &node.op
        else {
            return false;
        };
        let mut pads = window.pads_before.iter().chain(&window.pads_after);
        let mut axes = window.kernel.iter().zip(&window.dilations);
        *groups == 1
            && node.op.epilogue_base() == Some(node.inputs.len())
            && window.kernel == window.strides
            && axes.all(|(&kernel, &dilation)| kernel == 1 || dilation == 1)
            && pads.all(|pad| pad.is(0))
            && output_padding.iter().all(|&padding| padding == 0)
            && node.inputs[1..].iter().all(|&input| self.is_constant(input))
    }

    /// A transposed convolution without overlap: for each row of the kernel, products of the pixels of a row of the input
    /// that are written beside each other.
    fn blocks(&mut self, node: &Node, plane: &Plane, x: &Ref, y: &Ref, weights: ValueId) -> Lowered {
        let (x_view, y_view) = (plane.lift(&x.layout), plane.lift(&y.layout));
        let [batch, inputs, height, width] = [0, 1, 2, 3].map(|axis| x_view.shape[axis].clone());
        let outputs = y_view.shape[1].clone();
        let (Some(k), Some(channels)) = (inputs.as_usize(), outputs.as_usize()) else {
            return Err("the channels of a transposed convolution are not known".into());
        };
        let [rows, columns] = plane.kernel;
        // The pixels of a row of a block are columns of one product where they follow each other.
        let joined = if y_view.strides[3].is(channels as i64) {
            columns
        } else {
            1
        };
        let expr = node.op.epilogue().map(|epilogue| &epilogue.expr);
        let n = joined * channels;
        let bias = match node.inputs.get(2) {
            Some(bias) => Some((self.repeated(*bias, joined)?, self.constants[bias].1.clone())),
            None => None,
        };
        for (row, column) in (0..rows).flat_map(|row| (0..columns).step_by(joined).map(move |column| (row, column))) {
            let place = |axis: usize, number: usize| y_view.strides[axis].clone() * Dim::from(number);
            let pixels = Layout {
                shape: vec![batch.clone(), height.clone(), width.clone(), Dim::from(n)],
                strides: vec![
                    y_view.strides[0].clone(),
                    place(2, rows),
                    place(3, columns),
                    Dim::from(1i64),
                ],
                offset: y_view.offset.clone() + place(2, row) + place(3, column),
            };
            let (loops, views) = take_loops(&[x_view.transpose(&[0, 2, 3, 1]), pixels], 2);
            let mut placed = self.place_epilogue(expr, &[], &[], &[])?;
            if let Some((values, name)) = &bias {
                placed.init = Init::PerColumn;
                let bias = self.weights.add(values, Packing::Dense, name);
                placed.bias = Some(Access::weight(bias, DType::F32, loops.len()));
            }
            let block = [row, column, joined];
            let right = (
                Matrix::Packed,
                self.block_weights(weights, plane.kernel, block, [k, channels])?,
            );
            self.product(node, (x, &views[0]), right, (y, &views[1]), loops, placed)?;
        }
        Ok(())
    }

    /// The weights `[inputs, outputs, kernel...]` of some taps of a row of the kernel as a packed right matrix `[inputs, taps
    /// * outputs]`.
    fn block_weights(
        &mut self,
        weights: ValueId,
        [rows, columns]: [usize; 2],
        [row, column, taps]: [usize; 3],
        [inputs, outputs]: [usize; 2],
    ) -> Result<Access, String> {
        let (tensor, name) = self.constants[&weights].clone();
        let values = tensor.to_vec::<f32>().ok_or("the weights are not f32")?;
        let mut matrix = Vec::with_capacity(inputs * taps * outputs);
        for input in values.chunks_exact(outputs * rows * columns) {
            for tap in column..column + taps {
                let of = |output: &[f32]| output[row * columns + tap];
                matrix.extend(input.chunks_exact(rows * columns).map(of));
            }
        }
        let n = taps * outputs;
        let packing = Packing::Rhs {
            k: inputs,
            n,
            row: n,
            column: 1,
            offset: 0,
        };
        let id = self.weights.add(&Tensor::new(vec![inputs, n], &matrix), packing, &name);
        Ok(Access::weight(id, DType::F32, 0))
    }

    /// A constant several times in a row.
    fn repeated(&self, value: ValueId, times: usize) -> Result<Tensor, String> {
        let values = self.constants[&value].0.to_vec::<f32>().ok_or("the bias is not f32")?;
        let values = values.repeat(times);
        Ok(Tensor::new(vec![values.len()], &values))
    }

    /// A transposed convolution. Its result is stored as planes, rows are channels, columns pixels, unless it is made of
    /// blocks.
    pub(super) fn conv_transpose(&mut self, node: &Node) -> Lowered {
        let Op::ConvTranspose {
            window, groups, bias, ..
        } = &node.op
        else {
            return Err("not a transposed convolution".into());
        };
        let base = node.op.epilogue_base().unwrap_or(2);
        let (x, weights) = self.image_and_weights(node)?;
        if x.dtype != DType::F32 {
            return Err(format!(
                "a transposed convolution of {} is not supported yet, only of f32",
                x.dtype
            ));
        }
        let y = self.result(node.outputs[0])?;
        let x = self.apart_from(&x, &y, &node.origin)?;
        let plane = Plane::new(window)?;
        let channels = &y.layout.shape[1];
        if self.becomes_blocks(node) && (y.layout.strides[1].is(1) || channels.is(1)) {
            return self.blocks(node, &plane, &x, &y, weights);
        }
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
