//! Softmax and normalizations: every element depends on the others of its row.
//!
//! Rows are `n` elements of a dense `[outer, n]`, or for softmax of `[outer, n, inner]` along the middle axis. An input
//! of `None` is the output's previous content.

#[cfg(test)]
mod tests;

use super::simd::Simd;
use crate::isa::{Isa, kernel_table};
use crate::math;
use crate::team::{Compute, Team};

/// The number of partial sums of a row.
const LANES: usize = 32;

/// The number of rows that are computed side by side where they are interleaved.
const COLUMNS: usize = 64;

/// What a normalization multiplies with and adds, after it has centered and scaled a row.
#[derive(Clone, Copy, Debug, Default)]
pub struct Affine<'a> {
    /// The factors, as many as a row has elements or the normalization has channels; 1 if `None`.
    pub scale: Option<&'a [f32]>,
    /// The terms, as many; 0 if `None`.
    pub bias: Option<&'a [f32]>,
}

/// The shape of a group normalization, dense `[batch, groups, channels, spatial]`.
///
/// An instance normalization has one channel in each group.
#[derive(Clone, Copy, Debug)]
pub struct Groups {
    /// The number of examples.
    pub batch: usize,
    /// The number of groups in an example.
    pub groups: usize,
    /// The number of channels in a group.
    pub channels: usize,
    /// The number of elements in a channel.
    pub spatial: usize,
}

