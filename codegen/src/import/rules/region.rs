//! Sampling at coordinates that are operands: regions of interest, deformed windows, affine grids, and the sum of patches.

use super::{ONNX, Rules};
use crate::import::arithmetic::Arithmetic;
use crate::import::builder::{Fault, literal};
use crate::import::call::Call;
use crate::ir::infer::display_shape;
use crate::ir::op::ReduceKind;
use crate::ir::{BinaryOp, DType, Dim, Expr, FoldKind, Interval, Op, ScalarId, UnaryOp, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[
    (ONNX, "RoiAlign", roi_align),
    (ONNX, "DeformConv", deform_conv),
    (ONNX, "AffineGrid", affine_grid),
    (ONNX, "Col2Im", col2im),
];

/// The most samples along an axis of a bin, where their number follows from the size of the region.
const MAX_SAMPLES: i64 = 1 << 12;

/// Samples of regions of images, averaged or maximal within each bin (He et al., "Mask R-CNN", 2017).
fn roi_align(cx: &mut Call) -> Results {
    let (x, rois, batches) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let kind = match cx.string("mode", "avg")? {
        "avg" => FoldKind::Sum,
        "max" => FoldKind::Max,
        other => return cx.unsupported("mode", other),
    };
    let usual = if cx.version < 16 {
        "output_half_pixel"
    } else {
        "half_pixel"
    };
    let half_pixel = match cx.string("coordinate_transformation_mode", usual)? {
        "half_pixel" => true,
        "output_half_pixel" => false,
        other => return cx.unsupported("coordinate_transformation_mode", other),
    };
    let (height, width) = (cx.int("output_height", 1)?, cx.int("output_width", 1)?);
    let samples = cx.int("sampling_ratio", 0)?;
    let scale = f64::from(cx.float("spatial_scale", 1.0)?);
    let (from, dtype, stored) = (cx.shape(x), cx.dtype(rois).arithmetic(), cx.dtype(x));
    let fits = cx.rank(rois) == 2 && from.len() == 4 && height > 0 && width > 0 && (0..1 << 12).contains(&samples);
    if !fits {
        let (regions, images) = (display_shape(&cx.shape(rois)), display_shape(&from));
        return Err(Fault::new(format!(
            "regions of shape {regions} of images of shape {images}"
        )));
    }
    let rois = cx.cast(rois, dtype)?;
    let batches = cx.cast(batches, DType::I64)?;
    let regions = cx.shape(rois)[0].clone();
    cx.require(
        vec![regions.clone()],
        &[batches],
        "every region is of an image that exists",
        |e| {
            let (batch, count) = (e.input(0, DType::I64), e.dim(&from[0]));
            e.within(batch, count)
        },
    )?;
    // Start and size of a region along an axis (0 for y), in pixels.
    let span = |e: &mut Expr, rois: usize, region: ScalarId, axis: i64| {
        let mut edge = |column: i64| {
            let (four, column) = (e.number(4), e.number(column));
            let row = e.mul(region, four);
            let place = e.add(row, column);
            let value = e.at(rois, place, dtype);
            let (factor, offset) = (
                e.float(scale, dtype),
                e.float(if half_pixel { 0.5 } else { 0.0 }, dtype),
            );
            let scaled = e.mul(value, factor);
            e.sub(scaled, offset)
        };
        let (start, end) = (edge(1 - axis), edge(3 - axis));
        let size = e.sub(end, start);
        let least = e.float(1.0, dtype);
        (start, if half_pixel { size } else { e.greatest(size, least) })
    };
    let bins = [height, width];
    let mut counts = Vec::new();
    let mut domain = Vec::new();
    for (axis, &bins) in bins.iter().enumerate() {
        let count = cx.generate(vec![regions.clone()], &[rois], |e| match samples {
            0 => {
                let region = e.index(0);
                let (_, size) = span(e, 0, region, axis as i64);
                let bins = e.float(bins as f64, dtype);
                let per_bin = e.div(size, bins);
                let up = e.apply1(UnaryOp::Ceil, per_bin);
                e.convert(up, DType::I64)
            }
            samples => e.number(samples),
        })?;
        let most = Op::Reduce {
            kind: ReduceKind::Max,
            axes: vec![0],
            keep_dims: false,
        };
        let most = cx.emit(most, &[count])?;
        let most = cx.generate(Vec::new(), &[most], |e| {
            let (most, zero) = (e.input(0, DType::I64), e.number(0));
            e.greatest(most, zero)
        })?;
        let range = Interval {
            low: 0,
            high: MAX_SAMPLES,
        };
        domain.extend(cx.bind(most, |_| Ok(range))?);
        counts.push(count);
    }
    domain.extend([Dim::from(2i64), Dim::from(2i64)]);
    let wide = if stored.is_float() {
        stored.arithmetic()
    } else {
        DType::F32
    };
    let x = cx.cast(x, wide)?;
    let shape = vec![regions, from[1].clone(), Dim::from(height), Dim::from(width)];
    let inputs = [x, rois, batches, counts[0], counts[1]];
    let least = if kind == FoldKind::Max { f64::NEG_INFINITY } else { 0.0 };
    let value = cx.combined(kind, [shape.clone(), domain], &inputs, |e| {
        let (region, channel) = (e.index(0), e.index(1));
        let batch = e.at(2, region, DType::I64);
        let mut coordinates = vec![batch, channel];
        let mut weight = e.float(1.0, dtype);
        let (mut counted, mut inside) = (None, None);
        for axis in 0..2 {
            let (start, size) = span(e, 1, region, axis as i64);
            let count = e.at(3 + axis, region, DType::I64);
            let (bin, sample, corner) = (e.index(2 + axis), e.index(4 + axis), e.index(6 + axis));
            let own = e.less(sample, count);
            counted = Some(counted.map_or(own, |others| e.both(others, own)));
            let [bin, sample, count] = [bin, sample, count].map(|id| e.convert(id, dtype));
            let (bins, half) = (e.float(bins[axis] as f64, dtype), e.float(0.5, dtype));
            let bin_size = e.div(size, bins);
            let first = e.mul(bin, bin_size);
            let middle = e.add(sample, half);
            let part = e.mul(middle, bin_size);
            let part = e.div(part, count);
            let at = e.add(start, first);
            let at = e.add(at, part);
            let (own, place, factor) = corner_of(e, at, corner, &from[2 + axis], dtype);
            inside = Some(inside.map_or(own, |others| e.both(others, own)));
            coordinates.push(place);
            weight = e.mul(weight, factor);
        }
        let place = e.row_major(&coordinates, &from);
        let (pixel, weight) = (e.at(0, place, wide), e.convert(weight, wide));
        let term = e.mul(pixel, weight);
        let (zero, least) = (e.float(0.0, wide), e.float(least, wide));
        let term = inside.map_or(term, |inside| e.select(inside, term, zero));
        counted.map_or(term, |counted| e.select(counted, term, least))
    })?;
    let value = cx.generate(shape, &[value, counts[0], counts[1]], |e| {
        let (value, region) = (e.input(0, wide), e.index(0));
        let (rows, columns) = (e.at(1, region, DType::I64), e.at(2, region, DType::I64));
        let (count, one) = (e.mul(rows, columns), e.number(1));
        let some = e.at_most(one, count);
        let divisor = e.greatest(count, one);
        let divisor = e.convert(divisor, wide);
        let (mean, zero) = (e.div(value, divisor), e.float(0.0, wide));
        let result = if kind == FoldKind::Max { value } else { mean };
        let result = e.select(some, result, zero);
        e.convert(result, stored)
    })?;
    Ok(vec![value])
}

/// Whether a coordinate is no farther than a pixel outside of an axis, and the place and weight of one of the two pixels
/// beside it.
fn corner_of(e: &mut Expr, at: ScalarId, corner: ScalarId, size: &Dim, dtype: DType) -> (ScalarId, ScalarId, ScalarId) {
    let (zero, one, size) = (e.float(0.0, dtype), e.float(1.0, dtype), e.dim(size));
    let size = e.convert(size, dtype);
    let (before, last) = (e.float(-1.0, dtype), e.sub(size, one));
    let (starts, ends) = (e.at_most(before, at), e.at_most(at, size));
    let inside = e.both(starts, ends);
    let at = e.clamped(at, zero, last);
    let low = e.apply1(UnaryOp::Floor, at);
    let fraction = e.sub(at, low);
    let rest = e.sub(one, fraction);
    let first = e.number(0);
    let is_low = e.equals(corner, first);
    let weight = e.select(is_low, rest, fraction);
    let corner = e.convert(corner, dtype);
    let place = e.add(low, corner);
    let place = e.least(place, last);
    (inside, e.convert(place, DType::I64), weight)
}

/// A convolution whose window elements are displaced by an operand (Zhu et al., "Deformable ConvNets v2", 2019).
fn deform_conv(cx: &mut Call) -> Results {
    let (x, w, offset) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let (from, weights, offsets) = (cx.shape(x), cx.shape(w), cx.shape(offset));
    let spatial = from.len().saturating_sub(2);
    if spatial == 0 || weights.len() != from.len() || offsets.len() != from.len() {
        let shapes = [&from, &weights, &offsets].map(|shape| display_shape(shape));
        return Err(Fault::new(format!("operands of shape {}", shapes.join(", "))));
    }
    cx.ignore(&["kernel_shape"]);
    let strides = cx.sizes("strides", spatial, 1, 1)?;
    let dilations = cx.sizes("dilations", spatial, 1, 1)?;
    let pads = cx.sizes("pads", 2 * spatial, 0, 0)?;
    let (groups, offset_groups) = (cx.int("group", 1)?, cx.int("offset_group", 1)?);
    if groups < 1 || offset_groups < 1 {
        return Err(Fault::new(format!("{groups} and {offset_groups} groups")));
    }
    let (bias, mask) = (cx.optional(3), cx.optional(4));
    let taps: Dim = weights[2..].iter().cloned().product();
    let expected = taps.clone() * Dim::from(offset_groups * spatial as i64);
    cx.equal("offsets and elements of windows", &offsets[1], &expected)?;
    cx.equal(
        "channels and weights",
        &from[1],
        &(weights[1].clone() * Dim::from(groups)),
    )?;
    let stored = cx.dtype(x);
    let dtype = stored.arithmetic();
    let mut inputs = Vec::new();
    for operand in [Some(x), Some(w), Some(offset), mask].into_iter().flatten() {
        inputs.push(cx.cast(operand, dtype)?);
    }
    let mut shape = vec![from[0].clone(), weights[0].clone()];
    shape.extend_from_slice(&offsets[2..]);
    let mut domain = weights[1..].to_vec();
    domain.extend(vec![Dim::from(2i64); spatial]);
    let rank = shape.len();
    let value = cx.combined(FoldKind::Sum, [shape, domain], &inputs, |e| {
        let (image, filter, channel) = (e.index(0), e.index(1), e.index(rank));
        let per_group = e.dim(&weights[0].floor_div(&Dim::from(groups)));
        let (group, channels) = (e.div(filter, per_group), e.dim(&weights[1]));
        let first = e.mul(group, channels);
        let own = e.add(first, channel);
        let per_offset = e.dim(&from[1].floor_div(&Dim::from(offset_groups)));
        let offset_group = e.div(own, per_offset);
        let window: Vec<ScalarId> = (0..spatial).map(|axis| e.index(rank + 1 + axis)).collect();
        let tap = e.row_major(&window, &weights[2..]);
        let taps = e.dim(&taps);
        let before = e.mul(offset_group, taps);
        let tap = e.add(before, tap);
        let here: Vec<ScalarId> = (0..spatial).map(|axis| e.index(2 + axis)).collect();
        let mut coordinates = vec![image, own];
        let mut factor = e.float(1.0, dtype);
        let mut inside = None;
        for axis in 0..spatial {
            let (count, number) = (e.number(spatial as i64), e.number(axis as i64));
            let pair = e.mul(tap, count);
            let row = e.add(pair, number);
            let mut place = vec![image, row];
            place.extend(&here);
            let place = e.row_major(&place, &offsets);
            let displaced = e.at(2, place, dtype);
            let [stride, dilation, pad] =
                [strides[axis], dilations[axis], pads[axis]].map(|size| e.number(size as i64));
            let (start, step) = (e.mul(here[axis], stride), e.mul(window[axis], dilation));
            let at = e.add(start, step);
            let at = e.sub(at, pad);
            let at = e.convert(at, dtype);
            let at = e.add(at, displaced);
            let (floor, corner) = (e.apply1(UnaryOp::Floor, at), e.index(rank + 1 + spatial + axis));
            let corner = e.convert(corner, dtype);
            let place = e.add(floor, corner);
            let distance = e.sub(at, place);
            let (distance, one) = (e.apply1(UnaryOp::Abs, distance), e.float(1.0, dtype));
            let weight = e.sub(one, distance);
            factor = e.mul(factor, weight);
            let (place, size) = (e.convert(place, DType::I64), e.dim(&from[2 + axis]));
            let own = e.within(place, size);
            inside = Some(inside.map_or(own, |others| e.both(others, own)));
            coordinates.push(place);
        }
        let place = e.row_major(&coordinates, &from);
        let pixel = e.at(0, place, dtype);
        let mut place = vec![filter, channel];
        place.extend(&window);
        let place = e.row_major(&place, &weights);
        let weight = e.at(1, place, dtype);
        let mut term = e.mul(pixel, weight);
        term = e.mul(term, factor);
        if mask.is_some() {
            let mut rows = vec![offsets[0].clone(), offsets[1].floor_div(&Dim::from(spatial))];
            rows.extend_from_slice(&offsets[2..]);
            let mut place = vec![image, tap];
            place.extend(&here);
            let place = e.row_major(&place, &rows);
            let modulation = e.at(3, place, dtype);
            term = e.mul(term, modulation);
        }
        let zero = e.float(0.0, dtype);
        inside.map_or(term, |inside| e.select(inside, term, zero))
    })?;
    let value = match bias {
        Some(bias) => {
            let bias = cx.cast(bias, dtype)?;
            let mut along = vec![Dim::from(1i64); spatial + 1];
            along[0] = weights[0].clone();
            let bias = cx.reshape(bias, along)?;
            cx.binary(BinaryOp::Add, value, bias)?
        }
        None => value,
    };
    Ok(vec![cx.cast(value, stored)?])
}

/// The coordinates that affine maps `[n, d, d + 1]` give the points of a grid: `[n, spatial..., d]`.
fn affine_grid(cx: &mut Call) -> Results {
    let (theta, size) = (cx.input(0)?, cx.input(1)?);
    let align_corners = cx.flag("align_corners", false)?;
    let (maps, stored) = (cx.shape(theta), cx.dtype(theta));
    let spatial = match maps.as_slice() {
        [_, rows, _] => rows.as_usize().filter(|rows| (2..=3).contains(rows)),
        _ => None,
    };
    let spatial = spatial.ok_or_else(|| Fault::new(format!("affine maps of shape {}", display_shape(&maps))))?;
    if !matches!(cx.shape(size).as_slice(), [count] if count.is(spatial as i64 + 2)) {
        let sizes = cx.ty(size);
        return Err(Fault::new(format!("sizes {sizes} for {spatial} spatial axes")));
    }
    let sizes = cx.cast(size, DType::I64)?;
    let sizes = cx.narrow(sizes, 0, Dim::from(2i64), Dim::from(spatial))?;
    let mut ranges = Vec::new();
    for axis in 0..spatial {
        ranges.push(cx.size_bounds(0, axis + 1, None)?);
    }
    let sizes = cx.bind(sizes, |axis| Ok(ranges[axis]))?;
    let mut shape = vec![maps[0].clone()];
    shape.extend(sizes.iter().cloned());
    shape.push(Dim::from(spatial));
    let dtype = stored.arithmetic();
    let value = cx.combined(FoldKind::Sum, [shape, vec![Dim::from(spatial + 1)]], &[theta], |e| {
        let (map, row, column) = (e.index(0), e.index(spatial + 1), e.index(spatial + 2));
        let place = e.row_major(&[map, row, column], &maps);
        let factor = e.at(0, place, stored);
        let factor = e.convert(factor, dtype);
        let mut base = e.float(1.0, dtype);
        for (axis, size) in sizes.iter().enumerate() {
            let (here, size) = (e.index(axis + 1), e.dim(size));
            let (here, size) = (e.convert(here, dtype), e.convert(size, dtype));
            let (one, two) = (e.float(1.0, dtype), e.float(2.0, dtype));
            let twice = e.mul(here, two);
            let at = match align_corners {
                true => {
                    let span = e.sub(size, one);
                    let span = e.greatest(span, one);
                    e.div(twice, span)
                }
                false => {
                    let middle = e.add(twice, one);
                    e.div(middle, size)
                }
            };
            let at = e.sub(at, one);
            // The last spatial axis is the first coordinate.
            let number = e.number((spatial - 1 - axis) as i64);
            let own = e.equals(column, number);
            base = e.select(own, at, base);
        }
        e.mul(factor, base)
    })?;
    Ok(vec![cx.cast(value, stored)?])
}

/// The image of which each patch `[n, channels * block, patches]` was a part, with overlaps added.
fn col2im(cx: &mut Call) -> Results {
    let (x, image, block) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    let (from, stored) = (cx.shape(x), cx.dtype(x));
    let (image, spatial) = cx.integers(image, "the sizes of the image")?;
    let (block, _) = cx.integers(block, "the sizes of blocks")?;
    if from.len() != 3 || cx.shape(block) != cx.shape(image) {
        return Err(Fault::new(format!("patches of shape {}", display_shape(&from))));
    }
    let strides = cx.sizes("strides", spatial, 1, 1)?;
    let dilations = cx.sizes("dilations", spatial, 1, 1)?;
    let pads = cx.sizes("pads", 2 * spatial, 0, 0)?;
    let mut ranges = Vec::new();
    for axis in 0..spatial {
        ranges.push(cx.size_bounds(0, axis + 2, None)?);
    }
    let image = cx.bind(image, |axis| Ok(ranges[axis]))?;
    let most = from[1].upper(&cx.graph.bounds);
    let block = cx.bind(block, |_| Ok(Interval { low: 1, high: most }))?;
    let taps: Dim = block.iter().cloned().product();
    let channels = from[1].floor_div(&taps);
    cx.equal(
        "channels times elements of a block",
        &(channels.clone() * taps),
        &from[1],
    )?;
    let mut patches = Vec::new();
    for axis in 0..spatial {
        let one = Dim::from(1i64);
        let reach = (block[axis].clone() - one.clone()) * Dim::from(dilations[axis]) + one.clone();
        let padded = image[axis].clone() + Dim::from(pads[axis] + pads[spatial + axis]);
        patches.push((padded - reach).floor_div(&Dim::from(strides[axis])) + one);
    }
    cx.equal("the number of patches", &from[2], &patches.iter().cloned().product())?;
    let mut shape = vec![from[0].clone(), channels];
    shape.extend(image);
    let rank = shape.len();
    let value = cx.combined(FoldKind::Sum, [shape, block.clone()], &[x], |e| {
        let window: Vec<ScalarId> = (0..spatial).map(|axis| e.index(rank + axis)).collect();
        let mut numbers = vec![e.index(1)];
        numbers.extend(&window);
        let mut sizes = vec![Dim::from(1i64)];
        sizes.extend(block);
        let row = e.row_major(&numbers, &sizes);
        let (mut inside, mut places) = (None, Vec::new());
        for axis in 0..spatial {
            let [stride, dilation, pad] =
                [strides[axis], dilations[axis], pads[axis]].map(|size| e.number(size as i64));
            let (here, step, zero) = (e.index(2 + axis), e.mul(window[axis], dilation), e.number(0));
            let from_start = e.add(here, pad);
            let distance = e.sub(from_start, step);
            let (rest, place, count) = (
                e.modulo(distance, stride),
                e.div(distance, stride),
                e.dim(&patches[axis]),
            );
            let whole = e.equals(rest, zero);
            let own = e.within(place, count);
            let reached = e.at_most(zero, distance);
            let own = e.both(own, whole);
            let own = e.both(own, reached);
            inside = Some(inside.map_or(own, |others| e.both(others, own)));
            places.push(place);
        }
        let (image, patch) = (e.index(0), e.row_major(&places, &patches));
        let place = e.row_major(&[image, row, patch], &from);
        let (value, zero) = (e.at(0, place, stored), literal(e, 0.0, stored));
        inside.map_or(value, |inside| e.select(inside, value, zero))
    })?;
    Ok(vec![value])
}
