//! The float model on samples, with the kernels of the runtime.
//!
//! Products and convolutions are computed by the kernels without an instruction set of their own, whose sums have the same
//! order and roundings on every machine, so that what is measured, and with it the module, is the same everywhere. The rest
//! is the evaluator's.

use crate::ir::eval::{Symbols, bytes, eval_node};
use crate::ir::op::Window;
use crate::ir::{DType, Node, Op, Tensor};
use onnxide_runtime::isa::Scalar;
use onnxide_runtime::linear::{Epilogue, Gemm, Init, Lhs, Linear, Rhs, gemm_scratch};

/// Values of scratch of a product that is cut into pieces, about half a megabyte.
const PIECE: usize = 1 << 17;

/// The results of a node, if there is something faster than the evaluator. What is too large is left to it to refuse.
pub(super) fn compute(node: &Node, inputs: &[Tensor], dims: Symbols<'_>) -> Option<Result<Vec<Tensor>, String>> {
    let is_float = |count: usize| inputs.len() >= count && inputs[..count].iter().all(|x| x.dtype == DType::F32);
    let result = match &node.op {
        Op::MatMul { epilogue: None } if is_float(2) => matmul(&inputs[0], &inputs[1])?,
        Op::Conv {
            window,
            groups,
            bias,
            epilogue: None,
            ..
        } if is_float(2 + usize::from(*bias)) => {
            let sizes = Sizes::new(window, &inputs[0], &inputs[1], *groups, dims)?;
            conv(&sizes, inputs)?
        }
        Op::Attention { scale, mask, causal } if is_float(inputs.len()) => attention(inputs, *scale, *mask, *causal)?,
        Op::Elementwise { expr, shape } => {
            let shape: Option<Vec<usize>> = shape
                .iter()
                .map(|size| size.eval(dims).and_then(|size| usize::try_from(size).ok()))
                .collect();
            super::elements::elementwise(expr, &shape?, inputs)?
        }
        _ => return None,
    };
    Some(Ok(vec![result]))
}

/// `c = a b + init` of dense matrices.
fn gemm([m, n, k]: [usize; 3], a: &[f32], b: Rhs<'_>, init: Init<'_>, c: &mut [f32], scratch: &mut Vec<f32>) {
    scratch.resize(gemm_scratch(m, n, k, false), 0.0);
    let problem = Gemm { m, n, k, c_row: n };
    let a = Lhs::Strided {
        data: a,
        row: k,
        column: 1,
    };
    Scalar.gemm(&problem, a, b, init, c, scratch, Epilogue::None);
}

/// Rows of a matrix whose products are summed in `f32`.
const SUMMED: usize = 512;

/// Adds `X^T X` of the matrix of rows `x` to `sums`, a square matrix.
pub(super) fn gram(x: &[f32], sums: &mut [f64]) {
    let size = sums.len().isqrt();
    let (mut part, mut scratch) = (vec![0.0; sums.len()], Vec::new());
    for x in x.chunks(SUMMED * size.max(1)) {
        let k = x.len() / size;
        scratch.resize(gemm_scratch(size, size, k, false), 0.0);
        let problem = Gemm {
            m: size,
            n: size,
            k,
            c_row: size,
        };
        let transposed = Lhs::Strided {
            data: x,
            row: 1,
            column: size,
        };
        let init = Init::Zero;
        Scalar.gemm(
            &problem,
            transposed,
            rows(x, size),
            init,
            &mut part,
            &mut scratch,
            Epilogue::None,
        );
        for (sum, part) in sums.iter_mut().zip(&part) {
            *sum += f64::from(*part);
        }
    }
}

fn rows(data: &[f32], row: usize) -> Rhs<'_> {
    Rhs::Strided { data, row, column: 1 }
}

