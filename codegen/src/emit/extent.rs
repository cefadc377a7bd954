//! How many elements a step reaches from the start of each access.

use crate::ir::{Bounds, Dim, TensorType};
use crate::plan::kernel::{
    Conv, ConvTranspose, ConvWindow, DepthwiseBlock, EpilogueMap, Gemm, HeadStrides, Init, Load, Matrix, PoolResult,
};
use crate::plan::{Access, Kernel, Step};

/// The number of elements that each access spans, in the order of the step's reads and writes; `None` for what is taken
/// whole.
#[derive(Default)]
pub(super) struct Extents {
    pub(super) reads: Vec<Option<Dim>>,
    pub(super) writes: Vec<Option<Dim>>,
}

/// Counts of elements and the distances between them.
type Axes = Vec<(Dim, Dim)>;

impl Extents {
    pub(super) fn of(step: &Step, bounds: &Bounds) -> Extents {
        let (reads, writes) = axes(step);
        let span = |(axes, access): (Option<Axes>, &Access)| axes.map(|axes| span(&axes, step, access, bounds));
        let mut reads: Vec<Option<Axes>> = reads;
        reads.resize(step.reads.len(), None);
        Extents {
            reads: reads.into_iter().zip(&step.reads).map(span).collect(),
            writes: writes.into_iter().zip(&step.writes).map(span).collect(),
        }
    }
}

/// One more than the largest index that occurs; 0 if none does.
fn span(axes: &Axes, step: &Step, access: &Access, bounds: &Bounds) -> Dim {
    let one = || Dim::from(1i64);
    let loops = step.loops.iter().zip(&access.loop_strides);
    let mut end = one();
    for (size, stride) in axes.iter().map(|(size, stride)| (size, stride)).chain(loops) {
        // An operand that is the same along an axis is there even if the result has nothing along it.
        if size.is(0) && !stride.is(0) {
            return Dim::from(0i64);
        }
        if stride.is(0) {
            continue;
        }
        end = end + (size.clone() - one()) * stride.clone();
    }
    // An axis without elements takes away more than the axes inside it span; the ones outside it exist in the storage.
    end.maximum(&Dim::from(0i64), bounds)
}

fn dense<const N: usize>(sizes: [&Dim; N]) -> Option<Axes> {
    let size: Dim = sizes.into_iter().cloned().product();
    Some(vec![(size, Dim::from(1i64))])
}

fn strided<const N: usize>(sizes: [&Dim; N], strides: [&Dim; N]) -> Option<Axes> {
    Some(sizes.into_iter().cloned().zip(strides.into_iter().cloned()).collect())
}

