use super::nhwc::problem;
use super::*;
use crate::dispatch;
use crate::isa::Isa;
use crate::kernels::linear::*;

/// A value beside the sum of the magnitudes that it was computed from, to which rounding errors are relative.
#[derive(Clone, Copy, Default)]
struct Sum(f64, f64);

/// What the epilogues of the test do: something that depends on the position.
fn finish(value: f32, row: usize, column: usize) -> f32 {
    value * 0.5 + tag(row, column) / 64.0
}

/// `finish(bias + a b)` of `[m, k]` by `[k, n]`, by the definition.
fn product(a: &[Sum], b: &[f32], bias: &[f32], k: usize) -> Vec<Sum> {
    let n = bias.len();
    let sum = |row: usize, column: usize| {
        let bias = f64::from(bias[column]);
        let terms = (0..k).map(|p| (a[row * k + p], f64::from(b[p * n + column])));
        let sum = terms.fold(Sum(bias, bias.abs()), |sum, (a, b)| {
            Sum(sum.0 + a.0 * b, sum.1 + a.1 * b.abs())
        });
        let tag = f64::from(tag(row, column)) / 64.0;
        Sum(sum.0 * 0.5 + tag, sum.1 * 0.5 + tag)
    };
    (0..a.len() / k * n).map(|at| sum(at / n, at % n)).collect()
}

fn depthwise(problem: &Conv2dNhwc, x: &[Sum], w: &[f32], bias: &[f32]) -> Vec<Sum> {
    let channels = problem.in_channels;
    let sum = |pixel: usize, channel: usize| {
        let bias = f64::from(bias[channel]);
        let mut sum = Sum(bias, bias.abs());
        for tap in 0..problem.kernel[0] * problem.kernel[1] {
            let at = [tap / problem.kernel[1], tap % problem.kernel[1]];
            let out = [pixel / problem.out_width, pixel % problem.out_width];
            let [y, column] = [0, 1].map(|axis| {
                (out[axis] * problem.stride[axis] + at[axis] * problem.dilation[axis]).wrapping_sub(problem.pad[axis])
            });
            if y < problem.in_height && column < problem.in_width {
                let x = x[(y * problem.in_width + column) * channels + channel];
                let w = f64::from(w[channel * problem.kernel[0] * problem.kernel[1] + tap]);
                sum = Sum(sum.0 + x.0 * w, sum.1 + x.1 * w.abs());
            }
        }
        let tag = f64::from(tag(pixel, channel)) / 64.0;
        Sum(sum.0 * 0.5 + tag, sum.1 * 0.5 + tag)
    };
    let outputs = problem.out_height * problem.out_width * channels;
    (0..outputs).map(|at| sum(at / channels, at % channels)).collect()
}

