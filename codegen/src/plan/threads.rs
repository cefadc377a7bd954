//! Into how many parts the work of each step is divided.
//!
//! A step is divided where that pays: each part must take a few times as long as handing it to another thread does. How
//! long a step takes is estimated from its sizes alone, so that the same model always becomes the same module.

use super::kernel::{
    Attention, Conv, ConvKind, DepthwiseBlock, EpilogueMap, Fold, Gemm, Map, Pointwise, Pool, PoolResult,
};
use super::layout::dense_strides;
use super::{Base, Choice, Decision, Kernel, Plan, Step, Tuning};
use crate::ir::{Bounds, DType, Dim, Expr, Scalar, UnaryOp};

/// The least work of a part, a few times as much as handing it to another thread. The unit is the time of one
/// multiplication and addition in a large matrix product, of which a core with vectors of 256 bits does some 50 in a
/// nanosecond.
const PART: i64 = 150_000;

/// Decides about the parts of every step, and reserves working memory for each.
pub(super) fn divide(plan: &mut Plan, threads: usize, tuning: &Tuning) {
    plan.threads = threads;
    if threads < 2 {
        return;
    }
    let bounds = plan.bounds();
    for step in &mut plan.steps {
        let Some(work) = work(step) else {
            step.parts = Dim::from(1i64);
            continue;
        };
        let tuned = tuning.threads(&step.origin);
        let parts_of = |work: &Dim| match tuned {
            Some(tuned) if work.as_const().is_some() => Dim::from(tuned.min(threads)),
            // What was measured for some sizes of a run is the most for others.
            Some(tuned) => parts(work, tuned.min(threads), &bounds),
            None => parts(work, threads, &bounds),
        };
        step.parts = parts_of(&work);
        if let Some(trips) = apart(step) {
            let parts = parts_of(&(work * Dim::from(trips)));
            // Whole iterations share nothing and leave what they have written to the thread that reads it next, but may be
            // too few to be divided evenly.
            let count = parts.as_const().unwrap_or(1);
            let even = trips % count == 0 || trips >= 4 * count;
            if count > 1 && (even || step.parts.is(1)) {
                (step.parts, step.divides_loop) = (Dim::from(count.min(trips)), true);
            }
        }
        if let Some(node) = step.origin.first() {
            let chosen = usize::try_from(step.parts.upper(&bounds)).unwrap_or(1).max(1);
            let others = [1, threads].into_iter().filter(|&other| other != chosen);
            plan.decisions.push(Decision {
                node: node.clone(),
                chosen: Choice::Threads(chosen),
                others: others.map(Choice::Threads).collect(),
            });
        }
        let scratch = step.scratch.as_ref().map(|scratch| scratch.base);
        if let (true, Some(Base::Buffer(id))) = (step.is_divided(), scratch) {
            let buffer = &mut plan.buffers[id.0];
            buffer.capacity = buffer
                .capacity
                .saturating_mul(step.parts.upper(&bounds).max(1) as usize);
        }
    }
}

/// The number of iterations of the loop around a kernel, if they write parts of the result that follow each other.
fn apart(step: &Step) -> Option<i64> {
    let ([trips], [write]) = (step.loops.as_slice(), step.writes.as_slice()) else {
        return None;
    };
    // Rows of the result, the distance between them, and the elements of each.
    let (rows, row, elements) = match &step.kernel {
        Kernel::Gemm(gemm) => (gemm.m.clone(), &gemm.c_row, &gemm.n),
        Kernel::Conv(conv) => (conv.window.pixels(), &conv.y_pixel, &conv.window.output[0]),
        Kernel::Pool(pool) => match &pool.y {
            PoolResult::Pixels(pixel) => (volume(&pool.output), pixel, &pool.input[0]),
            PoolResult::Planes(_) => return None,
        },
        _ => return None,
    };
    let (distance, rows) = (write.loop_strides[0].as_const()?, rows.as_const()?);
    let last = (rows - 1).checked_mul(row.as_const()?)?;
    let reach = last.checked_add(elements.as_const()?)?;
    let trips = trips.as_const()?;
    (trips > 1 && rows > 0 && reach <= distance).then_some(trips)
}