/// The elements of every read and write, without loops.
fn axes(step: &Step) -> (Vec<Option<Axes>>, Vec<Option<Axes>>) {
    let one = Dim::from(1i64);
    match &step.kernel {
        Kernel::Map(map) => {
            let of = |strides: &Vec<Dim>| Some(map.shape.iter().cloned().zip(strides.iter().cloned()).collect());
            let read = (0..map.operands.len()).filter(|&index| map.in_place != Some(index));
            let walked = read.map(|index| of(&map.operands[index]));
            (walked.chain(loaded(&map.loads)).collect(), vec![of(&map.output)])
        }
        Kernel::Fold(fold) => {
            let elements: Dim = fold.shape.iter().cloned().product();
            (loaded(&fold.loads).collect(), vec![dense([&elements])])
        }
        Kernel::Scatter { elements, updates, .. } => (
            vec![dense([elements]), dense([updates]), dense([updates])],
            vec![dense([elements])],
        ),
        Kernel::Sort { rows, size, .. } => (vec![dense([rows, size])], vec![dense([rows, size])]),
        Kernel::Gemm(gemm) => gemm_axes(gemm),
        Kernel::Conv(conv) => conv_axes(conv),
        Kernel::DepthwiseBlock(block) => block_axes(block),
        Kernel::Streamed(streamed) => {
            let (mut reads, mut writes) = (Vec::new(), Vec::new());
            for member in &streamed.members {
                let (own, written) = match &member.kernel {
                    Kernel::Gemm(gemm) => gemm_axes(gemm),
                    Kernel::Conv(conv) => conv_axes(conv),
                    _ => unreachable!("a member is a product or a convolution"),
                };
                let own = own.into_iter().zip(&member.strips);
                reads.extend(own.filter(|(_, strip)| strip.is_none()).map(|(axes, _)| axes));
                writes = written;
            }
            (reads, writes)
        }
        Kernel::ConvTranspose(conv) => conv_transpose_axes(conv),
        Kernel::Pool(pool) => {
            let [c, h, w] = &pool.input;
            let [x0, x1, x2] = &pool.x;
            let pixels = pool.output[0].clone() * pool.output[1].clone();
            let y = match &pool.y {
                PoolResult::Planes(channel) => strided([c, &pixels], [channel, &one]),
                PoolResult::Pixels(pixel) => strided([&pixels, c], [pixel, &one]),
            };
            (vec![strided([c, h, w], [x0, x1, x2])], vec![y])
        }
        Kernel::Reduce { sizes: [a, b, c], .. } | Kernel::ArgReduce { sizes: [a, b, c], .. } => {
            (vec![dense([a, b, c])], vec![dense([a, c])])
        }
        Kernel::CumSum { sizes: [a, b, c], .. } | Kernel::Softmax { sizes: [a, b, c], .. } => {
            (vec![dense([a, b, c])], vec![dense([a, b, c])])
        }
        Kernel::Normalize { rows, size, .. } => {
            let mut reads = vec![dense([size]); step.reads.len()];
            reads[0] = dense([rows, size]);
            (reads, vec![dense([rows, size])])
        }
        Kernel::Attention(attention) => {
            let (queries, keys) = (&attention.queries, &attention.keys);
            let axes = |rows: &Dim, columns: &Dim, strides: &HeadStrides| {
                let ([sequences, heads], [sequence, head]) = (&attention.heads, &strides.head);
                strided(
                    [sequences, heads, rows, columns],
                    [sequence, head, &strides.row, &strides.column],
                )
            };
            let mut reads = vec![
                axes(queries, &attention.head, &attention.q),
                axes(keys, &attention.head, &attention.k),
                axes(keys, &attention.value, &attention.v),
            ];
            reads.extend(attention.mask.as_ref().map(|mask| axes(queries, keys, mask)));
            (reads, vec![axes(queries, &attention.value, &attention.out)])
        }
        Kernel::Recurrent(layer) => {
            let [step_stride, batch_stride] = &layer.x;
            let x = strided(
                [&layer.steps, &layer.batch, &layer.input],
                [step_stride, batch_stride, &one],
            );
            let state = dense([&layer.batch, &layer.hidden]);
            let mut writes = vec![state; step.writes.len()];
            writes[0] = dense([&layer.steps, &layer.batch, &layer.hidden]);
            (vec![x], writes)
        }
        Kernel::Gather {
            sizes: [a, b, c],
            indices,
            ..
        } => (vec![dense([a, b, c]), dense([indices])], vec![dense([a, indices, c])]),
        Kernel::GatherElements {
            sizes: [a, b, c],
            indices,
            ..
        } => (
            vec![dense([a, b, c]), dense([a, indices, c])],
            vec![dense([a, indices, c])],
        ),
        Kernel::Opaque(call) => {
            let of = |types: &[TensorType]| types.iter().map(|ty| dense([&ty.elements()])).collect();
            (of(&call.operands), of(&call.results))
        }
        Kernel::Resize(resize) => {
            let [h, w] = &resize.input;
            let [oh, ow] = &resize.output;
            (
                vec![dense([&resize.images, h, w, &resize.channels])],
                vec![Some(vec![
                    (resize.images.clone() * oh.clone() * ow.clone(), resize.y_pixel.clone()),
                    (resize.channels.clone(), one.clone()),
                ])],
            )
        }
        Kernel::Pad {
            shape, before, after, ..
        } => {
            let product = |dims: &mut dyn Iterator<Item = Dim>| Some(vec![(dims.product::<Dim>(), one.clone())]);
            let padded = shape.iter().zip(before.iter().zip(after));
            let mut padded = padded.map(|(size, (before, after))| size.clone() + before.clone() + after.clone());
            let reads = vec![product(&mut shape.iter().cloned()), dense([&one])];
            (reads, vec![product(&mut padded)])
        }
    }
}

fn loaded(loads: &[Load]) -> impl Iterator<Item = Option<Axes>> {
    loads.iter().map(|load| dense([load.elements.as_ref()?]))
}

