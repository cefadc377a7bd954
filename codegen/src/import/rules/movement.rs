//! Operators that rearrange or repeat elements.

use super::{ONNX, Rules};
use crate::import::arithmetic::Arithmetic;
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::infer::display_shape;
use crate::ir::{BinaryOp, Dim, Expr, Op, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[
    (ONNX, "Transpose", transpose),
    (ONNX, "Concat", concat),
    (ONNX, "Tile", tile),
    (ONNX, "DepthToSpace", depth_to_space),
    (ONNX, "SpaceToDepth", space_to_depth),
];

fn transpose(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let rank = cx.rank(x);
    let permutation = match cx.ints("perm")? {
        Some(axes) => axes.iter().map(|&axis| cx.axis(axis, rank)).collect::<Result<_, _>>()?,
        None => (0..rank).rev().collect(),
    };
    Ok(vec![cx.transpose(x, permutation)?])
}

fn concat(cx: &mut Call) -> Results {
    let inputs = cx.inputs()?;
    let Some(&first) = inputs.first() else {
        return Err(Fault::new("there are no operands"));
    };
    let axis = cx
        .optional_int("axis")?
        .ok_or_else(|| Fault::new("attribute `axis` is missing"))?;
    let axis = cx.axis(axis, cx.rank(first))?;
    Ok(vec![cx.concat(&inputs, axis)?])
}

/// Every axis gets an axis of its own for the repetitions, which are then merged into it.
fn tile(cx: &mut Call) -> Results {
    let x = cx.input(0)?;
    let shape = cx.shape(x);
    let repeats = cx.input(1)?;
    let repeats = match cx.known_dims(repeats) {
        Some(repeats) => repeats,
        None => return computed_tile(cx, x, repeats),
    };
    if repeats.len() != shape.len() {
        let shape = display_shape(&shape);
        return Err(Fault::new(format!(
            "{} repetitions of a tensor of shape {shape}",
            repeats.len()
        )));
    }
    let (mut separate, mut repeated, mut merged) = (Vec::new(), Vec::new(), Vec::new());
    for (size, count) in shape.iter().zip(&repeats) {
        if !count.is(1) && !size.is(1) {
            separate.push(Dim::from(1i64));
            repeated.push(count.clone());
            separate.push(size.clone());
            repeated.push(size.clone());
        } else {
            separate.push(size.clone());
            repeated.push(size.clone() * count.clone());
        }
        merged.push(size.clone() * count.clone());
    }
    let x = cx.reshape(x, separate)?;
    let x = cx.emit(Op::Broadcast { shape: repeated }, &[x])?;
    Ok(vec![cx.reshape(x, merged)?])
}

fn computed_tile(cx: &mut Call, x: ValueId, repeats: ValueId) -> Results {
    let (shape, dtype) = (cx.shape(x), cx.dtype(x));
    let (repeats, count) = cx.integers(repeats, "the repetitions")?;
    if count != shape.len() {
        return Err(Fault::new(format!("{count} repetitions of {}", display_shape(&shape))));
    }
    let own = cx.sizes_of(&shape);
    let sizes = cx.binary(BinaryOp::Mul, own, repeats)?;
    let result = cx.bind_shape(0, sizes, |_| None)?;
    let tiled = cx.generate(result, &[x], |e| {
        let wrapped = |e: &mut Expr, (axis, size): (usize, &Dim)| {
            let (here, size) = (e.index(axis), e.dim(size));
            e.modulo(here, size)
        };
        let coordinates: Vec<_> = shape.iter().enumerate().map(|axis| wrapped(e, axis)).collect();
        let place = e.row_major(&coordinates, &shape);
        e.at(0, place, dtype)
    })?;
    Ok(vec![tiled])
}

/// Sizes of an image `[batch, channels, height, width]` and the block size.
fn blocks(cx: &mut Call) -> Result<(ValueId, [Dim; 4], Dim), Fault> {
    let x = cx.input(0)?;
    let shape = <[Dim; 4]>::try_from(cx.shape(x))
        .map_err(|shape| Fault::new(format!("the operand has shape {}, not rank 4", display_shape(&shape))))?;
    let size = cx.int("blocksize", 0)?;
    if !(1..1 << 16).contains(&size) {
        return cx.unsupported("blocksize", size);
    }
    Ok((x, shape, Dim::from(size)))
}

fn depth_to_space(cx: &mut Call) -> Results {
    let (x, [n, c, h, w], b) = blocks(cx)?;
    let depth = c.floor_div(&(b.clone() * b.clone()));
    let (split, permutation) = match cx.string("mode", "DCR")? {
        "DCR" => ([&n, &b, &b, &depth, &h, &w], vec![0, 3, 4, 1, 5, 2]),
        "CRD" => ([&n, &depth, &b, &b, &h, &w], vec![0, 1, 4, 2, 5, 3]),
        other => return cx.unsupported("mode", other),
    };
    let x = cx.reshape(x, split.into_iter().cloned().collect())?;
    let x = cx.transpose(x, permutation)?;
    Ok(vec![cx.reshape(x, vec![n, depth, h * b.clone(), w * b])?])
}

fn space_to_depth(cx: &mut Call) -> Results {
    let (x, [n, c, h, w], b) = blocks(cx)?;
    let (rows, columns) = (h.floor_div(&b), w.floor_div(&b));
    let split = [&n, &c, &rows, &b, &columns, &b];
    let x = cx.reshape(x, split.into_iter().cloned().collect())?;
    let permutation = match cx.string("mode", "DCR")? {
        "DCR" => vec![0, 3, 5, 1, 2, 4],
        "CRD" => vec![0, 1, 3, 5, 2, 4],
        other => return cx.unsupported("mode", other),
    };
    let x = cx.transpose(x, permutation)?;
    Ok(vec![cx.reshape(x, vec![n, c * b.clone() * b, rows, columns])?])
}
