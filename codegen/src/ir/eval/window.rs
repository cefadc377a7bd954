//! Convolution and pooling.

use super::numbers::{Numbers, Ring, int_limits};
use super::scalar::maximum;
use super::{Symbols, int};
use crate::ir::op::{Op, PoolKind, Window};
use crate::ir::tensor::Tensor;

/// The largest number of elements of a window.
const MAX_TAPS: usize = 1 << 24;

/// A window with the values of its dimensions.
pub(super) struct Sizes {
    kernel: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    before: Vec<i64>,
    after: Vec<i64>,
}

impl Sizes {
    pub(super) fn new(window: &Window, dims: Symbols<'_>) -> Result<Sizes, String> {
        let rank = window.kernel.len();
        let lists = [window.strides.len(), window.dilations.len()];
        let pads = [window.pads_before.len(), window.pads_after.len()];
        let sizes = || window.kernel.iter().chain(&window.strides).chain(&window.dilations);
        // Positions are computed in i64; no tensor that can be evaluated needs more than 32 bits on an axis.
        if lists != [rank; 2] || pads != [rank; 2] || sizes().any(|&size| size == 0 || size > 1 << 31) {
            return Err("a window with a missing, zero or huge size".into());
        }
        let pads = |list: &[crate::ir::Dim]| -> Result<Vec<i64>, String> {
            let values: Vec<i64> = list.iter().map(|dim| int(dim, dims)).collect::<Result<_, _>>()?;
            match values.iter().find(|value| value.unsigned_abs() > 1 << 31) {
                Some(value) => Err(format!("padding of {value}")),
                None => Ok(values),
            }
        };
        Ok(Sizes {
            kernel: window.kernel.clone(),
            strides: window.strides.clone(),
            dilations: window.dilations.clone(),
            before: pads(&window.pads_before)?,
            after: pads(&window.pads_after)?,
        })
    }

    /// The distance from the first to the last element of the window along an axis.
    fn reach(&self, axis: usize) -> i64 {
        (self.kernel[axis] as i64 - 1).saturating_mul(self.dilations[axis] as i64)
    }

    /// The size along an axis of sliding the window over `size` elements.
    fn slide(&self, axis: usize, size: usize, ceil_mode: bool) -> Result<usize, String> {
        let stride = self.strides[axis] as i64;
        let span = size as i64 + self.before[axis] + self.after[axis] - 1 - self.reach(axis);
        let mut count = span.div_euclid(stride) + 1;
        if ceil_mode && span.rem_euclid(stride) != 0 {
            count += 1;
        }
        // A window that starts in the padding after the tensor does not count.
        if ceil_mode && (count - 1) * stride >= size as i64 + self.before[axis] {
            count -= 1;
        }
        usize::try_from(count).map_err(|_| format!("a window of {:?} over {size} elements", self.kernel))
    }

    /// The number of elements of the window.
    fn taps(&self) -> Result<usize, String> {
        let taps = self
            .kernel
            .iter()
            .try_fold(1usize, |total, &size| total.checked_mul(size));
        taps.filter(|&taps| taps <= MAX_TAPS)
            .ok_or_else(|| format!("a window of {:?}", self.kernel))
    }

    /// The positions (flat, of the spatial axes) of the result and the input that an element of the window joins.
    fn pairs(&self, tap: usize, input: &[usize], output: &[usize]) -> Vec<(usize, usize)> {
        let mut pairs = vec![(0, 0)];
        let mut rest = tap;
        let mut offsets = vec![0; self.kernel.len()];
        for axis in (0..self.kernel.len()).rev() {
            let index = rest % self.kernel[axis];
            rest /= self.kernel[axis];
            offsets[axis] = (index * self.dilations[axis]) as i64 - self.before[axis];
        }
        for (axis, offset) in offsets.into_iter().enumerate() {
            let joined: Vec<(usize, usize)> = (0..output[axis])
                .filter_map(|out| {
                    let position = (out * self.strides[axis]) as i64 + offset;
                    let position = usize::try_from(position).ok().filter(|&p| p < input[axis])?;
                    Some((out, position))
                })
                .collect();
            pairs = pairs
                .iter()
                .flat_map(|&(p, q)| {
                    let joined = joined.iter();
                    joined.map(move |&(out, position)| (p * output[axis] + out, q * input[axis] + position))
                })
                .collect();
        }
        pairs
    }
}

/// The batch and channels of an operand, and its spatial sizes.
fn parts<'a>(x: &'a Tensor, window: &Sizes) -> Result<(usize, usize, &'a [usize]), String> {
    match x.shape.split_first_chunk::<2>() {
        Some((&[batch, channels], spatial)) if spatial.len() == window.kernel.len() => Ok((batch, channels, spatial)),
        _ => Err(format!("a window of {:?} over {x:?}", window.kernel)),
    }
}