/// Compares the block with its convolutions one after another, where `inputs` and `outputs` are the channels before an
/// expansion and after a projection.
fn check<I: Isa>(isa: I, problem: Conv2dNhwc, inputs: Option<usize>, outputs: Option<usize>) {
    let channels = problem.in_channels;
    let taps = problem.kernel[0] * problem.kernel[1];
    let (first, last) = (inputs.unwrap_or(channels), outputs.unwrap_or(channels));
    let x = random(1, problem.in_height * problem.in_width * first);
    let [w_in, w, w_out] = [first * channels, taps * channels, channels * last].map(|len| random(len as u64, len));
    let [bias_in, bias, bias_out] = [channels, channels, last].map(|len| random(len as u64 + 7, len));
    let mut expected: Vec<Sum> = x.iter().map(|&x| Sum(x.into(), f64::from(x.abs()))).collect();
    let mut terms = taps + 4;
    if let Some(inputs) = inputs {
        expected = product(&expected, &w_in, &bias_in, inputs);
        terms += inputs + 4;
    }
    expected = depthwise(&problem, &expected, &w, &bias);
    if outputs.is_some() {
        expected = product(&expected, &w_out, &bias_out, channels);
        terms += channels + 4;
    }

    let packed = |k: usize, n: usize, values: &[f32]| {
        let mut packed = vec![f32::NAN; packed_rhs_len(k, n)];
        pack_rhs(k, n, values, n, 1, &mut packed);
        packed
    };
    let (w_in, w_out) = (packed(first, channels, &w_in), packed(channels, last, &w_out));
    let mut w_packed = vec![f32::NAN; depthwise_conv2d_nhwc_packed_len(&problem)];
    pack_depthwise_conv2d_nhwc(&problem, &w, &mut w_packed);
    let epilogue = |run: &mut [f32], at: Position| {
        for (index, value) in run.iter_mut().enumerate() {
            *value = finish(*value, at.row, at.column + index);
        }
    };
    let part = |channels: usize, w, bias| Pointwise {
        channels,
        w,
        init: Init::PerColumn(bias),
        epilogue: Epilogue::at(&epilogue),
    };
    let expand = inputs.map(|inputs| part(inputs, &w_in, &bias_in));
    let project = outputs.map(|outputs| part(outputs, &w_out, &bias_out));
    // The strides of the block are those of what it reads and writes.
    let block = Conv2dNhwc {
        x_row: problem.in_width * first,
        x_column: first,
        y_pixel: last,
        ..problem
    };
    let len = problem.out_height * problem.out_width * last;
    let (expands, projects) = (inputs.is_some(), outputs.is_some());
    let init = Init::PerColumn(&bias);
    let run = |scratch: usize| {
        let (mut y, mut scratch) = (vec![f32::NAN; len], vec![f32::NAN; scratch]);
        let (y_out, working) = (&mut y, &mut scratch);
        isa.depthwise_block(
            &block,
            &x,
            expand,
            &w_packed,
            init,
            Epilogue::at(&epilogue),
            project,
            y_out,
            working,
        );
        y
    };
    let most = depthwise_block_scratch(&block, expands, projects);
    assert!(most <= depthwise_block_scratch_bound(&block, expands, projects));
    let y = run(most);
    let least = depthwise_block_scratch_min(&block, expands, projects);
    for room in [least, (least + most) / 2] {
        let used = depthwise_block_scratch_within(&block, expands, projects, room);
        assert!(least <= used && used <= room);
        assert_eq!(run(used), y, "{block:?} with {used} values");
    }
    for (at, (&actual, expected)) in y.iter().zip(&expected).enumerate() {
        let bound = f64::from(f32::EPSILON) * terms as f64 * expected.1;
        assert!(
            (f64::from(actual) - expected.0).abs() <= bound,
            "{} {block:?} {inputs:?} {outputs:?} at {at}: {actual} is not {}",
            I::LEVEL.name(),
            expected.0
        );
    }
}

#[test]
fn blocks_are_their_convolutions_one_after_another() {
    let problems = [
        // One band, several bands, several with a stride, and rows that see beyond both ends.
        problem([24, 6, 7], 24, [3, 3], [1, 1], [1, 1], [1; 4], 24),
        problem([70, 40, 30], 70, [3, 3], [1, 1], [1, 1], [1; 4], 70),
        problem([70, 41, 30], 70, [3, 3], [2, 2], [1, 1], [0, 0, 1, 1], 70),
        problem([33, 60, 50], 33, [5, 5], [1, 1], [2, 2], [4; 4], 33),
        // Rows that no tap reads.
        problem([40, 60, 40], 40, [2, 2], [5, 4], [1, 1], [0; 4], 40),
        // A row is more than a band.
        problem([130, 3, 200], 130, [3, 3], [1, 1], [1, 1], [1; 4], 130),
    ];
    for level in levels() {
        for problem in problems {
            for (inputs, outputs) in [(Some(5), Some(19)), (Some(5), None), (None, Some(19)), (None, None)] {
                dispatch!(level, check(problem, inputs, outputs));
            }
        }
    }
}

#[test]
#[should_panic(expected = "only a bias per channel")]
fn another_start_than_a_bias_panics() {
    let problem = problem([4, 7, 7], 4, [3, 3], [1, 1], [1, 1], [1; 4], 4);
    let (x, w, mut y) = ([0.0; 196], [0.0; 36], [0.0; 196]);
    crate::isa::Scalar.depthwise_block(
        &problem,
        &x,
        None,
        &w,
        Init::Accumulate,
        Epilogue::None,
        None,
        &mut y,
        &mut [],
    );
}