kernel_table! {
    /// Softmax and normalizations.
    pub trait Rows {
        /// `e^x / sum(e^x)` along the middle axis of `[outer, n, inner]`, without overflow.
        ///
        /// # Panics
        ///
        /// If a length differs from the product of the shape.
        fn softmax(out: &mut [f32], input: Option<&[f32]>, shape: [usize; 3])
            = softmax::<_, false>, divided by softmax_parts::<_, false>;

        /// `x - ln(sum(e^x))` along the middle axis of `[outer, n, inner]`, without overflow.
        ///
        /// # Panics
        ///
        /// If a length differs from the product of the shape.
        fn log_softmax(out: &mut [f32], input: Option<&[f32]>, shape: [usize; 3])
            = softmax::<_, true>, divided by softmax_parts::<_, true>;

        /// `(x - mean) / sqrt(variance + epsilon)` of each row of `[outer, n]`, then the affine with one factor and
        /// term for each element of a row.
        ///
        /// # Panics
        ///
        /// If a length differs from the product of the shape, or of the affine from `n`.
        fn layer_norm(out: &mut [f32], input: Option<&[f32]>, shape: [usize; 2], epsilon: f32, affine: Affine<'_>)
            = layer_norm, divided by layer_norm_parts;

        /// `x / sqrt(mean(x^2) + epsilon)` of each row of `[outer, n]`, then the affine as for `layer_norm`.
        ///
        /// # Panics
        ///
        /// As for `layer_norm`.
        fn rms_norm(out: &mut [f32], input: Option<&[f32]>, shape: [usize; 2], epsilon: f32, affine: Affine<'_>)
            = rms_norm, divided by rms_norm_parts;

        /// `(x - mean) / sqrt(variance + epsilon)` of each group, then the affine with one factor and term for each
        /// channel of an example.
        ///
        /// # Panics
        ///
        /// If a length differs from the product of the shape, or of the affine from `groups * channels`.
        fn group_norm(out: &mut [f32], input: Option<&[f32]>, shape: Groups, epsilon: f32, affine: Affine<'_>)
            = group_norm;

        /// The mean and `1 / sqrt(variance + epsilon)` of each row of `[outer, n]`.
        ///
        /// # Panics
        ///
        /// If a length differs from the product of the shape, or from `outer`.
        fn row_moments(
            means: &mut [f32],
            inverse_deviations: &mut [f32],
            input: &[f32],
            shape: [usize; 2],
            epsilon: f32,
        ) = row_moments;
    }
}

/// Copies the input to the output if there is one: the kernels then work in place, on rows that the copy left in cache.
#[inline(always)]
fn take(out: &mut [f32], input: Option<&[f32]>) {
    if let Some(input) = input {
        out.copy_from_slice(input);
    }
}

#[inline(always)]
fn check(out: &[f32], input: Option<&[f32]>, product: usize) {
    assert!(
        out.len() == product,
        "the output of a row kernel has another length than its shape"
    );
    assert!(
        input.is_none_or(|input| input.len() == product),
        "the input of a row kernel has another length"
    );
}

/// The sum of `f` of the elements, in many partial sums.
#[inline(always)]
fn sum(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunks in chunks.chunks(64) {
        let mut partials = [0.0; LANES];
        for chunk in chunks {
            for lane in 0..LANES {
                partials[lane] += f(chunk[lane]);
            }
        }
        for lane in 0..LANES {
            lanes[lane] += partials[lane];
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += f(x);
    }
    join(lanes, |a, b| a + b)
}

#[inline(always)]
fn greatest(row: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = math::max(chunk[lane], lanes[lane]);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = math::max(x, *lane);
    }
    join(lanes, math::max)
}

#[inline(always)]
fn join(mut lanes: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = f(lanes[lane], lanes[lane + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// Calls `rows` with an equal share of the rows of `n` elements for each part, of the output and of the input.
fn divide<S: Isa>(
    team: Team<'_, S>,
    out: &mut [f32],
    input: Option<&[f32]>,
    [outer, n]: [usize; 2],
    rows: impl Fn(&mut [f32], Option<&[f32]>, usize) + Sync,
) {
    check(out, input, outer * n);
    let share = team.share(outer);
    team.each(out.chunks_mut((share * n).max(1)), |index, out| {
        let input = input.map(|input| &input[index * share * n..][..out.len()]);
        rows(out, input, share.min(outer - index * share));
    });
}

fn softmax_parts<S: Isa, const LOG: bool>(
    team: Team<'_, S>,
    out: &mut [f32],
    input: Option<&[f32]>,
    [outer, n, inner]: [usize; 3],
) {
    divide(team, out, input, [outer, n * inner], |out, input, rows| {
        let shape = [rows, n, inner];
        match LOG {
            true => team.isa().log_softmax(out, input, shape),
            false => team.isa().softmax(out, input, shape),
        }
    });
}

fn layer_norm_parts<S: Isa>(
    team: Team<'_, S>,
    out: &mut [f32],
    input: Option<&[f32]>,
    shape: [usize; 2],
    epsilon: f32,
    affine: Affine<'_>,
) {
    divide(team, out, input, shape, |out, input, rows| {
        team.isa().layer_norm(out, input, [rows, shape[1]], epsilon, affine);
    });
}

fn rms_norm_parts<S: Isa>(
    team: Team<'_, S>,
    out: &mut [f32],
    input: Option<&[f32]>,
    shape: [usize; 2],
    epsilon: f32,
    affine: Affine<'_>,
) {
    divide(team, out, input, shape, |out, input, rows| {
        team.isa().rms_norm(out, input, [rows, shape[1]], epsilon, affine);
    });
}

#[inline(always)]
fn softmax<S: Simd, const LOG: bool>(_isa: S, out: &mut [f32], input: Option<&[f32]>, shape: [usize; 3]) {
    let [outer, n, inner] = shape;
    check(out, input, outer * n * inner);
    if out.is_empty() {
        return;
    }
    for (index, rows) in out.chunks_mut(n * inner).enumerate() {
        take(rows, input.map(|input| &input[index * n * inner..][..n * inner]));
        if inner == 1 {
            softmax_row::<LOG>(rows);
        } else {
            softmax_columns::<LOG>(rows, inner);
        }
    }
}

#[inline(always)]
fn softmax_row<const LOG: bool>(row: &mut [f32]) {
    let max = greatest(row);
    if LOG {
        let total = sum(row, |x| math::exp(x - max));
        let shift = math::ln(total);
        row.iter_mut().for_each(|x| *x = (*x - max) - shift);
    } else {
        row.iter_mut().for_each(|x| *x = math::exp(*x - max));
        let scale = 1.0 / sum(row, |x| x);
        row.iter_mut().for_each(|x| *x *= scale);
    }
}

#[inline(always)]
fn softmax_columns<const LOG: bool>(rows: &mut [f32], inner: usize) {
    let mut start = 0;
    while start < inner {
        let len = COLUMNS.min(inner - start);
        let (mut maxima, mut totals) = ([f32::NEG_INFINITY; COLUMNS], [0.0; COLUMNS]);
        let (maxima, totals) = (&mut maxima[..len], &mut totals[..len]);
        for row in rows.chunks(inner) {
            for (max, &x) in maxima.iter_mut().zip(&row[start..][..len]) {
                *max = math::max(x, *max);
            }
        }
        for row in rows.chunks_mut(inner) {
            for ((x, &max), total) in row[start..][..len].iter_mut().zip(&*maxima).zip(totals.iter_mut()) {
                let shifted = *x - max;
                let power = math::exp(shifted);
                *total += power;
                *x = if LOG { shifted } else { power };
            }
        }
        totals
            .iter_mut()
            .for_each(|total| *total = if LOG { math::ln(*total) } else { 1.0 / *total });
        for row in rows.chunks_mut(inner) {
            for (x, &total) in row[start..][..len].iter_mut().zip(&*totals) {
                *x = if LOG { *x - total } else { *x * total };
            }
        }
        start += len;
    }
}

/// The mean, and the mean of the squared distances from it, in two passes.
#[inline(always)]
fn moments(row: &[f32]) -> (f32, f32) {
    let reciprocal = 1.0 / row.len() as f32;
    let mean = sum(row, |x| x) * reciprocal;
    let variance = sum(row, |x| (x - mean) * (x - mean)) * reciprocal;
    (mean, variance)
}

#[inline(always)]
fn check_affine(affine: &Affine<'_>, len: usize) {
    let fits = |values: Option<&[f32]>| values.is_none_or(|values| values.len() == len);
    assert!(
        fits(affine.scale) && fits(affine.bias),
        "a normalization has another number of factors or terms"
    );
}

/// Writes `(x - shift) * factor`, with the affine of each element, to a row.
#[inline(always)]
fn normalize(row: &mut [f32], shift: f32, factor: f32, affine: Affine<'_>) {
    match (affine.scale, affine.bias) {
        (None, None) => row.iter_mut().for_each(|x| *x = (*x - shift) * factor),
        (Some(scale), None) => {
            row.iter_mut()
                .zip(scale)
                .for_each(|(x, scale)| *x = (*x - shift) * factor * scale);
        }
        (None, Some(bias)) => row
            .iter_mut()
            .zip(bias)
            .for_each(|(x, bias)| *x = (*x - shift) * factor + bias),
        (Some(scale), Some(bias)) => row
            .iter_mut()
            .zip(scale.iter().zip(bias))
            .for_each(|(x, (scale, bias))| *x = (*x - shift) * factor * scale + bias),
    }
}

#[inline(always)]
fn layer_norm<S: Simd>(
    _isa: S,
    out: &mut [f32],
    input: Option<&[f32]>,
    shape: [usize; 2],
    epsilon: f32,
    affine: Affine<'_>,
) {
    let [outer, n] = shape;
    check(out, input, outer * n);
    check_affine(&affine, n);
    for (index, row) in out.chunks_mut(n.max(1)).enumerate() {
        take(row, input.map(|input| &input[index * n..][..n]));
        let (mean, variance) = moments(row);
        normalize(row, mean, math::rsqrt(variance + epsilon), affine);
    }
}

#[inline(always)]
fn rms_norm<S: Simd>(
    _isa: S,
    out: &mut [f32],
    input: Option<&[f32]>,
    shape: [usize; 2],
    epsilon: f32,
    affine: Affine<'_>,
) {
    let [outer, n] = shape;
    check(out, input, outer * n);
    check_affine(&affine, n);
    for (index, row) in out.chunks_mut(n.max(1)).enumerate() {
        take(row, input.map(|input| &input[index * n..][..n]));
        let mean_square = sum(row, |x| x * x) / n as f32;
        normalize(row, 0.0, math::rsqrt(mean_square + epsilon), affine);
    }
}

#[inline(always)]
fn group_norm<S: Simd>(
    _isa: S,
    out: &mut [f32],
    input: Option<&[f32]>,
    shape: Groups,
    epsilon: f32,
    affine: Affine<'_>,
) {
    let Groups {
        batch,
        groups,
        channels,
        spatial,
    } = shape;
    let n = channels * spatial;
    check(out, input, batch * groups * n);
    check_affine(&affine, groups * channels);
    if out.is_empty() {
        return;
    }
    for (index, group) in out.chunks_mut(n).enumerate() {
        take(group, input.map(|input| &input[index * n..][..n]));
        let (mean, variance) = moments(group);
        let factor = math::rsqrt(variance + epsilon);
        let first_channel = index % groups * channels;
        for (channel, elements) in group.chunks_mut(spatial).enumerate() {
            let scale = affine.scale.map_or(1.0, |scale| scale[first_channel + channel]);
            let bias = affine.bias.map_or(0.0, |bias| bias[first_channel + channel]);
            elements
                .iter_mut()
                .for_each(|x| *x = (*x - mean) * factor * scale + bias);
        }
    }
}

#[inline(always)]
fn row_moments<S: Simd>(
    _isa: S,
    means: &mut [f32],
    inverse_deviations: &mut [f32],
    input: &[f32],
    shape: [usize; 2],
    epsilon: f32,
) {
    let [outer, n] = shape;
    check(input, None, outer * n);
    assert!(
        means.len() == outer && inverse_deviations.len() == outer,
        "the moments have another length than the rows"
    );
    for ((row, mean), inverse) in input.chunks(n.max(1)).zip(means).zip(inverse_deviations) {
        let (row_mean, variance) = moments(row);
        *mean = row_mean;
        *inverse = math::rsqrt(variance + epsilon);
    }
}
