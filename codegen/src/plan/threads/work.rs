//! Estimates of the time that steps take, from their sizes alone.
//!
//! The unit is the time of one multiplication and addition in a large matrix product, of which a core with vectors of 256
//! bits does some 50 in a nanosecond.

use crate::ir::{DType, Dim, Expr, Scalar, UnaryOp};
use crate::plan::kernel::{
    Attention, Conv, ConvKind, DepthwiseBlock, EpilogueMap, Fold, Gemm, Map, Matrix, Pointwise, Pool, PoolResult,
};
use crate::plan::layout::dense_strides;
use crate::plan::{Kernel, Step};

/// The work of one call of the kernel, if it can be divided.
pub(in crate::plan) fn work(step: &Step) -> Option<Dim> {
    let number = |number: i64| Dim::from(number);
    Some(match &step.kernel {
        Kernel::Gemm(_) | Kernel::Conv(_) => linear_work(&step.kernel)?,
        // Rows that are computed twice are in the estimate of what working memory costs.
        Kernel::Streamed(streamed) => {
            let members = streamed.members.iter().map(|member| linear_work(&member.kernel));
            members.sum::<Option<Dim>>()?
        }
        Kernel::DepthwiseBlock(block) => block_work(block)?,
        Kernel::Pool(pool) => pool_work(pool)?,
        Kernel::Attention(attention) => attention_work(attention)?,
        Kernel::Map(map) => map_work(map),
        Kernel::Fold(fold) => fold_work(fold),
        // Only the reductions of this type are compiled for the instruction sets, and for teams.
        Kernel::Reduce { sizes, .. } if step.reads[0].dtype == DType::F32 => {
            let outermost = if sizes[0].is(1) { &sizes[2] } else { &sizes[0] };
            if outermost.is(1) {
                return None;
            }
            let rows = if sizes[2].is(1) { &sizes[0] } else { &sizes[1] };
            volume(sizes) * number(4) + rows.clone() * number(ROW)
        }
        Kernel::Softmax { sizes, .. } if !sizes[0].is(1) => volume(sizes) * number(30),
        Kernel::Normalize { rows, size, .. } if !rows.is(1) => rows.clone() * size.clone() * number(12),
        Kernel::Gather { sizes, indices, .. } if sizes[0].is(1) => indices.clone() * sizes[2].clone() * number(6),
        Kernel::Resize(resize) => {
            // The channels of a pixel are vectors.
            let each = match (resize.nearest.is_some(), resize.channels.is(1)) {
                (true, true) => 30,
                (false, true) => 100,
                (true, false) => 8,
                (false, false) => 16,
            };
            resize.images.clone() * volume(&resize.output) * resize.channels.clone() * number(each)
        }
        _ => return None,
    })
}

/// The work of a product or a convolution, if it can be divided.
pub(in crate::plan) fn linear_work(kernel: &Kernel) -> Option<Dim> {
    match kernel {
        Kernel::Gemm(gemm) => Some(gemm_work(gemm)),
        Kernel::Conv(conv) => conv_work(conv),
        _ => None,
    }
}

pub(super) fn volume(sizes: &[Dim]) -> Dim {
    sizes.iter().cloned().product()
}

/// The time in which a row of a tile begins and ends, and that of a row of a reduction or of a map that repeats operands.
const ROW: i64 = 250;

/// Columns of a tile.
const TILE: i64 = 32;

/// Elements of a right matrix that stays in the caches of a core from run to run.
const RESIDENT: i64 = 1 << 17;

/// Columns or channels with those that fill their last vector, which take as long.
fn whole_vectors(columns: &Dim) -> Dim {
    let whole = |columns: i64| Dim::from(columns.saturating_add(15) / 16 * 16);
    columns.as_const().map_or_else(|| columns.clone(), whole)
}

/// The time of products of rows with a matrix of this depth and number of columns.
fn product_work(rows: Dim, depth: Dim, columns: &Dim) -> Dim {
    let tiles = columns
        .as_const()
        .map_or(1, |columns| columns.saturating_add(TILE - 1) / TILE);
    let weights = depth * whole_vectors(columns);
    // Few rows take the time in which a large right matrix comes from the third level cache, or memory.
    let reading = if weights.as_const().is_some_and(|weights| weights < RESIDENT) {
        0
    } else {
        2i64
    };
    (rows.clone() + Dim::from(reading)) * weights + rows * Dim::from(ROW) * Dim::from(tiles)
}

/// The terms of `f32` that take as long as so many of 8 bits, four of which are multiplied at once.
fn words(depth: &Dim) -> Dim {
    let words = |depth: i64| Dim::from(depth.saturating_add(3) / 4);
    depth.as_const().map_or_else(|| depth.clone(), words)
}

fn gemm_work(gemm: &Gemm) -> Dim {
    let [m, n, k] = [&gemm.m, &gemm.n, &gemm.k].map(Dim::clone);
    let k = if gemm.b == Matrix::PackedInt8 { words(&k) } else { k };
    let epilogue = m.clone() * n.clone() * Dim::from(epilogue_work(gemm.epilogue.as_ref()));
    product_work(m, k, &n) + epilogue
}

