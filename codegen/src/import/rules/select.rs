//! What of a tensor is chosen by its values: boxes that do not overlap, and elements that differ.

use super::{ONNX, Rules};
use crate::import::arithmetic::Arithmetic;
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::op::ScatterKind;
use crate::ir::{BinaryOp, DType, Dim, Expr, FoldKind, Op, ScalarId, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[
    (ONNX, "NonMaxSuppression", non_max_suppression),
    (ONNX, "Unique", unique),
];

/// For each image and class, the boxes by descending score that overlap none chosen before by more than a threshold:
/// rows of image, class and box.
///
/// A scan over the ranks keeps which ranks are chosen, for all images and classes at once.
fn non_max_suppression(cx: &mut Call) -> Results {
    let (boxes, scores) = (cx.input(0)?, cx.input(1)?);
    let centered = cx.flag("center_point_box", false)?;
    let (from, shape, dtype) = (cx.shape(boxes), cx.shape(scores), cx.dtype(boxes));
    if from.len() != 3 || shape.len() != 3 || !from[2].is(4) || cx.dtype(scores) != dtype {
        let (boxes, scores) = (cx.ty(boxes), cx.ty(scores));
        return Err(Fault::new(format!("boxes {boxes} with scores {scores}")));
    }
    cx.equal("images of boxes and of scores", &from[0], &shape[0])?;
    cx.equal("the numbers of boxes and of scores", &from[1], &shape[2])?;
    let threshold = |cx: &mut Call, index: usize, dtype: DType, usual: f64| match cx.optional(index) {
        Some(value) => {
            let value = cx.reshape(value, Vec::new())?;
            cx.cast(value, dtype)
        }
        None => cx.number(usual, dtype),
    };
    let most = threshold(cx, 2, DType::I64, 0.0)?;
    let overlap = threshold(cx, 3, dtype, 0.0)?;
    let least = threshold(cx, 4, dtype, f64::NEG_INFINITY)?;

    let order = cx.emit(Op::Sort { descending: true }, &[scores])?;
    let kept = cx.filled(0.0, DType::I64, shape.clone())?;
    let count = cx.filled(0.0, DType::I64, shape[..2].to_vec())?;
    let ranks = cx.generate(vec![shape[2].clone()], &[], |e| e.index(0))?;
    let operands = [kept, count, ranks];
    let body = cx.scan_body(&operands, 2, |cx, params| {
        let &[kept, count, rank] = params else {
            return Err(Fault::new("a scan with other parameters"));
        };
        // Whether a box of a lower rank that was chosen overlaps that of this rank.
        let lead = shape[..2].to_vec();
        let inputs = [boxes, order, kept, rank, overlap];
        let suppressed = cx.combined(FoldKind::Max, [lead.clone(), vec![shape[2].clone()]], &inputs, |e| {
            let (image, class, other, rank) = (e.index(0), e.index(1), e.index(2), e.input(3, DType::I64));
            let place = e.row_major(&[image, class, other], &shape);
            let (chosen, one) = (e.at(2, place, DType::I64), e.number(1));
            let chosen = e.equals(chosen, one);
            let (a, b) = ([rank, other], e.input(4, dtype));
            let [a, other] = a.map(|rank| {
                let place = e.row_major(&[image, class, rank], &shape);
                let number = e.at(1, place, DType::I64);
                edges(e, image, number, &from, dtype, centered)
            });
            let overlaps = overlaps(e, a, other, b, dtype);
            e.both(chosen, overlaps)
        })?;
        let inputs = [scores, order, suppressed, count, rank, most, least];
        let chosen = cx.generate(lead, &inputs, |e| {
            let (image, class, rank) = (e.index(0), e.index(1), e.input(4, DType::I64));
            let place = e.row_major(&[image, class, rank], &shape);
            let number = e.at(1, place, DType::I64);
            let place = e.row_major(&[image, class, number], &shape);
            let (score, least) = (e.at(0, place, dtype), e.input(6, dtype));
            let enough = e.less(least, score);
            let suppressed = e.input(2, DType::Bool);
            let free = e.apply1(crate::ir::UnaryOp::Not, suppressed);
            let (count, most) = (e.input(3, DType::I64), e.input(5, DType::I64));
            let room = e.less(count, most);
            let chosen = e.both(enough, free);
            let chosen = e.both(chosen, room);
            e.convert(chosen, DType::I64)
        })?;
        let kept = cx.generate(shape.clone(), &[kept, chosen, rank], |e| {
            let (image, class, here) = (e.index(0), e.index(1), e.index(2));
            let (kept, rank) = (e.input(0, DType::I64), e.input(2, DType::I64));
            let place = e.row_major(&[image, class], &shape[..2]);
            let (chosen, own) = (e.at(1, place, DType::I64), e.equals(here, rank));
            e.select(own, chosen, kept)
        })?;
        let count = cx.binary(BinaryOp::Add, count, chosen)?;
        Ok(vec![kept, count])
    })?;
    let kept = cx.emit_all(Op::Scan { carried: 2 }, &operands, vec![body])?[0];
    let total: Dim = shape.iter().cloned().product();
    let kept = cx.reshape(kept, vec![total.clone()])?;
    let (places, count) = selected(cx, kept, 0)?;
    let result = vec![count, Dim::from(3i64)];
    let value = cx.generate(result, &[places, order], |e| {
        let (row, column) = (e.index(0), e.index(1));
        let place = e.at(0, row, DType::I64);
        let (boxes, classes) = (e.dim(&shape[2]), e.dim(&shape[1]));
        let number = e.at(1, place, DType::I64);
        let line = e.div(place, boxes);
        let (image, class) = (e.div(line, classes), e.modulo(line, classes));
        let (zero, one) = (e.number(0), e.number(1));
        let (is_image, is_class) = (e.equals(column, zero), e.equals(column, one));
        let rest = e.select(is_class, class, number);
        e.select(is_image, image, rest)
    })?;
    Ok(vec![value])
}

/// The least and the greatest coordinate of a box along both axes.
fn edges(
    e: &mut Expr,
    image: ScalarId,
    number: ScalarId,
    shape: &[Dim],
    dtype: DType,
    centered: bool,
) -> [ScalarId; 4] {
    let [a, b, c, d] = [0, 1, 2, 3].map(|column| {
        let column = e.number(column);
        let place = e.row_major(&[image, number, column], shape);
        e.at(0, place, dtype)
    });
    match centered {
        false => [e.least(a, c), e.greatest(a, c), e.least(b, d), e.greatest(b, d)],
        true => {
            let half = e.float(0.5, dtype);
            let (width, height) = (e.mul(c, half), e.mul(d, half));
            [e.sub(b, height), e.add(b, height), e.sub(a, width), e.add(a, width)]
        }
    }
}

/// Whether the intersection of two boxes is more than a part of their union.
fn overlaps(e: &mut Expr, a: [ScalarId; 4], b: [ScalarId; 4], threshold: ScalarId, dtype: DType) -> ScalarId {
    let zero = e.float(0.0, dtype);
    let mut common = e.float(1.0, dtype);
    let mut meet = None;
    for axis in [0, 2] {
        let (low, high) = (e.greatest(a[axis], b[axis]), e.least(a[axis + 1], b[axis + 1]));
        let length = e.sub(high, low);
        let own = e.less(zero, length);
        meet = Some(meet.map_or(own, |others| e.both(others, own)));
        common = e.mul(common, length);
    }
    let [first, second] = [a, b].map(|edges| {
        let (height, width) = (e.sub(edges[1], edges[0]), e.sub(edges[3], edges[2]));
        e.mul(height, width)
    });
    let sum = e.add(first, second);
    let union = e.sub(sum, common);
    let ratio = e.div(common, union);
    let above = e.less(threshold, ratio);
    let positive = e.less(zero, union);
    let above = e.both(above, positive);
    meet.map_or(above, |meet| e.both(meet, above))
}

/// The places of the elements of a list of 0 and 1 that are 1, and how many there are, which is the first size of a
/// result.
fn selected(cx: &mut Call, flags: ValueId, output: usize) -> Result<(ValueId, Dim), Fault> {
    let shape = cx.shape(flags);
    let before = Op::CumSum {
        axis: 0,
        exclusive: true,
        reverse: false,
    };
    let before = cx.emit(before, &[flags])?;
    let targets = cx.generate(shape.clone(), &[flags, before], |e| {
        let (flag, place, one, nowhere) = (
            e.input(0, DType::I64),
            e.input(1, DType::I64),
            e.number(1),
            e.number(-1),
        );
        let own = e.equals(flag, one);
        e.select(own, place, nowhere)
    })?;
    let own = cx.generate(shape.clone(), &[], |e| e.index(0))?;
    let nothing = cx.filled(0.0, DType::I64, shape.clone())?;
    let replace = Op::Scatter {
        kind: ScatterKind::Replace,
    };
    let places = cx.emit(replace, &[nothing, targets, own])?;
    let count = cx.combined(FoldKind::Sum, [Vec::new(), shape.clone()], &[flags], |e| {
        e.input(0, DType::I64)
    })?;
    let most = shape[0].upper(&cx.graph.bounds);
    Ok((places, cx.bind_size(output, 0, count, Some(most))?))
}

/// The distinct elements, or slices along an axis, with the first place of each, the number of each element's own, and
/// how often each occurs; in ascending order or in that of their first occurrence.
fn unique(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let sorted = cx.flag("sorted", true)?;
    let (from, dtype) = (cx.shape(x), cx.dtype(x));
    let axis = match cx.optional_int("axis")? {
        Some(axis) => Some(cx.axis(axis, from.len())?),
        None => None,
    };
    // Keys that are equal where what they stand for is, and in the same order.
    let (keys, count) = match axis {
        None => {
            let count: Dim = from.iter().cloned().product();
            (cx.reshape(x, vec![count.clone()])?, count)
        }
        Some(axis) => (slice_keys(cx, x, axis)?, from[axis].clone()),
    };
    let line = vec![count];
    let key_type = cx.dtype(keys);
    let order = cx.emit(Op::Sort { descending: false }, &[keys])?;
    // Where the sorted keys begin a new group.
    let starts = cx.generate(line.clone(), &[keys, order], |e| {
        let (here, zero, one) = (e.index(0), e.number(0), e.number(1));
        let before = e.sub(here, one);
        let [own, other] = [here, before].map(|rank| {
            let place = e.at(1, rank, DType::I64);
            e.at(0, place, key_type)
        });
        let (is_first, differs) = (e.equals(here, zero), e.apply2(BinaryOp::Ne, own, other));
        let starts = e.either(is_first, differs);
        e.convert(starts, DType::I64)
    })?;
    let output = if axis.is_some() { 1 } else { 0 };
    let (firsts, groups) = selected(cx, starts, output)?;
    let within = Op::CumSum {
        axis: 0,
        exclusive: false,
        reverse: false,
    };
    let within = cx.emit(within, &[starts])?;
    let group = cx.map(&[within], |e, of| {
        let one = e.number(1);
        e.sub(of[0], one)
    })?;
    // By the number of the group: its first place and its size.
    let several = vec![groups.clone()];
    let mut places = cx.generate(several.clone(), &[firsts, order], |e| {
        let here = e.index(0);
        let rank = e.at(0, here, DType::I64);
        e.at(1, rank, DType::I64)
    })?;
    let nothing = cx.filled(0.0, DType::I64, several.clone())?;
    let ones = cx.filled(1.0, DType::I64, line.clone())?;
    let mut counts = cx.emit(Op::Scatter { kind: ScatterKind::Add }, &[nothing, group, ones])?;
    let replace = || Op::Scatter {
        kind: ScatterKind::Replace,
    };
    let nothing = cx.filled(0.0, DType::I64, line.clone())?;
    let mut inverse = cx.emit(replace(), &[nothing, order, group])?;
    if !sorted {
        let by_place = cx.emit(Op::Sort { descending: false }, &[places])?;
        let numbers = cx.emit(Op::Sort { descending: false }, &[by_place])?;
        let pick = |cx: &mut Call, from: ValueId, at: ValueId, shape: Vec<Dim>| {
            cx.generate(shape, &[at, from], |e| {
                let place = e.input(0, DType::I64);
                e.at(1, place, DType::I64)
            })
        };
        places = pick(cx, places, by_place, several.clone())?;
        counts = pick(cx, counts, by_place, several.clone())?;
        inverse = pick(cx, numbers, inverse, line)?;
    }
    let mut shape = match axis {
        None => several,
        Some(_) => from.clone(),
    };
    if let Some(axis) = axis {
        shape[axis] = groups;
    }
    let value = cx.generate(shape, &[x, places], |e| match axis {
        None => {
            let here = e.index(0);
            let place = e.at(1, here, DType::I64);
            e.at(0, place, dtype)
        }
        Some(axis) => {
            let here: Vec<ScalarId> = (0..from.len())
                .map(|other| {
                    let here = e.index(other);
                    if other == axis { e.at(1, here, DType::I64) } else { here }
                })
                .collect();
            let place = e.row_major(&here, &from);
            e.at(0, place, dtype)
        }
    })?;
    Ok(vec![value, places, inverse, counts])
}

/// For each slice along an axis, how many slices are lexicographically less.
fn slice_keys(cx: &mut Call, x: ValueId, axis: usize) -> Result<ValueId, Fault> {
    let (from, dtype) = (cx.shape(x), cx.dtype(x));
    let count = from[axis].clone();
    let mut permutation: Vec<usize> = (0..from.len()).filter(|&other| other != axis).collect();
    permutation.insert(0, axis);
    let rows = cx.transpose(x, permutation)?;
    let size: Dim = cx.shape(rows)[1..].iter().cloned().product();
    let shape = vec![count.clone(), size.clone()];
    let rows = cx.reshape(rows, shape.clone())?;
    let pairs = vec![count.clone(), count.clone()];
    let element = |e: &mut Expr, row: ScalarId, column: ScalarId| {
        let place = e.row_major(&[row, column], &shape);
        e.at(0, place, dtype)
    };
    // The first column in which two rows differ.
    let differ = cx.combined(FoldKind::Min, [pairs.clone(), vec![size.clone()]], &[rows], |e| {
        let (a, b, column, end) = (e.index(0), e.index(1), e.index(2), e.dim(&size));
        let (left, right) = (element(e, a, column), element(e, b, column));
        let equal = e.equals(left, right);
        e.select(equal, end, column)
    })?;
    cx.combined(
        FoldKind::Sum,
        [vec![count.clone()], vec![count]],
        &[rows, differ],
        |e| {
            let (own, other, end) = (e.index(0), e.index(1), e.dim(&size));
            let place = e.row_major(&[own, other], &pairs);
            let column = e.at(1, place, DType::I64);
            let (left, right) = (element(e, other, column), element(e, own, column));
            let (less, differs) = (e.less(left, right), e.less(column, end));
            let less = e.both(less, differs);
            e.convert(less, DType::I64)
        },
    )
}