/// A convolution.
pub(super) fn conv(
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    window: &Sizes,
    groups: usize,
    pad_value: u8,
) -> Result<Tensor, String> {
    if x.dtype.is_float() {
        conv_over::<f64>(x, w, bias, window, groups, None)
    } else {
        let pad_value = (pad_value != 0).then_some(pad_value.into());
        conv_over::<i64>(x, w, bias, window, groups, pad_value)
    }
}

fn conv_over<R: Ring>(
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    window: &Sizes,
    groups: usize,
    pad_value: Option<R>,
) -> Result<Tensor, String> {
    let (batch, channels, input) = parts(x, window)?;
    let (filters, depth, kernel) = parts(w, window)?;
    let error = || format!("convolution of {x:?} with {w:?} in {groups} groups");
    let dtype = Op::sum_type(x.dtype, w.dtype).ok_or_else(error)?;
    let fits = groups > 0 && filters % groups == 0 && depth.checked_mul(groups) == Some(channels);
    if !fits || kernel != window.kernel {
        return Err(error());
    }
    let output: Vec<usize> = (0..input.len())
        .map(|axis| window.slide(axis, input[axis], false))
        .collect::<Result<_, _>>()?;
    let shape = [&[batch, filters], output.as_slice()].concat();
    let mut out = vec![R::default(); super::elements(dtype, &shape)?];
    let (size, out_size) = (input.iter().product::<usize>(), output.iter().product::<usize>());
    let (values, weights) = (R::decode(x)?, R::decode(w)?);
    let taps = window.taps()?;
    for tap in 0..taps {
        let pairs = window.pairs(tap, input, &output);
        let mut outside = vec![true; out_size];
        pairs.iter().for_each(|&(to, _)| outside[to] = false);
        for plane in 0..batch * filters {
            let (image, filter) = (plane / filters, plane % filters);
            let group = filter / (filters / groups);
            let result = &mut out[plane * out_size..(plane + 1) * out_size];
            for channel in 0..depth {
                let weight = weights[(filter * depth + channel) * taps + tap];
                let source = &values[(image * channels + group * depth + channel) * size..][..size];
                for &(to, from) in &pairs {
                    result[to] = result[to].add(weight.mul(source[from]));
                }
                let Some(pad_value) = pad_value else { continue };
                for (result, _) in result.iter_mut().zip(&outside).filter(|(_, outside)| **outside) {
                    *result = result.add(weight.mul(pad_value));
                }
            }
        }
    }
    add_bias(&mut out, bias, filters, out_size)?;
    R::encode(out, dtype, shape)
}

/// A transposed convolution: the elements of the window are joined the other way around.
pub(super) fn conv_transpose(
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    window: &Sizes,
    output_padding: &[usize],
    groups: usize,
) -> Result<Tensor, String> {
    if x.dtype.is_float() {
        conv_transpose_over::<f64>(x, w, bias, window, output_padding, groups)
    } else {
        conv_transpose_over::<i64>(x, w, bias, window, output_padding, groups)
    }
}

fn conv_transpose_over<R: Ring>(
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    window: &Sizes,
    output_padding: &[usize],
    groups: usize,
) -> Result<Tensor, String> {
    let (batch, channels, input) = parts(x, window)?;
    let (w_channels, depth, kernel) = parts(w, window)?;
    let fits = groups > 0 && channels % groups == 0 && channels == w_channels && kernel == window.kernel;
    let filters = depth.checked_mul(groups);
    let (true, Some(filters), true) = (fits, filters, output_padding.len() == input.len() && w.dtype == x.dtype) else {
        return Err(format!("transposed convolution of {x:?} with {w:?} in {groups} groups"));
    };
    let mut output = Vec::with_capacity(input.len());
    for axis in 0..input.len() {
        let steps = (input[axis] as i64 - 1).saturating_mul(window.strides[axis] as i64);
        let extra = i64::try_from(output_padding[axis]).unwrap_or(i64::MAX);
        let full = steps
            .saturating_add(window.reach(axis))
            .saturating_add(extra)
            .saturating_add(1 - window.before[axis] - window.after[axis]);
        output.push(usize::try_from(full).map_err(|_| format!("a result of size {full}"))?);
    }
    let shape = [&[batch, filters], output.as_slice()].concat();
    let mut out = vec![R::default(); super::elements(x.dtype, &shape)?];
    let (size, out_size) = (input.iter().product::<usize>(), output.iter().product::<usize>());
    let (values, weights) = (R::decode(x)?, R::decode(w)?);
    let taps = window.taps()?;
    for tap in 0..taps {
        let pairs = window.pairs(tap, &output, input);
        for plane in 0..batch * channels {
            let (image, channel) = (plane / channels, plane % channels);
            let group = channel / (channels / groups);
            let source = &values[plane * size..(plane + 1) * size];
            for filter in 0..depth {
                let weight = weights[(channel * depth + filter) * taps + tap];
                let result = &mut out[(image * filters + group * depth + filter) * out_size..][..out_size];
                for &(from, to) in &pairs {
                    result[to] = result[to].add(weight.mul(source[from]));
                }
            }
        }
    }
    add_bias(&mut out, bias, filters, out_size)?;
    R::encode(out, x.dtype, shape)
}

