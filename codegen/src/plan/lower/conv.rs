//! Convolutions, one image at a time.

use super::super::Kernel;
use super::super::kernel::{Conv, ConvKind, ConvWindow, Init};
use super::super::layout::Layout;
use super::matmul::{View, take_loops};
use super::order::channels_last;
use super::residual::{Residual, Taken};
use super::{Access, Choice, Lowered, Lowering, Packing, Ref, product};
use crate::ir::graph::{Node, ValueId};
use crate::ir::op::Window;
use crate::ir::{DType, Dim, Expr, Op};
use onnxide_runtime::linear::{self, WinogradTile};

impl Lowering<'_> {
    /// A convolution. Its result is stored channels last: rows are pixels, columns channels.
    pub(super) fn conv(&mut self, node: &Node) -> Lowered {
        let Op::Conv {
            window,
            groups,
            bias,
            pad_value,
            ..
        } = &node.op
        else {
            return Err("not a convolution".into());
        };
        let (x, weights) = self.image_and_weights(node)?;
        let extras = &node.inputs[node.op.epilogue_base().unwrap_or(2)..];
        let Residual { target: y, expr, taken } = self.result_or_residual(node, extras)?;
        let plane = Plane::new(window)?;
        let y_view = plane.lift(&y.layout);
        let channels = &x.layout.shape[1];
        let depthwise = *groups > 1 && channels.is(*groups as i64) && y_view.shape[1].is(*groups as i64);
        let mut x = self.apart_from(&x, &y, &node.origin)?;
        if depthwise && !x.layout.strides[1].is(1) {
            x = self.dense_in(&x, &channels_last(x.layout.shape.len()), &node.origin)?;
        }
        let x_view = plane.lift(&x.layout);
        let y_rows = self
            .rows_of_pixels(&y_view)
            .filter(|rows| rows.strides[2].is(1) || rows.shape[2].is(1));
        let y_rows = y_rows.ok_or("the pixels of a convolution's result are no rows of a matrix")?;
        let mut operands = Operands::default();
        for (index, &value) in extras.iter().enumerate() {
            if taken.map(Taken::operand) != Some(index) {
                self.add_operand(&mut operands, value, &y, &plane, &node.origin)?;
            }
        }
        let mut expr = expr;
        if *bias {
            // The bias would have the number of the value that is updated.
            if matches!(taken, Some(Taken::Updated(_))) {
                return Err("the bias of a convolution of integers belongs into its epilogue".into());
            }
            let bias = self.operand(node.inputs[2]);
            let bias = self.dense(&bias, &node.origin)?;
            operands.layouts.push(bias.layout.broadcast(&y_rows.shape));
            operands.values.push(bias);
            expr = Some(with_bias(expr, operands.values.len()));
        }
        let is_int8 = x.dtype == DType::U8;
        let starts: &[Init] = match taken {
            Some(Taken::Added(_)) => &[Init::Accumulate],
            _ if is_int8 => &[],
            _ => &[Init::PerColumn],
        };
        let x_rows = match plane.is_pointwise() && *groups == 1 {
            true => self.rows_of_pixels(&x_view),
            false => None,
        };
        // Four numbers of a row are read at once.
        let x_rows = x_rows.filter(|rows| !is_int8 || rows.strides[2].is(1) || rows.shape[2].is(1));
        if let Some(x_rows) = x_rows {
            let sizes = [&x_rows, &y_rows].map(|rows| rows.shape[2].as_usize());
            let [Some(k), Some(n)] = sizes else {
                return Err("the channels of a convolution are not known".into());
            };
            // The weights `[out, in, 1, 1]` as the right matrix `[in, out]`.
            let right = self.packed_right(node, weights, [k, n], [1, k], 0);
            let layouts = [vec![x_rows, y_rows], operands.layouts].concat();
            let (loops, views) = take_loops(&self.tall(layouts), 2);
            let placed = self.place_epilogue(expr.as_ref(), &operands.values, &views[2..], starts)?;
            return self.product(node, (&x, &views[0]), right, (&y, &views[1]), loops, placed);
        }
        let (loops, views) = take_image_loops(x_view, [vec![y_rows], operands.layouts].concat());
        let placed = self.place_epilogue(expr.as_ref(), &operands.values, &views[2..], starts)?;
        let mut kernel = Conv {
            kind: match (depthwise, is_int8) {
                (true, true) => ConvKind::DepthwiseInt8(*pad_value),
                (true, false) => ConvKind::Depthwise,
                (false, true) => ConvKind::Int8(*pad_value),
                (false, false) => ConvKind::Direct,
            },
            window: plane.window(&views[0], &y_view, *groups),
            y_pixel: views[1].layout.strides[0].clone(),
            init: placed.init,
            epilogue: placed.map,
        };
        let problem = self.bounded(&kernel);
        let depth = problem.in_channels * problem.kernel[0] * problem.kernel[1];
        // Of one or two channels, half of what is multiplied would be zeros or nothing would be gained.
        if kernel.kind == ConvKind::Direct && *groups == 1 && problem.in_channels > 2 && self.is_bf16(node, depth) {
            kernel.kind = ConvKind::Bf16;
        }
        let in_tiles = self.options.winograd && kernel.window.is_fixed() && linear::winograd_applies(&problem);
        if kernel.kind == ConvKind::Direct && in_tiles {
            kernel.kind = self.algorithm(node, &problem);
        }
        let (packing, scratch) = match kernel.kind {
            ConvKind::Direct => (
                Packing::Conv(weights_only(problem)),
                linear::conv2d_nhwc_scratch(&problem),
            ),
            ConvKind::Bf16 => (
                Packing::ConvBf16(weights_only(problem)),
                linear::conv2d_nhwc_bf16_scratch(&problem),
            ),
            ConvKind::Depthwise => (Packing::DepthwiseConv(weights_only(problem)), 0),
            ConvKind::Int8(_) => (
                Packing::ConvInt8(weights_only(problem)),
                linear::conv2d_nhwc_int8_scratch(&problem),
            ),
            ConvKind::DepthwiseInt8(_) => (Packing::DepthwiseConvInt8(weights_only(problem)), 0),
            ConvKind::Winograd(tile) => {
                let problem = linear::WinogradConv2dNhwc { problem, tile };
                let weights = linear::WinogradConv2dNhwc {
                    problem: weights_only(problem.problem),
                    tile,
                };
                (
                    Packing::WinogradConv(weights),
                    linear::winograd_conv2d_nhwc_scratch(&problem),
                )
            }
        };
        let per_output = Dim::from(plane.kernel[0] * plane.kernel[1]) * channels.floor_div(&Dim::from(*groups));
        let macs = product(&y_view.shape[1..]) * per_output;
        let mut reads = vec![
            self.access_view(&x, &views[0]),
            self.packed_in(weights, packing, &loops),
        ];
        reads.extend(placed.bias);
        reads.extend(placed.reads);
        let writes = vec![self.access_view(&y, &views[1])];
        let scratch = self.scratch(scratch)?;
        let results = self.types_of(&node.outputs);
        self.push(
            Kernel::Conv(kernel),
            loops,
            reads,
            writes,
            scratch,
            &node.origin,
            results,
            macs,
        );
        Ok(())
    }

    /// How to compute a convolution that Winograd's algorithm applies to.
    fn algorithm(&mut self, node: &Node, problem: &linear::Conv2dNhwc) -> ConvKind {
        let tuned = self.options.tuning.algorithm(&node.origin);
        let tile = tuned.unwrap_or_else(|| linear::winograd_is_faster(problem));
        let choice = |tile: Option<WinogradTile>| tile.map_or(Choice::Direct, Choice::Winograd);
        let others = [None, Some(WinogradTile::F2), Some(WinogradTile::F4)].map(choice);
        let chosen = choice(tile);
        self.decided(
            node,
            chosen,
            others.into_iter().filter(|&other| other != chosen).collect(),
        );
        tile.map_or(ConvKind::Direct, ConvKind::Winograd)
    }

    /// The image and the constant weights of a convolution.
    pub(super) fn image_and_weights(&self, node: &Node) -> Result<(Ref, ValueId), String> {
        let x = self.operand(node.inputs[0]);
        let weights = self.operand(node.inputs[1]);
        if !matches!(
            (x.dtype, weights.dtype),
            (DType::F32, DType::F32) | (DType::U8, DType::I8)
        ) {
            return Err(format!(
                "a convolution of {} is not supported yet, only of f32 and of quantized numbers",
                x.dtype
            ));
        }
        match self.constant_of(&weights) {
            Some((value, _)) if weights.layout == Layout::dense(&weights.layout.shape) => Ok((x, value)),
            _ => Err("weights known only at run time are not supported yet; they must be constant".into()),
        }
    }

    /// A read of packed weights that is the same in all loops.
    pub(super) fn packed_in(&mut self, weights: ValueId, packing: Packing, loops: &[Dim]) -> Access {
        Access {
            loop_strides: vec![Dim::from(0i64); loops.len()],
            ..self.packed(weights, packing)
        }
    }

    /// An image `[batch, channels, height, width]` seen as `[batch, pixels, channels]`, if its pixels are equally far
    /// apart.
    fn rows_of_pixels(&self, image: &Layout) -> Option<Layout> {
        let [batch, channels, height, width] = [0, 1, 2, 3].map(|axis| image.shape[axis].clone());
        let rows = image.transpose(&[0, 2, 3, 1]);
        rows.reshape(self.graph, &[batch, height * width, channels])
    }

    /// Adds an operand of the epilogue, seen as `[batch, pixels, channels]`.
    fn add_operand(
        &mut self,
        operands: &mut Operands,
        value: ValueId,
        y: &Ref,
        plane: &Plane,
        origin: &[String],
    ) -> Lowered {
        let operand = self.operand(value);
        let mut operand = self.apart_from(&operand, y, origin)?;
        operand.layout = operand.layout.broadcast(&y.layout.shape);
        let readable = |rows: &Layout| rows.strides[2].is(1) || rows.strides[2].is(0);
        let mut rows = self.rows_of_pixels(&plane.lift(&operand.layout)).filter(readable);
        if rows.is_none() {
            operand = self.dense_in(&operand, &channels_last(y.layout.shape.len()), origin)?;
            rows = self.rows_of_pixels(&plane.lift(&operand.layout));
        }
        operands.layouts.push(rows.ok_or("a dense value has a reshape")?);
        operands.values.push(operand);
        Ok(())
    }

    /// The problem at the bounds of the symbols.
    pub(super) fn bounded(&self, kernel: &Conv) -> linear::Conv2dNhwc {
        kernel.problem(&self.graph.bounds)
    }
}