/// `None` for shapes that are not a batch of matrices with the same leading sizes, or one matrix on the right.
fn matmul(a: &Tensor, b: &Tensor) -> Option<Tensor> {
    let (a_lead, &[m, k]) = a.shape.split_last_chunk::<2>()?;
    let (b_lead, &[b_k, n]) = b.shape.split_last_chunk::<2>()?;
    let (x, y) = (a.to_vec::<f32>()?, b.to_vec::<f32>()?);
    if k != b_k || x.is_empty() || y.is_empty() {
        return None;
    }
    let shape = [a_lead, &[m, n]].concat();
    bytes(DType::F32, &shape).ok()?;
    let mut out = vec![0.0; shape.iter().product()];
    let mut scratch = Vec::new();
    if b_lead.iter().all(|&size| size == 1) && b_lead.len() <= a_lead.len() {
        gemm([x.len() / k, n, k], &x, rows(&y, n), Init::Zero, &mut out, &mut scratch);
    } else if a_lead == b_lead {
        let pairs = x.chunks_exact(m * k).zip(y.chunks_exact(k * n));
        for ((x, y), out) in pairs.zip(out.chunks_exact_mut(m * n)) {
            gemm([m, n, k], x, rows(y, n), Init::Zero, out, &mut scratch);
        }
    } else {
        return None;
    }
    Some(Tensor::new(shape, &out))
}

/// The sizes of a convolution over one or two axes.
struct Sizes {
    batch: usize,
    channels: usize,
    out_channels: usize,
    groups: usize,
    input: [usize; 2],
    output: [usize; 2],
    kernel: [usize; 2],
    strides: [usize; 2],
    dilations: [usize; 2],
    before: [i64; 2],
    shape: Vec<usize>,
}

impl Sizes {
    fn new(window: &Window, x: &Tensor, w: &Tensor, groups: usize, dims: Symbols<'_>) -> Option<Sizes> {
        let axes = window.kernel.len();
        if !(1..=2).contains(&axes) || x.shape.len() != axes + 2 || w.shape.len() != axes + 2 || groups == 0 {
            return None;
        }
        // One axis is the second of two.
        let pair = |list: &[usize]| if axes == 1 { [1, list[0]] } else { [list[0], list[1]] };
        let pads = |list: &[crate::ir::Dim]| -> Option<[i64; 2]> {
            let list: Vec<i64> = list.iter().map(|pad| pad.eval(dims)).collect::<Option<_>>()?;
            Some(if axes == 1 { [0, list[0]] } else { [list[0], list[1]] })
        };
        let (before, after) = (pads(&window.pads_before)?, pads(&window.pads_after)?);
        let (input, kernel) = (pair(&x.shape[2..]), pair(&window.kernel));
        let (strides, dilations) = (pair(&window.strides), pair(&window.dilations));
        let mut output = [0; 2];
        for axis in 0..2 {
            let reach = (kernel[axis] as i64 - 1) * dilations[axis] as i64;
            let span = input[axis] as i64 + before[axis] + after[axis] - 1 - reach;
            output[axis] = usize::try_from(span.div_euclid(strides[axis] as i64) + 1).ok()?;
        }
        let (batch, out_channels) = (x.shape[0], w.shape[0]);
        let mut shape = vec![batch, out_channels];
        shape.extend(&output[2 - axes..]);
        let sizes = Sizes {
            batch,
            channels: x.shape[1],
            out_channels,
            groups,
            input,
            output,
            kernel,
            strides,
            dilations,
            before,
            shape,
        };
        let fits = sizes.channels.is_multiple_of(groups)
            && out_channels.is_multiple_of(groups)
            && w.shape[1] * groups == sizes.channels
            && pair(&w.shape[2..]) == kernel;
        bytes(DType::F32, &sizes.shape).ok()?;
        (fits && sizes.shape.iter().all(|&size| size > 0) && !x.is_empty() && !w.is_empty()).then_some(sizes)
    }

    /// The pixel of the input along an axis that a tap of the window at an output reads.
    fn position(&self, axis: usize, output: usize, tap: usize) -> Option<usize> {
        let position = (output * self.strides[axis] + tap * self.dilations[axis]) as i64 - self.before[axis];
        usize::try_from(position)
            .ok()
            .filter(|&position| position < self.input[axis])
    }
}