/// The number of parts for an amount of work: one for each [`PART`] of it, at most one for each thread. Where the work
/// depends on sizes that only a run knows, so does the number, and may be 0 for 1.
fn parts(work: &Dim, threads: usize, bounds: &Bounds) -> Dim {
    let threads = threads as i64;
    let range = work.range(bounds);
    let most = (range.high / PART).min(threads);
    if most < 2 {
        return Dim::from(1i64);
    }
    if range.low / PART >= most {
        return Dim::from(most);
    }
    // What does not depend on the sizes of the run is little, and left out for the sake of who reads the module. Of what
    // is left, factors that are the same in every run go into the divisor.
    let constant = work
        .terms()
        .filter(|(_, factors)| factors.is_empty())
        .map(|(value, _)| value)
        .sum::<i64>();
    let varying = work.clone() - Dim::from(constant);
    let factor = varying
        .terms()
        .fold(0, |common, (coefficient, _)| gcd(common, coefficient))
        .max(1);
    let quotient = varying.exact_div(&Dim::from(factor)).unwrap_or(varying);
    quotient
        .floor_div(&Dim::from((PART as u64).div_ceil(factor as u64) as i64))
        .minimum(&Dim::from(most), bounds)
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a.abs() } else { gcd(b, a % b) }
}

/// The work of one call of the kernel, if it can be divided.
pub(super) fn work(step: &Step) -> Option<Dim> {
    let number = |number: i64| Dim::from(number);
    Some(match &step.kernel {
        Kernel::Gemm(gemm) => gemm_work(gemm),
        Kernel::Conv(conv) => conv_work(conv)?,
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
            volume(sizes) * number(4)
        }
        Kernel::Softmax { sizes, .. } if !sizes[0].is(1) => volume(sizes) * number(30),
        Kernel::Normalize { rows, size, .. } if !rows.is(1) => rows.clone() * size.clone() * number(12),
        Kernel::Gather { sizes, indices, .. } if sizes[0].is(1) => indices.clone() * sizes[2].clone() * number(6),
        Kernel::Resize(resize) if !resize.planes.is(1) => {
            let each = if resize.nearest.is_some() { 30 } else { 100 };
            resize.planes.clone() * volume(&resize.output) * number(each)
        }
        _ => return None,
    })
}

fn volume(sizes: &[Dim]) -> Dim {
    sizes.iter().cloned().product()
}

/// A product of few rows takes the time in which the right matrix comes from a cache.
fn gemm_work(gemm: &Gemm) -> Dim {
    let [m, n, k] = [&gemm.m, &gemm.n, &gemm.k].map(Dim::clone);
    (m.clone() + Dim::from(2i64)) * k * n.clone() + m * n * Dim::from(epilogue_work(gemm.epilogue.as_ref()))
}

fn conv_work(conv: &Conv) -> Option<Dim> {
    let window = &conv.window;
    let results = volume(&window.output);
    let taps = Dim::from((window.kernel[0] * window.kernel[1]) as i64);
    let epilogue = Dim::from(epilogue_work(conv.epilogue.as_ref()));
    let products = match conv.kind {
        ConvKind::Direct | ConvKind::Bf16 | ConvKind::Winograd(_) => {
            let depth = window.input[0].floor_div(&Dim::from(window.groups.max(1) as i64)) * taps;
            // A product of few pixels takes the time in which the weights come from a cache.
            (window.pixels() + Dim::from(2i64)) * window.output[0].clone() * depth
        }
        // Every product needs an element of the image and a weight of its own.
        ConvKind::Depthwise if window.output[1].is(1) && window.output[2].is(1) => return None,
        ConvKind::Depthwise => results.clone() * taps * Dim::from(2i64),
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
    volume(&map.shape) * Dim::from(3 + expr_work(&map.expr) + 25 * moved + 50 * loads)
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

impl Step {
    /// Whether the work of the step is divided for several threads.
    pub fn is_divided(&self) -> bool {
        !self.parts.is(1)
    }
}