/// The operands of an epilogue and how they are seen from the result.
#[derive(Default)]
struct Operands {
    values: Vec<Ref>,
    layouts: Vec<Layout>,
}

/// An epilogue before which operand `bias` is added.
fn with_bias(epilogue: Option<Expr>, bias: usize) -> Expr {
    let mut sum = Expr::empty();
    let (acc, operand) = (sum.input(0, DType::F32), sum.input(bias, DType::F32));
    let total = sum.apply2(crate::ir::BinaryOp::Add, acc, operand);
    let Some(epilogue) = epilogue else {
        return sum.finish(total);
    };
    let result = sum.append(&epilogue, epilogue.result(), &mut |sum, index, dtype| match index {
        0 => total,
        _ => sum.input(index, dtype),
    });
    sum.finish(result)
}

/// The problem with everything that its weights do not depend on set to zero, so that equal weights share an entry.
pub(in crate::plan) fn weights_only(problem: linear::Conv2dNhwc) -> linear::Conv2dNhwc {
    linear::Conv2dNhwc {
        in_height: 0,
        in_width: 0,
        out_height: 0,
        out_width: 0,
        x_row: 0,
        x_column: 0,
        y_pixel: 0,
        ..problem
    }
}

/// Loops over images: `[batch, channels, height, width]` of the input beside matrices `[batch, rows, columns]`.
pub(super) fn take_image_loops(image: Layout, matrices: Vec<Layout>) -> (Vec<Dim>, Vec<View>) {
    let with_axis = |matrix: Layout| Layout {
        shape: [matrix.shape, vec![Dim::from(1i64)]].concat(),
        strides: [matrix.strides, vec![Dim::from(0i64)]].concat(),
        offset: matrix.offset,
    };
    let layouts: Vec<Layout> = std::iter::once(image)
        .chain(matrices.into_iter().map(with_axis))
        .collect();
    let (loops, mut views) = take_loops(&layouts, 3);
    for view in &mut views[1..] {
        view.layout.shape.truncate(2);
        view.layout.strides.truncate(2);
    }
    (loops, views)
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

    /// Whether each pixel of the result is computed from the pixel at the same place.
    fn is_pointwise(&self) -> bool {
        let pads = self.pad.iter().chain(&self.pad_after);
        self.kernel == [1, 1] && self.stride == [1, 1] && pads.into_iter().all(|pad| pad.is(0))
    }

    /// The window over an image, with the sizes of the result.
    pub(super) fn window(&self, x: &View, y: &Layout, groups: usize) -> ConvWindow {
        ConvWindow {
            input: [0, 1, 2].map(|axis| x.layout.shape[axis].clone()),
            output: [1, 2, 3].map(|axis| y.shape[axis].clone()),
            kernel: self.kernel,
            stride: self.stride,
            dilation: self.dilation,
            pad: self.pad.clone(),
            groups,
            x: [0, 1, 2].map(|axis| x.layout.strides[axis].clone()),
        }
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