fn conv(sizes: &Sizes, inputs: &[Tensor]) -> Option<Tensor> {
    let (x, w) = (inputs[0].to_vec::<f32>()?, inputs[1].to_vec::<f32>()?);
    let bias = match inputs.get(2) {
        Some(bias) => bias.to_vec::<f32>()?,
        None => vec![0.0; sizes.out_channels],
    };
    let (taps, pixels) = (sizes.kernel[0] * sizes.kernel[1], sizes.output[0] * sizes.output[1]);
    let (channels, out_channels) = (sizes.channels / sizes.groups, sizes.out_channels / sizes.groups);
    let (depth, input) = (channels * taps, sizes.input[0] * sizes.input[1]);
    let mut out = vec![0.0f32; sizes.batch * sizes.out_channels * pixels];
    let mut scratch = Vec::new();
    let is_pointwise = taps == 1 && sizes.strides == [1; 2] && sizes.before == [0; 2] && sizes.output == sizes.input;
    // Rows of the output at a time, so that what is copied of the image fits a cache.
    let lines = (PIECE / (depth * sizes.output[1])).clamp(1, sizes.output[0]);
    let mut columns = Vec::new();
    for image in 0..sizes.batch {
        for group in 0..sizes.groups {
            let x = &x[(image * sizes.channels + group * channels) * input..][..channels * input];
            let w = &w[group * out_channels * depth..][..out_channels * depth];
            let bias = &bias[group * out_channels..][..out_channels];
            let out = &mut out[(image * sizes.out_channels + group * out_channels) * pixels..][..out_channels * pixels];
            if is_pointwise {
                let size = [out_channels, pixels, depth];
                gemm(size, w, rows(x, pixels), Init::PerRow(bias), out, &mut scratch);
                continue;
            }
            for first in (0..sizes.output[0]).step_by(lines) {
                let lines = lines.min(sizes.output[0] - first);
                unfold(sizes, x, first..first + lines, &mut columns);
                let (n, begin) = (lines * sizes.output[1], first * sizes.output[1]);
                let mut part = vec![0.0; out_channels * n];
                let size = [out_channels, n, depth];
                gemm(size, w, rows(&columns, n), Init::PerRow(bias), &mut part, &mut scratch);
                for (channel, part) in part.chunks_exact(n).enumerate() {
                    out[channel * pixels + begin..][..n].copy_from_slice(part);
                }
            }
        }
    }
    Some(Tensor::new(sizes.shape.clone(), &out))
}

/// The matrix `[channels * taps, pixels]` of some rows of the output.
fn unfold(sizes: &Sizes, x: &[f32], lines: std::ops::Range<usize>, columns: &mut Vec<f32>) {
    columns.clear();
    let [height, width] = sizes.input;
    for image in x.chunks_exact(height * width) {
        for (ky, kx) in (0..sizes.kernel[0]).flat_map(|ky| (0..sizes.kernel[1]).map(move |kx| (ky, kx))) {
            for y in lines.clone() {
                let Some(y) = sizes.position(0, y, ky) else {
                    columns.resize(columns.len() + sizes.output[1], 0.0);
                    continue;
                };
                let row = &image[y * width..][..width];
                columns.extend((0..sizes.output[1]).map(|x| sizes.position(1, x, kx).map_or(0.0, |x| row[x])));
            }
        }
    }
}

