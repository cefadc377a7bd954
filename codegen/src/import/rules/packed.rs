//! Weights of less than a byte each, whose blocks along an axis have scales of their own.

use super::linear::matmul;
use super::{MICROSOFT, Rules};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::import::formula::{Formula, Term};
use crate::ir::infer::display_shape;
use crate::ir::{BinaryOp, DType, Dim, ValueId};

type Results = Result<Vec<ValueId>, Fault>;

pub(super) const RULES: Rules = &[
    (MICROSOFT, "MatMulNBits", matmul_nbits),
    (MICROSOFT, "GatherBlockQuantized", gather),
];

/// A positive size.
fn size(cx: &Call, name: &'static str, default: Option<i64>) -> Result<i64, Fault> {
    let size = cx.optional_int(name)?.or(default);
    size.filter(|size| (1..1 << 30).contains(size))
        .ok_or_else(|| Fault::new(format!("attribute `{name}` is missing or no size")))
}

/// The number of bits of a number, of which bytes hold as many as fit.
fn bits(cx: &Call) -> Result<i64, Fault> {
    match cx.int("bits", 4)? {
        bits @ (2 | 4 | 8) => Ok(bits),
        other => cx.unsupported("bits", other),
    }
}

/// The number at coordinates, of which those of the last axis count numbers of some bits that bytes hold from the low
/// bits up.
fn unpacked<'f>(f: &'f Formula, operand: usize, coordinates: &[Term<'f>], bits: i64) -> Term<'f> {
    let mut coordinates = coordinates.to_vec();
    let Some(last) = coordinates.last_mut().filter(|_| bits < 8) else {
        return f.load(operand, &coordinates).cast(DType::I32);
    };
    let shift = (*last % (8 / bits) * bits).cast(DType::I32);
    *last = *last / (8 / bits);
    let byte = f.load(operand, &coordinates).cast(DType::I32);
    byte.shr(shift).and(byte.like(f64::from((1 << bits) - 1)))
}

/// A tensor of floats, which may be shorter than `f32`.
fn floats(cx: &Call, x: ValueId, what: &str) -> Result<(), Fault> {
    match cx.dtype(x) {
        DType::F32 | DType::F16 | DType::BF16 => Ok(()),
        other => Err(Fault::new(format!("{what} of {other}"))),
    }
}

/// Operands: the left matrix; for each column of the right one its numbers, its scales and its zero points, which are
/// numbers of as many bits or floats; the block of each row, where blocks are not one after another; a bias.
///
/// What the weights stand for is one expression of constants, which is evaluated while compiling.
fn matmul_nbits(cx: &mut Call) -> Results {
    cx.ignore(&["accuracy_level"]);
    cx.only_int("weight_prepacked", 0)?;
    let (bits, block) = (bits(cx)?, size(cx, "block_size", None)?);
    let (rows, columns) = (size(cx, "K", None)?, size(cx, "N", None)?);
    if block * bits % 8 != 0 {
        return Err(Fault::new(format!("blocks of {block} numbers of {bits} bits")));
    }
    let blocks = (rows - 1) / block + 1;
    let (a, b, scales) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    floats(cx, a, "a matrix")?;
    floats(cx, scales, "scales")?;
    if cx.dtype(b) != DType::U8 {
        return Err(Fault::new(format!("weights of {}, not of u8", cx.dtype(b))));
    }
    let table = |cx: &mut Call, x: ValueId, width: i64| cx.reshape(x, vec![Dim::from(columns), Dim::from(width)]);
    let mut operands = vec![table(cx, b, blocks * (block * bits / 8))?, table(cx, scales, blocks)?];
    let zeros = cx.optional(3);
    if let Some(zeros) = zeros {
        let packed = cx.dtype(zeros) == DType::U8;
        if !packed {
            floats(cx, zeros, "zero points")?;
        }
        let width = if packed { (blocks * bits + 7) / 8 } else { blocks };
        operands.push(table(cx, zeros, width)?);
    }
    let zeros_packed = zeros.map(|zeros| cx.dtype(zeros) == DType::U8);
    let order = cx.optional(4);
    if let Some(order) = order {
        operands.push(block_order(cx, order, rows, blocks)?);
    }
    let order = order.map(|_| operands.len() - 1);
    let shape = vec![Dim::from(rows), Dim::from(columns)];
    let weights = cx.each(shape, &operands, |f| {
        let (row, column) = (f.index(0), f.index(1));
        let here = match order {
            Some(order) => f.load(order, &[row]),
            None => row / block,
        };
        let number = unpacked(f, 0, &[column, row], bits);
        let number = match zeros_packed {
            Some(true) => (number - unpacked(f, 2, &[column, here], bits)).cast(DType::F32),
            Some(false) => number.cast(DType::F32) - f.load(2, &[column, here]).cast(DType::F32),
            None => (number - (1 << (bits - 1))).cast(DType::F32),
        };
        number * f.load(1, &[column, here]).cast(DType::F32)
    })?;
    let dtype = cx.dtype(a);
    let a = cx.cast(a, DType::F32)?;
    let mut result = matmul(cx, a, weights)?;
    if let Some(bias) = cx.optional(5) {
        let bias = cx.cast(bias, DType::F32)?;
        result = cx.binary(BinaryOp::Add, result, bias)?;
    }
    Ok(vec![cx.cast(result, dtype)?])
}

/// The number of the block that each row belongs to. There may be more of them than rows, for the rest of the last block.
fn block_order(cx: &mut Call, order: ValueId, rows: i64, blocks: i64) -> Result<ValueId, Fault> {
    let ty = cx.ty(order);
    let enough = ty.rank() == 1 && ty.dtype.is_int() && ty.shape[0].as_const().is_some_and(|count| count >= rows);
    if !enough {
        return Err(Fault::new(format!("the blocks of {rows} rows are {ty}")));
    }
    let order = cx.narrow(order, 0, Dim::from(0i64), Dim::from(rows))?;
    let order = cx.cast(order, DType::I64)?;
    let message = format!("a row belongs to one of {blocks} blocks");
    cx.demand(message, vec![Dim::from(rows)], &[order], |f| {
        f.operand(0).within(f.int(blocks))
    })?;
    Ok(order)
}

/// Slices of a tensor along an axis, as what they stand for. Operands: the tensor, the indices, scales and zero points.
fn gather(cx: &mut Call) -> Results {
    let (data, indices, scales) = (cx.input(0)?, cx.input(1)?, cx.input(2)?);
    floats(cx, scales, "scales")?;
    // Numbers of a type of their own are a byte each for an expression.
    let (bits, usual) = match cx.dtype(data) {
        DType::U8 => {
            let bits = bits(cx)?;
            (bits, 1 << (bits - 1))
        }
        DType::I4 | DType::U4 => {
            cx.ignore(&["bits"]);
            (8, 0)
        }
        other => return Err(Fault::new(format!("quantized numbers are {other}, not i4, u4 or u8"))),
    };
    let block = size(cx, "block_size", Some(128))?;
    let (mut shape, rank) = (cx.shape(data), cx.rank(data));
    let axis = cx.axis(cx.int("gather_axis", 0)?, rank)?;
    let quantized = cx.axis(cx.int("quantize_axis", 1)?, rank)?;
    if bits < 8 && (axis == rank - 1 || quantized != rank - 1) {
        return Err(Fault::new(format!(
            "numbers packed along axis {}, in blocks along axis {quantized}, gathered along axis {axis}",
            rank - 1
        )));
    }
    shape[rank - 1] = shape[rank - 1].clone() * Dim::from(8 / bits);
    let mut blocks = shape.clone();
    blocks[quantized] = blocks[quantized].ceil_div(block);
    let mut zero_shape = blocks.clone();
    zero_shape[rank - 1] = zero_shape[rank - 1].ceil_div(8 / bits);
    let mut operands = vec![data, indices, scales];
    operands.extend(cx.optional(3));
    for (&parameter, expected) in operands[2..].iter().zip([&blocks, &zero_shape]) {
        let own = cx.shape(parameter);
        let what = format!(
            "parameters {} of {} in blocks of {block}",
            display_shape(&own),
            display_shape(&shape)
        );
        if own.len() != rank {
            return Err(Fault::new(what));
        }
        for (a, b) in own.iter().zip(expected) {
            cx.equal(&what, a, b)?;
        }
    }
    if let Some(&zeros) = operands.get(3)
        && cx.dtype(zeros) != cx.dtype(data)
    {
        let (zeros, data) = (cx.dtype(zeros), cx.dtype(data));
        return Err(Fault::new(format!("zero points of {zeros} for numbers of {data}")));
    }
    let (index_shape, dtype, count) = (cx.shape(indices), cx.dtype(scales), operands.len());
    let mut result = shape.clone();
    result.splice(axis..=axis, index_shape.iter().cloned());
    let inner = index_shape.len();
    let gathered = cx.each(result, &operands, |f| {
        let length = f.dim(&shape[axis]);
        let index = f.load(1, &f.indices(axis..axis + inner)).cast(DType::I64);
        let index = index.counted_within(length);
        let mut place = f.indices(0..axis);
        place.push(index);
        place.extend(f.indices(axis + inner..rank + inner - 1));
        let number = unpacked(f, 0, &place, bits);
        place[quantized] = place[quantized] / block;
        let zero = match count {
            3 => number.like(f64::from(usual)),
            _ => unpacked(f, 3, &place, bits),
        };
        let value = (number - zero).cast(DType::F32) * f.load(2, &place).cast(DType::F32);
        // There is nothing at other places.
        index.within(length).select(value, 0.0).cast(dtype)
    })?;
    Ok(vec![gathered])
}