fn gemm_axes(gemm: &Gemm) -> (Vec<Option<Axes>>, Vec<Option<Axes>>) {
    let one = Dim::from(1i64);
    let matrix = |matrix: &Matrix, rows: &Dim, columns: &Dim| match matrix {
        Matrix::Packed | Matrix::PackedBf16 | Matrix::PackedInt8 | Matrix::PackedBlocks { .. } => None,
        Matrix::Strided { row, column } => strided([rows, columns], [row, column]),
    };
    let mut reads = vec![matrix(&gemm.a, &gemm.m, &gemm.k), matrix(&gemm.b, &gemm.k, &gemm.n)];
    reads.extend(init_axes(gemm.init, &gemm.m, &gemm.n));
    reads.extend(epilogue_axes(gemm.epilogue.as_ref(), &gemm.m, &gemm.n));
    (reads, vec![strided([&gemm.m, &gemm.n], [&gemm.c_row, &one])])
}

fn conv_axes(conv: &Conv) -> (Vec<Option<Axes>>, Vec<Option<Axes>>) {
    let (rows, columns) = (conv.window.pixels(), &conv.window.output[0]);
    let mut reads = vec![window_axes(&conv.window), None];
    reads.extend(init_axes(conv.init, &rows, columns));
    reads.extend(epilogue_axes(conv.epilogue.as_ref(), &rows, columns));
    (
        reads,
        vec![strided([&rows, columns], [&conv.y_pixel, &Dim::from(1i64)])],
    )
}

fn block_axes(block: &DepthwiseBlock) -> (Vec<Option<Axes>>, Vec<Option<Axes>>) {
    let window = &block.depthwise.window;
    let pixels = [window.input[1].clone() * window.input[2].clone(), window.pixels()];
    let channels = &window.output[0];
    let inputs = block.expand.as_ref().map_or(channels, |expand| &expand.channels);
    let outputs = block.project.as_ref().map_or(channels, |project| &project.channels);
    let x = [inputs, &window.input[1], &window.input[2]];
    let mut reads = vec![strided(x, window.x.each_ref())];
    let mut part = |init: Init, epilogue: Option<&EpilogueMap>, rows: &Dim, columns: &Dim| {
        reads.push(None);
        reads.extend(init_axes(init, rows, columns));
        reads.extend(epilogue_axes(epilogue, rows, columns));
    };
    if let Some(expand) = &block.expand {
        part(expand.init, expand.epilogue.as_ref(), &pixels[0], channels);
    }
    part(
        block.depthwise.init,
        block.depthwise.epilogue.as_ref(),
        &pixels[1],
        channels,
    );
    if let Some(project) = &block.project {
        part(project.init, project.epilogue.as_ref(), &pixels[1], outputs);
    }
    let y = strided([&pixels[1], outputs], [&block.depthwise.y_pixel, &Dim::from(1i64)]);
    (reads, vec![y])
}

fn conv_transpose_axes(conv: &ConvTranspose) -> (Vec<Option<Axes>>, Vec<Option<Axes>>) {
    let (rows, columns) = (&conv.window.output[0], conv.window.pixels());
    let mut reads = vec![window_axes(&conv.window), None];
    reads.extend(init_axes(conv.init, rows, &columns));
    reads.extend(epilogue_axes(conv.epilogue.as_ref(), rows, &columns));
    (
        reads,
        vec![strided([rows, &columns], [&conv.y_channel, &Dim::from(1i64)])],
    )
}

fn window_axes(window: &ConvWindow) -> Option<Axes> {
    strided(window.input.each_ref(), window.x.each_ref())
}

/// The read of what accumulators start from, if there is one.
fn init_axes(init: Init, rows: &Dim, columns: &Dim) -> Option<Option<Axes>> {
    match init {
        Init::Zero | Init::Accumulate => None,
        Init::PerRow => Some(dense([rows])),
        Init::PerColumn => Some(dense([columns])),
    }
}

fn epilogue_axes(epilogue: Option<&EpilogueMap>, rows: &Dim, columns: &Dim) -> Vec<Option<Axes>> {
    let operands = epilogue
        .map(|epilogue| epilogue.operands.as_slice())
        .unwrap_or_default();
    operands
        .iter()
        .map(|operand| {
            let column = Dim::from(i64::from(operand.per_column));
            strided([rows, columns], [&operand.row, &column])
        })
        .collect()
}