fn add_bias<R: Ring>(out: &mut [R], bias: Option<&Tensor>, filters: usize, size: usize) -> Result<(), String> {
    let Some(bias) = bias else { return Ok(()) };
    if bias.shape != [filters] {
        return Err(format!("bias {bias:?} for {filters} channels"));
    }
    let values = R::decode(bias)?;
    for (plane, out) in out.chunks_exact_mut(size.max(1)).enumerate() {
        for value in out {
            *value = value.add(values[plane % filters]);
        }
    }
    Ok(())
}

/// Pooling.
pub(super) fn pool(kind: PoolKind, x: &Tensor, window: &Sizes, ceil_mode: bool) -> Result<Tensor, String> {
    let (batch, channels, input) = parts(x, window)?;
    let output: Vec<usize> = (0..input.len())
        .map(|axis| window.slide(axis, input[axis], ceil_mode))
        .collect::<Result<_, _>>()?;
    let shape = [&[batch, channels], output.as_slice()].concat();
    let total = super::elements(x.dtype, &shape)?;
    let (size, out_size) = (input.iter().product::<usize>(), output.iter().product::<usize>());
    let taps = window.taps()?;
    let numbers = match (Numbers::of(x), kind) {
        (Numbers::Float(values), _) => {
            let (start, combine): (f64, Box<dyn Fn(f64, f64) -> f64>) = match kind {
                PoolKind::Max => (f64::NEG_INFINITY, Box::new(maximum)),
                PoolKind::Average { .. } => (0.0, Box::new(|sum, x| sum + x)),
                PoolKind::Lp { p: 0 } => return Err("pooling with a 0-norm".into()),
                PoolKind::Lp { p } => (0.0, Box::new(move |sum, x: f64| sum + x.abs().powf(f64::from(p)))),
            };
            let mut out = vec![start; total];
            let mut counts = vec![0usize; out_size];
            for tap in 0..taps {
                let pairs = window.pairs(tap, input, &output);
                pairs.iter().for_each(|&(to, _)| counts[to] += 1);
                for plane in 0..batch * channels {
                    for &(to, from) in &pairs {
                        let slot = &mut out[plane * out_size + to];
                        *slot = combine(*slot, values[plane * size + from]);
                    }
                }
            }
            if let PoolKind::Average { count_include_pad } = kind {
                if count_include_pad {
                    counts = padded_counts(window, input, &output);
                }
                let divisors = counts.iter().cycle();
                out.iter_mut().zip(divisors).for_each(|(x, &count)| *x /= count as f64);
            }
            if let PoolKind::Lp { p } = kind {
                out.iter_mut().for_each(|x| *x = x.powf(1.0 / f64::from(p)));
            }
            Numbers::Float(out)
        }
        (Numbers::Int(values), PoolKind::Max) => {
            let mut out = vec![int_limits(x.dtype).0; total];
            for tap in 0..taps {
                let pairs = window.pairs(tap, input, &output);
                for plane in 0..batch * channels {
                    for &(to, from) in &pairs {
                        let slot = &mut out[plane * out_size + to];
                        *slot = values[plane * size + from].max(*slot);
                    }
                }
            }
            Numbers::Int(out)
        }
        (other, _) => return Err(format!("{kind:?} pooling of {}", other.kind())),
    };
    numbers.into_tensor(x.dtype, shape)
}

/// How many elements of each window lie in the padded tensor; a window may overhang it in `ceil_mode`.
fn padded_counts(window: &Sizes, input: &[usize], output: &[usize]) -> Vec<usize> {
    let mut counts = vec![1];
    for axis in 0..input.len() {
        let end = input[axis] as i64 + window.before[axis] + window.after[axis];
        let inside = |out: usize| {
            let positions = (0..window.kernel[axis]).map(|k| out * window.strides[axis] + k * window.dilations[axis]);
            positions.filter(|&position| (position as i64) < end).count()
        };
        let along: Vec<usize> = (0..output[axis]).map(inside).collect();
        counts = counts
            .iter()
            .flat_map(|&count| along.iter().map(move |&other| count * other))
            .collect();
    }
    counts
}