/// `softmax(scale * q k^T + mask) v`, a matrix at a time.
fn attention(inputs: &[Tensor], scale: f32, has_mask: bool, causal: bool) -> Option<Tensor> {
    if causal {
        return None;
    }
    let [q, k, v] = [0, 1, 2].map(|index| &inputs[index]);
    let (lead, &[m, d]) = q.shape.split_last_chunk::<2>()?;
    let (k_lead, &[n, k_d]) = k.shape.split_last_chunk::<2>()?;
    let (v_lead, &[v_n, e]) = v.shape.split_last_chunk::<2>()?;
    if lead != k_lead || lead != v_lead || d != k_d || n != v_n || q.is_empty() || k.is_empty() || v.is_empty() {
        return None;
    }
    let shape = [lead, &[m, n]].concat();
    bytes(DType::F32, &shape).ok()?;
    bytes(DType::F32, &[lead, &[m, e]].concat()).ok()?;
    let mask = match has_mask {
        true => {
            let sizes = shape.iter().map(|&size| size.into()).collect();
            let op = Op::Broadcast { shape: sizes };
            let mask = eval_node(&op, &inputs[3..4], &|_| None).ok()?.pop()?;
            Some(mask.to_vec::<f32>()?)
        }
        false => None,
    };
    let [q, k, v] = [q.to_vec::<f32>()?, k.to_vec::<f32>()?, v.to_vec::<f32>()?];
    let heads: usize = lead.iter().product();
    let mut out = vec![0.0; heads * m * e];
    let (mut scores, mut scratch) = (vec![0.0; m * n], Vec::new());
    for head in 0..heads {
        let keys = Rhs::Strided {
            data: &k[head * n * d..][..n * d],
            row: 1,
            column: d,
        };
        gemm(
            [m, n, d],
            &q[head * m * d..],
            keys,
            Init::Zero,
            &mut scores,
            &mut scratch,
        );
        for (row, scores) in scores.chunks_exact_mut(n).enumerate() {
            let mask = mask.as_ref().map(|mask| &mask[(head * m + row) * n..][..n]);
            let score = |index: usize, score: f32| {
                f64::from(scale) * f64::from(score) + mask.map_or(0.0, |mask| f64::from(mask[index]))
            };
            let line: Vec<f64> = scores.iter().enumerate().map(|(index, &x)| score(index, x)).collect();
            let most = line.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let line: Vec<f64> = line.iter().map(|score| (score - most).exp()).collect();
            let sum: f64 = line.iter().sum();
            for (score, weight) in scores.iter_mut().zip(line) {
                *score = (weight / sum) as f32;
            }
        }
        let values = rows(&v[head * n * e..][..n * e], e);
        let out = &mut out[head * m * e..][..m * e];
        gemm([m, e, n], &scores, values, Init::Zero, out, &mut scratch);
    }
    Some(Tensor::new([lead, &[m, e]].concat(), &out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::parse;

    /// Computes the last node of a graph in both ways.
    fn compare(text: &str, shapes: &[&[usize]]) {
        let graph = parse(&format!("graph \"g\" {{ {text} }}")).unwrap();
        let node = graph.body.nodes.last().unwrap();
        let inputs: Vec<Tensor> = shapes
            .iter()
            .zip(1..)
            .map(|(shape, seed)| Tensor::random(DType::F32, shape.to_vec(), seed))
            .collect();
        let found = compute(node, &inputs, &|_| None).expect(text).unwrap();
        let expected = eval_node(&node.op, &inputs, &|_| None).unwrap();
        assert_eq!(found[0].shape, expected[0].shape, "{text}");
        let [found, expected] = [&found[0], &expected[0]].map(|tensor| tensor.to_floats().unwrap());
        // Sums of at most 64 products of numbers below 1 in `f32`, each of which is rounded by 2^-24 of at most 64.
        let most = 64.0 * 64.0 / f64::from(1 << 24);
        for (a, b) in found.iter().zip(&expected) {
            assert!((a - b).abs() <= most, "{text}: {a} is not {b}");
        }
    }

    #[test]
    fn products_are_those_of_the_evaluator() {
        let two = "input \"a\" %0: f32[1] input \"b\" %1: f32[1] %2: f32[1] = matmul %0, %1";
        compare(two, &[&[5, 7], &[7, 3]]);
        compare(two, &[&[2, 3, 5, 7], &[7, 3]]);
        compare(two, &[&[2, 3, 5, 7], &[2, 3, 7, 4]]);
        let three = "input \"a\" %0: f32[1] input \"b\" %1: f32[1] input \"c\" %2: f32[1]";
        compare(
            &format!("{three} %3: f32[1] = attention(scale = 0.5) %0, %1, %2"),
            &[&[2, 5, 8], &[2, 6, 8], &[2, 6, 3]],
        );
        compare(
            &format!("{three} input \"m\" %4: f32[1] %5: f32[1] = attention(scale = 0.5, mask) %0, %1, %2, %4"),
            &[&[2, 5, 8], &[2, 6, 8], &[2, 6, 3], &[5, 6]],
        );
    }

    #[test]
    fn convolutions_are_those_of_the_evaluator() {
        let two = "input \"x\" %0: f32[1] input \"w\" %1: f32[1] %2: f32[1] =";
        let three = "input \"x\" %0: f32[1] input \"w\" %1: f32[1] input \"b\" %2: f32[1] %3: f32[1] =";
        compare(
            &format!("{two} conv(kernel = [1, 1]) %0, %1"),
            &[&[2, 4, 5, 6], &[3, 4, 1, 1]],
        );
        compare(
            &format!(
                "{three} conv(kernel = [3, 2], strides = [2, 1], dilations = [1, 2], pads_before = [1, 0], pads_after = [2, 1], bias) %0, %1, %2"
            ),
            &[&[2, 4, 7, 6], &[3, 4, 3, 2], &[3]],
        );
        compare(
            &format!("{two} conv(kernel = [3, 3], pads_before = [1, 1], pads_after = [1, 1], groups = 4) %0, %1"),
            &[&[1, 4, 5, 6], &[4, 1, 3, 3]],
        );
        // As many pixels as before, but others.
        compare(
            &format!("{two} conv(kernel = [1, 1], pads_after = [1, -2]) %0, %1"),
            &[&[1, 4, 2, 6], &[3, 4, 1, 1]],
        );
        compare(
            &format!("{two} conv(kernel = [3], strides = [2], groups = 2) %0, %1"),
            &[&[1, 4, 9], &[6, 2, 3]],
        );
    }

    #[test]
    fn what_is_too_large_is_left_to_the_evaluator() {
        let refused = |text: &str, shapes: &[&[usize]]| {
            let graph = parse(&format!("graph \"g\" {{ {text} }}")).unwrap();
            let zeros = shapes.iter().map(|shape| {
                let count: usize = shape.iter().product();
                Tensor::new(shape.to_vec(), &vec![0.0f32; count])
            });
            let node = graph.body.nodes.last().unwrap();
            assert!(compute(node, &zeros.collect::<Vec<_>>(), &|_| None).is_none(), "{text}");
        };
        let two = "input \"a\" %0: f32[1] input \"b\" %1: f32[1] %2: f32[1] =";
        refused(&format!("{two} matmul %0, %1"), &[&[1 << 15, 1], &[1, 1 << 15]]);
        refused(
            &format!("{two} conv(kernel = [1, 1]) %0, %1"),
            &[&[1, 1, 1 << 15, 1], &[1 << 15, 1, 1, 1]],
        );
        let text = "input \"a\" %0: f32[1] %1: f32[32768, 32768] = elementwise { add(x0, 1.0:f32) } %0";
        refused(text, &[&[1]]);
    }

    #[test]
    fn expressions_are_those_of_the_evaluator() {
        for expr in [
            "max(min(add(x0, x1), 0.5:f32), -0.25:f32)",
            "mul(sigmoid(x0), silu(x1))",
            "div(sub(neg(x0), abs(x1)), 3.0:f32)",
            "sqrt(abs(floor(mul(exp(x0), 3.0:f32))))",
            "hard_swish(mul(x0, 7.0:f32))",
            "mul(f32(sub(i32(u8(max(min(add(round(div(x0, 0.01:f32)), 77.0:f32), 255.0:f32), 0.0:f32))), 77:i32)), 0.01:f32)",
        ] {
            let text = format!(
                "input \"a\" %0: f32[1] input \"b\" %1: f32[1] %2: f32[3, 1100] = elementwise {{ {expr} }} %0, %1"
            );
            compare(&text, &[&[3, 1100], &[1100]]);
        }
    }
}