fn conv_work(conv: &Conv) -> Option<Dim> {
    let window = &conv.window;
    let results = volume(&window.output);
    let taps = Dim::from((window.kernel[0] * window.kernel[1]) as i64);
    let epilogue = Dim::from(epilogue_work(conv.epilogue.as_ref()));
    let products = match conv.kind {
        ConvKind::Direct | ConvKind::Bf16 | ConvKind::Int8(_) | ConvKind::Winograd(_) => {
            let depth = window.input[0].floor_div(&Dim::from(window.groups.max(1) as i64)) * taps;
            let depth = match conv.kind {
                ConvKind::Int8(_) => words(&depth),
                _ => depth,
            };
            product_work(window.pixels(), depth, &window.output[0])
        }
        // Every product needs an element of the image and a weight of its own.
        ConvKind::Depthwise | ConvKind::DepthwiseInt8(_) if window.output[1].is(1) && window.output[2].is(1) => {
            return None;
        }
        ConvKind::Depthwise | ConvKind::DepthwiseInt8(_) => {
            // Rows of the kernel that are outside of the image are left out.
            let inside = window.input[1].as_const().map_or(i64::MAX, |rows| rows.max(1));
            let taps = Dim::from(inside.min(window.kernel[0] as i64)) * Dim::from(window.kernel[1] as i64);
            window.pixels() * whole_vectors(&window.output[0]) * taps * Dim::from(2i64)
        }
    };
    Some(products + results * epilogue)
}

fn block_work(block: &DepthwiseBlock) -> Option<Dim> {
    let window = &block.depthwise.window;
    if window.output[1].is(1) {
        return None;
    }
    let pointwise = |part: &Option<Pointwise>, pixels: Dim| match part {
        None => Dim::from(0i64),
        Some(part) => {
            let epilogue = Dim::from(epilogue_work(part.epilogue.as_ref()));
            let channels = window.input[0].clone();
            pixels * channels * (part.channels.clone() + epilogue)
        }
    };
    let inside = window.input[1].clone() * window.input[2].clone();
    let whole = conv_work(&block.depthwise)? + pointwise(&block.expand, inside);
    Some(whole + pointwise(&block.project, window.pixels()))
}

fn pool_work(pool: &Pool) -> Option<Dim> {
    let window = Dim::from((pool.kernel[0] * pool.kernel[1]) as i64);
    let divided = matches!(pool.y, PoolResult::Pixels(_)) && !pool.output[0].is(1);
    divided.then(|| pool.input[0].clone() * volume(&pool.output) * window * Dim::from(2i64))
}

/// All heads of all sequences: two products, and the exponential of each score.
fn attention_work(attention: &Attention) -> Option<Dim> {
    let [sequences, heads] = &attention.heads;
    if sequences.is(1) && heads.is(1) && attention.queries.is(1) {
        return None;
    }
    let scores = sequences.clone() * heads.clone() * attention.queries.clone() * attention.keys.clone();
    Some(scores * (attention.head.clone() + attention.value.clone() + Dim::from(30i64)))
}

fn epilogue_work(epilogue: Option<&EpilogueMap>) -> i64 {
    epilogue.map_or(0, |epilogue| expr_work(&epilogue.expr))
}

fn map_work(map: &Map) -> Dim {
    let dense = dense_strides(&map.shape);
    let axes = |strides: &[Dim]| {
        let axes = strides.iter().zip(&dense).zip(&map.shape);
        axes.filter(|((stride, dense), size)| stride != dense && !size.is(1))
            .count()
    };
    // An element that does not lie beside its neighbor in every tensor passes through a buffer.
    let strided = |strides: &Vec<Dim>| {
        let inner = strides.last().is_none_or(|stride| stride.is(1) || stride.is(0));
        i64::from(axes(strides) > 0 && !inner)
    };
    let moved: i64 = map.operands.iter().chain([&map.output]).map(strided).sum();
    let loads = map.loads.len() as i64;
    let rows: Dim = map.shape.iter().rev().skip(1).cloned().product();
    let repeats = map.operands.iter().any(|strides| axes(strides) > 0);
    let each = 3 + expr_work(&map.expr) + 40 * moved + 50 * loads;
    volume(&map.shape) * Dim::from(each) + rows * Dim::from(if repeats { ROW } else { 0 })
}

/// Elements are computed one by one.
fn fold_work(fold: &Fold) -> Dim {
    let each = 50 + 25 * fold.expr.nodes.len() as i64;
    volume(&fold.shape) * volume(&fold.domain) * Dim::from(each)
}

/// The work of an expression for one element, in a vector.
fn expr_work(expr: &Expr) -> i64 {
    let of = |op: &Scalar| match op {
        Scalar::Input(_) | Scalar::Const(_) | Scalar::Dim(_) | Scalar::Bits(_) => 0,
        Scalar::Unary(UnaryOp::Neg | UnaryOp::Abs | UnaryOp::Not | UnaryOp::BitNot | UnaryOp::Recip, _) => 1,
        Scalar::Unary(UnaryOp::Sqrt | UnaryOp::Rsqrt | UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round, _) => 3,
        Scalar::Unary(UnaryOp::IsNan | UnaryOp::IsInf | UnaryOp::Sign | UnaryOp::HardSwish, _) => 3,
        Scalar::Unary(..) => 20,
        Scalar::Index(_) | Scalar::Cast(_) => 2,
        Scalar::At(..) | Scalar::Binary(..) | Scalar::Select(..) => 1,
    };
    expr.nodes.iter().map(|node| of(&node.op)).sum()
}
